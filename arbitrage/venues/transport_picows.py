"""The optional `picows` transport behind the interface of `transport`. Imported only when chosen; understands no message.

Frames are delivered from inside the library's read callback, so nothing lies between socket and sink. Fragments, which the
library passes on one by one, are joined here up to the frame limit.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from picows import WSCloseCode, WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from arbitrage.venues.transport import (
    CLOSE_S_MAX,
    FRAME_BYTES_MAX,
    USER_AGENT,
    ConnectFailed,
    Connection,
    ConnectOptions,
    Handlers,
)


class PicowsConnection(WSListener):
    """One listener, which is the connection too."""

    def __init__(self, handlers: Handlers) -> None:
        super().__init__()
        self._deliver = handlers.frame
        self._handlers = handlers
        self._transport: WSTransport | None = None
        self._is_announced = False
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._failure: Exception | None = None
        self._reason = ""
        self._ended = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def announce(self) -> None:
        """Say once that the connection is open; the first frame may come before `ws_connect` returns."""
        if not self._is_announced:
            self._is_announced = True
            self._handlers.opened()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Route one frame. What our own code raises is kept for `read`: the library would only log it."""
        try:
            if not self._is_announced:
                self.announce()
            kind = frame.msg_type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if transport.is_close_frame_sent:  # after its own error the library goes on parsing what is now garbage
                    return
                if frame.fin:
                    self._deliver(frame.get_payload_as_bytes())
                else:
                    self._join(frame)
            else:
                self._take_control(transport, frame)
        except Exception as failure:
            self._failure = self._failure or failure
            raise

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake = transport.close_handshake
        if not self._reason and handshake is not None and handshake.sent is not None:
            self._reason = f"closed by us: {_code(handshake.sent.code)} {handshake.sent.reason}".rstrip()
        self._ended.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def read(self) -> str:
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure
        return self._reason or "cut without a close frame"

    async def send(self, text: bytes) -> None:
        await self._write(WSMsgType.TEXT, text)

    async def ping(self) -> None:
        await self._write(WSMsgType.PING, b"")

    async def close(self) -> None:
        assert self._transport is not None, "an open connection closes"
        if not self._ended.is_set():
            self._transport.send_close(WSCloseCode.OK)
            try:
                async with asyncio.timeout(CLOSE_S_MAX):
                    await self._ended.wait()
            except TimeoutError:
                self.abort()

    def abort(self) -> None:
        assert self._transport is not None, "an open connection is cut"
        self._transport.disconnect(graceful=False)

    async def _write(self, kind: WSMsgType, payload: bytes) -> None:
        """Write when the peer reads; a connection that is over swallows it: `read` tells."""
        await self._writable.wait()
        if self._transport is not None and not self._ended.is_set():
            self._transport.send(kind, payload)

    def _take_control(self, transport: WSTransport, frame: WSFrame) -> None:
        match frame.msg_type:
            case WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
                self._handlers.pinged()
            case WSMsgType.PONG:
                self._handlers.ponged()
            case WSMsgType.CLOSE:
                code = _code(frame.get_close_code())
                self._reason = f"closed by the venue: {code} {frame.get_close_reason() or ''}".rstrip()
                transport.send_close(WSCloseCode.OK)
                transport.disconnect()
            case WSMsgType.CONTINUATION:
                self._join(frame)

    def _join(self, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._parts_bytes += len(self._parts[-1])
        if self._parts_bytes > FRAME_BYTES_MAX:
            self._parts, self._parts_bytes = [], 0
            self._reason = f"closed by us: a message exceeds {FRAME_BYTES_MAX} bytes"
            self.abort()
        elif frame.fin:
            whole = b"".join(self._parts)
            self._parts, self._parts_bytes = [], 0
            self._deliver(whole)


async def connect_picows(url: str, handlers: Handlers, options: ConnectOptions) -> Connection:
    """Open with the `picows` library. Never sends an Origin header, follows no redirect. Raises ConnectFailed."""
    try:
        _, connection = await ws_connect(
            lambda: PicowsConnection(handlers),
            url,
            websocket_handshake_timeout=options.timeout_s,
            enable_auto_ping=False,
            enable_auto_pong=False,
            max_frame_size=FRAME_BYTES_MAX,
            max_redirects=0,
            proxy=_environment_proxy(url) if options.is_proxied else None,
            extra_headers={"User-Agent": USER_AGENT, **({} if options.secret_headers is None else options.secret_headers())},
            logger_name=logging.Logger("private connection", logging.WARNING) if options.is_private else None,
        )
    except WSHandshakeError as refused:
        response = getattr(refused, "response", None)
        status = 0 if response is None else int(response.status)
        retry_after = "" if response is None else str(response.headers.get("Retry-After", ""))
        raise ConnectFailed(f"HTTP {status}" if status else str(refused), status, retry_after) from refused
    except (OSError, TimeoutError, WSError) as failure:
        raise ConnectFailed(f"{type(failure).__name__}: {failure}") from failure
    assert isinstance(connection, PicowsConnection), "the library makes what it was told to make"
    connection.announce()
    return connection


def _code(code: WSCloseCode | int) -> int:
    return int(code.value if isinstance(code, WSCloseCode) else code)


def _environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for this host, as the default transport would use it."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get("https" if parts.scheme == "wss" else "http")
