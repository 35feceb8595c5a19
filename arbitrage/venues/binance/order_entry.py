"""Places, cancels and asks about orders at Binance, each with one outcome told as events. Never sends a placement twice, except
after the venue itself said that a timestamp kept it out (-1021).

By the WebSocket API while its connection works, else by REST: the way is chosen once, when an order leaves. Whatever is not
certain is OrderUnanswered; cancelling and asking may be repeated. Source: reference binance-spot 7, 11, 12.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.model.effects import CancelOrder, QueryOrder
from arbitrage.model.events import FaultKind, FeedFault, MarketClosed, OrderAbsent, OrderEnded, OrderFilled, OrderUnanswered
from arbitrage.model.orders import ClientOrderId, Order, OrderState
from arbitrage.venues.binance.account_link import AccountLink
from arbitrage.venues.binance.account_rest import CANCEL, PLACE, RECV_WINDOW_MS, STATUS, TRADES, AccountRest, Operation
from arbitrage.venues.binance.limits import CANCELS, ORDERS, BinanceLimits
from arbitrage.venues.binance.orders_wire import OrderKey, OrderNews, OrdersCodec, place_parameters
from arbitrage.venues.binance.replies import ABSENT_CODE, ARCHIVED_CODE, Meaning, Outcome, Reply, Unsent, meaning_of
from arbitrage.venues.binance.stream_watch import StreamWatch
from arbitrage.venues.binance.ws_api import Hears
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S
from arbitrage.venues.trading import AccountSession

RECV_WINDOW_MS_MAX = 60_000
PLACED_REMEMBERED_MAX = 20_000
CANCEL_ATTEMPTS_MAX = 3
TRADES_ATTEMPTS_MAX = 4
TRADES_PAUSE_S = 0.25
"""Reads lag behind writes: a fill that the order's state counts may be missing from the list of trades for a moment."""
OWED_MARGIN_MS = 100
"""A state so shortly after the subscription, beyond what the clock may be off, may still have been told before it."""
BUDGET_STEP_NS = NS_PER_S
"""Who waits for the budget looks this often whether the order still is to leave."""
LATE_WORDS = "not sent: its validity had passed"


class EntryParts(msgspec.Struct, frozen=True):
    """What order entry works with."""

    session: AccountSession
    link: AccountLink
    rest: AccountRest
    limits: BinanceLimits
    codec: OrdersCodec
    watch: StreamWatch


class _Placing(msgspec.Struct):
    """An order on its way: what must not leave any more once it is cancelled."""

    has_left: bool = False
    is_cancelled: bool = False


