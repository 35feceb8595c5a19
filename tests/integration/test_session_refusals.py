"""What a session does when a venue says no: bans, rate limits, HTML, silence, refused handshakes. Real loopback servers."""

from __future__ import annotations

import asyncio

import pytest
from session_lab import (
    Asked,
    HttpServer,
    Lab,
    RawPeer,
    Reply,
    binance_routes,
    lab,
    most_in_any_second,
    ok,
    raw_peer,
    settings,
)

from arbitrage.model.events import BookSnapshot, FaultKind, FeedFault, InstrumentsRead, LinkDown, LinkUp
from arbitrage.venues.factory import transport_named
from arbitrage.venues.rest import ATTEMPTS_MAX
from arbitrage.venues.session import Session

pytestmark = pytest.mark.integration

REFUSED = b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"  # the handshake's answer


def scripted(*replies: Reply, then: Reply):  # type: ignore[no-untyped-def]  # a route; its type is the table's
    """Answer with each reply once, then always with the last."""
    waiting = list(replies)
    return lambda asked: waiting.pop(0) if waiting else then


async def with_depth(it: Lab, *replies: Reply, **over: int) -> tuple[HttpServer, Session]:
    """Start a session whose depth endpoint answers as scripted, and ask for one snapshot."""
    routes = binance_routes("BTCUSDT")
    routes["/api/v3/depth"] = scripted(*replies, then=ok({"lastUpdateId": 1, "bids": [], "asks": []}))
    http = await it.http(routes)
    peer = await raw_peer(it, RawPeer())
    session = await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url, **over))
    await it.sink.until_some(LinkUp)
    await it.sink.until(lambda: http.count("/api/v3/time") == 1)
    session.resync(0)
    return http, session


@pytest.mark.parametrize(("status", "kind"), [(429, FaultKind.RATE_LIMITED), (418, FaultKind.BANNED)])
def test_nothing_is_asked_before_retry_after_has_passed(status: int, kind: FaultKind) -> None:
    async def scene() -> None:
        async with lab() as it:
            refusal = (status, {"Retry-After": "1"}, b'{"code":-1003,"msg":"Too much request weight used."}')
            http, session = await with_depth(it, refusal, clock_measure_ms=100)
            await it.sink.until_some(BookSnapshot)
            (fault,) = it.sink.of(FeedFault)
            assert (fault.kind, fault.market) == (kind, 0)
            first = next(asked.at_s for asked in http.asked if asked.path == "/api/v3/depth")
            later = [asked for asked in http.asked if asked.at_s > first]
            assert min(asked.at_s for asked in later) - first >= 1.0, "neither the snapshot nor the clock is asked for"
            assert session.requests_held_until_ns > 0

    asyncio.run(scene())


def test_a_ban_kept_from_before_a_restart_is_still_honoured() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer())
            wiring = it.wiring()
            start_ns = wiring.clock()
            session = await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url), wiring)
            session.hold_requests(start_ns + 500_000_000)
            (read,) = await it.sink.until_some(InstrumentsRead)
            assert http.asked[0].at_s * 1e9 >= start_ns + 500_000_000
            assert read.at_ns >= start_ns + 500_000_000

    asyncio.run(scene())


@pytest.mark.parametrize(
    "reply",
    [
        (502, {"Content-Type": "text/html"}, b"<html><h1>502 Bad Gateway</h1></html>"),
        (503, {}, b""),
        (200, {"Content-Type": "text/html"}, b"<html>a login page</html>"),
        (0, {}, b""),
    ],
    ids=["HTML 502", "empty 503", "HTML 200", "no answer"],
)
def test_a_useless_answer_is_a_fault_and_is_asked_again(reply: Reply) -> None:
    async def scene() -> None:
        async with lab() as it:
            http, _ = await with_depth(it, reply, reply)
            await it.sink.until_some(BookSnapshot)
            faults = it.sink.of(FeedFault)
            assert [(fault.kind, fault.market) for fault in faults] == [(FaultKind.REQUEST_FAILED, 0)] * 2
            assert all("<" not in fault.detail for fault in faults)
            assert http.count("/api/v3/depth") == 3

    asyncio.run(scene())


