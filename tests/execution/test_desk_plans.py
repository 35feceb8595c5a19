"""A plan from its approval to its end, when the venues answer as they should, and when nothing comes of it."""

from __future__ import annotations

import re

import msgspec
import pytest
from desk_world import (
    ANSWERS,
    BINANCE,
    BTC,
    BTC_KRW,
    BTC_USDT,
    DEADLINE,
    INSTRUMENTS,
    KRW,
    MS,
    SECOND,
    UPBIT,
    USDT,
    House,
    accepted,
    end,
    filled,
    kimchi,
    make_leg,
    make_opportunity,
    triangle,
)

from arbitrage.execution import Desk
from arbitrage.ledger import CLOSED_PLANS_KEPT, ORPHAN_TRADES_KEPT
from arbitrage.model.effects import Append, PlaceOrder
from arbitrage.model.events import OrderAccepted, OrderFilled
from arbitrage.model.facts import KillSwitched, OrderChanged, PlanOpened
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Approved, PlanState
from arbitrage.model.orders import ClientOrderId, OrderState, PlanId, TimeInForce
from arbitrage.model.settings import ExecutionSettings


def test_a_plan_is_durable_with_all_its_orders_before_the_first_is_sent() -> None:
    house = House()
    effects = house.desk.start(Approved(kimchi()), 5)
    first = effects[0]
    assert isinstance(first, Append) and isinstance(first.fact, PlanOpened)
    placed = [effect.order for effect in effects[1:] if isinstance(effect, PlaceOrder)]
    assert tuple(placed) == first.fact.orders and len(placed) == len(effects) - 1 == 3
    assert first.fact.deadline_ns == 5 + DEADLINE
    assert [rules.id for rules in first.fact.instruments] == [0, 1, 2]
    assert house.desk.open_plans() == []


def test_every_order_is_the_leg_as_it_was_sized() -> None:
    house, opportunity = House(), kimchi()
    house.start(opportunity)
    for order, leg in zip(house.sent, opportunity.legs, strict=True):
        assert (order.market, order.side, order.venue) == (leg.market, leg.side, leg.spent.venue)
        assert (order.price_e8, order.quantity_e8) == (leg.price_limit_e8, leg.quantity_e8)
        assert order.time_in_force is TimeInForce.IOC
        assert order.valid_until_ns == house.now_ns + 2 * SECOND


