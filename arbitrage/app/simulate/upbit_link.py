"""The simulated daemon's Upbit pocket: orders by signed REST, what becomes of them by the private stream. Decides nothing.

Signing, pairs, pictures, fees of fills and budgets are `venues/upbit/*`; here is only who waits for what. What a real session
knows besides (nonces used twice, looking at orders in bulk, silence of the stream) is proved in `tests/integration`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from arbitrage.app.simulate.links import AccountLink, LinkContext
from arbitrage.app.simulate.party import MS_NS, TIMEOUT_NS, Life, Steps, header
from arbitrage.model.events import (
    AccountBalance,
    AccountLinkUp,
    FeedFault,
    FeesRead,
    MarketClosed,
    OpenOrder,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    WalletsRead,
)
from arbitrage.model.instruments import FeeSchedule, Side
from arbitrage.model.money import Asset
from arbitrage.model.orders import ClientOrderId, Order
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.upbit import PRIVATE_PATH
from arbitrage.sim.wire import Line, Wire
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.upbit.account_limits import CANCEL, CONNECT, ORDER, QUERY, READ, AccountLimits
from arbitrage.venues.upbit.account_wire import Chance, read_chance, read_suspended
from arbitrage.venues.upbit.fills import Fills
from arbitrage.venues.upbit.order_entry import IDENTIFIER_WORDS, MARKET_CLOSED, NOT_FOUND
from arbitrage.venues.upbit.orders_wire import (
    OrderPicture,
    OrdersCodec,
    order_pairs,
    read_refusal,
)
from arbitrage.venues.upbit.private_wire import OrderWord, StreamError, decode, subscription
from arbitrage.venues.upbit.signed_rest import Answered
from arbitrage.venues.upbit.signing import Pairs, Signer, body_bytes, query_text
from arbitrage.venues.wiring import VenueEvent

ASKED_MAX = 3
ASKED_PAUSE_NS = 200 * MS_NS


class UpbitLink(AccountLink):
    """One pocket."""

    def __init__(
        self, context: LinkContext, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random
    ) -> None:
        super().__init__(context, life, wire, sink, dice)
        self.limits = AccountLimits(context.limits, dice)
        self.codec = OrdersCodec(context.venue, context.markets)
        self.fills = Fills(context.venue, context.markets, Counter())
        self._signer = Signer(context.credentials, dice, life.now_ns)
        self._chances: dict[int, Chance] = {}

    def orders_wait_ns(self) -> int:
        return self.limits.budget(ORDER).wait_ns(self.life.now_ns())

    def hold_requests(self, until_ns: int) -> None:
        self.limits.hold(until_ns)

    @property
    def held_until_ns(self) -> int:
        return self.limits.held_until_ns

    # -- orders -------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> Steps[None]:
        """Send once; a refusal that speaks of the identifier says that it was seen before."""
        budget = self.limits.budget(ORDER)
        while wait_ns := budget.wait_ns(self.life.now_ns()):
            if self.life.now_ns() + wait_ns > order.valid_until_ns:
                self.may_send(order)
                self.reject(order, "not sent: its budget is spent or held for as long as it is valid")
                return
            yield self.pause(wait_ns)
            budget = self.limits.budget(ORDER)
        reason = self.may_send(order)
        if reason:
            self.reject(order, reason)
            return
        budget.charge(self.life.now_ns())
        pairs = order_pairs(order, self.symbols[order.market])
        answer = yield from self._exchange("POST", "/v1/orders", pairs, ORDER)
        if answer is not None and answer.is_good:
            picture = self._picture(answer, order.client_order_id)
            if picture is not None:
                self.sink((OrderAccepted(answer.at_ns, order.client_order_id, picture.venue_order_id),))
                return
        elif answer is not None and answer.is_refused and not _is_spent(answer):
            if answer.name == MARKET_CLOSED:
                self.sink((MarketClosed(answer.at_ns, order.venue, order.market),))
            self.reject(order, answer.words)
            return
        self.unanswered(order)

    def cancel(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        answer = yield from self._ask("DELETE", "/v1/order", [("identifier", client_order_id)], CANCEL)
        if answer is None or not answer.is_good:
            yield from self.query(client_order_id, market)

    def query(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        for attempt in range(ASKED_MAX):
            if attempt:
                yield from self._learn(market)
                yield self.pause(ASKED_PAUSE_NS)
            if (yield from self._query(client_order_id, market, is_last=attempt == ASKED_MAX - 1)):
                return

    def _query(self, client_order_id: ClientOrderId, market: int, *, is_last: bool) -> Steps[bool]:
        """Ask once; tell whether all was told that can be."""
        asked_ns = self.life.now_ns()
        answer = yield from self._ask("GET", "/v1/order", [("identifier", client_order_id)], QUERY)
        if answer is None:
            return True
        if answer.name == NOT_FOUND:
            self.sink((OrderAbsent(self.life.now_ns(), client_order_id, asked_ns),))
            return True
        picture = self._picture(answer, client_order_id)
        if picture is None:
            return True
        fills = self.fills.shown(picture, client_order_id, self._fees(market, picture.side), is_last_word=is_last)
        if fills is None:
            return False
        now_ns = self.life.now_ns()
        ended = OrderEnded(now_ns, client_order_id, picture.end_state, picture.executed_e8, picture.state)
        self.sink((
            OrderAccepted(now_ns, client_order_id, picture.venue_order_id),
            *(OrderFilled(now_ns, fill) for fill in fills),
            *((ended,) if picture.is_ended else ()),
        ))  # fmt: skip
        return True

    def _picture(self, answer: Answered, client_order_id: ClientOrderId) -> OrderPicture | None:
        if not answer.is_good:
            self.fault(f"{client_order_id}: {answer.words}")
            return None
        picture = self.codec.order(answer.body, answer.at_ns)
        if isinstance(picture, FeedFault):
            self.sink((picture,))
            return None
        return picture if picture.identifier in ("", client_order_id) else None

    # -- asking -------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, pairs: Pairs, group: str) -> Steps[Answered | None]:
        """Ask within the budget."""
        while wait_ns := self.limits.budget(group).wait_ns(self.life.now_ns()):
            yield self.pause(wait_ns)
        self.limits.budget(group).charge(self.life.now_ns())
        return (yield from self._exchange(method, path, pairs, group))

    def _exchange(self, method: str, path: str, pairs: Pairs, group: str) -> Steps[Answered | None]:
        """Sign and send; None when nobody knows what came of it."""
        headers = {"authorization": self._signer.authorization(pairs)}
        target, body = (f"{path}?{query_text(pairs)}" if pairs else path), b""
        if method == "POST":
            headers["content-type"] = "application/json; charset=utf-8"
            target, body = path, body_bytes(pairs)
        response: Response | None = yield self.rest(Request(method, target, headers, body), TIMEOUT_NS)
        if response is None:
            return None
        now_ns = self.life.now_ns()
        self._heed(response, group, now_ns)
        refusal = None if response.status < 400 else read_refusal(self._signer.hide(response.body))
        return Answered(response.status, response.body, refusal, now_ns)

    def _heed(self, response: Response, group: str, now_ns: int) -> None:
        self.limits.learn(group, dict(response.headers), now_ns)
        if response.status == BANNED:
            self.limits.banned(header(response, "Retry-After"), response.body, now_ns)
        elif response.status == RATE_LIMITED:
            self.limits.refused(group, now_ns)
        elif response.status < 400:
            self.limits.answered()

    # -- the private stream -------------------------------------------------------------------------------------

    def _connect(self, pause_ns: int) -> Steps[None]:
        yield self.pause(pause_ns)
        while wait_ns := self.limits.budget(CONNECT).wait_ns(self.life.now_ns()):
            yield self.pause(wait_ns)
        if self._line is None:
            self.limits.budget(CONNECT).charge(self.life.now_ns())
            headers = {"authorization": self._signer.authorization()}
            self._line = self.wire.open(Request("GET", PRIVATE_PATH, headers, b""), self)
            self.life.after_ns(2 * TIMEOUT_NS, partial(self._expect_up, self._line))

    def _expect_up(self, line: Line) -> None:
        if self._line is line and not self.is_up:
            self._go_down("it did not come up in time")

    def _on_open(self, line: Line) -> None:
        if line is self._line:
            line.tell(subscription("private"))
            self.begin(self._rise(line))

    def _rise(self, line: Line) -> Steps[None]:
        """Come up once the account answers."""
        answer = yield from self._ask("GET", "/v1/accounts", (), READ)
        if line is not self._line:
            return
        if answer is None or not answer.is_good:
            self._go_down("order entry does not answer")
            return
        self.is_up = True
        self.sink((AccountLinkUp(self.life.now_ns(), self.context.venue),))

    def _on_end(self, reason: str, refusal: Response | None) -> None:
        if refusal is not None and refusal.status in (BANNED, RATE_LIMITED):
            self._heed(refusal, CONNECT, self.life.now_ns())
        super()._on_end(reason, refusal)

    def _on_frame(self, line: Line, raw: bytes) -> None:
        now_ns = self.life.now_ns()
        word = decode(self._signer.hide(raw), self.context.venue, now_ns)
        match word:
            case OrderWord():
                self._on_order(word, now_ns)
            case StreamError(name) if line is self._line:
                self._go_down(f"the private stream says {name}")
            case FeedFault():
                self.sink((word,))
            case _:
                pass

    def _on_order(self, word: OrderWord, at_ns: int) -> None:
        if word.symbol not in self.context.markets or not word.identifier:
            return
        if events := self.fills.heard(word, at_ns):
            self.sink(events)

    # -- what is read -------------------------------------------------------------------------------------------

    def _balances(self) -> Steps[tuple[AccountBalance, ...] | None]:
        answer = yield from self._ask("GET", "/v1/accounts", (), READ)
        found = self.codec.balances(answer.body, answer.at_ns) if answer is not None and answer.is_good else None
        return None if isinstance(found, FeedFault) else found

    def _open_orders(self) -> Steps[tuple[OpenOrder, ...] | None]:
        pairs = [("states[]", "wait"), ("states[]", "watch"), ("page", "1"), ("limit", "100")]
        answer = yield from self._ask("GET", "/v1/orders/open", pairs, READ)
        if answer is None or not answer.is_good:
            return None
        pictures = self.codec.orders(answer.body, answer.at_ns)
        return None if isinstance(pictures, FeedFault) else tuple(self.codec.open_order(each) for each in pictures)

    def _fees(self, market: int, side: Side) -> FeeSchedule | None:
        chance, instrument = self._chances.get(market), self.context.instrument(market)
        if chance is not None:
            return chance.fees_of(side)
        return None if instrument is None else instrument.fees

    def _learn(self, market: int) -> Steps[Chance | None]:
        answer = yield from self._ask("GET", "/v1/orders/chance", [("market", self.symbols[market])], READ)
        if answer is None or not answer.is_good:
            return None
        chance = read_chance(answer.body, self.context.venue, answer.at_ns, market)
        if isinstance(chance, FeedFault):
            self.sink((chance,))
            return None
        self._chances[market] = chance
        return chance

    def _read_terms(self) -> Steps[None]:
        read: dict[int, Chance] = {}
        for market in self.context.markets.values():
            chance = yield from self._learn(market)
            if chance is not None:
                read[market] = chance
        now_ns, venue = self.life.now_ns(), self.context.venue
        if read:
            fees = tuple((market, chance.fees) for market, chance in read.items())
            least = tuple((market, chance.notional_e8_min) for market, chance in read.items())
            inactive = tuple(market for market, chance in read.items() if not chance.is_active)
            self.sink((FeesRead(now_ns, venue, fees, least, inactive),))
        answer = yield from self._ask("GET", "/v1/status/wallet", (), READ)
        if answer is not None and answer.is_good:
            wanted = {Asset(asset) for symbol in self.context.markets for asset in symbol.split("-", 1)}
            suspended = read_suspended(answer.body, wanted, venue, self.life.now_ns())
            if not isinstance(suspended, FeedFault):
                self.sink((WalletsRead(self.life.now_ns(), venue, suspended),))


def _is_spent(answer: Answered) -> bool:
    """Tell whether a refusal speaks of the identifier: then it may be an order of ours that it names."""
    if answer.refusal is None:
        return False
    said = f"{answer.refusal.name} {answer.refusal.message}".lower()
    return any(word in said for word in IDENTIFIER_WORDS)
