"""One market-data connection, from handshake to end: delivers frames, keeps itself alive, notices death. Never reconnects.

Source of the rules: reference binance-spot 10 (ping, 24 h, shutdown notice) and upbit 10 (idle cut, no acknowledgement).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from arbitrage.model.events import FaultKind, FeedEvent, FeedFault, LinkAlive, LinkDown, LinkUp
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S, SECOND_NS, Budget, SlidingWindow
from arbitrage.venues.holds import Holds
from arbitrage.venues.transport import ConnectFailed, Connection, ConnectOptions, Handlers, is_loopback
from arbitrage.venues.wiring import Decode, VenueContext, WireKind, WireRecord

GRACE_NS = 50 * NS_PER_MS
"""A loop that was itself held up reads what waits in the socket before it calls a connection dead."""
MINUTE_NS = 60 * NS_PER_S


class ConnectionRules(msgspec.Struct, frozen=True):
    """What a venue demands of connections, beyond settings."""

    life_ns: int | None = None
    """The venue cuts a connection at this age."""
    messages_per_minute_max: int | None = None
    connects_per_s_max: int | None = None
    has_first_messages: bool = False
    """Every subscribed code sends something at once, so that silence means a code the venue does not know."""


class LinkPlan(msgspec.Struct, frozen=True):
    """What one connection carries: always the whole set, kept here and nowhere else."""

    url: str
    symbols: dict[int, str]
    """By market."""
    subscriptions: tuple[bytes, ...] = ()
    """Messages that subscribe it, in this order; none where the URL already does."""


class Feed(msgspec.Struct, frozen=True):
    """What all links of one venue share."""

    context: VenueContext
    decoder: Callable[[str], Decode]
    """Gives the decoding function of a named connection."""
    rules: ConnectionRules
    connects: Budget
    holds: Holds
    changed: asyncio.Event
    """Set whenever a link's state changes that somebody may be waiting for."""


