"""What every Binance endpoint shares: parameters read exactly, refusals with code and words, amounts as the venue prints them.

Decides nothing about orders. Codes and words: reference sheet, section 12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import msgspec

from arbitrage.model.money import E8, parse_e8

DECIMAL = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?", re.ASCII)
INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}", re.ASCII)
DECIMALS_MAX = 8
BACKEND_TIMEOUT_MS = 10_000
"""The API gives up after so long, and says that the outcome is unknown."""
_FAULTLESS = frozenset({-1000, -1003, -1007, -1008, -1015, -1021, -1022, -2010, -2011, -2013, -2014, -2015, -2021, -2022})
"""Refusals that are no fault of the request's form, or that are counted by a better name where they arise."""
Headers = tuple[tuple[str, str], ...]
Data = dict[str, object] | None


class VenueError(Exception):
    """A refusal with the venue's code and words."""

    def __init__(
        self, code: int, message: str, status: int = 400, *, headers: Headers = (), socket_data: Data = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers
        self.data: Data = None
        """Told in both interfaces."""
        self.socket_data = socket_data
        """Told in the WebSocket API only, where there are no headers."""

    def violation(self) -> tuple[str, ...]:
        """Name what the client did against the rules; a refusal that the market or the account brings is none."""
        if self.code in _FAULTLESS:
            return ()
        return (f"refused {self.code}" if self.code != -1013 else self.message,)

    def body(self, *, is_socket: bool = False) -> dict[str, object]:
        """Return the error object."""
        answer: dict[str, object] = {"code": self.code, "msg": self.message}
        data = self.data or (self.socket_data if is_socket else None)
        return answer if data is None else {**answer, "data": data}


class Raw(msgspec.Struct, frozen=True):
    """An answer that is JSON text already."""

    text: bytes


def missing(name: str) -> VenueError:
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def superfluous(name: str) -> VenueError:
    return VenueError(-1106, f"Parameter '{name}' sent when not required.")


def illegal(name: str, legal: str) -> VenueError:
    return VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def timed_out() -> VenueError:
    """Make what the API says when it gave up after 10 s: the outcome is unknown."""
    words = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    return VenueError(-1007, words, 504)


_FAILURES = {
    (503, False): (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    (503, True): (-1000, "Unknown error, please check your request or try again later."),
    (429, False): (-1003, "Too many requests; please use WebSocket Streams for live updates to avoid polling the API."),
    (418, False): (-1003, "Way too much request weight used; IP banned."),
    (502, True): (-1006, "An unexpected response was received from the message bus. Execution status unknown."),
}


def failure(status: int, body: str = "", *, is_after: bool) -> VenueError:
    """Make the refusal that a fault asks for: its own body, or the venue's words for the status."""
    try:
        told = msgspec.json.decode(body.encode(), type=_Told)
        return VenueError(told.code, told.msg, status)
    except msgspec.DecodeError:
        pass
    if status == 504:
        return timed_out()
    code, words = _FAILURES.get((status, is_after), (-1000, "An unknown error occurred while processing the request."))
    return VenueError(code, body or words, status)


class _Told(msgspec.Struct):
    """An error body."""

    code: int
    msg: str


class Parameters:
    """What a client sent, by name. Each reader raises VenueError for what the venue would refuse."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def require_known(self, known: Iterable[str]) -> None:
        """Refuse names that the endpoint does not read, and names sent empty."""
        names = frozenset(known)
        read = sum(name in names for name in self.values)
        if read != len(self.values):
            words = f"read '{read}' parameter(s) but was sent '{len(self.values)}'."
            raise VenueError(-1104, f"Not all sent parameters were read; {words}")
        for name, value in self.values.items():
            if not value:
                raise VenueError(-1105, f"Parameter '{name}' was empty.")

    def text(self, name: str) -> str:
        """Return a mandatory parameter."""
        value = self.values.get(name, "")
        if not value:
            raise missing(name)
        return value

    def optional(self, name: str) -> str | None:
        return self.values.get(name)

    def integer(self, name: str, default: int) -> int:
        value = self.values.get(name)
        if value is None:
            return default
        if not INTEGER.fullmatch(value):
            raise illegal(name, "^[0-9]{1,20}$")
        return int(value)

    def amount_e8(self, name: str) -> int:
        """Return a mandatory positive decimal exactly; more than eight decimals are refused."""
        value = self.text(name)
        match = DECIMAL.fullmatch(value)
        if match is None:
            raise illegal(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
        if len(match[2] or "") > DECIMALS_MAX + 1:
            raise VenueError(-1111, f"Parameter '{name}' has too much precision.")
        amount = parse_e8(value)
        if amount == 0:
            raise VenueError(-1013, f"Invalid {name}.")
        return amount

    def client_id(self, name: str) -> str | None:
        """Return a client order id, or None when none was sent."""
        value = self.values.get(name)
        if value is not None and not CLIENT_ID.fullmatch(value):
            raise illegal(name, "^[a-zA-Z0-9-_]{1,36}$")
        return value


class Call(msgspec.Struct, frozen=True):
    """One thing that can be asked for, by REST or by the WebSocket API alike."""

    answer: Callable[[Parameters], object]
    weight: Callable[[Parameters], int]
    known: frozenset[str] = frozenset()
    is_signed: bool = False
    is_trading: bool = False
    """Needs a key that may trade."""
    is_free_on_success: bool = False
    """Weight is given back when it succeeds (since 2026-04-02)."""


def weighs(weight: int) -> Callable[[Parameters], int]:
    """Make the weight of a call that always costs the same."""
    return lambda _: weight


def decimal_text(value_e8: int) -> str:
    """Print eight decimals, as Binance does."""
    sign = "-" if value_e8 < 0 else ""
    return f"{sign}{abs(value_e8) // E8}.{abs(value_e8) % E8:08d}"


def encode(answer: object) -> bytes:
    """Write an answer's JSON."""
    if isinstance(answer, Raw):
        return answer.text
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()
