"""Upbit's order entry against the simulated exchange: what was told is what is true, whatever happened on the way."""

from __future__ import annotations

import asyncio
import json
import random

import msgspec
import pytest
from jumping_loop import now_ns, now_s
from upbit_account_lab import BTC, SELLING, UPBIT, World, cancel, names, play, query
from upbit_lab import CODES

from arbitrage.model.effects import PlaceOrder, ReadAccount
from arbitrage.model.events import (
    AccountLinkDown,
    AccountLinkUp,
    AccountRead,
    FaultKind,
    FeedFault,
    FeesRead,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderUnanswered,
    WalletsRead,
)
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side
from arbitrage.model.money import parse_e8
from arbitrage.model.orders import OrderState, TimeInForce
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.nouns import Force, OrderRequest, OrderType, SelfTrade
from arbitrage.venues.transport_picows import connect_picows
from arbitrage.venues.upbit.account_session import UpbitAccountSession

pytestmark = pytest.mark.integration
Session = UpbitAccountSession
NONCE_USED = '{"error":{"name":"nonce_used","message":"x"}}'


# -- orders as they should go ------------------------------------------------------------------------------------------


def test_an_order_is_accepted_filled_and_ended_as_the_venue_booked_it() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1", quantity="0.01234567")))
        ended = await it.until_ended("a-1")
        await it.sink.until_some(OrderAccepted)
        assert (ended.state, ended.filled_quantity_e8) == (OrderState.FILLED, 1_234_567)
        it.check_fills("a-1")
        assert names(it.sink.events).index("OrderFilled") < names(it.sink.events).index("OrderEnded")

    play(scene)


def test_stream_and_query_tell_the_same_fills_with_their_fees() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1", "148604000", "0.05012345")))
        await it.until_ended("a-1")
        by_stream = it.fills("a-1")
        it.sink.events.clear()
        session.submit(query("a-1"))
        await it.until_ended("a-1")
        assert it.fills("a-1") == by_stream
        it.check_fills("a-1")
        assert not session.counters["fees_disagree"] and not session.counters["fees_unexplained"]

    play(scene)


def test_a_query_alone_derives_the_same_fees_as_the_stream_would_have_told() -> None:
    async def scene(it: World, session: Session) -> None:
        it.lab.book("KRW-BTC", {}, {"148602000": "0.00312345", "148603000": "0.00107", "148604000": "0.002"})
        it.fault(Kind.SILENT_PRIVATE)
        session.submit(PlaceOrder(it.order("a-1", "148604000", "0.00612345")))
        await it.sink.until_some(OrderAccepted)
        session.submit(query("a-1"))
        await it.until_ended("a-1")
        assert len(it.fills("a-1")) == 3
        it.check_fills("a-1")

    play(scene)


def test_an_ioc_that_ends_cancel_after_a_partial_fill_is_told_by_its_volume() -> None:
    async def scene(it: World, session: Session) -> None:
        it.lab.book("KRW-BTC", {}, {"148602000": "0.004"})
        session.submit(PlaceOrder(it.order("a-1", quantity="0.01")))
        ended = await it.until_ended("a-1")
        assert (ended.state, ended.filled_quantity_e8, ended.reason) == (OrderState.CANCELLED, 400_000, "cancel")
        it.check_fills("a-1")

    play(scene)


def test_a_cancel_is_over_when_the_stream_says_so_and_not_before() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(it.resting("a-1"))
        await it.sink.until_some(OrderAccepted)
        it.fault(Kind.LATE, "myOrder", ms=400)
        session.submit(cancel("a-1"))
        await it.sink.until(lambda: session.counters["cancels_accepted"] == 1)
        assert it.ended("a-1") == []
        ended = await it.until_ended("a-1")
        assert (ended.state, ended.filled_quantity_e8) == (OrderState.CANCELLED, 0)

    play(scene)


def test_an_order_that_fills_while_its_cancel_is_on_the_way_is_told_filled() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(it.resting("a-1"))
        await it.sink.until_some(OrderAccepted)
        it.fault(Kind.FILL_BEFORE_CANCEL, "DELETE /v1/order")
        session.submit(cancel("a-1"))
        ended = await it.until_ended("a-1")
        assert ended.state is OrderState.FILLED
        it.check_fills("a-1")

    play(scene)


