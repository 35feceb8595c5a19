"""A market made entirely from a seed: five coins on both venues, KRW-USDT, and each venue's own triangle. Needs no file.

Shaped by published facts: the premium of won prices reverts to 1-2 %, most of it shared by KRW-USDT itself; what is left of a
coin's own deviation is mostly smaller than the fees, and now and then, for 0.3 to 3 seconds, larger.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator

import msgspec

from arbitrage.model.money import E8, parse_e8
from arbitrage.sim.scenarios.changes import BookChanged, Change
from arbitrage.sim.scenarios.depth import DepthShape, SyntheticDepth
from arbitrage.sim.scenarios.scenario import MarketSpec, Scenario, TransferSpec
from arbitrage.sim.scenarios.ticks import binance_market, upbit_market

SECOND_NS = 1_000_000_000
BANK_KRW_PER_USD = 1390.0
PREMIUM_MEAN, PREMIUM_DEVIATION, PREMIUM_REVERSION_S = 0.015, 0.002, 600.0
COIN_DEVIATION, COIN_REVERSION_S = 0.0005, 8.0
CYCLE_COST = 0.0023
"""Taker fees of coin, coin and KRW-USDT (0.10 + 0.05 + 0.05 %) and two transfers (0.02 + 0.01 %)."""
TRIANGLE_COST = 0.0030
_LEVEL_VALUE_USDT = 300.0


class CoinSpec(msgspec.Struct, frozen=True):
    """A coin's starting price in USDT, its volatility per square root second, and Binance's grid for it."""

    name: str
    price: float
    volatility: float
    tick: str
    lot: str


INVENTORY_VALUE = 100_000.0
"""Paper inventory of each coin at each venue, in USDT: some twenty trades one way before it runs dry."""
COINS = (
    CoinSpec("BTC", 98_000.0, 0.00008, "0.01", "0.00001"),
    CoinSpec("ETH", 3_400.0, 0.00011, "0.01", "0.0001"),
    CoinSpec("XRP", 2.2, 0.00014, "0.0001", "0.1"),
    CoinSpec("SOL", 165.0, 0.00014, "0.01", "0.001"),
    CoinSpec("DOGE", 0.21, 0.00015, "0.00001", "1"),
)


class _Market(msgspec.Struct):
    """A book that is requoted around a price, so many times a second."""

    depth: SyntheticDepth
    base: str
    rate_hz: float
    half_spread: float
    trade_share: float


class _World:
    """Prices as they move: everything a requote needs to know. One generator draws everything, in one order."""

    def __init__(self, generator: random.Random) -> None:
        self.random = generator
        self.coins = {coin.name: coin.price for coin in COINS}
        self.deviations = {coin.name: 0.0 for coin in COINS}
        self.premium = PREMIUM_MEAN + PREMIUM_DEVIATION * generator.gauss(0.0, 1.0)
        self.bursts: dict[str, float] = {}
        """By coin (or `ETHBTC`): a deviation that holds while a burst lasts."""
        self._moved_ns = 0

    def advance(self, at_ns: int) -> None:
        """Let time pass for every price."""
        seconds = (at_ns - self._moved_ns) / SECOND_NS
        if seconds <= 0.0:
            return
        self._moved_ns = at_ns
        root = math.sqrt(seconds)
        for coin in COINS:
            self.coins[coin.name] *= math.exp(coin.volatility * root * self.random.gauss(0.0, 1.0))
            own = self.deviations[coin.name]
            self.deviations[coin.name] = self._revert(own, 0.0, COIN_DEVIATION, seconds / COIN_REVERSION_S)
        self.premium = self._revert(self.premium, PREMIUM_MEAN, PREMIUM_DEVIATION, seconds / PREMIUM_REVERSION_S)

    def price(self, spec: MarketSpec) -> float:
        """Return the price that a market's book stands around."""
        won_per_usdt = BANK_KRW_PER_USD * (1.0 + self.premium)
        if spec.base == "USDT":
            return won_per_usdt
        if spec.quote == "BTC":
            own = self.bursts.get("ETHBTC", 0.0) if spec.venue == "binance" else 0.0
            return self.coins[spec.base] / self.coins["BTC"] * (1.0 + own)
        if spec.quote == "KRW":
            own = self.bursts.get(spec.base, self.deviations[spec.base])
            return self.coins[spec.base] * won_per_usdt * (1.0 + own)
        return self.coins[spec.base]

    def _revert(self, value: float, mean: float, deviation: float, elapsed: float) -> float:
        kept = math.exp(-elapsed)
        return mean + (value - mean) * kept + deviation * math.sqrt(1.0 - kept * kept) * self.random.gauss(0.0, 1.0)


def _specs() -> tuple[tuple[MarketSpec, float, float, float], ...]:
    """List (market, requotes a second, half spread, trades per requote)."""
    rows: list[tuple[MarketSpec, float, float, float]] = []
    for coin in COINS:
        spec = binance_market(f"{coin.name}/USDT", tick=coin.tick, lot=coin.lot, origin="synthetic")
        rows.append((spec, 10.0, 0.00001, 0.25))
    triangle = binance_market("ETH/BTC", tick="0.00001", lot="0.0001", notional_min="0.0001", origin="synthetic")
    rows.append((triangle, 6.0, 0.0001, 0.2))
    rows.extend((upbit_market(f"KRW-{coin.name}", origin="synthetic"), 5.0, 0.00004, 0.2) for coin in COINS)
    rows.append((upbit_market("KRW-USDT", origin="synthetic"), 4.0, 0.0001, 0.3))
    rows.append((upbit_market("BTC-ETH", origin="synthetic"), 2.0, 0.0004, 0.1))
    return tuple(rows)


