"""Makes a long series short enough to draw without losing what matters: the lowest and highest of each stretch stay.

An average would hide the second in which a spread paid. Refuses nothing; a hole in the series stays a hole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Point = tuple[int, int | None]
"""A moment and a value; None where nothing was known."""


def extremes(points: Sequence[Point], stretches: int) -> list[Point]:
    """Return at most four points a stretch: its first, lowest, highest and last, in their order, holes kept as one None."""
    assert stretches > 0, "something is drawn"
    if len(points) <= 4 * stretches:
        return list(points)
    kept: list[Point] = []
    for number in range(stretches):
        stretch = points[len(points) * number // stretches : len(points) * (number + 1) // stretches]
        kept.extend(_of_stretch(stretch))
    assert len(kept) <= 4 * stretches, "a stretch leaves four points at most"
    return kept


def _of_stretch(stretch: Sequence[Point]) -> Iterator[Point]:
    known = [(value, place) for place, (_, value) in enumerate(stretch) if value is not None]
    if not known:
        yield stretch[0]
        return
    places = {min(known)[1], max(known)[1], known[0][1], known[-1][1]}
    if len(known) < len(stretch) and len(places) < 4:
        places.add(next(place for place, (_, value) in enumerate(stretch) if value is None))
    yield from (stretch[place] for place in sorted(places))


def runs(points: Sequence[Point]) -> list[list[tuple[int, int]]]:
    """Cut a series at its holes."""
    found: list[list[tuple[int, int]]] = [[]]
    for at_ns, value in points:
        if value is not None:
            found[-1].append((at_ns, value))
        elif found[-1]:
            found.append([])
    return [run for run in found if run]
