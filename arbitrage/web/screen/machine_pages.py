"""Pages about the daemon itself: how long the hops of an order's way take, and its fire drills. Measure nothing themselves."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import RedirectResponse

from arbitrage.store.ledger_nouns import Away
from arbitrage.store.reads import Wanted
from arbitrage.web.api.command_endpoints import DrillName, began, drills_of
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint, Kind
from arbitrage.web.screen.latency import hop_parts
from arbitrage.web.screen.quality import VenueQuality, round_trip_ms, venue_qualities
from arbitrage.web.screen.render import Pages
from arbitrage.web.screen.screens import HTML, page

ORDERS_ASKED, FILLS_ASKED = 500, 500


class DrillsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was just done."""

    said: Annotated[str, Meta(max_length=64)] = ""


class MachinePages:
    """Handlers; `endpoints` are their rows in the table."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        return (
            page("/latency", self.latency, Role.ANALYST, "How long each hop of an order's way takes", query=None),
            Endpoint(
                method="GET", path="/drills", handler=self.drills, role=Role.OPERATOR, scope=Scope.MAINTAIN, query=DrillsQuery,
                produces=HTML, kind=Kind.PAGE, tag="pages", summary="Fire drills, and when each was last proven",
            ),
            Endpoint(
                method="POST", path="/drills/{name}", handler=self.begin, role=Role.OPERATOR, scope=Scope.MAINTAIN,
                query=DrillName, takes_form=True, is_write=True, produces=HTML, status=303, kind=Kind.PAGE, tag="pages",
                summary="The button that begins a drill",
            ),
        )  # fmt: skip

    async def latency(self, call: Call) -> Answer:
        """Show the histograms of the hops, and our own round trip beside; only that needs the database."""
        ports = call.ports
        orders = await ports.records.orders(Wanted(limit=ORDERS_ASKED))
        fills = await ports.records.fills(Wanted(limit=FILLS_ASKED))
        away, trip_ms = "", None
        qualities: tuple[VenueQuality, ...] = ()
        if isinstance(orders, Away):
            away = orders.reason
        elif isinstance(fills, Away):
            away = fills.reason
        else:
            trip_ms, qualities = round_trip_ms(orders, fills), venue_qualities(orders, fills)
        return self._pages.page(
            call,
            "latency.html",
            parts=hop_parts(ports.views.metrics().hops),
            since_ns=ports.views.standing().started_at_ns,
            trip_ms=trip_ms,
            away=away,
            qualities=qualities,
            orders_asked=ORDERS_ASKED,
        )

    async def drills(self, call: Call) -> Answer:
        """Show every drill with its last run and a button."""
        found = drills_of(call.ports.commands)
        is_running = any(line.state == "running" for line in found.lines)
        said = SAID.get(call.query.said, "")
        return self._pages.page(call, "drills.html", drills=found, is_running=is_running, said=said)

    async def begin(self, call: Call) -> Answer:
        """Begin one, and go back."""
        done = await began(call, call.query.name)
        if done is None:
            return self._pages.away(call, "there is no such drill", 404)
        return RedirectResponse(f"/drills?said={'begun' if done.done else 'not-begun'}", 303)


SAID = {
    "begun": "Begun. How it goes stands below; the kill switch's exercise is over at once.",
    "not-begun": "Not begun, or not passed: what stands below says why.",
}
