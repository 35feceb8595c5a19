"""One loopback port that answers REST and takes WebSockets for one venue. Knows no venue's words."""

from __future__ import annotations

import asyncio
import email.utils
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from arbitrage.sim.scenarios.changes import Change
from arbitrage.sim.server.http import HEAD_BYTES_MAX, Malformed, Request, Response, encode_response, read_request
from arbitrage.sim.server.session import Session
from arbitrage.sim.server.socket import Socket, SocketLimits

KEEP_ALIVE_S = 75.0
CONNECTIONS_MAX = 1_000
CLOSE_STEPS, CLOSE_STEP_S = 20, 0.05
"""Clients that have not read their last bytes after this long are cut."""
SECOND_S = 0.25
"""How often time limits are looked at."""


class VenueServer(Protocol):
    """What a listener needs from a venue. All of it is synchronous and touches no network."""

    limits: SocketLimits
    counters: Counter[str]

    def respond(self, request: Request) -> Response:
        """Answer one REST request."""

    def accept(self, request: Request, socket: Socket) -> Session | Response:
        """Take a WebSocket at this path, or say why not."""

    def apply(self, change: Change) -> None:
        """Take one change of the market."""

    def flush(self, index: int) -> None:
        """Close the 100 ms window with this number."""

    def announce_shutdown(self) -> None:
        """Tell the clients that the connections end soon, where the venue does."""


class Listener:
    """The port and its connections."""

    def __init__(self, venue: VenueServer, clock: Callable[[], int], now: Callable[[], float]) -> None:
        self.venue = venue
        self._clock = clock
        self._now = now
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, None] = {}
        self._sockets: dict[Socket, Session] = {}

    async def open(self, port: int) -> int:
        """Listen on loopback; port 0 takes any free one. Returns the port."""
        assert self._server is None, "a listener opens once"
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_BYTES_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def run(self) -> None:
        """Look after time limits for ever."""
        while True:
            await asyncio.sleep(SECOND_S)
            for socket, session in tuple(self._sockets.items()):
                socket.on_second()
                session.on_second()

    async def close(self) -> None:
        """Announce the end, close every socket with 1001, and free the port."""
        assert self._server is not None, "only an open listener closes"
        self._server.close()
        self.venue.announce_shutdown()
        for socket in tuple(self._sockets):
            socket.close(1001, "")
        for writer in tuple(self._writers):
            writer.close()
        for _ in range(CLOSE_STEPS):
            if not self._writers:
                break
            await asyncio.sleep(CLOSE_STEP_S)
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counters = self.venue.counters
        if len(self._writers) >= CONNECTIONS_MAX:
            counters["connections_refused"] += 1
            writer.close()
            return
        self._writers[writer] = None
        try:
            await self._converse(reader, writer)
        except OSError:
            counters["connections_lost"] += 1
        finally:
            del self._writers[writer]
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(KEEP_ALIVE_S):
                received = await read_request(reader)
            if received is None:
                return
            if isinstance(received, Malformed):
                await self._write(writer, Response(received.status, b""))
                return
            request, head = received
            if request.is_upgrade:
                await self._upgrade(request, head, reader, writer)
                return
            self.venue.counters["requests"] += 1
            await self._write(writer, self.venue.respond(request))
            if request.headers.get("connection", "").lower() == "close":
                return

    async def _upgrade(
        self, request: Request, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        socket = Socket(writer, self.venue.limits, self._now, self.venue.counters)
        session = self.venue.accept(request, socket)
        if isinstance(session, Response):
            await self._write(writer, session)
            return
        if not socket.handshake(head):
            session.on_close()
            return
        self.venue.counters["sockets"] += 1
        self._sockets[socket] = session
        try:
            await socket.run(reader, session)
        finally:
            del self._sockets[socket]
            session.on_close()

    async def _write(self, writer: asyncio.StreamWriter, response: Response) -> None:
        date = email.utils.formatdate(self._clock() / 1e9, usegmt=True)
        writer.write(encode_response(response, date))
        async with asyncio.timeout(KEEP_ALIVE_S):
            await writer.drain()
