"""Where a plan stands: which assets its fills left uneven, and which legs could mend that. Prices and chooses nothing."""

from __future__ import annotations

import msgspec

from arbitrage.execution.plans import WorkedPlan
from arbitrage.execution.quotes import Quotes, value_e8
from arbitrage.ledger import add_deltas, carried_assets, settlement_asset
from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, Asset, floor_to, notional_down_e8
from arbitrage.model.opportunities import Leg, LegChoice


class Imbalance(msgspec.Struct, frozen=True):
    """So much too much (positive) or too little of an asset over all venues; own inventory makes venues fungible."""

    asset: Asset
    excess_e8: int
    value_e8: int | None
    """At executable books, signed; None when none is usable."""


class Candidate(msgspec.Struct, frozen=True):
    """One leg's market, traded in one direction, as a way out of an imbalance."""

    choice: LegChoice
    leg_index: int
    leg: Leg
    side: Side


def imbalances(plan: WorkedPlan, quotes: Quotes, dust_value_max_e8: int) -> list[Imbalance]:
    """Return what must be mended, largest value first (unpriceable before all); dust and planned leftovers are not in it."""
    planned = planned_deltas(plan)
    kept = {settlement_asset(plan.opportunity), *carried_assets(plan.opportunity)}
    found = []
    for asset in sorted(planned.keys() - kept):
        excess_e8 = beyond(plan.deltas.get(asset, 0), planned[asset])
        if not excess_e8:
            continue
        value = value_e8(quotes, plan.opportunity.reporting_asset, asset, excess_e8)
        is_dust = (value is not None and abs(value) <= dust_value_max_e8) or not is_tradable(plan, asset, excess_e8)
        if not is_dust:
            found.append(Imbalance(asset, excess_e8, value))
    found.sort(key=lambda item: (item.value_e8 is not None, -abs(item.value_e8 or 0)))
    assert dust_value_max_e8 >= 0, "dust has a size"
    return found


def planned_deltas(plan: WorkedPlan) -> dict[Asset, int]:
    """Return what the traded legs change in each asset when they fill as sized (third-asset fees apart)."""
    deltas: dict[Asset, int] = {}
    for _, leg in plan.traded_legs():
        assert leg.spent.asset != leg.received.asset, "a market has two assets"
        add_deltas(deltas, [(leg.spent.asset, -leg.spent_e8), (leg.received.asset, leg.received_e8)])
    return deltas


def beyond(actual_e8: int, planned_e8: int) -> int:
    """Return how far an amount lies outside the range between nothing and what was planned to be left over."""
    low_e8, high_e8 = min(0, planned_e8), max(0, planned_e8)
    assert low_e8 <= 0 <= high_e8, "nothing is always within the plan"
    return actual_e8 - min(max(actual_e8, low_e8), high_e8)


def candidates(plan: WorkedPlan, asset: Asset, excess_e8: int) -> list[Candidate]:
    """Return every leg that can mend an imbalance: more of the leg that fell short, or the other leg undone."""
    assert excess_e8, "an even asset needs nothing"
    found = []
    for index, leg in plan.traded_legs():
        if asset not in (leg.spent.asset, leg.received.asset):
            continue
        is_more_wanted = (leg.spent.asset == asset) == (excess_e8 > 0)
        choice = LegChoice.COMPLETE if is_more_wanted else LegChoice.REVERSE
        found.append(Candidate(choice, index, leg, leg.side if is_more_wanted else leg.side.opposite))
    return found


def is_tradable(plan: WorkedPlan, asset: Asset, excess_e8: int) -> bool:
    """Return whether any of the plan's markets takes an order as small as this, at the price the plan expected."""
    for candidate in candidates(plan, asset, excess_e8):
        instrument, price_e8 = plan.instrument(candidate.leg.market), candidate.leg.price_limit_e8
        assert price_e8 > 0, "a leg has a price"
        base_e8 = abs(excess_e8) if asset == instrument.base else abs(excess_e8) * E8 // price_e8
        quantity_e8 = floor_to(base_e8, instrument.lot_e8)
        is_enough = notional_down_e8(price_e8, quantity_e8) >= instrument.notional_e8_min
        if quantity_e8 >= max(instrument.quantity_e8_min, instrument.lot_e8) and is_enough:
            return True
    return False
