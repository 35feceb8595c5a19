"""The timed changes a scenario is made of: exact levels, trades, recorded frames, a restart. Knows no wire and no clock.

`at_ns` counts from the scenario's own start. Prices and quantities are in units of 1e-8.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from arbitrage.model.instruments import Side

VenueKind = Literal["binance", "upbit"]
LevelE8 = tuple[int, int]
"""Price and quantity; quantity 0 deletes."""


class BookChanged(msgspec.Struct, frozen=True):
    """Levels that took a new absolute quantity, all at once."""

    at_ns: int
    venue: VenueKind
    symbol: str
    bids: tuple[LevelE8, ...]
    asks: tuple[LevelE8, ...]


class Traded(msgspec.Struct, frozen=True):
    """Somebody's trade. The level it took from changes by a `BookChanged` of the same moment."""

    at_ns: int
    venue: VenueKind
    symbol: str
    price_e8: int
    quantity_e8: int
    taker_side: Side
    trade_id: int = 0
    """Set where our own account took part: the id its executions carry. Zero lets the market number it."""


class SnapshotRead(msgspec.Struct, frozen=True):
    """A recorded REST depth answer, which the recording's own book starts from."""

    at_ns: int
    venue: VenueKind
    symbol: str
    raw: str


class FramePlayed(msgspec.Struct, frozen=True):
    """A recorded frame, sent on byte for byte. `stream` is Binance's stream name, or Upbit's message type."""

    at_ns: int
    venue: VenueKind
    symbol: str
    stream: str
    raw: str


class Restarted(msgspec.Struct, frozen=True):
    """The story jumps: books of these symbols are emptied and every socket that watches one is closed with 1001."""

    at_ns: int
    venue: VenueKind
    symbols: tuple[str, ...]


Change = BookChanged | Traded | SnapshotRead | FramePlayed | Restarted
