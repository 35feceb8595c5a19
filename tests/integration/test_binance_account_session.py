"""Binance's account session against the simulated exchange: every way an order can go, and every way the venue can fail."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from binance_account_lab import VENUE, AccountLab, account_lab
from jumping_loop import now_ns, now_s, run_jumping
from websockets.asyncio.server import ServerConnection, serve

from arbitrage.model.effects import PlaceOrder, ReadAccount
from arbitrage.model.events import (
    AccountLinkDown,
    AccountLinkUp,
    AccountRead,
    ClockMeasured,
    FaultKind,
    FeedFault,
    FeesRead,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderUnanswered,
    WalletsRead,
)
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side
from arbitrage.model.orders import OrderState, TimeInForce
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.keys import binance_key
from arbitrage.venues.factory import make_account_session
from arbitrage.venues.trading import Credentials

pytestmark = pytest.mark.integration
E8 = 100_000_000
GTC = TimeInForce.GTC


def ed25519(it: AccountLab) -> Credentials:
    return Credentials(it.key.access_key, it.key.ed25519_pem.encode(), "ed25519")


def shared(it: AccountLab) -> Credentials:
    return Credentials(it.key.access_key, it.key.secret.encode())


@pytest.mark.parametrize("credentials", [shared, ed25519])
def test_an_order_fills_and_stream_and_answer_tell_the_same(credentials: Any) -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start(it.make(credentials(it)))
            order = it.place(session, quantity="1.5", price="64000.30")
            await it.until_told(order, OrderEnded, 2)
            fills = it.fills(order)
            assert sorted((fill.price_e8, fill.quantity_e8) for fill in fills.values()) == [
                (6400020000000, 120_000_000),
                (6400030000000, 30_000_000),
            ]
            assert [fill.fee_asset for fill in fills.values()] == ["BTC", "BTC"]
            assert sum(isinstance(event, OrderFilled) for event in it.about(order)) == 4, "by stream and by answer"
            assert {end.state for end in it.ends(order)} == {OrderState.FILLED}
            assert {end.filled_quantity_e8 for end in it.ends(order)} == {150_000_000}
            (held,) = it.held(order)
            truth = {
                str(one.trade_id): (one.price_e8, one.quantity_e8, one.quote_e8, one.fee_e8, one.fee_asset)
                for one in held.executions
            }
            told = {
                trade: (fill.price_e8, fill.quantity_e8, fill.quote_e8, fill.fee_e8, fill.fee_asset)
                for trade, fill in fills.items()
            }
            assert told == truth
            assert session.counters["sent_by_rest"] == 0
            assert not it.server.violations

    run_jumping(scene())


def test_an_immediate_order_that_fills_in_part_ends_with_what_filled() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            order = it.place(session, quantity="2", price="64000.30")
            ended = await it.until_told(order, OrderEnded, 2)
            assert (ended.state, ended.filled_quantity_e8) == (OrderState.CANCELLED, 170_000_000)
            assert ended.reason in {"UNFILLED_IOC_QUANTITY_EXPIRED", "EXPIRED"}
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 170_000_000

    run_jumping(scene())


def test_what_is_read_at_start_arrives_once_the_link_is_up() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            await it.sink.until_some(WalletsRead)
            (fees,) = await it.sink.until_some(FeesRead)
            assert fees.fees == (
                (0, FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)),
                (1, FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)),
            )
            resting = it.place(session, price="60000.00", force=GTC)
            await it.until_told(resting, OrderAccepted)
            session.submit(ReadAccount(VENUE, "test"))
            (read,) = await it.sink.until_some(AccountRead)
            assert read.asked_ns <= read.at_ns
            balances = {entry.asset: (entry.free_e8, entry.locked_e8) for entry in read.balances}
            assert balances["USDT"] == (999_400 * E8, 600 * E8)
            (listed,) = read.open_orders
            assert (listed.client_order_id, listed.market, listed.filled_quantity_e8) == (resting.client_order_id, 0, 0)
            assert (listed.side, listed.price_e8, listed.quantity_e8) == (Side.BUY, 60_000 * E8, 1_000_000)
            assert len(it.sink.of(ClockMeasured)) == 1, "who waits for the same measurement shares it"

    run_jumping(scene())


def test_a_cancel_ends_our_order_although_the_stream_names_it_by_the_cancels_id() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            order = it.place(session, price="60000.00", force=GTC)
            await it.until_told(order, OrderAccepted, 2)
            it.cancel(session, order)
            ended = await it.until_told(order, OrderEnded, 2)
            assert (ended.state, ended.filled_quantity_e8) == (OrderState.CANCELLED, 0)
            strangers = [e for e in it.sink.of(OrderEnded) if e.client_order_id != order.client_order_id]
            assert strangers == []

    run_jumping(scene())


def test_a_fill_between_cancel_and_its_answer_is_told() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            order = it.place(session, price="60000.00", force=GTC)
            await it.until_told(order, OrderAccepted, 2)
            it.fault(Kind.FILL_BEFORE_CANCEL, endpoint="order.cancel")
            it.cancel(session, order)
            await it.until_told(order, OrderEnded, 2)
            assert {end.state for end in it.ends(order)} == {OrderState.FILLED}
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 1_000_000

    run_jumping(scene())


def test_an_order_that_is_cancelled_while_it_waits_never_leaves() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.limits.orders_refused(now_ns() + 600_000_000)
            order = it.place(session)
            await asyncio.sleep(0.05)
            it.cancel(session, order)
            ended = await it.until_told(order, OrderEnded)
            assert (ended.state, ended.reason) == (OrderState.REJECTED, "not sent: it was cancelled before it left")
            assert it.held(order) == []

    run_jumping(scene())


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": Kind.LOST},
        {"kind": Kind.ERROR_AFTER, "status": 503},
        {"kind": Kind.ERROR_AFTER, "status": 504, "body": '{"code":-1007,"msg":"Timeout waiting for response."}'},
        {"kind": Kind.CUT},
        {"kind": Kind.HALF_OPEN},
    ],
    ids=lambda fault: f"{fault['kind'].value} {fault.get('status', '')}",
)
@pytest.mark.parametrize("way", ["order.place", "POST /api/v3/order"])
def test_an_order_whose_answer_is_lost_is_unanswered_and_never_sent_again(fault: dict[str, Any], way: str) -> None:
    async def scene() -> None:
        async with account_lab() as it:
            is_rest = way.startswith("POST")
            over = {"account_url": "ws://127.0.0.1:9/ws-api/v3"} if is_rest else {}
            session = await it.start(it.make(**over), up=not is_rest)
            kind = fault["kind"]
            it.fault(kind, endpoint=way, **{name: value for name, value in fault.items() if name != "kind"})
            order = it.place(session)
            await it.until_told(order, OrderUnanswered)
            if kind is Kind.CUT and not is_rest:
                await it.sink.until_some(AccountLinkDown)
            if not is_rest and kind in (Kind.LOST, Kind.CUT, Kind.HALF_OPEN):
                await it.sink.until_some(AccountLinkUp, 2)
            it.query(session, order)
            ended = await it.until_told(order, OrderEnded)
            assert (ended.state, ended.filled_quantity_e8) == (OrderState.FILLED, 1_000_000)
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 1_000_000
            assert len(it.held(order)) == 1
            assert session.counters["orders_sent"] == 1

    run_jumping(scene())


def test_an_answer_after_its_limit_is_still_believed() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.fault(Kind.SILENT_PRIVATE)
            it.fault(Kind.LATE, endpoint="order.place", ms=1_100)
            order = it.place(session)
            await it.until_told(order, OrderUnanswered)
            assert it.fills(order) == {}
            await it.until_told(order, OrderEnded)
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 1_000_000
            assert session.counters["answers_late"] == 1
            assert len(it.held(order)) == 1

    run_jumping(scene())


@pytest.mark.parametrize("kind", [Kind.ERROR_BEFORE, Kind.HTML])
def test_whatever_is_not_the_venues_own_refusal_is_unanswered(kind: Kind) -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.fault(kind, endpoint="order.place", status=503)
            order = it.place(session)
            await it.until_told(order, OrderUnanswered)
            it.query(session, order)
            await it.until_told(order, OrderAbsent)
            assert it.held(order) == []

    run_jumping(scene())


def test_a_definite_refusal_rejects_with_the_venues_words() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            order = it.place(session, quantity="100")
            ended = await it.until_told(order, OrderEnded)
            assert (ended.state, ended.filled_quantity_e8) == (OrderState.REJECTED, 0)
            assert ended.reason.startswith("-2010: Account has insufficient balance")
            assert it.sink.of(OrderUnanswered) == []

    run_jumping(scene())


def test_a_repeated_answer_changes_nothing() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.fault(Kind.REPEATED, endpoint="order.place")
            it.fault(Kind.REPEATED, endpoint="executionReport", times=0)
            it.fault(Kind.REORDERED, endpoint="executionReport", times=1)
            order = it.place(session)
            await it.until_told(order, OrderEnded, 2)
            await asyncio.sleep(0.3)
            assert len(it.fills(order)) == 1
            assert session.counters["reports_repeated"] >= 1
            assert session.counters["answers_unasked"] == 1
            assert sum(isinstance(event, OrderFilled) for event in it.about(order)) == 2, "once by each way"

    run_jumping(scene())


def test_an_answer_that_comes_twice_is_not_taken_for_the_answer_to_the_next_question() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            filled, resting = it.place(session), it.place(session, price="60000.00", force=GTC)
            await it.until_told(filled, OrderEnded, 2)
            await it.until_told(resting, OrderAccepted, 2)
            it.fault(Kind.REPEATED, endpoint="GET *", times=0)
            for _ in range(5):
                told = len(it.about(resting))
                it.query(session, filled)
                it.query(session, resting)
                await it.sink.until(lambda told=told: len(it.about(resting)) > told)
            assert it.ends(resting) == []
            assert len(it.fills(filled)) == 1
            faults = it.sink.of(FeedFault)
            assert faults != []
            assert all("StaleAnswer" in fault.detail for fault in faults)

    run_jumping(scene())


@pytest.mark.parametrize("skew_ms", [3_000, -3_000])
@pytest.mark.parametrize("is_rest", [False, True], ids=["socket", "rest"])
def test_a_clock_that_is_off_is_measured_and_the_order_sent_once_more(skew_ms: int, is_rest: bool) -> None:
    async def scene() -> None:
        async with account_lab() as it:
            over = {"account_url": "ws://127.0.0.1:9/ws-api/v3"} if is_rest else {}
            session = await it.start(it.make(**over), up=not is_rest)
            await it.sink.until_some(ClockMeasured)
            it.fault(Kind.SKEW, ms=skew_ms)
            order = it.place(session)
            ended = await it.until_told(order, OrderEnded)
            assert ended.state is OrderState.FILLED
            assert len(it.held(order)) == 1
            assert session.counters["clock_refusals"] == 1
            assert session.counters["orders_sent"] == 2
            before, after = it.sink.of(ClockMeasured)[0], it.sink.of(ClockMeasured)[-1]
            assert abs(after.offset_ms - before.offset_ms - skew_ms) < 100

    run_jumping(scene())


def test_an_order_is_neither_sent_nor_taken_after_its_validity() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            stale = it.place(session, valid_ms=0)
            ended = await it.until_told(stale, OrderEnded)
            assert (ended.state, ended.reason) == (OrderState.REJECTED, "not sent: its validity had passed")
            it.fault(Kind.SLOW, endpoint="order.place", ms=400)
            slow = it.place(session, valid_ms=150)
            ended = await it.until_told(slow, OrderEnded)
            assert ended.state is OrderState.REJECTED
            assert it.held(stale) == it.held(slow) == []

    run_jumping(scene())


def test_the_same_order_submitted_twice_is_sent_once() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            order = it.place(session)
            session.submit(PlaceOrder(order))
            await it.until_told(order, OrderEnded, 2)
            session.submit(PlaceOrder(order))
            await it.until_told(order, OrderEnded, 4)
            assert len(it.held(order)) == 1
            assert session.counters["orders_sent"] == 1

    run_jumping(scene())


def test_orders_go_by_rest_while_the_socket_does_not_work_and_fill_the_same() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start(it.make(account_url="ws://127.0.0.1:9/ws-api/v3"), up=False)
            order = it.place(session, quantity="1.5", price="64000.30")
            await it.until_told(order, OrderEnded)
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 150_000_000
            resting = it.place(session, price="60000.00", force=GTC)
            await it.until_told(resting, OrderAccepted)
            it.cancel(session, resting)
            ended = await it.until_told(resting, OrderEnded)
            assert (ended.state, ended.filled_quantity_e8) == (OrderState.CANCELLED, 0)
            assert session.counters["sent_by_rest"] == 3
            assert it.sink.of(AccountLinkUp) == []
            assert not it.server.violations

    run_jumping(scene())


def test_an_order_that_cannot_leave_at_all_is_rejected_not_unknown() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start(it.make(account_url="ws://127.0.0.1:9/x", rest_url="http://127.0.0.1:9"), up=False)
            order = it.place(session)
            ended = await it.until_told(order, OrderEnded)
            assert (ended.state, ended.filled_quantity_e8) == (OrderState.REJECTED, 0)
            assert ended.reason.startswith("not sent: ConnectError")

    run_jumping(scene())


def test_an_order_that_is_not_visible_yet_is_absent_and_then_found() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.fault(Kind.NOT_FOUND, ms=500, for_s=5)
            order = it.place(session, price="60000.00", force=GTC)
            await it.until_told(order, OrderAccepted)
            it.query(session, order)
            await it.until_told(order, OrderAbsent)
            await asyncio.sleep(0.6)
            told = len(it.about(order))
            it.query(session, order)
            await it.sink.until(lambda: len(it.about(order)) > told)
            assert type(it.about(order)[-1]) is OrderAccepted

    run_jumping(scene())


def test_a_silent_stream_is_noticed_by_an_answer_in_under_ten_seconds() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            await asyncio.sleep(0.2)
            it.fault(Kind.SILENT_PRIVATE, for_s=5)
            start = now_s()
            order = it.place(session)
            await it.until_told(order, OrderEnded)
            (down,) = await it.sink.until_some(AccountLinkDown, patience_s=10)
            assert now_s() - start < 10
            assert "the stream is silent" in down.reason
            await it.sink.until_some(AccountLinkUp, 2)
            assert len(it.fills(order)) == 1

    run_jumping(scene())


@pytest.mark.slow
def test_a_resting_order_that_fills_under_a_silent_stream_is_noticed_in_under_ten_seconds() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            await asyncio.sleep(0.2)
            order = it.place(session, price="64000.15", force=GTC)
            await it.until_told(order, OrderAccepted, 2)
            await asyncio.sleep(1.0)
            it.fault(Kind.SILENT_PRIVATE, for_s=20)
            start = now_s()
            it.exchange.fill(it.held(order)[0], 1_000_000)
            (down,) = await it.sink.until_some(AccountLinkDown, patience_s=11)
            assert now_s() - start < 10
            assert "the stream is silent" in down.reason
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 1_000_000, "caught up by REST"
            assert {end.state for end in it.ends(order)} == {OrderState.FILLED}

    run_jumping(scene())


def test_a_live_stream_with_resting_orders_is_left_alone() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start(it.make(options={"report_limit_ns": 300_000_000}))
            await asyncio.sleep(0.2)
            order = it.place(session, price="60000.00", force=GTC)
            await it.until_told(order, OrderAccepted, 2)
            for _ in range(5):
                it.place(session)
                await asyncio.sleep(0.8)
            assert it.sink.of(AccountLinkDown) == []
            assert session.counters["silences"] == 0

    run_jumping(scene())


def test_a_shutdown_notice_replaces_the_connection_without_losing_an_answer() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.fault(Kind.LATE, endpoint="order.place", ms=350)
            order = it.place(session)
            await asyncio.sleep(0.05)
            it.server.announce_shutdown()
            await it.sink.until_some(AccountLinkUp, 2)
            await it.until_told(order, OrderEnded, 2)
            assert it.sink.of(AccountLinkDown) == []
            assert it.sink.of(OrderUnanswered) == []
            later = it.place(session)
            await it.until_told(later, OrderEnded, 2)
            assert len(it.fills(order)) == len(it.fills(later)) == 1
            faults = [fault.kind for fault in it.sink.of(FeedFault)]
            assert faults == [FaultKind.SERVER_SHUTDOWN]
            await it.sink.until(lambda: len(it.server.private.sessions()) == 1)

    run_jumping(scene())


def test_a_connection_is_replaced_before_its_life_ends_and_never_down() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start(it.make(options={"life_ns": 500_000_000}))
            orders = []
            for _ in range(12):
                orders.append(it.place(session, quantity="0.001"))
                await asyncio.sleep(0.1)
            for order in orders:
                await it.until_told(order, OrderEnded, 2)
            assert len(it.sink.of(AccountLinkUp)) >= 3
            assert it.sink.of(AccountLinkDown) == []
            assert all(len(it.fills(order)) == 1 for order in orders)
            assert all(len(it.held(order)) == 1 for order in orders)

    run_jumping(scene())


def test_a_lost_connection_is_down_then_up_again_and_fills_of_between_are_found_by_asking() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            order = it.place(session, price="64000.15", force=GTC)
            await it.until_told(order, OrderAccepted, 2)
            for connection in it.server.private.sessions():
                connection.close(1001, "gone")
            (down,) = await it.sink.until_some(AccountLinkDown)
            assert down.reason == "closed by the venue: 1001 gone"
            it.exchange.fill(it.held(order)[0], 1_000_000)
            await it.sink.until_some(AccountLinkUp, 2)
            it.query(session, order)
            await it.until_told(order, OrderEnded)
            assert sum(fill.quantity_e8 for fill in it.fills(order).values()) == 1_000_000

    run_jumping(scene())


def test_a_ban_is_honoured_to_the_second_by_every_request() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            await it.sink.until_some(WalletsRead)
            it.fault(Kind.BAN, for_s=2)
            order = it.place(session)
            ended = await it.until_told(order, OrderEnded)
            start = now_s()
            assert ended.state is OrderState.REJECTED
            assert "-1003" in ended.reason
            left_s = (session.requests_held_until_ns - now_ns()) / 1e9
            assert 0.5 < left_s < 2.5
            asked = it.server.counters["requests"]
            refused = it.place(session, valid_ms=500)
            it.query(session, order)
            ended = await it.until_told(refused, OrderEnded)
            assert ended.reason.startswith("not sent: no budget")
            await asyncio.sleep(max(0.0, left_s - (now_s() - start) - 0.1))
            assert it.server.counters["requests"] == asked, "nothing is asked before the end"
            await it.until_told(order, OrderAbsent)
            again = it.place(session)
            ended = await it.until_told(again, OrderEnded)
            assert ended.state is OrderState.FILLED
            assert any(fault.kind is FaultKind.BANNED for fault in it.sink.of(FeedFault))

    run_jumping(scene())


def test_a_ban_of_before_a_restart_is_kept() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = it.make()
            session.hold_requests(now_ns() + 700_000_000)
            assert session.requests_held_until_ns > now_ns()
            await it.start(session, up=False)
            await asyncio.sleep(0.5)
            assert it.server.counters["requests"] == it.server.counters["sockets"] == 0
            await it.sink.until_some(AccountLinkUp)

    run_jumping(scene())


def test_more_orders_than_the_venue_allows_wait_or_are_refused_by_us_and_never_by_it() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            orders = [it.place(session, quantity="0.0001", price="60000.00", valid_ms=1500) for _ in range(130)]
            for order in orders:
                await it.until_told(order, OrderEnded, patience_s=10)
            unsent = [order for order in orders if it.ends(order)[0].reason.startswith("not sent: no budget")]
            assert len(unsent) == 30
            assert session.counters["orders_sent"] == 100
            query = orders[0]
            told = len(it.about(query))
            it.query(session, query)
            await it.sink.until(lambda: len(it.about(query)) > told, 2)
            assert not it.server.violations, "queries have a share of their own"

    run_jumping(scene())


def test_a_used_up_order_count_holds_back_orders_alone() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            resting = it.place(session, price="60000.00", force=GTC)
            await it.until_told(resting, OrderAccepted)
            body = json.dumps({"code": -1015, "msg": "Too many new orders.", "data": {"retryAfter": _venue_ms(it) + 1_500}})
            it.fault(Kind.ERROR_BEFORE, endpoint="order.place", status=429, body=body)
            refused = it.place(session)
            ended = await it.until_told(refused, OrderEnded)
            assert ended.state is OrderState.REJECTED
            held = it.place(session, valid_ms=300)
            ended = await it.until_told(held, OrderEnded)
            assert ended.reason.startswith("not sent: no budget")
            it.cancel(session, resting)
            ended = await it.until_told(resting, OrderEnded)
            assert ended.state is OrderState.CANCELLED
            assert session.requests_held_until_ns == 0

    run_jumping(scene())


def _venue_ms(it: AccountLab) -> int:
    return it.server.now_ms()


def test_the_key_is_checked_before_anything_is_sent() -> None:
    async def scene() -> None:
        key = binance_key(7)
        wrong = Credentials(key.access_key, b"not the secret")
        async with account_lab(key) as it:
            assert await it.make().check() == []
            assert await it.make(ed25519(it)).check() == []
            refused = await it.make(wrong).check()
            assert len(refused) == 2
            assert "-1022" in refused[0]
            dead = await it.make(rest_url="http://127.0.0.1:9").check()
            assert dead == ["the time of binance could not be read"]
        async with account_lab(msgspec.structs.replace(key, can_withdraw=True)) as it:
            assert await it.make().check() == ["the key can withdraw: make one without that right"]
        async with account_lab(msgspec.structs.replace(key, can_trade=False)) as it:
            assert "the key has no right to trade spot" in await it.make().check()

    run_jumping(scene())


def test_an_order_is_tried_at_the_test_endpoint_and_leaves_nothing_behind() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = it.make()
            assert await session.try_order(it.order()) == ""
            refusal = await session.try_order(it.order(quantity="0.000001"))
            assert refusal.startswith("-1013: Filter failure: LOT_SIZE")
            assert list(it.exchange.orders()) == []

    run_jumping(scene())


def test_a_refused_key_takes_the_link_down_and_is_not_stormed() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start(it.make(backoff_ms_min=100, backoff_ms_max=400))
            await it.sink.until_some(WalletsRead)
            it.server.private.revoke(it.key.access_key)
            order = it.place(session)
            ended = await it.until_told(order, OrderEnded)
            assert ended.state is OrderState.REJECTED
            (down,) = await it.sink.until_some(AccountLinkDown)
            assert down.reason.startswith("the venue refuses the key: -20")
            await asyncio.sleep(1.0)
            assert len(it.sink.of(AccountLinkUp)) == 1
            assert it.server.counters["sockets"] <= 9

    run_jumping(scene())


def test_answers_on_their_way_are_heard_when_the_connection_is_given_up() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            await it.sink.until_some(WalletsRead)
            it.fault(Kind.LATE, endpoint="order.place", ms=300)
            order = it.place(session)
            await asyncio.sleep(0.05)
            it.server.private.revoke(it.key.access_key)
            it.query(session, order)
            await it.sink.until_some(AccountLinkDown)
            await it.until_told(order, OrderEnded, 2)
            assert it.sink.of(OrderUnanswered) == []
            assert len(it.fills(order)) == 1

    run_jumping(scene())


def test_a_session_is_made_by_the_factory_and_ends_cleanly() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            made = make_account_session(it.make().account, it.limits)
            await it.start(made)
            assert it.task is not None
            it.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await it.task
            (down,) = it.sink.of(AccountLinkDown)
            assert down.reason == "session stopped"

    run_jumping(scene())


def test_a_broken_invariant_in_the_sink_ends_the_session_as_itself() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()

            def breaks(events: Any) -> None:
                assert not any(type(event) is OrderFilled for event in events), "planted"

            it.sink.on_events = breaks
            it.place(session)
            assert it.task is not None
            with pytest.raises(AssertionError, match="planted"):
                await asyncio.wait_for(asyncio.shield(it.task), 3)

    run_jumping(scene())


def test_no_key_secret_or_signature_appears_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    """Faults of every kind, and a venue that echoes what it was sent."""

    async def scene() -> tuple[str, list[bytes], Credentials]:
        async with account_lab() as it:
            credentials = shared(it)
            session = await it.start(it.make(credentials))
            for kind in (Kind.LOST, Kind.CUT, Kind.HTML, Kind.ERROR_AFTER):
                it.fault(kind, endpoint="order.place")
                order = it.place(session)
                await it.until_told(order, OrderUnanswered)
                it.query(session, order)
                await it.until_told(order, OrderAbsent if kind is Kind.HTML else OrderEnded)
                await asyncio.sleep(0.3)  # a lost connection is replaced, or the next order would go by REST
            it.query(session, it.order())
            session.submit(ReadAccount(VENUE, "canary"))
            await it.sink.until_some(AccountRead)
            dead = it.make(credentials, rest_url="http://127.0.0.1:9")
            texts = [repr(it.sink.events), repr(session), repr(vars(session)), repr(session.counters)]
            texts += [repr(await dead.check()), repr(it.sink.records), str(credentials)]
            return "\n".join(texts), [key.encode() for key in credentials.texts_to_hide()], credentials

    async def echoing() -> str:
        """Every message comes back as the words of an error."""

        async def handler(socket: ServerConnection) -> None:
            async for raw in socket:
                said = json.loads(raw)
                error = {"code": -1100, "msg": f"Illegal characters: {raw!r}"}
                await socket.send(json.dumps({"id": said["id"], "status": 400, "error": error}))
                await socket.send(raw)

        async with account_lab() as it, serve(handler, "127.0.0.1", 0) as echo:
            port = echo.sockets[0].getsockname()[1]
            await it.start(it.make(account_url=f"ws://127.0.0.1:{port}/ws-api/v3"), up=False)
            await it.sink.until(lambda: any("is not subscribed" in fault.detail for fault in it.sink.of(FeedFault)))
            return repr(it.sink.events)

    with caplog.at_level(logging.DEBUG):
        seen, forms, credentials = run_jumping(scene())
        seen += run_jumping(echoing())
    seen += caplog.text
    assert "websockets" in caplog.text or "httpcore" in caplog.text, "the libraries did log"
    for form in forms:
        assert form.decode() not in seen
    assert "signature=" not in seen
    assert quote(base64.b64encode(credentials.secret()).decode()) not in seen


def test_the_weight_is_shared_with_market_data() -> None:
    async def scene() -> None:
        async with account_lab() as it:
            await it.start()
            await it.sink.until_some(WalletsRead)
            at_ns = now_ns()
            spent = it.limits.budget("").windows[0].used(at_ns)
            assert 90 <= spent < 200, "clock, counts, fees, wallets and the connection"
            it.limits.budget("").charge(at_ns, 4_800 - spent)
            assert it.limits.budget("").wait_ns(at_ns) > 0
            assert it.limits.budget("orders").wait_ns(at_ns) == it.limits.budget("queries").wait_ns(at_ns) == 0

    run_jumping(scene())


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.HALF_OPEN])
def test_a_dead_connection_is_noticed_and_replaced(kind: Kind) -> None:
    async def scene() -> None:
        async with account_lab() as it:
            session = await it.start()
            it.fault(kind, endpoint="socket /ws-api/v3")
            start = now_s()
            await it.sink.until_some(AccountLinkDown)
            assert now_s() - start < 2
            await it.sink.until_some(AccountLinkUp, 2)
            order = it.place(session)
            await it.until_told(order, OrderEnded, 2)
            assert session.counters["sent_by_rest"] == 0

    run_jumping(scene())
