"""What happens, for those who follow it live: a bounded ring, and a bounded queue for each client. Waits for nobody.

An event with an id is kept in the ring, so that a client that comes back with `Last-Event-ID` misses nothing that the ring
still has, and is told when it does. Pictures (status, spreads) have no id: only the newest counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

import msgspec

HEARTBEAT_SECONDS = 10.0
SEND_SECONDS_MAX = 5.0
LINE_BYTES_MAX = 64_000


class Event(msgspec.Struct, frozen=True):
    """One event, encoded once for all who follow."""

    number: int
    """0: a picture, not kept."""
    topic: str
    wire: bytes


class Follower:
    """One client's queue."""

    def __init__(self, topics: frozenset[str], queue_max: int, who: str = "") -> None:
        self.topics = topics
        self.who = who
        self.is_dropped = False
        """It was too slow: it is told so, and that was all."""
        self.is_over = False
        self.backlog: deque[bytes] = deque()
        """What it missed: at most the ring, given before anything newer."""
        self._queue_max = queue_max
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()

    def offer(self, event: Event) -> bool:
        """Queue an event; return False when this one was too slow before, or is now."""
        if self.is_dropped:
            return False
        if event.topic not in self.topics:
            return True
        if len(self._queue) >= self._queue_max:
            self.is_dropped = True
            self._queue.clear()
            self._wake.set()
            return False
        self._queue.append(event)
        self._wake.set()
        return True

    def end(self) -> None:
        """Let the stream end after what is queued."""
        self.is_over = True
        self._wake.set()

    async def taken(self) -> AsyncIterator[bytes]:
        """Give everything as it comes, and a comment when nothing does, until ended or dropped."""
        while self.backlog:
            yield self.backlog.popleft()
        while True:
            while self._queue:
                yield self._queue.popleft().wire
            if self.is_dropped:
                yield wire("dropped", b'{"reason":"too slow: come back with Last-Event-ID"}')
                return
            if self.is_over:
                yield wire("closing", b'{"reason":"the daemon stops or the surface closes"}')
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                yield b": still here\n\n"


class Events:
    """The ring and everybody who follows."""

    def __init__(self, epoch: int, *, kept_max: int, followers_max: int, queue_max: int) -> None:
        self._epoch = epoch
        self._ring: deque[Event] = deque(maxlen=kept_max)
        self._number = 0
        self._followers: set[Follower] = set()
        self._followers_max = followers_max
        self._queue_max = queue_max
        self._of_one_max = max(1, followers_max // 2)
        """One caller never takes every place."""
        self.published = 0
        self.dropped = 0
        """Clients that were too slow."""
        self.refused = 0
        """Clients that found no place."""
        self._is_over = False

    @property
    def followers(self) -> int:
        return len(self._followers)

    def wanted(self, topic: str) -> bool:
        """Say whether anybody follows a topic: what nobody sees need not be drawn."""
        return any(topic in follower.topics for follower in self._followers)

    def publish(self, topic: str, body: bytes) -> None:
        """Tell all; kept in the ring. `body` is JSON on one line."""
        self._number += 1
        self.published += 1
        event = Event(self._number, topic, wire(topic, body, f"{self._epoch}-{self._number}"))
        self._ring.append(event)
        self._tell(event)

    def show(self, topic: str, body: bytes) -> None:
        """Tell all a picture that replaces the one before; not kept."""
        self._tell(Event(0, topic, wire(topic, body)))

    def follow(self, topics: Iterable[str], last_id: str, who: str = "") -> Follower | None:
        """Take a follower in, with what it missed since `last_id`; None where no place is left, for all or for `who`."""
        of_one = sum(follower.who == who for follower in self._followers)
        if len(self._followers) >= self._followers_max or of_one >= self._of_one_max or self._is_over:
            self.refused += 1
            return None
        follower = Follower(frozenset(topics), self._queue_max, who)
        if last_id:
            self._catch_up(follower, last_id)
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Forget a follower."""
        self._followers.discard(follower)

    def close(self) -> None:
        """Let every stream end."""
        self._is_over = True
        for follower in self._followers:
            follower.end()

    def _catch_up(self, follower: Follower, last_id: str) -> None:
        epoch, _, number = last_id.partition("-")
        is_ours = epoch == str(self._epoch) and number.isdigit() and len(number) <= 18 and int(number) <= self._number
        seen = int(number) if is_ours else 0
        missed = [event for event in self._ring if event.number > seen and event.topic in follower.topics]
        oldest = self._ring[0].number if self._ring else self._number + 1
        is_gapless = is_ours and oldest <= seen + 1
        if not is_gapless:
            follower.backlog.append(wire("gap", b'{"reason":"older events are not kept"}'))
        follower.backlog.extend(event.wire for event in missed)

    def _tell(self, event: Event) -> None:
        for follower in list(self._followers):
            if not follower.offer(event):
                self.dropped += 1
                self._followers.discard(follower)


def wire(topic: str, body: bytes, name: str = "") -> bytes:
    """Write an event as the stream carries it. The body has no line break: JSON has none."""
    assert b"\n" not in body, "an event's data is one line"
    head = f"id: {name}\nevent: {topic}\n" if name else f"event: {topic}\n"
    return head.encode() + b"data: " + body + b"\n\n"
