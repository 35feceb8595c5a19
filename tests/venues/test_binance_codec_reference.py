"""Bytes through codec and float book, against the exchange's own truth in Decimal, through every way a feed can go wrong."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.market.diff_book import DiffBook
from arbitrage.model.effects import Resync
from arbitrage.model.events import BookDiff, BookSnapshot, FeedFault, TopOfBook
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.settings import FeeSettings, MarketDataSettings, VenueSettings
from arbitrage.venues.binance.codec import BinanceCodec

CODEC = BinanceCodec(
    Venue("binance"),
    {"BTCUSDT": 0},
    VenueSettings(
        "binance", "https://x.test", "wss://x.test", ("BTCUSDT",), FeeSettings(1000, 1000, "received"), snapshot_levels=7
    ),
)
Picture = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
TICK = Decimal("0.01")
DELIVERIES = ("good",) * 12 + ("lost", "twice", "late", "malformed", "out of range", "replayed", "spaced")


def written(rng: random.Random, value: Decimal) -> str:
    """Write a number as a venue may: eight decimals, trimmed, or with an exponent; the same number always."""
    return rng.choice([f"{value:.8f}", f"{value:f}", f"{value:E}"])


@dataclass
class Exchange:
    """The truth: every book by its last update id, and the text it sends about them."""

    rng: random.Random
    update_id: int = 100
    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    history: dict[int, Picture] = field(default_factory=dict)
    shots: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for step in range(12):
            self.bids[10_000 - step * TICK] = Decimal(step + 1)
            self.asks[10_001 + step * TICK] = Decimal(step + 1)
        self.keep()

    def keep(self) -> None:
        self.history[self.update_id] = (dict(self.bids), dict(self.asks))
        self.shots = [*self.shots[-2:], self.shot()]

    def move(self) -> str:
        """Change a few levels, among them deletions of levels that are not there; return the diff as text."""
        rng = self.rng
        changes: tuple[list[list[str]], list[list[str]]] = ([], [])
        for _ in range(rng.randint(0, 6)):
            is_bid = rng.random() < 0.5
            side = self.bids if is_bid else self.asks
            price = (10_000 - rng.randint(0, 20) * TICK) if is_bid else (10_001 + rng.randint(0, 20) * TICK)
            quantity = Decimal(0) if rng.random() < 0.35 else Decimal(rng.randint(1, 10**10)) / 10**8
            side.pop(price, None)
            if quantity:
                side[price] = quantity
            changes[not is_bid].append([written(rng, price), written(rng, quantity)])
        first_id = self.update_id + 1
        self.update_id += rng.randint(1, 4)
        self.keep()
        inner = {
            "e": "depthUpdate",
            "E": 1,
            "s": "BTCUSDT",
            "U": first_id,
            "u": self.update_id,
            "b": changes[0],
            "a": changes[1],
        }
        return json.dumps({"stream": "btcusdt@depth@100ms", "data": inner}, separators=(",", ":"))

    def answer(self) -> str:
        """Answer a request for a snapshot, now and then out of a cache that lags by an update or two."""
        return self.rng.choice(self.shots) if self.rng.random() < 0.3 else self.shots[-1]

    def shot(self) -> str:
        bids = sorted(self.bids.items(), reverse=True)[:7]
        asks = sorted(self.asks.items())[:7]
        rows = [[[written(self.rng, price), written(self.rng, quantity)] for price, quantity in side] for side in (bids, asks)]
        return json.dumps({"lastUpdateId": self.update_id, "bids": rows[0], "asks": rows[1]})

    def ticker(self) -> str:
        bid, ask = max(self.bids, default=Decimal(0)), min(self.asks, default=Decimal(0))
        top = {
            "b": written(self.rng, bid),
            "B": written(self.rng, self.bids.get(bid, Decimal(0))),
            "a": written(self.rng, ask),
            "A": written(self.rng, self.asks.get(ask, Decimal(0))),
        }
        data = {"u": self.update_id, "s": "BTCUSDT", **top}
        return json.dumps({"stream": "btcusdt@bookTicker", "data": data}, separators=(",", ":"))


def exact(levels: list[tuple[float, float]]) -> list[tuple[Decimal, Decimal]]:
    """Turn a book's floats back to the numbers that were written: the shortest text of a float is that number."""
    return [(Decimal(repr(price)).normalize(), Decimal(repr(quantity)).normalize()) for price, quantity in levels]


