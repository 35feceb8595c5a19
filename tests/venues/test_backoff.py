"""Delays grow to their maximum, stay jittered, and begin anew after a reset."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.venues.backoff import Backoff


@given(least=st.integers(1, 10**9), most=st.integers(1, 10**11), seed=st.integers(0, 1000), count=st.integers(1, 60))
def test_every_delay_is_within_the_upper_half_of_its_step(least: int, most: int, seed: int, count: int) -> None:
    backoff = Backoff(least, most, random.Random(seed))
    for failure in range(count):
        ceiling = min(max(least, most), least * 2 ** min(failure, 30))
        assert ceiling / 2 <= backoff.next_ns() <= ceiling


def test_two_clients_cut_together_do_not_return_together() -> None:
    one, other = (Backoff(10**6, 10**9, random.Random(seed)) for seed in (1, 2))
    assert [one.next_ns() for _ in range(5)] != [other.next_ns() for _ in range(5)]


def test_a_reset_starts_from_the_smallest_delay() -> None:
    backoff = Backoff(100, 100_000, random.Random(1))
    for _ in range(9):
        backoff.next_ns()
    backoff.reset()
    assert backoff.next_ns() <= 100
