"""Charts: what matters survives the sampling, pictures stay in their box, and labels name what is drawn."""

from __future__ import annotations

import asyncio
import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from web_stage import NOW_NS, SECOND_NS, line, moment, money, spread, view

from arbitrage.web.screen.chart_pages import by_hour, funnel_of
from arbitrage.web.screen.charts.lines import Line, lines_chart, spark_points, spark_zero
from arbitrage.web.screen.charts.sampling import Point, extremes, runs
from arbitrage.web.screen.charts.scale import Axis, around, near, round_up
from arbitrage.web.screen.charts.shares import bars, heat_rows, survival_chart
from arbitrage.web.screen.overview import pair_key
from arbitrage.web.screen.plots import Plot, spread_plot
from arbitrage.web.screen.seconds import HOLES, STRETCHES, Sampled, Seconds
from arbitrage.web.screen.spread_history import PAIRS_MAX, Series, SpreadHistory

KEY = pair_key(spread())
POINTS = st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**9)), max_size=400)
COORDINATES = re.compile(r"(-?[\d.]+) (-?[\d.]+)")


def series_of(history: SpreadHistory, since_ns: int = 0) -> Series | None:
    return asyncio.run(history.series(KEY, since_ns))


def ring(values: list[int | None], kept: int, columns: int = 2) -> Sampled:
    """Put values into a ring, one a second, and read all of it."""
    seconds = Seconds(kept)
    column, wide = seconds.column("i"), seconds.column("q")
    for second, value in enumerate(values, 1):
        slot = seconds.begin(second * SECOND_NS)
        assert slot is not None and seconds.begin(second * SECOND_NS) is None
        column[slot] = HOLES["i"] if value is None else value
        wide[slot] = HOLES["q"] if value is None else -value * 10**9
    return asyncio.run(seconds.sampled((column, wide)[:columns], 0))


@given(POINTS, st.integers(1, 500))
def test_a_ring_gives_back_its_newest_seconds(values: list[int | None], kept: int) -> None:
    found = ring(values, kept)
    wanted = values[-kept:]
    assert found.columns == [wanted, [None if value is None else -value * 10**9 for value in wanted]]
    assert found.times_ns == [second * SECOND_NS for second in range(len(values) - len(wanted) + 1, len(values) + 1)]


def test_a_day_is_sampled_to_what_a_picture_shows_and_keeps_every_extreme_and_hole_of_every_column() -> None:
    day: list[int | None] = [(n * 7_919) % 1_000 for n in range(86_400)]
    day[40_000], day[50_000], day[60_000:61_000], day[70_100] = 9_000, -9_000, [None] * 1_000, None
    found = ring(day, 86_400)
    assert 2 * STRETCHES < len(found.times_ns) <= 10 * STRETCHES and found.times_ns == sorted(set(found.times_ns))
    narrow, wide = found.points(0), found.points(1)
    assert (40_001 * SECOND_NS, 9_000) in narrow and (50_001 * SECOND_NS, 9_000 * 10**9) in wide
    assert len(runs(narrow)) == len(runs(wide)) == 3
    alone = ring(day, 86_400, columns=1).points(0)
    assert {(40_001 * SECOND_NS, 9_000), (50_001 * SECOND_NS, -9_000)} <= set(alone) and len(runs(alone)) == 3
    assert len(alone) <= 4 * STRETCHES + 6, "one second more for a stretch with holes"
    assert narrow[0] == (SECOND_NS, 0) and narrow[-1] == (86_400 * SECOND_NS, day[-1])


def test_a_stretch_between_two_moments_is_read_second_by_second() -> None:
    seconds = Seconds(5_000)
    column = seconds.column("i")
    for second in range(1, 7_001):
        slot = seconds.begin(second * SECOND_NS)
        assert slot is not None
        column[slot] = second
    found = asyncio.run(seconds.sampled((column,), 4_000 * SECOND_NS, 4_100 * SECOND_NS + 1))
    assert found.columns[0] == list(range(4_000, 4_101)) and len(seconds) == 5_000 and seconds.since_ns == 2_001 * SECOND_NS
    late = seconds.column("q")
    assert seconds.newest(late, 3) == [None] * 3 and seconds.newest(column, 2) == [6_999, 7_000]


@given(st.lists(st.floats(1, 1e14), min_size=1, max_size=20), st.integers(2, 8))
def test_an_axis_near_rates_holds_them_all(values: list[float], steps: int) -> None:
    axis = near(values, 300, steps=steps)
    assert axis.low <= min(values) * (1 + 1e-9) and axis.high >= max(values) * (1 - 1e-9)


