"""The screen: which cycles gain at the top of their books, by floats, kept current as best prices move. Decides nothing.

Exact in what it lets through: a cycle whose product of best prices, fees and proportional transfer costs exceeds `1 +
screen` is never dropped: the threshold is lowered by more than the rounding of all multiplications. What passes is sized in
integers.

A change of one market touches the segments through it. Of each, the product times the largest product of the segments that
lead back bounds every cycle through it; only when that bound exceeds the threshold are its cycles looked at one by one. The
largest product of a group is kept as a bound from above and is made exact only when such a test needs it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from arbitrage.model.instruments import Instrument, Side
from arbitrage.model.money import PPM
from arbitrage.strategy.board import Book
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import fee_terms, named_fee_ppm
from arbitrage.strategy.segments import SegmentTable

ROUNDING = 1e-12
"""More than the relative error of a product of 32 floats (3.6e-15), less than any fee step."""

PRICE_MIN, PRICE_MAX = 1e-18, 1e18
"""Outside of these a price is no venue's (and could not be sized): it counts as none, so that no product is infinite."""

Touch = tuple[list[float], int, int, float, int, int, int]
"""Values of the group, place, other edge, constant factor, group, opposite group, segment."""
LongTouch = tuple[list[float], int, tuple[int, ...], float, int, int, int]
"""As `Touch` with all other edges of a segment of three markets or more."""


def fee_factor(instrument: Instrument, side: Side) -> float:
    """Return what a taker's fee leaves of a trade. A fee in a third asset counts as if it were taken from what is received."""
    top_ppm, out_ppm = fee_terms(instrument, side)
    kept_ppm = PPM - out_ppm - named_fee_ppm(instrument)
    assert kept_ppm > 0, "a fee leaves something"
    return kept_ppm / (PPM + top_ppm)


