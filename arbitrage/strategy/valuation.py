"""What an amount is worth in the reporting asset: an executable book walked, fee included. Knows no mid, no static rate.

An asset converts through one market of its own venue against the reporting asset. Without such a market, without a trusted
book, or beyond its depth there is no value: None, and whoever asked must refuse.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import PPM, Asset, div_up
from arbitrage.strategy.board import Board
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import Ladder, LegTerms, named_fee_ppm


class Conversion(msgspec.Struct, frozen=True):
    """One way across a market: from what its side spends to what it receives."""

    ladder: Ladder
    named_ppm: int
    """A fee in a third asset, counted here as if it were taken from what is received."""

    def yield_e8(self, spent_e8: int) -> int | None:
        """Return what `spent_e8` turns into, rounded down, or None beyond the depth."""
        assert spent_e8 >= 0, "an amount to convert is not negative"
        while self.ladder.spends[-1] < spent_e8 and self.ladder.read_more():
            pass
        if self.ladder.spends[-1] < spent_e8:
            return None
        quantity_e8 = self.ladder.affordable_e8(spent_e8)
        received_e8 = self.ladder.received_e8(quantity_e8) if quantity_e8 else 0
        return received_e8 * (PPM - self.named_ppm) // PPM

    def cost_e8(self, received_e8: int) -> int | None:
        """Return what must be spent for `received_e8` to arrive, rounded up, or None beyond the depth."""
        assert self.named_ppm < PPM, "a fee leaves something"
        quantity_e8 = self.ladder.needed_e8(div_up(received_e8 * PPM, PPM - self.named_ppm))
        if quantity_e8 is None:
            return None
        return self.ladder.spent_e8(quantity_e8) if quantity_e8 else 0


class Valuer:
    """Conversions at one moment, each book read once."""

    def __init__(self, graph: Graph, board: Board, reporting_asset: Asset, levels_max: int, now_ns: int) -> None:
        self._graph = graph
        self._board = board
        self._reporting_asset = reporting_asset
        self._terms = LegTerms(levels_max, 0, lot_e8=1)
        self._now_ns = now_ns
        self._known: dict[tuple[Node, bool], Conversion | None] = {}

    def worth_e8(self, node: Node, amount_e8: int) -> int | None:
        """Return what selling an amount would bring in the reporting asset; a debt is worth what buying it back costs."""
        if amount_e8 >= 0:
            return self._convert(node, amount_e8, is_sale=True, is_yield=True)
        cost_e8 = self.cost_e8(node, -amount_e8)
        return None if cost_e8 is None else -cost_e8

    def cost_e8(self, node: Node, amount_e8: int) -> int | None:
        """Return how much of the reporting asset buys an amount."""
        return self._convert(node, amount_e8, is_sale=False, is_yield=False)

    def raised_by_e8(self, node: Node, reporting_e8: int) -> int | None:
        """Return how much must be sold to raise so much of the reporting asset."""
        return self._convert(node, reporting_e8, is_sale=True, is_yield=False)

    def bought_with_e8(self, node: Node, reporting_e8: int) -> int | None:
        """Return how much a purchase with so much of the reporting asset brings."""
        return self._convert(node, reporting_e8, is_sale=False, is_yield=True)

    def _convert(self, node: Node, amount_e8: int, *, is_sale: bool, is_yield: bool) -> int | None:
        assert amount_e8 >= 0, "an amount to convert is not negative"
        if node.asset == self._reporting_asset:
            return amount_e8
        key = (node, is_sale)
        if key not in self._known:
            self._known[key] = self._find(node, is_sale=is_sale)
        conversion = self._known[key]
        if conversion is None:
            return None
        return conversion.yield_e8(amount_e8) if is_yield else conversion.cost_e8(amount_e8)

    def _find(self, node: Node, *, is_sale: bool) -> Conversion | None:
        assert node.asset != self._reporting_asset, "the reporting asset needs no conversion"
        for market in converting_markets(self._graph, node, self._reporting_asset):
            book, instrument = self._board.books[market], self._graph.instrument(2 * market)
            if self._board.doubt(market, self._now_ns) is None and book.best_bid > 0.0 and book.best_ask > 0.0:
                side = Side.SELL if (instrument.base == node.asset) is is_sale else Side.BUY
                return Conversion(Ladder(book, instrument, side, self._terms), named_fee_ppm(instrument))
        return None


def converting_markets(graph: Graph, node: Node, into: Asset) -> list[int]:
    """Return the markets of a node's venue between its asset and another."""
    assert node.asset != into, "an asset is not converted into itself"
    position, other = graph.index.get(node), graph.index.get(Node(node.venue, into))
    if position is None or other is None:
        return []
    return [hop[0] >> 1 for hop in graph.hops[position].get(other, ()) if len(hop) == 1]
