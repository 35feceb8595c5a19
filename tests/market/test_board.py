"""The board: what each event does, which markets are doubted and why, and how fresh everything is."""

from __future__ import annotations

import msgspec
import pytest
from market_world import BINANCE, BTCUSDT, KRWBTC, MS, UPBIT, diff, picture, resyncs, snapshot, top, trade, unit

from arbitrage.market.board import Board
from arbitrage.market.doubt import Doubt
from arbitrage.market.full_book import FullBook
from arbitrage.model.events import (
    ClockMeasured,
    FaultKind,
    FeedFault,
    InstrumentsRead,
    LinkAlive,
    LinkDown,
    LinkUp,
)
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.settings import MarketDataSettings

LIMITS = MarketDataSettings(
    symbol_age_ms_max=30_000, link_age_ms_max=5_000, cross_check_ms_max=2_000, clock_offset_ms_max=1_000
)
MARKETS = (("binance", "BTCUSDT"), ("upbit", "KRW-BTC"), ("binance", "ETHUSDT"))
ETHUSDT = msgspec.structs.replace(BTCUSDT, id=2, symbol="ETHUSDT")
START = 1_000_000 * MS


def live_board() -> Board:
    """Both venues connected, rules read, both first books in sync at START."""
    board = Board(MARKETS, LIMITS)
    board.apply(InstrumentsRead(START, BINANCE, (BTCUSDT, ETHUSDT)))
    board.apply(InstrumentsRead(START, UPBIT, (KRWBTC,)))
    board.apply(LinkUp(START, BINANCE, "b1", (0, 2)))
    board.apply(LinkUp(START, UPBIT, "u1", (1,)))
    board.apply(diff(8, 10, at_ns=START))
    board.apply(snapshot(9))
    board.apply(picture(5, unit(99, 101), at_ns=START, market=1))
    assert [board.doubt(market, START) for market in range(3)] == [None, None, Doubt.NEVER_SYNCED]
    board.changed.clear()
    return board


def test_a_market_that_changed_is_named_until_the_engine_empties_the_set() -> None:
    board = live_board()
    board.apply(diff(11, 11, market=0))
    board.apply(picture(6, unit(99, 101), market=1))
    assert board.changed == {0, 1}
    board.changed.clear()
    board.apply(top(11))
    board.apply(trade(7, 99, 101, market=1))
    assert board.changed == set(), "cross-checks that agree change nothing"
    board.apply(top(11, (98.0, 1.0)))
    assert board.changed == {0}


def test_a_gap_doubts_its_own_market_only() -> None:
    board = live_board()
    assert len(resyncs(board.apply(diff(20, 21)))) == 1
    assert board.doubt(0, START) is Doubt.GAP and board.doubt(1, START) is None
    assert board.books[0].levels(Side.BUY, 1) == []


def test_books_are_read_by_market() -> None:
    board = live_board()
    assert (board.books[0].best_bid, board.books[0].best_ask) == (99.0, 101.0)
    assert board.books[1].levels(Side.SELL, 5) == [(99, 1.0)]


def test_age_counts_from_the_newest_update_and_never_is_a_day() -> None:
    board = live_board()
    board.apply(diff(11, 11, at_ns=START + 5 * MS))
    assert board.age_ms(0, START + 12 * MS) == 7
    assert board.age_ms(0, START) == 0, "an event stamped after the question is no negative age"
    assert board.age_ms(2, START) == 86_400_000


def test_a_silent_connection_gates_its_symbols_and_a_pong_of_it_lifts_that() -> None:
    board = live_board()
    now_ns = START + 5_001 * MS
    assert board.doubt(0, now_ns - MS) is None
    assert board.doubt(0, now_ns) is Doubt.SILENT_LINK
    board.apply(LinkAlive(now_ns, BINANCE, "b1"))
    assert board.doubt(0, now_ns) is None
    assert board.doubt(1, now_ns) is Doubt.SILENT_LINK, "another connection's pong proves nothing"


