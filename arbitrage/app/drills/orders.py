"""Drills of the order path: what is lost, refused, split or crosses on its way. Each is a story and what must hold in it."""

from __future__ import annotations

import asyncio
import math

from arbitrage.app.drills.nouns import Drill
from arbitrage.app.drills.scene import Scene
from arbitrage.app.drills.words import Failed
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.execution.plans import WorkedOrder, WorkedPlan
from arbitrage.model.events import Command, CommandKind
from arbitrage.model.money import E8, format_e8, parse_e8
from arbitrage.model.opportunities import PlanState
from arbitrage.model.orders import OrderState, PlanId
from arbitrage.sim.scenarios.still import quantity_of

PLACE = "POST /v1/orders"
REPORT = "myOrder"
REFUSED = '{"error":{"name":"insufficient_funds_ask","message":"planted by the drill"}}'
ANSWER_SECONDS = 25.0
DECISION_SECONDS = 2.0
HIDDEN_MS = 4_000
SLOW_MS = 700
ROUNDS_MAX = 8
PART_OF_DUST, PART_OF_MINIMUM, ENOUGH = 0.9, 0.6, 1.15


def sale(scene: Scene, plan: WorkedPlan) -> WorkedOrder:
    """Return the plan's first sale of the coin at Upbit."""
    market = scene.market("upbit", scene.books.pair.upbit)
    return next(worked for worked in plan.orders if worked.order.market == market)


async def slow_sale(scene: Scene) -> None:
    """Let the next sale of the coin travel for a while before Upbit has it."""
    symbol = scene.books.pair.upbit
    text = f"the next sale of the coin reaches Upbit {SLOW_MS} ms late"
    await scene.fault(text, kind="slow", venue="upbit", endpoint=PLACE, contains=symbol, ms=SLOW_MS)


async def settled(scene: Scene, order: WorkedOrder) -> None:
    """Wait until an order's end and fills are known."""
    await scene.until("what became of the order is known", lambda: order.is_settled, ANSWER_SECONDS)


async def ended(scene: Scene, plan: WorkedPlan) -> PlanState:
    """Wait until a plan ended; return how."""
    await scene.soon("the arbitrage reached its end", lambda: plan.outcome is not None, ANSWER_SECONDS)
    assert plan.outcome is not None, "waited for"
    return plan.outcome.state


async def _lost_ack(scene: Scene) -> None:
    symbol = scene.books.pair.upbit
    text = "Upbit takes the next sale and never answers"
    await scene.fault(text, kind="lost", venue="upbit", endpoint=PLACE, contains=symbol)
    text = "its private stream tells nothing of it"
    await scene.fault(text, kind="lost", venue="upbit", endpoint=REPORT, contains=symbol, times=0)
    text = f"and for {HIDDEN_MS} ms Upbit says that it does not exist"
    await scene.fault(text, kind="not_found", venue="upbit", ms=HIDDEN_MS)
    plan = await scene.enter()
    order = sale(scene, plan)
    has_word = (OrderState.UNKNOWN, OrderState.REJECTED, OrderState.FILLED)
    await scene.until("the order is UNKNOWN", lambda: order.state in has_word, ANSWER_SECONDS)
    scene.demand(order.state is OrderState.UNKNOWN, "silence makes an order unknown, not failed", order.state.value)
    await scene.soon("the venue was asked until it knew the order", lambda: order.is_settled, ANSWER_SECONDS)
    scene.demand(order.state is OrderState.FILLED, "the order is known to be filled", order.state.value)
    await ended(scene, plan)
    sales = [order for order in await scene.own_orders("upbit") if order["symbol"] == symbol]
    scene.demand(len(sales) == 1, "exactly one order stands for the intent", f"{len(sales)} orders in {symbol}")