class OrderEntry:
    """The orders of one account, as they are sent and asked about."""

    def __init__(self, parts: EntryParts) -> None:
        self.known: dict[OrderKey, ClientOrderId] = {}
        """Our ids by the venue's, the newest so many."""
        self._session = parts.session
        self._link = parts.link
        self._rest = parts.rest
        self._limits = parts.limits
        self._codec = parts.codec
        self._watch = parts.watch
        self._clock = parts.session.context.wiring.clock
        self._placed: dict[tuple[ClientOrderId, int], None] = {}
        self._placing: dict[ClientOrderId, _Placing] = {}
        self._asking: set[ClientOrderId] = set()

    async def place(self, order: Order) -> None:
        """Send an order once, and tell what became of it."""
        symbol = self._session.symbols.get(order.market)
        if symbol is None:
            self._session.reject(order, f"not sent: no symbol is known for market {order.market}")
            return
        if not self._remember(order):
            self._session.counters["orders_repeated"] += 1
            await self.ask_about(order.client_order_id, order.market)
            return
        placing = self._placing[order.client_order_id] = _Placing()
        try:
            outcome = await self._send_when_allowed(order, symbol, placing)
            if meaning_of(outcome) is Meaning.CLOCK:
                self._session.counters["clock_refusals"] += 1
                placing.has_left = False
                await self._rest.measure_clock()
                outcome = await self._send_when_allowed(order, symbol, placing)
        finally:
            del self._placing[order.client_order_id]
        await self._tell_placed(order, outcome)

    async def cancel(self, effect: CancelOrder) -> None:
        """Cancel until the venue says what the order is, a few times at most; one that did not leave yet will not."""
        client_order_id, market = effect.client_order_id, effect.market
        placing = self._placing.get(client_order_id)
        if placing is not None:
            placing.is_cancelled = True
            if not placing.has_left:
                return
        symbol = self._session.symbols.get(market)
        if symbol is None:
            self._fault(f"cancel {client_order_id}: no symbol is known for market {market}", market)
            return
        for _ in range(CANCEL_ATTEMPTS_MAX):
            outcome = await self._send_cancel(symbol, client_order_id)
            if isinstance(outcome, Reply) and meaning_of(outcome) is Meaning.DONE:
                news = self._codec.status(outcome.body, client_order_id, market, outcome.at_ns)
                if isinstance(news, OrderNews):
                    await self._tell(news, market)
                    return
                self._session.emit(news)
            elif meaning_of(outcome) is Meaning.CLOCK:
                await self._rest.measure_clock()
                continue
            self._session.counters["cancels_unclear"] += 1
            found = await self.ask_about(client_order_id, market)
            if found is not None and found.is_ended:
                return

    async def query(self, effect: QueryOrder) -> None:
        """Ask what became of an order; while the question is under way, the same one adds nothing."""
        if effect.client_order_id in self._asking:
            self._session.counters["queries_joined"] += 1
            return
        await self.ask_about(effect.client_order_id, effect.market)

    async def ask_about(self, client_order_id: ClientOrderId, market: int) -> OrderNews | None:
        """Read an order's state and fills and tell them; None when it could not be read or does not exist."""
        symbol = self._session.symbols.get(market)
        if symbol is None:
            self._fault(f"query {client_order_id}: no symbol is known for market {market}", market)
            return None
        self._asking.add(client_order_id)
        try:
            asked_ns = self._clock()
            outcome = await self._rest.read(STATUS, {"symbol": symbol, "origClientOrderId": client_order_id})
            self._link.mind(outcome)
            if not isinstance(outcome, Reply):
                return None
            if meaning_of(outcome) is not Meaning.DONE:
                self._tell_unreadable(client_order_id, market, outcome, asked_ns)
                return None
            news = self._codec.status(outcome.body, client_order_id, market, outcome.at_ns)
            if isinstance(news, FeedFault):
                self._session.emit(news)
                return None
            await self._tell(news, market)
            return news
        finally:
            self._asking.discard(client_order_id)

    def recv_window_ms(self, order: Order) -> int:
        """Return how long the venue may still take the order, less what its clock may be off; 0 or less is too late."""
        if order.valid_until_ns == 0:
            return RECV_WINDOW_MS
        left_ms = (order.valid_until_ns - self._clock()) // NS_PER_MS - self._rest.clock.error_ms
        return min(left_ms, RECV_WINDOW_MS_MAX)

    async def _send_when_allowed(self, order: Order, symbol: str, placing: _Placing) -> Outcome:
        """Wait for the budget no longer than the order is valid, then send. Nothing is awaited between the two."""
        await self._rest.ready()
        budget = self._limits.budget(ORDERS)
        while True:
            if placing.is_cancelled:
                return Unsent("not sent: it was cancelled before it left")
            now_ns = self._clock()
            window_ms = self.recv_window_ms(order)
            if window_ms <= 0:
                return Unsent(LATE_WORDS)
            wait_ns = budget.wait_ns(now_ns)
            if wait_ns == 0:
                budget.charge(now_ns)
                placing.has_left = True
                return await self._send(order, symbol, window_ms)
            if wait_ns >= window_ms * NS_PER_MS:
                self._session.counters["orders_without_budget"] += 1
                return Unsent(f"not sent: no budget for {wait_ns // NS_PER_MS} ms, longer than it is valid")
            await asyncio.sleep(min(wait_ns, BUDGET_STEP_NS) / NS_PER_S)

    async def _send(self, order: Order, symbol: str, window_ms: int) -> Outcome:
        self._session.counters["orders_sent"] += 1
        parameters = place_parameters(order, symbol)
        hears = Hears(
            sent=lambda: self._session.note_sent(order.client_order_id), late=lambda reply: self._tell_late(order, reply)
        )
        return await self._by_either("order.place", PLACE, parameters, window_ms, hears)

    async def _send_cancel(self, symbol: str, client_order_id: ClientOrderId) -> Outcome:
        await self._rest.ready()
        await self._limits.budget(CANCELS).take(self._clock, CANCEL.weight)
        self._session.counters["cancels_sent"] += 1
        parameters: dict[str, str | int] = {"symbol": symbol, "origClientOrderId": client_order_id}
        outcome = await self._by_either("order.cancel", CANCEL, parameters, RECV_WINDOW_MS, None)
        self._link.mind(outcome)
        return outcome

    async def _by_either(
        self, method: str, operation: Operation, parameters: Mapping[str, str | int], window_ms: int, hears: Hears | None
    ) -> Outcome:
        """Send by the connection when there is one that works now, and otherwise by REST; never by both."""
        connection = self._link.current
        if connection is not None and connection.is_usable:
            return await self._link.ask(method, {**parameters, "recvWindow": window_ms}, hears)
        self._session.counters["sent_by_rest"] += 1
        return await self._rest.send(operation, parameters, window_ms)

    async def _tell_placed(self, order: Order, outcome: Outcome) -> None:
        self._link.mind(outcome)
        match meaning_of(outcome):
            case Meaning.DONE:
                assert isinstance(outcome, Reply), "only an answer says that it is done"
                news = self._codec.placed(outcome.body, order, outcome.at_ns)
                if isinstance(news, OrderNews):
                    await self._tell(news, order.market)
                else:
                    self._session.emit(news)
                    self._unanswered(order)
            case Meaning.REFUSED | Meaning.CLOCK:
                self._refused(order, outcome)
            case Meaning.UNKNOWN:
                self._fault(f"order {order.client_order_id} is unanswered: {outcome.words}", order.market)
                self._unanswered(order)

    def _refused(self, order: Order, outcome: Outcome) -> None:
        """Tell of a definite refusal; before it, that the market is closed, so that nothing more is sent there."""
        if isinstance(outcome, Reply) and outcome.is_closed:
            self._session.emit(MarketClosed(outcome.at_ns, order.venue, order.market))
        self._session.reject(order, outcome.words)

    def _tell_late(self, order: Order, reply: Reply) -> None:
        """Believe an answer that came after its limit: it closes what was open. The engine asks for fills that it lacks."""
        self._session.counters["answers_late"] += 1
        self._rest.heed(reply, ORDERS)
        meaning = meaning_of(reply)
        if meaning is Meaning.DONE:
            news = self._codec.placed(reply.body, order, reply.at_ns)
            if isinstance(news, OrderNews):
                self._note(news, order.market)
                self._session.emit(*news.accepted, *news.fills, *news.ended)
            else:
                self._session.emit(news)
        elif meaning is not Meaning.UNKNOWN:
            self._refused(order, reply)

    async def _tell(self, news: OrderNews, market: int) -> None:
        """Tell of an order: accepted, then its fills, whichever list holds them, then its end."""
        self._note(news, market)
        if not news.lacks_fills:
            self._session.emit(*news.accepted, *news.fills, *news.ended)
            return
        self._session.emit(*news.accepted)
        self._session.emit(*await self._trades(news, market))
        self._session.emit(*news.ended)

    async def _trades(self, news: OrderNews, market: int) -> Sequence[OrderFilled]:
        """Read an order's fills until they add up to its total, a few times; what is missing then is asked for again later."""
        fills: Sequence[OrderFilled] = news.fills
        parameters: dict[str, str | int] = {"symbol": news.key[0], "orderId": news.key[1]}
        for attempt in range(TRADES_ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(TRADES_PAUSE_S)
            outcome = await self._rest.read(TRADES, parameters)
            if not isinstance(outcome, Reply) or meaning_of(outcome) is not Meaning.DONE:
                break
            read = self._codec.trades(outcome.body, news, market, outcome.at_ns)
            if isinstance(read, FeedFault):
                self._session.emit(read)
                break
            fills = read
            if sum(filled.fill.quantity_e8 for filled in fills) >= news.total_e8:
                return fills
        self._session.counters["fills_missing"] += 1
        return fills

    def _note(self, news: OrderNews, market: int) -> None:
        """Remember whose order it is, and what the stream owes of it."""
        self.known[news.key] = news.client_order_id
        if len(self.known) > PLACED_REMEMBERED_MAX:
            self.known.pop(next(iter(self.known)))
        connection = self._link.current
        clock = self._rest.clock
        told_ns = clock.engine_ns(news.venue_ms) - (OWED_MARGIN_MS + clock.error_ms) * NS_PER_MS
        is_owed = connection is not None and connection.is_usable and connection.subscribed_ns <= told_ns
        self._watch.answered(news, market, self._clock(), is_owed=is_owed)

    def _tell_unreadable(self, client_order_id: ClientOrderId, market: int, reply: Reply, asked_ns: int) -> None:
        if reply.code == ABSENT_CODE:
            self._session.emit(OrderAbsent(reply.at_ns, client_order_id, asked_ns))
        elif reply.code == ARCHIVED_CODE:  # only orders that ended without a fill are archived (reference 7)
            self._session.emit(OrderEnded(reply.at_ns, client_order_id, OrderState.CANCELLED, 0, "archived without a fill"))
        elif meaning_of(reply) is Meaning.REFUSED:
            self._fault(f"query {client_order_id}: {reply.words}", market)

    def _remember(self, order: Order) -> bool:
        """Note an order as placed; False when this very order was before."""
        key = (order.client_order_id, order.valid_until_ns)
        if key in self._placed:
            return False
        self._placed[key] = None
        if len(self._placed) > PLACED_REMEMBERED_MAX:
            self._placed.pop(next(iter(self._placed)))
        return True

    def _unanswered(self, order: Order) -> None:
        self._session.counters["orders_unanswered"] += 1
        self._session.emit(OrderUnanswered(self._clock(), order.client_order_id))

    def _fault(self, detail: str, market: int) -> None:
        self._session.context.fault(FaultKind.REQUEST_FAILED, detail, market)
