"""Fees in every mode, exact to the last unit against decimals; balances move by what the fills say and by nothing else."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_house import (
    BNB,
    BNB_NODE,
    BTC,
    BTC_NODE,
    PLENTY,
    USDT,
    USDT_NODE,
    StillBook,
    fills,
    instrument,
    markets,
    order,
    send,
    venue,
)

from arbitrage.model.instruments import FeePayment, Node, Side
from arbitrage.model.money import E8, Asset, format_e8, parse_e8
from arbitrage.sim.account import no_conversion

BOOK = StillBook(asks=[(100.01, 0.3), (100.02, 5.0)], bids=[(99.99, 0.3), (99.98, 5.0)])
UNIT = Decimal("0.00000001")


def half(node: Node, amount_e8: int, asset: Asset) -> int | None:
    """Price one BNB at two of anything, rounded up."""
    assert asset == BNB
    return -(-amount_e8 // 2)


def decimal(value_e8: int) -> Decimal:
    return Decimal(format_e8(value_e8))


@pytest.mark.parametrize(
    ("side", "payment", "asset", "fee"),
    [
        (Side.BUY, FeePayment.RECEIVED, BTC, "0.0003"),
        (Side.SELL, FeePayment.RECEIVED, USDT, "0.029997"),
        (Side.BUY, FeePayment.QUOTE, USDT, "0.030003"),
        (Side.SELL, FeePayment.QUOTE, USDT, "0.029997"),
        (Side.BUY, FeePayment.NAMED, BNB, "0.00015"),
        (Side.SELL, FeePayment.NAMED, BNB, "0.0149985"),
    ],
)
def test_each_fee_mode_takes_from_its_own_asset(side: Side, payment: FeePayment, asset: Asset, fee: str) -> None:
    paper = venue(markets(BOOK, instrument(fee_ppm=1_000, payment=payment)), PLENTY | {BNB_NODE: E8}, convert=half)
    limit = "100.01" if side is Side.BUY else "99.99"
    (fill,) = fills(send(paper, order(side, limit, "0.3")))
    assert (fill.fee_asset, fill.fee_e8) == (asset, parse_e8(fee))


def test_a_named_asset_that_runs_out_mid_order_falls_back_to_the_received_one() -> None:
    balances = PLENTY | {BNB_NODE: parse_e8("0.00015")}
    paper = venue(markets(BOOK, instrument(fee_ppm=1_000, payment=FeePayment.NAMED)), balances, convert=half)
    first, second = fills(send(paper, order(Side.BUY, "100.02", "1.3")))
    assert (first.fee_asset, first.fee_e8) == (BNB, parse_e8("0.00015"))
    assert (second.fee_asset, second.fee_e8) == (BTC, parse_e8("0.001"))
    assert paper.account.balances[BNB_NODE] == 0


def test_a_named_asset_without_a_price_falls_back_to_the_received_one() -> None:
    rules = instrument(fee_ppm=1_000, payment=FeePayment.NAMED)
    paper = venue(markets(BOOK, rules), PLENTY | {BNB_NODE: E8}, convert=no_conversion)
    (fill,) = fills(send(paper, order(Side.BUY, "100.01", "0.3")))
    assert fill.fee_asset == BTC


def test_a_rebate_of_a_named_schedule_is_paid_in_the_received_asset() -> None:
    rules = instrument(fee_ppm=-1_000, payment=FeePayment.NAMED)
    paper = venue(markets(BOOK, rules), PLENTY | {BNB_NODE: E8}, convert=half)
    (fill,) = fills(send(paper, order(Side.BUY, "100.01", "0.3")))
    assert (fill.fee_asset, fill.fee_e8) == (BTC, -parse_e8("0.0003"))
    assert paper.account.balances[BTC_NODE] == PLENTY[BTC_NODE] + parse_e8("0.3003")


def test_selling_the_last_of_the_fees_own_asset_still_sells() -> None:
    rules = instrument(fee_ppm=1_000, payment=FeePayment.NAMED, base=BNB)
    paper = venue(markets(BOOK, rules), {BNB_NODE: parse_e8("0.3")}, convert=half)
    (fill,) = fills(send(paper, order(Side.SELL, "99.99", "0.3")))
    assert fill.fee_asset == USDT
    assert paper.account.balances == {BNB_NODE: 0, USDT_NODE: parse_e8("29.967003")}


def test_buying_the_fees_own_asset_pays_out_of_what_arrives() -> None:
    rules = instrument(fee_ppm=1_000, payment=FeePayment.NAMED, base=BNB)
    paper = venue(markets(BOOK, rules), {USDT_NODE: 1_000 * E8}, convert=lambda node, amount_e8, asset: amount_e8)
    (fill,) = fills(send(paper, order(Side.BUY, "100.01", "0.3")))
    assert (fill.fee_asset, paper.account.balances[BNB_NODE]) == (BNB, parse_e8("0.2997"))


fee_rates = st.integers(-20_000, 20_000)
payments = st.sampled_from([FeePayment.RECEIVED, FeePayment.QUOTE])


@settings(max_examples=150, deadline=None)
@given(
    cents=st.integers(1, 10**9),
    lots=st.integers(1, 10**6),
    fee_ppm=fee_rates,
    payment=payments,
    side=st.sampled_from(list(Side)),
)
def test_quote_and_fee_equal_a_decimal_calculation_rounded_against_us(
    cents: int, lots: int, fee_ppm: int, payment: FeePayment, side: Side
) -> None:
    price, quantity = Decimal(cents) / 100, Decimal(lots) * UNIT
    rules = instrument(fee_ppm=fee_ppm, payment=payment, lot_e8=1, quantity_e8_min=1, notional_e8_min=0)
    level = [(float(price), float(quantity))]
    paper = venue(markets(StillBook(asks=level, bids=level), rules), dict.fromkeys(PLENTY, 10**20))
    (fill,) = fills(send(paper, order(side, format_e8(cents * 10**6), format_e8(lots))))
    against_us = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    quote = (price * quantity).quantize(UNIT, rounding=against_us)
    is_base = payment is FeePayment.RECEIVED and side is Side.BUY
    fee = ((quantity if is_base else quote) * fee_ppm / 1_000_000).quantize(UNIT, rounding=ROUND_CEILING)
    assert (decimal(fill.quote_e8), decimal(fill.fee_e8)) == (quote, fee)
    sign = 1 if side is Side.BUY else -1
    moved = {BTC_NODE: sign * quantity, USDT_NODE: -sign * quote}
    moved[BTC_NODE if is_base else USDT_NODE] -= fee
    assert {node: decimal(amount_e8 - 10**20) for node, amount_e8 in paper.account.balances.items()} == moved


def test_trade_ids_are_unique_over_orders_and_fills() -> None:
    paper = venue(markets(BOOK))
    seen = [fill.trade_id for n in range(3) for fill in fills(send(paper, order(Side.BUY, "100.02", "1", name=f"a-{n}")))]
    assert len(seen) == len(set(seen)) == 4


ONE_UNIT = {"lot_e8": 1, "quantity_e8_min": 1, "notional_e8_min": 0}


def test_an_asset_never_held_pays_for_nothing_not_even_one_unit() -> None:
    paper = venue(markets(BOOK, instrument(**ONE_UNIT)), {USDT_NODE: 10})
    assert fills(send(paper, order(Side.SELL, "99.98", "0.00000001"))) == []
    named = venue(
        markets(BOOK, instrument(fee_ppm=1_000, payment=FeePayment.NAMED)), {USDT_NODE: 100 * E8}, convert=lambda *_: 1
    )  # fmt: skip
    (fill,) = fills(send(named, order(Side.BUY, "100.01", "0.3")))
    assert fill.fee_asset == BTC


def test_a_schedule_without_a_fee_takes_nothing_and_locks_nothing_on_top() -> None:
    on_top = venue(markets(BOOK, instrument(payment=FeePayment.QUOTE)), {USDT_NODE: parse_e8("30.003")})
    assert [fill.fee_e8 for fill in fills(send(on_top, order(Side.BUY, "100.01", "0.3")))] == [0]
    named = venue(markets(BOOK, instrument(payment=FeePayment.NAMED)), PLENTY | {BNB_NODE: E8}, convert=half)
    (fill,) = fills(send(named, order(Side.BUY, "100.01", "0.3")))
    assert (fill.fee_asset, fill.fee_e8) == (BTC, 0)
