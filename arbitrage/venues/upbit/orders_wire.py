"""Upbit's orders between nouns and wire: what is asked, what REST answers. Pure; any bytes give a picture or a named problem.

Source: reference upbit 6, 7, 9. `cancel` does not mean unfilled: how an order ended is decided by its executed volume. The
answer to a POST never tells the fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from arbitrage.model.events import AccountBalance, FaultKind, FeedFault, OpenOrder
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.money import Asset, format_e8
from arbitrage.model.orders import ClientOrderId, Order, OrderState, TimeInForce
from arbitrage.venues.upbit.amounts import e8
from arbitrage.venues.upbit.signing import Pairs
from arbitrage.venues.wire import DECODING_ERRORS, fault_from, short

SELF_MATCH = "cancel_maker"
"""Sent always: the default changed on 2026-11-09, and an order of ours that takes must not be stopped by one that rests."""
SIDE_WORDS = {Side.BUY: "bid", Side.SELL: "ask"}
SIDES = {word: side for side, word in SIDE_WORDS.items()}
OPEN_STATES = frozenset(("wait", "watch"))
ENDED_STATES = frozenset(("done", "cancel"))
ORDERS_PER_PAGE = 100


class TradePicture(msgspec.Struct, frozen=True):
    """One fill as REST shows it: without its fee."""

    trade_id: str
    price_e8: int
    quantity_e8: int
    quote_e8: int


class OrderPicture(msgspec.Struct, frozen=True):
    """An order as REST shows it."""

    symbol: str
    venue_order_id: str
    identifier: str
    side: Side
    state: str
    price_e8: int
    """0 where none was given (market sell); of a market buy it is the total to spend."""
    quantity_e8: int | None
    """None for a market buy."""
    executed_e8: int
    paid_fee_e8: int
    trades: tuple[TradePicture, ...]
    """By time, as the venue dates them."""
    trades_count: int

    @property
    def is_ended(self) -> bool:
        """Tell whether it ended. A state that nobody knows yet is no end."""
        return self.state in ENDED_STATES

    @property
    def end_state(self) -> OrderState:
        return ended_as(self.quantity_e8, self.executed_e8)


class VenueRefusal(msgspec.Struct, frozen=True):
    """The venue's own error: its name decides, its words are for people."""

    name: str
    message: str


class _Trade(msgspec.Struct):
    uuid: str
    price: Decimal
    volume: Decimal
    funds: Decimal
    created_at: str = ""


class _Order(msgspec.Struct):
    market: str
    uuid: str
    side: str
    state: str
    price: Decimal | None = None
    volume: Decimal | None = None
    executed_volume: Decimal = Decimal(0)
    paid_fee: Decimal = Decimal(0)
    identifier: str | None = None
    trades_count: int = 0
    trades: list[_Trade] | None = None


class _Balance(msgspec.Struct):
    currency: str
    balance: Decimal
    locked: Decimal


class _Refusal(msgspec.Struct):
    name: str | int
    message: str = ""


class _RefusalBody(msgspec.Struct):
    error: _Refusal


_read_order = msgspec.json.Decoder(_Order, strict=False).decode
_read_orders = msgspec.json.Decoder(list[_Order], strict=False).decode
_read_balances = msgspec.json.Decoder(list[_Balance], strict=False).decode
_read_refusal = msgspec.json.Decoder(_RefusalBody).decode


def order_pairs(order: Order, symbol: str) -> Pairs:
    """Write a limit order for POST /v1/orders. Texts only, so that there is one way to print each amount."""
    pairs = [
        ("market", symbol),
        ("side", SIDE_WORDS[order.side]),
        ("ord_type", "limit"),
        ("price", format_e8(order.price_e8)),
        ("volume", format_e8(order.quantity_e8)),
    ]
    if order.time_in_force is TimeInForce.IOC:
        pairs.append(("time_in_force", "ioc"))
    return [*pairs, ("identifier", order.client_order_id), ("smp_type", SELF_MATCH)]


