"""The graph: nodes are (venue, asset), edges the two directions of every market and the confirmed transfers. Knows no prices.

Edge ids are dense: `2 * market` buys (quote to base), `2 * market + 1` sells (base to quote), and transfers follow after the
last market. The same ticker at two venues is joined only where the settings list it with a confirmed identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.model.instruments import Instrument, Node, Side
from arbitrage.model.money import PPM, Asset, parse_e8
from arbitrage.model.settings import TransferSettings


class TransferEdge(msgspec.Struct, frozen=True):
    """One asset from one venue to another, out of own inventory, at the cost of rebalancing later."""

    source: int
    target: int
    cost_ppm: int
    cost_e8: int
    """Fixed cost for each use, in the asset."""


Hop = tuple[int, ...]
"""The edges of one step: a market, or a transfer and then a market."""


class Graph:
    """Nodes, busiest first, and what leads from each to each."""

    def __init__(self, instruments: Sequence[Instrument | None], transfers: Mapping[str, TransferSettings]) -> None:
        self.instruments = tuple(known if known is not None and known.fees.taker_ppm < PPM else None for known in instruments)
        """By market; None where nothing is known, or a fee leaves nothing."""
        self.transfer_offset = 2 * len(self.instruments)
        """The first edge id that is a transfer."""
        self.nodes = _nodes(self.instruments)
        self.index = {node: position for position, node in enumerate(self.nodes)}
        self.transfers = _transfers(self.nodes, transfers)
        self.sources, self.targets = self._ends()
        self.hops = self._hops()
        assert len(self.sources) == self.transfer_offset + len(self.transfers), "every edge has its ends"

    def instrument(self, edge: int) -> Instrument:
        """Return the instrument that a market edge trades."""
        instrument = self.instruments[edge >> 1]
        assert instrument is not None, "an edge trades a known instrument"
        return instrument

    def transfer(self, edge: int) -> TransferEdge:
        """Return the transfer that an edge makes."""
        assert edge >= self.transfer_offset, "transfers follow after the markets"
        return self.transfers[edge - self.transfer_offset]

    def is_market(self, edge: int) -> bool:
        """Say whether an edge is a market's."""
        return edge < self.transfer_offset

    def _ends(self) -> tuple[list[int], list[int]]:
        sources, targets = [-1] * self.transfer_offset, [-1] * self.transfer_offset
        for market, instrument in enumerate(self.instruments):
            if instrument is not None:
                assert instrument.id == market, "instruments stand at their ids"
                quote, base = (self.index[instrument.spent_node(side)] for side in (Side.BUY, Side.SELL))
                sources[2 * market : 2 * market + 2] = [quote, base]
                targets[2 * market : 2 * market + 2] = [base, quote]
        sources += [transfer.source for transfer in self.transfers]
        targets += [transfer.target for transfer in self.transfers]
        return sources, targets

    def _hops(self) -> list[dict[int, list[Hop]]]:
        """Return, by node and by the node after the next market, every way there: directly or after one transfer."""
        hops: list[dict[int, list[Hop]]] = [{} for _ in self.nodes]
        for edge in range(self.transfer_offset):
            if self.sources[edge] >= 0:
                hops[self.sources[edge]].setdefault(self.targets[edge], []).append((edge,))
        direct = [dict(ways) for ways in hops]
        for position, transfer in enumerate(self.transfers):
            for target, ways in direct[transfer.target].items():
                assert target != transfer.source, "a market stays at its venue"
                steps = [(self.transfer_offset + position, *hop) for hop in ways if len(hop) == 1]
                hops[transfer.source].setdefault(target, []).extend(steps)
        return hops


def _nodes(instruments: Sequence[Instrument | None]) -> tuple[Node, ...]:
    degrees: dict[Node, int] = {}
    for instrument in instruments:
        if instrument is not None:
            for side in Side:
                node = instrument.spent_node(side)
                degrees[node] = degrees.get(node, 0) + 1
    return tuple(sorted(degrees, key=lambda node: (-degrees[node], node)))


def _transfers(nodes: Sequence[Node], settings: Mapping[str, TransferSettings]) -> tuple[TransferEdge, ...]:
    by_asset: dict[Asset, list[int]] = {}
    for position, node in enumerate(nodes):
        by_asset.setdefault(node.asset, []).append(position)
    edges = []
    for asset, terms in sorted(settings.items()):
        if terms.is_identity_confirmed and terms.cost_ppm < PPM:
            cost_e8 = parse_e8(terms.cost)
            assert cost_e8 >= 0, "a transfer does not pay"
            places = by_asset.get(Asset(asset), [])
            edges += [TransferEdge(a, b, terms.cost_ppm, cost_e8) for a in places for b in places if a != b]
    return tuple(edges)
