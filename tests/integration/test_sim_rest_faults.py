"""What the simulated venues' ports do to REST and sockets when a fault says so, as a client sees it."""

import asyncio
import json
import time

import httpx
import pytest
import websockets
from minute_clock import minute_clock
from websockets.asyncio.client import connect

from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.main import Served, SimOptions, running
from arbitrage.sim.scenarios.synthetic import synthetic

pytestmark = pytest.mark.integration
PING = "GET /api/v3/ping"


def with_faults(check, *faults: Fault, speed: float = 1.0):
    async def run():
        async with asyncio.timeout(30), running(synthetic(1), SimOptions(clock=minute_clock(), speed=speed)) as served:
            served.control.arm_all(faults)
            async with httpx.AsyncClient(timeout=0.6) as client:
                await check(served, client)

    asyncio.run(run())


async def ping(served: Served, client: httpx.AsyncClient) -> httpx.Response:
    return await client.get(f"http://127.0.0.1:{served.binance_port}/api/v3/ping")


@pytest.mark.parametrize(("kind", "expected"), [(Kind.LOST, httpx.ReadTimeout), (Kind.HALF_OPEN, httpx.ReadTimeout)])
def test_a_lost_answer_leaves_the_client_waiting_though_the_call_was_carried_out(kind, expected):
    async def check(served, client):
        with pytest.raises(expected):
            await ping(served, client)
        assert (await ping(served, client)).headers["x-mbx-used-weight-1m"] == "2"
        control = f"http://127.0.0.1:{served.control_port}"
        seen = (await client.get(f"{control}/requests", params={"venue": "binance"})).json()["binance"]
        assert [row["status"] for row in seen] == [0, 200]
        fired = (await client.get(f"{control}/faults")).json()["fired"]
        assert [(row["kind"], row["subject"]) for row in fired] == [(kind.value, PING)]

    with_faults(check, Fault(kind, endpoint=PING))


def test_a_cut_connection_ends_without_a_word_after_the_call_was_carried_out():
    async def check(served, client):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await ping(served, client)
        assert (await ping(served, client)).headers["x-mbx-used-weight-1m"] == "2"

    with_faults(check, Fault(Kind.CUT, endpoint=PING))


@pytest.mark.parametrize("kind", [Kind.LATE, Kind.SLOW])
def test_a_late_answer_comes_late(kind):
    async def check(served, client):
        started = time.monotonic()
        assert (await ping(served, client)).status_code == 200
        assert time.monotonic() - started >= 0.25

    with_faults(check, Fault(kind, endpoint=PING, ms=250))


def test_an_answer_that_would_be_too_late_says_that_the_outcome_is_unknown():
    async def check(served, client):
        served.binance.answer_ms_max = 100
        answer = await ping(served, client)
        assert (answer.status_code, answer.json()["code"]) == (504, -1007)
        assert (await ping(served, client)).headers["x-mbx-used-weight-1m"] == "2", "it was carried out"

    with_faults(check, Fault(Kind.LATE, endpoint=PING, ms=60_000))


@pytest.mark.parametrize(("kind", "weight"), [(Kind.ERROR_BEFORE, "1"), (Kind.ERROR_AFTER, "2"), (Kind.HTML, "1")])
def test_an_error_says_nothing_about_whether_the_call_was_carried_out(kind, weight):
    async def check(served, client):
        answer = await ping(served, client)
        assert answer.status_code == 503 and ("html" in answer.headers["content-type"]) == (kind is Kind.HTML)
        assert (await ping(served, client)).headers["x-mbx-used-weight-1m"] == weight

    with_faults(check, Fault(kind, endpoint=PING))


def test_both_venues_answer_with_the_body_of_the_script():
    async def check(served, client):
        for port, path in ((served.binance_port, "/api/v3/ping"), (served.upbit_port, "/v1/market/all")):
            answer = await client.get(f"http://127.0.0.1:{port}{path}")
            assert (answer.status_code, answer.json()) == (418, {"code": -1, "msg": "as told"})

    body = json.dumps({"code": -1, "msg": "as told"})
    with_faults(check, Fault(Kind.ERROR_BEFORE, status=418, body=body, endpoint="GET *"))


def test_a_repeated_answer_is_written_twice():
    async def check(served, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.binance_port)
        writer.write(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = await reader.read()
        assert received.count(b"HTTP/1.1 200") == 2 and received.count(b"X-MBX-USED-WEIGHT-1M: 1\r\n") == 2
        writer.close()

    with_faults(check, Fault(Kind.REPEATED, endpoint=PING))


def test_an_open_socket_is_cut_or_falls_silent_and_others_live():
    async def check(served, client):
        port = served.binance_port
        async with connect(f"ws://127.0.0.1:{port}/ws/btcusdt@bookTicker", compression=None) as silent:
            await silent.recv()
            served.control.arm_all([Fault(Kind.HALF_OPEN, venue="binance", endpoint="socket /ws*")])
            with pytest.raises(TimeoutError):
                while True:
                    await asyncio.wait_for(silent.recv(), 0.8)
            async with connect(f"ws://127.0.0.1:{port}/ws/btcusdt@bookTicker", compression=None) as doomed:
                await doomed.recv()
                served.control.arm_all([Fault(Kind.CUT, venue="binance", endpoint="socket /ws*", skip=1)])
                with pytest.raises(websockets.ConnectionClosedError):
                    while True:
                        await asyncio.wait_for(doomed.recv(), 2)
            silent.transport.abort()

    with_faults(check, speed=4.0)


def test_a_new_connection_is_refused_cut_or_left_unanswered():
    async def check(served, client):
        url = f"ws://127.0.0.1:{served.upbit_port}/websocket/v1"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 403
        with pytest.raises((websockets.InvalidMessage, EOFError, OSError)):
            await connect(url)
        with pytest.raises(TimeoutError):
            await connect(url, open_timeout=0.5)
        async with connect(url):
            pass

    endpoint = "connect /websocket/*"
    with_faults(
        check, Fault(Kind.ERROR_BEFORE, endpoint=endpoint, status=403), Fault(Kind.CUT, endpoint=endpoint),
        Fault(Kind.LOST, endpoint=endpoint),
    )  # fmt: skip


def test_a_frozen_symbol_stops_while_another_goes_on():
    async def check(served, client):
        url = f"ws://127.0.0.1:{served.binance_port}/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker"
        async with connect(url, compression=None) as socket:
            seen = [json.loads(await socket.recv())["data"]["s"] for _ in range(30)]
        assert set(seen) == {"ETHUSDT"}

    with_faults(check, Fault(Kind.FROZEN, symbol="BTCUSDT"), speed=4.0)