def ended_as(quantity_e8: int | None, executed_e8: int) -> OrderState:
    """Return how an order ended, by its executed volume; a market buy, which states none, is filled when it bought anything."""
    is_filled = executed_e8 >= quantity_e8 if quantity_e8 else executed_e8 > 0
    return OrderState.FILLED if is_filled else OrderState.CANCELLED


def read_refusal(body: bytes) -> VenueRefusal | None:
    """Return the venue's own error, or None where a body is none of it."""
    try:
        error = _read_refusal(body).error
    except DECODING_ERRORS:
        return None
    return VenueRefusal(short(str(error.name)), short(error.message))


class OrdersCodec:
    """REST bodies of one Upbit-shaped venue as pictures; what is not understood is a fault, never an exception."""

    def __init__(self, venue: Venue, markets: Mapping[str, int]) -> None:
        self._venue = venue
        self._markets = dict(markets)

    def order(self, body: bytes, at_ns: int) -> OrderPicture | FeedFault:
        """Read the answer to POST /v1/orders, DELETE /v1/order or GET /v1/order."""
        try:
            return _picture(_read_order(body))
        except DECODING_ERRORS as error:
            return fault_from(error, self._venue, at_ns)
        except ValueError as error:
            return self._out_of_range(error, at_ns)

    def orders(self, body: bytes, at_ns: int) -> list[OrderPicture] | FeedFault:
        """Read a list of orders, whole or not at all: an order left out would look like one that is gone."""
        try:
            return [_picture(row) for row in _read_orders(body)]
        except DECODING_ERRORS as error:
            return fault_from(error, self._venue, at_ns)
        except ValueError as error:
            return self._out_of_range(error, at_ns)

    def balances(self, body: bytes, at_ns: int) -> tuple[AccountBalance, ...] | FeedFault:
        """Read GET /v1/accounts."""
        try:
            rows = _read_balances(body)
            return tuple(AccountBalance(Asset(row.currency), e8(row.balance), e8(row.locked)) for row in rows)
        except DECODING_ERRORS as error:
            return fault_from(error, self._venue, at_ns)
        except ValueError as error:
            return self._out_of_range(error, at_ns)

    def open_order(self, picture: OrderPicture) -> OpenOrder:
        """Say of an open order what the engine wants to know of it."""
        return OpenOrder(
            client_order_id=ClientOrderId(picture.identifier),
            venue_order_id=picture.venue_order_id,
            symbol=picture.symbol,
            market=self._markets.get(picture.symbol),
            side=picture.side,
            price_e8=picture.price_e8,
            quantity_e8=picture.quantity_e8 or 0,
            filled_quantity_e8=picture.executed_e8,
        )

    def _out_of_range(self, error: ValueError, at_ns: int) -> FeedFault:
        return FeedFault(at_ns, self._venue, FaultKind.OUT_OF_RANGE, short(str(error)))


def _picture(row: _Order) -> OrderPicture:
    """Check one order's amounts and words. Raises ValueError."""
    side = SIDES.get(row.side)
    if side is None:
        raise ValueError(f"side {row.side}")
    trades = sorted(row.trades or (), key=lambda trade: trade.created_at)
    return OrderPicture(
        symbol=row.market,
        venue_order_id=row.uuid,
        identifier=row.identifier or "",
        side=side,
        state=row.state,
        price_e8=0 if row.price is None else e8(row.price),
        quantity_e8=None if row.volume is None else e8(row.volume),
        executed_e8=e8(row.executed_volume),
        paid_fee_e8=e8(row.paid_fee),
        trades=tuple(_trade(trade) for trade in trades),
        trades_count=max(row.trades_count, len(trades)),
    )


def _trade(row: _Trade) -> TradePicture:
    picture = TradePicture(row.uuid, e8(row.price), e8(row.volume), e8(row.funds))
    if not row.uuid or picture.quantity_e8 <= 0:
        raise ValueError(f"trade {row.uuid} moves nothing")
    return picture
