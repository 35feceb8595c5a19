"""ccxt.pro's and cryptofeed's own message handlers, fed with the same frames and followed by the same depth walk.

Handlers are called as the libraries' own receive loops call them, without their sockets. Nothing here touches a network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import ccxt.pro as ccxt
import orjson
from cryptofeed.defines import BINANCE, L2_BOOK, UPBIT
from cryptofeed.exchanges import Binance, Upbit
from cryptofeed.symbols import Symbols
from cryptofeed.types import OrderBook

from bench.frames import Frame, Universe
from bench.walk import Ladders


class Silent:
    """What ccxt.pro's handlers touch of their client."""

    url = "wss://loopback/ws/0"

    def __init__(self) -> None:
        self.subscriptions: dict[str, Any] = {}
        self.rejected: list[Any] = []

    def resolve(self, value: Any, message_hash: str) -> None:
        """Take a result; nobody waits."""

    def reject(self, error: Any, message_hash: str | None = None) -> None:
        self.rejected.append(error)


def _binance_market(symbol: str) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
    ]
    return {
        "symbol": symbol, "status": "TRADING", "baseAsset": symbol.removesuffix("USDT"), "quoteAsset": "USDT",
        "filters": filters,
        "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8, "permissions": [], "permissionSets": [["SPOT"]],
        "orderTypes": ["LIMIT"], "isSpotTradingAllowed": True,
    }  # fmt: skip


class CcxtPro:
    """ccxt.pro: `handle_message` of binance and upbit."""

    name = "ccxt.pro"
    one = 1.0

    def __init__(self, universe: Universe) -> None:
        self.binance, self.upbit = ccxt.binance(), ccxt.upbit()
        self.binance.options.update(crossMarginPairsData=[], isolatedMarginPairsData=[])
        self.binance.set_markets(self.binance.parse_markets([_binance_market(s) for s in universe.binance_symbols]))
        markets = [
            {"market": code, "korean_name": "x", "english_name": "x", "market_event": {}} for code in universe.upbit_codes
        ]
        self.upbit.set_markets(self.upbit.parse_markets(markets))
        self.clients = {"binance": Silent(), "upbit": Silent()}
        asyncio.run(self._synchronise(universe))

    async def _synchronise(self, universe: Universe) -> None:
        for symbol in universe.binance_symbols:
            snapshot = json.loads(universe.snapshots[symbol])
            unified = self.binance.safe_symbol(symbol)
            book = self.binance.order_book({}, 5000)
            book.reset(self.binance.parse_order_book(snapshot, unified))
            book["nonce"] = snapshot["lastUpdateId"]
            self.binance.orderbooks[unified] = book

    def handle(self, frame: Frame) -> None:
        """Decode and book one frame the way the library's receive loop does."""
        exchange = self.binance if frame.venue == "binance" else self.upbit
        exchange.handle_message(self.clients[frame.venue], orjson.loads(frame.raw_default))

    def books(self, name: str) -> tuple[Ladders, Ladders, Ladders]:
        """Return both venues' books of a coin and the won market, as (price, quantity) rows."""
        ours = [
            self.binance.orderbooks[f"{name}/USDT"],
            self.upbit.orderbooks[f"{name}/KRW"],
            self.upbit.orderbooks["USDT/KRW"],
        ]
        on_binance, on_upbit, fx = (_as_they_are(book) for book in ours)
        return on_binance, on_upbit, fx


class Cryptofeed:
    """cryptofeed: `message_handler` of Binance and Upbit, Decimal books."""

    name = "cryptofeed"
    one = Decimal(1)

    def __init__(self, universe: Universe) -> None:
        binance_map = {f"{coin.name}-USDT": coin.binance_symbol for coin in universe.coins}
        upbit_map = {f"{code[4:]}-KRW": code for code in universe.upbit_codes}
        Symbols.set(BINANCE, binance_map, {"instrument_type": {}})
        Symbols.set(UPBIT, upbit_map, {"instrument_type": {}})

        async def ignore(book: Any, receipt: float) -> None:
            """Take the callback; the walk follows outside."""

        self.binance = Binance(symbols=list(binance_map), channels=[L2_BOOK], callbacks={L2_BOOK: ignore})
        self.upbit = Upbit(symbols=list(upbit_map), channels=[L2_BOOK], callbacks={L2_BOOK: ignore})
        for coin in universe.coins:
            snapshot = json.loads(universe.snapshots[coin.binance_symbol])
            pair = f"{coin.name}-USDT"
            self.binance.last_update_id[pair] = snapshot["lastUpdateId"]
            sides = {side: {Decimal(p): Decimal(q) for p, q in snapshot[side]} for side in ("bids", "asks")}
            self.binance._l2_book[pair] = OrderBook(BINANCE, pair, bids=sides["bids"], asks=sides["asks"])

    def handle(self, frame: Frame) -> None:
        """Run the coroutine to its end by hand: it never waits once its snapshot is there."""
        feed = self.binance if frame.venue == "binance" else self.upbit
        work = feed.message_handler(frame.raw.decode(), None, 0.0)
        try:
            work.send(None)
        except StopIteration:
            return
        raise AssertionError("cryptofeed's handler waited for something")

    def books(self, name: str) -> tuple[Ladders, Ladders, Ladders]:
        """Return both venues' books of a coin and the won market, as (price, quantity) rows."""
        ours = (
            self.binance._l2_book[f"{name}-USDT"],
            self.upbit._l2_book[f"{name}-KRW"],
            self.upbit._l2_book["USDT-KRW"],
        )
        on_binance, on_upbit, fx = (_by_index(book.book) for book in ours)
        return on_binance, on_upbit, fx


def _as_they_are(book: Any) -> Ladders:
    """Read ccxt's book: its sides are lists of rows."""
    return Ladders(lambda: book["bids"], lambda: book["asks"])


def _by_index(book: Any) -> Ladders:
    """Read cryptofeed's book: its sides give one row for each index."""

    def rows(side: Any) -> Iterable[Any]:
        return (side.index(position) for position in range(len(side)))

    return Ladders(lambda: rows(book.bids), lambda: rows(book.asks))
