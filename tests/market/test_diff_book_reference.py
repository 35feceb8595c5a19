"""A diff book beside a naive one that keeps every level in a dict, through whatever a stream may do, from a seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from market_world import diff, diff_book, resyncs, snapshot, top

from arbitrage.market.book_side import LOGGED_MAX, NEAR_LEVELS
from arbitrage.market.diff_book import BEHIND_MAX
from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect
from arbitrage.model.events import BookDiff, Level
from arbitrage.model.instruments import Side
from arbitrage.model.settings import MarketDataSettings

CALM = MarketDataSettings(price_jump_ppm_max=10_000_000)
SEEDS = st.integers(0, 2**32)
Ticks = dict[int, float]
Rows = Sequence[tuple[int, float]]
NEAR, FAR = [0.97**rank for rank in range(1_200)], [0.999**rank for rank in range(1_200)]
"""How often a level changes, by its distance from the touch."""
QUANTITIES = (0.0, 0.0, 1.25, 2.5, 1e-08)


def level(tick: int, quantity: float) -> Level:
    return (round(tick / 100, 2), quantity)


class Streams(RuleBasedStateMachine):
    """The exchange's own two sides by tick, what of them a client may know, and the book that is tested."""

    @initialize(seed=SEEDS, shown=st.integers(1, 900), is_whole=st.booleans())
    def connect(self, seed: int, shown: int, is_whole: bool) -> None:
        self.rng = random.Random(seed)
        self.shown, self.is_whole = shown, is_whole
        self.mid = 100_000
        """The lowest tick at which an ask may stand; bids stand below it."""
        self.truth: tuple[Ticks, Ticks] = (
            {self.mid - 1 - rank: rank + 1.0 for rank in range(900)},
            {self.mid + rank: rank + 1.0 for rank in range(900)},
        )
        self.last_id = 10
        self.newest = diff(1, 1)
        self.book = diff_book(CALM)
        self.book.link_up()
        self.resync()

    def resync(self) -> None:
        """Bridge a snapshot, cut like a venue's."""
        live = [[row for row in side.items() if row[1]] for side in self.truth]
        bids = sorted(live[0], reverse=True)[: None if self.is_whole else self.shown]
        asks = sorted(live[1])[: None if self.is_whole else self.shown]
        if not self.book._buffer:
            self.send(([], []))
        self.known = (dict(bids), dict(asks))
        self.bounds = (bids[-1][0] if bids and not self.is_whole else 0, asks[-1][0] if asks and not self.is_whole else 10**9)
        picture = snapshot(self.last_id, [level(*row) for row in bids], [level(*row) for row in asks], is_whole=self.is_whole)
        assert self.book.start_from(picture) == ()
        self.is_synced, self.repeated = True, 0
        self.loaded_version = self.book.version
        """Repeated before anything new came, an update is only older than the snapshot."""

    def proved(self, side: int) -> list[Level]:
        floor, ceiling = self.bounds
        if side:
            return [level(tick, quantity) for tick, quantity in sorted(self.known[1].items()) if quantity and tick <= ceiling]
        rows = sorted(self.known[0].items(), reverse=True)
        return [level(tick, quantity) for tick, quantity in rows if quantity and tick >= floor]

    def send(self, rows: tuple[Rows, Rows]) -> Sequence[Effect]:
        """Let the exchange change; the naive book and ours hear of it."""
        for side in (0, 1):
            self.truth[side].update(rows[side])
        first_id, self.last_id = self.last_id + 1, self.last_id + self.rng.randrange(1, 5)
        self.newest = diff(first_id, self.last_id, *([level(*row) for row in side] for side in rows))
        return self.deliver(self.newest, rows)

    def deliver(self, event: BookDiff, rows: tuple[Rows, Rows]) -> Sequence[Effect]:
        effects = self.book.apply(event)
        self.repeated = 0
        if not getattr(self, "is_synced", False):
            return effects
        for side in (0, 1):
            self.known[side].update(rows[side])
        is_cut = [not self.proved(side) and not self.is_whole for side in (0, 1)]
        if any(is_cut):
            assert self.book.flaw is Doubt.GAP and resyncs(effects) == ["the touch left the range that the snapshot showed"]
            self.is_synced = False
        return effects

    def rows(self, count: int, weights: Sequence[float]) -> tuple[Rows, Rows]:
        sides = range(self.mid - 1, self.mid - 1_201, -1), range(self.mid, self.mid + 1_200)
        bids, asks = (
            list(zip(self.rng.choices(ticks, weights, k=count), self.rng.choices(QUANTITIES, k=count), strict=True))
            for ticks in sides
        )
        return bids, asks

    @rule(count=st.integers(0, 40), weights=st.sampled_from((NEAR, FAR)))
    def change(self, count: int, weights: Sequence[float]) -> None:
        self.send(self.rows(count, weights))

    @rule(weights=st.sampled_from((NEAR, FAR)))
    def storm(self, weights: Sequence[float]) -> None:
        self.send(self.rows(LOGGED_MAX // 2, weights))

    @rule(step=st.integers(-4 * NEAR_LEVELS, 4 * NEAR_LEVELS))
    def move(self, step: int) -> None:
        """Run over everything in between, and leave a new touch behind."""
        self.mid += step
        bids = [(tick, 0.0) for tick in self.truth[0] if tick >= self.mid]
        asks = [(tick, 0.0) for tick in self.truth[1] if tick < self.mid]
        self.send(([*bids, (self.mid - 1, 1.5)], [*asks, (self.mid, 2.5)]))

    @rule()
    def repeat(self) -> None:
        """Once or twice is a repetition; more, with nothing new between, and ids have gone back."""
        version = self.book.version
        effects = self.book.apply(self.newest)
        if not self.is_synced:
            return
        self.repeated += version != self.loaded_version
        self.is_synced = self.repeated < BEHIND_MAX
        assert bool(resyncs(effects)) != self.is_synced
        assert (self.book.version == version) == self.is_synced

    @precondition(lambda self: self.is_synced)
    @rule()
    def lose(self) -> None:
        """A diff never arrives; the next one shows it, in the same message."""
        self.last_id += 3
        self.is_synced = False
        assert resyncs(self.send(self.rows(1, NEAR))), "a gap asks for a snapshot at once"
        assert self.book.flaw is Doubt.GAP

    @precondition(lambda self: not self.is_synced)
    @rule()
    def answer(self) -> None:
        self.resync()

    @precondition(lambda self: self.is_synced)
    @rule(limit=st.sampled_from((1, 8, 32, 100, 200, 5_000)), side=st.sampled_from(Side))
    def read(self, limit: int, side: Side) -> None:
        assert self.book.shown(side, limit) == self.proved(side is Side.BUY)[:limit]

    @precondition(lambda self: self.is_synced)
    @rule()
    def check(self) -> None:
        bid, ask = (next(iter(self.proved(side)), (0.0, 0.0)) for side in (0, 1))
        before = self.book.counters["equal"]
        assert self.book.check(top(self.last_id, bid, ask)) == ()
        assert self.book.counters["equal"] == before + 1

    @invariant()
    def equals_the_naive_book(self) -> None:
        if not hasattr(self, "known"):
            return
        book = self.book
        if not self.is_synced:
            assert book.flaw is not None and book.best_bid == book.best_ask == 0.0 and book.shown(Side.BUY, 5) == []
            return
        bids, asks = self.proved(0), self.proved(1)
        assert book.flaw is None and book.last_id == self.last_id
        assert (book.best_bid, book.best_bid_quantity) == next(iter(bids), (0.0, 0.0))
        assert (book.best_ask, book.best_ask_quantity) == next(iter(asks), (0.0, 0.0))
        if self.rng.random() < 0.3:
            twin = copy.deepcopy(book)  # reading deep moves levels, and must not decide what the next step meets
            assert (twin.shown(Side.SELL, 10_000), twin.shown(Side.BUY, 10_000)) == (bids, asks)

    def teardown(self) -> None:
        """However it went, every level is compared at the end."""
        if getattr(self, "is_synced", False):
            assert [self.book.shown(side, 10_000) for side in (Side.SELL, Side.BUY)] == [self.proved(0), self.proved(1)]


Streams.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStreams = Streams.TestCase
