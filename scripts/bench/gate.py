"""The gate: no number is printed before the real codecs and the real engine agree with the reference under a bad wire.

Books level by level, every decision's set of gaining cycles, every opportunity's amounts to the last unit, and its profit
against the most that the depth could give. Measures no time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

import msgspec

from arbitrage.model.effects import Effect, Judged, Resync
from arbitrage.model.events import Decide, FeedFault
from arbitrage.model.instruments import Side
from arbitrage.model.opportunities import Opportunity, Refusal
from bench.faults import Delivery, Wire
from bench.frames import Coin, Universe, snapshot_of
from bench.reference import Books, Cycles, Edge, Place, Pour, Terms, places_of
from bench.subject import COIN_TRANSFER_PPM, USDT_TRANSFER_PPM, Subject, trading_settings
from bench.walked import faults_of

COINS = 3
PREMIUM_STEP_PPM = 900.0
START_NS = 1_800_000_000_000_000_001
STEP_NS = 99_991
NEAR_ONE = Decimal("1e-11")
"""A product this near to one may be called gaining or not: the screen's floats let through more, never less."""
LOTS_USDT = Decimal("0.25")
"""Lots and minimums may cost so much of what depth alone would give."""
NOTIONAL_MAX = Decimal(5_000) / Decimal("1.05")
"""What the guard lets an opportunity put in: `notional_per_order_max` with room for the largest edge it believes."""
FAULTS_SHOWN = 20
SNAPSHOT_DELAY_MAX = 12
UNSIZED = (Refusal.BELOW_THRESHOLD.value, Refusal.BELOW_MINIMUM.value)


class Gate(msgspec.Struct):
    """What was compared, and every disagreement (the first of them in words)."""

    seed: int
    deliveries: int = 0
    decisions: int = 0
    gaining: int = 0
    opportunities: int = 0
    gaps: int = 0
    snapshots: int = 0
    tickers_equal: int = 0
    levels: int = 0
    wire: dict[str, int] = {}
    disagreements: int = 0
    shown: list[str] = []

    @property
    def is_open(self) -> bool:
        return not self.disagreements

    def disagree(self, text: str) -> None:
        """Count a disagreement and keep the first ones."""
        self.disagreements += 1
        if len(self.shown) < FAULTS_SHOWN:
            self.shown.append(text)


def run(seed: int, count: int, prepare: Callable[[Subject], None] | None = None) -> Gate:
    """Send `count` frames over a bad wire through both. `prepare` may spoil the subject, to show that the gate sees it."""
    trial = Trial(seed)
    if prepare is not None:
        prepare(trial.subject)
    for _ in range(count):
        for delivery in trial.wire.deliver():
            trial.take(delivery)
    return trial.finish()


