"""The simulated daemon's Binance account: orders by the WebSocket API while it is up, else by REST. Decides nothing.

Signing, parameters, reading and judging are `venues/binance/*`; here is only who waits for what. What a real session knows
besides (renewal, order counts, silence of the stream) is proved in `tests/integration`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from arbitrage.app.simulate.links import AccountLink, LinkContext
from arbitrage.app.simulate.party import MS_NS, S_NS, TIMEOUT_NS, Life, Steps, Wish, header
from arbitrage.model.events import (
    AccountBalance,
    AccountLinkUp,
    ClockMeasured,
    FeedFault,
    FeesRead,
    MarketClosed,
    OpenOrder,
    OrderAbsent,
    OrderFilled,
    WalletsRead,
)
from arbitrage.model.orders import ClientOrderId, Order
from arbitrage.sim.server.binance import WS_API_PATH
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.wire import Line, Wire
from arbitrage.venues.binance import account_wire
from arbitrage.venues.binance.account_link import SUBSCRIBE
from arbitrage.venues.binance.account_rest import (
    ACCOUNT,
    CANCEL,
    COMMISSION,
    OPEN_ORDERS,
    PLACE,
    RECV_WINDOW_MS,
    STATUS,
    TIME_PATH,
    TRADES,
    WALLETS,
    Operation,
    VenueClock,
)
from arbitrage.venues.binance.limits import CANCELS, ORDERS, QUERIES, BinanceLimits
from arbitrage.venues.binance.orders_wire import OrderKey, OrderNews, OrdersCodec, place_parameters
from arbitrage.venues.binance.replies import (
    ABSENT_CODE,
    Lost,
    Meaning,
    Outcome,
    Reply,
    Unsent,
    meaning_of,
    read_error,
)
from arbitrage.venues.binance.signing import Signer
from arbitrage.venues.binance.ws_wire import Answered, Notice, Reported, read_message
from arbitrage.venues.clock_offset import by_midpoint
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.wiring import VenueEvent

RECV_WINDOW_MS_MAX = 60_000
ASKED_MAX = 3
ROUND_TRIP_MS_GOOD = 500
TRADES_PAUSE_NS = 250 * MS_NS
Parameters = Mapping[str, str | int]
NONE: Parameters = {}
T = TypeVar("T")


class BinanceLink(AccountLink):
    """One Binance account."""

    def __init__(
        self, context: LinkContext, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random
    ) -> None:
        super().__init__(context, life, wire, sink, dice)
        assert isinstance(context.limits, BinanceLimits), "the limits are those of this venue's market data"
        self.limits = context.limits
        self.clock = VenueClock()
        self.codec = OrdersCodec(context.venue, context.markets, context.instrument)
        self.known: dict[OrderKey, ClientOrderId] = {}
        self._signer = Signer(context.credentials)
        self._number = 0
        self._waiting: dict[int, Callable[[Outcome], None]] = {}
        self._late: dict[int, Order] = {}
        """Placements by the connection whose answer did not come in time."""
        self._executions: set[tuple[str, int]] = set()

    def orders_wait_ns(self) -> int:
        return self.limits.budget(ORDERS).wait_ns(self.life.now_ns())

    def hold_requests(self, until_ns: int) -> None:
        self.limits.refused("", BANNED, until_ns)

    @property
    def held_until_ns(self) -> int:
        return self.limits.held_until_ns

    def start(self) -> None:
        super().start()
        self.begin(self._keep_clock())

    # -- orders -------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> Steps[None]:
        """Send once; once more where the venue says that a timestamp kept it out."""
        if not self.clock.is_known:
            yield from self._measure_clock()
        outcome: Outcome = yield from self._send(order)
        if meaning_of(outcome) is Meaning.CLOCK:
            yield from self._measure_clock()
            outcome = yield from self._send(order)
        if isinstance(outcome, Reply):
            yield from self._placed(order, outcome)
        elif isinstance(outcome, Unsent):
            self.reject(order, outcome.words)
        else:
            self.unanswered(order)

    def cancel(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        parameters: Parameters = {"symbol": self.symbols[market], "origClientOrderId": client_order_id}
        for _ in range(ASKED_MAX):
            yield from self._budget(CANCELS, CANCEL.weight)
            outcome: Outcome = yield from self._by_either("order.cancel", CANCEL, parameters, RECV_WINDOW_MS)
            if isinstance(outcome, Reply) and meaning_of(outcome) is Meaning.DONE:
                news = self.codec.status(outcome.body, client_order_id, market, outcome.at_ns)
                if isinstance(news, OrderNews):
                    yield from self._tell(news, market)
                    return
            if meaning_of(outcome) is Meaning.CLOCK:
                yield from self._measure_clock()
                continue
            if (yield from self._ask_about(client_order_id, market)):
                return

    def query(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        yield from self._ask_about(client_order_id, market)

    def recv_window_ms(self, order: Order) -> int:
        """Return how long the venue may still take the order; 0 or less is too late."""
        left_ms = (order.valid_until_ns - self.life.now_ns()) // MS_NS - self.clock.error_ms
        return min(left_ms, RECV_WINDOW_MS_MAX)

    def _send(self, order: Order) -> Steps[Outcome]:
        """Wait for the budget no longer than the order is valid, then send."""
        budget = self.limits.budget(ORDERS)
        while wait_ns := budget.wait_ns(self.life.now_ns()):
            if wait_ns >= self.recv_window_ms(order) * MS_NS:
                self.may_send(order)
                return Unsent("not sent: no budget for as long as it is valid")
            yield self.pause(min(wait_ns, S_NS))
        window_ms = self.recv_window_ms(order)
        reason = self.may_send(order) or ("" if window_ms > 0 else "not sent: its validity had passed")
        if reason:
            return Unsent(reason)
        budget.charge(self.life.now_ns())
        parameters = place_parameters(order, self.symbols[order.market])
        return (yield from self._by_either("order.place", PLACE, parameters, window_ms, order))

    def _placed(self, order: Order, reply: Reply) -> Steps[None]:
        meaning = meaning_of(reply)
        if meaning is Meaning.DONE:
            news = self.codec.placed(reply.body, order, reply.at_ns)
            if isinstance(news, OrderNews):
                yield from self._tell(news, order.market)
                return
            self.sink((news,))
        if meaning in (Meaning.DONE, Meaning.UNKNOWN):
            self.unanswered(order)
            return
        if reply.is_closed:
            self.sink((MarketClosed(reply.at_ns, order.venue, order.market),))
        self.reject(order, reply.words)

    def _ask_about(self, client_order_id: ClientOrderId, market: int) -> Steps[bool]:
        """Read an order's state and fills; tell whether it has ended."""
        asked_ns = self.life.now_ns()
        parameters: Parameters = {"symbol": self.symbols[market], "origClientOrderId": client_order_id}
        reply = yield from self._read(STATUS, parameters)
        if reply is None:
            return False
        if reply.code == ABSENT_CODE:
            self.sink((OrderAbsent(reply.at_ns, client_order_id, asked_ns),))
        if meaning_of(reply) is not Meaning.DONE:
            return False
        news = self.codec.status(reply.body, client_order_id, market, reply.at_ns)
        if isinstance(news, FeedFault):
            self.sink((news,))
            return False
        yield from self._tell(news, market)
        return news.is_ended

    def _tell(self, news: OrderNews, market: int) -> Steps[None]:
        """Tell of an order: accepted, then its fills, whichever list holds them, then its end."""
        self.known[news.key] = news.client_order_id
        fills: Sequence[OrderFilled] = news.fills
        if news.lacks_fills:
            self.sink(news.accepted)
            fills = yield from self._trades(news, market)
            self.sink((*fills, *news.ended))
        else:
            self.sink((*news.accepted, *fills, *news.ended))

    def _trades(self, news: OrderNews, market: int) -> Steps[Sequence[OrderFilled]]:
        fills: Sequence[OrderFilled] = news.fills
        for attempt in range(ASKED_MAX):
            if attempt:
                yield self.pause(TRADES_PAUSE_NS)
            reply = yield from self._read(TRADES, {"symbol": news.key[0], "orderId": news.key[1]})
            if reply is None or meaning_of(reply) is not Meaning.DONE:
                break
            read = self.codec.trades(reply.body, news, market, reply.at_ns)
            if isinstance(read, FeedFault):
                break
            fills = read
            if sum(filled.fill.quantity_e8 for filled in fills) >= news.total_e8:
                break
        return fills

    # -- asking -------------------------------------------------------------------------------------------------

    def _by_either(
        self, method: str, operation: Operation, parameters: Parameters, window_ms: int, order: Order | None = None
    ) -> Steps[Outcome]:
        if self.is_up and self._line is not None:
            outcome: Outcome = yield self._by_socket(method, {**parameters, "recvWindow": window_ms}, order)
            return outcome
        return (yield from self._by_rest(operation, parameters, window_ms))

    def _by_socket(self, method: str, parameters: Parameters, order: Order | None = None) -> Wish:
        def ask(heard: Callable[[Outcome], None]) -> None:
            self._number += 1
            number, line = self._number, self._line
            assert line is not None, "who asks by the connection has one"
            self._waiting[number] = heard
            stamped = {**parameters, "timestamp": self.clock.venue_ms(self.life.now_ns())}
            line.tell(self._signer.request(number, method, stamped))
            self.life.after_ns(TIMEOUT_NS, lambda: self._give_up(number, order))

        return ask

    def _give_up(self, number: int, order: Order | None) -> None:
        heard = self._waiting.pop(number, None)
        if heard is not None:
            if order is not None:
                self._late[number] = order
            heard(Lost("no answer in time"))

    def _by_rest(self, operation: Operation, parameters: Parameters, window_ms: int) -> Steps[Outcome]:
        """Sign with the time of now and ask once."""
        texts = [(name, str(value)) for name, value in parameters.items()]
        texts += [("recvWindow", str(window_ms)), ("timestamp", str(self.clock.venue_ms(self.life.now_ns())))]
        text, headers = self._signer.query(texts).decode(), {"x-mbx-apikey": self._signer.headers["X-MBX-APIKEY"]}
        is_post = operation.verb == "POST"
        target = operation.path if is_post else f"{operation.path}?{text}"
        request = Request(operation.verb, target, headers, text.encode() if is_post else b"")
        outcome = self._outcome((yield self.rest(request)))
        self._heed(outcome)
        return outcome

    def _outcome(self, response: Response | None) -> Outcome:
        if response is None:
            return Lost("no answer in time")
        error = read_error(response.body) if response.status >= 400 else None
        at_ns, retry_after = self.life.now_ns(), header(response, "Retry-After")
        return Reply(response.status, response.body, at_ns, error, retry_after=retry_after)

    def _read(self, operation: Operation, parameters: Parameters = NONE) -> Steps[Reply | None]:
        """Ask what may be asked again, once more after the clock was wrong; None when no answer came."""
        if not self.clock.is_known:
            yield from self._measure_clock()
        for _ in range(2):
            yield from self._budget(operation.group, operation.weight)
            outcome: Outcome = yield from self._by_rest(operation, parameters, RECV_WINDOW_MS)
            if meaning_of(outcome) is not Meaning.CLOCK:
                return outcome if isinstance(outcome, Reply) else None
            yield from self._measure_clock()
        return None

    def _budget(self, group: str, weight: int) -> Steps[None]:
        budget = self.limits.budget(group)
        while wait_ns := budget.wait_ns(self.life.now_ns(), weight):
            yield self.pause(wait_ns)
        budget.charge(self.life.now_ns(), weight)

    def _heed(self, outcome: Outcome) -> None:
        """Hold back what a refusal covers until the very time it names."""
        if not isinstance(outcome, Reply) or not outcome.is_limited:
            return
        now_ns = self.life.now_ns()
        named_ms = None if outcome.error is None or outcome.error.data is None else outcome.error.data.retry_after
        if named_ms is not None:
            until_ns = max(now_ns, self.clock.engine_ns(named_ms + 1))
        else:
            status = BANNED if outcome.status == BANNED else RATE_LIMITED
            until_ns = now_ns + self.limits.holds.next_ns(status, outcome.retry_after, now_ns)
        self.limits.refused("", outcome.status, until_ns)

    def _keep_clock(self) -> Steps[None]:
        while True:
            yield self.pause(self.context.settings.clock_measure_ms * MS_NS)
            yield from self._measure_clock()

    def _measure_clock(self) -> Steps[None]:
        """Ask for the time, once more where that took long, and believe the quickest answer."""
        best: ClockMeasured | None = None
        for _ in range(ASKED_MAX):
            measured = yield from self._measure()
            if measured is not None and (best is None or measured.round_trip_ms < best.round_trip_ms):
                best = measured
            if best is not None and best.round_trip_ms <= ROUND_TRIP_MS_GOOD:
                break
        if best is not None:
            self.clock.learn(best)
            self.sink((best,))

    def _measure(self) -> Steps[ClockMeasured | None]:
        yield from self._budget(QUERIES, 1)
        sent_ns = self.life.now_ns()
        outcome = self._outcome((yield self.rest(Request("GET", TIME_PATH, {}, b""))))
        self._heed(outcome)
        if not isinstance(outcome, Reply) or meaning_of(outcome) is not Meaning.DONE:
            return None
        try:
            venue_ms = account_wire.read_time_ms(outcome.body)
        except account_wire.READING_ERRORS:
            return None
        return by_midpoint(self.context.venue, venue_ms, sent_ns, outcome.at_ns)

    # -- the connection -----------------------------------------------------------------------------------------

    def _connect(self, pause_ns: int) -> Steps[None]:
        yield self.pause(pause_ns)
        yield from self._measure_clock()
        yield from self._budget(QUERIES, 4)
        if self._line is None:
            self._line = self.wire.open(Request("GET", WS_API_PATH, {}, b""), self)
            self.life.after_ns(2 * TIMEOUT_NS, self._expect_up(self._line))

    def _expect_up(self, line: Line) -> Callable[[], None]:
        def look() -> None:
            if self._line is line and not self.is_up:
                self._go_down("it did not come up in time")

        return look

    def _on_open(self, line: Line) -> None:
        if line is self._line:
            self.begin(self._subscribe(line))

    def _subscribe(self, line: Line) -> Steps[None]:
        outcome: Outcome = yield self._by_socket(SUBSCRIBE, {})
        if line is not self._line:
            return
        if meaning_of(outcome) is Meaning.DONE:
            self.is_up = True
            self.sink((AccountLinkUp(self.life.now_ns(), self.context.venue),))
        else:
            self._go_down(f"not subscribed: {outcome.words}")

    def _on_frame(self, line: Line, raw: bytes) -> None:
        message = read_message(raw, self.context.venue, self.life.now_ns())
        match message:
            case Answered(number, reply):
                self._answered(number, reply)
            case Reported(body):
                self._reported(body)
            case Notice.TERMINATED:
                if line is self._line:
                    self._go_down("the venue ended the account's events")
            case FeedFault():
                self.sink((message,))
            case _:
                pass

    def _answered(self, number: int | None, reply: Reply) -> None:
        self._heed(reply)
        heard = self._waiting.pop(number, None) if number is not None else None
        if heard is not None:
            heard(reply)
        elif number in self._late:
            self.begin(self._placed(self._late.pop(number), reply))

    def _reported(self, body: bytes) -> None:
        """Tell what the stream says of an order, once for each execution."""
        news = self.codec.report(body, self.known, self.life.now_ns())
        if news is None:
            return
        if isinstance(news, FeedFault):
            self.sink((news,))
            return
        execution = (news.key[0], news.execution_id)
        if execution not in self._executions:
            self._executions.add(execution)
            self.sink((*news.accepted, *news.fills, *news.ended))

    # -- what is read -------------------------------------------------------------------------------------------

    def _balances(self) -> Steps[tuple[AccountBalance, ...] | None]:
        reply = yield from self._read(ACCOUNT, {"omitZeroBalances": "true"})
        return self._value(reply, account_wire.read_balances)

    def _open_orders(self) -> Steps[tuple[OpenOrder, ...] | None]:
        reply = yield from self._read(OPEN_ORDERS)
        return self._value(reply, lambda body: account_wire.read_open_orders(body, self.context.markets))

    def _read_terms(self) -> Steps[None]:
        fees = []
        for symbol, market in self.context.markets.items():
            reply = yield from self._read(COMMISSION, {"symbol": symbol})
            schedule = self._value(reply, account_wire.read_fees)
            if schedule is not None:
                fees.append((market, schedule))
        if fees:
            self.sink((FeesRead(self.life.now_ns(), self.context.venue, tuple(fees)),))
        reply = yield from self._read(WALLETS)
        suspended = self._value(reply, account_wire.read_suspended)
        if suspended is not None:
            self.sink((WalletsRead(self.life.now_ns(), self.context.venue, suspended),))

    def _value(self, reply: Reply | None, read: Callable[[bytes], T]) -> T | None:
        if reply is None or meaning_of(reply) is not Meaning.DONE:
            return None
        try:
            return read(reply.body)
        except account_wire.READING_ERRORS as error:
            self.fault(f"an answer cannot be read: {error}")
            return None
