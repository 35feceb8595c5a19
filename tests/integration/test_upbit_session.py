"""Upbit's session against a loopback server that replaces subscriptions as the venue does, in binary frames."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from session_lab import Lab, lab, most_in_any_second, ok, picture, settings, upbit_routes
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from arbitrage.model.events import (
    BookFull,
    ClockMeasured,
    FaultKind,
    FeedFault,
    InstrumentsRead,
    LinkAlive,
    LinkDown,
    LinkUp,
)

pytestmark = pytest.mark.integration
KNOWN = ("KRW-BTC", "KRW-ETH", "KRW-USDT", "KRW-XRP", "KRW-SOL", "KRW-DOGE")


@dataclass
class Venue:
    """A connection holds one subscription; each request replaces it whole. Unknown codes get neither error nor data."""

    requests: list[Any] = field(default_factory=list)
    handshakes: list[float] = field(default_factory=list)
    sockets: list[ServerConnection] = field(default_factory=list)
    url: str = ""

    async def serve(self, socket: ServerConnection) -> None:
        self.handshakes.append(time.monotonic())
        self.sockets.append(socket)
        try:
            async for text in socket:
                request = json.loads(text)
                self.requests.append(request)
                for code in next(part["codes"] for part in request if part.get("type") == "orderbook"):
                    if code.partition(".")[0] in KNOWN:
                        await socket.send(picture(code.partition(".")[0], is_snapshot=True))
        except ConnectionClosed:
            return


async def venue(it: Lab) -> Venue:
    made = Venue()
    url, _ = await it.stream(made.serve)
    made.url = f"{url}/websocket/v1"
    return made


def test_the_whole_set_is_subscribed_in_one_message_and_binary_frames_become_books() -> None:
    async def scene() -> None:
        async with lab() as it:
            http, upbit = await it.http(upbit_routes(*KNOWN)), await venue(it)
            await it.start(settings("upbit", ("KRW-BTC", "KRW-USDT"), http.url, upbit.url))
            books = await it.sink.until_some(BookFull, 2)
            assert [type(event) for event in it.sink.events if type(event) in (InstrumentsRead, LinkUp, BookFull)][:3] == [
                InstrumentsRead, LinkUp, BookFull,
            ]  # fmt: skip
            assert {book.market for book in books} == {0, 1}
            (request,) = upbit.requests
            assert request[1]["codes"] == ["KRW-BTC.30", "KRW-USDT.30"]
            assert request[2]["codes"] == ["KRW-BTC", "KRW-USDT"]
            assert len(request[0]["ticket"]) == 36
            sent = [record.raw for record in it.sink.records if record.kind == "send"]
            assert [json.loads(raw) for raw in sent] == [request]

    asyncio.run(scene())


def test_a_resync_sends_the_whole_set_again_so_that_no_code_is_lost() -> None:
    async def scene() -> None:
        async with lab() as it:
            http, upbit = await it.http(upbit_routes(*KNOWN)), await venue(it)
            session = await it.start(settings("upbit", ("KRW-BTC", "KRW-USDT"), http.url, upbit.url))
            await it.sink.until_some(BookFull, 2)
            session.resync(1)
            session.resync(1)
            await it.sink.until_some(BookFull, 4)
            assert len(upbit.requests) == 2
            assert upbit.requests[0] == upbit.requests[1]

    asyncio.run(scene())


def test_a_code_that_never_sends_anything_is_named_and_the_others_go_on() -> None:
    async def scene() -> None:
        async with lab() as it:
            http, upbit = await it.http(upbit_routes(*KNOWN)), await venue(it)
            await it.start(settings("upbit", ("KRW-BTC", "KRW-BTCC"), http.url, upbit.url))
            (fault,) = await it.sink.until_some(FeedFault)
            assert (fault.kind, fault.market) == (FaultKind.SUBSCRIPTION_SILENT, 1)
            assert "KRW-BTCC" in fault.detail
            (read,) = it.sink.of(InstrumentsRead)
            assert read.missing == ("KRW-BTCC",)
            await asyncio.sleep(0.4)
            assert len(it.sink.of(FeedFault)) == 1
            assert len(upbit.handshakes) == 1

    asyncio.run(scene())


def test_a_status_line_keeps_its_own_link_alive() -> None:
    async def scene() -> None:
        async with lab() as it:
            http, upbit = await it.http(upbit_routes(*KNOWN)), await venue(it)
            await it.start(settings("upbit", ("KRW-BTC",), http.url, upbit.url, ping_interval_ms=5000, silence_ms_max=6000))
            (up,) = await it.sink.until_some(LinkUp)
            await upbit.sockets[0].send(b'{"status":"UP"}')
            (alive,) = await it.sink.until_some(LinkAlive)
            assert alive.connection == up.connection

    asyncio.run(scene())


def test_a_lost_connection_is_replaced_with_the_same_subscription() -> None:
    async def scene() -> None:
        async with lab() as it:
            http, upbit = await it.http(upbit_routes(*KNOWN)), await venue(it)
            await it.start(settings("upbit", ("KRW-BTC", "KRW-ETH"), http.url, upbit.url))
            await it.sink.until_some(BookFull, 2)
            await upbit.sockets[0].close(1001, "idle")
            await it.sink.until_some(LinkUp, 2)
            await it.sink.until_some(BookFull, 4)
            (down,) = it.sink.of(LinkDown)
            assert down.markets == (0, 1)
            assert upbit.requests[0] == upbit.requests[1]

    asyncio.run(scene())


def test_no_second_sees_more_handshakes_than_the_venue_allows() -> None:
    async def scene() -> None:
        async with lab() as it:
            http, upbit = await it.http(upbit_routes(*KNOWN)), await venue(it)
            await it.start(settings("upbit", KNOWN, http.url, upbit.url, streams_per_connection_max=2))
            await it.sink.until_some(LinkUp, 6)
            assert len(upbit.handshakes) == 6
            assert most_in_any_second(upbit.handshakes) <= 5

    asyncio.run(scene())


def test_the_clock_is_read_from_the_date_header_with_its_whole_second_told() -> None:
    async def scene() -> None:
        async with lab() as it:
            routes = upbit_routes(*KNOWN)
            date = {"Date": "Tue, 21 Nov 2023 09:00:00 GMT"}
            routes["/v1/orderbook/instruments"] = lambda _: ok([{"market": "KRW-BTC", "tick_size": "1000"}], **date)
            http, upbit = await it.http(routes), await venue(it)
            await it.start(settings("upbit", ("KRW-BTC",), http.url, upbit.url))
            (measured,) = await it.sink.until_some(ClockMeasured)
            assert 1_000 <= measured.round_trip_ms <= 1_600
            truth_ms = 1_700_557_200_000 - measured.at_ns // 1_000_000
            assert abs(measured.offset_ms - truth_ms) <= measured.round_trip_ms // 2 + 2

    asyncio.run(scene())


def test_a_group_that_has_nothing_left_this_second_waits_for_the_next() -> None:
    async def scene() -> None:
        async with lab() as it:
            routes = upbit_routes(*KNOWN)
            spent = {"Remaining-Req": "group=orderbook; min=1800; sec=0"}
            routes["/v1/orderbook/instruments"] = lambda _: ok([{"market": "KRW-BTC", "tick_size": "1000"}], **spent)
            http, upbit = await it.http(routes), await venue(it)
            await it.start(settings("upbit", ("KRW-BTC",), http.url, upbit.url))
            await it.sink.until(lambda: http.count("/v1/orderbook/instruments") == 2)
            first, second = (asked.at_s for asked in http.asked if asked.path == "/v1/orderbook/instruments")
            assert second - first >= 1.0

    asyncio.run(scene())
