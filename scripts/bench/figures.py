"""What a measurement leaves: percentiles, floors, and the machine it was made on. Measures nothing itself."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

CHUNKS = 5
WARM_UP_SHARE = 6
"""The first sixth of a run warms up and is not counted."""


class Times(msgspec.Struct, frozen=True):
    """One row: latency of a frame in microseconds, and how many frames one core takes in a second."""

    p50_us: float
    p99_us: float
    p999_us: float
    frames_per_s: int
    cpu_frames_per_s: int = 0
    """By processor time: what the neighbours on a shared core took is not in it."""

    def __str__(self) -> str:
        return f"p50 {self.p50_us:7.1f}  p99 {self.p99_us:7.1f}  p999 {self.p999_us:8.1f} us  {self.frames_per_s:8,d} frames/s"


class Floor(msgspec.Struct, frozen=True):
    """One promise and what was measured."""

    name: str
    measured: float
    bound: float
    is_least: bool
    """Whether the bound must be reached, or must not be exceeded."""

    @property
    def is_met(self) -> bool:
        return self.measured >= self.bound if self.is_least else self.measured <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.is_least else "<="
        return f"{'PASS' if self.is_met else 'FAIL'}  {self.name}: {self.measured:,.4g} ({sign} {self.bound:,.4g})"


class Chunk(msgspec.Struct, frozen=True):
    """A stretch of frames: latency of each in nanoseconds, and the processor time of all."""

    took_ns: list[int]
    cpu_ns: int


def at_least(name: str, measured: float, bound: float) -> Floor:
    """Make a floor that must be reached."""
    return Floor(name, measured, bound, is_least=True)


def at_most(name: str, measured: float, bound: float) -> Floor:
    """Make a floor that must not be exceeded."""
    return Floor(name, measured, bound, is_least=False)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of an ascending sequence does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def summarise(chunks: Sequence[Chunk]) -> Times:
    """Take every figure of its own median chunk, so that a neighbour's burst in one of them decides nothing."""
    ordered = [sorted(chunk.took_ns) for chunk in chunks]

    def middle(share: float) -> float:
        return round(statistics.median(percentile(each, share) for each in ordered) / 1e3, 2)

    rate = statistics.median(len(chunk.took_ns) * 1e9 / sum(chunk.took_ns) for chunk in chunks)
    cpu_rate = statistics.median(len(chunk.took_ns) * 1e9 / chunk.cpu_ns for chunk in chunks if chunk.cpu_ns)
    return Times(middle(0.5), middle(0.99), middle(0.999), round(rate), round(cpu_rate))


def timed_chunks(count: int, one: Callable[[int, int], list[int]]) -> list[Chunk]:
    """Run frames 0 to `count` through `one(begin, end)`, which returns each frame's time; leave the warm-up out."""
    warm = count // WARM_UP_SHARE
    one(0, warm)
    chunks = []
    for part in range(CHUNKS):
        begin, end = (warm + (count - warm) * edge // CHUNKS for edge in (part, part + 1))
        cpu_ns = time.thread_time_ns()
        took = one(begin, end)
        chunks.append(Chunk(took, time.thread_time_ns() - cpu_ns))
    return chunks


def pin(core: int) -> bool:
    """Keep this process on one core; say whether the system allows it."""
    try:
        os.sched_setaffinity(0, {core})
    except (AttributeError, OSError):
        return False
    return True


def machine() -> dict[str, str | int | float]:
    """Describe where this runs."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
