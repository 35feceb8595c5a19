"""The page of alerts, live like the first screen, and a page for each alert: what the runbook says of it. Changes nothing.

Both are whole without JavaScript and with every database down.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from arbitrage.ops.alerts.catalog import CATALOG
from arbitrage.web.callers import Role
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.screen.alerts import TONES
from arbitrage.web.screen.live import Live
from arbitrage.web.screen.render import Pages
from arbitrage.web.screen.runbook import read_runbook
from arbitrage.web.screen.screens import page


class OfRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which alert."""

    rule: Annotated[str, Meta(max_length=64)]


class AlertPage:
    """Handlers; `endpoints` are their rows in the table."""

    def __init__(self, pages: Pages, live: Live) -> None:
        self._pages = pages
        self._live = live
        self._runbook = read_runbook()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        return (
            page("/alerts", self.alerts, Role.VIEWER, "What hurts, what did, and who is told", query=None),
            page("/runbook/{rule}", self.section, Role.VIEWER, "What one alert means and what to do", query=OfRule),
        )

    async def alerts(self, call: Call) -> Answer:
        """Draw every alert and every channel."""
        return self._pages.page(call, "alerts.html", o=self._live.overview())

    async def section(self, call: Call) -> Answer:
        """Draw what the runbook says of one alert."""
        section = self._runbook.get(call.query.rule)
        if section is None:
            why = "There is no such alert." if self._runbook else "The runbook is not installed here: see docs/RUNBOOK.md."
            return self._pages.away(call, why, 404)
        rule = CATALOG.get(section.rule)
        tone = TONES[rule.severity] if rule is not None else ""
        return self._pages.page(call, "runbook.html", section=section, rule=rule, tone=tone)
