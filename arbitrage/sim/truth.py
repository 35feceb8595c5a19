"""What really happened at a simulated exchange, as JSON: orders, fills, balances, requests, faults. Changes nothing.

Amounts are decimal text, times wall-clock nanoseconds.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import msgspec

from arbitrage.model.money import format_e8
from arbitrage.sim.exchange.acts import Acts
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Faults, Fired
from arbitrage.sim.exchange.nouns import Execution, HeldOrder
from arbitrage.sim.server.listener import Listener

Row = dict[str, object]


class Watched(Protocol):
    """What is told of a venue's public side."""

    @property
    def violations(self) -> Counter[str]:
        """What clients did wrong, by name."""

    @property
    def counters(self) -> Counter[str]:
        """What was done, by name."""


class Site(msgspec.Struct, frozen=True):
    """One venue with everything that may be told of it or done to it."""

    exchange: Exchange
    faults: Faults
    acts: Acts
    server: Watched
    listener: Listener


def truth(site: Site, limit: int) -> Row:
    """Tell everything about one venue; of orders and fills the newest `limit`, oldest first (0 is all)."""
    exchange = site.exchange
    orders = exchange.orders()
    fills = sorted(
        ((execution, order) for order in orders for execution in order.executions), key=lambda pair: pair[0].at_ns
    )  # fmt: skip
    return {
        "orders": [order_row(order) for order in orders[-limit:]],
        "open_orders": [order_row(order) for order in exchange.orders(is_open=True)],
        "fills": [fill_row(execution, order) for execution, order in fills[-limit:]],
        **_money(exchange),
        "requests": dict(sorted(site.listener.request_counts.items())),
        "violations": dict(sorted(site.server.violations.items())),
        "counters": dict(sorted(site.server.counters.items())),
        "halted": sorted(exchange.halted),
        "suspended": sorted(exchange.suspended),
        "faults": dict(sorted(site.faults.counts.items())),
    }


def order_row(order: HeldOrder) -> Row:
    """Tell one order."""
    request = order.request
    amounts = {"price": request.price_e8, "quantity": request.quantity_e8, "quote": request.quote_e8}
    return {
        "order_id": order.order_id,
        "client_id": request.client_id,
        "symbol": request.symbol,
        "side": request.side.value,
        "type": request.type.value,
        "force": request.force.value,
        **{name: None if e8 is None else format_e8(e8) for name, e8 in amounts.items()},
        "status": order.status.value,
        "executed": format_e8(order.executed_e8),
        "executed_quote": format_e8(order.executed_quote_e8),
        "prevented": format_e8(order.prevented_e8),
        "locked": format_e8(order.locked_e8),
        "locked_asset": order.locked_asset,
        "expiry_reason": order.expiry_reason,
        "created_ns": order.created_ns,
        "updated_ns": order.updated_ns,
    }


def fill_row(execution: Execution, order: HeldOrder) -> Row:
    """Tell one fill."""
    return {
        "trade_id": execution.trade_id,
        "order_id": order.order_id,
        "client_id": order.request.client_id,
        "symbol": order.request.symbol,
        "side": order.request.side.value,
        "price": format_e8(execution.price_e8),
        "quantity": format_e8(execution.quantity_e8),
        "quote": format_e8(execution.quote_e8),
        "fee": format_e8(execution.fee_e8),
        "fee_asset": execution.fee_asset,
        "is_maker": execution.is_maker,
        "at_ns": execution.at_ns,
    }


def fired_row(fired: Fired) -> Row:
    """Tell one fault that struck, began or ended."""
    return {
        "at_ns": fired.at_ns,
        "venue": fired.venue,
        "kind": fired.kind.value,
        "subject": fired.subject,
        "phase": fired.phase,
    }


def _money(exchange: Exchange) -> Row:
    account = exchange.account
    assets = sorted(account.assets())
    return {
        "balances": {
            asset: {"free": format_e8(account.free_e8(asset)), "locked": format_e8(account.locked_e8(asset))}
            for asset in assets
        },
        "granted": {asset: format_e8(account.granted_e8(asset)) for asset in assets},
        "fees": {asset: format_e8(account.fees_e8(asset)) for asset in assets},
        "outside": {asset: format_e8(account.outside_e8(asset)) for asset in assets},
    }
