import json
from collections import Counter

import pytest
from binance_lab import Lab, WsClient

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.keys import binance_key
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.scenarios.changes import Traded

ORDER = {
    "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "price": "64000.20", "quantity": "0.01000000",
}  # fmt: skip
RESTING = {**ORDER, "timeInForce": "GTC", "price": "60000.00", "newClientOrderId": "mine"}
REPORT = {
    "e", "E", "s", "c", "S", "o", "f", "q", "p", "P", "F", "g", "C", "x", "X", "r", "i", "l", "z", "L", "n", "N", "T", "t", "I",
    "w", "m", "M", "O", "Z", "Y", "Q", "W", "V",
}  # fmt: skip


def subscribed(lab: Lab) -> WsClient:
    client = WsClient(lab)
    assert client.ask("userDataStream.subscribe.signature")["result"] == {"subscriptionId": 0}
    return client


def reports(client: WsClient) -> list[dict]:
    return [event for event in client.events() if event["e"] == "executionReport"]


def test_an_order_is_placed_queried_listed_and_cancelled():
    client = WsClient(Lab())
    placed = client.ask("order.place", **RESTING)
    assert (placed["status"], placed["result"]["status"]) == (200, "NEW")
    assert [row["rateLimitType"] for row in placed["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
    assert (placed["rateLimits"][0]["count"], placed["rateLimits"][0]["interval"]) == (1, "SECOND")
    assert client.ask("order.status", symbol="BTCUSDT", origClientOrderId="mine")["result"]["clientOrderId"] == "mine"
    assert len(client.ask("openOrders.status", symbol="BTCUSDT")["result"]) == 1
    cancelled = client.ask("order.cancel", symbol="BTCUSDT", origClientOrderId="mine")["result"]
    assert (cancelled["status"], cancelled["origClientOrderId"]) == ("CANCELED", "mine")
    gone = client.ask("order.cancel", symbol="BTCUSDT", origClientOrderId="mine")
    assert (gone["status"], gone["error"]) == (400, {"code": -2011, "msg": "Unknown order sent."})
    assert client.ask("openOrders.cancelAll", symbol="BTCUSDT")["error"]["code"] == -2011


def test_the_rest_of_the_methods_answer_as_rest_does():
    lab = Lab()
    client = WsClient(lab)
    assert client.ask("order.test", **ORDER)["result"] == {}
    client.ask("order.place", **ORDER)
    assert client.ask("time", sign="")["result"] == {"serverTime": lab.now_ns // 1_000_000}
    assert client.ask("ping", sign="")["result"] == {}
    assert client.ask("exchangeInfo", sign="", symbols=["BTCUSDT"])["result"]["symbols"][0]["symbol"] == "BTCUSDT"
    depth = client.ask("depth", sign="", symbol="BTCUSDT", limit=1)
    assert depth["result"]["bids"] == [["64000.10000000", "0.43100000"]] and depth["rateLimits"][0]["count"] > 0
    for method, path in (
        ("account.status", "/api/v3/account"), ("account.commission", "/api/v3/account/commission"),
        ("myTrades", "/api/v3/myTrades"), ("allOrders", "/api/v3/allOrders"),
        ("account.rateLimits.orders", "/api/v3/rateLimit/order"),
    ):  # fmt: skip
        symbol = {} if path.endswith(("account", "order")) else {"symbol": "BTCUSDT"}
        assert client.ask(method, **symbol)["result"] == lab.call("GET", path, **symbol)[1]


def test_limits_are_told_unless_the_client_wants_none():
    lab = Lab()
    silent = WsClient(lab, "/ws-api/v3?returnRateLimits=false")
    assert list(silent.ask("ping", sign="")) == ["id", "status", "result"]
    assert "rateLimits" in silent.ask("ping", sign="", returnRateLimits=True)
    assert "rateLimits" not in WsClient(lab).ask("depth", sign="", symbol="BTCUSDT", returnRateLimits=False)


@pytest.mark.parametrize(
    ("payload", "status", "code", "identifier"),
    [
        (b"nonsense", 400, -1135, None),
        (b"[]", 400, -1135, None),
        (b'{"id":1.5,"method":"ping"}', 400, -1135, None),
        (b'{"id":"%b","method":"ping"}' % (b"x" * 37), 400, -1135, None),
        (b'{"id":7,"method":"ping","params":[]}', 400, -1135, 7),
        (b'{"id":"a","method":"depth","params":{"symbol":null}}', 400, -1102, "a"),
        (b'{"id":null,"method":"depth","params":{"symbol":"NOPE"}}', 400, -1121, None),
        (b'{"id":-3,"method":"depth","params":{"symbol":"BTCUSDT","x":1}}', 400, -1104, -3),
        (b'{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","limit":"ten"}}', 400, -1100, 1),
        (b'{"id":1,"method":"eat","params":{}}', 400, -1020, 1),
        (b'{"id":1,"method":"order.place","params":{"symbol":"BTCUSDT"}}', 400, -1102, 1),
        (b'{"id":1,"method":"userDataStream.start","params":{}}', 410, -1000, 1),
    ],
)
def test_what_is_no_good_request_is_refused_under_its_id(payload, status, code, identifier):
    lab = Lab()
    client = WsClient(lab)
    client.session.on_message(payload)
    [answer] = client.pipe.take()
    assert (answer["id"], answer["status"], answer["error"]["code"]) == (identifier, status, code)
    assert lab.server.violations.total() == 1


def test_numbers_are_signed_as_they_print():
    client = WsClient(Lab())
    assert client.ask("order.place", **ORDER | {"quantity": 0.01, "recvWindow": 5000.5})["status"] == 200


@pytest.mark.parametrize(("sign", "status", "code"), [("ed25519", 200, None), ("hmac", 400, -1022)])
def test_only_ed25519_logs_on(sign, status, code):
    answer = WsClient(Lab()).ask("session.logon", sign=sign)
    assert answer["status"] == status and answer.get("error", {}).get("code") == code


def test_after_logon_requests_need_neither_key_nor_signature():
    lab = Lab()
    client = WsClient(lab)
    now_ms = lab.now_ns // 1_000_000
    assert client.ask("userDataStream.subscribe", sign="")["status"] == 401
    status = client.ask("session.logon", sign="ed25519")["result"]
    assert (status["apiKey"], status["authorizedSince"]) == (lab.key.access_key, now_ms)
    assert client.ask("order.place", sign="", timestamp=now_ms, **ORDER)["result"]["status"] == "FILLED"
    assert client.ask("order.place", sign="", **ORDER)["error"]["code"] == -1102
    assert client.ask("order.place", sign="", timestamp=now_ms - 6_000, **ORDER)["error"]["code"] == -1021
    assert client.ask("userDataStream.subscribe", sign="")["result"] == {"subscriptionId": 0}
    assert client.ask("session.status", sign="")["result"]["userDataStream"] is True
    assert client.ask("session.subscriptions", sign="")["result"] == [{"subscriptionId": 0}]
    client.send("session.logout", sign="")
    event, answer = client.pipe.take()
    assert event["event"]["e"] == "eventStreamTerminated" and answer["result"]["apiKey"] is None
    assert client.ask("account.status", sign="", timestamp=now_ms)["error"]["code"] == -1102


def test_a_key_revoked_in_session_is_told_and_ends_it():
    lab = Lab()
    client = WsClient(lab)
    client.ask("session.logon", sign="ed25519")
    client.ask("userDataStream.subscribe", sign="")
    lab.server.private.revoke(lab.key.access_key)
    told, ended = client.pipe.take()
    assert (told["id"], told["status"], told["error"]["code"]) == (None, 401, -2015)
    assert ended["event"]["e"] == "eventStreamTerminated"
    assert client.ask("account.status")["error"]["code"] == -2015


def test_a_fill_is_told_as_new_trade_and_balances():
    client = subscribed(Lab())
    placed = client.ask("order.place", **ORDER, newClientOrderId="arb-1")["result"]
    lab = client.lab
    lab.place(newClientOrderId="arb-2")
    first, position, trade, balances = client.events()
    assert set(first) == REPORT == set(trade)
    assert (first["x"], first["X"], first["t"], first["N"], first["w"]) == ("NEW", "NEW", -1, None, True)
    assert (trade["x"], trade["X"], trade["l"], trade["z"], trade["Z"]) == (
        "TRADE", "FILLED", "0.01000000", "0.01000000", "640.00200000",
    )  # fmt: skip
    assert (trade["n"], trade["N"], trade["m"], trade["c"], trade["C"]) == ("0.00001000", "BTC", False, "arb-2", "")
    assert trade["I"] > first["I"] and trade["i"] == placed["orderId"] + 1
    assert position["B"][1] == {"a": "USDT", "f": "8719.99600000", "l": "640.00200000"}
    assert balances["B"][0] == {"a": "BTC", "f": "1.01998000", "l": "0.00000000"}


def test_on_a_cancel_c_is_the_cancels_id_and_big_c_the_orders():
    client = subscribed(Lab())
    client.ask("order.place", **RESTING)
    client.send("order.cancel", symbol="BTCUSDT", origClientOrderId="mine", newClientOrderId="the-cancel")
    [report] = reports(client)
    assert (report["x"], report["X"], report["c"], report["C"]) == ("CANCELED", "CANCELED", "the-cancel", "mine")


def test_a_maker_fill_and_an_expired_rest_are_told():
    lab = Lab()
    client = subscribed(lab)
    lab.place(price="64000.15", timeInForce="GTC")
    lab.server.apply(Traded(0, "binance", "BTCUSDT", 6_400_015_000_000, 400_000, Side.SELL))
    lab.book(asks=(("64000.20", "0.001"),))
    lab.place(quantity="0.002")
    told = [(report["x"], report["X"], report["m"], report.get("eR")) for report in reports(client)]
    assert told == [
        ("NEW", "NEW", False, None), ("TRADE", "PARTIALLY_FILLED", True, None), ("NEW", "NEW", False, None),
        ("TRADE", "PARTIALLY_FILLED", False, None), ("EXPIRED", "EXPIRED", False, "UNFILLED_IOC_QUANTITY_EXPIRED"),
    ]  # fmt: skip


def test_self_trade_prevention_is_told():
    lab = Lab()
    lab.book(asks=(("64000.20", "0"), ("64000.30", "0")))
    maker = lab.place(side="SELL", price="64000.20", quantity="0.02", timeInForce="GTC")[1]
    client = subscribed(lab)
    taker = lab.place(selfTradePreventionMode="EXPIRE_BOTH")[1]
    _, ours, its = reports(client)
    for told, other, taken in ((ours, taker, "0.02000000"), (its, maker, "0.01000000")):
        assert (told["x"], told["X"], told["U"], told["Cs"]) == (
            "TRADE_PREVENTION", "EXPIRED_IN_MATCH", other["orderId"], "BTCUSDT",
        )  # fmt: skip
        assert (told["v"], told["u"], told["A"], told["B"]) == (0, -1, taken, taken)
        assert (told["pl"], told["pL"], told["pY"]) == ("0.01000000", "64000.20000000", "640.00200000")
        assert (told["l"], told["L"], told["Y"], told["t"]) == ("0.00000000", "0.00000000", "0.00000000", -1)


def test_what_self_trade_prevention_takes_off_is_told_in_total_and_by_step():
    lab = Lab()
    lab.book(asks=(("64000.20", "0"), ("64000.30", "0")))
    lab.place(side="SELL", price="64000.20", quantity="0.004", timeInForce="GTC")
    lab.place(side="SELL", price="64000.20", quantity="0.001", timeInForce="GTC")
    client = subscribed(lab)
    answer = lab.place(selfTradePreventionMode="DECREMENT")[1]
    assert answer["preventedQuantity"] == "0.00500000"
    told = [report for report in reports(client) if report["i"] == answer["orderId"] and report["x"] == "TRADE_PREVENTION"]
    assert [(report["A"], report["B"]) for report in told] == [
        ("0.00400000", "0.00400000"), ("0.00500000", "0.00100000"),
    ]  # fmt: skip


def test_a_key_that_may_not_trade_places_nothing_here_either():
    own = binance_key(3)
    lab = Lab(ApiKey(own.access_key, own.secret, can_trade=False))
    assert WsClient(lab).ask("order.place", **ORDER)["error"]["code"] == -2015
    assert lab.server.violations == Counter({"key_may_not_trade": 1})


def test_a_deposit_is_a_balance_update():
    lab = Lab()
    client = subscribed(lab)
    lab.server.private.exchange.grant("USDT", 10_000_000_000)
    update, position = client.events()
    assert update == {"e": "balanceUpdate", "E": update["E"], "a": "USDT", "d": "100.00000000", "T": update["T"]}
    assert position["B"] == [{"a": "USDT", "f": "10100.00000000", "l": "0.00000000"}]


def test_one_subscription_a_connection_and_its_end_is_told():
    client = subscribed(Lab())
    assert client.ask("userDataStream.subscribe.signature")["error"]["code"] == -2035
    assert client.ask("userDataStream.unsubscribe", sign="", subscriptionId=5)["error"]["code"] == -2036
    client.send("userDataStream.unsubscribe", sign="")
    event, answer = client.pipe.take()
    assert (event["event"]["e"], answer["result"]) == ("eventStreamTerminated", {})
    assert client.ask("userDataStream.unsubscribe", sign="")["error"]["code"] == -2036
    client.lab.place()
    assert client.events() == []
    assert client.ask("userDataStream.subscribe.signature")["result"] == {"subscriptionId": 1}


def test_the_shutdown_is_announced_in_this_interfaces_own_shape():
    lab = Lab()
    client = WsClient(lab)
    lab.server.announce_shutdown()
    assert client.pipe.take() == [{"event": {"e": "serverShutdown", "E": lab.now_ns // 1_000_000}}]
    client.session.on_close()
    lab.server.announce_shutdown()
    assert client.pipe.take() == []


def test_connections_count_their_weight_and_no_messages():
    lab = Lab()
    client = WsClient(lab)
    assert lab.server.rest_limits.weight_row()["count"] == 2
    assert client.pipe.messages_per_s == 0


def place_under(kind: Kind, **fields) -> tuple[Lab, WsClient]:
    """Place an order while a fault waits for it."""
    lab = Lab()
    client = subscribed(lab)
    client.pipe.take()
    lab.fault(kind, endpoint="order.place", **fields)
    client.send("order.place", **ORDER)
    return lab, client


def answers(client: WsClient) -> list[dict]:
    return [message for message in client.pipe.take() if "id" in message]


def executed(lab: Lab) -> int:
    return len(lab.exchange.orders())


def test_a_lost_answer_leaves_the_order_and_its_events():
    lab, client = place_under(Kind.LOST)
    messages = client.pipe.take()
    assert executed(lab) == 1 and len(messages) == 4 and all("event" in message for message in messages)


def test_a_late_answer_comes_late_and_a_repeated_one_twice():
    lab, client = place_under(Kind.LATE, ms=2_000)
    assert (executed(lab), answers(client)) == (1, [])
    lab.pass_ms(2_000)
    client.session.on_second()
    assert len(answers(client)) == 1
    assert len(answers(place_under(Kind.REPEATED)[1])) == 2


def test_a_slow_request_is_carried_out_late_and_counts_even_when_too_late():
    lab, client = place_under(Kind.SLOW, ms=4_000)
    assert executed(lab) == 0
    lab.pass_ms(4_000)
    client.session.on_second()
    assert executed(lab) == 1
    lab, client = place_under(Kind.SLOW, ms=6_000)
    lab.pass_ms(6_000)
    client.session.on_second()
    assert (executed(lab), answers(client)[0]["error"]["code"]) == (0, -1021)


def test_a_slow_request_arrives_although_its_sender_is_gone():
    lab, client = place_under(Kind.SLOW, ms=4_000)
    client.session.on_close()
    assert client.session.is_owed
    for _ in range(2):
        lab.pass_ms(2_000)
        lab.server.flush(0)
    assert executed(lab) == 1 and not client.session.is_owed and client.pipe.take() == []


def test_after_ten_seconds_the_api_gives_up_and_the_outcome_is_unknown():
    lab, client = place_under(Kind.LATE, ms=30_000)
    lab.pass_ms(10_000)
    client.session.on_second()
    [answer] = answers(client)
    assert executed(lab) == 1 and answer["status"] == 504
    assert answer["error"] == {
        "code": -1007,
        "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    }


@pytest.mark.parametrize(
    ("kind", "status", "count", "code"),
    [
        (Kind.ERROR_BEFORE, 503, 0, -1008), (Kind.ERROR_AFTER, 503, 1, -1000), (Kind.ERROR_AFTER, 504, 1, -1007),
        (Kind.HTML, 403, 0, -1000), (Kind.ERROR_AFTER, 502, 1, -1006),
    ],
)  # fmt: skip
def test_an_error_says_nothing_about_what_was_done(kind, status, count, code):
    lab, client = place_under(kind, status=status)
    [answer] = answers(client)
    assert (executed(lab), answer["status"], answer["error"]["code"]) == (count, status, code)
    assert lab.server.violations == Counter()


def test_a_faults_own_body_is_told():
    _, client = place_under(Kind.ERROR_BEFORE, status=400, body='{"code":-2010,"msg":"Market is closed."}')
    assert answers(client)[0]["error"] == {"code": -2010, "msg": "Market is closed."}


@pytest.mark.parametrize(("kind", "closed"), [(Kind.CUT, [1006]), (Kind.HALF_OPEN, [])])
def test_a_cut_or_half_open_connection_answers_nothing_more(kind, closed):
    lab, client = place_under(kind)
    assert (executed(lab), answers(client), client.pipe.closed) == (1, [], closed)
    client.send("ping", sign="")
    assert answers(client) == []


@pytest.mark.parametrize(("part_ppm", "status"), [(1_000_000, "FILLED"), (400_000, "CANCELED")])
def test_a_fill_comes_between_the_cancel_and_its_answer(part_ppm, status):
    lab = Lab()
    client = subscribed(lab)
    client.ask("order.place", **RESTING)
    client.pipe.take()
    lab.fault(Kind.FILL_BEFORE_CANCEL, endpoint="order.cancel", part_ppm=part_ppm)
    client.send("order.cancel", symbol="BTCUSDT", origClientOrderId="mine")
    messages = client.pipe.take()
    assert messages[0]["event"]["x"] == "TRADE"
    assert ("error" in messages[-1]) == (status == "FILLED")
    assert client.ask("order.status", symbol="BTCUSDT", origClientOrderId="mine")["result"]["status"] == status


def test_an_order_is_not_found_for_a_while_after_it_was_taken():
    lab = Lab()
    client = WsClient(lab)
    lab.fault(Kind.NOT_FOUND, ms=3_000)
    client.ask("order.place", **RESTING)
    assert client.ask("order.status", symbol="BTCUSDT", origClientOrderId="mine")["error"]["code"] == -2013
    assert client.ask("openOrders.status", symbol="BTCUSDT")["result"] == []
    lab.pass_ms(3_000)
    assert client.ask("order.status", symbol="BTCUSDT", origClientOrderId="mine")["status"] == 200


def test_events_are_lost_repeated_reordered_or_silent():
    lab = Lab()
    client = subscribed(lab)
    lab.fault(Kind.LOST, endpoint="executionReport", contains='"x":"NEW"')
    lab.fault(Kind.REPEATED, endpoint="executionReport", contains='"x":"TRADE"')
    lab.place()
    assert [report["x"] for report in reports(client)] == ["TRADE", "TRADE"]
    lab.fault(Kind.REORDERED, endpoint="executionReport")
    lab.place()
    assert [event["e"] for event in client.events()][:2] == ["outboundAccountPosition", "executionReport"]
    lab.fault(Kind.SILENT_PRIVATE, for_s=10)
    lab.place()
    assert client.events() == []
    assert client.ask("ping", sign="")["status"] == 200


def test_a_skewed_clock_shows_in_time_and_in_what_it_accepts():
    lab = Lab()
    lab.fault(Kind.SKEW, ms=-3_000)
    now_ms = lab.now_ns // 1_000_000
    assert lab.send("GET", "/api/v3/time")[1] == {"serverTime": now_ms - 3_000}
    assert lab.place()[1]["code"] == -1021
    assert lab.place(timestamp=now_ms - 3_000)[0] == 200


def test_diffs_are_dropped_repeated_or_reordered_and_a_frozen_symbol_is_silent():
    lab = Lab()
    pipe, session = lab.connect("/ws/btcusdt@depth@100ms")
    number = iter(range(1, 100))

    def diff(quantity: str) -> list[int]:
        lab.book(bids=(("63000.00", quantity),))
        lab.server.flush(next(number))
        return [message["u"] for message in pipe.take()]

    [first] = diff("1")
    lab.fault(Kind.LOST, endpoint="btcusdt@depth*")
    assert diff("2") == [] and diff("3") == [first + 2]
    lab.fault(Kind.REPEATED, endpoint="btcusdt@depth*")
    assert diff("4") == [first + 3] * 2
    lab.fault(Kind.REORDERED, endpoint="btcusdt@depth*")
    assert diff("5") == [] and diff("6") == [first + 5, first + 4]
    lab.fault(Kind.FROZEN, symbol="BTCUSDT", for_s=5)
    assert diff("7") == []
    session.on_message(b'{"method":"LIST_SUBSCRIPTIONS","id":1}')
    assert pipe.take() == [{"result": ["btcusdt@depth@100ms"], "id": 1}]
    lab.pass_ms(5_000)
    assert diff("8") == [first + 7]
    lab.fault(Kind.LATE, endpoint="btcusdt@depth*", ms=1_000)
    assert diff("9") == []
    lab.pass_ms(1_000)
    session.on_second()
    assert [message["u"] for message in pipe.take()] == [first + 8]


def test_what_we_take_leaves_the_public_book_and_is_a_public_trade():
    lab = Lab()
    pipe, _ = lab.connect("/stream?streams=btcusdt@bookTicker/btcusdt@trade")
    fill = lab.place()[1]["fills"][0]
    ticker, trade = (message["data"] for message in pipe.take())
    assert (ticker["a"], ticker["A"]) == ("64000.20000000", "1.19000000")
    assert (trade["t"], trade["p"], trade["q"], trade["m"]) == (fill["tradeId"], "64000.20000000", "0.01000000", False)


def test_what_is_no_json_never_breaks_a_connection():
    client = WsClient(Lab())
    for payload in (b"\xff\xfe", b'{"id":' + b"[" * 5_000, json.dumps({"id": 1, "params": {"a": {}}}).encode()):
        client.session.on_message(payload)
        assert answers(client)[0]["status"] == 400


def test_the_request_socket_tells_times_in_microseconds_too():
    lab = Lab()
    client = WsClient(lab, "/ws-api/v3?timeUnit=microsecond")
    now_us = lab.now_ns // 1_000
    assert client.ask("time", sign="")["result"] == {"serverTime": now_us}
    assert client.ask("userDataStream.subscribe.signature")["status"] == 200
    answer = client.ask("order.place", **ORDER)["result"]
    assert (answer["transactTime"], answer["workingTime"]) == (now_us, now_us)


def test_a_shutdown_is_announced_and_then_closes_every_socket():
    lab = Lab()
    client = WsClient(lab)
    stream, _ = lab.connect("/ws/btcusdt@trade")
    lab.fault(Kind.SHUTDOWN, for_s=2)
    lab.faults.advance()
    assert [message["event"]["e"] for message in client.pipe.take()] == ["serverShutdown"]
    assert [message["e"] for message in stream.take()] == ["serverShutdown"]
    assert (client.pipe.closed, stream.closed) == ([], [])
    lab.pass_ms(2_000)
    lab.faults.advance()
    assert (client.pipe.closed, stream.closed) == ([1001], [1001])
