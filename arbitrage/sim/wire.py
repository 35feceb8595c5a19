"""One simulated venue behind a wire in a world's time: requests, sockets, their faults and delays. Opens no real socket.

It does to a venue's synchronous server what `server/listener.py` does on loopback, by the same names of faults. Bytes in one
direction of a connection stay in order, as TCP keeps them; requests over REST may overtake each other.
"""

from __future__ import annotations

import email.utils
import random
from collections.abc import Callable
from functools import partial
from typing import Protocol
from urllib.parse import unquote

import msgspec

from arbitrage.sim.exchange.faults import MS_NS, Fault, Faults, Kind
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.listener import GAVE_UP
from arbitrage.sim.server.session import Pipe, Session
from arbitrage.sim.world import World

TICK_NS = 250 * MS_NS
"""How often a venue looks after its sockets and faults."""
SKEW_SLACK_NS = 3_200 * MS_NS
FLIPS_TRIED_MAX = 50
BANNED, BANNED_WORD = 418, b'"status":418'
CLOCK_WORD = b'"code":-1021'
Heard = Callable[[Response | None], None]
"""Takes an answer, or None when the connection ended without one. Never called where nothing ever comes."""


class Server(Protocol):
    """What a wire needs of a venue."""

    answer_ms_max: int

    def respond(self, request: Request) -> Response: ...

    def accept(self, request: Request, socket: Pipe) -> Session | Response: ...

    def arm(self, fault: Fault) -> None: ...

    def refuse(self, fault: Fault) -> Response: ...


class Client(Protocol):
    """Our end of a connection."""

    def on_open(self, line: Line) -> None: ...

    def on_frame(self, line: Line, raw: bytes) -> None: ...

    def on_end(self, reason: str, refusal: Response | None) -> None: ...


class Line:
    """One connection: the venue writes into it as a pipe, the client by `tell`."""

    def __init__(self, wire: Wire, path: str, client: Client) -> None:
        self.path = path
        self.life = wire.life
        self.is_frozen = False
        """Half open: nothing moves any more, and nobody is told."""
        self.has_ended = False
        self.session: Session | None = None
        self._wire = wire
        self._client = client
        self._down_ns = self._up_ns = 0

    def send(self, payload: bytes, *, is_binary: bool = False, is_data: bool = True) -> None:
        """Bring one of the venue's messages to the client."""
        if self.has_ended or self.is_frozen:
            return
        wire = self._wire
        payload = wire.spoilt(self.path, payload)
        self._down_ns = max(self._down_ns, wire.arrival_ns())
        ban_ns = wire.banned_until_ns if BANNED_WORD in payload else 0
        wire.clock_refusals += CLOCK_WORD in payload
        wire.world.at(self._down_ns, partial(self._arrive, payload, ban_ns))

    def close(self, code: int, reason: str) -> None:
        self._break(f"closed by the venue with {code}")

    def abort(self) -> None:
        self._break("cut")

    def allow(self, messages_per_s: int) -> None:
        """Count no messages: what a client may send in a second is proved on real sockets."""

    def tell(self, payload: bytes) -> None:
        """Bring one of the client's messages to the venue."""
        self._wire.on_leave(self.path, payload)
        if not self.has_ended and not self.is_frozen:
            self._up_ns = max(self._up_ns, self._wire.arrival_ns())
            self._wire.world.at(self._up_ns, partial(self._reach, payload))

    def ping(self, heard: Callable[[], None]) -> None:
        """Have a sign of life heard, if there still is any."""
        if not self.has_ended and not self.is_frozen:
            self._wire.world.at(self._wire.arrival_ns(), heard)

    def hang_up(self) -> None:
        """End it from the client's side; what is on its way to the client is not heard any more."""
        self._client = _NOBODY
        self._break("ended by the client")

    def arrived_at_venue(self, request: Request) -> None:
        """Let the venue take the connection, or say why not."""
        taken = self._wire.server.accept(request, self)
        if isinstance(taken, Response):
            self.has_ended = True
            ban_ns = self._wire.banned_until_ns if taken.status == BANNED else 0
            self._wire.world.at(self._wire.arrival_ns(), partial(self._refused, taken, ban_ns))
            return
        self.session = taken
        self._wire.lines[self] = None
        self._down_ns = max(self._down_ns, self._wire.arrival_ns())
        self._wire.world.at(self._down_ns, self._opened)

    def _opened(self) -> None:
        if not self.has_ended:
            self._client.on_open(self)

    def _refused(self, refusal: Response, ban_ns: int) -> None:
        self._hear_ban(ban_ns)
        self._client.on_end(f"refused with {refusal.status}", refusal)

    def _arrive(self, payload: bytes, ban_ns: int) -> None:
        if not self.is_frozen:
            self._hear_ban(ban_ns)
            self._client.on_frame(self, payload)

    def _hear_ban(self, ban_ns: int) -> None:
        if self._client is not _NOBODY and self.life == self._wire.life:
            self._wire.hear_ban(ban_ns)

    def _reach(self, payload: bytes) -> None:
        if not self.has_ended and not self.is_frozen and self.session is not None:
            self._wire.on_request(payload)
            self.session.on_message(payload)

    def _break(self, reason: str) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        self._wire.lines.pop(self, None)
        if self.session is not None:
            self.session.on_close()
        if not self.is_frozen:
            self._down_ns = max(self._down_ns, self._wire.arrival_ns())
            self._wire.world.at(self._down_ns, lambda: self._client.on_end(reason, None))


