"""The two venues' ways, from the reference sheets (Binance sections 6 to 8, Upbit sections 7 and 8). Decides nothing."""

from __future__ import annotations

from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.nouns import FeeMode, IdRule, Policy, Rules, Status
from arbitrage.sim.scenarios.scenario import MarketSpec

BINANCE_POLICY = Policy(
    id_rule=IdRule.OPEN_ONLY,
    fee_mode=FeeMode.RECEIVED,
    ioc_rest=Status.EXPIRED,
    prevented=Status.EXPIRED_IN_MATCH,
    quote_buy_end=Status.FILLED,
    fees_ppm={"": (1_000, 1_000)},
    named_fee_asset="",
    named_fee_share_ppm=750_000,
    open_orders_max=200,
    percent_down_ppm=200_000,
    percent_up_ppm=5_000_000,
    notional_e8_max=parse_e8("9000000"),
    first_order_id=28_113_245,
    first_trade_id=56_112,
)
"""0.1 %, from what the trade yields; `msgspec.structs.replace(..., named_fee_asset="BNB")` pays in BNB while it suffices."""

UPBIT_POLICY = Policy(
    id_rule=IdRule.FOREVER,
    fee_mode=FeeMode.QUOTE,
    ioc_rest=Status.CANCELED,
    prevented=Status.CANCELED,
    quote_buy_end=Status.CANCELED,
    fees_ppm={"KRW": (500, 500), "": (2_500, 2_500)},
    market_levels_max=30,
)
"""0.05 % on won markets, 0.25 % elsewhere, always in quote."""


def make_rules(spec: MarketSpec, policy: Policy) -> Rules:
    """Return a market's rules as it opens."""
    maker_ppm, taker_ppm = policy.fees_ppm.get(spec.quote, policy.fees_ppm[""])
    return Rules(
        symbol=spec.symbol,
        base=spec.base,
        quote=spec.quote,
        ticks=spec.ticks,
        lot_e8=spec.lot_e8,
        quantity_e8_min=spec.quantity_e8_min,
        quantity_e8_max=spec.quantity_e8_max,
        notional_e8_min=spec.notional_e8_min,
        maker_ppm=maker_ppm,
        taker_ppm=taker_ppm,
    )
