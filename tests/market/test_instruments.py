"""The venue's rules: accepted once, held when they change, released by an operator or by the venue itself."""

from __future__ import annotations

import msgspec
import pytest
from market_world import BINANCE, BTCUSDT, KRWBTC, SETTINGS, UPBIT, picture, reports, unit

from arbitrage.market.board import Board
from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect, Report
from arbitrage.model.events import InstrumentsRead
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, TickBand, TickTable, TradingStatus
from arbitrage.model.money import E8, Asset

MARKETS = (("binance", "BTCUSDT"), ("upbit", "KRW-BTC"), ("binance", "ETHUSDT"))
KRW_TABLE = TickTable((TickBand(0, E8), TickBand(1_000 * E8, 5 * E8), TickBand(10_000 * E8, 10 * E8)))


def board() -> Board:
    return Board(MARKETS, SETTINGS)


def read(board: Board, *instruments: Instrument, missing: tuple[str, ...] = (), venue: str = BINANCE) -> list[Effect]:
    return list(board.apply(InstrumentsRead(1, venue, instruments, missing)))


def tried(board: Board, market: int = 0) -> Doubt | None:
    """The registry's part of the doubt: everything else is NEVER_SYNCED here."""
    doubt = board.doubt(market, 1)
    return None if doubt is Doubt.NEVER_SYNCED else doubt


def upbit_tick(tick_e8: int) -> Instrument:
    return msgspec.structs.replace(KRWBTC, ticks=KRW_TABLE, tick_read_e8=tick_e8)


def test_before_the_rules_are_read_every_market_is_missing() -> None:
    fresh = board()
    assert [fresh.doubt(market, 1) for market in range(3)] == [Doubt.MISSING] * 3
    assert fresh.instruments == [None, None, None] and fresh.instruments_version == 0


def test_the_first_reading_accepts_and_what_is_not_in_it_is_missing() -> None:
    fresh = board()
    assert reports(read(fresh, BTCUSDT, missing=("ETHUSDT",))) == ["instrument_missing"]
    assert fresh.instruments == [BTCUSDT, None, None]
    assert (tried(fresh, 0), tried(fresh, 1), tried(fresh, 2)) == (None, Doubt.MISSING, Doubt.MISSING)
    assert fresh.instruments_version > 0 and fresh.changed == {0, 2}


def test_an_unchanged_reading_says_nothing() -> None:
    fresh = board()
    read(fresh, BTCUSDT)
    version = fresh.instruments_version
    assert read(fresh, BTCUSDT) == []
    assert fresh.instruments_version == version


