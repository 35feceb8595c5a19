import pytest
from sim_client import KeptPipe, upgrade
from upbit_world import World

from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.upbit_limits import BLOCK_MS, GROUPS, STRIKES_MAX, Tally, UpbitLimits
from arbitrage.sim.server.upbit_private import UpbitPrivateSession

ORDER = [("market", "KRW-BTC"), ("side", "bid"), ("ord_type", "limit"), ("price", "148000000"), ("volume", "0.0001")]
CALLS = {
    "default": ("GET", "/v1/accounts", []),
    "order": ("POST", "/v1/orders", ORDER),
    "order-test": ("POST", "/v1/orders/test", ORDER),
    "order-cancel-all": ("DELETE", "/v1/orders/open", []),
    "ticker": ("GET", "/v1/ticker/all", []),
}


def remaining(response: Response) -> str:
    return dict(response.headers)["Remaining-Req"]


@pytest.mark.parametrize(("group", "calls"), [("default", 30), ("order", 12), ("order-test", 8), ("ticker", 10)])
def test_a_group_has_its_calls_in_every_second_and_tells_what_is_left(group, calls):
    world = World()
    answers = [world.send_now(*CALLS[group]) for _ in range(calls)]
    assert [remaining(answer) for answer in answers] == [
        f"group={group}; min=1800; sec={calls - 1 - number}" for number in range(calls)
    ]
    over = world.send_now(*CALLS[group])
    assert (over.status, over.content_type[:10], dict(over.headers)) == (429, "text/plain", {})
    world.wait(1.0)
    assert world.send_now(*CALLS[group]).status in (200, 201)
    assert world.server.violations == {f"requests_over_limit {group}": 1}


def test_cancelling_all_is_allowed_once_in_two_seconds():
    world = World()
    statuses = []
    for _ in range(4):
        statuses.append(world.send_now(*CALLS["order-cancel-all"]).status)
        world.wait(1.0)
    assert statuses == [200, 429, 200, 429]


def test_groups_do_not_share_and_both_order_calls_do():
    world = World()
    for _ in range(12):
        world.send_now(*CALLS["order"])
    replaced = [("prev_order_uuid", "x"), ("new_ord_type", "limit")]
    assert world.send_now("POST", "/v1/orders/cancel_and_new", replaced).status == 429
    assert world.send_now(*CALLS["default"]).status == 200


def test_an_order_over_the_limit_is_no_order_and_its_identifier_is_not_spent():
    world = World()
    for _ in range(12):
        world.send_now(*CALLS["order"])
    words = [*ORDER, ("identifier", "once")]
    assert world.send_now("POST", "/v1/orders", words).status == 429
    world.wait(1.0)
    assert world.send_now("POST", "/v1/orders", words).status == 201
    assert len(world.exchange.orders()) == 13


def test_who_goes_on_after_429_is_blocked_and_each_block_is_longer():
    world = World()
    limits = world.server.rest_limits
    for block_ms in (BLOCK_MS, 2 * BLOCK_MS):
        for _ in range(30 + STRIKES_MAX):
            answer = world.send_now(*CALLS["default"])
        assert answer.status == 429
        blocked = world.send_now(*CALLS["order"])
        assert (blocked.status, dict(blocked.headers)) == (418, {}), "the whole pocket, without Retry-After"
        assert f"{block_ms // 1000} seconds" in blocked.body.decode()
        assert world.send_now(*CALLS["ticker"]).status == 200, "the address is not"
        world.wait(block_ms / 1000 - 1)
        assert world.send_now(*CALLS["default"]).status == 418
        world.wait(1.5)
        assert world.send_now(*CALLS["default"]).status == 200
        world.wait(1.0)
    assert limits.tally.violations["requests_while_blocked"] == 4


def test_scattered_refusals_do_not_block():
    now = [0]
    limits = UpbitLimits(lambda: now[0], Tally())
    for _ in range(5 * STRIKES_MAX):
        taken = [limits.take("market") for _ in range(11)]
        assert isinstance(taken[-1], Response) and taken[-1].status == 429
        now[0] += 2_000


def test_a_ban_blocks_address_and_pocket_until_it_ends():
    world = World()
    world.faults.add(Fault(Kind.BAN, for_s=30.0))
    world.faults.advance()
    assert [world.send_now(*CALLS[group]).status for group in ("default", "order", "ticker")] == [418] * 3
    world.wait(30.0)
    world.faults.advance()
    assert [world.send_now(*CALLS[group]).status for group in ("default", "order", "ticker")] == [200, 201, 200]


def test_a_browsers_requests_pass_once_in_ten_seconds():
    world = World()
    request = Request("GET", "/v1/ticker/all", {"origin": "http://example.com"}, b"")
    assert world.server.respond(request).status == 200
    world.wait(9.0)
    assert world.server.respond(request).status == 429
    handshake = Request("GET", "/websocket/v1", {"origin": "http://example.com"}, b"")
    assert world.server.accept(handshake, KeptPipe()).status == 429
    world.wait(1.0)
    assert world.server.respond(request).status == 200
    assert world.server.violations == {"origin_header": 2}


def test_private_connections_have_their_own_five_a_second_and_five_at_once():
    world = World()
    sessions = [world.listen()[1] for _ in range(5)]
    assert all(isinstance(session, UpbitPrivateSession) for session in sessions)
    refused = world.listen()[1]
    assert (refused.status, world.server.violations) == (429, {"private_connections_over_limit": 1})
    sessions[0].on_close()
    assert isinstance(world.listen()[1], UpbitPrivateSession)


def test_a_sixth_handshake_in_a_second_is_refused_whichever_stream():
    world = World()
    for path in ("/websocket/v1", "/websocket/v1/private"):
        answers = [world.server.accept(upgrade(path), KeptPipe()) for _ in range(6)]
        assert [isinstance(answer, Response) for answer in answers] == [False] * 5 + [True]
    assert world.server.violations["connects_over_limit"] == 2


def test_the_groups_are_the_published_ones():
    assert {name: (group.calls, group.window_ms, group.scope) for name, group in GROUPS.items()} == {
        "market": (10, 1000, "ip"), "candle": (10, 1000, "ip"), "trade": (10, 1000, "ip"), "ticker": (10, 1000, "ip"),
        "orderbook": (10, 1000, "ip"), "default": (30, 1000, "pocket"), "order": (12, 1000, "pocket"),
        "order-test": (8, 1000, "pocket"), "order-cancel-all": (1, 2000, "pocket"),
    }  # fmt: skip
