"""Drills of what the daemon knows of its own accounts: silence, a crash, a ban, a clock. Each is a story and what must hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

from arbitrage.app.bans import BanFile
from arbitrage.app.drills.nouns import Drill
from arbitrage.app.drills.orders import ANSWER_SECONDS, sale, slow_sale
from arbitrage.app.drills.scene import NS_PER_S, Scene
from arbitrage.market.doubt import Doubt
from arbitrage.model.facts import FillBooked
from arbitrage.model.orders import PlanId

SILENCE_SECONDS_MAX = 10.0
NOTICE_SECONDS = 8.0
DOWN_S = 1.5
BAN_S = 10
GRACE_NS = 300_000_000
"""Requests that were on their way when the ban was told."""
SKEW_MS, SKEW_FACTOR = 3_000, 3


async def _silent_private_stream(scene: Scene) -> None:
    await scene.fault("Upbit's private stream falls silent; its connection lives", kind="silent_private", venue="upbit")
    plan = await scene.enter()
    began_ns = scene.clock()
    order = sale(scene, plan)
    await scene.soon("the fill was found by asking", lambda: order.is_settled, SILENCE_SECONDS_MAX)
    left_s = SILENCE_SECONDS_MAX - (scene.clock() - began_ns) / NS_PER_S
    silent = f"the silence is noticed within {SILENCE_SECONDS_MAX:.0f} s"
    await scene.soon(silent, lambda: scene.heard("upbit: the private stream is silent"), left_s)
    await scene.goes_on()


async def _restart_with_fills(scene: Scene) -> None:
    await slow_sale(scene)
    plan = await scene.enter()
    order_id, plan_id = sale(scene, plan).order.client_order_id, plan.plan_id
    await scene.struck("slow")
    scene.say("the daemon crashes while its order travels")
    await scene.house.crash()
    await asyncio.sleep(DOWN_S)
    filled_e8 = await scene.executed_e8("upbit", order_id)
    scene.demand(filled_e8 > 0, "the order filled while nobody was there")
    await scene.books.calm()
    scene.say("it starts again")
    await scene.house.start()
    await scene.ready()
    await scene.soon("the arbitrage of before has its end", lambda: _is_over(scene, plan_id), ANSWER_SECONDS)
    facts = [fact for _, fact in await scene.running.stores.facts_after(0)]
    fills = [fact.fill for fact in facts if isinstance(fact, FillBooked) and fact.fill.client_order_id == order_id]
    booked_e8 = sum(fill.quantity_e8 for fill in fills)
    scene.demand(booked_e8 == filled_e8, "what filled meanwhile is booked, once", f"{filled_e8}, booked {booked_e8}")


def _is_over(scene: Scene, plan_id: PlanId) -> bool:
    plan = scene.engine.desk.plan(plan_id)
    return plan is not None and plan.outcome is not None


async def _ban(scene: Scene) -> None:
    began_ns = scene.clock()
    await scene.fault(f"Binance bans this address for {BAN_S} s", kind="ban", venue="binance", for_s=BAN_S)
    await scene.soon("the ban is met, and written down for a restart", lambda: _is_noted(scene, "binance"), NOTICE_SECONDS)
    scene.say("the daemon crashes, and is started again at once")
    await scene.house.crash()
    await scene.house.start()
    left_s = BAN_S - (scene.clock() - began_ns) / NS_PER_S
    await asyncio.sleep(max(0.0, left_s - 1.0))
    scene.demand(not scene.running.view().is_armed, "the new start trades nothing while the ban lasts")
    await asyncio.sleep(2.0)
    refused_ns = [one["at_ns"] for one in await scene.requests("binance") if one["status"] == 418 and one["at_ns"] >= began_ns]
    late = [at_ns for at_ns in refused_ns if at_ns > refused_ns[0] + GRACE_NS]
    scene.demand(not late, "no request during the ban", f"{len(late)} more after the first was refused")
    scene.excuse("requests_while_banned")
    await scene.goes_on()


def _is_noted(scene: Scene, venue: str) -> bool:
    return BanFile(Path(scene.settings.store.data_dir)).until_ns(venue) > scene.clock()


async def _clock_skew(scene: Scene) -> None:
    symbol = scene.books.pair.binance
    skew_ms = max(SKEW_MS, SKEW_FACTOR * scene.settings.market_data.clock_offset_ms_max)
    scene.excuse("timestamp_ahead")  # when the clock is set right, a request that was signed by the wrong one is told so
    await scene.fault(f"Binance's clock goes {skew_ms} ms ahead", kind="skew", venue="binance", ms=skew_ms)
    off = "the offset is measured, and the venue is not traded on"
    await scene.soon(off, lambda: scene.doubt("binance", symbol) == Doubt.CLOCK_OFFSET.value, NOTICE_SECONDS)
    orders = len(await scene.own_orders())
    await scene.stays_out("nothing is entered with a clock that is off", "a bid at Upbit pays", scene.books.offer)
    sent = len(await scene.own_orders()) - orders
    scene.demand(not sent, "no order was sent", f"{sent} were")
    await scene.goes_on()


DRILLS = (
    Drill("silent-private-stream", "The private stream falls silent on a connection that lives.", _silent_private_stream),
    Drill("restart-with-fills", "The daemon crashes, and an order fills while it is down.", _restart_with_fills),
    Drill("ban", "A venue bans the address, and the daemon is restarted meanwhile.", _ban, ("clock_measure_ms",)),
    Drill("clock-skew", "A venue's clock goes wrong by seconds.", _clock_skew, ("clock_measure_ms",)),
)
