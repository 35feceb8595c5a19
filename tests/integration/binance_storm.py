"""Binance in the storm: its true book, its faults, and its session. See `order_storm`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from binance_account_lab import ASKS, BIDS, AccountLab, account_lab
from jumping_loop import run_jumping
from order_storm import PARTS, Weather, instrument, storm

from arbitrage.model.instruments import FeePayment, FeeSchedule
from arbitrage.model.money import E8
from arbitrage.sim.exchange.faults import Kind
from arbitrage.venues.binance.limits import BinanceLimits

WEATHER = Weather(
    calls=("order.place", "order.place", "POST /api/v3/order", "GET /api/v3/order", "GET /api/v3/myTrades"),
    reads=("GET /api/v3/account", "GET /api/v3/openOrders", "userDataStream.subscribe.signature", "GET /api/v3/time"),
    news="executionReport",
    private="/ws-api/v3",
    strokes=(
        {"kind": Kind.ERROR_AFTER, "status": 504, "body": '{"code":-1007,"msg":"Timeout waiting for response."}'},
    ),
    lasting=((0.05, {"kind": Kind.SKEW, "ms": -3_000, "for_s": 10}), (0.05, {"kind": Kind.SKEW, "ms": 3_000, "for_s": 10})),
)


class BinancePort:
    """The simulated Binance, and sessions of its one account."""

    rules = instrument(0, notional_e8_min=5 * E8, fees=FeeSchedule(1_000, 1_000, FeePayment.RECEIVED))

    def __init__(self, lab: AccountLab, *, is_banned: bool) -> None:
        self._lab = lab
        self._is_banned = is_banned
        self.exchange, self.faults = lab.exchange, lab.faults
        lab.markets = {"BTCUSDT": 0}
        lab.book(bids=[(price, "0") for price, _ in BIDS], asks=[(price, "0") for price, _ in ASKS])
        lab.book(bids=[("99800.00", "5")], asks=[("100200.00", "5")])

    @property
    def violations(self) -> Counter[str]:
        return self._lab.server.violations

    async def make(self, sink: Callable[[Sequence[Any]], None], held_until_ns: int) -> Any:
        lab = self._lab
        lab.limits = BinanceLimits()
        lab.sink.events.clear()
        lab.sink.on_events = sink
        session = lab.make(request_timeout_ms=2_000, ping_interval_ms=2_000, silence_ms_max=6_000, backoff_ms_min=250,
                           backoff_ms_max=5_000, clock_measure_ms=5_000)  # fmt: skip
        session.hold_requests(held_until_ns)
        return session

    def show(self, dice: random.Random, premium: float) -> None:
        near, far = dice.choice(PARTS), dice.choice(PARTS)
        self._lab.book(bids=[("99990.01", near), ("99990.00", far)], asks=[("100009.99", near), ("100010.00", far)])

    def arm(self, dice: random.Random) -> None:
        WEATHER.arm(dice, self.faults, is_banned=self._is_banned)


def binance_storm(seed: int) -> Counter[str]:
    """Live through one seed; return what happened. Raises AssertionError when anything is not as it should be."""

    async def scene() -> Counter[str]:
        async with account_lab() as lab:
            return await storm(BinancePort(lab, is_banned=seed % 5 == 0), seed)

    return run_jumping(scene())
