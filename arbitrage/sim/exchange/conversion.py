"""Values one asset in another at a venue's own books, for fees paid in a named asset. Trades nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arbitrage.model.money import E8, div_up
from arbitrage.sim.exchange.market import Market


def convert_e8(markets: Mapping[str, Market], source: str, amount_e8: int, target: str) -> int | None:
    """Value an amount, rounded up, through one market or two; None when none join the assets or they have no price."""
    direct_e8 = _step_e8(markets.values(), source, amount_e8, target)
    if direct_e8 is not None:
        return direct_e8
    for between in dict.fromkeys(market.rules.quote for market in markets.values()):
        between_e8 = _step_e8(markets.values(), source, amount_e8, between)
        if between_e8 is not None:
            final_e8 = _step_e8(markets.values(), between, between_e8, target)
            if final_e8 is not None:
                return final_e8
    return None


def _step_e8(markets: Iterable[Market], source: str, amount_e8: int, target: str) -> int | None:
    for market in markets:
        assets = (market.rules.base, market.rules.quote)
        price_e8 = market.reference_e8() if assets in ((source, target), (target, source)) else 0
        if price_e8:
            return div_up(amount_e8 * price_e8, E8) if assets[0] == source else div_up(amount_e8 * E8, price_e8)
    return None
