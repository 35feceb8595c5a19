"""Short constructors for the events and instruments that the market tests speak of."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.market.board import COUNTED
from arbitrage.market.diff_book import DiffBook
from arbitrage.market.full_book import FullBook
from arbitrage.model.effects import Effect, Report, Resync
from arbitrage.model.events import BookDiff, BookFull, BookSnapshot, BookUnit, Level, TopOfBook, TradePrint
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.settings import MarketDataSettings

MS = 1_000_000
SETTINGS = MarketDataSettings()
BINANCE, UPBIT = Venue("binance"), Venue("upbit")


def diff_book(settings: MarketDataSettings = SETTINGS) -> DiffBook:
    return DiffBook(0, settings, dict.fromkeys(COUNTED, 0))


def full_book(settings: MarketDataSettings = SETTINGS) -> FullBook:
    return FullBook(0, settings, dict.fromkeys(COUNTED, 0))


def diff(
    first_id: int, last_id: int, bids: Sequence[Level] = (), asks: Sequence[Level] = (), *, market: int = 0, at_ns: int = 1
) -> BookDiff:
    return BookDiff(at_ns, market, first_id, last_id, list(bids), list(asks), at_ns // MS)


def snapshot(
    last_id: int,
    bids: Sequence[Level] = ((99.0, 1.0), (98.0, 2.0)),
    asks: Sequence[Level] = ((101.0, 1.0), (102.0, 2.0)),
    *,
    is_whole: bool = False,
    market: int = 0,
) -> BookSnapshot:
    return BookSnapshot(1, market, last_id, list(bids), list(asks), is_whole, is_whole)


def top(
    update_id: int,
    bid: Level = (99.0, 1.0),
    ask: Level = (101.0, 1.0),
    *,
    at_ns: int = 1,
    market: int = 0,
) -> TopOfBook:
    return TopOfBook(at_ns, market, update_id, bid[0], bid[1], ask[0], ask[1])


def synced(settings: MarketDataSettings = SETTINGS, **snapshot_options: bool) -> DiffBook:
    """A book at update id 10 with the default snapshot, bridged."""
    book = diff_book(settings)
    book.link_up()
    book.apply(diff(8, 10))
    book.start_from(snapshot(10, **snapshot_options))
    assert book.flaw is None
    return book


def unit(bid: float, ask: float, bid_size: float = 1.0, ask_size: float = 1.0) -> BookUnit:
    return BookUnit(ask_price=ask, bid_price=bid, ask_size=ask_size, bid_size=bid_size)


def picture(venue_ms: int, *units: BookUnit, at_ns: int = 1, market: int = 0) -> BookFull:
    return BookFull(at_ns, market, list(units), venue_ms, False)


def trade(venue_ms: int, bid: float | None, ask: float | None, *, at_ns: int = 1, market: int = 0) -> TradePrint:
    return TradePrint(at_ns, market, 1, 100.0, 1.0, Side.BUY, bid, ask, venue_ms)


def resyncs(effects: Sequence[Effect]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, Resync)]


def reports(effects: Sequence[Effect]) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, Report)]


BTCUSDT = Instrument(
    id=0,
    venue=BINANCE,
    symbol="BTCUSDT",
    base=Asset("BTC"),
    quote=Asset("USDT"),
    ticks=TickTable.single(E8 // 100),
    lot_e8=1_000,
    quantity_e8_min=1_000,
    quantity_e8_max=9_000 * E8,
    notional_e8_min=5 * E8,
    status=TradingStatus.TRADING,
    fees=FeeSchedule(1000, 1000, FeePayment.RECEIVED),
)
KRWBTC = msgspec.structs.replace(
    BTCUSDT, id=1, venue=UPBIT, symbol="KRW-BTC", quote=Asset("KRW"), fees=FeeSchedule(500, 500, FeePayment.QUOTE)
)
