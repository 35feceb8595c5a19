import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upbit_world import World

from arbitrage.model.instruments import Side
from arbitrage.model.money import format_e8, parse_e8
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.scenarios.changes import FramePlayed

BUY = {"side": "bid", "ord_type": "limit", "price": "148602000", "volume": "0.01"}


def test_the_answer_to_an_order_has_the_published_shape_and_never_tells_a_fill():
    world = World()
    row = world.order(**BUY, time_in_force="ioc", identifier="arb-1")
    assert row == {
        "market": "KRW-BTC", "uuid": row["uuid"], "side": "bid", "ord_type": "limit", "price": "148602000", "state": "wait",
        "created_at": "2026-11-20T13:56:54+09:00", "volume": "0.01", "remaining_volume": "0.01", "executed_volume": "0",
        "reserved_fee": "743.01", "remaining_fee": "743.01", "paid_fee": "0", "locked": "1486763.01", "prevented_volume": "0",
        "prevented_locked": "0", "trades_count": 0, "time_in_force": "ioc", "identifier": "arb-1", "smp_type": "cancel_maker",
    }  # fmt: skip
    assert world.look(row)["state"] == "done", "it had filled before the answer left"


def test_a_query_tells_funds_and_trades_and_leaves_out_what_does_not_apply():
    world = World()
    row = world.look(world.limit("ask", "148600000", "0.15"))
    assert (row["state"], row["executed_volume"], row["executed_funds"]) == ("done", "0.15", "22290100")
    assert [(trade["price"], trade["volume"], trade["funds"]) for trade in row["trades"]] == [
        ("148601000", "0.1", "14860100"), ("148600000", "0.05", "7430000"),
    ]  # fmt: skip
    assert row["trades"][0]["created_at"].endswith("+09:00") and row["trades"][0]["trend"] == "down"
    assert "time_in_force" not in row and "identifier" not in row


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ({}, "validation_error"),
        ({"side": "buy"}, "validation_error"),
        ({"side": "bid", "market": ""}, "validation_error"),
        ({**BUY, "market": "KRW-NOPE"}, "validation_error"),
        ({"side": "bid"}, "create_bid_error"),
        ({**BUY, "ord_type": "stop"}, "create_bid_error"),
        ({"side": "bid", "ord_type": "limit", "price": "148602000"}, "create_bid_error"),
        ({"side": "ask", "ord_type": "limit", "volume": "0.1"}, "create_ask_error"),
        ({**BUY, "volume": "0.000000001"}, "create_bid_error"),
        ({**BUY, "volume": "-1"}, "create_bid_error"),
        ({**BUY, "volume": "nan"}, "create_bid_error"),
        ({**BUY, "time_in_force": "gtc"}, "create_bid_error"),
        ({"side": "bid", "ord_type": "price", "price": "10000", "volume": "1"}, "create_bid_error"),
        ({"side": "ask", "ord_type": "price", "price": "10000"}, "create_ask_error"),
        ({"side": "bid", "ord_type": "price", "price": "10000", "time_in_force": "ioc"}, "create_bid_error"),
        ({"side": "ask", "ord_type": "market", "volume": "0.1", "price": "1000"}, "create_ask_error"),
        ({"side": "bid", "ord_type": "market", "volume": "0.1"}, "create_bid_error"),
        ({"side": "bid", "ord_type": "best", "price": "10000"}, "create_bid_error"),
        ({"side": "bid", "ord_type": "best", "price": "10000", "volume": "1", "time_in_force": "ioc"}, "create_bid_error"),
        ({"side": "ask", "ord_type": "best", "price": "10000", "time_in_force": "ioc"}, "create_ask_error"),
        ({**BUY, "time_in_force": "post_only", "smp_type": "reduce"}, "create_bid_error"),
        ({**BUY, "smp_type": "cancel_both"}, "create_bid_error"),
        ({**BUY, "price": "148602500"}, "invalid_price_bid"),
        ({**BUY, "side": "ask", "price": "148602001"}, "invalid_price_ask"),
        ({**BUY, "volume": "0.00003"}, "under_min_total_bid"),
        ({"side": "bid", "ord_type": "price", "price": "4999"}, "under_min_total_market_bid"),
        ({"side": "ask", "ord_type": "market", "volume": "0.00003"}, "under_min_total_market_ask"),
        ({**BUY, "volume": "1"}, "insufficient_funds_bid"),
        ({"side": "ask", "ord_type": "limit", "price": "149000000", "volume": "0.6"}, "insufficient_funds_ask"),
        ({**BUY, "time_in_force": "post_only"}, "create_bid_error"),
    ],
)  # fmt: skip
def test_refusals_have_the_published_names(words, name):
    world = World()
    assert world.refused_order(**words) == (400, name)
    is_client_fault = not name.startswith("insufficient")
    assert world.server.violations[name] == is_client_fault
    assert world.server.tally.refused[name] == 1
    assert world.exchange.orders() == []


