"""A cycle as it would be worked: legs in order from its start, each with the transfer that follows it. Knows no prices.

The start is a node that a leg spends: one that holds the reporting asset if the cycle spends any, else one that a market of
the same venue converts into it, else the first by name.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import PPM, Asset, div_up
from arbitrage.strategy.cycles import Cycle
from arbitrage.strategy.graph import Graph, TransferEdge


class Step(msgspec.Struct, frozen=True):
    """One leg: a market, our side of it, and the transfer after it if the next leg is at another venue."""

    market: int
    side: Side
    spent: Node
    received: Node
    transfer: TransferEdge | None

    def carried_over_e8(self, received_e8: int) -> int:
        """Return what reaches the next leg of what this one yields; never below zero."""
        assert received_e8 >= 0, "what arrives is no debt"
        if self.transfer is None:
            return received_e8
        kept_e8 = received_e8 * (PPM - self.transfer.cost_ppm) // PPM - self.transfer.cost_e8
        return max(0, kept_e8)

    def wanted_e8(self, needed_e8: int) -> int:
        """Return what this leg must yield for `needed_e8` to reach the next."""
        if self.transfer is None:
            return needed_e8
        assert self.transfer.cost_ppm < PPM, "a transfer leaves something"
        return div_up((needed_e8 + self.transfer.cost_e8) * PPM, PPM - self.transfer.cost_ppm)


class Route(msgspec.Struct, frozen=True):
    """A cycle from its start back to it."""

    cycle: int
    start: Node
    steps: tuple[Step, ...]
    name: str


def route_of(graph: Graph, cycle: int, edges: Cycle, reporting_asset: Asset) -> Route:
    """Turn a cycle's edges to its start."""
    starts = [position for position, edge in enumerate(edges) if graph.is_market(edge)]
    assert len(starts) >= 2, "a cycle has two markets or more"
    begin = min(starts, key=lambda position: _rank(graph, graph.nodes[graph.sources[edges[position]]], reporting_asset))
    turned = edges[begin:] + edges[:begin]
    steps = []
    for position, edge in enumerate(turned):
        if graph.is_market(edge):
            after = turned[(position + 1) % len(turned)]
            transfer = None if graph.is_market(after) else graph.transfer(after)
            source, target = graph.nodes[graph.sources[edge]], graph.nodes[graph.targets[edge]]
            steps.append(Step(edge >> 1, Side.SELL if edge & 1 else Side.BUY, source, target, transfer))
    start = steps[0].spent
    assert len(steps) == len(starts), "every market is a leg"
    nodes = [graph.nodes[graph.sources[edge]] for edge in turned] + [start]
    return Route(cycle, start, tuple(steps), _name(nodes))


def _rank(graph: Graph, node: Node, reporting_asset: Asset) -> tuple[int, Node]:
    if node.asset == reporting_asset:
        return 0, node
    reporting = graph.index.get(Node(node.venue, reporting_asset), -1)
    is_convertible = any(len(hop) == 1 for hop in graph.hops[graph.index[node]].get(reporting, ()))
    return (1 if is_convertible else 2), node


def _name(nodes: list[Node]) -> str:
    """Name the venue only where it changes, such as `USDT@binance > BTC > BTC@upbit > KRW > USDT > USDT@binance`."""
    words = [str(nodes[0])]
    for before, after in pairwise(nodes):
        words.append(str(after.asset) if after.venue == before.venue else str(after))
    return " > ".join(words)
