"""How much to put through a route: the size that earns most, in exact integers. Judges no risk.

The relaxation gives a bound from above for every size. Sizes are counted in lots of the leg that has the fewest of them,
and every size whose bound is not below the best outcome found so far is tried. So the result is the exact optimum over all
quantities on the lot grids whenever no more than `SIZES_MAX` such sizes remain (`is_exact`); otherwise the sizes nearest to
the peak are tried, and what is lost is at most about one lot of each leg. A fee in a third asset makes the bound,
never the outcome, approximate.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.model.money import ceil_to, floor_to
from arbitrage.model.opportunities import Refusal, Refused
from arbitrage.strategy.chain import Chain, Outcome
from arbitrage.strategy.relaxation import ROUNDING_E8, Point, Relaxation
from arbitrage.strategy.tangent import Tangent

SIZES_MAX = 256
"""Sizes tried for one route."""
ROUTE_STEPS = 150
LEVEL_STEPS = 2
WIDTH_FIRST = 8
"""Sizes looked at together on each side of the peak at first; twice as many each time more are wanted."""
BOUND_STEPS = 1
LOOK_STEPS = 3
WORK_STEPS = 12
"""What a route, a level read, a leg looked at and a leg worked cost; measured, in microseconds of one slow core."""


class Budget:
    """Work left in one decision, in steps. A step is about a microsecond, but as many are counted on any machine."""

    def __init__(self, steps: int) -> None:
        assert steps > 0, "a decision may work"
        self.left = steps

    def take(self, steps: int) -> None:
        """Note work that was done; a route that was begun is finished with the best found."""
        assert steps > 0, "work is counted"
        self.left -= steps

    @property
    def is_spent(self) -> bool:
        """Whether no further work may be begun."""
        return self.left <= 0


class Sized(msgspec.Struct, frozen=True):
    """The best way found to work a route."""

    outcome: Outcome
    is_exact: bool
    """Whether no other quantities on the lot grids earn more."""


def best_size(chain: Chain, budget: Budget) -> Sized | Refused:
    """Return the size that earns most, or why there is none that earns anything."""
    result = _best_size(chain, budget)
    assert isinstance(result, Refused) or result.outcome.profit_e8 > 0, "a size that is returned pays"
    budget.take(ROUTE_STEPS + LEVEL_STEPS * sum(ladder.reads for ladder in chain.ladders))
    return result


def _best_size(chain: Chain, budget: Budget) -> Sized | Refused:
    relaxation = Relaxation(chain.ladders, chain.steps)
    peak = relaxation.climb()
    if peak.profit_e8 + ROUNDING_E8 <= 0 or not all(peak.quantities_e8):
        return _refused(chain, peak, Refusal.BELOW_THRESHOLD, "nothing is left after costs")
    least = chain.least()
    if least is None:
        return _refused(chain, peak, Refusal.BELOW_MINIMUM, "the depth does not reach the minimums")
    search = _Search(chain, relaxation, least)
    search.run(budget)
    if search.best is None:
        return _refused(chain, peak, Refusal.BELOW_MINIMUM, "no size that pays meets every minimum")
    if search.best.profit_e8 <= 0:
        return _refused(chain, peak, Refusal.BELOW_THRESHOLD, "nothing is left after lots and minimums")
    return Sized(search.best, search.is_exact)


class _Search:
    """Tries sizes of the leg with the fewest lots, nearest to the peak first."""

    def __init__(self, chain: Chain, relaxation: Relaxation, least: Sequence[int]) -> None:
        self._chain = chain
        self._relaxation = relaxation
        self._top = len(relaxation.points) - 1
        """Which point is the peak."""
        peak = relaxation.points[-1].quantities_e8
        lots = [quantity // ladder.lot_e8 for quantity, ladder in zip(peak, chain.ladders, strict=True)]
        self._leg = min(range(len(lots)), key=lambda position: (lots[position], position))
        self._lot_e8 = chain.ladders[self._leg].lot_e8
        self._peak_e8 = floor_to(peak[self._leg], self._lot_e8)
        self._least = least
        floor = chain.backwards(least[-1], least)
        self._smallest_e8 = (floor or least)[self._leg]
        self._tangents: list[Tangent | None] = [None, None]
        """Below and above the peak, made when they are first looked at."""
        self._tried: set[int] = set()
        self.best: Outcome | None = None
        self._is_cut = False
        """Whether worthwhile sizes were left out."""
        self.is_exact = False
        assert self._peak_e8 >= 0, "a peak is not negative"

    def run(self, budget: Budget) -> None:
        """Try the size at the peak, then every other whose bound is not below the best found so far."""
        self._try(self._peak_e8, budget)
        if self.best is None:
            self._try(self._peak_e8 + self._lot_e8, budget)
        if self.best is None and self._chain.has_named_fees:
            self._fit_fees(budget)
        self._sweep(budget)
        self.is_exact = not self._is_cut and not self._chain.has_named_fees
        assert len(self._tried) <= SIZES_MAX, "the bound on sizes holds"

    def _sweep(self, budget: Budget) -> None:
        """Go from the peak both ways, and look at every size whose bound is not below the best found."""
        low_e8, high_e8 = self._worthwhile()
        lot_e8, depth_e8 = self._lot_e8, self._chain.ladders[self._leg].depth_e8
        below_e8 = min(max(self._peak_e8, low_e8), max(low_e8, high_e8))
        above_e8 = below_e8 + lot_e8
        width = WIDTH_FIRST
        while not self._is_cut and (below_e8 >= low_e8 or above_e8 <= high_e8):
            width = min(width, (SIZES_MAX - len(self._tried)) // 2)
            if width == 0 or budget.is_spent:
                self._is_cut = True
                return
            span_e8 = width * lot_e8
            lower = range(below_e8, max(low_e8, below_e8 - span_e8 + lot_e8) - 1, -lot_e8)
            upper = range(above_e8, min(high_e8, depth_e8, above_e8 + span_e8 - lot_e8) + 1, lot_e8)
            rated = self._rated(lower, budget, is_above=False) + self._rated(upper, budget, is_above=True)
            if self._try_rated(rated, budget):
                low_e8, high_e8 = self._worthwhile()
            below_e8, above_e8, width = below_e8 - span_e8, above_e8 + span_e8, 2 * width

    def _rated(self, sizes_e8: range, budget: Budget, *, is_above: bool) -> list[tuple[int, int]]:
        """Return the sizes that were not looked at yet, each behind its bound, lots included, if that is not below the best."""
        depth_e8 = self._chain.ladders[self._leg].depth_e8
        new_e8 = [size_e8 for size_e8 in sizes_e8 if size_e8 not in self._tried and size_e8 <= depth_e8]
        if not new_e8:
            return []
        assert new_e8[0] % self._lot_e8 == 0, "sizes are on the lot grid"
        self._tried.update(new_e8)
        budget.take(BOUND_STEPS * len(new_e8))
        tangent = self._tangents[is_above] or self._tangent(is_above=is_above)
        enough_e8 = self._enough_e8
        return [rated for rated in zip(tangent.profits_e8(new_e8), new_e8, strict=True) if rated[0] >= enough_e8]

    def _try_rated(self, rated: list[tuple[int, int]], budget: Budget) -> bool:
        """Try sizes, the highest bound first, until no bound reaches the best found; say whether a better one was found.

        A quick look comes before the work: it cuts no leg to what the next one needs, but the size to which that would cut this
        leg is looked at as well.
        """
        is_better = False
        for bound_e8, size_e8 in sorted(rated, reverse=True):
            if bound_e8 < self._enough_e8:
                break
            if budget.is_spent:
                self._is_cut = True
                break
            budget.take(LOOK_STEPS * len(self._chain.steps))
            profit_e8 = self._chain.quick_profit_e8(self._leg, size_e8, self._least)
            assert profit_e8 is None or profit_e8 <= bound_e8, "a bound is from above"
            if profit_e8 is not None and profit_e8 >= self._enough_e8:
                is_better |= self._try(size_e8, budget)
        return is_better

    @property
    def _enough_e8(self) -> int:
        """What a size must earn to be of interest."""
        return max(1, self.best.profit_e8) if self.best else 1

    def _tangent(self, *, is_above: bool) -> Tangent:
        """Make the bound, lots included, that is tight on one side of the peak."""
        peak, ladders = self._relaxation.points[self._top].quantities_e8, self._chain.ladders
        levels = [ladder.level_at(amount, is_above=is_above) for ladder, amount in zip(ladders, peak, strict=True)]
        tangent = self._tangents[is_above] = Tangent(ladders, self._chain.steps, levels, self._leg)
        return tangent

    def _try(self, size_e8: int, budget: Budget) -> bool:
        """Work one size, and keep it if it can be worked and is the best; say so."""
        self._tried.add(size_e8)
        if not 0 < size_e8 <= self._chain.ladders[self._leg].depth_e8:
            return False
        budget.take(WORK_STEPS * len(self._chain.steps))
        outcome = self._chain.work(self._leg, size_e8, self._least)
        if outcome is None or (self.best is not None and _rank(outcome) <= _rank(self.best)):
            return False
        self.best = outcome
        return True

    def _fit_fees(self, budget: Budget) -> None:
        """Halve towards the largest size whose fees the third asset covers, and search around that."""
        low, high = self._smallest_e8 // self._lot_e8 - 1, self._peak_e8 // self._lot_e8
        while low < high and not budget.is_spent:
            middle = (low + high + 1) // 2
            budget.take(WORK_STEPS * len(self._chain.steps))
            is_covered = self._chain.work(self._leg, middle * self._lot_e8, self._least) is not None
            low, high = (middle, high) if is_covered else (low, middle - 1)
        self._peak_e8 = max(0, low) * self._lot_e8
        self._try(self._peak_e8, budget)

    def _worthwhile(self) -> tuple[int, int]:
        """Return the smallest and the largest size whose bound is not below the best so far, and that minimums allow."""
        target_e8 = max(1, self.best.profit_e8 if self.best else 1) - ROUNDING_E8
        points = self._relaxation.points
        while points[-1].profit_e8 >= target_e8 and self._relaxation.advance():
            pass
        first = last = self._top
        while first > 0 and points[first].profit_e8 >= target_e8:
            first -= 1
        while last < len(points) - 1 and points[last].profit_e8 >= target_e8:
            last += 1
        low_e8 = _crossing(points[first], points[min(first + 1, self._top)], self._leg, target_e8)
        high_e8 = _crossing(points[last], points[max(last - 1, self._top)], self._leg, target_e8)
        low_e8 = max(floor_to(low_e8, self._lot_e8), self._smallest_e8, self._lot_e8)
        assert low_e8 % self._lot_e8 == 0, "sizes are on the lot grid"
        return low_e8, ceil_to(high_e8 + 1, self._lot_e8)


def _rank(outcome: Outcome) -> tuple[int, int]:
    """Order outcomes: more profit first, then less put in."""
    return outcome.profit_e8, -outcome.amount_in_e8


def _crossing(outside: Point, inside: Point, leg: int, target_e8: int) -> int:
    """Return the quantity at which the bound crosses the target between two points, rounded outwards by less than a unit."""
    rise_e8 = inside.profit_e8 - outside.profit_e8
    run_e8 = inside.quantities_e8[leg] - outside.quantities_e8[leg]
    if outside.profit_e8 >= target_e8 or rise_e8 <= 0:
        return outside.quantities_e8[leg]
    assert inside.profit_e8 >= target_e8, "the target lies between the points"
    part_e8 = abs(run_e8) * (target_e8 - outside.profit_e8) // rise_e8
    return outside.quantities_e8[leg] + (part_e8 if run_e8 > 0 else -part_e8)


def _refused(chain: Chain, peak: Point, otherwise: Refusal, detail: str) -> Refused:
    """Name the balance that ended a ladder before the peak or a minimum was reached, if one did; else the given reason."""
    for position, ladder in enumerate(chain.ladders):
        while peak.quantities_e8[position] + ladder.lot_e8 > ladder.depth_e8 and ladder.read_more():
            pass
        is_ended = peak.quantities_e8[position] + ladder.lot_e8 > ladder.depth_e8 or ladder.least_e8() is None
        if ladder.is_short and is_ended and position == 0 and chain.inventory.is_limited:
            return Refused(otherwise, f"the limit on the input leaves too little for {ladder.instrument.symbol}; {detail}")
        if ladder.is_short and is_ended and not chain.inventory.carried[position]:
            text = f"{chain.steps[position].spent}: too little is free for {ladder.instrument.symbol}; {detail}"
            return Refused(Refusal.INSUFFICIENT_BALANCE, text)
    if chain.has_named_fees and otherwise is Refusal.BELOW_MINIMUM:
        return Refused(Refusal.INSUFFICIENT_BALANCE, f"no size fits both what is free for fees and every minimum; {detail}")
    return Refused(otherwise, detail)
