"""The leg governor: prices completing, reversing and holding, and picks the cheapest that is allowed. Sends nothing itself."""

from __future__ import annotations

import msgspec

from arbitrage.execution.balance import Candidate, Imbalance, candidates
from arbitrage.execution.plans import WorkedPlan
from arbitrage.execution.quotes import Quotes, value_e8
from arbitrage.execution.walk import exact_levels, expected_deltas, quantity_for, walk
from arbitrage.ledger import worst_case
from arbitrage.model.instruments import Instrument, Side
from arbitrage.model.money import PPM, Asset, div_down, div_up, notional_down_e8
from arbitrage.model.opportunities import LegChoice, PricedChoice
from arbitrage.model.orders import ClientOrderId, Order, TimeInForce
from arbitrage.model.settings import ExecutionSettings


class Case(msgspec.Struct, frozen=True):
    """One imbalance of one plan, with what may be known and what forbids an order at all."""

    plan: WorkedPlan
    imbalance: Imbalance
    quotes: Quotes
    settings: ExecutionSettings
    forbidden: str
    """Why no order may be sent now; empty when one may."""

    @property
    def reporting_asset(self) -> Asset:
        return self.plan.opportunity.reporting_asset


def price_choices(case: Case) -> tuple[PricedChoice, ...]:
    """Price complete, reverse and hold, in that order: the best way of each kind, or why there is none."""
    ways = candidates(case.plan, case.imbalance.asset, case.imbalance.excess_e8)
    priced = [_price(case, way) for way in ways]
    choices = [_best_of(priced, choice) for choice in (LegChoice.COMPLETE, LegChoice.REVERSE)]
    choices.append(_price_hold(case))
    assert len(choices) == len(LegChoice), "every choice has its price or its reason"
    return tuple(choices)


def choose(choices: tuple[PricedChoice, ...]) -> PricedChoice:
    """Return the cheapest allowed choice; holding is what is left when nothing can be priced."""
    hold = choices[-1]
    assert hold.choice is LegChoice.HOLD, "holding comes last and is always possible"
    allowed = [choice for choice in choices if choice.cost_e8 is not None]
    return min(allowed, key=lambda choice: choice.cost_e8 or 0) if allowed else hold


def _best_of(priced: list[PricedChoice], choice: LegChoice) -> PricedChoice:
    own = [item for item in priced if item.choice is choice]
    allowed = [item for item in own if item.cost_e8 is not None]
    assert all(item.order is not None for item in allowed), "what is allowed can be sent"
    if allowed:
        return min(allowed, key=lambda item: item.cost_e8 or 0)
    return own[0] if own else PricedChoice(choice, None, "no leg of the plan does that", None)


def _price_hold(case: Case) -> PricedChoice:
    value = case.imbalance.value_e8
    if value is None:
        return PricedChoice(LegChoice.HOLD, None, f"no usable book values {case.imbalance.asset}", None)
    cost_e8 = hold_cost_e8(value, case.settings)
    assert cost_e8 >= 0, "waiting is never paid for"
    return PricedChoice(LegChoice.HOLD, cost_e8, "", None)


def hold_cost_e8(value_e8: int, settings: ExecutionSettings) -> int:
    """Return what holding so much value for the plan's horizon costs, rounded up."""
    assert settings.hold_cost_ppm >= 0, "waiting has a price"
    return div_up(abs(value_e8) * settings.hold_cost_ppm, PPM)


def _price(case: Case, way: Candidate) -> PricedChoice:
    order_or_reason = _find_order(case, way)
    if isinstance(order_or_reason, str):
        return PricedChoice(way.choice, None, order_or_reason, None)
    order, deltas = order_or_reason
    cost_e8 = _cost_e8(case, deltas)
    if cost_e8 is None:
        return PricedChoice(way.choice, None, "no usable book values what it would leave", None)
    assert order.plan_id == case.plan.plan_id, "an order mends its own plan"
    return PricedChoice(way.choice, cost_e8, "", order)


def _find_order(case: Case, way: Candidate) -> tuple[Order, dict[Asset, int]] | str:
    """Return the order of one way out and what it would change, or why there is none."""
    doubt = case.quotes.doubt(way.leg.market)
    if case.forbidden:
        return case.forbidden
    if doubt is not None:
        return f"doubtful market: {doubt.value}"
    instrument = case.plan.instrument(way.leg.market)
    limit_e8 = worst_price_e8(instrument, way, case.settings.governor_slippage_ppm_max)
    levels = exact_levels(case.quotes.levels(way.leg.market, way.side), instrument, way.side, limit_e8)
    amount_e8 = abs(case.imbalance.excess_e8)
    quantity_e8 = quantity_for(levels, instrument, way.side, asset=case.imbalance.asset, amount_e8=amount_e8)
    if quantity_e8 < max(instrument.quantity_e8_min, instrument.lot_e8):
        return "less than the venue's minimum quantity within the price limit"
    walked = walk(levels, way.side, quantity_e8)
    if notional_down_e8(walked.worst_price_e8, quantity_e8) < instrument.notional_e8_min:
        return "less than the venue's minimum notional"
    # The limit is the worst price allowed, not the worst one shown: a naked leg costs more than a few ticks, a venue
    # fills at its best prices anyway, and what the book shows may already be gone.
    order = _order(case.plan, way, limit_e8, quantity_e8)
    node, needed_e8 = worst_case(order, instrument)
    if needed_e8 > case.quotes.free_e8(node):
        return f"not enough free {node}"
    assert walked.quote_e8 > 0, "a trade above the minimum moves quote"
    return order, expected_deltas(walked, instrument, way.side)


def worst_price_e8(instrument: Instrument, way: Candidate, slippage_ppm: int) -> int:
    """Return the worst price the governor may pay on a leg: the plan's own limit, worse by the slippage, on the tick grid."""
    planned_e8 = way.leg.price_limit_e8
    if way.side is Side.BUY:
        return instrument.ticks.floor(div_down(planned_e8 * (PPM + slippage_ppm), PPM))
    lowest_e8 = instrument.ticks.ceil(div_up(planned_e8 * (PPM - slippage_ppm), PPM))
    assert lowest_e8 >= 0, "a price is not negative"
    return max(lowest_e8, 1)


def _order(plan: WorkedPlan, way: Candidate, price_e8: int, quantity_e8: int) -> Order:
    client_order_id = ClientOrderId(f"{plan.plan_id}-g{plan.attempts + 1}")
    assert all(client_order_id != worked.order.client_order_id for worked in plan.orders), "an id is never reused"
    venue, market = way.leg.spent.venue, way.leg.market
    return Order(
        client_order_id, plan.plan_id, way.leg_index, venue, market, way.side, price_e8, quantity_e8, TimeInForce.IOC
    )


def _cost_e8(case: Case, deltas: dict[Asset, int]) -> int | None:
    """Return by how much an order lowers what the plan's assets are worth, waiting with the rest included."""
    cost_e8 = 0
    for asset, change_e8 in deltas.items():
        before_e8 = case.plan.deltas.get(asset, 0)
        before = value_e8(case.quotes, case.reporting_asset, asset, before_e8)
        after = value_e8(case.quotes, case.reporting_asset, asset, before_e8 + change_e8)
        if before is None or after is None:
            return None
        cost_e8 += before - after
    asset = case.imbalance.asset
    rest = value_e8(case.quotes, case.reporting_asset, asset, case.imbalance.excess_e8 + deltas[asset])
    assert asset in deltas, "an order moves the asset it mends"
    return cost_e8 + hold_cost_e8(rest, case.settings) if rest is not None else None
