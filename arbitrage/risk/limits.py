"""The configured limits as exact integers. Compares nothing; refuses a configuration whose money is not a limit."""

from __future__ import annotations

import msgspec

from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.settings import MarketDataSettings, RiskSettings, StrategySettings


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Money in 1e-8 of the reporting asset. A value equal to its limit passes; one unit over it does not."""

    reporting_asset: Asset
    fx_assets: frozenset[Asset]
    confirmed_assets: frozenset[Asset]
    """Coins that an operator confirmed to be one coin at every venue."""
    notional_per_order_e8_max: int
    notional_per_opportunity_e8_max: int
    notional_per_pair_e8_max: int
    notional_per_venue_e8_max: int
    exposure_per_asset_e8_max: int
    carried_fx_e8_max: int
    loss_today_e8_max: int
    drawdown_e8_max: int
    profit_e8_min: int
    open_plans_max: int
    orders_per_minute_max: int
    edge_ppm_min: int
    edge_ppm_max: int
    identity_ratio_ppm_max: int
    symbol_age_ms_max: int
    link_age_ms_max: int
    clock_offset_ms_max: int

    def is_questioned(self, asset: Asset) -> bool:
        """Say whether it is asked if an asset is one and the same at two venues: not of fiat, nor of what is confirmed."""
        return asset not in self.confirmed_assets and asset not in self.fx_assets and asset != self.reporting_asset


def read_limits(risk: RiskSettings, market_data: MarketDataSettings, strategy: StrategySettings) -> Limits:
    """Read the three sections the guard obeys. Raises ValueError for a money limit that is negative."""
    assert risk.open_plans_max > 0, "settings hold counts above zero"
    assert risk.orders_per_minute_max > 0, "settings hold counts above zero"
    return Limits(
        reporting_asset=Asset(strategy.reporting_asset),
        fx_assets=frozenset(Asset(name) for name in strategy.fx_assets),
        confirmed_assets=frozenset(Asset(name) for name, row in strategy.transfers.items() if row.is_identity_confirmed),
        notional_per_order_e8_max=_money("notional_per_order_max", risk.notional_per_order_max),
        notional_per_opportunity_e8_max=_money("notional_per_opportunity_max", risk.notional_per_opportunity_max),
        notional_per_pair_e8_max=_money("notional_per_pair_max", risk.notional_per_pair_max),
        notional_per_venue_e8_max=_money("notional_per_venue_max", risk.notional_per_venue_max),
        exposure_per_asset_e8_max=_money("exposure_per_asset_max", risk.exposure_per_asset_max),
        carried_fx_e8_max=_money("carried_fx_max", risk.carried_fx_max),
        loss_today_e8_max=_money("loss_today_max", risk.loss_today_max),
        drawdown_e8_max=_money("drawdown_max", risk.drawdown_max),
        profit_e8_min=parse_e8(risk.profit_min),
        open_plans_max=risk.open_plans_max,
        orders_per_minute_max=risk.orders_per_minute_max,
        edge_ppm_min=risk.edge_ppm_min,
        edge_ppm_max=risk.edge_ppm_max,
        identity_ratio_ppm_max=market_data.identity_ratio_ppm_max,
        symbol_age_ms_max=market_data.symbol_age_ms_max,
        link_age_ms_max=market_data.link_age_ms_max,
        clock_offset_ms_max=market_data.clock_offset_ms_max,
    )


def _money(name: str, text: str) -> int:
    value_e8 = parse_e8(text)
    if value_e8 < 0:
        raise ValueError(f"risk.{name} is {text}: a limit of money cannot be negative")
    return value_e8
