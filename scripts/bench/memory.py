"""Whether memory stays flat over millions of frames through the real engine, and how long a frame takes in that steady state.

A ring of generated frames is sent again and again with new update ids and times. Each lap ends with one diff a coin that takes
its book back to where the lap began, so that every lap is a valid continuation of the one before. The command runs this in a
process of its own: memory that an earlier measurement freed would hide growth.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import msgspec

from arbitrage.model.events import Decide
from bench.decision import ARRIVAL_NS, START_NS
from bench.figures import Floor, at_most
from bench.frames import Frame, Universe
from bench.subject import Decode, Subject

SYMBOLS = 100
RING = 60_000
GROWTH_MB_MAX = 20.0
SAMPLES = 50
WARM_UP_SHARE = 0.1
BUCKET_NS, BUCKETS = 100, 50_000
"""Times are counted in steps of 0.1 us up to 5 ms: a list of ten million would be memory of its own."""
IDS = re.compile(rb'"U":(\d+),"u":(\d+)')
TIME = re.compile(rb'"tms":(\d+)')


class Memory(msgspec.Struct, frozen=True):
    """Resident memory over a run, in MB."""

    frames: int
    at_start_mb: float
    lowest_mb: float
    highest_mb: float
    at_end_mb: float
    frames_per_s: int
    gaps: int
    judged: int
    blocks_grown: int
    """Memory blocks that Python holds at the end more than after the warm-up: holes in the heap cannot hide these."""
    p50_us: float
    """From a frame's bytes to the decision on it, over the whole run: merges of far levels are in it."""
    p99_us: float

    @property
    def growth_mb(self) -> float:
        """The widest swing after the warm-up."""
        return round(self.highest_mb - self.lowest_mb, 1)


class _Part(msgspec.Struct):
    """A frame cut at the numbers that change from lap to lap."""

    decode: Decode
    head: bytes
    tail: bytes
    coin: int
    """Its place in the coins, or -1 for Upbit."""
    width: int
    """How many update ids a diff spans."""


def run(seed: int, frames_wanted: int, ring_size: int = RING) -> Memory:
    """Send frames until `frames_wanted`; look at resident memory now and then."""
    universe = Universe(SYMBOLS, seed)
    subject = Subject(universe, START_NS)
    last_ids = [coin.last_id for coin in universe.coins]
    ring = _ring(universe, subject, min(ring_size, frames_wanted))
    engine, at_ms = subject.engine, universe.at_ms
    step, at_ns, clock = engine.step, START_NS, time.perf_counter_ns
    counts = [0] * BUCKETS
    samples: list[float] = []
    blocks: list[int] = []
    sent, next_sample, started_ns, start_mb = 0, 0, time.perf_counter_ns(), resident_mb()
    while sent < frames_wanted:
        for part in ring:
            if part.coin >= 0:
                first, last_ids[part.coin] = last_ids[part.coin] + 1, last_ids[part.coin] + part.width
                raw = b'%b"U":%d,"u":%d%b' % (part.head, first, last_ids[part.coin], part.tail)
            else:
                at_ms += 1
                raw = b'%b"tms":%d%b' % (part.head, at_ms, part.tail)
            at_ns += ARRIVAL_NS
            began_ns = clock()
            for event in part.decode(raw, at_ns):
                step(event)
            step(Decide(at_ns))
            counts[min((clock() - began_ns) // BUCKET_NS, BUCKETS - 1)] += 1
        sent += len(ring)
        if sent >= next_sample:
            next_sample = sent + frames_wanted // SAMPLES
            samples.append(resident_mb())
            blocks.append(sys.getallocatedblocks())
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    counters = engine.board.counters
    return Memory(
        frames=sent,
        at_start_mb=start_mb,
        lowest_mb=min(settled),
        highest_mb=max(settled),
        at_end_mb=samples[-1],
        frames_per_s=round(sent * 1e9 / (time.perf_counter_ns() - started_ns)),
        gaps=counters["gaps"] + counters["crossed"] + counters["old"] + counters["malformed"],
        judged=engine.tally.seen,
        blocks_grown=blocks[-1] - blocks[int(len(blocks) * WARM_UP_SHARE)],
        p50_us=_quantile_us(counts, 0.5),
        p99_us=_quantile_us(counts, 0.99),
    )


def floors(found: Memory) -> list[Floor]:
    """Memory stays within its band, and the laps were what they claim to be."""
    return [
        at_most(f"resident memory over {found.frames:,} frames, swing in MB", found.growth_mb, GROWTH_MB_MAX),
        at_most("frames of the memory run that were not applied", found.gaps, 0),
    ]


def _quantile_us(counts: list[int], share: float) -> float:
    """Return the upper end of the bucket in which that share of the frames is reached."""
    left = share * sum(counts)
    for bucket, count in enumerate(counts):
        left -= count
        if left <= 0:
            return (bucket + 1) * BUCKET_NS / 1_000
    raise AssertionError("a share of all is reached")


def resident_mb() -> float:
    """Return this process's resident memory. Reads /proc, so it needs Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _ring(universe: Universe, subject: Subject, size: int) -> list[_Part]:
    """Make one lap: frames, then what takes every book back."""
    before = [(dict(coin.bids), dict(coin.asks)) for coin in universe.coins]
    places = {coin.binance_symbol: place for place, coin in enumerate(universe.coins)}
    # One by one, so that no pile of whole frames is freed before the run and leaves room for growth to hide in.
    ring = [_part(frame, subject, places) for frame in universe.pictures()]
    ring += [_part(universe.next_frame(), subject, places) for _ in range(size - len(ring))]
    back = [universe.back_to(coin, *sides) for coin, sides in zip(universe.coins, before, strict=True)]
    return ring + [_part(frame, subject, places) for frame in back]


def _part(frame: Frame, subject: Subject, places: dict[str, int]) -> _Part:
    is_diff = frame.venue == "binance"
    found = (IDS if is_diff else TIME).search(frame.raw)
    assert found is not None, "a frame carries its ids or its time"
    width = int(found[2]) - int(found[1]) + 1 if is_diff else 0
    head, tail = frame.raw[: found.start()], frame.raw[found.end() :]
    return _Part(subject.decoders[frame.venue], head, tail, places.get(frame.symbol, -1), width)


if __name__ == "__main__":
    print(msgspec.json.encode(run(int(sys.argv[1]), int(sys.argv[2]))).decode())
