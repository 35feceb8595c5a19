"""Orders and fills: a client order id made before sending, a state that can be UNKNOWN, fills known by the venue's trade id."""

from __future__ import annotations

import enum
from typing import NewType

import msgspec

from arbitrage.model.instruments import Side, Venue
from arbitrage.model.money import Asset

ClientOrderId = NewType("ClientOrderId", str)
"""Ours, made before sending, never reused for another intention; `A-Za-z0-9-_`, at most 36 characters."""
PlanId = NewType("PlanId", str)


class OrderState(enum.Enum):
    """Where an order stands. A lost acknowledgement is UNKNOWN, never failed."""

    INTENDED = "intended"
    OPEN = "open"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    """Ended by us or by its own rule (an IOC's rest) with or without fills: decide by the filled quantity, not the word."""
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        return self in (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED)


class TimeInForce(enum.Enum):
    """How long an order may rest."""

    IOC = "ioc"
    GTC = "gtc"


class Order(msgspec.Struct, frozen=True, gc=False):
    """One limit order as it is sent. Immutable: what happens to it arrives as events."""

    client_order_id: ClientOrderId
    plan_id: PlanId
    leg_index: int
    venue: Venue
    market: int
    side: Side
    price_e8: int
    quantity_e8: int
    time_in_force: TimeInForce
    valid_until_ns: int = 0
    """Engine time after which it is neither sent nor taken (Binance `recvWindow`); 0 in what was kept before it existed."""

    def __post_init__(self) -> None:
        assert self.price_e8 > 0 and self.quantity_e8 > 0, "an order has a price and a quantity"


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution as the venue booked it. `quote_e8` is the venue's own total for it, never recomputed later."""

    venue: Venue
    market: int
    client_order_id: ClientOrderId
    trade_id: str
    side: Side
    price_e8: int
    quantity_e8: int
    quote_e8: int
    fee_e8: int
    fee_asset: Asset
    is_maker: bool = False

    def __post_init__(self) -> None:
        assert self.quantity_e8 > 0 and self.quote_e8 >= 0, "a fill moves something"
