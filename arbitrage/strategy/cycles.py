"""Every directed cycle of 2 to N markets, each once. Knows no prices and keeps nothing.

A cycle is a closed sequence of market edges in which each market starts where the one before ended, or one transfer away.
No node (venue, asset) occurs twice, the ends of transfers included, and no market occurs twice. Two transfers never follow
each other and do not count as markets; a cycle and its reverse are two cycles. At a single venue this is: directed cycles
over distinct assets, each direction counted on its own. Two markets between the same two assets are two edges.

Each cycle is found from its busiest node (the smallest index) among those where a market ends, in a depth-first walk that
only goes where the start can still be reached in the markets that are left.
"""

from __future__ import annotations

from collections.abc import Iterator

from arbitrage.strategy.graph import Graph, Hop

Cycle = tuple[int, ...]
"""Edge ids in order, starting with the edges that leave the cycle's busiest node."""


def enumerate_cycles(graph: Graph, legs_max: int) -> Iterator[Cycle]:
    """Yield every cycle, shorter ones first."""
    assert legs_max >= 2, "a cycle has two markets or more"
    entries = _entries(graph)
    for legs in range(2, legs_max + 1):
        for start in range(len(graph.nodes)):
            yield from _Search(graph, entries, start, legs).found


def _entries(graph: Graph) -> list[set[int]]:
    """Return, by node, from where one hop leads to it."""
    entries: list[set[int]] = [set() for _ in graph.nodes]
    for node, ways in enumerate(graph.hops):
        for target in ways:
            assert target != node, "a market has two assets"
            entries[target].add(node)
    return entries


class _Search:
    """All cycles of one length through one start, over nodes that are less busy than it."""

    def __init__(self, graph: Graph, entries: list[set[int]], start: int, legs: int) -> None:
        self.found: list[Cycle] = []
        self._hops = graph.hops
        self._targets = graph.targets
        self._start = start
        self._visited = {start}
        self._path: list[int] = []
        self._reach = _reach(entries, start, legs)
        if start in self._reach[legs]:
            self._extend(start, legs)
        assert self._visited == {start}, "the walk took back every step"

    def _extend(self, node: int, legs: int) -> None:
        if legs == 1:
            self._close(node)
            return
        ways = self._hops[node]
        for target in ways.keys() & self._reach[legs - 1]:
            for hop in ways[target]:
                self._take(hop, target, legs - 1)

    def _take(self, hop: Hop, target: int, legs: int) -> None:
        entered = {target, self._targets[hop[0]]}  # one node, or two when the hop begins with a transfer
        if self._visited.isdisjoint(entered):
            self._visited |= entered
            self._path += hop
            self._extend(target, legs)
            del self._path[-len(hop) :]
            self._visited -= entered

    def _close(self, node: int) -> None:
        path, visited = self._path, self._visited
        assert path, "a cycle has a market before its last"
        for hop in self._hops[node].get(self._start, ()):
            if len(hop) == 2 and self._targets[hop[0]] in visited:
                continue
            if len(path) == 1 and len(hop) == 1 and hop[0] >> 1 == path[0] >> 1:
                continue  # there and back in one market is no cycle
            self.found.append((*path, *hop))


def _reach(entries: list[set[int]], start: int, legs: int) -> list[set[int]]:
    """Return, by a number of hops, the nodes from which the start is so many hops away, among nodes less busy than it."""
    reach = [{start}]
    for _ in range(legs):
        nodes: set[int] = set().union(*(entries[node] for node in reach[-1]))
        reach.append({node for node in nodes if node >= start})
    assert len(reach) == legs + 1, "one set for each number of hops"
    return reach
