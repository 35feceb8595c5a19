"""A trading Upbit on loopback for third-party clients: a book that stands still until the test moves it, one funded pocket."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Faults
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.exchange.policy import UPBIT_POLICY
from arbitrage.sim.scenarios.changes import BookChanged, Traded
from arbitrage.sim.scenarios.ticks import upbit_market
from arbitrage.sim.server.listener import Listener
from arbitrage.sim.server.upbit import UpbitServer
from arbitrage.sim.server.upbit_pocket import Backing

CODES = ("KRW-BTC", "KRW-USDT", "USDT-BTC")
BALANCES = {"KRW": "10000000", "BTC": "0.5", "USDT": "1000"}
TRADER = ApiKey("A" * 40, "s" * 64)
WITHDRAWER = ApiKey("W" * 40, "w" * 64, can_withdraw=True)
READER = ApiKey("R" * 40, "r" * 64, can_trade=False)
BID, ASK, STEP = 148_601_000, 148_602_000, 1_000
"""KRW-BTC: 0.1 a level, 40 levels a side."""


STEP_S = 0.01


class OutsideWatch:
    """Every address but loopback that this process connects to or looks up."""

    def __init__(self) -> None:
        self.outside: list[str] = []
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple) -> None:
        host = None
        if event == "socket.getaddrinfo":
            host = arguments[0]
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            host = arguments[1][0]
        if host not in (None, "127.0.0.1", "localhost", b"127.0.0.1", b"localhost"):
            self.outside.append(str(host))


class UpbitLab:
    """The server, its exchange and where they are."""

    def __init__(self, clock: Callable[[], int] = time.time_ns, balances: Mapping[str, str] = BALANCES) -> None:
        self.clock = clock
        specs = [upbit_market(code, origin="published") for code in CODES]
        amounts = {asset: parse_e8(text) for asset, text in balances.items()}
        self.exchange = Exchange("upbit", specs, UPBIT_POLICY, amounts, clock)
        self.faults = Faults("upbit", clock, random.Random(1))
        backing = Backing(self.exchange, (TRADER, WITHDRAWER, READER), self.faults)
        self.server = UpbitServer(specs, clock, self.now_s, backing=backing)
        self.port = 0
        self._stand()

    def now_s(self) -> float:
        return self.clock() / 1e9

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def book(self, code: str, bids: dict[str, str], asks: dict[str, str]) -> None:
        """Set levels of other people."""
        sides = [tuple((parse_e8(price), parse_e8(size)) for price, size in side.items()) for side in (bids, asks)]
        self.server.apply(BookChanged(self.clock(), "upbit", code, sides[0], sides[1]))

    def trade(self, code: str, price: str, quantity: str, taker_side: Side = Side.BUY) -> None:
        """Let two others trade."""
        self.server.apply(Traded(self.clock(), "upbit", code, parse_e8(price), parse_e8(quantity), taker_side))

    def _stand(self) -> None:
        rungs = range(40)
        bids, asks = ({str(best + sign * STEP * rung): "0.1" for rung in rungs} for best, sign in ((BID, -1), (ASK, 1)))
        self.book("KRW-BTC", bids, asks)
        self.book("KRW-USDT", {"1411": "5000"}, {"1411.5": "5000"})
        self.book("USDT-BTC", {"105000": "1"}, {"105010": "1"})


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something holds, or fail."""
    for _ in range(int(seconds / STEP_S)):
        if holds():
            return
        await asyncio.sleep(STEP_S)
    assert holds()


@asynccontextmanager
async def serving(lab: UpbitLab) -> AsyncIterator[UpbitLab]:
    """Let the server listen."""
    listener = Listener(lab.server, lab.clock, lab.now_s, lab.faults)
    lab.port = await listener.open(0)
    running = asyncio.get_running_loop().create_task(listener.run())
    try:
        yield lab
    finally:
        running.cancel()
        await listener.close()
        await asyncio.wait((running,))
    assert running.cancelled(), "the listener ran until it was stopped"


def run_lab(check: Callable[[UpbitLab], Awaitable[None]], seconds: float = 30.0) -> None:
    """Run a check while the server listens."""

    async def run() -> None:
        async with asyncio.timeout(seconds), serving(UpbitLab()) as lab:
            await check(lab)

    asyncio.run(run())
