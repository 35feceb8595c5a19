"""Upbit's private REST: which call needs which right and counts in which group, and every check before it is carried out.

Reference sheet, sections 2 to 4. Carries nothing out itself: `upbit_trading` and `upbit_accounts` do.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.upbit_accounts import (
    account_rows,
    chance_row,
    key_rows,
    pocket_rows,
    wallet_rows,
    withdrawal_row,
)
from arbitrage.sim.server.upbit_errors import UpbitRefusal, encode
from arbitrage.sim.server.upbit_keys import KeyRing, Parameters, Right, hashed_body, hashed_query
from arbitrage.sim.server.upbit_limits import UpbitLimits
from arbitrage.sim.server.upbit_trading import UpbitTrading

NO_FAULT_OF_THE_CLIENT = frozenset({
    "insufficient_funds_bid", "insufficient_funds_ask", "order_not_found", "market_offline", "expired_access_key",
    "no_authorization_ip", "thirdparty_agreement_required", "withdraw_not_found",
})  # fmt: skip
"""Refusals that a client which keeps every rule can meet; all others are violations."""


class Call(msgspec.Struct, frozen=True):
    """One private endpoint."""

    group: str
    right: Right | None
    """None: any key may ask."""
    answer: Callable[[Parameters], object]
    status: int = 200


class UpbitCalls:
    """Routes one private request and holds it against the rules."""

    def __init__(
        self, exchange: Exchange, trading: UpbitTrading, ring: KeyRing, limits: UpbitLimits, clock: Callable[[], int]
    ) -> None:
        self._ring = ring
        self._limits = limits
        self._tally = limits.tally
        self._clock = clock
        self._calls = {**_trading_calls(trading), **_account_calls(exchange, ring, clock)}
        self._paths = {path for _, path in self._calls}

    def has(self, path: str) -> bool:
        """Tell whether a path is private."""
        return path in self._paths

    def respond(self, request: Request) -> Response:
        """Answer one request at a private path."""
        call = self._calls.get((request.method, request.path))
        if call is None:
            self._tally.violations["unknown_method"] += 1
            return Response(405, encode({"error": {"name": "method_not_allowed", "message": "Method not allowed"}}))
        headers = self._limits.take(call.group)
        if isinstance(headers, Response):
            return headers
        try:
            return Response(call.status, encode(call.answer(self._admit(request, call))), headers)
        except UpbitRefusal as refusal:
            self._tally.refused[refusal.name] += 1
            is_proof = refusal.name == "out_of_scope" and call.right == "withdraw"  # that it cannot withdraw
            if refusal.name not in NO_FAULT_OF_THE_CLIENT and not is_proof:
                self._tally.violations[refusal.name] += 1
            return refusal.response(headers)

    def _admit(self, request: Request, call: Call) -> Parameters:
        """Return the parameters of a request that may be carried out."""
        query = request.target.partition("?")[2]
        if request.method == "POST":
            if not request.headers.get("content-type", "").lower().startswith("application/json") or query:
                raise UpbitRefusal("validation_error", "POST takes a JSON body and nothing else.")
            text, parameters = hashed_body(request.body)
        else:
            if request.body:
                self._tally.violations["body_where_none_belongs"] += 1
            text, parameters = hashed_query(query)
        key = self._ring.verify(request.headers.get("authorization", ""), text, self._clock())
        if call.right is not None and call.right not in key.rights:
            raise UpbitRefusal("out_of_scope")
        return parameters


def _trading_calls(trading: UpbitTrading) -> dict[tuple[str, str], Call]:
    return {
        ("POST", "/v1/orders"): Call("order", "make_orders", trading.place, status=201),
        ("POST", "/v1/orders/test"): Call("order-test", "make_orders", trading.test),
        ("POST", "/v1/orders/cancel_and_new"): Call("order", "make_orders", trading.cancel_and_new),
        ("GET", "/v1/order"): Call("default", "view_orders", trading.query),
        ("DELETE", "/v1/order"): Call("default", "make_orders", trading.cancel),
        ("GET", "/v1/orders/open"): Call("default", "view_orders", trading.list_open),
        ("DELETE", "/v1/orders/open"): Call("order-cancel-all", "make_orders", trading.cancel_open),
        ("GET", "/v1/orders/closed"): Call("default", "view_orders", trading.list_closed),
        ("GET", "/v1/orders/uuids"): Call("default", "view_orders", trading.list_ids),
        ("DELETE", "/v1/orders/uuids"): Call("default", "make_orders", trading.cancel_ids),
    }


def _account_calls(exchange: Exchange, ring: KeyRing, clock: Callable[[], int]) -> dict[tuple[str, str], Call]:
    coins = sorted({market.rules.base for market in exchange.markets.values()})
    return {
        ("GET", "/v1/accounts"): Call("default", "view_account", lambda _: account_rows(exchange)),
        ("GET", "/v1/orders/chance"): Call(
            "default", "view_orders", lambda parameters: chance_row(exchange, _one(parameters, "market"))
        ),
        ("GET", "/v1/status/wallet"): Call("default", None, lambda _: wallet_rows(exchange, coins, clock())),
        ("GET", "/v1/api_keys"): Call("default", None, lambda _: key_rows(ring.keys.values())),
        ("GET", "/v1/pockets/api_keys"): Call("default", "manage_pockets", lambda _: pocket_rows(ring.keys.values())),
        ("GET", "/v1/withdraws/chance"): Call(
            "default", "view_withdrawals", lambda parameters: withdrawal_row(exchange, _one(parameters, "currency"))
        ),
        ("DELETE", "/v1/withdraws/coin"): Call("default", "withdraw", _cancel_withdrawal),
    }


def _cancel_withdrawal(parameters: Parameters) -> object:
    """Find nothing to cancel: no withdrawal is ever made here. A key without the right does not come this far."""
    _one(parameters, "uuid")
    raise UpbitRefusal("withdraw_not_found")


def _one(parameters: Parameters, name: str) -> str:
    """Return a parameter that must be there."""
    if not parameters.get(name, [""])[-1]:
        raise UpbitRefusal("validation_error", f"{name} is missing, {name} does not have a valid value")
    return parameters[name][-1]
