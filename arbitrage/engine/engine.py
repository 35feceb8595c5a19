"""The engine: one synchronous function from an event to effects. Holds no clock, socket, task, randomness, log or store.

Durable state (ledger, desk, guard) changes only through facts: whatever a room wants to happen comes back as `Append(fact)`,
and is applied to every room before anything after it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arbitrage.engine.dust import Dust
from arbitrage.engine.episodes import Episodes
from arbitrage.engine.history import History
from arbitrage.engine.judging import Judge
from arbitrage.engine.killing import Kill, KillState
from arbitrage.engine.pairs import PairBook, PairsState
from arbitrage.engine.quotes import BookQuotes
from arbitrage.engine.reconciling import Reconciler
from arbitrage.execution.desk import Desk
from arbitrage.execution.plans import DeskState
from arbitrage.ledger.ledger import Ledger
from arbitrage.ledger.state import LedgerState, Leftover
from arbitrage.market.board import Board
from arbitrage.model.effects import Append, Effect, Judged, Report, Severity
from arbitrage.model.events import (
    AccountLinkDown,
    AccountLinkUp,
    AccountRead,
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
    FeesRead,
    FollowUpsDue,
    Funded,
    InstrumentsRead,
    LinkAlive,
    LinkDown,
    LinkUp,
    MarketClosed,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderEvent,
    OrderFilled,
    OrdersHeld,
    OrderUnanswered,
    Reloaded,
    StoreReported,
    TopOfBook,
    TradePrint,
    Wake,
    WalletsRead,
)
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillSwitched,
    OrderIntended,
    PairSwitched,
    Paused,
    PlanClosed,
    PlanOpened,
    ResidueWrittenOff,
)
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import Approved, Opportunity, Refusal, Refused, Verdict
from arbitrage.model.orders import Fill
from arbitrage.model.settings import TradingSettings
from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot
from arbitrage.risk.guard import Guard
from arbitrage.risk.windows import RiskState
from arbitrage.strategy.detector import Detector
from arbitrage.strategy.found import Missed

NOTHING: tuple[Effect, ...] = ()
MS_NS = 1_000_000
PAIR, RESIDUE = "pair-", "residue-"
"""What the names begin with by which a pair that is off, and a leftover, are accepted."""
EMPTY = msgspec.Raw(b"{}")
"""A snapshot's section from before it existed."""
ADVANCES_MAX = 1_000
"""Rounds of `Desk.advance` in one step; more would mean that a plan never comes to rest."""


class RestoreRefused(ValueError):
    """What was kept does not fit this configuration: markets moved under open orders, or another reporting asset."""


