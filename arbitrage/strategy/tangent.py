"""What a size can earn at most with the lots of all legs kept: a bound from above for one size at a time. Decides nothing.

Every leg is taken as the straight line of one of its levels. A ladder yields less and less and costs more and more, so such
a line lies above what any quantity yields and below what it costs, at whichever level it was taken; it is only tight near
that level. Lines between legs whose lot is one unit are joined beforehand, so that a look at a size costs a few
multiplications. Amounts carry 64 binary places, and each line is shifted in favour of the bound by more than all rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, PPM
from arbitrage.strategy.ladder import Ladder
from arbitrage.strategy.route import Step

BINARY_PLACES = 64

Line = tuple[int, int]
"""Slope and offset, both with binary places."""
IDENTITY: Line = (1 << BINARY_PLACES, 0)
Stage = tuple[int, int, int]
"""A line, and the lot that its result is cut or filled up to."""


class Tangent:
    """A route's bound by the quantity of one leg, each leg at one of its levels."""

    def __init__(self, ladders: Sequence[Ladder], steps: Sequence[Step], levels: Sequence[int], leg: int) -> None:
        assert len(ladders) == len(steps) == len(levels), "one level a leg"
        self._forwards: list[Stage] = []
        self._backwards: list[Stage] = []
        line = IDENTITY
        for position in range(leg, len(steps)):
            if position > leg:
                line = _staged(self._forwards, line, ladders[position].lot_e8)
            line = _joined(_joined(line, _received(ladders[position], levels[position])), _carried(steps[position]))
            if position + 1 < len(steps):
                line = _joined(line, _affordable(ladders[position + 1], levels[position + 1]))
        self._out = line
        line = IDENTITY
        for position in range(leg, -1, -1):
            if position < leg:
                line = _staged(self._backwards, line, ladders[position].lot_e8)
            line = _joined(line, _spent(ladders[position], levels[position]))
            if position > 0:
                line = _joined(line, _wanted(steps[position - 1]))
                line = _joined(line, _needed(ladders[position - 1], levels[position - 1]))
        self._in = line

    def profits_e8(self, quantities_e8: Sequence[int]) -> list[int]:
        """Return, for each quantity, what the leg trading exactly that cannot earn more than."""
        assert min(quantities_e8) > 0, "a leg trades something"
        most = least = quantities_e8
        for slope, offset, lot_e8 in self._forwards:
            arriving = [(leg_e8 * slope + offset) >> BINARY_PLACES for leg_e8 in most]
            most = [leg_e8 - leg_e8 % lot_e8 for leg_e8 in arriving]
        for slope, offset, lot_e8 in self._backwards:
            wanted = [(leg_e8 * slope + offset) >> BINARY_PLACES for leg_e8 in least]
            least = [leg_e8 + -leg_e8 % lot_e8 for leg_e8 in wanted]
        (gain, start), (cost, fixed) = self._out, self._in
        start += (1 << BINARY_PLACES) - fixed
        return [(out_e8 * gain - in_e8 * cost + start) >> BINARY_PLACES for out_e8, in_e8 in zip(most, least, strict=True)]


def _staged(stages: list[Stage], line: Line, lot_e8: int) -> Line:
    """End a line at a leg with lots of its own and begin another; a leg without takes any amount."""
    assert lot_e8 > 0, "a lot is positive"
    if lot_e8 == 1:
        return line
    stages.append((*line, lot_e8))
    return IDENTITY


def _joined(first: Line, second: Line) -> Line:
    return first[0] * second[0] >> BINARY_PLACES, (first[1] * second[0] >> BINARY_PLACES) + second[1]


def _through(x_e8: int, y_e8: int, above: int, below: int) -> Line:
    """Return the line through a point with a slope that is given as a fraction."""
    slope = (above << BINARY_PLACES) // below
    return slope, (y_e8 << BINARY_PLACES) - x_e8 * slope


def _slack_e8(level: int) -> int:
    """Return more than what rounding, of notional and fee at every level so far, takes; with room for the lines' own."""
    assert level >= 0, "levels are counted from the best"
    return 2 * level + 4


def _received(ladder: Ladder, level: int) -> Line:
    yield_e8, kept_ppm = ladder.yields[level] + _slack_e8(level), PPM - ladder.fee_out_ppm
    if ladder.side is Side.BUY:
        return _through(ladder.quantities[level], yield_e8, kept_ppm, PPM)
    return _through(ladder.quantities[level], yield_e8, ladder.prices[level] * kept_ppm, E8 * PPM)


def _carried(step: Step) -> Line:
    if step.transfer is None:
        return IDENTITY
    return _through(0, 1 - step.transfer.cost_e8, PPM - step.transfer.cost_ppm, PPM)


def _affordable(ladder: Ladder, level: int) -> Line:
    if ladder.side is Side.SELL:
        return IDENTITY
    spend_e8 = ladder.spends[level] - _slack_e8(level)
    return _through(spend_e8, ladder.quantities[level] + 1, PPM * E8, (PPM + ladder.fee_top_ppm) * ladder.prices[level])


def _spent(ladder: Ladder, level: int) -> Line:
    if ladder.side is Side.SELL:
        return IDENTITY
    spend_e8 = ladder.spends[level] - _slack_e8(level)
    return _through(ladder.quantities[level], spend_e8, ladder.prices[level] * (PPM + ladder.fee_top_ppm), E8 * PPM)


def _wanted(step: Step) -> Line:
    if step.transfer is None:
        return IDENTITY
    kept_ppm = PPM - step.transfer.cost_ppm
    return _through(0, step.transfer.cost_e8 * PPM // kept_ppm - 1, PPM, kept_ppm)


def _needed(ladder: Ladder, level: int) -> Line:
    yield_e8, kept_ppm = ladder.yields[level] + _slack_e8(level), PPM - ladder.fee_out_ppm
    if ladder.side is Side.BUY:
        return _through(yield_e8, ladder.quantities[level] - 1, PPM, kept_ppm)
    return _through(yield_e8, ladder.quantities[level] - 1, E8 * PPM, ladder.prices[level] * kept_ppm)
