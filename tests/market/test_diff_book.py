"""The documented procedure for a local order book, step by step and at its edges."""

from __future__ import annotations

import pytest
from market_world import diff, diff_book, reports, resyncs, snapshot, synced, top

from arbitrage.market.book_side import LEVELS_MAX, NEAR_SLACK
from arbitrage.market.diff_book import BUFFERED_DIFFS_MAX, REMEMBERED_TICKERS_MAX
from arbitrage.market.doubt import Doubt
from arbitrage.model.instruments import Side
from arbitrage.model.settings import MarketDataSettings

CALM = MarketDataSettings(price_jump_ppm_max=10_000_000)


def test_a_new_book_shows_nothing_and_says_never_synced() -> None:
    book = diff_book()
    assert book.flaw is Doubt.NEVER_SYNCED
    assert (book.best_bid, book.best_ask) == (0.0, 0.0)
    assert book.levels(Side.BUY, 5) == []


def test_the_first_buffered_diff_asks_for_a_snapshot_once_when_no_link_was_announced() -> None:
    book = diff_book()
    assert resyncs(book.apply(diff(1, 2))) == ["first update"]
    assert book.apply(diff(3, 4)) == ()


def test_link_up_asks_at_once_and_diffs_do_not_ask_again() -> None:
    book = diff_book()
    assert resyncs(book.link_up()) == ["connected"]
    assert book.apply(diff(1, 2)) == ()


def test_the_first_diff_may_straddle_the_snapshot() -> None:
    book = diff_book()
    book.apply(diff(5, 12, [(99.0, 7.0)]))
    assert book.start_from(snapshot(10)) == ()
    assert (book.flaw, book.last_id, book.best_bid_quantity) == (None, 12, 7.0)


def test_diffs_that_the_snapshot_contains_are_dropped() -> None:
    book = diff_book()
    book.apply(diff(5, 9, [(99.0, 7.0)]))
    book.apply(diff(10, 10, [(99.0, 8.0)]))
    assert book.start_from(snapshot(10)) == ()
    assert (book.flaw, book.last_id, book.best_bid_quantity) == (None, 10, 1.0)


def test_a_snapshot_older_than_the_first_buffered_diff_is_refused_and_the_buffer_kept() -> None:
    book = diff_book()
    book.apply(diff(12, 13, [(99.0, 7.0)]))
    assert resyncs(book.start_from(snapshot(10))) == ["the snapshot is older than the first buffered update"]
    assert book.flaw is Doubt.NEVER_SYNCED
    book.apply(diff(14, 15))
    assert book.start_from(snapshot(12)) == ()
    assert (book.flaw, book.last_id, book.best_bid_quantity) == (None, 15, 7.0)


def test_a_snapshot_that_ends_right_before_the_first_buffered_diff_bridges() -> None:
    book = diff_book()
    book.apply(diff(11, 13, [(99.0, 7.0)]))
    assert book.start_from(snapshot(10)) == ()
    assert (book.flaw, book.last_id) == (None, 13)


def test_a_snapshot_before_any_diff_waits_until_the_stream_bridges_it() -> None:
    book = diff_book()
    book.link_up()
    assert book.start_from(snapshot(10)) == ()
    assert book.flaw is Doubt.NEVER_SYNCED and book.best_bid == 0.0
    assert book.apply(diff(11, 11, [(99.0, 3.0)])) == ()
    assert (book.flaw, book.last_id, book.best_bid_quantity) == (None, 11, 3.0)


def test_a_waiting_snapshot_that_the_stream_has_passed_is_asked_for_again() -> None:
    book = diff_book()
    book.link_up()
    book.start_from(snapshot(10))
    assert resyncs(book.apply(diff(12, 12))) == ["the snapshot is older than the first buffered update"]
    assert book.start_from(snapshot(11)) == ()
    assert (book.flaw, book.last_id) == (None, 12)


def test_a_gap_makes_the_book_unusable_within_the_same_message_and_asks_at_once() -> None:
    book = synced()
    effects = book.apply(diff(12, 13, [(100.0, 5.0)]))
    assert resyncs(effects) == ["update ids jump from 10 to 12"]
    assert book.flaw is Doubt.GAP
    assert (book.best_bid, book.best_ask, book.levels(Side.BUY, 5), book.levels(Side.SELL, 5)) == (0.0, 0.0, [], [])
    assert (book.counters["gaps"], book.counters["resyncs"]) == (1, 1)


