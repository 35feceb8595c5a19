"""One Binance-shaped market: its true book, its update ids and the stream messages they become. Opens no socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.scenarios.changes import BookChanged, Change, FramePlayed, LevelE8, Restarted, SnapshotRead, Traded
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.binance_tape import TICKERS, BinanceTape, Taped
from arbitrage.sim.server.binance_wire import decimal_text
from arbitrage.sim.server.book import BookSide, TruthBook

Publish = Callable[[str, Callable[[], bytes]], None]
"""Takes a stream's name and how to write its message, which happens only when somebody listens."""
PARTIAL_LEVELS = (5, 10, 20)
RESTART_ID_STEP = 1_000
TICKER_EVERY = 10
"""The day's figures go out once in so many windows."""


def levels_json(levels: list[LevelE8]) -> str:
    return "[" + ",".join(f'["{decimal_text(price)}","{decimal_text(quantity)}"]' for price, quantity in levels) + "]"


class _Window:
    """What changed in one pace's current window; absolute quantities, the latest wins."""

    def __init__(self, suffix: str, every: int) -> None:
        self.suffix = suffix
        self.every = every
        self.first_id = 0
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def clear(self) -> None:
        self.first_id = 0
        self.bids = {}
        self.asks = {}


class BinanceMarket:
    """The venue's side of one symbol. Every level that changes takes one update id."""

    def __init__(self, spec: MarketSpec, *, first_id: int, now_ms: Callable[[], int], publish: Publish) -> None:
        self.spec = spec
        self.book = TruthBook()
        self.update_id = first_id
        self.tape = BinanceTape()
        self._now_ms = now_ms
        self._publish = publish
        self._windows = (_Window("@100ms", 1), _Window("", 10))
        self._partial_ids = [0, 0]
        self._trade_id = first_id % 1_000_003

    @property
    def stream(self) -> str:
        return self.spec.symbol.lower()

    def apply(self, change: Change) -> None:
        """Take one change and publish what goes out at once."""
        match change:
            case BookChanged():
                self._change(change)
            case Traded():
                self._trade(change)
            case SnapshotRead(raw=raw):
                self._load(raw)
            case FramePlayed(stream=stream, raw=raw):
                self._play(stream, raw)
            case Restarted():
                self._restart()

    def flush(self, index: int) -> None:
        """Close the 100 ms window with this number, and each tenth time the 1000 ms one."""
        for position, window in enumerate(self._windows):
            if index % window.every:
                continue
            if window.first_id:
                self._publish(f"{self.stream}@depth{window.suffix}", self._diff(window))
                window.clear()
            if self._partial_ids[position] != self.update_id:
                self._partial_ids[position] = self.update_id
                for levels in PARTIAL_LEVELS:
                    self._publish(f"{self.stream}@depth{levels}{window.suffix}", partial(self.picture, levels))
        if not index % TICKER_EVERY:
            for name, (event, keys) in TICKERS.items():
                self._publish(f"{self.stream}@{name}", partial(self._ticker, event, keys))

    def picture(self, limit: int) -> bytes:
        """Write the answer to REST depth, which is also the partial depth message."""
        bids, asks = levels_json(self.book.bids.levels(limit)), levels_json(self.book.asks.levels(limit))
        return f'{{"lastUpdateId":{self.update_id},"bids":{bids},"asks":{asks}}}'.encode()

    def ticker(self) -> dict[str, str]:
        """Return REST bookTicker's fields."""
        (bid, bid_quantity), (ask, ask_quantity) = self.book.top()
        texts = [decimal_text(value) for value in (bid, bid_quantity, ask, ask_quantity)]
        return {"symbol": self.spec.symbol, **dict(zip(("bidPrice", "bidQty", "askPrice", "askQty"), texts, strict=True))}

    def price(self) -> dict[str, str]:
        """Return REST ticker/price's fields: the last trade, or the best bid before there is one."""
        return {"symbol": self.spec.symbol, "price": decimal_text(self.tape.last_price_e8 or self.book.bids.best()[0])}

    def day(self) -> dict[str, object]:
        """Return REST ticker/24hr's fields."""
        return self.tape.day(self.spec.symbol, self.book.top(), self._now_ms())

    def next_trade_id(self) -> int:
        """Draw the number of the next trade."""
        self._trade_id += 1
        return self._trade_id

    def _change(self, change: BookChanged) -> None:
        before = self.book.top()
        for side, levels in ((self.book.bids, change.bids), (self.book.asks, change.asks)):
            for price_e8, quantity_e8 in levels:
                if side.set(price_e8, quantity_e8):
                    self._note(side, price_e8, quantity_e8)
        after = self.book.top()
        assert not (after[0][0] and after[1][0]) or after[0][0] < after[1][0], "the true book is never crossed"
        if after != before:
            self._publish(f"{self.stream}@bookTicker", self._best)

    def _note(self, side: BookSide, price_e8: int, quantity_e8: int) -> None:
        self.update_id += 1
        for window in self._windows:
            window.first_id = window.first_id or self.update_id
            (window.bids if side is self.book.bids else window.asks)[price_e8] = quantity_e8

    def _best(self) -> bytes:
        (bid, bid_quantity), (ask, ask_quantity) = self.book.top()
        return (
            f'{{"u":{self.update_id},"s":"{self.spec.symbol}","b":"{decimal_text(bid)}","B":"{decimal_text(bid_quantity)}",'
            f'"a":"{decimal_text(ask)}","A":"{decimal_text(ask_quantity)}"}}'
        ).encode()

    def _ticker(self, event: str, keys: Mapping[str, str]) -> bytes:
        day = self.day()
        figures = {key: day[name] for name, key in keys.items()}
        return json.dumps({"e": event, "E": self._now_ms(), **figures}, separators=(",", ":")).encode()

    def _diff(self, window: _Window) -> Callable[[], bytes]:
        def write() -> bytes:
            return (
                f'{{"e":"depthUpdate","E":{self._now_ms()},"s":"{self.spec.symbol}","U":{window.first_id},"u":{self.update_id},'
                f'"b":{levels_json(sorted(window.bids.items(), reverse=True))},"a":{levels_json(sorted(window.asks.items()))}}}'
            ).encode()

        return write

    def _trade(self, change: Traded) -> None:
        trade_id, now_ms = change.trade_id or self.next_trade_id(), self._now_ms()
        self.tape.add(Taped(trade_id, change.price_e8, change.quantity_e8, change.taker_side, now_ms))
        money = f'"p":"{decimal_text(change.price_e8)}","q":"{decimal_text(change.quantity_e8)}"'
        tail = f'"T":{now_ms},"m":{"true" if change.taker_side is Side.SELL else "false"},"M":true}}'
        head = f'"E":{now_ms},"s":"{self.spec.symbol}"'
        trade = f'{{"e":"trade",{head},"t":{trade_id},{money},{tail}'
        aggregate = f'{{"e":"aggTrade",{head},"a":{trade_id},{money},"f":{trade_id},"l":{trade_id},{tail}'
        self._publish(f"{self.stream}@trade", trade.encode)
        self._publish(f"{self.stream}@aggTrade", aggregate.encode)

    def _load(self, raw: str) -> None:
        """Start the true book from a recorded REST answer."""
        body = json.loads(raw)
        self.book.clear()
        for side, levels in ((self.book.bids, body["bids"]), (self.book.asks, body["asks"])):
            for price_e8, quantity_e8 in parse_levels(levels):
                side.set(price_e8, quantity_e8)
        self.update_id = int(body["lastUpdateId"])

    def _play(self, stream: str, raw: str) -> None:
        """Send a recorded message on unchanged; a diff moves the true book by the documented procedure."""
        if stream.endswith(("@depth@100ms", "@depth")):
            body = json.loads(raw)
            if body["u"] > self.update_id:
                for side, levels in ((self.book.bids, body["b"]), (self.book.asks, body["a"])):
                    for price_e8, quantity_e8 in parse_levels(levels):
                        side.set(price_e8, quantity_e8)
                self.update_id = int(body["u"])
        elif stream.endswith(("@aggTrade", "@trade")):
            body = json.loads(raw)
            taker_side = Side.SELL if body["m"] else Side.BUY
            trade_id = int(body["t"] if "t" in body else body["l"])
            self.tape.add(Taped(trade_id, parse_e8(body["p"]), parse_e8(body["q"]), taker_side, body["T"]))
        payload = raw.encode()
        self._publish(stream, lambda: payload)

    def _restart(self) -> None:
        self.book.clear()
        for window in self._windows:
            window.clear()
        self.update_id += RESTART_ID_STEP


def parse_levels(levels: list[list[str]]) -> Iterator[LevelE8]:
    """Read wire levels exactly."""
    for price, quantity in levels:
        yield parse_e8(price), parse_e8(quantity)
