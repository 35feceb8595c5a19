import base64
from collections import Counter
from urllib.parse import quote

import pytest
from binance_lab import Lab
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.sim.exchange.keys import binance_key
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.binance_keys import KeyRing, SigningKey, read_rest, read_socket
from arbitrage.sim.server.binance_wire import Parameters, VenueError

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ACCESS = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
REST_TAIL = "&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
OFFICIAL = SigningKey(ApiKey(ACCESS, SECRET))
SOCKET_ORDER = {"type": "LIMIT", "timeInForce": "GTC", "timestamp": "1645423376532", "apiKey": ACCESS}
WIDE = "１２３４５６"


@pytest.mark.parametrize(
    ("symbol", "signature"),
    [
        ("LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (quote(WIDE), "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)  # fmt: skip
def test_the_official_rest_vectors_verify_in_query_in_body_and_mixed(symbol, signature):
    first, rest = f"symbol={symbol}", REST_TAIL[1:]
    signed = f"&signature={signature}"
    for query, body in ((f"{first}&{rest}{signed}", b""), ("", f"{first}&{rest}{signed}".encode())):
        request = read_rest(query, body)
        assert OFFICIAL.verifies(request.payload, request.signature)
    mixed = read_rest(first, f"{rest}{signed}".encode())
    assert mixed.payload == f"{first}{rest}".encode()



@pytest.mark.parametrize(
    ("order", "signature"),
    [
        (
            {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.01000000", "price": "52000.00", "recvWindow": "100"},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            {"symbol": WIDE, "side": "BUY", "quantity": "1.00000000", "price": "0.10000000", "recvWindow": "5000"},
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
    ],
)
def test_the_official_socket_vectors_verify(order, signature):
    request = read_socket({**SOCKET_ORDER, **order, "signature": signature})
    assert OFFICIAL.verifies(request.payload, request.signature)
    assert OFFICIAL.verifies(request.payload, request.signature.upper())


@given(st.text(max_size=40), st.sampled_from(["query", "body"]))
@settings(max_examples=200)
def test_any_text_verifies_as_sent_and_one_changed_byte_does_not(value, place):
    key = SigningKey(binance_key(1))
    private_text = f"note={quote(value)}&timestamp=1"
    lab_signature = _ed25519(key.key.ed25519_pem, private_text)
    whole = f"{private_text}&signature={quote(lab_signature, safe='')}"
    request = read_rest(whole, b"") if place == "query" else read_rest("", whole.encode())
    assert request.parameters.values["note"] == value
    assert key.is_ed25519(request.payload, request.signature)
    assert not key.verifies(request.payload + b"1", request.signature)


def _ed25519(pem: str, text: str) -> str:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(pem.encode(), None)
    assert isinstance(private, Ed25519PrivateKey)
    return base64.b64encode(private.sign(text.encode())).decode()


def test_the_query_wins_over_the_body():
    assert read_rest("a=1", b"a=2&b=3").parameters.values == {"a": "1", "b": "3"}


def test_a_name_twice_in_one_place_is_refused():
    with pytest.raises(VenueError) as refused:
        read_rest("a=1&a=1", b"")
    assert refused.value.code == -1101


@pytest.mark.parametrize(
    ("change", "status", "code", "violation"),
    [
        (lambda lab: ("signature=" + lab.sign("timestamp=1") + "&timestamp=1", None), 400, -1022, "signature_invalid"),
        (lambda lab: (lab.signed() + "0", None), 400, -1022, "signature_invalid"),
        (lambda lab: (lab.signed().rpartition("&")[0], None), 400, -1102, "refused -1102"),
        (lambda lab: ("", None), 400, -1102, "refused -1102"),
        (lambda lab: (lab.signed(), ""), 401, -2014, "api_key_malformed"),
        (lambda lab: (lab.signed(), "short"), 401, -2014, "api_key_malformed"),
        (lambda lab: (lab.signed(), "x" * 64), 401, -2015, "api_key_unknown"),
        (lambda lab: (lab.signed(bogus=1), None), 400, -1104, "refused -1104"),
        (lambda lab: (lab.signed(recvWindow=60001), None), 400, -1131, "refused -1131"),
        (lambda lab: (lab.signed(recvWindow="1.2345"), None), 400, -1100, "refused -1100"),
        (lambda lab: (lab.signed(timestamp="now"), None), 400, -1100, "refused -1100"),
    ],
)
def test_what_is_wrongly_signed_is_refused_and_counted(change, status, code, violation):
    lab = Lab()
    query, api_key = change(lab)
    response, answer = lab.send("GET", f"/api/v3/account?{query}", api_key=api_key)
    assert (response.status, answer["code"]) == (status, code)
    assert lab.server.violations == Counter({violation: 1})


@pytest.mark.parametrize(
    ("offset_ms", "window", "words"),
    [
        (-5000, "5000", None),
        (-5001, "5000", "outside of the recvWindow"),
        (-6000, "6000.346", None),
        (-6001, "6000.346", "outside of the recvWindow"),
        (999, "5000", None),
        (1000, "60000", "1000ms ahead"),
    ],
)
def test_a_request_is_good_for_its_window_and_never_from_the_future(offset_ms, window, words):
    lab = Lab()
    response, answer = lab.call("GET", "/api/v3/account", timestamp=lab.now_ns // 1_000_000 + offset_ms, recvWindow=window)
    assert (response.status == 200) == (words is None)
    assert words is None or (answer["code"] == -1021 and words in answer["msg"])


def test_a_timestamp_in_microseconds_is_as_good():
    ring = KeyRing([], lambda: 1_785_000_000_000_000, Counter())
    ring.check_time(Parameters({"timestamp": "1784999999500000", "recvWindow": "500"}))
    with pytest.raises(VenueError):
        ring.check_time(Parameters({"timestamp": "1784999999499999", "recvWindow": "500"}))


def test_a_key_that_may_not_trade_reads_but_places_nothing():
    own = binance_key(3)
    lab = Lab(ApiKey(own.access_key, own.secret, can_trade=False, can_withdraw=True))
    assert lab.place()[1]["code"] == -2015
    assert lab.call("GET", "/api/v3/account")[0].status == 200
    rights = lab.call("GET", "/sapi/v1/account/apiRestrictions")[1]
    assert (rights["enableWithdrawals"], rights["enableSpotAndMarginTrading"]) == (True, False)
