"""A ring of seconds: columns of figures beside their moments, for at most a day, in memory. Forgets the oldest, writes nothing.

What is read for a picture is sampled down here, from the arrays themselves and in small steps: a day of seconds takes some
milliseconds, and the loop that trades is let in between.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from arbitrage.web.screen.charts.sampling import Point, extremes

SECONDS_KEPT = 86_400
STRETCHES = 300
"""Of a picture: each keeps its first, lowest, highest and last second of every column, so that what paid once is seen."""
STRETCHES_AT_ONCE = 10
"""Then the loop is let in: of a day, 2,880 seconds."""
HOLES: dict[str, int] = {"i": -(2**31), "q": -(2**63)}
"""Stands where nothing was known, by the width of a column."""
Width = Literal["i", "q"]


class Sampled(msgspec.Struct, frozen=True):
    """Columns over the same moments, oldest first; None where nothing was known."""

    times_ns: list[int]
    columns: list[list[int | None]]

    def points(self, column: int) -> list[Point]:
        """Return one column with its moments."""
        return list(zip(self.times_ns, self.columns[column], strict=True))


class Seconds:
    """The ring. A column is made once and lives as long as the ring."""

    def __init__(self, seconds_kept: int = SECONDS_KEPT) -> None:
        assert seconds_kept > 0, "something is kept"
        self._seconds_kept = seconds_kept
        self._times = array("q")
        self._next = 0
        self._columns: list[array[int]] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def since_ns(self) -> int | None:
        """The oldest second; None before the first."""
        return self._times[self._next % len(self._times)] if self._times else None

    def column(self, width: Width) -> array[int]:
        """Make a column; the seconds before it are holes."""
        made = array(width, [HOLES[width]]) * len(self._times)
        self._columns.append(made)
        return made

    def begin(self, at_ns: int) -> int | None:
        """Make room for a second and return its place, holes in every column; None for one that was begun already."""
        newest = self._times[self._next - 1] if self._times else 0
        if at_ns // 10**9 <= newest // 10**9:
            return None
        slot = self._next
        if len(self._times) < self._seconds_kept:
            slot = len(self._times)
            self._times.append(at_ns)
            for column in self._columns:
                column.append(HOLES[column.typecode])
        else:
            self._times[slot] = at_ns
            for column in self._columns:
                column[slot] = HOLES[column.typecode]
        self._next = (slot + 1) % self._seconds_kept
        return slot

    def newest(self, column: array[int], count: int) -> list[int | None]:
        """Return a column's newest seconds, oldest first."""
        count = min(count, len(self._times))
        return _known(column, ((self._next - count + place) % len(self._times) for place in range(count)))

    async def sampled(self, columns: Sequence[array[int]], since_ns: int, until_ns: int | None = None) -> Sampled:
        """Return columns between two moments, at so many points as a picture can show. What comes meanwhile is not in it."""
        cut = self._next % max(1, len(self._times))
        times, straight = self._times[cut:] + self._times[:cut], [column[cut:] + column[:cut] for column in columns]
        first = bisect_left(times, since_ns)
        last = len(times) if until_ns is None else bisect_right(times, until_ns)
        places = range(first, last) if last - first <= 4 * STRETCHES else await _places(straight, first, last)
        shown = [_known(column, places) for column in straight]
        return Sampled([times[place] for place in places], shown)


def _known(column: array[int], places: Iterable[int]) -> list[int | None]:
    hole = HOLES[column.typecode]
    return [None if (value := column[place]) == hole else value for place in places]


async def _places(columns: Sequence[array[int]], first: int, last: int) -> list[int]:
    """Choose the seconds that matter to any column."""
    chosen: set[int] = set()
    for number in range(STRETCHES):
        start = first + (last - first) * number // STRETCHES
        end = first + (last - first) * (number + 1) // STRETCHES
        for column in columns:
            chosen.update(_extreme_places(column, start, end))
        if number % STRETCHES_AT_ONCE == STRETCHES_AT_ONCE - 1:
            await asyncio.sleep(0)
    return sorted(chosen)


def _extreme_places(column: array[int], start: int, end: int) -> set[int]:
    """Return where a stretch is first, lowest, highest and last; where it has holes, the first of them too."""
    stretch = column[start:end]
    low, high = min(stretch), max(stretch)
    if low != HOLES[column.typecode]:
        return {start, end - 1, start + stretch.index(low), start + stretch.index(high)}
    known = [(place, None if value == low else value) for place, value in enumerate(stretch, start)]
    return {place for place, _ in extremes(known, 1)} | {start + stretch.index(low)}
