"""The depth that is left for us: what a book shows less what we took of it. Never writes to the book.

What we take stays taken until a newer update changes that very level; a level that is seen gone or changed starts afresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from arbitrage.model.events import Level
from arbitrage.model.instruments import Instrument, Side
from arbitrage.model.money import recover_quantity_down_e8

LEVELS_MAX = 5_000
"""No venue shows more levels of one side than this."""


class Book(Protocol):
    """What is read of a book."""

    def shown(self, side: Side, limit: int) -> list[Level]:
        """Return what the venue shows an order of that side, best first; what we took of it is kept here."""
        ...


class Offer(msgspec.Struct):
    """What is left for us at one price."""

    price: float
    shown: float
    price_e8: int
    free_e8: int


class Taken(msgspec.Struct):
    """What we took of a level, and how the level looked when we did."""

    shown: float
    quantity_e8: int


class Depth:
    """Our consumption of every book, by level."""

    def __init__(self) -> None:
        self._taken: dict[tuple[int, Side], dict[float, Taken]] = {}
        self.levels_off_grid = 0
        """Levels that no grid price of the instrument explains; nothing at or behind them is matched."""

    def offers(self, instrument: Instrument, side: Side, book: Book) -> Iterator[Offer]:
        """Yield what an order of `side` would hit and may still have, best first, exact on the instrument's grids."""
        levels = book.shown(side, LEVELS_MAX)
        taken = self._still_taken(instrument.id, side, levels)
        for price, shown in levels:
            try:
                price_e8 = instrument.ticks.recover_e8(price)
                shown_e8 = recover_quantity_down_e8(shown, instrument.lot_e8)
            except ValueError:
                self.levels_off_grid += 1
                return
            ours = taken.get(price)
            free_e8 = shown_e8 - (ours.quantity_e8 if ours else 0)
            assert free_e8 >= 0, "we never take more than was shown"
            if free_e8 > 0:
                yield Offer(price, shown, price_e8, free_e8)

    def take(self, market: int, side: Side, offer: Offer, quantity_e8: int) -> None:
        """Remember that we took this much of an offer."""
        assert 0 < quantity_e8 <= offer.free_e8, "we take of what is offered"
        taken = self._taken.setdefault((market, side), {}).setdefault(offer.price, Taken(offer.shown, 0))
        assert taken.shown == offer.shown, "a changed level was started afresh"
        taken.quantity_e8 += quantity_e8

    def _still_taken(self, market: int, side: Side, levels: list[Level]) -> dict[float, Taken]:
        taken = self._taken.get((market, side))
        if not taken:
            return {}
        shown = dict(levels)
        kept = {price: row for price, row in taken.items() if shown.get(price) == row.shown}
        self._taken[market, side] = kept
        return kept
