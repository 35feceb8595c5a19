import hashlib
import json

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upbit import _qs
from upbit.lib.jwt_auth import create_jwt_token
from upbit_world import KEY, START_NS, World, encoded, token

from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.http import Request
from arbitrage.sim.server.upbit_errors import UpbitRefusal
from arbitrage.sim.server.upbit_keys import YEAR_NS, KeyRing, UpbitKey, hashed_body, hashed_query
from arbitrage.sim.server.upbit_limits import Tally

WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=" +"), min_size=1, max_size=12)


def ring() -> KeyRing:
    return KeyRing((UpbitKey.of(KEY, START_NS),), Tally())


def asked(world: World, target: str, signed: str) -> tuple[int, object]:
    request = Request("GET", target, {"authorization": f"Bearer {signed}"}, b"")
    response = world.server.respond(request)
    body = json.loads(response.body)
    return response.status, body["error"]["name"] if "error" in body else body


@pytest.mark.parametrize(
    ("query", "digest"),
    [
        (
            "market=KRW-BTC&states[]=wait&states[]=watch&start_time=2025-06-24T13:56:53%2B09:00",
            "5f0ba2f51c9e5cf55aec0fc5df5c8b084fddd93a0f393cc090fcf787811da462"
            "a7d1def461f1fa94d8807ddf13ae349788c94d486b0e00efa1761d2973174785",
        ),
        (
            "uuids%5B%5D=a&uuids%5B%5D=b",
            "72936e0b10602e7219c6d8f4f8e49095fe1c00a2c349cf6b71833af3868d0eab"
            "7b550d9582177f42a93f8e753652e93e4e4742d1f3743ce509bfcc58e3b1381d",
        ),
    ],
)
def test_published_query_hashes_come_out_of_what_arrives(query, digest):
    assert hashlib.sha512(hashed_query(query)[0].encode()).hexdigest() == digest


def test_the_published_body_hash_comes_out_of_what_arrives():
    words = {
        "market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": "100000000", "volume": "0.0001", "identifier": "id-1",
    }  # fmt: skip
    text, parameters = hashed_body(json.dumps(words).encode())
    assert hashlib.sha512(text.encode()).hexdigest() == (
        "561313511be4b7281e3cde87bd82b8ef0c384e1cdf1274900511607420de3df1"
        "e7dccf147f8703cacb4db9011590575409e77a355186a65590a036715a2ee2d8"
    )
    assert parameters["volume"] == ["0.0001"]


def test_numbers_and_flags_of_a_body_count_as_they_were_printed():
    text, _ = hashed_body(b'{"price": 1.50, "n": 10, "flag": true, "gone": null, "ids": ["a", 2]}')
    assert text == "price=1.50&n=10&flag=true&ids[]=a&ids[]=2"


@pytest.mark.parametrize("body", [b"[1]", b"nonsense", b'{"a": {"b": 1}}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_flat_object_is_refused(body):
    with pytest.raises(UpbitRefusal) as refused:
        hashed_body(body)
    assert refused.value.name == "validation_error"


@given(st.dictionaries(WORDS, st.one_of(WORDS, st.lists(WORDS, min_size=1, max_size=3)), max_size=5))
@settings(max_examples=300, deadline=None)
def test_whatever_the_venues_own_sdk_signs_is_accepted_as_it_sends_it(parameters):
    brackets = _qs.Querystring(array_format="brackets")
    signed = create_jwt_token(KEY.access_key, KEY.secret, parameters, qs=brackets)
    text, _ = hashed_query(brackets.stringify(parameters))
    assert ring().verify(f"Bearer {signed}", text, START_NS).access_key == KEY.access_key


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5), st.sampled_from(["HS256", "HS512"]))
@settings(max_examples=200, deadline=None)
def test_a_query_is_hashed_un_encoded_in_the_order_sent(pairs, algorithm):
    text, parameters = hashed_query(encoded(pairs))
    assert text == "&".join(f"{name}={value}" for name, value in pairs)
    assert sum(len(values) for values in parameters.values()) == len(pairs)
    ring().verify(f"Bearer {token(KEY, text, algorithm=algorithm)}", text, START_NS)
    with pytest.raises(UpbitRefusal):
        ring().verify(f"Bearer {token(KEY, text + '.')}", text, START_NS)