def test_a_cancel_of_what_has_ended_asks_what_became_of_it() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1")))
        await it.until_ended("a-1")
        it.sink.events.clear()
        session.submit(cancel("a-1"))
        assert (await it.until_ended("a-1")).state is OrderState.FILLED
        session.submit(cancel("never-sent"))
        (absent,) = await it.sink.until_some(OrderAbsent)
        assert absent.client_order_id == "never-sent"

    play(scene)


def test_a_sale_pays_its_fee_in_won_too() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1", SELLING, "0.003", Side.SELL)))
        await it.until_ended("a-1")
        it.check_fills("a-1")
        assert {fill.fee_asset for fill in it.fills("a-1").values()} == {"KRW"}

    play(scene)


def test_other_quote_assets_pay_their_own_rate() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1", "105010", "0.001", market=CODES.index("USDT-BTC"))))
        await it.until_ended("a-1")
        it.check_fills("a-1")
        assert {fill.fee_asset for fill in it.fills("a-1").values()} == {"USDT"}

    play(scene)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "quantity", "name"),
    [
        ("148602000", "10", "insufficient_funds_bid"),
        ("148602000", "0.00001", "under_min_total_bid"),
        ("148602001", "1", "invalid_price_bid"),
    ],
)
def test_a_definite_refusal_ends_the_order_rejected_with_the_venues_reason(price: str, quantity: str, name: str) -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1", price, quantity)))
        ended = await it.until_ended("a-1")
        assert (ended.state, ended.filled_quantity_e8) == (OrderState.REJECTED, 0)
        assert name in ended.reason
        assert it.sink.of(OrderUnanswered) == []
        it.lab.server.tally.violations.clear()  # the test asked for what no client of ours asks for

    play(scene)


def test_a_duplicate_identifier_is_unknown_and_asked_never_rejected() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1")))
        await it.until_ended("a-1")
        it.sink.events.clear()
        session.submit(PlaceOrder(it.order("a-1")))
        await it.sink.until_some(OrderUnanswered)
        assert it.ended("a-1") == []
        session.submit(query("a-1"))
        assert (await it.until_ended("a-1")).state is OrderState.FILLED
        assert it.placed("a-1") == 1
        it.lab.server.tally.violations.clear()  # the test repeated what the session never repeats

    play(scene)


def test_a_used_nonce_is_replaced_once_with_the_same_identifier() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.ERROR_BEFORE, "POST /v1/orders", status=401, body=NONCE_USED)
        session.submit(PlaceOrder(it.order("a-1")))
        assert (await it.until_ended("a-1")).state is OrderState.FILLED
        it.fault(Kind.ERROR_BEFORE, "POST /v1/orders", status=401, body=NONCE_USED, times=2)
        session.submit(PlaceOrder(it.order("a-2")))
        ended = await it.until_ended("a-2")
        assert ended.state is OrderState.REJECTED and "nonce_used" in ended.reason
        assert (it.placed("a-1"), it.placed("a-2")) == (1, 0)

    play(scene)


def test_an_order_past_its_validity_is_never_sent() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(PlaceOrder(it.order("a-1", valid_until_ns=now_ns() - 1)))
        ended = await it.until_ended("a-1")
        assert (ended.state, ended.reason) == (OrderState.REJECTED, "not sent: its validity had passed")
        assert it.placed("a-1") == 0

    play(scene)


def test_an_order_whose_turn_would_come_too_late_is_refused_at_once() -> None:
    async def scene(it: World, session: Session) -> None:
        for number in range(14):
            session.submit(it.resting(f"a-{number}", quantity="0.0001", valid_until_ns=now_ns() + 5 * 10**8))
        await it.sink.until(lambda: len(it.sink.of(OrderEnded)) == 4 and session.counters["orders_accepted"] == 10)
        assert all("its budget is spent" in event.reason for event in it.sink.of(OrderEnded))
        assert len(it.lab.exchange.orders()) == 10

    play(scene)