class Link:
    """One connection's life: `open`, then `serve` until it ends. `come_up` may be put off while a predecessor still serves."""

    def __init__(self, connection: str, plan: LinkPlan, feed: Feed, *, is_primary: bool) -> None:
        self.connection = connection
        self.plan = plan
        self.opened_ns = 0
        self.is_up = False
        self.has_ended = False
        self.is_told_to_leave = False
        """The venue announced that it will close."""
        self._feed = feed
        self._context = feed.context
        self._settings = feed.context.settings
        self._clock = feed.context.wiring.clock
        self._sink = feed.context.wiring.sink
        self._record = feed.context.wiring.record
        self._decode = feed.decoder(connection)
        self._is_primary = is_primary
        self._unheard = set(plan.symbols)
        self._life_ns = 0
        self._socket: Connection | None = None
        windows = [SlidingWindow(self._settings.messages_per_s_max, SECOND_NS)]
        if feed.rules.messages_per_minute_max is not None:
            windows.append(SlidingWindow(feed.rules.messages_per_minute_max, MINUTE_NS))
        self._messages = Budget(*windows)

    @property
    def is_warm(self) -> bool:
        """Tell whether every market behind it was heard of, or waiting for the rest is pointless."""
        return not self._unheard

    async def open(self) -> None:
        """Connect and subscribe. Raises ConnectFailed."""
        wiring = self._context.wiring
        handlers = Handlers(opened=self._on_open, frame=self._on_frame, pinged=self._on_ping, ponged=self._on_pong)
        options = ConnectOptions(
            timeout_s=self._settings.connect_timeout_ms / 1000,
            frames_per_yield=wiring.frames_per_yield,
            is_proxied=not is_loopback(self.plan.url),
        )
        self._socket = await wiring.transport(self.plan.url, handlers, options)
        is_subscribed = False
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1000):
                await self.subscribe()
            is_subscribed = True
        except TimeoutError as slow:
            raise ConnectFailed("subscribing took too long") from slow
        finally:
            if not is_subscribed:
                self._socket.abort()
        if self._is_primary:
            self.come_up()

    async def subscribe(self) -> None:
        """Send the whole subscription within the message budget; a part of it would replace the rest."""
        assert self._socket is not None, "an open link subscribes"
        for text in self.plan.subscriptions:
            await self._messages.take(self._clock)
            self._keep("send", text)
            await self._socket.send(text)

    def come_up(self) -> None:
        """Announce the link, once: from now on the books behind it are its own."""
        if self.is_up or self.has_ended:
            return
        self.is_up = True
        self._sink((LinkUp(self._clock(), self._context.venue, self.connection, tuple(self.plan.symbols)),))

    async def serve(self) -> None:
        """Deliver frames and watch for silence until the connection ends."""
        assert self._socket is not None, "an open link serves"
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(), name=f"watch {self.connection}")
                reason = await self._socket.read()
                self._end(reason)
                watching.cancel()
        finally:
            self._socket.abort()
            self._end("session stopped")

    async def retire(self, successor: str) -> None:
        """Give way to a successor that already carries the markets: none of them becomes unusable."""
        assert self._socket is not None, "an open link retires"
        if not self.has_ended:
            self._end(f"replaced by {successor}", markets=())
            await self._socket.close()

    def _end(self, reason: str, markets: tuple[int, ...] | None = None) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        if self.is_up:
            behind = tuple(self.plan.symbols) if markets is None else markets
            self._sink((LinkDown(self._clock(), self._context.venue, self.connection, behind, reason),))
        self._feed.changed.set()

    def _on_open(self) -> None:
        """Start counting life. Where the URL subscribes, frames may follow within the same read: the link is up first."""
        self.opened_ns = self._life_ns = self._clock()
        self._keep("open", b"")
        if self._is_primary and not self.plan.subscriptions:
            self.come_up()

    def _on_frame(self, raw: bytes) -> None:
        """Take one frame to the sink without a queue or an await between. This is the hot path."""
        if self.has_ended:
            return
        at_ns = self._life_ns = self._clock()
        if self._record is not None:
            self._keep("frame", raw)
        events = self._decode(raw, at_ns)
        if not events:
            return
        if self._unheard:
            self._hear(events)
        if type(events[0]) is FeedFault:
            self._heed(events)
        if self.is_up or type(events[0]) is not LinkAlive:
            self._sink(events)

    def _hear(self, events: Sequence[FeedEvent]) -> None:
        for event in events:
            if type(event) is not FeedFault:
                self._unheard.discard(getattr(event, "market", -1))
        if not self._unheard:
            self._feed.changed.set()

    def _heed(self, events: Sequence[FeedEvent]) -> None:
        if any(type(event) is FeedFault and event.kind is FaultKind.SERVER_SHUTDOWN for event in events):
            self.is_told_to_leave = True
            self._feed.changed.set()

    def _on_ping(self) -> None:
        self._life_ns = now_ns = self._clock()
        self._messages.charge(now_ns)

    def _on_pong(self) -> None:
        self._life_ns = now_ns = self._clock()
        if self.is_up and not self.has_ended:
            self._sink((LinkAlive(now_ns, self._context.venue, self.connection),))

    async def _watch(self) -> None:
        """Ping at the interval; end the link when nothing at all came for longer than the limit."""
        assert self._socket is not None, "an open link is watched"
        silence_ns = self._settings.silence_ms_max * NS_PER_MS
        grace_ns = min(GRACE_NS, silence_ns // 4)
        ping_ns = self._settings.ping_interval_ms * NS_PER_MS
        pinged_ns = self.opened_ns
        is_suspected = False
        while not self.has_ended:
            now_ns = self._clock()
            left_ns = self._life_ns + silence_ns - grace_ns - now_ns
            if left_ns <= 0 and is_suspected:
                self._end(f"no sign of life for {self._settings.silence_ms_max} ms")
                self._socket.abort()
                return
            is_suspected = left_ns <= 0
            if is_suspected:
                await asyncio.sleep(grace_ns / NS_PER_S)
                continue
            if now_ns - pinged_ns >= ping_ns and self._has_room_for_ping(now_ns):
                self._messages.charge(now_ns)
                pinged_ns = now_ns
                await self._ping(left_ns)
            if self._unheard and now_ns - self.opened_ns >= silence_ns:
                self._give_up_waiting()
            await asyncio.sleep(max(NS_PER_MS, min(left_ns, pinged_ns + ping_ns - now_ns)) / NS_PER_S)

    def _has_room_for_ping(self, now_ns: int) -> bool:
        """Keep one message back for a pong: that is owed at once, while a ping of ours can wait."""
        return self._messages.wait_ns(now_ns, min(2, self._settings.messages_per_s_max)) == 0

    async def _ping(self, timeout_ns: int) -> None:
        """Ping within a time: writing to a peer that stopped reading may block."""
        assert self._socket is not None, "an open link pings"
        try:
            async with asyncio.timeout(timeout_ns / NS_PER_S):
                await self._socket.ping()
        except TimeoutError:
            return

    def _give_up_waiting(self) -> None:
        """Name the codes that never sent anything, where that means something; stop waiting for them."""
        silent, self._unheard = self._unheard, set()
        if self._feed.rules.has_first_messages:
            for market in sorted(silent):
                self._context.fault(FaultKind.SUBSCRIPTION_SILENT, f"{self.plan.symbols[market]} sent nothing", market)
        self._feed.changed.set()

    def _keep(self, kind: WireKind, raw: bytes) -> None:
        if self._record is not None:
            url = self.plan.url if kind == "open" else ""
            self._record(WireRecord(self._clock(), self._context.venue, self.connection, kind, raw, url))
