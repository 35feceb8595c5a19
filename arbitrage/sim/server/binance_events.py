"""Binance's account events as they go out: executionReport, outboundAccountPosition, balanceUpdate and the end of a stream.

Writes messages; decides nothing and sends nothing. Reference sheet, section 11.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from arbitrage.model.money import notional_down_e8
from arbitrage.sim.exchange.account import Account
from arbitrage.sim.exchange.nouns import Execution, Happened, HeldOrder, Update
from arbitrage.sim.server.binance_orders import (
    Row,
    force_word,
    original_e8,
    self_trade_word,
    side_word,
    status_word,
    type_word,
    working_ms,
)  # fmt: skip
from arbitrage.sim.server.binance_wire import decimal_text

HAPPENED_WORDS = {
    Happened.ACCEPTED: "NEW", Happened.TRADED: "TRADE", Happened.CANCELED: "CANCELED", Happened.EXPIRED: "EXPIRED",
    Happened.REJECTED: "REJECTED", Happened.PREVENTED: "TRADE_PREVENTION",
}  # fmt: skip

NO_TRADE_GROUP = -1


class Telling(msgspec.Struct, frozen=True):
    """What an executionReport says that the order does not know."""

    event_ms: int
    execution_id: int
    cancel_id: str
    """The id of the cancel that ended the order, if one did."""


def execution_report(update: Update, telling: Telling) -> Row:
    """Write one executionReport. On a cancel `c` is the cancel's own id and `C` the order's."""
    order, request = update.order, update.order.request
    is_cancel = update.happened is Happened.CANCELED
    report: Row = {
        "e": "executionReport", "E": telling.event_ms, "s": request.symbol,
        "c": telling.cancel_id if is_cancel else request.client_id, "S": side_word(order), "o": type_word(order),
        "f": force_word(order), "q": decimal_text(original_e8(order)), "p": decimal_text(request.price_e8 or 0),
        "P": "0.00000000", "F": "0.00000000", "g": -1, "C": request.client_id if is_cancel else "",
        "x": HAPPENED_WORDS[update.happened], "X": status_word(order), "r": "NONE", "i": order.order_id,
        **_fill(update.execution), "T": update.at_ns // 1_000_000,
        "t": -1 if update.execution is None else update.execution.trade_id, "I": telling.execution_id,
        "w": order.is_open, "m": update.execution is not None and update.execution.is_maker, "M": update.execution is not None,
        "O": order.created_ns // 1_000_000, "Z": decimal_text(order.executed_quote_e8),
        "Y": decimal_text(update.execution.quote_e8 if update.execution else 0), "Q": decimal_text(request.quote_e8 or 0),
        "W": working_ms(order), "V": self_trade_word(order),
    }  # fmt: skip
    report["z"] = decimal_text(order.executed_e8)
    if update.happened is Happened.EXPIRED and order.expiry_reason:
        report["eR"] = order.expiry_reason
    if order.prevented_e8:
        report["A"] = decimal_text(order.prevented_e8)
    return report | _prevented(order) if update.happened is Happened.PREVENTED else report


def account_position(account: Account, assets: Iterable[str], event_ms: int, updated_ms: int) -> Row:
    """Write the balances that may have changed."""
    balances = [
        {"a": asset, "f": decimal_text(account.free_e8(asset)), "l": decimal_text(account.locked_e8(asset))}
        for asset in assets
    ]  # fmt: skip
    return {"e": "outboundAccountPosition", "E": event_ms, "u": updated_ms, "B": balances}


def balance_update(asset: str, delta_e8: int, event_ms: int) -> Row:
    """Write a deposit or a withdrawal."""
    return {"e": "balanceUpdate", "E": event_ms, "a": asset, "d": decimal_text(delta_e8), "T": event_ms}


def stream_terminated(event_ms: int) -> Row:
    """Write the last event of a subscription."""
    return {"e": "eventStreamTerminated", "E": event_ms}


def _prevented(order: HeldOrder) -> Row:
    """Write what self-trade prevention did last: `l`, `L` and `Y` stay zero, `pl`, `pL` and `pY` say what would have traded."""
    last = order.preventions[-1]
    return {
        "v": last.match_id, "B": decimal_text(last.taken_e8(order.order_id)), "u": NO_TRADE_GROUP,
        "U": last.other_id(order.order_id), "Cs": order.request.symbol, "pl": decimal_text(last.quantity_e8),
        "pL": decimal_text(last.price_e8), "pY": decimal_text(notional_down_e8(last.price_e8, last.quantity_e8)),
    }  # fmt: skip


def _fill(execution: Execution | None) -> Row:
    if execution is None:
        return {"l": "0.00000000", "z": "", "L": "0.00000000", "n": "0", "N": None}
    return {
        "l": decimal_text(execution.quantity_e8), "z": "", "L": decimal_text(execution.price_e8),
        "n": decimal_text(execution.fee_e8), "N": execution.fee_asset,
    }  # fmt: skip
