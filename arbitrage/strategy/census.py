"""What every cycle of one moment earns, counted and ranked: the honest answer to "is there any?". Keeps only the best cycles.

Floats rank; whether a cycle gains, and by how much the best ones do, is decided in exact fractions.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from fractions import Fraction
from heapq import heappush, heappushpop
from math import prod

import msgspec

from arbitrage.strategy.cycles import Cycle, enumerate_cycles
from arbitrage.strategy.graph import Graph

NEAR_ONE = 1e-9
"""Products nearer to one than this are compared exactly."""


class Ranked(msgspec.Struct, frozen=True):
    """One of the best cycles with its exact product."""

    cycle: Cycle
    product: Fraction


class Census(msgspec.Struct):
    """The answer. Products are net of the rates' fees."""

    cycles: dict[int, int]
    """How many, by number of markets."""
    gaining: int
    top: list[Ranked]
    """Best first."""
    products: array[float]
    best_by_length: dict[int, float]
    best_by_market: dict[int, float]
    is_truncated: bool = False


def take_census(graph: Graph, rates: Sequence[Fraction], *, legs_max: int, cycles_max: int, top: int) -> Census:
    """Go through every cycle. `rates` are by edge: what one unit turns into after fees; 0 where a side is empty."""
    assert len(rates) == graph.transfer_offset, "one rate for each market and side"
    census = Census(dict.fromkeys(range(2, legs_max + 1), 0), 0, [], array("d"), {}, {})
    floats = [float(rate) for rate in rates]
    heap: list[tuple[float, Cycle]] = []
    for cycle in enumerate_cycles(graph, legs_max):
        if len(census.products) == cycles_max:
            census.is_truncated = True
            break
        product = prod([floats[edge] for edge in cycle])
        _count(census, cycle, product)
        if abs(product - 1.0) < NEAR_ONE:
            census.gaining += _exact(rates, cycle) > 1
        else:
            census.gaining += product > 1.0
        if len(heap) < top:
            heappush(heap, (product, cycle))
        elif heap and product > heap[0][0]:
            heappushpop(heap, (product, cycle))
    ranked = (Ranked(cycle, _exact(rates, cycle)) for _, cycle in heap)
    census.top = sorted(ranked, key=lambda best: (-best.product, best.cycle))
    assert sum(census.cycles.values()) == len(census.products), "every cycle is counted once"
    return census


def percentile(ordered: Sequence[float], share: Fraction) -> float:
    """Return the smallest value that at least this share of an ascending sequence does not exceed."""
    assert ordered, "nothing has no percentile"
    rank = -(-share.numerator * len(ordered) // share.denominator)
    return ordered[max(0, rank - 1)]


def _count(census: Census, cycle: Cycle, product: float) -> None:
    length = len(cycle)
    assert product >= 0.0, "a product of rates"
    census.cycles[length] += 1
    census.products.append(product)
    if product > census.best_by_length.get(length, 0.0):
        census.best_by_length[length] = product
    best_by_market = census.best_by_market
    for edge in cycle:
        if product > best_by_market.get(edge >> 1, -1.0):
            best_by_market[edge >> 1] = product


def _exact(rates: Sequence[Fraction], cycle: Cycle) -> Fraction:
    return prod((rates[edge] for edge in cycle), start=Fraction(1))