async def _leg_reject(scene: Scene) -> None:
    await scene.fault(
        "Upbit refuses the next sale of the coin", kind="error_before", venue="upbit", endpoint=PLACE,
        contains=scene.books.pair.upbit, status=400, body=REFUSED,
    )  # fmt: skip
    plan = await scene.enter()
    order = sale(scene, plan)
    await scene.until("the leg is refused", lambda: order.state is OrderState.REJECTED, ANSWER_SECONDS)
    await scene.soon("the governor decided about the naked leg", lambda: plan.last_choice is not None, DECISION_SECONDS)
    state = await ended(scene, plan)
    scene.demand(state is PlanState.RECOVERED, "the arbitrage ended recovered", state.value)


async def _partial_dust(scene: Scene) -> None:
    books, pair = scene.books, scene.books.pair
    minimums = [minimum_e8 / E8 for minimum_e8 in books.minimums_e8]
    dust = parse_e8(scene.settings.execution.dust_value_max) / E8
    part = min(PART_OF_DUST * dust, PART_OF_MINIMUM * min(minimums))
    rounds = math.ceil(ENOUGH * max(*minimums, dust) / part) if part else ROUNDS_MAX + 1
    if rounds > ROUNDS_MAX:
        raise Failed(f"execution.dust_value_max of {dust:g} is too small to build {max(minimums):.2f} out of such parts")
    residue_e8 = quantity_of(books.spec("upbit", pair.upbit), part)
    scene.say(f"{rounds} sales will each be short of {format_e8(residue_e8)} {pair.coin}, worth {part:.2f}")
    for turn in range(rounds):
        await slow_sale(scene)
        plan = await scene.enter(f"arbitrage {turn + 1}")
        order = sale(scene, plan)
        await books.thin(order.order.quantity_e8 - residue_e8)
        await settled(scene, order)
        await books.calm()
        await ended(scene, plan)
        await asyncio.sleep(scene.settings.execution.cooldown_ms / 1000)
    await scene.soon("the residue is shown as unhedged dust", lambda: bool(_left_e8(scene)), ANSWER_SECONDS)
    await scene.soon("it was hedged once a venue takes so much", lambda: _is_hedged(scene), ANSWER_SECONDS)


def _left_e8(scene: Scene) -> int:
    return next((line.amount_e8 for line in scene.engine.dust.lines if line.asset == scene.books.pair.coin), 0)


def _is_hedged(scene: Scene) -> bool:
    plans = [scene.engine.desk.plan(PlanId(line.plan_id)) for line in scene.engine.outcomes]
    hedges = [plan.opportunity for plan in plans if plan is not None and plan.opportunity.cycle == HEDGE_CYCLE]
    return any(leg.spent.asset == scene.books.pair.coin for hedge in hedges for leg in hedge.legs)


async def _cancel_fill_race(scene: Scene) -> None:
    await slow_sale(scene)
    plan = await scene.enter()
    order = sale(scene, plan)
    await scene.struck("slow")
    scene.say("the kill switch: the order is cancelled while it travels")
    scene.running.door.feed([Command(scene.clock(), CommandKind.KILL, "drill", "an order is on its way")])
    await settled(scene, order)
    await scene.soon("the venues have shown that nothing is open", lambda: _is_proven(scene), ANSWER_SECONDS)
    filled_e8 = await scene.executed_e8("upbit", order.order.client_order_id)
    scene.demand(filled_e8 > 0, "the order filled although it was cancelled")
    booked_e8 = order.filled_quantity_e8
    scene.demand(filled_e8 == booked_e8, "a fill that crossed its cancel is booked, once", f"{filled_e8}, booked {booked_e8}")
    scene.say("the switch is released")
    scene.running.door.feed([Command(scene.clock(), CommandKind.RELEASE, "drill", "all is known")])
    await ended(scene, plan)


def _is_proven(scene: Scene) -> bool:
    receipt = scene.engine.kill.state.receipt
    return receipt is not None and receipt.proven_at_ns > 0


DRILLS = (
    Drill("lost-ack", "An order fills, and nobody says so: no answer, no stream, no query.", _lost_ack),
    Drill("leg-reject", "One leg fills at once, the other is refused.", _leg_reject),
    Drill("partial-dust", "Sales come short by less than a venue takes, again and again.", _partial_dust),
    Drill("cancel-fill-race", "An order fills while its cancel is on the way.", _cancel_fill_race),
)
