"""Tick tables round onto their own band's grid, instruments refuse impossible rules, and a changed rule is named."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model_money import BAND_STARTS, UPBIT_KRW, UPBIT_KRW_BANDS

from arbitrage.model.instruments import (
    CONTRACT_FIELDS,
    FeePayment,
    FeeSchedule,
    Instrument,
    Node,
    Side,
    TickBand,
    TickTable,
    TradingStatus,
    Venue,
    changed_fields,
)
from arbitrage.model.money import E8, PPM, Asset, parse_e8

FEES = FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)
BTCUSDT = Instrument(
    0, Venue("binance"), "BTCUSDT", Asset("BTC"), Asset("USDT"), TickTable.single(10**6), 1_000, 1_000, 9_000 * E8, 5 * E8,
    TradingStatus.TRADING, FEES,
)  # fmt: skip
prices_e8 = st.one_of(
    st.integers(1, 10**9 * E8),
    st.builds(lambda start_e8, off: max(1, start_e8 + off), st.sampled_from(BAND_STARTS), st.integers(-(10**4), 10**4)),
)


@pytest.mark.parametrize(("start", "tick"), UPBIT_KRW_BANDS)
def test_a_band_starts_at_its_own_lower_bound_and_ends_before_the_next(start: str, tick: str) -> None:
    start_e8 = parse_e8(start)
    assert UPBIT_KRW.tick_e8_at(start_e8) == parse_e8(tick)
    if start_e8:
        below = [parse_e8(other) for begin, other in UPBIT_KRW_BANDS if parse_e8(begin) < start_e8][-1]
        assert UPBIT_KRW.tick_e8_at(start_e8 - 1) == below


@settings(max_examples=400, deadline=None)
@given(prices_e8)
def test_floor_and_ceil_sit_on_their_own_bands_grid_and_enclose_the_price(price_e8: int) -> None:
    floor_e8, ceil_e8 = UPBIT_KRW.floor(price_e8), UPBIT_KRW.ceil(price_e8)
    for rounded_e8 in (floor_e8, ceil_e8):
        assert rounded_e8 % UPBIT_KRW.tick_e8_at(rounded_e8) == 0
    assert floor_e8 <= price_e8 <= ceil_e8
    assert ceil_e8 - price_e8 < UPBIT_KRW.tick_e8_at(price_e8)
    assert price_e8 - floor_e8 < UPBIT_KRW.tick_e8_at(price_e8)
    assert UPBIT_KRW.floor(floor_e8) == floor_e8
    assert UPBIT_KRW.ceil(ceil_e8) == ceil_e8


def test_rounding_up_across_a_band_edge_lands_on_the_coarser_grid() -> None:
    table = TickTable((TickBand(0, 3), TickBand(10, 7)))
    assert table.ceil(10) == 14
    assert table.ceil(9) == 9
    crossing = TickTable((TickBand(0, 4), TickBand(9, 10)))
    assert crossing.ceil(5) == 8
    assert TickTable((TickBand(0, 6), TickBand(9, 10))).ceil(7) == 20, "12 is beyond the edge and not on the grid there"


def test_a_price_below_nothing_has_no_tick() -> None:
    with pytest.raises(AssertionError):
        UPBIT_KRW.tick_e8_at(-1)


@pytest.mark.parametrize("bands", [(), ((1, 1),), ((0, 1), (0, 2)), ((0, 1), (5, 2), (4, 3)), ((0, 0),), ((0, 1), (5, -1))])
def test_a_tick_table_that_is_not_one_has_no_constructor(bands: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(AssertionError):
        TickTable(tuple(TickBand(*band) for band in bands))


@pytest.mark.parametrize(
    "arguments",
    [
        (1, 1, FeePayment.NAMED, None),
        (1, 1, FeePayment.QUOTE, Asset("BNB")),
        (PPM + 1, 1, FeePayment.QUOTE, None),
        (1, -PPM - 1, FeePayment.QUOTE, None),
    ],
)
def test_a_fee_schedule_that_contradicts_itself_has_no_constructor(
    arguments: tuple[int, int, FeePayment, Asset | None],
) -> None:
    with pytest.raises(AssertionError):
        FeeSchedule(*arguments)


@pytest.mark.parametrize(
    "change",
    [
        {"id": -1},
        {"quote": Asset("BTC")},
        {"lot_e8": 0},
        {"quantity_e8_min": -1},
        {"quantity_e8_min": 9_000 * E8 + 1},
        {"notional_e8_min": -1},
    ],
)
def test_rules_that_cannot_be_have_no_constructor(change: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        Instrument(**{name: getattr(BTCUSDT, name) for name in BTCUSDT.__struct_fields__} | change)


def test_a_buy_turns_quote_into_base_and_a_sell_turns_it_back() -> None:
    base, quote = Node(Venue("binance"), Asset("BTC")), Node(Venue("binance"), Asset("USDT"))
    assert (BTCUSDT.spent_node(Side.BUY), BTCUSDT.received_node(Side.BUY)) == (quote, base)
    assert (BTCUSDT.spent_node(Side.SELL), BTCUSDT.received_node(Side.SELL)) == (base, quote)
    assert str(base) == "BTC@binance"
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)


CHANGES: dict[str, object] = {
    "base": Asset("ETH"), "quote": Asset("BUSD"), "ticks": TickTable.single(7), "lot_e8": 2_000, "quantity_e8_min": 5_000,
    "quantity_e8_max": 8_000 * E8, "notional_e8_min": 10 * E8, "status": TradingStatus.HALTED,
    "fees": FeeSchedule(1_000, 999, FeePayment.RECEIVED),
}  # fmt: skip


@pytest.mark.parametrize("field", CONTRACT_FIELDS)
def test_each_changed_rule_is_named(field: str) -> None:
    assert changed_fields(BTCUSDT, msgspec.structs.replace(BTCUSDT, **{field: CHANGES[field]})) == (field,)


def test_an_unchanged_instrument_names_nothing_and_two_instruments_are_not_compared() -> None:
    assert changed_fields(BTCUSDT, msgspec.structs.replace(BTCUSDT)) == ()
    with pytest.raises(AssertionError):
        changed_fields(BTCUSDT, msgspec.structs.replace(BTCUSDT, id=1))