def test_any_frame_of_the_connection_is_life_for_all_its_symbols() -> None:
    board = live_board()
    now_ns = START + 6_000 * MS
    for event in (diff(1, 1, market=2, at_ns=now_ns), top(1, market=2, at_ns=now_ns)):
        board.apply(event)
        assert board.doubt(0, now_ns) is None
    board.apply(trade(1, None, None, market=1, at_ns=now_ns))
    assert board.doubt(1, now_ns) is None


def test_a_symbol_without_updates_is_stale_while_its_connection_lives() -> None:
    board = live_board()
    now_ns = START + 30_001 * MS
    board.apply(LinkAlive(now_ns, BINANCE, "b1"))
    assert board.doubt(0, now_ns) is Doubt.STALE
    board.apply(LinkAlive(now_ns - MS, BINANCE, "b1"))
    assert board.doubt(0, now_ns - MS) is None


def test_a_status_line_without_a_name_belongs_to_the_only_open_connection() -> None:
    board = live_board()
    now_ns = START + 6_000 * MS
    board.apply(LinkAlive(now_ns, UPBIT, ""))
    assert board.doubt(1, now_ns) is None and board.doubt(0, now_ns) is Doubt.SILENT_LINK
    board.apply(LinkUp(now_ns, BINANCE, "b2", (2,)))
    board.apply(LinkAlive(now_ns, BINANCE, ""))
    board.apply(LinkAlive(now_ns, BINANCE, "never heard of"))
    assert board.doubt(0, now_ns) is Doubt.SILENT_LINK
    assert board.counters["unknown_links"] == 2


def test_link_down_makes_its_markets_unusable_and_link_up_starts_them_from_nothing() -> None:
    board = live_board()
    board.apply(LinkDown(START, BINANCE, "b1", (0, 2), "closed"))
    assert board.links_lost == {BINANCE: 1, UPBIT: 0}
    assert (board.doubt(0, START), board.doubt(1, START)) == (Doubt.LINK_DOWN, None)
    assert board.changed == {0, 2}
    effects = board.apply(LinkUp(START, BINANCE, "b2", (0, 2)))
    assert resyncs(effects) == ["connected", "connected"]
    assert board.doubt(0, START) is Doubt.NEVER_SYNCED


def test_the_end_of_a_replaced_connection_leaves_the_markets_that_moved_on() -> None:
    board = live_board()
    board.apply(LinkUp(START, BINANCE, "b2", (0,)))
    board.apply(diff(8, 10, at_ns=START))
    board.apply(snapshot(9))
    board.apply(LinkDown(START, BINANCE, "b1", (0, 2), "24 h"))
    assert board.doubt(0, START) is None
    assert board.doubt(2, START) is Doubt.LINK_DOWN


def test_a_link_that_never_came_up_may_still_go_down() -> None:
    board = Board(MARKETS, LIMITS)
    board.apply(LinkDown(START, BINANCE, "b1", (0, 2), "refused"))
    board.apply(InstrumentsRead(START, BINANCE, (BTCUSDT, ETHUSDT)))
    assert board.doubt(0, START) is Doubt.LINK_DOWN


def test_an_unknown_link_going_down_spares_markets_of_an_open_one() -> None:
    board = live_board()
    board.apply(LinkDown(START, BINANCE, "b9", (0,), "refused"))
    assert board.doubt(0, START) is None


def test_a_clock_that_is_off_doubts_the_venue_in_both_directions() -> None:
    board = live_board()
    for offset_ms, expected in ((1_000, None), (1_001, Doubt.CLOCK_OFFSET), (-1_001, Doubt.CLOCK_OFFSET), (-1_000, None)):
        board.apply(ClockMeasured(START, BINANCE, offset_ms, 20))
        assert board.doubt(0, START) is expected
        assert board.doubt(1, START) is None


def test_trades_that_contradict_a_book_for_longer_than_the_limit_make_it_doubtful() -> None:
    board = live_board()
    board.apply(trade(6, 90, 91, market=1, at_ns=START))
    assert board.doubt(1, START + 2_000 * MS) is None
    assert board.doubt(1, START + 2_001 * MS) is Doubt.CROSS_CHECK


