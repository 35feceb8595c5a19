"""Estimates a venue's clock against ours from request round trips. Reads no clock itself and corrects nothing.

Each answer bounds the offset: the venue's time was written between our asking and our receiving. A time with a resolution of
whole seconds (an HTTP `Date` header) bounds it a second wider; several such answers overlap in a narrower range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from arbitrage.model.events import ClockMeasured
from arbitrage.model.instruments import Venue
from arbitrage.venues.budget import NS_PER_MS

READINGS_KEPT = 8
"""Older ones are dropped, so that a drifting clock is followed."""


def by_midpoint(venue: Venue, venue_ms: int, sent_ns: int, received_ns: int) -> ClockMeasured:
    """Take the venue's time as written half-way through the round trip; wrong by half of it at most."""
    round_trip_ms = -(-(received_ns - sent_ns) // NS_PER_MS)
    offset_ms = venue_ms - (sent_ns + received_ns) // (2 * NS_PER_MS)
    return ClockMeasured(received_ns, venue, offset_ms, round_trip_ms)


class DateOffset:
    """The range of offsets that recent whole-second times agree on."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._ranges: deque[tuple[int, int]] = deque(maxlen=READINGS_KEPT)

    def measured(self, headers: Mapping[str, str], sent_ns: int, received_ns: int) -> ClockMeasured | None:
        """Return the middle of the range. `round_trip_ms` is its width, so half of it bounds the error as with a round trip."""
        try:
            date_ms = int(parsedate_to_datetime(headers.get("Date", "")).timestamp()) * 1000
        except (ValueError, TypeError, OverflowError):
            return None
        newest = (date_ms - received_ns // NS_PER_MS - 1, date_ms + 1000 - sent_ns // NS_PER_MS)
        self._ranges.append(newest)
        low = max(earliest for earliest, _ in self._ranges)
        high = min(latest for _, latest in self._ranges)
        if low > high:
            self._ranges.clear()
            self._ranges.append(newest)
            low, high = newest
        return ClockMeasured(received_ns, self._venue, (low + high) // 2, high - low)
