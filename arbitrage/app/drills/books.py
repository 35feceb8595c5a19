"""The simulated books as a drill moves them: an arbitrage that pays, once, within the operator's own limits; and calm again.

Refuses a configuration in which nothing can be traded at the simulated exchanges, with what is missing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.app.child import VenueServers
from arbitrage.app.drills.words import Unfit
from arbitrage.model.money import E8, PPM, format_e8, parse_e8
from arbitrage.model.settings import Settings
from arbitrage.ops.consistency import cheapest_cycle
from arbitrage.sim.scenarios.changes import LevelE8
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.scenarios.still import PREFIX, book_of, price_of, quantity_of, still

VENUES = ("binance", "upbit")
SIZE_MAX = 2_000.0
"""At most so many USDT are offered to the daemon at once, whatever its limits allow."""
EDGE_PPM, TICKS_PPM = 4_000, 1_500
"""What is offered beyond the least that the configuration takes, and for the grids' rounding on the way."""


class Pair(msgspec.Struct, frozen=True):
    """What the drills trade: one coin bought at Binance and sold at Upbit, by the configuration's cheapest cycle."""

    coin: str
    binance: str
    upbit: str
    fx: tuple[str, str] | None
    """The market (venue, symbol) that turns the proceeds back, where the quotes differ."""
    costs_ppm: int


def pair_of(settings: Settings) -> Pair:
    """Choose what is traded. Raises Unfit."""
    kinds = {name: section.kind for name, section in settings.venues.items()}
    if kinds != {name: name for name in VENUES}:
        raise Unfit(f"the drills know venues named {' and '.join(VENUES)}, each of that kind; configured are {kinds}")
    cheapest = cheapest_cycle(settings)
    if cheapest is None:
        raise Unfit("no coin is traded at both venues with a confirmed identity and a way back (strategy.transfers)")
    (first, second), rest = cheapest.markets[:2], cheapest.markets[2:]
    symbols = dict(market.split(":", 1) for market in (first, second))
    fx = tuple(rest[0].split(":", 1)) if rest else None
    coin = symbols["upbit"].partition("-")[2]
    return Pair(coin, symbols["binance"], symbols["upbit"], None if fx is None else (fx[0], fx[1]), cheapest.fees_ppm)


def scenario_of(settings: Settings) -> str:
    """Name the scenario that serves exactly the configured markets. Raises Unfit."""
    symbols = ",".join(symbol for name in VENUES for symbol in settings.venues[name].symbols)
    try:
        still(symbols)
    except LookupError as unknown:
        raise Unfit(f"the simulated exchanges cannot serve these markets: {unknown.args[0]}") from None
    return PREFIX + symbols


