"""What an account adds to a venue's rules: its own fees, and which wallets are suspended."""

from __future__ import annotations

import msgspec
from market_world import BINANCE, BTCUSDT, KRWBTC, SETTINGS, UPBIT, reports

from arbitrage.market.board import Board
from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect, Report
from arbitrage.model.events import FeesRead, InstrumentsRead, MarketClosed, WalletsRead
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node
from arbitrage.model.money import Asset

MARKETS = (("binance", "BTCUSDT"), ("upbit", "KRW-BTC"))
BNB = Asset("BNB")
OWN = FeeSchedule(750, 750, FeePayment.NAMED, BNB)
DEARER = FeeSchedule(900, 1_200, FeePayment.RECEIVED)


def board(*instruments: Instrument) -> Board:
    made = Board(MARKETS, SETTINGS)
    for instrument in instruments:
        made.apply(InstrumentsRead(1, instrument.venue, (instrument,)))
    made.changed.clear()
    return made


def read_fees(board: Board, fees: FeeSchedule, market: int = 0) -> list[Effect]:
    venue = BINANCE if market == 0 else UPBIT
    return list(board.apply(FeesRead(2, venue, ((market, fees),))))


def fees_of(board: Board, market: int = 0) -> FeeSchedule:
    instrument = board.instruments[market]
    assert instrument is not None
    return instrument.fees


def held(board: Board) -> bool:
    return board.doubt(0, 1) is Doubt.HELD


def test_the_accounts_own_fees_take_the_place_of_the_configured_ones() -> None:
    made = board(BTCUSDT, KRWBTC)
    version = made.instruments_version
    assert read_fees(made, OWN) == []
    assert fees_of(made) == OWN and fees_of(made, 1) == KRWBTC.fees
    assert made.instruments_version > version and made.changed == {0} and not held(made)
    version = made.instruments_version
    assert read_fees(made, OWN) == [] and made.instruments_version == version, "nothing new"


def test_fees_that_come_before_the_rules_are_kept_for_them() -> None:
    made = board()
    assert read_fees(made, OWN) == [] and made.instruments[0] is None
    made.apply(InstrumentsRead(3, BINANCE, (BTCUSDT,)))
    assert fees_of(made) == OWN and not held(made)


def test_the_hourly_rules_with_configured_fees_are_no_change() -> None:
    made = board(BTCUSDT)
    read_fees(made, OWN)
    assert list(made.apply(InstrumentsRead(3, BINANCE, (BTCUSDT,)))) == []
    assert fees_of(made) == OWN and not held(made)


def test_a_changed_fee_holds_the_symbol_and_names_it_until_it_is_accepted() -> None:
    """Pains row 17 and 21: what a trade costs is part of the contract."""
    made = board(BTCUSDT)
    read_fees(made, OWN)
    (report,) = read_fees(made, DEARER)
    assert isinstance(report, Report) and report.code == "instrument_changed"
    assert "fees of BTCUSDT at binance changed from 750/750 ppm named BNB to 900/1200 ppm received" in report.text
    assert held(made) and fees_of(made) == OWN
    assert read_fees(made, DEARER) == [], "said once"
    made.accept_instruments()
    assert fees_of(made) == DEARER and not held(made)


def test_a_fee_that_changes_back_lets_the_symbol_go() -> None:
    made = board(BTCUSDT)
    read_fees(made, OWN)
    read_fees(made, DEARER)
    assert reports(read_fees(made, OWN)) == ["instrument_restored"] and not held(made)


def test_a_rule_that_is_held_already_stays_held_with_the_new_fee() -> None:
    made = board(BTCUSDT)
    finer = msgspec.structs.replace(BTCUSDT, lot_e8=10)
    made.apply(InstrumentsRead(3, BINANCE, (finer,)))
    assert held(made)
    read_fees(made, OWN)
    assert held(made) and fees_of(made) == OWN, "the first reading of fees is no change"
    made.accept_instruments()
    assert made.instruments[0] == msgspec.structs.replace(finer, fees=OWN)


def read_terms(board: Board, notional_e8_min: int, *inactive: int) -> list[Effect]:
    return list(board.apply(FeesRead(2, BINANCE, ((0, OWN),), ((0, notional_e8_min),), inactive)))


def test_the_accounts_own_minimum_replaces_the_printed_one_and_a_later_change_holds_the_symbol() -> None:
    made = board(BTCUSDT)
    assert read_terms(made, 7) == []
    accepted = made.instruments[0]
    assert accepted is not None and accepted.notional_e8_min == 7 and not held(made)
    assert list(made.apply(InstrumentsRead(3, BINANCE, (BTCUSDT,)))) == [], "what the account was told is no change"
    (report,) = read_terms(made, 9)
    assert isinstance(report, Report) and "notional_e8_min of BTCUSDT" in report.text and held(made)
    assert reports(read_terms(made, 7)) == ["instrument_restored"] and not held(made)


def test_a_market_in_which_the_account_cannot_trade_is_halted_until_it_can() -> None:
    made = board(BTCUSDT)
    (report,) = read_terms(made, 7, 0)
    assert isinstance(report, Report) and report.text == "BTCUSDT at binance is not active: it is not traded"
    assert made.doubt(0, 1) is Doubt.HALTED
    assert read_terms(made, 7, 0) == [], "said once"
    (report,) = read_terms(made, 7)
    assert isinstance(report, Report) and report.text == "BTCUSDT at binance is active again"
    assert made.doubt(0, 1) is not Doubt.HALTED


def test_a_suspended_wallet_is_known_and_said_once() -> None:
    made = board()
    assert made.suspended == frozenset()
    assert reports(made.apply(WalletsRead(1, UPBIT, (Asset("XRP"), Asset("BTC"))))) == ["wallet", "wallet"]
    assert made.suspended == {Node(UPBIT, Asset("XRP")), Node(UPBIT, Asset("BTC"))}
    assert made.apply(WalletsRead(2, UPBIT, (Asset("BTC"), Asset("XRP")))) == []
    (report,) = made.apply(WalletsRead(3, UPBIT, (Asset("BTC"),)))
    assert isinstance(report, Report) and report.text == "the wallet of XRP@upbit is open again"
    made.apply(WalletsRead(4, BINANCE, (Asset("XRP"),)))
    assert made.suspended == {Node(UPBIT, Asset("BTC")), Node(BINANCE, Asset("XRP"))}, "each venue speaks for itself"


def test_a_market_that_refuses_an_order_as_closed_is_halted_until_its_rules_are_read_again_or_accepted() -> None:
    """Pains row 20: at most one order is refused before the symbol is held."""
    for how in ("read", "accepted"):
        made = board(BTCUSDT, KRWBTC)
        closed = MarketClosed(2, BINANCE, 0)
        assert reports(made.apply(closed)) == ["market_closed"]
        assert made.doubt(0, 1) is Doubt.HALTED and 0 in made.changed
        assert made.apply(closed) == [], "said once"
        if how == "read":
            made.apply(InstrumentsRead(3, BINANCE, (BTCUSDT,)))
        else:
            made.accept_instruments()
        assert made.doubt(0, 1) is not Doubt.HALTED
