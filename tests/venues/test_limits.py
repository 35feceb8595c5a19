"""What venues' headers and refusals do to our budgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.venues.binance.limits import WEIGHT_PER_MINUTE, WEIGHT_RESERVED, BinanceLimits
from arbitrage.venues.binance.session import depth_weight
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.holds import HOLD_S_MAX, HoldRules, Holds
from arbitrage.venues.upbit.limits import UpbitLimits, remaining_this_second


def test_binance_keeps_weight_back_for_orders() -> None:
    budget = BinanceLimits().budget("")
    budget.charge(0, WEIGHT_PER_MINUTE - WEIGHT_RESERVED)
    assert budget.wait_ns(1) == 60 * NS_PER_S


@pytest.mark.parametrize(("levels", "weight"), [(5, 5), (100, 5), (101, 25), (500, 25), (1000, 50), (1001, 250), (5000, 250)])
def test_a_snapshot_costs_what_binance_lists(levels: int, weight: int) -> None:
    assert depth_weight(levels) == weight


@given(st.text())
def test_any_weight_header_is_tolerated(text: str) -> None:
    limits = BinanceLimits()
    limits.learn("", {"X-MBX-USED-WEIGHT-1M": text}, 0)
    assert limits.budget("").wait_ns(0) in (0, 60 * NS_PER_S + 1)


@pytest.mark.parametrize(
    ("header", "left"),
    [
        ("group=market; min=1800; sec=9", 9),
        ("group=exchange.default;sec=0;min=1", 0),
        ("SEC = 3", 3),
        ("group=default; min=1800", None),
        ("", None),
        ("sec=many", None),
        ("sec=-1", None),
    ],
)
def test_what_is_left_this_second_is_read_tolerantly_and_min_is_ignored(header: str, left: int | None) -> None:
    assert remaining_this_second(header) == left


@given(st.text())
def test_any_remaining_req_header_is_tolerated(header: str) -> None:
    limits = UpbitLimits()
    limits.learn("market", {"Remaining-Req": header}, 0)
    assert limits.budget("market").wait_ns(0) >= 0


def test_upbit_groups_are_apart_until_the_address_is_banned() -> None:
    limits = UpbitLimits()
    limits.refused("market", 429, 5_000)
    assert limits.budget("market").wait_ns(0) == 5_000
    assert limits.budget("orderbook").wait_ns(0) == 0
    limits.refused("market", 418, 9_000)
    assert limits.budget("orderbook").wait_ns(0) == 9_000
    assert limits.held_until_ns == 9_000


def test_retry_after_is_honoured_and_its_absence_costs_the_rule() -> None:
    holds = Holds(HoldRules(rate_limited_s=1, banned_s=60))
    assert holds.next_ns(429, "17", 0) == 17 * NS_PER_S
    assert holds.next_ns(429, "", 0) == NS_PER_S
    assert holds.next_ns(429, "soon", 0) == NS_PER_S


def test_bans_without_a_header_double_and_start_anew_when_the_venue_answers() -> None:
    holds = Holds(HoldRules(rate_limited_s=1, banned_s=60))
    assert [holds.next_ns(418, "", at_s * NS_PER_S) // NS_PER_S for at_s in (0, 60, 180)] == [60, 120, 240]
    holds.reset()
    assert holds.next_ns(418, "", 500 * NS_PER_S) == 60 * NS_PER_S


def test_one_ban_that_refuses_several_requests_counts_once() -> None:
    holds = Holds(HoldRules(rate_limited_s=1, banned_s=60))
    assert [holds.next_ns(418, "", at_ns) // NS_PER_S for at_ns in (0, 1, NS_PER_S)] == [60, 60, 60]
    holds.reset()  # by an answer that had been on its way
    assert holds.next_ns(418, "", 2 * NS_PER_S) == 60 * NS_PER_S
    assert holds.next_ns(418, "", 62 * NS_PER_S) == 120 * NS_PER_S


@given(st.sampled_from([429, 418]), st.one_of(st.text(), st.integers(0, 10**12).map(str)))
def test_no_header_holds_us_less_than_a_second_or_more_than_the_longest_ban(status: int, header: str) -> None:
    wait = Holds(HoldRules(rate_limited_s=1, banned_s=60)).next_ns(status, header, 0)
    assert NS_PER_S <= wait <= HOLD_S_MAX * NS_PER_S
