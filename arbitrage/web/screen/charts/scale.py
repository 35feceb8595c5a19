"""Axes: where a value stands in the picture and which round numbers are written beside it. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
SPAN_MIN = 1e-9
"""Values that differ by less are the same: no step of an axis is smaller than a float can hold."""


class Axis(msgspec.Struct, frozen=True):
    """Values from `low` to `high` over so many units; `is_up`: larger values stand higher, as on a vertical axis."""

    low: float
    high: float
    span: float
    is_up: bool = False

    def __post_init__(self) -> None:
        assert self.high > self.low, "an axis has a length"

    def at(self, value: float) -> float:
        """Return where a value stands, held at the ends."""
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return self.span * (1 - share if self.is_up else share)

    def evenly(self, count: int) -> list[float]:
        """Return values at even distances, from low to high."""
        assert count > 1, "both ends are named"
        return [self.low + (self.high - self.low) * place / (count - 1) for place in range(count)]


def around(values: Sequence[float], span: float, *, steps: int = 4) -> Axis:
    """Make an upright axis of round numbers around values, zero always among them."""
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    if high - low < SPAN_MIN:
        high = low + 1.0
    for widening in range(4):
        step = round_up((high - low) / (steps - widening / 2))
        bottom = math.floor(low / step) * step
        if bottom + step * steps >= high:
            return Axis(bottom, bottom + step * steps, span, is_up=True)
    step = round_up((high - low) / steps * 2)
    bottom = math.floor(low / step) * step
    return Axis(bottom, bottom + step * steps, span, is_up=True)


def near(values: Sequence[float], span: float, *, steps: int = 4) -> Axis:
    """Make an upright axis of round numbers near values that stand far from zero, such as rates."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    for narrowing in range(3):
        step = round_up(max(high - low, abs(high) * 1e-6, SPAN_MIN) / steps * (1 + narrowing / 2))
        bottom = math.floor(low / step) * step
        if bottom + step * steps >= high:
            break
    return Axis(bottom, max(bottom + step * steps, high), span, is_up=True)


def round_up(value: float) -> float:
    """Return the next of 1, 2, 2.5, 5 times a power of ten."""
    assert value > 0, "a step goes forward"
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in ROUND if power * step >= value * (1 - 1e-9))
