"""Compares what answers say of orders with what the private stream delivered, to notice a stream that is silent. Pure.

Source: issue 3 and pains row 11: a stream can be open, answer pings and deliver nothing. Every state that an answer tells must
come by the stream too, within a limit. Refuses to judge states older than the subscription, which owes nothing for them.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.orders import ClientOrderId
from arbitrage.venues.binance.orders_wire import OrderKey, OrderNews

ORDERS_REMEMBERED_MAX = 10_000
REPORT_LIMIT_NS = 3_000_000_000
"""After an answer told of a state, the stream may take so long."""


class Seen(msgspec.Struct, frozen=True):
    """How far an order has come, by one source."""

    total_e8: int
    is_ended: bool

    def covers(self, other: Seen) -> bool:
        """Tell whether this is at least as far."""
        return self.total_e8 >= other.total_e8 and (self.is_ended or not other.is_ended)


class OpenHere(msgspec.Struct, frozen=True):
    """An order that has not ended as far as we know."""

    client_order_id: ClientOrderId
    market: int
    total_e8: int
    """Filled as far as we were told, by any source."""


class StreamWatch:
    """What the stream showed, and what it still owes."""

    def __init__(self, limit_ns: int = REPORT_LIMIT_NS) -> None:
        assert limit_ns > 0, "a report may take some time"
        self._limit_ns = limit_ns
        self._seen: dict[OrderKey, Seen] = {}
        self._owed: dict[OrderKey, tuple[Seen, int]] = {}
        self.open: dict[OrderKey, OpenHere] = {}

    def reported(self, news: OrderNews, market: int) -> None:
        """The stream told of an order. Totals never go down, and an end is never undone: reports may come in any order."""
        before = self._seen.pop(news.key, Seen(0, False))
        seen = Seen(max(before.total_e8, news.total_e8), before.is_ended or news.is_ended)
        self._seen[news.key] = seen
        if len(self._seen) > ORDERS_REMEMBERED_MAX:
            self._seen.pop(next(iter(self._seen)))
        owed = self._owed.get(news.key)
        if owed is not None and seen.covers(owed[0]):
            del self._owed[news.key]
        self._note_open(news, market, is_ended=seen.is_ended)

    def answered(self, news: OrderNews, market: int, now_ns: int, *, is_owed: bool) -> None:
        """An answer told of an order; the stream owes the same when the state came after the subscription."""
        told = Seen(news.total_e8, news.is_ended)
        seen = self._seen.get(news.key)
        self._note_open(news, market, is_ended=news.is_ended or (seen is not None and seen.is_ended))
        if not is_owed or (seen is not None and seen.covers(told)):
            return
        owed = self._owed.get(news.key)
        if owed is None:
            self._owed[news.key] = (told, now_ns + self._limit_ns)
        elif not owed[0].covers(told):
            self._owed[news.key] = (told, owed[1])

    def silence(self, now_ns: int) -> str:
        """Return what the stream failed to deliver in time, or nothing."""
        for (symbol, order_id), (told, due_ns) in self._owed.items():
            if due_ns <= now_ns:
                state = "its end" if told.is_ended else "its state"
                return f"the stream is silent: {state} of {symbol} order {order_id} came by an answer alone"
        return ""

    def restart(self) -> None:
        """A new subscription owes nothing of before."""
        self._owed.clear()

    def _note_open(self, news: OrderNews, market: int, *, is_ended: bool) -> None:
        if is_ended:
            self.open.pop(news.key, None)
            return
        before = self.open.get(news.key)
        if before is not None or len(self.open) < ORDERS_REMEMBERED_MAX:
            total_e8 = max(news.total_e8, 0 if before is None else before.total_e8)
            self.open[news.key] = OpenHere(news.client_order_id, market, total_e8)
