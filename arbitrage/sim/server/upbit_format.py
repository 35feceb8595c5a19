"""Upbit's four message formats: long or short keys, alone or in a list (reference sheet, section 10). Knows no market."""

from __future__ import annotations

import json
from typing import Literal, cast

import msgspec

from arbitrage.model.money import format_e8

Format = Literal["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"]
EXACT_KINDS = ("myOrder", "myAsset")
EXPONENT_BELOW_E8 = 1_000
"""Smaller numbers are written with an exponent, which clients must read too."""
FORMATS: tuple[Format, ...] = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")

_COMMON = {"type": "ty", "code": "cd", "timestamp": "tms", "stream_type": "st"}
_CHANGE = {"prev_closing_price": "pcp", "change": "c", "change_price": "cp", "trade_price": "tp", "trade_volume": "tv"}
_UNIT = {"ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs"}
SHORT_KEYS: dict[str, dict[str, str]] = {
    "orderbook": {
        **_COMMON, **_UNIT, "total_ask_size": "tas", "total_bid_size": "tbs", "orderbook_units": "obu", "level": "lv",
    },
    "trade": {
        **_COMMON, **_CHANGE, "ask_bid": "ab", "trade_date": "td", "trade_time": "ttm", "trade_timestamp": "ttms",
        "sequential_id": "sid", "best_ask_price": "bap", "best_ask_size": "bas", "best_bid_price": "bbp",
        "best_bid_size": "bbs",
    },
    "ticker": {
        **_COMMON, **_CHANGE, "opening_price": "op", "high_price": "hp", "low_price": "lp", "signed_change_price": "scp",
        "change_rate": "cr", "signed_change_rate": "scr", "acc_trade_volume": "atv", "acc_trade_volume_24h": "atv24h",
        "acc_trade_price": "atp", "acc_trade_price_24h": "atp24h", "trade_date": "tdt", "trade_time": "ttm",
        "trade_timestamp": "ttms", "ask_bid": "ab", "acc_ask_volume": "aav", "acc_bid_volume": "abv",
        "highest_52_week_price": "h52wp", "highest_52_week_date": "h52wdt", "lowest_52_week_price": "l52wp",
        "lowest_52_week_date": "l52wdt", "market_state": "ms", "delisting_date": "dd", "is_trading_suspended": "its",
        "market_warning": "mw",
    },
    "myOrder": {
        **_COMMON, "uuid": "uid", "ask_bid": "ab", "order_type": "ot", "state": "s", "trade_uuid": "tuid", "price": "p",
        "avg_price": "ap", "volume": "v", "remaining_volume": "rv", "executed_volume": "ev", "trades_count": "tc",
        "reserved_fee": "rsf", "remaining_fee": "rmf", "paid_fee": "pf", "locked": "l", "executed_funds": "ef",
        "time_in_force": "tif", "trade_fee": "tf", "is_maker": "im", "identifier": "id", "smp_type": "smpt",
        "prevented_volume": "pv", "prevented_locked": "pl", "trade_timestamp": "ttms", "order_timestamp": "otms",
    },
    "myAsset": {
        **_COMMON, "asset_uuid": "astuid", "assets": "ast", "currency": "cu", "balance": "b", "locked": "l",
        "asset_timestamp": "asttms",
    },
    "LIST_SUBSCRIPTIONS": {
        "method": "mthd", "result": "rslt", "type": "ty", "codes": "cds", "level": "lv", "ticket": "tckt",
    },
}  # fmt: skip


NESTED = (dict, list)


def encode(kind: str, message: dict[str, object], form: Format) -> bytes:
    """Write one message in a connection's format."""
    content: object = message
    if form.startswith("SIMPLE"):
        content = shorten(message, SHORT_KEYS[kind])
    if form.endswith("LIST"):
        content = [content]
    if kind in EXACT_KINDS:
        return msgspec.json.encode(content)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def exact(value_e8: int) -> msgspec.Raw:
    """Return a JSON number with every digit, as private messages have it: a float would round large sums of won."""
    return msgspec.Raw((f"{value_e8}e-8" if 0 < abs(value_e8) < EXPONENT_BELOW_E8 else format_e8(value_e8)).encode())


def shorten(value: object, keys: dict[str, str]) -> object:
    """Rename every key that has a short form, at any depth."""
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        return {keys.get(name, name): shorten(inner, keys) if type(inner) in NESTED else inner for name, inner in items}
    if isinstance(value, list):
        return [shorten(inner, keys) for inner in cast(list[object], value)]
    return value
