"""Carries out what concerns one order at Upbit by signed REST: place, cancel, ask, look. Never places an order a second time.

Source: reference upbit 6, 7, 9. The answer to a placement never tells the fill; a cancel's answer shows the order still
waiting; both are only the venue's word that it will act. A refusal that speaks of the identifier says that it was seen before:
what became of the order is then unknown, not refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from arbitrage.model.events import (
    FaultKind,
    FeedFault,
    MarketClosed,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderUnanswered,
)
from arbitrage.model.orders import ClientOrderId, Fill, Order
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.trading import rejection
from arbitrage.venues.upbit.account_limits import CANCEL, ORDER, QUERY, TEST
from arbitrage.venues.upbit.fills import Fills
from arbitrage.venues.upbit.orders_wire import OrderPicture, OrdersCodec, VenueRefusal, order_pairs
from arbitrage.venues.upbit.signed_rest import Answered, Ask, Method, NotSent, Outcome, SignedRest
from arbitrage.venues.upbit.signing import Pairs
from arbitrage.venues.upbit.stream_watch import StreamWatch
from arbitrage.venues.upbit.terms import Terms
from arbitrage.venues.wiring import VenueContext

ANSWER_MS_MAX = 3_000
"""An order's answer that takes longer is counted as lost, whatever other requests may take."""
VALIDITY_UNSTATED_NS = 2 * NS_PER_S
"""How long an order that states no validity may wait for its budget."""
IDS_ASKED_MAX = 100
ANSWERS_MAX = 3
ANSWER_PAUSE_S = 0.2
"""An answer whose trades are not whole, or whose fees no rate explains, is asked for again so often and so soon."""
NOT_FOUND, MARKET_CLOSED = "order_not_found", "market_offline"
IDENTIFIER_WORDS = ("identifier", "duplicat", "\uc911\ubcf5")
"""Parts of a refusal that speaks of an identifier already used; the venue documents no name for it."""


class EntryParts(msgspec.Struct, frozen=True):
    """What order entry works with."""

    context: VenueContext
    symbols: Mapping[int, str]
    rest: SignedRest
    codec: OrdersCodec
    fills: Fills
    watch: StreamWatch
    terms: Terms
    counters: Counter[str]
    note_sent: Callable[[ClientOrderId], None]
    orders_wait_ns: Callable[[], int]


class _Placement(msgspec.Struct, eq=False):
    """A placement under way."""

    order: Order
    done: asyncio.Event
    is_sent: bool = False
    is_withdrawn: bool = False


