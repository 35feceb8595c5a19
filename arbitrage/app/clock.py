"""The one place where the package reads a clock. Engine time never jumps: wall time at start plus monotonic progress."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns engine time in nanoseconds since 1970."""


class EngineClock:
    """Anchored to the wall once and monotonic from then on, so that a changed wall clock decides nothing."""

    __slots__ = ("_offset_ns",)

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        return time.monotonic_ns() + self._offset_ns

    def not_before(self, at_ns: int) -> int:
        """Go on from `at_ns` when that is still to come (the wall was set back since); return by how much that is ahead."""
        ahead_ns = max(0, at_ns - self())
        self._offset_ns += ahead_ns
        return ahead_ns


def wall_ns() -> int:
    """Return the wall clock: what a status is stamped with beside engine time, so that its age can be told from outside."""
    return time.time_ns()


def wall_ms() -> int:
    """Return the wall clock in milliseconds: for what is shown to people and written on simulated wires, never to decide."""
    return time.time_ns() // 1_000_000


def boot_ns() -> int:
    """Return nanoseconds since the machine started, those in which it slept included: for what others may do meanwhile."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def monotonic_us() -> int:
    """Return microseconds for systemd's RELOADING message and for measuring our own work."""
    return time.monotonic_ns() // 1_000


def perf_ns() -> int:
    """Return nanoseconds for measuring our own work in benchmarks and replays."""
    return time.perf_counter_ns()
