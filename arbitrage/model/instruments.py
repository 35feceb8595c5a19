"""What can be traded and by which rules: instruments, price-banded tick tables, fee schedules. Holds no prices."""

from __future__ import annotations

import enum
from typing import NewType

import msgspec

from arbitrage.model.money import PPM, Asset, ceil_to, floor_to, recover_price_e8

Venue = NewType("Venue", str)
"""A venue's configured name, such as `binance` or `upbit`."""


class Node(msgspec.Struct, frozen=True, gc=False, order=True):
    """Where inventory sits: one asset at one venue."""

    venue: Venue
    asset: Asset

    def __str__(self) -> str:
        return f"{self.asset}@{self.venue}"


class Side(enum.Enum):
    """Our side of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class TradingStatus(enum.Enum):
    """Whether the venue takes orders. Anything unknown on the wire becomes HALTED."""

    TRADING = "trading"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"


class TickBand(msgspec.Struct, frozen=True):
    """From this price upwards (inclusive) prices are multiples of this tick."""

    price_from_e8: int
    tick_e8: int


class TickTable(msgspec.Struct, frozen=True):
    """Ticks by price band, ascending and starting at price 0. A venue with one tick has one band."""

    bands: tuple[TickBand, ...]

    def __post_init__(self) -> None:
        assert self.bands and self.bands[0].price_from_e8 == 0, "a tick table starts at price 0"
        assert all(a.price_from_e8 < b.price_from_e8 for a, b in zip(self.bands, self.bands[1:], strict=False)), "bands ascend"
        assert all(band.tick_e8 > 0 for band in self.bands), "ticks are positive"

    @classmethod
    def single(cls, tick_e8: int) -> TickTable:
        return cls((TickBand(0, tick_e8),))

    def tick_e8_at(self, price_e8: int) -> int:
        """Return the tick of the band that holds `price_e8`."""
        assert price_e8 >= 0, "bands start at price 0"
        tick = self.bands[0].tick_e8
        for band in self.bands:
            if price_e8 < band.price_from_e8:
                break
            tick = band.tick_e8
        return tick

    def floor(self, price_e8: int) -> int:
        """Round down to the grid: a buy price is never rounded up."""
        return floor_to(price_e8, self.tick_e8_at(price_e8))

    def ceil(self, price_e8: int) -> int:
        """Round up to the grid: a sell price is never rounded down. The result sits on its own band's grid too."""
        rounded = ceil_to(price_e8, self.tick_e8_at(price_e8))
        result = ceil_to(rounded, self.tick_e8_at(rounded))
        assert result % self.tick_e8_at(result) == 0, "a price sits on its own band's grid"
        return result

    def recover_e8(self, price: float) -> int:
        """Recover the exact price that a decoded float stands for. Raises ValueError when no grid price is near."""
        rough_e8 = round(price * 1e8) if 0.0 < price < 1e18 else 0
        return recover_price_e8(price, self.tick_e8_at(rough_e8))


class FeePayment(enum.Enum):
    """Which asset a fee is taken from."""

    RECEIVED = "received"
    """From what the trade yields: base on a buy, quote on a sell (Binance without BNB)."""
    QUOTE = "quote"
    """Always quote: on top of a buy's total, out of a sell's proceeds (Upbit)."""
    NAMED = "named"
    """From a third asset such as BNB, valued by the venue at the time of the fill."""


class FeeSchedule(msgspec.Struct, frozen=True):
    """Fees of one market. Rates in parts per million; a rebate is negative."""

    maker_ppm: int
    taker_ppm: int
    payment: FeePayment
    named_asset: Asset | None = None

    def __post_init__(self) -> None:
        assert abs(self.maker_ppm) <= PPM, "a fee is at most the whole amount"
        assert abs(self.taker_ppm) <= PPM, "a fee is at most the whole amount"
        assert (self.payment is FeePayment.NAMED) == (self.named_asset is not None), "a named fee names its asset"


class Instrument(msgspec.Struct, frozen=True):
    """One tradable pair at one venue. `id` is dense, from the configured market list, and stable for a process's life."""

    id: int
    venue: Venue
    symbol: str
    base: Asset
    quote: Asset
    ticks: TickTable
    lot_e8: int
    quantity_e8_min: int
    quantity_e8_max: int
    notional_e8_min: int
    status: TradingStatus
    fees: FeeSchedule
    tick_read_e8: int = 0
    """The tick that the venue stated at its price of the moment; 0 where its rule states the whole table."""

    def __post_init__(self) -> None:
        assert self.id >= 0 and self.base != self.quote, "an instrument has an id and two assets"
        assert self.lot_e8 > 0, "a lot is positive"
        assert 0 <= self.quantity_e8_min <= self.quantity_e8_max, "quantity limits are ordered"
        assert self.notional_e8_min >= 0, "a minimum notional is not negative"

    def spent_node(self, side: Side) -> Node:
        """Return where an order of this side takes inventory from."""
        return Node(self.venue, self.quote if side is Side.BUY else self.base)

    def received_node(self, side: Side) -> Node:
        """Return where an order of this side puts inventory."""
        return Node(self.venue, self.base if side is Side.BUY else self.quote)


CONTRACT_FIELDS = (
    "base",
    "quote",
    "ticks",
    "lot_e8",
    "quantity_e8_min",
    "quantity_e8_max",
    "notional_e8_min",
    "status",
    "fees",
)
"""Fields whose change at the venue holds the symbol until an operator or a restart accepts it."""


def changed_fields(before: Instrument, after: Instrument) -> tuple[str, ...]:
    """Name the contract fields in which two readings of the same instrument differ."""
    assert before.id == after.id, "compare one instrument with itself"
    return tuple(name for name in CONTRACT_FIELDS if getattr(before, name) != getattr(after, name))