def test_an_order_that_is_cancelled_before_it_was_sent_is_not_sent() -> None:
    async def scene(it: World, session: Session) -> None:
        for number in range(12):
            session.submit(it.resting(f"a-{number}", quantity="0.0001"))
        session.submit(cancel("a-11"))
        ended = await it.until_ended("a-11")
        assert (ended.state, ended.reason) == (OrderState.REJECTED, "not sent: cancelled before it was sent")
        await it.sink.until(lambda: session.counters["orders_accepted"] == 11)
        assert it.placed("a-11") == 0

    play(scene)


def test_a_429_is_a_definite_refusal_and_the_next_order_waits_for_the_next_second() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.ERROR_BEFORE, "POST /v1/orders", status=429, body="Too many API requests.")
        session.submit(PlaceOrder(it.order("a-1")))
        assert (await it.until_ended("a-1")).state is OrderState.REJECTED
        began_s = now_s()
        session.submit(PlaceOrder(it.order("a-2")))
        assert (await it.until_ended("a-2")).state is OrderState.FILLED
        assert 0.9 < now_s() - began_s < 1.6

    play(scene)


# -- ambiguity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.CUT, Kind.HALF_OPEN, Kind.ERROR_AFTER])
def test_an_order_whose_answer_is_lost_is_unanswered_and_there_once(kind: Kind) -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(kind, "POST /v1/orders", status=504)
        session.submit(PlaceOrder(it.order("a-1")))
        (unanswered,) = await it.sink.until_some(OrderUnanswered)
        assert unanswered.client_order_id == "a-1"
        session.submit(query("a-1"))
        assert (await it.until_ended("a-1")).state is OrderState.FILLED
        it.check_fills("a-1")
        assert it.placed("a-1") == 1

    play(scene)


@pytest.mark.parametrize(("kind", "status"), [(Kind.ERROR_BEFORE, 503), (Kind.HTML, 403), (Kind.HTML, 502)])
def test_an_answer_that_is_not_the_venues_leaves_the_outcome_unknown(kind: Kind, status: int) -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(kind, "POST /v1/orders", status=status)
        session.submit(PlaceOrder(it.order("a-1")))
        await it.sink.until_some(OrderUnanswered)
        session.submit(query("a-1"))
        (absent,) = await it.sink.until_some(OrderAbsent)
        assert absent.client_order_id == "a-1" and it.placed("a-1") == 0

    play(scene)


def test_a_venue_that_does_not_find_its_own_order_yet_is_asked_again_until_it_does() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.NOT_FOUND, ms=700)
        it.fault(Kind.LOST, "POST /v1/orders")
        it.fault(Kind.SILENT_PRIVATE)
        session.submit(PlaceOrder(it.order("a-1")))
        session.submit(query("a-1"))
        await it.sink.until_some(OrderAbsent)
        assert it.ended("a-1") == []
        await it.until_ended("a-1", 8.0)  # by the session's own look at what the stream has not ended
        it.check_fills("a-1")

    play(scene)


def test_a_refused_connection_is_a_definite_not_sent() -> None:
    async def scene(it: World, session: Session) -> None:
        other = msgspec.structs.replace(session.settings, rest_url="http://127.0.0.1:1")
        context = msgspec.structs.replace(session.context, settings=other)
        lost = UpbitAccountSession(msgspec.structs.replace(session.account, context=context), it.limits)
        assert (await lost.try_order(it.order("a-1"))).startswith("not sent, POST /v1/orders/test: ConnectError")
        await lost.close()

    play(scene)


def test_the_second_answer_to_one_question_is_no_answer_to_the_next() -> None:
    """What was sent twice lies in the connection's buffer; taken for an order's answer it would deny an order that exists."""

    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.REPEATED, "GET /v1/order")
        session.submit(query("a-1"))
        await it.sink.until_some(OrderAbsent)
        session.submit(PlaceOrder(it.order("a-1")))
        await it.sink.until_some(OrderUnanswered)
        session.submit(query("a-1"))
        assert (await it.until_ended("a-1")).state is OrderState.FILLED
        it.check_fills("a-1")
        assert it.placed("a-1") == 1 and len(it.sink.of(OrderAbsent)) == 1

    play(scene)


