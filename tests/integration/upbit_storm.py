"""Upbit in the storm: its true books, its faults, and its session. See `order_storm`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from jumping_loop import now_ns, run_jumping
from order_storm import PARTS, Weather, instrument, storm
from upbit_account_lab import UPBIT, credentials, venue_settings
from upbit_lab import ASK, BID, STEP, TRADER, UpbitLab, serving

from arbitrage.model.money import E8
from arbitrage.sim.exchange.faults import Kind
from arbitrage.venues.trading import AccountContext
from arbitrage.venues.upbit.account_session import UpbitAccountSession
from arbitrage.venues.upbit.limits import UpbitLimits
from arbitrage.venues.wiring import VenueContext, Wiring

MARKETS = {"KRW-BTC": 1, "KRW-USDT": 2}
BALANCES = {"KRW": "100000000", "BTC": "1", "USDT": "50000"}
MIDDLE, SPREAD = 140_000_000, 100_000
"""What is seen of KRW-BTC without a premium, and between its best prices."""
NONCE_USED = '{"error":{"name":"nonce_used","message":"x"}}'
WEATHER = Weather(
    calls=("POST /v1/orders", "POST /v1/orders", "POST /v1/orders", "GET /v1/order", "GET /v1/orders/uuids"),
    reads=("GET /v1/accounts", "GET /v1/orders/open", "GET /v1/orders/chance"),
    news="myOrder",
    private="/websocket/v1/private",
    strokes=(
        {"kind": Kind.ERROR_AFTER, "status": 504},
        {"kind": Kind.ERROR_BEFORE, "status": 429, "body": "Too many API requests."},
        {"kind": Kind.ERROR_BEFORE, "status": 401, "body": NONCE_USED},
    ),
)
DOLLARS = ("0", "500", "100000", "100000", "100000")
Side = dict[str, str]


class UpbitPort:
    """The simulated Upbit, and sessions of its one account."""

    rules = instrument(1, notional_e8_min=5_000 * E8)

    def __init__(self, lab: UpbitLab, *, is_banned: bool) -> None:
        self._lab = lab
        self._is_banned = is_banned
        self.exchange, self.faults = lab.exchange, lab.faults
        steps = [STEP * rung for rung in range(40)]
        self._shown: dict[str, tuple[Side, Side]] = {
            "KRW-BTC": ({str(BID - step): "0" for step in steps}, {str(ASK + step): "0" for step in steps}),
            "KRW-USDT": ({"1411": "0"}, {"1411.5": "0"}),
        }

    @property
    def violations(self) -> Counter[str]:
        """Count what the venue forbids, a request during a ban by the name that the storm knows."""
        found = Counter(self._lab.server.violations)
        found["requests_while_banned"] = found.pop("requests_while_blocked", 0)
        return found

    async def make(self, sink: Callable[[Sequence[Any]], None], held_until_ns: int) -> Any:
        wiring = Wiring(sink=sink, clock=now_ns, rng=random.Random(3))
        settings = venue_settings(self._lab, request_timeout_ms=2_000, backoff_ms_max=5_000)
        account = AccountContext(VenueContext(UPBIT, settings, wiring), credentials(TRADER), MARKETS, instrument)
        session = UpbitAccountSession(account, UpbitLimits())
        session.hold_requests(held_until_ns)
        return session

    def show(self, dice: random.Random, premium: float) -> None:
        bid = round(MIDDLE * (1.0 + premium)) - SPREAD // 2
        ask = bid + SPREAD
        near, far = dice.choice(PARTS), dice.choice(PARTS)
        bids = {str(bid + STEP): near, str(bid): far, str(bid - 200_000): "5"}
        self._set("KRW-BTC", bids, {str(ask - STEP): near, str(ask): far, str(ask + 200_000): "5"})
        bids, asks = {"1399": dice.choice(DOLLARS), "1395": "100000"}, {"1401": dice.choice(DOLLARS), "1405": "100000"}
        self._set("KRW-USDT", bids, asks)

    def arm(self, dice: random.Random) -> None:
        WEATHER.arm(dice, self.faults, is_banned=self._is_banned)

    def _set(self, code: str, bids: Side, asks: Side) -> None:
        """Replace a book in one change."""
        gone = self._shown[code]
        old_bids, old_asks = (dict.fromkeys(side, "0") for side in gone)
        self._shown[code] = (bids, asks)
        self._lab.book(code, old_bids | bids, old_asks | asks)


def upbit_storm(seed: int) -> Counter[str]:
    """Live through one seed; return what happened. Raises AssertionError when anything is not as it should be."""

    async def scene() -> Counter[str]:
        async with serving(UpbitLab(now_ns, BALANCES)) as lab:
            return await storm(UpbitPort(lab, is_banned=seed % 5 == 0), seed)

    return run_jumping(scene())
