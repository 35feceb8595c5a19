"""No window, wherever it starts, holds more than its limit; a budget waits no longer than it must."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.venues.budget import NS_PER_S, Budget, SlidingWindow

STEPS = st.lists(st.integers(0, 400), min_size=1, max_size=80)


@given(limit=st.integers(1, 7), window=st.integers(1, 1000), steps=STEPS)
def test_no_window_ever_holds_more_than_its_limit(limit: int, window: int, steps: list[int]) -> None:
    budget, now, sent = Budget(SlidingWindow(limit, window)), 0, []
    for step in steps:
        now += step
        if budget.try_take(now):
            sent.append(now)
    for start in sent:
        assert sum(start <= at <= start + window for at in sent) <= limit


@given(limit=st.integers(1, 7), window=st.integers(1, 1000), units=st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_the_wait_is_exact(limit: int, window: int, units: list[int]) -> None:
    kept, now = SlidingWindow(limit, window), 0
    for wanted in (min(unit, limit) for unit in units):
        wait = kept.wait_ns(now, wanted)
        if wait:
            assert kept.wait_ns(now + wait - 1, wanted) > 0, "not a nanosecond earlier"
        now += wait
        assert kept.wait_ns(now, wanted) == 0
        kept.charge(now, wanted)


@given(acts=st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.integers(1, 3)), max_size=80))
def test_acts_that_are_owed_count_against_what_follows(acts: list[tuple[int, bool, int]]) -> None:
    """Whatever was charged (a pong), our own messages never bring a window above its limit."""
    limit, window = 5, 1000
    kept, now, sent = SlidingWindow(limit, window), 0, []
    for step, is_owed, units in acts:
        now += step
        if is_owed:
            kept.charge(now, units)
            sent.append((now, units))
        elif kept.wait_ns(now, units) == 0:
            before = sum(taken for at, taken in sent if now - at <= window)
            assert before + units <= limit
            kept.charge(now, units)
            sent.append((now, units))


def test_five_a_second_never_lets_nine_through_around_a_boundary() -> None:
    kept = Budget(SlidingWindow(5, NS_PER_S))
    assert sum(kept.try_take(900_000_000) for _ in range(9)) == 5
    assert sum(kept.try_take(1_100_000_000) for _ in range(9)) == 0
    assert sum(kept.try_take(1_900_000_001) for _ in range(9)) == 5


def test_memory_is_bounded_by_the_limit_however_much_is_owed() -> None:
    kept = SlidingWindow(3, NS_PER_S)
    for at in range(10_000):
        kept.charge(at)
    assert len(kept._taken) == 3
    assert kept.used(10_000) == 10_000
    assert kept.used(10_001 + NS_PER_S) == 0


def test_the_venue_is_believed_when_it_counted_more_and_never_when_less() -> None:
    kept = SlidingWindow(100, NS_PER_S)
    kept.charge(0, 10)
    kept.correct(1, 4)
    assert kept.used(1) == 10
    kept.correct(2, 60)
    assert kept.used(2) == 60
    kept.correct(3, 10**9)
    assert kept.used(3) == 100


def test_a_hold_blocks_an_empty_budget_and_is_never_shortened() -> None:
    kept = Budget(SlidingWindow(5, 10))
    kept.hold(500)
    kept.hold(200)
    assert kept.wait_ns(100) == 400
    assert not kept.try_take(499)
    assert kept.try_take(500)


def test_the_tightest_window_decides() -> None:
    kept = Budget(SlidingWindow(2, 100), SlidingWindow(3, 1000))
    assert [kept.try_take(at) for at in (0, 1, 2)] == [True, True, False]
    assert kept.try_take(101)
    assert kept.wait_ns(300) == 701


def test_a_request_that_can_never_fit_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="empty window"):
        SlidingWindow(5, 10).wait_ns(0, 6)


def test_taking_waits_until_the_budget_has_room() -> None:
    """The clock is the test's: each look at it finds the time that the wait asked for."""
    kept = Budget(SlidingWindow(1, 1_000))
    seen: list[int] = []

    def clock() -> int:
        seen.append(len(seen) * 600)
        return seen[-1]

    async def scene() -> None:
        await kept.take(clock)
        await kept.take(clock)

    asyncio.run(scene())
    assert seen == [0, 600, 1200]