class Screen:
    """Products of all segments, and the cycles above the threshold."""

    def __init__(self, graph: Graph, table: SegmentTable, screen_edge_ppm: int) -> None:
        self._table = table
        self.threshold = (1.0 + screen_edge_ppm / PPM) * (1.0 - ROUNDING)
        self.passing: dict[int, set[int]] = {}
        """Cycles above the threshold, by market through which they go."""
        markets = len(graph.instruments)
        self._one = graph.transfer_offset
        """An edge whose rate is always 1: the other edge of a segment of one market."""
        self._rates = [0.0] * self._one + [1.0]
        self._bids = [0.0] * markets
        self._asks = [0.0] * markets
        self._factors = [0.0] * self._one
        self.set_fees(graph)
        self._values = [[0.0] * len(group) for group in table.groups]
        self._bounds = [0.0] * len(table.groups)
        self._touches: list[list[Touch]] = [[] for _ in range(self._one)]
        self._long_touches: list[list[LongTouch]] = [[] for _ in range(self._one)]
        self._suspects: list[int] = []
        self._markets_of: list[tuple[int, ...]] = []
        for segment in range(len(table.segments)):
            self._add(graph, segment)
        assert len(self._markets_of) == len(table.segments), "every segment is touched by its markets"

    def set_fees(self, graph: Graph) -> None:
        """Take the fees of a graph of the same structure; every market then counts as moved."""
        assert graph.transfer_offset == self._one, "the same markets"
        for market, instrument in enumerate(graph.instruments):
            if instrument is not None:
                self._factors[2 * market] = fee_factor(instrument, Side.BUY)
                self._factors[2 * market + 1] = fee_factor(instrument, Side.SELL)
        self._bids = [-1.0] * len(self._bids)
        self._asks = [-1.0] * len(self._asks)

    def update(self, books: Sequence[Book], changed: Collection[int]) -> None:
        """Follow the best prices of the changed markets. Quantities do not matter here."""
        bids, asks, factors = self._bids, self._asks, self._factors
        for market in changed:
            book = books[market]
            bid = book.best_bid
            if bid != bids[market]:
                bids[market] = bid
                self._move(2 * market + 1, bid * factors[2 * market + 1] if PRICE_MIN < bid < PRICE_MAX else 0.0)
            ask = book.best_ask
            if ask != asks[market]:
                asks[market] = ask
                self._move(2 * market, factors[2 * market] / ask if PRICE_MIN < ask < PRICE_MAX else 0.0)
        if self._suspects:
            self._settle()

    def gaining(self, changed: Collection[int]) -> dict[int, float]:
        """Return the cycles through changed markets that are above the threshold now, with products; forget the others."""
        found: dict[int, float] = {}
        passing = self.passing
        for market in changed:
            if market not in passing:
                continue
            for cycle in tuple(passing[market]):
                product = found.get(cycle) or self.product(cycle)
                if product > self.threshold:
                    found[cycle] = product
                else:
                    self._drop(cycle)
        assert not found or min(found.values()) > self.threshold, "what is returned passes"
        return found

    def product(self, cycle: int) -> float:
        """Return a cycle's product at the top of its books after fees and proportional transfer costs; 0 with an empty side."""
        table = self._table
        first, second = table.halves(cycle)
        product = self._values[table.group_of[first]][table.place_of[first]]
        return product * self._values[table.group_of[second]][table.place_of[second]]

    def markets_of(self, cycle: int) -> tuple[int, ...]:
        """Return the markets of a cycle."""
        first, second = self._table.halves(cycle)
        return self._markets_of[first] + self._markets_of[second]

    def _add(self, graph: Graph, segment: int) -> None:
        table = self._table
        edges = [edge for edge in table.segments[segment] if graph.is_market(edge)]
        assert edges, "a segment has a market"
        factor = 1.0
        for edge in table.segments[segment]:
            if not graph.is_market(edge):
                factor *= 1.0 - graph.transfer(edge).cost_ppm / PPM
        group, place = table.group_of[segment], table.place_of[segment]
        values, opposite = self._values[group], table.opposite_of[group]
        for edge in edges:
            others = tuple(other for other in edges if other != edge)
            if len(others) <= 1:
                other = others[0] if others else self._one
                self._touches[edge].append((values, place, other, factor, group, opposite, segment))
            else:
                self._long_touches[edge].append((values, place, others, factor, group, opposite, segment))
        self._markets_of.append(tuple(edge >> 1 for edge in edges))

    def _move(self, edge: int, rate: float) -> None:
        rates, bounds, threshold = self._rates, self._bounds, self.threshold
        rates[edge] = rate
        for values, place, other, factor, group, opposite, segment in self._touches[edge]:
            value = rate * rates[other] * factor
            if value > bounds[group]:
                values[place] = bounds[group] = value
            else:
                values[place] = value
            if value * bounds[opposite] > threshold:
                self._suspects.append(segment)
        for values, place, others, factor, group, opposite, segment in self._long_touches[edge]:
            value = rate * factor
            for other in others:
                value *= rates[other]
            if value > bounds[group]:
                values[place] = bounds[group] = value
            else:
                values[place] = value
            if value * bounds[opposite] > threshold:
                self._suspects.append(segment)

    def _settle(self) -> None:
        """Look at the cycles of every segment whose bound passed, with all prices of this decision in place."""
        table, threshold = self._table, self.threshold
        for segment in self._suspects:
            group = table.group_of[segment]
            value = self._values[group][table.place_of[segment]]
            opposite = table.opposite_of[group]
            values = self._values[opposite]
            self._bounds[opposite] = bound = max(values)
            if value * bound > threshold:
                members = table.groups[opposite]
                for place, other in enumerate(values):
                    if value * other > threshold:
                        self._let_through(table.cycle_of(segment, members[place]))
        self._suspects.clear()

    def _let_through(self, cycle: int) -> None:
        assert cycle < len(self._table), "a cycle of the table"
        if cycle >= 0:
            for market in self.markets_of(cycle):
                self.passing.setdefault(market, set()).add(cycle)

    def _drop(self, cycle: int) -> None:
        for market in self.markets_of(cycle):
            cycles = self.passing[market]
            assert cycle in cycles, "what passes is listed under each of its markets"
            cycles.remove(cycle)
            if not cycles:
                del self.passing[market]
