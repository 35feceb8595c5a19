"""Drills of what a venue changes under us: a halt, a wallet, a rule. Each is a story and what must hold in it."""

from __future__ import annotations

from arbitrage.app.drills.nouns import Drill
from arbitrage.app.drills.scene import Scene
from arbitrage.market.doubt import Doubt
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import Asset, format_e8
from arbitrage.model.orders import OrderState, PlanId

NOTICE_SECONDS = 10.0
TICK_FACTOR = 10
OFFERS = 3
HURRIED = ("instruments_reload_ms",)


async def _venue_halt(scene: Scene) -> None:
    symbol = scene.books.pair.binance
    market = scene.market("binance", symbol)
    await scene.fault(f"Binance halts {symbol}; its book stays as it was", kind="halt", venue="binance", symbol=symbol)
    for turn in range(OFFERS):
        scene.say(f"a bid at Upbit pays ({turn + 1})")
        await scene.books.offer()
        await scene.pause()
        await scene.books.calm()
    halted = "the market is known to be halted"
    await scene.soon(halted, lambda: scene.doubt("binance", symbol) == Doubt.HALTED.value, NOTICE_SECONDS)
    plans = [scene.engine.desk.plan(PlanId(line.plan_id)) for line in scene.engine.outcomes]
    orders = [worked for plan in (*plans, *scene.engine.desk.open_plans()) if plan is not None for worked in plan.orders]
    refused = [worked for worked in orders if worked.order.market == market and worked.state is OrderState.REJECTED]
    scene.demand(len(refused) <= 1, "at most one order was refused before the market was held", f"{len(refused)} were")
    await scene.goes_on()


async def _wallet_suspended(scene: Scene) -> None:
    coin = scene.books.pair.coin
    node = Node(Venue("upbit"), Asset(coin))
    await scene.fault(f"Upbit closes its wallet of {coin}", kind="wallet", venue="upbit", asset=coin)
    closed = "the wallet is known to be closed"
    await scene.soon(closed, lambda: node in scene.engine.board.suspended, NOTICE_SECONDS)
    await _tempted(scene, "upbit", scene.books.pair.upbit)


async def _wrong_tick(scene: Scene) -> None:
    symbol = scene.books.pair.binance
    before_e8 = scene.books.spec("binance", symbol).ticks.bands[0].tick_e8
    tick = format_e8(before_e8 * TICK_FACTOR)
    text = f"Binance changes the tick of {symbol} from {format_e8(before_e8)} to {tick}"
    await scene.fault(text, kind="rules", venue="binance", symbol=symbol, fields={"tick": tick})
    held = "the market is held until somebody accepts the new rule"
    await scene.soon(held, lambda: scene.doubt("binance", symbol) == Doubt.HELD.value, NOTICE_SECONDS)
    await scene.soon("the changed field is named", lambda: scene.heard(f"ticks of {symbol}"), NOTICE_SECONDS)
    await _tempted(scene, "binance", symbol)


async def _tempted(scene: Scene, venue: str, symbol: str) -> None:
    """Offer what would pay, demand that no order leaves, and that trading goes on when all is well again."""
    orders = len(await scene.own_orders())
    await scene.stays_out("nothing is entered meanwhile", "a bid at Upbit pays", scene.books.offer)
    sent = len(await scene.own_orders()) - orders
    scene.demand(not sent, "no order was sent", f"{sent} were, with {symbol} at {venue} {scene.doubt(venue, symbol)}")
    await scene.goes_on()


DRILLS = (
    Drill("venue-halt", "A venue halts a market.", _venue_halt, HURRIED),
    Drill("wallet-suspended", "A venue closes the wallet of a coin.", _wallet_suspended, HURRIED),
    Drill("wrong-tick", "A venue changes the price grid of a market.", _wrong_tick, HURRIED),
)
