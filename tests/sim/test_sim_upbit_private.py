import json
import re
import uuid
from decimal import Decimal

import pytest
from sim_client import KeptPipe, upgrade
from upbit.lib.ws._parser import parse_websocket_data
from upbit_world import KEY, World, token

from arbitrage.model.instruments import Side
from arbitrage.model.money import format_e8
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.server.http import Request
from arbitrage.sim.server.upbit_format import SHORT_KEYS, exact

ORDERS, ASSETS = {"type": "myOrder"}, {"type": "myAsset"}
KEYS = [
    "type", "code", "uuid", "ask_bid", "order_type", "state", "trade_uuid", "price", "avg_price", "volume", "remaining_volume",
    "executed_volume", "trades_count", "reserved_fee", "remaining_fee", "paid_fee", "locked", "executed_funds", "time_in_force",
    "trade_fee", "is_maker", "identifier", "smp_type", "prevented_volume", "prevented_locked", "trade_timestamp",
    "order_timestamp", "timestamp", "stream_type",
]  # fmt: skip


def told(pipe: KeptPipe, kind: str = "myOrder") -> list[dict]:
    return [message for message in pipe.take() if message.get("type") == kind]


def test_nothing_comes_until_something_happens():
    pipe, _ = World().listen(ORDERS, ASSETS)
    assert pipe.sent == []


def test_a_fill_is_told_with_its_own_price_and_volume():
    world = World(krw="100000000")
    pipe, _ = world.listen({"type": "myOrder", "codes": ["KRW-BTC"]})
    world.limit("bid", "148603000", "0.15", time_in_force="ioc", identifier="arb-1")
    wait, first, second, done = told(pipe)
    assert list(wait) == KEYS and all(pipe.binary)
    assert (wait["state"], wait["price"], wait["volume"], wait["locked"]) == ("wait", 148603000, 0.15, 22301595.225)
    assert (wait["trade_uuid"], wait["trade_fee"], wait["is_maker"], wait["trade_timestamp"]) == (None, None, None, None)
    assert (first["state"], first["price"], first["volume"], first["executed_volume"]) == ("trade", 148602000, 0.1, 0.1)
    assert (first["trade_fee"], first["is_maker"], first["avg_price"]) == (7430.1, False, 148602000)
    assert (second["price"], second["volume"], second["executed_volume"], second["trades_count"]) == (148603000, 0.05, 0.15, 2)
    assert (second["avg_price"], second["executed_funds"], second["paid_fee"]) == (148602333.33333333, 22290350, 11145.175)
    assert (done["state"], done["price"], done["volume"], done["remaining_volume"]) == ("done", 148603000, 0.15, 0)
    assert done["trade_uuid"] is None and done["identifier"] == "arb-1"


def test_stream_and_query_tell_the_same_trades():
    world = World()
    pipe, _ = world.listen(ORDERS)
    row = world.look(world.limit("ask", "148599000", "0.25"))
    trades = [message for message in told(pipe) if message["state"] == "trade"]
    assert [trade["trade_uuid"] for trade in trades] == [trade["uuid"] for trade in row["trades"]]
    assert [format_e8(round(trade["volume"] * 1e8)) for trade in trades] == [trade["volume"] for trade in row["trades"]]
    assert {trade["uuid"] for trade in trades} == {row["uuid"]}
    assert all(uuid.UUID(text).version == 4 for text in (row["uuid"], trades[0]["trade_uuid"]))
    assert sum(Decimal(str(trade["trade_fee"])) for trade in trades) == Decimal(row["paid_fee"])


def test_a_market_buy_has_no_volume_and_ends_as_cancel():
    world = World()
    pipe, _ = world.listen(ORDERS)
    world.order(side="bid", ord_type="price", price="1000000")
    wait, trade, end = told(pipe)
    assert (wait["price"], wait["volume"], wait["remaining_volume"], wait["order_type"]) == (1000000, None, None, "price")
    assert (trade["price"], trade["volume"]) == (148602000, 0.00672938)
    assert (end["state"], end["executed_volume"], end["locked"]) == ("cancel", 0.00672938, 0)


