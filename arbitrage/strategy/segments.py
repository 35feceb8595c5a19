"""Cycles cut into two halves, each half kept once: the compact table behind the screen. Knows no prices.

A cycle is cut at two of its nodes: the halves differ by one market at most, and among those cuts the two nodes are the
busiest, so that thousands of cycles share few segments (100 coins between two venues: 9,900 four-market cycles out of 202
segments). Cycle ids are dense and stable for one structure of the graph.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise

from arbitrage.strategy.cycles import Cycle
from arbitrage.strategy.graph import Graph


class SegmentTable:
    """Segments grouped by (start, end) node, and which pairs of them are cycles."""

    def __init__(self, graph: Graph, cycles: Iterable[Cycle], cycles_max: int) -> None:
        self._graph = graph
        self._ids: dict[Cycle, int] = {}
        self.segments: list[Cycle] = []
        self.group_of: list[int] = []
        """By segment."""
        self.place_of: list[int] = []
        """By segment: its place within its group."""
        self.groups: list[list[int]] = []
        self.opposite_of: list[int] = []
        """By group: the group of the segments that lead back."""
        self._group_ids: dict[tuple[int, int], int] = {}
        self.is_truncated = False
        """Whether `cycles_max` was reached: longer cycles are then missing."""
        self._pairs = self._read(cycles, cycles_max)
        assert len(self) <= cycles_max, "the bound holds"

    def __len__(self) -> int:
        return len(self._pairs)

    def cycle_of(self, segment: int, other: int) -> int:
        """Return the id of the cycle made of these two segments, or -1 when they share a node or are cut elsewhere."""
        key = self._key(segment, other)
        position = bisect_left(self._pairs, key)
        return position if position < len(self._pairs) and self._pairs[position] == key else -1

    def halves(self, cycle: int) -> tuple[int, int]:
        """Return the two segments of a cycle."""
        first, second = divmod(self._pairs[cycle], len(self.segments))
        assert self.opposite_of[self.group_of[first]] == self.group_of[second], "halves lead back to each other"
        return first, second

    def edges(self, cycle: int) -> Cycle:
        """Return the edges of a cycle in order."""
        first, second = self.halves(cycle)
        return self.segments[first] + self.segments[second]

    def _read(self, cycles: Iterable[Cycle], cycles_max: int) -> array[int]:
        firsts, seconds = array("q"), array("q")
        for cycle in cycles:
            if len(firsts) == cycles_max:
                self.is_truncated = True
                break
            begin, end = cut(self._graph, cycle)
            firsts.append(self._segment(cycle[begin:end]))
            seconds.append(self._segment(cycle[end:] + cycle[:begin]))
        pairs = array("q", sorted(map(self._key, firsts, seconds)))
        assert all(a < b for a, b in pairwise(pairs)), "every cycle is one pair of segments"
        return pairs

    def _key(self, segment: int, other: int) -> int:
        return min(segment, other) * len(self.segments) + max(segment, other)

    def _segment(self, edges: Cycle) -> int:
        assert edges, "a half has a market"
        known = self._ids.get(edges)
        if known is not None:
            return known
        segment = self._ids[edges] = len(self.segments)
        start, end = self._graph.sources[edges[0]], self._graph.targets[edges[-1]]
        group = self._group(start, end)
        self.opposite_of[group] = self._group(end, start)
        self.segments.append(edges)
        self.group_of.append(group)
        self.place_of.append(len(self.groups[group]))
        self.groups[group].append(segment)
        return segment

    def _group(self, start: int, end: int) -> int:
        group = self._group_ids.setdefault((start, end), len(self.groups))
        if group == len(self.groups):
            self.groups.append([])
            self.opposite_of.append(-1)
        return group


def cut(graph: Graph, cycle: Cycle) -> tuple[int, int]:
    """Return where to cut: the positions of the edges that begin the first half and the second."""
    nodes = [graph.sources[edge] for edge in cycle]
    assert len(set(nodes)) == len(nodes), "no node occurs twice"
    markets = [0]
    for edge in cycle:
        markets.append(markets[-1] + graph.is_market(edge))
    halves = (markets[-1] // 2, markets[-1] - markets[-1] // 2)
    cuts = [
        (max(nodes[begin], nodes[end]), min(nodes[begin], nodes[end]), begin, end)
        for begin in range(len(cycle) - 1)
        for end in range(begin + 1, len(cycle))
        if markets[end] - markets[begin] in halves
    ]
    assert cuts, "a cycle of two markets or more can be halved"
    return min(cuts)[2:]
