"""Upbit's stream messages and REST answers as events. Pure: no socket, no clock; never raises, whatever the bytes.

Source: Upbit developer documentation, WebSocket and quotation pages. Frames are binary or text, with long or short keys,
alone or in lists; the usual layouts are known by their first bytes and decoded once, any other takes the careful way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from arbitrage.model.events import (
    BookFull,
    BookUnit,
    FaultKind,
    FeedEvent,
    FeedFault,
    LinkAlive,
    TradePrint,
)
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.upbit import rules
from arbitrage.venues.wire import (
    DECODING_ERRORS,
    SURVEY_MASK,
    Frame,
    Milliseconds,
    Price,
    PriceOrNone,
    Quantity,
    Sequence64,
    as_bytes,
    fault_from,
    short,
    survey,
)

SIMPLE_BOOK = b'{"ty":"orderbook"'
SIMPLE_TRADE = b'{"ty":"trade"'
DEFAULT_BOOK = b'{"type":"orderbook"'
LISTED_MESSAGES_MAX = 1_000
"""Messages in one list-format frame; a longer one is refused whole."""
SIDES = {"BID": Side.BUY, "ASK": Side.SELL}
"""`ask_bid` is the taker's side: BID means that a buyer hit the ask."""
_UNIT_KEYS = {"ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs"}
_BOOK_KEYS = {"code": "cd", "timestamp": "tms", "orderbook_units": "obu", "stream_type": "st", "level": "lv"}
_TRADE_KEYS = {
    "code": "cd", "timestamp": "tms", "trade_price": "tp", "trade_volume": "tv", "ask_bid": "ab", "sequential_id": "sid",
    "best_ask_price": "bap", "best_bid_price": "bbp",
}  # fmt: skip

KNOWN_FIELDS = frozenset((
    *_UNIT_KEYS, *_BOOK_KEYS, *_TRADE_KEYS, *_UNIT_KEYS.values(), *_BOOK_KEYS.values(), *_TRADE_KEYS.values(),
    "type", "ty", "total_ask_size", "tas", "total_bid_size", "tbs", "prev_closing_price", "pcp", "change", "c",
    "change_price", "cp", "trade_date", "td", "trade_time", "ttm", "trade_timestamp", "ttms", "best_ask_size", "bas",
    "best_bid_size", "bbs", "status", "error", "name", "message", "method", "mthd", "result", "rslt", "ticket",
    "tckt", "codes", "cds",
))  # fmt: skip
"""Every field, long and short, that the documentation names in these messages."""


class _Unit(BookUnit, gc=False):
    ask_price: PriceOrNone
    bid_price: PriceOrNone
    ask_size: Quantity
    bid_size: Quantity


class _SimpleUnit(BookUnit, gc=False, rename=_UNIT_KEYS):
    ask_price: PriceOrNone
    bid_price: PriceOrNone
    ask_size: Quantity
    bid_size: Quantity


class _Book(msgspec.Struct, gc=False):
    code: str
    timestamp: Milliseconds
    orderbook_units: list[_Unit]
    stream_type: str = "REALTIME"
    level: float = 0.0


class _SimpleBook(msgspec.Struct, gc=False, rename=_BOOK_KEYS):
    code: str
    timestamp: Milliseconds
    orderbook_units: list[_SimpleUnit]
    stream_type: str = "REALTIME"
    level: float = 0.0


class _Trade(msgspec.Struct, gc=False):
    code: str
    timestamp: Milliseconds
    trade_price: Price
    trade_volume: Quantity
    ask_bid: str
    sequential_id: Sequence64
    best_ask_price: PriceOrNone | None = None
    best_bid_price: PriceOrNone | None = None


class _SimpleTrade(msgspec.Struct, gc=False, rename=_TRADE_KEYS):
    code: str
    timestamp: Milliseconds
    trade_price: Price
    trade_volume: Quantity
    ask_bid: str
    sequential_id: Sequence64
    best_ask_price: PriceOrNone | None = None
    best_bid_price: PriceOrNone | None = None