def test_client_order_ids_are_short_plain_and_never_repeat() -> None:
    house = House(id_prefix="a" * 20)
    for _ in range(30):
        house.start(kimchi(quantity_e8=E8 // 100))
    ids = [order.client_order_id for order in house.sent]
    assert len(set(ids)) == len(ids) == 90
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,36}", client_order_id) for client_order_id in ids)


@pytest.mark.parametrize("prefix", ["", "a-b", "a" * 21, "ä"])
def test_an_id_prefix_that_no_venue_takes_is_refused(prefix: str) -> None:
    with pytest.raises(AssertionError, match="fits into a client order id"):
        Desk(ExecutionSettings(), lambda market: INSTRUMENTS[market], prefix)


def test_a_carried_leg_is_not_ordered() -> None:
    house = House()
    house.start(kimchi(is_carried=True))
    assert [order.leg_index for order in house.sent] == [0, 1]


def test_a_plan_without_a_traded_leg_stops_the_house() -> None:
    leg = make_leg(BTC_KRW, Side.SELL, 72_000_000 * E8, E8, is_carried=True)
    with pytest.raises(AssertionError, match="trades something"):
        House().desk.start(Approved(make_opportunity(leg)), 0)


def test_nothing_starts_in_a_market_without_rules() -> None:
    desk = Desk(ExecutionSettings(), lambda market: None, "t1")
    with pytest.raises(AssertionError, match="an approved market has rules"):
        desk.start(Approved(kimchi()), 0)


def test_a_filled_plan_completes_with_the_profit_of_its_fills() -> None:
    house = House()
    plan = house.start(kimchi())
    for order in list(house.sent):
        house.fill_all(order)
    outcome = house.outcomes()[0]
    deltas = house.ledger.plan_deltas(plan.plan_id)
    assert outcome.state is PlanState.COMPLETED
    assert outcome.expected_e8 == E8
    assert outcome.realised_e8 == deltas[USDT] + sum(residual.value_e8 for residual in outcome.residuals)
    assert 100 * E8 < outcome.realised_e8 < 150 * E8
    assert deltas.get(BTC, 0) == 0 and abs(deltas[KRW]) < 5_000 * E8
    assert house.decisions() == [] and house.desk.open_plans() == []
    assert plan.state is PlanState.COMPLETED
    assert house.ledger.realised_e8() == {USDT: outcome.realised_e8}


def test_a_plan_settled_wholly_in_the_reporting_asset_realises_the_ledgers_delta_to_the_last_unit() -> None:
    house = House()
    buy = make_leg(BTC_USDT, Side.BUY, 50_010 * E8, E8 // 10)
    sell = make_leg(BTC_USDT, Side.SELL, 50_500 * E8, buy.received_e8)
    plan = house.start(make_opportunity(buy, sell))
    for order in list(house.sent):
        house.fill_all(order)
    outcome = house.outcomes()[0]
    assert outcome.residuals == ()
    assert house.ledger.plan_deltas(plan.plan_id) == {BTC: 0, USDT: outcome.realised_e8}


def test_a_carried_plan_completes_with_its_currency_as_residual() -> None:
    house = House()
    house.start(kimchi(is_carried=True))
    for order in list(house.sent):
        house.fill_all(order)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.COMPLETED
    kept = {residual.asset: residual for residual in outcome.residuals}[KRW]
    assert kept.amount_e8 == house.ledger.carried_e8()[KRW] > 7_000_000 * E8
    assert kept.value_e8 == kept.amount_e8 // 1_400
    assert house.decisions() == []


def test_legs_that_filled_alike_complete_without_the_governor() -> None:
    house = House()
    house.start(kimchi())
    for order in list(house.sent):
        half = order.quantity_e8 // 2
        house.hear(filled(order, "1", half), end(order, half))
    assert house.outcomes()[0].state is PlanState.COMPLETED
    assert house.decisions() == []


def test_a_plan_of_which_nothing_filled_is_missed_with_no_profit_and_no_loss() -> None:
    house = House()
    house.start(kimchi())
    states = (OrderState.CANCELLED, OrderState.REJECTED, OrderState.CANCELLED)
    for order, state in zip(list(house.sent), states, strict=True):
        house.hear(end(order, 0, state))
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.MISSED
    assert (outcome.realised_e8, outcome.residuals) == (0, ())
    assert house.ledger.reserved_e8(Node(BINANCE, USDT)) == 0


def test_a_cycle_without_the_reporting_asset_is_settled_in_its_start() -> None:
    house = House()
    buy = make_leg(BTC_KRW, Side.BUY, 71_000_000 * E8, E8 // 100)
    sell = make_leg(BTC_KRW, Side.SELL, 72_000_000 * E8, E8 // 100)
    house.start(make_opportunity(buy, sell, start=Node(UPBIT, KRW)))
    for order in list(house.sent):
        house.fill_all(order)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.COMPLETED and house.decisions() == []
    assert [residual.asset for residual in outcome.residuals] == [KRW]
    assert outcome.realised_e8 == outcome.residuals[0].value_e8 > 0


def test_a_residual_that_no_book_prices_says_so_and_is_reported() -> None:
    house = House()
    house.start(kimchi(is_carried=True))
    house.books.doubted = {2}
    for order in list(house.sent):
        house.fill_all(order)
    outcome = house.outcomes()[0]
    kept = {residual.asset: residual for residual in outcome.residuals}[KRW]
    assert (kept.value_e8, kept.unvalued_reason) == (0, "no usable book values KRW")
    assert house.report_codes() == ["residual_unvalued"]


def test_plans_are_driven_side_by_side() -> None:
    house = House()
    plans = [house.start(opportunity) for opportunity in (kimchi(), triangle())]
    for order in reversed(list(house.sent)):
        house.fill_all(order)
    assert {outcome.plan_id for outcome in house.outcomes()} == {plan.plan_id for plan in plans}
    assert house.ledger.exposure_e8()[BTC] == sum(house.ledger.plan_deltas(plan.plan_id)[BTC] for plan in plans)


def test_a_fill_without_order_is_booked_and_shouted_about() -> None:
    house, other = House(), House(id_prefix="foreign")
    other.start(kimchi())
    house.hear(filled(other.sent[0], "1", 10_000))
    assert house.report_codes() == ["fill_without_order"]
    assert house.ledger.unattributed_e8()[BTC] > 0
    house.hear(filled(other.sent[0], "1", 10_000))
    assert house.report_codes() == ["fill_without_order"], "a repeat is nothing new"


def test_a_word_about_an_order_that_is_not_known_is_reported() -> None:
    house = House()
    house.hear(OrderAccepted(0, ClientOrderId("foreign-1-0"), "x"))
    assert house.report_codes() == ["unknown_order"]


def test_a_fill_in_a_market_without_rules_is_reported_and_not_invented() -> None:
    house, other = House(), House(id_prefix="foreign")
    other.start(kimchi())
    house.desk = Desk(ExecutionSettings(), lambda market: None, "t1")
    house.hear(filled(other.sent[0], "1", 10_000))
    assert house.report_codes() == ["fill_unbookable"]
    assert house.ledger.exposure_e8() == {}


def test_a_fill_that_contradicts_its_order_is_booked_apart() -> None:
    house = House()
    plan = house.start(kimchi())
    right = filled(house.sent[0], "1", 10_000)
    wrong = OrderFilled(0, msgspec.structs.replace(right.fill, side=Side.SELL))
    house.hear(wrong)
    assert house.report_codes() == ["fill_without_order"]
    assert plan.deltas == {} != house.ledger.unattributed_e8()


def test_trade_ids_without_order_are_bounded() -> None:
    house, other = House(), House(id_prefix="foreign")
    other.start(kimchi())
    for number in range(ORPHAN_TRADES_KEPT + 1):
        for effect in house.desk.on_event(filled(other.sent[0], str(number), 1)):
            if isinstance(effect, Append):
                house.desk.apply(effect.fact)
    assert len(house.desk.snapshot().orphan_trades) == ORPHAN_TRADES_KEPT


def test_a_closed_plan_is_forgotten_past_the_limit_and_its_late_fill_is_not_booked_twice() -> None:
    house = House()
    house.start(kimchi(quantity_e8=E8 // 1_000))
    first, unanswered = list(house.sent), []
    for order in first:
        house.fill_all(order)
    house.start(kimchi(quantity_e8=E8 // 1_000))
    unanswered = [order.client_order_id for order in house.sent[3:]]
    house.advance(house.now_ns + DEADLINE + ANSWERS + SECOND)
    assert house.report_codes() == ["order_unknown_at_close"]
    house.sent.clear()
    for _ in range(CLOSED_PLANS_KEPT):
        effects = house.desk.start(Approved(kimchi(quantity_e8=E8 // 1_000)), house.now_ns)
        assert isinstance(effects[0], Append) and isinstance(effects[0].fact, PlanOpened)
        facts = [effects[0].fact, *(_rejected(order.client_order_id) for order in effects[0].fact.orders)]
        for fact in facts:
            house.ledger.apply(fact)
            house.desk.apply(fact)
        house.advance()
    state = house.desk.snapshot()
    assert len(state.closed) == len(state.plans) == CLOSED_PLANS_KEPT
    assert [order.client_order_id for order, _ in house.desk.unfinished()] == unanswered
    assert house.desk.plan(PlanId("t1-1")) is None
    assert {plan.plan_id for plan in house.ledger.snapshot().plans} == {plan.plan_id for plan in state.plans}
    before = house.ledger.exposure_e8()
    house.hear(filled(first[0], "1", first[0].quantity_e8))
    assert house.report_codes()[-1] == "fill_too_old"
    assert house.ledger.exposure_e8() == before


def _rejected(client_order_id: ClientOrderId) -> OrderChanged:
    return OrderChanged(0, client_order_id, OrderState.REJECTED, 0, "test")


def test_when_no_closed_plan_is_settled_none_is_forgotten() -> None:
    house = House()
    for _ in range(CLOSED_PLANS_KEPT + 1):
        effects = house.desk.start(Approved(kimchi(quantity_e8=E8 // 1_000)), house.now_ns)
        assert isinstance(effects[0], Append)
        house.ledger.apply(effects[0].fact)
        house.desk.apply(effects[0].fact)
    house.now_ns = 100 * SECOND
    while effects := house.desk.advance(house.now_ns, house.books):
        for effect in effects:
            if isinstance(effect, Append):
                house.ledger.apply(effect.fact)
                house.desk.apply(effect.fact)
    assert len(house.desk.snapshot().closed) == CLOSED_PLANS_KEPT + 1


def test_nothing_is_started_under_the_kill_switch() -> None:
    house = House()
    house.desk.apply(KillSwitched(0, is_on=True, actor="operator", reason="test"))
    with pytest.raises(AssertionError, match="kill switch"):
        house.desk.start(Approved(kimchi()), 0)


def test_the_numbers_of_old_id_prefixes_are_bounded() -> None:
    house = House()
    for number in range(1_005):
        desk = Desk(ExecutionSettings(), lambda market: INSTRUMENTS[market], f"p{number}")
        effects = desk.start(Approved(kimchi(quantity_e8=E8 // 1_000)), 0)
        assert isinstance(effects[0], Append)
        house.desk.apply(effects[0].fact)
    counters = house.desk.snapshot().counters
    assert len(counters) == 1_000 and "p1004" in counters and "p4" not in counters


def test_a_plan_made_by_a_fact_without_rules_uses_those_at_hand() -> None:
    house = House()
    effects = house.desk.start(Approved(kimchi()), 0)
    assert isinstance(effects[0], Append) and isinstance(effects[0].fact, PlanOpened)
    fact = effects[0].fact
    house.desk.apply(PlanOpened(fact.at_ns, fact.plan_id, fact.opportunity, fact.orders, fact.deadline_ns))
    assert house.desk.open_plans()[0].instruments == INSTRUMENTS[:3]


def test_the_deadline_is_the_settings_own() -> None:
    house = House(ExecutionSettings(plan_deadline_ms=1_234))
    assert house.start(kimchi()).deadline_ns == 1_234 * MS


def test_an_accepted_order_is_open() -> None:
    house = House()
    plan = house.start(kimchi())
    assert plan.state is PlanState.WORKING
    house.hear(accepted(house.sent[0]))
    assert plan.orders[0].state is OrderState.OPEN


def test_orders_on_their_way_are_told_apart_from_settled_ones() -> None:
    house = House()
    house.start(kimchi())
    first, *rest = house.sent
    assert house.desk.open_orders() == [first, *rest]
    house.fill_all(first)
    assert house.desk.open_orders() == rest


def test_an_order_of_a_plan_that_closed_without_its_answer_is_asked_about_until_it_comes() -> None:
    """After a long absence a plan closes at once; its orders' reservations wait for the venue's word all the same."""
    house = House()
    house.start(kimchi())
    orders = list(house.sent)
    house.now_ns += 100 * SECOND
    house.advance(house.now_ns)
    assert house.outcomes(), "its time is over"
    assert not house.desk.is_idle
    assert [order for order, _ in house.desk.unfinished()] == orders
    restored = Desk(ExecutionSettings(), INSTRUMENTS.__getitem__, "t2")
    restored.restore(house.desk.snapshot())
    assert not restored.is_idle
    house.hear(*(end(order, 0) for order in orders))
    assert house.desk.is_idle and not house.desk.unfinished()
