"""How much each market moved lately, measured from its own book: what waiting with a naked leg may cost. Forecasts nothing.

A moving average of squared changes of the mid price, by second. Floats are enough: the result prices a wait in whole parts per
million and never becomes money.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, sqrt
from typing import Protocol

SECOND_NS = 1_000_000_000
SAMPLE_NS = SECOND_NS
"""Books are looked at this often."""
GAP_NS_MAX = 10 * SECOND_NS
"""After a longer gap between usable prices the measurement goes on from the new one, without the step between."""
SAMPLES_MIN = 20
"""Steps before a measurement counts."""
MEMORY_STEPS = 120
"""Newer steps weigh as one of so many."""
STEP_MAX = 0.2
"""A larger relative step is a wrong price, or a new coin under an old name; it is left out."""
PPM = 1_000_000


class Book(Protocol):
    """What is read of a book."""

    @property
    def best_bid(self) -> float: ...

    @property
    def best_ask(self) -> float: ...

    @property
    def flaw(self) -> object | None: ...


class _Series:
    __slots__ = ("at_ns", "count", "mid", "variance")

    def __init__(self) -> None:
        self.mid = 0.0
        self.at_ns = self.count = 0
        self.variance = 0.0
        """Of the relative change in one second."""


class Volatility:
    """One series for each market."""

    def __init__(self, markets: int) -> None:
        assert markets >= 0, "markets are counted"
        self._series = [_Series() for _ in range(markets)]
        self._next_ns = 0

    def sample(self, books: Sequence[Book], now_ns: int) -> None:
        """Look at every usable book, at most once in `SAMPLE_NS`."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + SAMPLE_NS
        assert len(books) == len(self._series), "one series for each book"
        for series, book in zip(self._series, books, strict=True):
            if book.flaw is None and 0.0 < book.best_bid < book.best_ask:
                _take(series, (book.best_bid + book.best_ask) / 2, now_ns)

    def ppm(self, markets: Iterable[int], horizon_ms: int) -> int | None:
        """Return one standard deviation of the price through these markets over a horizon, rounded up; None unless measured."""
        assert horizon_ms >= 0, "a horizon lies ahead"
        total = 0.0
        for market in markets:
            series = self._series[market]
            if series.count < SAMPLES_MIN:
                return None
            total += series.variance
        return ceil(sqrt(total * horizon_ms / 1_000) * PPM)


def _take(series: _Series, mid: float, now_ns: int) -> None:
    elapsed_ns = now_ns - series.at_ns
    step = mid / series.mid - 1.0 if series.mid else 0.0
    is_step = bool(series.mid) and 0 < elapsed_ns <= GAP_NS_MAX and abs(step) <= STEP_MAX
    series.mid, series.at_ns = mid, now_ns
    if not is_step:
        return
    series.count += 1
    weight = 1.0 / min(series.count, MEMORY_STEPS)
    series.variance += weight * (step * step * SECOND_NS / elapsed_ns - series.variance)
    assert series.variance >= 0.0, "a mean of squares is not negative"
