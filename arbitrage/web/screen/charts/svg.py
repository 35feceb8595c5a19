"""The few SVG elements that charts are made of, as safe markup. Knows nothing of what is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup

WIDTH, HEIGHT = 1_000, 300
"""Of the box of a large chart; the page stretches it."""
POINTS_MAX = 4_000
"""More a line never has; who draws has sampled down before."""


class Chart(msgspec.Struct, frozen=True):
    """A picture with what stands beside it."""

    picture: Markup
    title: str
    """What it shows and says, in a sentence: the screen reader's picture."""
    y_labels: tuple[str, ...] = ()
    """From the top down, evenly spaced."""
    x_labels: tuple[str, ...] = ()
    """From left to right, evenly spaced."""
    legend: tuple[tuple[str, str], ...] = ()
    """Class and meaning of each colour."""


def svg(parts: Iterable[Markup], *, label: str, kind: str, width: int = WIDTH, height: int = HEIGHT) -> Markup:
    """Wrap parts into a picture that stretches to its place."""
    start = Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">')
    return start.format(kind, width, height, label) + Markup("").join(parts) + Markup("</svg>")


def line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> Markup:
    """Draw a straight line."""
    ends = map(number, (*start, *end))
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *ends)


def path(kind: str, runs: Sequence[Sequence[tuple[float, float]]]) -> Markup:
    """Draw a line through each run of points; between runs there is a hole."""
    assert sum(map(len, runs)) <= POINTS_MAX, "who draws has sampled down"
    drawn = "".join("M" + "L".join(f"{number(x)} {number(y)}" for x, y in run) for run in runs if run)
    return Markup('<path class="{}" d="{}"/>').format(kind, drawn)


def box(kind: str, place: tuple[float, float], size: tuple[float, float], title: str) -> Markup:
    """Draw a filled box by its upper left corner, width and height."""
    told = (*map(number, (*place, *size)), title)
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(kind, *told)


def mark(kind: str, x: float, y: float, title: str) -> Markup:
    """Draw an upright tick at a point: it keeps its width however the picture is stretched."""
    place = (number(x), number(y - 9), number(x), number(y + 9))
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"><title>{}</title></line>').format(kind, *place, title)


def number(value: float) -> str:
    """Print a coordinate to a tenth."""
    return f"{value:.1f}".removesuffix(".0")
