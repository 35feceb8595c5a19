"""The order leg: from a decision's order to its signed bytes in the socket's hands, at both venues. Trades with simulated
exchanges on loopback alone, with their own test keys.

As the daemon does it: the intent is made durable in the journal first, then the session signs and sends. The exchanges run in a
process of their own; orders go out one after the other, within the venues' limits, and end unfilled.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import msgspec
import uvloop

from arbitrage.app.child import ACCOUNT_WORDS, VenueServers
from arbitrage.app.clock import EngineClock
from arbitrage.app.loopback_house import KEY_WORDS
from arbitrage.model.effects import PlaceOrder
from arbitrage.model.events import AccountLinkUp, OrderEnded, OrderUnanswered
from arbitrage.model.facts import OrderIntended
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.money import E8, parse_e8
from arbitrage.model.orders import ClientOrderId, Order, OrderState, PlanId, TimeInForce
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.store.journal import Journal
from arbitrage.venues.binance.limits import BinanceLimits
from arbitrage.venues.factory import make_account_session
from arbitrage.venues.trading import AccountContext, Credentials
from arbitrage.venues.upbit.limits import UpbitLimits
from arbitrage.venues.wiring import VenueContext, VenueEvent, Wiring
from bench.figures import Floor, at_most, percentile

SYMBOLS = {"binance": "BTCUSDT", "upbit": "KRW-BTC"}
PRICE_STEP_E8 = {"binance": E8, "upbit": 1_000 * E8}
"""A multiple of the venue's tick there."""
BELOW_PERCENT = 97
"""A bid at so much of the best one fills nothing."""
QUANTITY_E8 = E8 // 100
PAUSE_S = 0.15
"""Upbit takes 8 orders a second from an account; this stays below."""
WARM_UP = 10
WAIT_S_MAX = 20.0
JOURNAL_BYTES_MAX = 64_000_000
VALID_NS = 5_000_000_000


class OrderLeg(msgspec.Struct, frozen=True):
    """One venue's figures in microseconds, over all orders after the warm-up."""

    venue: str
    orders: int
    unsent: int
    """Orders that were refused, unanswered or not sent."""
    journal_us: tuple[float, float]
    """p50 and p99 of making the intent durable."""
    signed_us: tuple[float, float]
    """p50 and p99 from the session's hands to the last signed byte in the socket's."""
    whole_us: tuple[float, float]

    def __str__(self) -> str:
        words = (("journal", self.journal_us), ("signed and sent", self.signed_us), ("whole", self.whole_us))
        parts = (f"{name} p50 {p50:.0f} p99 {p99:.0f}" for name, (p50, p99) in words)
        return f"{self.venue:<8} {self.orders} orders, {self.unsent} not sent: {', '.join(parts)} us"


