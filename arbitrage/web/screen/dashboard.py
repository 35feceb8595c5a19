"""The dashboard as one part: its pages, files, live picture and day of spreads. Made once by whoever serves the surface."""

from __future__ import annotations

from arbitrage.web.callers import Role
from arbitrage.web.endpoints import Endpoint
from arbitrage.web.ports import Ports
from arbitrage.web.screen.alert_page import AlertPage
from arbitrage.web.screen.chart_pages import ChartPages
from arbitrage.web.screen.config_pages import ConfigurationPages
from arbitrage.web.screen.live import Live
from arbitrage.web.screen.machine_pages import MachinePages
from arbitrage.web.screen.people_pages import PeoplePages
from arbitrage.web.screen.premium_history import PremiumHistory
from arbitrage.web.screen.record_pages import RecordPages
from arbitrage.web.screen.render import PageLink, Pages
from arbitrage.web.screen.screens import Screens
from arbitrage.web.screen.spread_history import SpreadHistory

LINKS = (
    PageLink("/", "Overview"),
    PageLink("/alerts", "Alerts"),
    PageLink("/spreads", "Spreads"),
    PageLink("/edge", "Edge", Role.ANALYST),
    PageLink("/opportunities", "Opportunities", Role.ANALYST),
    PageLink("/money", "Money", Role.ANALYST),
    PageLink("/inventory", "Inventory", Role.ANALYST),
    PageLink("/orders", "Orders", Role.ANALYST),
    PageLink("/latency", "Latency", Role.ANALYST),
    PageLink("/reports", "Reports", Role.ANALYST),
    PageLink("/drills", "Drills", Role.OPERATOR),
    PageLink("/configuration", "Configuration", Role.ANALYST),
    PageLink("/audit", "Audit", Role.ADMIN),
    PageLink("/users", "Users", Role.ADMIN),
)


class Dashboard:
    """All pages. `run` is a task of the surface; without it the pages work, and nothing is live."""

    def __init__(self, ports: Ports, pages: Pages | None = None) -> None:
        pages, history, premiums = pages or Pages(LINKS), SpreadHistory(), PremiumHistory()
        self.live = Live(ports, history, premiums)
        self._parts = (
            Screens(pages, self.live),
            AlertPage(pages, self.live),
            ChartPages(pages, self.live, history, premiums),
            RecordPages(pages),
            ConfigurationPages(pages),
            MachinePages(pages),
            PeoplePages(pages),
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        return tuple(endpoint for part in self._parts for endpoint in part.endpoints())

    async def run(self) -> None:
        """Keep the first screen live, until cancelled."""
        await self.live.run()
