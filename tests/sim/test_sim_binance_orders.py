import msgspec
import pytest
from binance_lab import Lab

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.scenarios.changes import Traded
from arbitrage.sim.server.binance_limits import ORDERS_SECOND

RESTING = {"price": "60000.00", "timeInForce": "GTC"}
FULL = [
    "symbol", "orderId", "orderListId", "clientOrderId", "transactTime", "price", "origQty", "executedQty", "origQuoteOrderQty",
    "cummulativeQuoteQty", "status", "timeInForce", "type", "side", "workingTime", "selfTradePreventionMode", "fills",
]  # fmt: skip
QUERIED = [
    "symbol", "orderId", "orderListId", "clientOrderId", "price", "origQty", "executedQty", "cummulativeQuoteQty", "status",
    "timeInForce", "type", "side", "stopPrice", "icebergQty", "time", "updateTime", "isWorking", "workingTime",
    "origQuoteOrderQty", "selfTradePreventionMode",
]  # fmt: skip
CANCELLED = [
    "symbol", "origClientOrderId", "orderId", "orderListId", "clientOrderId", "transactTime", "price", "origQty", "executedQty",
    "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce", "type", "side", "selfTradePreventionMode",
]  # fmt: skip


def illegal(name: str, legal: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."


def cancel(lab: Lab, **parameters) -> tuple[int, object]:
    response, answer = lab.call("DELETE", "/api/v3/order", symbol="BTCUSDT", **parameters)
    return response.status, answer


def query(lab: Lab, **parameters) -> object:
    return lab.call("GET", "/api/v3/order", symbol="BTCUSDT", **parameters)[1]


def test_a_filled_order_answers_in_the_shape_of_the_sheet():
    status, answer = Lab().place(newClientOrderId="arb-7f3a-1")
    assert (status, list(answer)) == (200, FULL)
    assert (answer["executedQty"], answer["cummulativeQuoteQty"], answer["status"]) == ("0.01000000", "640.00200000", "FILLED")
    assert (answer["origQuoteOrderQty"], answer["clientOrderId"]) == ("0.000000", "arb-7f3a-1")
    assert answer["fills"] == [
        {"price": "64000.20000000", "qty": "0.01000000", "commission": "0.00001000", "commissionAsset": "BTC",
         "tradeId": answer["fills"][0]["tradeId"]}
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "names"), [("ACK", FULL[:5]), ("RESULT", FULL[:-1]), ("FULL", FULL)])
def test_the_answer_is_as_long_as_asked_for(kind, names):
    assert list(Lab().place(newOrderRespType=kind)[1]) == names


