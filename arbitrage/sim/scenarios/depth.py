"""Synthetic depth around a given best bid and ask, from a seeded generator. Decides no price; only what stands behind it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, floor_to
from arbitrage.sim.scenarios.changes import BookChanged, Change, LevelE8, Traded
from arbitrage.sim.scenarios.scenario import MarketSpec

Tops = tuple[int | None, int | None]
"""Quantities of best bid and best ask where they are known."""
RUNGS_KNOWN_MAX = 16_384
"""Rungs a side whose price is remembered; past it they are worked out anew."""


class DepthShape(msgspec.Struct, frozen=True):
    """How much stands in a book: rungs, their distance, and the typical value of one in quote units."""

    levels: int
    step_ppm: int
    level_value_e8: int
    """Median value of the best level in the market's quote asset; deeper levels hold more."""
    refreshed: int = 3
    """How many standing levels of each side change their size at an update."""


class SyntheticDepth:
    """One market's ladder. Every method returns the change it made, so a server's book can follow exactly."""

    def __init__(self, spec: MarketSpec, shape: DepthShape, generator: random.Random) -> None:
        self.spec = spec
        self.shape = shape
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._random = generator
        self._step_e8 = 0
        self._known: tuple[dict[int, int], dict[int, int]] = ({}, {})
        """By side (asks, bids) and number of the rung: its price on the venue's grid."""

    def requote(self, at_ns: int, bid_e8: int, ask_e8: int, *, tops: Tops = (None, None)) -> BookChanged:
        """Move the best prices and let the ladder follow; `tops` fixes the best quantities where they are known."""
        assert 0 < bid_e8 < ask_e8, "a ladder is never crossed"
        if not self._step_e8:
            tick_e8 = self.spec.ticks.tick_e8_at(bid_e8)
            self._step_e8 = max(tick_e8, floor_to(bid_e8 * self.shape.step_ppm // 1_000_000, tick_e8))
        bids = self._follow(self.bids, [bid_e8, *self._rungs(bid_e8, is_bid=True)], tops[0])
        asks = self._follow(self.asks, [ask_e8, *self._rungs(ask_e8, is_bid=False)], tops[1])
        assert max(self.bids) < min(self.asks), "bids stay below asks"
        return BookChanged(at_ns, self.spec.venue, self.spec.symbol, bids, asks)

    def trade(self, at_ns: int) -> Iterator[Change]:
        """Let somebody take a part of one best level."""
        if not self.bids or not self.asks:
            return
        side = Side.BUY if self._random.random() < 0.5 else Side.SELL
        levels, price_e8 = (self.asks, min(self.asks)) if side is Side.BUY else (self.bids, max(self.bids))
        standing_e8 = levels[price_e8]
        taken_e8 = floor_to(int(standing_e8 * self._random.uniform(0.05, 0.6)), self.spec.lot_e8)
        if not 0 < taken_e8 < standing_e8:
            return
        levels[price_e8] = standing_e8 - taken_e8
        left = ((price_e8, standing_e8 - taken_e8),)
        none: tuple[LevelE8, ...] = ()
        yield BookChanged(
            at_ns, self.spec.venue, self.spec.symbol,
            bids=left if side is Side.SELL else none, asks=left if side is Side.BUY else none,
        )  # fmt: skip
        yield Traded(at_ns, self.spec.venue, self.spec.symbol, price_e8, taken_e8, side)

    def clear(self) -> None:
        """Forget every level: the story starts anew."""
        self.bids.clear()
        self.asks.clear()

    def _rungs(self, best_e8: int, *, is_bid: bool) -> Iterator[int]:
        step, known = self._step_e8, self._known[is_bid]
        if len(known) > RUNGS_KNOWN_MAX:
            known.clear()
        to_grid = self.spec.ticks.floor if is_bid else self.spec.ticks.ceil
        first, away = ((best_e8 - 1) // step, -1) if is_bid else (best_e8 // step + 1, 1)
        for index in range(first, first + away * (self.shape.levels - 1), away):
            price_e8 = known.get(index)
            if price_e8 is None:
                price_e8 = known[index] = to_grid(index * step)
            if price_e8 <= 0:
                return
            yield price_e8

    def _follow(self, levels: dict[int, int], wanted: list[int], top_e8: int | None) -> tuple[LevelE8, ...]:
        kept = frozenset(wanted)
        changed: dict[int, int] = {price: 0 for price in levels if price not in kept}
        for price in changed:
            del levels[price]
        for rung, price in enumerate(wanted):
            if price not in levels:
                changed[price] = levels[price] = self._size(price, rung)
        for _ in range(self.shape.refreshed):
            rung = min(int(self._random.expovariate(0.25)), len(wanted) - 1)
            changed[wanted[rung]] = levels[wanted[rung]] = self._size(wanted[rung], rung)
        if top_e8 is not None:
            changed[wanted[0]] = levels[wanted[0]] = max(top_e8, self.spec.lot_e8)
        return tuple(changed.items())

    def _size(self, price_e8: int, rung: int) -> int:
        value_e8 = self.shape.level_value_e8 * self._random.lognormvariate(0.0, 0.7) * (1.0 + 0.12 * rung)
        return max(floor_to(int(value_e8 * E8 / price_e8), self.spec.lot_e8), self.spec.lot_e8)
