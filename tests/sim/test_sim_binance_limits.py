from collections import Counter

import msgspec
import pytest
from binance_lab import Lab, WsClient

from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.server.binance_limits import (
    BAN_S_MIN,
    CONNECTIONS,
    ORDERS,
    ORDERS_SECOND,
    RAW,
    STRIKES_MAX,
    WEIGHT,
    BinanceLimits,
)  # fmt: skip
from arbitrage.sim.server.binance_wire import VenueError

NOW_MS = 1_785_000_000_000
NEVER_FILLS = {"price": "60000.00", "quantity": "0.001", "timeInForce": "GTC"}


def header(response, name: str) -> str | None:
    return dict(response.headers).get(name)


def weight_of(lab: Lab, method: str, path: str, **parameters) -> int:
    before = lab.server.rest_limits.weight_row()["count"]
    lab.call(method, path, **parameters)
    return lab.server.rest_limits.weight_row()["count"] - before


@pytest.mark.parametrize(
    ("method", "path", "parameters", "weight"),
    [
        ("GET", "/api/v3/account", {}, 20),
        ("GET", "/api/v3/account/commission", {"symbol": "BTCUSDT"}, 20),
        ("GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}, 4),
        ("GET", "/api/v3/openOrders", {}, 80),
        ("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}, 6),
        ("GET", "/api/v3/allOrders", {"symbol": "BTCUSDT"}, 20),
        ("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"}, 20),
        ("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "orderId": 1}, 5),
        ("GET", "/api/v3/rateLimit/order", {}, 40),
        ("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}, 1),
    ],
)
def test_weights_are_those_of_the_sheet(method, path, parameters, weight):
    assert weight_of(Lab(), method, path, **parameters) == weight


def test_order_calls_weigh_one_when_refused_and_nothing_when_they_succeed():
    lab = Lab()
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", **NEVER_FILLS}
    assert weight_of(lab, "POST", "/api/v3/order", newClientOrderId="a", **order) == 0
    assert weight_of(lab, "POST", "/api/v3/order", newClientOrderId="a", **order) == 1
    assert weight_of(lab, "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="a") == 0
    assert weight_of(lab, "POST", "/api/v3/order/test", **order) == 1
    assert weight_of(lab, "POST", "/api/v3/order/test", computeCommissionRates="true", **order) == 20


def test_order_calls_of_the_socket_are_as_free_when_they_succeed():
    lab = Lab()
    client = WsClient(lab)
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "newClientOrderId": "a", **NEVER_FILLS}
    assert client.ask("order.place", **order)["rateLimits"][-1]["count"] == 2
    assert client.ask("order.place", **order)["rateLimits"][-1]["count"] == 3


def test_accepted_orders_tell_their_count_and_a_first_fill_gives_it_back():
    lab = Lab()
    response, _ = lab.call("POST", "/api/v3/order", symbol="BTCUSDT", side="BUY", type="LIMIT", **NEVER_FILLS)
    assert (header(response, "X-MBX-ORDER-COUNT-10S"), header(response, "X-MBX-ORDER-COUNT-1D")) == ("1", "1")
    lab.place(price="64000.20", quantity="0.001")
    rows = lab.call("GET", "/api/v3/rateLimit/order")[1]
    assert [row["count"] for row in rows] == [1, 1]
    lab.pass_ms(10_000)
    assert [row["count"] for row in lab.call("GET", "/api/v3/rateLimit/order")[1]] == [0, 1]


def test_more_unfilled_orders_than_allowed_are_429_until_the_window_ends():
    lab = Lab()
    lab.pass_ms(3_000)
    for _ in range(ORDERS_SECOND.limit):
        assert lab.place(**NEVER_FILLS)[0] == 200
    response, answer = lab.call("POST", "/api/v3/order", symbol="BTCUSDT", side="BUY", type="LIMIT", **NEVER_FILLS)
    assert (response.status, answer["code"]) == (429, -1015)
    assert answer["msg"] == "Too many new orders; current limit is 100 orders per 10 SECOND."
    assert header(response, "Retry-After") == "7"
    lab.pass_ms(7_000)
    assert lab.place(**NEVER_FILLS)[0] == 200
    assert lab.server.violations == Counter({"orders_over_limit": 1})


def test_only_the_first_fill_of_an_order_gives_its_count_back():
    lab = Lab()
    for _ in range(2):
        lab.place(**NEVER_FILLS)
    order = lab.place(price="64000.30", quantity="1.3", newOrderRespType="FULL")[1]
    assert order["code"] == -2010
    lab.book(asks=(("64000.20", "0.001"), ("64000.30", "0.001")))
    assert len(lab.place(price="64000.30", quantity="0.002")[1]["fills"]) == 2
    assert [row["count"] for row in lab.server.rest_limits.order_rows()] == [3, 3]


def test_a_request_too_late_at_the_engine_only_still_counts_as_an_order():
    seen = []
    for window_ms in range(40):
        lab = Lab()
        lab.drift_ns = 1_000_000
        status, answer = lab.place(timestamp=lab.now_ns // 1_000_000, recvWindow=window_ms, **NEVER_FILLS)
        outcome = (answer.get("code", status), lab.server.rest_limits.order_rows()[1]["count"])
        if outcome not in seen:
            seen.append(outcome)
    assert seen == [(-1021, 0), (-1021, 1), (200, 1)]


def limited(now: list[int]) -> tuple[BinanceLimits, Counter[str]]:
    violations: Counter[str] = Counter()
    limits = BinanceLimits(lambda: now[0], violations)
    limits.admit(WEIGHT.limit)
    return limits, violations


def refused(limits: BinanceLimits) -> VenueError:
    with pytest.raises(VenueError) as refusal:
        limits.admit(1)
    return refusal.value


def test_whoever_goes_on_after_429_is_banned_and_longer_each_time():
    now = [NOW_MS + 20_000]
    limits, violations = limited(now)
    first = refused(limits)
    assert (first.status, first.code, dict(first.headers)) == (429, -1003, {"Retry-After": "40"})
    statuses = [refused(limits).status for _ in range(STRIKES_MAX)]
    assert statuses == [429] * (STRIKES_MAX - 1) + [418]
    assert limits.banned_until_ms == now[0] + BAN_S_MIN * 1000
    ban = refused(limits)
    assert (ban.status, dict(ban.headers)) == (418, {"Retry-After": str(BAN_S_MIN)})
    assert ban.body(is_socket=True)["data"]["retryAfter"] == limits.banned_until_ms
    assert "data" not in ban.body()
    assert violations["requests_while_banned"] == 1 and violations["requests_while_limited"] == STRIKES_MAX
    now[0] = limits.banned_until_ms
    limits.admit(WEIGHT.limit)
    for _ in range(STRIKES_MAX + 1):
        refused(limits)
    assert limits.banned_until_ms == now[0] + 5 * BAN_S_MIN * 1000


def test_whoever_waits_after_429_goes_on_as_before():
    now = [NOW_MS]
    limits, violations = limited(now)
    refused(limits)
    now[0] += 60_000
    limits.admit(1)
    assert violations == Counter({"requests_over_limit": 1})


def test_a_full_minute_is_told_by_rest_in_headers_and_by_the_socket_in_data():
    lab = Lab()
    client = WsClient(lab)
    lab.server.rest_limits.admit(WEIGHT.limit - 2)
    response, answer = lab.send("GET", "/api/v3/ping")
    assert (response.status, answer["code"], list(answer)) == (429, -1003, ["code", "msg"])
    assert header(response, "X-MBX-USED-WEIGHT-1M") == str(WEIGHT.limit + 1)
    told = client.ask("ping", sign="")
    assert (told["status"], told["error"]["code"]) == (429, -1003)
    minute_ms = 60_000
    assert told["error"]["data"]["retryAfter"] == (lab.now_ns // 1_000_000 // minute_ms + 1) * minute_ms


def test_a_ban_as_a_fault_refuses_everything_until_it_ends():
    lab = Lab()
    client = WsClient(lab)
    lab.fault(Kind.BAN, for_s=30)
    lab.faults.advance()
    assert lab.send("GET", "/api/v3/time")[0].status == 418
    assert client.ask("time", sign="")["status"] == 418
    assert lab.connect("/ws/btcusdt@trade")[1].status == 418
    assert lab.call("GET", "/sapi/v1/account/apiRestrictions")[0].status == 418
    lab.pass_ms(30_000)
    lab.faults.advance()
    assert lab.send("GET", "/api/v3/time")[0].status == 200


def test_raw_requests_are_limited_whatever_they_weigh():
    few = msgspec.structs.replace(RAW, limit=2)
    limits = BinanceLimits(lambda: NOW_MS, Counter(), (WEIGHT, *ORDERS, few))
    limits.admit(0)
    limits.admit(0)
    with pytest.raises(VenueError, match="current limit is 2 requests per 5 MINUTE") as refusal:
        limits.admit(0)
    assert refusal.value.status == 429


def test_three_hundred_connections_in_five_minutes_are_the_most():
    lab = Lab()
    answers = [lab.connect("/ws")[1] for _ in range(CONNECTIONS.limit + 1)]
    assert answers[-1].status == 429 and not hasattr(answers[-2], "status")
    assert lab.server.violations == Counter({"connections_over_limit": 1})


def test_wallet_endpoints_have_budgets_of_their_own():
    lab = Lab()
    for _ in range(10):
        response, _ = lab.call("GET", "/sapi/v1/capital/withdraw/history")
        assert response.status == 200
    assert header(response, "X-SAPI-USED-UID-WEIGHT-1M") == "180000"
    assert lab.call("GET", "/sapi/v1/capital/withdraw/history")[0].status == 429
    response, _ = lab.call("GET", "/sapi/v1/capital/config/getall")
    assert (response.status, header(response, "X-SAPI-USED-IP-WEIGHT-1M")) == (200, "10")
    assert lab.server.rest_limits.weight_row()["count"] == 0
