"""Drills of market data: a book that lies, in one way or another, must not be traded on. Each is a story and what must hold."""

from __future__ import annotations

from arbitrage.app.drills.books import VENUES
from arbitrage.app.drills.nouns import Drill
from arbitrage.app.drills.scene import Scene
from arbitrage.app.drills.words import Failed
from arbitrage.market.doubt import Doubt
from arbitrage.model.money import E8

NOTICE_SECONDS = 5.0
GONE_FACTOR = 3
"""By so many times what an arbitrage needs the lost price is gone."""
FROZEN_SECONDS_MAX = 40.0
"""A symbol that may be silent for longer cannot be drilled within a minute."""


async def _gap(scene: Scene) -> None:
    books, symbol = scene.books, scene.books.pair.binance
    board, market = scene.engine.board, scene.market("binance", symbol)
    gaps = board.counters["gaps"]
    stream = f"{symbol.lower()}@depth@100ms"
    text = f"the next updates of Binance's {symbol} get lost"
    await scene.fault(text, kind="lost", venue="binance", endpoint=stream, times=2)
    scene.say("its sellers go up: the daemon does not hear of it")
    ask_e8 = await books.lift_asks("binance", symbol, GONE_FACTOR * books.gain_ppm)
    await scene.soon("the gap is noticed with the next update", lambda: board.counters["gaps"] > gaps, NOTICE_SECONDS)
    names = [(venue, other) for venue, other in scene.settings.market_symbols if (venue, other) != ("binance", symbol)]
    others = [other for venue, other in names if scene.doubt(venue, other)]
    scene.demand(not others, "every other market stays usable", ", ".join(others))
    await scene.soon("the book is synchronised anew", lambda: not scene.doubt("binance", symbol), NOTICE_SECONDS)
    scene.demand(round(board.books[market].best_ask * E8) == ask_e8, "it shows the exchange's own price")
    text = "somebody bids more at Upbit: only who still believes the old book sees an arbitrage"
    await scene.stays_out("no phantom is traded", text, books.offer)
    await scene.goes_on()


async def _frozen_feed(scene: Scene) -> None:
    books, symbol = scene.books, scene.books.pair.upbit
    limit_s = scene.settings.market_data.symbol_age_ms_max / 1000
    if limit_s > FROZEN_SECONDS_MAX:
        raise Failed(f"market_data.symbol_age_ms_max lets a symbol be silent for {limit_s:g} s: too long for a drill")
    sockets = (await scene.truth())["upbit"]["counters"]["sockets"]
    await scene.fault(f"{symbol} freezes at Upbit; the connection lives", kind="frozen", venue="upbit", symbol=symbol)
    stale = "the market is doubted once it is older than its limit"
    await scene.soon(stale, lambda: scene.doubt("upbit", symbol) == Doubt.STALE.value, limit_s + NOTICE_SECONDS)
    others = [other for other in scene.settings.venues["upbit"].symbols if other != symbol and scene.doubt("upbit", other)]
    scene.demand(not others, "the other symbols of the connection stay usable", ", ".join(others))
    text = "the price falls at both venues: only who still believes the frozen book sees an arbitrage"

    async def fall() -> None:
        for venue, name in (("upbit", symbol), ("binance", books.pair.binance)):
            await books.shift(venue, name, -books.gain_ppm)

    await scene.stays_out("nothing is entered on the frozen book", text, fall)
    opened = (await scene.truth())["upbit"]["counters"]["sockets"] - sockets
    scene.demand(not opened, "the living connection is left alone", f"{opened} new connections")
    await scene.goes_on()


async def _fx_gone(scene: Scene) -> None:
    fx = scene.books.pair.fx
    if fx is None:
        scene.demand(True, "nothing to drill: in this configuration no fiat has to be turned back")
        return
    scene.say(f"{fx[1]} at {fx[0]} is empty: nobody can say what the fiat is worth")
    await scene.books.empty(*fx)
    await scene.pause()
    await scene.stays_out("nothing is entered without a rate", "a bid at Upbit seems to pay", scene.books.offer)
    orders = [order for venue in VENUES for order in await scene.own_orders(venue)]
    scene.demand(not orders, "no order was sent", f"{len(orders)} were")
    await scene.goes_on()


DRILLS = (
    Drill("gap", "One update of a book is lost, and the book shows a price that is gone.", _gap),
    Drill("frozen-feed", "One symbol stops under a connection that lives.", _frozen_feed),
    Drill("fx-gone", "The market that prices the fiat is empty.", _fx_gone),
)
