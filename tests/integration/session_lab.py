"""Small real servers and a sink for the session tests: scripted HTTP and WebSocket on loopback. Fakes nothing of ours."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve

from arbitrage.model.instruments import Venue
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.venues.factory import make_session
from arbitrage.venues.session import Session
from arbitrage.venues.transport import Transport, connect_websockets
from arbitrage.venues.wiring import WireRecord, Wiring

Reply = tuple[int, dict[str, str], bytes]
PATIENCE_S = 5.0


def ok(body: object, **headers: str) -> Reply:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


@dataclass
class Asked:
    at_s: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class HttpServer:
    """Answers GETs from a table of functions; remembers what was asked."""

    routes: dict[str, Callable[[Asked], Reply]]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                parts = urlsplit(lines[0].split(" ")[1])
                headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                request = Asked(time.monotonic(), parts.path, query, headers)
                self.asked.append(request)
                route = self.routes.get(parts.path)
                status, extra, body = route(request) if route else (404, {}, b"{}")
                if status == 0:
                    await asyncio.sleep(3600)
                fields = {"Content-Length": str(len(body)), **extra}
                text = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{text}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Sink:
    """Keeps events and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.records: list[WireRecord] = []
        self.session: Session | None = None
        self.on_events: Callable[[Sequence[Any]], None] = lambda events: None

    def __call__(self, events: Sequence[Any]) -> None:
        self.events.extend(events)
        self.on_events(events)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    async def until(self, is_true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        now = asyncio.get_running_loop().time
        deadline = now() + patience_s
        while not is_true():
            assert now() < deadline, f"not within {patience_s} s; got {self.events[-10:]}"
            await asyncio.sleep(0.005)

    async def until_some(self, kind: type, count: int = 1, patience_s: float = PATIENCE_S) -> list[Any]:
        await self.until(lambda: len(self.of(kind)) >= count, patience_s)
        return self.of(kind)


FEES = FeeSettings(maker_ppm=1000, taker_ppm=1000, payment="received")


def settings(kind: str, symbols: tuple[str, ...], rest: str, stream: str, **over: Any) -> VenueSettings:
    quick: dict[str, Any] = {
        "connect_timeout_ms": 1000, "request_timeout_ms": 500, "ping_interval_ms": 50, "silence_ms_max": 300,
        "backoff_ms_min": 10, "backoff_ms_max": 100, "messages_per_s_max": 50,
    }  # fmt: skip
    return VenueSettings(kind=kind, rest_url=rest, stream_url=stream, symbols=symbols, fees=FEES, **(quick | over))  # type: ignore[arg-type]  # settings by name


@dataclass
class Lab:
    """A session beside its servers. `stack` ends everything."""

    stack: AsyncExitStack
    sink: Sink = field(default_factory=Sink)

    async def http(self, routes: dict[str, Callable[[Asked], Reply]]) -> HttpServer:
        server = HttpServer(routes)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        self.stack.callback(listening.close)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        return server

    async def stream(self, handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> tuple[str, Server]:
        options = {"ping_interval": None, "compression": None, "close_timeout": 0.2} | options
        server = await self.stack.enter_async_context(serve(handler, "127.0.0.1", 0, **options))
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", server

    def wiring(self, transport: Transport = connect_websockets, **over: Any) -> Wiring:
        return Wiring(
            sink=self.sink, clock=time.monotonic_ns, rng=random.Random(7), record=self.sink.records.append,
            transport=transport, **over,
        )  # fmt: skip

    async def start(self, config: VenueSettings, wiring: Wiring | None = None, **over: Any) -> Session:
        markets = {symbol: number for number, symbol in enumerate(config.symbols)}
        make = over.pop("make", make_session)
        session: Session = make(Venue(config.kind), config, markets, wiring or self.wiring(), **over)
        self.task = asyncio.get_running_loop().create_task(session.run())
        self.stack.push_async_callback(self._stop)
        self.sink.session = session
        return session

    async def _stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def lab() -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        yield Lab(stack)


def exchange_info(*symbols: str) -> dict[str, Any]:
    return {"symbols": [
        {"symbol": name, "status": "TRADING", "baseAsset": name[:-4], "quoteAsset": "USDT", "orderTypes": ["LIMIT"],
         "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"},
                     {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
                     {"filterType": "NOTIONAL", "minNotional": "5"}]}
        for name in symbols]}  # fmt: skip


def binance_routes(*symbols: str) -> dict[str, Callable[[Asked], Reply]]:
    return {
        "/api/v3/exchangeInfo": lambda _: ok(exchange_info(*symbols)),
        "/api/v3/time": lambda _: ok({"serverTime": time.monotonic_ns() // 1_000_000 + 250}),
        "/api/v3/depth": lambda _: ok({"lastUpdateId": 100, "bids": [["10.00", "1"]], "asks": [["10.01", "2"]]}),
    }


def upbit_routes(*codes: str) -> dict[str, Callable[[Asked], Reply]]:
    return {
        "/v1/market/all": lambda _: ok([{"market": code} for code in codes]),
        "/v1/orderbook/instruments": lambda asked: ok(
            [{"market": code, "quote_currency": "KRW", "tick_size": "1000"} for code in asked.query["markets"].split(",")]
        ),
    }


def diff(symbol: str, first: int, last: int) -> str:
    body = {"e": "depthUpdate", "E": 1785000000100, "s": symbol, "U": first, "u": last, "b": [["10.00", "1"]], "a": []}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": body}, separators=(",", ":"))


SHUTDOWN = '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1785000000000}}'


def picture(code: str, *, is_snapshot: bool = False, bid: float = 100.0) -> bytes:
    unit = {"ap": bid + 1, "bp": bid, "as": 1.5, "bs": 2.5}
    body = {"ty": "orderbook", "cd": code, "tms": 1795150613204, "obu": [unit], "st": "SNAPSHOT" if is_snapshot else "REALTIME"}
    return json.dumps(body, separators=(",", ":")).encode()


@dataclass
class RawPeer:
    """A WebSocket server below any library: it sees every client frame and answers only what a test tells it to."""

    answers_pings: bool = True
    reads: bool = True
    first_bytes: bytes = b""
    frames: list[tuple[float, int]] = field(default_factory=list)
    """Arrival time and opcode of every client frame."""
    connections: list[float] = field(default_factory=list)
    refusal: bytes = b""
    """A raw HTTP answer instead of the handshake."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(time.monotonic())
        self.writers.append(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if self.refusal:
                writer.write(self.refusal)
                return
            found = re.search(r"(?i)sec-websocket-key: *(\S+)", head)
            assert found is not None, "a client sends a key"
            key = found[1]
            accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
            writer.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
                + self.first_bytes
            )
            while self.reads:
                opcode, payload = await _client_frame(reader)
                self.frames.append((time.monotonic(), opcode))
                if opcode == 9 and self.answers_pings:
                    writer.write(frame(10, payload))
            await asyncio.sleep(3600)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Write an unmasked server frame."""
    size = len(payload)
    head = bytes([(128 if fin else 0) | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    return head + (bytes([126]) + size.to_bytes(2, "big") if size < 65536 else bytes([127]) + size.to_bytes(8, "big")) + payload


async def _client_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    size = second & 127
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    return first & 15, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


async def raw_peer(it: Lab, peer: RawPeer) -> RawPeer:
    listening = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    it.stack.callback(listening.close)
    peer.url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    return peer


def most_in_any_second(times: Sequence[float]) -> int:
    """Return the largest number of acts within one second, wherever that second starts."""
    return max((sum(start <= at <= start + 1.0 for at in times) for start in times), default=0)
