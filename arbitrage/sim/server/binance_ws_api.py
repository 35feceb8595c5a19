"""One connection of Binance's WebSocket API: requests by id, logon, account event subscriptions. Knows no order.

Reference sheet, section 11.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from arbitrage.sim.exchange.faults import MS_NS, Fault, Faults, Kind
from arbitrage.sim.exchange.outbox import Outbox
from arbitrage.sim.server.binance_events import stream_terminated
from arbitrage.sim.server.binance_keys import SIGNED_NAMES, KeyRing, SignedRequest, SigningKey, not_permitted, read_socket
from arbitrage.sim.server.binance_limits import BinanceLimits
from arbitrage.sim.server.binance_orders import Row
from arbitrage.sim.server.binance_units import in_microseconds, is_microsecond
from arbitrage.sim.server.binance_wire import (
    BACKEND_TIMEOUT_MS,
    Call,
    Parameters,
    Raw,
    VenueError,
    encode,
    failure,
    timed_out,
)  # fmt: skip
from arbitrage.sim.server.session import Pipe

ID_CHARACTERS_MAX = 36
SUBSCRIPTIONS_MAX = 65_535
"""In one connection's life."""
ORDER_COUNTED = frozenset({"order.place", "order.cancelReplace", "account.rateLimits.orders"})
REMOVED = frozenset({"userDataStream.start", "userDataStream.ping", "userDataStream.stop"})
"""Listen keys: gone since 2026-02-20."""
LIMITS_NAME = "returnRateLimits"
AUTH_NAMES = SIGNED_NAMES | {"apiKey", LIMITS_NAME}


class _Number(str):
    """A JSON number as it was printed, which is how it was signed."""

    __slots__ = ()


class Gateway(msgspec.Struct, frozen=True):
    """What every connection of the WebSocket API shares."""

    calls: Mapping[str, Call]
    ring: KeyRing
    limits: BinanceLimits
    clock: Callable[[], int]
    violations: Counter[str]
    faults: Faults | None
    arm: Callable[[Fault], None]
    """Takes a fill that is to happen before the next cancel is looked at."""

    def now_ms(self) -> int:
        return self.clock() // 1_000_000


