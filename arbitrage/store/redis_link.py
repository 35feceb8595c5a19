"""The connection to Redis or Valkey: commands in one round trip, health, latency. Refuses to raise when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from arbitrage.store.endpoints import RedisEndpoint
from arbitrage.store.redis_client import REDIS_FAULTS, make_redis

Command = tuple[str | int | float | bytes, ...]


class RedisLink:
    """One client. It connects when first used and again after every loss."""

    def __init__(self, endpoint: Callable[[], RedisEndpoint], clock: Callable[[], int]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._client: Redis | None = None
        self._made_for: RedisEndpoint | None = None
        self.is_up = False
        self.latency_ms = 0.0
        """Of the newest round trip that succeeded."""
        self.faults = 0
        self.last_error = ""

    async def send(self, commands: Sequence[Command]) -> bool:
        """Send the commands together. Returns False, and `is_up` turns False, when they did not all succeed."""
        client = await self._ensure_client()
        started_ns = self._clock()
        try:
            async with client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                await pipeline.execute()
        except REDIS_FAULTS as error:
            self.is_up = False
            self.faults += 1
            self.last_error = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            _end_when_cancelled()
            return False
        self.latency_ms = (self._clock() - started_ns) / 1e6
        self.is_up = True
        self.last_error = ""
        _end_when_cancelled()
        return True

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
            self.is_up = False

    async def _ensure_client(self) -> Redis:
        endpoint = self._endpoint()
        if self._client is None or endpoint != self._made_for:
            await self.close()
            self._client, self._made_for = make_redis(endpoint), endpoint
        return self._client


def _end_when_cancelled() -> None:
    """Raise the cancellation that the client's time-out swallowed: Python 3.11's `asyncio.wait_for` loses a late one."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
