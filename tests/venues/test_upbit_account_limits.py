"""A pocket's budgets: strict windows, shares for cancels and questions, and refusals that are honoured to the second."""

from __future__ import annotations

import random

import pytest

from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.upbit.account_limits import CANCEL, CONNECT, ORDER, QUERY, READ, TEST, AccountLimits
from arbitrage.venues.upbit.limits import UpbitLimits

ALL = (CANCEL, QUERY, READ, ORDER, TEST, CONNECT)


def limits() -> tuple[AccountLimits, UpbitLimits]:
    address = UpbitLimits()
    return AccountLimits(address, random.Random(1)), address


def taken(pocket: AccountLimits, group: str, now_ns: int) -> int:
    count = 0
    while pocket.budget(group).try_take(now_ns):
        count += 1
    return count


def test_reads_leave_room_for_questions_and_questions_for_cancels() -> None:
    pocket, _ = limits()
    counts = [taken(pocket, group, 0) for group in (READ, QUERY, CANCEL)]
    assert counts == [12, 10, 6]
    assert sum(counts) < 30


def test_orders_do_not_use_what_cancels_need() -> None:
    pocket, _ = limits()
    assert taken(pocket, ORDER, 0) == 10
    assert taken(pocket, CANCEL, 0) == 28


def test_the_header_corrects_our_count_whatever_it_calls_the_group() -> None:
    pocket, _ = limits()
    pocket.learn(ORDER, {"Remaining-Req": "group=exchange.order; min=1; sec=2"}, 0)
    assert taken(pocket, ORDER, 0) == 0
    pocket.learn(QUERY, {"Remaining-Req": "group=default; sec=1"}, 0)
    assert taken(pocket, CANCEL, 0) == 0
    pocket.learn(TEST, {"Remaining-Req": "nonsense"}, 0)
    assert taken(pocket, TEST, 0) == 6


def test_a_429_holds_its_own_group_until_the_venues_second_is_over() -> None:
    pocket, _ = limits()
    until_ns = pocket.refused(QUERY, 5 * NS_PER_S)
    assert NS_PER_S < until_ns - 5 * NS_PER_S <= 1.2 * NS_PER_S
    assert not pocket.budget(CANCEL).try_take(until_ns - 1)
    assert pocket.budget(ORDER).try_take(5 * NS_PER_S)
    assert pocket.held_until_ns == 0, "it is no ban that a restart would have to know of"
    assert pocket.budget(CANCEL).try_take(until_ns)


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ("", b"", 60),
        ("5", b"", 60),
        ("300", b"", 300),
        ("", b"Too many API requests. Blocked for 125 seconds.", 125),
        ("", "요청이 많습니다. 90초 후에".encode(), 90),
        ("x", b"try 7 things", 60),
    ],
)
def test_a_418_stops_everything_for_a_minute_or_as_long_as_it_says(header: str, body: bytes, seconds: int) -> None:
    pocket, address = limits()
    until_ns = pocket.banned(header, body, 0)
    assert until_ns == seconds * NS_PER_S == pocket.held_until_ns == address.held_until_ns
    for group in ALL:
        assert not pocket.budget(group).try_take(until_ns - 1)
        assert pocket.budget(group).try_take(until_ns)


def test_each_ban_in_a_row_is_twice_as_long_until_the_venue_answers() -> None:
    pocket, _ = limits()
    assert [pocket.banned("", b"", at_s * NS_PER_S) // NS_PER_S - at_s for at_s in (0, 60, 180, 420)] == [60, 120, 240, 480]
    pocket.answered()
    assert pocket.banned("", b"", 10**12) == 10**12 + 60 * NS_PER_S


def test_one_ban_that_refuses_several_requests_counts_once() -> None:
    pocket, _ = limits()
    assert [pocket.banned("", b"", at_s * NS_PER_S) // NS_PER_S - at_s for at_s in (0, 0, 1)] == [60, 60, 60]
    pocket.answered()  # by an answer that had been on its way
    assert pocket.banned("", b"", 2 * NS_PER_S) == 62 * NS_PER_S
    assert pocket.banned("", b"", 62 * NS_PER_S) == (62 + 120) * NS_PER_S


def test_a_ban_that_market_data_met_holds_the_account_too() -> None:
    pocket, address = limits()
    address.refused("", 418, 77 * NS_PER_S)
    assert not pocket.budget(ORDER).try_take(77 * NS_PER_S - 1)
    assert pocket.held_until_ns == 77 * NS_PER_S


def test_a_429_of_one_market_data_group_is_not_a_ban() -> None:
    pocket, address = limits()
    address.refused("market", 429, 77 * NS_PER_S)
    assert pocket.budget(ORDER).try_take(0)
