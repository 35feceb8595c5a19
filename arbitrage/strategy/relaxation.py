"""The best that a route could earn if lots, minimums and rounding did not exist: a bound from above. Decides nothing.

Depth makes it a concave chain of straight pieces, walked one piece at a time from nothing upwards; a piece ends where one
leg's level is used up, or where a transfer's fixed cost is paid (until then nothing comes out). Amounts carry 64 binary
places, so a whole walk is exact to far less than one unit. A fee in a third asset counts as if it were taken from what is
received.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, PPM
from arbitrage.strategy.ladder import Ladder, named_fee_ppm
from arbitrage.strategy.route import Step

BINARY_PLACES = 64
ROUNDING_E8 = 2
"""More than the walk's own rounding: added to every bound."""


class Point(msgspec.Struct, frozen=True):
    """Where a piece ends: each leg's base quantity and the profit in the start asset, both without their binary places."""

    quantities_e8: tuple[int, ...]
    profit_e8: int


class _Leg:
    """How far one leg has been walked. On its level it costs and yields in proportion, both kept as fractions."""

    __slots__ = (
        "_is_buy", "_kept", "_out", "_top", "cost_above", "cost_below", "gain_above", "gain_below", "ladder", "level", "rest",
        "unpaid", "walked",
    )  # fmt: skip

    def __init__(self, ladder: Ladder, step: Step) -> None:
        assert ladder.side is step.side, "the ladder is the step's"
        self.ladder = ladder
        self._is_buy = ladder.side is Side.BUY
        self._top = PPM + ladder.fee_top_ppm
        self._out = PPM - ladder.fee_out_ppm - named_fee_ppm(ladder.instrument)
        self._kept = PPM - step.transfer.cost_ppm if step.transfer else PPM
        self.unpaid = step.transfer.cost_e8 << BINARY_PLACES if step.transfer else 0
        """What is left to pay of the transfer's fixed cost."""
        self.level = -1
        self.rest = 0
        """Base quantity left of the level."""
        self.walked = 0
        self.cost_above = self.cost_below = 1
        """Spent amount for each base unit."""
        self.gain_above = self.gain_below = 1
        """What a base unit yields after the transfer's proportional cost."""

    def is_open(self) -> bool:
        """Say whether depth is left, reading on as needed."""
        if self.rest:
            return True
        ladder = self.ladder
        if self.level + 1 >= len(ladder.prices) and not ladder.read_more():
            return False
        self.level += 1
        level, price = self.level, ladder.prices[self.level]
        self.rest = (ladder.quantities[level + 1] - ladder.quantities[level]) << BINARY_PLACES
        if self._is_buy:
            self.cost_above, self.cost_below = price * self._top, E8 * PPM
            self.gain_above, self.gain_below = self._out * self._kept, PPM * PPM
        else:
            self.gain_above, self.gain_below = price * self._out * self._kept, E8 * PPM * PPM
        assert self.rest > 0, "a level holds something"
        return True

    def flow(self, amount: int, *, is_ending: bool) -> int:
        """Send an amount through the market; return what it yields. The leg that ends a piece uses up its level exactly."""
        assert amount >= 0, "nothing flows back"
        base = self.rest if is_ending else min(self.rest, amount * self.cost_below // self.cost_above)
        self.rest -= base
        self.walked += base
        return base * self.gain_above // self.gain_below

    def pay(self, amount: int, *, is_settling: bool) -> int:
        """Take what is left of the fixed cost from an amount; return the rest. Settling rounds in favour of the bound."""
        assert amount >= 0, "nothing flows back"
        paid = min(amount, self.unpaid)
        self.unpaid = 0 if is_settling else self.unpaid - paid
        return amount - paid


class Relaxation:
    """The walk, piece by piece."""

    def __init__(self, ladders: Sequence[Ladder], steps: Sequence[Step]) -> None:
        assert len(ladders) == len(steps), "one ladder a leg"
        self._legs = [_Leg(ladder, step) for ladder, step in zip(ladders, steps, strict=True)]
        self._profit = 0
        self.points = [Point((0,) * len(self._legs), 0)]

    def climb(self) -> Point:
        """Walk up to the peak and return it."""
        while self._is_rising() and self.advance():
            pass
        assert self._profit >> BINARY_PLACES == self.points[-1].profit_e8, "the walk stands on its last point"
        return self.points[-1]

    def advance(self) -> bool:
        """Walk to the end of the next piece; say whether there was one.

        Once a leg's depth is used up, the legs before it may still be walked: nothing more comes out, but lots can make such a
        size necessary.
        """
        legs = self._legs[: self._open_legs()]
        if not legs:
            return False
        room, limiting, is_paying = _room(legs)
        amount = room
        for position, leg in enumerate(legs):
            is_limiting = position == limiting
            amount = leg.flow(amount, is_ending=is_limiting and not is_paying)
            amount = leg.pay(amount, is_settling=is_limiting and is_paying)
        self._profit += (amount if len(legs) == len(self._legs) else 0) - room
        self.points.append(Point(tuple(leg.walked >> BINARY_PLACES for leg in self._legs), self._profit >> BINARY_PLACES))
        return True

    def _open_legs(self) -> int:
        """Return how many legs, from the first on, have depth left."""
        for position, leg in enumerate(self._legs):
            if not leg.is_open():
                return position
        return len(self._legs)

    def _is_rising(self) -> bool:
        """Say whether more input pays: always while a fixed cost is unpaid, else while the marginal product exceeds one."""
        if self._open_legs() < len(self._legs):
            return False
        if any(leg.unpaid for leg in self._legs):
            return True
        above = below = 1
        for leg in self._legs:
            above *= leg.cost_below * leg.gain_above
            below *= leg.cost_above * leg.gain_below
        return above > below


def _room(legs: Sequence[_Leg]) -> tuple[int, int, bool]:
    """Return the largest input that keeps every leg on its piece, which leg ends it, and whether by its fixed cost."""
    best, limiting = -1, -1
    above = below = 1
    for position, leg in enumerate(legs):
        above, below = above * leg.cost_below, below * leg.cost_above  # base quantity for each unit of input
        room = leg.rest * below // above
        if limiting < 0 or room < best:
            best, limiting = room, position
        above, below = above * leg.gain_above, below * leg.gain_below
        if leg.unpaid:
            room = -(-leg.unpaid * below // above)
            return (room, position, True) if room <= best else (best, limiting, False)
    assert best >= 0, "a piece is not negative"
    return best, limiting, False
