"""Where the profit of a plan went, from expected to realised, step by step. Changes nothing, and leaves no rest unnamed.

Prices and fees are those of the planned legs, for as much as they filled, valued at the books of the closing; what the market
of fiat did is told apart, carried fiat (planned, not traded) included. What cannot be valued, and all that the governor did, is
in the last step, so that the whole sums to the last unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from arbitrage.execution.plans import WorkedOrder, WorkedPlan
from arbitrage.execution.quotes import Quotes, value_e8
from arbitrage.ledger import add_deltas
from arbitrage.model.instruments import Side
from arbitrage.model.money import Asset, div_down
from arbitrage.model.opportunities import Leg, Waterfall
from arbitrage.model.waterfalls import fx_legs


def waterfall_of(plan: WorkedPlan, realised_e8: int, quotes: Quotes) -> Waterfall:
    """Take a plan's profit apart as it closes."""
    opportunity, reporting = plan.opportunity, plan.opportunity.reporting_asset
    of_fiat = fx_legs(opportunity)
    prices: dict[Asset, int] = {}
    rates: dict[Asset, int] = {}
    fees: dict[Asset, int] = {}
    planned = plan.orders[: len(plan.orders) - plan.attempts]
    assert len(planned) == len(plan.traded_legs()), "every planned leg became one order"
    for worked, (_, leg) in zip(planned, plan.traded_legs(), strict=True):
        add_deltas(rates if leg in of_fiat else prices, [_price_gain(worked, leg)])
        add_deltas(fees, [(leg.fee_asset, _part(leg.fee_e8, worked)), *((asset, -paid) for asset, paid in worked.fees.items())])
    prices_e8, rates_e8, fees_e8 = (_worth_e8(gains, reporting, quotes) for gains in (prices, rates, fees))
    fx_e8 = rates_e8 + sum(_carried_gain_e8(leg, planned, reporting, quotes) for leg in of_fiat if leg.is_carried)
    transfers_e8 = opportunity.breakdown.transfers_e8
    return Waterfall(
        expected_e8=opportunity.net_e8,
        transfers_e8=transfers_e8,
        prices_e8=prices_e8,
        fees_e8=fees_e8,
        legs_e8=realised_e8 - opportunity.net_e8 - transfers_e8 - prices_e8 - fx_e8 - fees_e8,
        realised_e8=realised_e8,
        fx_e8=fx_e8,
    )


def _carried_gain_e8(leg: Leg, planned: Sequence[WorkedOrder], reporting: Asset, quotes: Quotes) -> int:
    """Return by how much fiat that was kept is worth more now than planned, for the share of the cycle that filled whole.

    That share is the least of all planned orders. Fiat that no usable book values tells nothing: 0.
    """
    least = min(planned, key=lambda worked: Fraction(worked.filled_quantity_e8, worked.order.quantity_e8))
    kept = value_e8(quotes, reporting, leg.spent.asset, _part(leg.spent_e8, least))
    owed = value_e8(quotes, reporting, leg.received.asset, -_part(leg.received_e8, least))
    assert leg.is_carried, "what was traded has its own fills"
    return 0 if kept is None or owed is None else kept + owed


def _price_gain(worked: WorkedOrder, leg: Leg) -> tuple[Asset, int]:
    """Return the quote asset and how much more of it was kept (or less was paid) than planned, for what filled."""
    is_buy = leg.side is Side.BUY
    quote, total_e8 = (leg.spent.asset, leg.spent_e8) if is_buy else (leg.received.asset, leg.received_e8)
    fee_e8 = leg.fee_e8 if leg.fee_asset == quote else 0
    planned_e8 = _part(total_e8 - fee_e8 if is_buy else total_e8 + fee_e8, worked)
    assert planned_e8 >= 0, "a leg moves quote"
    return quote, planned_e8 - worked.quote_e8 if is_buy else worked.quote_e8 - planned_e8


def _part(amount_e8: int, worked: WorkedOrder) -> int:
    """Return the share of a leg's amount that belongs to what filled."""
    assert worked.order.quantity_e8 > 0, "an order is of something"
    return div_down(amount_e8 * worked.filled_quantity_e8, worked.order.quantity_e8)


def _worth_e8(gains: dict[Asset, int], reporting_asset: Asset, quotes: Quotes) -> int:
    values = [value_e8(quotes, reporting_asset, asset, gain_e8) for asset, gain_e8 in sorted(gains.items())]
    assert len(values) == len(gains), "every asset is looked at"
    return sum(value or 0 for value in values)
