"""What strategy reads of the market room, as protocols, and what a doubt means here. Holds no book and keeps no state.

Any object of this shape will do, so tests and the `cycles` command hand plain tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from arbitrage.model.events import Level
from arbitrage.model.instruments import Instrument, Side
from arbitrage.model.opportunities import Refusal


class Book(Protocol):
    """One market's executable depth. Prices are the floats that decoding yields; 0.0 says that a side is empty."""

    @property
    def best_bid(self) -> float: ...

    @property
    def best_bid_quantity(self) -> float: ...

    @property
    def best_ask(self) -> float: ...

    @property
    def best_ask_quantity(self) -> float: ...

    def levels(self, side: Side, limit: int) -> Sequence[Level]:
        """Return what an order of that side would hit, best first, at most `limit` levels."""
        ...


class Doubt(Protocol):
    """Why a market may not be traded on now: a member of the market room's enumeration."""

    @property
    def value(self) -> str: ...


class Board(Protocol):
    """Every market by its dense id."""

    @property
    def books(self) -> Sequence[Book]: ...

    @property
    def instruments(self) -> Sequence[Instrument | None]: ...

    @property
    def instruments_version(self) -> int: ...

    def doubt(self, market: int, now_ns: int) -> Doubt | None: ...

    def age_ms(self, market: int, now_ns: int) -> int: ...


REFUSALS: Mapping[str, Refusal] = MappingProxyType(
    {
        "missing": Refusal.SYMBOL_HALTED,
        "halted": Refusal.SYMBOL_HALTED,
        "held": Refusal.SYMBOL_HELD,
        "link_down": Refusal.VENUE_UNHEALTHY,
        "never_synced": Refusal.GAPPED_MARKET,
        "gap": Refusal.GAPPED_MARKET,
        "crossed": Refusal.CROSSED_MARKET,
        "silent_link": Refusal.VENUE_UNHEALTHY,
        "stale": Refusal.STALE_MARKET,
        "clock_offset": Refusal.CLOCK_OFFSET,
    }
)
"""By a doubt's value; every other doubt is DOUBTFUL_MARKET."""


def refusal_of(doubt: Doubt) -> Refusal:
    """Return the refusal that follows from a market's doubt."""
    assert doubt.value, "a doubt has a name"
    return REFUSALS.get(doubt.value, Refusal.DOUBTFUL_MARKET)
