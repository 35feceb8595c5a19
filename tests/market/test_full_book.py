"""A book of whole pictures: replacement, padding, time that goes back, and trades that contradict it."""

from __future__ import annotations

import pytest
from market_world import full_book, picture, reports, trade, unit

from arbitrage.market.doubt import Doubt
from arbitrage.market.full_book import CONTRADICTIONS_STICK, OLDER_PICTURES_MAX
from arbitrage.model.events import BookFull, BookUnit
from arbitrage.model.instruments import Side
from arbitrage.model.settings import MarketDataSettings


def test_a_picture_replaces_the_book_and_its_units_are_kept_bit_for_bit() -> None:
    book = full_book()
    first = picture(5, unit(99, 101), unit(98, 102), at_ns=70)
    assert book.apply(first) == ()
    assert book.units == first.units
    assert (book.flaw, book.best_bid, book.best_ask, book.updated_at_ns, book.venue_ms) == (None, 99, 101, 70, 5)
    book.apply(picture(6, unit(99.5, 100.5, 3, 4)))
    assert (book.best_bid, book.best_bid_quantity, book.best_ask, book.best_ask_quantity) == (99.5, 3, 100.5, 4)
    assert book.levels(Side.BUY, 9) == [(100.5, 4)]
    assert book.version == 3, "a new book, and two pictures"


class WireUnit(BookUnit, rename={"ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs"}):
    """A unit as a codec names it."""


def test_a_picture_of_a_codecs_own_units_is_read_back_as_it_was() -> None:
    book = full_book()
    first = BookFull(1, 0, [WireUnit(100.1, 99.9, 1e-08, 0.1), WireUnit(100.2, 99.8, 1 / 3, 1e17)], 5, False)
    book.apply(first)
    assert book.units == first.units and type(book.units[0]) is WireUnit
    assert book.levels(Side.BUY, 9) == [(100.1, 1e-08), (100.2, 1 / 3)]
    assert book.units is book.units, "it is unpacked once"
    book.apply(picture(6, unit(99, 101)))
    assert book.levels(Side.SELL, 9) == [(99, 1)]


def test_levels_are_what_an_order_of_the_side_would_hit() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101, 1, 2), unit(98, 102, 3, 4), unit(97, 103, 5, 6)))
    assert book.levels(Side.BUY, 2) == [(101, 2), (102, 4)]
    assert book.levels(Side.SELL, 9) == [(99, 1), (98, 3), (97, 5)]


def test_padding_is_not_depth() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101), unit(98, 0, 1, 0), unit(0, 0, 0, 0)))
    assert book.levels(Side.BUY, 9) == [(101, 1)]
    assert book.levels(Side.SELL, 9) == [(99, 1), (98, 1)]


def test_padding_on_top_is_skipped() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101, 0, 1), unit(98, 102, 2, 1)))
    assert (book.best_bid, book.best_bid_quantity, book.best_ask, book.flaw) == (98, 2, 101, None)


@pytest.mark.parametrize("units", [[], [unit(0, 0, 0, 0)]])
def test_an_empty_picture_is_an_empty_book(units: list) -> None:
    book = full_book()
    assert book.apply(picture(5, *units)) == ()
    assert (book.flaw, book.best_bid, book.best_ask, book.levels(Side.BUY, 1)) == (None, 0.0, 0.0, [])


def test_a_one_sided_picture_shows_its_side() -> None:
    book = full_book()
    book.apply(picture(5, unit(0, 101, 0, 2)))
    assert (book.flaw, book.best_bid, book.best_ask, book.best_ask_quantity) == (None, 0.0, 101, 2)


def test_a_price_out_of_order_ends_the_picture_there() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101), unit(99.5, 100), unit(97, 103)))
    assert book.levels(Side.BUY, 9) == [(101, 1)]
    assert book.levels(Side.SELL, 9) == [(99, 1)]
    assert book.counters["unsorted_pictures"] == 2


