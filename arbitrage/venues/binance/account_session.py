"""Binance's account: order entry, the private stream, and what is read hourly. Decides nothing about orders and keeps no money.

The order at start: clock, a subscribed connection, AccountLinkUp, which the engine answers with what it wants to know.
Source: reference binance-spot 3, 7, 8, 9, 11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder, ReadAccount, VenueEffect
from arbitrage.model.events import AccountRead, FaultKind, FeedFault, FeesRead, WalletsRead
from arbitrage.model.instruments import FeeSchedule
from arbitrage.model.orders import Order
from arbitrage.venues.binance import account_wire
from arbitrage.venues.binance.account_link import LIFE_NS, AccountLink, LinkParts
from arbitrage.venues.binance.account_rest import (
    ACCOUNT,
    COMMISSION,
    KEY_RIGHTS,
    OPEN_ORDERS,
    ORDER_COUNTS,
    RECV_WINDOW_MS,
    TEST,
    WALLETS,
    AccountRest,
    Operation,
)
from arbitrage.venues.binance.limits import ORDERS, BinanceLimits
from arbitrage.venues.binance.order_entry import EntryParts, OrderEntry
from arbitrage.venues.binance.orders_wire import OrdersCodec, place_parameters
from arbitrage.venues.binance.replies import Meaning, Outcome, Reply, meaning_of
from arbitrage.venues.binance.signing import Signer
from arbitrage.venues.binance.stream_watch import REPORT_LIMIT_NS, StreamWatch
from arbitrage.venues.holds import BANNED
from arbitrage.venues.rest import Limits
from arbitrage.venues.session import first_failure
from arbitrage.venues.trading import AccountContext, AccountSession, Unasked

EXECUTIONS_REMEMBERED_MAX = 20_000
FEES_PER_EVENT = 20
"""Fees are told in groups: with many markets the budget spreads their reading over minutes."""
OPEN_CHECK_S = 4.0
"""Open orders are compared with the stream so often; with the limit for a report this stays under ten seconds."""
SILENCE_STEP_S = 0.25
SYMBOLS_CHECKED_APART_MAX = 10
"""openOrders weighs 6 for one symbol and 80 for all."""
OPEN_OF_SYMBOL_WEIGHT = 6
HOSTS_WITHOUT_WALLET = ("testnet.binance.vision", "demo-api.binance.com")
"""Play money: no wallet endpoints, and nothing that could be withdrawn (reference 1)."""
NOT_FOUND = 404
T = TypeVar("T")


class BinanceAccountSession(AccountSession):
    """One Binance account. Raises ValueError when the secret is no key of its kind."""

    def __init__(
        self, account: AccountContext, limits: Limits, *, life_ns: int = LIFE_NS, report_limit_ns: int = REPORT_LIMIT_NS
    ) -> None:
        super().__init__(account, limits)
        assert isinstance(limits, BinanceLimits), "the limits are those of this venue's market data"
        context = account.context
        self._limits = limits
        self._signer = Signer(account.credentials)
        self._rest = AccountRest(context, self._signer, limits)
        self._codec = OrdersCodec(context.venue, account.markets, account.instrument)
        self._watch = StreamWatch(report_limit_ns)
        self._link = AccountLink(LinkParts(
            context=context,
            signer=self._signer,
            rest=self._rest,
            limits=limits,
            on_report=self._on_report,
            on_up=self._watch.restart,
            count=self._count,
            life_ns=life_ns,
        ))  # fmt: skip
        self._entry = OrderEntry(EntryParts(self, self._link, self._rest, limits, self._codec, self._watch))
        self._executions: dict[tuple[str, int], None] = {}
        self._has_wallet = True

    async def run(self) -> None:
        """Serve until cancelled. The first failure that is ours comes out as itself."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, work in self._tasks():
                    group.create_task(work, name=f"{self.context.venue} account {name}")
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from failures
        finally:
            await self.close()

    async def close(self) -> None:
        await self._rest.close()

    def time_went_ahead(self, ahead_ns: int) -> None:
        self._rest.clock.went_ahead(ahead_ns)

    def orders_wait_ns(self) -> int:
        return self._limits.budget(ORDERS).wait_ns(self._clock())

    def hold_requests(self, until_ns: int) -> None:
        self._limits.refused("", BANNED, until_ns)

    @property
    def requests_held_until_ns(self) -> int:
        return self._limits.held_until_ns

    async def check(self) -> list[str]:
        """Ask what key and account may do. A wrong key, one that can withdraw, or one that cannot be asked is refused."""
        if await self._rest.measure_clock() is None:
            return [Unasked(f"the time of {self.context.venue} could not be read")]
        key = await self._rest.read(KEY_RIGHTS)
        is_without_wallet = isinstance(key, Reply) and key.status == NOT_FOUND
        host = urlsplit(self.settings.rest_url).hostname or ""
        is_play_money = is_without_wallet and host.endswith(HOSTS_WITHOUT_WALLET)
        account = await self._rest.read(ACCOUNT, {"omitZeroBalances": "true"})
        reasons: list[str] = []
        if not is_without_wallet:
            reasons += self._reasons("the key's rights", key, account_wire.read_key_rights)
        is_key_known = not is_without_wallet or is_play_money
        read = account_wire.why_account_cannot_trade
        return reasons + self._reasons("the account", account, lambda body: read(body, is_key_known=is_key_known))

    async def try_order(self, order: Order) -> str:
        """Sign the order and hand it to `order/test`; a wrong clock is measured and the order tried once more."""
        symbol = self.symbols.get(order.market)
        if symbol is None:
            return f"no symbol is known for market {order.market}"
        await self._rest.ready()
        outcome = await self._try(order, symbol)
        if meaning_of(outcome) is Meaning.CLOCK:
            await self._rest.measure_clock()
            outcome = await self._try(order, symbol)
        return "" if meaning_of(outcome) is Meaning.DONE else outcome.words

    async def _try(self, order: Order, symbol: str) -> Outcome:
        await self._limits.budget(TEST.group).take(self._clock, TEST.weight)
        self.counters["orders_tried"] += 1
        return await self._rest.send(TEST, place_parameters(order, symbol), RECV_WINDOW_MS)

    async def _carry_out(self, effect: VenueEffect) -> None:
        match effect:
            case PlaceOrder(order):
                await self._entry.place(order)
            case CancelOrder():
                await self._entry.cancel(effect)
            case QueryOrder():
                await self._entry.query(effect)
            case ReadAccount():
                await self._read_account()

    def _tasks(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        return [
            ("effects", self._under_way.run()),
            ("link", self._link.run()),
            ("order counts", self._learn_order_counts()),
            ("clock", self._watch_clock()),
            ("stream", self._watch_stream()),
            ("open orders", self._watch_open_orders()),
            ("fees", self._read_hourly()),
        ]

    async def _learn_order_counts(self) -> None:
        """Learn how many orders the account placed before our start."""
        counts = await self._rest.read(ORDER_COUNTS)
        read = self._value("the order counts", counts, account_wire.read_counts)
        for change in self._limits.learn_counts(read or (), self._clock()):
            self.context.fault(FaultKind.RATE_LIMITED, change)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(self.settings.clock_measure_ms / 1000)
            await self._rest.measure_clock()

    async def _watch_stream(self) -> None:
        """Give the connection up when the stream owes something for too long."""
        while True:
            await asyncio.sleep(SILENCE_STEP_S)
            reason = self._watch.silence(self._clock())
            if reason:
                self.counters["silences"] += 1
                self._watch.restart()
                self._link.condemn(reason)

    async def _watch_open_orders(self) -> None:
        """Compare the open orders that we know with what the venue lists; whatever differs is asked about."""
        while True:
            await asyncio.sleep(OPEN_CHECK_S)
            if not self._watch.open or self._link.current is None:
                continue
            before = dict(self._watch.open)
            symbols = sorted({symbol for symbol, _ in before})
            listed: dict[tuple[str, str], int] | None = {}
            for scope in symbols if len(symbols) <= SYMBOLS_CHECKED_APART_MAX else [""]:
                part = await self._list_open(scope)
                listed = None if part is None or listed is None else listed | part
            if listed is None:
                continue
            for key, order in before.items():
                filled_e8 = listed.get((key[0], str(key[1])))
                still_open = self._watch.open.get(key)
                if still_open is not None and (filled_e8 is None or filled_e8 > still_open.total_e8):
                    self.counters["open_orders_asked"] += 1
                    await self._entry.ask_about(order.client_order_id, order.market)

    async def _list_open(self, symbol: str) -> dict[tuple[str, str], int] | None:
        """Return what is filled of each open order, of one symbol or of all; None when it could not be read."""
        weight = OPEN_OF_SYMBOL_WEIGHT if symbol else OPEN_ORDERS.weight
        operation = Operation(OPEN_ORDERS.verb, OPEN_ORDERS.path, weight, OPEN_ORDERS.group)
        outcome = await self._rest.read(operation, {"symbol": symbol} if symbol else {})
        markets = self.account.markets
        orders = self._value("the open orders", outcome, lambda body: account_wire.read_open_orders(body, markets))
        if orders is None:
            return None
        return {(order.symbol, order.venue_order_id): order.filled_quantity_e8 for order in orders}

    async def _read_account(self) -> None:
        """Read balances, then open orders; both or nothing."""
        asked_ns = self._clock()
        account = await self._rest.read(ACCOUNT, {"omitZeroBalances": "true"})
        balances = self._value("the account", account, account_wire.read_balances)
        if balances is None:
            return
        listed = await self._rest.read(OPEN_ORDERS)
        markets = self.account.markets
        orders = self._value("the open orders", listed, lambda body: account_wire.read_open_orders(body, markets))
        if orders is not None:
            self.emit(AccountRead(self._clock(), asked_ns, self.context.venue, balances, orders))

    async def _read_hourly(self) -> None:
        while True:
            await self._read_fees()
            if self._has_wallet:
                await self._read_wallets()
            await asyncio.sleep(self.settings.instruments_reload_ms / 1000)

    async def _read_fees(self) -> None:
        fees: list[tuple[int, FeeSchedule]] = []
        for market, symbol in self.symbols.items():
            outcome = await self._rest.read(COMMISSION, {"symbol": symbol})
            schedule = self._value(f"the fees of {symbol}", outcome, account_wire.read_fees)
            if schedule is not None:
                fees.append((market, schedule))
            if len(fees) == FEES_PER_EVENT:
                self.emit(FeesRead(self._clock(), self.context.venue, tuple(fees)))
                fees.clear()
        if fees:
            self.emit(FeesRead(self._clock(), self.context.venue, tuple(fees)))

    async def _read_wallets(self) -> None:
        outcome = await self._rest.read(WALLETS)
        if isinstance(outcome, Reply) and outcome.status == NOT_FOUND:
            self._has_wallet = False
            return
        suspended = self._value("the wallets", outcome, account_wire.read_suspended)
        if suspended is not None:
            self.emit(WalletsRead(self._clock(), self.context.venue, suspended))

    def _on_report(self, body: bytes, at_ns: int) -> None:
        """Tell what the stream says of an order, once for each execution."""
        news = self._codec.report(body, self._entry.known, at_ns)
        if news is None:
            self._count("reports_of_other_markets")
            return
        if isinstance(news, FeedFault):
            self.context.fault(news.kind, self._signer.hide(news.detail), news.market)
            return
        self._count("reports")
        if news.execution_id >= 0:
            execution = (news.key[0], news.execution_id)
            if execution in self._executions:
                self._count("reports_repeated")
                return
            self._executions[execution] = None
            if len(self._executions) > EXECUTIONS_REMEMBERED_MAX:
                self._executions.pop(next(iter(self._executions)))
        self._watch.reported(news, self.account.markets[news.key[0]])
        self.emit(*news.accepted, *news.fills, *news.ended)

    def _value(self, what: str, outcome: Outcome, read: Callable[[bytes], T]) -> T | None:
        """Read an answer's value; None, with a fault, when there is none."""
        self._link.mind(outcome)
        if isinstance(outcome, Reply) and meaning_of(outcome) is Meaning.DONE:
            try:
                return read(outcome.body)
            except account_wire.READING_ERRORS as error:
                self.context.fault(FaultKind.MALFORMED, f"{what} cannot be read: {self._signer.hide(str(error))}")
        elif meaning_of(outcome) is Meaning.REFUSED:
            self.context.fault(FaultKind.REQUEST_FAILED, f"{what} cannot be read: {outcome.words}")
        return None

    def _reasons(self, what: str, outcome: Outcome, read: Callable[[bytes], list[str]]) -> list[str]:
        """Return what an answer has against trading, or that there is none."""
        if not isinstance(outcome, Reply) or meaning_of(outcome) is not Meaning.DONE:
            text = f"{what} could not be asked: {outcome.words}"
            is_definite = isinstance(outcome, Reply) and meaning_of(outcome) is Meaning.REFUSED and not outcome.is_limited
            return [text if is_definite else Unasked(text)]
        try:
            return read(outcome.body)
        except account_wire.READING_ERRORS as error:
            return [f"{what} cannot be read: {self._signer.hide(str(error))}"]

    def _count(self, name: str) -> None:
        self.counters[name] += 1
