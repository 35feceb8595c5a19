"""Upbit's tokens: one list of pairs gives the hashed text and the sent text, and no other way to either exists. Sends nothing.

Source: reference upbit 3. The hash covers `k=v&k=v` un-encoded and in the order sent; on the wire values are percent-encoded;
a POST sends the same pairs as a flat JSON object of texts. Every token carries a nonce that was never used before.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import re
import uuid
from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from arbitrage.venues.trading import Credentials

Pairs = Sequence[tuple[str, str]]
"""Parameters in the order sent. An array is one pair for each element, with `[]` at the end of its name."""
TOKENS = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")
"""What a token looks like, whole or cut off: base64 of `{"` and what follows."""
HIDDEN_LENGTH_MIN = 8
"""Shorter forms are no secret of Upbit's, and hiding every `a` would hide the sentence."""
NONCES_MAX = 1 << 32
"""Nonces that are distinct by their last 32 bits alone; after so many (a year of 136 a second) the process must restart."""


def hashed_text(pairs: Pairs) -> str:
    """Return the text that the query hash covers."""
    return "&".join(f"{name}={value}" for name, value in pairs)


def query_text(pairs: Pairs) -> str:
    """Return the query string of a GET or DELETE: brackets stay bare, everything unusual is percent-encoded."""
    return "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in pairs)


def body_bytes(pairs: Pairs) -> bytes:
    """Return the JSON body of a POST. Its values are texts, so that there is one way to print them."""
    body = dict(pairs)
    assert len(body) == len(pairs), "a body names each parameter once"
    return msgspec.json.encode(body)


class Signer:
    """Makes one token for each attempt. Holds the secret and shows it to nobody."""

    def __init__(self, credentials: Credentials, rng: random.Random, clock: Callable[[], int]) -> None:
        assert credentials.kind == "shared", "Upbit signs with the secret's plain bytes"
        self._credentials = credentials
        self._rng = rng
        self._clock = clock
        self._count = 0
        texts = {text.encode() for text in credentials.texts_to_hide() if len(text) >= HIDDEN_LENGTH_MIN}
        self._hidden = tuple(sorted(texts, key=len, reverse=True))
        self._head = _base64url(b'{"alg":"HS512","typ":"JWT"}') + b"."

    def nonce(self) -> str:
        """Return a UUID that this process has not given before; dice and clock keep it apart from other processes' nonces."""
        assert self._count < NONCES_MAX, "nonces are distinct by their count"
        high = self._rng.getrandbits(64) ^ (self._clock() & (2**64 - 1))
        number = high << 64 | self._rng.getrandbits(32) << 32 | self._count
        self._count += 1
        return str(uuid.UUID(int=number, version=4))

    def authorization(self, pairs: Pairs = ()) -> str:
        """Return the Authorization header of one attempt; without parameters (a WebSocket handshake) no hash is claimed."""
        claims = {"access_key": self._credentials.access_key(), "nonce": self.nonce()}
        if pairs:
            claims["query_hash"] = hashlib.sha512(hashed_text(pairs).encode()).hexdigest()
            claims["query_hash_alg"] = "SHA512"
        signed = self._head + _base64url(msgspec.json.encode(claims))
        signature = hmac.digest(self._credentials.secret(), signed, "sha512")
        return f"Bearer {(signed + b'.' + _base64url(signature)).decode()}"

    def hide(self, raw: bytes) -> bytes:
        """Return what a venue wrote without our key, our secret and any token, should it repeat them to us."""
        for text in self._hidden:
            if text in raw:
                raw = raw.replace(text, b"***")
        return TOKENS.sub(b"***", raw) if b"eyJ" in raw else raw


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