class Trial:
    """One engine and one reference on the same wire."""

    def __init__(self, seed: int) -> None:
        self.result = Gate(seed)
        self.universe = Universe(COINS, seed, PREMIUM_STEP_PPM)
        settings = trading_settings(self.universe, resize_interval_ms=0, survivors_max=10_000, sizing_budget_us=1_000_000)
        self.subject = Subject(self.universe, START_NS, settings)
        self.wire = Wire(self.universe, seed + 1)
        self._books = Books(self.universe.binance_symbols, self.universe.upbit_codes)
        self._cycles = Cycles([coin.name for coin in self.universe.coins], 4)
        self._terms = Terms(COIN_TRANSFER_PPM, USDT_TRANSFER_PPM)
        self._symbols = list(self.subject.symbols)
        self._rng = random.Random(seed + 2)
        self._now_ns = START_NS
        self._asked: dict[str, tuple[int, bytes | None]] = {}
        for symbol, answer in self.universe.snapshots.items():
            self._books.snapshot(symbol, answer)
        if len(self._cycles.all) != self._decide_once():
            self.result.disagree(f"the reference finds {len(self._cycles.all)} cycles")

    def take(self, delivery: Delivery) -> None:
        """Deliver one frame to both and compare what they decide."""
        self._now_ns += STEP_NS
        events = self.subject.decoders[delivery.frame.venue](delivery.raw, self._now_ns)
        self._note(self.subject.feed(events))
        changed: set[str] = set()
        self.result.deliveries += 1
        faults = [event.kind.value for event in events if isinstance(event, FeedFault)]
        if delivery.is_damaged != bool(faults):
            said = "damaged" if delivery.is_damaged else "good"
            self.result.disagree(f"delivery {self.result.deliveries}: the frame was {said}, faults named: {faults}")
        if not delivery.is_damaged and (symbol := self._books.read(delivery.raw)):
            changed.add(symbol)
        changed |= self._answer()
        self._compare(changed)

    def finish(self) -> Gate:
        """Let the wire heal, then compare every level of every book with the truth and with the reference."""
        for _ in range(2 * SNAPSHOT_DELAY_MAX):
            for delivery in self.wire.flush():
                self.take(delivery)
        for symbol in self._symbols:
            self._compare_levels(symbol)
        counters, result = self.subject.engine.board.counters, self.result
        if counters["compared"] != counters["equal"]:
            result.disagree(f"{counters['compared'] - counters['equal']} best prices differ from the ticker's")
        result.gaps, result.tickers_equal = counters["gaps"], counters["equal"]
        result.wire = dict(sorted(self.wire.done.items()))
        return result

    def _decide_once(self) -> int:
        """Let the engine find its cycles; return how many."""
        self.subject.feed([Decide(self._now_ns)])
        return self.subject.engine.detector.counters["cycles"]

    def _note(self, effects: list[Effect]) -> None:
        """Put requests for snapshots on their way: taken now or when they are handed over, sometimes hopelessly old."""
        for effect in effects:
            if isinstance(effect, Resync):
                symbol = self._symbols[effect.market]
                kind = self._rng.random()
                now = snapshot_of(self._coin(symbol)) if kind < 0.4 else self.universe.snapshots[symbol] if kind < 0.6 else None
                self._asked[symbol] = (self._rng.randrange(1, SNAPSHOT_DELAY_MAX), now)

    def _answer(self) -> set[str]:
        """Hand over the snapshots that are due; return their markets."""
        asked, self._asked = self._asked, {}
        given: set[str] = set()
        for symbol, (wait, taken) in asked.items():
            if wait:
                self._asked[symbol] = (wait - 1, taken)
                continue
            answer = taken or snapshot_of(self._coin(symbol))
            self._books.snapshot(symbol, answer)
            self._note(self.subject.snapshot(symbol, answer, self._now_ns))
            self.result.snapshots += 1
            given.add(symbol)
        return given

    def _coin(self, symbol: str) -> Coin:
        return next(coin for coin in self.universe.coins if coin.binance_symbol == symbol)

    def _compare(self, changed: set[str]) -> None:
        """Decide in both: the same cycles gain, and every opportunity's amounts are right."""
        engine, result = self.subject.engine, self.result
        seen_before = engine.tally.seen
        effects = self.subject.feed([Decide(self._now_ns)])
        result.decisions += 1
        gaining = self._gaining(changed)
        surely = {places for places, product in gaining.items() if product > 1 + NEAR_ONE}
        lines = [line for line in engine.opportunities if line.at_ns == self._now_ns]
        names = {places_of(line.name) for line in lines}
        seen = engine.tally.seen - seen_before
        result.gaining += seen
        is_same = names <= gaining.keys() and len(surely) <= seen <= len(gaining)
        if not is_same or (seen == len(lines) and not surely <= names):
            result.disagree(f"delivery {result.deliveries}: {seen} gaining {sorted(names)}, the reference has {gaining}")
            return
        for effect in effects:
            if isinstance(effect, Judged):
                self._compare_opportunity(effect.opportunity)
        for line in lines:
            if line.net_e8 == 0 and line.verdict in UNSIZED:
                self._compare_missed(line.name)

    def _gaining(self, changed: set[str]) -> dict[tuple[Place, ...], Decimal]:
        found = {}
        for places, path in self._cycles.all.items():
            if any(edge.symbol in changed for edge in path):
                product = self._cycles.product(path, self._books, self._terms)
                if product > 1 - NEAR_ONE:
                    found[places] = product
        return found

    def _compare_opportunity(self, opportunity: Opportunity) -> None:
        self.result.opportunities += 1
        for fault in faults_of(opportunity, self._books, self._symbols, self._terms):
            self.result.disagree(f"delivery {self.result.deliveries}: {opportunity.name}: {fault}")
        most = Pour(self._path(opportunity.name), self._books, self._terms).best(NOTIONAL_MAX)
        net = Decimal(opportunity.net_e8) / 10**8
        if not most - LOTS_USDT <= net <= most + Decimal("1e-6"):
            self.result.disagree(f"delivery {self.result.deliveries}: {opportunity.name}: earns {net}, the depth gives {most}")

    def _compare_missed(self, name: str) -> None:
        most = Pour(self._path(name), self._books, self._terms).best(NOTIONAL_MAX)
        if most > LOTS_USDT:
            self.result.disagree(f"delivery {self.result.deliveries}: {name}: called too small, the depth gives {most}")

    def _path(self, name: str) -> list[Edge]:
        """Return a named cycle's edges from its own start."""
        path = self._cycles.all[places_of(name)]
        asset, _, venue = name.partition(" > ")[0].partition("@")
        begin = next(position for position, edge in enumerate(path) if edge.source == (venue, asset))
        return path[begin:] + path[:begin]

    def _compare_levels(self, symbol: str) -> None:
        book = self.subject.engine.board.books[self.subject.symbols[symbol]]
        for side, is_ask in ((Side.BUY, True), (Side.SELL, False)):
            ours = [(Decimal(repr(price)), Decimal(repr(size))) for price, size in book.levels(side, 100_000)]
            theirs = self._books.side(symbol, is_ask=is_ask)
            truth = self._truth(symbol, is_ask=is_ask)
            self.result.levels += len(ours)
            if ours != theirs or (truth is not None and theirs != truth) or not ours:
                text = f"{symbol}: {len(ours)} {side.value} levels, {len(theirs)} in the reference, flaw {book.flaw}"
                self.result.disagree(text)

    def _truth(self, symbol: str, *, is_ask: bool) -> list[tuple[Decimal, Decimal]] | None:
        """Return what the exchange itself holds, where it is kept apart from the frames."""
        if not symbol.endswith("USDT") or symbol.startswith("KRW"):
            return None
        coin = self._coin(symbol)
        ticks = coin.asks if is_ask else coin.bids
        rows = sorted(ticks.items(), reverse=not is_ask)
        return [(Decimal(tick) / 100, Decimal(quantity) / 10**8) for tick, quantity in rows]
