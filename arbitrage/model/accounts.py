"""What comparing our books with a venue's account found: differences, standings, reports, receipts. Decides nothing.

A report is kept as a fact, so it holds everything a person needs to read it without the ledger it was made from.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.events import AccountBalance, OpenOrder
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.money import Asset, format_e8
from arbitrage.model.orders import ClientOrderId, OrderState, PlanId


class Difference(msgspec.Struct, frozen=True):
    """One asset of which a venue says it holds something else than the ledger does. Totals: free and locked together."""

    venue: Venue
    asset: Asset
    ledger_e8: int
    venue_e8: int

    def __post_init__(self) -> None:
        assert self.ledger_e8 != self.venue_e8, "what agrees is no difference"

    @property
    def name(self) -> str:
        """What an operator accepts it by."""
        return f"{self.venue}-{self.asset}"

    @property
    def amount_e8(self) -> int:
        """What would have to be booked for the ledger to agree, signed."""
        return self.venue_e8 - self.ledger_e8

    def __str__(self) -> str:
        amounts = (format_e8(amount_e8) for amount_e8 in (self.ledger_e8, self.venue_e8, self.amount_e8))
        return "{} {}: ledger {}, venue {}, difference {}".format(self.venue, self.asset, *amounts)


class LeftOrder(msgspec.Struct, frozen=True):
    """An order whose end was not known when the daemon stopped."""

    client_order_id: ClientOrderId
    venue: Venue
    market: int
    side: Side
    quantity_e8: int
    filled_quantity_e8: int
    state: OrderState

    def __post_init__(self) -> None:
        assert self.filled_quantity_e8 >= 0, "an order fills something or nothing"
        assert self.quantity_e8 > 0, "an order has a quantity"


class BookedFill(msgspec.Struct, frozen=True):
    """A fill that was found at the venue and entered the ledger while the account was compared."""

    client_order_id: ClientOrderId
    trade_id: str
    market: int
    side: Side
    quantity_e8: int
    quote_e8: int

    def __post_init__(self) -> None:
        assert self.quantity_e8 > 0, "a fill moves something"


class VenueStanding(msgspec.Struct, frozen=True):
    """What one venue said of our account, and what came of it."""

    venue: Venue
    asked_ns: int
    at_ns: int
    balances: tuple[AccountBalance, ...]
    funded: tuple[AccountBalance, ...] = ()
    """Taken over whole, because the ledger knew nothing of this venue yet."""
    adopted: tuple[ClientOrderId, ...] = ()
    """Our open orders that are still worked."""
    cancelled: tuple[ClientOrderId, ...] = ()
    """Open orders that bear our ids and that nobody works any more."""
    booked: tuple[BookedFill, ...] = ()
    foreign: tuple[OpenOrder, ...] = ()
    """Open orders of somebody else: listed, never touched."""
    differences: tuple[Difference, ...] = ()

    def __post_init__(self) -> None:
        assert self.asked_ns <= self.at_ns, "an answer comes after its question"
        assert all(each.venue == self.venue for each in self.differences), "a standing is of one venue"


class RestartReport(msgspec.Struct, frozen=True):
    """What was left, what the venues say, what differs, was adopted, cancelled and booked, and whether trading is armed."""

    at_ns: int
    occasion: str
    """`start`, `link NAME`, or `accepted NAME by WHO`."""
    left_plans: tuple[PlanId, ...]
    left_orders: tuple[LeftOrder, ...]
    venues: tuple[VenueStanding, ...]
    not_armed_because: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.occasion, "a report has its occasion"
        assert len({each.venue for each in self.venues}) == len(self.venues), "each venue stands once"

    @property
    def is_armed(self) -> bool:
        return not self.not_armed_because


class VenueAnswer(msgspec.Struct, frozen=True):
    """What a venue said when it was asked whether orders of ours are open."""

    venue: Venue
    asked_ns: int
    at_ns: int
    own_orders: int
    foreign_orders: int

    def __post_init__(self) -> None:
        assert self.own_orders >= 0, "orders are counted"
        assert self.foreign_orders >= 0, "orders are counted"


class KillReceipt(msgspec.Struct, frozen=True):
    """That the kill switch was set, what was cancelled, and each venue's word that nothing of ours is open any more."""

    killed_at_ns: int
    actor: str
    reason: str
    cancelled: tuple[ClientOrderId, ...] = ()
    answers: tuple[VenueAnswer, ...] = ()
    """The last word of each venue with an account; none where orders never left the house."""
    proven_at_ns: int = 0
    """0 until proven."""

    def __post_init__(self) -> None:
        is_silent = not any(each.own_orders for each in self.answers)
        assert is_silent or not self.proven_at_ns, "what a venue still shows open is not proven away"
