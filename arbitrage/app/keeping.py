"""Takes what the door hands out to its place: facts to the journal, verdicts to stores, reports to logs. Judges nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from arbitrage.app.door import JournalUnavailable
from arbitrage.app.kill_proof import KillProof, KillProofs
from arbitrage.app.report_text import receipt_text, report_text
from arbitrage.app.sampling import Samples
from arbitrage.model.accounts import KillReceipt, RestartReport
from arbitrage.model.effects import Append, Judged, Report
from arbitrage.model.episodes import Episode
from arbitrage.model.facts import Fact, FillBooked, KillProven, OrderChanged, OrderIntended, PlanClosed, PlanOpened, Reconciled
from arbitrage.model.opportunities import Refused
from arbitrage.ops.log_lines import write_report
from arbitrage.ops.metrics import Metrics
from arbitrage.store.journal import JournalUnwritable
from arbitrage.store.papers import save_receipt, save_report
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

    def __init__(self, stores: Stores, metrics: Metrics, clock: Callable[[], int], proofs: KillProofs) -> None:
        self._stores = stores
        self._metrics = metrics
        self._clock = clock
        self._proofs = proofs
        self.listeners: list[Callable[[Fact | Report], None]] = []
        """Told of every fact and report after it was kept; they never raise."""
        self.samples = Samples()

    def facts(self, facts: Sequence[Fact]) -> None:
        now_ns = self._clock()
        hops = self._metrics.hops
        for fact in facts:
            if isinstance(fact, FillBooked):
                self._metrics.trade(now_ns)
                hops.acknowledged(fact.fill.client_order_id, fact.at_ns)
                hops.filled(fact.fill.client_order_id, fact.at_ns)
            elif isinstance(fact, PlanOpened):
                for order in fact.orders:
                    hops.decided(order.client_order_id, fact.at_ns, order.venue)
            elif isinstance(fact, OrderIntended):
                hops.decided(fact.order.client_order_id, fact.at_ns, fact.order.venue)
            elif isinstance(fact, OrderChanged):
                hops.acknowledged(fact.client_order_id, fact.at_ns)
            elif isinstance(fact, PlanClosed):
                self._metrics.realised(now_ns, fact.outcome.realised_e8)
            elif isinstance(fact, Reconciled):
                keep_report(self._stores.data_dir, fact.report)
            elif isinstance(fact, KillProven):
                self._keep_receipt(fact.receipt)
            for listener in self.listeners:
                listener(fact)

    def _keep_receipt(self, receipt: KillReceipt) -> None:
        for line in receipt_text(receipt).splitlines():
            logger.warning("kill switch: %s", line)
        self._proofs.keep(KillProof(receipt.proven_at_ns, "kill", receipt_text(receipt)))
        try:
            save_receipt(self._stores.data_dir, receipt)
        except OSError as error:
            logger.error("the receipt was not written as a file: %s; it is in the journal", error)

    def judged(self, judged: Judged) -> None:
        if isinstance(judged.verdict, Refused):
            self._metrics.guard_trigger(self._clock())
        if self.samples.wants(judged):
            self._stores.offer_judged(judged)
        else:
            self._stores.leave_out_judged()

    def episode(self, episode: Episode) -> None:
        self._stores.offer_episode(episode)

    def report(self, report: Report) -> None:
        write_report(logger, report)
        for listener in self.listeners:
            listener(report)


def keep_report(data_dir: Path, report: RestartReport) -> None:
    """Log a restart report line by line and keep it as a file; the journal has it already where it is a fact."""
    level = logging.INFO if report.is_armed else logging.WARNING
    for line in report_text(report).splitlines():
        logger.log(level, "%s", line)
    try:
        save_report(data_dir, report)
    except OSError as error:
        logger.error("the restart report was not written as a file: %s", error)
