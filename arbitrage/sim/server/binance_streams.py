"""One Binance market-stream connection: its subscriptions, control messages and wrapping (reference sheet, section 10)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote

import msgspec

from arbitrage.sim.exchange.faults import Faults
from arbitrage.sim.exchange.outbox import Outbox
from arbitrage.sim.server.binance_units import in_microseconds, is_microsecond
from arbitrage.sim.server.hub import Hub
from arbitrage.sim.server.session import Pipe

STREAMS_MAX = 1024
ID_CHARACTERS_MAX = 36
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _Invalid(Exception):
    """A control message the venue refuses, with its code and words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamTarget(msgspec.Struct, frozen=True):
    """What the URL asks for."""

    is_combined: bool
    streams: tuple[str, ...]
    is_micro: bool = False
    """Times are told in microseconds."""


def parse_target(target: str) -> StreamTarget | None:
    """Read `/ws`, `/ws/<stream>/...` or `/stream?streams=a/b`; None for any other path."""
    path, _, query = target.partition("?")
    options = dict(parse_qsl(query))
    is_micro = is_microsecond(options.get("timeUnit", ""))
    if path == "/stream":
        return StreamTarget(True, tuple(name for name in options.get("streams", "").split("/") if name), is_micro)
    if path == "/ws" or path.startswith("/ws/"):
        return StreamTarget(False, tuple(unquote(name) for name in path[4:].split("/") if name), is_micro)
    return None


class Wires(msgspec.Struct, frozen=True):
    """What every stream connection shares."""

    hub: Hub
    faults: Faults | None
    clock: Callable[[], int]
    counters: Counter[str]


class StreamSession:
    """One connection. Unknown stream names are accepted in silence, as the venue does."""

    def __init__(self, pipe: Pipe, wires: Wires, target: StreamTarget, forget: Callable[[StreamSession], None]) -> None:
        self.streams: dict[str, None] = {}
        self._pipe = pipe
        self._hub = wires.hub
        self._counters = wires.counters
        self._outbox: Outbox[bytes] = Outbox(wires.faults, wires.clock, pipe.send, pipe.abort)
        self._is_combined = target.is_combined
        self._is_micro = target.is_micro
        self._forget = forget
        self._subscribe(list(target.streams))

    def deliver(self, stream: str, payload: bytes) -> None:
        """Send one message of a stream, wrapped when the connection is combined."""
        if self._is_micro:
            payload = in_microseconds(payload)
        message = b'{"stream":"%b","data":%b}' % (stream.encode(), payload) if self._is_combined else payload
        self._outbox.put(stream, message)

    def announce_shutdown(self, event_ms: int) -> None:
        """Say that this connection ends soon (since 2026-05-08)."""
        self.deliver("!serverShutdown", b'{"e":"serverShutdown","E":%d}' % event_ms)

    def close(self, code: int, reason: str) -> None:
        self._pipe.close(code, reason)

    def on_message(self, payload: bytes) -> None:
        """Answer one control message."""
        identifier: object = None
        try:
            request = _parse(payload)
            identifier = _identifier(request)
            answer: dict[str, object] = {"result": self._control(request), "id": identifier}
        except _Invalid as invalid:
            answer = {"code": invalid.code, "msg": f"{invalid.message}", "id": identifier}
        self._pipe.send(json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode())

    def on_ping(self) -> None:
        """Do nothing: the pong is enough."""

    def on_second(self) -> None:
        """Send what is late by now."""
        self._outbox.release()

    def on_close(self) -> None:
        for stream in self.streams:
            self._hub.unsubscribe(stream, self)
        self.streams.clear()
        self._forget(self)

    def _control(self, request: dict[str, object]) -> object:
        method, params = request.get("method"), request.get("params", [])
        if method not in _METHODS:
            raise _Invalid(2, f"Invalid request: unknown variant `{method}`, expected one of {', '.join(_METHODS)}")
        if not isinstance(params, list):
            raise _Invalid(2, "Invalid request: params must be an array")
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        if method in {"SET_PROPERTY", "GET_PROPERTY"}:
            return self._property(str(method), params)
        names = [name for name in params if isinstance(name, str)]
        if len(names) != len(params):
            raise _Invalid(2, "Invalid request: stream names must be strings")
        if method == "SUBSCRIBE":
            self._subscribe(names)
        else:
            for name in names:
                self.streams.pop(name, None)
                self._hub.unsubscribe(name, self)
        return None

    def _property(self, method: str, params: list[object]) -> object:
        if not params or params[0] != "combined":
            raise _Invalid(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self._is_combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise _Invalid(1, "Invalid value type: expected Boolean")
        self._is_combined = params[1]
        return None

    def _subscribe(self, names: list[str]) -> None:
        if len(self.streams.keys() | set(names)) > STREAMS_MAX:
            self._counters["streams_over_limit"] += 1
            self._pipe.close(1008, "Too many streams")
            return
        for name in names:
            self.streams[name] = None
            self._hub.subscribe(name, self)


def _parse(payload: bytes) -> dict[str, object]:
    try:
        request = json.loads(payload)
    except ValueError:
        raise _Invalid(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise _Invalid(2, "Invalid request: expected an object")
    return request


def _identifier(request: dict[str, object]) -> object:
    value = request.get("id")
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if value is None or is_integer or (isinstance(value, str) and len(value) <= ID_CHARACTERS_MAX):
        return value
    raise _Invalid(2, "Invalid request: request ID must be an integer, a string of at most 36 characters, or null")