def test_attempts_are_bounded_and_a_wanted_snapshot_is_still_fetched_later() -> None:
    async def scene() -> None:
        async with lab() as it:
            bad = (500, {}, b"{}")
            http, _ = await with_depth(it, *[bad] * (ATTEMPTS_MAX + 1))
            await it.sink.until_some(BookSnapshot)
            assert len(it.sink.of(FeedFault)) == ATTEMPTS_MAX + 1
            assert http.count("/api/v3/depth") == ATTEMPTS_MAX + 2

    asyncio.run(scene())


def test_our_own_mistake_is_not_repeated_within_a_request() -> None:
    async def scene() -> None:
        async with lab() as it:
            refused = (400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
            await with_depth(it, refused, backoff_ms_min=2000, backoff_ms_max=2000)
            await it.sink.until_some(FeedFault)
            await asyncio.sleep(0.2)
            (fault,) = it.sink.of(FeedFault)
            assert "HTTP 400" in fault.detail
            assert "-1121" in fault.detail

    asyncio.run(scene())


def test_the_weight_that_the_venue_counted_is_believed() -> None:
    async def scene() -> None:
        async with lab() as it:
            routes = binance_routes("BTCUSDT")
            body = routes["/api/v3/time"](Asked(0.0, "", {}, {}))[2]
            routes["/api/v3/time"] = lambda _: (200, {"x-mbx-used-weight-1m": "5999"}, body)
            http = await it.http(routes)
            peer = await raw_peer(it, RawPeer())
            session = await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url))
            await it.sink.until(lambda: http.count("/api/v3/time") == 1)
            await asyncio.sleep(0.1)
            session.resync(0)
            await asyncio.sleep(0.3)
            assert http.count("/api/v3/depth") == 0, "another process behind our address spent the minute's weight"

    asyncio.run(scene())


def test_refused_connections_stay_within_the_connection_budget() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer(refusal=b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
            config = settings(
                "binance", ("BTCUSDT",), http.url, peer.url, backoff_ms_min=1, backoff_ms_max=2, connections_per_5min_max=7
            )
            await it.start(config)
            await it.sink.until(lambda: len(peer.connections) == 7)
            await asyncio.sleep(0.3)
            assert len(peer.connections) == 7, "the budget of five minutes is spent"
            assert {fault.kind for fault in it.sink.of(FeedFault)} == {FaultKind.REQUEST_FAILED}
            assert it.sink.of(LinkUp) == []

    asyncio.run(scene())


def test_reconnects_are_backed_off_when_connections_die_at_once() -> None:
    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer(first_bytes=b"\x88\x02\x03\xe9"))
            config = settings("binance", ("BTCUSDT",), http.url, peer.url, backoff_ms_min=20, backoff_ms_max=10_000)
            await it.start(config)
            await it.sink.until_some(LinkDown, 5)
            waits = [later - earlier for earlier, later in zip(peer.connections[:-1], peer.connections[1:], strict=True)]
            assert waits[-1] > 2 * waits[0], waits
            assert waits[0] < 0.2, "a goodbye ends the link at once, even when the socket stays open"
            assert most_in_any_second(peer.connections) <= 7
            assert "1001" in it.sink.of(LinkDown)[0].reason

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["websockets", "picows"])
def test_a_handshake_refused_with_429_holds_new_connections_until_retry_after(name: str) -> None:
    if name == "picows":
        pytest.importorskip("picows", reason="the optional transport is not installed")

    async def scene() -> None:
        async with lab() as it:
            http = await it.http(binance_routes("BTCUSDT"))
            peer = await raw_peer(it, RawPeer(refusal=REFUSED % 429))
            transport = transport_named("picows" if name == "picows" else "websockets")
            await it.start(settings("binance", ("BTCUSDT",), http.url, peer.url), it.wiring(transport))
            await it.sink.until(lambda: len(peer.connections) == 2)
            assert peer.connections[1] - peer.connections[0] >= 1.0
            assert it.sink.of(FeedFault)[0].kind is FaultKind.RATE_LIMITED

    asyncio.run(scene())


def test_a_dead_host_is_a_fault_and_rules_are_asked_for_until_they_come() -> None:
    async def scene() -> None:
        async with lab() as it:
            peer = await raw_peer(it, RawPeer())
            await it.start(settings("binance", ("BTCUSDT",), "http://127.0.0.1:1", peer.url))
            await it.sink.until_some(FeedFault, ATTEMPTS_MAX * 2 + 1)
            assert peer.connections == [], "no stream is opened before the rules are known"

    asyncio.run(scene())
