"""A histogram over fixed buckets as a picture: bars of equal width over growing bounds. Tells no more than its buckets hold."""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.web.screen.charts import svg

SMALL_HEIGHT = 120
GAP = 6
"""Between two bars, in units of the box."""
THIN = 2
"""A bucket that holds something is never drawn lower."""


def counts_chart(counts: Sequence[int], names: Sequence[str], *, title: str, x_labels: tuple[str, ...]) -> svg.Chart | None:
    """Draw one bar a bucket, with its name and count as its title; None where nothing was counted."""
    assert len(counts) == len(names), "every bucket has a name"
    largest = max(counts, default=0)
    if not largest:
        return None
    step = svg.WIDTH / len(counts)
    parts = [svg.line("zero", (0, SMALL_HEIGHT), (svg.WIDTH, SMALL_HEIGHT))]
    for place, (count, name) in enumerate(zip(counts, names, strict=True)):
        if count:
            height = max(THIN, SMALL_HEIGHT * count / largest)
            corner = (place * step + GAP / 2, SMALL_HEIGHT - height)
            parts.append(svg.box("count", corner, (step - GAP, height), f"{name}: {count:,}"))
    picture = svg.svg(parts, label=title, kind="plot small", height=SMALL_HEIGHT)
    return svg.Chart(picture=picture, title=title, y_labels=(f"{largest:,}", "0"), x_labels=x_labels)