class _Envelope(msgspec.Struct):
    """Just enough of any message to tell what it is."""

    type: str | UnsetType = UNSET
    ty: str | UnsetType = UNSET
    error: msgspec.Raw | UnsetType = UNSET
    status: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    mthd: str | UnsetType = UNSET


class _VenueError(msgspec.Struct):
    """Market data endpoints name errors by number, the others by word."""

    name: str | int
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _VenueError


_read_book = msgspec.json.Decoder(_Book, strict=False).decode
_read_simple_book = msgspec.json.Decoder(_SimpleBook, strict=False).decode
_read_trade = msgspec.json.Decoder(_Trade, strict=False).decode
_read_simple_trade = msgspec.json.Decoder(_SimpleTrade, strict=False).decode
_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_error = msgspec.json.Decoder(_VenueError).decode
_read_error_body = msgspec.json.Decoder(_ErrorBody).decode
_read_list = msgspec.json.Decoder(Annotated[list[msgspec.Raw], Meta(max_length=LISTED_MESSAGES_MAX)]).decode


class UpbitCodec:
    """Bytes to events for the configured markets of one Upbit-shaped venue."""

    def __init__(self, venue: Venue, markets: Mapping[str, int], settings: VenueSettings) -> None:
        self._venue = venue
        self._markets = dict(markets)
        self._settings = settings

    def decode(self, raw: Frame, at_ns: int, connection: str = "") -> Sequence[FeedEvent]:
        """Turn one message into events; `connection` names the link that a status line keeps alive."""
        frame = raw if type(raw) is bytes else as_bytes(raw)
        try:
            if frame.startswith(SIMPLE_BOOK):
                events = self._book(_read_simple_book(frame), at_ns)
            elif frame.startswith(SIMPLE_TRADE):
                events = self._trade(_read_simple_trade(frame), at_ns)
            elif frame.startswith(DEFAULT_BOOK):
                events = self._book(_read_book(frame), at_ns)
            elif frame.lstrip()[:1] != b"[":
                events = self._decode_carefully(frame, at_ns, connection)
            else:
                messages = _read_list(frame)
                events = [event for message in messages for event in self._decode_listed(bytes(message), at_ns, connection)]
        except DECODING_ERRORS as error:
            return (fault_from(error, self._venue, at_ns),)
        return events if at_ns & SURVEY_MASK else (*events, *survey(frame, KNOWN_FIELDS, self._venue, at_ns))

    def decode_instruments(self, markets_raw: Frame, rules_raw: Frame, at_ns: int) -> Sequence[FeedEvent]:
        """Read `GET /v1/market/all` and `GET /v1/orderbook/instruments`: one `InstrumentsRead` and a fault for each oddity."""
        try:
            listed = rules.read_markets(as_bytes(markets_raw))
        except DECODING_ERRORS as error:
            return (self._answer_fault(markets_raw, error, at_ns),)
        try:
            ticks = rules.read_ticks(as_bytes(rules_raw))
        except DECODING_ERRORS as error:
            return (self._answer_fault(rules_raw, error, at_ns),)
        return rules.instruments_from(rules.Answers(listed, ticks, at_ns), self._venue, self._markets, self._settings)

    def subscription(self, ticket: str, symbols: Sequence[str] | None = None) -> str:
        """Write the one message that subscribes the whole wanted set: a second message would replace the first."""
        wanted = list(self._markets if symbols is None else symbols)
        books = [f"{symbol}.{self._settings.book_levels}" for symbol in wanted]
        message = [
            {"ticket": ticket},
            {"type": "orderbook", "codes": books, "level": 0},
            {"type": "trade", "codes": wanted},
            {"format": "SIMPLE"},
        ]
        return msgspec.json.encode(message).decode()

    def _decode_listed(self, frame: bytes, at_ns: int, connection: str) -> Sequence[FeedEvent]:
        """Decode one message of a list; a bad one does not take its neighbours with it."""
        try:
            return self._decode_carefully(frame, at_ns, connection)
        except DECODING_ERRORS as error:
            return (fault_from(error, self._venue, at_ns),)

    def _decode_carefully(self, frame: bytes, at_ns: int, connection: str) -> Sequence[FeedEvent]:
        envelope = _read_envelope(frame)
        is_simple = envelope.ty is not UNSET
        kind = envelope.ty if is_simple else envelope.type
        if kind == "orderbook":
            return self._book(_read_simple_book(frame) if is_simple else _read_book(frame), at_ns)
        if kind == "trade":
            return self._trade(_read_simple_trade(frame) if is_simple else _read_trade(frame), at_ns)
        if envelope.error is not UNSET:
            return (self._venue_error(_read_error(bytes(envelope.error)), at_ns),)
        if envelope.status is not UNSET:
            alive = LinkAlive(at_ns, self._venue, connection)
            if envelope.status == "UP":
                return (alive,)
            return (alive, self._fault(FaultKind.UNKNOWN_FIELD_VALUE, f"status {envelope.status}", at_ns))
        if envelope.method is not UNSET or envelope.mthd is not UNSET:
            return ()
        name = "no message type" if kind is UNSET else kind
        return (self._fault(FaultKind.UNKNOWN_EVENT, name, at_ns),)

    def _book(self, book: _Book | _SimpleBook, at_ns: int) -> Sequence[FeedEvent]:
        market = self._markets.get(book.code)
        if market is None:
            market = self._markets.get(book.code.partition(".")[0])
            if market is None:
                return (self._fault(FaultKind.UNKNOWN_SYMBOL, book.code, at_ns),)
        if book.level:
            return (self._fault(FaultKind.OUT_OF_RANGE, f"prices grouped by {book.level}", at_ns, market),)
        units: list[BookUnit] = book.orderbook_units  # type: ignore[assignment]  # list of a subclass, never appended to
        stream_type = book.stream_type
        picture = BookFull(at_ns, market, units, book.timestamp, stream_type == "SNAPSHOT")
        if stream_type in ("REALTIME", "SNAPSHOT"):
            return (picture,)
        return (picture, self._fault(FaultKind.UNKNOWN_FIELD_VALUE, f"stream_type {stream_type}", at_ns, market))

    def _trade(self, trade: _Trade | _SimpleTrade, at_ns: int) -> Sequence[FeedEvent]:
        market = self._markets.get(trade.code)
        if market is None:
            return (self._fault(FaultKind.UNKNOWN_SYMBOL, trade.code, at_ns),)
        side = SIDES.get(trade.ask_bid)
        if side is None:
            return (self._fault(FaultKind.UNKNOWN_FIELD_VALUE, f"ask_bid {trade.ask_bid}", at_ns, market),)
        event = TradePrint(
            at_ns,
            market,
            trade.sequential_id,
            trade.trade_price,
            trade.trade_volume,
            side,
            trade.best_bid_price,
            trade.best_ask_price,
            trade.timestamp,
        )
        return (event,)

    def _fault(self, kind: FaultKind, detail: str, at_ns: int, market: int | None = None) -> FeedFault:
        return FeedFault(at_ns, self._venue, kind, short(detail), market)

    def _venue_error(self, error: _VenueError, at_ns: int) -> FeedFault:
        return self._fault(FaultKind.VENUE_ERROR, f"{error.name}: {error.message}", at_ns)

    def _answer_fault(self, raw: Frame, error: Exception, at_ns: int) -> FeedFault:
        """Name what is wrong with a REST answer: the venue's own error body, or the decoding error."""
        try:
            return self._venue_error(_read_error_body(as_bytes(raw)).error, at_ns)
        except DECODING_ERRORS:
            return fault_from(error, self._venue, at_ns)
