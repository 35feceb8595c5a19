"""Binance's session against real loopback servers: order of start, life, replacement, splitting, broken invariants."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest
from session_lab import (
    SHUTDOWN,
    RawPeer,
    binance_routes,
    diff,
    exchange_info,
    frame,
    lab,
    most_in_any_second,
    ok,
    raw_peer,
    settings,
)
from websockets.asyncio.server import ServerConnection

from arbitrage.model.events import (
    BookDiff,
    BookSnapshot,
    ClockMeasured,
    FaultKind,
    FeedFault,
    InstrumentsRead,
    LinkAlive,
    LinkDown,
    LinkUp,
)
from arbitrage.venues.binance.session import BinanceSession
from arbitrage.venues.factory import transport_named
from arbitrage.venues.link import ConnectionRules
from arbitrage.venues.transport import FRAME_BYTES_MAX, Transport, connect_websockets

pytestmark = pytest.mark.integration


def transports() -> list[Any]:
    """Both transports behave alike; the optional one is tested where it is installed."""
    try:
        return [connect_websockets, transport_named("picows")]
    except ModuleNotFoundError:
        return [connect_websockets]


both = pytest.mark.parametrize("transport", transports(), ids=lambda transport: transport.__name__)


async def quiet(socket: ServerConnection) -> None:
    await socket.wait_closed()


@both
def test_rules_come_before_the_link_and_a_snapshot_only_when_asked(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            paths: list[str] = []

            async def handler(socket: ServerConnection) -> None:
                assert socket.request is not None
                assert "Origin" not in socket.request.headers
                paths.append(socket.request.path)
                await socket.send(diff("BTCUSDT", 99, 101))
                await socket.wait_closed()

            url, _ = await it.stream(handler)
            session = await it.start(settings("binance", ("BTCUSDT",), http.url, url), it.wiring(transport))
            await it.sink.until_some(BookDiff)
            order = [type(event) for event in it.sink.events]
            assert order.index(InstrumentsRead) < order.index(LinkUp) < order.index(BookDiff)
            assert paths == ["/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@aggTrade"]
            assert it.sink.of(LinkUp)[0].markets == (0,)
            assert http.count("/api/v3/depth") == 0
            session.resync(0)
            session.resync(0)
            (snapshot,) = await it.sink.until_some(BookSnapshot)
            assert (snapshot.market, snapshot.last_id) == (0, 100)
            assert http.count("/api/v3/depth") == 1, "a second wish for the same snapshot adds nothing"
            assert all("origin" not in asked.headers for asked in http.asked)
            assert {record.kind for record in it.sink.records} == {"open", "frame", "http"}

    asyncio.run(scene())


def test_a_snapshot_that_is_found_too_old_may_be_asked_for_again_from_within_the_sink() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            url, _ = await it.stream(quiet)
            session = await it.start(settings("binance", ("BTCUSDT",), http.url, url))

            def ask_again(events: Sequence[Any]) -> None:
                if type(events[0]) is BookSnapshot and len(it.sink.of(BookSnapshot)) < 3:
                    session.resync(0)

            it.sink.on_events = ask_again
            session.resync(0)
            await it.sink.until_some(BookSnapshot, 3)
            times = [asked.at_s for asked in http.asked if asked.path == "/api/v3/depth"]
            assert times[2] - times[1] >= 0.008, "repeated snapshots of one market are backed off"

    asyncio.run(scene())


def test_the_venue_clock_is_measured_by_the_midpoint() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            url, _ = await it.stream(quiet)
            await it.start(settings("binance", ("BTCUSDT",), http.url, url, clock_measure_ms=20))
            measured = (await it.sink.until_some(ClockMeasured, 2))[1]
            assert abs(measured.offset_ms - 250) <= measured.round_trip_ms // 2 + 2

    asyncio.run(scene())


def test_one_delisted_symbol_does_not_hide_the_rules_of_the_others() -> None:
    async def scene() -> None:
        async with lab() as it:
            routes = binance_routes("BTCUSDT")
            refused = (400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
            whole = ok(exchange_info("BTCUSDT"))
            routes["/api/v3/exchangeInfo"] = lambda asked: refused if "symbols" in asked.query else whole
            http = await it.http(routes)
            url, _ = await it.stream(quiet)
            await it.start(settings("binance", ("BTCUSDT", "GONEUSDT"), http.url, url))
            (read,) = await it.sink.until_some(InstrumentsRead)
            assert [instrument.symbol for instrument in read.instruments] == ["BTCUSDT"]
            assert read.missing == ("GONEUSDT",)
            assert it.sink.of(FeedFault)[0].kind is FaultKind.REQUEST_FAILED

    asyncio.run(scene())


@both
def test_a_quiet_but_answering_connection_is_left_alone(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer())
            await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url), it.wiring(transport))
            await it.sink.until_some(LinkAlive, 16)
            assert len(peer.connections) == 1
            assert it.sink.of(LinkDown) == []
            assert it.sink.of(LinkAlive)[0].connection == it.sink.of(LinkUp)[0].connection

    asyncio.run(scene())


@both
@pytest.mark.parametrize("reads", [True, False], ids=["never answers", "never reads"])
def test_a_half_open_connection_is_noticed_within_the_limit_and_replaced(transport: Transport, reads: bool) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer(answers_pings=False, reads=reads))
            await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url), it.wiring(transport))
            (down,) = (await it.sink.until_some(LinkDown))[:1]
            up = it.sink.of(LinkUp)[0]
            assert (down.connection, down.markets) == (up.connection, (0,))
            assert "no sign of life for 300 ms" in down.reason
            assert 0.2e9 <= down.at_ns - up.at_ns <= 0.5e9
            await it.sink.until_some(LinkUp, 2)

    asyncio.run(scene())


@both
def test_a_shutdown_notice_brings_the_replacement_up_before_the_old_link_goes(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            opened: list[ServerConnection] = []

            async def handler(socket: ServerConnection) -> None:
                opened.append(socket)
                if len(opened) == 1:
                    await socket.send(SHUTDOWN)
                for update in range(1, 400):
                    await socket.send(diff("BTCUSDT", update, update))
                    await asyncio.sleep(0.01)

            url, _ = await it.stream(handler)
            await it.start(settings("binance", ("BTCUSDT",), http.url, url), it.wiring(transport))
            await it.sink.until_some(LinkDown)
            links = [event for event in it.sink.events if type(event) in (LinkUp, LinkDown)]
            assert [type(event) for event in links] == [LinkUp, LinkUp, LinkDown]
            assert links[1].markets == (0,)
            assert links[2].connection == links[0].connection
            assert links[2].markets == (), "no market becomes unusable by a replacement"
            assert any(fault.kind is FaultKind.SERVER_SHUTDOWN for fault in it.sink.of(FeedFault))
            await asyncio.wait_for(opened[0].wait_closed(), 2)
            assert opened[0].close_code == 1000
            assert len(opened) == 2

    asyncio.run(scene())


def test_servers_that_always_announce_a_shutdown_are_not_stormed() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            count = 0

            async def handler(socket: ServerConnection) -> None:
                nonlocal count
                count += 1
                await socket.send(diff("BTCUSDT", 1, 1))
                await socket.send(SHUTDOWN)
                await socket.wait_closed()

            url, _ = await it.stream(handler)
            await it.start(settings("binance", ("BTCUSDT",), http.url, url, backoff_ms_min=100, backoff_ms_max=2000))
            await it.sink.until_some(LinkUp, 2)
            await asyncio.sleep(0.6)
            assert 3 <= count <= 6

    asyncio.run(scene())


def test_a_connection_is_replaced_before_its_life_ends() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            ages: list[float] = []

            async def handler(socket: ServerConnection) -> None:
                start = time.monotonic()
                await socket.send(diff("BTCUSDT", 1, 1))
                await socket.wait_closed()
                ages.append(time.monotonic() - start)

            url, _ = await it.stream(handler)
            short_life = functools.partial(BinanceSession, rules=ConnectionRules(life_ns=1_000_000_000))
            config = settings("binance", ("BTCUSDT",), http.url, url)
            await it.start(config, make=short_life)
            await it.sink.until_some(LinkDown, 2)
            assert all(0.85 <= age < 1.0 for age in ages), ages
            assert all(down.markets == () for down in it.sink.of(LinkDown))

    asyncio.run(scene())


def test_markets_are_split_over_connections_when_there_are_more_streams_than_fit() -> None:
    async def scene() -> None:
        async with lab() as it:
            symbols = tuple(f"{letter}{letter}{letter}USDT" for letter in "ABCDE")
            http = await it.http(binance_routes(*symbols))
            paths: list[str] = []

            async def handler(socket: ServerConnection) -> None:
                assert socket.request is not None
                paths.append(socket.request.path)
                await socket.wait_closed()

            url, _ = await it.stream(handler)
            await it.start(settings("binance", symbols, http.url, url, streams_per_connection_max=6))
            ups = await it.sink.until_some(LinkUp, 3)
            assert sorted(market for up in ups for market in up.markets) == [0, 1, 2, 3, 4]
            assert len({up.connection for up in ups}) == 3
            assert max(path.count("@depth@100ms") for path in paths) == 2

    asyncio.run(scene())


def test_one_lost_connection_takes_only_its_own_markets_down() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("AAAUSDT", "BBBUSDT"))

            async def handler(socket: ServerConnection) -> None:
                assert socket.request is not None
                if "aaausdt" in socket.request.path:
                    await asyncio.sleep(0.1)
                    await socket.close(1001, "bye")
                await socket.wait_closed()

            url, _ = await it.stream(handler)
            await it.start(settings("binance", ("AAAUSDT", "BBBUSDT"), http.url, url, streams_per_connection_max=3))
            await it.sink.until_some(LinkDown, 2)
            assert {down.markets for down in it.sink.of(LinkDown)} == {(0,)}
            assert it.sink.of(LinkDown)[0].reason == "closed by the venue: 1001 bye"

    asyncio.run(scene())


@both
def test_pongs_and_pings_together_stay_within_the_message_budget(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer())
            config = settings(
                "binance", ("BTCUSDT",), http.url, peer.url, messages_per_s_max=4, ping_interval_ms=30, silence_ms_max=2000
            )
            await it.start(config, it.wiring(transport))
            await it.sink.until_some(LinkUp)
            for _ in range(5):
                await asyncio.sleep(0.5)
                peer.writers[0].write(frame(9, b"venue"))
            sent = [at for at, _ in peer.frames]
            assert 10 in [opcode for _, opcode in peer.frames], "the venue's pings are answered"
            assert sum(opcode == 9 for _, opcode in peer.frames) >= 5
            assert most_in_any_second(sent) <= 5, "four of our own, and a pong that is owed"
            assert it.sink.of(LinkDown) == []

    asyncio.run(scene())


@both
def test_pongs_that_are_owed_use_up_the_budget_of_our_own_pings(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer())
            config = settings(
                "binance", ("BTCUSDT",), http.url, peer.url, messages_per_s_max=4, ping_interval_ms=30, silence_ms_max=2000
            )
            await it.start(config, it.wiring(transport))
            await it.sink.until_some(LinkUp)
            start = time.monotonic()
            for _ in range(12):
                peer.writers[0].write(frame(9, b"venue"))
                await asyncio.sleep(0.2)
            settled = [opcode for at, opcode in peer.frames if at > start + 1.3]
            assert settled.count(10) >= 4, "the venue's pings are answered"
            assert settled.count(9) == 0, "what pongs leave of the budget is too little for a ping of ours"
            assert it.sink.of(LinkDown) == [], "the venue's own pings are life enough"

    asyncio.run(scene())


def test_a_burst_gives_the_loop_a_turn_after_the_named_number_of_frames() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            burst = b"".join(frame(1, diff("BTCUSDT", n, n).encode()) for n in range(1, 5_001))
            peer = await raw_peer(it, RawPeer(first_bytes=burst))
            config = settings("binance", ("BTCUSDT",), http.url, peer.url, silence_ms_max=2000)
            await it.start(config, it.wiring(frames_per_yield=64))
            turns: list[int] = []
            while len(it.sink.of(BookDiff)) < 5_000:
                turns.append(len(it.sink.of(BookDiff)))
                await asyncio.sleep(0)
            assert [event.last_id for event in it.sink.of(BookDiff)] == list(range(1, 5_001))
            assert max(later - earlier for earlier, later in itertools.pairwise(turns)) <= 64

    asyncio.run(scene())


@both
def test_every_frame_of_a_burst_arrives_in_order(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            burst = b"".join(frame(1, diff("BTCUSDT", n, n).encode()) for n in range(1, 20_001))
            peer = await raw_peer(it, RawPeer(first_bytes=burst))
            await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url, silence_ms_max=2000), it.wiring(transport))
            await it.sink.until(lambda: len(it.sink.events) >= 20_000)
            await it.sink.until_some(BookDiff, 20_000)
            assert [event.last_id for event in it.sink.of(BookDiff)] == list(range(1, 20_001))

    asyncio.run(scene())


@both
def test_a_fragmented_message_arrives_whole_and_an_oversized_one_ends_the_link(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            text = diff("BTCUSDT", 7, 8).encode()
            pieces = frame(1, text[:20], fin=False) + frame(0, text[20:60], fin=False) + frame(0, text[60:])
            huge = frame(1, b"x" * (FRAME_BYTES_MAX + 1))
            peer = await raw_peer(it, RawPeer(first_bytes=pieces))
            await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url, silence_ms_max=3000), it.wiring(transport))
            (event,) = await it.sink.until_some(BookDiff)
            assert event.last_id == 8
            peer.writers[0].write(huge)
            await it.sink.until_some(LinkDown)
            assert len(it.sink.of(FeedFault)) == 0
            assert "no sign of life" not in it.sink.of(LinkDown)[0].reason

    asyncio.run(scene())


@both
def test_a_broken_invariant_in_the_sink_ends_the_session_as_itself(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))

            async def handler(socket: ServerConnection) -> None:
                await socket.send(diff("BTCUSDT", 1, 1))
                await socket.wait_closed()

            def breaks(events: Sequence[Any]) -> None:
                assert type(events[0]) is not BookDiff, "planted"

            it.sink.on_events = breaks
            url, _ = await it.stream(handler)
            await it.start(settings("binance", ("BTCUSDT",), http.url, url), it.wiring(transport))
            with pytest.raises(AssertionError, match="planted"):
                await asyncio.wait_for(asyncio.shield(it.task), 3)

    asyncio.run(scene())


@both
def test_a_cancelled_session_leaves_no_connection_and_says_that_its_markets_are_down(transport: Transport) -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            ended = asyncio.Event()

            async def handler(socket: ServerConnection) -> None:
                await socket.wait_closed()
                ended.set()

            url, _ = await it.stream(handler)
            await it.start(settings("binance", ("BTCUSDT",), http.url, url), it.wiring(transport))
            await it.sink.until_some(LinkUp)
            it.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.task
            await asyncio.wait_for(ended.wait(), 2)
            (down,) = it.sink.of(LinkDown)
            assert (down.markets, down.reason) == ((0,), "session stopped")

    asyncio.run(scene())