class Engine:
    """Everything between a decoded frame and an order, and back from a fill to booked money."""

    def __init__(
        self,
        settings: TradingSettings,
        markets: tuple[tuple[str, str], ...],
        *,
        id_prefix: str,
        account_venues: Iterable[Venue] = (),
    ) -> None:
        """Make an engine. `account_venues` are those whose accounts are the truth that the ledger is compared with."""
        assert len(set(markets)) == len(markets), "a market is configured once"
        self.settings = settings
        self.markets = markets
        self.board = Board(markets, settings.market_data)
        self.ledger = Ledger(self._instrument)
        self.desk = Desk(settings.execution, self._instrument, id_prefix)
        self.guard = Guard(settings.risk, settings.market_data, settings.strategy)
        self.detector = Detector(settings.strategy, notional_e8_max=self.guard.notional_e8_max)
        self.reconciler = Reconciler(account_venues, self.desk, self.ledger, self.not_armed_because)
        self.quotes = BookQuotes(self.board, self.ledger, settings.strategy, self.reconciler.locked_e8)
        self.judge = Judge(self.board, self.ledger, self.desk, self.guard, self.quotes)
        self.kill = Kill(self.desk, tuple(Venue(name) for name in dict.fromkeys(venue for venue, _ in markets)))
        self.pairs = PairBook(self.guard.pairs)
        self.dust = Dust(self.desk, self.quotes)
        self.episodes = Episodes(lambda found, now_ns: self.detector.again(found, self.board, now_ns))
        self.judge.account_reasons = self.reconciler.reasons
        self.judge.held_back = self._held_back
        self._held_until_ns: dict[Venue, int] = {}
        self._note_links()
        self._history = history = History()
        self.tally, self.opportunities, self.outcomes = history.tally, history.opportunities, history.outcomes
        self._instruments_version = -1
        apply = self.board.apply
        self._handlers: dict[type, Callable[[Any], Sequence[Effect]]] = {
            **dict.fromkeys((BookDiff, BookSnapshot, BookFull, TopOfBook, TradePrint), apply),
            **dict.fromkeys((LinkUp, LinkDown, LinkAlive, FeedFault, ClockMeasured, InstrumentsRead), apply),
            **dict.fromkeys((FeesRead, WalletsRead, MarketClosed), apply),
            **dict.fromkeys((OrderAccepted, OrderFilled, OrderEnded, OrderUnanswered, OrderAbsent), self._on_order),
            AccountLinkUp: self._on_account_up,
            AccountLinkDown: self._on_account_down,
            AccountRead: self._on_account_read,
            OrdersHeld: self._on_orders_held,
            Decide: self._decide,
            Wake: self._wake,
            FollowUpsDue: lambda event: self.episodes.follow(self.detector, event.at_ns),
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
        found = self.detector.detect(board, self.quotes.free_e8, changed, event.at_ns)
        touched = tuple(changed)
        changed.clear()
        if not found and not self.detector.gaining and not self.episodes.concerns(touched):
            return NOTHING
        effects: list[Effect] = []
        for item in found:
            effects += self._consider(item, event.at_ns)
        assert not changed, "considering changes no book"
        judged = [effect for effect in effects if isinstance(effect, Judged)]
        return effects + self.episodes.decided(self.detector, touched, judged, event.at_ns)

    def _consider(self, found: Opportunity | Missed, now_ns: int) -> list[Effect]:
        if isinstance(found, Missed):
            self.guard.count(found.reason)
            self._history.missed(found, Asset(self.settings.strategy.reporting_asset))
            return []
        verdict = self.guard.judge(found, self.judge.view(found, now_ns), now_ns)
        plan = self.desk.start(verdict, now_ns) if isinstance(verdict, Approved) else []
        if plan:
            verdict = self._covered(verdict, plan)
        self._history.judged(found, verdict, now_ns)
        effects: list[Effect] = [Judged(found, verdict)]
        if isinstance(verdict, Refused):
            if verdict.reason is Refusal.TOO_GOOD:
                limit_ppm = self.settings.risk.edge_ppm_quarantine
                effects += self._switch_off(self.pairs.quarantine(found, limit_ppm, now_ns))
            return effects
        assert plan, "what is approved becomes a plan"
        return effects + self._commit(plan)

    def _covered(self, verdict: Verdict, plan: Sequence[Effect]) -> Verdict:
        """Refuse what an earlier opportunity of the same decision left no funds for: worst cases are reserved whole."""
        opened = plan[0]
        assert isinstance(opened, Append), "a plan begins with a durable fact"
        assert isinstance(opened.fact, PlanOpened), "that fact is its intent"
        node = self.ledger.uncovered(opened.fact, self.reconciler.locked_e8)
        if node is None:
            return verdict
        self.guard.count(Refusal.INSUFFICIENT_BALANCE)
        return Refused(Refusal.INSUFFICIENT_BALANCE, f"{node}: free inventory does not cover the orders' worst case")

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
        now_ns, settings = event.at_ns, self.settings
        self.quotes.volatility.sample(self.board.books, now_ns)
        if any(until_ns <= now_ns for until_ns in self._held_until_ns.values()):
            self._held_until_ns = {venue: until_ns for venue, until_ns in self._held_until_ns.items() if until_ns > now_ns}
            self._note_links()
        effects = self._advance(now_ns)
        if self.dust.look(settings, self.board.instruments, now_ns) and self.dust.lines and not self.not_armed_because():
            effects += self._commit(self.dust.hedge(settings, self.board.instruments, self.guard.notional_e8_max))
        effects += self._commit(self.reconciler.on_wake(now_ns, settings.execution))
        effects += self._commit(self.kill.on_wake(now_ns, settings.execution.query_interval_ms * MS_NS))
        effects += self.episodes.woken(self.detector, now_ns)
        assert now_ns >= self.quotes.now_ns, "time does not go back"
        return effects

    # -- accounts -----------------------------------------------------------------------------------------------

    def _on_account_up(self, event: AccountLinkUp) -> Sequence[Effect]:
        effects = self.reconciler.on_link_up(event)
        self._note_links()
        return self._commit(effects) + self._advance(event.at_ns)

    def _on_account_down(self, event: AccountLinkDown) -> Sequence[Effect]:
        effects = self.reconciler.on_link_down(event)
        self._note_links()
        assert event.venue in self.desk.closed_venues, "no order goes through a lost link"
        return effects

    def _on_account_read(self, event: AccountRead) -> Sequence[Effect]:
        assert event.asked_ns <= event.at_ns, "an answer comes after its question"
        effects = [*self.kill.on_read(event), *self.reconciler.on_read(event)]
        self._note_links()
        return self._commit(effects)

    def _on_orders_held(self, event: OrdersHeld) -> Sequence[Effect]:
        """Heed a hold; a short one may be over when its word, stamped on arrival, comes through the door."""
        if event.until_ns > event.at_ns:
            self._held_until_ns[event.venue] = max(event.until_ns, self._held_until_ns.get(event.venue, 0))
            self._note_links()
        return ()

    def _note_links(self) -> None:
        """Tell the desk where orders cannot go, and the judge where nothing is entered."""
        silence = self.judge.silence
        shut = dict.fromkeys(self._held_until_ns, "it takes no order of ours for now (429, 418, or its budget is spent)")
        shut |= {Venue(venue): silence for venue, _ in self.markets} if silence else {}
        self.desk.closed_venues = {**self.reconciler.links_down(), **shut}
        self.desk.unproved_venues = self.reconciler.unproved()
        self.judge.untradable = {**self.reconciler.untradable(), **shut}
        assert self.desk.closed_venues.keys() <= self.judge.untradable.keys(), "what takes no order takes no entry"

    def _held_back(self, opportunity: Opportunity) -> Refused | None:
        """Return what is held against an opportunity's pair or its transfers."""
        off = self.pairs.off_reason(opportunity)
        if off:
            return Refused(Refusal.PAIR_DISARMED, off)
        self.dust.refresh(self.settings, self.board.instruments)
        for asset in sorted(self.guard.pairs(opportunity) & self.dust.naked.keys()):
            return Refused(Refusal.PAIR_NAKED, self.dust.naked[asset])
        for transfer in opportunity.transfers:
            assert transfer.source.asset == transfer.target.asset, "a transfer moves one asset"
            for node in (transfer.source, transfer.target):
                if node in self.board.suspended:
                    return Refused(Refusal.LOCKED, f"the wallet of {node} is suspended")
        return None

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
                fact = effect.fact
                done += self._apply(self._with_fee_value(fact) if isinstance(fact, FillBooked) else fact)
                if isinstance(effect.fact, PlanClosed):
                    done += self._judge_pair(effect.fact)
            else:
                done.append(effect)
        return done

    def _with_fee_value(self, fact: FillBooked) -> FillBooked:
        """Say with a fill what its fee is worth now: later books would tell another value."""
        quotes, fill = self.quotes, fact.fill
        quotes.now_ns = max(quotes.now_ns, fact.at_ns)
        assert fact.fee_value_e8 is None, "a fee is valued once"
        return msgspec.structs.replace(fact, fee_value_e8=quotes.value_in_reporting(fill.fee_asset, fill.fee_e8))

    def _judge_pair(self, fact: PlanClosed) -> list[Effect]:
        """Switch a pair off that does not realise what it expects."""
        plan = self.desk.plan(fact.outcome.plan_id)
        assert plan is not None, "a plan that closes is known"
        return self._switch_off(self.pairs.judge(plan.opportunity, fact.outcome, self.settings.execution))

    def _switch_off(self, switched: PairSwitched | None) -> list[Effect]:
        if switched is None:
            return []
        assert switched.is_off, "only a person switches a pair on"
        text = f"pair {switched.pair} disarmed itself: {switched.reason}"
        return [*self._apply(switched), Report(Severity.ERROR, "pair_disarmed", text, {"pair": switched.pair})]

    def _apply(self, fact: Fact) -> list[Effect]:
        closing = self.desk.plan(fact.outcome.plan_id) if isinstance(fact, PlanClosed) else None
        opportunity = closing.opportunity if closing is not None else None
        entries = self.ledger.apply(fact)
        assert fact.at_ns >= 0, "a fact has its time"
        self.desk.apply(fact)
        self.guard.apply(fact)
        self.judge.apply(fact)
        self.kill.apply(fact)
        self.reconciler.apply(fact)
        self.pairs.apply(fact, opportunity)
        self.dust.apply(fact)
        effects: list[Effect] = [Append(fact, tuple(entries))]
        if isinstance(fact, PlanClosed):
            assert opportunity is not None, "a plan that closes is known"
            effects.append(self._history.closed(fact, opportunity))
        elif isinstance(fact, PlanOpened | OrderIntended):
            self.ledger.check()
        return effects

    # -- control ------------------------------------------------------------------------------------------------

    def _on_funded(self, event: Funded) -> Sequence[Effect]:
        assert event.reason, "inventory comes from somewhere"
        return self._apply(event)

    def _on_command(self, event: Command) -> Sequence[Effect]:
        assert event.actor, "somebody said so"
        if event.kind is CommandKind.ACCEPT_DIFFERENCES:
            return self._accept(event)
        if event.kind is CommandKind.ACCEPT_INSTRUMENTS:
            return self.board.accept_instruments()
        is_on = event.kind in (CommandKind.PAUSE, CommandKind.KILL)
        is_pause = event.kind in (CommandKind.PAUSE, CommandKind.RESUME)
        fact = (Paused if is_pause else KillSwitched)(event.at_ns, is_on, event.actor, event.reason)
        text = f"{event.kind.value} by {event.actor}: {event.reason}"
        effects = [*self._apply(fact), Report(Severity.WARNING, event.kind.value, text)]
        return effects + self.kill.strike(event.at_ns) if event.kind is CommandKind.KILL else effects

    def _accept(self, command: Command) -> Sequence[Effect]:
        """Accept one difference by its name, or all: in balances, in words, a pair that is off, a residue that is left."""
        effects: list[Effect] = []
        if command.name in ("", *self.judge.differences):
            effects.append(self.judge.accept_differences(command.actor, command.name))
        effects += self._commit(self.reconciler.accept(command))
        self._note_links()
        for pair in self.pairs.off():
            if command.name in ("", f"{PAIR}{pair}"):
                effects += self._apply(PairSwitched(command.at_ns, pair, False, command.actor, command.reason))
        for residue in self.ledger.residues():
            if command.name == f"{RESIDUE}{residue.asset}" or (not command.name and residue.asset in self.dust.naked):
                effects += self._write_off(residue, command)
        assert command.actor, "somebody accepts"
        return effects

    def _write_off(self, residue: Leftover, command: Command) -> Sequence[Effect]:
        if self.dust.is_hedged_now(residue.asset):
            text = f"{RESIDUE}{residue.asset} is not written off: an order that hedges it is under way; accept what it leaves"
            return [Report(Severity.WARNING, "residue_not_accepted", text, {"asset": residue.asset})]
        self.dust.naked.pop(residue.asset, None)
        return self._apply(ResidueWrittenOff(command.at_ns, residue.asset, residue.amount_e8, command.actor, command.reason))

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
        effects = self.judge.on_store(event)
        self._note_links()
        return effects

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

    def differences(self) -> tuple[str, ...]:
        """Name everything that an operator can accept: each name goes with `ACCEPT_DIFFERENCES`."""
        pairs = (f"{PAIR}{pair}" for pair in self.pairs.off())
        residues = (f"{RESIDUE}{asset}" for asset in self.dust.naked)
        return (*self.judge.differences, *self.reconciler.differences(), *pairs, *residues)

    def account_standing(self, venue: Venue) -> str:
        """Say how the account at a venue stands; empty where this mode has none."""
        account = self.reconciler.accounts.get(venue)
        return account.standing_text() if account is not None else ""

    # -- state --------------------------------------------------------------------------------------------------

    def snapshot(self, session_id: str, at_ns: int, journal_sequence: int) -> Snapshot:
        """Return the durable state; market data is not part of it."""
        sections: dict[str, msgspec.Struct] = {
            "ledger": self.ledger.snapshot(),
            "desk": self.desk.snapshot(),
            "guard": self.guard.snapshot(),
            "kill": self.kill.state,
            "pairs": self.pairs.state,
        }
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
            kill = msgspec.json.decode(snapshot.sections.get("kill", EMPTY), type=KillState)
            pairs = msgspec.json.decode(snapshot.sections.get("pairs", EMPTY), type=PairsState)
            try:
                self.guard.restore(guard)
            except ValueError as refusal:
                raise RestoreRefused(f"{refusal}: put the old one back, or name another session (session_name)") from refusal
            self.ledger = Ledger.restore(ledger, self._instrument)
            self.desk.restore(desk)
            self.kill.restore(kill, guard.kill_reason)
            self.pairs.restore(pairs)
            self.quotes.ledger = self.judge.ledger = self.reconciler.ledger = self.ledger
        count = 0
        for fact in facts:
            self._apply(fact)
            count += 1
        self._adopt_markets()
        self.reconciler.note_left()
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
