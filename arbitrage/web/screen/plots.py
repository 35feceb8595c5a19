"""What a chart of time shows, once for the picture that the server draws and once as figures for the browser's own.

Both come from the same lines, so that a page says the same with JavaScript and without. Remembers nothing and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from arbitrage.model.money import E8
from arbitrage.store.ledger_nouns import OpportunityLine
from arbitrage.web.screen import figures
from arbitrage.web.screen.charts.lines import Line, Mark, lines_chart
from arbitrage.web.screen.charts.sampling import Point
from arbitrage.web.screen.charts.svg import Chart
from arbitrage.web.screen.spread_history import Series

Unit = Literal["percent", "rate"]


class LineFigures(msgspec.Struct, frozen=True):
    """One line: a figure for every moment of its plot, None where nothing was known."""

    kind: str
    name: str
    values: list[int | None]


class MarkFigures(msgspec.Struct, frozen=True):
    """One thing that happened."""

    kind: str
    at_s: int
    value: int


class PlotFigures(msgspec.Struct, frozen=True):
    """A plot for programs."""

    title: str
    unit: Unit
    """`percent`: values are parts per million. `rate`: hundred-millionths."""
    at_s: list[int]
    """Seconds since 1970, ascending."""
    lines: list[LineFigures]
    marks: list[MarkFigures]
    row: msgspec.Struct | None = None
    """What a table beside it shows now."""


class Plot(msgspec.Struct, frozen=True):
    """Lines over the same moments, with what happened meanwhile."""

    title: str
    unit: Unit
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()

    def chart(self) -> Chart | None:
        """Draw it; None where there are fewer than two moments."""
        write = _per_cent if self.unit == "percent" else _rate
        return lines_chart(self.lines, self.marks, title=self.title, write=write, is_from_zero=self.unit == "percent")

    def figures(self, row: msgspec.Struct | None = None) -> PlotFigures:
        """Write it for programs."""
        times = [at_ns // figures.SECOND_NS for at_ns, _ in self.lines[0].points]
        assert all(len(line.points) == len(times) for line in self.lines), "lines stand over the same moments"
        marks = [MarkFigures(mark.kind, mark.at_ns // figures.SECOND_NS, mark.value) for mark in self.marks]
        lines = [LineFigures(line.kind, line.name, [value for _, value in line.points]) for line in self.lines]
        return PlotFigures(self.title, self.unit, times, lines, marks, row)


def spread_plot(series: Series, marks: Sequence[OpportunityLine]) -> Plot:
    """Show one pair: net, gross, what trading costs (the distance between them), and what was executed."""
    cost = [_between(gross, net) for gross, net in zip(series.gross, series.net, strict=True)]
    shown = [
        Mark(
            "taken" if line.realised is None or line.realised.e8 >= 0 else "taken missed",
            line.at.ns,
            line.edge_ppm,
            f"{figures.clock_time(line.at.ns)} taken at {figures.percent(line.edge_ppm)} %",
        )
        for line in marks
        if line.pair == series.asset and series.net and series.net[0][0] <= line.at.ns <= series.net[-1][0]
    ]
    known = [net for _, net in series.net if net is not None]
    best = f", best net {figures.percent(max(known))} %, last {figures.percent(known[-1])} %" if known else ""
    title = f"{series.asset}: net and gross edge in per cent over time{best}; {len(shown)} executed"
    lines = (
        Line("gross", "gross edge", series.gross),
        Line("cost", "fees and transfers", cost),
        Line("net", "net edge", series.net),
    )
    return Plot(title, "percent", lines, shown)


def _between(gross: Point, net: Point) -> Point:
    at_ns, above = gross
    return at_ns, None if above is None or net[1] is None else above - net[1]


def _per_cent(ppm: float) -> str:
    return f"{ppm / 10_000:+.2f} %" if ppm else "0 %"


def _rate(rate_e8: float) -> str:
    return f"{rate_e8 / E8:,.2f}"
