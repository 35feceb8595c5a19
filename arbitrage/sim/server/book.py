"""The venue's own book: exact levels in order, the truth that clients must arrive at. Knows no wire."""

from __future__ import annotations

import bisect

from arbitrage.sim.scenarios.changes import LevelE8


class BookSide:
    """Levels of one side, best first."""

    def __init__(self, *, is_bid: bool) -> None:
        self._sign = -1 if is_bid else 1
        self._keys: list[int] = []
        self._quantities: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def set(self, price_e8: int, quantity_e8: int) -> bool:
        """Set a level's absolute quantity (0 deletes) and tell whether anything changed."""
        assert price_e8 > 0 and quantity_e8 >= 0, "levels have a price and no negative quantity"
        before = self._quantities.get(price_e8, 0)
        if before == quantity_e8:
            return False
        if quantity_e8 == 0:
            del self._quantities[price_e8]
            del self._keys[bisect.bisect_left(self._keys, self._sign * price_e8)]
            return True
        if not before:
            bisect.insort(self._keys, self._sign * price_e8)
        self._quantities[price_e8] = quantity_e8
        return True

    def levels(self, limit: int | None = None) -> list[LevelE8]:
        """Return the best levels."""
        keys = self._keys if limit is None else self._keys[:limit]
        return [(self._sign * key, self._quantities[self._sign * key]) for key in keys]

    def quantity_e8(self, price_e8: int) -> int:
        """Return what stands at a price."""
        return self._quantities.get(price_e8, 0)

    def best(self) -> LevelE8:
        """Return the best level, or zeros."""
        if not self._keys:
            return (0, 0)
        price_e8 = self._sign * self._keys[0]
        return (price_e8, self._quantities[price_e8])

    def clear(self) -> None:
        self._keys.clear()
        self._quantities.clear()


class TruthBook:
    """Both sides of one market."""

    def __init__(self) -> None:
        self.bids = BookSide(is_bid=True)
        self.asks = BookSide(is_bid=False)

    def top(self) -> tuple[LevelE8, LevelE8]:
        """Return best bid and best ask."""
        return (self.bids.best(), self.asks.best())

    def clear(self) -> None:
        self.bids.clear()
        self.asks.clear()