def test_a_resting_order_is_filled_as_maker_and_cancelled():
    world = World()
    pipe, _ = world.listen(ORDERS)
    row = world.limit("bid", "148601000", "0.01")
    world.trade("148601000", "0.104", Side.SELL)
    world.ask("DELETE", "/v1/order", ("uuid", row["uuid"]))
    _, trade, end = told(pipe)
    assert (trade["is_maker"], trade["volume"], trade["remaining_volume"]) == (True, 0.004, 0.006)
    assert (end["state"], end["executed_volume"], end["remaining_volume"]) == ("cancel", 0.004, 0.006)


def test_self_trade_prevention_is_told_and_what_has_nothing_left_is_cancelled():
    world = World()
    world.book({}, {"148602000": "0"})
    pipe, _ = world.listen(ORDERS)
    world.limit("ask", "148602000", "0.1", identifier="maker")
    world.limit("bid", "148602000", "0.04", smp_type="reduce", identifier="taker")
    states = [(message["identifier"], message["state"]) for message in told(pipe)]
    assert states == [
        ("maker", "wait"), ("taker", "wait"), ("maker", "prevented"), ("taker", "cancel"),
    ]  # fmt: skip


def test_assets_are_told_when_they_move():
    world = World()
    pipe, _ = world.listen(ASSETS)
    world.limit("bid", "148602000", "0.01")
    locked, traded = told(pipe, "myAsset")
    assert list(locked) == ["type", "asset_uuid", "assets", "asset_timestamp", "timestamp", "stream_type"]
    assert locked["assets"] == [{"currency": "KRW", "balance": 8513236.99, "locked": 1486763.01}]
    assert traded["assets"] == [
        {"currency": "KRW", "balance": 8513236.99, "locked": 0}, {"currency": "BTC", "balance": 0.51, "locked": 0},
    ]  # fmt: skip
    assert locked["asset_uuid"] != traded["asset_uuid"]


def test_numbers_keep_every_digit_and_small_ones_have_an_exponent():
    world = World(krw="123456789012.12345678")
    pipe, _ = world.listen(ASSETS)
    world.order(side="bid", ord_type="price", price="5000")
    assert b'"balance":123456784009.62345678' in pipe.sent[0]
    assert bytes(exact(999)) == b"999e-8" and json.loads(bytes(exact(1))) == 1e-8 and bytes(exact(1000)) == b"0.00001"
    assert bytes(exact(0)) == b"0"


@pytest.mark.parametrize("form", ["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"])
def test_every_format_says_the_same_and_the_venues_own_parser_reads_it(form):
    world = World()
    plain, _ = world.listen(ORDERS, ASSETS)
    other, _ = world.listen(ORDERS, ASSETS, form=form)
    world.limit("bid", "148602000", "0.01")
    for want, raw in zip(plain.take(), list(other.sent), strict=True):
        parsed = parse_websocket_data(raw, endpoint="private")
        assert isinstance(parsed, list) == form.endswith("LIST")
        message = parsed[0] if isinstance(parsed, list) else parsed
        assert type(message).__name__ == ("Simple" if form.startswith("SIMPLE") else "") + want["type"].replace("my", "My")
        got = json.loads(raw)[0] if form.endswith("LIST") else json.loads(raw)
        if form.startswith("SIMPLE"):
            long_keys = {short: long for long, short in SHORT_KEYS[want["type"]].items()}
            got = {long_keys[key]: value for key, value in got.items()}
            if "assets" in got:
                got["assets"] = [{long_keys[key]: value for key, value in row.items()} for row in got["assets"]]
        assert got == want


