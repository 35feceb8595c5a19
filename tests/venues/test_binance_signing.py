"""Signing: the venue's own vectors, a second implementation, and that what was signed is what arrives, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import hmac
import json
import pickle
import random
import time
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.model.instruments import Venue
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.venues.binance.account_rest import AccountRest, Operation
from arbitrage.venues.binance.limits import BinanceLimits
from arbitrage.venues.binance.replies import Reply
from arbitrage.venues.binance.signing import Signer, encoded
from arbitrage.venues.trading import Credentials
from arbitrage.venues.wiring import VenueContext, Wiring

ACCESS = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
REST_ORDER = [
    ("symbol", "LTCBTC"), ("side", "BUY"), ("type", "LIMIT"), ("timeInForce", "GTC"), ("quantity", "1"), ("price", "0.1"),
    ("recvWindow", "5000"), ("timestamp", "1499827319559"),
]  # fmt: skip
WIDE = "１２３４５６"
ODD = ["", "+", "/", "a b", "a&b=c", "%20", "é", WIDE, "~"]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(ODD)
ADDED = {"apiKey", "recvWindow", "signature", "timestamp"}
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda name: name not in ADDED)
PARAMETERS = st.dictionaries(NAMES, TEXTS | st.text("abc/+ 1", min_size=200, max_size=400), max_size=6)


def shared() -> Signer:
    return Signer(Credentials(ACCESS, SECRET))


def ed25519() -> Signer:
    return Signer(Credentials(ACCESS, PEM, "ed25519"))


def is_signed(payload: bytes, signature: str, kind: str) -> bool:
    """Check a signature as the venue would."""
    if kind == "shared":
        return hmac.new(SECRET, payload, hashlib.sha256).hexdigest() == signature
    PRIVATE.public_key().verify(base64.b64decode(signature, validate=True), payload)
    return True


@pytest.mark.parametrize(
    ("symbol", "signature"),
    [
        ("LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (WIDE, "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_rest_signatures_equal_the_venues_examples(symbol: str, signature: str) -> None:
    query = shared().query([("symbol", symbol), *REST_ORDER[1:]])
    assert query.decode().endswith(f"&signature={signature}")


@pytest.mark.parametrize(
    ("parameters", "signature"),
    [
        (
            {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
             "price": "52000.00", "recvWindow": 100, "timestamp": 1645423376532},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            {"symbol": WIDE, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1.00000000",
             "price": "0.10000000", "recvWindow": 5000, "timestamp": 1645423376532},
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
    ],
)  # fmt: skip
def test_websocket_signatures_equal_the_venues_examples(parameters: dict[str, str | int], signature: str) -> None:
    assert shared().params(parameters) == {**parameters, "apiKey": ACCESS, "signature": signature}


@pytest.mark.parametrize("kind", ["shared", "ed25519"])
def test_a_second_implementation_signs_the_same(kind: str) -> None:
    ccxt = pytest.importorskip("ccxt", reason="ccxt is a development dependency")
    exchange = ccxt.binance({"apiKey": ACCESS, "secret": (SECRET if kind == "shared" else PEM).decode()})
    exchange.nonce = lambda: 1499827319559
    exchange.options["recvWindow"] = 5000
    order = {"symbol": "LTCBTC", "side": "BUY", "newClientOrderId": "arb-1", "note": "a b/+&é"}
    theirs = exchange.sign("order", ["private"], "POST", order)
    sent = theirs["body"] or urlsplit(theirs["url"]).query
    unsigned, _, _ = sent.partition("&signature=")
    signer = shared() if kind == "shared" else ed25519()
    assert unquote(signer.query(parse_qsl(unsigned)).decode()) == unquote(sent)


@pytest.mark.parametrize("kind", ["shared", "ed25519"])
def test_a_second_implementation_signs_websocket_requests_the_same(kind: str) -> None:
    pro = pytest.importorskip("ccxt.pro", reason="ccxt is a development dependency")
    exchange = pro.binance({"apiKey": ACCESS, "secret": (SECRET if kind == "shared" else PEM).decode()})
    exchange.nonce = lambda: 1499827319559
    order = {"symbol": WIDE, "side": "BUY", "recvWindow": 5000, "newClientOrderId": "arb-1", "note": "a b/+&é"}
    signer = shared() if kind == "shared" else ed25519()
    exchange.options["recvWindow"] = 5000
    assert signer.params({**order, "timestamp": 1499827319559}) == exchange.sign_params({**order})


@given(PARAMETERS, st.sampled_from(["shared", "ed25519"]))
def test_a_websocket_request_is_signed_over_its_own_sorted_raw_text(parameters: dict[str, str], kind: str) -> None:
    signer = shared() if kind == "shared" else ed25519()
    message = json.loads(signer.request(7, "order.place", {**parameters, "timestamp": 1785000000123}))
    assert (message["id"], message["method"]) == (7, "order.place")
    arrived = message["params"]
    signature = arrived.pop("signature")
    payload = "&".join(f"{name}={arrived[name]}" for name in sorted(arrived))
    assert is_signed(payload.encode(), signature, kind)
    assert arrived == {**parameters, "timestamp": 1785000000123, "apiKey": ACCESS}


@given(PARAMETERS)
def test_encoding_loses_nothing_and_leaves_only_plain_letters(parameters: dict[str, str]) -> None:
    text = encoded(list(parameters.items()))
    assert text.isascii()
    assert dict(parse_qsl(text, keep_blank_values=True)) == parameters
    assert not set("+ /\"'") & set(text)


class Checking:
    """A loopback server that looks at raw bytes: it verifies each signature over what arrived, as it arrived."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.arrived: list[tuple[str, dict[str, str], str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
                verb, target, _ = head.split("\r\n")[0].split(" ")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                path, _, query = target.partition("?")
                payload, _, signature = (query or body.decode("ascii")).rpartition("&signature=")
                assert is_signed(payload.encode(), unquote(signature), self.kind), "the signature covers what arrived"
                assert headers["x-mbx-apikey"] == ACCESS
                assert (verb == "POST") == (query == "")
                self.arrived.append((path, dict(parse_qsl(payload, keep_blank_values=True)), verb))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def send_all(kind: str, sets: list[dict[str, str]], base: str = "") -> list[tuple[str, dict[str, str], str]]:
    """Send each set of parameters by POST, GET or DELETE in turn; return what arrived."""
    checking = Checking(kind)
    server = await asyncio.start_server(checking.serve, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    venue = VenueSettings(
        kind="binance", rest_url=f"http://127.0.0.1:{port}{base}", stream_url="ws://127.0.0.1:9", symbols=("BTCUSDT",),
        fees=FeeSettings(1000, 1000, "received"),
    )  # fmt: skip
    wiring = Wiring(sink=lambda events: None, clock=time.monotonic_ns, rng=random.Random(1))
    signer = shared() if kind == "shared" else ed25519()
    rest = AccountRest(VenueContext(Venue("binance"), venue, wiring), signer, BinanceLimits())
    try:
        for number, parameters in enumerate(sets):
            verb = ("POST", "GET", "DELETE")[number % 3]
            outcome = await rest.send(Operation(verb, "/api/v3/order", 1, "queries"), parameters, 5_000)
            assert isinstance(outcome, Reply), outcome
            assert outcome.status == 200
    finally:
        await rest.close()
        server.close()
    return checking.arrived


@pytest.mark.parametrize("kind", ["shared", "ed25519"])
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(sets=st.lists(PARAMETERS, min_size=30, max_size=30))
def test_signed_bytes_are_the_sent_bytes(kind: str, sets: list[dict[str, str]]) -> None:
    arrived = asyncio.run(send_all(kind, sets))
    assert len(arrived) == len(sets)
    for (path, seen, _), sent in zip(arrived, sets, strict=True):
        assert path == "/api/v3/order"
        assert {name: value for name, value in seen.items() if name in sent} == sent
        assert {"recvWindow", "timestamp"} <= set(seen)


def test_a_base_address_with_a_path_keeps_it() -> None:
    arrived = asyncio.run(send_all("shared", [{"a": "1"}, {"a": "2"}, {"a": "3"}], base="/proxy"))
    assert [path for path, _, _ in arrived] == ["/proxy/api/v3/order"] * 3


@pytest.mark.parametrize("pem", [b"not a key", b"", PEM.replace(b"PRIVATE", b"PUBLIC")])
def test_what_is_no_private_key_is_refused_without_showing_it(pem: bytes) -> None:
    with pytest.raises(ValueError, match="not an Ed25519 private key") as refused:
        Signer(Credentials(ACCESS, pem or b"-", "ed25519"))
    assert refused.value.__context__ is None or "PRIVATE" not in str(refused.value.__context__)


@pytest.mark.parametrize("make", [shared, ed25519])
def test_a_signer_shows_neither_key_nor_secret(make: object) -> None:
    signer = make()  # type: ignore[operator]  # one of two functions
    shown = "".join([repr(signer), str(signer), f"{signer}", repr(vars(signer)), repr([signer])])
    for secret in (ACCESS, SECRET.decode(), PEM.decode(), SECRET.hex()):
        assert secret not in shown
    for spread in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            spread(signer._credentials)


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from([ACCESS, SECRET.decode(), "a" * 64, "Zm9v" * 22 + "=="]))
def test_what_a_venue_echoes_is_hidden(before: str, after: str, secret: str) -> None:
    assert secret not in shared().hide(f"{before}{secret}{after}")


def test_ordinary_words_stay() -> None:
    text = "-2010: Account has insufficient balance for requested action. arb-7f3a-1 64000.20"
    assert shared().hide(text) == text
