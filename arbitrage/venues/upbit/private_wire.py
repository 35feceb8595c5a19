"""Upbit's private stream as words about orders and assets. Pure; any bytes give a word or a named fault, never an exception.

Source: reference upbit 10. With state `trade`, `price` and `volume` are those of one fill and `executed_volume` runs on; in
every other state they are the order's own. Numbers are JSON numbers and are read digit by digit.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import UNSET, UnsetType

from arbitrage.model.events import FaultKind, FeedFault
from arbitrage.model.instruments import Side, Venue
from arbitrage.venues.upbit.amounts import e8
from arbitrage.venues.wire import DECODING_ERRORS, Frame, as_bytes, fault_from, short

SIDES = {"BID": Side.BUY, "ASK": Side.SELL}
STATES = frozenset(("wait", "watch", "trade", "done", "cancel", "prevented"))


class TradeWord(msgspec.Struct, frozen=True):
    """One fill as the stream tells it."""

    trade_id: str
    price: Decimal
    quantity: Decimal
    fee_e8: int
    is_maker: bool


class OrderWord(msgspec.Struct, frozen=True):
    """One message about an order."""

    symbol: str
    venue_order_id: str
    identifier: str
    side: Side
    state: str
    quantity_e8: int | None
    """The order's own; None with `trade` and for a market buy."""
    executed_e8: int
    executed_funds: Decimal
    """Running total in quote, with all its digits."""
    trade: TradeWord | None


class AssetsWord(msgspec.Struct, frozen=True):
    """Balances changed."""

    currencies: tuple[str, ...]


class StatusWord(msgspec.Struct, frozen=True):
    """The server says that it is there."""


class StreamError(msgspec.Struct, frozen=True):
    """The server refuses what we sent: nothing will come by this connection."""

    name: str


Word = OrderWord | AssetsWord | StatusWord | StreamError | FeedFault


class _MyOrder(msgspec.Struct):
    code: str
    uuid: str
    ask_bid: str
    state: str
    trade_uuid: str | None = None
    price: Decimal | None = None
    volume: Decimal | None = None
    executed_volume: Decimal | None = None
    executed_funds: Decimal | None = None
    trade_fee: Decimal | None = None
    is_maker: bool | None = None
    identifier: str | None = None


class _Asset(msgspec.Struct):
    currency: str


class _MyAsset(msgspec.Struct):
    assets: list[_Asset]


class _Error(msgspec.Struct):
    name: str | int


class _Envelope(msgspec.Struct):
    """Just enough of any message to tell what it is."""

    type: str | UnsetType = UNSET
    error: msgspec.Raw | UnsetType = UNSET
    status: str | UnsetType = UNSET
    method: str | UnsetType = UNSET


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_order = msgspec.json.Decoder(_MyOrder).decode
_read_assets = msgspec.json.Decoder(_MyAsset).decode
_read_error = msgspec.json.Decoder(_Error).decode


def subscription(ticket: str) -> bytes:
    """Write the one message that subscribes orders and assets: a second message would replace the first."""
    return msgspec.json.encode([{"ticket": ticket}, {"type": "myOrder"}, {"type": "myAsset"}, {"format": "DEFAULT"}])


def decode(raw: Frame, venue: Venue, at_ns: int) -> Word | None:
    """Read one message; None for one that says nothing."""
    try:
        frame = as_bytes(raw)
        return _decode(frame, venue, at_ns)
    except DECODING_ERRORS as error:
        return fault_from(error, venue, at_ns)
    except ValueError as error:
        return FeedFault(at_ns, venue, FaultKind.OUT_OF_RANGE, short(str(error)))


def _decode(frame: bytes, venue: Venue, at_ns: int) -> Word | None:
    envelope = _read_envelope(frame)
    if envelope.type == "myOrder":
        return _order_word(_read_order(frame), venue, at_ns)
    if envelope.type == "myAsset":
        return AssetsWord(tuple(asset.currency for asset in _read_assets(frame).assets))
    if envelope.error is not UNSET:
        return StreamError(short(str(_read_error(bytes(envelope.error)).name)))
    if envelope.status is not UNSET:
        return StatusWord()
    if envelope.method is not UNSET:
        return None
    name = "no message type" if envelope.type is UNSET else envelope.type
    return FeedFault(at_ns, venue, FaultKind.UNKNOWN_EVENT, short(name))


def _order_word(message: _MyOrder, venue: Venue, at_ns: int) -> OrderWord | FeedFault:
    """Check amounts and words of a message. Raises ValueError."""
    side = SIDES.get(message.ask_bid)
    if side is None or message.state not in STATES:
        words = f"ask_bid {message.ask_bid}, state {message.state} of order {message.uuid}"
        return FeedFault(at_ns, venue, FaultKind.UNKNOWN_FIELD_VALUE, short(words))
    is_trade = message.state == "trade"
    executed = message.executed_volume or Decimal(0)
    funds = message.executed_funds or Decimal(0)
    e8(funds)
    return OrderWord(
        symbol=message.code,
        venue_order_id=message.uuid,
        identifier=message.identifier or "",
        side=side,
        state=message.state,
        quantity_e8=None if is_trade or message.volume is None else e8(message.volume),
        executed_e8=e8(executed),
        executed_funds=funds,
        trade=_trade_word(message) if is_trade else None,
    )


def _trade_word(message: _MyOrder) -> TradeWord:
    """Read one fill whole: a fill without its id, amounts or fee would be another fill than REST tells. Raises ValueError."""
    price, quantity, fee = message.price, message.volume, message.trade_fee
    if not message.trade_uuid or price is None or quantity is None or fee is None:
        raise ValueError(f"a fill of order {message.uuid} lacks its id, price, volume or fee")
    if e8(price) <= 0 or e8(quantity) <= 0:
        raise ValueError(f"fill {message.trade_uuid} moves nothing")
    return TradeWord(message.trade_uuid, price, quantity, e8(fee), bool(message.is_maker))
