"""Decoding and booking alone, one symbol: from a frame's bytes to the best prices in a book. No walk, no decision."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

from bench.decision import Peer
from bench.figures import Floor, at_least
from bench.frames import Frame, Universe
from bench.subject import Subject

CCXT_RATIO_MIN, CRYPTOFEED_RATIO_MIN = 3.0, 8.0
CHUNKS = 5
KINDS = ("binance diff", "upbit 15 units")


class Booking(msgspec.Struct, frozen=True):
    """Microseconds a frame, by kind of frame and by library: the median of all chunks of all rounds."""

    us: dict[str, dict[str, float]]
    levels_mean: float

    def ratio(self, kind: str, name: str) -> float:
        """Return how many times longer a library takes than we do."""
        return self.us[kind][name] / self.us[kind]["ours"]


def run(seed: int, count: int, peers: Sequence[Callable[[Universe], Peer]], rounds: int) -> Booking:
    """Measure everybody on the same frames, in turn."""
    universe = Universe(1, seed)
    coin = universe.coins[0]
    first = universe.pictures()
    frames = {
        "binance diff": [universe.diff(coin) for _ in range(count)],
        "upbit 15 units": [universe.upbit(coin, 15) for _ in range(count)],
    }
    us: dict[str, dict[str, list[float]]] = {kind: {} for kind in frames}
    for _ in range(rounds):
        _take(us, "ours", frames, _ours(universe, first))
        for make in peers:
            peer = make(universe)
            for frame in first:
                peer.handle(frame)
            _take(us, peer.name, frames, _theirs(peer, coin.name))
    levels = sum(frame.raw.count(b'["') for frame in frames["binance diff"]) / count
    medians = {kind: {name: round(statistics.median(taken), 2) for name, taken in row.items()} for kind, row in us.items()}
    return Booking(medians, round(levels, 1))


def floors(found: Booking) -> list[Floor]:
    """Hold the Binance diff against the promises."""
    bounds = (("ccxt.pro", CCXT_RATIO_MIN), ("cryptofeed", CRYPTOFEED_RATIO_MIN))
    known = found.us["binance diff"]
    return [
        at_least(f"binance diff decoded and booked, times {name}", found.ratio("binance diff", name), bound)
        for name, bound in bounds
        if name in known
    ]


def _ours(universe: Universe, first: Sequence[Frame]) -> Callable[[Sequence[Frame]], object]:
    subject = Subject(universe, time.time_ns())
    books, symbols = subject.engine.board.books, subject.symbols
    for frame in first:
        subject.feed(subject.decoders[frame.venue](frame.raw, time.time_ns()))

    def take(frames: Sequence[Frame]) -> object:
        decode, step, at_ns = subject.decoders[frames[0].venue], subject.engine.step, time.time_ns() | 1
        book = books[symbols[frames[0].symbol]]
        best = (0.0, 0.0)
        for frame in frames:
            for event in decode(frame.raw, at_ns):
                step(event)
            best = (book.best_bid, book.best_ask)
        return best

    return take


def _theirs(peer: Peer, name: str) -> Callable[[Sequence[Frame]], object]:
    on_binance, on_upbit, _ = peer.books(name)

    def take(frames: Sequence[Frame]) -> object:
        handle = peer.handle
        book = on_binance if frames[0].venue == "binance" else on_upbit
        best: object = None
        for frame in frames:
            handle(frame)
            best = (next(iter(book.bids())), next(iter(book.asks())))
        return best

    return take


def _take(
    us: dict[str, dict[str, list[float]]], name: str, frames: dict[str, list[Frame]], take: Callable[[Sequence[Frame]], object]
) -> None:
    for kind, all_frames in frames.items():
        gc.collect()
        size = len(all_frames) // (CHUNKS + 1)
        take(all_frames[:size])
        for part in range(1, CHUNKS + 1):
            started_ns = time.perf_counter_ns()
            take(all_frames[part * size : (part + 1) * size])
            us[kind].setdefault(name, []).append((time.perf_counter_ns() - started_ns) / size / 1e3)
