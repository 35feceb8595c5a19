"""Short-lived tokens for machines: a JWT that an API key is exchanged for. Knows one algorithm and one audience; lasts minutes.

A token says only which key it stands for. Role, scopes, addresses and whether the key still counts are the key's, looked up at
every request: a key that is revoked takes its tokens with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import msgspec
from jwt.types import Options

from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.ops.secrets import read_private
from arbitrage.store.files import make_private_folder, write_durably

ALGORITHM = "HS256"
"""Pinned: what the token's own header says is never heeded (RFC 8725, 3.1)."""
AUDIENCE = "arbitrage"
TOKEN_LENGTH_MAX = 2_048
KEY_FILE = "token-key"
KEY_BYTES = 32
_WANTED: Options = {
    "require": ["aud", "exp", "iat", "jti", "sub"], "strict_aud": True,
    "verify_exp": False, "verify_iat": False, "verify_nbf": False,
}  # fmt: skip
"""Times are compared here, by the clock that was handed in."""
_SECOND_NS = 1_000_000_000


class Claims(msgspec.Struct, frozen=True):
    """What a token says."""

    key_id: str
    number: str
    """`jti`: in the audit log."""
    scopes: tuple[str, ...]
    """Never more than the key's; empty: all of the key's."""
    expires_at_s: int


def token_key(data_dir: Path) -> bytes:
    """Return the key that signs tokens, made at the first start and readable by its owner only. Raises ConfigError, OSError.

    It never leaves this folder and is in no backup: who restores one elsewhere makes new tokens.
    """
    folder = data_dir / "web"
    path = folder / KEY_FILE
    if not os.path.lexists(path):
        make_private_folder(folder)
        write_durably(path, os.urandom(KEY_BYTES).hex().encode())
    raw = read_private(path).strip()
    try:
        key = bytes.fromhex(raw.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError([Problem(str(path), "is no key for tokens", "remove it: the next start makes a new one")])
    return key


class _Body(msgspec.Struct, frozen=True):
    sub: str
    jti: str
    iat: int
    exp: int
    scopes: tuple[str, ...] = ()


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, key: bytes, clock: Callable[[], int], *, seconds_max: int) -> None:
        assert len(key) == KEY_BYTES, "as long as the hash"
        self._key = key
        self._clock = clock
        self.seconds_max = seconds_max

    def __repr__(self) -> str:
        return "Tokens(***)"

    def make(self, key_id: str, *, seconds: int = 0, scopes: tuple[str, ...] = ()) -> tuple[str, Claims]:
        """Make a token for a key; 0 seconds are as many as there may be."""
        seconds = seconds or self.seconds_max
        assert 0 < seconds <= self.seconds_max, "short-lived"
        now_s = self._clock() // _SECOND_NS
        claims = Claims(key_id, os.urandom(8).hex(), scopes, now_s + seconds)
        body: dict[str, Any] = {
            "aud": AUDIENCE, "sub": key_id, "jti": claims.number, "iat": now_s, "exp": claims.expires_at_s, "scopes": scopes,
        }  # fmt: skip
        return jwt.encode(body, self._key, algorithm=ALGORITHM), claims

    def read(self, token: str) -> Claims | None:
        """Return what a token says; None for one that is not ours, damaged, expired or longer-lived than any of ours."""
        if len(token) > TOKEN_LENGTH_MAX:
            return None
        try:
            body = jwt.decode(token, self._key, algorithms=[ALGORITHM], audience=AUDIENCE, options=_WANTED)
            said = msgspec.convert(body, _Body)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError):
            return None
        now_s = self._clock() // _SECOND_NS
        is_short = 0 < said.exp - said.iat <= self.seconds_max
        return Claims(said.sub, said.jti, said.scopes, said.exp) if is_short and said.iat <= now_s < said.exp else None
