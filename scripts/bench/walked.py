"""An opportunity's amounts, walked again over the reference's depth in Decimal. Finds no cycles and picks no sizes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_FLOOR, ROUND_UP, Decimal, localcontext

from arbitrage.model.opportunities import Leg, Opportunity
from bench.reference import Books, Level, Terms

D = Decimal
UNIT = D("1e-8")
PRECISION = 60


class Walk:
    """One leg's quantity, filled level by level as a venue would: each fill rounded against us."""

    def __init__(self, levels: list[Level], quantity: Decimal, fee: Decimal, *, is_buy: bool, is_fee_on_top: bool) -> None:
        self.spent = self.received = self.fee = D(0)
        self.worst = D(0)
        left = quantity
        for price, size in levels:
            taken = min(left, size)
            if not taken:
                break
            notional = _round(taken * price, ROUND_UP if is_buy else ROUND_DOWN)
            gross = taken if is_buy else notional
            charged = _round((notional if is_fee_on_top else gross) * fee, ROUND_UP)
            self.fee += charged
            self.spent += (notional + (charged if is_fee_on_top else 0)) if is_buy else taken
            self.received += gross - (0 if is_fee_on_top else charged)
            self.worst = price
            left -= taken
        self.is_filled = not left


def faults_of(opportunity: Opportunity, books: Books, symbols: list[str], terms: Terms) -> list[str]:
    """Say in what an opportunity differs from its own walk; nothing when it is right to the last unit."""
    with localcontext() as context:
        context.prec = PRECISION
        found = list(_leg_faults(opportunity, books, symbols, terms))
        return [*found, *_sum_faults(opportunity, terms)]


def _leg_faults(opportunity: Opportunity, books: Books, symbols: list[str], terms: Terms) -> Iterator[str]:
    for leg in opportunity.legs:
        is_buy, symbol = leg.side.value == "buy", symbols[leg.market]
        is_binance = leg.spent.venue == "binance"
        levels = books.side(symbol, is_ask=is_buy)
        fee = terms.binance_fee if is_binance else terms.upbit_fee
        walk = Walk(levels, _e8(leg.quantity_e8), fee, is_buy=is_buy, is_fee_on_top=is_buy and not is_binance)
        if not walk.is_filled:
            yield f"{symbol}: {leg.quantity_e8} is more than there is"
        shown = (leg.spent_e8, leg.received_e8, leg.fee_e8, leg.top_price_e8)
        walked = tuple(int(value / UNIT) for value in (walk.spent, walk.received, walk.fee, levels[0][0]))
        if shown != walked:
            yield f"{symbol}: spent, received, fee and top are {shown}, the walk has {walked}"
        if not _reaches(leg, walk.worst, is_buy=is_buy):
            yield f"{symbol}: the limit {leg.price_limit_e8} does not reach {walk.worst} or is too generous"


def _reaches(leg: Leg, worst: Decimal, *, is_buy: bool) -> bool:
    """Say whether the limit lies between the worst price and the configured slack of 100 ppm beyond."""
    limit, slack = _e8(leg.price_limit_e8), D(100) / 10**6
    return worst <= limit <= worst * (1 + slack) if is_buy else worst * (1 - slack) <= limit <= worst


def _sum_faults(opportunity: Opportunity, terms: Terms) -> Iterator[str]:
    legs, transfers = opportunity.legs, {transfer.source: transfer for transfer in opportunity.transfers}
    arrived = 0
    for position, leg in enumerate(legs):
        following = legs[(position + 1) % len(legs)]
        arrived = leg.received_e8
        if leg.received != following.spent:
            moved = transfers.get(leg.received)
            if moved is None or moved.target != following.spent:
                yield f"nothing moves {leg.received} to {following.spent}"
                continue
            arrived = int(D(arrived) * (1 - terms.transfer(leg.received.asset)))
        if position < len(legs) - 1 and arrived < following.spent_e8:
            yield f"{arrived} arrive at {following.spent}, {following.spent_e8} are spent there"
    shown = (opportunity.amount_in_e8, opportunity.amount_out_e8, opportunity.net_e8, opportunity.notional_e8)
    walked = (legs[0].spent_e8, arrived, arrived - legs[0].spent_e8, legs[0].spent_e8)
    if opportunity.start.asset != "USDT" or shown != walked:
        yield f"in, out, net and notional are {shown} from {opportunity.start}, the legs say {walked}"
    top_e8 = _top_of_book_e8(opportunity)
    if opportunity.breakdown.top_of_book_e8 != top_e8:
        yield f"at the best prices {opportunity.breakdown.top_of_book_e8}, by the legs' tops {top_e8}"
    edge = int((D(opportunity.net_e8) * 10**6 / opportunity.notional_e8).to_integral_value(ROUND_FLOOR))
    if opportunity.edge_ppm != edge or opportunity.net_e8 <= 0:
        yield f"an edge of {opportunity.edge_ppm} ppm, the amounts say {edge}"


def _top_of_book_e8(opportunity: Opportunity) -> int:
    """Return what the input would earn at the legs' best prices without costs, rounded down by one division at the end."""
    above, below = opportunity.amount_in_e8, 1
    for leg in opportunity.legs:
        if leg.side.value == "buy":
            above, below = above * 10**8, below * leg.top_price_e8
        else:
            above, below = above * leg.top_price_e8, below * 10**8
    return above // below - opportunity.amount_in_e8


def _e8(units: int) -> Decimal:
    return D(units) * UNIT


def _round(value: Decimal, rounding: str) -> Decimal:
    return value.quantize(UNIT, rounding)
