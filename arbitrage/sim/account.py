"""The paper venues' own account: balances, funds asked before matching, fills and fees settled. Never goes below nothing.

This is the venue's truth, kept apart from the ledger on purpose: the two are compared, never shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side, Venue
from arbitrage.model.money import Asset, fee_up_e8, notional_down_e8, notional_up_e8, parse_e8
from arbitrage.model.orders import Fill, Order
from arbitrage.model.settings import PaperSettings

FeeConversion = Callable[[Node, int, Asset], int | None]
"""What so much of a node's asset is worth in another asset of that venue, rounded up; None where no book says."""


def no_conversion(node: Node, amount_e8: int, asset: Asset) -> int | None:
    """Convert nothing: fees due in a third asset fall back to the received one."""
    return None


def opening_balances(settings: PaperSettings) -> dict[Node, int]:
    """Read the configured inventory. Raises ValueError for an amount that is negative or not a number."""
    balances: dict[Node, int] = {}
    for venue, amounts in settings.inventory.items():
        for asset, text in amounts.items():
            amount_e8 = parse_e8(text)
            if amount_e8 < 0:
                raise ValueError(f"paper.inventory.{venue}.{asset} is {text}: an inventory cannot be negative")
            balances[Node(Venue(venue), Asset(asset))] = amount_e8
    return balances


class Deal(msgspec.Struct, frozen=True):
    """What was matched at one price, and the venue's id for it."""

    price_e8: int
    quantity_e8: int
    trade_id: str


class Account:
    """Balances by node."""

    def __init__(self, balances: Mapping[Node, int], convert: FeeConversion = no_conversion) -> None:
        assert all(amount_e8 >= 0 for amount_e8 in balances.values()), "a venue lends nothing"
        self._balances = dict(balances)
        self._convert = convert

    @property
    def balances(self) -> Mapping[Node, int]:
        """Every balance, for comparison with the ledger."""
        return self._balances

    def add(self, node: Node, amount_e8: int) -> None:
        """Deposit, or withdraw when negative. Raises ValueError for more than is there."""
        balance_e8 = self._balances.get(node, 0) + amount_e8
        if balance_e8 < 0:
            raise ValueError(f"cannot withdraw {-amount_e8} units of 1e-8 from {node}")
        self._balances[node] = balance_e8

    def can_pay(self, order: Order, instrument: Instrument) -> bool:
        """Tell whether the venue would lock this order's funds: base to sell; quote at the limit price to buy.

        A fee taken in quote is locked on top of a purchase (upbit.md section 8); a rebate lowers nothing.
        """
        if order.side is Side.SELL:
            needed_e8 = order.quantity_e8
        else:
            needed_e8 = notional_up_e8(order.price_e8, order.quantity_e8)
            if instrument.fees.payment is FeePayment.QUOTE:
                needed_e8 += max(0, fee_up_e8(needed_e8, instrument.fees.taker_ppm))
        return self._balances.get(instrument.spent_node(order.side), 0) >= needed_e8

    def execute(self, order: Order, instrument: Instrument, deal: Deal) -> Fill | None:
        """Settle one fill, or return None, changing nothing, when the balance cannot bear it.

        `quote_e8` is price times quantity, rounded to 1e-8 against us.
        """
        is_buy, quantity_e8 = order.side is Side.BUY, deal.quantity_e8
        quote_e8 = (notional_up_e8 if is_buy else notional_down_e8)(deal.price_e8, quantity_e8)
        spent, received = instrument.spent_node(order.side), instrument.received_node(order.side)
        spent_e8, received_e8 = (quote_e8, quantity_e8) if is_buy else (quantity_e8, quote_e8)
        after = {
            spent: self._balances.get(spent, 0) - spent_e8,
            received: self._balances.get(received, 0) + received_e8,
        }
        if instrument.fees.payment is FeePayment.QUOTE:
            fee_asset, fee_e8 = instrument.quote, fee_up_e8(quote_e8, instrument.fees.taker_ppm)
        else:
            fee_asset, fee_e8 = self._fee(instrument.fees, received, received_e8, after)
        fee_node = Node(instrument.venue, fee_asset)
        after[fee_node] = after.get(fee_node, self._balances.get(fee_node, 0)) - fee_e8
        if min(after.values()) < 0:
            return None
        self._balances.update(after)
        return Fill(
            venue=instrument.venue,
            market=instrument.id,
            client_order_id=order.client_order_id,
            trade_id=deal.trade_id,
            side=order.side,
            price_e8=deal.price_e8,
            quantity_e8=quantity_e8,
            quote_e8=quote_e8,
            fee_e8=fee_e8,
            fee_asset=fee_asset,
        )

    def _fee(self, fees: FeeSchedule, received: Node, received_e8: int, after: Mapping[Node, int]) -> tuple[Asset, int]:
        """Return what the venue takes. A named asset that does not suffice, or a rebate, falls back to the received one."""
        fee_e8 = fee_up_e8(received_e8, fees.taker_ppm)
        if fees.payment is FeePayment.NAMED and fee_e8 > 0:
            assert fees.named_asset is not None, "a named fee names its asset"
            named = Node(received.venue, fees.named_asset)
            named_e8 = self._convert(received, fee_e8, fees.named_asset)
            if named_e8 is not None and named_e8 <= after.get(named, self._balances.get(named, 0)):
                return fees.named_asset, named_e8
        return received.asset, fee_e8
