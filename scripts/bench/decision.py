"""From a frame's bytes to a decision, in process: the real engine, and the peers' handlers with a depth walk after every frame.

Ours decodes, steps every event and decides after each frame: all cycles of up to four markets are looked at. The peers book the
frame and walk the depth of its coin in both directions, which is less. Nothing here touches a socket.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from arbitrage.model.events import Decide
from bench.figures import Chunk, Floor, Times, at_least, at_most, summarise, timed_chunks
from bench.frames import FX_CODE, Coin, Frame, Universe, coin_of
from bench.subject import Subject
from bench.walk import Ladders, depth_walk

FLOOR_SYMBOLS = 100
START_NS = 1_800_000_000_000_000_001
RATE_MIN, P50_US_MAX, P99_US_MAX = 50_000, 20.0, 80.0
CCXT_RATIO_MIN, CRYPTOFEED_RATIO_MIN = 4.0, 6.0
ARRIVAL_NS = 19_999
"""Frames are stamped as if they arrived at the floor's own rate, 50,000/s. By the wall clock a slower machine would size
more often for each frame (`resize_interval_ms`), so the work would depend on the neighbours. Odd: every bit pattern occurs."""


class Peer(Protocol):
    """A library that books frames."""

    name: str
    one: object

    def handle(self, frame: Frame) -> None: ...

    def books(self, name: str) -> tuple[Ladders, Ladders, Ladders]: ...


class Decisions(msgspec.Struct, frozen=True):
    """What was measured at one number of symbols."""

    symbols: int
    cycles: int
    rows: dict[str, Times]
    frames: int
    survivors: int
    """Cycles above their costs at the top of the book, counted at every decision that saw one."""
    sized: int
    judged: int
    are_books_equal: bool


class Ours:
    """One fresh engine and how it takes frames."""

    def __init__(self, universe: Universe, frames: Sequence[Frame]) -> None:
        self.at_ns = START_NS
        self.subject = Subject(universe, START_NS)
        self.work = [(self.subject.decoders[frame.venue], frame.raw) for frame in frames]
        self.subject.engine.step(Decide(START_NS))

    def decide(self, begin: int, end: int) -> list[int]:
        """Take frames from bytes to decisions; return each one's nanoseconds."""
        step, clock, at_ns = self.subject.engine.step, time.perf_counter_ns, self.at_ns
        took: list[int] = []
        for decode, raw in self.work[begin:end]:
            started_ns = clock()
            at_ns += ARRIVAL_NS
            for event in decode(raw, at_ns):
                step(event)
            step(Decide(at_ns))
            took.append(clock() - started_ns)
        self.at_ns = at_ns
        return took

    def walker(self, coins: Sequence[Coin | None]) -> Callable[[int, int], list[int]]:
        """Return the same frames with the peers' walk in place of our decision."""
        ladders = self.subject.ladders
        fx = ladders(FX_CODE)
        books = [None if coin is None else (ladders(coin.binance_symbol), ladders(coin.upbit_code), fx) for coin in coins]

        def walk(begin: int, end: int) -> list[int]:
            step, clock, at_ns = self.subject.engine.step, time.perf_counter_ns, self.at_ns
            took: list[int] = []
            for (decode, raw), three in zip(self.work[begin:end], books[begin:end], strict=True):
                started_ns = clock()
                at_ns += ARRIVAL_NS
                for event in decode(raw, at_ns):
                    step(event)
                if three is not None:
                    depth_walk(*three, 1.0)
                took.append(clock() - started_ns)
            self.at_ns = at_ns
            return took

        return walk


def run(universe: Universe, frames: Sequence[Frame], peers: Sequence[Callable[[Universe], Peer]], rounds: int) -> Decisions:
    """Measure everybody on the same frames, in turn, `rounds` times."""
    chunks: dict[str, list[Chunk]] = {}
    by_name = {coin.name: coin for coin in universe.coins}
    coins = [by_name.get(coin_of(frame) or "") for frame in frames]
    are_equal = True
    for _ in range(rounds):
        walking = Ours(universe, frames)
        _measure(chunks, "our books + the peers' walk", len(frames), walking.walker(coins))
        ours = Ours(universe, frames)
        _measure(chunks, "ours", len(frames), ours.decide)
        for make in peers:
            peer = make(universe)
            _measure(chunks, peer.name, len(frames), _walk_after(peer, frames, coins))
            are_equal &= tops_equal(ours.subject, peer)
    counters, tally = ours.subject.engine.detector.counters, ours.subject.engine.tally
    rows = {name: summarise(parts) for name, parts in chunks.items()}
    return Decisions(
        symbols=len(universe.coins),
        cycles=counters["cycles"],
        rows=rows,
        frames=len(frames),
        survivors=counters["survivors"],
        sized=counters["sized"],
        judged=tally.seen,
        are_books_equal=are_equal,
    )


def tops_equal(subject: Subject, peer: Peer) -> bool:
    """Say whether a peer ended with our best prices: then both did the same work."""
    for coin in subject.universe.coins:
        three = zip(peer.books(coin.name), (coin.binance_symbol, coin.upbit_code, FX_CODE), strict=True)
        for theirs, symbol in three:
            book = subject.engine.board.books[subject.symbols[symbol]]
            shown = tuple(float(next(iter(side()))[0]) for side in (theirs.bids, theirs.asks))
            if shown != (book.best_bid, book.best_ask):
                return False
    return True


def floors(found: Decisions) -> list[Floor]:
    """Hold the measured figures against the promises; peers that did not run promise nothing."""
    if found.symbols != FLOOR_SYMBOLS:
        return []
    ours = found.rows["ours"]
    made = [
        at_least("100 symbols, frames/s on one core", ours.frames_per_s, RATE_MIN),
        at_most("100 symbols, p50 in us", ours.p50_us, P50_US_MAX),
        at_most("100 symbols, p99 in us", ours.p99_us, P99_US_MAX),
    ]
    for name, ratio_min in (("ccxt.pro", CCXT_RATIO_MIN), ("cryptofeed", CRYPTOFEED_RATIO_MIN)):
        if name in found.rows:
            ratio = ours.frames_per_s / found.rows[name].frames_per_s
            made.append(at_least(f"100 symbols, times {name}", ratio, ratio_min))
    return made


def _measure(chunks: dict[str, list[Chunk]], name: str, count: int, one: Callable[[int, int], list[int]]) -> None:
    gc.collect()
    chunks.setdefault(name, []).extend(timed_chunks(count, one))


def _walk_after(peer: Peer, frames: Sequence[Frame], coins: Sequence[Coin | None]) -> Callable[[int, int], list[int]]:
    def walk(begin: int, end: int) -> list[int]:
        clock, handle, one = time.perf_counter_ns, peer.handle, peer.one
        took: list[int] = []
        for frame, coin in zip(frames[begin:end], coins[begin:end], strict=True):
            started_ns = clock()
            handle(frame)
            # The won market comes last of the first pictures: without it there is nothing to walk.
            if coin is not None and begin:
                depth_walk(*peer.books(coin.name), one)
            took.append(clock() - started_ns)
        return took

    return walk