@pytest.mark.parametrize("bid", [101, 102])
def test_a_crossed_picture_is_unusable_until_the_next_good_one(bid: float) -> None:
    book = full_book()
    book.apply(picture(5, unit(bid, 101)))
    assert (book.flaw, book.counters["crossed"]) == (Doubt.CROSSED, 1)
    book.apply(picture(6, unit(99, 101)))
    assert book.flaw is None


def test_time_must_not_go_back_but_may_stand_still() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101), at_ns=70))
    assert book.apply(picture(4, unit(98, 101), at_ns=80)) == ()
    assert (book.best_bid, book.updated_at_ns, book.counters["old"]) == (99, 70, 1)
    book.apply(picture(5, unit(98, 101), at_ns=90))
    assert (book.best_bid, book.updated_at_ns) == (98, 90)


def test_a_venue_that_set_its_clock_back_is_believed_after_many_pictures() -> None:
    book = full_book()
    book.apply(picture(1_000, unit(99, 101)))
    for _ in range(OLDER_PICTURES_MAX - 1):
        assert book.apply(picture(4, unit(98, 101))) == ()
    assert reports(book.apply(picture(4, unit(98, 101)))) == ["venue_time_back"]
    assert (book.best_bid, book.venue_ms) == (98, 4)


def test_late_pictures_between_newer_ones_never_add_up_to_a_clock_set_back() -> None:
    book = full_book()
    for step in range(3 * OLDER_PICTURES_MAX):
        book.apply(picture(1_000 + step, unit(99, 101)))
        assert book.apply(picture(4, unit(98, 101))) == ()
    assert book.best_bid == 99


def test_link_down_refuses_pictures_until_the_link_is_up() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    book.link_down()
    assert (book.flaw, book.best_bid, book.levels(Side.BUY, 1)) == (Doubt.LINK_DOWN, 0.0, [])
    assert book.apply(picture(6, unit(99, 101))) == ()
    assert (book.flaw, book.counters["frames_after_link_down"]) == (Doubt.LINK_DOWN, 1)
    assert book.link_up() == ()
    assert book.flaw is Doubt.NEVER_SYNCED
    book.apply(picture(1, unit(9, 10)))
    assert (book.flaw, book.best_bid) == (None, 9), "neither time nor price of before is a yardstick"


def test_a_jump_is_implausible_until_confirmed_by_further_pictures() -> None:
    book = full_book(MarketDataSettings(price_jump_ppm_max=100_000, price_jump_confirmations=2))
    book.apply(picture(1, unit(99, 101)))
    for step, expected in enumerate([Doubt.IMPLAUSIBLE, Doubt.IMPLAUSIBLE, None]):
        book.apply(picture(2 + step, unit(149, 151)))
        assert book.flaw is expected


def test_each_new_jump_starts_its_own_confirmation() -> None:
    book = full_book(MarketDataSettings(price_jump_ppm_max=100_000, price_jump_confirmations=2))
    book.apply(picture(1, unit(99, 101)))
    for step, price in enumerate([150, 150, 300, 300]):
        book.apply(picture(2 + step, unit(price - 1, price + 1)))
        assert book.flaw is Doubt.IMPLAUSIBLE
    book.apply(picture(9, unit(299, 301)))
    assert book.flaw is None


def test_a_slow_drift_is_plausible_however_far_it_goes() -> None:
    book = full_book(MarketDataSettings(price_jump_ppm_max=50_000))
    price = 100.0
    for step in range(100):
        book.apply(picture(step, unit(price - 1, price + 1)))
        assert book.flaw is None
        price *= 1.049
    assert book.counters["implausible"] == 0


def test_new_limits_hold_from_the_next_picture() -> None:
    book = full_book(MarketDataSettings(price_jump_ppm_max=100_000))
    book.apply(picture(1, unit(99, 101)))
    book.configure(MarketDataSettings(price_jump_ppm_max=10_000))
    book.apply(picture(2, unit(104, 106)))
    assert book.flaw is Doubt.IMPLAUSIBLE


def test_a_trade_that_agrees_contradicts_nothing() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    assert book.check(trade(6, 99, 101)) == ()
    assert (book.contradicted_since_ns(), book.counters["trades_compared"]) == (0, 1)


