"""Measures how late the event loop is: sleeps a fixed time and sees when it wakes. Does nothing about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL_MS = 100


async def sample_loop_lag(
    clock: Callable[[], int], report: Callable[[int, int], None], *, interval_ms: int = INTERVAL_MS
) -> None:
    """Report `(now_ns, lateness_us)` after every interval until cancelled. Run it as a supervised task.

    A loop that stalls for longer than the interval is reported once, with the whole lateness.
    """
    assert interval_ms > 0, "an interval takes time"
    while True:
        asleep_ns = clock()
        await asyncio.sleep(interval_ms / 1_000)
        awake_ns = clock()
        report(awake_ns, lateness_us(asleep_ns, awake_ns, interval_ms))


def lateness_us(asleep_ns: int, awake_ns: int, interval_ms: int) -> int:
    """Return by how much a sleep was longer than asked for; timers round, so a little early counts as on time."""
    return max(0, (awake_ns - asleep_ns) // 1_000 - interval_ms * 1_000)