class Seller:
    """One venue's real account session, and what it says of our orders."""

    def __init__(self, venue: str, servers: VenueServers, clock: Callable[[], int]) -> None:
        described = servers.description[venue]
        key, secret = (described[word] for word in KEY_WORDS[venue])
        settings = VenueSettings(
            kind=venue,  # type: ignore[arg-type]  # one of the two names in SYMBOLS
            rest_url=described["rest"],
            stream_url=described["ws"],
            account_url=described[ACCOUNT_WORDS[venue]],
            symbols=(SYMBOLS[venue],),
            fees=FeeSettings(1_000, 1_000, "quote"),
        )
        context = VenueContext(Venue(venue), settings, Wiring(sink=self._hear, clock=clock, rng=random.Random(1)))
        account = AccountContext(context, Credentials(key, secret.encode()), {SYMBOLS[venue]: 0}, lambda market: None)
        self.venue = venue
        self.session = make_account_session(account, BinanceLimits() if venue == "binance" else UpbitLimits())
        self.is_up = asyncio.Event()
        self.ends: asyncio.Queue[OrderEnded | OrderUnanswered] = asyncio.Queue()
        self.price_e8 = 0
        self.journal_ns: list[int] = []
        self.unsent = 0

    async def learn_price(self) -> None:
        """Choose a price below the best bid, from the public endpoint."""
        url = self.session.settings.rest_url
        path = f"/api/v3/ticker/bookTicker?symbol={SYMBOLS['binance']}"
        if self.venue == "upbit":
            path = f"/v1/orderbook?markets={SYMBOLS['upbit']}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            found = (await client.get(path)).raise_for_status().json()
        bid = found[0]["orderbook_units"][0]["bid_price"] if self.venue == "upbit" else found["bidPrice"]
        step_e8 = PRICE_STEP_E8[self.venue]
        self.price_e8 = parse_e8(f"{float(bid):.2f}") * BELOW_PERCENT // 100 // step_e8 * step_e8

    async def trade(self, number: int, journal: Journal, clock: Callable[[], int]) -> None:
        """Write one order down, hand it over, and wait for its end."""
        order = Order(
            client_order_id=ClientOrderId(f"bench-{self.venue}-{number}"), plan_id=PlanId("bench"), leg_index=0,
            venue=Venue(self.venue), market=0, side=Side.BUY, price_e8=self.price_e8, quantity_e8=QUANTITY_E8,
            time_in_force=TimeInForce.IOC, valid_until_ns=clock() + VALID_NS,
        )  # fmt: skip
        started_ns = clock()
        journal.append((OrderIntended(started_ns, order),))
        self.journal_ns.append(clock() - started_ns)
        self.session.submit(PlaceOrder(order))
        async with asyncio.timeout(WAIT_S_MAX):
            end = await self.ends.get()
        is_sent = isinstance(end, OrderEnded) and end.state is not OrderState.REJECTED
        self.unsent += not is_sent

    def result(self) -> OrderLeg:
        """Sum up."""
        signed_ns = list(self.session.send_delays_ns)
        count = min(len(signed_ns), len(self.journal_ns))
        journal_ns, signed_ns = self.journal_ns[WARM_UP:count], signed_ns[WARM_UP:count]
        whole_ns = [written + sent for written, sent in zip(journal_ns, signed_ns, strict=True)]
        rows = [_p50_p99_us(each) for each in (journal_ns, signed_ns, whole_ns)]
        return OrderLeg(self.venue, len(whole_ns), self.unsent, *rows)

    def _hear(self, events: Sequence[VenueEvent]) -> None:
        for event in events:
            if isinstance(event, AccountLinkUp):
                self.is_up.set()
            elif isinstance(event, OrderEnded | OrderUnanswered):
                self.ends.put_nowait(event)


def run(seed: int, orders: int) -> list[OrderLeg]:
    """Place `orders` orders at each venue, in turn."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(seed, orders, Path(folder)))


def floors(found: Sequence[OrderLeg]) -> list[Floor]:
    """Demand that every order left: figures of orders that did not are worth nothing."""
    return [at_most(f"order leg, {leg.venue}: orders not sent", leg.unsent, 0) for leg in found]


async def _run(seed: int, orders: int, folder: Path) -> list[OrderLeg]:
    clock = EngineClock()
    servers = await VenueServers.start("synthetic", seed=seed, speed=1.0)
    journal = Journal(folder / "journal", bytes_max=JOURNAL_BYTES_MAX)
    sellers = [Seller(venue, servers, clock) for venue in SYMBOLS]
    tasks = [asyncio.create_task(seller.session.run()) for seller in sellers]
    try:
        async with asyncio.timeout(WAIT_S_MAX):
            for seller in sellers:
                await seller.is_up.wait()
                await seller.learn_price()
        for number in range(orders + WARM_UP):
            for seller in sellers:
                await seller.trade(number, journal, clock)
            await asyncio.sleep(PAUSE_S)
        return [seller.result() for seller in sellers]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        journal.close()
        await servers.stop()


def _p50_p99_us(took_ns: Sequence[int]) -> tuple[float, float]:
    ordered = sorted(took_ns)
    assert ordered, "orders were sent"
    return round(percentile(ordered, 0.5) / 1e3, 1), round(percentile(ordered, 0.99) / 1e3, 1)
