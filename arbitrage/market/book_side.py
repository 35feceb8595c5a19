"""One side of a book that diffs keep: the levels near the touch in a dict, all others packed and behind a log of updates.

Refuses to show what nobody has proved: a level beyond `bound` may be missing, so none is kept there. Why two tiers: with every
level of every book in dicts, each of the twenty levels of a diff costs several cache misses, and most lie far from the touch.
Those are only written to the end of a log, and applied together with thousands of others.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Iterable, Sequence
from itertools import islice
from struct import Struct

from arbitrage.market.book import INFINITE, SMALLEST
from arbitrage.model.events import Level

NEAR_LEVELS = 32
"""Levels near the touch after a sweep or a merge; twice as many at least after a refill."""
NEAR_SLACK = 64
"""Prices, deleted ones among them, by which the near part may grow until it is swept."""
LOGGED_MAX = 4_096
"""Updates of far levels that wait in the log; past it they are merged. Some 64 kB a side."""
LEVELS_MAX = 10_000
"""Levels kept after a merge; what lies further from the touch is forgotten and never quoted."""
LEVEL = Struct("dd")
LOG_BYTES_MAX = LOGGED_MAX * LEVEL.size
PACKERS = tuple(Struct(f"{2 * count}d").pack for count in range(64))
"""By number of levels: what writes so many to the log. Made once, because a format costs more to read than to use."""


class BookSide:
    """Prices with quantities. The near part decides about all prices from `_low` to `_high`, far and log about all others.

    A deleted near price stays as a zero until swept. A dict keeps insertion order, so prices that are new are its last keys.
    """

    __slots__ = (
        "_best_at", "_counters", "_far_prices", "_far_quantities", "_high", "_is_bid", "_log", "_low", "_near", "_prices",
        "_swept_at", "bound",
    )  # fmt: skip

    def __init__(self, levels: Iterable[Level], counters: dict[str, int], *, is_bid: bool, is_whole: bool) -> None:
        quantities = dict(levels)
        prices = [price for price, quantity in quantities.items() if quantity]
        self._is_bid = is_bid
        self._best_at = -1 if is_bid else 0
        """Where the best of the near prices is: they ascend on either side."""
        self._counters = counters
        self._log = bytearray()
        """Packed levels in the order of their arrival."""
        self.bound = SMALLEST if is_bid else INFINITE
        """The worst price that is proved."""
        if prices and not is_whole:
            self.bound = min(prices) if is_bid else max(prices)
        self._split(quantities)

    def apply(self, levels: Iterable[Level]) -> Level:
        """Take absolute quantities (0 deletes); return the best level, zeros when there is none."""
        near, low, high = self._near, self._low, self._high
        known = len(near)
        far: list[float] = []
        for level in levels:
            price, quantity = level
            if low <= price <= high:
                near[price] = quantity
            else:
                far += level
        if far:
            self._write(far)
        if len(near) != known:
            self._index(len(near) - known)
        if len(self._log) > LOG_BYTES_MAX:
            self._merge()
        near, prices, best_at = self._near, self._prices, self._best_at
        while prices:
            price = prices[best_at]
            quantity = near[price]
            if quantity:
                return price, quantity
            del near[prices.pop(best_at)]
        return self._uncover()

    def shown(self, limit: int) -> list[Level]:
        """Return at most `limit` levels, best first. What is not near yet comes near."""
        assert limit > 0, "ask for at least one level"
        found = self._nearest(limit)
        while len(found) < limit and (self._far_prices or self._log):
            self._refill(limit)
            found = self._nearest(limit)
        return found

    def _nearest(self, limit: int) -> list[Level]:
        found: list[Level] = []
        near = self._near
        for price in reversed(self._prices) if self._is_bid else self._prices:
            quantity = near[price]
            if quantity:
                found.append((price, quantity))
                if len(found) == limit:
                    break
        return found

    def _write(self, levels: Sequence[float]) -> None:
        """Write prices and quantities, in turn, to the log."""
        count = len(levels) // 2
        assert count > 0, "called when there is something to write"
        pack = PACKERS[count] if count < len(PACKERS) else Struct(f"{2 * count}d").pack
        self._log += pack(*levels)

    def _index(self, count: int) -> None:
        """List the newest near prices; the deletion of a price we never had is normal and leaves nothing."""
        assert count > 0, "called when there are new prices"
        near, prices = self._near, self._prices
        for price in tuple(islice(reversed(near), count)):
            if near[price]:
                insort(prices, price)
            else:
                del near[price]
        if len(near) > self._swept_at:
            self._sweep()

    def _sweep(self) -> None:
        """Drop the zeros of the near part; of what is left the log gets what is not among the nearest."""
        self._counters["sweeps"] += 1
        near = self._near
        live = [price for price in self._prices if near[price]]
        cut = max(0, len(live) - NEAR_LEVELS)
        kept, spilled = (live[cut:], live[:cut]) if self._is_bid else (live[: len(live) - cut], live[len(live) - cut :])
        self._keep_near({price: near[price] for price in kept})
        if spilled:
            self._end_at(self._prices[-1 - self._best_at])
            self._write([number for price in spilled for number in (price, near[price])])

    def _uncover(self) -> Level:
        """Return the best level once the near part is empty."""
        assert not self._near, "every near price was listed, and is gone"
        return next(iter(self.shown(1)), (0.0, 0.0))

    def _refill(self, count: int) -> None:
        """Bring the next far levels near, at least `count` of them if there are, with what the log says of their range."""
        self._counters["refills"] += 1
        count = max(count, 2 * NEAR_LEVELS)
        prices = self._far_prices[:count]
        quantities = dict(zip(prices, self._far_quantities[:count], strict=True))
        del self._far_prices[:count], self._far_quantities[:count]
        self._end_at(prices[-1] if self._far_prices else self.bound)
        low, high = self._low, self._high
        rest: list[float] = []
        for level in LEVEL.iter_unpack(self._log):
            if low <= level[0] <= high:
                quantities[level[0]] = level[1]
            else:
                rest += level
        quantities.update(self._near)
        self._keep_near({price: quantity for price, quantity in quantities.items() if quantity})
        self._log = bytearray()
        if rest and self._far_prices:
            self._write(rest)

    def _merge(self) -> None:
        """Bring near, far and log together, and split them anew around the touch."""
        self._counters["merges"] += 1
        quantities = dict(zip(self._far_prices, self._far_quantities, strict=True))
        quantities.update(LEVEL.iter_unpack(self._log))
        quantities.update(self._near)
        self._log = bytearray()
        self._split(quantities)

    def _split(self, quantities: dict[float, float]) -> None:
        """Put the nearest of these levels near and all others far, as far as they are proved."""
        assert not self._log, "nothing waits"
        prices = sorted([price for price, quantity in quantities.items() if quantity], reverse=self._is_bid)
        while prices and self._is_beyond(prices[-1]):
            prices.pop()
        if len(prices) > LEVELS_MAX:
            del prices[LEVELS_MAX:]
            self.bound = prices[-1]
        near, far = prices[:NEAR_LEVELS], prices[NEAR_LEVELS:]
        self._far_prices = array("d", far)
        self._far_quantities = array("d", [quantities[price] for price in far])
        self._keep_near({price: quantities[price] for price in near})
        self._end_at(near[-1] if far else self.bound)

    def _is_beyond(self, price: float) -> bool:
        return price < self.bound if self._is_bid else price > self.bound

    def _keep_near(self, levels: dict[float, float]) -> None:
        assert all(levels.values()), "only levels that exist are kept"
        self._near = levels
        self._prices = sorted(levels)
        self._swept_at = len(levels) + NEAR_SLACK

    def _end_at(self, worst: float) -> None:
        """Let the near part reach from the best possible price to this one."""
        assert not self._is_beyond(worst), "nothing near is unproved"
        self._low, self._high = (worst, INFINITE) if self._is_bid else (0.0, worst)
