"""The leg governor: prices completing, reversing and holding, and picks the cheapest that is allowed. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import msgspec

from arbitrage.execution.balance import Candidate, Imbalance, candidates
from arbitrage.execution.orders import NS_PER_MS
from arbitrage.execution.plans import WorkedPlan
from arbitrage.execution.quotes import Quotes, value_e8
from arbitrage.execution.walk import (
    covered_price_e8,
    covered_quantity_e8,
    exact_levels,
    expected_deltas,
    order_price_e8,
    quantity_for,
    walk,
    worst_price_e8,
)
from arbitrage.ledger import worst_case
from arbitrage.model.instruments import Venue
from arbitrage.model.money import PPM, Asset, div_up
from arbitrage.model.opportunities import LegChoice, PricedChoice
from arbitrage.model.orders import ClientOrderId, Order, TimeInForce
from arbitrage.model.settings import ExecutionSettings

UNWATCHED_MS = 3_600_000
"""What is held at a plan's last look is priced over an hour: nobody governs it after the deadline."""
CALM_DIVISOR = 10
"""Measured volatility counts for at least this part of `hold_cost_ppm`: a market that stood still may still move."""


class Case(msgspec.Struct, frozen=True):
    """One imbalance of one plan, with what may be known and what forbids an order at all."""

    plan: WorkedPlan
    imbalance: Imbalance
    quotes: Quotes
    settings: ExecutionSettings
    forbidden: str
    """Why no order may be sent now; empty when one may."""
    now_ns: int
    closed_venues: Mapping[Venue, str]
    """Venues that take no orders from us now, and why."""
    order_id: ClientOrderId
    """The id of the order that may come of it: one at most."""

    @property
    def hold_horizon_ms(self) -> int:
        """For how long holding is priced: a plan's own time, or much longer when this is the last look at it."""
        next_look_ns = self.now_ns + self.settings.query_interval_ms * NS_PER_MS
        return self.settings.plan_deadline_ms if next_look_ns < self.plan.deadline_ns else UNWATCHED_MS

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
    cost_e8 = _hold_cost_e8(case, value)
    assert cost_e8 >= 0, "waiting is never paid for"
    return PricedChoice(LegChoice.HOLD, cost_e8, "", None)


def _hold_cost_e8(case: Case, value_e8: int) -> int:
    """Return what holding so much value costs, rounded up: how far it may move while it is held."""
    horizon_ms, settings = case.hold_horizon_ms, case.settings
    configured_ppm = isqrt(settings.hold_cost_ppm**2 * horizon_ms // settings.plan_deadline_ms)
    measured_ppm = case.quotes.volatility_ppm(case.imbalance.asset, horizon_ms)
    ppm = configured_ppm if measured_ppm is None else max(measured_ppm, div_up(configured_ppm, CALM_DIVISOR))
    assert ppm >= 0, "waiting has a price"
    return div_up(abs(value_e8) * ppm, PPM)


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
    doubt, closed = case.quotes.doubt(way.leg.market), case.closed_venues.get(way.leg.spent.venue)
    if case.forbidden:
        return case.forbidden
    if closed:
        return f"{way.leg.spent.venue}: {closed}"
    if doubt is not None:
        return f"doubtful market: {doubt.value}"
    instrument = case.plan.instrument(way.leg.market)
    limit_e8 = worst_price_e8(instrument, way.side, way.leg.price_limit_e8, case.settings.governor_slippage_ppm_max)
    levels = exact_levels(case.quotes.levels(way.leg.market, way.side), instrument, way.side, limit_e8)
    amount_e8 = abs(case.imbalance.excess_e8)
    wanted_e8 = quantity_for(levels, instrument, way.side, asset=case.imbalance.asset, amount_e8=amount_e8)
    quantity_e8_min, node = max(instrument.quantity_e8_min, instrument.lot_e8), instrument.spent_node(way.side)
    if wanted_e8 < quantity_e8_min:
        return "less than the venue's minimum quantity within the price limit"
    free_e8 = case.quotes.free_e8(node)
    quantity_e8 = covered_quantity_e8(levels, instrument, way.side, quantity_e8=wanted_e8, free_e8=free_e8)
    if quantity_e8 < quantity_e8_min:
        return f"not enough free {node}"
    walked = walk(levels, way.side, quantity_e8)
    paid_e8 = covered_price_e8(instrument, way.side, limit_e8, quantity_e8=quantity_e8, free_e8=free_e8)
    price_e8 = order_price_e8(walked, instrument, way.side, paid_e8)
    if price_e8 is None:
        return "less than the venue's minimum notional"
    order = _order(case, way, price_e8, quantity_e8)
    assert worst_case(order, instrument)[1] <= free_e8, "an order is covered at its own limit"
    assert walked.quote_e8 > 0, "a trade above the minimum moves quote"
    return order, expected_deltas(walked, instrument, way.side)


def _order(case: Case, way: Candidate, price_e8: int, quantity_e8: int) -> Order:
    plan, client_order_id = case.plan, case.order_id
    assert all(client_order_id != worked.order.client_order_id for worked in plan.orders), "an id is never reused"
    return Order(
        client_order_id=client_order_id,
        plan_id=plan.plan_id,
        leg_index=way.leg_index,
        venue=way.leg.spent.venue,
        market=way.leg.market,
        side=way.side,
        price_e8=price_e8,
        quantity_e8=quantity_e8,
        time_in_force=TimeInForce.IOC,
        valid_until_ns=case.now_ns + case.settings.order_validity_ms * NS_PER_MS,
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
    return cost_e8 + _hold_cost_e8(case, rest) if rest is not None else None
