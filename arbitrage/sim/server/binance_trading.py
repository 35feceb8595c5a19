"""Binance's order calls, shared by REST and WebSocket API: place, test, cancel, replace, query, lists. Matches nothing itself.

Reference sheet, section 7.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from arbitrage.sim.exchange.nouns import Happened, HeldOrder, OrderRequest, Rejection, Status, Update, Why
from arbitrage.sim.server.binance_account import BinanceAccount
from arbitrage.sim.server.binance_limits import BinanceLimits
from arbitrage.sim.server.binance_orders import (
    ORDER_NAMES,
    Row,
    cancelled_row,
    placed_row,
    queried_row,
    read_order,
    refusal,
    trade_row,
)  # fmt: skip
from arbitrage.sim.server.binance_wire import Call, Parameters, VenueError, weighs

LIST_DEFAULT, LIST_MAX = 500, 1_000
DAY_MS = 86_400_000
CLIENT_ID_LENGTH = 22
IDENTITY = frozenset({"symbol", "orderId", "origClientOrderId"})
RESTRICTIONS = {"ONLY_NEW": Status.NEW, "ONLY_PARTIALLY_FILLED": Status.PARTIALLY_FILLED}
REPLACE_NAMES = frozenset({
    "cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId", "cancelRestrictions",
    "orderRateLimitExceededMode",
})  # fmt: skip
_FILTERS = (Why.PRICE_FILTER, Why.LOT_SIZE, Why.NOTIONAL, Why.NOTIONAL_MAX, Why.PERCENT_PRICE, Why.UNKNOWN_SYMBOL)
_LETTERS = string.ascii_letters + string.digits


class Desk(Protocol):
    """What the order calls need beside the exchange."""

    def check_time(self, parameters: Parameters) -> None:
        """Check the request's time just before the matching engine. Raises VenueError."""

    def is_hidden(self, order: HeldOrder) -> bool:
        """Tell whether queries do not see this order yet."""

    def before_cancel(self, order: HeldOrder) -> None:
        """Let somebody fill the order between its cancel and the answer."""