def test_a_hash_over_the_encoded_text_or_over_another_order_is_refused():
    world = World()
    target = "/v1/orders/open?market=KRW-BTC&order_by=asc"
    assert asked(world, target, token(KEY, "market=KRW-BTC&order_by=asc"))[0] == 200
    assert asked(world, target, token(KEY, "order_by=asc&market=KRW-BTC")) == (401, "invalid_query_payload")
    assert asked(world, target, token(KEY, "")) == (401, "invalid_query_payload")
    assert asked(world, "/v1/accounts", token(KEY, "a=b")) == (401, "invalid_query_payload")
    closed = "/v1/orders/closed?start_time=2026-11-20T13%3A56%3A53%2B09%3A00"
    assert asked(world, closed, token(KEY, "start_time=2026-11-20T13:56:53+09:00"))[0] == 200
    assert asked(world, closed, token(KEY, closed.partition("?")[2])) == (401, "invalid_query_payload")
    assert world.server.violations["invalid_query_payload"] == 4


def test_a_bare_plus_sign_is_refused():
    world = World()
    refused = asked(world, "/v1/orders/closed?start_time=2026-11-20T13:56:53+09:00", token(KEY, "x"))
    assert refused == (400, "invalid_parameter")


def test_a_nonce_is_spent_once_for_each_key_even_by_a_refused_request():
    other = ApiKey("B" * 40, "t" * 64)
    world = World(keys=(KEY, other))
    nonce = "4f6c2f0e-8f0b-4a46-9c0d-2d5f8d9d6a11"
    assert asked(world, "/v1/accounts?x=1", token(KEY, "", nonce=nonce)) == (401, "invalid_query_payload")
    assert asked(world, "/v1/accounts", token(KEY, "", nonce=nonce)) == (401, "nonce_used")
    assert asked(world, "/v1/accounts", token(other, "", nonce=nonce))[0] == 200
    assert world.server.violations["nonce_used"] == 1


def test_a_nonce_that_is_no_uuid_is_taken_but_noted():
    world = World()
    assert asked(world, "/v1/accounts", token(KEY, "", nonce="1795150613000"))[0] == 200
    assert world.server.violations == {"nonce_is_no_uuid": 1}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", "no_authorization_token"),
        ("Basic abc", "no_authorization_token"),
        ("Bearer abc", "jwt_verification"),
        ("Bearer a.b.c", "jwt_verification"),
        ("Bearer " + "e30." * 2 + "x" * 5_000, "jwt_verification"),
        (f"Bearer {token(ApiKey('Z' * 40, 's' * 64), '')}", "invalid_access_key"),
        (f"Bearer {token(ApiKey(KEY.access_key, 'other' * 20), '')}", "jwt_verification"),
        (f"Bearer {token(KEY, '', algorithm='HS384')}", "jwt_verification"),
        (f"Bearer {jwt.encode({'access_key': KEY.access_key, 'nonce': 'n'}, None, algorithm='none')}", "jwt_verification"),
        (f"Bearer {jwt.encode({'access_key': KEY.access_key}, KEY.secret, algorithm='HS512')}", "jwt_verification"),
        (f"Bearer {token(KEY, '', nonce='')}", "jwt_verification"),
    ],
)
def test_a_token_that_proves_nothing_is_refused_by_name(header, name):
    world = World()
    response = world.server.respond(Request("GET", "/v1/accounts", {"authorization": header} if header else {}, b""))
    assert (response.status, json.loads(response.body)["error"]["name"]) == (401, name)
    assert world.server.violations[name] == 1


def test_a_key_ends_after_a_year_and_works_from_its_own_addresses_alone():
    world = World()
    ring = world.server.pocket.ring
    key = ring.keys[KEY.access_key]
    ring.replace(UpbitKey(key.key, key.created_ns, key.rights, allowed_ips=("203.0.113.7",)))
    assert asked(world, "/v1/accounts", token(KEY, "")) == (401, "no_authorization_ip")
    ring.replace(key)
    assert asked(world, "/v1/accounts", token(KEY, ""))[0] == 200
    world.now_ns += YEAR_NS
    assert asked(world, "/v1/accounts", token(KEY, "")) == (401, "expired_access_key")
    assert not world.server.violations, "none of it is a client's mistake"


