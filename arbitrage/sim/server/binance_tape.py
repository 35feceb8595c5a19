"""The trades of one Binance market as they are asked for afterwards: the newest ones and the day's figures. Makes no trade.

The day begins when the venue starts and has no end. Reference sheet, sections 5 and 10.
"""

from __future__ import annotations

from collections import deque

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, notional_down_e8
from arbitrage.sim.scenarios.changes import LevelE8
from arbitrage.sim.server.binance_wire import decimal_text

TRADES_REMEMBERED_MAX = 1_000
DAY_MS = 86_400_000
Row = dict[str, object]
TICKER_KEYS = {
    "symbol": "s", "priceChange": "p", "priceChangePercent": "P", "weightedAvgPrice": "w", "prevClosePrice": "x",
    "lastPrice": "c", "lastQty": "Q", "bidPrice": "b", "bidQty": "B", "askPrice": "a", "askQty": "A", "openPrice": "o",
    "highPrice": "h", "lowPrice": "l", "volume": "v", "quoteVolume": "q", "openTime": "O", "closeTime": "C",
    "firstId": "F", "lastId": "L", "count": "n",
}  # fmt: skip
"""The day's figures by REST, and what the stream calls them."""
MINI_NAMES = ("symbol", "lastPrice", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume")
TICKERS = {
    "ticker": ("24hrTicker", TICKER_KEYS),
    "miniTicker": ("24hrMiniTicker", {name: TICKER_KEYS[name] for name in MINI_NAMES}),
}
"""By stream: the event's name, and its figures with their keys."""


class Taped(msgspec.Struct, frozen=True):
    """One trade."""

    trade_id: int
    price_e8: int
    quantity_e8: int
    taker_side: Side
    at_ms: int


class BinanceTape:
    """One market's trades."""

    def __init__(self) -> None:
        self.trades: deque[Taped] = deque(maxlen=TRADES_REMEMBERED_MAX)
        self._count = 0
        self._first: Taped | None = None
        self._high_e8 = self._low_e8 = self._volume_e8 = self._value_e8 = 0

    @property
    def last_price_e8(self) -> int:
        """The latest trade's price; zero before the first."""
        return self.trades[-1].price_e8 if self.trades else 0

    def add(self, trade: Taped) -> None:
        """Take one trade."""
        self.trades.append(trade)
        self._first = self._first or trade
        self._count += 1
        self._high_e8 = max(self._high_e8, trade.price_e8)
        self._low_e8 = min(self._low_e8 or trade.price_e8, trade.price_e8)
        self._volume_e8 += trade.quantity_e8
        self._value_e8 += notional_down_e8(trade.price_e8, trade.quantity_e8)

    def rows(self, limit: int) -> list[Row]:
        """Return the newest trades as REST has them, oldest first."""
        return [
            {
                "id": trade.trade_id, "price": decimal_text(trade.price_e8), "qty": decimal_text(trade.quantity_e8),
                "quoteQty": decimal_text(notional_down_e8(trade.price_e8, trade.quantity_e8)), "time": trade.at_ms,
                "isBuyerMaker": trade.taker_side is Side.SELL, "isBestMatch": True,
            }
            for trade in list(self.trades)[-limit:]
        ]  # fmt: skip

    def aggregates(self, first_id: int, window_ms: tuple[int, int]) -> list[Row]:
        """Return trades as `aggTrades` has them, oldest first: here each is a whole taker order at its price."""
        return [
            {
                "a": trade.trade_id, "p": decimal_text(trade.price_e8), "q": decimal_text(trade.quantity_e8),
                "f": trade.trade_id, "l": trade.trade_id, "T": trade.at_ms, "m": trade.taker_side is Side.SELL, "M": True,
            }
            for trade in self.trades
            if trade.trade_id >= first_id and window_ms[0] <= trade.at_ms <= window_ms[1]
        ]  # fmt: skip

    def day(self, symbol: str, top: tuple[LevelE8, LevelE8], now_ms: int) -> Row:
        """Return the day's figures as `ticker/24hr` has them."""
        (bid, bid_quantity), (ask, ask_quantity) = top
        last_e8 = self.last_price_e8 or bid
        open_e8 = self._first.price_e8 if self._first else last_e8
        change_e8 = last_e8 - open_e8
        average_e8 = self._value_e8 * E8 // self._volume_e8 if self._volume_e8 else 0
        amounts = {
            "priceChange": change_e8, "weightedAvgPrice": average_e8, "prevClosePrice": open_e8, "lastPrice": last_e8,
            "lastQty": self.trades[-1].quantity_e8 if self.trades else 0, "bidPrice": bid, "bidQty": bid_quantity,
            "askPrice": ask, "askQty": ask_quantity, "openPrice": open_e8, "highPrice": self._high_e8 or last_e8,
            "lowPrice": self._low_e8 or last_e8, "volume": self._volume_e8, "quoteVolume": self._value_e8,
        }  # fmt: skip
        figures: Row = {"symbol": symbol, **{name: decimal_text(amount_e8) for name, amount_e8 in amounts.items()}}
        figures["priceChangePercent"] = f"{100 * change_e8 / open_e8 if open_e8 else 0.0:.3f}"
        figures |= {"openTime": now_ms - DAY_MS, "closeTime": now_ms, "count": self._count}
        first, last = (self._first.trade_id, self.trades[-1].trade_id) if self._first else (-1, -1)
        return figures | {"firstId": first, "lastId": last}
