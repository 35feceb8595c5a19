"""Profit, exposure and leftovers come from fills alone; a fill counts once; memory is bounded by facts."""

from __future__ import annotations

import random

import pytest
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
    funded,
    funded_ledger,
    make_fill,
    make_leg,
    opened,
)

from arbitrage.ledger import CLOSED_PLANS_KEPT, ORPHAN_TRADES_KEPT, Ledger, Leftover
from arbitrage.model.events import Funded
from arbitrage.model.facts import FillBooked
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8, Asset
from arbitrage.model.orders import OrderState, PlanId

BUY_BINANCE = make_leg(0, Side.BUY, 50_000, E8 // 100)
SELL_UPBIT = make_leg(1, Side.SELL, 70_000_000, E8 // 100)


def test_a_repeated_fill_is_counted_once() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE)
    ledger.apply(plan)
    fill = booked(plan.orders[0], "t1", E8 // 200)
    ledger.apply(fill)
    before = ledger.total_e8(Node(BINANCE, USDT))
    assert ledger.apply(fill) == ()
    ledger.check()
    assert ledger.total_e8(Node(BINANCE, USDT)) == before
    assert ledger.counters == {"fills_repeated": 1}


def test_the_same_trade_id_at_another_market_is_another_fill() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE, SELL_UPBIT)
    ledger.apply(plan)
    for order in plan.orders:
        ledger.apply(booked(order, "1", E8 // 100))
    assert ledger.counters == {}
    assert ledger.plan_deltas(PlanId("p-1"))[BTC] == -E8 // 100_000


def test_a_rebate_adds_to_what_we_own() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE)
    ledger.apply(plan)
    ledger.apply(booked(plan.orders[0], "t1", E8 // 100, fee_e8=-77))
    ledger.check()
    assert ledger.free_e8(Node(BINANCE, BTC)) == 10 * E8 + E8 // 100 + 77
    assert ledger.plan_deltas(PlanId("p-1")) == {BTC: E8 // 100 + 77, USDT: -500 * E8}


def test_a_fill_without_order_is_booked_by_the_rules_it_carries() -> None:
    ledger = Ledger()
    ledger.apply(funded(0, BINANCE, USDT, 1_000))
    order = opened("p-1", BUY_BINANCE).orders[0]
    ledger.apply(FillBooked(5, make_fill(order, "t1", E8 // 100), INSTRUMENTS[0]))
    ledger.check()
    assert ledger.unattributed_e8() == {BTC: E8 // 100 - E8 // 100_000, USDT: -500 * E8}
    assert ledger.counters == {"fills_without_order": 1}


def test_a_fill_in_a_market_without_rules_stops_the_house() -> None:
    order = opened("p-1", BUY_BINANCE).orders[0]
    with pytest.raises(AssertionError, match="market 0 has no rules"):
        Ledger().apply(booked(order, "t1", E8 // 100))


def test_a_fill_that_contradicts_its_order_is_nobodys() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE, SELL_UPBIT)
    ledger.apply(plan)
    wrong = make_fill(opened("p-1", make_leg(0, Side.SELL, 50_000, E8 // 100)).orders[0], "t1", E8 // 100)
    ledger.apply(FillBooked(5, wrong))
    ledger.check()
    assert ledger.plan_deltas(PlanId("p-1")) == {}
    assert ledger.counters == {"fills_without_order": 1}


def test_profit_and_leftovers_come_from_outcomes() -> None:
    ledger = funded_ledger()
    for number, at_ns in ((1, 100), (2, 200)):
        plan = opened(f"p-{number}", BUY_BINANCE)
        ledger.apply(plan)
        ledger.apply(booked(plan.orders[0], f"t{number}", E8 // 100))
        ledger.apply(closed(ledger, f"p-{number}", at_ns, {BTC: 510 * E8}))
    ledger.check()
    assert ledger.realised_e8() == {USDT: 20 * E8}
    assert ledger.leftovers() == (Leftover(BTC, 2 * (E8 // 100 - E8 // 100_000), 100),)
    assert ledger.exposure_e8() == {BTC: 2 * (E8 // 100 - E8 // 100_000), USDT: -1_000 * E8}


def test_a_leftover_that_evens_out_is_gone_and_starts_anew() -> None:
    ledger = funded_ledger()
    fees = {"fee_e8": 0}
    for number, leg in enumerate((BUY_BINANCE, make_leg(0, Side.SELL, 50_000, E8 // 100), BUY_BINANCE)):
        plan = opened(f"p-{number}", leg)
        ledger.apply(plan)
        ledger.apply(booked(plan.orders[0], f"t{number}", E8 // 100, **fees))
        ledger.apply(closed(ledger, f"p-{number}", 100 * (number + 1)))
        assert len(ledger.leftovers()) == (number + 1) % 2
    assert ledger.leftovers() == (Leftover(BTC, E8 // 100, 300),)


def test_an_outcome_that_does_not_match_the_fills_stops_the_house() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE)
    ledger.apply(plan)
    too_early = closed(ledger, "p-1")
    ledger.apply(booked(plan.orders[0], "t1", E8 // 100))
    with pytest.raises(AssertionError, match="residuals are what its fills left"):
        ledger.apply(too_early)


def test_a_plan_closes_once() -> None:
    ledger = funded_ledger()
    ledger.apply(opened("p-1", BUY_BINANCE))
    ledger.apply(closed(ledger, "p-1"))
    with pytest.raises(AssertionError, match="closes once"):
        ledger.apply(closed(ledger, "p-1"))


def test_a_fill_after_its_plan_closed_is_seen_apart_from_every_outcome() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE)
    ledger.apply(plan)
    ledger.apply(ended(plan.orders[0], 0))
    ledger.apply(closed(ledger, "p-1"))
    ledger.apply(booked(plan.orders[0], "late", E8 // 100))
    ledger.check()
    assert ledger.unattributed_e8() == ledger.plan_deltas(PlanId("p-1")) != {}


def test_a_carried_leg_leaves_its_currency_as_exposure() -> None:
    ledger = funded_ledger()
    carried = make_leg(1, Side.BUY, 70_000_000, E8 // 100, is_carried=True)
    plan = opened("p-1", make_leg(1, Side.SELL, 70_000_000, E8 // 100), carried)
    ledger.apply(plan)
    ledger.apply(booked(plan.orders[0], "t1", E8 // 100))
    ledger.check()
    assert ledger.carried_e8()[KRW] == 700_000 * E8 - 350 * E8
    assert USDT not in ledger.carried_e8()


def test_the_reporting_asset_is_never_carried() -> None:
    ledger = funded_ledger()
    plan = opened("p-1", BUY_BINANCE, make_leg(0, Side.SELL, 51_000, E8 // 100, is_carried=True))
    ledger.apply(plan)
    ledger.apply(booked(plan.orders[0], "t1", E8 // 100))
    assert ledger.carried_e8() == {BTC: E8 // 100 - E8 // 100_000}


def test_profit_rebuilt_from_ten_thousand_fills_equals_the_change_of_balances() -> None:
    """Pains row 23: rebates, three fee assets, many plans; to the last unit, in every asset and at every venue."""
    dice = random.Random(23)
    ledger = funded_ledger()
    start = {node: ledger.total_e8(node) for node in ledger.nodes()}
    rebuilt: dict[Node, int] = {}
    fee_assets: set[Asset] = set()
    count = rebates = 0
    for number in range(500):
        legs = [
            make_leg(dice.randrange(3), dice.choice((Side.BUY, Side.SELL)), dice.randint(20, 90), dice.randint(20, E8 // 50))
            for _ in range(2)
        ]
        plan = opened(f"p-{number}", *legs)
        ledger.apply(plan)
        for order in plan.orders:
            cuts = sorted(dice.sample(range(1, order.quantity_e8), 9))
            for low, high in zip([0, *cuts], [*cuts, order.quantity_e8], strict=True):
                fee_e8 = dice.randint(-50, 5_000)
                fact = booked(order, f"t{count}", high - low, price_e8=order.price_e8 - dice.randint(0, E8), fee_e8=fee_e8)
                ledger.apply(fact)
                count, rebates = count + 1, rebates + (fee_e8 < 0)
                fee_assets.add(fact.fill.fee_asset)
                rules, sign = INSTRUMENTS[order.market], 1 if order.side is Side.BUY else -1
                for asset, change_e8 in (
                    (rules.base, sign * fact.fill.quantity_e8),
                    (rules.quote, -sign * fact.fill.quote_e8),
                    (fact.fill.fee_asset, -fee_e8),
                ):
                    node = Node(order.venue, asset)
                    rebuilt[node] = rebuilt.get(node, 0) + change_e8
        ledger.apply(closed(ledger, f"p-{number}", 10, {BTC: number, ETH: -number}))
    ledger.check()
    assert count == 10_000 and rebates > 50 and fee_assets >= {BTC, KRW, BNB}
    assert rebuilt == {node: ledger.total_e8(node) - start[node] for node in rebuilt}
    in_usdt = sum(change_e8 for node, change_e8 in rebuilt.items() if node.asset == USDT)
    assert ledger.exposure_e8()[USDT] == in_usdt
    left = {leftover.asset: leftover.amount_e8 for leftover in ledger.leftovers()}
    assert {**left, USDT: in_usdt} == ledger.exposure_e8()


def test_old_closed_plans_are_forgotten_and_their_money_is_not() -> None:
    ledger = funded_ledger()
    unanswered = opened("p-0", SELL_UPBIT)
    ledger.apply(unanswered)
    ledger.apply(closed(ledger, "p-0"))
    leg = make_leg(1, Side.SELL, 70_000_000, 10)
    for number in range(1, CLOSED_PLANS_KEPT + 3):
        plan = opened(f"p-{number}", leg)
        ledger.apply(plan)
        ledger.apply(booked(plan.orders[0], f"t{number}", 10))
        ledger.apply(closed(ledger, f"p-{number}"))
    ledger.check()
    state = ledger.snapshot()
    assert len(state.closed) == len(state.plans) == len(state.holds) == CLOSED_PLANS_KEPT
    assert state.closed[0] == "p-0", "a plan whose order was never answered is remembered"
    assert ledger.plan_deltas(PlanId("p-3")) == {} != ledger.plan_deltas(PlanId("p-4"))
    assert ledger.total_e8(Node(UPBIT, BTC)) == 10 * E8 - 10 * (CLOSED_PLANS_KEPT + 2)
    assert ledger.reserved_e8(Node(UPBIT, BTC)) == E8 // 100


def test_a_restored_ledger_has_forgotten_the_same_trades() -> None:
    ledger, leg, first = funded_ledger(), make_leg(1, Side.SELL, 70_000_000, 10), None
    for number in range(CLOSED_PLANS_KEPT + 1):
        plan = opened(f"p-{number}", leg)
        fill = booked(plan.orders[0], f"t{number}", 10)
        first = first or fill
        for fact in (plan, fill):
            ledger.apply(fact)
        ledger.apply(closed(ledger, f"p-{number}"))
    restored = Ledger.restore(ledger.snapshot())
    assert first is not None
    for same in (ledger, restored):
        same.apply(first)
    assert restored == ledger
    assert ledger.counters == {"fills_without_order": 1}


def test_when_no_closed_plan_is_settled_none_is_forgotten() -> None:
    ledger = funded_ledger()
    for number in range(CLOSED_PLANS_KEPT + 1):
        plan = opened(f"p-{number}", make_leg(1, Side.SELL, 70_000_000, 10))
        ledger.apply(plan)
        ledger.apply(ended(plan.orders[0], 0, OrderState.UNKNOWN))
        ledger.apply(closed(ledger, f"p-{number}"))
    assert len(ledger.snapshot().closed) == CLOSED_PLANS_KEPT + 1


def test_trade_ids_of_fills_without_order_are_bounded() -> None:
    ledger = funded_ledger()
    order = opened("p-1", make_leg(1, Side.SELL, 70_000_000, 10)).orders[0]
    for number in range(ORPHAN_TRADES_KEPT + 1):
        ledger.apply(booked(order, f"t{number}", 1))
    assert len(ledger.snapshot().orphan_trades) == ORPHAN_TRADES_KEPT
    ledger.apply(booked(order, "t1", 1))
    assert ledger.counters["fills_repeated"] == 1


def test_a_withdrawal_below_zero_is_booked_and_counted() -> None:
    ledger = Ledger()
    ledger.apply(funded(0, BINANCE, USDT, 5))
    ledger.apply(Funded(1, BINANCE, USDT, -7 * E8, "withdrawn"))
    ledger.check()
    assert ledger.free_e8(Node(BINANCE, USDT)) == -2 * E8
    assert ledger.counters == {"withdrawn_below_zero": 1}
