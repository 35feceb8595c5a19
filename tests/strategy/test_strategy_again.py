"""The same cycle at the same size, priced again on later books: as exactly as it was sized, and without touching a decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategy_boards import BOTH, BTC_USDT, KRW_BTC, KRW_USDT, kimchi_board, only, triangle
from strategy_world import NOW_NS, Doubt, PlainBoard, PlainBook, instrument, rich, settings

from arbitrage.model.instruments import FeePayment
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Opportunity, Refusal, Refused
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.detector import Detector

KIMCHI = settings(transfers=BOTH, legs_max=3)


def looked(board: PlainBoard, chosen: StrategySettings = KIMCHI) -> tuple[Detector, Opportunity]:
    detector = Detector(chosen)
    return detector, only(detector.detect(board, rich, set(board.all_markets), NOW_NS))


@pytest.mark.parametrize("payment", list(FeePayment))
def test_on_unchanged_books_the_same_size_pays_the_same(payment: FeePayment) -> None:
    board = kimchi_board(payment=payment)
    if payment is FeePayment.NAMED:
        board.instruments.append(instrument(3, "binance", "BNB/USDT", tick_e8=E8 // 100, lot_e8=100_000))
        board.books.append(PlainBook([(600.0, 1000.0)], [(601.0, 1000.0)]))
    detector, found = looked(board)
    counters = dict(detector.counters)
    assert detector.again(found, board, NOW_NS + 1) == found.net_e8 > 0
    assert detector.counters == counters, "nothing is counted: decisions and their ids stay as they were"


@given(st.floats(0.9, 1.1))
def test_a_dearer_purchase_pays_less_and_a_loss_is_an_answer(factor: float) -> None:
    board = kimchi_board()
    detector, found = looked(board)
    asks = board.books[BTC_USDT].asks
    board.books[BTC_USDT].asks = [(round(price * factor, 2), quantity) for price, quantity in asks]
    later = detector.again(found, board, NOW_NS)
    assert isinstance(later, int)
    assert later <= found.net_e8 if factor >= 1 else later >= found.net_e8
    if factor > 1.05:
        assert later < 0, "2.6 % were there"


def test_a_size_that_is_gone_is_taken_as_far_as_it_is_there() -> None:
    board = kimchi_board()
    detector, found = looked(board)
    board.books[BTC_USDT].asks = [(60_000.0, 0.01)]
    later = detector.again(found, board, NOW_NS)
    assert isinstance(later, int) and 0 < later < found.net_e8


def test_inventory_that_is_short_does_not_matter_to_what_it_would_have_paid() -> None:
    board = kimchi_board()
    detector = Detector(KIMCHI)
    found = only(detector.detect(board, lambda node: 10**7 if node.asset == "BTC" else 10**22, set(board.all_markets), NOW_NS))
    later = detector.again(found, board, NOW_NS)
    assert isinstance(later, int) and later >= found.net_e8 > 0, "later legs take whatever arrives"


def answer(board: PlainBoard, detector: Detector, found: Opportunity) -> Refusal:
    later = detector.again(found, board, NOW_NS)
    assert isinstance(later, Refused) and later.detail
    return later.reason


def test_a_doubted_market_or_a_missing_rate_is_an_answer_of_its_own() -> None:
    board = kimchi_board()
    detector, found = looked(board)
    board.doubts[KRW_BTC] = Doubt.STALE
    assert answer(board, detector, found) is Refusal.STALE_MARKET
    board.doubts = {KRW_USDT: Doubt.GAP}
    assert answer(board, detector, found) is Refusal.NO_FX


def test_depth_that_does_not_reach_the_minimums_is_said() -> None:
    board = kimchi_board()
    detector, found = looked(board)
    board.books[BTC_USDT].asks = []
    assert answer(board, detector, found) is Refusal.BELOW_MINIMUM
    board.books[BTC_USDT].asks = [(60_000.0, 1.0)]
    board.books[KRW_BTC].bids = [(1_000.0, 100.0)]
    assert answer(board, detector, found) is Refusal.BELOW_MINIMUM, "what arrives buys less than the venue's minimum"


def test_a_price_off_the_grid_and_rules_read_anew_are_said() -> None:
    board = kimchi_board()
    detector, found = looked(board)
    board.books[KRW_BTC].bids = [(85_000_500.0, 0.3)]
    assert answer(board, detector, found) is Refusal.DOUBTFUL_MARKET
    board.instruments_version += 1
    assert answer(board, detector, found) is Refusal.SYMBOL_HELD


def test_a_start_that_nothing_values_any_more_is_said() -> None:
    board = triangle()
    detector, found = looked(board, settings())
    assert detector.pair(found.cycle) == "BNB+BTC+ETH"
    board.doubts[3] = Doubt.STALE
    assert answer(board, detector, found) is Refusal.NO_FX


def test_what_gained_and_what_was_not_sized_is_told_by_cycle() -> None:
    board = kimchi_board(coins=2)
    board.books[4] = PlainBook([(4_300_000.0, 20.0)], [(4_310_000.0, 20.0)])
    detector = Detector(settings(transfers=BOTH, legs_max=3, survivors_max=1))
    found = detector.detect(board, rich, set(board.all_markets), NOW_NS)
    sized = next(each for each in found if isinstance(each, Opportunity))
    assert sized.cycle in detector.gaining and set(detector.unsized) == set(detector.gaining) - {sized.cycle}
    assert set(detector.unsized.values()) == {Refusal.TIME_BUDGET}
    assert detector.pair(sized.cycle) in ("BTC", "ETH", "BTC+ETH")
    board.books[BTC_USDT].asks = board.books[3].asks = [(10**6, 1.0)]
    detector.detect(board, rich, set(board.all_markets), NOW_NS)
    assert not detector.gaining
    era = detector.era
    assert detector.detect(board, rich, set(board.all_markets), NOW_NS) == [] and detector.era is era
