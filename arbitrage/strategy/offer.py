"""A sized route written down as an `Opportunity`: legs, limits, transfers, ages, rates. Picks no size, judges nothing."""

from __future__ import annotations

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import PPM, Asset, div_down
from arbitrage.model.opportunities import FxRate, Leg, Opportunity, Transfer
from arbitrage.strategy.board import Board
from arbitrage.strategy.breakdown import break_down
from arbitrage.strategy.chain import Chain, Outcome, Unpriced
from arbitrage.strategy.ladder import Ladder


class Occasion(msgspec.Struct, frozen=True):
    """When and by which rates."""

    id: str
    at_ns: int
    reporting_asset: Asset
    fx: tuple[FxRate, ...]


def offer(chain: Chain, outcome: Outcome, occasion: Occasion, board: Board) -> Opportunity:
    """Write an opportunity. Raises Unpriced when its input or its profit cannot be valued."""
    route = chain.route
    breakdown = break_down(chain, outcome)
    notional_e8 = chain.valuer.cost_e8(route.start, outcome.amount_in_e8)
    if notional_e8 is None or notional_e8 <= 0:
        raise Unpriced(f"no executable book values {route.start}")
    legs = tuple(_leg(chain, outcome, position, board, occasion.at_ns) for position in range(len(route.steps)))
    assert legs[0].spent_e8 == outcome.amount_in_e8, "the first leg spends the input"
    for position, step in enumerate(route.steps[:-1]):
        arriving_e8 = step.carried_over_e8(legs[position].received_e8)
        assert legs[position + 1].spent_e8 <= arriving_e8, "no leg spends more than the one before brings"
    assert breakdown.net_e8 <= breakdown.top_of_book_e8 - breakdown.fees_e8, "depth and transfers cost"
    return Opportunity(
        id=occasion.id,
        at_ns=occasion.at_ns,
        cycle=route.cycle,
        name=route.name,
        legs=legs,
        transfers=_transfers(chain, outcome),
        start=route.start,
        amount_in_e8=outcome.amount_in_e8,
        amount_out_e8=outcome.amount_out_e8,
        reporting_asset=occasion.reporting_asset,
        notional_e8=notional_e8,
        edge_ppm=div_down(breakdown.net_e8 * PPM, notional_e8),
        breakdown=breakdown,
        fx=occasion.fx,
    )


def _leg(chain: Chain, outcome: Outcome, position: int, board: Board, now_ns: int) -> Leg:
    step, ladder, quantity_e8 = chain.steps[position], chain.ladders[position], outcome.quantities_e8[position]
    named = outcome.named_fees[position]
    fee_e8, fee_asset = (named.amount_e8, named.node.asset) if named else _fee(ladder, quantity_e8)
    return Leg(
        market=step.market,
        side=step.side,
        spent=step.spent,
        received=step.received,
        quantity_e8=quantity_e8,
        price_limit_e8=ladder.limit_e8(quantity_e8),
        spent_e8=ladder.spent_e8(quantity_e8),
        received_e8=ladder.received_e8(quantity_e8),
        fee_e8=fee_e8,
        fee_asset=fee_asset,
        top_price_e8=ladder.prices[0],
        age_ms=board.age_ms(step.market, now_ns),
        is_carried=chain.inventory.carried[position],
    )


def _fee(ladder: Ladder, quantity_e8: int) -> tuple[int, Asset]:
    """Return the fee of a leg and the asset it is taken from: on top of what is spent, or out of what is received."""
    rules, quote_e8 = ladder.instrument, ladder.quote_e8(quantity_e8)
    assert quote_e8 >= 0, "a notional is no debt"
    if ladder.side is Side.SELL:
        return quote_e8 - ladder.received_e8(quantity_e8), rules.quote
    if ladder.is_fee_in_quote:
        return ladder.spent_e8(quantity_e8) - quote_e8, rules.quote
    return quantity_e8 - ladder.received_e8(quantity_e8), rules.base


def _transfers(chain: Chain, outcome: Outcome) -> tuple[Transfer, ...]:
    """Return what each transfer moves: what the next leg spends with the cost on top, and at the end all that came out."""
    transfers = []
    for position, step in enumerate(chain.steps):
        if step.transfer is not None:
            is_last = position == len(chain.steps) - 1
            if is_last:
                arriving_e8 = outcome.amount_out_e8
                amount_e8 = chain.ladders[position].received_e8(outcome.quantities_e8[position])
            else:
                arriving_e8 = chain.ladders[position + 1].spent_e8(outcome.quantities_e8[position + 1])
                amount_e8 = step.wanted_e8(arriving_e8)
            assert amount_e8 >= arriving_e8, "a transfer costs, it does not pay"
            target = chain.steps[(position + 1) % len(chain.steps)].spent
            transfers.append(Transfer(step.received, target, amount_e8, amount_e8 - arriving_e8))
    return tuple(transfers)
