"""Log lines as a bounded Redis stream. Never makes a line wait: past the queue's limit the oldest is dropped and counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from arbitrage.store.redis_link import Command, RedisLink

BATCH_MAX = 200
PUBLISH_SECONDS = 0.25
STREAM_LENGTH_MAX = 10_000
QUEUE_MAX = 10_000


def logs_key(env: str) -> str:
    """Return the stream's key."""
    return f"arbitrage:logs:{env}"


class RedisLogs:
    """A queue of lines and the task that sends them in batches."""

    def __init__(self, link: RedisLink, key: str, *, length_max: int = STREAM_LENGTH_MAX, queue_max: int = QUEUE_MAX) -> None:
        self._link = link
        self._key = key
        self._length_max = length_max
        self._queue_max = queue_max
        self._queue: deque[dict[str, str]] = deque()
        self.dropped = 0
        self.sent = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def offer(self, line: Mapping[str, object]) -> None:
        """Queue one line's fields; their values are sent as text."""
        if not line:
            return
        if len(self._queue) >= self._queue_max:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append({name: str(value) for name, value in line.items()})

    async def publish(self) -> bool:
        """Send one batch. Returns whether Redis took it; a batch that it did not take is kept.

        A batch whose answer was lost is sent again: a line may then stand twice in the stream.
        """
        batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
        if not batch:
            return True
        if await self._link.send([self._command(line) for line in batch]):
            self.sent += len(batch)
            return True
        room = self._queue_max - len(self._queue)
        kept = batch[-room:] if room > 0 else []
        self.dropped += len(batch) - len(kept)
        self._queue.extendleft(reversed(kept))
        return False

    async def run(self) -> None:
        """Send until cancelled; a full batch is followed by the next at once."""
        while True:
            if not (await self.publish() and self._queue):
                await asyncio.sleep(PUBLISH_SECONDS)

    def _command(self, line: Mapping[str, str]) -> Command:
        fields = [word for pair in line.items() for word in pair]
        return ("XADD", self._key, "MAXLEN", "~", self._length_max, "*", *fields)