class WsApiSession:
    """One connection."""

    def __init__(
        self, pipe: Pipe, gateway: Gateway, forget: Callable[[WsApiSession], None], options: Mapping[str, str]
    ) -> None:
        self._pipe = pipe
        self._gateway = gateway
        self._forget = forget
        self._tells_limits = options.get(LIMITS_NAME) != "false"
        self._is_micro = is_microsecond(options.get("timeUnit", ""))
        self._connected_ms = gateway.now_ms()
        self._key: SigningKey | None = None
        self._logged_on_ms: int | None = None
        self._subscriptions = 0
        self.subscription: int | None = None
        """The number of the account's event subscription, while there is one."""
        self._outbox: Outbox[bytes] = Outbox(gateway.faults, gateway.clock, self._send, pipe.abort)
        self._slow: list[tuple[int, int, bytes]] = []
        """Requests that arrive late by a fault, even when their connection is over: when, in which order, what."""
        self._is_closed = False
        self._methods: dict[str, Callable[[SignedRequest], object]] = {
            "session.logon": self._logon,
            "session.status": lambda _: self._status(),
            "session.logout": lambda _: self._logout(),
            "session.subscriptions": lambda _: [] if self.subscription is None else [{"subscriptionId": self.subscription}],
            "userDataStream.subscribe": self._subscribe_logged_on,
            "userDataStream.subscribe.signature": self._subscribe_signed,
            "userDataStream.unsubscribe": self._unsubscribe,
        }

    def deliver(self, name: str, event: Row) -> None:
        """Send one account event to this connection, if it subscribed."""
        if self.subscription is not None:
            payload = encode({"subscriptionId": self.subscription, "event": event})
            self._outbox.put(name, payload, payload.decode())

    def announce_shutdown(self, event_ms: int) -> None:
        """Say that this connection ends soon (since 2026-05-08)."""
        self._send(encode({"event": {"e": "serverShutdown", "E": event_ms}}))

    def close(self, code: int, reason: str) -> None:
        self._pipe.close(code, reason)

    def end_key(self, access_key: str) -> None:
        """Tell that the session's key was revoked, and forget it."""
        if self._key is not None and self._key.key.access_key == access_key:
            self._key = self._logged_on_ms = None
            self._send(encode({"id": None, "status": 401, "error": not_permitted().body()}))
            self._end_subscription()

    def on_message(self, payload: bytes) -> None:
        """Answer one request, or do to it what a fault says."""
        faults = self._gateway.faults
        fault = None if faults is None else faults.take(_method(payload), payload.decode(errors="replace"))
        if fault is not None and fault.kind is Kind.SLOW:
            heapq.heappush(self._slow, (self._gateway.clock() + fault.ms * MS_NS, len(self._slow), payload))
        else:
            self._carry_out(payload, fault)

    def on_ping(self) -> None:
        """Do nothing: the pong is enough."""

    def on_second(self) -> None:
        """Carry out what arrives late, send what is late by now."""
        while self._slow and self._slow[0][0] <= self._gateway.clock():
            payload = heapq.heappop(self._slow)[2]
            if self._is_closed:
                self._answer(payload)
            else:
                self._carry_out(payload, None)
        if not self._is_closed:
            self._outbox.release()

    @property
    def is_owed(self) -> bool:
        """Tell whether something of it is still on its way here."""
        return bool(self._slow)

    def on_close(self) -> None:
        self.subscription = None
        self._is_closed = True
        self._forget(self)

    def _send(self, payload: bytes) -> None:
        self._pipe.send(in_microseconds(payload) if self._is_micro else payload)

    def _carry_out(self, payload: bytes, fault: Fault | None) -> None:
        kind = None if fault is None else fault.kind
        if fault is None:
            answer = self._answer(payload)
        elif kind in (Kind.ERROR_BEFORE, Kind.HTML):
            answer = self._answer(payload, failure(fault.status, fault.body, is_after=False))
        else:
            if kind is Kind.FILL_BEFORE_CANCEL:
                self._gateway.arm(fault)
            answer = self._answer(payload)
            if kind is Kind.ERROR_AFTER:
                answer = self._answer(payload, failure(fault.status, fault.body, is_after=True))
            elif kind is Kind.LATE and fault.ms >= BACKEND_TIMEOUT_MS:
                answer = self._answer(payload, timed_out())
                fault = msgspec.structs.replace(fault, ms=BACKEND_TIMEOUT_MS)
        self._outbox.deliver(fault, answer)

    def _answer(self, payload: bytes, instead: VenueError | None = None) -> bytes:
        """Carry one request out and return its answer; with `instead`, only refuse it."""
        identifier: object = None
        method, tells_limits = "", self._tells_limits
        try:
            request = _parse(payload)
            identifier, method = _identifier(request), str(request.get("method", ""))
            texts = _texts(request.get("params", {}))
            tells_limits = texts.get(LIMITS_NAME, str(tells_limits)).lower() == "true"
            if instead is not None:
                raise instead
            result = self._result(method, read_socket(texts))
        except VenueError as refused:
            if instead is None:
                self._gateway.violations.update(refused.violation())
            envelope: Row = {"id": identifier, "status": refused.status, "error": refused.body(is_socket=True)}
            return encode(envelope | (self._rate_limits(method) if tells_limits else {}))
        limits = self._rate_limits(method) if tells_limits else {}
        if not isinstance(result, Raw):
            return encode({"id": identifier, "status": 200, "result": result} | limits)
        head, rest = encode({"id": identifier, "status": 200})[:-1], encode(limits)[1:-1]
        return head + b',"result":' + result.text + (b"," + rest if rest else b"") + b"}"

    def _result(self, method: str, signed: SignedRequest) -> object:
        gateway = self._gateway
        call = gateway.calls.get(method)
        if call is None:
            return self._session_result(method, signed)
        weight = _weight(call, signed.parameters)
        gateway.limits.admit(weight)
        if call.is_signed:
            key = self._authorise(signed)
            if call.is_trading and not key.key.can_trade:
                gateway.violations["key_may_not_trade"] += 1
                raise not_permitted()
            signed.parameters.require_known(call.known | AUTH_NAMES)
        else:
            signed.parameters.require_known(call.known | {LIMITS_NAME})
        result = call.answer(signed.parameters)
        if call.is_free_on_success:
            gateway.limits.refund(weight)
        return result

    def _session_result(self, method: str, signed: SignedRequest) -> object:
        gateway = self._gateway
        if method in REMOVED:
            gateway.violations["listen_key"] += 1
            raise VenueError(-1000, "Gone", 410)
        if method not in self._methods:
            raise VenueError(-1020, "This operation is not supported.")
        gateway.limits.admit(2)
        return self._methods[method](signed)

    def _authorise(self, signed: SignedRequest) -> SigningKey:
        """Check a request's own signature, or rely on the logon. Raises VenueError."""
        ring, parameters = self._gateway.ring, signed.parameters
        if self._key is not None and "apiKey" not in parameters and signed.signature is None:
            ring.check_time(parameters)
            return self._key
        key = ring.find(parameters.text("apiKey"))
        ring.verify(key, signed)
        return key

    def _logon(self, signed: SignedRequest) -> Row:
        key = self._gateway.ring.find(signed.parameters.text("apiKey"))
        self._gateway.ring.verify(key, signed)
        if not key.is_ed25519(signed.payload, signed.signature or ""):
            self._gateway.violations["logon_without_ed25519"] += 1
            raise VenueError(-1022, "Signature for this request is not valid.")
        self._key, self._logged_on_ms = key, self._gateway.now_ms()
        return self._status()

    def _logout(self) -> Row:
        self._key = self._logged_on_ms = None
        status = self._status()
        self._end_subscription()
        return status

    def _status(self) -> Row:
        return {
            "apiKey": None if self._key is None else self._key.key.access_key, "authorizedSince": self._logged_on_ms,
            "connectedSince": self._connected_ms, "returnRateLimits": self._tells_limits,
            "serverTime": self._gateway.now_ms(), "userDataStream": self.subscription is not None,
        }  # fmt: skip

    def _subscribe_logged_on(self, signed: SignedRequest) -> Row:
        if self._key is None:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return self._subscribe()

    def _subscribe_signed(self, signed: SignedRequest) -> Row:
        key = self._gateway.ring.find(signed.parameters.text("apiKey"))
        self._gateway.ring.verify(key, signed)
        return self._subscribe()

    def _subscribe(self) -> Row:
        if self.subscription is not None or self._subscriptions >= SUBSCRIPTIONS_MAX:
            raise VenueError(-2035, "User Data Stream subscription already active.")
        self.subscription = self._subscriptions
        self._subscriptions += 1
        return {"subscriptionId": self.subscription}

    def _unsubscribe(self, signed: SignedRequest) -> Row:
        wanted = signed.parameters.integer("subscriptionId", -1 if self.subscription is None else self.subscription)
        if self.subscription is None or wanted != self.subscription:
            raise VenueError(-2036, "User Data Stream subscription not active.")
        self._end_subscription()
        return {}

    def _end_subscription(self) -> None:
        self.deliver("eventStreamTerminated", stream_terminated(self._gateway.now_ms()))
        self.subscription = None

    def _rate_limits(self, method: str) -> Row:
        limits = self._gateway.limits
        return {"rateLimits": [*(limits.order_rows() if method in ORDER_COUNTED else ()), limits.weight_row()]}


def _weight(call: Call, parameters: Parameters) -> int:
    try:
        return call.weight(parameters)
    except VenueError:
        return 1


def _method(payload: bytes) -> str:
    try:
        return str(_parse(payload).get("method", ""))
    except VenueError:
        return ""


def _parse(payload: bytes) -> dict[str, object]:
    try:
        request = json.loads(payload, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError):
        raise VenueError(-1135, "Invalid JSON Request") from None
    if not isinstance(request, dict):
        raise VenueError(-1135, "Invalid JSON Request")
    return request


def _identifier(request: dict[str, object]) -> object:
    value = request.get("id")
    if isinstance(value, _Number) and value.lstrip("-").isdecimal():
        return int(value)
    if value is None or (isinstance(value, str) and not isinstance(value, _Number) and len(value) <= ID_CHARACTERS_MAX):
        return value
    raise VenueError(-1135, "Invalid JSON Request")


def _texts(params: object) -> dict[str, str]:
    """Return parameters as the text that is signed; a list is JSON text, as in REST."""
    if not isinstance(params, dict):
        raise VenueError(-1135, "Invalid JSON Request")
    texts: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, str):
            texts[name] = str(value)
        elif isinstance(value, list):
            texts[name] = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        else:
            raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return texts
