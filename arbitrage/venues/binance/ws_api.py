"""One connection to Binance's WebSocket API: requests matched to answers by id, account events passed on, death noticed.

Never reconnects, never repeats a request, knows no order. A connection that ends leaves every request in the air unanswered.
Nothing of it is ever recorded: its messages hold the key. Source: reference binance-spot 11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from arbitrage.model.events import FeedFault
from arbitrage.venues.binance.replies import Lost, Outcome, Reply, Unsent, VenueError
from arbitrage.venues.binance.signing import Signer
from arbitrage.venues.binance.ws_wire import Answered, Ignored, Message, Notice, Reported, read_message
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S
from arbitrage.venues.transport import ConnectFailed, Connection, ConnectOptions, Handlers, is_loopback
from arbitrage.venues.wiring import VenueContext

LATE_ANSWERS_MAX = 1_000
"""Requests whose answer came not in time and is still welcome; the oldest is forgotten beyond."""
GRACE_NS = 50 * NS_PER_MS
"""A loop that was itself held up reads what waits in the socket before it calls the connection dead."""
class Hears(msgspec.Struct, frozen=True):
    """Who hears of one request beside the one that waits for its answer."""

    sent: Callable[[], None]
    """Its last byte is in the socket's hands."""
    late: Callable[[Reply], None]
    """Its answer came after the limit."""


class Listener(Protocol):
    """Takes what a connection brings. Called synchronously, from the socket."""

    def on_report(self, connection: ApiConnection, body: bytes, at_ns: int) -> None:
        """Take an execution report."""
        ...

    def on_ended(self, connection: ApiConnection, reason: str) -> None:
        """Take note that the connection is over."""
        ...

    def on_notice(self, connection: ApiConnection, notice: Notice) -> None:
        """Take note that the venue will close the connection or has ended its events."""
        ...

    def on_unanswered(self, connection: ApiConnection) -> None:
        """Take note that a request stayed without an answer: pings may be answered, and nothing else."""
        ...

    def on_ignored(self, name: str) -> None:
        """Count an event that nothing is made of."""
        ...

    def on_unasked(self, reply: Reply) -> None:
        """Take an answer that belongs to no request, such as a revoked key's."""
        ...


class _Pending(msgspec.Struct):
    answered: asyncio.Future[Outcome]


