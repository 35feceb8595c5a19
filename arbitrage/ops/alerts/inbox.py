"""What the trading loop leaves for the thread of alerts: the newest picture, and events counted by key. Never waits.

The one thing that two threads share: every method holds the lock for some assignments and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from arbitrage.ops.alerts.nouns import Finding
from arbitrage.ops.alerts.picture import Picture

KEYS_MAX = 1_000
"""Different events between two looks of the thread; what is beyond is counted."""


class Heard(msgspec.Struct):
    """One event and how often it happened since the thread looked."""

    finding: Finding
    at_ns: int
    count: int = 1


class Inbox:
    """One door between two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: dict[str, Heard] = {}
        self._picture: Picture | None = None
        self.ring: Callable[[], None] | None = None
        """Wakes the thread; called once for all that came since it looked."""
        self.lost = 0

    def show(self, picture: Picture) -> None:
        """Leave the newest picture in the place of the one before."""
        with self._lock:
            is_first = self._is_empty()
            self._picture = picture
        self._wake(is_first)

    def hear(self, finding: Finding, at_ns: int) -> None:
        """Leave an event; one of the same key is counted."""
        with self._lock:
            is_first = self._is_empty()
            known = self._heard.get(finding.key)
            if known is not None:
                known.count += 1
                known.finding = finding
            elif len(self._heard) < KEYS_MAX:
                self._heard[finding.key] = Heard(finding, at_ns)
            else:
                self.lost += 1
        self._wake(is_first)

    def take(self) -> tuple[list[Heard], Picture | None]:
        """Take everything that came since the last time."""
        with self._lock:
            heard, self._heard = list(self._heard.values()), {}
            picture, self._picture = self._picture, None
        return heard, picture

    def _is_empty(self) -> bool:
        return not self._heard and self._picture is None

    def _wake(self, is_first: bool) -> None:
        if is_first and self.ring is not None:
            self.ring()
