"""Carries WebSocket frames between a socket and synchronous callbacks. Understands no message, never reconnects, never waits
on behalf of a budget.

`connect_websockets` is the default; `transport_picows.connect_picows` is the optional one behind the same interface.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

FRAME_BYTES_MAX = 4 * 1024 * 1024
"""A frame (or the sum of its fragments) above this ends the connection; venues send kilobytes."""
FRAMES_WAITING_MAX = 4_096
"""Frames read but not yet delivered; past it the socket is not read and TCP slows the sender: nothing is lost silently."""
CLOSE_S_MAX = 1.0
"""A closing handshake may take so long before the socket is cut."""
USER_AGENT = "arbitrage"


class ConnectFailed(Exception):
    """No WebSocket came to be. `status` is the HTTP answer if there was one, `retry_after` its header."""

    def __init__(self, reason: str, status: int = 0, retry_after: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class Handlers(msgspec.Struct, frozen=True):
    """Called synchronously as things arrive. Exceptions out of `frame` end `Connection.read` with that exception."""

    opened: Callable[[], None]
    """The handshake is done and no frame was delivered yet."""
    frame: Callable[[bytes], None]
    pinged: Callable[[], None]
    """The server's ping arrived and its pong was sent: one more client message."""
    ponged: Callable[[], None]


class Connection(Protocol):
    """One open WebSocket."""

    async def read(self) -> str:
        """Deliver frames until the connection ends; return why it ended."""
        ...

    async def send(self, text: bytes) -> None:
        """Send one text message. A connection that is closing swallows it: `read` tells."""
        ...

    async def ping(self) -> None:
        """Send a ping frame."""
        ...

    async def close(self) -> None:
        """Close politely, within `CLOSE_S_MAX`."""
        ...

    def abort(self) -> None:
        """Cut the socket now."""
        ...


class ConnectOptions(msgspec.Struct, frozen=True):
    """How to open: limits, and whether the environment's proxy applies."""

    timeout_s: float
    frames_per_yield: int
    is_proxied: bool
    is_private: bool = False
    """Its handshake or messages hold a key: the library must not write them to its debug log."""
    secret_headers: Callable[[], Mapping[str, str]] | None = None
    """Made for each handshake and kept nowhere: a function, so that no repr shows what it returns."""


class Transport(Protocol):
    """Opens WebSockets."""

    async def __call__(self, url: str, handlers: Handlers, options: ConnectOptions) -> Connection:
        """Return an open connection. Raises ConnectFailed."""
        ...


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine, where no proxy from the environment may come between."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _ObservedConnection(ClientConnection):
    """The library answers pings by itself; this tells that it did, because the answer counts as a message of ours.

    It also closes once the venue has said goodbye: a peer that then keeps the socket open would delay the news by seconds.
    """

    pinged: Callable[[], None] | None = None

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if isinstance(event, Frame):
            if event.opcode is Opcode.PING and self.pinged is not None:
                self.pinged()
            elif event.opcode is Opcode.CLOSE:
                self.transport.close()


class WebsocketsConnection:
    """`websockets` behind the interface: raw bytes out of `recv`, no compression, a turn for others after a burst."""

    def __init__(self, socket: ClientConnection, handlers: Handlers, frames_per_yield: int) -> None:
        self._socket = socket
        self._handlers = handlers
        self._frames_per_yield = frames_per_yield

    async def read(self) -> str:
        """Deliver frames until the end. `recv` does not suspend while frames wait, so the loop is given a turn by count."""
        receive = self._socket.recv
        deliver = self._handlers.frame
        frames_per_yield = self._frames_per_yield
        count = 0
        while True:
            try:
                raw = await receive(decode=False)
            except ConnectionClosed as closed:
                return _why(closed)
            deliver(raw)
            count += 1
            if count == frames_per_yield:
                count = 0
                await asyncio.sleep(0)

    async def send(self, text: bytes) -> None:
        try:
            await self._socket.send(text, text=True)
        except ConnectionClosed:
            return

    async def ping(self) -> None:
        try:
            pong = await self._socket.ping()
        except ConnectionClosed:
            return
        assert isinstance(pong, asyncio.Future), "the pong's arrival can be observed"
        pong.add_done_callback(self._ponged)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._socket.close()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        self._socket.transport.abort()

    def _ponged(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._handlers.ponged()


async def connect_websockets(url: str, handlers: Handlers, options: ConnectOptions) -> Connection:
    """Open with the `websockets` library. Never sends an Origin header. Raises ConnectFailed."""
    try:
        socket = await connect(
            url,
            create_connection=_ObservedConnection,
            compression=None,
            user_agent_header=USER_AGENT,
            additional_headers=None if options.secret_headers is None else options.secret_headers(),
            proxy=True if options.is_proxied else None,
            open_timeout=options.timeout_s,
            ping_interval=None,
            close_timeout=CLOSE_S_MAX,
            max_size=FRAME_BYTES_MAX,
            max_queue=FRAMES_WAITING_MAX,
            logger=logging.Logger("private connection", logging.WARNING) if options.is_private else None,
        )
    except InvalidStatus as refused:
        response = refused.response
        raise ConnectFailed(
            f"HTTP {response.status_code}", response.status_code, response.headers.get("Retry-After", "")
        ) from refused
    except (OSError, TimeoutError, WebSocketException) as failure:
        raise ConnectFailed(f"{type(failure).__name__}: {failure}") from failure
    assert isinstance(socket, _ObservedConnection), "the library makes what it was told to make"
    socket.pinged = handlers.pinged
    handlers.opened()
    return WebsocketsConnection(socket, handlers, options.frames_per_yield)


def _why(closed: ConnectionClosed) -> str:
    if closed.rcvd is not None:
        return f"closed by the venue: {closed.rcvd.code} {closed.rcvd.reason}".rstrip()
    if closed.sent is not None:
        return f"closed by us: {closed.sent.code} {closed.sent.reason}".rstrip()
    return "cut without a close frame"
