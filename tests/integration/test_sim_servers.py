"""The simulated venues over real loopback sockets, as a client meets them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
import websockets
from minute_clock import minute_clock
from websockets.asyncio.client import connect

from arbitrage.sim.main import Served, SimOptions, main, running
from arbitrage.sim.scenarios.synthetic import synthetic
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.listener import Listener
from arbitrage.sim.server.socket import SocketLimits
from arbitrage.sim.server.upbit import UpbitServer

pytestmark = pytest.mark.integration
FAST = SocketLimits(ping_interval_s=0.3, pong_timeout_s=0.6, messages_per_s=5, buffer_bytes_max=200_000, close_grace_s=0.3)
PROGRAM = "import sys, time; from arbitrage.sim.main import main; sys.exit(main(sys.argv[1:], time.time_ns))"


def with_served(check, **options):
    async def run():
        async with asyncio.timeout(30), running(synthetic(1), SimOptions(clock=minute_clock(), **options)) as served:
            await check(served)

    asyncio.run(run())


def with_listener(venue, check):
    """Run a check against one venue whose market stands still."""

    async def run():
        listener = Listener(venue, time.time_ns, asyncio.get_running_loop().time)
        port = await listener.open(0)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            task = group.create_task(listener.run())
            try:
                await check(port, listener)
            finally:
                task.cancel()
                await listener.close()

    asyncio.run(run())


def still_binance(limits: SocketLimits = FAST) -> BinanceServer:
    return BinanceServer(synthetic(1).markets, time.time_ns, limits)


def urls(served: Served) -> tuple[str, str, str, str]:
    description = served.describe()
    return tuple(description[venue][kind] for venue in ("binance", "upbit") for kind in ("rest", "ws"))


def test_a_client_rebuilds_the_book_over_the_wire_by_the_documented_procedure():
    async def check(served):
        rest, ws, _, _ = urls(served)
        stream = connect(f"{ws}/stream?streams=btcusdt@depth@100ms", compression=None)
        async with stream as socket, httpx.AsyncClient() as client:
            buffered = [json.loads(await socket.recv())["data"]]
            answer = (await client.get(f"{rest}/api/v3/depth", params={"symbol": "BTCUSDT", "limit": 5000})).json()
            book = {side: dict(answer[side]) for side in ("bids", "asks")}
            last, straddled = answer["lastUpdateId"], False
            while len(buffered) < 12:
                buffered.append(json.loads(await socket.recv())["data"])
            for diff in buffered:
                if diff["u"] <= last:
                    continue
                assert diff["U"] <= last + 1 <= diff["u"]
                straddled = straddled or diff["U"] < last + 1
                for side, key in (("bids", "b"), ("asks", "a")):
                    book[side].update(diff[key])
                last = diff["u"]
            while True:
                truth = (await client.get(f"{rest}/api/v3/depth", params={"symbol": "BTCUSDT", "limit": 5000})).json()
                if truth["lastUpdateId"] == last:
                    break
                diff = json.loads(await socket.recv())["data"]
                for side, key in (("bids", "b"), ("asks", "a")):
                    book[side].update(diff[key])
                last = diff["u"]
            for side in ("bids", "asks"):
                assert {price: size for price, size in book[side].items() if float(size)} == dict(truth[side])

    with_served(check)


def test_upbit_speaks_binary_frames_and_the_second_request_replaces_the_first():
    async def check(served):
        _, _, _, ws = urls(served)
        async with connect(f"{ws}/websocket/v1") as socket:
            wish = {"type": "orderbook", "codes": ["KRW-XRP.5"]}
            await socket.send(json.dumps([{"ticket": "a"}, wish, {"format": "SIMPLE"}]))
            first = await socket.recv()
            assert isinstance(first, bytes) and json.loads(first)["st"] == "SNAPSHOT"
            await socket.send(json.dumps([{"ticket": "b"}, {"type": "orderbook", "codes": ["KRW-SOL.5"]}]))
            while json.loads(await socket.recv())["cd"] != "KRW-SOL":
                pass
            assert {json.loads(await socket.recv())["cd"] for _ in range(10)} == {"KRW-SOL"}
            await socket.send("PING")
            while (message := json.loads(await socket.recv())) != {"status": "UP"}:
                assert message["cd"] == "KRW-SOL"

    with_served(check, speed=4.0)


def test_rest_keeps_its_connection_and_tells_weight_and_date():
    async def check(served):
        rest, _, upbit, _ = urls(served)
        async with httpx.AsyncClient() as client:
            answers = [await client.get(f"{rest}/api/v3/ping") for _ in range(3)]
            assert [answer.headers["x-mbx-used-weight-1m"] for answer in answers] == ["1", "2", "3"]
            answer = await client.get(f"{upbit}/v1/orderbook", params={"markets": "KRW-BTC"})
            assert answer.headers["remaining-req"].startswith("group=orderbook") and answer.headers["date"].endswith("GMT")
            assert len(answer.json()[0]["orderbook_units"]) == 30
            assert (await client.post(f"{rest}/api/v3/ping", content=b"x" * 1000)).status_code == 405

    with_served(check)


def test_the_end_announces_itself_and_closes_with_1001():
    messages = []

    async def run():
        async with asyncio.timeout(20):
            async with running(synthetic(1), SimOptions(clock=time.time_ns)) as served:
                socket = await connect(f"{urls(served)[1]}/ws", compression=None)
                reading = asyncio.ensure_future(read_to_end(socket, messages))
                await asyncio.sleep(0.1)
            assert await reading == 1001

    asyncio.run(run())
    assert messages[-1]["e"] == "serverShutdown"


async def read_to_end(socket, messages) -> int:
    try:
        while True:
            messages.append(json.loads(await socket.recv()))
    except websockets.ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code


def test_a_client_that_answers_pings_lives_and_one_that_does_not_is_closed():
    async def check(port, listener):
        async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as good:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            received = await reader.read()
            assert b"101 Switching" in received and b"Pong timeout" in received
            writer.close()
            assert listener.venue.counters["pong_timeouts"] == 1
            await good.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            assert json.loads(await good.recv()) == {"result": [], "id": 1}

    with_listener(still_binance(), check)


def test_a_sixth_message_within_a_second_closes_the_connection():
    async def check(port, listener):
        async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as socket:
            for number in range(6):
                await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            messages = []
            assert await read_to_end(socket, messages) == 1008
            assert [message["id"] for message in messages] == [0, 1, 2, 3, 4]
            assert listener.venue.counters["messages_over_limit"] == 1

    with_listener(still_binance(SocketLimits(messages_per_s=5)), check)


def test_a_client_that_stops_reading_is_dropped_and_others_go_on():
    async def check(port, listener):
        venue = listener.venue
        slow = await connect(f"ws://127.0.0.1:{port}/ws/!serverShutdown", compression=None, max_queue=1, ping_interval=None)
        async with connect(f"ws://127.0.0.1:{port}/ws/x@trade", compression=None, ping_interval=None) as quick:
            payload = b"1" * 100_000
            for _ in range(200):
                venue.hub.publish("!serverShutdown", lambda: payload)
                venue.hub.publish("x@trade", lambda: b"{}")
                assert await quick.recv() == "{}"
                if venue.counters["slow_clients_dropped"]:
                    break
            assert venue.counters["slow_clients_dropped"] == 1
            venue.hub.publish("x@trade", lambda: b"{}")
            assert await quick.recv() == "{}"
        slow.transport.abort()

    with_listener(still_binance(), check)


def test_an_idle_upbit_connection_is_cut_and_a_pinging_one_is_not():
    async def check(port, listener):
        url = f"ws://127.0.0.1:{port}/websocket/v1"
        async with connect(url, ping_interval=None) as idle, connect(url, ping_interval=0.3) as alive:
            assert await read_to_end(idle, []) == 1000
            await alive.send("PING")
            assert json.loads(await alive.recv()) == {"status": "UP"}
            assert listener.venue.counters["idle_closed"] == 1

    limits = SocketLimits(idle_s=0.8, messages_per_s=20, has_deflate=True)
    with_listener(UpbitServer(synthetic(1).markets, time.time_ns, time.monotonic, limits), check)


def test_a_connection_ends_after_its_life():
    async def check(port, listener):
        async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as socket:
            assert await read_to_end(socket, []) == 1001
            assert listener.venue.counters["lifetimes_ended"] == 1

    with_listener(still_binance(SocketLimits(life_s=0.3)), check)


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b"\x00\x01\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, b"431"),
        (b"GET /no HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /nowhere HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"404"),
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"426"),
    ],
)
def test_what_is_no_good_request_gets_a_status(payload, status):
    async def check(port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(payload)
        assert (await reader.read(100)).startswith(b"HTTP/1.1 " + status)
        writer.close()

    with_listener(still_binance(), check)


def start(*words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--json", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "stdin", "--for"])
def test_the_command_says_where_it_serves_and_ends_as_told(ending):
    process = start(*(["--for", "1"] if ending == "--for" else []))
    first = json.loads(process.stdout.readline())
    assert list(first["binance"]) == ["rest", "ws", "ws_api", "key", "secret", "ed25519_key"]
    assert list(first["upbit"]) == ["rest", "ws", "ws_private", "access_key", "secret_key"]
    assert list(first) == ["binance", "upbit", "control"]
    second = json.loads(process.stdout.readline())
    assert second["scenario"] == "synthetic" and "generated" in second["label"]
    assert "BTCUSDT" in second["settings"]["venues"]["binance"]["symbols"]
    assert httpx.get(first["binance"]["rest"] + "/api/v3/ping").json() == {}
    assert httpx.get(first["control"] + "/truth").json()["binance"]["requests"] == {"GET /api/v3/ping": 1}
    if ending.startswith("SIG"):
        process.send_signal(signal.Signals[ending])
    elif ending == "stdin":
        process.stdin.close()
        process.stdin = None
    assert process.wait(timeout=15) == 0
    assert "requests 1" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()


def test_bad_usage_ends_with_status_2_and_one_line(capsys):
    assert main(["--scenario", "nonsense"], time.time_ns) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["--faults", "/nowhere/faults.json"], time.time_ns) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        main(["--speed", "0"], time.time_ns)
    assert ended.value.code == 2
