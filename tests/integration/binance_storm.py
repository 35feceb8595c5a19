"""Binance in the storm: its true book, its faults, and its session. See `order_storm`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from binance_account_lab import ASKS, BIDS, AccountLab, account_lab
from jumping_loop import run_jumping
from order_storm import instrument, storm

from arbitrage.model.instruments import FeePayment, FeeSchedule
from arbitrage.model.money import E8
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.venues.binance.limits import BinanceLimits

CALLS = ("order.place", "order.place", "POST /api/v3/order", "GET /api/v3/order", "GET /api/v3/myTrades")
READS = ("GET /api/v3/account", "GET /api/v3/openOrders", "userDataStream.subscribe.signature", "GET /api/v3/time")
STROKES: tuple[dict[str, Any], ...] = (
    {"kind": Kind.LOST}, {"kind": Kind.LATE, "ms": 400}, {"kind": Kind.LATE, "ms": 2_500}, {"kind": Kind.LATE, "ms": 11_000},
    {"kind": Kind.SLOW, "ms": 300}, {"kind": Kind.SLOW, "ms": 2_500}, {"kind": Kind.REPEATED}, {"kind": Kind.HALF_OPEN},
    {"kind": Kind.ERROR_AFTER, "status": 503}, {"kind": Kind.ERROR_AFTER, "status": 502, "body": "<html>"},
    {"kind": Kind.ERROR_AFTER, "status": 504, "body": '{"code":-1007,"msg":"Timeout waiting for response."}'},
    {"kind": Kind.ERROR_BEFORE, "status": 503}, {"kind": Kind.HTML, "status": 403}, {"kind": Kind.CUT},
)  # fmt: skip
MESSAGES = (Kind.LOST, Kind.LOST, Kind.LOST, Kind.LATE, Kind.REPEATED, Kind.REORDERED, Kind.CUT)
PARTS = ("0", "0.004", "0.02", "1", "1")
"""What truly stands at the price that is seen: nothing, some, or enough."""


class BinancePort:
    """The simulated Binance, and sessions of its one account."""

    rules = instrument(0, notional_e8_min=5 * E8, fees=FeeSchedule(1_000, 1_000, FeePayment.RECEIVED))

    def __init__(self, lab: AccountLab, *, is_banned: bool) -> None:
        self._lab = lab
        self._is_banned = is_banned
        """Bans come in runs of their own: what the wire held up would arrive during one although it was sent before."""
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
        if self._is_banned and dice.random() < 0.7:
            self._add(kind=Kind.BAN, for_s=dice.choice((2, 6)), at_s=dice.choice((0.0, 0.6, 2.0)))
        strokes = [stroke for stroke in STROKES if not (self._is_banned and stroke["kind"] is Kind.SLOW)]
        for _ in range(dice.choice((0, 1, 2, 3, 4))):
            self._add(dice.choice(CALLS), times=dice.choice((1, 1, 2)), **dice.choice(strokes))
        for endpoint in READS:
            if dice.random() < 0.1:
                self._add(endpoint, **dice.choice(strokes))
        for _ in range(dice.choice((0, 1, 2))):
            late_ms, skip, times = dice.choice((200, 1_500)), dice.choice((0, 0, 1, 2)), dice.choice((1, 4))
            self._add("executionReport", kind=dice.choice(MESSAGES), ms=late_ms, skip=skip, times=times)
        lasting: tuple[tuple[float, dict[str, Any]], ...] = (
            (0.3, {"kind": Kind.NOT_FOUND, "ms": dice.choice((300, 3_000, 8_000)), "for_s": 30}),
            (0.2, {"kind": Kind.SILENT_PRIVATE, "for_s": dice.choice((2, 8, 20))}),
            (0.1, {"kind": Kind.SKEW, "ms": dice.choice((-3_000, 3_000)), "for_s": 10}),
            (0.1, {"kind": Kind.CUT, "endpoint": "socket /ws-api/v3"}),
            (0.1, {"kind": Kind.HALF_OPEN, "endpoint": "socket /ws-api/v3"}),
            (0.1, {"kind": Kind.HTML, "endpoint": "connect /ws-api/v3", "times": 3}),
        )
        for chance, fault in lasting:
            if dice.random() < chance:
                self._add(**fault, at_s=dice.choice((0.0, 0.6, 2.0)))

    def _add(self, endpoint: str = "*", **fields: Any) -> None:
        assert self.faults.add(Fault(endpoint=endpoint, **fields))


def binance_storm(seed: int) -> Counter[str]:
    """Live through one seed; return what happened. Raises AssertionError when anything is not as it should be."""

    async def scene() -> Counter[str]:
        async with account_lab() as lab:
            return await storm(BinancePort(lab, is_banned=seed % 5 == 0), seed)

    return run_jumping(scene())
