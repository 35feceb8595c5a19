"""How long the hops of an order's way take, laid out for a page: one row for all venues and one for each. Measures nothing.

The hops are kept as counts in fixed buckets since the start, so a quantile is known only to its bucket: what is told is the
bucket's upper bound, never less than the truth. The worst is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec

from arbitrage.ops.hops import HOP_BOUNDS_S, HOPS, Histogram, Hops
from arbitrage.web.screen import figures
from arbitrage.web.screen.charts.counts import counts_chart
from arbitrage.web.screen.charts.svg import Chart

MEANINGS: Mapping[str, str] = {
    "exchange_to_receive": "by the exchange's stamp, its offset taken off, never below 0; sampled once a second and market",
    "receive_to_decision": "from a frame's arrival to its decision; made of several venues' books, so not told by venue",
    "decision_to_ack": "from the decision on an order to the venue's first word about it",
    "ack_to_fill": "from the venue's first word to the first fill; 0 where the fill was the first word",
}
LABELS_EVERY = 3
ALL = "all"


class HopRow(msgspec.Struct, frozen=True):
    """One hop at one venue, or at all of them."""

    venue: str
    samples: str
    p50: str
    p99: str
    worst: str
    chart: Chart | None


class HopPart(msgspec.Struct, frozen=True):
    """One hop with what it means."""

    name: str
    meaning: str
    rows: tuple[HopRow, ...]
    """The first is all venues together; none where nothing was measured."""
    table: tuple[tuple[str, str], ...]
    """Each bucket that holds something, with its count, over all venues."""


def hop_parts(hops: Hops) -> tuple[HopPart, ...]:
    """Lay every hop out in the order of an order's way."""
    return tuple(_part(hop, hops.histograms[hop], hops.by_venue) for hop in HOPS)


def hop_title(hop: str) -> str:
    """Write a hop as its ends: `exchange → receive`."""
    return hop.replace("_to_", " → ")


def quantile_s(histogram: Histogram, share: float) -> float:
    """Return what no more than `1 - share` of the values exceeded: a bucket's bound, or the worst where that is less."""
    whole = sum(histogram.counts)
    assert whole > 0 and 0 < share <= 1, "of some values, a share"
    place = next(place for place, count in enumerate(accumulate(histogram.counts)) if count >= whole * share)
    return min(histogram.worst_s, HOP_BOUNDS_S[place]) if place < len(HOP_BOUNDS_S) else histogram.worst_s


def _part(hop: str, whole: Histogram, by_venue: Mapping[str, Mapping[str, Histogram]]) -> HopPart:
    rows = [(ALL, whole)] if any(whole.counts) else []
    rows += [(venue, own[hop]) for venue, own in sorted(by_venue.items()) if hop in own]
    counted = tuple((name, f"{count:,}") for name, count in zip(BUCKETS, whole.counts, strict=True) if count)
    return HopPart(hop_title(hop), MEANINGS[hop], tuple(_row(hop, *row) for row in rows), counted)


def _row(hop: str, venue: str, histogram: Histogram) -> HopRow:
    samples = sum(histogram.counts)
    p50, p99 = (_span(quantile_s(histogram, share)) for share in (0.5, 0.99))
    worst = _span(histogram.worst_s)
    of = "all venues" if venue == ALL else venue
    title = f"{hop_title(hop)}, {of}: {samples:,} samples, half within {p50}, 99 % within {p99}, worst {worst}"
    chart = counts_chart(histogram.counts, BUCKETS, title=title, x_labels=EDGES)
    return HopRow(venue, f"{samples:,}", f"≤ {p50}", f"≤ {p99}", worst, chart)


def _span(seconds: float) -> str:
    """Print a time as it is or longer, never shorter: to 10 us below 10 ms, to the millisecond above."""
    us = math.ceil(round(seconds * 1_000_000, 3))
    if not us:
        return "0 ms"
    step = 10 if us < 10_000 else 1_000
    return figures.milliseconds(-(-us // step) * step)


def _bound(seconds: float) -> str:
    """Name a bucket's bound in the unit that is shortest."""
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1_000:g} ms"


def _buckets(bounds: Sequence[float]) -> tuple[str, ...]:
    lower = ["0", *map(_bound, bounds)]
    return (*(f"{low} to {_bound(high)}" for low, high in zip(lower, bounds, strict=False)), f"over {_bound(bounds[-1])}")


BUCKETS = _buckets(HOP_BOUNDS_S)
EDGES = ("0", *(_bound(bound) for bound in HOP_BOUNDS_S[LABELS_EVERY - 1 :: LABELS_EVERY]), "more")
"""Names of every third edge between bars, evenly spaced; the last bar has no upper bound."""
assert (len(EDGES) - 1) * LABELS_EVERY == len(BUCKETS), "an edge stands where it is written"
