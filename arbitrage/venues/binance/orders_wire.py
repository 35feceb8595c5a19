"""Binance's order answers and execution reports as events. Pure: any bytes give news or a named fault, never an exception.

Source: reference binance-spot 7 and 11. Amounts are read exactly from text. The same fill has the same trade id and amounts
whether it came with the answer, by the stream or from the list of trades; where the answer's fills do not state that exactly,
they are left out and `lacks_fills` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from arbitrage.model.events import FaultKind, FeedFault, OrderAccepted, OrderEnded, OrderFilled
from arbitrage.model.instruments import Instrument, Side, Venue
from arbitrage.model.money import E8, Asset, format_e8, parse_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, TimeInForce
from arbitrage.venues.wire import DECODING_ERRORS, fault_from, short
from arbitrage.venues.wiring import VenueEvent

OrderKey = tuple[str, int]
"""Symbol and the venue's order id."""
ENDS = {
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELLED,
    "EXPIRED": OrderState.CANCELLED,
    "EXPIRED_IN_MATCH": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
}
"""An IOC that filled partly ends EXPIRED, and self-trade prevention EXPIRED_IN_MATCH: what filled decides, not the word."""
OPEN_WORDS = frozenset(("NEW", "PENDING_NEW", "PARTIALLY_FILLED", "PENDING_CANCEL"))
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
FORCES = {TimeInForce.IOC: "IOC", TimeInForce.GTC: "GTC"}
AMOUNT_E8_MAX = 10**30
"""No venue writes a larger one."""


class OrderNews(msgspec.Struct, frozen=True):
    """What one message says of one order, in the order in which it is told: accepted, fills, ended."""

    key: OrderKey
    client_order_id: ClientOrderId
    total_e8: int
    """Filled in all, by the venue's own count."""
    is_ended: bool
    venue_ms: int
    accepted: tuple[VenueEvent, ...]
    fills: tuple[OrderFilled, ...]
    ended: tuple[VenueEvent, ...]
    """The last word, or a fault that names a word we do not know."""
    execution_id: int = -1

    @property
    def lacks_fills(self) -> bool:
        """Tell whether the fills in it are less than its total."""
        return sum(filled.fill.quantity_e8 for filled in self.fills) < self.total_e8


class _AnswerFill(msgspec.Struct, rename="camel"):
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int


class _Order(msgspec.Struct, rename="camel"):
    """The answers to placing, cancelling and asking, and an entry of openOrders."""

    symbol: str
    order_id: int
    client_order_id: str = ""
    orig_client_order_id: str = ""
    """In the answer to a cancellation, where the other one names the cancel request."""
    executed_qty: str = "0"
    cummulative_quote_qty: str = "0"
    status: str = ""
    expiry_reason: str = ""
    transact_time: int = 0
    update_time: int = 0
    fills: list[_AnswerFill] = []


class _Trade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    price: str
    qty: str
    quote_qty: str
    commission: str
    is_buyer: bool
    is_maker: bool
    commission_asset: str | None = None


class _Report(msgspec.Struct):
    """An executionReport; the venue's names are single letters."""

    symbol: str = msgspec.field(name="s")
    client_order_id: str = msgspec.field(name="c")
    side: str = msgspec.field(name="S")
    status: str = msgspec.field(name="X")
    order_id: int = msgspec.field(name="i")
    happened: str = msgspec.field(name="x", default="")
    original_id: str = msgspec.field(name="C", default="")
    reject_reason: str = msgspec.field(name="r", default="NONE")
    expiry_reason: str = msgspec.field(name="eR", default="")
    total: str = msgspec.field(name="z", default="0")
    quantity: str = msgspec.field(name="l", default="0")
    price: str = msgspec.field(name="L", default="0")
    quote: str = msgspec.field(name="Y", default="0")
    fee: str = msgspec.field(name="n", default="0")
    fee_asset: str | None = msgspec.field(name="N", default=None)
    venue_ms: int = msgspec.field(name="T", default=0)
    trade_id: int = msgspec.field(name="t", default=-1)
    execution_id: int = msgspec.field(name="I", default=-1)
    is_maker: bool = msgspec.field(name="m", default=False)


_read_order = msgspec.json.Decoder(_Order).decode
_read_trades = msgspec.json.Decoder(list[_Trade]).decode
_read_report = msgspec.json.Decoder(_Report).decode
READING_ERRORS = (*DECODING_ERRORS, ValueError)
"""ValueError: a number that is not exact, not positive where it must be, or a word that has no meaning."""


