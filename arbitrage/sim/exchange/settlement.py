"""Turns matches into money: locks, payments, fees. Decides no match and tells nobody.

Rounding, where the venues do not publish theirs: a trade's quote is cut off at 1e-8; a fee in the received or the named asset
is rounded up; a fee in quote is cut off, so that the fees of many fills never exceed what was locked for the whole.
"""

from __future__ import annotations

from collections.abc import Callable

from arbitrage.model.instruments import Side
from arbitrage.model.money import PPM, fee_up_e8, notional_up_e8
from arbitrage.sim.exchange.account import Account
from arbitrage.sim.exchange.market import Market
from arbitrage.sim.exchange.nouns import Execution, FeeMode, HeldOrder, Policy, Status

Convert = Callable[[str, int, str], int | None]
"""Values an amount of one asset in another at the venue's books; None when no market joins them."""


class Settlement:
    """The account's side of every match."""

    def __init__(self, account: Account, policy: Policy, convert: Convert) -> None:
        self.account = account
        self.named_fee_asset = policy.named_fee_asset
        """Switched at run time, as paying in BNB is on Binance; empty is off."""
        self._policy = policy
        self._convert = convert

    def needed_e8(self, order: HeldOrder) -> int | None:
        """Return what the rest of an order may cost at worst; None when only the book can tell (no limit)."""
        if order.request.side is Side.SELL:
            return order.remaining_e8 if order.request.quantity_e8 is not None else None
        quote_e8 = _quote_left_e8(order)
        return None if quote_e8 is None else quote_e8 + self.reserve_e8(order, quote_e8)

    def lock(self, order: HeldOrder, amount_e8: int) -> None:
        """Lock what an order may cost."""
        assert order.locked_e8 == 0, "an order is locked for once"
        self.account.lock(order.locked_asset, amount_e8)
        order.locked_e8 = amount_e8
        if order.request.side is Side.BUY:
            quote_e8 = _quote_left_e8(order)
            order.reserved_fee_e8 = 0 if quote_e8 is None else self.reserve_e8(order, quote_e8)

    def trim(self, order: HeldOrder) -> None:
        """Release what the rest of an order no longer needs; everything once it has ended."""
        needed_e8 = self.needed_e8(order) if order.is_open else 0
        if needed_e8 is None:
            return
        assert 0 <= needed_e8 <= order.locked_e8, "the rest never needs more than is locked"
        self.account.release(order.locked_asset, order.locked_e8 - needed_e8)
        order.locked_e8 = needed_e8

    def fill(self, market: Market, order: HeldOrder, execution: Execution) -> Execution:
        """Move the money of one match and write it into the order. Returns the execution with its fee."""
        request, rules = order.request, market.rules
        assert execution.quantity_e8 > 0, "a match moves something"
        if request.side is Side.BUY:
            self._pay(order, execution.quote_e8)
            self.account.receive(rules.base, execution.quantity_e8)
        else:
            self._pay(order, execution.quantity_e8)
            self.account.receive(rules.quote, execution.quote_e8)
        fee_asset, fee_e8 = self._take_fee(market, order, execution)
        booked = Execution(
            execution.trade_id, execution.price_e8, execution.quantity_e8, execution.quote_e8, fee_e8, fee_asset,
            execution.is_maker, execution.at_ns, execution.taker_side,
        )  # fmt: skip
        order.executed_e8 += booked.quantity_e8
        order.executed_quote_e8 += booked.quote_e8
        order.paid_fee_e8 += fee_e8
        order.executions.append(booked)
        order.updated_ns = booked.at_ns
        order.status = Status.PARTIALLY_FILLED
        if request.quantity_e8 is not None and order.remaining_e8 == 0:
            order.status = Status.FILLED if not order.prevented_e8 else self._policy.prevented
        self.trim(order)
        return booked

    def _pay(self, order: HeldOrder, amount_e8: int) -> None:
        assert amount_e8 <= order.locked_e8, "an order pays from its own lock"
        self.account.pay_locked(order.locked_asset, amount_e8)
        order.locked_e8 -= amount_e8

    def _take_fee(self, market: Market, order: HeldOrder, execution: Execution) -> tuple[str, int]:
        rules = market.rules
        rate_ppm = order.maker_ppm if execution.is_maker else order.taker_ppm
        is_buy = order.request.side is Side.BUY
        if self._policy.fee_mode is FeeMode.QUOTE:
            fee_e8 = execution.quote_e8 * rate_ppm // PPM
            self.account.pay_fee(rules.quote, fee_e8, from_locked=is_buy)
            if is_buy:
                order.locked_e8 -= fee_e8
            return rules.quote, fee_e8
        received, received_e8 = (rules.base, execution.quantity_e8) if is_buy else (rules.quote, execution.quote_e8)
        named, fee_e8 = self.named_fee_asset, fee_up_e8(received_e8, rate_ppm)
        if named and fee_e8 > 0:
            value_e8 = fee_up_e8(fee_e8, self._policy.named_fee_share_ppm)
            named_e8 = value_e8 if named == received else self._convert(received, value_e8, named)
            if named_e8 is not None and named_e8 <= self.account.free_e8(named):
                self.account.pay_fee(named, named_e8)
                return named, named_e8
        self.account.pay_fee(received, fee_e8)
        return received, fee_e8

    def reserve_e8(self, order: HeldOrder, quote_e8: int) -> int:
        """Return what a bid locks for its fee: Upbit's `price * volume * (1 + fee)`; elsewhere a bid locks no fee."""
        if self._policy.fee_mode is not FeeMode.QUOTE:
            return 0
        return fee_up_e8(quote_e8, max(order.maker_ppm, order.taker_ppm, 0))


def _quote_left_e8(order: HeldOrder) -> int | None:
    """Return the most a buy may still pay before fees; None without a limit."""
    if order.request.quantity_e8 is None:
        return order.remaining_quote_e8
    return None if order.limit_e8 is None else notional_up_e8(order.limit_e8, order.remaining_e8)
