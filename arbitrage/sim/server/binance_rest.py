"""Binance-shaped REST: finds the call, counts it, checks its signature, answers with the venue's headers. Knows no order.

Reference sheet, sections 2 to 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.binance_keys import SIGNED_NAMES, KeyRing, SignedRequest, not_permitted, read_rest
from arbitrage.sim.server.binance_limits import BinanceLimits
from arbitrage.sim.server.binance_units import in_microseconds, is_microsecond
from arbitrage.sim.server.binance_wallet import WalletCall
from arbitrage.sim.server.binance_wire import Call, Headers, VenueError, encode
from arbitrage.sim.server.http import Request, Response

ROUTES = {
    ("GET", "/api/v3/ping"): "ping",
    ("GET", "/api/v3/time"): "time",
    ("GET", "/api/v3/exchangeInfo"): "exchangeInfo",
    ("GET", "/api/v3/depth"): "depth",
    ("GET", "/api/v3/ticker/bookTicker"): "ticker.book",
    ("GET", "/api/v3/ticker/price"): "ticker.price",
    ("GET", "/api/v3/ticker/24hr"): "ticker.24hr",
    ("GET", "/api/v3/trades"): "trades.recent",
    ("GET", "/api/v3/aggTrades"): "trades.aggregate",
    ("POST", "/api/v3/order"): "order.place",
    ("GET", "/api/v3/order"): "order.status",
    ("DELETE", "/api/v3/order"): "order.cancel",
    ("POST", "/api/v3/order/test"): "order.test",
    ("POST", "/api/v3/order/cancelReplace"): "order.cancelReplace",
    ("GET", "/api/v3/openOrders"): "openOrders.status",
    ("DELETE", "/api/v3/openOrders"): "openOrders.cancelAll",
    ("GET", "/api/v3/allOrders"): "allOrders",
    ("GET", "/api/v3/myTrades"): "myTrades",
    ("GET", "/api/v3/account"): "account.status",
    ("GET", "/api/v3/account/commission"): "account.commission",
    ("GET", "/api/v3/rateLimit/order"): "account.rateLimits.orders",
}
"""Methods and paths, and the call that answers them, by its name in the WebSocket API."""
REMOVED_PATHS = frozenset({"/api/v3/userDataStream", "/api/v1/userDataStream", "/sapi/v1/userDataStream"})
"""Listen keys: gone since 2026-02-20."""
ORDER_COUNTED = frozenset({"order.place", "order.cancelReplace"})
WITHDRAWAL_PATH = "/sapi/v1/capital/withdraw/apply"


class BinanceRest:
    """Routes one request to its answer."""

    def __init__(
        self, calls: Mapping[str, Call], wallet: Mapping[str, WalletCall], ring: KeyRing, limits: BinanceLimits,
        violations: Counter[str],
    ) -> None:  # fmt: skip
        self._calls = calls
        self._wallet = wallet
        self._ring = ring
        self._limits = limits
        self._violations = violations
        self._paths = {path for (_, path), name in ROUTES.items() if name in calls}

    def respond(self, request: Request) -> Response:
        """Answer one request."""
        path = request.path
        name = ROUTES.get((request.method, path), "")
        try:
            if name in self._calls:
                return self._answer(name, request)
            if path in REMOVED_PATHS:
                self._violations["listen_key"] += 1
                raise VenueError(-1000, "Gone", 410)
            if path.startswith("/sapi/"):
                return self._answer_wallet(path, request)
        except VenueError as refused:
            self._violations.update(refused.violation())
            headers = (*self._limits.weight_headers(), *refused.headers)
            return Response(refused.status, encode(refused.body()), headers=headers)
        self._violations["unknown_path"] += 1
        if path in self._paths:
            allowed = ", ".join(method for method, other in ROUTES if other == path)
            return Response(405, b"", headers=(("Allow", allowed),))
        return Response(404, b"<html><body><h2>404 Not found</h2></body></html>", content_type="text/html")

    def _answer(self, name: str, request: Request) -> Response:
        call = self._calls[name]
        signed, weight = self._read(call, request)
        self._limits.admit(weight)
        if isinstance(signed, VenueError):
            raise signed
        parameters = signed.parameters
        if call.is_signed:
            self._authorise(signed, request, is_trading=call.is_trading)
            parameters.require_known(call.known | SIGNED_NAMES)
        else:
            parameters.require_known(call.known)
        body = encode(call.answer(parameters))
        if is_microsecond(request.headers.get("x-mbx-time-unit", "")):
            body = in_microseconds(body)
        if call.is_free_on_success:
            self._limits.refund(weight)
        headers: Headers = self._limits.weight_headers()
        if name in ORDER_COUNTED:
            headers += self._limits.order_headers()
        return Response(200, body, headers=headers)

    def _answer_wallet(self, path: str, request: Request) -> Response:
        self._limits.require_not_banned()
        call = self._wallet.get(path)
        if call is None or request.method != "GET":
            if path == WITHDRAWAL_PATH:
                self._violations["withdrawal_attempts"] += 1
                raise not_permitted()
            self._violations["unknown_path"] += 1
            return Response(404, b"<html><body><h2>404 Not found</h2></body></html>", content_type="text/html")
        headers = self._limits.take_sapi(path, call.weight, is_uid=call.is_uid)
        signed = read_rest(request.target.partition("?")[2], b"")
        key = ApiKey("", "")
        if call.is_signed:
            key = self._authorise(signed, request, is_trading=False)
        signed.parameters.require_known(call.known | (SIGNED_NAMES if call.is_signed else frozenset()))
        return Response(200, encode(call.answer(signed.parameters, key)), headers=headers)

    def _read(self, call: Call, request: Request) -> tuple[SignedRequest | VenueError, int]:
        """Read the parameters and what the call weighs; one that cannot be read weighs one."""
        body = b"" if request.method == "GET" else request.body
        try:
            signed = read_rest(request.target.partition("?")[2], body)
            return signed, call.weight(signed.parameters)
        except VenueError as refused:
            return refused, 1

    def _authorise(self, signed: SignedRequest, request: Request, *, is_trading: bool) -> ApiKey:
        key = self._ring.find(request.headers.get("x-mbx-apikey", ""))
        self._ring.verify(key, signed)
        if is_trading and not key.key.can_trade:
            self._violations["key_may_not_trade"] += 1
            raise not_permitted()
        return key.key