@pytest.mark.parametrize(
    ("price", "tick"),
    [
        ("2000000", "1000"), ("1000000", "1000"), ("999500", "500"), ("500000", "500"), ("100000", "100"), ("99950", "50"),
        ("50000", "50"), ("10000", "10"), ("9995", "5"), ("5000", "5"), ("1000", "1"), ("999", "1"), ("100", "1"),
        ("99.9", "0.1"), ("10", "0.1"), ("1", "0.01"), ("0.1", "0.001"), ("0.01", "0.0001"), ("0.001", "0.00001"),
    ],
)  # fmt: skip
def test_the_tick_is_that_of_the_prices_band(price, tick):
    world = World(krw="10000000000")
    words = {"side": "bid", "ord_type": "limit", "time_in_force": "post_only", "volume": "6000000"}
    words["volume"] = format_e8(parse_e8("6000") * 10**8 // parse_e8(price) + 1)
    world.order(price=price, **words)
    half = format_e8(parse_e8(price) + parse_e8(tick) // 2)
    assert world.refused_order(price=half, **words) == (400, "invalid_price_bid")


@pytest.mark.parametrize("words", [{"side": "bid"}, {**BUY, "price": "1"}, {**BUY, "volume": "1"}, BUY])
def test_an_identifier_is_spent_for_ever_even_by_a_refusal(words):
    world = World()
    world.send("POST", "/v1/orders", [("market", "KRW-BTC"), *words.items(), ("identifier", "once")])
    count = len(world.exchange.orders())
    assert world.refused_order(**BUY, identifier="once") == (400, "duplicated_identifier")
    assert world.refusal("POST", "/v1/orders/test", ("market", "KRW-BTC"), *BUY.items(), ("identifier", "once"))[0] == 400
    world.wait(365 * 86_400.0 - 60)
    assert world.refused_order(**BUY, identifier="once") == (400, "duplicated_identifier")
    assert len(world.exchange.orders()) == count


def test_a_test_order_checks_everything_and_leaves_nothing():
    world = World()
    words = [("market", "KRW-BTC"), *BUY.items(), ("identifier", "try")]
    row = world.ask("POST", "/v1/orders/test", *words)
    assert (row["state"], row["locked"], row["reserved_fee"]) == ("wait", "1486763.01", "743.01")
    assert world.refusal("GET", "/v1/order", ("uuid", row["uuid"])) == (404, "order_not_found")
    assert world.exchange.orders() == [] and world.balance("KRW") == ("10000000.0", "0.0")
    world.ask("POST", "/v1/orders/test", *words)
    assert world.order(**BUY, identifier="try")["identifier"] == "try", "a test spends no identifier"
    assert world.refusal("POST", "/v1/orders/test", ("market", "KRW-BTC"), ("side", "bid"), ("ord_type", "price"))[0] == 400


def test_a_bid_locks_its_total_with_the_fee_and_gives_the_rest_back():
    world = World()
    row = world.limit("bid", "148000000", "0.01")
    assert row["locked"] == "1480740" and world.balance("KRW") == ("8519260.0", "1480740.0")
    assert world.ask("DELETE", "/v1/order", ("uuid", row["uuid"]))["state"] == "wait", "a cancel is accepted, not done"
    assert world.look(row)["state"] == "cancel" and world.balance("KRW") == ("10000000.0", "0.0")
    sold = world.limit("ask", "149000000", "0.2")
    assert (sold["locked"], sold["reserved_fee"]) == ("0.2", "0") and world.balance("BTC") == ("0.3", "0.2")


def test_a_market_buy_takes_won_and_ends_as_cancel_although_it_filled():
    world = World()
    row = world.order(side="bid", ord_type="price", price="1000000")
    assert (row["volume"], row["remaining_volume"], row["locked"]) == (None, None, "1000500")
    done = world.look(row)
    assert done["state"] == "cancel" and "volume" not in done and done["price"] == "1000000"
    assert (done["executed_volume"], done["trades_count"], done["executed_funds"]) == ("0.00672938", 1, "999999.32676")
    assert done["paid_fee"] == "499.99966338", "0.05 percent, cut off"
    assert world.balance("KRW") == ("8999500.67357662", "0.0")


def test_a_market_sale_takes_coins_and_ends_as_done():
    world = World()
    done = world.look(world.order(side="ask", ord_type="market", volume="0.01"))
    assert done["state"] == "done" and "price" not in done and done["executed_funds"] == "1486010"


def test_an_ioc_takes_what_is_there_and_ends_as_cancel():
    world = World()
    done = world.look(world.limit("bid", "148602000", "0.06", time_in_force="ioc"))
    assert done["state"] == "done"
    world.book({}, {"148602000": "0.001"})
    done = world.look(world.limit("bid", "148602000", "0.002", time_in_force="ioc"))
    left = (done["remaining_volume"], done["locked"])
    assert (done["state"], done["executed_volume"], left) == ("cancel", "0.001", ("0.001", "0"))


def test_a_fok_fills_whole_or_not_at_all():
    world = World()
    world.book({}, {"148602000": "0.001"})
    done = world.look(world.limit("bid", "148602000", "0.002", time_in_force="fok"))
    assert (done["state"], done["executed_volume"]) == ("cancel", "0")
    assert world.look(world.limit("bid", "148602000", "0.001", time_in_force="fok"))["state"] == "done"


def test_best_takes_the_best_price_alone():
    world = World()
    bought = world.look(world.order(side="bid", ord_type="best", price="9000000", time_in_force="ioc"))
    assert {trade["price"] for trade in bought["trades"]} == {"148602000"} and bought["ord_type"] == "best"
    sold = world.look(world.order(side="ask", ord_type="best", volume="0.15", time_in_force="ioc"))
    assert (sold["state"], sold["executed_volume"]) == ("cancel", "0.1")


def test_a_market_order_reaches_thirty_levels_and_no_further():
    world = World(krw="1000000000", btc="10")
    assert world.refused_order(side="ask", ord_type="market", volume="3.1") == (400, "create_ask_error")
    assert world.look(world.order(side="ask", ord_type="market", volume="3"))["state"] == "done"
    assert world.refused_order(side="bid", ord_type="price", price="500000000") == (400, "create_bid_error")


def test_own_orders_do_not_trade_with_each_other_unless_told():
    world = World()
    world.book({}, {"148602000": "0", "148603000": "0"})
    resting = world.limit("ask", "148602000", "0.1")
    world.limit("bid", "148602000", "0.01", identifier="through")
    assert world.look(resting)["state"] == "cancel", "cancel_maker is the default since 2026-11-09"
    world.ask("DELETE", "/v1/order", ("identifier", "through"))
    resting = world.limit("ask", "148603000", "0.1")
    reduced = world.look(world.limit("bid", "148603000", "0.04", smp_type="reduce"))
    assert (reduced["state"], reduced["prevented_volume"], reduced["smp_type"]) == ("cancel", "0.04", "reduce")
    assert (reduced["prevented_locked"], reduced["locked"]) == ("5944120", "0")
    assert world.look(resting)["remaining_volume"] == "0.06"
    taken = world.look(world.limit("bid", "148603000", "0.04", smp_type="cancel_taker"))
    assert (taken["state"], taken["executed_volume"]) == ("cancel", "0")
    both = world.look(world.limit("bid", "148603000", "0.04", smp_type="none"))
    assert (both["state"], both["executed_volume"]) == ("done", "0.04")


def test_other_peoples_trades_reach_a_resting_order_after_those_before_it():
    world = World()
    row = world.limit("bid", "148601000", "0.01")
    world.trade("148601000", "0.1", Side.SELL)
    assert world.look(row)["executed_volume"] == "0"
    world.trade("148601000", "0.004", Side.SELL)
    done = world.look(row)
    assert (done["state"], done["executed_volume"], done["trades"][0]["trend"]) == ("wait", "0.004", "down")


def test_a_recorded_trade_consumes_the_queue_before_us():
    world = World()
    row = world.limit("bid", "148601000", "0.01")
    raw = json.dumps({
        "ty": "trade", "cd": "KRW-BTC", "ttms": 1795150613000, "tp": 148601000, "tv": 0.11, "ab": "ASK",
        "sid": 17951506130000007,
    })  # fmt: skip
    world.server.apply(FramePlayed(0, "upbit", "KRW-BTC", "trade", raw))
    assert world.look(row)["state"] == "done"


def test_what_we_take_and_what_we_rest_is_in_the_public_book():
    world = World()
    world.limit("bid", "148602000", "0.04", time_in_force="ioc")
    world.limit("ask", "148603000", "0.2")
    units = world.ask("GET", "/v1/orderbook", ("markets", "KRW-BTC"))[0]["orderbook_units"]
    assert [unit["ask_size"] for unit in units[:2]] == [0.06, 0.3]


def test_lists_show_newest_first_by_state_market_and_window():
    world = World()
    open_rows = [world.limit("bid", f"14{number}000000", "0.001", identifier=f"o-{number}") for number in range(5)]
    done = [world.limit("bid", "148602000", "0.001") for _ in range(2)]
    assert [row["identifier"] for row in world.ask("GET", "/v1/orders/open")] == ["o-4", "o-3", "o-2", "o-1", "o-0"]
    page = world.ask("GET", "/v1/orders/open", ("page", "2"), ("limit", "2"), ("order_by", "asc"))
    assert [row["identifier"] for row in page] == ["o-2", "o-3"]
    assert world.ask("GET", "/v1/orders/open", ("market", "KRW-USDT")) == []
    assert world.ask("GET", "/v1/orders/open", ("states[]", "watch")) == []
    closed = world.ask("GET", "/v1/orders/closed", ("states[]", "done"), ("states[]", "cancel"))
    assert [row["uuid"] for row in closed] == [row["uuid"] for row in reversed(done)] and "trades" not in closed[0]
    assert world.ask("GET", "/v1/orders/closed", ("state", "cancel")) == []
    now_ms = str(world.now_ns // 1_000_000)
    assert world.ask("GET", "/v1/orders/closed", ("start_time", now_ms)) == []
    assert len(world.ask("GET", "/v1/orders/closed", ("end_time", "2026-11-20T15:00:00+09:00"), ("limit", "1"))) == 1
    by_id = world.ask("GET", "/v1/orders/uuids", *(("uuids[]", row["uuid"]) for row in open_rows[:2]), ("uuids[]", "nothing"))
    assert [row["identifier"] for row in by_id] == ["o-1", "o-0"]
    assert len(world.ask("GET", "/v1/orders/uuids", ("identifiers[]", "o-3"), ("market", "KRW-BTC"))) == 1


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/orders/open", [("state", "done")]), ("/v1/orders/open", [("limit", "101")]), ("/v1/orders/open", [("page", "x")]),
        ("/v1/orders/open", [("order_by", "up")]), ("/v1/orders/closed", [("states[]", "wait")]),
        ("/v1/orders/closed", [("start_time", "yesterday")]), ("/v1/orders/closed", [("start_time", "2026-11-20T13:00:00")]),
        ("/v1/orders/closed", [("start_time", "1795150613000"), ("end_time", "1796150613000")]),
        ("/v1/orders/closed", [("limit", "1001")]), ("/v1/orders/uuids", []),
        ("/v1/orders/uuids", [("uuids[]", "a"), ("identifiers[]", "b")]),
        ("/v1/orders/uuids", [("uuids[]", str(number)) for number in range(101)]),
    ],
)  # fmt: skip
def test_parameters_that_the_venue_does_not_know_are_refused(path, parameters):
    assert World().refusal("GET", path, *parameters) == (400, "invalid_parameter")


def test_an_order_is_found_by_uuid_or_identifier_and_uuid_wins():
    world = World()
    first, second = (world.limit("bid", "140000000", "0.001", identifier=name) for name in ("a", "b"))
    assert world.ask("GET", "/v1/order", ("identifier", "b"))["uuid"] == second["uuid"]
    both = (("uuid", first["uuid"]), ("identifier", "b"))
    assert world.ask("GET", "/v1/order", *both)["identifier"] == "a"
    assert world.refusal("GET", "/v1/order", ("identifier", "c")) == (404, "order_not_found")
    assert world.refusal("GET", "/v1/order") == (400, "validation_error")
    world.ask("DELETE", "/v1/order", ("identifier", "b"))
    assert world.refusal("DELETE", "/v1/order", ("identifier", "b")) == (404, "order_not_found")


def test_cancels_by_ids_answer_for_each():
    world = World()
    rows = [world.limit("bid", "140000000", "0.001", identifier=name) for name in ("a", "b")]
    world.ask("DELETE", "/v1/order", ("identifier", "b"))
    ids = [("uuids[]", rows[0]["uuid"]), ("uuids[]", rows[1]["uuid"]), ("uuids[]", "x")]
    answer = world.ask("DELETE", "/v1/orders/uuids", *ids)
    assert answer["success"] == {"count": 1, "orders": [{"uuid": rows[0]["uuid"], "market": "KRW-BTC", "identifier": "a"}]}
    assert answer["failed"]["count"] == 2
    assert world.refusal("DELETE", "/v1/orders/uuids", *(("uuids[]", str(n)) for n in range(21))) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    ("parameters", "left"),
    [
        ([], []), ([("cancel_side", "bid")], ["s"]), ([("cancel_side", "ask")], ["d", "b"]), ([("count", "1")], ["b", "s"]),
        ([("count", "1"), ("order_by", "asc")], ["d", "s"]), ([("pairs", "KRW-BTC")], ["d"]),
        ([("excluded_pairs", "KRW-BTC")], ["b", "s"]), ([("quote_currencies", "USDT,BTC")], ["b", "s"]),
    ],
)  # fmt: skip
def test_cancelling_all_chooses_by_side_pair_and_quote(parameters, left):
    world = World()
    world.book({"105000": "1"}, {"105010": "1"}, "USDT-BTC")
    world.limit("bid", "140000000", "0.001", identifier="b")
    world.limit("ask", "150000000", "0.001", identifier="s")
    dollars = {"side": "bid", "ord_type": "limit", "price": "100000", "volume": "0.001"}
    world.ask("POST", "/v1/orders", ("market", "USDT-BTC"), *dollars.items(), ("identifier", "d"))
    answer = world.ask("DELETE", "/v1/orders/open", *parameters)
    assert sorted(row["identifier"] for row in world.ask("GET", "/v1/orders/open")) == sorted(left)
    assert answer["success"]["count"] == 3 - len(left)