def test_buffering_goes_on_through_a_gap_and_the_gapped_diff_is_the_first_buffered() -> None:
    book = synced()
    book.apply(diff(12, 13, [(100.0, 5.0)]))
    assert book.apply(diff(14, 14, [(100.0, 6.0)])) == ()
    assert book.start_from(snapshot(12)) == ()
    assert (book.flaw, book.last_id, book.best_bid, book.best_bid_quantity) == (None, 14, 100.0, 6.0)


def test_a_gap_inside_the_buffer_is_found_when_the_snapshot_lies_before_it() -> None:
    book = diff_book()
    for one in (diff(8, 11), diff(14, 15), diff(16, 16)):
        book.apply(one)
    assert resyncs(book.start_from(snapshot(10))) == ["update ids jump from 11 to 14"]
    assert book.flaw is Doubt.GAP
    assert book.start_from(snapshot(15)) == ()
    assert (book.flaw, book.last_id) == (None, 16)


def test_a_gap_inside_the_buffer_is_harmless_when_the_snapshot_lies_after_it() -> None:
    book = diff_book()
    for one in (diff(8, 9), diff(12, 13), diff(14, 16)):
        book.apply(one)
    assert book.start_from(snapshot(14)) == ()
    assert (book.flaw, book.last_id) == (None, 16)


def test_a_buffered_update_with_a_damaged_last_id_does_not_end_the_book_as_it_begins() -> None:
    """What follows it is behind it; kept, it would cost another snapshot, after another wait of up to half a minute."""
    book = diff_book()
    book.apply(diff(11, 12, [(99.0, 2.0)]))
    book.apply(diff(13, 9_000_014, [(98.0, 5.0)]))
    book.apply(diff(15, 16, [(97.0, 3.0)]))
    book.apply(diff(17, 18, [(99.0, 4.0)]))
    missed = "update ids jump from 12 to 15"
    assert resyncs(book.start_from(snapshot(10))) == [missed], "what it brought is not believed"
    assert book.start_from(snapshot(16)) == ()
    assert (book.flaw, book.last_id, book.best_bid_quantity) == (None, 18, 4.0)
    assert book.apply(diff(19, 19)) == () and book.flaw is None


def test_buffered_updates_that_came_twice_or_in_another_order_cost_no_other_one() -> None:
    """Found by the benchmark's gate: a late repetition threw away all that it was behind, and the book stood without a gap."""
    book = diff_book()
    for first_id in (11, 13, 11, 15, 13):
        book.apply(diff(first_id, first_id + 1, [(99.0, float(first_id))]))
    assert book.start_from(snapshot(10)) == ()
    assert (book.flaw, book.last_id, book.best_bid_quantity) == (None, 16, 15.0)
    late = diff_book()
    for first_id in (11, 15, 13):
        late.apply(diff(first_id, first_id + 1, [(99.0, float(first_id))]))
    assert resyncs(late.start_from(snapshot(10))) == ["update ids jump from 12 to 15"]


def test_old_and_repeated_diffs_change_nothing() -> None:
    book = synced()
    book.apply(diff(11, 12, [(99.0, 5.0)], at_ns=50))
    before = book.version
    assert book.apply(diff(11, 12, [(99.0, 9.0)], at_ns=90)) == ()
    assert book.apply(diff(5, 6, [(99.0, 9.0)], at_ns=90)) == ()
    assert (book.best_bid_quantity, book.updated_at_ns, book.version, book.counters["old"]) == (5.0, 50, before, 2)


def test_a_book_ahead_of_several_updates_in_a_row_believed_a_wrong_id_and_resyncs() -> None:
    book = synced()
    book.apply(diff(11, 2**40, [(99.0, 5.0)], at_ns=50))
    assert [book.apply(diff(number, number, at_ns=number)) for number in (12, 13)] == [(), ()]
    effects = book.apply(diff(14, 14, at_ns=90))
    assert resyncs(effects) == [f"update ids went back from {2**40} to 14"]
    assert (book.flaw, book.best_bid, book.counters["gaps"]) == (Doubt.GAP, 0.0, 1)
    assert book.start_from(snapshot(13)) == ()
    assert (book.flaw, book.last_id) == (None, 14)


