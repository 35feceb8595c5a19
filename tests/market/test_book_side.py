"""A side in two tiers shows what one plain dict of all levels would show, and holds no more than it says."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.market.book import INFINITE, SMALLEST
from arbitrage.market.book_side import LEVELS_MAX, LOGGED_MAX, NEAR_LEVELS, NEAR_SLACK, PACKERS, BookSide
from arbitrage.model.events import Level

DEEP = 400
WEIGHTS = [0.99**rank for rank in range(800)]
"""How often a level changes, by its distance from the touch."""
SIDES = pytest.mark.parametrize("is_bid", [True, False])


def price_at(rank: int, *, is_bid: bool) -> float:
    """The price so many ticks behind 100.00."""
    return round(100.0 - rank / 100 if is_bid else 100.0 + rank / 100, 2)


def ladder(count: int, *, is_bid: bool) -> list[Level]:
    return [(price_at(rank, is_bid=is_bid), rank + 1.0) for rank in range(count)]


def side_of(levels: list[Level], *, is_bid: bool, is_whole: bool = True) -> tuple[BookSide, Counter[str]]:
    counters: Counter[str] = Counter()
    return BookSide(levels, counters, is_bid=is_bid, is_whole=is_whole), counters


def updates_held(side: BookSide) -> int:
    return len(side._near) + len(side._far_prices) + len(side._log) // 16


@SIDES
def test_a_deep_read_goes_through_near_far_and_log(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, counters = side_of(levels, is_bid=is_bid)
    changed = (price_at(300, is_bid=is_bid), 7.5)
    assert side.apply([changed, (price_at(350, is_bid=is_bid), 0.0)]) == levels[0]
    assert counters["refills"] == 0, "an update of a far level touches nothing but the log"
    assert side.shown(1_000) == [*levels[:300], changed, *levels[301:350], *levels[351:]]
    assert counters["refills"] == 1
    assert len(side.shown(1_000)) == DEEP - 1 and counters["refills"] == 1, "now all of it is near"


@SIDES
def test_a_read_within_the_near_part_moves_nothing(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, counters = side_of(levels, is_bid=is_bid)
    side.apply([(price_at(DEEP - 1, is_bid=is_bid), 0.0)])
    assert side.shown(NEAR_LEVELS) == levels[:NEAR_LEVELS]
    assert not counters


@SIDES
def test_a_touch_that_runs_through_the_near_part_finds_the_far_levels_as_they_are_now(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, counters = side_of(levels, is_bid=is_bid)
    side.apply([(price_at(NEAR_LEVELS, is_bid=is_bid), 0.0), (price_at(NEAR_LEVELS + 1, is_bid=is_bid), 9.5)])
    gone = [(price, 0.0) for price, _ in levels[:NEAR_LEVELS]]
    assert side.apply(gone) == (price_at(NEAR_LEVELS + 1, is_bid=is_bid), 9.5)
    assert counters["refills"] == 1
    for rank in range(NEAR_LEVELS + 1, DEEP):
        best = side.apply([(price_at(rank, is_bid=is_bid), 0.0)])
        assert best == (levels[rank + 1] if rank + 1 < DEEP else (0.0, 0.0))
    assert counters["refills"] < 10, "a refill brings many levels, so that it is rare"


@SIDES
def test_a_refill_that_finds_only_deleted_levels_goes_on(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, _ = side_of(levels, is_bid=is_bid)
    side.apply([(price, 0.0) for price, _ in levels[NEAR_LEVELS : DEEP - 1]])
    assert side.apply([(price, 0.0) for price, _ in levels[:NEAR_LEVELS]]) == levels[-1]
    assert side.shown(10) == [levels[-1]]


@SIDES
def test_a_touch_that_moves_away_leaves_a_near_part_of_the_same_size(is_bid: bool) -> None:
    side, counters = side_of(ladder(50, is_bid=is_bid), is_bid=is_bid)
    for step in range(1, 1_001):
        assert side.apply([(price_at(-step, is_bid=is_bid), 1.0)]) == (price_at(-step, is_bid=is_bid), 1.0)
    assert counters["sweeps"] > 5
    assert len(side._near) <= NEAR_LEVELS + NEAR_SLACK
    shown = side.shown(2_000)
    assert shown == [*((price_at(-step, is_bid=is_bid), 1.0) for step in range(1_000, 0, -1)), *ladder(50, is_bid=is_bid)]


@SIDES
def test_the_deletion_of_a_price_that_was_never_there_leaves_nothing(is_bid: bool) -> None:
    side, _ = side_of(ladder(3, is_bid=is_bid), is_bid=is_bid)
    held = updates_held(side)
    assert side.apply([(price_at(-5, is_bid=is_bid), 0.0)]) == (100.0, 1.0)
    assert updates_held(side) == held


@SIDES
def test_the_log_is_merged_when_it_reaches_its_limit_and_not_before(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, counters = side_of(levels, is_bid=is_bid)
    far = price_at(DEEP - 1, is_bid=is_bid)
    for update in range(LOGGED_MAX):
        side.apply([(far, float(update + 1))])
    assert counters["merges"] == 0
    side.apply([(far, 0.5)])
    assert (counters["merges"], updates_held(side)) == (1, DEEP)
    assert side.shown(DEEP) == [*levels[:-1], (far, 0.5)]


@SIDES
def test_more_far_levels_than_one_format_holds_are_logged_too(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, _ = side_of(levels, is_bid=is_bid)
    changed = [(price, 0.25) for price, _ in levels[NEAR_LEVELS:]]
    assert len(changed) > len(PACKERS)
    side.apply(changed)
    assert side.shown(DEEP) == [*levels[:NEAR_LEVELS], *changed]


@SIDES
def test_a_level_twice_in_one_update_ends_with_its_last_quantity_near_and_far(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, _ = side_of(levels, is_bid=is_bid)
    for rank in (1, DEEP - 2):
        price = price_at(rank, is_bid=is_bid)
        side.apply([(price, 5.0), (price, 0.0), (price, 6.0)])
        levels[rank] = (price, 6.0)
    assert side.shown(DEEP) == levels


@SIDES
def test_nothing_is_kept_beyond_what_is_proved(is_bid: bool) -> None:
    levels = ladder(DEEP, is_bid=is_bid)
    side, _ = side_of(levels, is_bid=is_bid, is_whole=False)
    assert side.bound == levels[-1][0]
    for update in range(LOGGED_MAX + 1):
        side.apply([(price_at(DEEP + update, is_bid=is_bid), 1.0)])
    assert updates_held(side) == DEEP, "a merge has dropped them"
    side.apply([(price_at(DEEP + 5, is_bid=is_bid), 1.0)])
    assert side.shown(1_000) == levels, "and before a merge they are not shown"
    side.apply([(price, 0.0) for price, _ in levels])
    assert side.apply([(price_at(DEEP + 6, is_bid=is_bid), 1.0)]) == (0.0, 0.0)


@SIDES
def test_a_whole_side_is_proved_to_its_end(is_bid: bool) -> None:
    side, _ = side_of([], is_bid=is_bid)
    assert side.bound == (SMALLEST if is_bid else INFINITE)
    assert side.apply([]) == (0.0, 0.0)
    assert side.apply([(0.00000001, 2.0), (1e15, 3.0)]) == ((1e15, 3.0) if is_bid else (0.00000001, 2.0))


@SIDES
def test_no_more_levels_than_the_limit_are_kept_and_the_range_that_is_proved_ends_there(is_bid: bool) -> None:
    levels = ladder(LEVELS_MAX + 5, is_bid=is_bid)
    if is_bid:
        levels = [(price + 1_000.0, quantity) for price, quantity in levels]
    side, _ = side_of(levels, is_bid=is_bid)
    assert side.bound == levels[LEVELS_MAX - 1][0]
    assert side.shown(2 * LEVELS_MAX) == levels[:LEVELS_MAX]


class Plain:
    """What is compared with: every level in one dict."""

    def __init__(self, levels: list[Level], *, is_bid: bool, is_whole: bool) -> None:
        self.is_bid = is_bid
        self.levels = dict(levels)
        self.bound = (0.0 if is_bid else INFINITE) if is_whole or not levels else levels[-1][0]

    def apply(self, levels: list[Level]) -> Level:
        self.levels.update(levels)
        return next(iter(self.shown()), (0.0, 0.0))

    def shown(self) -> list[Level]:
        proved = [(p, q) for p, q in self.levels.items() if q and (p >= self.bound if self.is_bid else p <= self.bound)]
        return sorted(proved, reverse=self.is_bid)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    is_bid=st.booleans(),
    is_whole=st.booleans(),
    count=st.integers(0, 600),
    actions=st.lists(st.sampled_from(("few", "few", "many", "run", "away", "read", "storm")), max_size=25),
)
def test_two_tiers_show_what_one_dict_shows(seed: int, is_bid: bool, is_whole: bool, count: int, actions: list[str]) -> None:
    rng = random.Random(seed)
    levels = ladder(count, is_bid=is_bid)
    side, _ = side_of(levels, is_bid=is_bid, is_whole=is_whole)
    plain = Plain(levels, is_bid=is_bid, is_whole=is_whole)
    touch = 0
    for action in actions:
        if action == "read":
            limit = rng.choice((1, 8, 32, 100, 5_000))
            assert side.shown(limit) == plain.shown()[:limit]
            continue
        if action == "run":
            rows = [(price, 0.0) for price, _ in plain.shown()[: rng.randrange(1, 3 * NEAR_LEVELS)]]
            touch += len(rows)
        elif action == "away":
            step = rng.randrange(1, 2 * NEAR_SLACK)
            rows = [(price_at(touch - rank, is_bid=is_bid), 1.0) for rank in range(1, step)]
            touch -= step
        else:
            count = {"few": 6, "many": 90, "storm": LOGGED_MAX + 100}[action]
            prices = [price_at(touch + rank, is_bid=is_bid) for rank in range(800)]
            rows = list(zip(rng.choices(prices, WEIGHTS, k=count), rng.choices((0.0, 0.5, 0.7), k=count), strict=True))
        assert side.apply(rows) == plain.apply(rows)
        assert len(side._log) <= 16 * LOGGED_MAX
    assert side.shown(10_000) == plain.shown()


@SIDES
def test_memory_is_bounded_over_a_million_updates(is_bid: bool) -> None:
    rng = random.Random(3)
    side, counters = side_of(ladder(DEEP, is_bid=is_bid), is_bid=is_bid)
    prices = [price_at(rank, is_bid=is_bid) for rank in range(-1_000, 2_000)]
    weights = [0.98**rank for rank in range(1_000)]
    held_max = touch = 0
    for _ in range(10_000):
        touch += rng.choice((-1, 0, 1))
        from_touch = prices[1_000 + touch : 2_000 + touch]
        side.apply(list(zip(rng.choices(from_touch, weights, k=100), rng.choices((0.0, 1.0, 2.0), k=100), strict=True)))
        held_max = max(held_max, len(side._near) + len(side._far_prices))
        assert len(side._log) <= 16 * LOGGED_MAX
    assert held_max < 2_000
    assert counters["merges"] > 10
    assert updates_held(side) >= len(side.shown(LEVELS_MAX))
