"""The true offset always lies within half the stated width of the measured one."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.model.instruments import Venue
from arbitrage.venues.clock_offset import DateOffset, by_midpoint

MS = 1_000_000
VENUE = Venue("somewhere")
SENT_NS = st.integers(1_700_000_000_000 * MS, 1_800_000_000_000 * MS)
OFFSET_MS = st.integers(-5_000, 5_000)
PART_MS = st.integers(0, 400)


@given(sent_ns=SENT_NS, offset_ms=OFFSET_MS, there_ms=PART_MS, back_ms=PART_MS)
def test_the_midpoint_errs_by_half_the_round_trip_at_most(sent_ns: int, offset_ms: int, there_ms: int, back_ms: int) -> None:
    venue_ms = (sent_ns + there_ms * MS) // MS + offset_ms
    measured = by_midpoint(VENUE, venue_ms, sent_ns, sent_ns + (there_ms + back_ms) * MS)
    assert abs(measured.offset_ms - offset_ms) <= measured.round_trip_ms / 2 + 1
    assert measured.round_trip_ms == there_ms + back_ms


def header_at(venue_ms: int) -> dict[str, str]:
    return {"Date": formatdate(venue_ms // 1000, usegmt=True)}


TRIPS = st.lists(st.tuples(st.integers(0, 90_000), PART_MS, PART_MS), min_size=1, max_size=12)


@given(start=SENT_NS, offset_ms=OFFSET_MS, trips=TRIPS)
def test_whole_seconds_bound_the_offset_and_agree_on_a_narrower_range(
    start: int, offset_ms: int, trips: list[tuple[int, int, int]]
) -> None:
    dates, sent_ns, widths = DateOffset(VENUE), start, []
    for pause_ms, there_ms, back_ms in trips:
        sent_ns += pause_ms * MS
        venue_ms = (sent_ns + there_ms * MS) // MS + offset_ms
        measured = dates.measured(header_at(venue_ms), sent_ns, sent_ns + (there_ms + back_ms) * MS)
        assert measured is not None
        assert abs(measured.offset_ms - offset_ms) <= measured.round_trip_ms / 2 + 2
        widths.append(measured.round_trip_ms)
        assert measured.round_trip_ms <= 1001 + there_ms + back_ms
    assert widths[:8] == sorted(widths[:8], reverse=True)


def test_a_clock_that_was_set_anew_is_believed_at_once() -> None:
    dates, sent_ns = DateOffset(VENUE), 1_700_000_000_500 * MS
    dates.measured(header_at(1_700_000_000_500), sent_ns, sent_ns)
    measured = dates.measured(header_at(1_700_000_060_500), sent_ns, sent_ns)
    assert measured is not None
    assert abs(measured.offset_ms - 60_000) <= measured.round_trip_ms / 2 + 1


@given(st.text())
def test_any_date_header_is_tolerated(text: str) -> None:
    measured = DateOffset(VENUE).measured({"Date": text}, 0, 0)
    assert measured is None or measured.venue == VENUE


def test_an_absent_date_measures_nothing() -> None:
    assert DateOffset(VENUE).measured({}, 0, 0) is None