def test_repetitions_between_updates_never_add_up_to_a_wrong_id() -> None:
    book = synced()
    for number in range(11, 31):
        assert book.apply(diff(number, number)) == ()
        assert [book.apply(diff(number, number)) for _ in range(2)] == [(), ()]
    assert (book.flaw, book.counters["old"]) == (None, 40)


def test_a_stream_may_be_behind_a_snapshot_for_a_while_and_then_the_snapshots_id_is_wrong() -> None:
    book = synced()
    for number in range(1, 9):
        assert book.apply(diff(number, number, at_ns=number)) == ()
    assert resyncs(book.apply(diff(9, 9, at_ns=1 + 5_000_000_000))) == ["update ids went back from 10 to 9"]


def test_a_ticker_that_was_far_ahead_is_forgotten_when_a_later_one_is_not() -> None:
    book = synced()
    book.check(top(2**40, (99.5, 1.0), at_ns=60))
    assert book.contradicted_since_ns() == 60
    book.check(top(11, at_ns=70))
    book.apply(diff(11, 12))
    assert book.contradicted_since_ns() == 0


def test_a_diff_that_overlaps_what_is_known_is_applied() -> None:
    book = synced()
    assert book.apply(diff(9, 12, [(99.0, 4.0)])) == ()
    assert (book.last_id, book.best_bid_quantity) == (12, 4.0)


def test_deleting_an_unknown_level_is_normal() -> None:
    book = synced()
    assert book.apply(diff(11, 11, [(97.5, 0.0)], [(101.5, 0.0)])) == ()
    assert book.flaw is None
    assert book.levels(Side.BUY, 5) == [(101.0, 1.0), (102.0, 2.0)]
    assert book.levels(Side.SELL, 5) == [(99.0, 1.0), (98.0, 2.0)]


def test_a_deleted_best_level_uncovers_the_next_and_may_come_back() -> None:
    book = synced()
    book.apply(diff(11, 11, [(99.0, 0.0)], [(101.0, 0.0)]))
    assert (book.best_bid, book.best_bid_quantity, book.best_ask, book.best_ask_quantity) == (98.0, 2.0, 102.0, 2.0)
    book.apply(diff(12, 12, [(99.0, 6.0)], [(101.0, 7.0)]))
    assert (book.best_bid, book.best_bid_quantity, book.best_ask, book.best_ask_quantity) == (99.0, 6.0, 101.0, 7.0)


def test_a_level_twice_in_one_diff_ends_with_its_last_quantity() -> None:
    book = synced()
    book.apply(diff(11, 11, [(100.0, 5.0), (100.0, 0.0), (99.5, 0.0), (99.5, 3.0)]))
    assert book.levels(Side.SELL, 2) == [(99.5, 3.0), (99.0, 1.0)]


def test_levels_are_best_first_and_cut_at_the_limit() -> None:
    book = synced()
    book.apply(diff(11, 11, [(98.5, 3.0)], [(101.5, 4.0)]))
    assert book.levels(Side.BUY, 2) == [(101.0, 1.0), (101.5, 4.0)]
    assert book.levels(Side.SELL, 3) == [(99.0, 1.0), (98.5, 3.0), (98.0, 2.0)]


def test_levels_beyond_the_last_price_of_the_snapshot_are_never_quoted() -> None:
    book = synced()
    book.apply(diff(11, 11, [(90.0, 5.0)], [(120.0, 5.0)]))
    assert book.levels(Side.SELL, 9) == [(99.0, 1.0), (98.0, 2.0)]
    assert book.levels(Side.BUY, 9) == [(101.0, 1.0), (102.0, 2.0)]


def test_a_snapshot_that_showed_a_whole_side_has_no_last_price() -> None:
    book = synced(is_whole=True)
    book.apply(diff(11, 11, [(90.0, 5.0)], [(120.0, 5.0)]))
    assert book.levels(Side.SELL, 9)[-1] == (90.0, 5.0)
    assert book.levels(Side.BUY, 9)[-1] == (120.0, 5.0)


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([(99.0, 0.0), (98.0, 0.0)], []),
        ([(99.0, 0.0), (98.0, 0.0), (97.0, 1.0)], []),
        ([], [(101.0, 0.0), (102.0, 0.0)]),
        ([], [(101.0, 0.0), (102.0, 0.0), (103.0, 1.0)]),
    ],
)
def test_a_touch_outside_the_range_of_the_snapshot_resyncs(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]]
) -> None:
    book = synced(CALM)
    assert resyncs(book.apply(diff(11, 11, bids, asks))) == ["the touch left the range that the snapshot showed"]
    assert book.flaw is Doubt.GAP


