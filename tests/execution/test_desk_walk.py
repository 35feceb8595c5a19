"""The exact walk: what it takes from a book, against us by every rounding, and never more than was asked."""

from __future__ import annotations

import msgspec
import pytest
from desk_world import BTC, BTC_KRW, BTC_USDT, INSTRUMENTS, KRW, USDT
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.execution.walk import ExactLevel, exact_levels, expected_deltas, quantity_for, walk
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Side
from arbitrage.model.money import E8, Asset

BNB = Asset("BNB")


def paying(payment: FeePayment, named: Asset | None = None, ppm: int = 1_000) -> Instrument:
    return msgspec.structs.replace(INSTRUMENTS[BTC_USDT], fees=FeeSchedule(ppm, ppm, payment, named))


def test_levels_beyond_the_limit_are_not_taken() -> None:
    book = [(100.0, 1.0), (101.0, 2.0), (102.0, 3.0)]
    assert exact_levels(book, INSTRUMENTS[BTC_USDT], Side.BUY, 101 * E8) == [(100 * E8, E8), (101 * E8, 2 * E8)]
    book.reverse()
    assert exact_levels(book, INSTRUMENTS[BTC_USDT], Side.SELL, 102 * E8) == [(102 * E8, 3 * E8)]


@pytest.mark.parametrize("level", [(float("nan"), 1.0), (101.0, -1.0), (0.0, 1.0)])
def test_a_level_that_no_number_explains_ends_the_walk(level: tuple[float, float]) -> None:
    book = [(100.0, 1.0), level, (101.0, 1.0)]
    assert exact_levels(book, INSTRUMENTS[BTC_USDT], Side.BUY, 200 * E8) == [(100 * E8, E8)]


def test_the_walk_pays_each_level_its_own_price_rounded_against_us() -> None:
    levels = [(3, 5), (7, 100)]
    assert walk(levels, Side.BUY, 10) == msgspec.structs.replace(walk(levels, Side.SELL, 10), quote_e8=2)
    assert walk(levels, Side.SELL, 10).quote_e8 == 0
    assert walk([(2 * E8, E8), (3 * E8, E8)], Side.BUY, E8 + E8 // 2).quote_e8 == 3 * E8 + E8 // 2
    assert walk([(2 * E8, E8), (3 * E8, E8)], Side.BUY, E8).worst_price_e8 == 2 * E8


def test_the_walk_takes_only_what_is_there() -> None:
    with pytest.raises(AssertionError, match="hold the quantity"):
        walk([(E8, 5)], Side.BUY, 6)


DEEP = [(50_000 * E8, 100 * E8)]


def test_selling_base_sells_what_is_too_much_floored_to_the_lot() -> None:
    found = quantity_for(DEEP, INSTRUMENTS[BTC_USDT], Side.SELL, asset=BTC, amount_e8=12_345)
    assert found == 12_000


def test_a_base_fee_is_bought_on_top() -> None:
    received = quantity_for(DEEP, paying(FeePayment.RECEIVED), Side.BUY, asset=BTC, amount_e8=999_000)
    quoted = quantity_for(DEEP, paying(FeePayment.QUOTE), Side.BUY, asset=BTC, amount_e8=999_000)
    assert (received, quoted) == (1_000_000, 999_000)


def test_depth_and_the_largest_order_cut_a_quantity() -> None:
    small = msgspec.structs.replace(INSTRUMENTS[BTC_USDT], quantity_e8_max=5_000)
    assert quantity_for(DEEP, small, Side.SELL, asset=BTC, amount_e8=E8) == 5_000
    assert quantity_for([(E8, 7_000)], INSTRUMENTS[BTC_USDT], Side.SELL, asset=BTC, amount_e8=E8) == 7_000
    assert quantity_for([], INSTRUMENTS[BTC_USDT], Side.BUY, asset=USDT, amount_e8=E8) == 0


books = st.lists(st.tuples(st.integers(1, 10**13), st.integers(1, 10**12)), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    books,
    st.integers(1, 10**14),
    st.sampled_from([FeePayment.RECEIVED, FeePayment.QUOTE, FeePayment.NAMED]),
    st.integers(-500, 5_000),
    st.sampled_from([Side.BUY, Side.SELL]),
)
def test_a_spending_walk_never_spends_more_than_it_may(
    book: list[ExactLevel], amount_e8: int, payment: FeePayment, fee_ppm: int, side: Side
) -> None:
    rules = msgspec.structs.replace(paying(payment, BNB if payment is FeePayment.NAMED else None, fee_ppm), lot_e8=1)
    levels = sorted(book, reverse=side is Side.SELL)
    asset = rules.quote if side is Side.BUY else rules.base
    quantity_e8 = quantity_for(levels, rules, side, asset=asset, amount_e8=amount_e8)
    if not quantity_e8:
        return
    walked = walk(levels, side, quantity_e8)
    paid_in_third = payment is FeePayment.NAMED
    rounding = len(levels) + 2
    spent_e8 = walked.quote_e8 if paid_in_third and side is Side.BUY else -expected_deltas(walked, rules, side)[asset]
    assert spent_e8 <= amount_e8 + (rounding if side is Side.BUY else 0)


@settings(max_examples=200, deadline=None)
@given(books, st.integers(1, 10**14), st.sampled_from([FeePayment.RECEIVED, FeePayment.QUOTE]), st.integers(0, 5_000))
def test_a_sale_for_quote_brings_what_was_asked_or_the_whole_depth(
    book: list[ExactLevel], amount_e8: int, payment: FeePayment, fee_ppm: int
) -> None:
    rules = msgspec.structs.replace(paying(payment, ppm=fee_ppm), lot_e8=1)
    levels = sorted(book, reverse=True)
    quantity_e8 = quantity_for(levels, rules, Side.SELL, asset=rules.quote, amount_e8=amount_e8)
    if not quantity_e8 or quantity_e8 == sum(level_e8 for _, level_e8 in levels):
        return
    walked = walk(levels, Side.SELL, quantity_e8)
    brought_e8 = expected_deltas(walked, rules, Side.SELL)[rules.quote]
    one_more_lot_e8 = levels[0][0] // E8 + len(levels) + 3
    assert amount_e8 - one_more_lot_e8 <= brought_e8 <= amount_e8 + one_more_lot_e8


def test_the_expected_change_carries_the_fee_in_its_own_asset() -> None:
    walked = walk([(50_000 * E8, E8)], Side.BUY, E8)
    assert expected_deltas(walked, paying(FeePayment.RECEIVED), Side.BUY) == {BTC: E8 - E8 // 1_000, USDT: -50_000 * E8}
    assert expected_deltas(walked, paying(FeePayment.QUOTE), Side.BUY) == {BTC: E8, USDT: -50_050 * E8}
    sold = walk([(50_000 * E8, E8)], Side.SELL, E8)
    assert expected_deltas(sold, paying(FeePayment.RECEIVED), Side.SELL) == {BTC: -E8, USDT: 49_950 * E8}
    assert expected_deltas(sold, INSTRUMENTS[BTC_KRW], Side.SELL) == {BTC: -E8, KRW: 49_975 * E8}


def test_a_fee_in_a_third_asset_is_expected_in_quote() -> None:
    walked = walk([(50_000 * E8, E8)], Side.BUY, E8)
    assert expected_deltas(walked, paying(FeePayment.NAMED, BNB), Side.BUY) == {BTC: E8, USDT: -50_050 * E8}
