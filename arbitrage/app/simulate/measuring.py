"""How many seeds each plant lives before a checker that is right for it catches it. Judges the checkers, not the daemon."""

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
    """How many were lived until it was rightly caught; one more than the limit where it was not."""
    checkers: tuple[str, ...]
    """Who caught it, rightly or only along the way, the most frequent first."""

    @property
    def median(self) -> float:
        return statistics.median(self.seeds)

    @property
    def is_good(self) -> bool:
        """Say whether it is caught soon enough."""
        return self.median <= MEDIAN_MAX


def measure(plants: Sequence[str], start: int, starts: int, jobs: int, *, seeds_max: int = SEEDS_MAX) -> Iterator[Caught]:
    """Measure plants one after the other, each from so many starts."""
    for plant in plants:
        counts: list[int] = []
        names: Counter[str] = Counter()
        for number in range(starts):
            first = start + number * START_STEP
            counts.append(_until_caught(plant, range(first, first + seeds_max), jobs, names))
        yield Caught(plant, tuple(counts), tuple(name for name, _ in names.most_common()))


def _until_caught(plant: str, seeds: range, jobs: int, names: Counter[str]) -> int:
    """Live seeds until one is failed by a checker that is right for the plant; note every checker that failed one."""
    for life in live_many(seeds, Job(plant=plant), jobs):
        if life.failure is not None:
            names[life.failure.checker] += 1
            if life.failure.checker in PLANTS[plant].checkers:
                return life.seed - seeds.start + 1
    return len(seeds) + 1
