"""What we took of a level is not offered to us again until an update changes that level."""

from __future__ import annotations

from market_world import diff, full_book, picture, synced, unit

from arbitrage.market.full_book import FullBook
from arbitrage.model.instruments import Side


def shown_book(*units: tuple[float, float, float, float]) -> FullBook:
    book = full_book()
    show(book, 1, *units)
    return book


def show(book: FullBook, at_ms: int, *units: tuple[float, float, float, float]) -> None:
    """Show units of (ask, bid, ask size, bid size)."""
    book.apply(picture(at_ms, *(unit(bid, ask, bid_size, ask_size) for ask, bid, ask_size, bid_size in units)))


def test_a_taken_level_shows_less_until_it_changes() -> None:
    book = shown_book((101.0, 100.0, 5.0, 7.0), (102.0, 99.0, 5.0, 7.0))
    book.take(Side.BUY, 101.0, 2.0)
    assert book.levels(Side.BUY, 10) == [(101.0, 3.0), (102.0, 5.0)]
    assert book.shown(Side.BUY, 10) == [(101.0, 5.0), (102.0, 5.0)], "the venue's own picture is not touched"
    assert book.levels(Side.SELL, 10) == [(100.0, 7.0), (99.0, 7.0)]
    show(book, 2, (101.0, 100.0, 5.0, 7.0), (102.0, 99.0, 4.0, 7.0))
    assert book.levels(Side.BUY, 1) == [(101.0, 3.0)], "an unchanged level has not been refilled"
    show(book, 3, (101.0, 100.0, 4.5, 7.0), (102.0, 99.0, 4.0, 7.0))
    assert book.levels(Side.BUY, 1) == [(101.0, 4.5)]


def test_takes_add_up_and_a_level_that_is_used_up_is_gone() -> None:
    book = shown_book((101.0, 100.0, 5.0, 7.0))
    book.take(Side.SELL, 100.0, 3.0)
    book.take(Side.SELL, 100.0, 3.0)
    assert book.levels(Side.SELL, 10) == [(100.0, 1.0)]
    book.take(Side.SELL, 100.0, 9.0)
    assert book.levels(Side.SELL, 10) == []


def test_behind_a_level_that_is_used_up_stands_the_next() -> None:
    book = shown_book((101.0, 100.0, 5.0, 7.0), (102.0, 99.0, 5.0, 7.0), (103.0, 98.0, 5.0, 7.0))
    book.take(Side.BUY, 101.0, 5.0)
    assert book.levels(Side.BUY, 1) == [(102.0, 5.0)]
    assert book.levels(Side.BUY, 2) == [(102.0, 5.0), (103.0, 5.0)]


def test_a_take_of_a_changed_level_starts_afresh() -> None:
    book = shown_book((101.0, 100.0, 5.0, 7.0))
    book.take(Side.BUY, 101.0, 4.0)
    show(book, 2, (101.0, 100.0, 6.0, 7.0))
    book.take(Side.BUY, 101.0, 1.0)
    assert book.levels(Side.BUY, 10) == [(101.0, 5.0)]


def test_a_fill_at_a_price_that_is_no_longer_shown_changes_nothing() -> None:
    book = shown_book((101.0, 100.0, 5.0, 7.0))
    book.take(Side.BUY, 100.5, 1.0)
    assert book.levels(Side.BUY, 10) == [(101.0, 5.0)]


def test_a_diff_that_leaves_the_level_alone_does_not_refill_it() -> None:
    book = synced()
    price, quantity = book.levels(Side.BUY, 1)[0]
    book.take(Side.BUY, price, quantity)
    assert all(level != price for level, _ in book.levels(Side.BUY, 10))
    book.apply(diff(book.last_id + 1, book.last_id + 1, bids=[(1.0, 2.0)]))
    assert all(level != price for level, _ in book.levels(Side.BUY, 10))
    book.apply(diff(book.last_id + 1, book.last_id + 1, asks=[(price, quantity + 1.0)]))
    assert book.levels(Side.BUY, 1) == [(price, quantity + 1.0)]