@pytest.mark.parametrize(("can_trade", "can_withdraw"), [(True, False), (False, False), (True, True)])
def test_a_client_can_tell_what_a_key_may_do(can_trade, can_withdraw):
    key = ApiKey("C" * 40, "u" * 64, can_trade=can_trade, can_withdraw=can_withdraw)
    world = World(keys=(key,))
    chance = world.send("GET", "/v1/withdraws/chance", [("currency", "BTC")], key)
    assert chance.status == (200 if can_withdraw else 401)
    words = [("market", "KRW-BTC"), ("side", "bid"), ("ord_type", "limit"), ("price", "1000000"), ("volume", "0.1")]
    placed = world.send("POST", "/v1/orders/test", words, key)
    assert placed.status == (200 if can_trade else 401)
    for response in (chance, placed):
        assert response.status == 200 or json.loads(response.body)["error"]["name"] == "out_of_scope"
    before = world.server.violations
    probe = world.send("DELETE", "/v1/withdraws/coin", [("uuid", "00000000-0000-0000-0000-000000000000")], key)
    name = "withdraw_not_found" if can_withdraw else "out_of_scope"
    assert (probe.status, json.loads(probe.body)["error"]["name"]) == (404 if can_withdraw else 401, name)
    assert world.server.violations == before, "asking whether a key can withdraw breaks no rule"
    rows = json.loads(world.send("GET", "/v1/api_keys", [], key).body)
    assert rows == [{"access_key": key.access_key, "expire_at": "2027-11-20T13:56:53+09:00"}]


def test_a_key_that_manages_pockets_reads_every_keys_rights():
    world = World()
    assert world.refusal("GET", "/v1/pockets/api_keys") == (401, "out_of_scope")
    ring = world.server.pocket.ring
    key = ring.keys[KEY.access_key]
    ring.replace(UpbitKey(key.key, key.created_ns, key.rights | {"manage_pockets", "withdraw"}))
    ((row,),) = [pocket["keys"] for pocket in world.ask("GET", "/v1/pockets/api_keys")]
    assert row["permissions"] == ["make_orders", "manage_pockets", "view_account", "view_orders", "withdraw"]
    assert row["allowed_ips"] == ["127.0.0.1"]


def test_what_may_be_withdrawn_follows_the_wallet():
    key = ApiKey("C" * 40, "u" * 64, can_withdraw=True)
    world = World(keys=(key,))
    for suspended, ways in (((), ["deposit", "withdraw"]), (("BTC",), [])):
        world.exchange.suspended.update(suspended)
        body = json.loads(world.send("GET", "/v1/withdraws/chance", [("currency", "BTC"), ("net_type", "BTC")], key).body)
        assert body["currency"]["wallet_support"] == ways and body["account"]["balance"] == "0.5"


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        (Fault(Kind.HTML, status=403), 403, b"<html>"),
        (Fault(Kind.ERROR_AFTER, status=504), 504, b"upstream"),
        (Fault(Kind.ERROR_BEFORE, status=429), 429, b"Too many"),
        (Fault(Kind.ERROR_BEFORE, status=401, body='{"error":{"name":"nonce_used"}}'), 401, b'{"error":{"name":"nonce_used"'),
        (Fault(Kind.ERROR_BEFORE, status=400, body="no"), 400, b"no"),
        (Fault(Kind.ERROR_BEFORE, status=404), 404, b'{"error":{"name":"order_not_found"'),
        (Fault(Kind.ERROR_BEFORE, status=400), 400, b'{"error":{"name":"invalid_parameter"'),
    ],
)
def test_a_fault_answers_with_its_body_or_with_what_a_gateway_says(fault, status, start):
    response = World().server.refuse(fault)
    assert response.status == status and response.body.startswith(start)
    assert response.content_type.startswith("application/json") == start.startswith(b"{")


def test_posts_take_json_and_nothing_else():
    world = World()
    body = b"market=KRW-BTC&side=bid"
    for headers, target in (
        ({"content-type": "application/x-www-form-urlencoded"}, "/v1/orders"), ({}, "/v1/orders"),
        ({"content-type": "application/json"}, "/v1/orders?market=KRW-BTC"),
    ):  # fmt: skip
        signed = {**headers, "authorization": f"Bearer {token(KEY, body.decode())}"}
        response = world.server.respond(Request("POST", target, signed, body))
        assert (response.status, json.loads(response.body)["error"]["name"]) == (400, "validation_error")
    assert world.server.respond(Request("PUT", "/v1/orders", {}, b"")).status == 405


def test_a_body_on_a_delete_is_not_read_but_noted():
    world = World()
    request = Request("DELETE", "/v1/order", {"authorization": f"Bearer {token(KEY, '')}"}, b'{"uuid":"x"}')
    response = world.server.respond(request)
    assert json.loads(response.body)["error"]["name"] == "validation_error"
    assert world.server.violations["body_where_none_belongs"] == 1