def test_an_axis_near_rates_does_not_begin_at_zero() -> None:
    rates: list[Point] = [(n * SECOND_NS, (1_415 + n) * 10**8) for n in range(4)]
    drawn = Plot("rates", "rate", (Line("net", "a", rates),)).chart()
    assert drawn is not None and drawn.y_labels[0] == "1,419.00" and drawn.y_labels[-1] == "1,415.00"
    assert 'class="zero"' not in str(drawn.picture)


def moments(values: list[int | None]) -> list[Point]:
    return [(place, value) for place, value in enumerate(values)]


@given(POINTS, st.integers(1, 40))
def test_the_lowest_and_highest_of_a_series_survive_and_it_is_short(values: list[int | None], stretches: int) -> None:
    kept = extremes(moments(values), stretches)
    assert len(kept) <= max(4 * stretches, 0)
    known = [value for value in values if value is not None]
    shown = [value for _, value in kept if value is not None]
    assert bool(known) == bool(shown)
    if known:
        assert (min(shown), max(shown)) == (min(known), max(known))
    assert kept == sorted(kept, key=lambda point: point[0]) and set(kept) <= set(moments(values))


def test_a_hole_stays_a_hole() -> None:
    values: list[int | None] = [1] * 40 + [None] * 40 + [2] * 40
    assert len(runs(extremes(moments(values), 6))) == 2
    assert runs([(0, None), (1, None)]) == [] and runs([(0, None), (1, 5)]) == [[(1, 5)]]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.integers(2, 8))
@example(values=[5e-324], steps=2)
def test_an_axis_holds_every_value_and_zero(values: list[float], steps: int) -> None:
    axis = around(values, 300, steps=steps)
    assert axis.low <= min(*values, 0.0) + 1e-6 and axis.high >= max(*values, 0.0) - 1e-6
    assert all(0 <= axis.at(value) <= 300 for value in values)
    assert axis.at(axis.high) == 0 and axis.at(axis.low) == 300
    assert len(axis.evenly(steps + 1)) == steps + 1


