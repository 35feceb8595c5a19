"""Markets of named symbols that stand still until somebody moves them by the control port. Made-up prices, no chance in them.

Named `still:SYMBOL,SYMBOL`: a symbol with a dash is Upbit's, any other Binance's. For drills, which need to know every price.
One far ask of each book changes all the time, so that nothing looks frozen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from arbitrage.model.money import E8, ceil_to, floor_to, parse_e8
from arbitrage.sim.scenarios.changes import BookChanged, Change, LevelE8
from arbitrage.sim.scenarios.scenario import MarketSpec, Scenario, TransferSpec
from arbitrage.sim.scenarios.synthetic import COINS
from arbitrage.sim.scenarios.ticks import binance_market, upbit_market

PREFIX = "still:"
VENUES = ("binance", "upbit")
PRICE_OF_OTHERS = 10.0
PRICES = {
    **{coin.name: coin.price for coin in COINS}, "KRW": 1 / 1410.0, "BNB": 640.0, "EUR": 1.1, "TRY": 0.025,
    **dict.fromkeys(("USDT", "USDC", "FDUSD", "TUSD"), 1.0),
}  # fmt: skip
"""In USDT; every other asset is worth `PRICE_OF_OTHERS`."""
QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
"""Binance's quote assets, by which a symbol is taken apart."""
LEVELS, STEP_PPM = 8, 200
TOP_VALUE, LEVEL_VALUE, HELD_VALUE = 40_000.0, 10_000.0, 2_000_000.0
"""In USDT: what stands at the best price, at each other, and what the accounts hold of each asset."""
TICK_PPM, LOT_VALUE = 5, 0.5
FAR_PERCENT = 150
SIGN_NS = 400_000_000
"""How often a book gives a sign of life."""


def price_of(asset: str) -> float:
    """Return what an asset is worth in USDT here."""
    return PRICES.get(asset, PRICE_OF_OTHERS)


def still(symbols: str) -> Scenario:
    """Make the scenario of comma-separated symbols. Raises LookupError for one that cannot be taken apart."""
    specs = tuple(_spec(symbol) for symbol in symbols.split(","))
    listed = {venue: {asset for spec in specs if spec.venue == venue for asset in (spec.base, spec.quote)} for venue in VENUES}
    return Scenario(
        name=PREFIX + symbols,
        label="markets that stand still: every price is made up, and moves only when it is told to",
        notes=(),
        meaningless=(),
        markets=specs,
        transfers={asset: TransferSpec(100) for asset in sorted(listed["binance"] & listed["upbit"])},
        inventory={venue: _held(assets) for venue, assets in listed.items()},
        changes=functools.partial(_play, specs),
    )


def book_of(spec: MarketSpec) -> tuple[tuple[LevelE8, ...], tuple[LevelE8, ...]]:
    """Return bids and asks as they stand, best first."""
    middle_e8 = round(price_of(spec.base) / price_of(spec.quote) * E8)
    bid_e8 = spec.ticks.floor(middle_e8)
    step_e8 = max(spec.ticks.tick_e8_at(bid_e8), floor_to(bid_e8 * STEP_PPM // 1_000_000, spec.ticks.tick_e8_at(bid_e8)))
    bids = [spec.ticks.floor(bid_e8 - rung * step_e8) for rung in range(LEVELS)]
    asks = [spec.ticks.ceil(bid_e8 + spec.ticks.tick_e8_at(bid_e8) + rung * step_e8) for rung in range(LEVELS)]
    return _levels(spec, bids), _levels(spec, asks)


def quantity_of(spec: MarketSpec, value: float) -> int:
    """Return the quantity of a market's base asset that is worth `value` USDT, on the lot grid."""
    return ceil_to(round(value / price_of(spec.base) * E8), spec.lot_e8)


def _levels(spec: MarketSpec, prices_e8: list[int]) -> tuple[LevelE8, ...]:
    return tuple(
        (price_e8, quantity_of(spec, LEVEL_VALUE if rung else TOP_VALUE)) for rung, price_e8 in enumerate(prices_e8)
    )  # fmt: skip


def _held(assets: set[str]) -> dict[str, str]:
    return {asset: f"{HELD_VALUE / price_of(asset):.8f}" for asset in sorted(assets)}


def _play(specs: tuple[MarketSpec, ...]) -> Iterator[Change]:
    """Show every book, and from then on a little more or less of an ask that is too far away to matter or to be crossed."""
    for spec in specs:
        bids, asks = book_of(spec)
        yield BookChanged(0, spec.venue, spec.symbol, bids, asks)
    turn = 0
    while True:
        turn += 1
        for index, spec in enumerate(specs):
            best_e8, quantity_e8 = book_of(spec)[1][0]
            price_e8 = spec.ticks.ceil(best_e8 * FAR_PERCENT // 100)
            at_ns = turn * SIGN_NS + index * SIGN_NS // len(specs)
            yield BookChanged(at_ns, spec.venue, spec.symbol, (), ((price_e8, quantity_e8 + turn % 2 * spec.lot_e8),))


def _spec(symbol: str) -> MarketSpec:
    if "-" in symbol:
        try:
            return upbit_market(symbol, origin="synthetic")
        except KeyError:
            raise LookupError(f"no rules are known for the Upbit market {symbol}") from None
    quote = next((quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote), "")
    if not quote:
        raise LookupError(f"the Binance symbol {symbol} cannot be taken apart: it ends in none of {', '.join(QUOTES)}")
    base = symbol.removesuffix(quote)
    price = price_of(base) / price_of(quote)
    tick, lot = _decade(price * TICK_PPM / 1_000_000), _decade(LOT_VALUE / price_of(base))
    minimum = f"{5 / price_of(quote):.8f}"
    assert parse_e8(minimum) > 0, "an order has a minimum"
    return binance_market(f"{base}/{quote}", tick=tick, lot=lot, notional_min=minimum, origin="synthetic")


def _decade(value: float) -> str:
    """Return the power of ten at or below a value, as decimal text; never below a unit of 1e-8."""
    decade_e8 = 1
    while decade_e8 * 10 <= value * E8:
        decade_e8 *= 10
    return f"{decade_e8 / E8:.8f}"