def test_cancelling_all_with_words_it_does_not_know_cancels_nothing():
    world = World()
    world.limit("bid", "140000000", "0.001")
    for parameters in ([("cancel_side", "both")], [("pairs", "A"), ("excluded_pairs", "B")], [("count", "301")]):
        world.wait(2.0)
        assert world.refusal("DELETE", "/v1/orders/open", *parameters) == (400, "invalid_parameter")
    assert len(world.ask("GET", "/v1/orders/open")) == 1


def renew(world: World, old: str, **words: str):
    new = {f"new_{name}": value for name, value in words.items()}
    return world.ask("POST", "/v1/orders/cancel_and_new", ("prev_order_identifier", old), *new.items())


def test_cancel_and_new_answers_with_the_old_order_and_names_the_new():
    world = World()
    old = world.limit("bid", "140000000", "0.002", identifier="old")
    world.exchange.fill(world.exchange.find(client_id="old"), parse_e8("0.0005"))
    answer = renew(world, "old", ord_type="limit", price="141000000", volume="remain_only", identifier="new")
    assert (answer["uuid"], answer["state"], answer["new_order_identifier"]) == (old["uuid"], "wait", "new")
    assert world.look(old)["state"] == "cancel"
    made = world.ask("GET", "/v1/order", ("uuid", answer["new_order_uuid"]))
    assert (made["identifier"], made["side"], made["volume"], made["price"]) == ("new", "bid", "0.0015", "141000000")


