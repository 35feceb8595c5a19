"""One Upbit-shaped market: its true book, its day's figures and the messages they become. Opens no socket.

Messages are dicts with the long keys in the reference sheet's order; formats and short keys are `upbit_format`'s work.
"""

from __future__ import annotations

import datetime
import json
from collections import deque
from collections.abc import Callable

import msgspec

from arbitrage.model.instruments import Side, TickTable
from arbitrage.model.money import E8, format_e8, parse_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.scenarios.changes import BookChanged, Change, FramePlayed, LevelE8, Restarted, SnapshotRead, Traded
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.book import TruthBook

UNITS_MAX = 30
TRADES_REMEMBERED_MAX = 500
KST = datetime.timezone(datetime.timedelta(hours=9))
Message = dict[str, object]


class Notice(msgspec.Struct, frozen=True):
    """Something to send now: a message kind and, for a recording, the very bytes with the number of levels in them."""

    kind: str
    raw: bytes | None = None
    raw_units: int = 0


class _Trade(msgspec.Struct, frozen=True):
    """One trade."""

    at_ms: int
    price_e8: int
    quantity_e8: int
    taker_side: Side
    sequential_id: int


class _Day(msgspec.Struct):
    """The day's figures, which begin when the venue starts."""

    opening_e8: int = 0
    high_e8: int = 0
    low_e8: int = 0
    volume_e8: int = 0
    value: int = 0
    ask_volume_e8: int = 0
    bid_volume_e8: int = 0

    def add(self, price_e8: int, quantity_e8: int, taker_side: Side) -> None:
        """Count one trade."""
        self.opening_e8 = self.opening_e8 or price_e8
        self.high_e8 = max(self.high_e8, price_e8)
        self.low_e8 = min(self.low_e8 or price_e8, price_e8)
        self.volume_e8 += quantity_e8
        self.value += price_e8 * quantity_e8
        if taker_side is Side.BUY:
            self.bid_volume_e8 += quantity_e8
        else:
            self.ask_volume_e8 += quantity_e8