class ApiConnection:
    """One connection's life: `open`, then `serve` until it ends, `ask` meanwhile."""

    def __init__(self, name: str, context: VenueContext, signer: Signer, listener: Listener) -> None:
        assert context.settings.account_url is not None, "order entry has an address"
        self.name = name
        self.opened_ns = 0
        self.subscribed_ns = 0
        """When the venue confirmed the account's events; 0 before."""
        self.has_ended = False
        self.is_told_to_leave = False
        """A successor is due: the venue will close, or does not answer."""
        self._url = context.settings.account_url
        self._context = context
        self._settings = context.settings
        self._clock = context.wiring.clock
        self._signer = signer
        self._listener = listener
        self._timeout_s = context.settings.request_timeout_ms / 1000
        self._life_ns = 0
        self._socket: Connection | None = None
        self._pending: dict[int, _Pending] = {}
        self._late: dict[int, Hears] = {}

    @property
    def is_usable(self) -> bool:
        """Tell whether an order may be sent here now."""
        return self._socket is not None and not self.has_ended and self.subscribed_ns > 0

    @property
    def requests_in_the_air(self) -> int:
        """Return how many answers would still be welcome, late ones included."""
        return len(self._pending) + len(self._late)

    async def open(self) -> None:
        """Connect. Raises ConnectFailed."""
        handlers = Handlers(opened=self._on_open, frame=self._on_frame, pinged=self._on_life, ponged=self._on_life)
        options = ConnectOptions(
            timeout_s=self._settings.connect_timeout_ms / 1000,
            frames_per_yield=self._context.wiring.frames_per_yield,
            is_proxied=not is_loopback(self._url),
            is_private=True,
        )
        try:
            self._socket = await self._context.wiring.transport(self._url, handlers, options)
        except ConnectFailed as failure:
            raise ConnectFailed(self._signer.hide(str(failure)), failure.status, failure.retry_after) from None

    async def serve(self) -> None:
        """Deliver messages and watch for silence until the connection ends."""
        assert self._socket is not None, "an open connection serves"
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(), name=f"watch {self.name}")
                reason = await self._socket.read()
                self.end(self._signer.hide(reason))
                watching.cancel()
        finally:
            self._socket.abort()
            self.end("session stopped")

    async def ask(self, number: int, message: bytes, hears: Hears | None = None) -> Outcome:
        """Send one request and wait for its answer. `hears` is told when it was sent, and an answer that comes too late."""
        if self._socket is None or self.has_ended:
            return Unsent("the connection is over")
        assert number not in self._pending, "a request has a number of its own"
        pending = _Pending(asyncio.get_running_loop().create_future())
        self._pending[number] = pending
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._socket.send(message)
                if hears is not None:
                    hears.sent()
                return await pending.answered
        except TimeoutError:
            if pending.answered.done() and not pending.answered.cancelled():
                return pending.answered.result()  # it came in the very turn in which the limit passed
            self._remember(number, hears)
            self.is_told_to_leave = True
            self._listener.on_unanswered(self)
            return Lost(f"no answer within {self._timeout_s:g} s")
        finally:
            self._pending.pop(number, None)

    async def close(self) -> None:
        """Close politely."""
        assert self._socket is not None, "an open connection closes"
        await self._socket.close()

    def end(self, reason: str) -> None:
        """Count the connection as over, whatever its socket does: what is in the air stays unanswered."""
        if self.has_ended:
            return
        self.has_ended = True
        for pending in self._pending.values():
            if not pending.answered.done():
                pending.answered.set_result(Lost(f"the connection ended: {reason}"))
        if self._socket is not None:
            self._socket.abort()
        self._listener.on_ended(self, reason)

    def _remember(self, number: int, hears: Hears | None) -> None:
        if hears is not None:
            if len(self._late) >= LATE_ANSWERS_MAX:
                self._late.pop(next(iter(self._late)))
            self._late[number] = hears

    def _on_open(self) -> None:
        self.opened_ns = self._life_ns = self._clock()

    def _on_life(self) -> None:
        self._life_ns = self._clock()

    def _on_frame(self, raw: bytes) -> None:
        if self.has_ended:
            return
        at_ns = self._life_ns = self._clock()
        message: Message = read_message(raw, self._context.venue, at_ns)
        match message:
            case Answered():
                self._answer(message)
            case Reported(body):
                self._listener.on_report(self, body, at_ns)
            case Ignored(name):
                self._listener.on_ignored(name)
            case Notice():
                self.is_told_to_leave = True
                self._listener.on_notice(self, message)
            case FeedFault():
                self._context.fault(message.kind, self._signer.hide(message.detail))

    def _answer(self, answered: Answered) -> None:
        reply = answered.reply
        if reply.error is not None:
            reply = msgspec.structs.replace(
                reply, error=VenueError(reply.error.code, self._signer.hide(reply.error.msg), reply.error.data)
            )
        pending = None if answered.number is None else self._pending.get(answered.number)
        if pending is not None and not pending.answered.done():
            pending.answered.set_result(reply)
            return
        hears = None if answered.number is None else self._late.pop(answered.number, None)
        if hears is not None:
            hears.late(reply)
        else:
            self._listener.on_unasked(reply)

    async def _watch(self) -> None:
        """Ping at the interval; end the connection when nothing at all came for longer than the limit."""
        assert self._socket is not None, "an open connection is watched"
        silence_ns = self._settings.silence_ms_max * NS_PER_MS
        ping_s = self._settings.ping_interval_ms / 1000
        is_suspected = False
        while not self.has_ended:
            if self._clock() - self._life_ns >= silence_ns - GRACE_NS:
                if is_suspected:
                    self.end(f"no sign of life for {self._settings.silence_ms_max} ms")
                    return
                is_suspected = True
                await asyncio.sleep(GRACE_NS / NS_PER_S)
                continue
            is_suspected = False
            try:
                async with asyncio.timeout(ping_s):
                    await self._socket.ping()
            except TimeoutError:
                continue
            await asyncio.sleep(ping_s)
