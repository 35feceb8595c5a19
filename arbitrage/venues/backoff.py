"""How long to wait after the n-th failure in a row: exponential, jittered, bounded. Refuses to know what failed."""

from __future__ import annotations

import random

DOUBLINGS_MAX = 30
"""Beyond so many failures the delay no longer grows (it reached its maximum long before)."""


class Backoff:
    """Delays that double up to a maximum, each drawn from its upper half, so that clients cut together return apart."""

    def __init__(self, ns_min: int, ns_max: int, rng: random.Random) -> None:
        assert ns_min > 0, "a failure always costs some time"
        self._ns_min = ns_min
        self._ns_max = max(ns_min, ns_max)
        self._rng = rng
        self.failures = 0

    def next_ns(self) -> int:
        """Count a failure and return the wait that follows it."""
        ceiling = min(self._ns_max, self._ns_min << min(self.failures, DOUBLINGS_MAX))
        self.failures += 1
        return self._rng.randint((ceiling + 1) // 2, ceiling)

    def reset(self) -> None:
        """Forget the failures: what came last has proved stable."""
        self.failures = 0
