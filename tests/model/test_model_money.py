"""Exact money: floats are recovered by rounding to the grid, currencies do not mix, every rounding has its direction."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mypy import api

from arbitrage.model import money
from arbitrage.model.instruments import TickBand, TickTable
from arbitrage.model.money import E8, PPM, Amount, Asset, Krw, krw, usdt

UPBIT_KRW_BANDS = (
    ("0", "0.00000001"), ("0.00001", "0.0000001"), ("0.0001", "0.000001"), ("0.001", "0.00001"), ("0.01", "0.0001"),
    ("0.1", "0.001"), ("1", "0.01"), ("10", "0.1"), ("100", "1"), ("1000", "1"), ("5000", "5"), ("10000", "10"),
    ("50000", "50"), ("100000", "100"), ("500000", "500"), ("1000000", "1000"), ("2000000", "1000"),
)  # fmt: skip
"""upbit.md section 8, the table in force since 2025-07-31."""
UPBIT_KRW = TickTable(tuple(TickBand(money.parse_e8(start), money.parse_e8(tick)) for start, tick in UPBIT_KRW_BANDS))
BAND_STARTS = [band.price_from_e8 for band in UPBIT_KRW.bands]
KRW_PRICE_E8_MAX = 10**9 * E8
big = st.integers(-(10**24), 10**24)
units = st.integers(0, 10**22)
fees = st.integers(-PPM, PPM)


@st.composite
def krw_prices_e8(draw: st.DrawFn) -> int:
    """A price on its band's grid, every band as likely as another, up to 1e9 won."""
    number = draw(st.integers(0, len(UPBIT_KRW.bands) - 1))
    band, ends = UPBIT_KRW.bands[number], [*BAND_STARTS[1:], KRW_PRICE_E8_MAX + 1]
    first, last = -(-max(1, band.price_from_e8) // band.tick_e8), (ends[number] - 1) // band.tick_e8
    return draw(st.integers(first, last)) * band.tick_e8


@settings(max_examples=300, deadline=None)
@given(krw_prices_e8())
@example(KRW_PRICE_E8_MAX)
def test_every_won_price_up_to_a_billion_is_recovered_exactly_from_its_float(price_e8: int) -> None:
    text = money.format_e8(price_e8)
    assert UPBIT_KRW.recover_e8(float(text)) == price_e8
    assert UPBIT_KRW.recover_e8(float(f"{float(text):.16E}")) == price_e8, "an exponent says the same"


def test_every_tick_of_every_band_of_upbit_is_recovered_near_its_edges() -> None:
    for band, end_e8 in zip(UPBIT_KRW.bands, [*BAND_STARTS[1:], KRW_PRICE_E8_MAX], strict=True):
        start_e8 = max(band.price_from_e8, band.tick_e8)
        for steps in range(200):
            for price_e8 in (start_e8 + steps * band.tick_e8, end_e8 - (steps + 1) * band.tick_e8):
                assert UPBIT_KRW.recover_e8(float(money.format_e8(price_e8))) == price_e8


@settings(max_examples=500, deadline=None)
@given(st.integers(0, money.FLOAT_EXACT_MAX - 1))
@example(money.FLOAT_EXACT_MAX - 1)
@example(0)
def test_every_quantity_with_8_decimals_is_recovered_exactly_from_its_float(quantity_e8: int) -> None:
    assert money.recover_quantity_down_e8(float(money.format_e8(quantity_e8)), 1) == quantity_e8


@settings(max_examples=500, deadline=None)
@given(st.integers(1, money.FLOAT_EXACT_MAX - 1), st.sampled_from([1, 5, 10, 50, 10**3, 10**6, 5 * 10**7, E8]))
@example(money.FLOAT_EXACT_MAX - 1, 1)
def test_every_price_whose_grid_index_a_float_separates_is_recovered_exactly(index: int, tick_e8: int) -> None:
    assert money.recover_price_e8(float(money.format_e8(index * tick_e8)), tick_e8) == index * tick_e8


def test_truncation_is_wrong_for_some_percent_of_inputs_and_ours_for_none() -> None:
    rng = random.Random(20251011)
    quantities = [rng.randrange(1, 10**9) for _ in range(20_000)]
    decoded = [(value_e8, float(money.format_e8(value_e8))) for value_e8 in quantities]
    truncated = sum(int(value * 1e8) != value_e8 for value_e8, value in decoded)
    ours = sum(money.recover_quantity_down_e8(value, 1) != value_e8 for value_e8, value in decoded)
    assert 0.03 < truncated / len(decoded) < 0.12
    assert ours == 0
    assert int(0.29 * 1e8) == 28_999_999, "the text 0.29 loses a unit when it is truncated"
    assert money.recover_quantity_down_e8(0.29, 1) == 29_000_000


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 10**13), st.sampled_from([1, 10, 1_000, 10**5, E8]))
def test_a_quantity_between_lots_counts_as_the_lower_lot(quantity_e8: int, lot_e8: int) -> None:
    shown = float(money.format_e8(quantity_e8))
    assert money.recover_quantity_down_e8(shown, lot_e8) == money.floor_to(quantity_e8, lot_e8)


