"""Upbit's API keys and the tokens they sign (reference sheet, section 3): rights, addresses, nonces, query hashes.

Recomputes the hash from what arrived and never from what a client says it sent. Signs nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import string
from collections import deque
from typing import Literal, cast
from urllib.parse import unquote

import msgspec

from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.upbit_errors import UpbitRefusal
from arbitrage.sim.server.upbit_limits import Tally

Right = Literal[
    "view_account", "view_orders", "make_orders", "view_withdrawals", "withdraw", "view_deposits", "deposit", "transfer",
    "manage_pockets",
]  # fmt: skip
"""The names of `GET /v1/pockets/api_keys` (upbit-sdk 1.1.0)."""
TRADING_RIGHTS: frozenset[Right] = frozenset({"view_account", "view_orders", "make_orders"})
WITHDRAWAL_RIGHTS: frozenset[Right] = frozenset({"view_withdrawals", "withdraw"})
LOOPBACK = "127.0.0.1"
"""The address that every client of a loopback server comes from."""
YEAR_NS = 365 * 86_400 * 1_000_000_000
NONCES_KEPT_MAX = 1_000_000
TOKEN_BYTES_MAX = 4_096
_DIGESTS = {"HS256": "sha256", "HS512": "sha512"}
Parameters = dict[str, list[str]]
"""Values by name, array brackets included in the name."""


class UpbitKey(msgspec.Struct, frozen=True):
    """One key of the pocket."""

    key: ApiKey
    created_ns: int
    rights: frozenset[Right] = TRADING_RIGHTS
    allowed_ips: tuple[str, ...] = (LOOPBACK,)
    expires_ns: int = 0
    """0 is a year after it was made."""

    @property
    def access_key(self) -> str:
        return self.key.access_key

    @classmethod
    def of(cls, key: ApiKey, created_ns: int) -> UpbitKey:
        """Give a test key the rights that it stands for."""
        rights = TRADING_RIGHTS if key.can_trade else TRADING_RIGHTS - {"make_orders"}
        return cls(key, created_ns, rights | WITHDRAWAL_RIGHTS if key.can_withdraw else rights)

    @property
    def ends_ns(self) -> int:
        return self.expires_ns or self.created_ns + YEAR_NS


def hashed_query(query: str) -> tuple[str, Parameters]:
    """Return the text that a query string's hash covers, un-encoded in the order sent, and its parameters.

    Raises UpbitRefusal for a bare `+`: what it stands for is not told apart from a space.
    """
    if "+" in query:
        raise UpbitRefusal("invalid_parameter", "A plus sign must be percent-encoded.")
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    decoded = [(unquote(name), unquote(value)) for name, _, value in pairs]
    return _joined(decoded)


def hashed_body(body: bytes) -> tuple[str, Parameters]:
    """Return the text that a JSON body's hash covers, in body order, and its parameters as text.

    Raises UpbitRefusal for anything but one flat JSON object.
    """
    try:
        content = json.loads(body, parse_float=str, parse_int=str) if body else {}
    except (ValueError, RecursionError):
        raise UpbitRefusal("validation_error", "The body is not JSON.") from None
    if not isinstance(content, dict):
        raise UpbitRefusal("validation_error", "The body is not a JSON object.")
    pairs: list[tuple[str, str]] = []
    for name, value in cast(dict[str, object], content).items():
        if isinstance(value, list):
            pairs.extend((f"{name}[]", _text(one)) for one in cast(list[object], value))
        elif value is not None:
            pairs.append((name, _text(value)))
    return _joined(pairs)


class KeyRing:
    """The pocket's keys and the nonces that each has spent."""

    def __init__(self, keys: tuple[UpbitKey, ...], tally: Tally) -> None:
        self.keys = {key.access_key: key for key in keys}
        self._tally = tally
        self._nonces: dict[str, set[str]] = {key.access_key: set() for key in keys}
        self._order: dict[str, deque[str]] = {key.access_key: deque() for key in keys}

    def verify(self, authorization: str, text: str, now_ns: int) -> UpbitKey:
        """Return the key that signed these parameters. Raises UpbitRefusal, in the order the venue looks."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UpbitRefusal("no_authorization_token")
        head, claims, signed, signature = _parts(token)
        key = self.keys.get(str(claims.get("access_key")))
        if key is None:
            raise UpbitRefusal("invalid_access_key")
        digest = _DIGESTS.get(str(head.get("alg")))
        if digest is None or not hmac.compare_digest(hmac.digest(key.key.secret.encode(), signed, digest), signature):
            raise UpbitRefusal("jwt_verification")
        self._spend(key, claims.get("nonce"))
        if now_ns >= key.ends_ns:
            raise UpbitRefusal("expired_access_key")
        if LOOPBACK not in key.allowed_ips:
            raise UpbitRefusal("no_authorization_ip")
        _check_hash(claims, text)
        return key

    def replace(self, key: UpbitKey) -> None:
        """Change a key's rights, addresses or end; its nonces stay spent."""
        assert key.access_key in self.keys, "only a key that exists is changed"
        self.keys[key.access_key] = key

    def _spend(self, key: UpbitKey, nonce: object) -> None:
        if not isinstance(nonce, str) or not nonce:
            raise UpbitRefusal("jwt_verification", "The nonce is missing.")
        if not _is_uuid(nonce):
            self._tally.violations["nonce_is_no_uuid"] += 1
        spent, order = self._nonces[key.access_key], self._order[key.access_key]
        if nonce in spent:
            raise UpbitRefusal("nonce_used")
        spent.add(nonce)
        order.append(nonce)
        if len(order) > NONCES_KEPT_MAX:
            spent.discard(order.popleft())


def _joined(pairs: list[tuple[str, str]]) -> tuple[str, Parameters]:
    parameters: Parameters = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return "&".join(f"{name}={value}" for name, value in pairs), parameters


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise UpbitRefusal("validation_error", "The body is not flat.")
    return value


def _check_hash(claims: dict[str, object], text: str) -> None:
    sent = claims.get("query_hash")
    if not text:
        if sent is not None:
            raise UpbitRefusal("invalid_query_payload")
        return
    wanted = hashlib.sha512(text.encode()).hexdigest()
    is_same = isinstance(sent, str) and hmac.compare_digest(sent.encode(), wanted.encode())
    if not is_same or claims.get("query_hash_alg", "SHA512") != "SHA512":
        raise UpbitRefusal("invalid_query_payload")


def _parts(token: str) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    """Take a token apart: header, claims, the signed bytes, the signature."""
    words = token.split(".")
    if len(words) != 3 or len(token) > TOKEN_BYTES_MAX:
        raise UpbitRefusal("jwt_verification")
    try:
        head, claims = (json.loads(_unpadded(word)) for word in words[:2])
        signature = _unpadded(words[2])
    except (ValueError, binascii.Error, RecursionError):
        raise UpbitRefusal("jwt_verification") from None
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise UpbitRefusal("jwt_verification")
    return head, claims, ".".join(words[:2]).encode(), signature


def _unpadded(word: str) -> bytes:
    return base64.b64decode(word.encode() + b"=" * (-len(word) % 4), altchars=b"-_", validate=True)


def _is_uuid(text: str) -> bool:
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and set("".join(parts).lower()) <= set(string.hexdigits)
