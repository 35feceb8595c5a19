"""An exact walk down a book: how much an order gets, at which worst price, for how much quote. Integers only, no opinion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from arbitrage.ledger import purchase_within_e8
from arbitrage.model.events import Level
from arbitrage.model.instruments import FeePayment, Instrument, Side
from arbitrage.model.money import (
    E8,
    PPM,
    Asset,
    div_down,
    div_up,
    fee_up_e8,
    floor_to,
    notional_down_e8,
    notional_up_e8,
    recover_quantity_down_e8,
)

ExactLevel = tuple[int, int]
"""Price and quantity in 1e-8, on the instrument's grids."""


class Walked(msgspec.Struct, frozen=True):
    """What an order would do to a book."""

    quantity_e8: int
    quote_e8: int
    """Paid (rounded up) on a buy, received (rounded down) on a sell, before fees."""
    worst_price_e8: int


def exact_levels(levels: Iterable[Level], instrument: Instrument, side: Side, limit_e8: int) -> list[ExactLevel]:
    """Recover the levels within a price limit exactly; stops at the first that no grid price explains."""
    assert limit_e8 > 0, "a limit is a price"
    exact: list[ExactLevel] = []
    for price, quantity in levels:
        try:
            price_e8 = instrument.ticks.recover_e8(price)
            quantity_e8 = recover_quantity_down_e8(quantity, instrument.lot_e8)
        except ValueError:
            break
        if price_e8 > limit_e8 if side is Side.BUY else price_e8 < limit_e8:
            break
        exact.append((price_e8, quantity_e8))
    return exact


def quantity_for(levels: Sequence[ExactLevel], instrument: Instrument, side: Side, *, asset: Asset, amount_e8: int) -> int:
    """Return the base quantity, floored to the lot, that moves `amount_e8` of `asset`, fees of the schedule considered.

    Spending exceeds the amount by no more than the rounding of its levels (1e-8 each); receiving falls short of it by less
    than one lot. Depth may cut either shorter.
    """
    assert amount_e8 > 0, "something is to be moved"
    assert asset in (instrument.base, instrument.quote), "a market moves its own two assets"
    fee_ppm = instrument.fees.taker_ppm
    depth_e8 = sum(quantity_e8 for _, quantity_e8 in levels)
    if asset == instrument.base:
        is_base_fee = side is Side.BUY and _takes_fee_from(instrument, side, instrument.base)
        wanted_e8 = div_up(amount_e8 * PPM, PPM - fee_ppm) if is_base_fee else amount_e8
    elif side is Side.BUY:
        is_on_top = _takes_fee_from(instrument, side, instrument.quote)
        wanted_e8 = _base_for_quote(levels, div_down(amount_e8 * PPM, PPM + fee_ppm) if is_on_top else amount_e8)
    else:
        is_taken_off = _takes_fee_from(instrument, side, instrument.quote)
        wanted_e8 = _base_for_quote(levels, div_up(amount_e8 * PPM, PPM - fee_ppm) if is_taken_off else amount_e8)
    return floor_to(min(wanted_e8, depth_e8, instrument.quantity_e8_max), instrument.lot_e8)


def walk(levels: Sequence[ExactLevel], side: Side, quantity_e8: int) -> Walked:
    """Take a quantity that the levels hold, best first."""
    assert quantity_e8 > 0, "a walk takes something"
    left_e8, quote_e8, worst_e8 = quantity_e8, 0, 0
    notional_e8 = notional_up_e8 if side is Side.BUY else notional_down_e8
    for price_e8, level_e8 in levels:
        taken_e8 = min(left_e8, level_e8)
        quote_e8 += notional_e8(price_e8, taken_e8)
        left_e8, worst_e8 = left_e8 - taken_e8, price_e8
        if not left_e8:
            break
    assert left_e8 == 0, "the levels hold the quantity"
    return Walked(quantity_e8, quote_e8, worst_e8)


