"""Binance's stream messages and REST answers as events. Pure: no socket, no clock; never raises, whatever the bytes.

Source: Binance spot documentation, market streams and market data endpoints. Frames of the combined stream are routed by
the stream's name at its fixed place and decoded once; any other layout takes the careful way with the same result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from arbitrage.model.events import (
    BookDiff,
    BookSnapshot,
    FaultKind,
    FeedEvent,
    FeedFault,
    TopOfBook,
    TradePrint,
)
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.binance import rules
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

PREFIX = b'{"stream":"'
STREAM_KINDS = ("depth@100ms", "bookTicker", "aggTrade")
"""What is subscribed for every symbol."""
DEPTH_LIMITS = frozenset((5, 10, 20, 50, 100, 500, 1000, 5000))
"""A snapshot of exactly so many levels may have been cut by the venue, whatever was asked for."""
KNOWN_FIELDS = frozenset((
    "stream", "data", "event", "e", "E", "s", "U", "u", "b", "a", "B", "A", "t", "p", "q", "f", "l", "T", "m", "M",
    "id", "result", "error", "code", "msg",
))  # fmt: skip
"""Every field that the documentation names in the messages above."""


class _Depth(msgspec.Struct, gc=False, tag_field="e", tag="depthUpdate"):
    E: Milliseconds
    s: str
    U: Sequence64
    u: Sequence64
    b: list[tuple[Price, Quantity]]
    a: list[tuple[Price, Quantity]]


class _Ticker(msgspec.Struct, gc=False):
    u: Sequence64
    s: str
    b: PriceOrNone
    B: Quantity
    a: PriceOrNone
    A: Quantity


class _AggTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    E: Milliseconds
    s: str
    id: Sequence64 = msgspec.field(name="a")
    p: Price
    q: Quantity
    m: bool


class _Trade(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    E: Milliseconds
    s: str
    id: Sequence64 = msgspec.field(name="t")
    p: Price
    q: Quantity
    m: bool


class _DepthFrame(msgspec.Struct, gc=False):
    data: _Depth


class _TickerFrame(msgspec.Struct, gc=False):
    data: _Ticker


class _AggTradeFrame(msgspec.Struct, gc=False):
    data: _AggTrade


class _TradeFrame(msgspec.Struct, gc=False):
    data: _Trade


class _Envelope(msgspec.Struct):
    """Just enough of any message to tell what it is."""

    data: msgspec.Raw | UnsetType = UNSET
    event: msgspec.Raw | UnsetType = UNSET
    e: str | UnsetType = UNSET
    s: str | UnsetType = UNSET
    u: msgspec.Raw | UnsetType = UNSET
    result: msgspec.Raw | UnsetType = UNSET
    error: msgspec.Raw | UnsetType = UNSET
    code: msgspec.Raw | UnsetType = UNSET


class _VenueError(msgspec.Struct):
    code: int
    msg: str = ""


class _Snapshot(msgspec.Struct):
    last_update_id: Sequence64 = msgspec.field(name="lastUpdateId")
    bids: list[tuple[Price, Quantity]]
    asks: list[tuple[Price, Quantity]]


class _Time(msgspec.Struct):
    server_time: Milliseconds = msgspec.field(name="serverTime")


_read_depth_frame = msgspec.json.Decoder(_DepthFrame, strict=False).decode
_read_ticker_frame = msgspec.json.Decoder(_TickerFrame, strict=False).decode
_read_agg_trade_frame = msgspec.json.Decoder(_AggTradeFrame, strict=False).decode
_read_trade_frame = msgspec.json.Decoder(_TradeFrame, strict=False).decode
_read_depth = msgspec.json.Decoder(_Depth, strict=False).decode
_read_ticker = msgspec.json.Decoder(_Ticker, strict=False).decode
_read_agg_trade = msgspec.json.Decoder(_AggTrade, strict=False).decode
_read_trade = msgspec.json.Decoder(_Trade, strict=False).decode
_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_error = msgspec.json.Decoder(_VenueError).decode
_read_snapshot = msgspec.json.Decoder(_Snapshot, strict=False).decode
_read_time = msgspec.json.Decoder(_Time, strict=False).decode


def stream_names(symbol: str) -> tuple[str, ...]:
    """Return the streams of one symbol; Binance writes symbols in lower case there."""
    return tuple(f"{symbol.lower()}@{kind}" for kind in STREAM_KINDS)


def stream_path(symbols: Sequence[str]) -> str:
    """Return the path and query of a combined stream of all `symbols`."""
    return "/stream?streams=" + "/".join(name for symbol in symbols for name in stream_names(symbol))


class _Stream(ABC):
    """One stream of one market: what its frames become when the layout is the usual one."""

    __slots__ = ("market", "symbol")

    def __init__(self, market: int, symbol: str) -> None:
        self.market = market
        self.symbol = symbol

    @abstractmethod
    def read(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        """Decode a frame; an empty answer asks for the careful way."""


class _DepthStream(_Stream):
    __slots__ = ()

    def read(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        diff = _read_depth_frame(frame).data
        if diff.s != self.symbol or diff.u < diff.U:
            return ()
        return (BookDiff(at_ns, self.market, diff.U, diff.u, diff.b, diff.a, diff.E),)


class _TickerStream(_Stream):
    __slots__ = ()

    def read(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        top = _read_ticker_frame(frame).data
        if top.s != self.symbol:
            return ()
        return (TopOfBook(at_ns, self.market, top.u, top.b, top.B, top.a, top.A),)


class _AggTradeStream(_Stream):
    __slots__ = ()

    def read(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        trade = _read_agg_trade_frame(frame).data
        return (_print(trade, self.market, at_ns),) if trade.s == self.symbol else ()


class _TradeStream(_Stream):
    __slots__ = ()

    def read(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        trade = _read_trade_frame(frame).data
        return (_print(trade, self.market, at_ns),) if trade.s == self.symbol else ()


_STREAMS: Mapping[str, type[_Stream]] = {
    "depth@100ms": _DepthStream,
    "depth": _DepthStream,
    "bookTicker": _TickerStream,
    "aggTrade": _AggTradeStream,
    "trade": _TradeStream,
}


class BinanceCodec:
    """Bytes to events for the configured markets of one Binance-shaped venue."""

    def __init__(self, venue: Venue, markets: Mapping[str, int], settings: VenueSettings) -> None:
        self._venue = venue
        self._markets = dict(markets)
        self._settings = settings
        self._streams = {
            f"{symbol.lower()}@{kind}".encode(): stream(market, symbol)
            for symbol, market in markets.items()
            for kind, stream in _STREAMS.items()
        }
        self._readers: dict[str, Callable[[bytes, int], Sequence[FeedEvent]]] = {
            "depthUpdate": self._depth,
            "bookTicker": self._ticker,
            "aggTrade": self._agg_trade,
            "trade": self._trade,
            "serverShutdown": self._shutdown,
        }

    def decode(self, raw: Frame, at_ns: int) -> Sequence[FeedEvent]:
        """Turn one stream message into events; answers to our own requests become nothing, everything odd a `FeedFault`."""
        frame = raw if type(raw) is bytes else as_bytes(raw)
        stream = self._streams.get(frame[11 : frame.find(b'"', 11)]) if frame[:11] == PREFIX else None
        if stream is not None:
            try:
                events = stream.read(frame, at_ns)
            except DECODING_ERRORS:
                events = ()
            if events:
                return events if at_ns & SURVEY_MASK else (*events, *survey(frame, KNOWN_FIELDS, self._venue, at_ns))
        try:
            return self._decode_carefully(frame, at_ns)
        except DECODING_ERRORS as error:
            return (fault_from(error, self._venue, at_ns, None if stream is None else stream.market),)

    def decode_snapshot(self, raw: Frame, market: int, at_ns: int) -> BookSnapshot | FeedFault:
        """Read the answer of `GET /api/v3/depth` for a market; a side cut short by the market itself is marked whole."""
        try:
            answer = _read_snapshot(as_bytes(raw))
        except DECODING_ERRORS as error:
            return self._answer_fault(raw, error, at_ns, market)
        are_whole = [
            len(side) < self._settings.snapshot_levels and len(side) not in DEPTH_LIMITS for side in (answer.bids, answer.asks)
        ]
        return BookSnapshot(at_ns, market, answer.last_update_id, answer.bids, answer.asks, *are_whole)

    def decode_instruments(self, raw: Frame, at_ns: int) -> Sequence[FeedEvent]:
        """Read the answer of `GET /api/v3/exchangeInfo`: one `InstrumentsRead`, and a fault for each symbol not understood."""
        try:
            listed = rules.read_exchange_info(as_bytes(raw))
        except DECODING_ERRORS as error:
            return (self._answer_fault(raw, error, at_ns, None),)
        return rules.instruments_from(listed, self._venue, self._markets, self._settings, at_ns)

    def decode_time(self, raw: Frame, at_ns: int) -> int | FeedFault:
        """Read the answer of `GET /api/v3/time`: the venue's clock in ms."""
        try:
            return _read_time(as_bytes(raw)).server_time
        except DECODING_ERRORS as error:
            return self._answer_fault(raw, error, at_ns, None)

    def _decode_carefully(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        envelope = _read_envelope(frame)
        inner = envelope.event if envelope.data is UNSET else envelope.data
        if inner is not UNSET:
            frame = bytes(inner)
            envelope = _read_envelope(frame)
        kind = envelope.e
        if kind is UNSET:
            if envelope.error is not UNSET:
                return (self._venue_error(bytes(envelope.error), at_ns),)
            if envelope.code is not UNSET:
                return (self._venue_error(frame, at_ns),)
            if envelope.result is not UNSET:
                return ()
            kind = "bookTicker" if envelope.s is not UNSET and envelope.u is not UNSET else "no event name"
        reader = self._readers.get(kind)
        return (self._fault(FaultKind.UNKNOWN_EVENT, kind, at_ns),) if reader is None else reader(frame, at_ns)

    def _depth(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        diff = _read_depth(frame)
        market = self._markets.get(diff.s)
        if market is None:
            return (self._fault(FaultKind.UNKNOWN_SYMBOL, diff.s, at_ns),)
        if diff.u < diff.U:
            return (self._fault(FaultKind.OUT_OF_RANGE, f"first update id {diff.U} after last {diff.u}", at_ns, market),)
        return (BookDiff(at_ns, market, diff.U, diff.u, diff.b, diff.a, diff.E),)

    def _ticker(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        top = _read_ticker(frame)
        market = self._markets.get(top.s)
        if market is None:
            return (self._fault(FaultKind.UNKNOWN_SYMBOL, top.s, at_ns),)
        return (TopOfBook(at_ns, market, top.u, top.b, top.B, top.a, top.A),)

    def _agg_trade(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        return self._printed(_read_agg_trade(frame), at_ns)

    def _trade(self, frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        return self._printed(_read_trade(frame), at_ns)

    def _printed(self, trade: _AggTrade | _Trade, at_ns: int) -> Sequence[FeedEvent]:
        market = self._markets.get(trade.s)
        if market is None:
            return (self._fault(FaultKind.UNKNOWN_SYMBOL, trade.s, at_ns),)
        return (_print(trade, market, at_ns),)

    def _shutdown(self, _frame: bytes, at_ns: int) -> Sequence[FeedEvent]:
        return (self._fault(FaultKind.SERVER_SHUTDOWN, "the server announces its shutdown", at_ns),)

    def _fault(self, kind: FaultKind, detail: str, at_ns: int, market: int | None = None) -> FeedFault:
        return FeedFault(at_ns, self._venue, kind, short(detail), market)

    def _venue_error(self, frame: bytes, at_ns: int, market: int | None = None) -> FeedFault:
        error = _read_error(frame)
        return self._fault(FaultKind.VENUE_ERROR, f"{error.code}: {error.msg}", at_ns, market)

    def _answer_fault(self, raw: Frame, error: Exception, at_ns: int, market: int | None) -> FeedFault:
        """Name what is wrong with a REST answer: the venue's own error body, or the decoding error."""
        try:
            return self._venue_error(as_bytes(raw), at_ns, market)
        except DECODING_ERRORS:
            return fault_from(error, self._venue, at_ns, market)


def _print(trade: _AggTrade | _Trade, market: int, at_ns: int) -> TradePrint:
    """Make a print; `m` says that the buyer was the maker, so the taker sold."""
    side = Side.SELL if trade.m else Side.BUY
    return TradePrint(at_ns, market, trade.id, trade.p, trade.q, side, None, None, trade.E)
