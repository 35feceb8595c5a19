"""The engine: one synchronous function from an event to effects. Holds no clock, socket, task, randomness, log or store.

Durable state (ledger, desk, guard) changes only through facts: whatever a room wants to happen comes back as `Append(fact)`,
and is applied to every room before anything after it is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arbitrage.engine.judging import Judge
from arbitrage.engine.quotes import BookQuotes
from arbitrage.engine.views import OpportunityLine, OutcomeLine, Tally
from arbitrage.execution.desk import Desk
from arbitrage.execution.plans import DeskState
from arbitrage.ledger.ledger import Ledger
from arbitrage.ledger.state import LedgerState
from arbitrage.market.board import Board
from arbitrage.model.effects import Append, Effect, Judged, Report, Severity
from arbitrage.model.events import (
    BookDiff,
    BookFull,
    BookSnapshot,
    ClockMeasured,
    Command,
    CommandKind,
    Decide,
    DifferenceFound,
    Event,
    FeedFault,
    Funded,
    InstrumentsRead,
    LinkAlive,
    LinkDown,
    LinkUp,
    OrderAccepted,
    OrderEnded,
    OrderEvent,
    OrderFilled,
    OrderUnanswered,
    Reloaded,
    StoreReported,
    TopOfBook,
    TradePrint,
    Wake,
)
from arbitrage.model.facts import Fact, FillBooked, KillSwitched, OrderIntended, Paused, PlanClosed, PlanOpened
from arbitrage.model.instruments import Instrument
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import Approved, Opportunity, PlanState, Refusal, Refused, Verdict
from arbitrage.model.orders import Fill
from arbitrage.model.settings import TradingSettings
from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot
from arbitrage.risk.guard import Guard
from arbitrage.risk.windows import RiskState
from arbitrage.strategy.detector import Detector
from arbitrage.strategy.found import Missed

NOTHING: tuple[Effect, ...] = ()
LINES_KEPT = 50
ADVANCES_MAX = 1_000
"""Rounds of `Desk.advance` in one step; more would mean that a plan never comes to rest."""


class RestoreRefused(ValueError):
    """What was kept does not fit this configuration: markets moved under open orders, or another reporting asset."""


class Engine:
    """Everything between a decoded frame and an order, and back from a fill to booked money."""

    def __init__(self, settings: TradingSettings, markets: tuple[tuple[str, str], ...], *, id_prefix: str) -> None:
        assert len(set(markets)) == len(markets), "a market is configured once"
        self.settings = settings
        self.markets = markets
        self.board = Board(markets, settings.market_data)
        self.ledger = Ledger(self._instrument)
        self.desk = Desk(settings.execution, self._instrument, id_prefix)
        self.guard = Guard(settings.risk, settings.market_data, settings.strategy)
        self.detector = Detector(settings.strategy, notional_e8_max=self.guard.notional_e8_max)
        self.quotes = BookQuotes(self.board, self.ledger, settings.strategy)
        self.judge = Judge(self.board, self.ledger, self.desk, self.guard, self.quotes)
        self.tally = Tally()
        self.opportunities: deque[OpportunityLine] = deque(maxlen=LINES_KEPT)
        self.outcomes: deque[OutcomeLine] = deque(maxlen=LINES_KEPT)
        self._instruments_version = -1
        apply = self.board.apply
        self._handlers: dict[type, Callable[[Any], Sequence[Effect]]] = {
            **dict.fromkeys((BookDiff, BookSnapshot, BookFull, TopOfBook, TradePrint), apply),
            **dict.fromkeys((LinkUp, LinkDown, LinkAlive, FeedFault, ClockMeasured, InstrumentsRead), apply),
            **dict.fromkeys((OrderAccepted, OrderFilled, OrderEnded, OrderUnanswered), self._on_order),
            Decide: self._decide,
            Wake: self._wake,
            Command: self._on_command,
            Funded: self._on_funded,
            Reloaded: self._on_reloaded,
            StoreReported: self._on_store,
            DifferenceFound: self._on_difference,
        }

    def step(self, event: Event) -> Sequence[Effect]:
        """Take one event in; return what it wants done, in order."""
        return self._handlers[type(event)](event)

    # -- detection ----------------------------------------------------------------------------------------------

    def _decide(self, event: Decide) -> Sequence[Effect]:
        board = self.board
        changed = board.changed
        if not changed:
            return NOTHING
        assert event.at_ns > 0, "a decision has its time"
        if board.instruments_version != self._instruments_version:
            self._instruments_version = board.instruments_version
            self.quotes.rebuild()
        self.tally.decisions += 1
        found = self.detector.detect(board, self.ledger.free_e8, changed, event.at_ns)
        changed.clear()
        if not found:
            return NOTHING
        effects: list[Effect] = []
        for item in found:
            effects += self._consider(item, event.at_ns)
        assert not changed, "considering changes no book"
        return effects

    def _consider(self, found: Opportunity | Missed, now_ns: int) -> list[Effect]:
        if isinstance(found, Missed):
            self._missed(found)
            return []
        self.tally.seen += 1
        assert found.at_ns == now_ns, "an opportunity is judged in the decision that found it"
        verdict = self.guard.judge(found, self.judge.view(found, now_ns), now_ns)
        plan = self.desk.start(verdict, now_ns) if isinstance(verdict, Approved) else []
        if plan:
            verdict = self._covered(verdict, plan)
        line_verdict, detail = ("taken", "") if isinstance(verdict, Approved) else (verdict.reason.value, verdict.detail)
        self.opportunities.append(
            OpportunityLine(
                now_ns, found.name, line_verdict, detail, found.edge_ppm, found.net_e8, found.notional_e8, found.reporting_asset
            )
        )
        effects: list[Effect] = [Judged(found, verdict)]
        if isinstance(verdict, Refused):
            self._refused(verdict.reason.value)
            return effects
        assert plan, "what is approved becomes a plan"
        self.tally.taken += 1
        return effects + self._commit(plan)

    def _covered(self, verdict: Verdict, plan: Sequence[Effect]) -> Verdict:
        """Refuse what an earlier opportunity of the same decision left no funds for: worst cases are reserved whole."""
        opened = plan[0]
        assert isinstance(opened, Append), "a plan begins with a durable fact"
        assert isinstance(opened.fact, PlanOpened), "that fact is its intent"
        node = self.ledger.uncovered(opened.fact)
        if node is None:
            return verdict
        self.guard.count(Refusal.INSUFFICIENT_BALANCE)
        return Refused(Refusal.INSUFFICIENT_BALANCE, f"{node}: free inventory does not cover the orders' worst case")

    def _missed(self, missed: Missed) -> None:
        """Count cycles that gained on paper and were no opportunity, each with its reason."""
        assert missed.cycles > 0, "a line stands for at least one cycle"
        self.tally.seen += missed.cycles
        self._refused(missed.reason.value, missed.cycles)
        self.guard.count(missed.reason)
        reporting = Asset(self.settings.strategy.reporting_asset)
        line = OpportunityLine(missed.at_ns, missed.name, missed.reason.value, missed.detail, missed.edge_ppm, 0, 0, reporting)
        self.opportunities.append(line)

    def _refused(self, reason: str, count: int = 1) -> None:
        assert count > 0, "a refusal is of something"
        self.tally.refused[reason] = self.tally.refused.get(reason, 0) + count

    # -- orders -------------------------------------------------------------------------------------------------

    def _on_order(self, event: OrderEvent) -> Sequence[Effect]:
        effects = self._commit(self.desk.on_event(event))
        for effect in effects:
            if isinstance(effect, Append) and isinstance(effect.fact, FillBooked):
                self._take(effect.fact.fill)
        return effects + self._advance(event.at_ns)

    def _take(self, fill: Fill) -> None:
        """Tell the book what we took: the feed shows it late, or never (on paper)."""
        assert 0 <= fill.market < len(self.markets), "a fill belongs to a configured market"
        self.board.books[fill.market].take(fill.side, fill.price_e8 / E8, fill.quantity_e8 / E8)

    def _wake(self, event: Wake) -> Sequence[Effect]:
        return self._advance(event.at_ns)

    def _advance(self, now_ns: int) -> list[Effect]:
        if self.desk.is_idle:
            return []
        effects: list[Effect] = []
        assert now_ns >= self.quotes.now_ns, "time does not go back"
        self.quotes.now_ns = now_ns
        for _ in range(ADVANCES_MAX):
            more = self.desk.advance(now_ns, self.quotes)
            if not more:
                return effects
            effects += self._commit(more)
        raise AssertionError("the desk never comes to rest")

    def _commit(self, effects: Iterable[Effect]) -> list[Effect]:
        """Apply every fact among `effects`, in order, and hand each on with the entries it made."""
        done: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Append):
                done += self._apply(effect.fact)
            else:
                done.append(effect)
        return done

    def _apply(self, fact: Fact) -> list[Effect]:
        entries = self.ledger.apply(fact)
        assert fact.at_ns >= 0, "a fact has its time"
        self.desk.apply(fact)
        self.guard.apply(fact)
        self.judge.apply(fact)
        effects: list[Effect] = [Append(fact, tuple(entries))]
        if isinstance(fact, PlanClosed):
            effects.append(self._closed(fact))
        elif isinstance(fact, PlanOpened | OrderIntended):
            self.ledger.check()
        return effects

    def _closed(self, fact: PlanClosed) -> Effect:
        outcome = fact.outcome
        tally = self.tally
        assert outcome.state.is_terminal, "an outcome is an end"
        assert outcome.plan_id not in {plan.plan_id for plan in self.desk.open_plans()}, "a closed plan is not open"
        match outcome.state:
            case PlanState.COMPLETED:
                tally.completed += 1
            case PlanState.RECOVERED:
                tally.recovered += 1
            case PlanState.CLOSED_WITH_RESIDUAL:
                tally.residual += 1
            case _:
                tally.missed += 1
        self.outcomes.append(
            OutcomeLine(fact.at_ns, outcome.plan_id, outcome.state.value, outcome.expected_e8, outcome.realised_e8)
        )
        fields: dict[str, str | int | float | bool | None] = {
            "plan": outcome.plan_id,
            "state": outcome.state.value,
            "expected_e8": outcome.expected_e8,
            "realised_e8": outcome.realised_e8,
        }
        return Report(Severity.INFO, "plan_closed", f"arbitrage {outcome.plan_id} ended {outcome.state.value}", fields)

    # -- control ------------------------------------------------------------------------------------------------

    def _on_funded(self, event: Funded) -> Sequence[Effect]:
        assert event.reason, "inventory comes from somewhere"
        return self._apply(event)

    def _on_command(self, event: Command) -> Sequence[Effect]:
        assert event.actor, "somebody said so"
        if event.kind is CommandKind.ACCEPT_DIFFERENCES:
            return [self.judge.accept_differences(event.actor)]
        if event.kind is CommandKind.ACCEPT_INSTRUMENTS:
            return self.board.accept_instruments()
        is_on = event.kind in (CommandKind.PAUSE, CommandKind.KILL)
        is_pause = event.kind in (CommandKind.PAUSE, CommandKind.RESUME)
        fact = (Paused if is_pause else KillSwitched)(event.at_ns, is_on, event.actor, event.reason)
        text = f"{event.kind.value} by {event.actor}: {event.reason}"
        return [*self._apply(fact), Report(Severity.WARNING, event.kind.value, text)]

    def _on_reloaded(self, event: Reloaded) -> Sequence[Effect]:
        settings = event.settings
        self.guard.configure(settings.risk, settings.market_data, settings.strategy)
        self.settings = settings
        self.desk.settings = settings.execution
        self.board.configure(settings.market_data)
        self.detector = Detector(settings.strategy, notional_e8_max=self.guard.notional_e8_max)
        self._instruments_version = -1
        assert self.desk.settings is settings.execution, "all rooms obey one configuration"
        return [Report(Severity.INFO, "configuration_applied", f"configuration {event.version} is in force")]

    def _on_store(self, event: StoreReported) -> Sequence[Effect]:
        return self.judge.on_store(event)

    def _on_difference(self, event: DifferenceFound) -> Sequence[Effect]:
        assert event.text, "a difference says what differs"
        return [self.judge.add_difference(event.text)]

    def _instrument(self, market: int) -> Instrument | None:
        assert 0 <= market < len(self.markets), "rules are asked of configured markets"
        return self.board.instruments[market]

    # -- reading ------------------------------------------------------------------------------------------------

    def not_armed_because(self) -> tuple[str, ...]:
        """Return every reason that keeps new entries away; empty when armed."""
        return self.judge.not_armed_because()

    # -- state --------------------------------------------------------------------------------------------------

    def snapshot(self, session_id: str, at_ns: int, journal_sequence: int) -> Snapshot:
        """Return the durable state; market data is not part of it."""
        sections = {"ledger": self.ledger.snapshot(), "desk": self.desk.snapshot(), "guard": self.guard.snapshot()}
        assert journal_sequence >= 0, "a journal position is counted from nothing"
        encoded = {name: msgspec.Raw(msgspec.json.encode(state)) for name, state in sections.items()}
        return Snapshot(SNAPSHOT_VERSION, session_id, at_ns, journal_sequence, encoded)

    def restore(self, snapshot: Snapshot | None, facts: Iterable[Fact]) -> int:
        """Take over a snapshot and fold the facts after it; return how many. Only a fresh engine is restored.

        Raises msgspec.ValidationError when a section does not decode, before anything is taken over, and RestoreRefused when
        open orders stand under market numbers that mean something else now.
        """
        assert not self.ledger.nodes(), "only a fresh engine is restored"
        if snapshot is not None:
            assert snapshot.version == SNAPSHOT_VERSION, "the store refuses other versions"
            ledger = msgspec.json.decode(snapshot.sections["ledger"], type=LedgerState)
            desk = msgspec.json.decode(snapshot.sections["desk"], type=DeskState)
            guard = msgspec.json.decode(snapshot.sections["guard"], type=RiskState)
            try:
                self.guard.restore(guard)
            except ValueError as refusal:
                raise RestoreRefused(f"{refusal}: put the old one back, or name another session (session_name)") from refusal
            self.ledger = Ledger.restore(ledger, self._instrument)
            self.desk.restore(desk)
            self.quotes.ledger = self.judge.ledger = self.ledger
        count = 0
        for fact in facts:
            self._apply(fact)
            count += 1
        self._adopt_markets()
        self.ledger.check()
        return count

    def _adopt_markets(self) -> None:
        """Market numbers are positions in the configured list: when it changed, rules of before must not be used for others."""
        known = dict(enumerate(self.markets))
        moved = [rules for rules in self.ledger.rules() if known.get(rules.id) != (rules.venue, rules.symbol)]
        if not moved:
            return
        if self.desk.open_plans() or self.desk.unfinished():
            names = ", ".join(f"{rules.venue} {rules.symbol}" for rules in moved)
            raise RestoreRefused(
                f"orders are open from before and the list of markets changed ({names} moved): put the old list back"
            )
        self.ledger.forget_rules()
        assert not self.ledger.rules(), "forgotten rules are looked up anew"