def test_an_ioc_that_fills_in_part_ends_expired_with_its_fill():
    lab = Lab()
    lab.book(asks=(("64000.20", "0.004"),))
    answer = lab.place()[1]
    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0.00400000")
    assert answer["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    assert query(lab, orderId=answer["orderId"])["cummulativeQuoteQty"] == "256.00080000"


def test_a_fok_fills_whole_or_not_at_all():
    lab = Lab()
    assert lab.place(timeInForce="FOK")[1]["status"] == "FILLED"
    lab.book(asks=(("64000.20", "0.004"), ("64000.30", "0")))
    answer = lab.place(timeInForce="FOK")[1]
    assert (answer["status"], answer["executedQty"], answer["fills"]) == ("EXPIRED", "0.00000000", [])


def test_a_market_order_by_quote_buys_what_fits_the_lot():
    answer = Lab().place(price=None, quantity=None, type="MARKET", quoteOrderQty="100")[1]
    assert (answer["status"], answer["executedQty"], answer["origQty"]) == ("FILLED", "0.00156000", "0.00156000")
    assert (answer["origQuoteOrderQty"], answer["price"]) == ("100.00000000", "0.00000000")


def test_an_order_rests_is_listed_and_queried_and_cancelled():
    lab = Lab()
    order = lab.place(newClientOrderId="mine", **RESTING)[1]
    row = query(lab, origClientOrderId="mine")
    assert (list(row), row["status"], row["origQuoteOrderQty"]) == (QUERIED, "NEW", "0.00000000")
    assert lab.call("GET", "/api/v3/openOrders")[1] == [row]
    balances = lab.call("GET", "/api/v3/account", omitZeroBalances="true")[1]["balances"]
    assert balances[0] == {"asset": "USDT", "free": "9400.00000000", "locked": "600.00000000"}
    status, answer = cancel(lab, orderId=order["orderId"], newClientOrderId="the-cancel")
    assert (status, list(answer), answer["status"]) == (200, CANCELLED, "CANCELED")
    assert (answer["origClientOrderId"], answer["clientOrderId"]) == ("mine", "the-cancel")
    assert lab.call("GET", "/api/v3/openOrders", symbol="BTCUSDT")[1] == []
    assert cancel(lab, orderId=order["orderId"]) == (400, {"code": -2011, "msg": "Unknown order sent."})


def test_a_resting_order_is_filled_by_a_trade_at_its_price():
    lab = Lab()
    order = lab.place(price="64000.15", timeInForce="GTC")[1]
    lab.server.apply(Traded(0, "binance", "BTCUSDT", 6_400_015_000_000, 400_000, Side.SELL))
    row = query(lab, orderId=order["orderId"])
    assert (row["status"], row["executedQty"]) == ("PARTIALLY_FILLED", "0.00400000")
    [trade] = lab.call("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=order["orderId"])[1]
    assert (trade["isMaker"], trade["isBuyer"], trade["quoteQty"]) == (True, True, "256.00060000")


def test_a_client_id_is_unique_among_open_orders_only():
    lab = Lab()
    assert lab.place(newClientOrderId="one", **RESTING)[0] == 200
    assert lab.place(newClientOrderId="one", **RESTING)[1] == {"code": -2010, "msg": "Duplicate order sent."}
    cancel(lab, origClientOrderId="one")
    again = lab.place(newClientOrderId="one")[1]
    assert again["status"] == "FILLED"
    assert lab.place(newClientOrderId="one")[1]["orderId"] > again["orderId"]
    assert query(lab, origClientOrderId="one")["orderId"] > again["orderId"]


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"price": "64000.205"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1000000.01"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": "0.000015"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "9000000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ({"price": "12000.00"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"price": "330000.00"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"quantity": "1"}, -2010, "Account has insufficient balance for requested action."),
        ({"type": "LIMIT_MAKER", "timeInForce": None}, -2010, "Order would immediately match and take."),
        ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "WISH"}, -1116, "Invalid orderType."),
        ({"type": "STOP_LOSS"}, -1020, "This operation is not supported."),
        ({"timeInForce": "DAY"}, -1115, "Invalid timeInForce."),
        ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."),
        ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
        ({"price": "1e4"}, -1100, illegal("price", r"^([0-9]{1,20})(\.[0-9]{1,20})?$")),
        ({"quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"newClientOrderId": "not allowed!"}, -1100, illegal("newClientOrderId", "^[a-zA-Z0-9-_]{1,36}$")),
        ({"newClientOrderId": ""}, -1105, "Parameter 'newClientOrderId' was empty."),
        ({"quoteOrderQty": "5"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
        ({"stopPrice": "5"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"type": "MARKET", "price": None, "timeInForce": "IOC"}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({"type": "MARKET"}, -1106, "Parameter 'price' sent when not required."),
        ({"type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({"selfTradePreventionMode": "MAYBE"}, -1130, "Data sent for parameter 'selfTradePreventionMode' is not valid."),
        ({"newOrderRespType": "ALL"}, -1130, "Data sent for parameter 'newOrderRespType' is not valid."),
        ({"strategyType": "7"}, -1134, "strategyType was less than 1000000."),
        ({"bogus": "7"}, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."),
    ],
)  # fmt: skip
def test_each_bad_order_is_refused_in_the_venues_words_and_leaves_nothing(fields, code, words):
    lab = Lab()
    assert lab.place(**fields) == (400, {"code": code, "msg": words})
    assert lab.exchange.orders() == [] and lab.exchange.account.locked_e8("USDT") == 0
    assert lab.server.violations.total() == (code != -2010)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "MARKET", "quantity": "0.01", "quoteOrderQty": "5"}, -1128),
        ({"type": "MARKET", "quantity": None}, -1102),
        ({"type": "MARKET", "quantity": None, "quoteOrderQty": "1"}, -1013),
    ],
)
def test_a_market_order_has_one_size(fields, code):
    assert Lab().place(price=None, **fields)[1]["code"] == code


def test_order_test_checks_everything_and_places_nothing():
    lab = Lab()
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "60000"}
    assert lab.call("POST", "/api/v3/order/test", **order)[1] == {}
    rates = lab.call("POST", "/api/v3/order/test", computeCommissionRates="true", **order)[1]
    assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert list(rates) == [
        "standardCommissionForOrder", "specialCommissionForOrder", "taxCommissionForOrder", "discount",
    ]  # fmt: skip
    assert lab.call("POST", "/api/v3/order/test", **order | {"quantity": "5"})[1]["code"] == -2010
    assert lab.exchange.orders() == []


def test_a_halted_symbol_takes_no_order_says_so_and_lets_orders_be_cancelled():
    lab = Lab()
    order = lab.place(**RESTING)[1]
    lab.fault(Kind.HALT, symbol="BTCUSDT", for_s=60)
    lab.faults.advance()
    assert lab.place(**RESTING)[1] == {"code": -2010, "msg": "Market is closed."}
    assert lab.send("GET", "/api/v3/exchangeInfo?symbol=BTCUSDT")[1]["symbols"][0]["status"] == "HALT"
    assert cancel(lab, orderId=order["orderId"])[0] == 200


def test_a_changed_rule_shows_in_exchange_info_and_binds_at_once():
    lab = Lab()
    fields = {"tick": "0.1", "lot": "0.001", "minimum": "10", "taker_fee": "0.002"}
    lab.fault(Kind.RULES, symbol="BTCUSDT", fields=fields, for_s=60)
    lab.faults.advance()
    symbol = lab.send("GET", "/api/v3/exchangeInfo?symbol=BTCUSDT")[1]["symbols"][0]
    filters = {row["filterType"]: row for row in symbol["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10000000" and filters["LOT_SIZE"]["stepSize"] == "0.00100000"
    assert filters["NOTIONAL"]["minNotional"] == "10.00000000"
    commission = lab.call("GET", "/api/v3/account/commission", symbol="BTCUSDT")[1]
    assert commission["standardCommission"]["taker"] == "0.00200000"
    assert lab.place(price="60000.01", timeInForce="GTC")[1]["msg"] == "Filter failure: PRICE_FILTER"
    assert lab.place(quantity="0.01")[1]["fills"][0]["commission"] == "0.00002000"


def test_fees_are_paid_in_bnb_while_it_suffices_and_in_the_received_asset_after():
    lab = Lab(BNB="0.0009")
    lab.exchange.settlement.named_fee_asset = "BNB"
    first = lab.place(quantity="0.01")[1]["fills"][0]
    second = lab.place(quantity="0.01")[1]["fills"][0]
    assert (first["commissionAsset"], second["commissionAsset"]) == ("BNB", "BTC")
    assert second["commission"] == "0.00001000"
    discount = lab.call("GET", "/api/v3/account/commission", symbol="BTCUSDT")[1]["discount"]
    assert discount == {
        "enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB", "discount": "0.75000000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        ("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "NEW"),
        ("EXPIRE_MAKER", "EXPIRED", "EXPIRED_IN_MATCH"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"),
    ],
)
def test_the_takers_mode_decides_what_happens_when_we_meet_ourselves(mode, taker, maker):
    lab = Lab()
    lab.book(asks=(("64000.20", "0"), ("64000.30", "0")))
    resting = lab.place(side="SELL", price="64000.20", timeInForce="GTC")[1]
    answer = lab.place(selfTradePreventionMode=mode)[1]
    met = query(lab, orderId=resting["orderId"])
    assert (answer["status"], met["status"], answer["selfTradePreventionMode"]) == (taker, maker, mode)
    assert [order.get("preventedMatchId") for order in (answer, met)] == [
        0 if status == "EXPIRED_IN_MATCH" else None for status in (taker, maker)
    ]  # fmt: skip
    [match] = answer["preventedMatches"]
    assert (match["preventedMatchId"], match["makerOrderId"], match["price"]) == (0, resting["orderId"], "64000.20000000")
    assert ("takerPreventedQuantity" in match, "makerPreventedQuantity" in match) == (taker != "EXPIRED", maker != "NEW")


def test_a_mode_that_the_symbol_does_not_allow_is_refused():
    refused = Lab().place(selfTradePreventionMode="NONE")
    assert refused == (400, {"code": -1013, "msg": "This symbol does not allow the specified self-trade prevention mode."})


def test_cancels_can_be_restricted_and_must_name_one_order():
    lab = Lab()
    order = lab.place(newClientOrderId="x", **RESTING)[1]
    assert cancel(lab)[1]["code"] == -1102
    assert cancel(lab, orderId=order["orderId"], origClientOrderId="y")[1]["code"] == -2039
    assert cancel(lab, orderId=order["orderId"], cancelRestrictions="MAYBE")[1]["code"] == -1145
    refused = cancel(lab, orderId=order["orderId"], cancelRestrictions="ONLY_PARTIALLY_FILLED")[1]
    assert refused == {"code": -2011, "msg": "Order was not canceled due to cancel restrictions."}
    assert cancel(lab, orderId=order["orderId"], cancelRestrictions="ONLY_NEW")[0] == 200


def test_all_open_orders_of_a_symbol_are_cancelled_at_once():
    lab = Lab()
    orders = [lab.place(**RESTING)[1]["orderId"] for _ in range(3)]
    response, rows = lab.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert response.status == 200 and [row["orderId"] for row in rows] == orders
    assert lab.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")[1]["code"] == -2011


def test_an_order_that_fills_while_all_are_cancelled_spares_no_other():
    lab = Lab()
    orders = [lab.place(**RESTING)[1]["orderId"] for _ in range(3)]
    lab.server.arm(Fault(Kind.FILL_BEFORE_CANCEL))
    rows = lab.call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")[1]
    assert [row["orderId"] for row in rows] == orders[1:] and query(lab, orderId=orders[0])["status"] == "FILLED"
    assert lab.exchange.orders(is_open=True) == []


def replace(lab: Lab, **fields) -> tuple[int, dict]:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "60001"}
    order |= {"cancelReplaceMode": "STOP_ON_FAILURE"} | fields
    order = {name: value for name, value in order.items() if value is not None}
    response, answer = lab.call("POST", "/api/v3/order/cancelReplace", **order)
    return response.status, answer


def test_a_replacement_succeeds_fails_or_does_half():
    lab = Lab()
    first = lab.place(**RESTING)[1]["orderId"]
    status, done = replace(lab, cancelOrderId=first)
    assert (status, done["cancelResult"], done["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
    status, none = replace(lab, cancelOrderId=first)
    assert (status, none["code"]) == (400, -2022)
    assert (none["data"]["cancelResult"], none["data"]["newOrderResult"]) == ("FAILURE", "NOT_ATTEMPTED")
    assert none["data"]["newOrderResponse"] is None and none["data"]["cancelResponse"]["code"] == -2011
    second = done["newOrderResponse"]["orderId"]
    status, half = replace(lab, cancelOrderId=second, type="LIMIT_MAKER", timeInForce=None, price="64000.20")
    assert (status, half["code"], half["data"]["cancelResult"]) == (409, -2021, "SUCCESS")
    assert half["data"]["newOrderResponse"] == {"code": -2010, "msg": "Order would immediately match and take."}
    status, half = replace(lab, cancelOrderId=second, cancelReplaceMode="ALLOW_FAILURE")
    assert (status, half["data"]["cancelResult"], half["data"]["newOrderResult"]) == (409, "FAILURE", "SUCCESS")


def test_a_replacement_looks_at_filters_before_it_cancels():
    lab = Lab()
    first = lab.place(**RESTING)[1]["orderId"]
    assert replace(lab, cancelOrderId=first, price="60001.001")[1]["msg"] == "Filter failure: PRICE_FILTER"
    assert query(lab, orderId=first)["status"] == "NEW"
    named = lab.place(newClientOrderId="named", **RESTING)[1]["orderId"]
    words = {"cancelOrderId": named, "newClientOrderId": "named"}
    assert replace(lab, price="60001.001", **words)[1]["msg"] == "Filter failure: PRICE_FILTER"
    assert query(lab, orderId=named)["status"] == "NEW"
    assert replace(lab, **words)[1]["newOrderResponse"]["clientOrderId"] == "named", "the id is free once its order is gone"


def test_a_full_order_limit_stops_a_replacement_or_lets_it_only_cancel():
    lab = Lab()
    first = lab.place(**RESTING)[1]["orderId"]
    for _ in range(ORDERS_SECOND.limit - 1):
        lab.server.rest_limits.take_order()
    assert replace(lab, cancelOrderId=first)[1]["code"] == -1015
    assert query(lab, orderId=first)["status"] == "NEW"
    status, answer = replace(lab, cancelOrderId=first, orderRateLimitExceededMode="CANCEL_ONLY")
    assert (status, answer["data"]["cancelResult"], answer["data"]["newOrderResult"]) == (409, "SUCCESS", "NOT_ATTEMPTED")


def test_lists_go_by_id_by_time_and_by_limit():
    lab = Lab()
    numbers = []
    for _ in range(3):
        numbers.append(lab.place(quantity="0.001")[1]["orderId"])
        lab.pass_ms(1_000)
    ids = [row["orderId"] for row in lab.call("GET", "/api/v3/allOrders", symbol="BTCUSDT", limit=2)[1]]
    assert ids == numbers[1:]
    ids = [row["orderId"] for row in lab.call("GET", "/api/v3/allOrders", symbol="BTCUSDT", orderId=numbers[0], limit=2)[1]]
    assert ids == numbers[:2]
    start_ms = lab.now_ns // 1_000_000 - 2_000
    trades = lab.call("GET", "/api/v3/myTrades", symbol="BTCUSDT", startTime=start_ms)[1]
    assert [row["orderId"] for row in trades] == numbers[1:]
    later = lab.call("GET", "/api/v3/myTrades", symbol="BTCUSDT", fromId=trades[0]["id"], limit=1)[1]
    assert later == trades[:1]
    long = lab.call("GET", "/api/v3/myTrades", symbol="BTCUSDT", startTime=1, endTime=90_000_000)[1]
    assert long["code"] == -1127


@pytest.mark.parametrize("path", ["/api/v3/allOrders", "/api/v3/myTrades"])
def test_a_list_from_a_time_on_begins_there_and_one_without_ends_now(path):
    lab = Lab()
    start_ms = lab.now_ns // 1_000_000
    numbers = []
    for _ in range(3):
        numbers.append(lab.place(quantity="0.001")[1]["orderId"])
        lab.pass_ms(1_000)

    def listed(**words) -> list[int]:
        return [row["orderId"] for row in lab.call("GET", path, symbol="BTCUSDT", **words)[1]]

    assert listed(limit=2) == numbers[1:] and listed(startTime=start_ms, limit=2) == numbers[:2]
    assert listed(startTime=start_ms + 1, endTime=start_ms + 1_000) == numbers[1:2]
    assert listed(endTime=start_ms + 1_000) == numbers[:2]


@pytest.mark.parametrize("words", [{"fromId": 1, "startTime": 1}, {"orderId": 1, "endTime": 1}])
def test_my_trades_go_by_id_or_by_time(words):
    assert Lab().call("GET", "/api/v3/myTrades", symbol="BTCUSDT", **words)[1]["code"] == -1128


def test_fills_of_an_order_that_is_not_visible_yet_are_not_either():
    lab = Lab()
    lab.fault(Kind.NOT_FOUND, ms=2_000)
    number = lab.place()[1]["orderId"]
    for path in ("/api/v3/allOrders", "/api/v3/myTrades"):
        assert lab.call("GET", path, symbol="BTCUSDT")[1] == []
    lab.pass_ms(2_000)
    for path in ("/api/v3/allOrders", "/api/v3/myTrades"):
        assert [row["orderId"] for row in lab.call("GET", path, symbol="BTCUSDT")[1]] == [number]


@pytest.mark.parametrize(
    ("method", "path", "parameters", "code"),
    [
        ("GET", "/api/v3/allOrders", {"symbol": "NOPE"}, -1121),
        ("GET", "/api/v3/account/commission", {"symbol": "NOPE"}, -1121),
        ("GET", "/sapi/v1/asset/tradeFee", {"symbol": "NOPE"}, -1121),
        ("GET", "/api/v3/allOrders", {"symbol": "BTCUSDT", "startTime": 2, "endTime": 1}, -1130),
        ("GET", "/api/v3/order", {"symbol": "BTCUSDT"}, -1102),
        ("POST", "/api/v3/order/cancelReplace", {"symbol": "BTCUSDT", "cancelReplaceMode": "MAYBE"}, -1130),
    ],
)
def test_bad_questions_are_refused_in_the_venues_words(method, path, parameters, code):
    assert Lab().call(method, path, **parameters)[1]["code"] == code


def test_an_unknown_wallet_path_is_a_page():
    lab = Lab()
    assert lab.call("GET", "/sapi/v1/nothing")[0].status == 404
    assert lab.server.violations["unknown_path"] == 1


def test_balances_add_up_after_everything():
    lab = Lab()
    lab.place(quantity="0.15")
    lab.place(side="SELL", price="64000.00", quantity="0.9")
    lab.place(**RESTING)
    lab.exchange.account.check()
    balances = {row["asset"]: row for row in lab.call("GET", "/api/v3/account")[1]["balances"]}
    assert balances["BTC"]["free"] == "0.24985000" and balances["USDT"]["locked"] == "600.00000000"


def test_wallets_tell_what_is_suspended_and_nothing_can_be_withdrawn():
    lab = Lab()
    lab.fault(Kind.WALLET, asset="BTC", for_s=60)
    lab.faults.advance()
    coins = {coin["coin"]: coin for coin in lab.call("GET", "/sapi/v1/capital/config/getall")[1]}
    assert (coins["BTC"]["withdrawAllEnable"], coins["USDT"]["withdrawAllEnable"]) == (False, True)
    assert coins["BTC"]["networkList"][0]["depositEnable"] is False and coins["BTC"]["free"] == "1.00000000"
    assert lab.call("POST", "/sapi/v1/capital/withdraw/apply", coin="BTC", address="x", amount="1")[1]["code"] == -2015
    assert lab.server.violations["withdrawal_attempts"] == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_listen_keys_are_gone(method):
    lab = Lab()
    assert lab.send(method, "/api/v3/userDataStream")[0].status == 410
    assert lab.server.violations["listen_key"] == 1


def test_a_symbol_that_the_account_may_not_trade_is_refused_for_good():
    lab = Lab()
    lab.exchange.forbidden.add("BTCUSDT")
    assert lab.place()[1] == {"code": -2010, "msg": "This symbol is not permitted for this account."}


def test_two_hundred_open_orders_are_the_most():
    lab = Lab()
    lab.exchange.policy = msgspec.structs.replace(lab.exchange.policy, open_orders_max=2)
    answers = [lab.place(quantity="0.001", **RESTING)[1] for _ in range(3)]
    assert answers[-1] == {"code": -2010, "msg": "Filter failure: MAX_NUM_ORDERS"}


def test_money_that_came_or_went_is_listed_as_it_ended():
    lab = Lab()
    lab.exchange.grant("USDT", 250_000_000)
    lab.pass_ms(1)
    lab.exchange.grant("BTC", -50_000_000)
    [deposit] = lab.call("GET", "/sapi/v1/capital/deposit/hisrec")[1]
    assert (deposit["coin"], deposit["amount"], deposit["status"]) == ("USDT", "2.5", 1)
    assert deposit["insertTime"] == lab.now_ns // 1_000_000 - 1
    [withdrawal] = lab.call("GET", "/sapi/v1/capital/withdraw/history", coin="BTC")[1]
    assert (withdrawal["amount"], withdrawal["status"], withdrawal["applyTime"]) == ("0.5", 6, "2026-07-25 17:20:00")
    assert "applyMs" not in withdrawal and withdrawal["txId"] != deposit["txId"]
    for words in ({"startTime": lab.now_ns // 1_000_000}, {"coin": "BTC"}, {"status": 0}, {"offset": 1}):
        assert lab.call("GET", "/sapi/v1/capital/deposit/hisrec", **words)[1] == []
