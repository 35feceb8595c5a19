"""One wrong digit in any id or time of any message, whenever it comes: the book is right again a few messages later.

Every place, digit and moment is tried, not drawn. A snapshot comes `LATE` updates after it is asked for, as it stands then.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from market_world import diff, diff_book, full_book, picture, snapshot, unit

from arbitrage.market.diff_book import DiffBook
from arbitrage.model.effects import Resync
from arbitrage.model.events import BookDiff, Level

START, STEP, UPDATES, LATE = 40_105_841, 3, 40, 2
RIGHT_WITHIN = 16
"""Updates after the damaged one: three of them show a wrong id, then at most three snapshots."""
SNAPSHOTS_MAX = 3
NOON_MS, QUIET_MS = 1_795_325_470_062, 1_000
"""A market so quiet that a picture comes once a second."""
PICTURES_MAX = 11
"""A wrong time less than ten seconds ahead is waited for; one further ahead costs three pictures."""


def touch(number: int, fall: float) -> tuple[Level, Level]:
    """The best bid and ask after so many updates of a market that falls by so much with each."""
    return (99.0 - fall * number, 1.0 + number), (101.0 - fall * number, 1.0)


def update(number: int, fall: float) -> BookDiff:
    """The update that brings them."""
    first_id = START + number * STEP
    before, after = touch(number - 1, fall), touch(number, fall)
    bids, asks = ([*{old[0]: 0.0, new[0]: new[1]}.items()] for old, new in zip(before, after, strict=True))
    return diff(first_id, first_id + STEP - 1, bids, asks, at_ns=(number + 1) * 100_000_000)


def mistyped(number: int) -> Iterator[int]:
    """Every number that one other digit makes of it."""
    text = str(number)
    for place, digit in itertools.product(range(len(text)), "0123456789"):
        if text[place] != digit:
            yield int(text[:place] + digit + text[place + 1 :])


def damaged(number: int, fall: float) -> Iterator[BookDiff]:
    """One update with every possible wrong digit in its first id, then in its last."""
    true = update(number, fall)
    for wrong in mistyped(true.first_id):
        yield diff(wrong, true.last_id, true.bids, true.asks, at_ns=true.at_ns)
    for wrong in mistyped(true.last_id):
        yield diff(true.first_id, wrong, true.bids, true.asks, at_ns=true.at_ns)


def snapshots_until_right(at: int, wrong: BookDiff, fall: float) -> int:
    """Play the stream with one update replaced; return how many snapshots it took since, and fail where it is not right."""
    book: DiffBook = diff_book()
    due = [LATE for effect in book.link_up() if isinstance(effect, Resync)]
    taken = 0
    for number in range(UPDATES):
        true = update(number, fall)
        bid, ask = touch(number, fall)
        effects = [*book.apply(wrong if number == at else true)]
        while due and due[0] <= number:
            due.pop(0)
            taken += number >= at
            effects += book.start_from(snapshot(true.last_id, [bid], [ask], is_whole=True))
        due += [number + LATE for effect in effects if isinstance(effect, Resync)]
        if number >= at + RIGHT_WITHIN:
            shown = (book.flaw, book.last_id, (book.best_bid, book.best_bid_quantity), book.best_ask)
            assert shown == (None, true.last_id, bid, ask[0]), (at, wrong, number)
    return taken


@pytest.mark.parametrize("fall", [0.0, 1.2])
@pytest.mark.parametrize("at", [0, 1, 2, 3, 10])
def test_no_wrong_digit_in_an_id_holds_a_book(at: int, fall: float) -> None:
    """In a market that falls, an update that is believed too long crosses every snapshot that comes after it."""
    assert max(snapshots_until_right(at, wrong, fall) for wrong in damaged(at, fall)) <= SNAPSHOTS_MAX


@pytest.mark.parametrize("wrong_ms", list(mistyped(NOON_MS)))
def test_no_wrong_digit_in_a_time_holds_a_picture(wrong_ms: int) -> None:
    book = full_book()
    for number in range(-3, PICTURES_MAX + 1):
        at_ms = wrong_ms if number == 0 else NOON_MS + number * QUIET_MS
        book.apply(picture(at_ms, unit(99.0, 101.0, bid_size=10.0 + number)))
    assert (book.flaw, book.best_bid_quantity, book.venue_ms) == (None, 10.0 + PICTURES_MAX, NOON_MS + PICTURES_MAX * QUIET_MS)
