"""Counts what was said to a venue in strict sliding windows and says how long to wait. Refuses token buckets: they let double.

A bucket of "5 a second" that is full lets nine messages through within one second, and Binance closes the connection for it
(reference binance-spot 13). Here no window of the given length, wherever it starts, ever holds more than its limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
SECOND_NS = 1_100 * NS_PER_MS
"""A venue's second as we count it: what leaves a second apart may arrive closer together, so we keep a tenth more apart."""


class SlidingWindow:
    """At most `limit` units within any `window_ns`, both ends included."""

    def __init__(self, limit: int, window_ns: int) -> None:
        assert limit > 0, "a window lets something through"
        assert window_ns > 0, "a window has a length"
        self.limit = limit
        self.window_ns = window_ns
        self._taken: deque[tuple[int, int]] = deque()
        self._used = 0

    def used(self, now_ns: int) -> int:
        """Return the units that still count at `now_ns`."""
        while self._taken and now_ns - self._taken[0][0] > self.window_ns:
            self._used -= self._taken.popleft()[1]
        return self._used

    def wait_ns(self, now_ns: int, units: int = 1) -> int:
        """Return how long until `units` fit; 0 when they fit now."""
        assert 0 < units <= self.limit, "a request must fit into an empty window"
        excess = self.used(now_ns) + units - self.limit
        if excess <= 0:
            return 0
        for at_ns, taken in self._taken:
            excess -= taken
            if excess <= 0:
                return at_ns + self.window_ns + 1 - now_ns
        raise AssertionError("whatever is used was taken")

    def charge(self, now_ns: int, units: int = 1) -> None:
        """Count `units` whether they fit or not: a pong is owed, and the venue's own count is right.

        Past the limit they join the newest entry, which then leaves later, never earlier: memory is bounded by the limit.
        """
        if self.used(now_ns) >= self.limit:
            _, newest = self._taken.pop()
            self._taken.append((now_ns, newest + units))
        else:
            self._taken.append((now_ns, units))
        self._used += units

    def correct(self, now_ns: int, used: int) -> None:
        """Believe the venue when it counted more than we did (another process behind our address); never count less."""
        missing = min(used, self.limit) - self.used(now_ns)
        if missing > 0:
            self.charge(now_ns, missing)


class Budget:
    """Several windows over the same acts, and a time before which nothing may be done at all."""

    def __init__(self, *windows: SlidingWindow) -> None:
        self.windows = windows
        self.held_until_ns = 0

    def wait_ns(self, now_ns: int, units: int = 1) -> int:
        """Return how long until `units` fit into every window and no hold is in force."""
        longest = max((window.wait_ns(now_ns, units) for window in self.windows), default=0)
        return max(longest, self.held_until_ns - now_ns, 0)

    def charge(self, now_ns: int, units: int = 1) -> None:
        """Count `units` in every window."""
        for window in self.windows:
            window.charge(now_ns, units)

    def hold(self, until_ns: int) -> None:
        """Allow nothing before `until_ns`; an earlier end never shortens a hold."""
        self.held_until_ns = max(self.held_until_ns, until_ns)

    def try_take(self, now_ns: int, units: int = 1) -> bool:
        """Count `units` if they fit now; tell whether they did."""
        if self.wait_ns(now_ns, units) > 0:
            return False
        self.charge(now_ns, units)
        return True

    async def take(self, clock: Callable[[], int], units: int = 1) -> None:
        """Wait until `units` fit, then count them. Nothing may be awaited between this and sending."""
        while True:
            now_ns = clock()
            if self.try_take(now_ns, units):
                return
            await asyncio.sleep(self.wait_ns(now_ns, units) / NS_PER_S)