def test_an_emptied_side_of_a_whole_book_is_just_empty() -> None:
    book = synced(is_whole=True)
    assert book.apply(diff(11, 11, [(99.0, 0.0), (98.0, 0.0)], [(101.0, 0.0), (102.0, 0.0)])) == ()
    assert (book.flaw, book.best_bid, book.best_bid_quantity, book.best_ask, book.best_ask_quantity) == (
        None,
        0.0,
        0.0,
        0.0,
        0.0,
    )


def test_an_empty_snapshot_is_an_empty_market_not_an_unknown_one() -> None:
    book = diff_book()
    book.apply(diff(8, 10))
    assert book.start_from(snapshot(10, [], [])) == ()
    assert (book.flaw, book.best_bid) == (None, 0.0)
    book.apply(diff(11, 11, [(5.0, 1.0)], [(6.0, 1.0)]))
    assert book.levels(Side.SELL, 2) == [(5.0, 1.0)]


@pytest.mark.parametrize("bid", [101.0, 101.5])
def test_a_touching_or_crossed_book_is_unusable_and_resyncs(bid: float) -> None:
    book = synced()
    effects = book.apply(diff(11, 12, [(bid, 1.0)]))
    assert resyncs(effects) == [f"best bid {bid} is not below best ask 101.0"]
    assert (book.flaw, book.best_bid, book.counters["crossed"]) == (Doubt.CROSSED, 0.0, 1)
    assert len(resyncs(book.start_from(snapshot(11)))) == 1, "the diff that crossed is replayed, and crosses again"
    assert book.start_from(snapshot(12)) == ()
    assert (book.flaw, book.best_bid) == (None, 99.0)


def test_a_snapshot_that_is_crossed_itself_is_refused_and_the_buffer_kept() -> None:
    book = diff_book()
    book.apply(diff(8, 10))
    book.apply(diff(11, 12, [(99.0, 4.0)]))
    assert len(resyncs(book.start_from(snapshot(10, [(103.0, 1.0)])))) == 1
    assert book.flaw is Doubt.CROSSED
    assert book.start_from(snapshot(10)) == ()
    assert (book.flaw, book.best_bid_quantity) == (None, 4.0)


def test_a_snapshot_for_a_book_that_is_in_sync_is_not_used() -> None:
    book = synced()
    assert book.start_from(snapshot(20, [(50.0, 1.0)])) == ()
    assert (book.best_bid, book.last_id, book.counters["snapshots_unused"]) == (99.0, 10, 1)


def test_zero_levels_of_a_snapshot_are_not_levels() -> None:
    book = diff_book()
    book.apply(diff(8, 10))
    book.start_from(snapshot(10, [(99.5, 0.0), (99.0, 1.0)], [(100.5, 0.0), (101.0, 1.0)]))
    assert (book.best_bid, book.best_ask) == (99.0, 101.0)


def test_link_down_makes_unusable_and_what_still_arrives_is_not_taken() -> None:
    book = synced()
    book.link_down()
    assert (book.flaw, book.best_bid) == (Doubt.LINK_DOWN, 0.0)
    assert book.apply(diff(11, 11)) == ()
    assert book.start_from(snapshot(11)) == ()
    assert book.flaw is Doubt.LINK_DOWN
    assert (book.counters["frames_after_link_down"], book.counters["snapshots_unused"]) == (1, 1)


def test_link_up_after_link_down_starts_from_nothing() -> None:
    book = synced()
    book.link_down()
    book.link_up()
    assert book.flaw is Doubt.NEVER_SYNCED
    book.apply(diff(50, 51))
    assert book.start_from(snapshot(50, [(10.0, 1.0)], [(11.0, 1.0)])) == ()
    assert (book.flaw, book.best_bid) == (None, 10.0), "no price of the time before is a yardstick"


def test_the_buffer_is_bounded_and_forgets_the_oldest() -> None:
    book = diff_book()
    for update_id in range(1, BUFFERED_DIFFS_MAX + 3):
        book.apply(diff(update_id, update_id))
    assert book.counters["diffs_forgotten"] == 2
    assert len(resyncs(book.start_from(snapshot(1)))) == 1, "update 2 was forgotten, so snapshot 1 no longer bridges"
    assert book.start_from(snapshot(2)) == ()
    assert (book.flaw, book.last_id) == (None, BUFFERED_DIFFS_MAX + 2)


