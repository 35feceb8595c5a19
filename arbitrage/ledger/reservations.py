"""What an order may cost at worst, set aside before it is sent. Knows no prices but the order's own limit."""

from __future__ import annotations

import msgspec

from arbitrage.model.instruments import FeePayment, Instrument, Node, Side
from arbitrage.model.money import PPM, div_down, fee_up_e8, notional_up_e8
from arbitrage.model.orders import Order, PlanId

ROUNDING_E8_MAX = 2
"""Units by which a fill may exceed its share of a reservation without being an anomaly: quote and fee round up apart."""


class Hold(msgspec.Struct):
    """One order's reservation and how much of the order is accounted for."""

    order: Order
    node: Node
    reserved_e8: int
    filled_quantity_e8: int = 0
    fill_count: int = 0
    ended_quantity_e8: int | None = None
    """The venue's own total when it ended the order; None while it may still trade."""

    @property
    def plan_id(self) -> PlanId:
        return self.order.plan_id

    @property
    def rounding_e8_max(self) -> int:
        """How much all fills so far, and the next, may take beyond the reservation by rounding alone."""
        return ROUNDING_E8_MAX * (self.fill_count + 1)

    @property
    def is_settled(self) -> bool:
        """Say whether no further fill is expected: it ended, and every fill of the venue's total is booked."""
        return self.ended_quantity_e8 is not None and self.filled_quantity_e8 >= self.ended_quantity_e8


def worst_case(order: Order, instrument: Instrument) -> tuple[Node, int]:
    """Return where an order takes inventory from and the most it may take: at its limit, with any fee on top, rounded up."""
    assert (order.venue, order.market) == (instrument.venue, instrument.id), "an order is priced by its own market's rules"
    return instrument.spent_node(order.side), worst_case_e8(order, instrument, order.quantity_e8)


def worst_case_e8(order: Order, instrument: Instrument, quantity_e8: int) -> int:
    """Return the most that `quantity_e8` of an order may take, in 1e-8 of the asset it spends."""
    assert quantity_e8 >= 0, "a quantity is not negative"
    if order.side is Side.SELL:
        return quantity_e8
    quote_e8 = notional_up_e8(order.price_e8, quantity_e8)
    return quote_e8 + fee_up_e8(quote_e8, _fee_on_top_ppm(instrument))


def purchase_within_e8(free_e8: int, instrument: Instrument) -> int:
    """Return the most quote, fee apart, that a purchase may cost so that its worst case is covered by `free_e8`."""
    most_e8 = div_down(max(free_e8, 0) * PPM, PPM + _fee_on_top_ppm(instrument))
    assert most_e8 + fee_up_e8(most_e8, _fee_on_top_ppm(instrument)) <= max(free_e8, 0), "its fee is covered too"
    return most_e8


def _fee_on_top_ppm(instrument: Instrument) -> int:
    fees = instrument.fees
    is_fee_on_top = fees.payment is FeePayment.QUOTE or fees.named_asset == instrument.quote
    fee_ppm = max(fees.taker_ppm, fees.maker_ppm, 0) if is_fee_on_top else 0
    assert fee_ppm >= 0, "a rebate is not counted on"
    return fee_ppm