def test_cancel_and_new_makes_nothing_when_the_old_order_filled_meanwhile():
    world = World()
    world.limit("bid", "140000000", "0.002", identifier="old")
    world.server.arm(Fault(Kind.FILL_BEFORE_CANCEL))
    answer = renew(world, "old", ord_type="limit", price="141000000", volume="0.002", identifier="new")
    assert answer["state"] == "wait"
    assert world.ask("GET", "/v1/order", ("identifier", "old"))["state"] == "done"
    assert world.refusal("GET", "/v1/order", ("uuid", answer["new_order_uuid"])) == (404, "order_not_found")


def test_cancel_and_new_refuses_the_same_identifier_and_an_order_that_ended():
    world = World()
    world.limit("bid", "140000000", "0.002", identifier="old")
    words = [("prev_order_identifier", "old"), ("new_ord_type", "limit"), ("new_price", "141000000"), ("new_volume", "1")]
    path = "/v1/orders/cancel_and_new"
    assert world.refusal("POST", path, *words, ("new_identifier", "old")) == (400, "invalid_parameter")
    world.ask("DELETE", "/v1/order", ("identifier", "old"))
    assert world.refusal("POST", path, *words) == (404, "order_not_found")


def test_chance_tells_fees_minimums_types_and_balances():
    world = World()
    assert world.ask("GET", "/v1/orders/chance", ("market", "KRW-BTC")) == {
        "bid_fee": "0.0005", "ask_fee": "0.0005", "maker_bid_fee": "0.0005", "maker_ask_fee": "0.0005",
        "market": {
            "id": "KRW-BTC", "name": "BTC/KRW", "order_types": ["limit"], "order_sides": ["ask", "bid"],
            "bid_types": ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "price"],
            "ask_types": ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "market"],
            "bid": {"currency": "KRW", "min_total": "5000"}, "ask": {"currency": "BTC", "min_total": "5000"},
            "max_total": "1000000000", "state": "active",
        },
        "bid_account": {
            "currency": "KRW", "balance": "10000000.0", "locked": "0.0", "avg_buy_price": "0", "avg_buy_price_modified": False,
            "unit_currency": "KRW",
        },
        "ask_account": {
            "currency": "BTC", "balance": "0.5", "locked": "0.0", "avg_buy_price": "0", "avg_buy_price_modified": False,
            "unit_currency": "KRW",
        },
    }  # fmt: skip
    assert world.ask("GET", "/v1/orders/chance", ("market", "USDT-BTC"))["bid_fee"] == "0.0025"
    assert world.refusal("GET", "/v1/orders/chance", ("market", "KRW-NOPE")) == (400, "validation_error")
    assert world.refusal("GET", "/v1/orders/chance") == (400, "validation_error")


