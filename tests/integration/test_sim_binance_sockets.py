"""The simulated Binance's two kinds of sockets on a real port: what each lets a client do, and how each says goodbye."""

from __future__ import annotations

import asyncio
import json

import pytest
from binance_live import LiveLab, live_binance
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from arbitrage.sim.exchange.faults import Kind

pytestmark = pytest.mark.integration
WAIT_S = 10
PING = '{"id":1,"method":"ping","params":{}}'
LIST = '{"id":1,"method":"LIST_SUBSCRIPTIONS"}'


def run(act) -> LiveLab:
    async def main(lab: LiveLab) -> None:
        async with asyncio.timeout(WAIT_S):
            await act(lab)

    with live_binance() as lab:
        asyncio.run(main(lab))
    return lab


async def read_to_end(socket) -> tuple[list, int | None]:
    messages = []
    try:
        while True:
            messages.append(json.loads(await socket.recv()))
    except ConnectionClosed as closed:
        return messages, None if closed.rcvd is None else closed.rcvd.code


def test_the_request_socket_takes_many_messages_a_second_and_the_stream_socket_five():
    async def act(lab):
        async with connect(f"{lab.ws}/ws-api/v3") as requests, connect(f"{lab.ws}/ws") as stream:
            for _ in range(20):
                await requests.send(PING)
            assert [json.loads(await requests.recv())["status"] for _ in range(20)] == [200] * 20
            for _ in range(6):
                await stream.send(LIST)
            messages, code = await read_to_end(stream)
            assert (len(messages), code) == (5, 1008)

    assert run(act).server.violations == {"messages_over_limit": 1}


def test_every_socket_is_told_that_the_venue_shuts_down_before_it_is_closed():
    async def act(lab):
        async with (
            connect(f"{lab.ws}/ws-api/v3") as requests,
            connect(f"{lab.ws}/stream") as combined,
            connect(f"{lab.ws}/ws") as raw,
        ):
            lab.do(lab.server.announce_shutdown)
            lab.do(lambda: lab.fault(Kind.CUT, endpoint="socket *", times=3))
            event = {"e": "serverShutdown"}
            for socket, unwrapped in ((requests, "event"), (combined, "data"), (raw, None)):
                messages, _ = await read_to_end(socket)
                [told] = [message if unwrapped is None else message[unwrapped] for message in messages]
                assert {"e": told["e"]} == event
            assert "stream" not in messages[0]

    assert run(act).server.violations.total() == 0


def test_a_request_socket_ends_after_its_life():
    async def act(lab):
        lab.server.limits = type(lab.server.limits)(life_s=0.2)
        async with connect(f"{lab.ws}/ws-api/v3") as requests:
            assert await read_to_end(requests) == ([], 1001)

    assert run(act).server.counters["lifetimes_ended"] == 1
