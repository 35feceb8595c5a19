"""The rolling metrics as a Redis hash that expires by itself. Computes none: the newest values handed in are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from arbitrage.store.redis_link import RedisLink

METRICS = (
    "trades_per_minute",
    "errors_per_minute",
    "avg_ws_latency_ms",
    "avg_loop_latency_ms",
    "guard_triggers_per_minute",
    "pnl_change_1min",
)
"""Rolling over 60 s. Others may be handed in beside them."""
PUBLISH_SECONDS = 1.0
EXPIRE_SECONDS = 60
VALUES_MAX = 200


def metrics_key(env: str, session_id: str) -> str:
    """Return the hash's key."""
    return f"arbitrage:{env}:{session_id}:METRICS"


class RedisMetrics:
    """Publishes the newest values once a second, also as a sign of life."""

    def __init__(self, link: RedisLink, key: str, clock: Callable[[], int]) -> None:
        self._link = link
        self._key = key
        self._clock = clock
        self._values: dict[str, float | int | str] = {}

    def offer(self, values: Mapping[str, float | int | str]) -> None:
        """Take the values to show from now on; they replace those handed in before."""
        assert len(values) <= VALUES_MAX, "metrics have a fixed set of names"
        self._values = dict(values)

    async def publish(self) -> bool:
        """Write the hash now. Returns whether Redis took it."""
        words = [word for name, value in self._values.items() for word in (name, value)]
        return await self._link.send(
            [("HSET", self._key, "updated_at_ns", self._clock(), *words), ("EXPIRE", self._key, EXPIRE_SECONDS)]
        )

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self.publish()
            await asyncio.sleep(PUBLISH_SECONDS)