def test_wallets_follow_the_exchange():
    world = World()
    world.faults.add(Fault(Kind.WALLET, asset="BTC", for_s=10.0))
    world.faults.advance()
    states = {row["currency"]: row["wallet_state"] for row in world.ask("GET", "/v1/status/wallet")}
    assert states == {"BTC": "paused", "USDT": "working"}
    world.wait(10.0)
    world.faults.advance()
    assert {row["wallet_state"] for row in world.ask("GET", "/v1/status/wallet")} == {"working"}


def test_a_halted_market_takes_no_orders_and_says_so():
    world = World()
    row = world.limit("bid", "140000000", "0.001")
    world.faults.add(Fault(Kind.HALT, symbol="KRW-BTC", for_s=60.0))
    world.faults.advance()
    assert world.refused_order(**BUY) == (400, "market_offline")
    assert world.ask("GET", "/v1/orders/chance", ("market", "KRW-BTC"))["market"]["state"] == "offline"
    world.ask("DELETE", "/v1/order", ("uuid", row["uuid"]))
    world.wait(60.0)
    world.faults.advance()
    assert world.order(**BUY)["state"] == "wait"
    assert not world.server.violations


def test_a_changed_rule_is_told_and_enforced_at_once():
    world = World()
    fields = {"tick": "500", "minimum": "10000", "maker_fee": "0.0001", "taker_fee": "0.002"}
    world.faults.add(Fault(Kind.RULES, symbol="KRW-BTC", fields=fields))
    world.faults.advance()
    assert world.ask("GET", "/v1/orderbook/instruments", ("markets", "KRW-BTC"))[0]["tick_size"] == "500"
    chance = world.ask("GET", "/v1/orders/chance", ("market", "KRW-BTC"))
    assert (chance["bid_fee"], chance["maker_bid_fee"], chance["market"]["bid"]["min_total"]) == ("0.002", "0.0001", "10000")
    assert world.limit("bid", "148000500", "0.001")["reserved_fee"] == "296.001"
    assert world.refused_order(**{**BUY, "volume": "0.00005"}) == (400, "under_min_total_bid")


