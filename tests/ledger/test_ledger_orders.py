"""Reservations: made for all legs at once, consumed by fills, given back at the end, and never lost sight of."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import (
    BINANCE,
    BNB,
    BTC,
    ETH,
    INSTRUMENTS,
    KRW,
    UPBIT,
    USDT,
    booked,
    closed,
    ended,
    funded_ledger,
    make_leg,
    opened,
)

from arbitrage.ledger import Ledger, purchase_within_e8, worst_case
from arbitrage.model.entries import Account
from arbitrage.model.facts import OrderIntended, Paused, PlanOpened
from arbitrage.model.instruments import FeePayment, FeeSchedule, Node, Side
from arbitrage.model.money import E8
from arbitrage.model.orders import ClientOrderId, Order, OrderState, PlanId, TimeInForce

USDT_BINANCE, BTC_BINANCE = Node(BINANCE, USDT), Node(BINANCE, BTC)
BTC_UPBIT, KRW_UPBIT = Node(UPBIT, BTC), Node(UPBIT, KRW)
BUY_BINANCE = make_leg(0, Side.BUY, 50_000, E8)
SELL_UPBIT = make_leg(1, Side.SELL, 70_000_000, E8)
BUY_UPBIT = make_leg(1, Side.BUY, 70_000_000, E8)


def started(*legs: object) -> tuple[Ledger, PlanOpened]:
    ledger = funded_ledger()
    fact = opened("p-1", *legs)  # type: ignore[arg-type]  # the legs above
    ledger.apply(fact)
    ledger.check()
    return ledger, fact


def test_all_legs_of_a_plan_are_reserved_by_one_fact() -> None:
    ledger, _ = started(BUY_BINANCE, SELL_UPBIT)
    assert ledger.reserved_e8(USDT_BINANCE) == 50_000 * E8
    assert ledger.free_e8(USDT_BINANCE) == 50_000 * E8
    assert ledger.reserved_e8(BTC_UPBIT) == E8
    assert ledger.total_e8(BTC_UPBIT) == 10 * E8


def test_a_fee_on_top_of_a_purchase_is_reserved_rounded_up() -> None:
    leg = make_leg(1, Side.BUY, 70_000_001, 33_333_333)
    ledger, _ = started(leg)
    quote_e8 = -(-70_000_001 * 33_333_333 // 1)
    assert ledger.reserved_e8(KRW_UPBIT) == quote_e8 + -(-quote_e8 * 500 // 1_000_000)


def test_a_worst_case_is_rounded_up_to_the_unit() -> None:
    order = msgspec.structs.replace(opened("p-1", BUY_BINANCE).orders[0], price_e8=3 * E8 + 1, quantity_e8=10)
    assert worst_case(order, INSTRUMENTS[0]) == (USDT_BINANCE, 31)


def test_a_fee_taken_from_what_is_received_reserves_nothing() -> None:
    order = opened("p-1", BUY_BINANCE).orders[0]
    assert worst_case(order, INSTRUMENTS[0]) == (USDT_BINANCE, 50_000 * E8)


def test_a_plan_that_is_not_covered_is_named_and_not_applied() -> None:
    ledger = funded_ledger()
    too_much = opened("p-1", BUY_BINANCE, make_leg(0, Side.BUY, 50_001, E8))
    before = ledger.snapshot()
    assert ledger.uncovered(too_much) == USDT_BINANCE
    with pytest.raises(AssertionError, match="more than is free"):
        ledger.apply(too_much)
    assert ledger.snapshot().balances == before.balances


def test_asking_whether_a_fact_is_covered_changes_nothing() -> None:
    ledger = funded_ledger()
    before = ledger.snapshot()
    assert ledger.uncovered(opened("p-1", BUY_BINANCE, SELL_UPBIT)) is None
    assert ledger.snapshot() == before


@given(st.integers(-5, 10**17), st.integers(1, 10**14), st.integers(0, 5_000), st.sampled_from(["quote", "received"]))
def test_a_purchase_that_costs_no_more_than_inventory_pays_for_is_covered_with_its_fee(
    free_e8: int, price_e8: int, fee_ppm: int, payment: str
) -> None:
    rules = msgspec.structs.replace(INSTRUMENTS[1], fees=FeeSchedule(fee_ppm, fee_ppm, FeePayment(payment)))
    most_e8 = purchase_within_e8(free_e8, rules)
    assert 0 <= most_e8 <= max(free_e8, 0)
    quantity_e8 = most_e8 * E8 // price_e8
    if quantity_e8:
        order = Order(ClientOrderId("x"), PlanId("p"), 0, UPBIT, 1, Side.BUY, price_e8, quantity_e8, TimeInForce.IOC)
        node, worst_e8 = worst_case(order, rules)
        assert node == KRW_UPBIT and worst_e8 <= free_e8
        assert free_e8 - worst_e8 <= price_e8 * 1.01 // E8 + 4, "and hardly anything stays unused"


def test_what_others_locked_does_not_cover_an_order() -> None:
    ledger, fact = funded_ledger(), opened("p-1", BUY_BINANCE)
    free_e8 = ledger.free_e8(USDT_BINANCE)
    assert ledger.uncovered(fact) is None
    assert ledger.uncovered(fact, lambda node: free_e8 - 50_000 * E8) is None
    assert ledger.uncovered(fact, lambda node: free_e8 - 50_000 * E8 + 1) == USDT_BINANCE
    mending = OrderIntended(1, fact.orders[0])
    assert ledger.uncovered(mending) is None and ledger.uncovered(mending, lambda node: free_e8) == USDT_BINANCE


def test_an_order_of_the_governor_reserves_its_worst_case_too() -> None:
    ledger, _ = started(BUY_BINANCE)
    order = Order(ClientOrderId("p-1-g1"), PlanId("p-1"), 0, UPBIT, 1, Side.SELL, 69_000_000 * E8, E8 // 2, TimeInForce.IOC)
    intended = OrderIntended(3, order)
    assert ledger.uncovered(intended) is None
    ledger.apply(intended)
    ledger.check()
    assert ledger.reserved_e8(BTC_UPBIT) == E8 // 2


def test_a_client_order_id_is_never_used_twice() -> None:
    ledger, fact = started(BUY_BINANCE)
    with pytest.raises(AssertionError, match="never reused"):
        ledger.apply(OrderIntended(3, fact.orders[0]))


def test_a_plan_opens_once() -> None:
    ledger, fact = started(SELL_UPBIT)
    with pytest.raises(AssertionError, match="opens once"):
        ledger.apply(fact)


def test_a_fill_consumes_its_reservation_and_leaves_free_alone() -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(booked(fact.orders[0], "t1", E8 // 4))
    ledger.check()
    assert ledger.reserved_e8(USDT_BINANCE) == 37_500 * E8
    assert ledger.free_e8(USDT_BINANCE) == 50_000 * E8
    assert ledger.free_e8(BTC_BINANCE) == 10 * E8 + E8 // 4 - E8 // 4_000
    assert ledger.counters == {}


def test_the_fee_on_top_is_taken_from_the_reservation() -> None:
    ledger, fact = started(BUY_UPBIT)
    free_e8 = ledger.free_e8(KRW_UPBIT)
    ledger.apply(booked(fact.orders[0], "t1", E8))
    ledger.check()
    assert (ledger.free_e8(KRW_UPBIT), ledger.reserved_e8(KRW_UPBIT)) == (free_e8, 0)
    assert ledger.counters == {}


def test_what_a_better_price_saved_is_given_back_when_the_order_is_full() -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(booked(fact.orders[0], "t1", E8, price_e8=49_000 * E8))
    ledger.check()
    assert ledger.reserved_e8(USDT_BINANCE) == 0
    assert ledger.free_e8(USDT_BINANCE) == 51_000 * E8


@pytest.mark.parametrize("state", [OrderState.CANCELLED, OrderState.REJECTED])
def test_an_ended_order_gives_its_reservation_back(state: OrderState) -> None:
    ledger, fact = started(BUY_BINANCE, SELL_UPBIT)
    for order in fact.orders:
        ledger.apply(ended(order, 0, state))
    ledger.check()
    assert ledger.reserved_e8(USDT_BINANCE) == ledger.reserved_e8(BTC_UPBIT) == 0
    assert ledger.free_e8(USDT_BINANCE) == 100_000 * E8


@pytest.mark.parametrize("state", [OrderState.OPEN, OrderState.UNKNOWN])
def test_an_order_that_may_still_fill_keeps_its_reservation(state: OrderState) -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(ended(fact.orders[0], 0, state))
    assert ledger.reserved_e8(USDT_BINANCE) == 50_000 * E8


def test_fills_that_the_end_announced_stay_reserved_until_they_are_booked() -> None:
    ledger, fact = started(BUY_BINANCE)
    order = fact.orders[0]
    ledger.apply(ended(order, E8 // 2))
    assert ledger.reserved_e8(USDT_BINANCE) == 25_000 * E8
    assert ledger.free_e8(USDT_BINANCE) == 75_000 * E8
    ledger.apply(booked(order, "t1", E8 // 2, price_e8=40_000 * E8))
    ledger.check()
    assert ledger.reserved_e8(USDT_BINANCE) == 0
    assert ledger.free_e8(USDT_BINANCE) == 80_000 * E8
    assert ledger.counters == {}


def test_a_closed_plan_keeps_the_reservation_of_an_unanswered_order() -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(ended(fact.orders[0], 0, OrderState.UNKNOWN))
    ledger.apply(closed(ledger, "p-1"))
    assert ledger.reserved_e8(USDT_BINANCE) == 50_000 * E8
    ledger.apply(ended(fact.orders[0], 0))
    ledger.check()
    assert ledger.reserved_e8(USDT_BINANCE) == 0


def test_a_late_fill_is_booked_from_free_and_counted() -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(ended(fact.orders[0], 0))
    ledger.apply(booked(fact.orders[0], "late", E8))
    ledger.check()
    assert ledger.free_e8(USDT_BINANCE) == 50_000 * E8
    assert ledger.counters == {"fills_after_end": 1, "fills_over_reservation": 1}


def test_a_fill_beyond_its_reservation_takes_the_rest_from_free_and_is_counted() -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(booked(fact.orders[0], "t1", E8, price_e8=60_000 * E8))
    ledger.check()
    assert ledger.reserved_e8(USDT_BINANCE) == 0
    assert ledger.free_e8(USDT_BINANCE) == 40_000 * E8
    assert ledger.counters == {"fills_over_reservation": 1}


def test_many_fills_may_round_past_their_reservation_without_being_an_anomaly() -> None:
    leg = make_leg(1, Side.BUY, 70_000_001, 1_000)
    ledger, fact = started(leg)
    free_e8 = ledger.free_e8(KRW_UPBIT)
    for number in range(100):
        ledger.apply(booked(fact.orders[0], f"t{number}", 10))
        ledger.check()
    assert free_e8 - 200 <= ledger.free_e8(KRW_UPBIT) < free_e8
    assert ledger.counters == {}


def test_each_fill_pays_its_fee_in_its_own_asset_when_that_changes_within_an_order() -> None:
    """Pains row 21: BNB ran out after the first fill."""
    ledger, fact = started(make_leg(2, Side.BUY, 3_000, E8))
    order = fact.orders[0]
    first = booked(order, "t1", E8 // 2, fee_e8=77)
    second = booked(order, "t2", E8 // 2, fee_e8=88)
    ledger.apply(first)
    ledger.apply(type(second)(5, msgspec.structs.replace(second.fill, fee_asset=ETH)))
    ledger.check()
    assert ledger.free_e8(Node(BINANCE, BNB)) == 50 * E8 - 77
    assert ledger.free_e8(Node(BINANCE, ETH)) == 101 * E8 - 88
    assert ledger.plan_deltas(PlanId("p-1")) == {ETH: E8 - 88, USDT: -3_000 * E8, BNB: -77}


def test_a_fill_over_the_ordered_quantity_is_booked_and_counted() -> None:
    ledger, fact = started(SELL_UPBIT)
    ledger.apply(booked(fact.orders[0], "t1", 2 * E8))
    ledger.check()
    assert ledger.total_e8(BTC_UPBIT) == 8 * E8
    assert ledger.counters == {"fills_over_quantity": 1, "fills_over_reservation": 1}


def test_a_real_fill_is_booked_even_when_it_makes_free_negative() -> None:
    ledger, fact = started(BUY_BINANCE)
    ledger.apply(booked(fact.orders[0], "t1", E8, price_e8=120_000 * E8))
    ledger.check()
    assert ledger.free_e8(USDT_BINANCE) == -20_000 * E8
    assert ledger.counters == {"fills_over_reservation": 1, "free_negative": 1}


def test_a_change_of_an_unknown_order_is_counted_and_moves_nothing() -> None:
    ledger, fact = started(BUY_BINANCE)
    stranger = opened("q-1", SELL_UPBIT).orders[0]
    assert ledger.apply(ended(stranger, 0)) == ()
    assert ledger.counters == {"changes_without_order": 1}
    assert ledger.reserved_e8(USDT_BINANCE) == 50_000 * E8
    assert fact.orders[0].client_order_id != stranger.client_order_id


def test_a_fact_without_money_moves_nothing() -> None:
    ledger, _ = started(BUY_BINANCE)
    before = ledger.snapshot()
    assert ledger.apply(Paused(3, is_on=True, actor="operator", reason="test")) == ()
    assert ledger.snapshot() == before


def test_the_entries_of_a_fact_are_returned_and_sum_to_zero() -> None:
    ledger, fact = started(BUY_UPBIT)
    entries = ledger.apply(booked(fact.orders[0], "t1", E8 // 2))
    assert {entry.account for entry in entries} == {Account.RESERVED, Account.FREE, Account.MARKET, Account.FEES}
    assert sum(entry.amount_e8 for entry in entries if entry.node == KRW_UPBIT) == 0
    assert sum(entry.amount_e8 for entry in entries if entry.node == BTC_UPBIT) == 0
