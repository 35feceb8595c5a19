"""What only Upbit does: rows 14 to 17 of the pains."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from engine_world import BINANCE, BTC, UPBIT, World, settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jumping_loop import now_ns, run_jumping
from pain_house import STILL, feeding, ids_of, pass_s, settings_of, town_of
from upbit_account_lab import World as Account
from upbit_account_lab import play, query
from upbit_lab import TRADER

from arbitrage.engine.quotes import BookQuotes
from arbitrage.market.board import Board
from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import PlaceOrder
from arbitrage.model.events import OrderEnded
from arbitrage.model.instruments import Side, TickTable, Venue
from arbitrage.model.money import E8, Asset, parse_e8
from arbitrage.model.orders import OrderState
from arbitrage.model.settings import MarketDataSettings, RiskSettings
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.nouns import Force, HeldOrder, OrderRequest, OrderType, Rejection, SelfTrade, Status, Why
from arbitrage.sim.exchange.policy import UPBIT_POLICY
from arbitrage.sim.scenarios.ticks import upbit_market
from arbitrage.sim.server.book import TruthBook
from arbitrage.sim.server.upbit_errors import UpbitRefusal
from arbitrage.sim.server.upbit_keys import KeyRing, UpbitKey
from arbitrage.sim.server.upbit_limits import Tally
from arbitrage.venues.factory import make_session
from arbitrage.venues.trading import Credentials
from arbitrage.venues.upbit.orders_wire import order_pairs
from arbitrage.venues.upbit.rules import TICK_TABLES
from arbitrage.venues.upbit.signing import Signer, hashed_text

NONCE_USED = '{"error":{"name":"nonce_used","message":"already used"}}'
ORDER = [("market", "KRW-BTC"), ("side", "bid"), ("ord_type", "limit"), ("price", "100000000"), ("volume", "0.001")]
BURST = 200


# -- row 14 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stream", "query"])
def test_pain_14_a_market_buy_that_ends_cancel_is_filled_by_its_volume_and_trades(way: str) -> None:
    async def scene(it: Account, session: Any) -> None:
        if way == "query":
            it.fault(Kind.SILENT_PRIVATE)
        request = OrderRequest(
            "KRW-BTC", Side.BUY, OrderType.MARKET, Force.IOC, None, None, parse_e8("150000"), "a-1", SelfTrade.NONE
        )
        held = it.lab.exchange.place(request)
        assert isinstance(held, HeldOrder) and held.status is Status.CANCELED and held.executed_e8 > 0
        if way == "query":
            session.submit(query("a-1"))
        ended = await it.until_ended("a-1")
        assert ended.reason == "cancel", "that is the word of the venue"
        assert (ended.state, ended.filled_quantity_e8) == (OrderState.FILLED, held.executed_e8), "and this is what it means"
        it.check_fills("a-1")

    play(scene)


def test_pain_14_in_the_engine_too_fills_decide_and_not_the_word() -> None:
    world = World()
    world.connect()
    world.premium_books()
    world.decide()
    order = next(each for each in world.placed() if each.venue == UPBIT)
    world.feed(OrderEnded(world.now_ns, order.client_order_id, OrderState.CANCELLED, order.quantity_e8, "cancel"))
    world.fill(order)
    worked = world.engine.desk.worked(order.client_order_id)
    assert worked is not None and worked.filled_quantity_e8 == order.quantity_e8 and worked.is_settled
    assert not worked.is_short


# -- row 15 ------------------------------------------------------------------------------------------------------------

MIDDLE = 140_000_000.0
"""What 100,000 USDT are in won; fees and spreads keep premiums of less than about half a per cent from paying."""
STEP_E8 = 1_000
"""Binance's lot, the coarser of the two."""