def test_an_order_is_not_found_for_a_while_after_it_was_taken():
    world = World()
    world.faults.add(Fault(Kind.NOT_FOUND, ms=3_000))
    row = world.limit("bid", "140000000", "0.001", identifier="a")
    for _ in range(2):
        assert world.refusal("GET", "/v1/order", ("identifier", "a")) == (404, "order_not_found")
    assert world.look(row)["state"] == "wait"


@pytest.mark.parametrize(("part_ppm", "state", "executed"), [(1_000_000, "done", "0.002"), (250_000, "cancel", "0.0005")])
def test_a_fill_can_come_between_a_cancel_and_its_answer(part_ppm, state, executed):
    world = World()
    row = world.limit("bid", "140000000", "0.002")
    world.server.arm(Fault(Kind.FILL_BEFORE_CANCEL, part_ppm=part_ppm))
    answer = world.ask("DELETE", "/v1/order", ("uuid", row["uuid"]))
    assert (answer["state"], answer["executed_volume"]) == ("wait", "0"), "the answer knows nothing of it"
    assert (world.look(row)["state"], world.look(row)["executed_volume"]) == (state, executed)


PRICES = st.integers(148_590, 148_612).map(lambda thousands: str(thousands * 1000))
FORCES = st.sampled_from([None, "ioc", "fok", "post_only"])
STEP = st.tuples(st.sampled_from(["bid", "ask"]), PRICES, st.integers(4, 5_000), FORCES, st.booleans())


