"""Upbit's amounts as exact integers: decimals as text or as JSON numbers, and the fee that each fill of an order paid.

Refuses floats: a JSON number is read digit by digit. Source: reference upbit 2, 7, 8 (fees always in the quote asset).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal

from arbitrage.model.instruments import FeeSchedule
from arbitrage.model.money import PPM, div_down, div_up

AMOUNT_DIGITS_MAX = 20
"""Digits before the point; no venue holds so much of anything."""
SPLITS_MAX = 100
"""An order of more fills than this is not searched for the one from which it was the maker."""
CONTEXT = Context(prec=80)
"""Wide enough that no amount of ours is rounded before it is meant to be."""


def e8(amount: Decimal) -> int:
    """Return an amount in units of 1e-8, finer digits cut off. Raises ValueError for what is negative, not finite or absurd."""
    if not amount.is_finite() or amount < 0 or (amount and amount.adjusted() > AMOUNT_DIGITS_MAX):
        raise ValueError(f"an amount out of range: {str(amount)[:40]}")
    return int(amount.scaleb(8, CONTEXT).to_integral_value(ROUND_DOWN, CONTEXT)) if amount.adjusted() > -60 else 0


def rate_ppm_up(rate: Decimal) -> int:
    """Return a fee rate such as 0.0005 in parts per million, rounded up. Raises ValueError outside -10 % to 100 %."""
    if not rate.is_finite() or not Decimal("-0.1") <= rate <= 1:
        raise ValueError(f"a fee rate out of range: {str(rate)[:40]}")
    return int(rate.scaleb(6, CONTEXT).to_integral_value(ROUND_CEILING, CONTEXT))


def fee_shares(quotes_e8: Sequence[int], paid_e8: int, fees: FeeSchedule) -> list[int] | None:
    """Return what each fill paid where exactly one way of charging explains the sum; None where none or several do.

    REST tells the whole order's fee alone. Fills come in the order of their trades: an order takes first and may rest then, so
    the first of them pay the taker's rate. How the venue rounds is not published: the way whose sum agrees is its way.
    """
    ways = {
        tuple(shares)
        for rates in _rates(len(quotes_e8), fees)
        for shares in _roundings(quotes_e8, rates)
        if sum(shares) == paid_e8
    }
    return list(ways.pop()) if len(ways) == 1 else None


def in_proportion(quotes_e8: Sequence[int], paid_e8: int) -> list[int]:
    """Split a fee that no rule explains by size; the remainders wander so that nothing is lost."""
    total_e8 = sum(quotes_e8)
    if not total_e8:
        return [paid_e8 if place == 0 else 0 for place in range(len(quotes_e8))]
    reached = [div_down(paid_e8 * so_far, total_e8) for so_far in itertools.accumulate(quotes_e8, initial=0)]
    return [after - before for before, after in itertools.pairwise(reached)]


def _rates(count: int, fees: FeeSchedule) -> Iterator[list[int]]:
    is_searched = fees.maker_ppm != fees.taker_ppm and count <= SPLITS_MAX
    for taken in range(count, -1, -1) if is_searched else (count,):
        yield [fees.taker_ppm] * taken + [fees.maker_ppm] * (count - taken)


def _roundings(quotes_e8: Sequence[int], rates_ppm: Sequence[int]) -> Iterator[list[int]]:
    exact = [quote_e8 * rate_ppm for quote_e8, rate_ppm in zip(quotes_e8, rates_ppm, strict=True)]
    yield [div_down(numerator, PPM) for numerator in exact]
    yield [div_up(numerator, PPM) for numerator in exact]
    yield [div_down(2 * numerator + PPM, 2 * PPM) for numerator in exact]
