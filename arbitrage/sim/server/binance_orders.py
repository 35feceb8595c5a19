"""Binance's words for orders: parameters into an order request, held orders into answers, refusals into codes. Places nothing.

Shapes and words: reference sheet, sections 6, 7 and 12.
"""

from __future__ import annotations

from collections.abc import Callable

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.nouns import (
    Execution,
    Force,
    HeldOrder,
    OrderRequest,
    OrderType,
    Rejection,
    SelfTrade,
    Status,
    Why,
)  # fmt: skip
from arbitrage.sim.server.binance_wire import Parameters, VenueError, decimal_text, missing, superfluous

Row = dict[str, object]
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
FORCES = {"GTC": Force.GTC, "IOC": Force.IOC, "FOK": Force.FOK}
TYPES = {"LIMIT": OrderType.LIMIT, "LIMIT_MAKER": OrderType.POST_ONLY, "MARKET": OrderType.MARKET}
UNSERVED_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
SELF_TRADES = {
    "NONE": SelfTrade.NONE, "EXPIRE_TAKER": SelfTrade.CANCEL_TAKER, "EXPIRE_MAKER": SelfTrade.CANCEL_MAKER,
    "EXPIRE_BOTH": SelfTrade.CANCEL_BOTH, "DECREMENT": SelfTrade.REDUCE, "TRANSFER": SelfTrade.TRANSFER,
}  # fmt: skip
DEFAULT_SELF_TRADE = "EXPIRE_MAKER"
PRICE_E8_MAX = 100_000_000_000_000
ANSWER_KINDS = ("ACK", "RESULT", "FULL")
ORDER_NAMES = frozenset({
    "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId", "newOrderRespType",
    "selfTradePreventionMode", "strategyId", "strategyType", "stopPrice", "trailingDelta", "icebergQty",
})  # fmt: skip
_SIDE_WORDS = {side: word for word, side in SIDES.items()}
_FORCE_WORDS = {force: word for word, force in FORCES.items()}
_TYPE_WORDS = {kind: word for word, kind in TYPES.items()}
_SELF_TRADE_WORDS = {mode: word for word, mode in SELF_TRADES.items()}
_FILTER_WORDS = {
    Why.PRICE_FILTER: "PRICE_FILTER", Why.LOT_SIZE: "LOT_SIZE", Why.NOTIONAL: "NOTIONAL", Why.NOTIONAL_MAX: "NOTIONAL",
    Why.PERCENT_PRICE: "PERCENT_PRICE_BY_SIDE",
}  # fmt: skip
_ENGINE_WORDS = {
    Why.MAX_ORDERS: "Filter failure: MAX_NUM_ORDERS",
    Why.HALTED: "Market is closed.",
    Why.INSUFFICIENT: "Account has insufficient balance for requested action.",
    Why.DUPLICATE_ID: "Duplicate order sent.",
    Why.WOULD_TAKE: "Order would immediately match and take.",
    Why.NOT_PERMITTED: "This symbol is not permitted for this account.",
    Why.NO_LIQUIDITY: "Order book liquidity is less than LOT_SIZE filter minimum quantity.",
}


def read_order(parameters: Parameters, make_id: Callable[[], str]) -> OrderRequest:
    """Read a new order, each parameter in the venue's own way. Raises VenueError."""
    symbol = parameters.text("symbol")
    side, kind = _side(parameters), _type(parameters)
    for name in ("stopPrice", "trailingDelta", "icebergQty"):
        if name in parameters:
            raise superfluous(name)
    force, price_e8, quote_e8 = Force.GTC, None, None
    quantity_e8 = parameters.amount_e8("quantity") if "quantity" in parameters else None
    if kind is OrderType.MARKET:
        quote_e8 = _market_quote(parameters, quantity_e8)
    else:
        if quantity_e8 is None:
            raise missing("quantity")
        if "quoteOrderQty" in parameters:
            raise superfluous("quoteOrderQty")
        price_e8 = parameters.amount_e8("price")
        if price_e8 > PRICE_E8_MAX:
            raise VenueError(-1013, "Filter failure: PRICE_FILTER")
    if kind is OrderType.LIMIT:
        force = _force(parameters)
    elif "timeInForce" in parameters:
        raise superfluous("timeInForce")
    client_id = parameters.client_id("newClientOrderId") or make_id()
    _answer_kind(parameters)
    _strategy(parameters)
    self_trade = _self_trade(parameters)
    return OrderRequest(symbol, side, kind, force, price_e8, quantity_e8, quote_e8, client_id, self_trade)