@pytest.mark.parametrize("endpoint", ["POST /v1/orders", "GET /v1/order"])
def test_an_answer_about_another_order_is_none(endpoint: str) -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.SILENT_PRIVATE)
        session.submit(PlaceOrder(it.order("a-1", "148602000", "0.001")))
        await it.sink.until_some(OrderAccepted)
        other = json.dumps({"market": "KRW-BTC", "uuid": "u9", "side": "bid", "state": "done", "identifier": "b-9"})
        it.fault(Kind.ERROR_AFTER, endpoint, status=200, body=other)
        session.submit(PlaceOrder(it.order("a-2")))
        session.submit(query("a-2"))
        await it.sink.until(lambda: any("about another order" in fault.detail for fault in it.sink.of(FeedFault)))
        session.submit(query("a-2"))
        await it.until_ended("a-2")
        assert {event.filled_quantity_e8 for event in it.ended("a-2")} == {parse_e8("0.01")}
        assert "u9" not in {event.venue_order_id for event in it.sink.of(OrderAccepted)}
        it.check_fills("a-2")

    play(scene)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_to_the_answers_there_is_one_order_and_its_fill(seed: int) -> None:
    dice = random.Random(seed)
    kinds = (Kind.LOST, Kind.CUT, Kind.ERROR_AFTER, Kind.LATE, Kind.REPEATED, Kind.ERROR_BEFORE)

    async def scene(it: World, session: Session) -> None:
        endpoints = ("POST /v1/orders", "GET /v1/order", "myOrder")
        for _ in range(3):
            it.fault(dice.choice(kinds), dice.choice(endpoints), ms=dice.choice((100, 900)), skip=dice.choice((0, 0, 1)))
        session.submit(PlaceOrder(it.order("a-1", "148603000", dice.choice(("0.01", "0.03333333")))))
        deadline = now_s() + 15
        while not it.is_settled("a-1"):
            assert now_s() < deadline, (it.sink.events, it.lab.faults.fired, it.truth("a-1"))
            await asyncio.sleep(0.4)
            if it.sink.of(OrderUnanswered):
                session.submit(query("a-1"))
            if len(it.sink.of(OrderAbsent)) > 3 and it.truth("a-1") is None:
                return
        it.check_fills("a-1")
        assert it.placed("a-1") == 1

    play(scene)


# -- the private stream ------------------------------------------------------------------------------------------------


def test_a_silent_stream_is_found_out_within_ten_seconds_and_nothing_is_told_twice_in_two_ways() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.SILENT_PRIVATE, for_s=7.0)
        began_s = now_s()
        session.submit(it.resting("a-1"))
        (down,) = await it.sink.until_some(AccountLinkDown, patience_s=10.0)
        assert now_s() - began_s < 10.0
        assert "silent" in down.reason and "a-1" in down.reason
        await it.sink.until_some(AccountLinkUp, 2)
        held = it.truth("a-1")
        assert held is not None
        it.lab.exchange.fill(held)
        ended = await it.until_ended("a-1", 8.0)
        assert ended.state is OrderState.FILLED
        it.check_fills("a-1")

    play(scene, seconds=40)


def test_a_fill_that_the_silent_stream_kept_back_is_told_from_rest() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(it.resting("a-1"))
        await it.sink.until_some(OrderAccepted, 2)
        it.fault(Kind.SILENT_PRIVATE)
        held = it.truth("a-1")
        assert held is not None
        began_s = now_s()
        it.lab.exchange.fill(held)
        assert (await it.until_ended("a-1", 5.0)).state is OrderState.FILLED
        await it.sink.until_some(AccountLinkDown, patience_s=9.0)
        assert now_s() - began_s < 10.0
        it.check_fills("a-1")

    play(scene, seconds=40)


def test_a_message_that_never_came_is_noticed_at_the_next_one() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.LOST, "myOrder", contains='"state":"trade"')
        session.submit(it.resting("a-0"))
        await it.sink.until_some(OrderAccepted)
        held = it.truth("a-0")
        assert held is not None
        it.lab.exchange.fill(held)
        await it.sink.until(lambda: bool(it.fills("a-0")))
        it.check_fills("a-0")
        assert session.counters["stream_gaps"] == 1
        assert it.sink.of(AccountLinkDown) == []

    play(scene)


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.HALF_OPEN])
def test_a_lost_stream_is_told_and_replaced_with_one_whole_subscription(kind: Kind) -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(kind, "socket /websocket/v1/private")
        await it.sink.until_some(AccountLinkDown, patience_s=8.0)
        await it.sink.until_some(AccountLinkUp, 2)
        session.submit(PlaceOrder(it.order("a-1")))
        await it.until_ended("a-1")
        it.check_fills("a-1")
        assert session.counters["asset_messages"] > 0

    play(scene)


