"""What surrounds orders at Binance: meanings of answers, messages sorted, account values, shared budgets, the silent stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from binance_wire_samples import OURS, REPORT, STATUS, VENUE, codec, raw
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.events import ClockMeasured, FaultKind, FeedFault
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side
from arbitrage.model.money import Asset
from arbitrage.venues.binance import account_wire
from arbitrage.venues.binance.account_rest import VenueClock
from arbitrage.venues.binance.limits import (
    CANCELS,
    MARKET_DATA,
    ORDERS,
    QUERIES,
    WEIGHT_PER_MINUTE,
    BinanceLimits,
    RateCount,
    read_limits,
)
from arbitrage.venues.binance.orders_wire import READING_ERRORS, OrderNews
from arbitrage.venues.binance.replies import Lost, Meaning, Reply, Unsent, meaning_of, read_error
from arbitrage.venues.binance.stream_watch import REPORT_LIMIT_NS, StreamWatch
from arbitrage.venues.binance.ws_wire import Answered, Ignored, Notice, Reported, read_message
from arbitrage.venues.budget import NS_PER_S

MINUTE_NS = 60 * NS_PER_S


def reply(status: int, code: int | None = None, words: str = "") -> Reply:
    return Reply(status, b"", 0, None if code is None else read_error(raw({"code": code, "msg": words})))


@pytest.mark.parametrize(
    ("outcome", "meaning"),
    [
        (Lost("cut"), Meaning.UNKNOWN),
        (Unsent("late"), Meaning.REFUSED),
        (reply(200), Meaning.DONE),
        (reply(400, -2010, "Account has insufficient balance for requested action."), Meaning.REFUSED),
        (reply(400, -2010, "Duplicate order sent."), Meaning.UNKNOWN),
        (reply(400, -1013, "Filter failure: LOT_SIZE"), Meaning.REFUSED),
        (reply(400, -1021), Meaning.CLOCK),
        (reply(400, -1000), Meaning.UNKNOWN),
        (reply(400, -1001), Meaning.UNKNOWN),
        (reply(400, -1006), Meaning.UNKNOWN),
        (reply(400, -1007), Meaning.UNKNOWN),
        (reply(504, -1007), Meaning.UNKNOWN),
        (reply(503, -1008), Meaning.UNKNOWN),
        (reply(500, -2010), Meaning.UNKNOWN),
        (reply(502), Meaning.UNKNOWN),
        (reply(403), Meaning.UNKNOWN),
        (reply(404), Meaning.UNKNOWN),
        (reply(302), Meaning.UNKNOWN),
        (reply(429), Meaning.REFUSED),
        (reply(418, -1003), Meaning.REFUSED),
        (reply(429, -1015), Meaning.REFUSED),
        (reply(401, -2015), Meaning.REFUSED),
    ],
)
def test_only_the_venues_own_refusal_is_definite(outcome: Any, meaning: Meaning) -> None:
    assert meaning_of(outcome) is meaning


@pytest.mark.parametrize("data", [None, {}, {"retryAfter": "soon"}, [], 7, {"retryAfter": None, "x": 1}])
def test_data_that_is_not_understood_hides_no_code(data: object) -> None:
    error = read_error(raw({"code": -1003, "msg": "busy", "data": data}))
    assert error is not None
    assert (error.code, error.msg) == (-1003, "busy")


def test_when_a_ban_ends_is_read() -> None:
    error = read_error(raw({"code": -1003, "msg": "", "data": {"serverTime": 1, "retryAfter": 1785000600000}}))
    assert error is not None and error.data is not None
    assert error.data.retry_after == 1785000600000


@given(st.binary(max_size=100))
def test_no_error_body_raises(body: bytes) -> None:
    error = read_error(body)
    assert error is None or isinstance(error.code, int)


def test_messages_are_sorted() -> None:
    answer = {"id": 3, "status": 200, "result": {"a": 1}, "rateLimits": [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100, "count": 3}]}  # fmt: skip
    sorted_answer = read_message(raw(answer), VENUE, 5)
    assert isinstance(sorted_answer, Answered)
    assert (sorted_answer.number, sorted_answer.reply.status, json.loads(sorted_answer.reply.body)) == (3, 200, {"a": 1})
    assert sorted_answer.reply.counts == (RateCount("ORDERS", "SECOND", 10, 100, 3),)
    reported = read_message(raw({"subscriptionId": 0, "event": REPORT}), VENUE, 5)
    assert isinstance(reported, Reported)
    assert json.loads(reported.body) == REPORT
    assert read_message(raw({"event": {"e": "serverShutdown", "E": 1}}), VENUE, 5) is Notice.SHUTDOWN
    assert read_message(raw({"event": {"e": "eventStreamTerminated", "E": 1}}), VENUE, 5) is Notice.TERMINATED
    assert read_message(raw({"event": {"e": "balanceUpdate"}}), VENUE, 5) == Ignored("balanceUpdate")
    unknown = read_message(raw({"event": {"e": "news"}}), VENUE, 5)
    assert isinstance(unknown, FeedFault) and unknown.kind is FaultKind.UNKNOWN_EVENT


@pytest.mark.parametrize("limits", [7, [1], [{"rateLimitType": 1}], "x", None])
def test_an_answer_is_not_lost_for_its_rate_limits(limits: object) -> None:
    message = read_message(raw({"id": 3, "status": 200, "result": {}, "rateLimits": limits}), VENUE, 5)
    assert isinstance(message, Answered)
    assert (message.number, message.reply.counts) == (3, ())


def test_a_revoked_key_is_told_without_a_request() -> None:
    message = read_message(raw({"id": None, "status": 401, "error": {"code": -2015, "msg": "gone"}}), VENUE, 5)
    assert isinstance(message, Answered)
    assert (message.number, message.reply.code) == (None, -2015)


@settings(max_examples=300)
@given(st.binary(max_size=120) | st.dictionaries(
    st.sampled_from(["id", "status", "result", "error", "event", "rateLimits"]),
    st.none() | st.integers() | st.text(max_size=5) | st.dictionaries(st.sampled_from(["e", "code", "msg"]), st.integers()),
).map(raw))  # fmt: skip
def test_no_message_raises(body: bytes) -> None:
    assert isinstance(read_message(body, VENUE, 5), (Answered, Reported, Ignored, Notice, FeedFault))


READERS = [
    account_wire.read_balances, account_wire.read_fees, account_wire.read_key_rights, account_wire.read_suspended,
    account_wire.read_counts, account_wire.read_time_ms, lambda body: account_wire.read_open_orders(body, {}),
    lambda body: account_wire.why_account_cannot_trade(body, is_key_known=False),
]  # fmt: skip


@settings(max_examples=200)
@given(st.binary(max_size=100), st.sampled_from(READERS))
def test_account_answers_that_cannot_be_read_raise_only_what_is_named(body: bytes, read: Any) -> None:
    try:
        read(body)
    except READING_ERRORS as error:
        assert str(error) != ""


def test_the_account_is_read_whole_or_not_at_all() -> None:
    good = {"asset": "BTC", "free": "0.50000000", "locked": "0.01000000"}
    (balance,) = account_wire.read_balances(raw({"balances": [good]}))
    assert (balance.asset, balance.free_e8, balance.locked_e8) == ("BTC", 50_000_000, 1_000_000)
    for broken in ({"free": "-1"}, {"locked": "0.123456789"}, {"free": 1}):
        with pytest.raises(READING_ERRORS):
            account_wire.read_balances(raw({"balances": [good, good | broken]}))


def test_open_orders_of_strangers_are_listed_too() -> None:
    entry = STATUS | {"symbol": "DOGEUSDT", "clientOrderId": "web_1", "side": "SELL", "status": "NEW"}
    (order,) = account_wire.read_open_orders(raw([entry]), {"BTCUSDT": 0})
    assert (order.symbol, order.market, order.client_order_id, order.side) == ("DOGEUSDT", None, "web_1", Side.SELL)
    assert (order.venue_order_id, order.filled_quantity_e8) == ("28113245", 400_000)


def commission(**over: Any) -> bytes:
    rates = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}
    standard = rates | {"maker": "0.00100000", "taker": "0.00100000"}
    body = {"symbol": "BTCUSDT", "standardCommission": standard, "specialCommission": rates, "taxCommission": rates}
    return raw(body | over)


BNB = {"enabledForAccount": True, "enabledForSymbol": True, "discountAsset": "BNB", "discount": "0.75000000"}


@pytest.mark.parametrize(
    ("body", "fees"),
    [
        (commission(), FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)),
        (commission(discount=BNB), FeeSchedule(750, 750, FeePayment.NAMED, Asset("BNB"))),
        (commission(discount=BNB | {"enabledForSymbol": False}), FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)),
        (commission(discount=BNB | {"enabledForAccount": False}), FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)),
        (
            commission(
                standardCommission={"maker": "0.00080000", "taker": "0.00100000", "buyer": "0.0001", "seller": "0.0002"},
                specialCommission={"maker": "0", "taker": "0.00001000"},
                taxCommission={"maker": "0.00000050", "taker": "0"},
            ),
            FeeSchedule(1_001, 1_210, FeePayment.RECEIVED),
        ),
        (
            commission(specialCommission={"taker": "0.0001", "maker": "0"}, discount=BNB),
            FeeSchedule(750, 850, FeePayment.NAMED, Asset("BNB")),
        ),
    ],
)
def test_fees_are_summed_discounted_and_rounded_against_us(body: bytes, fees: FeeSchedule) -> None:
    assert account_wire.read_fees(body) == fees


def test_a_key_that_may_too_much_or_too_little_is_refused() -> None:
    rights = {"enableWithdrawals": False, "enableReading": True, "enableSpotAndMarginTrading": True, "ipRestrict": True}
    assert account_wire.read_key_rights(raw(rights)) == []
    assert "withdraw" in account_wire.read_key_rights(raw(rights | {"enableWithdrawals": True}))[0]
    assert "trade" in account_wire.read_key_rights(raw(rights | {"enableSpotAndMarginTrading": False}))[0]
    assert "read" in account_wire.read_key_rights(raw(rights | {"enableReading": False}))[0]
    with pytest.raises(READING_ERRORS):
        account_wire.read_key_rights(b"{}")


@pytest.mark.parametrize(("is_key_known", "reasons"), [(True, 0), (False, 1)])
def test_an_account_that_can_withdraw_counts_only_where_the_key_cannot_be_asked(is_key_known: bool, reasons: int) -> None:
    body = raw({"canTrade": True, "canWithdraw": True})
    assert len(account_wire.why_account_cannot_trade(body, is_key_known=is_key_known)) == reasons
    body = raw({"canTrade": False, "canWithdraw": False})
    assert account_wire.why_account_cannot_trade(body, is_key_known=is_key_known) == ["the account may not trade"]


def test_wallets_that_are_closed_either_way_are_suspended() -> None:
    coins = [
        {"coin": "BTC", "depositAllEnable": True, "withdrawAllEnable": True},
        {"coin": "USDT", "depositAllEnable": False, "withdrawAllEnable": True},
        {"coin": "ETH", "depositAllEnable": True, "withdrawAllEnable": False},
    ]
    assert account_wire.read_suspended(raw(coins)) == ("ETH", "USDT")


def test_each_use_leaves_weight_to_more_important_ones() -> None:
    limits = BinanceLimits()
    for use, left in ((MARKET_DATA, 1_200), (ORDERS, 600), (QUERIES, 200), (CANCELS, 0)):
        used = limits.budget(CANCELS).windows[0].used(0)
        limits.budget(CANCELS).charge(0, WEIGHT_PER_MINUTE - left - used)
        assert limits.budget(use).wait_ns(0) > 0
        for more_important in (ORDERS, QUERIES, CANCELS)[(MARKET_DATA, ORDERS, QUERIES, CANCELS).index(use) :]:
            assert limits.budget(more_important).wait_ns(0) == 0


def test_orders_are_counted_in_ten_seconds_and_a_day_whatever_their_weight() -> None:
    limits = BinanceLimits()
    for _ in range(100):
        assert limits.budget(ORDERS).try_take(0)
    assert not limits.budget(ORDERS).try_take(10 * NS_PER_S)
    assert limits.budget(ORDERS).try_take(10 * NS_PER_S + 200_000_000)
    assert limits.budget(QUERIES).try_take(0)


def test_the_venues_own_counts_and_limits_are_believed() -> None:
    limits = BinanceLimits()
    limits.learn_counts((RateCount("ORDERS", "SECOND", 10, 50, 50), RateCount("REQUEST_WEIGHT", "MINUTE", 1, 6000, 5_000)), 0)
    assert limits.budget(ORDERS).wait_ns(0) > 0
    assert limits.budget(MARKET_DATA).wait_ns(0) > 0
    assert limits.budget(CANCELS).wait_ns(0) == 0
    limits.learn("", {"X-MBX-ORDER-COUNT-1D": "200000"}, 20 * NS_PER_S)
    assert limits.budget(ORDERS).wait_ns(11 * NS_PER_S) > 3600 * NS_PER_S


def test_a_limit_that_the_venue_changed_is_obeyed_and_named() -> None:
    limits = BinanceLimits()
    info = raw({"symbols": [], "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 3_000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
    ]})  # fmt: skip
    told = ["the venue's limit REQUEST_WEIGHT per 1 MINUTE changed from 6000 to 3000"]
    assert limits.learn_counts(read_limits(info), 0) == told
    assert limits.learn_counts(read_limits(info), 0) == []
    assert limits.budget(CANCELS).try_take(0, 3_000)
    assert limits.budget(CANCELS).wait_ns(0) > 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"rateLimits":7}', b'{"rateLimits":[{"limit":"many"}]}'])
def test_limits_that_cannot_be_read_change_nothing(body: bytes) -> None:
    assert BinanceLimits().learn_counts(read_limits(body), 0) == []


COUNTS = st.builds(
    RateCount,
    st.sampled_from(["ORDERS", "REQUEST_WEIGHT", "X"]),
    st.sampled_from(["SECOND", "DAY", "MINUTE", ""]),
    st.sampled_from([1, 10, 0]),
    st.integers(-5, 10**9),
    st.none() | st.integers(-5, 10**9),
)


@given(st.lists(COUNTS, max_size=4))
def test_any_counts_leave_budgets_that_open_again(counts: list[RateCount]) -> None:
    limits = BinanceLimits()
    limits.learn_counts(counts, 0)
    for use in (MARKET_DATA, ORDERS, QUERIES, CANCELS):
        assert limits.budget(use).wait_ns(25 * 3600 * NS_PER_S) == 0


def test_a_refusal_holds_all_and_a_used_up_order_count_orders_alone() -> None:
    limits = BinanceLimits()
    limits.orders_refused(5_000)
    assert (limits.budget(ORDERS).wait_ns(0), limits.budget(CANCELS).wait_ns(0), limits.held_until_ns) == (5_000, 0, 0)
    limits.refused("", 418, 9_000)
    assert {limits.budget(use).wait_ns(0) for use in (MARKET_DATA, ORDERS, QUERIES, CANCELS)} == {9_000}
    assert limits.held_until_ns == 9_000


def test_the_venues_clock_is_ours_and_the_offset() -> None:
    clock = VenueClock()
    clock.learn(ClockMeasured(0, VENUE, -1_500, 7))
    assert (clock.venue_ms(10 * NS_PER_S), clock.error_ms) == (8_500, 4)
    assert clock.engine_ns(clock.venue_ms(10 * NS_PER_S)) == 10 * NS_PER_S


def test_an_engine_time_that_went_ahead_moves_no_stamp() -> None:
    clock = VenueClock()
    clock.went_ahead(NS_PER_S)
    assert clock.offset_ms == 0, "nothing was measured yet"
    clock.learn(ClockMeasured(0, VENUE, -1_500, 7))
    before_ms = clock.venue_ms(10 * NS_PER_S)
    clock.went_ahead(3_600 * NS_PER_S)
    assert clock.venue_ms(3_610 * NS_PER_S) == before_ms


def news(total: str = "0", status: str = "NEW", number: int = 1) -> OrderNews:
    found = codec().status(raw(STATUS | {"orderId": number, "executedQty": total, "status": status}), OURS, 0, 0)
    assert isinstance(found, OrderNews)
    return found


def test_what_an_answer_tells_is_owed_by_the_stream_within_its_limit() -> None:
    watch = StreamWatch()
    watch.answered(news("0.01", "FILLED"), 0, 100, is_owed=True)
    assert watch.silence(100 + REPORT_LIMIT_NS - 1) == ""
    assert "BTCUSDT order 1" in watch.silence(100 + REPORT_LIMIT_NS)
    watch.reported(news("0.004", "PARTIALLY_FILLED"), 0)
    assert watch.silence(100 + REPORT_LIMIT_NS) != "", "less than was told"
    watch.reported(news("0.01", "FILLED"), 0)
    assert watch.silence(10**18) == ""


def test_what_the_stream_told_before_the_answer_is_not_owed() -> None:
    watch = StreamWatch()
    watch.reported(news("0.01", "FILLED"), 0)
    watch.reported(news("0", "NEW"), 0)
    watch.answered(news("0.01", "FILLED"), 0, 100, is_owed=True)
    assert watch.silence(10**18) == "", "reports may come in any order, totals never go down"
    assert watch.open == {}


def test_states_of_before_the_subscription_and_before_a_new_one_are_not_owed() -> None:
    watch = StreamWatch()
    watch.answered(news("0.01", "FILLED"), 0, 100, is_owed=False)
    assert watch.silence(10**18) == ""
    watch.answered(news("0.01", "FILLED", 2), 0, 100, is_owed=True)
    watch.restart()
    assert watch.silence(10**18) == ""


def test_asking_again_does_not_put_off_what_is_owed() -> None:
    watch = StreamWatch()
    watch.answered(news("0.004", "PARTIALLY_FILLED"), 0, 100, is_owed=True)
    watch.answered(news("0.01", "FILLED"), 0, 100 + REPORT_LIMIT_NS - 1, is_owed=True)
    assert watch.silence(100 + REPORT_LIMIT_NS) != ""


def test_open_orders_are_known_until_any_source_ends_them() -> None:
    watch = StreamWatch()
    watch.answered(news("0", "NEW", 1), 0, 0, is_owed=False)
    watch.reported(news("0.004", "PARTIALLY_FILLED", 2), 0)
    assert {key[1]: entry.total_e8 for key, entry in watch.open.items()} == {1: 0, 2: 400_000}
    watch.reported(news("0", "NEW", 2), 0)
    assert watch.open["BTCUSDT", 2].total_e8 == 400_000
    watch.reported(news("0", "CANCELED", 1), 0)
    watch.answered(news("0.01", "FILLED", 2), 0, 0, is_owed=False)
    assert watch.open == {}
    watch.answered(news("0", "NEW", 1), 0, 0, is_owed=False)
    assert watch.open == {}, "a late answer opens nothing again"
