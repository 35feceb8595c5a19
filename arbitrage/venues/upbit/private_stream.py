"""One connection of Upbit's private stream: subscribes, proves it, keeps itself alive, notices death. Never reconnects.

The venue acknowledges no subscription and sends nothing until something happens (reference upbit 10). A pong that answers a
ping sent after the subscription shows that the subscription was read; from then on nothing is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from arbitrage.venues.budget import NS_PER_MS, NS_PER_S
from arbitrage.venues.link import GRACE_NS
from arbitrage.venues.transport import ConnectFailed, Connection, ConnectOptions, Handlers, is_loopback
from arbitrage.venues.upbit.signing import Signer
from arbitrage.venues.wiring import VenueContext

PING_MS_MIN = 1_500
"""The venue takes 100 messages a minute on a connection, and may count pings."""


class StreamPlan(msgspec.Struct, frozen=True):
    """Where to connect and what to say first."""

    url: str
    subscription: bytes
    signer: Signer


class PrivateStream:
    """One connection's life: `open`, then `serve` until it ends."""

    def __init__(self, context: VenueContext, plan: StreamPlan, on_frame: Callable[[bytes, int], None]) -> None:
        self.opened_ns = 0
        self.is_up = False
        self.reason = ""
        """Why it ended."""
        self._plan = plan
        self._context = context
        self._settings = context.settings
        self._clock = context.wiring.clock
        self._on_frame = on_frame
        self._life_ns = 0
        self._ponged = asyncio.Event()
        self._socket: Connection | None = None

    async def open(self) -> None:
        """Connect with a token of its own and subscribe. Raises ConnectFailed, whose text holds nothing signed."""
        handlers = Handlers(opened=self._on_life, frame=self._take, pinged=self._on_life, ponged=self._on_pong)
        signer = self._plan.signer
        options = ConnectOptions(
            timeout_s=self._settings.connect_timeout_ms / 1000,
            frames_per_yield=self._context.wiring.frames_per_yield,
            is_proxied=not is_loopback(self._plan.url),
            is_private=True,
            secret_headers=lambda: {"Authorization": signer.authorization()},
        )
        try:
            self._socket = await self._context.wiring.transport(self._plan.url, handlers, options)
        except ConnectFailed as failure:
            words = signer.hide(str(failure).encode()).decode()
            raise ConnectFailed(words, failure.status, failure.retry_after) from None
        self.opened_ns = self._life_ns = self._clock()

    async def serve(self, rise: Callable[[], Awaitable[str]]) -> None:
        """Subscribe, then ask `rise` whether the link is up ("" or why not), and deliver frames until the end."""
        assert self._socket is not None, "an open stream serves"
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._watch(), name="watch private stream")]
                tasks.append(group.create_task(self._rise(rise), name="subscribe private stream"))
                reason = await self._socket.read()
                self.end(self._plan.signer.hide(reason.encode()).decode())
                for task in tasks:
                    task.cancel()
        finally:
            self.end("session stopped")

    def end(self, reason: str) -> None:
        """Count the connection as over, whatever its socket does."""
        assert self._socket is not None, "an open stream ends"
        if not self.reason:
            self.reason = reason or "ended"
            self._socket.abort()

    async def _rise(self, rise: Callable[[], Awaitable[str]]) -> None:
        assert self._socket is not None, "an open stream subscribes"
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1000):
                await self._socket.send(self._plan.subscription)
                await self._socket.ping()
                await self._ponged.wait()
        except TimeoutError:
            self.end("no pong after subscribing")
            return
        problem = await rise()
        if problem:
            self.end(problem)

    def _take(self, raw: bytes) -> None:
        if not self.reason:
            self._life_ns = self._clock()
            self._on_frame(raw, self._life_ns)

    def _on_life(self) -> None:
        self._life_ns = self._clock()

    def _on_pong(self) -> None:
        self._life_ns = self._clock()
        self._ponged.set()

    async def _watch(self) -> None:
        """Ping at the interval; end the connection when nothing at all came for longer than the limit."""
        assert self._socket is not None, "an open stream is watched"
        silence_ns = self._settings.silence_ms_max * NS_PER_MS
        grace_ns = min(GRACE_NS, silence_ns // 4)
        ping_ns = max(self._settings.ping_interval_ms, min(PING_MS_MIN, self._settings.silence_ms_max // 3)) * NS_PER_MS
        pinged_ns = self._clock()
        is_suspected = False
        while True:
            now_ns = self._clock()
            left_ns = self._life_ns + silence_ns - grace_ns - now_ns
            if left_ns <= 0 and is_suspected:
                self.end(f"no sign of life for {self._settings.silence_ms_max} ms")
                return
            is_suspected = left_ns <= 0
            if is_suspected:
                await asyncio.sleep(grace_ns / NS_PER_S)
                continue
            if now_ns - pinged_ns >= ping_ns:
                pinged_ns = now_ns
                await self._ping(left_ns)
            await asyncio.sleep(max(NS_PER_MS, min(left_ns, pinged_ns + ping_ns - now_ns)) / NS_PER_S)

    async def _ping(self, timeout_ns: int) -> None:
        """Ping within a time: writing to a peer that stopped reading may block."""
        assert self._socket is not None, "an open stream pings"
        try:
            async with asyncio.timeout(timeout_ns / NS_PER_S):
                await self._socket.ping()
        except TimeoutError:
            return
