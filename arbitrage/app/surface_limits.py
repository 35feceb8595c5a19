"""What is used of every limit of the guard now, for screens. Judges nothing: the guard does, by its own arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from arbitrage.engine.engine import Engine
from arbitrage.model.money import format_e8
from arbitrage.model.settings import RiskSettings
from arbitrage.risk.arithmetic import pairs, venue_values_e8
from arbitrage.risk.limits import Limits, read_limits
from arbitrage.risk.windows import Windows
from arbitrage.web.ports import LimitUse

Row = tuple[str, str, int | None, int]
"""Name, subject, what is used, the limit; in 1e-8 of the reporting asset, or counted."""


def limits_in_use(engine: Engine, risk: RiskSettings, now_ns: int) -> tuple[LimitUse, ...]:
    """List every limit that something can be used of, one line for each pair, venue and asset that has a use."""
    settings = engine.settings
    limits = read_limits(risk, settings.market_data, settings.strategy)
    money = [*_money_rows(engine, limits, now_ns), *_plan_rows(engine, limits)]
    windows = Windows(engine.guard.memory)
    counts: list[Row] = [
        ("open_plans_max", "", len(engine.desk.open_plans()), limits.open_plans_max),
        ("orders_per_minute_max", "", windows.orders_last_minute(now_ns), limits.orders_per_minute_max),
    ]
    asset = limits.reporting_asset
    return tuple(
        LimitUse(name, subject, format_e8(used) if used is not None else None, format_e8(limit), asset, _ppm(used, limit))
        for name, subject, used, limit in money
    ) + tuple(LimitUse(name, subject, str(used), str(limit), "", _ppm(used, limit)) for name, subject, used, limit in counts)


def _money_rows(engine: Engine, limits: Limits, now_ns: int) -> Iterator[Row]:
    windows = Windows(engine.guard.memory)
    yield "loss_today_max", "", windows.loss_today_e8(now_ns), limits.loss_today_e8_max
    yield "drawdown_max", "", windows.drawdown_e8(), limits.drawdown_e8_max
    is_known = engine.quotes.now_ns > 0
    for asset, amount_e8 in sorted(engine.ledger.exposure_e8().items()):
        value_e8 = engine.quotes.value_in_reporting(asset, amount_e8) if is_known or not amount_e8 else None
        yield "exposure_per_asset_max", asset, _size(value_e8), limits.exposure_per_asset_e8_max
    for asset, amount_e8 in sorted(engine.ledger.carried_e8().items()):
        value_e8 = engine.quotes.value_in_reporting(asset, amount_e8) if is_known or not amount_e8 else None
        yield "carried_fx_max", asset, _size(value_e8), limits.carried_fx_e8_max


def _plan_rows(engine: Engine, limits: Limits) -> Iterator[Row]:
    by_pair: Counter[str] = Counter()
    by_venue: Counter[str] = Counter()
    largest_e8 = 0
    for plan in engine.desk.open_plans():
        opportunity = plan.opportunity
        largest_e8 = max(largest_e8, opportunity.notional_e8)
        by_pair.update(dict.fromkeys(pairs(opportunity, limits.fx_assets), opportunity.notional_e8))
        by_venue.update(venue_values_e8(opportunity))
    yield "notional_per_opportunity_max", "", largest_e8, limits.notional_per_opportunity_e8_max
    for asset in sorted(by_pair):
        yield "notional_per_pair_max", asset, by_pair[asset], limits.notional_per_pair_e8_max
    for venue in dict.fromkeys(venue for venue, _ in engine.markets):
        yield "notional_per_venue_max", venue, by_venue[venue], limits.notional_per_venue_e8_max


def _size(value_e8: int | None) -> int | None:
    return abs(value_e8) if value_e8 is not None else None


def _ppm(used: int | None, limit: int) -> int | None:
    """Return the share that is used; None where it is not known, or where nothing is allowed at all."""
    return used * 1_000_000 // limit if used is not None and limit else None
