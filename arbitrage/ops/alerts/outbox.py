"""What waits for one channel, and what may go now: bounded, grouped, paced, retried. Pure: the time comes in, sends nothing.

What is critical goes at once, in quiet hours too; the rest waits for others, for the bucket and for the morning. A note of an
alert replaces one of the same alert that still waits. What was taken stays until it is told to have arrived: at least once.
"""

from __future__ import annotations

import msgspec

from arbitrage.ops.alerts.bucket import Bucket
from arbitrage.ops.alerts.nouns import RANK, Note, Severity

SECOND_NS = 1_000_000_000
BATCH_MAX = 20
"""Notes in one message."""
RETRY_NS_MIN, RETRY_NS_MAX = SECOND_NS, 300 * SECOND_NS
ASKED_NS_MAX = 900 * SECOND_NS
"""A channel that asks for more patience than this is asked again after it."""
AGE_NS_MAX = 24 * 3_600 * SECOND_NS
"""A note that waited for longer is worth nothing any more."""


class Limits(msgspec.Struct, frozen=True):
    """What a channel takes."""

    severity_min: Severity = "warning"
    per_minute: int = 10
    burst: int = 5
    group_ns: int = 3 * SECOND_NS
    waiting_max: int = 200


class Waiting(msgspec.Struct, frozen=True):
    """A note on its way."""

    note: Note
    since_ns: int


class Batch(msgspec.Struct, frozen=True):
    """What goes as one message."""

    notes: tuple[Note, ...]
    dropped: int = 0
    """Notes that were lost before: the bound was reached, or they grew too old."""


class Outbox:
    """One channel's queue."""

    def __init__(self, limits: Limits, now_ns: int, waiting: tuple[Waiting, ...] = (), dropped: int = 0) -> None:
        self._limits = limits
        self.group_ns = limits.group_ns
        """What is not critical waits this long for company."""
        self._bucket = Bucket(limits.per_minute, limits.burst, now_ns)
        self._waiting: list[Waiting] = []
        self._taken: list[Waiting] = []
        self._told_dropped = 0
        self._failures = 0
        self._next_ns = 0
        self._tried_ns = -RETRY_NS_MIN
        self._is_asked_to_wait = False
        self.dropped = dropped
        for each in waiting:
            self._add(Waiting(each.note, min(each.since_ns, now_ns)))

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """Return what has not arrived yet, what is under way included."""
        return (*self._taken, *self._waiting)

    @property
    def limits(self) -> Limits:
        return self._limits

    def tokens(self, now_ns: int) -> int:
        """Return how many messages could leave at once now."""
        return self._bucket.tokens(now_ns)

    @property
    def is_under_way(self) -> bool:
        return bool(self._taken)

    def put(self, note: Note, now_ns: int) -> bool:
        """Take a note; return False for one that this channel does not want."""
        if RANK[note.severity] < RANK[self._limits.severity_min]:
            return False
        self._add(Waiting(note, now_ns))
        return True

    def due_ns(self, now_ns: int, *, is_quiet: bool) -> int | None:
        """Return in how many ns something may go; None while there is nothing that will."""
        ready = [each for each in self._waiting if not is_quiet or each.note.severity == "critical"]
        if self._taken or not ready:
            return None
        is_critical = any(each.note.severity == "critical" for each in ready)
        grouped_ns = 0 if is_critical else min(each.since_ns for each in ready) + self.group_ns - now_ns
        return max(0, grouped_ns, self._retry_ns(now_ns, ready), self._bucket.free_ns(now_ns, 0 if is_critical else 1))

    def take(self, now_ns: int, *, is_quiet: bool) -> Batch | None:
        """Take what goes now as one message, the critical first; None when it is not time yet."""
        self._forget_old(now_ns)
        if self.due_ns(now_ns, is_quiet=is_quiet) != 0:
            return None
        ready = [each for each in self._waiting if not is_quiet or each.note.severity == "critical"]
        ready.sort(key=lambda each: (-RANK[each.note.severity], each.since_ns))
        self._taken = ready[:BATCH_MAX]
        self._waiting = [each for each in self._waiting if not any(each is taken for taken in self._taken)]
        self._bucket.take(now_ns)
        self._tried_ns = now_ns
        self._told_dropped = self.dropped
        return Batch(tuple(each.note for each in self._taken), self.dropped)

    def sent(self) -> None:
        """Hear that what was taken has arrived."""
        assert self._taken, "only what was taken arrives"
        self._taken, self._failures, self._next_ns, self._is_asked_to_wait = [], 0, 0, False
        self.dropped -= self._told_dropped

    def failed(self, now_ns: int, wait_ns: int = 0) -> None:
        """Hear that what was taken did not arrive; `wait_ns` is how long the channel asked us to wait, if it did."""
        assert self._taken, "only what was taken fails"
        back, self._taken = self._taken, []
        fresh = {each.note.key for each in self._waiting}
        self._waiting = [each for each in back if each.note.key not in fresh] + self._waiting
        self._shrink()
        self._failures += 1
        pause_ns = min(RETRY_NS_MAX, RETRY_NS_MIN << min(self._failures - 1, 20))
        self._is_asked_to_wait = wait_ns > 0
        self._next_ns = now_ns + max(pause_ns, min(wait_ns, ASKED_NS_MAX))

    def _retry_ns(self, now_ns: int, ready: list[Waiting]) -> int:
        """Return how long a channel that failed is left alone; what is critical and new tries it again at once."""
        is_new = any(each.note.severity == "critical" and each.since_ns > self._tried_ns for each in ready)
        if is_new and not self._is_asked_to_wait:
            return max(0, self._tried_ns + RETRY_NS_MIN - now_ns) if self._failures else 0
        return max(0, self._next_ns - now_ns)

    def _add(self, waiting: Waiting) -> None:
        """Queue a note in the place of an older one of the same alert, whose time it keeps unless it is worse."""
        for place, old in enumerate(self._waiting):
            if old.note.key == waiting.note.key:
                is_worse = RANK[waiting.note.severity] > RANK[old.note.severity]
                self._waiting[place] = waiting if is_worse else Waiting(waiting.note, old.since_ns)
                return
        self._waiting.append(waiting)
        self._shrink()

    def _shrink(self) -> None:
        while len(self._waiting) > self._limits.waiting_max:
            least = min(self._waiting, key=lambda each: (RANK[each.note.severity], each.since_ns))
            self._waiting = [each for each in self._waiting if each is not least]
            self.dropped += 1

    def _forget_old(self, now_ns: int) -> None:
        kept = [each for each in self._waiting if now_ns - each.since_ns < AGE_NS_MAX]
        self.dropped += len(self._waiting) - len(kept)
        self._waiting = kept
