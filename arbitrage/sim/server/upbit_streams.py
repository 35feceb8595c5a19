"""One Upbit public WebSocket: a subscription set that each request replaces, formats, PING and status lines.

Follows the reference sheet, section 10. An unknown code gets silence; only the shape of a request can be an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from arbitrage.model.money import parse_e8
from arbitrage.sim.server.session import Pipe
from arbitrage.sim.server.upbit_format import FORMATS, Format, encode
from arbitrage.sim.server.upbit_market import UNITS_MAX, Message, Notice, UpbitMarket, number

KINDS = ("orderbook", "trade", "ticker")
UNITS_OFFERED = (1, 5, 15, 30)
STATUS_INTERVAL_S = 10.0
CODES_MAX = 2_000


class Wish(msgspec.Struct, frozen=True):
    """One code of one type as it was asked for."""

    kind: str
    text: str
    """The code as written, suffix included."""
    units: int
    level_e8: int
    is_only_snapshot: bool
    is_only_realtime: bool

    @property
    def code(self) -> str:
        return self.text.partition(".")[0]


class RequestError(Exception):
    """A request the venue answers with an error frame."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class Subscription(msgspec.Struct, frozen=True):
    """One whole request."""

    ticket: str
    wishes: tuple[Wish, ...]
    form: Format | None
    is_listing: bool


class UpbitSession:
    """One connection."""

    def __init__(
        self, pipe: Pipe, markets: dict[str, UpbitMarket], now: Callable[[], float], forget: Callable[[UpbitSession], None]
    ) -> None:
        self.wishes: dict[tuple[str, str], Wish] = {}
        """By (type, code)."""
        self._pipe = pipe
        self._markets = markets
        self._now = now
        self._forget = forget
        self._form: Format = "DEFAULT"
        self._status_s: float | None = None

    def deliver(self, market: UpbitMarket, notice: Notice) -> None:
        """Send one realtime message if this connection wants it."""
        wish = self.wishes.get((notice.kind, market.spec.symbol))
        if wish is None or wish.is_only_snapshot:
            return
        if notice.raw is not None and self._form == "SIMPLE" and notice.raw_units <= wish.units and not wish.level_e8:
            self._pipe.send(notice.raw, is_binary=True)
            return
        self._send(market, wish, "REALTIME")

    def close(self, code: int, reason: str) -> None:
        self._pipe.close(code, reason)

    def on_message(self, payload: bytes) -> None:
        """Take PING or one request."""
        if payload.strip() == b"PING":
            self._say_up()
            return
        try:
            request = parse_subscription(payload)
        except RequestError as refusal:
            body = {"error": {"name": refusal.name, "message": refusal.message}}
            self._pipe.send(json.dumps(body, separators=(",", ":")).encode(), is_binary=True)
            return
        self._form = request.form or self._form
        if request.is_listing:
            self._list(request.ticket)
            return
        self.wishes = {(wish.kind, wish.code): wish for wish in request.wishes}
        for wish in request.wishes:
            market = self._markets.get(wish.code)
            if market is not None and not wish.is_only_realtime:
                self._send(market, wish, "SNAPSHOT")

    def on_ping(self) -> None:
        """Begin the status lines, as a text PING does."""
        self._status_s = self._status_s or self._now()

    def on_second(self) -> None:
        """Send a status line every ten seconds once the client has pinged."""
        if self._status_s is not None and self._now() - self._status_s >= STATUS_INTERVAL_S:
            self._say_up()

    def on_close(self) -> None:
        self.wishes = {}
        self._forget(self)

    def _say_up(self) -> None:
        self._status_s = self._now()
        self._pipe.send(b'{"status":"UP"}', is_binary=True, is_data=False)

    def _send(self, market: UpbitMarket, wish: Wish, stream_type: str) -> None:
        message = content(market, wish)
        if message is not None:
            message["stream_type"] = stream_type
            self._pipe.send(encode(wish.kind, message, self._form), is_binary=True)

    def _list(self, ticket: str) -> None:
        rows: dict[tuple[str, int], dict[str, object]] = {}
        for wish in self.wishes.values():
            row = rows.setdefault((wish.kind, wish.level_e8), {"type": wish.kind, "codes": []})
            codes = row["codes"]
            assert isinstance(codes, list), "a row collects codes"
            codes.append(wish.text)
            if wish.kind == "orderbook":
                row["level"] = number(wish.level_e8)
        message: Message = {"method": "LIST_SUBSCRIPTIONS", "result": list(rows.values()), "ticket": ticket}
        self._pipe.send(encode("LIST_SUBSCRIPTIONS", message, self._form), is_binary=True)


def content(market: UpbitMarket, wish: Wish) -> Message | None:
    """Return what a wish would be told now; None is silence."""
    if wish.kind == "orderbook":
        return market.orderbook(wish.units, wish.level_e8)
    return market.trade() if wish.kind == "trade" else market.ticker()


def parse_subscription(payload: bytes) -> Subscription:
    """Read one request: a ticket, wishes by type, and a format (anywhere in the array, last by custom)."""
    try:
        parts = json.loads(payload, parse_float=str)
    except ValueError:
        raise RequestError("WRONG_FORMAT", "Format of the request is not valid.") from None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise RequestError("WRONG_FORMAT", "Format of the request is not valid.")
    tickets = [part["ticket"] for part in parts if "ticket" in part]
    if not tickets or not isinstance(tickets[0], str):
        raise RequestError("NO_TICKET", "Ticket is missing.")
    is_listing = any(part.get("method") == "LIST_SUBSCRIPTIONS" for part in parts)
    typed = [part for part in parts if "type" in part]
    if not typed and not is_listing:
        raise RequestError("NO_TYPE", "Type is missing.")
    forms = [part["format"] for part in parts if "format" in part]
    if any(form not in FORMATS for form in forms):
        raise RequestError("WRONG_FORMAT", "Format of the request is not valid.")
    wishes = tuple(wish for part in typed for wish in _wishes(part))
    if len(wishes) > CODES_MAX:
        raise RequestError("INVALID_PARAM", f"More than {CODES_MAX} codes.")
    return Subscription(tickets[0], wishes, forms[-1] if forms else None, is_listing)


def _wishes(part: dict[str, object]) -> list[Wish]:
    kind, codes = part["type"], part.get("codes")
    if kind not in KINDS:
        raise RequestError("WRONG_FORMAT", f"Type {kind} is not offered here.")
    if not isinstance(codes, list) or not codes or not all(isinstance(code, str) for code in codes):
        raise RequestError("NO_CODES", "Codes are missing.")
    try:
        level_e8 = parse_e8(str(part.get("level", 0)))
    except ValueError:
        raise RequestError("INVALID_PARAM", "Level is not a number.") from None
    return [
        Wish(
            kind=str(kind),
            text=code,
            units=_units(code),
            level_e8=level_e8,
            is_only_snapshot=_flag(part, "is_only_snapshot", "isOnlySnapshot"),
            is_only_realtime=_flag(part, "is_only_realtime", "isOnlyRealtime"),
        )
        for code in codes
    ]


def _units(code: str) -> int:
    suffix = code.partition(".")[2]
    return int(suffix) if suffix.isdecimal() and int(suffix) in UNITS_OFFERED else UNITS_MAX


def _flag(part: dict[str, object], name: str, old_name: str) -> bool:
    return bool(part.get(name, part.get(old_name, False)))
