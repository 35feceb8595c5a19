"""The hops of an order's way: each value in its bucket, each order's first word and first fill counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.ops.hops import HOP_BOUNDS_S, ORDERS_FOLLOWED_MAX, VENUES_MAX, Histogram, Hops

MS = 1_000_000


@given(st.lists(st.floats(0, 20), max_size=50))
def test_every_value_is_in_the_bucket_that_it_fits_below(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for place, bound in enumerate(HOP_BOUNDS_S):
        assert sum(histogram.counts[: place + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
    assert histogram.worst_s == max(values, default=0.0)


def test_an_order_is_followed_from_its_decision_over_its_first_word_to_its_first_fill() -> None:
    hops = Hops()
    hops.decided("a", 0)
    hops.acknowledged("a", 40 * MS)
    hops.acknowledged("a", 90 * MS)
    hops.filled("a", 50 * MS)
    hops.filled("a", 60 * MS)
    ack, fill = hops.histograms["decision_to_ack"], hops.histograms["ack_to_fill"]
    assert (sum(ack.counts), round(ack.sum_s, 6)) == (1, 0.04)
    assert (sum(fill.counts), round(fill.sum_s, 6)) == (1, 0.01)


def test_orders_that_nobody_decided_on_here_are_not_counted() -> None:
    hops = Hops()
    hops.acknowledged("left by an earlier start", 5)
    hops.filled("left by an earlier start", 6)
    assert not any(sum(histogram.counts) for histogram in hops.histograms.values())


def test_orders_that_never_end_do_not_pile_up() -> None:
    hops = Hops()
    for number in range(2 * ORDERS_FOLLOWED_MAX):
        hops.decided(str(number), number)
    hops.acknowledged("0", 1)
    assert sum(hops.histograms["decision_to_ack"].counts) == 0, "the oldest was forgotten"
    for number in range(2 * ORDERS_FOLLOWED_MAX):
        hops.decided(str(number), number)
        hops.acknowledged(str(number), number + 1)
    hops.filled("0", 9)
    assert sum(hops.histograms["ack_to_fill"].counts) == 0


def test_a_clock_that_disagrees_counts_as_no_time() -> None:
    hops = Hops()
    hops.add("exchange_to_receive", -5)
    assert hops.histograms["exchange_to_receive"].counts[0] == 1


def test_what_belongs_to_one_venue_counts_there_and_in_the_whole() -> None:
    hops = Hops()
    hops.add("exchange_to_receive", 900, "upbit")
    hops.add("receive_to_decision", 90)
    for name, venue in (("a", "upbit"), ("b", "binance")):
        hops.decided(name, 0, venue)
        hops.acknowledged(name, 40 * MS)
    hops.filled("b", 50 * MS)
    assert {venue: sorted(own) for venue, own in hops.by_venue.items()} == {
        "upbit": ["decision_to_ack", "exchange_to_receive"], "binance": ["ack_to_fill", "decision_to_ack"],
    }  # fmt: skip
    assert sum(hops.histograms["decision_to_ack"].counts) == 2
    assert round(hops.by_venue["binance"]["ack_to_fill"].worst_s, 6) == 0.01


def test_venues_past_the_bound_count_in_the_whole_alone() -> None:
    hops = Hops()
    for number in range(VENUES_MAX + 3):
        hops.add("exchange_to_receive", 1, f"venue{number}")
    assert len(hops.by_venue) == VENUES_MAX and sum(hops.histograms["exchange_to_receive"].counts) == VENUES_MAX + 3