def test_a_ticker_before_the_diff_that_ends_at_its_id_is_compared_with_that_diff() -> None:
    book = synced()
    assert book.check(top(12, (99.0, 5.0))) == ()
    assert book.counters["compared"] == 0
    assert book.apply(diff(11, 12, [(99.0, 5.0)])) == ()
    assert (book.counters["compared"], book.counters["equal"]) == (1, 1)


def test_a_ticker_after_the_diff_that_ended_at_its_id_is_compared_at_once() -> None:
    book = synced()
    book.apply(diff(11, 12, [(99.0, 5.0)]))
    assert book.check(top(12, (99.0, 5.0))) == ()
    assert (book.counters["compared"], book.counters["equal"]) == (1, 1)


def test_tickers_between_or_behind_update_ids_are_not_compared() -> None:
    book = synced()
    book.check(top(9, (1.0, 1.0)))
    book.check(top(11, (1.0, 1.0)))
    assert book.apply(diff(11, 12)) == ()
    assert book.counters["compared"] == 0 and book.flaw is None


def test_a_ticker_is_compared_with_a_diff_out_of_the_buffer_too() -> None:
    book = diff_book()
    book.apply(diff(9, 11, [(99.0, 5.0)]))
    book.check(top(10))
    book.check(top(11, (99.0, 5.0)))
    book.start_from(snapshot(10))
    assert (book.counters["compared"], book.counters["equal"]) == (2, 2)


@pytest.mark.parametrize(
    ("bid", "ask"),
    [((99.0, 2.0), (101.0, 1.0)), ((98.0, 1.0), (101.0, 1.0)), ((99.0, 1.0), (101.5, 1.0)), ((99.0, 1.0), (101.0, 3.0))],
)
def test_a_different_touch_at_the_same_update_id_makes_doubtful_and_resyncs(
    bid: tuple[float, float], ask: tuple[float, float]
) -> None:
    book = synced()
    effects = book.check(top(10, bid, ask))
    assert resyncs(effects) == ["the book differs from the ticker"]
    assert reports(effects) == ["book_mismatch"]
    assert (book.flaw, book.best_bid) == (Doubt.CROSS_CHECK, 0.0)
    assert (book.counters["compared"], book.counters["equal"]) == (1, 0)
    book.apply(diff(11, 12))
    book.start_from(snapshot(11))
    assert book.flaw is None


def test_a_diff_that_disagrees_with_the_ticker_that_came_before_it_resyncs() -> None:
    book = synced()
    book.check(top(12, (99.0, 5.0)))
    assert resyncs(book.apply(diff(11, 12, [(99.0, 6.0)]))) == ["the book differs from the ticker"]
    assert book.flaw is Doubt.CROSS_CHECK


def test_remembered_tickers_are_bounded() -> None:
    book = synced()
    for update_id in range(11, 11 + REMEMBERED_TICKERS_MAX + 5):
        book.check(top(update_id))
    assert book.counters["tickers_forgotten"] == 5


def test_tickers_that_run_ahead_with_another_touch_contradict_since_the_first_of_them() -> None:
    book = synced()
    assert book.contradicted_since_ns() == 0
    book.check(top(11, at_ns=70))
    assert book.contradicted_since_ns() == 0, "ahead, but the touch is the same"
    book.check(top(13, (99.5, 1.0), at_ns=90))
    assert book.contradicted_since_ns() == 70
    book.apply(diff(11, 12))
    assert book.contradicted_since_ns() == 90, "what the diff has passed no longer counts"
    book.apply(diff(13, 14, [(99.5, 1.0)]))
    assert book.contradicted_since_ns() == 0


def test_a_jump_is_implausible_until_enough_updates_confirm_it() -> None:
    book = synced(MarketDataSettings(price_jump_ppm_max=100_000, price_jump_confirmations=2), is_whole=True)
    gone = [(101.0, 0.0), (102.0, 0.0)]
    assert book.apply(diff(11, 11, [(199.0, 1.0)], [*gone, (201.0, 1.0)])) == ()
    assert book.flaw is Doubt.IMPLAUSIBLE
    assert book.best_bid == 199.0, "it is shown, and doubted"
    book.apply(diff(12, 12, [(199.0, 2.0)]))
    assert book.flaw is Doubt.IMPLAUSIBLE
    book.apply(diff(13, 13, [(199.0, 3.0)]))
    assert (book.flaw, book.counters["implausible"]) == (None, 2)