class _Asked(msgspec.Struct, frozen=True):
    """A request on its way."""

    request: Request
    heard: Heard
    life: int
    """Which of the client's lives asked: what is told to another is told to nobody."""
    until_ns: int
    """When the client gives up: it hears nothing from then on."""


class _Nobody:
    """The end of a connection that nobody holds any more."""

    def on_open(self, line: Line) -> None:
        line.hang_up()

    def on_frame(self, line: Line, raw: bytes) -> None:
        """Hear nothing."""

    def on_end(self, reason: str, refusal: Response | None) -> None:
        """Hear nothing."""


_NOBODY = _Nobody()


class Wire:
    """Everything between one venue and its clients."""

    def __init__(self, world: World, venue: str, server: Server, faults: Faults) -> None:
        self.world = world
        self.venue = venue
        self.server = server
        self.faults = faults
        self.lines: dict[Line, None] = {}
        self.slow_ns = 0
        """What everything takes longer now, each way."""
        self.spoil: dict[str, int] = {}
        """How many messages yet to come down a path (or `rest`) arrive with a bit flipped, and still are JSON."""
        self.on_request: Callable[[bytes], None] = _nothing
        """Told of every request that has arrived at the venue, before it is looked at."""
        self.on_leave: Callable[[str, bytes], None] = _ignore
        """Told of every request as it leaves the client: where to, and its body or message."""
        self.clock_refusals = 0
        """How often Binance said that a timestamp kept a request out: then alone it may come again."""
        self.told_ns: int | None = None
        """When the client was told of the newest ban; None while it was not."""
        self.jumped_ns = 0
        """How far the client's clock was once set ahead: the end of a ban that it wrote down came so much sooner."""
        self.banned_until_ns = 0
        """When the newest ban ends, or would have."""
        self._paths: set[str] = set()
        self.life = 0
        """Grows with each client that is lost."""
        faults.listen(self._on_act)
        self._dice = world.dice(f"wire {venue}")
        self._latency_ns = self._dice.choice((2, 8, 25, 60)) * MS_NS
        world.at(world.now_ns + TICK_NS, self._tick)

    def arrival_ns(self) -> int:
        """Return when what leaves now arrives."""
        jitter = self._dice.random()
        return self.world.now_ns + self.slow_ns + int(self._latency_ns * (1.0 + jitter * jitter))

    def ask(self, request: Request, heard: Heard, patience_ns: int) -> None:
        """Send one request over REST; what comes when the client's patience is over is heard by nobody."""
        self.on_leave(f"{request.method} {request.target}", request.body)
        asked = _Asked(request, heard, self.life, self.world.now_ns + patience_ns)
        self.world.at(self.arrival_ns(), partial(self._arrive, asked))

    def open(self, request: Request, client: Client) -> Line:
        """Begin to open a connection; the client is told how it went, or nothing where nothing ever comes."""
        self.on_leave(f"connect {request.target}", b"")
        self._paths.add(request.path)
        line = Line(self, request.path, client)
        self.world.at(self.arrival_ns(), partial(self._accept, request, line))
        return line

    def forget_client(self, *, knows_ban: bool) -> None:
        """Lose the client: its connections end, and what it was told is forgotten, but for a ban that it wrote down."""
        self.life += 1
        self.told_ns = self.told_ns if knows_ban else None
        for line in tuple(self.lines):
            line.hang_up()

    def cut(self, path: str) -> None:
        """End every connection at a path without a word."""
        for line in [line for line in self.lines if line.path == path]:
            line.abort()

    def spoilt(self, path: str, payload: bytes) -> bytes:
        """Flip one bit where one is to be flipped, so that it stays JSON."""
        left = self.spoil.get(path, 0)
        if not left:
            return payload
        self.spoil[path] = left - 1
        flipped = flip_bit(payload, self._dice)
        if self.world.is_traced:
            self.world.tell(self.venue, f"a bit flips on {path}: {flipped.decode(errors='replace')[:200]}")
        return flipped

    def asks_while_banned(self, where: str) -> bool:
        """Say whether a request that leaves now is one that the client should not make: it knows of the ban.

        Messages on an open socket of Upbit's count for nothing there. A venue whose clock jumps says a wrong time.
        """
        if self.told_ns is None or self.told_ns >= self.world.now_ns or (self.venue == "upbit" and where in self._paths):
            return False
        slack_ns = max(self.jumped_ns, SKEW_SLACK_NS if self.faults.counts[Kind.SKEW.value] else self._latency_ns)
        return self.world.now_ns + slack_ns < self.banned_until_ns

    def hear_ban(self, until_ns: int) -> None:
        """Note that the client hears now of the ban that ends then. Only of the newest: an older one ended otherwise."""
        if self.world.now_ns < until_ns == self.banned_until_ns and self.told_ns is None:
            self.told_ns = self.world.now_ns

    def _on_act(self, fault: Fault, is_begin: bool) -> None:
        if fault.kind is Kind.BAN:
            self.told_ns = None
            self.banned_until_ns = self.world.now_ns + int(fault.for_s * 1e9) if is_begin else 0

    def _accept(self, request: Request, line: Line) -> None:
        if line.has_ended or line.life != self.life:
            return  # a client that is dead hears no refusal, and so of no ban
        fault = self.faults.take(f"connect {request.path}")
        kind = None if fault is None else fault.kind
        if kind in (Kind.LOST, Kind.HALF_OPEN):
            line.is_frozen = True
        elif kind is Kind.CUT:
            line.abort()
        elif fault is not None and kind in (Kind.ERROR_BEFORE, Kind.ERROR_AFTER, Kind.HTML):
            line.close(self.server.refuse(fault).status, "")
        else:
            line.arrived_at_venue(request)

    def _arrive(self, asked: _Asked) -> None:
        request = asked.request
        text = f"{unquote(request.target)} {request.body.decode('latin-1')}"
        fault = self.faults.take(f"{request.method} {request.path}", text)
        if fault is not None and fault.kind is Kind.SLOW:
            self.world.at(self.world.now_ns + fault.ms * MS_NS, partial(self._answer, asked, None))
            return
        self._answer(asked, fault)

    def _answer(self, asked: _Asked, fault: Fault | None) -> None:
        """Carry a request out and answer it, or do with it what a fault says."""
        request = asked.request
        kind = None if fault is None else fault.kind
        if fault is not None and kind is Kind.FILL_BEFORE_CANCEL:
            self.server.arm(fault)
        self.on_request(request.body if request.method == "POST" else b"")
        response = None if kind in (Kind.ERROR_BEFORE, Kind.HTML) else self.server.respond(request)
        if fault is not None and kind in (Kind.ERROR_BEFORE, Kind.HTML, Kind.ERROR_AFTER):
            response = self.server.refuse(fault)
        assert response is not None, "what is not carried out is refused"
        if kind in (Kind.LOST, Kind.HALF_OPEN):
            return
        late_ms = fault.ms if fault is not None and kind in (Kind.LATE, Kind.REORDERED) else 0
        if late_ms and 0 < self.server.answer_ms_max <= late_ms:
            late_ms, response = self.server.answer_ms_max, self.server.refuse(GAVE_UP)
        answer = None if kind is Kind.CUT else self._dated(response)
        ban_ns = self.banned_until_ns if answer is not None and answer.status == BANNED else 0
        self.world.at(self.arrival_ns() + late_ms * MS_NS, partial(self._hear, asked, answer, ban_ns))

    def _hear(self, asked: _Asked, answer: Response | None, ban_ns: int) -> None:
        if asked.life == self.life and self.world.now_ns < asked.until_ns:
            self.hear_ban(ban_ns)
        asked.heard(answer)

    def _dated(self, response: Response) -> Response:
        """Return an answer as it leaves: with the venue's own time in its header, and perhaps a bit flipped."""
        date = email.utils.formatdate((self.world.now_ns + self.faults.skew_ns()) / 1e9, usegmt=True)
        body = self.spoilt("rest", response.body)
        self.clock_refusals += CLOCK_WORD in body
        return msgspec.structs.replace(response, body=body, headers=(*response.headers, ("Date", date)))

    def _tick(self) -> None:
        self.faults.advance()
        for line in tuple(self.lines):
            fault = self.faults.take(f"socket {line.path}")
            if fault is not None and fault.kind is Kind.CUT:
                line.abort()
            elif fault is not None and fault.kind is Kind.HALF_OPEN:
                line.is_frozen = True
            if line.session is not None and not line.has_ended:
                line.session.on_second()
        self.world.at(self.world.now_ns + TICK_NS, self._tick)


def flip_bit(payload: bytes, dice: random.Random) -> bytes:
    """Return JSON with one bit flipped that still is JSON and is another one; the payload itself where none is found."""
    for _ in range(FLIPS_TRIED_MAX if payload else 0):
        place = dice.randrange(len(payload))
        flipped = bytearray(payload)
        flipped[place] ^= 1 << dice.randrange(8)
        try:
            msgspec.json.decode(bytes(flipped))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        return bytes(flipped)
    return payload


def _nothing(payload: bytes) -> None:
    """Look at no request."""


def _ignore(where: str, payload: bytes) -> None:
    """Look at no request."""
