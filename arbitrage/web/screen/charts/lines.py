"""Lines over time: edges with what trading costs, and the marks of what was executed. Draws what it is given, sampled down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from arbitrage.web.screen import figures
from arbitrage.web.screen.charts import svg
from arbitrage.web.screen.charts.sampling import Point, extremes, runs
from arbitrage.web.screen.charts.scale import Axis, around, near

STRETCHES = 300
"""Of a line: with four points each, more than the picture has columns on most screens."""
TIMES_NAMED = 5
STEPS = 4
SHORT_NS = 20 * figures.MINUTE_NS
SPARK_WIDTH, SPARK_HEIGHT, SPARK_STRETCHES = 120, 24, 30


class Line(msgspec.Struct, frozen=True):
    """One series with its class and meaning."""

    kind: str
    name: str
    points: Sequence[Point]


class Mark(msgspec.Struct, frozen=True):
    """Something that happened at a moment, at a height."""

    kind: str
    at_ns: int
    value: int
    title: str


def lines_chart(
    lines: Sequence[Line], marks: Sequence[Mark], *, title: str, write: Callable[[float], str], is_from_zero: bool = True
) -> svg.Chart | None:
    """Draw lines over the time that they span; None where they hold fewer than two moments."""
    moments = [at_ns for line in lines for at_ns, _ in line.points]
    if not moments or min(moments) == max(moments):
        return None
    thin = [(line, extremes(line.points, STRETCHES)) for line in lines]
    shown = [mark for mark in marks if min(moments) <= mark.at_ns <= max(moments)]
    values = [value for _, points in thin for _, value in points if value is not None] + [mark.value for mark in shown]
    time = Axis(min(moments), max(moments), svg.WIDTH)
    height = around(values, svg.HEIGHT, steps=STEPS) if is_from_zero else near(values, svg.HEIGHT, steps=STEPS)
    parts = [svg.line("grid", (0, height.at(at)), (svg.WIDTH, height.at(at))) for at in height.evenly(STEPS + 1)]
    if is_from_zero:
        parts.append(svg.line("zero", (0, height.at(0)), (svg.WIDTH, height.at(0))))
    for line, points in thin:
        drawn = [[(time.at(at_ns), height.at(value)) for at_ns, value in run] for run in runs(points)]
        parts.append(svg.path(f"line {line.kind}", drawn))
    parts += [svg.mark(f"mark {mark.kind}", time.at(mark.at_ns), height.at(mark.value), mark.title) for mark in shown]
    return svg.Chart(
        picture=svg.svg(parts, label=title, kind="plot"),
        title=title,
        y_labels=tuple(write(value) for value in reversed(height.evenly(STEPS + 1))),
        x_labels=tuple(_time(int(at), time) for at in time.evenly(TIMES_NAMED)),
        legend=tuple((line.kind, line.name) for line in lines),
    )


def _time(at_ns: int, time: Axis) -> str:
    """Name a moment, with its seconds where the whole picture spans few minutes."""
    text = figures.clock_time(at_ns)
    return text if time.high - time.low < SHORT_NS else text[:5]


def spark_points(values: Sequence[int | None]) -> str:
    """Return the path of a sparkline, zero always inside; empty where nothing is known."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(0, *known), max(0, *known)
    height = Axis(low, high if high > low else low + 1, SPARK_HEIGHT - 2, is_up=True)
    width = Axis(0, len(values) - 1, SPARK_WIDTH)
    found = runs(extremes(list(enumerate(values)), SPARK_STRETCHES))
    return "".join("M" + "L".join(f"{width.at(place):.0f} {height.at(value) + 1:.1f}" for place, value in run) for run in found)


def spark_zero(values: Sequence[int | None]) -> int:
    """Return the height at which a sparkline's zero stands."""
    known = [0, *(value for value in values if value is not None)]
    return round(Axis(min(known), max(*known, min(known) + 1), SPARK_HEIGHT - 2, is_up=True).at(0)) + 1