class BinanceTrading:
    """One account's order calls."""

    def __init__(self, account: BinanceAccount, limits: BinanceLimits, desk: Desk, generator: random.Random) -> None:
        exchange = account.exchange
        self._exchange = exchange
        self._account = account
        self._limits = limits
        self._desk = desk
        self._random = generator
        self.cancel_ids: dict[int, str] = {}
        """By order id: the id of the cancel that ended it."""
        window = frozenset({"startTime", "endTime", "limit"})
        order = Call(self._place, weighs(1), ORDER_NAMES, is_signed=True, is_trading=True, is_free_on_success=True)
        cancels = IDENTITY | {"newClientOrderId", "cancelRestrictions"}
        self.calls = {
            "order.place": order,
            "order.test": msgspec.structs.replace(
                order, answer=self._test, weight=_test_weight, known=ORDER_NAMES | {"computeCommissionRates"},
                is_free_on_success=False,
            ),
            "order.cancel": msgspec.structs.replace(order, answer=self._cancel, known=cancels),
            "order.cancelReplace": msgspec.structs.replace(order, answer=self._replace, known=ORDER_NAMES | REPLACE_NAMES),
            "openOrders.cancelAll": msgspec.structs.replace(order, answer=self._cancel_all, known=frozenset({"symbol"})),
            "order.status": Call(self._query, weighs(4), IDENTITY, is_signed=True),
            "openOrders.status": Call(self._open_orders, _open_weight, frozenset({"symbol"}), is_signed=True),
            "allOrders": Call(self._all_orders, weighs(20), window | {"symbol", "orderId"}, is_signed=True),
            "myTrades": Call(self._my_trades, _trades_weight, window | {"symbol", "orderId", "fromId"}, is_signed=True),
            "account.rateLimits.orders": Call(lambda _: limits.order_rows(), weighs(40), is_signed=True),
        }  # fmt: skip
        exchange.listen(self._on_update)

    def make_id(self) -> str:
        """Make an id for an order or a cancel that came without one."""
        return "".join(self._random.choices(_LETTERS, k=CLIENT_ID_LENGTH))

    def _on_update(self, update: Update) -> None:
        """Count an order no more from its first fill on."""
        if update.happened is Happened.TRADED and len(update.order.executions) == 1:
            self._limits.give_back_order()

    def _place(self, parameters: Parameters) -> Row:
        request = read_order(parameters, self.make_id)
        self._limits.take_order()
        self._desk.check_time(parameters)
        return self._enter(request, parameters)

    def _enter(self, request: OrderRequest, parameters: Parameters) -> Row:
        order = self._exchange.place(request)
        if isinstance(order, Rejection):
            raise refusal(order)
        return placed_row(order, parameters)

    def _test(self, parameters: Parameters) -> Row:
        request = read_order(parameters, self.make_id)
        rejection = self._exchange.check(request)
        if rejection is not None:
            raise refusal(rejection)
        if parameters.optional("computeCommissionRates") != "true":
            return {}
        return self._account.test_rates(request.symbol)

    def _cancel(self, parameters: Parameters) -> Row:
        order = self._find(parameters, "orderId", "origClientOrderId")
        return self._end(order, parameters, parameters.client_id("newClientOrderId") or self.make_id())

    def _end(self, order: HeldOrder | None, parameters: Parameters, cancel_id: str) -> Row:
        """Cancel one order. Raises VenueError."""
        restriction = parameters.optional("cancelRestrictions")
        if restriction is not None and restriction not in RESTRICTIONS:
            raise VenueError(-1145, "Invalid cancelRestrictions")
        if order is None or not order.is_open:
            raise unknown_order()
        if restriction is not None and order.status is not RESTRICTIONS[restriction]:
            raise VenueError(-2011, "Order was not canceled due to cancel restrictions.")
        self.cancel_ids[order.order_id] = cancel_id
        self._desk.before_cancel(order)
        if self._exchange.cancel(order) is not None:
            raise unknown_order()
        return cancelled_row(order, cancel_id)

    def _cancel_all(self, parameters: Parameters) -> list[Row]:
        symbol = self._symbol(parameters)
        orders = list(self._exchange.orders(symbol, is_open=True))
        halves = [_attempt(partial(self._end, order, parameters, self.make_id())) for order in orders]
        rows = [half for half in halves if not isinstance(half, VenueError)]
        if not rows:
            raise unknown_order()
        return rows

    def _replace(self, parameters: Parameters) -> Row:
        """Cancel one order and place another. Filters and the order limit come before the cancel."""
        mode = parameters.text("cancelReplaceMode")
        if mode not in {"STOP_ON_FAILURE", "ALLOW_FAILURE"}:
            raise VenueError(-1130, "Data sent for parameter 'cancelReplaceMode' is not valid.")
        request = read_order(parameters, self.make_id)
        rejection = self._exchange.check(msgspec.structs.replace(request, client_id=""))
        if rejection is not None and rejection.why in _FILTERS:
            raise refusal(rejection)
        order = self._find(parameters, "cancelOrderId", "cancelOrigClientOrderId")
        cancel_id = parameters.client_id("cancelNewClientOrderId") or self.make_id()
        is_cancel_only = False
        try:
            self._limits.take_order()
        except VenueError:
            is_cancel_only = parameters.optional("orderRateLimitExceededMode") == "CANCEL_ONLY"
            if not is_cancel_only:
                raise
        self._desk.check_time(parameters)
        cancelled = _attempt(lambda: self._end(order, parameters, cancel_id))
        stops = is_cancel_only or (mode == "STOP_ON_FAILURE" and isinstance(cancelled, VenueError))
        entered = None if stops else _attempt(lambda: self._enter(request, parameters))
        return _replaced(cancelled, entered)

    def _query(self, parameters: Parameters) -> Row:
        order = self._find(parameters, "orderId", "origClientOrderId")
        if order is None or self._desk.is_hidden(order):
            raise VenueError(-2013, "Order does not exist.")
        return queried_row(order)

    def _open_orders(self, parameters: Parameters) -> list[Row]:
        symbol = self._symbol(parameters) if "symbol" in parameters else None
        orders = self._exchange.orders(symbol, is_open=True)
        return [queried_row(order) for order in orders if not self._desk.is_hidden(order)]

    def _all_orders(self, parameters: Parameters) -> list[Row]:
        symbol, limit = self._symbol(parameters), _limit(parameters)
        from_id, (start_ms, end_ms) = parameters.integer("orderId", 0), _window(parameters)
        orders = [
            order for order in self._exchange.orders(symbol)
            if order.order_id >= from_id and start_ms <= order.created_ns // 1_000_000 <= end_ms
            and not self._desk.is_hidden(order)
        ]  # fmt: skip
        is_onward = "orderId" in parameters or "startTime" in parameters
        return [queried_row(order) for order in (orders[:limit] if is_onward else orders[-limit:])]

    def _my_trades(self, parameters: Parameters) -> list[Row]:
        symbol, limit = self._symbol(parameters), _limit(parameters)
        order_id, from_id = parameters.integer("orderId", 0), parameters.integer("fromId", 0)
        start_ms, end_ms = _window(parameters)
        if ("orderId" in parameters or "fromId" in parameters) and ("startTime" in parameters or "endTime" in parameters):
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        trades = [
            (execution, order) for order in self._exchange.orders(symbol) for execution in order.executions
            if (not order_id or order.order_id == order_id) and execution.trade_id >= from_id
            and not self._desk.is_hidden(order) and start_ms <= execution.at_ns // 1_000_000 <= end_ms
        ]  # fmt: skip
        trades.sort(key=lambda pair: pair[0].trade_id)
        chosen = trades[:limit] if "fromId" in parameters or "startTime" in parameters else trades[-limit:]
        return [trade_row(order, execution) for execution, order in chosen]

    def _symbol(self, parameters: Parameters) -> str:
        symbol = parameters.text("symbol")
        if symbol not in self._exchange.markets:
            raise VenueError(-1121, "Invalid symbol.")
        return symbol

    def _find(self, parameters: Parameters, id_name: str, client_name: str) -> HeldOrder | None:
        """Find the order that these parameters name; both given must name the same. Raises VenueError."""
        symbol = self._symbol(parameters)
        client_id = parameters.optional(client_name)
        if id_name not in parameters:
            if client_id is None:
                words = f"Param '{client_name}' or '{id_name}' must be sent, but both were empty/null!"
                raise VenueError(-1102, words)
            return self._exchange.find(symbol, client_id=client_id)
        order = self._exchange.find(symbol, order_id=parameters.integer(id_name, 0))
        if order is not None and client_id is not None and order.request.client_id != client_id:
            raise VenueError(-2039, "Client order ID is not correct for this order ID.")
        return order