class UpbitMarket:
    """The venue's side of one code."""

    def __init__(self, spec: MarketSpec, *, now_ms: Callable[[], int], notify: Callable[[UpbitMarket, Notice], None]) -> None:
        self.spec = spec
        self.book = TruthBook()
        self.book_ms = 0
        self._exchange: Exchange | None = None
        self._now_ms = now_ms
        self._notify = notify
        self._trade: _Trade | None = None
        self._trades: deque[_Trade] = deque(maxlen=TRADES_REMEMBERED_MAX)
        self._day = _Day()
        self._sequence = 0

    def join(self, exchange: Exchange) -> None:
        """Have the price grid and the halts of an exchange, as they are at each moment."""
        self._exchange = exchange

    @property
    def ticks(self) -> TickTable:
        """The price grid as it is now."""
        return self.spec.ticks if self._exchange is None else self._exchange.rules(self.spec.symbol).ticks

    @property
    def is_halted(self) -> bool:
        return self._exchange is not None and self.spec.symbol in self._exchange.halted

    def apply(self, change: Change) -> None:
        """Take one change and say what goes out."""
        match change:
            case BookChanged():
                self._change(change)
            case Traded():
                self._traded(change)
                self._notify(self, Notice("trade"))
                self._notify(self, Notice("ticker"))
            case FramePlayed(stream=stream, raw=raw):
                self._play(stream, raw)
            case Restarted():
                self.book.clear()
                self.book_ms = 0
                self._trade = None
            case SnapshotRead():
                raise ValueError("Upbit has no diff book that a snapshot could start")

    def levels_offered(self) -> list[int]:
        """Return the grouping steps of `level`, won markets only; 0 is no grouping."""
        if self.spec.quote != "KRW":
            return [0]
        tick_e8 = self.ticks.tick_e8_at(self.book.bids.best()[0])
        return [0, *(tick_e8 * factor for factor in (10, 100, 1000) if tick_e8 * factor % E8 == 0)]

    def orderbook(self, units: int, level_e8: int) -> Message | None:
        """Return the full picture of the best levels; None when there is none yet or the step is not offered."""
        if not self.book_ms or level_e8 not in self.levels_offered():
            return None
        asks = self._grouped(self.book.asks.levels(None if level_e8 else units), level_e8, is_ask=True)[:units]
        bids = self._grouped(self.book.bids.levels(None if level_e8 else units), level_e8, is_ask=False)[:units]
        rows: list[Message] = []
        for rung in range(max(len(asks), len(bids))):
            ask, bid = (side[rung] if rung < len(side) else (0, 0) for side in (asks, bids))
            prices = {"ask_price": number(ask[0]), "bid_price": number(bid[0])}
            rows.append({**prices, "ask_size": number(ask[1]), "bid_size": number(bid[1])})
        return {
            "type": "orderbook",
            "code": self.spec.symbol,
            "timestamp": self.book_ms,
            "total_ask_size": number(sum(quantity for _, quantity in asks)),
            "total_bid_size": number(sum(quantity for _, quantity in bids)),
            "orderbook_units": rows,
            "stream_type": "",
            "level": number(level_e8),
        }

    def trade(self) -> Message | None:
        """Return the latest trade's message; None before the first."""
        trade = self._trade
        if trade is None:
            return None
        moment = datetime.datetime.fromtimestamp(trade.at_ms / 1000, datetime.UTC)
        change, difference_e8 = self._change_of(trade.price_e8)
        (bid, bid_quantity), (ask, ask_quantity) = self.book.top()
        return {
            "type": "trade",
            "code": self.spec.symbol,
            "timestamp": self._now_ms(),
            "trade_date": moment.strftime("%Y-%m-%d"),
            "trade_time": moment.strftime("%H:%M:%S"),
            "trade_timestamp": trade.at_ms,
            "trade_price": number(trade.price_e8),
            "trade_volume": number(trade.quantity_e8),
            "ask_bid": _ask_bid(trade.taker_side),
            "prev_closing_price": number(self._day.opening_e8),
            "change": change,
            "change_price": number(abs(difference_e8)),
            "sequential_id": trade.sequential_id,
            "best_ask_price": number(ask),
            "best_ask_size": number(ask_quantity),
            "best_bid_price": number(bid),
            "best_bid_size": number(bid_quantity),
            "stream_type": "",
        }

    def ticks_before(self, count: int, cursor: int | None) -> list[Message]:
        """Return so many of the newest trades as `trades/ticks` has them, newest first; with a cursor, older than it."""
        rows: list[Message] = []
        for trade in reversed(self._trades):
            if len(rows) == count:
                break
            if cursor is not None and trade.sequential_id >= cursor:
                continue
            moment = datetime.datetime.fromtimestamp(trade.at_ms / 1000, datetime.UTC)
            rows.append({
                "market": self.spec.symbol, "trade_date_utc": moment.strftime("%Y-%m-%d"),
                "trade_time_utc": moment.strftime("%H:%M:%S"), "timestamp": trade.at_ms,
                "trade_price": number(trade.price_e8), "trade_volume": number(trade.quantity_e8),
                "prev_closing_price": number(self._day.opening_e8), "change_price": number(self._change_of(trade.price_e8)[1]),
                "ask_bid": _ask_bid(trade.taker_side), "sequential_id": trade.sequential_id,
            })  # fmt: skip
        return rows

    def ticker(self) -> Message | None:
        """Return the ticker's message; None before there is any price."""
        if not self.book_ms and self._trade is None:
            return None
        moment_ms = self._trade.at_ms if self._trade else self.book_ms
        moment = datetime.datetime.fromtimestamp(moment_ms / 1000, datetime.UTC)
        year_high = {"highest_52_week_price": number(self._day.high_e8), "highest_52_week_date": moment.strftime("%Y-%m-%d")}
        year_low = {"lowest_52_week_price": number(self._day.low_e8), "lowest_52_week_date": moment.strftime("%Y-%m-%d")}
        return {
            "type": "ticker",
            "code": self.spec.symbol,
            **self.day_figures(),
            "trade_date": moment.strftime("%Y%m%d"),
            "trade_time": moment.strftime("%H%M%S"),
            "trade_timestamp": moment_ms,
            "ask_bid": _ask_bid(self._trade.taker_side if self._trade else Side.BUY),
            "acc_ask_volume": number(self._day.ask_volume_e8),
            "acc_bid_volume": number(self._day.bid_volume_e8),
            **year_high,
            **year_low,
            "market_state": "ACTIVE",
            "is_trading_suspended": self.is_halted,
            "delisting_date": None,
            "market_warning": "NONE",
            "timestamp": self._now_ms(),
            "stream_type": "",
        }

    def day_figures(self) -> Message:
        """Return the price and volume fields that REST and stream tickers share."""
        price_e8 = self._trade.price_e8 if self._trade else self.book.bids.best()[0]
        opening_e8 = self._day.opening_e8 or price_e8
        change, difference_e8 = self._change_of(price_e8)
        rate = difference_e8 / opening_e8 if opening_e8 else 0.0
        value = self._day.value / E8 / E8
        volume = number(self._day.volume_e8)
        return {
            "opening_price": number(opening_e8),
            "high_price": number(self._day.high_e8 or price_e8),
            "low_price": number(self._day.low_e8 or price_e8),
            "trade_price": number(price_e8),
            "prev_closing_price": number(opening_e8),
            "change": change,
            "change_price": number(abs(difference_e8)),
            "signed_change_price": number(difference_e8),
            "change_rate": round(abs(rate), 10),
            "signed_change_rate": round(rate, 10),
            "trade_volume": number(self._trade.quantity_e8 if self._trade else 0),
            "acc_trade_volume": volume,
            "acc_trade_volume_24h": volume,
            "acc_trade_price": value,
            "acc_trade_price_24h": value,
        }

    def instrument(self) -> dict[str, object]:
        """Return `orderbook/instruments`' row: the tick of the price band the market is in now."""
        return {
            "market": self.spec.symbol,
            "quote_currency": self.spec.quote,
            "tick_size": format_e8(self.ticks.tick_e8_at(self.book.bids.best()[0])),
            "supported_levels": [format_e8(level) for level in self.levels_offered()],
        }

    def _change(self, change: BookChanged) -> None:
        for side, levels in ((self.book.bids, change.bids), (self.book.asks, change.asks)):
            for price_e8, quantity_e8 in levels:
                side.set(price_e8, quantity_e8)
        (bid, _), (ask, _) = self.book.top()
        assert not (bid and ask) or bid < ask, "the true book is never crossed"
        self.book_ms = self._now_ms()
        self._notify(self, Notice("orderbook"))

    def last_trade(self, at_ns: int) -> Traded | None:
        """Return the latest trade as a change, for whoever missed it in a recorded frame; None before the first."""
        trade = self._trade
        if trade is None:
            return None
        return Traded(
            at_ns, "upbit", self.spec.symbol, trade.price_e8, trade.quantity_e8, trade.taker_side, trade.sequential_id
        )

    def next_sequence(self) -> int:
        """Return the number of the next trade: its millisecond and four digits more."""
        self._sequence += 1
        return self._now_ms() * 10_000 + self._sequence % 10_000

    def _traded(self, change: Traded) -> None:
        sequential_id = change.trade_id or self.next_sequence()
        self._tell(_Trade(self._now_ms(), change.price_e8, change.quantity_e8, change.taker_side, sequential_id))

    def _tell(self, trade: _Trade) -> None:
        self._trade = trade
        self._trades.append(trade)
        self._day.add(trade.price_e8, trade.quantity_e8, trade.taker_side)

    def _play(self, kind: str, raw: str) -> None:
        """Take a recorded SIMPLE message: keep its content as the truth and send its bytes on."""
        body = json.loads(raw, parse_float=str, parse_int=str)
        units = 0
        if kind == "orderbook":
            units = len(body["obu"])
            self.book.clear()
            for row in body["obu"]:
                _set(self.book, row)
            self.book_ms = int(body["tms"])
        else:
            side = Side.BUY if body["ab"] == "BID" else Side.SELL
            self._tell(_Trade(int(body["ttms"]), parse_e8(body["tp"]), parse_e8(body["tv"]), side, int(body["sid"])))
        self._notify(self, Notice(kind, raw.encode(), units))

    def _change_of(self, price_e8: int) -> tuple[str, int]:
        difference_e8 = price_e8 - (self._day.opening_e8 or price_e8)
        return ("RISE" if difference_e8 > 0 else "FALL" if difference_e8 < 0 else "EVEN"), difference_e8

    def _grouped(self, levels: list[LevelE8], level_e8: int, *, is_ask: bool) -> list[LevelE8]:
        if not level_e8:
            return levels
        groups: dict[int, int] = {}
        for price_e8, quantity_e8 in levels:
            group = (-(-price_e8 // level_e8) if is_ask else price_e8 // level_e8) * level_e8
            groups[group] = groups.get(group, 0) + quantity_e8
        return list(groups.items())


def number(value_e8: int) -> int | float:
    """Return a JSON number: whole won without a point, everything else as the shortest decimal (may use an exponent)."""
    whole, rest = divmod(value_e8, E8)
    return whole if not rest else value_e8 / E8


def _ask_bid(taker_side: Side) -> str:
    return "BID" if taker_side is Side.BUY else "ASK"


def _set(book: TruthBook, row: dict[str, str]) -> None:
    for side, price, size in ((book.asks, "ap", "as"), (book.bids, "bp", "bs")):
        if parse_e8(row[price]):
            side.set(parse_e8(row[price]), parse_e8(row[size]))