class Client:
    """Our side: codec and book, asking for a snapshot whenever the book wants one."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.book = DiffBook(0, MarketDataSettings(), Counter())
        self.snapshots: list[str] = []
        self.take_effects(self.book.link_up())

    def take_effects(self, effects: object) -> None:
        assert isinstance(effects, list | tuple)
        self.snapshots += [self.exchange.answer() for effect in effects if isinstance(effect, Resync)]

    def hear(self, frame: str) -> None:
        was_synced = self.book.flaw is None
        for event in CODEC.decode(frame.encode(), 1):
            effects: object = ()
            if isinstance(event, BookDiff):
                effects = self.book.apply(event)
            elif isinstance(event, TopOfBook):
                effects = self.book.check(event)
            else:
                assert isinstance(event, FeedFault)
            self.take_effects(effects)
            if was_synced and self.book.flaw is not None:
                assert any(isinstance(effect, Resync) for effect in effects), "unusable and asking, in the same message"
        self.check()

    def answer(self) -> None:
        shot = CODEC.decode_snapshot(self.snapshots.pop(0), 0, 1)
        assert isinstance(shot, BookSnapshot)
        self.take_effects(self.book.start_from(shot))
        self.check()

    def check(self) -> None:
        book = self.book
        shown = {side: book.levels(side, 100) for side in Side}
        if book.flaw is not None:
            assert (book.best_bid, book.best_ask) == (0.0, 0.0) and not any(shown.values())
            return
        for side, truth, is_bid in ((Side.SELL, 0, True), (Side.BUY, 1, False)):
            true_side = self.exchange.history[book.last_id][truth]
            best_first = sorted(true_side, reverse=is_bid)
            levels = exact(shown[side])
            expected = [(price.normalize(), true_side[price].normalize()) for price in best_first]
            assert levels == expected[: len(levels)], "what is shown is exactly true, without a hole"
            assert bool(levels) == bool(expected), "the touch is always shown"
        assert book.best_bid == (shown[Side.SELL][0][0] if shown[Side.SELL] else 0.0)
        assert book.best_ask == (shown[Side.BUY][0][0] if shown[Side.BUY] else 0.0)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_book_in_sync_is_the_truth_and_otherwise_shows_nothing(seed: int) -> None:
    rng = random.Random(seed)
    exchange = Exchange(rng)
    client = Client(exchange)
    sent: list[str] = []
    delayed: list[str] = []
    for _ in range(80):
        frame = exchange.move()
        sent.append(frame)
        delivery = rng.choice(DELIVERIES)
        if delivery == "late":
            delayed.append(frame)
        elif delivery == "malformed":
            client.hear(frame[: rng.randint(0, len(frame) - 1)])
        elif delivery == "out of range":
            client.hear(frame.replace('"U":', '"U":-'))
        elif delivery == "spaced":
            client.hear(json.dumps(dict(reversed(json.loads(frame).items())), indent=1))
        elif delivery != "lost":
            client.hear(frame)
            if delivery == "twice":
                client.hear(frame)
            if delivery == "replayed":
                client.hear(rng.choice(sent))
            while delayed:
                client.hear(delayed.pop())
        if rng.random() < 0.5:
            client.hear(exchange.ticker())
        if client.snapshots and rng.random() < 0.4:
            client.answer()
    for _ in range(10):
        while client.snapshots:
            client.answer()
        client.hear(exchange.move())
        client.hear(exchange.ticker())
    assert client.book.flaw is None, "the faults are over: the book has come back"
    assert client.book.last_id == exchange.update_id
    assert client.book.counters["compared"] == client.book.counters["equal"] > 0


def test_the_world_of_this_test_does_go_wrong_in_every_way() -> None:
    rng = random.Random(5)
    seen: Counter[str] = Counter()
    for _ in range(40):
        exchange = Exchange(rng)
        client = Client(exchange)
        for _ in range(40):
            frame = exchange.move()
            if rng.random() < 0.9:
                client.hear(frame)
            if client.snapshots and rng.random() < 0.4:
                client.answer()
        seen.update(client.book.counters)
    assert seen["gaps"] > 50 and seen["snapshots_too_old"] > 5 and seen["resyncs"] > seen["gaps"]