class _Story:
    """The endless heap of what happens next."""

    def __init__(self, seed: int) -> None:
        self.world = _World(random.Random(seed))
        self.markets = [
            _Market(SyntheticDepth(spec, _shape(spec), self.world.random), spec.base, rate, spread, share)
            for spec, rate, spread, share in _specs()
        ]
        self._queue: list[tuple[int, int, int, bool]] = [(0, index, index, True) for index in range(len(self.markets))]
        """(time, sequence, market or -1 for a burst, whether it repeats)."""
        self._sequence = len(self._queue)
        self._push(int(self.world.random.uniform(3.0, 6.0) * SECOND_NS), -1, repeats=True)

    def play(self) -> Iterator[Change]:
        """Yield changes for ever."""
        while True:
            at_ns, _, index, repeats = heapq.heappop(self._queue)
            self.world.advance(at_ns)
            if index < 0:
                self._burst(at_ns)
                continue
            market = self.markets[index]
            if self.world.random.random() < market.trade_share:
                yield from market.depth.trade(at_ns)
            yield self._requote(at_ns, market)
            if repeats:
                gap = min(self.world.random.expovariate(market.rate_hz), 4.0 / market.rate_hz)
                self._push(at_ns + max(1_000_000, int(gap * SECOND_NS)), index, repeats=True)

    def _requote(self, at_ns: int, market: _Market) -> BookChanged:
        spec = market.depth.spec
        price = self.world.price(spec)
        bid_e8 = spec.ticks.floor(int(price * (1.0 - market.half_spread) * E8))
        ask_e8 = max(spec.ticks.ceil(int(price * (1.0 + market.half_spread) * E8)), bid_e8 + spec.ticks.tick_e8_at(bid_e8))
        return market.depth.requote(at_ns, bid_e8, ask_e8)

    def _burst(self, at_ns: int) -> None:
        """Begin or end one coin's burst; its book moves at this very moment, the other venue's does not."""
        generator = self.world.random
        if self.world.bursts:
            names = list(self.world.bursts)
            self.world.bursts.clear()
            self._push(at_ns + int(generator.uniform(3.0, 8.0) * SECOND_NS), -1, repeats=True)
        else:
            names = [generator.choice((*(coin.name for coin in COINS), "BTC", "ETH", "XRP", "SOL", "ETHBTC"))]
            self.world.bursts[names[0]] = self._amplitude(names[0])
            self._push(at_ns + int(generator.uniform(0.3, 3.0) * SECOND_NS), -1, repeats=True)
        for index, market in enumerate(self.markets):
            spec = market.depth.spec
            if (spec.venue == "upbit" and spec.quote == "KRW" and spec.base in names) or spec.symbol in names:
                self._push(at_ns, index, repeats=False)

    def _amplitude(self, name: str) -> float:
        generator = self.world.random
        edge = generator.uniform(0.0006, 0.0030) if generator.random() < 0.65 else generator.uniform(-0.0008, 0.0001)
        cost = TRIANGLE_COST if name == "ETHBTC" else CYCLE_COST
        grid = max(
            market.depth.spec.ticks.tick_e8_at(bid_e8) / bid_e8
            for market in self.markets
            if market.base == name.removesuffix("BTC") or market.base == name
            for bid_e8 in (max(market.depth.bids, default=E8 * E8),)
        )
        sign = 1.0 if generator.random() < 0.5 else -1.0
        return sign * (cost + edge + grid / 2 + 0.0003)

    def _push(self, at_ns: int, index: int, *, repeats: bool) -> None:
        heapq.heappush(self._queue, (at_ns, self._sequence, index, repeats))
        self._sequence += 1


def _shape(spec: MarketSpec) -> DepthShape:
    per_usdt = {"USDT": 1.0, "KRW": BANK_KRW_PER_USD, "BTC": 1.0 / COINS[0].price}[spec.quote]
    value = _LEVEL_VALUE_USDT * per_usdt * (8.0 if spec.base == "USDT" else 1.0)
    return DepthShape(levels=40 if spec.venue == "binance" else 35, step_ppm=150, level_value_e8=int(value * E8))


def synthetic(seed: int) -> Scenario:
    """Make the scenario that needs no file."""
    coins = {coin.name: _decimal(INVENTORY_VALUE / coin.price) for coin in COINS}
    inventory = {
        "binance": {"USDT": "500000", **coins},
        "upbit": {"KRW": "700000000", "USDT": "250000", **coins},
    }
    assert all(parse_e8(text) > 0 for assets in inventory.values() for text in assets.values()), "inventory is positive"
    return Scenario(
        name="synthetic",
        label=f"synthetic market, seed {seed}: prices, depth and KRW-USDT are all generated, nothing is recorded",
        notes=("premium reverts to 1-2 %; a coin's own edge exceeds all costs for 0.3-3 s every 10-20 s by construction",),
        meaningless=(),
        markets=tuple(spec for spec, *_ in _specs()),
        transfers={"USDT": TransferSpec(100), **{coin.name: TransferSpec(200) for coin in COINS}},
        inventory=inventory,
        changes=lambda: _Story(seed).play(),
    )


def _decimal(value: float) -> str:
    return f"{value:.4f}"