@pytest.mark.parametrize(
    "one", [trade(4, 98, 101), trade(6, None, 101), trade(6, 99, None)], ids=["older than the book", "no bid", "no ask"]
)
def test_trades_that_cannot_judge_are_not_compared(one: object) -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    book.check(one)
    assert (book.contradicted_since_ns(), book.counters["trades_compared"]) == (0, 0)


def test_before_the_first_picture_there_is_nothing_to_contradict() -> None:
    book = full_book()
    book.check(trade(6, 98, 101))
    assert book.contradicted_since_ns() == 0


def test_a_contradiction_counts_from_its_first_trade_until_one_agrees() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    book.check(trade(6, 98, 101, at_ns=70))
    book.check(trade(7, 97, 101, at_ns=80))
    assert book.contradicted_since_ns() == 70
    book.check(trade(8, 99, 101, at_ns=90))
    assert book.contradicted_since_ns() == 0


def test_a_newer_picture_clears_a_passing_contradiction() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    book.check(trade(6, 98, 101, at_ns=70))
    book.apply(picture(7, unit(98.5, 101)))
    assert book.contradicted_since_ns() == 0


def test_a_feed_that_repeats_an_old_picture_with_new_times_is_contradicted_for_good() -> None:
    book = full_book()
    for step in range(CONTRADICTIONS_STICK):
        book.apply(picture(10 * step, unit(99, 101)))
        book.check(trade(10 * step + 5, 90, 91, at_ns=100 + step))
    book.apply(picture(1_000, unit(99, 101)))
    assert book.contradicted_since_ns() == 100 + CONTRADICTIONS_STICK - 1
    book.apply(picture(1_001, unit(90, 91)))
    assert book.contradicted_since_ns() == 0, "the book has come to agree"


def test_a_jump_is_measured_from_the_newest_picture_not_from_an_older_one() -> None:
    book = full_book(MarketDataSettings(price_jump_ppm_max=100_000))
    for step, price in enumerate([100, 104, 113]):
        book.apply(picture(step, unit(price - 1, price + 1)))
        assert book.flaw is None


def test_a_good_picture_after_a_crossed_one_is_trusted_again() -> None:
    book = full_book()
    for step, (bid, expected) in enumerate([(99, None), (102, Doubt.CROSSED), (99, None)]):
        book.apply(picture(step, unit(bid, 101)))
        assert book.flaw is expected


def test_a_price_twice_ends_the_picture_there() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101), unit(99, 101), unit(98, 102)))
    assert (book.levels(Side.BUY, 9), book.levels(Side.SELL, 9)) == ([(101, 1)], [(99, 1)])


def test_a_trade_of_the_same_millisecond_as_the_picture_judges_it() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    book.check(trade(5, 98, 101, at_ns=70))
    assert book.contradicted_since_ns() == 70


@pytest.mark.parametrize("agreed_by", ["trade", "picture"])
def test_an_agreement_starts_the_count_of_contradictions_anew(agreed_by: str) -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    for step in range(CONTRADICTIONS_STICK - 1):
        book.check(trade(6 + step, 98, 101))
    if agreed_by == "trade":
        book.check(trade(20, 99, 101))
    else:
        book.apply(picture(20, unit(98, 101)))
    book.check(trade(21, 97, 101))
    book.apply(picture(22, unit(99, 101)))
    assert book.contradicted_since_ns() == 0


def test_agreeing_on_one_side_only_clears_nothing_that_stuck() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    for step in range(CONTRADICTIONS_STICK):
        book.check(trade(6 + step, 98, 100.5, at_ns=70))
    book.apply(picture(20, unit(98, 101)))
    book.apply(picture(21, unit(99, 100.5)))
    assert book.contradicted_since_ns() == 70


def test_losing_one_side_is_no_jump_of_the_mid() -> None:
    book = full_book()
    book.apply(picture(5, unit(99, 101)))
    book.apply(picture(6, unit(0, 101, 0, 1)))
    assert (book.flaw, book.counters["implausible"]) == (None, 0)
