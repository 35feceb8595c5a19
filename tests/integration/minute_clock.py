"""A clock for venues whose limits count by the minute: a test that is shorter never sees the count begin anew."""

from __future__ import annotations

import time
from collections.abc import Callable

MINUTE_NS = 60_000_000_000


def minute_clock() -> Callable[[], int]:
    """Make a wall clock that reads the start of this minute now."""
    behind_ns = time.time_ns() % MINUTE_NS
    return lambda: time.time_ns() - behind_ns
