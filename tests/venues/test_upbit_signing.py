"""Upbit's tokens against the sheet's vectors, the exchange's own SDK and ccxt; what is signed is what is sent."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from typing import Any
from urllib.parse import unquote

import ccxt
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upbit._qs import Querystring
from upbit.lib.jwt_auth import create_jwt_token

from arbitrage.venues.trading import Credentials
from arbitrage.venues.upbit.signing import Pairs, Signer, body_bytes, hashed_text, query_text

ACCESS = "AccessKeyOfTheTests"
SECRET = "s" * 64
ORDER = [
    ("market", "KRW-BTC"), ("side", "bid"), ("ord_type", "limit"), ("price", "100000000"), ("volume", "0.0001"),
    ("identifier", "id-1"),
]  # fmt: skip
VECTORS = [
    (
        [("market", "KRW-BTC"), ("states[]", "wait"), ("states[]", "watch"), ("start_time", "2025-06-24T13:56:53+09:00")],
        "5f0ba2f51c9e5cf55aec0fc5df5c8b084fddd93a0f393cc090fcf787811da462a7d1def461f1fa94d8807ddf13ae349788c94d486b0e00efa1761d2973174785",
    ),
    (
        ORDER,
        "561313511be4b7281e3cde87bd82b8ef0c384e1cdf1274900511607420de3df1e7dccf147f8703cacb4db9011590575409e77a355186a65590a036715a2ee2d8",
    ),
    (
        [("uuids[]", "a"), ("uuids[]", "b")],
        "72936e0b10602e7219c6d8f4f8e49095fe1c00a2c349cf6b71833af3868d0eab7b550d9582177f42a93f8e753652e93e4e4742d1f3743ce509bfcc58e3b1381d",
    ),
]
texts = st.text(st.characters(exclude_characters="&=", exclude_categories=["Cs"]), min_size=1, max_size=20)
pairs_of_texts = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def signer(seed: int = 1, now_ns: int = 7) -> Signer:
    return Signer(Credentials(ACCESS, SECRET.encode()), random.Random(seed), lambda: now_ns)


def claims(authorization: str, algorithms: tuple[str, ...] = ("HS512",)) -> dict[str, Any]:
    scheme, _, token = authorization.partition(" ")
    assert scheme == "Bearer"
    return jwt.decode(token, SECRET, algorithms=list(algorithms))


@pytest.mark.parametrize(("pairs", "digest"), VECTORS)
def test_the_vectors_of_the_sheet_come_out(pairs: Pairs, digest: str) -> None:
    said = claims(signer().authorization(pairs))
    assert said["query_hash"] == digest
    assert (said["query_hash_alg"], said["access_key"]) == ("SHA512", ACCESS)


def test_a_token_without_parameters_claims_no_hash() -> None:
    assert set(claims(signer().authorization())) == {"access_key", "nonce"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"market": "KRW-BTC", "states": ["wait", "watch"], "limit": "100"},
        {"identifiers": ["arb-1", "arb-2"], "order_by": "asc"},
        {"start_time": "2026-11-20T13:56:53+09:00", "market": "KRW-BTC"},
        {"identifier": "arb-7f3a_1"},
    ],
)
def test_the_exchanges_own_sdk_hashes_the_same_text(parameters: dict[str, Any]) -> None:
    pairs = [
        pair
        for name, value in parameters.items()
        for pair in ([(f"{name}[]", one) for one in value] if isinstance(value, list) else [(name, value)])
    ]
    theirs = create_jwt_token(ACCESS, SECRET, parameters, qs=Querystring(array_format="brackets"))
    assert claims(signer().authorization(pairs))["query_hash"] == claims(f"Bearer {theirs}", ("HS256",))["query_hash"]


def test_ccxt_signs_the_same_body_and_the_same_query() -> None:
    exchange = ccxt.upbit({"apiKey": ACCESS, "secret": SECRET})
    theirs = exchange.sign("orders", ["private"], "POST", dict(ORDER))
    assert json.loads(theirs["body"]) == json.loads(body_bytes(ORDER))
    ours = claims(signer().authorization(ORDER))["query_hash"]
    assert claims(theirs["headers"]["Authorization"], ("HS256",))["query_hash"] == ours
    query = [("market", "KRW-BTC"), ("limit", "100")]
    theirs = exchange.sign("orders/closed", ["private"], "GET", dict(query))
    ours = claims(signer().authorization(query))["query_hash"]
    assert claims(theirs["headers"]["Authorization"], ("HS256",))["query_hash"] == ours
    assert theirs["url"].partition("?")[2] == query_text(query)


@settings(max_examples=300, deadline=None)
@given(pairs_of_texts)
def test_what_a_server_decodes_from_the_query_is_what_was_hashed(pairs: Pairs) -> None:
    sent = query_text(pairs)
    assert sent.isascii() and " " not in sent and "+" not in sent
    assert unquote(sent) == hashed_text(pairs)
    assert [tuple(map(unquote, pair.split("="))) for pair in sent.split("&")] == list(pairs)


@settings(max_examples=200, deadline=None)
@given(pairs_of_texts.map(lambda pairs: list(dict(pairs).items())))
def test_what_a_server_reads_from_the_body_is_what_was_hashed(pairs: Pairs) -> None:
    read = json.loads(body_bytes(pairs))
    text = "&".join(f"{name}={value}" for name, value in read.items())
    assert claims(signer().authorization(pairs))["query_hash"] == hashlib.sha512(text.encode()).hexdigest()


def test_a_body_cannot_name_a_parameter_twice() -> None:
    with pytest.raises(AssertionError, match="once"):
        body_bytes([("a", "1"), ("a", "2")])


def test_nonces_of_a_burst_are_uuids_and_unique_though_dice_and_clock_stand_still() -> None:
    class Stuck(random.Random):
        def getrandbits(self, count: int) -> int:
            return 0

    stuck = Signer(Credentials(ACCESS, SECRET.encode()), Stuck(), lambda: 5)
    nonces = [claims(stuck.authorization(ORDER))["nonce"] for _ in range(200)]
    assert len(set(nonces)) == 200
    assert all(uuid.UUID(nonce).version == 4 for nonce in nonces)


def test_our_key_our_secret_and_any_token_are_hidden_in_what_a_venue_repeats_to_us() -> None:
    ours = signer()
    token = ours.authorization(ORDER).partition(" ")[2]
    for said in (ACCESS, SECRET, SECRET.encode().hex(), token, token[:60], f"bad token {token}."):
        assert ours.hide(f"<{said}>".encode()).count(b"***") >= 1
        assert not any(text.encode() in ours.hide(f"<{said}>".encode()) for text in (ACCESS, SECRET, token[:30]))
    assert ours.hide(b'{"state":"wait"}') == b'{"state":"wait"}'


def test_two_processes_with_the_same_dice_still_differ_by_their_clock() -> None:
    first, second = signer(seed=3, now_ns=1_000), signer(seed=3, now_ns=999_000_000_000)
    assert not {first.nonce() for _ in range(50)} & {second.nonce() for _ in range(50)}
