"""The kill switch after it was set: cancels what may be open, and is proven by every venue's own word. Needs no prices.

It is set and released by facts, so it outlives a restart, and what was not proven yet is proven after it.
"""

from __future__ import annotations

import msgspec

from arbitrage.engine.account import sort_orders
from arbitrage.execution.desk import Desk
from arbitrage.model.accounts import KillReceipt, VenueAnswer
from arbitrage.model.effects import Append, CancelOrder, Effect, ReadAccount, Report, Severity
from arbitrage.model.events import AccountRead, OpenOrder
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillProven,
    KillSwitched,
    OrderChanged,
    OrderIntended,
    PlanOpened,
)
from arbitrage.model.instruments import Venue
from arbitrage.model.orders import ClientOrderId

PACE_NS_MAX = 10_000_000_000
"""A proof that does not come is asked for ever more slowly, up to this: reading an account every second costs a venue's whole
budget (reference binance-spot 4)."""
REPEATS_MAX = 10


class KillState(msgspec.Struct, frozen=True):
    """The kill switch as a snapshot section."""

    receipt: KillReceipt | None = None
    last_proven: KillReceipt | None = None


class Kill:
    """One kill switch and its proof."""

    def __init__(self, desk: Desk, venues: tuple[Venue, ...]) -> None:
        assert len(set(venues)) == len(venues), "each venue gives one answer"
        self.desk = desk
        self.state = KillState()
        self._venues = venues
        self._answers: dict[Venue, VenueAnswer] = {}
        self._strays: dict[ClientOrderId, None] = {}
        """Orders of ours that a venue showed and the desk did not know as open."""
        self._moved_ns = self._asked_ns = 0
        """When an order last changed: an answer asked for before says nothing about it. When the venues were last asked."""
        self._repeats = 0
        """How often they were asked in vain since an order last moved."""

    @property
    def unproven(self) -> KillReceipt | None:
        """Return the receipt as begun, while the switch is on and not every venue has said that nothing of ours is open."""
        receipt = self.state.receipt
        return receipt if receipt is not None and not receipt.proven_at_ns else None

    def apply(self, fact: Fact) -> None:
        """Take in a durable fact."""
        match fact:
            case KillSwitched(is_on=True):
                cancelled = tuple(order.client_order_id for order, _ in self.desk.unfinished())
                receipt = KillReceipt(fact.at_ns, fact.actor, fact.reason, cancelled)
                self._set(receipt)
            case KillSwitched():
                self._set(None)
            case KillProven(receipt=receipt):
                self._set(receipt)
                self.state = msgspec.structs.replace(self.state, last_proven=receipt)
            case PlanOpened() | OrderIntended() | OrderChanged() | FillBooked():
                self._moved_ns = max(self._moved_ns, fact.at_ns)
                if not isinstance(fact, OrderChanged) or fact.state.is_terminal:
                    self._repeats = 0
            case _:
                pass

    def strike(self, now_ns: int) -> list[Effect]:
        """Ask for the cancellation of every order that may still be open, and every venue for its word."""
        orders = [order for order, _ in self.desk.unfinished()]
        assert len({order.client_order_id for order in orders}) == len(orders), "each is cancelled once"
        cancels: list[Effect] = [CancelOrder(order.venue, order.market, order.client_order_id) for order in orders]
        return cancels + self._ask(now_ns, self._venues)

    def on_read(self, event: AccountRead) -> list[Effect]:
        """Take a venue's word; cancel what it still shows of ours."""
        if self.unproven is None or event.venue not in self._venues:
            return []
        orders = sort_orders(event.open_orders, self.desk)
        own = orders.working + orders.stray
        self._answers[event.venue] = VenueAnswer(event.venue, event.asked_ns, event.at_ns, len(own), len(orders.foreign))
        self._strays.update(dict.fromkeys(order.client_order_id for order in own))
        assert len(self._answers) <= len(self._venues), "each venue has one last word"
        return [_cancel(event.venue, order) for order in own] + self._prove(event.at_ns)

    def on_wake(self, now_ns: int, pace_ns: int) -> list[Effect]:
        """Ask again while the proof is not there, and only where it is not."""
        assert pace_ns > 0, "venues are asked at a pace"
        receipt = self.unproven
        if receipt is None or now_ns - self._asked_ns < min(pace_ns << self._repeats, max(pace_ns, PACE_NS_MAX)):
            return []
        self._repeats = min(self._repeats + 1, REPEATS_MAX)
        proven = {each.venue for each in self._proven(receipt)}
        return self._ask(now_ns, tuple(venue for venue in self._venues if venue not in proven))

    def _ask(self, now_ns: int, venues: tuple[Venue, ...]) -> list[Effect]:
        self._asked_ns = now_ns
        assert now_ns >= 0, "a question has its time"
        return [ReadAccount(venue, "the kill switch is on: are orders of ours open?") for venue in venues]

    def _proven(self, receipt: KillReceipt) -> tuple[VenueAnswer, ...]:
        """Return the answers that showed nothing of ours and were asked for after anything of ours last moved."""
        since_ns = max(self._moved_ns, receipt.killed_at_ns)
        answers = [self._answers.get(venue) for venue in self._venues]
        return tuple(each for each in answers if each is not None and not each.own_orders and each.asked_ns > since_ns)

    def _prove(self, now_ns: int) -> list[Effect]:
        """Write the receipt once nothing of ours is under way and every venue, asked after that, showed nothing of ours."""
        receipt = self.unproven
        assert receipt is not None, "what is proven is not proven again"
        proven = self._proven(receipt)
        if self.desk.unfinished() or len(proven) < len(self._venues):
            return []
        cancelled = tuple(dict.fromkeys((*receipt.cancelled, *self._strays)))
        done = msgspec.structs.replace(receipt, cancelled=cancelled, answers=proven, proven_at_ns=now_ns)
        text = f"kill switch proven: {', '.join(self._venues)} show no open order of ours; {len(cancelled)} were cancelled"
        return [Append(KillProven(now_ns, done)), Report(Severity.WARNING, "kill_proven", text)]

    def restore(self, state: KillState, kill_reason: str) -> None:
        """Take over a snapshot's state. A switch that was set before receipts were kept gets one now."""
        self.state = state
        if kill_reason and state.receipt is None:
            self._set(KillReceipt(0, "before this version", kill_reason))
        assert bool(kill_reason) == (self.state.receipt is not None), "the switch is on in every room or in none"

    def _set(self, receipt: KillReceipt | None) -> None:
        self.state = msgspec.structs.replace(self.state, receipt=receipt)
        self._answers.clear()
        self._strays.clear()
        self._repeats = 0


def _cancel(venue: Venue, order: OpenOrder) -> Effect:
    if order.market is not None:
        return CancelOrder(venue, order.market, order.client_order_id)
    text = f"{venue}: our order {order.client_order_id} in {order.symbol}, which is not configured, must be cancelled by hand"
    return Report(Severity.ERROR, "kill_order_unreachable", text, {"venue": venue, "order": order.client_order_id})