@pytest.mark.parametrize(
    ("value", "step"), [(0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (2.3, 2.5), (260.0, 500.0), (9_999.0, 10_000.0)]
)
def test_steps_of_an_axis_are_round(value: float, step: float) -> None:
    assert round_up(value) == pytest.approx(step)


def test_lines_are_drawn_inside_their_box_and_are_valid_xml() -> None:
    points: list[Point] = [(NOW_NS + n * SECOND_NS, None if n % 50 == 7 else (n * 37) % 900 - 300) for n in range(3_000)]
    drawn = lines_chart([Line("net", "net", points)], [], title="a <title>", write=str)
    assert drawn is not None
    picture = ElementTree.fromstring(str(drawn.picture))
    assert picture.attrib["aria-label"] == "a <title>"
    for path in picture.iter("path"):
        for x, y in COORDINATES.findall(path.attrib["d"]):
            assert 0 <= float(x) <= 1_000 and 0 <= float(y) <= 300
    assert len(str(drawn.picture)) < 30_000, "a day stays as small as an hour"
    assert len(drawn.y_labels) == len(drawn.x_labels) == 5
    assert lines_chart([Line("net", "net", points[:1])], [], title="", write=str) is None


def test_a_day_of_seconds_is_drawn_from_at_most_a_few_points() -> None:
    day: list[Point] = [(NOW_NS + n * SECOND_NS, 5_000 if n == 40_000 else -(n % 700)) for n in range(86_400)]
    drawn = lines_chart([Line("net", "net", day)], [], title="", write=str)
    assert drawn is not None
    assert str(drawn.picture).count("L") <= 1_200
    assert float(drawn.y_labels[0]) >= 5_000, "the one second that paid is still there"


def test_a_spread_is_drawn_with_its_cost_and_what_was_executed() -> None:
    history = SpreadHistory()
    for second in range(5):
        history.sample(
            view(at_ns=NOW_NS + second * SECOND_NS, spreads=(spread(net_ppm=second * 100, gross_ppm=2_100 + second * 100),))
        )
    series = series_of(history)
    assert series is not None
    at = line(at=moment(1))
    plot = spread_plot(series, [at, line(pair="ETH", at=at.at), line(at=at.at, realised=money(-1)), line(at=moment(-9))])
    drawn, figures = plot.chart(), plot.figures()
    assert drawn is not None
    assert [shown.kind for shown in figures.lines] == ["gross", "cost", "net"] and figures.title == drawn.title
    assert figures.at_s == [NOW_NS // SECOND_NS + second for second in range(5)] and figures.unit == "percent"
    assert [(mark.kind, mark.at_s) for mark in figures.marks] == [("taken", figures.at_s[1]), ("taken missed", figures.at_s[1])]
    assert figures.lines[2].values == [0, 100, 200, 300, 400] and figures.lines[1].values == [2_100] * 5
    assert str(drawn.picture).count('class="mark taken"') == 1 and str(drawn.picture).count('class="mark taken missed"') == 1
    assert "best net +0.0400 %" in drawn.title and "2 executed" in drawn.title
    assert [name for _, name in drawn.legend] == ["gross edge", "fees and transfers", "net edge"]
    assert "0 %" in drawn.y_labels


def test_history_remembers_a_second_once_and_forgets_the_oldest() -> None:
    history = SpreadHistory(seconds_kept=10)
    assert history.since_ns is None and history.recent(KEY, 5) == [] and series_of(history) is None
    for second in range(25):
        paid = view(at_ns=NOW_NS + second * SECOND_NS, spreads=(spread(net_ppm=second - 20),))
        history.sample(paid)
        history.sample(paid)
    assert history.recent(KEY, 3) == [2, 3, 4] and history.recent(KEY, 99) == list(range(-5, 5))
    series = series_of(history, NOW_NS + 22 * SECOND_NS)
    assert series is not None and [value for _, value in series.net] == [2, 3, 4]
    assert history.since_ns == NOW_NS + 15 * SECOND_NS
    assert history.above_at_ns(KEY) == NOW_NS + 24 * SECOND_NS and history.above_at_ns("none") is None


def test_history_keeps_holes_for_what_was_not_known_and_joins_pairs_that_come_late() -> None:
    history = SpreadHistory(seconds_kept=4)
    late = spread(asset="ETH")
    for second, pairs in enumerate(
        ((spread(),), (spread(net_ppm=None, gross_ppm=None),), (spread(), late), (late,), (spread(),))
    ):
        history.sample(view(at_ns=NOW_NS + second * SECOND_NS, spreads=pairs))
    assert history.recent(KEY, 4) == [None, -1_200, None, -1_200]
    assert history.recent(pair_key(late), 4) == [None, -1_200, -1_200, None]


def test_history_is_bounded_in_pairs_and_counts_the_rest() -> None:
    history = SpreadHistory()
    history.sample(view(spreads=tuple(spread(asset=f"C{n}", net_ppm=10**12, gross_ppm=10**12) for n in range(PAIRS_MAX + 3))))
    assert len(history.keys) == PAIRS_MAX and history.pairs_not_kept == 3
    assert history.recent(pair_key(spread(asset="C0")), 1) == [2**31 - 1], "held, not wrapped"


def test_a_sparkline_needs_two_points_and_shows_zero() -> None:
    assert spark_points([None, 3]) == "" and spark_points([3, 4]).startswith("M0 ")
    assert spark_zero([-5, -1]) == 1 and spark_zero([5]) == spark_zero([]) == 23


def test_survival_falls_from_all_to_none_and_names_our_round_trip() -> None:
    assert survival_chart([], 50) is None
    drawn = survival_chart([0, 40, 240, 240, 3_000], 50)
    assert drawn is not None and "60 % outlived our round trip of 50 ms" in drawn.title
    assert 'class="ours"' in str(drawn.picture) and drawn.x_labels == ("1 ms", "10 ms", "100 ms", "1 s", "10 s")
    path = COORDINATES.findall(str(ElementTree.fromstring(str(drawn.picture)).findall("path")[0].attrib["d"]))
    heights = [float(y) for _, y in path]
    assert heights == sorted(heights) and (heights[0], heights[-1]) == (0, 300)
    alone = survival_chart([5] * 5_000, None)
    assert alone is not None and alone.legend == () and len(str(alone.picture)) < 60_000


def test_heat_maps_bars_and_funnels_count_what_they_are_given() -> None:
    rows = heat_rows({"BTC": {3: 12, 4: 1}, "ETH": {}})
    assert rows[0].shades[3] == 6 and rows[0].shades[4] == 1 and sum(rows[1].shades) == 0 and heat_rows({}) == ()
    first, second, none = bars([("seen", 400), ("taken", 1), ("paid", 0)], of_first=True)
    assert (first.share, first.width, second.share, second.width, none.width) == ("100.0 %", 1_000, "0.2 %", 2, 0)
    assert bars([]) == () and bars([("a", 0)])[0].share == ""
    taken = [line(), line(plan_state="missed"), line(realised=money(-1)), line(plan_state=None)]
    assert funnel_of(view().tally, taken) == [
        ("seen", 9), ("worth it after cost", 4), ("passed the guard, sent", 1), ("filled", 2), ("profitable", 1),
    ]  # fmt: skip
    assert by_hour([]) == {}


def test_an_axis_without_length_has_no_constructor() -> None:
    with pytest.raises(AssertionError, match="has a length"):
        Axis(1, 1, 10)
