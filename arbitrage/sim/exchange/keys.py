"""Test keys made from a seed, so that a run can be repeated. They open nothing but the simulated exchanges."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from arbitrage.sim.exchange.nouns import ApiKey


def binance_key(seed: int) -> ApiKey:
    """Make a key of 64 letters and digits, its HMAC secret, and an Ed25519 key that signs for it as well."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"binance ed25519 {seed}".encode()).digest())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return ApiKey(_text("binance key", seed), _text("binance secret", seed), pem)


def upbit_key(seed: int) -> ApiKey:
    """Make a pair of Upbit keys; the secret is long enough for every JWT library."""
    return ApiKey(_text("upbit key", seed)[:40], _text("upbit secret", seed))


def _text(purpose: str, seed: int) -> str:
    return hashlib.sha256(f"arbitrage simulated {purpose} {seed}".encode()).hexdigest()