def test_a_quiet_stream_stays_up() -> None:
    async def scene(it: World, session: Session) -> None:
        await asyncio.sleep(6.0)
        assert it.sink.of(AccountLinkDown) == []
        assert session.counters["links_up"] == 1

    play(scene, silence_ms_max=2000, ping_interval_ms=500)


def test_a_key_that_is_refused_takes_the_link_down_until_it_works_again() -> None:
    async def scene(it: World, session: Session) -> None:
        ring = it.lab.server.pocket.ring  # type: ignore[union-attr]  # the lab's server trades
        key = ring.keys[it.key.access_key]
        ring.replace(msgspec.structs.replace(key, expires_ns=1))
        session.submit(PlaceOrder(it.order("a-1")))
        ended = await it.until_ended("a-1")
        assert ended.state is OrderState.REJECTED and "expired_access_key" in ended.reason
        (down,) = await it.sink.until_some(AccountLinkDown)
        assert "the key is refused" in down.reason
        ring.replace(key)
        await it.sink.until_some(AccountLinkUp, 2)
        it.lab.server.tally.violations.clear()  # connecting with an expired key is one, and what the test is about

    play(scene)


def test_the_optional_transport_carries_the_private_stream_too() -> None:
    async def scene(it: World, session: Session) -> None:
        other = World(it.lab, transport=connect_picows)
        second = await other.start()
        second.submit(PlaceOrder(other.order("a-1")))
        await other.until_ended("a-1")
        other.check_fills("a-1")
        await other.stop()

    play(scene)


# -- the account -------------------------------------------------------------------------------------------------------


def test_the_whole_account_is_read_with_every_page_of_open_orders() -> None:
    async def scene(it: World, session: Session) -> None:
        request = OrderRequest(
            "KRW-BTC", Side.BUY, OrderType.LIMIT, Force.GTC, parse_e8("100000000"), parse_e8("0.0001"), None, "", SelfTrade.NONE
        )
        for number in range(205):
            it.lab.exchange.place(msgspec.structs.replace(request, client_id=f"b-{number}" if number else ""))
        asked_ns = now_ns()
        session.submit(ReadAccount(UPBIT, "test"))
        (read,) = await it.sink.until_some(AccountRead)
        assert asked_ns <= read.asked_ns <= read.at_ns
        assert {order.client_order_id for order in read.open_orders} == {"", *(f"b-{number}" for number in range(1, 205))}
        assert read.open_orders[0].market == BTC
        account = it.lab.exchange.account
        assert {(row.asset, row.free_e8, row.locked_e8) for row in read.balances} == {
            (asset, account.free_e8(asset), account.locked_e8(asset)) for asset in ("KRW", "BTC", "USDT")
        }

    play(scene, seconds=60)


def test_an_account_that_cannot_be_read_whole_is_not_told_at_all() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.ERROR_BEFORE, "GET /v1/orders/open", times=0)
        session.submit(ReadAccount(UPBIT, "test"))
        await it.sink.until(lambda: session.counters["account_reads_failed"] == 1)
        assert it.sink.of(AccountRead) == []
        it.lab.faults.clear()
        session.submit(ReadAccount(UPBIT, "test"))
        await it.sink.until_some(AccountRead)

    play(scene)


