"""A token bucket: so many at once, so many a minute. Reads no clock: every call brings its time."""

from __future__ import annotations

MINUTE_NS = 60_000_000_000


class Bucket:
    """Holds tokens as time (ns of earning): exact, and full when nothing was taken for long."""

    def __init__(self, per_minute: int, burst: int, now_ns: int) -> None:
        assert per_minute > 0 and burst > 0, "a bucket that gives nothing is no limit"
        self._cost_ns = MINUTE_NS // per_minute
        self._full_ns = self._cost_ns * burst
        self._held_ns = self._full_ns
        self._seen_ns = now_ns

    def free_ns(self, now_ns: int, keep: int = 0) -> int:
        """Return in how many ns a token can be taken that leaves `keep` behind; 0 when now."""
        self._earn(now_ns)
        return max(0, self._cost_ns * (keep + 1) - self._held_ns)

    def tokens(self, now_ns: int) -> int:
        """Return how many could be taken now; changes nothing, so that any thread may look."""
        return min(self._full_ns, self._held_ns + max(0, now_ns - self._seen_ns)) // self._cost_ns

    def take(self, now_ns: int) -> None:
        """Take one. The caller asked before whether it may."""
        self._earn(now_ns)
        assert self._held_ns >= self._cost_ns, "a token that is not there is not taken"
        self._held_ns -= self._cost_ns

    def _earn(self, now_ns: int) -> None:
        self._held_ns = min(self._full_ns, self._held_ns + max(0, now_ns - self._seen_ns))
        self._seen_ns = max(self._seen_ns, now_ns)
