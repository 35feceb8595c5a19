"""Signs Binance's requests to the byte, for REST and for the WebSocket API apart. Refuses to show a key, and reads no clock.

Source: reference binance-spot 3. REST signs percent-encoded text and sends exactly that text, signature last. The WebSocket API
signs its parameters sorted by name, un-encoded, the key among them, and sends them as JSON.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import quote

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from arbitrage.venues.trading import HIDDEN, Credentials

Parameters = Sequence[tuple[str, str]]
"""In the order in which they are sent."""
SECRET_LENGTH_MIN = 4
"""Shorter ones are not hidden in a venue's words: hiding every `a` would hide the words."""
_TOKEN = re.compile(r"[A-Za-z0-9+/=%_-]{40,}")
"""Longer than any word, number or client id: a key, a signature or a part of one."""


class SigningKey(Protocol):
    """Turns a payload into the text of its signature."""

    def sign(self, payload: bytes) -> str:
        """Return the signature as it stands in JSON; REST percent-encodes it."""
        ...


class HmacKey:
    """HMAC-SHA256, in hexadecimal."""

    __slots__ = ("__secret",)

    def __init__(self, secret: bytes) -> None:
        self.__secret = secret

    def sign(self, payload: bytes) -> str:
        return hmac.digest(self.__secret, payload, "sha256").hex()

    def __repr__(self) -> str:
        return f"HmacKey({HIDDEN})"


class Ed25519Key:
    """Ed25519, in base64. Raises ValueError for what is not such a private key."""

    __slots__ = ("__key",)

    def __init__(self, pem: bytes) -> None:
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the secret is not an Ed25519 private key in unencrypted PKCS#8 PEM")
        self.__key = key

    def sign(self, payload: bytes) -> str:
        return base64.b64encode(self.__key.sign(payload)).decode()

    def __repr__(self) -> str:
        return f"Ed25519Key({HIDDEN})"


class Signer:
    """Signs with one account's key, and hides key and signatures in what a venue says."""

    def __init__(self, credentials: Credentials) -> None:
        is_shared = credentials.kind == "shared"
        self._key: SigningKey = HmacKey(credentials.secret()) if is_shared else Ed25519Key(credentials.secret())
        self._credentials = credentials

    @property
    def headers(self) -> dict[str, str]:
        """Return the header that names the key; everything that needs a key needs it."""
        return {"X-MBX-APIKEY": self._credentials.access_key()}

    def query(self, parameters: Parameters) -> bytes:
        """Return the finished query or body of a REST request: what was signed, and the signature behind it."""
        text = encoded(parameters)
        return f"{text}&signature={quote(self._key.sign(text.encode()), safe='')}".encode()

    def params(self, parameters: Mapping[str, str | int]) -> dict[str, str | int]:
        """Return the parameters of a WebSocket API request with key and signature."""
        assert "signature" not in parameters, "a request is signed once"
        named: dict[str, str | int] = {**parameters, "apiKey": self._credentials.access_key()}
        payload = "&".join(f"{name}={named[name]}" for name in sorted(named))
        named["signature"] = self._key.sign(payload.encode())
        return named

    def request(self, number: int, method: str, parameters: Mapping[str, str | int]) -> bytes:
        """Return one signed WebSocket API message."""
        return msgspec.json.encode({"id": number, "method": method, "params": self.params(parameters)})

    def hide(self, text: str) -> str:
        """Return a venue's or a library's words without key and signature, should they echo them."""
        for secret in self._credentials.texts_to_hide():
            if len(secret) >= SECRET_LENGTH_MIN and secret in text:
                text = text.replace(secret, HIDDEN)
        return _TOKEN.sub(HIDDEN, text)

    def __repr__(self) -> str:
        return f"Signer({HIDDEN})"


def encoded(parameters: Parameters) -> str:
    """Percent-encode names and values as UTF-8; only letters, digits and `_.-~` stay as they are."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)
