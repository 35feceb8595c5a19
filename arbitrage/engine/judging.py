"""Puts together what the guard reads, and knows what keeps trading disarmed. Judges nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from arbitrage.engine.quotes import BookQuotes
from arbitrage.execution.desk import Desk
from arbitrage.ledger.ledger import Ledger
from arbitrage.market.board import Board
from arbitrage.model.effects import Effect, Report, Severity
from arbitrage.model.events import StoreReported
from arbitrage.model.facts import Fact, PlanClosed
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Opportunity, Refused, VenueHealth
from arbitrage.risk.guard import Guard
from arbitrage.risk.view import Quote, RiskView
from arbitrage.strategy.board import refusal_of

MS_NS = 1_000_000
COOLING_MAX = 1_000
"""Cycles whose rest after a closed plan is remembered; the oldest is forgotten first."""


class Judge:
    """The house as the guard sees it."""

    def __init__(self, board: Board, ledger: Ledger, desk: Desk, guard: Guard, quotes: BookQuotes) -> None:
        self.ledger = ledger
        self._board = board
        self._desk = desk
        self._guard = guard
        self._quotes = quotes
        self._store: StoreReported | None = None
        self._seen_up: set[str] = set()
        self._away: set[str] = set()
        """Stores that were up and whose absence has been said."""
        self._differences: list[str] = []
        self._closed_at_ns: dict[int, int] = {}
        self.account_reasons: Callable[[], tuple[str, ...]] = tuple
        """What the venues' accounts hold against trading at all; told by the engine."""
        self.untradable: Mapping[Venue, str] = {}
        """Venues where nothing is entered because of their account's link, and why; told by the engine."""
        self.held_back: Callable[[Opportunity], Refused | None] = _nothing_against
        """What is held against an opportunity's pair or its transfers; told by the engine."""

    def view(self, opportunity: Opportunity, now_ns: int) -> RiskView:
        """Return everything the guard may hold against this opportunity, as of now."""
        assert opportunity.legs, "an opportunity has legs"
        self._quotes.now_ns = now_ns
        plans = self._desk.open_plans()
        naked = [*(plan for plan in plans if plan.is_naked), *self._desk.owing_plans()]
        pairs = [self._guard.pairs(plan.opportunity) for plan in naked]
        return RiskView(
            unarmed_reason="; ".join(self.not_armed_because()),
            store_fault=self._store_fault(),
            venues={venue: self.venue_health(venue, now_ns) for venue in _venues(opportunity)},
            doubts=self._doubts(opportunity, now_ns),
            quotes=self._identity_quotes(opportunity),
            open_opportunities=[plan.opportunity for plan in plans],
            busy_cycles=self._busy_cycles(now_ns),
            busy_pairs=frozenset().union(*pairs),
            busy_markets={order.market: self._name(order.market) for order in self._desk.open_orders()},
            exposures_e8=self._values(self.ledger.exposure_e8()),
            carried_fx_e8=self._values(self.ledger.carried_e8()),
        )

    def not_armed_because(self) -> tuple[str, ...]:
        """Return every reason that keeps new entries away, in words; empty when armed."""
        memory = self._guard.memory
        reasons = [*self._differences, *self.account_reasons()]
        if memory.kill_reason:
            reasons.append(f"kill switch: {memory.kill_reason}")
        if memory.pause_reason:
            reasons.append(f"paused: {memory.pause_reason}")
        if self._store is None:
            reasons.append("the journal has not reported yet")
        elif fault := self._store_fault():
            reasons.append(fault)
        if self._board.instruments_version == 0:
            reasons.append("no instrument rules have been read yet")
        return tuple(reasons)

    def apply(self, fact: Fact) -> None:
        """Remember when a cycle's plan ended, so that it rests."""
        if not isinstance(fact, PlanClosed):
            return
        plan = self._desk.plan(fact.outcome.plan_id)
        assert plan is not None, "a plan that closes is known"
        self._closed_at_ns[plan.opportunity.cycle] = fact.at_ns
        if len(self._closed_at_ns) > COOLING_MAX:
            del self._closed_at_ns[next(iter(self._closed_at_ns))]
        assert len(self._closed_at_ns) <= COOLING_MAX, "memory is bounded"

    def on_store(self, event: StoreReported) -> list[Effect]:
        """Take in how the stores stand; say so when it changed."""
        assert event.journal_bytes_waiting >= 0, "what waits is counted"
        before, self._store = self._store, event
        effects: list[Effect] = []
        for name, is_up, away in (
            ("PostgreSQL", event.is_postgres_up, "the journal carries on to its bound"),
            ("Redis", event.is_redis_up, "trading goes on without rolling metrics"),
        ):
            if is_up:
                if name in self._away:
                    effects.append(Report(Severity.WARNING, name.lower(), f"{name} is back"))
                self._seen_up.add(name)
                self._away.discard(name)
            elif name in self._seen_up and name not in self._away:
                effects.append(Report(Severity.WARNING, name.lower(), f"{name} is away: {away}"))
                self._away.add(name)
        if event.is_journal_full and not (before is not None and before.is_journal_full):
            effects.append(Report(Severity.ERROR, "journal_full", "the journal's bound is reached: no new entries"))
        return effects

    @property
    def silence(self) -> str:
        """Why not even an open leg may be finished now; empty where that may be."""
        return self._store.lease_fault if self._store is not None and self._store.is_silenced else ""

    def add_difference(self, text: str) -> Effect:
        """Keep trading disarmed until this is accepted."""
        assert text, "a difference says what differs"
        self._differences.append(text)
        return Report(Severity.WARNING, "difference", text)

    @property
    def differences(self) -> tuple[str, ...]:
        """The differences that start-up found, in words; each is its own name."""
        return tuple(self._differences)

    def venue_health(self, venue: Venue, now_ns: int) -> VenueHealth:
        """Return what may be known of a venue: its market data, and the link to our account there."""
        health, reason = self._board.venue_health(venue, now_ns), self.untradable.get(venue, "")
        assert health.venue == venue, "health is of its venue"
        return msgspec.structs.replace(health, is_connected=False, reason=reason) if reason else health

    def accept_differences(self, actor: str, name: str = "") -> Effect:
        """Forget one difference, or all: somebody looked at them."""
        assert actor, "somebody accepts"
        kept = [text for text in self._differences if name and text != name]
        count, self._differences = len(self._differences) - len(kept), kept
        return Report(Severity.WARNING, "differences_accepted", f"{count} differences accepted by {actor}")

    def _store_fault(self) -> str:
        if self._store is not None and self._store.lease_fault:
            return self._store.lease_fault
        if self._store is None or not self._store.is_journal_full:
            return ""
        return f"the journal is full or cannot be written ({self._store.journal_bytes_waiting} bytes wait for PostgreSQL)"

    def _doubts(self, opportunity: Opportunity, now_ns: int) -> dict[int, Refused]:
        found = {}
        for leg in opportunity.legs:
            doubt = self._board.doubt(leg.market, now_ns)
            if doubt is not None:
                found[leg.market] = Refused(refusal_of(doubt), f"{self._name(leg.market)}: {doubt.value}")
        against = self.held_back(opportunity)
        if against is not None:
            found.setdefault(opportunity.legs[0].market, against)
        return found

    def _name(self, market: int) -> str:
        instrument = self._board.instruments[market]
        return f"{instrument.venue} {instrument.symbol}" if instrument is not None else f"market {market}"

    def _identity_quotes(self, opportunity: Opportunity) -> dict[Node, Quote]:
        found = {}
        for transfer in opportunity.transfers:
            if not self._guard.is_questioned(transfer.source.asset):
                continue
            for node in (transfer.source, transfer.target):
                quote = self._quotes.unit_quote(node)
                if quote is not None:
                    found[node] = Quote(*quote)
        return found

    def _busy_cycles(self, now_ns: int) -> frozenset[int]:
        rest_ns = self._desk.settings.cooldown_ms * MS_NS
        cooling = {cycle for cycle, closed_ns in self._closed_at_ns.items() if now_ns < closed_ns + rest_ns}
        assert rest_ns >= 0, "rest takes time"
        return frozenset(cooling | {plan.opportunity.cycle for plan in self._desk.open_plans()})

    def _values(self, amounts: dict[Asset, int]) -> dict[Asset, int | None]:
        return {asset: self._quotes.value_in_reporting(asset, e8) if e8 else 0 for asset, e8 in amounts.items()}


def _nothing_against(opportunity: Opportunity) -> Refused | None:
    assert opportunity.legs, "an opportunity has legs"
    return None


def _venues(opportunity: Opportunity) -> tuple[Venue, ...]:
    venues = tuple(dict.fromkeys(leg.spent.venue for leg in opportunity.legs))
    assert venues, "a leg stands at a venue"
    return venues