def place_parameters(order: Order, symbol: str) -> dict[str, str | int]:
    """Return the parameters of a limit order, prices and quantities as plain decimals."""
    return {
        "symbol": symbol,
        "side": order.side.name,
        "type": "LIMIT",
        "timeInForce": FORCES[order.time_in_force],
        "quantity": format_e8(order.quantity_e8),
        "price": format_e8(order.price_e8),
        "newClientOrderId": order.client_order_id,
        "newOrderRespType": "FULL",
    }


class OrdersCodec:
    """Bytes to news about the orders of one account."""

    def __init__(self, venue: Venue, markets: Mapping[str, int], instrument: Callable[[int], Instrument | None]) -> None:
        self._venue = venue
        self._markets = dict(markets)
        self._instrument = instrument

    def placed(self, body: bytes, order: Order, at_ns: int) -> OrderNews | FeedFault:
        """Read the FULL answer to an order; an ACK, which has no status, only says that it was accepted."""
        try:
            answer = _read_order(body)
            total_e8 = amount_e8(answer.executed_qty)
            fills = _answer_fills(answer, order) if answer.fills else []
            return self._news(answer, order.client_order_id, tuple(OrderFilled(at_ns, fill) for fill in fills), at_ns, total_e8)
        except READING_ERRORS as error:
            return self._fault(error, at_ns, order.market)

    def status(self, body: bytes, client_order_id: ClientOrderId, market: int, at_ns: int) -> OrderNews | FeedFault:
        """Read an order's state or the answer to its cancellation. Neither holds fills."""
        try:
            answer = _read_order(body)
            return self._news(answer, client_order_id, (), at_ns, amount_e8(answer.executed_qty))
        except READING_ERRORS as error:
            return self._fault(error, at_ns, market)

    def trades(self, body: bytes, news: OrderNews, market: int, at_ns: int) -> Sequence[OrderFilled] | FeedFault:
        """Read the fills of the order that `news` is about; trades of other orders are left out."""
        try:
            trades = [trade for trade in _read_trades(body) if (trade.symbol, trade.order_id) == news.key]
            return [OrderFilled(at_ns, self._traded(trade, market, news.client_order_id)) for trade in trades]
        except READING_ERRORS as error:
            return self._fault(error, at_ns, market)

    def report(self, body: bytes, known: Mapping[OrderKey, ClientOrderId], at_ns: int) -> OrderNews | FeedFault | None:
        """Read an executionReport; None for a market that is not configured.

        On a cancellation `c` names the cancel request and `C` our order, so the venue's order id is looked up first.
        """
        market: int | None = None
        try:
            report = _read_report(body)
            market = self._markets.get(report.symbol)
            if market is None:
                return None
            key = (report.symbol, report.order_id)
            client_order_id = known.get(key) or ClientOrderId(report.original_id or report.client_order_id)
            fills = (OrderFilled(at_ns, self._reported(report, market, client_order_id)),) if report.happened == "TRADE" else ()
            total_e8 = amount_e8(report.total)
            return OrderNews(
                key=key,
                client_order_id=client_order_id,
                total_e8=total_e8,
                is_ended=report.status in ENDS,
                venue_ms=report.venue_ms,
                accepted=(OrderAccepted(at_ns, client_order_id, str(report.order_id)),) if report.happened == "NEW" else (),
                fills=fills,
                ended=self._last_word(client_order_id, report.status, _why(report), at_ns, total_e8),
                execution_id=report.execution_id,
            )
        except READING_ERRORS as error:
            return self._fault(error, at_ns, market)

    def _news(
        self, answer: _Order, client_order_id: ClientOrderId, fills: tuple[OrderFilled, ...], at_ns: int, total_e8: int
    ) -> OrderNews:
        # A state after a cancellation may name the cancel request, as the stream does: nothing says which id stays.
        named = answer.orig_client_order_id or ("" if answer.status == "CANCELED" else answer.client_order_id)
        if named not in ("", client_order_id):
            raise ValueError("an answer about another order")
        accepted = () if answer.status == "REJECTED" else (OrderAccepted(at_ns, client_order_id, str(answer.order_id)),)
        reason = answer.expiry_reason or answer.status
        return OrderNews(
            key=(answer.symbol, answer.order_id),
            client_order_id=client_order_id,
            total_e8=total_e8,
            is_ended=answer.status in ENDS,
            venue_ms=answer.update_time or answer.transact_time,
            accepted=accepted,
            fills=fills,
            ended=self._last_word(client_order_id, answer.status, reason, at_ns, total_e8) if answer.status else (),
        )

    def _last_word(
        self, client_order_id: ClientOrderId, status: str, reason: str, at_ns: int, total_e8: int
    ) -> tuple[VenueEvent, ...]:
        state = ENDS.get(status)
        if state is not None:
            return (OrderEnded(at_ns, client_order_id, state, total_e8, short(reason)),)
        if status in OPEN_WORDS:
            return ()
        return (FeedFault(at_ns, self._venue, FaultKind.UNKNOWN_FIELD_VALUE, short(f"order status {status}")),)

    def _reported(self, report: _Report, market: int, client_order_id: ClientOrderId) -> Fill:
        if report.trade_id < 0:
            raise ValueError(f"a fill without a trade id: {report.trade_id}")
        fill = Fill(
            venue=self._venue,
            market=market,
            client_order_id=client_order_id,
            trade_id=str(report.trade_id),
            side=_side(report.side),
            price_e8=positive_e8(report.price),
            quantity_e8=positive_e8(report.quantity),
            quote_e8=amount_e8(report.quote),
            fee_e8=parse_e8(report.fee),
            fee_asset=Asset(report.fee_asset or ""),
            is_maker=report.is_maker,
        )
        return fill if report.fee_asset else self._without_fee(fill)

    def _traded(self, trade: _Trade, market: int, client_order_id: ClientOrderId) -> Fill:
        fill = Fill(
            venue=self._venue,
            market=market,
            client_order_id=client_order_id,
            trade_id=str(trade.id),
            side=Side.BUY if trade.is_buyer else Side.SELL,
            price_e8=positive_e8(trade.price),
            quantity_e8=positive_e8(trade.qty),
            quote_e8=amount_e8(trade.quote_qty),
            fee_e8=parse_e8(trade.commission),
            fee_asset=Asset(trade.commission_asset or ""),
            is_maker=trade.is_maker,
        )
        return fill if trade.commission_asset else self._without_fee(fill)

    def _without_fee(self, fill: Fill) -> Fill:
        """Name an asset where the venue names none, which it may only for no fee: what was received, as it would be."""
        rules = self._instrument(fill.market)
        if fill.fee_e8 != 0 or rules is None:
            raise ValueError("a fee without an asset")
        return msgspec.structs.replace(fill, fee_asset=rules.received_node(fill.side).asset)

    def _fault(self, error: Exception, at_ns: int, market: int | None) -> FeedFault:
        if isinstance(error, DECODING_ERRORS):
            return fault_from(error, self._venue, at_ns, market)
        return FeedFault(at_ns, self._venue, FaultKind.OUT_OF_RANGE, short(str(error)), market)


