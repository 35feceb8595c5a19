"""Binance's API keys: HMAC and Ed25519 signatures over the exact bytes that arrived, and the time they are good for.

Reference sheet, section 3. Signs nothing and never looks at what a client says it signed.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.binance_wire import Parameters, VenueError, illegal, missing

KEY_FORMAT = re.compile(r"[a-zA-Z0-9]{64}", re.ASCII)
RECV_WINDOW_DEFAULT, RECV_WINDOW_MAX = "5000", 60_000_000
"""The longest window is in microseconds."""
AHEAD_US_MAX = 1_000_000
MICROSECOND_DIGITS = 16
"""A timestamp of so many digits is in microseconds."""
SIGNED_NAMES = frozenset({"timestamp", "recvWindow", "signature"})
_RECV_WINDOW = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?", re.ASCII)


class SigningKey:
    """A key of the account as the venue holds it: the HMAC secret, and the public half of an Ed25519 key."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self._public: Ed25519PublicKey | None = None
        if key.ed25519_pem:
            private = load_pem_private_key(key.ed25519_pem.encode(), password=None)
            assert isinstance(private, Ed25519PrivateKey), "the test key is an Ed25519 key"
            self._public = private.public_key()

    def verifies(self, payload: bytes, signature: str) -> bool:
        """Tell whether this key made the signature (hex for HMAC in any case, base64 for Ed25519)."""
        digest = hmac.digest(self.key.secret.encode(), payload, "sha256").hex()
        is_hmac = hmac.compare_digest(digest.encode(), signature.lower().encode())
        return is_hmac or self.is_ed25519(payload, signature)

    def is_ed25519(self, payload: bytes, signature: str) -> bool:
        """Tell whether the signature is the Ed25519 one, which alone may log on."""
        if self._public is None:
            return False
        try:
            self._public.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, ValueError):
            return False
        return True


class SignedRequest(msgspec.Struct, frozen=True):
    """Parameters with what their signature covers."""

    parameters: Parameters
    payload: bytes
    signature: str | None


def read_rest(query: str, body: bytes) -> SignedRequest:
    """Merge query and body (the query wins) and find what a REST signature covers: every byte before it.

    Raises VenueError for the same name twice in one place. A signature that is not last covers nothing.
    """
    form = body.decode("latin-1")
    values = {**_unique(form), **_unique(query)}
    if "signature" not in values:
        return SignedRequest(Parameters(values), b"", None)
    head, _, last = (form or query).rpartition("&")
    if not last.startswith("signature="):
        return SignedRequest(Parameters(values), b"", "")
    covered = query + head if form else head
    signature = unquote_to_bytes(last.removeprefix("signature=")).decode("latin-1")
    return SignedRequest(Parameters(values), covered.encode("latin-1"), signature)


def read_socket(values: dict[str, str]) -> SignedRequest:
    """Find what a WebSocket API signature covers: all other parameters by name, as raw UTF-8."""
    covered = "&".join(f"{name}={values[name]}" for name in sorted(values) if name != "signature")
    return SignedRequest(Parameters(values), covered.encode(), values.get("signature"))


def _unique(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    values = dict(pairs)
    if len(values) != len(pairs):
        raise VenueError(-1101, "Duplicate values for a parameter detected.")
    return values


class KeyRing:
    """The account's keys, and the clock that decides whether a request is in time."""

    def __init__(self, keys: Iterable[ApiKey], now_us: Callable[[], int], violations: Counter[str]) -> None:
        self._keys = {key.access_key: SigningKey(key) for key in keys}
        self._now_us = now_us
        self._violations = violations

    def find(self, access_key: str) -> SigningKey:
        """Return a key by its name. Raises VenueError."""
        if not KEY_FORMAT.fullmatch(access_key):
            self._violations["api_key_malformed"] += 1
            raise VenueError(-2014, "API-key format invalid.", 401)
        key = self._keys.get(access_key)
        if key is None:
            self._violations["api_key_unknown"] += 1
            raise not_permitted()
        return key

    def verify(self, key: SigningKey, request: SignedRequest) -> None:
        """Check signature, then time. Raises VenueError."""
        request.parameters.text("timestamp")
        if request.signature is None:
            raise missing("signature")
        if not key.verifies(request.payload, request.signature):
            self._violations["signature_invalid"] += 1
            raise VenueError(-1022, "Signature for this request is not valid.")
        self.check_time(request.parameters)

    def check_time(self, parameters: Parameters) -> None:
        """Check the request's time against ours: at arrival, and again before the matching engine. Raises VenueError."""
        sent_us, window_us = _sent_us(parameters), _window_us(parameters)
        now_us = self._now_us()
        if sent_us >= now_us + AHEAD_US_MAX:
            self._violations["timestamp_ahead"] += 1
            raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now_us - sent_us > window_us:
            self._violations["timestamp_late"] += 1
            raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def revoke(self, access_key: str) -> None:
        """Delete a key."""
        del self._keys[access_key]


def not_permitted() -> VenueError:
    """Make the refusal of a key that is unknown, revoked, or lacks the right."""
    return VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def _sent_us(parameters: Parameters) -> int:
    text = parameters.text("timestamp")
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise illegal("timestamp", "^[0-9]{1,20}$")
    return int(text) * (1 if len(text) >= MICROSECOND_DIGITS else 1000)


def _window_us(parameters: Parameters) -> int:
    match = _RECV_WINDOW.fullmatch(parameters.optional("recvWindow") or RECV_WINDOW_DEFAULT)
    if match is None:
        raise illegal("recvWindow", r"^[0-9]{1,12}(\.[0-9]{1,3})?$")
    window_us = int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0"))
    if window_us > RECV_WINDOW_MAX:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    return window_us
