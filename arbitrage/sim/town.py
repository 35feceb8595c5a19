"""The market of a simulated world: coins that two venues trade, a won rate, and premiums where the weather says so. One seed.

Books are small and move seldom, so that a life of half a minute costs little; every requote goes through the venue's own
streams. Draws no fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from arbitrage.model.money import E8, PPM, floor_to
from arbitrage.sim.scenarios.changes import BookChanged, Change
from arbitrage.sim.scenarios.depth import DepthShape, SyntheticDepth
from arbitrage.sim.scenarios.scenario import MarketSpec, Scenario
from arbitrage.sim.scenarios.still import price_of, still
from arbitrage.sim.world import World

COINS = ("BTC", "ETH", "XRP", "SOL", "DOGE", "ADA", "TRX", "LINK", "DOT", "AVAX")
RATE = ("upbit", "KRW-USDT")
MS_NS = 1_000_000
WINDOW_NS = 100 * MS_NS
LEVELS = 5
HALF_SPREAD_PPM = 60
DRIFT_PPM = 60
"""How far a price goes from one requote to the next, at most."""
DEEP_VALUE = 2_500
"""In USDT: what stands at a level."""
TRADE_SHARE = 0.15


class Stage(msgspec.Struct, frozen=True):
    """Where changes go: each venue's `apply`, and `flush` of the one that has windows."""

    apply: Mapping[str, Callable[[Change], None]]
    flush: Callable[[int], None]


def town_scenario(coins: int, *, value: float, has_bnb: bool) -> Scenario:
    """Return the markets of so many coins, with inventory of each asset worth `value` USDT at either venue."""
    names = [symbol for coin in COINS[:coins] for symbol in (f"{coin}USDT", f"KRW-{coin}")]
    scenario = still(",".join([*names, *(["BNBUSDT"] if has_bnb else []), RATE[1]]))
    inventory = {
        venue: {asset: f"{value * (4 if asset in ('USDT', 'KRW') else 1) / price_of(asset):.4f}" for asset in assets}
        for venue, assets in scenario.inventory.items()
    }
    return msgspec.structs.replace(scenario, inventory=inventory)


class Town:
    """Every book, as other people make it."""

    def __init__(self, world: World, scenario: Scenario, stage: Stage, requote_ms: int) -> None:
        self.is_calm = False
        """Nothing but the books' own small movements: no premium is offered any more."""
        self._world = world
        self._stage = stage
        self._dice = world.dice("town")
        self._requote_ns = requote_ms * MS_NS
        self._drift: dict[str, float] = {}
        """By asset: its price over its first one."""
        self._premium_ppm: dict[str, int] = {}
        """By coin: how much dearer it is at Upbit."""
        self._depths = {spec.key: SyntheticDepth(spec, _shape(spec), self._dice) for spec in scenario.markets}
        for index, (key, depth) in enumerate(self._depths.items()):
            self._requote(depth)
            world.at(world.now_ns + index * self._requote_ns // len(self._depths), partial(self._turn, key))
        world.at(world.now_ns + WINDOW_NS, partial(self._window, 1))

    def offer(self, coin: str, ppm: int) -> None:
        """Let a coin be dearer (negative: cheaper) at Upbit from now on; its books follow at once."""
        self._premium_ppm[coin] = 0 if self.is_calm else ppm
        for key, depth in self._depths.items():
            if depth.spec.base == coin and key[0] == "upbit":
                self._requote(depth)

    def thin(self, venue: str, part_ppm: int) -> None:
        """Let other people take most of what a venue's books show; the next requotes fill them again."""
        for depth in self._depths.values():
            if depth.spec.venue != venue:
                continue
            sides = []
            for levels in (depth.bids, depth.asks):
                left = {price: floor_to(quantity * part_ppm // PPM, depth.spec.lot_e8) for price, quantity in levels.items()}
                sides.append(tuple(left.items()))
                levels.clear()
                levels.update({price: quantity for price, quantity in left.items() if quantity})
            self._apply(BookChanged(self._world.now_ns, depth.spec.venue, depth.spec.symbol, sides[0], sides[1]))

    def price(self, asset: str) -> float:
        """Return what an asset is worth in USDT now."""
        return price_of(asset) * self._drift.get(asset, 1.0)

    def _turn(self, key: tuple[str, str]) -> None:
        depth, dice = self._depths[key], self._dice
        if depth.spec.venue == "binance" or key == RATE:
            asset = "KRW" if key == RATE else depth.spec.base
            self._drift[asset] = self._drift.get(asset, 1.0) * (1.0 + dice.uniform(-DRIFT_PPM, DRIFT_PPM) / PPM)
        if dice.random() < TRADE_SHARE:
            for change in depth.trade(self._world.now_ns):
                self._apply(change)
        self._requote(depth)
        self._world.at(self._world.now_ns + int(self._requote_ns * dice.uniform(0.7, 1.3)), partial(self._turn, key))

    def _requote(self, depth: SyntheticDepth) -> None:
        spec = depth.spec
        price = self.price(spec.base) / self.price(spec.quote)
        if spec.venue == "upbit":
            price *= 1.0 + self._premium_ppm.get(spec.base, 0) / PPM
        bid_e8 = spec.ticks.floor(int(price * (1.0 - HALF_SPREAD_PPM / PPM) * E8))
        ask_e8 = max(spec.ticks.ceil(int(price * (1.0 + HALF_SPREAD_PPM / PPM) * E8)), bid_e8 + spec.ticks.tick_e8_at(bid_e8))
        self._apply(depth.requote(self._world.now_ns, bid_e8, ask_e8))

    def _apply(self, change: BookChanged | Change) -> None:
        self._stage.apply[change.venue](change)

    def _window(self, index: int) -> None:
        self._stage.flush(index)
        self._world.at(self._world.now_ns + WINDOW_NS, partial(self._window, index + 1))


def _shape(spec: MarketSpec) -> DepthShape:
    return DepthShape(LEVELS, 200, int(DEEP_VALUE / price_of(spec.quote) * E8), refreshed=1)
