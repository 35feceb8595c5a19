"""A hedge of what closed plans left over: one order in one market, once a venue takes one so small. Decides no timing.

Residue is counted by asset over all venues, because own inventory makes venues fungible: what one plan left too much of at one
venue and another too little of at the other needs no trade.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from arbitrage.execution.quotes import Quotes, value_e8
from arbitrage.execution.walk import (
    Walked,
    exact_levels,
    expected_deltas,
    order_price_e8,
    quantity_for,
    walk,
    worst_price_e8,
)
from arbitrage.model.instruments import Instrument, Node, Side
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import EdgeBreakdown, Leg, Opportunity

HEDGE_CYCLE = -1
"""Stands where a plan of the detector names its cycle."""


class Residue(msgspec.Struct, frozen=True):
    """So much of an asset that should not be there (or, negative, that is missing), and what to make it into."""

    asset: Asset
    amount_e8: int
    reporting_asset: Asset
    slippage_ppm: int
    value_e8_max: int
    """At most so much is traded in one order."""


def markets_for(residue: Residue, instruments: Iterable[Instrument]) -> list[Instrument]:
    """Return the markets that lead from an asset towards the reporting asset, direct ones first."""
    known = list(instruments)
    assert residue.asset != residue.reporting_asset, "the reporting asset is where everything ends"
    near = {_other(each, residue.reporting_asset) for each in known}
    own = [each for each in known if residue.asset in (each.base, each.quote)]
    direct = [each for each in own if _other(each, residue.asset) == residue.reporting_asset]
    return direct or [each for each in own if _other(each, residue.asset) in near]


def takes(residue: Residue, instrument: Instrument, quotes: Quotes) -> bool:
    """Say whether a market takes an order for a residue at the prices it shows, whatever else may forbid it."""
    assert residue.amount_e8, "what is even needs no hedge"
    return not isinstance(_walked(residue, instrument, _side(residue, instrument), quotes), str)


def find_hedge(residue: Residue, instrument: Instrument, quotes: Quotes, now_ns: int) -> Opportunity | str:
    """Return the order that hedges a residue in a market, or why there is none. Worth nothing is expected of it."""
    assert residue.amount_e8, "what is even needs no hedge"
    doubt = quotes.doubt(instrument.id)
    if doubt is not None:
        return f"doubtful market: {doubt.value}"
    side = _side(residue, instrument)
    walked_or_reason = _walked(residue, instrument, side, quotes)
    if isinstance(walked_or_reason, str):
        return walked_or_reason
    walked, price_e8, top_e8 = walked_or_reason
    leg = _leg(walked, instrument, side, price_e8, top_e8)
    if leg is None:
        return "fees take all of it"
    if leg.spent_e8 > quotes.free_e8(leg.spent):
        return f"not enough free {leg.spent}"
    notional_e8 = abs(value_e8(quotes, residue.reporting_asset, leg.spent.asset, leg.spent_e8) or 0)
    return Opportunity(
        id=f"hedge-{now_ns:x}-{residue.asset}",
        at_ns=now_ns,
        cycle=HEDGE_CYCLE,
        name=f"hedge {residue.asset} at {instrument.venue}",
        legs=(leg,),
        transfers=(),
        # Settled in the reporting asset even where it is not traded: what came or went instead of the residue is left over in
        # its place, to be hedged next.
        start=Node(leg.spent.venue, residue.reporting_asset),
        amount_in_e8=leg.spent_e8,
        amount_out_e8=leg.received_e8,
        reporting_asset=residue.reporting_asset,
        notional_e8=max(notional_e8, 1),
        edge_ppm=0,
        breakdown=EdgeBreakdown(0, 0, 0, 0, 0),
    )


def _side(residue: Residue, instrument: Instrument) -> Side:
    assert residue.asset in (instrument.base, instrument.quote), "a market moves its own two assets"
    return Side.SELL if (residue.asset == instrument.base) == (residue.amount_e8 > 0) else Side.BUY


def _walked(residue: Residue, instrument: Instrument, side: Side, quotes: Quotes) -> tuple[Walked, int, int] | str:
    """Return what an order does to the book, its limit price and the best price shown, or why there is no order."""
    shown = quotes.levels(instrument.id, side)
    top = exact_levels(shown[:1], instrument, side, 1 if side is Side.SELL else instrument.ticks.floor(10**30))
    value = value_e8(quotes, residue.reporting_asset, residue.asset, residue.amount_e8)
    if not top or not value:
        return "no usable price"
    limit_e8 = worst_price_e8(instrument, side, top[0][0], residue.slippage_ppm)
    levels = exact_levels(shown, instrument, side, limit_e8)
    amount_e8 = abs(residue.amount_e8)
    if abs(value) > residue.value_e8_max:
        amount_e8 = amount_e8 * residue.value_e8_max // abs(value)
    if not amount_e8:
        return "less than a unit may be traded at once"
    quantity_e8 = quantity_for(levels, instrument, side, asset=residue.asset, amount_e8=amount_e8)
    if quantity_e8 < max(instrument.quantity_e8_min, instrument.lot_e8):
        return "less than the venue's minimum quantity"
    walked = walk(levels, side, quantity_e8)
    price_e8 = order_price_e8(walked, instrument, side, limit_e8)
    assert quantity_e8 > 0, "an order has a quantity"
    return (walked, price_e8, top[0][0]) if price_e8 is not None else "less than the venue's minimum notional"


def _leg(walked: Walked, instrument: Instrument, side: Side, price_e8: int, top_e8: int) -> Leg | None:
    """Return the leg of an order that walks the book so; None when its fee leaves nothing."""
    spent, received = instrument.spent_node(side), instrument.received_node(side)
    deltas = expected_deltas(walked, instrument, side)
    spent_e8, received_e8 = -deltas[spent.asset], deltas[received.asset]
    gross_spent_e8 = walked.quote_e8 if side is Side.BUY else walked.quantity_e8
    gross_received_e8 = walked.quantity_e8 if side is Side.BUY else walked.quote_e8
    if received_e8 <= 0:
        return None
    on_top_e8, taken_off_e8 = spent_e8 - gross_spent_e8, gross_received_e8 - received_e8
    assert not (on_top_e8 and taken_off_e8), "one fee is taken, from one side"
    return Leg(
        market=instrument.id,
        side=side,
        spent=spent,
        received=received,
        quantity_e8=walked.quantity_e8,
        price_limit_e8=price_e8,
        spent_e8=spent_e8,
        received_e8=received_e8,
        fee_e8=on_top_e8 + taken_off_e8,
        fee_asset=spent.asset if on_top_e8 else received.asset,
        top_price_e8=top_e8,
        age_ms=0,
    )


def _other(instrument: Instrument, asset: Asset) -> Asset | None:
    if asset not in (instrument.base, instrument.quote):
        return None
    return instrument.quote if asset == instrument.base else instrument.base