def unknown_order() -> VenueError:
    """Make the refusal to cancel what is not open."""
    return VenueError(-2011, "Unknown order sent.")


def _attempt(act: Callable[[], Row]) -> Row | VenueError:
    try:
        return act()
    except VenueError as refused:
        return refused


def _replaced(cancelled: Row | VenueError, entered: Row | VenueError | None) -> Row:
    """Join both halves of a replacement. Raises VenueError unless both succeeded."""
    body: Row = {"cancelResult": _result(cancelled), "newOrderResult": _result(entered)}
    body["cancelResponse"] = cancelled.body() if isinstance(cancelled, VenueError) else cancelled
    body["newOrderResponse"] = entered.body() if isinstance(entered, VenueError) else entered
    results = {body["cancelResult"], body["newOrderResult"]}
    if results == {"SUCCESS"}:
        return body
    if "SUCCESS" in results:
        failure = VenueError(-2021, "Order cancel-replace partially failed.", 409)
    else:
        failure = VenueError(-2022, "Order cancel-replace failed.")
    failure.data = body
    raise failure


def _result(half: Row | VenueError | None) -> str:
    if half is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(half, VenueError) else "SUCCESS"


def _limit(parameters: Parameters) -> int:
    return max(1, min(parameters.integer("limit", LIST_DEFAULT), LIST_MAX))


def _window(parameters: Parameters) -> tuple[int, int]:
    start_ms, end_ms = parameters.integer("startTime", 0), parameters.integer("endTime", 0)
    if start_ms and end_ms and end_ms - start_ms > DAY_MS:
        raise VenueError(-1127, "More than 24 hours between startTime and endTime.")
    if start_ms and end_ms and end_ms < start_ms:
        raise VenueError(-1130, "Data sent for parameter 'endTime' is not valid.")
    return start_ms, end_ms or (start_ms + DAY_MS if start_ms else 2**62)


def _test_weight(parameters: Parameters) -> int:
    return 20 if parameters.optional("computeCommissionRates") == "true" else 1


def _open_weight(parameters: Parameters) -> int:
    return 6 if "symbol" in parameters else 80


def _trades_weight(parameters: Parameters) -> int:
    return 5 if "orderId" in parameters else 20
