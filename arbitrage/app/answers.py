"""Brings the accounts' words to the door, each stamped with its arrival there, one after the other and never inside another.

A session may answer an effect while the door still carries it out ("not sent: too many under way"), and what it read a while
ago may have waited for something else: to the engine time does not go back, and an event is not interrupted by another.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.app.door import Door, Timing
from arbitrage.venues.wiring import VenueEvent

WAITING_MAX = 10_000
"""Far more than sessions can say within one turn of the loop; none may be dropped, so more is a broken invariant."""


class Answers:
    """One door's queue of answers; empty but for moments."""

    def __init__(self, door: Door, timing: Timing) -> None:
        self._door = door
        self._timing = timing
        self._waiting: list[VenueEvent] = []

    def sink(self, events: Sequence[VenueEvent]) -> None:
        """Hand over now, or as soon as the door is free and everything before has been handed over."""
        if not self._door.is_inside and not self._waiting:
            self._hand_over(events)
            return
        if not self._waiting:
            self._timing.soon(self._flush)
        self._waiting += events
        assert len(self._waiting) <= WAITING_MAX, "answers are handed over in the next turn"

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._hand_over(waiting)

    def _hand_over(self, events: Sequence[VenueEvent]) -> None:
        now_ns = self._timing.now_ns()
        self._door.feed([msgspec.structs.replace(event, at_ns=now_ns) for event in events])