@settings(max_examples=300, deadline=None)
@given(st.integers(10**15, 10**37), st.sampled_from([1, 1_000, E8]))
def test_a_quantity_beyond_a_floats_digits_is_never_overstated_and_hardly_understated(quantity_e8: int, lot_e8: int) -> None:
    quantity_e8 = money.floor_to(quantity_e8, lot_e8)
    recovered_e8 = money.recover_quantity_down_e8(float(money.format_e8(quantity_e8)), lot_e8)
    assert recovered_e8 <= quantity_e8
    assert recovered_e8 % lot_e8 == 0
    assert quantity_e8 - recovered_e8 <= quantity_e8 // 10**14 + 2 * lot_e8


def test_large_quantities_on_a_coarse_lot_are_still_exact() -> None:
    assert money.recover_quantity_down_e8(12_345_678_901.0, E8) == 12_345_678_901 * E8
    assert money.recover_quantity_down_e8(1_000_000_000_000.0, 1) < 10**12 * E8, "beyond the digits of a float: rounded down"


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), 1e18])
def test_no_venue_means_such_a_price(price: float) -> None:
    with pytest.raises(ValueError, match="price out of range"):
        UPBIT_KRW.recover_e8(price)


@pytest.mark.parametrize("quantity", [-1e-8, float("nan"), float("inf"), 1e30])
def test_no_venue_means_such_a_quantity(quantity: float) -> None:
    with pytest.raises(ValueError, match="quantity out of range"):
        money.recover_quantity_down_e8(quantity, 1)


def test_a_price_under_half_a_step_or_beyond_the_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="under half a step"):
        money.recover_price_e8(4e-9, 1)
    edge = money.FLOAT_EXACT_MAX / E8
    with pytest.raises(ValueError, match="more digits than a float holds"):
        money.recover_price_e8(edge, 1)
    assert money.recover_price_e8(edge - 1e-8, 1) == money.FLOAT_EXACT_MAX - 1


@pytest.mark.parametrize(
    ("price", "tick_e8"), [(100.5, E8), (100.4, E8), (1.005, 10**6), (100.00000001, 10**6), (1_500.5, 5 * E8)]
)
def test_a_price_between_two_grid_points_is_refused_and_never_rounded_into_a_better_one(price: float, tick_e8: int) -> None:
    with pytest.raises(ValueError, match="not on a grid of"):
        money.recover_price_e8(price, tick_e8)


def test_the_noise_of_float_arithmetic_still_finds_its_grid_point() -> None:
    assert money.recover_price_e8(0.1 + 0.2, 10**7) == 3 * 10**7
    assert money.recover_price_e8(100.1 + 0.1, 10**6) == 10_020 * 10**6


@settings(max_examples=300, deadline=None)
@given(units, units)
def test_notional_rounds_against_buyer_and_seller(price_e8: int, quantity_e8: int) -> None:
    exact = Fraction(price_e8) * quantity_e8 / E8
    down, up = money.notional_down_e8(price_e8, quantity_e8), money.notional_up_e8(price_e8, quantity_e8)
    assert down <= exact <= up
    assert up - down == (0 if exact.denominator == 1 else 1)


@settings(max_examples=300, deadline=None)
@given(units, fees)
def test_a_fee_rounds_up_and_a_rebate_shrinks_towards_nothing(amount_e8: int, fee_ppm: int) -> None:
    exact = Fraction(amount_e8) * fee_ppm / PPM
    fee_e8 = money.fee_up_e8(amount_e8, fee_ppm)
    assert exact <= fee_e8 < exact + 1
    assert abs(fee_e8) <= amount_e8


def test_a_fee_of_more_than_everything_is_broken() -> None:
    with pytest.raises(AssertionError):
        money.fee_up_e8(E8, PPM + 1)
    assert (money.fee_up_e8(1, 1), money.fee_up_e8(1, -1), money.fee_up_e8(3, -500_000)) == (1, 0, -1)


