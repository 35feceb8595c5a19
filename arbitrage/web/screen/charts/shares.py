"""Counts as pictures: how long openings live, how often something occurs, at which hour. Judges nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.web.screen.charts import svg
from arbitrage.web.screen.charts.scale import Axis

HOURS = 24
SHADES = 6
LIFE_MS_MIN = 1.0
"""Shorter lives are drawn at it: a logarithm needs an end."""


class HeatRow(msgspec.Struct, frozen=True):
    """One row of a heat map: a name, and for each hour (UTC) a count with its shade, 0 (none) to SHADES."""

    name: str
    counts: tuple[int, ...]
    shades: tuple[int, ...]


def heat_rows(counts: Mapping[str, Mapping[int, int]]) -> tuple[HeatRow, ...]:
    """Lay counts by name and hour out; the darkest shade is the largest count of all."""
    largest = max((count for hours in counts.values() for count in hours.values()), default=0)
    rows = []
    for name, hours in sorted(counts.items()):
        line = tuple(hours.get(hour, 0) for hour in range(HOURS))
        rows.append(HeatRow(name, line, tuple(_shade(count, largest) for count in line)))
    return tuple(rows)


def survival_chart(lives_ms: Sequence[int], round_trip_ms: int | None) -> svg.Chart | None:
    """Draw which share of openings lived at least so long, over a logarithm of time, our own round trip beside it."""
    if not lives_ms:
        return None
    lives = sorted(max(LIFE_MS_MIN, float(life)) for life in lives_ms)
    longest = max(lives[-1], float(round_trip_ms or 0), 10.0)
    time = Axis(0.0, math.ceil(math.log10(longest)), svg.WIDTH)
    height = Axis(0.0, 1.0, svg.HEIGHT, is_up=True)
    points, alive = [(0.0, height.at(1.0))], 1.0
    for place, life in enumerate(lives, 1):
        x = time.at(math.log10(life))
        points.append((x, height.at(alive)))
        alive = 1 - place / len(lives)
        points.append((x, height.at(alive)))
    parts = [svg.line("grid", (0, height.at(share)), (svg.WIDTH, height.at(share))) for share in (0.25, 0.5, 0.75)]
    parts.append(svg.path("line net", [_thinned(points)]))
    title = f"share of {len(lives)} openings that lived at least so long"
    if round_trip_ms is not None:
        x = time.at(math.log10(max(LIFE_MS_MIN, float(round_trip_ms))))
        parts.append(svg.line("ours", (x, 0), (x, svg.HEIGHT)))
        outlived = sum(life > round_trip_ms for life in lives)
        title += f"; {100 * outlived // len(lives)} % outlived our round trip of {round_trip_ms} ms"
    decades = range(int(time.high) + 1)
    return svg.Chart(
        picture=svg.svg(parts, label=title, kind="plot"),
        title=title,
        y_labels=("100 %", "75 %", "50 %", "25 %", "0 %"),
        x_labels=tuple(_span(10**decade) for decade in decades),
        legend=(("net", "openings still there"), ("ours", "our round trip")) if round_trip_ms is not None else (),
    )


class Bar(msgspec.Struct, frozen=True):
    """One bar of a row of bars: drawn `width` of 1000 wide."""

    name: str
    count: str
    share: str
    width: int


def bars(counts: Sequence[tuple[str, int]], *, of_first: bool = False) -> tuple[Bar, ...]:
    """Lay counts out as bars; shares are of all, or of the first, as in a funnel."""
    largest = max((count for _, count in counts), default=0)
    whole = counts[0][1] if of_first and counts else sum(count for _, count in counts)
    return tuple(
        Bar(
            name=name,
            count=f"{count:,}",
            share=f"{100 * count / whole:.1f} %" if whole else "",
            width=max(2, 1_000 * count // largest) if count else 0,
        )
        for name, count in counts
    )


def _shade(count: int, largest: int) -> int:
    return -(-count * SHADES // largest) if count else 0


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out points that stand where the one before stands, to half a unit."""
    kept = points[:1]
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) >= 0.5 or abs(point[1] - kept[-1][1]) >= 0.5:
            kept.append(point)
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def _span(ms: int) -> str:
    return f"{ms} ms" if ms < 1_000 else f"{ms // 1_000:,} s"