def covered_quantity_e8(
    levels: Sequence[ExactLevel], instrument: Instrument, side: Side, *, quantity_e8: int, free_e8: int
) -> int:
    """Return how much of a quantity inventory covers, at the worst price it would trade at, floored to the lot."""
    assert quantity_e8 > 0, "something is to be traded"
    if side is Side.SELL:
        most_e8 = max(free_e8, 0)
    else:
        most_e8 = purchase_within_e8(free_e8, instrument) * E8 // walk(levels, side, quantity_e8).worst_price_e8
    return floor_to(min(quantity_e8, most_e8), instrument.lot_e8)


def covered_price_e8(instrument: Instrument, side: Side, limit_e8: int, *, quantity_e8: int, free_e8: int) -> int:
    """Return a price limit, made so much better for us that inventory covers the whole quantity at it."""
    assert quantity_e8 > 0, "something is to be traded"
    if side is Side.SELL:
        return limit_e8
    return min(limit_e8, instrument.ticks.floor(purchase_within_e8(free_e8, instrument) * E8 // quantity_e8))


def worst_price_e8(instrument: Instrument, side: Side, price_e8: int, slippage_ppm: int) -> int:
    """Return a price made worse by the slippage, on the tick grid and not beyond it: the worst that may be paid."""
    if side is Side.BUY:
        return instrument.ticks.floor(div_down(price_e8 * (PPM + slippage_ppm), PPM))
    lowest_e8 = instrument.ticks.ceil(div_up(price_e8 * (PPM - slippage_ppm), PPM))
    assert lowest_e8 >= 0, "a price is not negative"
    return max(lowest_e8, 1)


def order_price_e8(walked: Walked, instrument: Instrument, side: Side, limit_e8: int) -> int | None:
    """Return the limit price of an order, or None when no price that still trades reaches the venue's minimum notional.

    It is the worst price allowed, not the worst one shown: a naked leg costs more than a few ticks, a venue fills at its best
    prices anyway, and what the book shows may already be gone. A venue counts the notional at the order's own price
    (binance-spot 6, upbit 8), so a small sale asks for as much more as it must, up to the worst level it would trade on.
    """
    assert instrument.notional_e8_min >= 0, "a minimum is not negative"
    if notional_down_e8(limit_e8, walked.quantity_e8) >= instrument.notional_e8_min:
        return limit_e8
    least_e8 = instrument.ticks.ceil(div_up(instrument.notional_e8_min * E8, walked.quantity_e8))
    return least_e8 if side is Side.SELL and least_e8 <= walked.worst_price_e8 else None


def expected_deltas(walked: Walked, instrument: Instrument, side: Side) -> dict[Asset, int]:
    """Return what the order would change in each asset, its taker fee included and rounded up.

    A fee in a third asset is counted in quote here: its own price is the venue's, not ours.
    """
    sign = 1 if side is Side.BUY else -1
    deltas = {instrument.base: sign * walked.quantity_e8, instrument.quote: -sign * walked.quote_e8}
    is_base_fee = side is Side.BUY and _takes_fee_from(instrument, side, instrument.base)
    fee_asset, fee_base_e8 = (instrument.base, walked.quantity_e8) if is_base_fee else (instrument.quote, walked.quote_e8)
    deltas[fee_asset] -= fee_up_e8(fee_base_e8, instrument.fees.taker_ppm)
    assert len(deltas) == 2, "a trade changes two assets"
    return deltas


def _takes_fee_from(instrument: Instrument, side: Side, asset: Asset) -> bool:
    assert asset in (instrument.base, instrument.quote), "a fee from a third asset changes neither side of the trade"
    fees = instrument.fees
    if fees.payment is FeePayment.RECEIVED:
        return instrument.received_node(side).asset == asset
    return asset == (instrument.quote if fees.payment is FeePayment.QUOTE else fees.named_asset)


def _base_for_quote(levels: Sequence[ExactLevel], quote_e8: int) -> int:
    """Return the base that so much quote trades for, rounded down at each level."""
    base_e8, left_e8 = 0, quote_e8
    for price_e8, level_e8 in levels:
        level_quote_e8 = notional_up_e8(price_e8, level_e8)
        if level_quote_e8 >= left_e8:
            return base_e8 + min(level_e8, left_e8 * E8 // price_e8)
        base_e8, left_e8 = base_e8 + level_e8, left_e8 - level_quote_e8
    assert left_e8 >= 0, "the walk stops where the quote ends"
    return base_e8