def test_tickers_that_run_ahead_of_a_frozen_depth_stream_make_it_doubtful() -> None:
    board = live_board()
    board.apply(top(12, (99.5, 1.0), at_ns=START))
    assert board.doubt(0, START + 2_000 * MS) is None
    assert board.doubt(0, START + 2_001 * MS) is Doubt.CROSS_CHECK


def test_new_limits_hold_at_once() -> None:
    board = live_board()
    board.configure(MarketDataSettings(symbol_age_ms_max=10, link_age_ms_max=10, clock_offset_ms_max=1, cross_check_ms_max=1))
    assert board.doubt(0, START + 11 * MS) is Doubt.SILENT_LINK
    board.apply(ClockMeasured(START, BINANCE, 2, 20))
    assert board.doubt(0, START) is Doubt.CLOCK_OFFSET


def test_venue_health_names_what_is_wrong() -> None:
    board = Board(MARKETS, LIMITS)
    health = board.venue_health(BINANCE, START)
    assert (health.is_connected, health.reason, health.clock_offset_ms) == (False, "no connection", None)
    board = live_board()
    health = board.venue_health(BINANCE, START + 40 * MS)
    assert (health.is_connected, health.reason, health.alive_age_ms) == (True, "", 40)
    assert board.venue_health(BINANCE, START + 5_001 * MS).reason == "silent for 5001 ms"
    board.apply(ClockMeasured(START, BINANCE, 1_500, 20))
    health = board.venue_health(BINANCE, START)
    assert (health.reason, health.clock_offset_ms) == ("clock offset of 1500 ms exceeds 1000 ms", 1_500)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_kind_of_fault_has_its_counter(kind: FaultKind) -> None:
    board = Board(MARKETS, LIMITS)
    assert board.counters[kind.value] == 0 and kind.value in board.counters
    assert board.apply(FeedFault(1, BINANCE, kind, "why")) == ()
    assert board.counters[kind.value] == 1


def test_events_of_the_wrong_shape_of_book_are_counted_and_change_nothing() -> None:
    board = live_board()
    for event in (diff(11, 11, market=1), top(11, market=1), snapshot(11, market=1), picture(6, unit(9, 10), market=0)):
        assert board.apply(event) == ()
    assert board.counters["misrouted"] == 4
    assert (board.books[0].best_bid, board.books[1].best_bid) == (99.0, 99)
    assert board.apply(trade(6, 1, 2, market=0)) == (), "a diff book has its own ticker to check against"


def test_a_venue_under_another_name_is_learnt_from_its_first_picture() -> None:
    board = Board((("gateio", "USDT-LUNC"), ("mexc", "LUNCUSDT")), LIMITS)
    assert len(resyncs(board.apply(LinkUp(START, Venue("gateio"), "g", (0,))))) == 1
    board.apply(picture(5, unit(9, 10), market=0))
    assert isinstance(board.books[0], FullBook) and board.books[0].best_bid == 9
    assert resyncs(board.apply(LinkUp(START, Venue("gateio"), "g", (0,)))) == []


def test_a_named_full_picture_venue_needs_no_resync() -> None:
    board = Board((("gateio", "USDT-LUNC"),), LIMITS, full_picture_venues=("gateio",))
    assert board.apply(LinkUp(START, Venue("gateio"), "g", (0,))) == []


def test_a_picture_behind_a_closed_link_teaches_nothing() -> None:
    board = Board((("gateio", "USDT-LUNC"),), LIMITS)
    board.apply(LinkDown(START, Venue("gateio"), "g", (0,), "closed"))
    board.apply(picture(5, unit(9, 10), market=0))
    assert board.books[0].best_bid == 0.0 and board.counters["misrouted"] == 1


def test_a_connection_that_just_came_up_is_alive_and_belongs_to_its_venue_only() -> None:
    board = Board(MARKETS, LIMITS)
    board.apply(LinkUp(START, BINANCE, "b1", (0, 2)))
    assert board.venue_health(BINANCE, START + 10 * MS).alive_age_ms == 10
    assert board.venue_health(BINANCE, START + 5_000 * MS).reason == ""
    assert board.venue_health(UPBIT, START).reason == "no connection"
    board.apply(LinkDown(START, BINANCE, "b1", (0, 2), "closed"))
    assert board.venue_health(BINANCE, START).is_connected is False
