"""What a venue checks of a request before it takes it: grids, minimums, price bounds, depth. Looks only; changes nothing."""

from __future__ import annotations

from arbitrage.model.instruments import Side
from arbitrage.model.money import PPM, notional_down_e8
from arbitrage.sim.exchange.market import Market, is_better
from arbitrage.sim.exchange.nouns import OrderRequest, OrderType, Policy, Rejection, Why


def refusal(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    """Return the first rule that a request breaks."""
    is_shaped = (request.quantity_e8 is None) != (request.quote_e8 is None)
    assert is_shaped, "a request has a quantity or a quote total: the facade refuses anything else"
    for rule in (_price, _quantity, _notional, _percent, _liquidity, _depth, _post_only, _open_orders):
        rejection = rule(market, policy, request)
        if rejection is not None:
            return rejection
    return None


def _price(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    price_e8 = request.price_e8
    if price_e8 is None:
        return None
    ticks = market.rules.ticks
    if price_e8 <= 0 or price_e8 % ticks.tick_e8_at(price_e8):
        return Rejection(Why.PRICE_FILTER)
    return None


def _quantity(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    quantity_e8, rules = request.quantity_e8, market.rules
    if quantity_e8 is None:
        return None
    is_within = rules.quantity_e8_min <= quantity_e8 <= rules.quantity_e8_max
    if quantity_e8 <= 0 or not is_within or quantity_e8 % rules.lot_e8:
        return Rejection(Why.LOT_SIZE)
    return None


def _notional(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    """Hold the total between the bounds; an order without a price counts at the reference price."""
    price_e8 = request.price_e8 or market.reference_e8()
    total_e8 = request.quote_e8 if request.quantity_e8 is None else notional_down_e8(price_e8, request.quantity_e8)
    assert total_e8 is not None, "a request has a quantity or a quote total"
    if total_e8 < market.rules.notional_e8_min:
        return Rejection(Why.NOTIONAL)
    if policy.notional_e8_max and request.price_e8 is not None and total_e8 > policy.notional_e8_max:
        return Rejection(Why.NOTIONAL_MAX)
    return None


def _percent(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    reference_e8 = market.reference_e8()
    if request.price_e8 is None or not policy.percent_up_ppm or not reference_e8:
        return None
    low_e8, high_e8 = reference_e8 * policy.percent_down_ppm // PPM, reference_e8 * policy.percent_up_ppm // PPM
    if not low_e8 <= request.price_e8 <= high_e8:
        return Rejection(Why.PERCENT_PRICE)
    return None


def _liquidity(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    if request.type not in (OrderType.MARKET, OrderType.BEST) or market.ladder(request.side.opposite).best()[0]:
        return None
    return Rejection(Why.NO_LIQUIDITY)


def _depth(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    """Refuse a market order that needs more levels than the venue allows (Upbit, 2025-05-07)."""
    levels_max = policy.market_levels_max
    if request.type is not OrderType.MARKET or not levels_max:
        return None
    levels = market.ladder(request.side.opposite).levels(levels_max + 1)
    within = levels[:levels_max]
    if request.quantity_e8 is not None:
        is_enough = sum(quantity_e8 for _, quantity_e8 in within) >= request.quantity_e8
    else:
        assert request.quote_e8 is not None, "a request has a quantity or a quote total"
        is_enough = sum(notional_down_e8(price_e8, quantity_e8) for price_e8, quantity_e8 in within) >= request.quote_e8
    return None if is_enough or len(levels) <= levels_max else Rejection(Why.TOO_DEEP)


def _post_only(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    if request.type is not OrderType.POST_ONLY or request.price_e8 is None:
        return None
    best_e8 = market.ladder(request.side.opposite).best()[0]
    is_taking = bool(best_e8) and not is_better(request.side, best_e8, request.price_e8)
    return Rejection(Why.WOULD_TAKE) if is_taking else None


def _open_orders(market: Market, policy: Policy, request: OrderRequest) -> Rejection | None:
    count = len(market.resting[Side.BUY]) + len(market.resting[Side.SELL])
    if policy.open_orders_max and count >= policy.open_orders_max:
        return Rejection(Why.MAX_ORDERS)
    return None
