"""Fees in a third asset: priced at executable books, covered by inventory, or refused."""

from __future__ import annotations

from strategy_boards import BOTH, BTC_USDT, ceil_div, detect, kimchi_board, missed, only, triangle
from strategy_world import PlainBoard, PlainBook, balances, instrument, settings

from arbitrage.model.instruments import FeePayment
from arbitrage.model.money import E8, PPM
from arbitrage.model.opportunities import Refusal


def named_board() -> PlainBoard:
    board = kimchi_board(payment=FeePayment.NAMED)
    board.instruments.append(instrument(3, "binance", "BNB/USDT", tick_e8=E8 // 100, lot_e8=100_000))
    board.books.append(PlainBook([(600.0, 1000.0)], [(601.0, 1000.0)]))
    return board


def test_a_fee_in_a_third_asset_is_bought_at_its_ask_and_counted_at_its_bid() -> None:
    found = only(detect(named_board(), settings(transfers=BOTH)))
    assert found.legs[0].fee_asset == "BNB" and found.legs[0].received_e8 == found.legs[0].quantity_e8
    fee_usdt = ceil_div(found.legs[0].spent_e8 * 1000, PPM)
    fee_bnb = ceil_div(fee_usdt, 600)
    assert found.legs[0].fee_e8 == fee_bnb
    assert found.net_e8 == found.amount_out_e8 - found.amount_in_e8 - fee_bnb * 601
    parts = found.breakdown
    assert parts.top_of_book_e8 - parts.depth_e8 - parts.fees_e8 - parts.transfers_e8 == parts.net_e8


def test_a_third_asset_that_covers_only_part_of_the_fees_limits_the_size() -> None:
    ample = {"USDT@binance": 10**15, "BTC@upbit": 10**15, "KRW@upbit": 10**18}
    whole = only(detect(named_board(), settings(transfers=BOTH), balances({**ample, "BNB@binance": 10**12})))
    half = whole.legs[0].fee_e8 // 2
    part = only(detect(named_board(), settings(transfers=BOTH), balances({**ample, "BNB@binance": half})))
    assert half - 20_000 < part.legs[0].fee_e8 <= half
    none = missed(detect(named_board(), settings(transfers=BOTH), balances(ample)))
    assert none.reason is Refusal.INSUFFICIENT_BALANCE and "fees" in none.detail


def test_a_third_asset_without_a_book_is_no_fee_asset() -> None:
    board = named_board()
    board.instruments[3] = None
    line = missed(detect(board, settings(transfers=BOTH)))
    assert line.reason is Refusal.NO_FX and "BNB@binance" in line.detail


def test_a_third_asset_that_a_leg_spends_must_cover_both() -> None:
    fee = {"fee_ppm": 1000, "payment": FeePayment.NAMED, "named": "BNB", "lot_e8": 1000}
    board = PlainBoard(
        [
            instrument(0, "v", "BTC/USDT", **fee),  # type: ignore[arg-type]  # one set of keywords for three markets
            instrument(1, "v", "BNB/BTC", **fee),  # type: ignore[arg-type]  # as above
            instrument(2, "v", "BNB/USDT", **fee),  # type: ignore[arg-type]  # as above
        ],
        [
            PlainBook([(60_000.0, 10.0)], [(60_001.0, 10.0)]),
            PlainBook([(0.0103, 100.0)], [(0.0104, 100.0)]),
            PlainBook([(599.0, 100.0)], [(600.0, 100.0)]),
        ],
    )
    own = {"USDT@v": 10**14, "BTC@v": 10**10, "BNB@v": 10 * E8}
    found = only(detect(board, settings(), balances(own)))
    spent = sum(leg.spent_e8 for leg in found.legs if leg.spent.asset == "BNB")
    fees = sum(leg.fee_e8 for leg in found.legs)
    assert 99 * E8 // 10 < spent + fees <= 10 * E8 and fees > 0


def test_a_fee_that_the_start_asset_cannot_be_sold_for_is_refused() -> None:
    fee = {"fee_ppm": 100, "payment": FeePayment.NAMED, "named": "FEE"}
    board = triangle()
    board.instruments[2] = instrument(2, "v", "BNB/BTC", lot_e8=100_000, **fee)  # type: ignore[arg-type]  # three keywords
    board.instruments.append(instrument(4, "v", "FEE/USDT"))
    board.books.append(PlainBook([(1.0, 10_000.0)], [(1.0, 10_000.0)]))
    assert only(detect(board, settings())).legs[2].fee_asset == "FEE"
    board.books[3].bids = [(60_000.0, 0.00001)]
    line = missed(detect(board, settings()))
    assert line.reason is Refusal.NO_FX and "BTC@v" in line.detail


def test_a_third_asset_that_is_the_quote_asset_is_paid_on_top() -> None:
    board = kimchi_board()
    board.instruments[BTC_USDT] = instrument(
        BTC_USDT, "binance", "BTC/USDT", fee_ppm=1000, payment=FeePayment.NAMED, named="USDT", tick_e8=E8 // 100, lot_e8=1000
    )
    found = only(detect(board, settings(transfers=BOTH)))
    leg = found.legs[0]
    assert leg.fee_asset == "USDT" and leg.received_e8 == leg.quantity_e8
    assert leg.spent_e8 - leg.fee_e8 == sum(
        price * quantity for price, quantity in ((60_000, 50_000_000), (60_010, leg.quantity_e8 - 50_000_000))
    )