class OrderEntry:
    """One account's orders by REST."""

    def __init__(self, parts: EntryParts) -> None:
        self._parts = parts
        self._context = parts.context
        self._venue = parts.context.venue
        self._clock = parts.context.wiring.clock
        self._emit = parts.context.wiring.sink
        self._timeout_s = min(ANSWER_MS_MAX, parts.context.settings.request_timeout_ms) / 1000
        self._placing: dict[ClientOrderId, _Placement] = {}
        self._asking: set[ClientOrderId] = set()

    async def place(self, order: Order) -> None:
        """Send an order once, unless its validity passes or it is cancelled before its first byte leaves."""
        if order.client_order_id in self._placing:
            self._parts.counters["placements_repeated"] += 1
            return
        placement = _Placement(order, asyncio.Event())
        self._placing[order.client_order_id] = placement
        try:
            await self._place(placement)
        finally:
            placement.done.set()
            del self._placing[order.client_order_id]

    async def cancel(self, client_order_id: ClientOrderId, market: int) -> None:
        """Ask for a cancel. The end is told by the stream, or by asking where the venue found nothing to cancel."""
        placement = self._placing.get(client_order_id)
        if placement is not None and not placement.is_sent:
            placement.is_withdrawn = True
            return
        outcome = await self._ask_cancel(client_order_id)
        if placement is not None and not placement.done.is_set() and _is_not_found(outcome):
            await placement.done.wait()
            outcome = await self._ask_cancel(client_order_id)
        if isinstance(outcome, Answered) and outcome.is_good:
            self._parts.counters["cancels_accepted"] += 1
            return
        if not _is_not_found(outcome):
            self._fault(f"cancel {client_order_id}: {outcome.words}", market)
        if not isinstance(outcome, NotSent):
            await self.query(client_order_id, market)

    async def query(self, client_order_id: ClientOrderId, market: int) -> None:
        """Ask what became of an order and tell all of it. A question already on its way serves both."""
        if client_order_id in self._asking:
            return
        self._asking.add(client_order_id)
        try:
            for attempt in range(ANSWERS_MAX):
                if attempt:
                    await self._parts.terms.learn(market)
                    await asyncio.sleep(ANSWER_PAUSE_S)
                if await self._query(client_order_id, market, is_last=attempt == ANSWERS_MAX - 1):
                    return
        finally:
            self._asking.discard(client_order_id)

    async def look(self) -> None:
        """Look at every order that the stream has not ended for a while; tell what REST knows beyond the stream."""
        watch = self._parts.watch
        due = {order.client_order_id: order.market for order in watch.due(self._clock(), IDS_ASKED_MAX)}
        if not due:
            return
        self._parts.counters["looks"] += 1
        outcome = await self._ask("GET", "/v1/orders/uuids", [("identifiers[]", name) for name in due], QUERY)
        pictures = self._read_orders(outcome, "look at open orders")
        if pictures is None:
            return
        now_ns = self._clock()
        shown = {ClientOrderId(picture.identifier): picture for picture in pictures}
        for client_order_id, market in due.items():
            if client_order_id not in shown:
                watch.absent(client_order_id, now_ns)
            elif watch.has_news(shown[client_order_id], client_order_id, now_ns):
                await self.query(client_order_id, market)

    async def try_order(self, order: Order) -> str:
        """Hand an order to the test endpoint; return "" or why it would not be taken."""
        outcome = await self._ask("POST", "/v1/orders/test", order_pairs(order, self._parts.symbols[order.market]), TEST)
        return "" if isinstance(outcome, Answered) and outcome.is_good else outcome.words

    async def _place(self, placement: _Placement) -> None:
        order, parts = placement.order, self._parts
        pairs = order_pairs(order, parts.symbols[order.market])
        now_ns = self._clock()
        ask = Ask(
            "POST", "/v1/orders", pairs, ORDER, self._timeout_s,
            patience_ns=max(0, order.valid_until_ns - now_ns) if order.valid_until_ns else VALIDITY_UNSTATED_NS,
            may_send=lambda: self._may_send(placement),
            sent=lambda: parts.note_sent(order.client_order_id),
        )  # fmt: skip
        parts.watch.begin(order.client_order_id, order.market, now_ns)
        outcome = await parts.rest.ask(ask)
        if isinstance(outcome, NotSent):
            self._reject(order, outcome.words)
        elif isinstance(outcome, Answered) and outcome.is_good:
            self._accept(order, outcome)
        elif isinstance(outcome, Answered) and outcome.is_refused and not _is_spent(outcome.refusal):
            if outcome.name == MARKET_CLOSED:  # told first, so that nothing more is sent there
                self._emit((MarketClosed(outcome.at_ns, self._venue, order.market),))
            self._reject(order, outcome.words)
        else:
            self._fault(f"placement {order.client_order_id}: {outcome.words}", order.market)
            self._unanswered(order)

    def _may_send(self, placement: _Placement) -> str:
        """Say why an order must not leave any more; from "" on it counts as sent."""
        if placement.is_withdrawn:
            return "not sent: cancelled before it was sent"
        if 0 < placement.order.valid_until_ns < self._clock():
            return "not sent: its validity had passed"
        placement.is_sent = True
        return ""

    def _accept(self, order: Order, outcome: Answered) -> None:
        picture = self._read_order(outcome, order.client_order_id, order.market)
        if picture is None:
            self._unanswered(order)
            return
        self._parts.counters["orders_accepted"] += 1
        self._parts.watch.accepted(order.client_order_id, outcome.at_ns)
        self._emit((OrderAccepted(outcome.at_ns, order.client_order_id, picture.venue_order_id),))

    def _reject(self, order: Order, reason: str) -> None:
        self._parts.counters["orders_rejected"] += 1
        self._parts.watch.forget(order.client_order_id)
        self._emit(rejection(order, reason, self._clock(), self._parts.orders_wait_ns()))

    def _unanswered(self, order: Order) -> None:
        self._parts.counters["orders_unanswered"] += 1
        self._emit((OrderUnanswered(self._clock(), order.client_order_id),))

    async def _query(self, client_order_id: ClientOrderId, market: int, *, is_last: bool) -> bool:
        """Ask once; tell whether all was told that can be."""
        asked_ns = self._clock()
        outcome = await self._ask("GET", "/v1/order", [("identifier", client_order_id)], QUERY)
        if _is_not_found(outcome):
            now_ns = self._clock()
            self._parts.watch.absent(client_order_id, now_ns)
            self._emit((OrderAbsent(now_ns, client_order_id, asked_ns),))
            return True
        picture = self._read_order(outcome, client_order_id, market)
        if picture is None:
            return True
        fees = self._parts.terms.fees(market, picture.side)
        if fees is None and picture.trades:
            await self._parts.terms.learn(market)
            fees = self._parts.terms.fees(market, picture.side)
        fills = self._parts.fills.shown(picture, client_order_id, fees, is_last_word=is_last)
        if fills is None:
            return False
        self._tell(picture, client_order_id, market, fills)
        return True

    def _tell(self, picture: OrderPicture, client_order_id: ClientOrderId, market: int, fills: list[Fill]) -> None:
        """Emit an order as REST shows it: accepted, its fills, its end."""
        now_ns = self._clock()
        self._parts.watch.shown(picture, client_order_id, market, now_ns)
        ended = OrderEnded(now_ns, client_order_id, picture.end_state, picture.executed_e8, picture.state)
        self._emit((
            OrderAccepted(now_ns, client_order_id, picture.venue_order_id),
            *(OrderFilled(now_ns, fill) for fill in fills),
            *((ended,) if picture.is_ended else ()),
        ))  # fmt: skip

    async def _ask_cancel(self, client_order_id: ClientOrderId) -> Outcome:
        return await self._ask("DELETE", "/v1/order", [("identifier", client_order_id)], CANCEL)

    async def _ask(self, method: Method, path: str, pairs: Pairs, group: str) -> Outcome:
        return await self._parts.rest.ask(Ask(method, path, pairs, group, self._timeout_s))

    def _read_order(self, outcome: Outcome, client_order_id: ClientOrderId, market: int) -> OrderPicture | None:
        """Read an answer about one order, which must name it or none; what cannot be read is a fault."""
        if not isinstance(outcome, Answered) or not outcome.is_good:
            self._fault(f"{client_order_id}: {outcome.words}", market)
            return None
        picture = self._parts.codec.order(outcome.body, outcome.at_ns)
        if isinstance(picture, FeedFault):
            self._emit((picture,))
            return None
        if picture.identifier not in ("", client_order_id):
            self._fault(f"{client_order_id}: the answer is about another order", market)
            return None
        return picture

    def _read_orders(self, outcome: Outcome, what: str) -> list[OrderPicture] | None:
        if not isinstance(outcome, Answered) or not outcome.is_good:
            self._fault(f"{what}: {outcome.words}")
            return None
        pictures = self._parts.codec.orders(outcome.body, outcome.at_ns)
        if isinstance(pictures, FeedFault):
            self._emit((pictures,))
            return None
        return pictures

    def _fault(self, detail: str, market: int | None = None) -> None:
        self._context.fault(FaultKind.REQUEST_FAILED, detail, market)


def _is_not_found(outcome: Outcome) -> bool:
    return isinstance(outcome, Answered) and outcome.name == NOT_FOUND


def _is_spent(refusal: VenueRefusal | None) -> bool:
    """Tell whether a refusal speaks of the identifier: then it may be an order of ours that it names."""
    if refusal is None:
        return False
    said = f"{refusal.name} {refusal.message}".lower()
    return any(word in said for word in IDENTIFIER_WORDS)
