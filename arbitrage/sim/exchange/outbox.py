"""A socket's messages on their way out, and the faults that strike them. Owns no socket: it is told how to send and to cut."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from arbitrage.sim.exchange.faults import MS_NS, Fault, Faults, Kind

T = TypeVar("T")
OVERTAKEN_NS = 1_000_000_000
"""A message that waits to be overtaken goes out alone after this."""
WAITING_MAX = 10_000
"""Late messages beyond this many go out at once."""


class Outbox(Generic[T]):
    """One connection's way out. Late messages leave when `release` is called after their time (every 0.25 s is enough)."""

    def __init__(
        self, faults: Faults | None, clock: Callable[[], int], send: Callable[[T], None], cut: Callable[[], None]
    ) -> None:
        self._faults = faults
        self._clock = clock
        self._send = send
        self._cut = cut
        self._held: list[tuple[int, T]] = []
        """Since when, and which messages wait for the next one to overtake them."""
        self._late: list[tuple[int, int, T]] = []
        self._sequence = 0
        self._is_dead = False

    def put(self, name: str, payload: T, text: str = "") -> None:
        """Send a message, or do to it what a fault says."""
        self.deliver(self._faults.take(name, text) if self._faults is not None else None, payload)

    def deliver(self, fault: Fault | None, payload: T) -> None:
        """Send a message under a fault that was already taken (a call's, before it was carried out)."""
        kind = None if fault is None else fault.kind
        if kind is Kind.CUT:
            self._is_dead = True
            self._cut()
        elif kind is Kind.HALF_OPEN:
            self._is_dead = True
        if self._is_dead or kind is Kind.LOST:
            return
        if kind is Kind.REORDERED:
            self._held.append((self._clock(), payload))
            return
        if fault is not None and kind is Kind.LATE and len(self._late) < WAITING_MAX:
            self._sequence += 1
            heapq.heappush(self._late, (self._clock() + fault.ms * MS_NS, self._sequence, payload))
            return
        for _ in range(2 if kind is Kind.REPEATED else 1):
            self._send(payload)
        self._let_go(self._clock())

    def release(self) -> None:
        """Send what is late by now, and what nothing came to overtake."""
        now_ns = self._clock()
        while not self._is_dead and self._late and self._late[0][0] <= now_ns:
            self._send(heapq.heappop(self._late)[2])
        if not self._is_dead:
            self._let_go(now_ns - OVERTAKEN_NS)

    def _let_go(self, until_ns: int) -> None:
        """Send what has waited since before a time."""
        while self._held and self._held[0][0] <= until_ns:
            self._send(self._held.pop(0)[1])