def test_codes_choose_orders_and_each_request_replaces_the_last():
    world = World()
    pipe, session = world.listen({"type": "myOrder", "codes": ["KRW-USDT"]}, ASSETS)
    world.limit("bid", "140000000", "0.001")
    assert [message["type"] for message in pipe.take()] == ["myAsset"]
    session.on_message(b'[{"ticket":"t"},{"type":"myOrder","codes":[]}]')
    world.limit("bid", "140000000", "0.001")
    assert [message["type"] for message in pipe.take()] == ["myOrder"]
    session.on_message(b'[{"ticket":"x"},{"method":"LIST_SUBSCRIPTIONS"}]')
    assert pipe.take() == [{"method": "LIST_SUBSCRIPTIONS", "result": [{"type": "myOrder"}], "ticket": "x"}]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"type": "myAsset", "codes": ["KRW"]}, "WRONG_FORMAT"), ({"type": "myOrder", "codes": "KRW-BTC"}, "NO_CODES"),
        ({"type": "orderbook", "codes": ["KRW-BTC"]}, "WRONG_FORMAT"), ({}, "NO_TYPE"),
    ],
)  # fmt: skip
def test_wrong_private_requests_get_an_error_frame_and_change_nothing(part, name):
    world = World()
    pipe, session = world.listen(ORDERS)
    session.on_message(json.dumps([{"ticket": "t"}, part]).encode())
    assert pipe.take()[0]["error"]["name"] == name
    world.limit("bid", "140000000", "0.001")
    assert len(pipe.take()) == 1


def test_a_ping_is_answered_on_a_quiet_connection():
    world = World()
    pipe, session = world.listen(ORDERS, ASSETS)
    session.on_message(b"PING")
    world.wait(10.0)
    session.on_second()
    assert pipe.take() == [{"status": "UP"}] * 2


@pytest.mark.parametrize("authorization", ["", "Bearer a.b.c", f"Bearer {token(ApiKey(KEY.access_key, 'x' * 64), '')}"])
def test_a_bad_token_is_told_on_the_connection_which_then_ends(authorization):
    world = World()
    for act in ("waits", "asks"):
        pipe = KeptPipe()
        request = Request("GET", "/websocket/v1/private", {"upgrade": "websocket", "authorization": authorization}, b"")
        session = world.server.accept(request, pipe)
        if act == "waits":
            session.on_second()
        else:
            session.on_message(b'[{"ticket":"t"},{"type":"myOrder"}]')
        assert pipe.take()[0]["error"]["name"] == "INVALID_AUTH" and pipe.closed == [1008]
    world.limit("bid", "140000000", "0.001")
    assert pipe.sent == [] and any(name.startswith("private_stream") for name in world.server.violations)


def test_a_handshakes_nonce_is_spent_too():
    world = World()
    signed = token(KEY, "")
    request = Request("GET", "/websocket/v1/private", {"upgrade": "websocket", "authorization": f"Bearer {signed}"}, b"")
    first, second = (world.server.accept(request, KeptPipe()) for _ in range(2))
    assert (first.is_refused, second.is_refused) == (False, True)
    assert world.server.violations == {"private_stream nonce_used": 1}


def test_a_key_that_may_not_look_gets_no_stream():
    world = World()
    ring = world.server.pocket.ring
    ring.replace(type(ring.keys[KEY.access_key])(KEY, world.now_ns, frozenset({"make_orders"})))
    assert world.listen()[1].is_refused


def test_without_an_exchange_there_is_no_private_side():
    world = World()
    public = type(world.server)([], world.clock, lambda: 0.0)
    assert public.accept(upgrade("/websocket/v1/private"), KeptPipe()).status == 404
    assert public.respond(Request("GET", "/v1/accounts", {}, b"")).status == 404


