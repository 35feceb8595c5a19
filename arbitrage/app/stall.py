"""Says when nothing may be decided because what is known is older than it looks. Decides nothing else.

What waited in the sockets while the loop stood still is read after the stall and stamped then: it looks new and is as old as
the stall. So no opportunity is looked for until as much time has passed again, in which the backlog is read. Frames that a
slow line delivers late are told from outside (`hold`).
"""

from __future__ import annotations

MS_NS = 1_000_000
STALL_MS = 600
"""Decisions come ten times a second at least: a longer pause between two is a loop that stood still."""
HOLD_MS_MAX = 2_000


class StallGuard:
    """Told of every decision that is due; answers whether it may be taken."""

    def __init__(self) -> None:
        self.stalled_ms = 0
        """How long the newest stall was."""
        self.count = 0
        self._due_ns = 0
        self._held_until_ns = 0

    def has_stalled(self, now_ns: int) -> bool:
        """Note that a decision is due now; return whether the loop stood still before it."""
        gap_ms = (now_ns - self._due_ns) // MS_NS if self._due_ns else 0
        self._due_ns = now_ns
        if gap_ms <= STALL_MS:
            return False
        self.stalled_ms = gap_ms
        self.count += 1
        self._held_until_ns = now_ns + min(gap_ms, HOLD_MS_MAX) * MS_NS
        return True

    def hold(self, until_ns: int) -> None:
        """Decide nothing until then at least: what arrives is old although it is new here."""
        self._held_until_ns = max(self._held_until_ns, until_ns)

    def holds(self, now_ns: int) -> bool:
        """Tell whether what is known may still be from before the stall's end."""
        return now_ns < self._held_until_ns