@settings(max_examples=300, deadline=None)
@given(big, st.integers(1, 10**18))
def test_divisions_name_their_direction(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert exact - 1 < money.div_down(numerator, denominator) <= exact <= money.div_up(numerator, denominator) < exact + 1


@settings(max_examples=300, deadline=None)
@given(big, st.integers(1, 10**18))
def test_grids_round_to_the_nearest_multiple_below_and_above(value_e8: int, step_e8: int) -> None:
    below, above = money.floor_to(value_e8, step_e8), money.ceil_to(value_e8, step_e8)
    assert below % step_e8 == above % step_e8 == 0
    assert value_e8 - step_e8 < below <= value_e8 <= above < value_e8 + step_e8


@pytest.mark.parametrize("round_by", [money.div_down, money.div_up, money.floor_to, money.ceil_to])
@pytest.mark.parametrize("step", [0, -1])
def test_a_grid_that_is_not_positive_is_broken(round_by: object, step: int) -> None:
    assert callable(round_by)
    with pytest.raises(AssertionError):
        round_by(1, step)


@settings(max_examples=300, deadline=None)
@given(big)
def test_printing_and_reading_money_is_a_round_trip(value_e8: int) -> None:
    text = money.format_e8(value_e8)
    assert money.parse_e8(text) == value_e8
    assert Fraction(text) == Fraction(value_e8, E8)
    assert "e" not in text
    assert not ("." in text and text.endswith("0"))


@pytest.mark.parametrize(
    ("text", "value_e8"),
    [
        ("0", 0), ("-0.00000001", -1), ("+1.5", 150_000_000), ("1.48602E8", 148_602_000 * E8),
        ("1E-8", 1), ("-2.5e-7", -25), (" 3 ", 3 * E8),
        ("1.000000000", E8), (".5", E8 // 2), ("5.", 5 * E8),
        ("1e+3", 1_000 * E8), ("10000000000e-18", 1), ("007", 7 * E8),
    ],
)  # fmt: skip
def test_decimal_texts_are_read_exactly(text: str, value_e8: int) -> None:
    assert money.parse_e8(text) == value_e8


@pytest.mark.parametrize("text", ["0.000000001", "1e-9", "1.123456789", "15e-9"])
def test_what_does_not_sit_on_the_grid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than 8 decimals"):
        money.parse_e8(text)


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1.2.3", "1,5", "abc", "1e41", "1e-41", "NaN", "١", "1 2", "0x1", "1e", "1e1.5", "--1", "+-1"]
)
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        money.parse_e8(text)


def test_amounts_of_one_asset_add_subtract_negate_compare_and_print() -> None:
    one, two = krw(E8), krw(2 * E8)
    assert (one + two, two - one, -one) == (krw(3 * E8), one, krw(-E8))
    assert one < two
    assert one <= krw(E8)
    assert not (two < one or two <= one or one < krw(E8))
    assert str(usdt(E8 // 2)) == "0.5 USDT"


@pytest.mark.parametrize("combine", ["__add__", "__sub__", "__lt__", "__le__"])
@pytest.mark.parametrize("other", [usdt(1), 1, 1.0, "1"])
def test_amounts_of_two_assets_do_not_combine_at_run_time(combine: str, other: object) -> None:
    with pytest.raises(TypeError, match=r"cannot combine KRW with .*: convert at an executable book"):
        getattr(krw(1), combine)(other)


def test_two_assets_under_one_type_do_not_combine_at_run_time_either() -> None:
    mislabelled: Amount[Krw] = Amount(Asset("USDT"), 1)
    with pytest.raises(TypeError, match="KRW with USDT"):
        krw(1) + mislabelled


def test_currencies_do_not_type_check_together(tmp_path: Path) -> None:
    snippet = tmp_path / "mixed.py"
    snippet.write_text(
        "from arbitrage.model.money import krw, usdt\n"
        "fine = krw(1) + krw(2) - krw(3)\n"
        "krw(1) + usdt(1)\n"
        "krw(1) - usdt(1)\n"
        "krw(1) < usdt(1)\n"
        "krw(1) + 1\n",
        encoding="utf-8",
    )
    output, errors, status = api.run(["--strict", "--no-error-summary", str(snippet)])
    assert not errors
    assert status == 1
    wrong_lines = {int(line.split(":")[1]) for line in output.splitlines() if "error:" in line}
    assert wrong_lines == {3, 4, 5, 6}, output
