"""Takes what the door hands out to its place: facts to the journal, verdicts to stores, reports to logs. Judges nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from arbitrage.app.door import JournalUnavailable
from arbitrage.model.effects import Append, Judged, Report
from arbitrage.model.facts import Fact, FillBooked, PlanClosed
from arbitrage.model.opportunities import Refused
from arbitrage.ops.log_lines import write_report
from arbitrage.ops.metrics import Metrics
from arbitrage.store.journal import JournalUnwritable
from arbitrage.store.stores import Stores

logger = logging.getLogger("arbitrage.engine")


class StoreJournal:
    """The session's journal."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def append(self, appends: Sequence[Append]) -> int:
        """Make facts durable. Raises JournalUnavailable with one line."""
        try:
            return self._stores.append(appends)
        except JournalUnwritable as refusal:
            raise JournalUnavailable(str(refusal)) from refusal


class StoreRecorder:
    """Keeps what no restart needs: verdicts for the opportunity table, reports for the logs, figures for the metrics."""

    def __init__(self, stores: Stores, metrics: Metrics, clock: Callable[[], int]) -> None:
        self._stores = stores
        self._metrics = metrics
        self._clock = clock

    def facts(self, facts: Sequence[Fact]) -> None:
        now_ns = self._clock()
        for fact in facts:
            if isinstance(fact, FillBooked):
                self._metrics.trade(now_ns)
            elif isinstance(fact, PlanClosed):
                self._metrics.realised(now_ns, fact.outcome.realised_e8)

    def judged(self, judged: Judged) -> None:
        if isinstance(judged.verdict, Refused):
            self._metrics.guard_trigger(self._clock())
        self._stores.offer_judged(judged)

    def report(self, report: Report) -> None:
        write_report(logger, report)