def test_a_jump_that_comes_back_was_never_believed() -> None:
    book = synced(MarketDataSettings(price_jump_ppm_max=100_000, price_jump_confirmations=2), is_whole=True)
    book.apply(diff(11, 11, [], [(101.0, 0.0), (102.0, 0.0), (201.0, 1.0)]))
    assert book.flaw is Doubt.IMPLAUSIBLE
    book.apply(diff(12, 12, [], [(101.0, 1.0)]))
    assert book.flaw is None


def test_an_implausible_book_that_loses_a_side_stays_implausible() -> None:
    book = synced(is_whole=True)
    book.apply(diff(11, 11, [], [(101.0, 0.0), (102.0, 0.0), (401.0, 1.0)]))
    book.apply(diff(12, 12, [], [(401.0, 0.0)]))
    assert book.flaw is Doubt.IMPLAUSIBLE


def test_deleted_prices_are_swept_so_memory_stays_flat() -> None:
    book = synced(CALM, is_whole=True)
    for step in range(20_000):
        price = 50.0 + step % 4_000 / 1_000
        book.apply(
            diff(11 + step, 11 + step, [(price, 1.0)] if step % 2 else [(price - 0.001, 0.0)], [(price + 100, step % 2)])
        )
    assert book.counters["sweeps"] > 0
    for side in (book._bids, book._asks):
        assert len(side._near) + len(side._far_prices) <= 4_000 + NEAR_SLACK


def test_levels_are_bounded_and_the_forgotten_ones_are_not_quoted() -> None:
    book = synced(CALM, is_whole=True)
    more = LEVELS_MAX + 1_000
    book.apply(diff(11, 11, [(50.0 + i / 1_000, 1.0) for i in range(more)], [(150.0 + i / 1_000, 1.0) for i in range(more)]))
    assert len(book.levels(Side.SELL, more)) == len(book.levels(Side.BUY, more)) == LEVELS_MAX
    book.apply(diff(12, 12, [(10.0, 1.0)], [(1_000.0, 1.0)]))
    assert len(book.levels(Side.SELL, more)) == len(book.levels(Side.BUY, more)) == LEVELS_MAX
    assert (book.best_bid, book.best_ask) == (99.0, 101.0)


def test_every_applied_diff_is_counted_and_carries_the_venues_time() -> None:
    book = synced()
    before = book.version
    book.apply(diff(11, 11, at_ns=90_000_000))
    assert (book.version, book.venue_ms, book.updated_at_ns) == (before + 1, 90, 90_000_000)


def test_a_book_begun_from_buffered_diffs_has_the_time_of_the_newest_of_them() -> None:
    book = diff_book()
    book.apply(diff(8, 9, at_ns=70_000_000))
    book.apply(diff(10, 10, at_ns=80_000_000))
    before = book.version
    book.start_from(snapshot(10))
    assert (book.venue_ms, book.updated_at_ns, book.version) == (80, 1, before + 1)


def test_a_snapshot_found_too_old_is_asked_for_once_not_with_every_diff() -> None:
    book = diff_book()
    book.start_from(snapshot(10))
    assert len(resyncs(book.apply(diff(15, 16)))) == 1
    assert book.apply(diff(17, 18)) == ()


@pytest.mark.parametrize("is_told_down", [True, False])
def test_nothing_buffered_or_remembered_survives_a_new_connection(is_told_down: bool) -> None:
    book = diff_book()
    book.link_up()
    book.apply(diff(100, 101))
    book.check(top(12, (1.0, 1.0)))
    if is_told_down:
        book.link_down()
    book.link_up()
    book.apply(diff(9, 11))
    assert book.start_from(snapshot(10)) == ()
    assert book.flaw is None, "update ids may start anew behind a new connection"
    assert book.apply(diff(12, 12)) == ()
    assert book.counters["compared"] == 0


def test_a_waiting_snapshot_does_not_survive_a_new_connection() -> None:
    book = diff_book()
    book.link_up()
    book.start_from(snapshot(10))
    book.link_up()
    assert book.apply(diff(11, 11)) == ()
    assert book.flaw is Doubt.NEVER_SYNCED
