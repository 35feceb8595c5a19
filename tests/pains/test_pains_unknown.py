"""Orders of which nobody knows: rows 5 and 6 of the pains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_world import BINANCE, MS, UPBIT
from jumping_loop import now_ns
from pain_house import Daemon, live_through, pass_s, until
from test_unknown_outcomes import Day

from arbitrage.model.effects import PlaceOrder, QueryOrder
from arbitrage.model.facts import OrderChanged, PlanClosed
from arbitrage.model.opportunities import PlanState
from arbitrage.model.orders import ClientOrderId, OrderState
from arbitrage.sim.exchange.faults import Kind

RUNS, FIRST_SEED = 1_000, 10_000
PLACING: dict[Any, str] = {"binance": "order.place", "upbit": "POST /v1/orders"}
QUERYING: dict[Any, str] = {"binance": "GET /api/v3/order", "upbit": "GET /v1/order"}
STREAM: dict[Any, str] = {"binance": "executionReport", "upbit": "myOrder"}
VENUES = ("binance", "upbit")


def states(house: Daemon, name: str) -> list[OrderState]:
    return [fact.state for fact in house.of(OrderChanged) if fact.client_order_id == name]


def asked(house: Daemon, name: str) -> list[int]:
    return [at_ns for at_ns, effect in house.effects if isinstance(effect, QueryOrder) and effect.client_order_id == name]


def test_pain_05_a_thousand_randomised_runs_place_nothing_twice() -> None:
    for number in range(RUNS):
        seed, faulty = FIRST_SEED + number, (BINANCE, UPBIT)[number % 2]
        day = Day(seed, faulty)
        day.live()
        try:
            day.check()
        except AssertionError as wrong:
            raise AssertionError(f"seed {seed} at {faulty}") from wrong


@pytest.mark.parametrize("venue", VENUES)
def test_pain_05_a_swallowed_acknowledgement_is_unknown_and_asked_about_under_the_same_id(venue: Any, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        house.town.fault(Kind.LOST, venue, PLACING[venue])
        house.town.fault(Kind.SILENT_PRIVATE, venue, for_s=6.0)
        house.town.fault(Kind.LATE, venue, QUERYING[venue], ms=1_000)
        orders = await house.enter()
        order = next(each for each in orders if each.venue == venue)
        name = order.client_order_id
        await until(lambda: OrderState.UNKNOWN in states(house, name), "its state is unknown", 6.0)
        filled = [held for held in house.town.orders(venue) if held.request.client_id == name]
        assert [held.executed_e8 for held in filled] == [order.quantity_e8], "it filled, and nobody said so"
        assert not any(state.is_terminal for state in states(house, name)), "unknown until somebody answers"
        await house.quiet()
        assert states(house, name)[-1] is OrderState.FILLED and asked(house, name)
        await pass_s(30)
        assert [held.request.client_id for held in house.town.orders(venue)].count(name) == 1
        own = [effect for _, effect in house.effects if isinstance(effect, PlaceOrder) and effect.order.market == order.market]
        assert {effect.order.client_order_id for effect in own if effect.order.plan_id == order.plan_id} == {name}
        house.check_truth()

    live_through(story, tmp_path)


@pytest.mark.parametrize("venue", VENUES)
def test_pain_05_a_late_acknowledgement_keeps_the_same_intent_from_being_sent_again(venue: Any, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        for kind, endpoint in ((Kind.LATE, PLACING[venue]), (Kind.LATE, STREAM[venue])):
            house.town.fault(kind, venue, endpoint, ms=5_000, times=0, for_s=2.0)
        house.town.fault(Kind.NOT_FOUND, venue, ms=60_000)  # so that only the late words can tell
        orders = await house.enter()
        name = next(each.client_order_id for each in orders if each.venue == venue)
        await until(lambda: OrderState.UNKNOWN in states(house, name), "its state is unknown", 6.0)
        horizon_ms = house.settings.execution.order_validity_ms + house.settings.execution.absence_horizon_ms
        await until(lambda: states(house, name)[-1] is OrderState.FILLED, "the late word ends it", horizon_ms / 1_000)
        await house.quiet()
        await pass_s(60)
        plan = {order.client_order_id for _, order in house.placed if order.plan_id == orders[0].plan_id}
        assert plan == {order.client_order_id for order in orders}, "nothing was sent for it again"
        house.check_truth()

    live_through(story, tmp_path)


@pytest.mark.parametrize("venue", VENUES)
def test_pain_06_an_order_that_does_not_exist_for_three_seconds_stays_in_flight(venue: Any, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        house.town.fault(Kind.LOST, venue, PLACING[venue])
        house.town.fault(Kind.SILENT_PRIVATE, venue, for_s=20.0)
        house.town.fault(Kind.NOT_FOUND, venue, ms=6_000)  # the first question comes when 3 s passed without an answer
        began_ns = now_ns()
        orders = await house.enter()
        name = next(each.client_order_id for each in orders if each.venue == venue)
        await until(lambda: len(asked(house, name)) >= 3, "it is asked about", 10.0)
        assert asked(house, name)[2] - asked(house, name)[0] >= 1_900 * MS, "at a pace"
        assert name in {order.client_order_id for order, _ in house.engine.desk.unfinished()}, "in flight"
        await until(lambda: states(house, name)[-1].is_terminal, "it is found", 10.0)
        assert now_ns() - began_ns >= 6_000 * MS
        assert states(house, name)[-1] is OrderState.FILLED, "and was not failed before"
        count = len(asked(house, name))
        assert count <= 8
        await house.quiet()
        await pass_s(120)
        assert len(asked(house, name)) <= count + 2, "nobody goes on asking"  # a link that comes back asks once more
        house.check_truth()

    live_through(story, tmp_path)


@pytest.mark.parametrize("venue", VENUES)
def test_pain_06_an_order_that_never_comes_to_exist_is_believed_absent_at_the_horizon_and_not_polled_for_ever(
    venue: Any, tmp_path: Path
) -> None:
    async def story(house: Daemon) -> None:
        house.town.fault(Kind.ERROR_BEFORE, venue, PLACING[venue], status=503)
        orders = await house.enter()
        placed_ns = house.placed[-1][0]
        order = next(each for each in orders if each.venue == venue)
        name = order.client_order_id
        await until(lambda: states(house, name)[-1:] == [OrderState.REJECTED], "its absence is believed", 30.0)
        settings = house.settings.execution
        horizon_ns = placed_ns + (settings.order_validity_ms + settings.absence_horizon_ms) * MS
        assert now_ns() >= horizon_ns, "not failed before the configured horizon"
        ended = next(fact for fact in house.of(OrderChanged) if fact.client_order_id == name and fact.state.is_terminal)
        assert ended.is_absence
        count = len(asked(house, name))
        assert 1 <= count <= 20
        await house.quiet()
        await pass_s(120)
        assert len(asked(house, name)) == count, "nobody goes on asking"
        closed = [fact.outcome for fact in house.of(PlanClosed)]
        assert closed and all(outcome.state in (PlanState.RECOVERED, PlanState.COMPLETED) for outcome in closed)
        assert not [held for held in house.town.orders(venue) if held.request.client_id == ClientOrderId(name)]
        house.check_truth()

    live_through(story, tmp_path)