@pytest.mark.parametrize("percent", [*range(-10, 0), *range(1, 21)])
def test_pain_15_both_legs_agree_in_coins_within_one_step_at_any_premium(percent: int) -> None:
    world = World(settings(risk=RiskSettings(edge_ppm_max=1_000_000)))
    world.connect()
    world.quiet_books()
    price = MIDDLE * (1 + percent / 100)
    for _ in range(4):  # a jump of the price is believed once it was confirmed
        world.wait(1)
        world.picture(1, price - 50_000, price + 50_000, 0.5)
    world.decide()
    orders = {order.market: order for order in world.placed()}
    coin = {market: next(each for each in orders.values() if each.market == market) for market in (0, 1)}
    assert coin[0].side is (Side.BUY if percent > 0 else Side.SELL) and coin[1].side is coin[0].side.opposite
    before = world.total(BINANCE, BTC) + world.total(UPBIT, BTC)
    won = world.total(UPBIT, Asset("KRW"))
    world.take_all()
    after = world.total(BINANCE, BTC) + world.total(UPBIT, BTC)
    assert abs(after - before) <= STEP_E8, "bought less its fee is what was sold, to one step"
    wire = dict(order_pairs(coin[1], "KRW-BTC"))
    assert wire["ord_type"] == "limit" and parse_e8(wire["volume"]) == coin[1].quantity_e8, "coins are ordered, and never won"
    won_left_e8 = abs(world.total(UPBIT, Asset("KRW")) - won)
    value_e8 = BookQuotes.value_in_reporting(world.engine.quotes, Asset("KRW"), won_left_e8)
    assert value_e8 is not None and value_e8 <= E8, "what the won leg leaves is dust by the residual rule"
    assert not world.engine.desk.open_plans() and not world.engine.dust.naked
    world.engine.ledger.check()


# -- row 16 ------------------------------------------------------------------------------------------------------------


def test_pain_16_two_hundred_signed_requests_in_one_second_have_a_nonce_each() -> None:
    class Stuck(random.Random):
        def getrandbits(self, count: int) -> int:
            return 0

    signer = Signer(Credentials(TRADER.access_key, TRADER.secret.encode()), Stuck(), lambda: 5)
    ring = KeyRing((UpbitKey.of(TRADER, 0),), Tally())
    began = time.monotonic()
    tokens = [signer.authorization(ORDER) for _ in range(BURST)]
    assert time.monotonic() - began < 1.0
    for token in tokens:  # the venue refuses a nonce that it saw before, and a signature that does not fit
        assert ring.verify(token, hashed_text(ORDER), 5).access_key == TRADER.access_key
    with pytest.raises(UpbitRefusal, match="nonce_used"):
        ring.verify(tokens[0], hashed_text(ORDER), 5)


def test_pain_16_the_venue_sees_no_nonce_twice_in_a_burst() -> None:
    async def scene(it: Account, session: Any) -> None:
        for number in range(BURST):
            session.submit(query(f"x-{number}"))
        await pass_s(20.0)  # those whose turn does not come in time are told, and not sent
        assert set(it.lab.server.tally.refused) == {"order_not_found"}, "no nonce_used among them"
        assert it.lab.server.tally.refused["order_not_found"] >= BURST // 4

    play(scene, seconds=60)


def test_pain_16_a_used_nonce_is_replaced_once_with_the_same_identifier() -> None:
    async def scene(it: Account, session: Any) -> None:
        it.fault(Kind.ERROR_BEFORE, "POST /v1/orders", status=401, body=NONCE_USED)
        session.submit(PlaceOrder(it.order("a-1")))
        assert (await it.until_ended("a-1")).state is OrderState.FILLED
        assert it.placed("a-1") == 1
        it.fault(Kind.ERROR_BEFORE, "POST /v1/orders", status=401, body=NONCE_USED, times=2)
        session.submit(PlaceOrder(it.order("a-2")))
        assert (await it.until_ended("a-2")).state is OrderState.REJECTED, "once, and not again"
        assert it.placed("a-2") == 0

    play(scene)


# -- row 17 ------------------------------------------------------------------------------------------------------------


