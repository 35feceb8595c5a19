"""How many seeds each plant lives before a checker catches it, from several starts. Judges the checkers, not the daemon."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from arbitrage.app.simulate.batch import Job, live_many
from arbitrage.app.simulate.plants import PLANTS

SEEDS_MAX = 200
"""A plant that is not caught in so many seeds is not caught."""
MEDIAN_MAX = 50
START_STEP = 10_000
"""Between two starts: their seeds never overlap."""


class Caught(msgspec.Struct, frozen=True):
    """One plant, from every start."""

    plant: str
    seeds: tuple[int, ...]
    """How many were lived until it was caught; one more than the limit where it was not."""
    checkers: tuple[str, ...]
    """Who caught it, the most frequent first."""

    @property
    def median(self) -> float:
        return statistics.median(self.seeds)

    @property
    def is_good(self) -> bool:
        """Say whether it is caught soon enough, and by a checker that is right for it."""
        return self.median <= MEDIAN_MAX and bool(set(self.checkers) & set(PLANTS[self.plant].checkers))


def measure(plants: Sequence[str], start: int, starts: int, jobs: int) -> Iterator[Caught]:
    """Measure plants one after the other."""
    for plant in plants:
        counts: list[int] = []
        names: Counter[str] = Counter()
        for number in range(starts):
            first = start + number * START_STEP
            count, checker = _until_caught(plant, first, jobs)
            counts.append(count)
            names.update([checker] if checker else [])
        yield Caught(plant, tuple(counts), tuple(name for name, _ in names.most_common()))


def _until_caught(plant: str, first: int, jobs: int) -> tuple[int, str]:
    for life in live_many(range(first, first + SEEDS_MAX), Job(plant=plant), jobs):
        if life.failure is not None:
            return life.seed - first + 1, life.failure.checker
    return SEEDS_MAX + 1, ""
