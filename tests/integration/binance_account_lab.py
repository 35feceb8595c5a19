"""The real account session against the simulated Binance on loopback, with its faults and its truth at hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from jumping_loop import now_ns, now_s
from session_lab import FEES, Sink

from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder
from arbitrage.model.events import AccountLinkUp, OrderEnded, OrderFilled
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, PlanId, TimeInForce
from arbitrage.model.settings import VenueSettings
from arbitrage.sim.exchange.acts import Acts
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Fault, Faults, Kind
from arbitrage.sim.exchange.keys import binance_key
from arbitrage.sim.exchange.nouns import ApiKey, HeldOrder
from arbitrage.sim.exchange.policy import BINANCE_POLICY
from arbitrage.sim.scenarios.changes import BookChanged
from arbitrage.sim.scenarios.ticks import binance_market
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.binance_private import Backing
from arbitrage.sim.server.listener import Listener
from arbitrage.venues.binance.account_session import BinanceAccountSession
from arbitrage.venues.binance.limits import BinanceLimits
from arbitrage.venues.trading import AccountContext, Credentials
from arbitrage.venues.wiring import VenueContext, Wiring

VENUE = Venue("binance")
SPECS = (
    binance_market("BTC/USDT", tick="0.01", lot="0.00001", origin="published"),
    binance_market("BNB/USDT", tick="0.01", lot="0.001", origin="published"),
)
ASKS = (("64000.20", "1.2"), ("64000.30", "0.5"))
BIDS = (("64000.10", "0.431"), ("64000.00", "1"))
VALID_MS = 2_000


def instrument(market: int) -> Instrument:
    base = "BTC" if market == 0 else "BNB"
    return Instrument(
        id=market,
        venue=VENUE,
        symbol=f"{base}USDT",
        base=Asset(base),
        quote=Asset("USDT"),
        ticks=TickTable.single(parse_e8("0.01")),
        lot_e8=1_000,
        quantity_e8_min=1_000,
        quantity_e8_max=10**20,
        notional_e8_min=0,
        status=TradingStatus.TRADING,
        fees=FeeSchedule(1_000, 1_000, FeePayment.RECEIVED),
    )


class AccountLab:
    """A venue and sessions of its one account. Times are real, the venue's clock is wall time plus its faults' skew."""

    def __init__(self, stack: AsyncExitStack, key: ApiKey) -> None:
        self.stack = stack
        self.sink = Sink()
        self.key = key
        self.limits = BinanceLimits()
        self.markets = {"BTCUSDT": 0, "BNBUSDT": 1}
        amounts = {asset: parse_e8(text) for asset, text in {"USDT": "1000000", "BTC": "1", "BNB": "0"}.items()}
        self.exchange = Exchange("binance", SPECS, BINANCE_POLICY, amounts, now_ns)
        self.faults = Faults("binance", now_ns, random.Random(1))
        self.faults.listen(Acts(self.exchange))
        self.server = BinanceServer(SPECS, now_ns, backing=Backing(self.exchange, (key,), self.faults))
        self.listener = Listener(self.server, now_ns, now_s, self.faults)
        self.book(bids=BIDS, asks=ASKS)
        self.book("BNBUSDT", bids=(("600.00", "50"),), asks=(("600.01", "50"),))
        self.port = 0
        self.number = 0
        self.task: asyncio.Task[None] | None = None

    def book(self, symbol: str = "BTCUSDT", bids: Iterable[Any] = (), asks: Iterable[Any] = ()) -> None:
        sides = [tuple((parse_e8(price), parse_e8(quantity)) for price, quantity in side) for side in (bids, asks)]
        self.server.apply(BookChanged(0, "binance", symbol, *sides))

    def fault(self, kind: Kind, **fields: Any) -> None:
        assert self.faults.add(Fault(kind, **fields))

    async def serve(self) -> None:
        self.port = await self.listener.open(0)
        caretaker = asyncio.get_running_loop().create_task(self.listener.run())
        self.stack.callback(caretaker.cancel)

    def settings(self, **over: Any) -> VenueSettings:
        quick: dict[str, Any] = {
            "connect_timeout_ms": 1000, "request_timeout_ms": 600, "ping_interval_ms": 100, "silence_ms_max": 600,
            "backoff_ms_min": 10, "backoff_ms_max": 100, "clock_measure_ms": 60_000,
            "account_url": f"ws://127.0.0.1:{self.port}/ws-api/v3", "rest_url": f"http://127.0.0.1:{self.port}",
        }  # fmt: skip
        return VenueSettings(
            kind="binance",
            stream_url=f"ws://127.0.0.1:{self.port}",
            symbols=tuple(self.markets),
            fees=FEES,
            **(quick | over),
        )

    def make(self, credentials: Credentials | None = None, options: dict[str, Any] | None = None, **over: Any) -> Any:
        wiring = Wiring(sink=self.sink, clock=now_ns, rng=random.Random(7), record=self.sink.records.append)
        shared = Credentials(self.key.access_key, self.key.secret.encode())
        context = AccountContext(
            context=VenueContext(VENUE, self.settings(**over), wiring),
            credentials=credentials or shared,
            markets=self.markets,
            instrument=instrument,
        )
        session = BinanceAccountSession(context, self.limits, **(options or {}))
        self.stack.push_async_callback(session.close)
        return session

    async def start(self, session: Any | None = None, *, up: bool = True) -> Any:
        session = session or self.make()
        self.task = asyncio.get_running_loop().create_task(session.run())
        self.stack.push_async_callback(self._stop, self.task)
        if up:
            await self.sink.until_some(AccountLinkUp)
        return session

    async def _stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def order(
        self, price: str = "64000.20", quantity: str = "0.01", *, side: Side = Side.BUY, force: TimeInForce = TimeInForce.IOC,
        valid_ms: int = VALID_MS,
    ) -> Order:  # fmt: skip
        self.number += 1
        return Order(
            client_order_id=ClientOrderId(f"arb-{self.number}"),
            plan_id=PlanId("plan-1"),
            leg_index=0,
            venue=VENUE,
            market=0,
            side=side,
            price_e8=parse_e8(price),
            quantity_e8=parse_e8(quantity),
            time_in_force=force,
            valid_until_ns=now_ns() + valid_ms * 1_000_000,
        )

    def place(self, session: Any, *args: Any, **fields: Any) -> Order:
        order = self.order(*args, **fields)
        session.submit(PlaceOrder(order))
        return order

    def query(self, session: Any, order: Order) -> None:
        session.submit(QueryOrder(VENUE, order.market, order.client_order_id))

    def cancel(self, session: Any, order: Order) -> None:
        session.submit(CancelOrder(VENUE, order.market, order.client_order_id))

    def held(self, order: Order) -> list[HeldOrder]:
        """What the venue truly holds under an order's id."""
        return [held for held in self.exchange.orders() if held.request.client_id == order.client_order_id]

    def about(self, order: Order) -> list[Any]:
        """Every order event about one order."""
        return [
            event for event in self.sink.events
            if getattr(event, "client_order_id", None) == order.client_order_id
            or (type(event) is OrderFilled and event.fill.client_order_id == order.client_order_id)
        ]  # fmt: skip

    def fills(self, order: Order) -> dict[str, Fill]:
        """Its fills by trade id; the same fill told twice is told alike."""
        fills: dict[str, Fill] = {}
        for event in self.about(order):
            if type(event) is OrderFilled:
                assert fills.setdefault(event.fill.trade_id, event.fill) == event.fill, "one fill has one set of amounts"
        return fills

    def ends(self, order: Order) -> list[OrderEnded]:
        return [event for event in self.about(order) if type(event) is OrderEnded]

    async def until_told(self, order: Order, kind: type, count: int = 1, patience_s: float = 5.0) -> Any:
        def found() -> list[Any]:
            return [event for event in self.about(order) if type(event) is kind]

        await self.sink.until(lambda: len(found()) >= count, patience_s)
        return found()[-1]


@asynccontextmanager
async def account_lab(key: ApiKey | None = None) -> AsyncIterator[AccountLab]:
    async with AsyncExitStack() as stack:
        it = AccountLab(stack, key or binance_key(7))
        await it.serve()
        try:
            yield it
        finally:
            await stack.aclose()
            await it.listener.close()