def test_fees_minimums_activity_and_wallets_are_told_each_time() -> None:
    async def scene(it: World, session: Session) -> None:
        (fees,) = await it.sink.until_some(FeesRead)
        assert dict(fees.fees)[CODES.index("USDT-BTC")] == FeeSchedule(2500, 2500, FeePayment.QUOTE)
        it.lab.exchange.suspended.add("BTC")
        it.lab.exchange.change_rules("KRW-BTC", notional_e8_min=parse_e8("10000"), taker_ppm=700)
        it.lab.exchange.halt("KRW-USDT")
        await it.sink.until_some(WalletsRead, 2, patience_s=8.0)
        assert it.sink.of(WalletsRead)[-1].suspended == ("BTC",)
        assert dict(it.sink.of(FeesRead)[-1].fees)[BTC].taker_ppm == 700
        before, after = it.sink.of(FeesRead)[0], it.sink.of(FeesRead)[-1]
        assert dict(before.notional_e8_mins)[BTC] == parse_e8("5000") and before.inactive == ()
        assert dict(after.notional_e8_mins)[BTC] == parse_e8("10000")
        assert after.inactive == (CODES.index("KRW-USDT"),)

    play(scene, instruments_reload_ms=1500)


def test_an_order_can_be_tried_without_being_placed() -> None:
    async def scene(it: World, session: Session) -> None:
        assert await session.try_order(it.order("a-1")) == ""
        assert "insufficient_funds_bid" in await session.try_order(it.order("a-1", quantity="9"))
        assert it.lab.exchange.orders() == []

    play(scene)


@pytest.mark.parametrize("name", ["a b", "a+b", "a%20b", "a/b?c=1", "비트코인", "a[]", '"', "~._-", "#x"])
def test_whatever_an_identifier_looks_like_what_is_signed_is_what_is_sent(name: str) -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(query(name))
        (absent,) = await it.sink.until_some(OrderAbsent)
        assert absent.client_order_id == name

    play(scene)


def test_a_burst_of_questions_keeps_every_limit_and_repeats_no_nonce() -> None:
    async def scene(it: World, session: Session) -> None:
        for number in range(60):
            session.submit(query(f"x-{number}"))
        await it.sink.until_some(OrderAbsent, 60, patience_s=10.0)
        assert it.lab.server.tally.refused == {"order_not_found": 60}

    play(scene)


def test_more_effects_than_the_bound_are_refused_and_said() -> None:
    async def scene(it: World, session: Session) -> None:
        for number in range(513):
            session.submit(query(f"x-{number}"))
        session.submit(PlaceOrder(it.order("a-1")))
        session.submit(ReadAccount(UPBIT, "test"))
        assert session.counters["effects_refused"] == 3
        assert (await it.until_ended("a-1")).reason == "not sent: 512 effects are under way"
        kinds = [fault.kind for fault in it.sink.of(FeedFault)]
        assert kinds.count(FaultKind.OVERFLOW) == 2

    play(scene)


# -- bans --------------------------------------------------------------------------------------------------------------


def test_a_ban_stops_every_request_and_outlives_a_restart() -> None:
    async def scene(it: World, session: Session) -> None:
        it.fault(Kind.ERROR_BEFORE, "GET /v1/order", status=418, body="Too many API requests. Blocked for 75 seconds.")
        session.submit(query("x-1"))
        await it.sink.until(lambda: any(fault.kind is FaultKind.BANNED for fault in it.sink.of(FeedFault)))
        left_s = (session.requests_held_until_ns - now_ns()) / 1e9
        assert 73 < left_s <= 75
        assert it.limits.held_until_ns == session.requests_held_until_ns
        before = it.lab.server.counters["requests"]
        session.submit(PlaceOrder(it.order("a-1")))
        session.submit(cancel("a-2"))
        assert "held for" in (await it.until_ended("a-1")).reason
        restarted = World(it.lab, limits=type(it.limits)())
        later = restarted.make()
        later.hold_requests(session.requests_held_until_ns)
        assert "held for" in await later.try_order(it.order("a-3"))
        assert later.requests_held_until_ns == session.requests_held_until_ns
        await later.close()
        await asyncio.sleep(1.2)
        assert it.lab.server.counters["requests"] == before

    play(scene)


def test_json_is_all_that_a_post_carries() -> None:
    async def scene(it: World, session: Session) -> None:
        session.submit(it.resting("a-1"))
        await it.sink.until_some(OrderAccepted)
        held = it.truth("a-1")
        assert held is not None
        assert held.request.self_trade is SelfTrade.CANCEL_MAKER
        assert held.request.force is Force.GTC
        assert it.order("a-2").time_in_force is TimeInForce.IOC
        assert json.dumps(held.request.client_id) == '"a-1"'

    play(scene)