class Books:
    """The books of the simulated exchanges, moved by the control port."""

    def __init__(self, servers: VenueServers, settings: Settings) -> None:
        self.pair = pair_of(settings)
        self._servers = servers
        self._risk = settings.risk
        self._reporting = settings.strategy.reporting_asset
        symbols = ",".join(symbol for name in VENUES for symbol in settings.venues[name].symbols)
        self._specs: dict[tuple[str, str], MarketSpec] = {spec.key: spec for spec in still(symbols).markets}
        self._touched: dict[tuple[str, str], tuple[set[int], set[int]]] = {}
        """Prices of bids and asks that were moved, by market."""
        self._offered_e8 = 0

    def spec(self, venue: str, symbol: str) -> MarketSpec:
        """Return the rules of a market at the simulated exchange."""
        return self._specs[(venue, symbol)]

    @property
    def minimums_e8(self) -> list[int]:
        """What the smallest orders in the coin are worth at the two venues, in the reporting asset."""
        specs = [self.spec("binance", self.pair.binance), self.spec("upbit", self.pair.upbit)]
        return [value_e8(spec.quote, spec.notional_e8_min, self._reporting) for spec in specs]

    @property
    def size_usdt(self) -> float:
        """What one offered arbitrage is worth: half of what the configuration lets one order, opportunity and asset be."""
        limits = (self._risk.notional_per_order_max, self._risk.notional_per_opportunity_max, self._risk.exposure_per_asset_max)
        return min(SIZE_MAX, *(parse_e8(limit) / E8 / 2 for limit in limits))

    @property
    def gain_ppm(self) -> int:
        """By how much Upbit's price must stand above Binance's so that the configuration takes it."""
        lowest_ppm, highest_ppm = self._risk.edge_ppm_min, self._risk.edge_ppm_max
        return self.pair.costs_ppm + min(lowest_ppm + EDGE_PPM, (lowest_ppm + highest_ppm) // 2) + TICKS_PPM

    async def offer(self) -> None:
        """Let somebody bid at Upbit for one order's worth of the coin, at a price that pays all costs and the edge demanded."""
        spec = self.spec("upbit", self.pair.upbit)
        bids, asks = book_of(spec)
        bid_e8 = self._offered_e8 = spec.ticks.ceil(bids[0][0] * (PPM + self.gain_ppm) // PPM)
        step_e8 = asks[1][0] - asks[0][0]
        above = {spec.ticks.ceil(bid_e8 + (rung + 1) * step_e8): asks[0][1] for rung in range(len(asks))}
        gone = dict.fromkeys((price_e8 for price_e8, _ in asks), 0)
        await self.move("upbit", spec.symbol, bids={bid_e8: quantity_of(spec, self.size_usdt)}, asks=gone | above)

    async def shift(self, venue: str, symbol: str, ppm: int) -> None:
        """Move a whole book by so much, up or down."""
        spec = self.spec(venue, symbol)
        bids, asks = book_of(spec)
        await self.move(venue, symbol, bids=_shifted(bids, ppm, spec.ticks.floor), asks=_shifted(asks, ppm, spec.ticks.ceil))

    async def lift_asks(self, venue: str, symbol: str, ppm: int) -> int:
        """Let everybody ask for so much more, while the bids stay; return the best ask then."""
        spec = self.spec(venue, symbol)
        asks = _shifted(book_of(spec)[1], ppm, spec.ticks.ceil)
        await self.move(venue, symbol, bids={}, asks=asks)
        return min(price_e8 for price_e8, quantity_e8 in asks.items() if quantity_e8)

    async def empty(self, venue: str, symbol: str) -> None:
        """Take every level away."""
        bids, asks = (dict.fromkeys((price_e8 for price_e8, _ in side), 0) for side in book_of(self.spec(venue, symbol)))
        await self.move(venue, symbol, bids=bids, asks=asks)

    async def thin(self, quantity_e8: int) -> None:
        """Leave so much of the offered bid, and no other."""
        gone = dict.fromkeys((price_e8 for price_e8, _ in book_of(self.spec("upbit", self.pair.upbit))[0]), 0)
        await self.move("upbit", self.pair.upbit, bids=gone | {self._offered_e8: quantity_e8}, asks={})

    async def calm(self) -> None:
        """Put every book back to where it stood at first: nothing pays any more, nor on the way there."""
        for (venue, symbol), touched in tuple(self._touched.items()):
            bids, asks = (dict.fromkeys(sorted(prices), 0) for prices in touched)
            await self.move(venue, symbol, bids=bids, asks=asks)
        for (venue, symbol), spec in self._specs.items():
            bids, asks = (dict(side) for side in book_of(spec))
            await self.move(venue, symbol, bids=bids, asks=asks)
        self._touched.clear()

    async def move(self, venue: str, symbol: str, *, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Give levels of one book new quantities, by price."""
        touched = self._touched.setdefault((venue, symbol), (set(), set()))
        touched[0].update(bids)
        touched[1].update(asks)
        rows = {
            name: [(format_e8(price_e8), format_e8(quantity_e8)) for price_e8, quantity_e8 in side.items()]
            for name, side in (("bids", bids), ("asks", asks))
        }
        await self._servers.control("POST", "/market", {"venue": venue, "symbol": symbol, **rows})


def _shifted(side: tuple[LevelE8, ...], ppm: int, rounded: Callable[[int], int]) -> dict[int, int]:
    moved = {rounded(price_e8 * (PPM + ppm) // PPM): quantity_e8 for price_e8, quantity_e8 in side}
    return dict.fromkeys((price_e8 for price_e8, _ in side), 0) | moved


def value_e8(asset: str, amount_e8: int, reporting: str) -> int:
    """Return what an amount is worth in the reporting asset at the books' own prices, to show and to compare with a limit."""
    return round(amount_e8 * (price_of(asset) / price_of(reporting)))
