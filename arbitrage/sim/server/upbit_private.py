"""Upbit's private WebSocket: myOrder and myAsset of one pocket (reference sheet, section 10). Sends no snapshot, ever.

Nothing comes until something happens. With state `trade`, price and volume are those of the fill, not of the order.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.money import E8
from arbitrage.sim.exchange.nouns import Execution, Happened, HeldOrder, Status, Update
from arbitrage.sim.server.upbit_format import encode, exact
from arbitrage.sim.server.upbit_market import Message
from arbitrage.sim.server.upbit_orders import (
    asked,
    order_type,
    prevented_locked_e8,
    remaining_fee_e8,
    side_word,
    smp_type,
    time_in_force,
    uuid_of,
)
from arbitrage.sim.server.upbit_streams import UpbitConnection
from arbitrage.sim.server.upbit_subscriptions import ALL_CODES, PRIVATE_KINDS, RequestError

_STATES = {
    Happened.ACCEPTED: "wait",
    Happened.TRADED: "trade",
    Happened.CANCELED: "cancel",
    Happened.EXPIRED: "cancel",
    Happened.PREVENTED: "prevented",
}


class UpbitPrivateSession(UpbitConnection):
    """One private connection."""

    kinds = PRIVATE_KINDS
    is_refused = False
    """Its token was no good: it is told so on the connection, which then ends."""

    def deliver(self, kind: str, code: str, message: Message) -> None:
        """Send one message if this connection wants it."""
        if (kind, ALL_CODES) in self.wishes or (kind, code) in self.wishes:
            self._stream(kind, encode(kind, message, self._form))

    def on_message(self, payload: bytes) -> None:
        """Take PING or one request, or refuse whoever sent it."""
        if self.is_refused:
            self._refuse()
            return
        super().on_message(payload)

    def on_second(self) -> None:
        """Let time pass, or refuse whoever only waits."""
        if self.is_refused:
            self._refuse()
            return
        super().on_second()

    def _refuse(self) -> None:
        self._pipe.send(RequestError("INVALID_AUTH", "인증 정보가 올바르지 않습니다.").frame(), is_binary=True)
        self.close(1008, "")

    def _subscribed(self) -> None:
        """Stay silent: there is no snapshot."""


def order_messages(update: Update, now_ms: int) -> list[Message]:
    """Return what an update says on the wire, in order: a last fill is followed by `done`."""
    order = update.order
    state = _STATES.get(update.happened)
    if state is None:
        return []
    if update.happened is Happened.PREVENTED and not order.is_open:
        state = "cancel"
    messages = [_order_message(order, state, update.execution, now_ms)]
    if update.happened is Happened.TRADED and order.status is Status.FILLED:
        messages.append(_order_message(order, "done", None, now_ms))
    return messages


def asset_message(serial: int, rows: list[tuple[str, int, int]], at_ms: int, now_ms: int) -> Message:
    """Return the message of balances that changed: (currency, free, locked)."""
    return {
        "type": "myAsset",
        "asset_uuid": uuid_of("asset", serial),
        "assets": [{"currency": name, "balance": exact(free), "locked": exact(locked)} for name, free, locked in rows],
        "asset_timestamp": at_ms,
        "timestamp": now_ms,
        "stream_type": "REALTIME",
    }


def _order_message(order: HeldOrder, state: str, execution: Execution | None, now_ms: int) -> Message:
    request = order.request
    price_e8, volume_e8 = asked(request)
    left = None if volume_e8 is None else exact(order.remaining_e8)
    fill: Message = {"trade_fee": None, "is_maker": None, "trade_uuid": None, "trade_timestamp": None}
    if execution is not None:
        price_e8, volume_e8 = execution.price_e8, execution.quantity_e8
        fill = {
            "trade_fee": exact(execution.fee_e8),
            "is_maker": execution.is_maker,
            "trade_uuid": uuid_of("trade", execution.trade_id),
            "trade_timestamp": execution.at_ns // 1_000_000,
        }
    return {
        "type": "myOrder",
        "code": request.symbol,
        "uuid": uuid_of("order", order.order_id),
        "ask_bid": side_word(request.side).upper(),
        "order_type": order_type(request),
        "state": state,
        "trade_uuid": fill["trade_uuid"],
        "price": _optional(price_e8),
        "avg_price": exact(order.executed_quote_e8 * E8 // order.executed_e8 if order.executed_e8 else 0),
        "volume": _optional(volume_e8),
        "remaining_volume": left,
        "executed_volume": exact(order.executed_e8),
        "trades_count": len(order.executions),
        "reserved_fee": exact(order.reserved_fee_e8),
        "remaining_fee": exact(remaining_fee_e8(order)),
        "paid_fee": exact(order.paid_fee_e8),
        "locked": exact(order.locked_e8),
        "executed_funds": exact(order.executed_quote_e8),
        "time_in_force": time_in_force(request),
        "trade_fee": fill["trade_fee"],
        "is_maker": fill["is_maker"],
        "identifier": request.client_id or None,
        "smp_type": smp_type(request),
        "prevented_volume": exact(order.prevented_e8),
        "prevented_locked": exact(prevented_locked_e8(order)),
        "trade_timestamp": fill["trade_timestamp"],
        "order_timestamp": order.created_ns // 1_000_000,
        "timestamp": now_ms,
        "stream_type": "REALTIME",
    }


def _optional(value_e8: int | None) -> msgspec.Raw | None:
    return None if value_e8 is None else exact(value_e8)
