"""Legs that fall apart: rows 1 to 4 of the pains, over the wire with real sessions where the wire matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from account_world import AccountWorld
from engine_world import MS, World
from jumping_loop import now_ns, run_jumping
from pain_house import Daemon, S, live_through, pass_s, until
from test_dust import NOTIONAL_E8_MIN, hedges, leave, trading, wake

from arbitrage.engine.viewing import view_of
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.model.events import CommandKind, OrderAccepted, OrderEnded, OrderFilled
from arbitrage.model.facts import FillBooked, LegDecided, OrderChanged, PlanClosed, PlanOpened
from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, Asset, parse_e8
from arbitrage.model.opportunities import LegChoice, PlanState, Refusal, Refused
from arbitrage.model.orders import OrderState, TimeInForce
from arbitrage.sim.exchange.faults import Kind

COIN = Asset("BTC")
SELL_AT_UPBIT = {"endpoint": "POST /v1/orders", "contains": '"side":"ask"', "status": 400,
                 "body": '{"error":{"name":"insufficient_funds_ask","message":"refused"}}'}  # fmt: skip
BUY_AT_BINANCE = {"endpoint": "order.place", "contains": '"BUY"', "status": 400, "body": '{"code":-2010,"msg":"refused"}'}


# -- row 1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("venue", "refusal", "market"), [("upbit", SELL_AT_UPBIT, 1), ("binance", BUY_AT_BINANCE, 0)])
def test_pain_01_a_refused_leg_is_decided_about_once_within_a_second_with_three_prices(
    venue: Any, refusal: dict[str, Any], market: int, tmp_path: Path
) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        town.fault(Kind.ERROR_BEFORE, venue, **refusal)
        town.shift("upbit", "KRW-BTC", 10_000)
        await until(lambda: house.placed, "an arbitrage is taken")
        await until(lambda: house.of(LegDecided), "a decision is journalled")
        refused = next(fact for fact in house.of(OrderChanged) if fact.state is OrderState.REJECTED)
        decision = house.of(LegDecided)[0]
        assert next(order.market for _, order in house.placed if order.client_order_id == refused.client_order_id) == market
        assert 0 <= decision.at_ns - refused.at_ns < S
        assert [each.choice for each in decision.alternatives] == [LegChoice.COMPLETE, LegChoice.REVERSE, LegChoice.HOLD]
        assert all(each.cost_e8 is not None for each in decision.alternatives), "all three are priced"
        await house.quiet()
        assert len(house.of(LegDecided)) == 1, "exactly one decision"
        outcome = house.of(PlanClosed)[0].outcome
        assert outcome.state is PlanState.RECOVERED
        dust_e8 = parse_e8(house.settings.execution.dust_value_max)
        residual_e8 = {left.asset: abs(left.value_e8) for left in outcome.residuals}
        assert residual_e8.get(COIN, 0) <= dust_e8, "nothing worth more than dust is left of the coin"
        opened = house.of(PlanOpened)
        assert all(fact.at_ns >= outcome.closed_at_ns for fact in opened[1:]), "no entry while a leg was naked"
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
        await house.quiet()
        await pass_s(10)
        await house.quiet()
        house.check_truth()

    live_through(story, tmp_path)


def test_pain_01_while_a_leg_is_naked_the_pair_takes_no_entry_and_what_cannot_be_mended_halts_it() -> None:
    world = AccountWorld()
    world.start()
    world.decide()
    buy, sell, back = sorted(world.placed(), key=lambda order: order.market)
    world.fill(buy)
    world.end(buy, buy.quantity_e8, OrderState.FILLED)
    world.end(back, 0)
    world.end(sell, 0, OrderState.REJECTED)
    decided = [fact for fact in world.facts() if isinstance(fact, LegDecided)]
    assert len(decided) == 1 and all(each.cost_e8 is not None for each in decided[0].alternatives)
    reasons = set()
    for _ in range(30):  # whatever the governor and the hedges try is refused too
        for order, _worked in world.engine.desk.unfinished():
            world.end(order, 0, OrderState.REJECTED)
        world.wake(1_000)
        world.premium_books()
        world.decide()
        last = world.verdicts()[-1].verdict
        assert isinstance(last, Refused), "no new entry on that pair"
        reasons.add(last.reason)
    outcome = next(fact.outcome for fact in world.facts() if isinstance(fact, PlanClosed))
    assert outcome.state is PlanState.CLOSED_WITH_RESIDUAL and outcome.closed_at_ns - outcome.opened_at_ns < 30 * S
    assert COIN in world.engine.dust.naked and Refusal.PAIR_NAKED in reasons, "the pair is halted, with its reason"
    assert len(entries(world)) == 1


def entries(world: World) -> list[PlanOpened]:
    opened = [fact for fact in world.facts() if isinstance(fact, PlanOpened)]
    return [fact for fact in opened if fact.opportunity.cycle != HEDGE_CYCLE]


# -- row 2 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_pain_02_without_any_reply_for_one_leg_the_plan_ends_in_time_with_what_filled(silent: int) -> None:
    world = AccountWorld()
    world.start()
    world.decide()
    orders = sorted(world.placed(), key=lambda order: order.market)
    opened_ns = world.now_ns
    for order in orders:
        if order.market != silent:
            world.fill(order)
            world.end(order, order.quantity_e8, OrderState.FILLED)
    settings = world.engine.settings.execution
    end_ns = opened_ns + (settings.plan_deadline_ms + settings.answer_horizon_ms) * MS
    while world.now_ns < end_ns:
        assert not [fact for fact in world.facts() if isinstance(fact, PlanClosed)], "an unanswered order may still fill"
        world.quiet_books()
        world.wake(500)
    (closed,) = [fact for fact in world.facts() if isinstance(fact, PlanClosed)]
    assert closed.at_ns == end_ns, "terminal at its deadline and the horizon for its answers"
    outcome = closed.outcome
    fills = [fact.fill for fact in world.facts() if isinstance(fact, FillBooked)]
    assert outcome.state is PlanState.CLOSED_WITH_RESIDUAL and len(fills) == 2
    assert outcome.realised_e8 != 0, "never nothing by default"
    deltas = world.engine.desk.plan(outcome.plan_id).deltas  # type: ignore[union-attr]  # it is known
    left = {residual.asset: residual.amount_e8 for residual in outcome.residuals}
    assert left == {asset: amount_e8 for asset, amount_e8 in deltas.items() if amount_e8 and asset != "USDT"} != {}
    worth_e8 = deltas.get(outcome.reporting_asset, 0) + sum(residual.value_e8 for residual in outcome.residuals)
    assert outcome.realised_e8 == worth_e8
    assert len(world.placed()) == 3, "nothing was sent again"


def test_pain_02_dropped_replies_over_the_wire_end_in_a_terminal_state_with_equal_balances(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        for kind, endpoint in ((Kind.LOST, "POST /v1/orders"), (Kind.LOST, "myOrder"), (Kind.LOST, "GET /v1/order")):
            house.town.fault(kind, "upbit", endpoint, times=0, for_s=40.0)
        began_ns = now_ns()
        await house.enter()
        await until(lambda: house.of(PlanClosed), "the plan ends", 100.0)
        settings = house.settings.execution
        assert now_ns() - began_ns <= (settings.plan_deadline_ms + settings.answer_horizon_ms + 1_000) * MS
        await pass_s(60)
        await house.quiet()
        house.check_truth()

    live_through(story, tmp_path)


# -- row 3 -------------------------------------------------------------------------------------------------------------


def test_pain_03_a_fill_between_cancel_and_its_refusal_is_hedged_and_counted_by_fills() -> None:
    world = AccountWorld()
    world.start()
    world.decide()
    buy, sell, back = sorted(world.placed(), key=lambda order: order.market)
    cancelled_at = len(world.effects)
    world.tell(CommandKind.KILL)  # the only cancel that an immediate order ever gets from us
    assert len(world.effects) > cancelled_at
    part_e8 = buy.quantity_e8 // 2 // 1_000 * 1_000
    world.fill(buy, part_e8)  # after the cancel left, before its refusal came
    fee_e8 = next(fact.fill.fee_e8 for fact in world.facts() if isinstance(fact, FillBooked))
    assert world.engine.ledger.exposure_e8()[COIN] == part_e8 - fee_e8, "exposure is what filled"
    for order, filled_e8 in ((buy, part_e8), (sell, 0), (back, 0)):
        world.end(order, filled_e8)
    assert world.engine.ledger.exposure_e8()[COIN] == part_e8 - fee_e8, "and not what orders say"
    world.wait(1)
    world.read()
    count = len(world.placed())
    world.tell(CommandKind.RELEASE)
    world.wake(1_000)
    hedge = world.placed()[count:][0]
    assert (hedge.side, hedge.market in (0, 1)) == (Side.SELL, True)
    assert abs(hedge.quantity_e8 - (part_e8 - fee_e8)) <= 1_000, "the filled quantity, to the lot"
    world.fill(hedge)
    world.end(hedge, hedge.quantity_e8, OrderState.FILLED)
    assert abs(world.engine.ledger.exposure_e8().get(COIN, 0)) <= 1_000


def test_pain_03_the_sessions_tell_a_fill_that_races_its_cancel_at_both_venues() -> None:
    async def at_binance() -> None:
        from binance_account_lab import account_lab

        async with account_lab() as it:
            session = await it.start()
            order = it.place(session, price="60000.00", force=TimeInForce.GTC)
            await it.until_told(order, OrderAccepted)
            it.fault(Kind.FILL_BEFORE_CANCEL, endpoint="order.cancel")
            it.cancel(session, order)
            ended = await it.until_told(order, OrderEnded)
            assert ended.filled_quantity_e8 == order.quantity_e8 == sum(fill.quantity_e8 for fill in it.fills(order).values())

    async def at_upbit() -> None:
        from upbit_account_lab import World as UpbitWorld
        from upbit_account_lab import cancel
        from upbit_lab import UpbitLab, serving

        async with serving(UpbitLab(now_ns)) as lab:
            it = UpbitWorld(lab)
            session = await it.start()
            session.submit(it.resting("a-1"))
            await it.sink.until_some(OrderAccepted)
            it.fault(Kind.FILL_BEFORE_CANCEL, "DELETE /v1/order")
            session.submit(cancel("a-1"))
            ended = await it.until_ended("a-1")
            assert ended.state is OrderState.FILLED
            assert len(it.sink.of(OrderFilled)) >= 1
            it.check_fills("a-1")
            await it.stop()

    run_jumping(at_binance())
    run_jumping(at_upbit())


# -- row 4 -------------------------------------------------------------------------------------------------------------


def test_pain_04_fills_of_three_three_and_four_tenths_of_a_minimum_are_dust_in_sight_and_hedged_together() -> None:
    world = trading()
    first_ns = 0
    for part, tenths in enumerate((3, 3, 4), 1):
        leave(world, NOTIONAL_E8_MIN * tenths // 10 // 99_000 // 1_000 * 1_000)
        first_ns = first_ns or world.now_ns
        wake(world)
        (line,) = view_of(world.engine, world.now_ns).dust
        assert (line.asset, line.since_ns) == (COIN, first_ns), "one line of unhedged dust, as old as its first part"
        assert line.value_e8 is not None and line.value_e8 > 0
        assert bool(hedges(world)) is (part == 3), "hedged once tradable, and not before"
    (order,) = hedges(world)[0].orders
    assert order.price_e8 * order.quantity_e8 // E8 >= NOTIONAL_E8_MIN
    world.take_all([order])
    wake(world)
    assert all(line.amount_e8 < 1_000 for line in view_of(world.engine, world.now_ns).dust)
