"""Draws the pictures that are shown live, once for everybody, and only what somebody follows. Holds no client."""

from __future__ import annotations

import asyncio

import msgspec

from arbitrage.model.effects import Report, Severity
from arbitrage.store.ledger_nouns import Moment
from arbitrage.web.api.happenings import Happening
from arbitrage.web.api.pictures import spreads_of, status_of
from arbitrage.web.ports import Ports

TICK_SECONDS = 0.1
STATUS_TICKS = 5
"""`status` every half second, `spreads` every tick."""
TOPICS = ("happening", "report", "status", "spreads")
REPORTS_PER_TICK_MAX = 20
"""More of the engine's reports within a tick are counted in one event and left to the log."""


class ReportTold(msgspec.Struct, frozen=True):
    """What the engine reports, WARNING and above."""

    at: Moment
    level: str
    code: str
    text: str


class Publisher:
    """One surface's pictures."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._reports = 0
        self._ticks = 0

    def happened(self, told: Happening) -> None:
        """Tell what happened."""
        self._ports.events.publish("happening", msgspec.json.encode(told))

    def report(self, report: Report) -> None:
        """Tell what the engine reports, a bounded number between two ticks."""
        if report.severity not in (Severity.WARNING, Severity.ERROR):
            return
        self._reports += 1
        if self._reports <= REPORTS_PER_TICK_MAX:
            at = Moment.of(self._ports.views.now_ns())
            told = ReportTold(at, report.severity.value, report.code, report.text)
            self._ports.events.publish("report", msgspec.json.encode(told))

    async def run(self) -> None:
        """Draw until cancelled."""
        while True:
            self.draw()
            await asyncio.sleep(TICK_SECONDS)

    def draw(self) -> None:
        """Show what somebody follows."""
        ports = self._ports
        left_out, self._reports = self._reports - REPORTS_PER_TICK_MAX, 0
        if left_out > 0:
            told = ReportTold(Moment.of(ports.views.now_ns()), "warning", "reports_left_out", f"{left_out} more: see the log")
            ports.events.publish("report", msgspec.json.encode(told))
        self._ticks += 1
        if ports.events.wanted("spreads"):
            ports.events.show("spreads", msgspec.json.encode(spreads_of(ports.views.view())))
        if self._ticks % STATUS_TICKS == 0 and ports.events.wanted("status"):
            ports.events.show("status", msgspec.json.encode(status_of(ports.views)))
