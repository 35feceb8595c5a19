"""What the surface sees of a running daemon, read from memory. Changes nothing; one picture serves all who ask at once."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

from arbitrage.app.clock import wall_ns
from arbitrage.app.operator import Operator
from arbitrage.app.running import Running
from arbitrage.app.surface_limits import limits_in_use
from arbitrage.engine.views import EngineView
from arbitrage.model.accounts import KillReceipt, RestartReport
from arbitrage.model.events import Level
from arbitrage.model.facts import Fact, KillProven, Reconciled
from arbitrage.model.instruments import Side
from arbitrage.ops.alerts.nouns import OfficeStanding
from arbitrage.ops.config import Loaded
from arbitrage.ops.metrics import Metrics
from arbitrage.ops.overrides import Override, read_overrides
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.standing import Standing
from arbitrage.store.papers import PapersDamaged, last_receipt, last_report
from arbitrage.store.stores import StoresHealth
from arbitrage.web.api.pictures import plain
from arbitrage.web.ports import BookLevel, LimitUse, Process

logger = logging.getLogger("arbitrage.web")
SHARED_NS = 100_000_000
"""A picture of the engine is shared by everybody who asks within this."""
STATM, DESCRIPTORS = Path("/proc/self/statm"), Path("/proc/self/fd")


class RunningViews:
    """One daemon's views."""

    def __init__(self, running: Running, operator: Operator) -> None:
        self._running = running
        self._operator = operator
        self._view: EngineView | None = None
        self._standing: Standing | None = None
        self._report, self._receipt = _papers(running.stores.data_dir)

    def now_ns(self) -> int:
        """Return engine time."""
        return self._running.clock()

    def wall_ns(self) -> int:
        """Return the wall clock."""
        return wall_ns()

    def view(self) -> EngineView:
        """Return the engine's picture."""
        if self._view is None or self._running.clock() - self._view.at_ns > SHARED_NS:
            self._view = self._running.view()
        return self._view

    def standing(self) -> Standing:
        """Return how the daemon stands. Trading being stopped or let go shows at once, everything else within a moment."""
        if self._standing is None or self._running.clock() - self._standing.at_ns > SHARED_NS:
            self._standing = self._operator.standing()
        return self._standing

    def forget(self) -> None:
        """Draw the next picture anew: something was just changed."""
        self._view = self._standing = None

    def loaded(self) -> Loaded:
        """Return the configuration in force."""
        return self._running.loaded

    def overrides(self) -> dict[str, Override]:
        """Return the keys that are set over the files; nothing where they cannot be read."""
        try:
            return read_overrides(self._running.stores.data_dir)
        except ConfigError:
            return {}

    def stores(self) -> StoresHealth:
        """Return how the stores stand."""
        return self._running.stores.health()

    def metrics(self) -> Metrics:
        """Return the rolling figures and histograms."""
        return self._running.metrics

    def figures(self) -> Mapping[str, str]:
        """Return the figures of the METRICS hash."""
        return self._running.metrics.fields(self._running.clock())

    def levels(self, market: int, limit: int) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
        """Return bids and asks of a market."""
        book = self._running.engine.board.books[market]
        bids, asks = book.shown(Side.SELL, limit), book.shown(Side.BUY, limit)
        return _levels(bids), _levels(asks)

    def limits(self) -> tuple[LimitUse, ...]:
        """Return every limit of the guard with what is used of it now."""
        return limits_in_use(self._running.engine, self._running.settings.risk, self._running.clock())

    def connects(self) -> Mapping[str, int]:
        """Return how often a connection of each venue was made."""
        return self._running.links_up

    def refusals(self) -> Mapping[str, int]:
        """Return how often the guard gave each reason."""
        return {reason.value: count for reason, count in self._running.engine.guard.refusals.items()}

    def process(self) -> Process:
        """Return what the process takes of the machine."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now_ns = self._running.clock()
        metrics = self._running.metrics
        return Process(
            pid=os.getpid(),
            resident_bytes=_resident_bytes(),
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
            open_files=_open_files(),
            tasks=len(asyncio.all_tasks()),
            frames=self._running.frames,
            loop_late_ms_mean=round(metrics.loop_latency_ms(now_ns), 3),
            loop_late_ms_worst=round(metrics.loop_latency_ms_worst(now_ns), 3),
            uptime_s=round((now_ns - self._running.started_at_ns) / 1e9, 3),
        )

    def is_ready(self) -> bool:
        """Say whether the daemon has become ready."""
        return self._running.is_ready.is_set()

    def restart_report(self) -> RestartReport | None:
        """Return the newest restart report; on paper it is no fact, so its file is looked for until it is there."""
        if self._report is None:
            self._report, _ = _papers(self._running.stores.data_dir)
        return self._report

    def kill_receipt(self) -> KillReceipt | None:
        """Return the newest kill receipt."""
        return self._receipt

    def alerts(self) -> OfficeStanding | None:
        """Return every alert and how its channels stand."""
        office = self._running.office
        return office.standing if office is not None else None

    def hear(self, fact: Fact) -> None:
        """Take in what changes a paper."""
        if isinstance(fact, Reconciled):
            self._report = fact.report
        elif isinstance(fact, KillProven):
            self._receipt = fact.receipt


def _levels(levels: Sequence[Level]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(plain(price), plain(quantity)) for price, quantity in levels)


def _papers(data_dir: Path) -> tuple[RestartReport | None, KillReceipt | None]:
    """Read the newest papers of earlier starts; damaged ones are said and left."""
    try:
        return last_report(data_dir), last_receipt(data_dir)
    except PapersDamaged as damage:
        logger.warning("%s", damage)
        return None, None


def _resident_bytes() -> int:
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _open_files() -> int:
    try:
        return sum(1 for _ in DESCRIPTORS.iterdir())
    except OSError:
        return 0