def test_a_silent_private_stream_lives_and_says_nothing():
    world = World()
    pipe, session = world.listen(ORDERS, ASSETS)
    world.faults.add(Fault(Kind.SILENT_PRIVATE, for_s=20.0))
    world.limit("bid", "140000000", "0.001")
    session.on_message(b"PING")
    assert pipe.take() == [{"status": "UP"}]
    world.wait(20.0)
    world.limit("bid", "140000000", "0.001")
    assert [message["type"] for message in pipe.take()] == ["myOrder", "myAsset"]


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        (Kind.LOST, ["wait", "done"]), (Kind.REPEATED, ["wait", "trade", "trade", "done"]),
        (Kind.REORDERED, ["wait", "done", "trade"]), (Kind.LATE, ["wait", "done", "trade"]),
        (Kind.HALF_OPEN, ["wait"]), (Kind.CUT, ["wait"]),
    ],
)  # fmt: skip
def test_faults_strike_private_messages_one_by_one(kind, states):
    world = World()
    pipe, session = world.listen(ORDERS)
    world.faults.add(Fault(kind, endpoint="myOrder", contains='"state":"trade"', ms=500))
    world.limit("bid", "148602000", "0.01")
    world.wait(0.5)
    session.on_second()
    assert [message["state"] for message in told(pipe)] == states
    assert pipe.closed == ([1006] if kind is Kind.CUT else [])


def test_a_frozen_symbol_is_silent_under_a_live_heartbeat_while_others_go_on():
    world = World()
    pipe = KeptPipe()
    session = world.server.accept(upgrade("/websocket/v1"), pipe)
    session.on_message(b'[{"ticket":"t"},{"type":"orderbook","codes":["KRW-BTC.1","KRW-USDT.1"],"is_only_realtime":true}]')
    world.faults.add(Fault(Kind.FROZEN, symbol="KRW-BTC", for_s=5.0))
    world.book({"148601000": "1"}, {})
    world.book({"1411": "1"}, {}, "KRW-USDT")
    session.on_message(b"PING")
    assert [message.get("code", "UP") for message in pipe.take()] == ["KRW-USDT", "UP"]
    world.wait(5.0)
    world.book({"148601000": "2"}, {})
    assert pipe.take()[0]["orderbook_units"][0]["bid_size"] == 2


def test_faults_strike_public_messages_by_type_and_code():
    world = World()
    pipe = KeptPipe()
    session = world.server.accept(upgrade("/websocket/v1"), pipe)
    session.on_message(b'[{"ticket":"t"},{"type":"orderbook","codes":["KRW-BTC.1"],"is_only_realtime":true}]')
    world.faults.add(Fault(Kind.REORDERED, endpoint="orderbook.KRW-BTC"))
    for size in ("1", "2", "3"):
        world.book({"148601000": size}, {})
    assert [message["orderbook_units"][0]["bid_size"] for message in pipe.take()] == [2, 1, 3]


def test_a_skewed_clock_is_on_every_stamp():
    world = World()
    world.faults.add(Fault(Kind.SKEW, ms=3_000))
    pipe, _ = world.listen(ORDERS)
    world.limit("bid", "140000000", "0.001")
    assert told(pipe)[0]["timestamp"] == world.now_ns // 1_000_000 + 3_000
    assert re.fullmatch(r"\d{13}", str(world.ask("GET", "/v1/orderbook", ("markets", "KRW-BTC"))[0]["timestamp"]))


def test_our_trades_are_public_under_the_same_moment():
    world = World(krw="100000000")
    pipe = KeptPipe()
    session = world.server.accept(upgrade("/websocket/v1"), pipe)
    session.on_message(b'[{"ticket":"t"},{"type":"trade","codes":["KRW-BTC"]}]')
    world.limit("bid", "148603000", "0.15", time_in_force="ioc")
    trades = pipe.take()
    assert [(trade["trade_price"], trade["trade_volume"], trade["ask_bid"]) for trade in trades] == [
        (148602000, 0.1, "BID"), (148603000, 0.05, "BID"),
    ]  # fmt: skip
    assert trades[0]["sequential_id"] != trades[1]["sequential_id"]


def test_a_shutdown_closes_every_socket_without_a_word():
    world = World()
    private, _ = world.listen(ORDERS)
    public = KeptPipe()
    world.server.accept(upgrade("/websocket/v1"), public)
    world.faults.add(Fault(Kind.SHUTDOWN, for_s=2.0))
    world.faults.advance()
    assert (private.closed, public.closed) == ([], [])
    world.wait(2.0)
    world.faults.advance()
    assert (private.closed, public.closed, private.sent, public.sent) == ([1001], [1001], [], [])
