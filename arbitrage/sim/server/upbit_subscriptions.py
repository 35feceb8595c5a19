"""What a client asks an Upbit WebSocket for: one JSON array of a ticket, wishes by type and a format (sheet, section 10).

Reads and lists requests. An unknown code is no error: only the shape of a request can be one.
"""

from __future__ import annotations

import json

import msgspec

from arbitrage.model.money import parse_e8
from arbitrage.sim.server.upbit_format import FORMATS, Format
from arbitrage.sim.server.upbit_market import UNITS_MAX, Message, number

PUBLIC_KINDS = ("orderbook", "trade", "ticker")
PRIVATE_KINDS = ("myOrder", "myAsset", "announcement")
UNITS_OFFERED = (1, 5, 15, 30)
CODES_MAX = 2_000
ALL_CODES = ""
"""The text of a private wish that names no code: every one of them."""


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

    def frame(self) -> bytes:
        """Write the error frame, the same in every format."""
        return json.dumps({"error": {"name": self.name, "message": self.message}}, separators=(",", ":")).encode()


class Subscription(msgspec.Struct, frozen=True):
    """One whole request."""

    ticket: str
    wishes: tuple[Wish, ...]
    form: Format | None
    is_listing: bool


def parse_subscription(payload: bytes, kinds: tuple[str, ...]) -> Subscription:
    """Read one request: a ticket, wishes by type, and a format (anywhere in the array, last by custom)."""
    try:
        parts = json.loads(payload, parse_float=str)
    except (ValueError, RecursionError):
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
    wishes = tuple(wish for part in typed for wish in _wishes(part, kinds))
    if len(wishes) > CODES_MAX:
        raise RequestError("INVALID_PARAM", f"More than {CODES_MAX} codes.")
    return Subscription(tickets[0], wishes, forms[-1] if forms else None, is_listing)


def listing(wishes: list[Wish], ticket: str) -> Message:
    """Return the answer to LIST_SUBSCRIPTIONS."""
    rows: dict[tuple[str, int], dict[str, object]] = {}
    for wish in wishes:
        row = rows.setdefault((wish.kind, wish.level_e8), {"type": wish.kind})
        if wish.text != ALL_CODES:
            codes = row.setdefault("codes", [])
            assert isinstance(codes, list), "a row collects codes"
            codes.append(wish.text)
        if wish.kind == "orderbook":
            row["level"] = number(wish.level_e8)
    return {"method": "LIST_SUBSCRIPTIONS", "result": list(rows.values()), "ticket": ticket}


def _wishes(part: dict[str, object], kinds: tuple[str, ...]) -> list[Wish]:
    kind = part["type"]
    if not isinstance(kind, str) or kind not in kinds:
        raise RequestError("WRONG_FORMAT", f"Type {kind} is not offered here.")
    codes = _codes(kind, part)
    try:
        level_e8 = parse_e8(str(part.get("level", 0)))
    except ValueError:
        raise RequestError("INVALID_PARAM", "Level is not a number.") from None
    return [
        Wish(
            kind=kind,
            text=code,
            units=_units(code),
            level_e8=level_e8,
            is_only_snapshot=_flag(part, "is_only_snapshot", "isOnlySnapshot"),
            is_only_realtime=_flag(part, "is_only_realtime", "isOnlyRealtime"),
        )
        for code in codes
    ]


def _codes(kind: str, part: dict[str, object]) -> list[str]:
    """Return the codes of one type; myOrder may leave them out, myAsset must."""
    if kind in ("myAsset", "announcement"):
        if "codes" in part:
            raise RequestError("WRONG_FORMAT", f"Type {kind} takes no codes.")
        return [ALL_CODES]
    codes = part.get("codes")
    if kind == "myOrder" and codes in (None, []):
        return [ALL_CODES]
    if not isinstance(codes, list) or not codes or not all(isinstance(code, str) for code in codes):
        raise RequestError("NO_CODES", "Codes are missing.")
    return codes


def _units(code: str) -> int:
    suffix = code.partition(".")[2]
    return int(suffix) if suffix.isdecimal() and int(suffix) in UNITS_OFFERED else UNITS_MAX


def _flag(part: dict[str, object], name: str, old_name: str) -> bool:
    return bool(part.get(name, part.get(old_name, False)))
