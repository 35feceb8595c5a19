"""One depth walk for everybody: what 50,000 USDT bring between two venues, in both directions. Knows no library's book."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

NOTIONAL = 50_000
KEPT_PER_10000 = 9_985
"""What both venues' taker fees leave of 10,000: 0.10 % and 0.05 %."""


class Ladders:
    """Both sides of one book, as functions that give (price, quantity) best first."""

    __slots__ = ("asks", "bids")

    def __init__(self, bids: Callable[[], Iterable[Any]], asks: Callable[[], Iterable[Any]]) -> None:
        self.bids, self.asks = bids, asks


def vwap(levels: Iterable[Any], quote: Any, zero: Any) -> Any:
    """Return base obtained or needed for `quote` of quote currency, walking `(price, quantity)` levels; zero when too thin."""
    left, base = quote, zero
    for price, quantity in levels:
        total = price * quantity
        if total >= left:
            return base + left / price
        base += quantity
        left -= total
    return zero


def depth_walk(binance: Ladders, upbit: Ladders, fx: Ladders, one: Any) -> tuple[Any, Any]:
    """Return both directions' ratio after fees for 50,000 USDT: bought at one venue, sold at the other, won at its book.

    `one` is the number type's unit (float or Decimal).
    """
    quote, zero = one * NOTIONAL, one * 0
    kept = one * KEPT_PER_10000 / 10_000
    krw_for = _krw_for(fx, quote, zero)
    bought, sold = vwap(binance.asks(), quote, zero), vwap(binance.bids(), quote, zero)
    bought_krw, sold_krw = vwap(upbit.asks(), krw_for, zero), vwap(upbit.bids(), krw_for, zero)
    forward = bought / sold_krw * kept if sold_krw else zero
    backward = bought_krw / sold * kept if sold else zero
    return forward, backward


def _krw_for(fx: Ladders, quote: Any, zero: Any) -> Any:
    left, total = quote, zero
    for price, quantity in fx.asks():
        if quantity >= left:
            return total + left * price
        total += price * quantity
        left -= quantity
    return total