def refusal(rejection: Rejection) -> VenueError:
    """Put a refusal of a new order into the venue's code and words."""
    if rejection.why is Why.UNKNOWN_SYMBOL:
        return VenueError(-1121, "Invalid symbol.")
    if rejection.why in _FILTER_WORDS:
        return VenueError(-1013, f"Filter failure: {_FILTER_WORDS[rejection.why]}")
    return VenueError(-2010, _ENGINE_WORDS.get(rejection.why, "This action is disabled on this account."))


def placed_row(order: HeldOrder, parameters: Parameters) -> Row:
    """Write the answer to a placement: ACK, RESULT or FULL."""
    kind = _answer_kind(parameters)
    row: Row = {**_names(order), "transactTime": order.updated_ns // 1_000_000}
    if kind == "ACK":
        return row
    row |= _state(order, short_quote=True)
    row["workingTime"] = working_ms(order)
    row["selfTradePreventionMode"] = self_trade_word(order)
    row |= _extras(order) | {name: int(parameters.text(name)) for name in ("strategyId", "strategyType") if name in parameters}
    if kind == "FULL":
        row["fills"] = [_fill(execution) for execution in order.executions]
    if order.preventions:
        row["preventedMatches"] = _prevented_matches(order)
    return row


def cancelled_row(order: HeldOrder, cancel_id: str) -> Row:
    """Write the answer to a cancel: `clientOrderId` is the cancel's own id."""
    names = {**_names(order), "clientOrderId": cancel_id}
    row: Row = {"symbol": names.pop("symbol"), "origClientOrderId": order.request.client_id, **names}
    row["transactTime"] = order.updated_ns // 1_000_000
    row |= _state(order, short_quote=True)
    row["selfTradePreventionMode"] = self_trade_word(order)
    return row | _extras(order)


def queried_row(order: HeldOrder) -> Row:
    """Write the answer to a query, which is also a row of the lists."""
    state = _state(order)
    quote = state.pop("origQuoteOrderQty")
    return {
        **_names(order), **state, "stopPrice": "0.00000000", "icebergQty": "0.00000000",
        "time": order.created_ns // 1_000_000, "updateTime": order.updated_ns // 1_000_000, "isWorking": True,
        "workingTime": working_ms(order), "origQuoteOrderQty": quote, "selfTradePreventionMode": self_trade_word(order),
        **_extras(order),
    }  # fmt: skip


def trade_row(order: HeldOrder, execution: Execution) -> Row:
    """Write one row of `myTrades`."""
    return {
        "symbol": order.request.symbol, "id": execution.trade_id, "orderId": order.order_id, "orderListId": -1,
        "price": decimal_text(execution.price_e8), "qty": decimal_text(execution.quantity_e8),
        "quoteQty": decimal_text(execution.quote_e8), "commission": decimal_text(execution.fee_e8),
        "commissionAsset": execution.fee_asset, "time": execution.at_ns // 1_000_000,
        "isBuyer": order.request.side is Side.BUY, "isMaker": execution.is_maker, "isBestMatch": True,
    }  # fmt: skip


def status_word(order: HeldOrder) -> str:
    return order.status.name


def side_word(order: HeldOrder) -> str:
    return _SIDE_WORDS[order.request.side]


def type_word(order: HeldOrder) -> str:
    return _TYPE_WORDS.get(order.request.type, order.request.type.name)


def force_word(order: HeldOrder) -> str:
    return _FORCE_WORDS[order.request.force]


def self_trade_word(order: HeldOrder) -> str:
    return _SELF_TRADE_WORDS[order.request.self_trade]


def original_e8(order: HeldOrder) -> int:
    """Return the quantity asked for; of an order by quote amount, what it came to."""
    return order.executed_e8 if order.request.quantity_e8 is None else order.request.quantity_e8


def working_ms(order: HeldOrder) -> int:
    """Return when the order came onto the book: orders without a trigger work from the start."""
    return order.created_ns // 1_000_000


def _names(order: HeldOrder) -> Row:
    return {
        "symbol": order.request.symbol, "orderId": order.order_id, "orderListId": -1,
        "clientOrderId": order.request.client_id,
    }  # fmt: skip


def _state(order: HeldOrder, *, short_quote: bool = False) -> Row:
    quote = decimal_text(order.request.quote_e8 or 0)
    row: Row = {
        "price": decimal_text(order.request.price_e8 or 0), "origQty": decimal_text(original_e8(order)),
        "executedQty": decimal_text(order.executed_e8),
    }  # fmt: skip
    if short_quote:  # the venue prints six decimals here and eight in queries when there is none
        row["origQuoteOrderQty"] = quote if order.request.quote_e8 else "0.000000"
    row |= {
        "cummulativeQuoteQty": decimal_text(order.executed_quote_e8), "status": status_word(order),
        "timeInForce": force_word(order), "type": type_word(order), "side": side_word(order),
    }  # fmt: skip
    if not short_quote:
        row["origQuoteOrderQty"] = quote
    return row


def _extras(order: HeldOrder) -> Row:
    row: Row = {}
    if order.expiry_reason and order.status in (Status.EXPIRED, Status.EXPIRED_IN_MATCH):
        row["expiryReason"] = order.expiry_reason
    if order.prevented_e8:
        row["preventedMatchId"] = order.preventions[-1].match_id
        row["preventedQuantity"] = decimal_text(order.prevented_e8)
    return row


def _prevented_matches(order: HeldOrder) -> list[Row]:
    """Write the trades with orders of our own that a placement did not make."""
    return [
        {"preventedMatchId": one.match_id, "makerOrderId": one.maker_id, "price": decimal_text(one.price_e8)}
        | {
            name: decimal_text(taken_e8)
            for name, taken_e8 in (
                ("takerPreventedQuantity", one.taker_taken_e8), ("makerPreventedQuantity", one.maker_taken_e8)
            )
            if taken_e8
        }
        for one in order.preventions if one.taker_id == order.order_id
    ]  # fmt: skip


def _fill(execution: Execution) -> Row:
    return {
        "price": decimal_text(execution.price_e8), "qty": decimal_text(execution.quantity_e8),
        "commission": decimal_text(execution.fee_e8), "commissionAsset": execution.fee_asset,
        "tradeId": execution.trade_id,
    }  # fmt: skip


def _side(parameters: Parameters) -> Side:
    side = SIDES.get(parameters.text("side"))
    if side is None:
        raise VenueError(-1117, "Invalid side.")
    return side


def _type(parameters: Parameters) -> OrderType:
    word = parameters.text("type")
    if word in UNSERVED_TYPES:
        raise VenueError(-1020, "This operation is not supported.")
    if word not in TYPES:
        raise VenueError(-1116, "Invalid orderType.")
    return TYPES[word]


def _force(parameters: Parameters) -> Force:
    force = FORCES.get(parameters.text("timeInForce"))
    if force is None:
        raise VenueError(-1115, "Invalid timeInForce.")
    return force


def _market_quote(parameters: Parameters, quantity_e8: int | None) -> int | None:
    """Return a market order's quote amount; it has this or a quantity, never both."""
    if "price" in parameters:
        raise superfluous("price")
    if "quoteOrderQty" in parameters:
        if quantity_e8 is not None:
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        return parameters.amount_e8("quoteOrderQty")
    if quantity_e8 is None:
        raise VenueError(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
    return None


def _self_trade(parameters: Parameters) -> SelfTrade:
    mode = SELF_TRADES.get(parameters.optional("selfTradePreventionMode") or DEFAULT_SELF_TRADE)
    if mode is None:
        raise VenueError(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    if mode is SelfTrade.NONE:
        raise VenueError(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    return mode


def _answer_kind(parameters: Parameters) -> str:
    kind = parameters.optional("newOrderRespType")
    if kind is None:
        return "ACK" if parameters.optional("type") == "LIMIT_MAKER" else "FULL"
    if kind not in ANSWER_KINDS:
        raise VenueError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    return kind


def _strategy(parameters: Parameters) -> None:
    parameters.integer("strategyId", 0)
    if "strategyType" in parameters and parameters.integer("strategyType", 0) < 1_000_000:
        raise VenueError(-1134, "strategyType was less than 1000000.")
