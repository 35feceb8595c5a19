"""The real Upbit account session against the simulated Upbit on loopback, with its faults and its truth at hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from jumping_loop import now_ns, run_jumping
from session_lab import Sink
from upbit_lab import CODES, TRADER, UpbitLab, serving

from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder
from arbitrage.model.events import AccountLinkUp, OrderEnded, OrderFilled
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, PlanId, TimeInForce
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import ApiKey, HeldOrder
from arbitrage.sim.server.upbit_orders import uuid_of
from arbitrage.venues.trading import AccountContext, Credentials
from arbitrage.venues.transport import Transport, connect_websockets
from arbitrage.venues.upbit.account_session import UpbitAccountSession
from arbitrage.venues.upbit.limits import UpbitLimits
from arbitrage.venues.wiring import VenueContext, Wiring

UPBIT = Venue("upbit")
BTC = 0
"""KRW-BTC; best bid 148,601,000, best ask 148,602,000, 0.1 a level."""
BUYING, RESTING, SELLING = "148602000", "148000000", "148601000"


def instrument(market: int) -> Instrument:
    quote, base = CODES[market].split("-")
    least = {"KRW": "5000", "USDT": "0.5"}[quote]
    return Instrument(
        id=market,
        venue=UPBIT,
        symbol=CODES[market],
        base=Asset(base),
        quote=Asset(quote),
        ticks=TickTable.single(1),
        lot_e8=1,
        quantity_e8_min=0,
        quantity_e8_max=10**20,
        notional_e8_min=parse_e8(least),
        status=TradingStatus.TRADING,
        fees=FeeSchedule(500, 500, FeePayment.QUOTE),
    )


QUICK: dict[str, Any] = {
    "request_timeout_ms": 600, "connect_timeout_ms": 1000, "ping_interval_ms": 700, "silence_ms_max": 2500,
    "backoff_ms_min": 10, "backoff_ms_max": 200,
}  # fmt: skip


def venue_settings(lab: UpbitLab, **over: Any) -> VenueSettings:
    return VenueSettings(
        kind="upbit",
        rest_url=lab.rest,
        stream_url=f"{lab.ws}/websocket/v1",
        account_url=f"{lab.ws}/websocket/v1/private",
        symbols=CODES,
        fees=FeeSettings(500, 500, "quote"),
        **over,
    )


def credentials(key: ApiKey) -> Credentials:
    return Credentials(key.access_key, key.secret.encode())


@dataclass
class World:
    """A session beside the venue. What it says is in `sink`, what is true in `lab.exchange`."""

    lab: UpbitLab
    key: ApiKey = TRADER
    transport: Transport = connect_websockets
    over: dict[str, Any] = field(default_factory=dict)
    sink: Sink = field(default_factory=Sink)
    limits: UpbitLimits = field(default_factory=UpbitLimits)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def make(self) -> UpbitAccountSession:
        wiring = Wiring(sink=self.sink, clock=now_ns, rng=random.Random(3), transport=self.transport)
        context = VenueContext(UPBIT, venue_settings(self.lab, **(QUICK | self.over)), wiring)
        markets = {code: market for market, code in enumerate(CODES)}
        return UpbitAccountSession(AccountContext(context, credentials(self.key), markets, instrument), self.limits)

    async def start(self) -> UpbitAccountSession:
        """Make a session and wait until it is up."""
        session = self.make()
        self.tasks.append(asyncio.get_running_loop().create_task(session.run()))
        await self.sink.until_some(AccountLinkUp)
        return session

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * len(results), "it ends by being cancelled"

    def order(self, name: str, price: str = BUYING, quantity: str = "0.01", side: Side = Side.BUY, **over: Any) -> Order:
        fields: dict[str, Any] = {"time_in_force": TimeInForce.IOC, "valid_until_ns": now_ns() + 2 * 10**9, "market": BTC}
        return Order(
            client_order_id=ClientOrderId(name), plan_id=PlanId("plan"), leg_index=0, venue=UPBIT, side=side,
            price_e8=parse_e8(price), quantity_e8=parse_e8(quantity), **(fields | over),
        )  # fmt: skip

    def resting(self, name: str, **over: Any) -> PlaceOrder:
        return PlaceOrder(self.order(name, RESTING, time_in_force=TimeInForce.GTC, **over))

    def truth(self, name: str) -> HeldOrder | None:
        return self.lab.exchange.find(client_id=name)

    def placed(self, name: str) -> int:
        return sum(order.request.client_id == name for order in self.lab.exchange.orders())

    def fault(self, kind: Kind, endpoint: str = "*", **over: Any) -> None:
        assert self.lab.faults.add(Fault(kind, venue="upbit", endpoint=endpoint, **over))

    def fills(self, name: str) -> dict[str, Fill]:
        """Return the fills that were told, by trade id; a fill told twice must be the same both times."""
        fills: dict[str, Fill] = {}
        for event in self.sink.of(OrderFilled):
            if event.fill.client_order_id == name:
                assert fills.setdefault(event.fill.trade_id, event.fill) == event.fill, "one fill, one telling"
        return fills

    def ended(self, name: str) -> list[OrderEnded]:
        return [event for event in self.sink.of(OrderEnded) if event.client_order_id == name]

    def is_settled(self, name: str) -> bool:
        """Tell whether its end was told, and every fill of the total that the end states."""
        filled_e8 = sum(fill.quantity_e8 for fill in self.fills(name).values())
        return any(event.filled_quantity_e8 <= filled_e8 for event in self.ended(name)[-1:])

    async def until_ended(self, name: str, patience_s: float = 5.0) -> OrderEnded:
        await self.sink.until(lambda: bool(self.ended(name)), patience_s)
        return self.ended(name)[-1]

    def check_fills(self, name: str) -> None:
        """Hold what was told against the venue's truth, to the last unit."""
        held = self.truth(name)
        assert held is not None
        told = {
            trade_id: (fill.price_e8, fill.quantity_e8, fill.quote_e8, fill.fee_e8, fill.fee_asset)
            for trade_id, fill in self.fills(name).items()
        }
        true = {
            uuid_of("trade", one.trade_id): (one.price_e8, one.quantity_e8, one.quote_e8, one.fee_e8, one.fee_asset)
            for one in held.executions
        }
        assert told == true


def cancel(name: str, market: int = BTC) -> CancelOrder:
    return CancelOrder(UPBIT, market, ClientOrderId(name))


def query(name: str, market: int = BTC) -> QueryOrder:
    return QueryOrder(UPBIT, market, ClientOrderId(name))


def play(scene: Callable[[World, UpbitAccountSession], Awaitable[None]], seconds: float = 30.0, **over: Any) -> None:
    """Run a scene with a session that is up. Nothing that our client does may break a rule of the venue."""

    async def run() -> None:
        async with asyncio.timeout(seconds), serving(UpbitLab(now_ns)) as lab:
            world = World(lab, over=over)
            session = await world.start()
            try:
                await scene(world, session)
            finally:
                await world.stop()
            assert not +lab.server.violations, lab.server.violations
            lab.exchange.account.check()

    run_jumping(run())


def names(events: Iterable[Any]) -> list[str]:
    return [type(event).__name__ for event in events]
