"""Upbit's order words: a POST body becomes a request of the exchange, an order becomes a REST row (sheet, section 7).

Judges the shape of a request alone: what it may cost and whether it fits the market is the exchange's business.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Mapping

from arbitrage.model.instruments import Side
from arbitrage.model.money import format_e8, notional_up_e8, parse_e8
from arbitrage.sim.exchange.nouns import Execution, Force, HeldOrder, OrderRequest, OrderType, SelfTrade, Status
from arbitrage.sim.server.upbit_errors import UpbitRefusal
from arbitrage.sim.server.upbit_market import KST

SIDES = {"bid": Side.BUY, "ask": Side.SELL}
FORCES = {None: Force.GTC, "ioc": Force.IOC, "fok": Force.FOK, "post_only": Force.GTC}
SELF_TRADES = {
    "cancel_maker": SelfTrade.CANCEL_MAKER,
    "cancel_taker": SelfTrade.CANCEL_TAKER,
    "reduce": SelfTrade.REDUCE,
    "none": SelfTrade.NONE,
}
_SELF_TRADE_WORDS = {value: word for word, value in SELF_TRADES.items()}
IDENTIFIER_CHARACTERS_MAX = 128
Row = dict[str, object]
Words = Mapping[str, str]


def side_word(side: Side) -> str:
    """Return `bid` or `ask`."""
    return "bid" if side is Side.BUY else "ask"


def parse_order(words: Words) -> OrderRequest:
    """Read an order's parameters. Raises UpbitRefusal when they do not fit together."""
    side = SIDES.get(words.get("side", ""))
    if side is None:
        raise UpbitRefusal("validation_error", "side is missing, side does not have a valid value")
    if not words.get("market"):
        raise UpbitRefusal("validation_error", "market is missing, market does not have a valid value")
    wrong = UpbitRefusal(f"create_{side_word(side)}_error")
    force_word = words.get("time_in_force")
    if force_word not in FORCES or len(words.get("identifier", "")) > IDENTIFIER_CHARACTERS_MAX:
        raise wrong
    price_e8, volume_e8 = (_amount(words, name, wrong) for name in ("price", "volume"))
    kind = _kind(words.get("ord_type"), side, force_word, price_e8 is not None, volume_e8 is not None)
    if kind is None:
        raise wrong
    is_by_total = side is Side.BUY and kind in (OrderType.MARKET, OrderType.BEST)
    return OrderRequest(
        symbol=words["market"],
        side=side,
        type=kind,
        force=FORCES[force_word],
        price_e8=None if is_by_total else price_e8,
        quantity_e8=volume_e8,
        quote_e8=price_e8 if is_by_total else None,
        client_id=words.get("identifier", ""),
        self_trade=_self_trade(words.get("smp_type"), kind, wrong),
    )


def _kind(word: str | None, side: Side, force: str | None, *given: bool) -> OrderType | None:
    """Return the type when price, volume and time in force fit it (the sheet's table); None when they do not."""
    wants = (side is Side.BUY, side is Side.SELL)
    match word:
        case "limit" if given == (True, True):
            return OrderType.POST_ONLY if force == "post_only" else OrderType.LIMIT
        case "price" if side is Side.BUY and given == (True, False) and force is None:
            return OrderType.MARKET
        case "market" if side is Side.SELL and given == (False, True) and force is None:
            return OrderType.MARKET
        case "best" if given == wants and force in ("ioc", "fok"):
            return OrderType.BEST
    return None


def _self_trade(word: str | None, kind: OrderType, wrong: UpbitRefusal) -> SelfTrade:
    """Return what happens between own orders: since 2026-11-09 `cancel_maker` unless told, `none` for post_only."""
    if kind is OrderType.POST_ONLY:
        if word not in (None, "none"):
            raise wrong
        return SelfTrade.NONE
    if word is None:
        return SelfTrade.CANCEL_MAKER
    if word not in SELF_TRADES:
        raise wrong
    return SELF_TRADES[word]


def _amount(words: Words, name: str, wrong: UpbitRefusal) -> int | None:
    if name not in words:
        return None
    try:
        amount_e8 = parse_e8(words[name])
    except ValueError:
        raise wrong from None
    if amount_e8 <= 0:
        raise wrong
    return amount_e8


def uuid_of(kind: str, number: int) -> str:
    """Return the identity under which the wire knows an order, a trade or an asset."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"{kind} {number}".encode()).digest()[:16], version=4))


def order_type(request: OrderRequest) -> str:
    """Return the wire's order type."""
    if request.type is OrderType.MARKET:
        return "price" if request.side is Side.BUY else "market"
    return "best" if request.type is OrderType.BEST else "limit"


