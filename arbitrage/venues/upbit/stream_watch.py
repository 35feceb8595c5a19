"""What Upbit's private stream told of each order against what REST shows, so that a silent stream is found out. Pure.

A stream can be open, answer pings and deliver nothing (pains row 11). Every change that REST shows must have come by the stream
within a limit. Refuses to judge what happened before the stream was up: it owes nothing for that.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.orders import ClientOrderId
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.upbit.amounts import e8
from arbitrage.venues.upbit.orders_wire import OrderPicture
from arbitrage.venues.upbit.private_wire import OrderWord

ORDERS_REMEMBERED_MAX = 10_000
LOOK_NS = 2 * NS_PER_S
"""An order that has not ended by the stream is looked at by REST this often."""
OWED_NS = 5 * NS_PER_S
"""What REST showed may come by the stream so much later. With a look every two seconds silence is known within eight."""
ABSENT_NS = 120 * NS_PER_S
"""An order that REST did not know for so long after it was sent is no longer looked for."""


class Watched(msgspec.Struct):
    """One order."""

    client_order_id: ClientOrderId
    market: int
    begun_ns: int
    looked_ns: int
    is_heard: bool = False
    """The stream said something of it, or was not up when it could have."""
    told_e8: int = 0
    is_told_ended: bool = False
    shown_e8: int = 0
    is_shown: bool = False
    is_shown_ended: bool = False
    owed_since_ns: int | None = None
    owes_nothing_yet: bool = False
    """The stream came up after this order: the next picture is what it starts from."""


class StreamWatch:
    """The orders that have not ended by the stream."""

    def __init__(self) -> None:
        self._orders: dict[ClientOrderId, Watched] = {}
        self._settled: dict[ClientOrderId, None] = {}
        """Orders that ended by the stream, the newest: late words about them mean nothing."""

    @property
    def open(self) -> list[Watched]:
        """Return the orders that the stream has not ended."""
        return list(self._orders.values())

    def begin(self, client_order_id: ClientOrderId, market: int, now_ns: int) -> None:
        """An order is being sent."""
        if client_order_id in self._orders or client_order_id in self._settled:
            return
        self._orders[client_order_id] = Watched(client_order_id, market, now_ns, now_ns)
        if len(self._orders) > ORDERS_REMEMBERED_MAX:
            del self._orders[next(iter(self._orders))]

    def accepted(self, client_order_id: ClientOrderId, now_ns: int) -> None:
        """The venue took it: the stream owes a word about it."""
        order = self._orders.get(client_order_id)
        if order is not None:
            order.is_shown = True
            self._weigh(order, now_ns)

    def forget(self, client_order_id: ClientOrderId) -> None:
        """It was refused, or never sent."""
        self._orders.pop(client_order_id, None)

    def heard(self, word: OrderWord, market: int, now_ns: int, *, is_end: bool) -> bool:
        """The stream told of an order; return whether it skipped a fill of it."""
        client_order_id = ClientOrderId(word.identifier)
        self.begin(client_order_id, market, now_ns)
        order = self._orders.get(client_order_id)
        if order is None:
            return False
        fill_e8 = 0 if word.trade is None else e8(word.trade.quantity)
        has_gap = not order.owes_nothing_yet and word.executed_e8 > order.told_e8 + fill_e8
        order.is_heard = True
        order.told_e8 = max(order.told_e8, word.executed_e8)
        order.is_told_ended = order.is_told_ended or is_end
        self._weigh(order, now_ns)
        return has_gap

    def has_news(self, picture: OrderPicture, client_order_id: ClientOrderId, now_ns: int) -> bool:
        """Tell whether REST shows more of an order than was told; its fills are then asked for, and `shown` when told."""
        order = self._orders.get(client_order_id)
        if order is None:
            return False
        if picture.executed_e8 <= order.told_e8 and not (picture.is_ended and not order.is_told_ended):
            self.shown(picture, client_order_id, order.market, now_ns)
            return False
        if not order.owes_nothing_yet:
            self._note_shown(order, picture)
            self._weigh(order, now_ns)
        return True

    def shown(self, picture: OrderPicture, client_order_id: ClientOrderId, market: int, now_ns: int) -> None:
        """All that REST showed of an order has been told."""
        is_new = client_order_id not in self._orders
        self.begin(client_order_id, market, now_ns)
        order = self._orders.get(client_order_id)
        if order is None:
            return
        order.looked_ns = now_ns
        self._note_shown(order, picture)
        if is_new or order.owes_nothing_yet:
            order.owes_nothing_yet = False
            order.is_heard = True
            order.told_e8 = max(order.told_e8, picture.executed_e8)
            order.is_told_ended = order.is_told_ended or picture.is_ended
        self._weigh(order, now_ns)

    def absent(self, client_order_id: ClientOrderId, now_ns: int) -> None:
        """REST does not know it. After a long time it is taken as never arrived."""
        order = self._orders.get(client_order_id)
        if order is None:
            return
        order.looked_ns = now_ns
        if not order.is_shown and not order.is_heard and now_ns - order.begun_ns > ABSENT_NS:
            self.forget(client_order_id)

    def link_up(self) -> None:
        """A stream begins: what happened before is learnt by REST, at once, and not owed."""
        for order in self.open:
            order.owed_since_ns = None
            order.owes_nothing_yet = True
            order.looked_ns = 0

    def due(self, now_ns: int, limit: int) -> list[Watched]:
        """Return the orders to look at now, the longest unseen first, and count them as looked at."""
        waiting = [order for order in self._orders.values() if now_ns - order.looked_ns >= LOOK_NS]
        chosen = sorted(waiting, key=lambda order: order.looked_ns)[:limit]
        for order in chosen:
            order.looked_ns = now_ns
        return chosen

    def look_now(self) -> None:
        """Let every open order be looked at: something happened that no word explains."""
        for order in self.open:
            order.looked_ns = 0

    def silence(self, now_ns: int) -> str:
        """Return what the stream failed to deliver in time, or nothing."""
        for order in self._orders.values():
            if order.owed_since_ns is not None and now_ns - order.owed_since_ns >= OWED_NS:
                what = "its end" if order.is_shown_ended else "a fill" if order.shown_e8 > order.told_e8 else "its acceptance"
                return f"the private stream is silent: {what} of order {order.client_order_id} came by REST alone"
        return ""

    def _note_shown(self, order: Watched, picture: OrderPicture) -> None:
        order.is_shown = True
        order.shown_e8 = max(order.shown_e8, picture.executed_e8)
        order.is_shown_ended = order.is_shown_ended or picture.is_ended

    def _weigh(self, order: Watched, now_ns: int) -> bool:
        """Tell whether the stream said all that REST showed; note since when it owes, and settle what it ended."""
        is_even = order.is_heard and order.told_e8 >= order.shown_e8 and (order.is_told_ended or not order.is_shown_ended)
        if not is_even:
            order.owed_since_ns = now_ns if order.owed_since_ns is None else order.owed_since_ns
            return False
        order.owed_since_ns = None
        if order.is_told_ended:
            del self._orders[order.client_order_id]
            self._settled[order.client_order_id] = None
            if len(self._settled) > ORDERS_REMEMBERED_MAX:
                del self._settled[next(iter(self._settled))]
        return True