def exchange_of(quote: str) -> Exchange:
    spec = upbit_market(f"{quote}-XYZ", origin="published")
    made = Exchange("upbit", [spec], UPBIT_POLICY, {quote: 10**30, "XYZ": 10**30}, lambda: 1)
    made.attach({spec.symbol: TruthBook()}, lambda change: None)
    return made


EXCHANGES = {quote: exchange_of(quote) for quote in TICK_TABLES}
EDGES = {quote: [band.price_from_e8 for band in table.bands] for quote, table in TICK_TABLES.items()}


def is_taken(quote: str, side: Side, price_e8: int) -> bool:
    """Ask the exchange, which has a table of its own, whether a price is on its grid."""
    quantity_e8 = -(-(10**14) // price_e8) * E8
    request = OrderRequest(f"{quote}-XYZ", side, OrderType.LIMIT, Force.IOC, price_e8, quantity_e8, None, "", SelfTrade.NONE)
    refusal = EXCHANGES[quote].check(request)
    return not (isinstance(refusal, Rejection) and refusal.why is Why.PRICE_FILTER)


@pytest.mark.parametrize("quote", list(TICK_TABLES))
@examples(max_examples=150, deadline=None)
@given(data=st.data())
def test_pain_17_in_every_band_a_buy_is_rounded_down_and_a_sale_up_onto_the_grid(quote: str, data: st.DataObject) -> None:
    table: TickTable = TICK_TABLES[quote]
    band = data.draw(st.integers(0, len(EDGES[quote]) - 1))
    low_e8 = max(EDGES[quote][band], 1)
    high_e8 = EDGES[quote][band + 1] - 1 if band + 1 < len(EDGES[quote]) else low_e8 * 1_000
    wanted_e8 = data.draw(st.integers(low_e8, high_e8))
    buy_e8, sell_e8 = table.floor(wanted_e8), table.ceil(wanted_e8)
    tick_e8 = table.tick_e8_at(wanted_e8)
    assert wanted_e8 - tick_e8 < buy_e8 <= wanted_e8 <= sell_e8 < wanted_e8 + max(tick_e8, table.tick_e8_at(sell_e8))
    for side, price_e8 in ((Side.BUY, buy_e8), (Side.SELL, sell_e8)):
        assert price_e8 == 0 or is_taken(quote, side, price_e8)
    off_e8 = buy_e8 + tick_e8 // 2
    assert tick_e8 == 1 or not is_taken(quote, Side.BUY, off_e8), "the exchange would see a wrong one"


def test_pain_17_a_changed_tick_is_noticed_within_the_hour_and_holds_the_symbol_until_reloaded() -> None:
    changed = {"binance": "BTCUSDT", "upbit": "KRW-BTC"}

    async def scene() -> None:
        async with town_of(STILL, is_still=True) as town:  # the rules are all that matters here
            settings = settings_of(town, "paper", {})
            board = Board(settings.market_symbols, MarketDataSettings())
            wiring = feeding(board.apply)
            sessions = [
                make_session(Venue(name), section, ids_of(settings, name), wiring) for name, section in settings.venues.items()
            ]
            running = [asyncio.get_running_loop().create_task(session.run()) for session in sessions]
            markets = [settings.market_symbols.index(key) for key in changed.items()]
            await pass_s(1_000.0)
            assert all(board.doubt(market, now_ns()) is not Doubt.HELD for market in markets)
            for venue, symbol in changed.items():
                town.fault(Kind.RULES, venue, symbol=symbol, fields={"tick": "2000"})  # type: ignore[arg-type]  # both are venues
            await pass_s(3_600.0)
            assert [board.doubt(market, now_ns()) for market in markets] == [Doubt.HELD, Doubt.HELD], "until somebody looks"
            board.accept_instruments()
            for market in markets:
                assert board.doubt(market, now_ns()) is not Doubt.HELD
                rules = board.instruments[market]
                assert rules is not None and rules.ticks.tick_e8_at(10**16) == 2_000 * E8
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    run_jumping(scene())
