"""Lives many seeds, on one core or several, and sums them up. Judges none of them."""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

import msgspec

from arbitrage.app.simulate.parts import Parts
from arbitrage.app.simulate.plants import parts_of
from arbitrage.app.simulate.scene import Failure, Life, Scene
from arbitrage.app.simulate.story import Shape, tell_story
from arbitrage.sim.sites import VenueKeys, make_keys

KEYS_SEED = 1
SEEDS_PER_TASK = 20


class Job(msgspec.Struct, frozen=True):
    """How lives are lived: their shape, and the bug that is planted; none by default."""

    shape: Shape = Shape()
    plant: str = ""


class Batch(msgspec.Struct):
    """What became of many seeds."""

    seeds: int = 0
    events: int = 0
    plans: int = 0
    fills: int = 0
    crashes: int = 0
    failures: list[tuple[int, Failure]] = []
    digests: list[str] = []

    def add(self, life: Life) -> None:
        """Take one life in; they must come in the order of their seeds."""
        self.seeds += 1
        self.events += life.events
        self.plans += life.plans
        self.fills += life.fills
        self.crashes += life.crashes
        self.digests.append(life.digest)
        if life.failure is not None:
            self.failures.append((life.seed, life.failure))

    @property
    def digest(self) -> str:
        """Return what tells these lives from any others."""
        return hashlib.blake2b("".join(self.digests).encode(), digest_size=16).hexdigest()


def live_one(seed: int, job: Job, keys: VenueKeys | None = None, *, is_traced: bool = False) -> Life:
    """Live one seed."""
    parts: Parts = parts_of(job.plant)
    return Scene(tell_story(seed, job.shape), parts, keys or make_keys(KEYS_SEED), is_traced=is_traced).live()


def live_many(seeds: Iterable[int], job: Job, jobs: int) -> Iterator[Life]:
    """Live seeds, in their order, on so many cores."""
    if jobs <= 1:
        keys = make_keys(KEYS_SEED)
        yield from (live_one(seed, job, keys) for seed in seeds)
        return
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        yield from _spread(pool, iter(seeds), job, 2 * jobs)


def _spread(pool: concurrent.futures.Executor, seeds: Iterator[int], job: Job, ahead: int) -> Iterator[Life]:
    """Keep a few tasks ahead of what is asked for: the seeds may have no end."""
    live: Callable[[list[int]], list[Life]] = partial(_live_some, job)
    waiting: list[concurrent.futures.Future[list[Life]]] = []
    while True:
        while len(waiting) < ahead and (part := list(islice(seeds, SEEDS_PER_TASK))):
            waiting.append(pool.submit(live, part))
        if not waiting:
            return
        yield from waiting.pop(0).result()


def _live_some(job: Job, seeds: list[int]) -> list[Life]:
    keys = make_keys(KEYS_SEED)
    return [live_one(seed, job, keys) for seed in seeds]