@given(st.lists(STEP, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_won_is_somewhere_and_rows_add_up_whatever_is_ordered(steps):
    world = World()
    for side, price, size, force, cancels in steps:
        words = {"market": "KRW-BTC", "side": side, "ord_type": "limit", "price": price, "volume": format_e8(size * 10_000)}
        if force is not None:
            words["time_in_force"] = force
        answer = world.send("POST", "/v1/orders", list(words.items()))
        if answer.status == 201 and cancels:
            world.send("DELETE", "/v1/order", [("uuid", json.loads(answer.body)["uuid"])])
        world.exchange.account.check()
    locked = {"KRW": 0, "BTC": 0}
    rows = world.ask("GET", "/v1/orders/open") + world.ask("GET", "/v1/orders/closed")
    for row in rows:
        locked["KRW" if row["side"] == "bid" else "BTC"] += parse_e8(row["locked"])
        executed, left = parse_e8(row["executed_volume"]), parse_e8(row["remaining_volume"])
        assert executed + left + parse_e8(row["prevented_volume"]) == parse_e8(row["volume"])
        assert (row["state"] == "done") == (left == 0 and row["prevented_volume"] == "0")
        assert parse_e8(row["remaining_fee"]) <= parse_e8(row["reserved_fee"])
    for asset, amount_e8 in locked.items():
        assert parse_e8(world.balance(asset)[1]) == amount_e8