@pytest.mark.parametrize(
    ("field", "value", "before", "after"),
    [
        ("ticks", TickTable.single(E8 // 10), "0.01 from 0", "0.1 from 0"),
        ("lot_e8", 10_000, "0.00001", "0.0001"),
        ("quantity_e8_min", 2_000, "0.00001", "0.00002"),
        ("quantity_e8_max", 8_000 * E8, "9000", "8000"),
        ("notional_e8_min", 10 * E8, "5", "10"),
        ("base", Asset("XBT"), "BTC", "XBT"),
        ("fees", FeeSchedule(1, 2, FeePayment.NAMED, Asset("BNB")), "1000/1000 ppm received", "1/2 ppm named BNB"),
    ],
)
def test_a_changed_rule_holds_the_symbol_and_names_the_field(field: str, value: object, before: str, after: str) -> None:
    fresh = board()
    read(fresh, BTCUSDT)
    changed = msgspec.structs.replace(BTCUSDT, **{field: value})
    (report,) = read(fresh, changed)
    assert isinstance(report, Report) and report.code == "instrument_changed"
    assert report.fields["symbol"] == "BTCUSDT" and report.fields["field"] == field
    assert (report.fields["before"], report.fields["after"]) == (before, after)
    assert tried(fresh) is Doubt.HELD and fresh.instruments[0] == BTCUSDT
    assert read(fresh, changed) == [], "said once, not every hour"
    assert reports(fresh.accept_instruments()) == ["instrument_accepted"]
    assert tried(fresh) is None and fresh.instruments[0] == changed
    assert fresh.accept_instruments() == []


def test_a_second_change_while_held_is_said_again() -> None:
    fresh = board()
    read(fresh, BTCUSDT)
    read(fresh, msgspec.structs.replace(BTCUSDT, lot_e8=10_000))
    assert reports(read(fresh, msgspec.structs.replace(BTCUSDT, lot_e8=100_000))) == ["instrument_changed"]
    fresh.accept_instruments()
    accepted = fresh.instruments[0]
    assert accepted is not None and accepted.lot_e8 == 100_000


def test_a_rule_that_comes_back_as_accepted_releases_the_hold() -> None:
    fresh = board()
    read(fresh, BTCUSDT)
    read(fresh, msgspec.structs.replace(BTCUSDT, lot_e8=10_000))
    assert reports(read(fresh, BTCUSDT)) == ["instrument_restored"]
    assert tried(fresh) is None


@pytest.mark.parametrize("status", [TradingStatus.HALTED, TradingStatus.CANCEL_ONLY])
def test_a_symbol_that_stops_trading_is_halted_and_named(status: TradingStatus) -> None:
    fresh = board()
    read(fresh, BTCUSDT)
    (report,) = read(fresh, msgspec.structs.replace(BTCUSDT, status=status))
    assert isinstance(report, Report) and report.fields["after"] == status.value
    assert tried(fresh) is Doubt.HALTED
    fresh.accept_instruments()
    assert tried(fresh) is Doubt.HALTED, "accepting a halt does not make it tradable"
    read(fresh, BTCUSDT)
    assert tried(fresh) is Doubt.HELD, "and its end is a change again"


def test_a_symbol_halted_from_the_start_is_halted() -> None:
    fresh = board()
    read(fresh, msgspec.structs.replace(BTCUSDT, status=TradingStatus.HALTED))
    assert tried(fresh) is Doubt.HALTED


def test_a_symbol_that_disappears_is_missing_until_it_is_listed_again() -> None:
    fresh = board()
    read(fresh, BTCUSDT)
    assert reports(read(fresh)) == ["instrument_missing"]
    assert tried(fresh) is Doubt.MISSING
    assert read(fresh) == [], "said once"
    read(fresh, BTCUSDT)
    assert tried(fresh) is None


def test_a_price_that_moves_to_another_band_of_a_known_table_changes_nothing() -> None:
    fresh = board()
    read(fresh, upbit_tick(E8), venue=UPBIT)
    assert read(fresh, upbit_tick(5 * E8), venue=UPBIT) == []
    assert tried(fresh, 1) is None


def test_a_stated_tick_that_disagrees_with_the_band_at_the_price_holds() -> None:
    fresh = board()
    read(fresh, upbit_tick(5 * E8), venue=UPBIT)
    fresh.apply(picture(5, unit(1_400, 1_405), market=1))
    assert fresh.doubt(1, 1) is None
    (report,) = read(fresh, upbit_tick(E8), venue=UPBIT)
    assert isinstance(report, Report) and (report.fields["field"], report.fields["after"]) == ("ticks", "1 from 0")
    assert fresh.doubt(1, 1) is Doubt.HELD
    fresh.accept_instruments()
    assert read(fresh, upbit_tick(E8), venue=UPBIT) == [], "the accepted tick is what the venue still states"
    assert fresh.doubt(1, 1) is None


def test_a_tick_read_before_any_price_is_verified_at_the_first_one() -> None:
    fresh = board()
    read(fresh, upbit_tick(E8), venue=UPBIT)
    assert reports(fresh.apply(picture(5, unit(1_400, 0, 1, 0), market=1))) == [], "one side is no price"
    assert reports(fresh.apply(picture(5, unit(1_400, 1_405), market=1))) == ["tick_differs"]
    accepted = fresh.instruments[1]
    assert accepted is not None and accepted.ticks == TickTable.single(E8), "the venue's own word is the authority"
    assert fresh.doubt(1, 1) is None
    assert fresh.apply(picture(6, unit(1_400, 1_405), market=1)) == ()


def test_a_tick_that_agrees_at_the_first_price_is_quietly_verified() -> None:
    fresh = board()
    read(fresh, upbit_tick(5 * E8), venue=UPBIT)
    assert reports(fresh.apply(picture(5, unit(1_400, 1_405), market=1))) == []
    assert fresh.doubt(1, 1) is None


def test_the_price_may_stand_just_across_a_band_when_the_tick_was_read() -> None:
    fresh = board()
    fresh.apply(picture(5, unit(1_003, 1_004), market=1))
    assert read(fresh, upbit_tick(E8), venue=UPBIT) == []
    accepted = fresh.instruments[1]
    assert accepted is not None and accepted.ticks == KRW_TABLE


def test_the_first_reading_believes_the_stated_tick_over_the_printed_table() -> None:
    fresh = board()
    fresh.apply(picture(5, unit(1_400, 1_405), market=1))
    assert reports(read(fresh, upbit_tick(E8 // 2), venue=UPBIT)) == ["tick_differs"]
    accepted = fresh.instruments[1]
    assert accepted is not None and accepted.ticks == TickTable.single(E8 // 2)
    assert fresh.doubt(1, 1) is None
    assert read(fresh, upbit_tick(E8 // 2), venue=UPBIT) == []


def test_a_missing_symbol_is_reported_by_name_with_how_it_is_missing() -> None:
    fresh = board()
    named, absent = read(fresh, missing=("ETHUSDT",))
    assert isinstance(named, Report) and isinstance(absent, Report)
    assert (named.fields["symbol"], absent.fields["symbol"]) == ("BTCUSDT", "ETHUSDT")
    assert "absent from the answer" in named.text and "named as not listed" in absent.text


def test_the_version_grows_when_an_accepted_rule_changes_and_the_doubt_does_not() -> None:
    fresh = board()
    halted = msgspec.structs.replace(BTCUSDT, status=TradingStatus.HALTED)
    read(fresh, halted)
    read(fresh, msgspec.structs.replace(halted, lot_e8=10_000))
    version = fresh.instruments_version
    fresh.accept_instruments()
    assert tried(fresh) is Doubt.HALTED and fresh.instruments_version > version


def test_a_one_sided_book_cannot_verify_a_tick() -> None:
    fresh = board()
    fresh.apply(picture(5, unit(1_400, 0, 1, 0), market=1))
    assert read(fresh, upbit_tick(E8), venue=UPBIT) == []
    assert reports(fresh.apply(picture(6, unit(1_400, 1_405), market=1))) == ["tick_differs"]


def test_a_verified_tick_is_not_judged_again_when_the_price_moves_on() -> None:
    fresh = board()
    read(fresh, upbit_tick(5 * E8), venue=UPBIT)
    for step, price in enumerate([1_100, 950]):
        assert fresh.apply(picture(5 + step, unit(price, price + 5), market=1)) == ()
    assert fresh.doubt(1, 1) is None