def time_in_force(request: OrderRequest) -> str | None:
    """Return the wire's time in force; None for an order that simply rests, or a market order."""
    if request.type is OrderType.POST_ONLY:
        return "post_only"
    if request.type is OrderType.MARKET:
        return None
    return {Force.IOC: "ioc", Force.FOK: "fok"}.get(request.force)


def smp_type(request: OrderRequest) -> str:
    """Return the wire's self-match prevention."""
    return _SELF_TRADE_WORDS[request.self_trade]


def state_word(order: HeldOrder) -> str:
    """Return wait, done or cancel. `cancel` does not mean unfilled: it is every end but the whole quantity."""
    if order.is_open:
        return "wait"
    return "done" if order.status is Status.FILLED else "cancel"


def iso_kst(at_ns: int, timespec: str = "seconds") -> str:
    """Write a moment as Upbit does, with Korea's zone."""
    return datetime.datetime.fromtimestamp(at_ns / 1e9, KST).isoformat(timespec=timespec)


def asked(request: OrderRequest) -> tuple[int | None, int | None]:
    """Return price and volume as they were sent; an order by total carries it as its price."""
    return (request.price_e8 if request.quote_e8 is None else request.quote_e8), request.quantity_e8


def remaining_fee_e8(order: HeldOrder) -> int:
    """Return what is still locked for fees; an ask locks none."""
    if order.request.side is Side.SELL or not order.is_open:
        return 0
    request = order.request
    worth_e8 = order.remaining_quote_e8
    if request.quantity_e8 is not None and request.price_e8 is not None:
        worth_e8 = notional_up_e8(request.price_e8, order.remaining_e8)
    return max(order.locked_e8 - worth_e8, 0)


def prevented_locked_e8(order: HeldOrder) -> int:
    """Return what self-match prevention unlocked: quote of a bid, base of an ask."""
    if order.request.side is Side.SELL or order.request.price_e8 is None:
        return order.prevented_e8
    return notional_up_e8(order.request.price_e8, order.prevented_e8)


def order_row(order: HeldOrder) -> Row:
    """Return an order as POST and DELETE answer it: amounts as text, no fill told, null where a field does not apply."""
    request = order.request
    price_e8, volume_e8 = asked(request)
    return {
        "market": request.symbol,
        "uuid": uuid_of("order", order.order_id),
        "side": side_word(request.side),
        "ord_type": order_type(request),
        "price": _text(price_e8),
        "state": state_word(order),
        "created_at": iso_kst(order.created_ns),
        "volume": _text(volume_e8),
        "remaining_volume": None if volume_e8 is None else format_e8(order.remaining_e8),
        "executed_volume": format_e8(order.executed_e8),
        "reserved_fee": format_e8(order.reserved_fee_e8),
        "remaining_fee": format_e8(remaining_fee_e8(order)),
        "paid_fee": format_e8(order.paid_fee_e8),
        "locked": format_e8(order.locked_e8),
        "prevented_volume": format_e8(order.prevented_e8),
        "prevented_locked": format_e8(prevented_locked_e8(order)),
        "trades_count": len(order.executions),
        "time_in_force": time_in_force(request),
        "identifier": request.client_id or None,
        "smp_type": smp_type(request),
    }


def listed_row(order: HeldOrder) -> Row:
    """Return an order as lists and queries show it: with its funds, and without the fields that do not apply."""
    row = {**order_row(order), "executed_funds": format_e8(order.executed_quote_e8)}
    return {name: value for name, value in row.items() if value is not None}


def detailed_row(order: HeldOrder) -> Row:
    """Return an order with its trades, as `GET /v1/order` does."""
    return {**listed_row(order), "trades": [trade_row(order, one) for one in order.executions]}


def trade_row(order: HeldOrder, execution: Execution) -> Row:
    """Return one fill; the fee is told for the order alone."""
    return {
        "market": order.request.symbol,
        "uuid": uuid_of("trade", execution.trade_id),
        "price": format_e8(execution.price_e8),
        "volume": format_e8(execution.quantity_e8),
        "funds": format_e8(execution.quote_e8),
        "trend": "up" if execution.taker_side is Side.BUY else "down",
        "created_at": iso_kst(execution.at_ns, "microseconds"),
        "side": side_word(order.request.side),
    }


def _text(value_e8: int | None) -> str | None:
    return None if value_e8 is None else format_e8(value_e8)
