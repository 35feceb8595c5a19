"""Plays a scenario into venues in its own time: changes in order, 100 ms windows between them. Owns no clock.

Which change and which window come first depends on scenario time alone, so a late loop sends the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from arbitrage.sim.scenarios.changes import Change

WINDOW_NS = 100_000_000
SLEEP_S_MIN = 0.001
CHANGES_PER_STEP_MAX = 2_000
"""A late loop catches up in steps of so many changes, so that sockets and requests are served between them."""


class Stage(Protocol):
    """What changes are played into."""

    def apply(self, change: Change) -> None:
        """Take one change."""

    def flush(self, index: int) -> None:
        """Close a 100 ms window."""


class Timeline:
    """The scenario's position."""

    def __init__(self, changes: Iterator[Change], stages: Mapping[str, Stage]) -> None:
        self._changes = changes
        self._stages = stages
        self._next = next(changes, None)
        self._window = 1

    def next_ns(self) -> int:
        """Return when something happens next: a change or the end of a window."""
        window_ns = self._window * WINDOW_NS
        return window_ns if self._next is None else min(window_ns, self._next.at_ns)

    def advance(self, to_ns: int, *, limit: int = CHANGES_PER_STEP_MAX) -> bool:
        """Apply everything due up to `to_ns`; True when all of it was, False when `limit` changes came first."""
        applied = 0
        while (due_ns := self.next_ns()) <= to_ns:
            if applied >= limit:
                return False
            if self._next is None or self._window * WINDOW_NS <= self._next.at_ns:
                for stage in self._stages.values():
                    stage.flush(self._window)
                self._window += 1
                continue
            assert self._next.at_ns == due_ns, "the earlier of change and window is due"
            self._stages[self._next.venue].apply(self._next)
            self._next = next(self._changes, None)
            applied += 1
        return True

    async def play(self, now: Callable[[], float], speed: float) -> None:
        """Play for ever, `speed` times as fast as the scenario's own time."""
        assert speed > 0, "time goes forward"
        started_s = now()
        while True:
            is_done = self.advance(int((now() - started_s) * speed * 1e9))
            wait_s = (self.next_ns() / 1e9 / speed) - (now() - started_s) if is_done else 0.0
            await asyncio.sleep(max(wait_s, SLEEP_S_MIN) if is_done else 0.0)