def amount_e8(text: str) -> int:
    """Read an amount exactly. Raises ValueError when it is negative, off the grid, or beyond reason."""
    value = parse_e8(text)
    if not 0 <= value <= AMOUNT_E8_MAX:
        raise ValueError(f"an amount out of range: {text!r}")
    return value


def positive_e8(text: str) -> int:
    """Read an amount that moves something. Raises ValueError."""
    value = amount_e8(text)
    if value == 0:
        raise ValueError("a fill of nothing")
    return value


def _answer_fills(answer: _Order, order: Order) -> list[Fill]:
    """Read the fills of a FULL answer; they do not state quote amounts, so price times quantity must give them exactly.

    A single fill has the order's own total. Whatever does not add up is left out: the list of trades states it.
    """
    total_quote_e8 = amount_e8(answer.cummulative_quote_qty)
    fills: list[Fill] = []
    for entry in answer.fills:
        price_e8, quantity_e8 = positive_e8(entry.price), positive_e8(entry.qty)
        quote_e8, remainder = divmod(price_e8 * quantity_e8, E8)
        if len(answer.fills) == 1:
            quote_e8, remainder = total_quote_e8, 0
        if remainder or entry.trade_id < 0:
            return []
        fills.append(Fill(
            venue=order.venue,
            market=order.market,
            client_order_id=order.client_order_id,
            trade_id=str(entry.trade_id),
            side=order.side,
            price_e8=price_e8,
            quantity_e8=quantity_e8,
            quote_e8=quote_e8,
            fee_e8=parse_e8(entry.commission),
            fee_asset=Asset(entry.commission_asset),
        ))  # fmt: skip
    return fills if sum(fill.quote_e8 for fill in fills) == total_quote_e8 else []


def _side(word: str) -> Side:
    side = SIDES.get(word)
    if side is None:
        raise ValueError(f"side {word}")
    return side


def _why(report: _Report) -> str:
    """Return the most telling word for an end."""
    return report.expiry_reason or (report.reject_reason if report.reject_reason != "NONE" else report.status)
