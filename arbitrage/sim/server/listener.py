"""One loopback port that answers REST and takes WebSockets for one venue, faults included. Knows no venue's words."""

from __future__ import annotations

import asyncio
import email.utils
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

import msgspec

from arbitrage.sim.exchange.faults import Fault, Faults, Kind
from arbitrage.sim.scenarios.changes import Change
from arbitrage.sim.server.http import HEAD_BYTES_MAX, Malformed, Request, Response, encode_response, read_request
from arbitrage.sim.server.session import Session
from arbitrage.sim.server.socket import Socket, SocketLimits

KEEP_ALIVE_S = 75.0
CONNECTIONS_MAX = 1_000
CLOSE_STEPS, CLOSE_STEP_S = 20, 0.05
"""Clients that have not read their last bytes after this long are cut."""
SECOND_S = 0.25
"""How often time limits and faults are looked at."""
REQUESTS_REMEMBERED_MAX = 10_000
GAVE_UP = Fault(Kind.ERROR_AFTER, status=504)
ENDPOINTS_COUNTED_MAX = 500
"""Endpoints beyond this many are counted as `other`: anybody may ask for any path."""


class VenueServer(Protocol):
    """What a listener needs from a venue. All of it is synchronous and touches no network."""

    limits: SocketLimits
    counters: Counter[str]
    answer_ms_max: int
    """A REST answer that would come later than this is one that says that the outcome is unknown; 0 is no such limit."""

    def respond(self, request: Request) -> Response:
        """Answer one REST request."""

    def accept(self, request: Request, socket: Socket) -> Session | Response:
        """Take a WebSocket at this path, or say why not."""

    def arm(self, fault: Fault) -> None:
        """Have the next cancelled order filled before its cancel is looked at."""

    def refuse(self, fault: Fault) -> Response:
        """Write the answer that a fault gives in place of the venue's own: its status, its body or the venue's words."""

    def apply(self, change: Change) -> None:
        """Take one change of the market."""

    def flush(self, index: int) -> None:
        """Close the 100 ms window with this number."""

    def announce_shutdown(self) -> None:
        """Tell the clients that the connections end soon, where the venue does."""


class Seen(msgspec.Struct, frozen=True):
    """A REST request as it arrived, and the status it was answered with; 0 when it was not."""

    at_ns: int
    endpoint: str
    status: int


class Listener:
    """The port and its connections."""

    def __init__(
        self, venue: VenueServer, clock: Callable[[], int], now: Callable[[], float], faults: Faults | None = None
    ) -> None:
        self.venue = venue
        self.requests: deque[Seen] = deque(maxlen=REQUESTS_REMEMBERED_MAX)
        self.request_counts: Counter[str] = Counter()
        self._faults = faults
        self._paths: dict[Socket, str] = {}
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
            if self._faults is not None:
                self._faults.advance()
            for socket, session in tuple(self._sockets.items()):
                self._strike(socket)
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
            is_answered = await self._answer(request, reader, writer)
            if not is_answered or request.headers.get("connection", "").lower() == "close":
                return

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Carry a request out and answer it, or do with it what a fault says. False when the connection is over."""
        endpoint = f"{request.method} {request.path}"
        fault = self._take(endpoint, f"{unquote(request.target)} {request.body.decode('latin-1')}")
        kind = None if fault is None else fault.kind
        if fault is not None and kind is Kind.SLOW:
            await asyncio.sleep(fault.ms / 1000)
        if fault is not None and kind is Kind.FILL_BEFORE_CANCEL:
            self.venue.arm(fault)
        is_carried_out = kind not in (Kind.ERROR_BEFORE, Kind.HTML)
        response = self.venue.respond(request) if is_carried_out else None
        if fault is not None and kind in (Kind.ERROR_BEFORE, Kind.HTML, Kind.ERROR_AFTER):
            response = self.venue.refuse(fault)
        assert response is not None, "what is not carried out is refused"
        is_silent = kind in (Kind.CUT, Kind.LOST, Kind.HALF_OPEN)
        self._count(endpoint, 0 if is_silent else response.status)
        if is_silent:
            await self._keep_silent(reader, writer, is_cut=kind is Kind.CUT)
            return False
        if fault is not None and kind in (Kind.LATE, Kind.REORDERED):
            late_ms, most_ms = fault.ms, self.venue.answer_ms_max
            if most_ms and late_ms >= most_ms:
                late_ms, response = most_ms, self.venue.refuse(GAVE_UP)
            await asyncio.sleep(late_ms / 1000)
        for _ in range(2 if kind is Kind.REPEATED else 1):
            await self._write(writer, response)
        return True

    def _take(self, endpoint: str, text: str = "") -> Fault | None:
        return None if self._faults is None else self._faults.take(endpoint, text)

    def _count(self, endpoint: str, status: int) -> None:
        self.venue.counters["requests"] += 1
        self.requests.append(Seen(self._clock(), endpoint, status))
        is_known = endpoint in self.request_counts or len(self.request_counts) < ENDPOINTS_COUNTED_MAX
        self.request_counts[endpoint if is_known else "other"] += 1

    async def _keep_silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_cut: bool) -> None:
        """Cut the connection, or leave it open and answer nothing until the client goes or a while has passed."""
        if is_cut:
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(KEEP_ALIVE_S):
                while await reader.read(HEAD_BYTES_MAX):
                    continue
        except TimeoutError:
            self.venue.counters["silences_ended"] += 1

    def _strike(self, socket: Socket) -> None:
        """Do to an open socket what a fault says."""
        fault = self._take(f"socket {self._paths[socket]}")
        if fault is not None and fault.kind is Kind.CUT:
            socket.abort()
        elif fault is not None and fault.kind is Kind.HALF_OPEN:
            socket.freeze()

    async def _upgrade(self, request: Request, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._take(f"connect {request.path}")
        if fault is not None and fault.kind in (Kind.CUT, Kind.LOST, Kind.HALF_OPEN):
            await self._keep_silent(reader, writer, is_cut=fault.kind is Kind.CUT)
            return
        socket = Socket(writer, self.venue.limits, self._now, self.venue.counters)
        is_refused = fault is not None and fault.kind in (Kind.ERROR_BEFORE, Kind.ERROR_AFTER, Kind.HTML)
        session = self.venue.refuse(fault) if fault is not None and is_refused else self.venue.accept(request, socket)
        if isinstance(session, Response):
            await self._write(writer, session)
            return
        if not socket.handshake(head):
            session.on_close()
            return
        self.venue.counters["sockets"] += 1
        self._sockets[socket] = session
        self._paths[socket] = request.path
        try:
            await socket.run(reader, session)
        finally:
            del self._sockets[socket], self._paths[socket]
            session.on_close()

    async def _write(self, writer: asyncio.StreamWriter, response: Response) -> None:
        skew_ns = 0 if self._faults is None else self._faults.skew_ns()  # the header tells the venue's own time
        date = email.utils.formatdate((self._clock() + skew_ns) / 1e9, usegmt=True)
        writer.write(encode_response(response, date))
        async with asyncio.timeout(KEEP_ALIVE_S):
            await writer.drain()
