"""Both legs of an arbitrage move the same coins at any premium; a leg that falls short is decided about at once. Row 15."""

from __future__ import annotations

import time

from engine_world import BINANCE, BTC, MS, UPBIT, World, instrument, settings
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from arbitrage.ledger import fill_deltas
from arbitrage.model.effects import Append, PlaceOrder
from arbitrage.model.events import OrderAccepted, OrderFilled, OrdersHeld, Wake
from arbitrage.model.facts import FillBooked, LegDecided, OrderIntended, PlanClosed, PlanOpened
from arbitrage.model.instruments import Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Leg, LegChoice, PlanState, Refused
from arbitrage.model.orders import Fill, Order, OrderState
from arbitrage.model.settings import ExecutionSettings, RiskSettings

STEP_E8 = max(instrument(market).lot_e8 for market in (0, 1))
"""The coarser of both venues' lots."""
DECISION_MS_MAX = 100
BOUNDLESS = RiskSettings(
    edge_ppm_max=1_000_000,
    **dict.fromkeys(
        (
            "notional_per_order_max",
            "notional_per_opportunity_max",
            "notional_per_pair_max",
            "notional_per_venue_max",
            "exposure_per_asset_max",
        ),
        "1000000",
    ),
)
premiums = st.one_of(st.integers(-100_000, -6_000), st.integers(6_000, 200_000))
"""In parts per million; between them nothing pays."""
sizes = st.floats(0.002, 0.3)


def at_premium(premium_ppm: int, size: float) -> World:
    """Decide once with so much of a premium at Upbit, and so many coins on every level."""
    world = World(settings(risk=BOUNDLESS, execution=ExecutionSettings()))
    world.connect()
    world.depth(99_990.0, 100_010.0, round(size, 5))
    won = 140_000_000 * (1_000_000 + premium_ppm) / 1_000_000
    world.picture(1, won - 50_000, won + 50_000, round(size, 8))
    world.picture(2, 1_399.0, 1_401.0, 100_000.0)
    world.decide()
    return world


def bought_less_sold_e8(world: World) -> int:
    """Return by how many coins the fills of both venues differ, fees included."""
    fills = [fact.fill for fact in world.facts() if isinstance(fact, FillBooked)]
    return sum(fill_deltas(fill, instrument(fill.market)).get(BTC, 0) for fill in fills)


def fill_as_sized(world: World, order: Order, leg: Leg) -> None:
    """Fill an order at the prices its leg was sized by, which are those of the levels shown and not its limit."""
    is_fee_spent = leg.fee_asset == leg.spent.asset
    spent_e8, received_e8 = leg.spent_e8 - is_fee_spent * leg.fee_e8, leg.received_e8 + (not is_fee_spent) * leg.fee_e8
    quantity_e8, quote_e8 = (received_e8, spent_e8) if leg.side is Side.BUY else (spent_e8, received_e8)
    assert quantity_e8 == order.quantity_e8
    name = order.client_order_id
    price_e8, fee = order.price_e8, (leg.fee_e8, leg.fee_asset)
    fill = Fill(order.venue, order.market, name, f"{name}-1", order.side, price_e8, quantity_e8, quote_e8, *fee)
    world.feed(OrderFilled(world.now_ns, fill))
    world.end(order, quantity_e8, OrderState.FILLED)


@tries(max_examples=60, deadline=None)
@given(premiums, sizes)
def test_coins_of_both_legs_agree_within_one_step_as_sized_and_as_filled(premium_ppm: int, size: float) -> None:
    """Pains row 15: from -10 % to +20 %, the fee that is taken in coins included."""
    world = at_premium(premium_ppm, size)
    (opened,) = [fact for fact in world.facts() if isinstance(fact, PlanOpened)]
    legs = {leg.market: leg for leg in opened.opportunity.legs}
    here, there = legs[0], legs[1]
    assert (here.side, there.side) == ((Side.BUY, Side.SELL) if premium_ppm > 0 else (Side.SELL, Side.BUY))
    bought, sold = (here, there) if here.side is Side.BUY else (there, here)
    assert 0 <= bought.received_e8 - sold.spent_e8 < STEP_E8
    for order in world.placed():
        fill_as_sized(world, order, legs[order.market])
    assert 0 <= bought_less_sold_e8(world) < STEP_E8
    assert len(world.placed()) == 3, "nothing needed mending"
    (closed,) = [fact.outcome for fact in world.facts() if isinstance(fact, PlanClosed)]
    assert closed.state is PlanState.COMPLETED and closed.realised_e8 > 0


@tries(max_examples=60, deadline=None)
@given(premiums, sizes, st.integers(0, 100), st.integers(0, 100))
def test_coins_agree_after_the_governor_too(premium_ppm: int, size: float, here: int, there: int) -> None:
    """However much of each leg filled, what is left of the coin is under a step, or too small to be traded at all."""
    world = at_premium(premium_ppm, size)
    assert len(world.placed()) == 3
    for order in world.placed():
        part = {0: here, 1: there}.get(order.market, 100)
        filled_e8 = order.quantity_e8 * part // 100 // instrument(order.market).lot_e8 * instrument(order.market).lot_e8
        if filled_e8:
            world.fill(order, filled_e8)
        world.end(order, filled_e8)
    for turn in range(20):
        if turn > 10 and not world.engine.desk.open_plans():
            break  # a hedge of what a hedge left may just have begun: the market of this world has no minimum
        for order, _ in world.engine.desk.unfinished():
            world.take_all([order])
        world.wait(3_000)
        world.quiet_books()
        world.feed(Wake(world.now_ns))
    assert world.engine.desk.open_plans() == []
    left_e8 = bought_less_sold_e8(world)
    dust_e8 = 2 * E8 * E8 // (90_000 * E8)
    assert abs(left_e8) < STEP_E8 + dust_e8, "a dollar's worth of dust, or less than a venue takes"


def test_a_rejected_leg_is_decided_about_in_the_step_that_brings_the_rejection() -> None:
    """Pains row 1: three prices, written down before the order they lead to leaves; nothing waits for a timer."""
    slowest_ns = 0
    for _ in range(20):
        world = at_premium(20_000, 0.2)
        buy, sell, back = sorted(world.placed(), key=lambda order: order.market)
        world.take_all([buy])
        world.end(back, 0)
        world.feed(OrderAccepted(world.now_ns, sell.client_order_id, "v"))
        began_ns = time.perf_counter_ns()
        effects = world.end(sell, 0, OrderState.REJECTED)
        slowest_ns = max(slowest_ns, time.perf_counter_ns() - began_ns)
        (decided,) = [each.fact for each in effects if isinstance(each, Append) and isinstance(each.fact, LegDecided)]
        assert [choice.choice for choice in decided.alternatives] == list(LegChoice)
        assert all(choice.cost_e8 is not None for choice in decided.alternatives), "all three are priced"
        cheapest = min(decided.alternatives, key=lambda choice: choice.cost_e8 or 0)
        assert decided.choice is cheapest.choice is LegChoice.COMPLETE
        (sent,) = [each.order for each in effects if isinstance(each, PlaceOrder)]
        assert sent == cheapest.order and sent.valid_until_ns == world.now_ns + 2_000 * MS
        kinds = [type(each.fact) if isinstance(each, Append) else type(each) for each in effects]
        assert kinds.index(LegDecided) < kinds.index(OrderIntended) < kinds.index(PlaceOrder)
        world.premium_books()
        count = len(world.placed())
        world.decide()
        assert len(world.placed()) == count, "no new entry on the pair meanwhile"
    assert slowest_ns < DECISION_MS_MAX * MS


def test_waiting_is_priced_with_the_volatility_that_the_engine_measured() -> None:
    """The same shortfall at the same prices: where the market swings, waiting costs more, and is written down so."""
    costs = []
    for swing in (0.0, 50.0, 100.0):
        world = at_premium(20_000, 0.2)
        buy, sell, back = sorted(world.placed(), key=lambda order: order.market)
        world.end(back, 0)
        world.take_all([buy])
        for second in range(40):
            world.engine.quotes.volatility.sample(world.engine.board.books, world.now_ns + second * 1_000 * MS)
            shift = 0.0 if second % 2 else swing
            world.depth(99_990.0 + shift, 100_010.0 + shift, 0.2)
        effects = world.end(sell, 0, OrderState.REJECTED)
        (decided,) = [each.fact for each in effects if isinstance(each, Append) and isinstance(each.fact, LegDecided)]
        hold = decided.alternatives[-1]
        assert hold.choice is LegChoice.HOLD and hold.cost_e8 is not None
        costs.append(hold.cost_e8)
    calm_e8, some_e8, wild_e8 = costs
    assert 0 < calm_e8 < some_e8 and abs(wild_e8 - 2 * some_e8) < some_e8 // 10, "in proportion to the swing"


def test_no_venue_is_named_twice_by_one_id() -> None:
    """Ids of all attempts of one intent differ, at either venue: Binance would repeat one, Upbit refuse it."""
    world = at_premium(20_000, 0.2)
    orders = sorted(world.placed(), key=lambda order: order.market)
    world.take_all([orders[0]])
    for order in orders[1:]:
        world.end(order, 0, OrderState.REJECTED)
    for _ in range(2):
        for order, _ in world.engine.desk.unfinished():
            world.end(order, 0, OrderState.REJECTED)
    ids = [order.client_order_id for order in world.placed()]
    assert len(ids) == len(set(ids)) > len(orders)
    assert {order.venue for order in world.placed()} >= {BINANCE}


def test_where_a_venue_takes_no_order_nothing_is_sent_until_it_does_again() -> None:
    """A 429 or a spent budget: to intend an order all the same is an entry on one leg, or an attempt at a naked one wasted."""
    world = World()
    world.connect()
    world.feed(OrdersHeld(world.now_ns, UPBIT, world.now_ns + 1_500 * MS))
    world.feed(OrdersHeld(world.now_ns, UPBIT, world.now_ns + 500 * MS))
    world.feed(OrdersHeld(world.now_ns, BINANCE, world.now_ns))
    assert list(world.engine.desk.closed_venues) == [UPBIT], "what is over on its arrival holds nothing"
    world.premium_books()
    world.decide()
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and "it takes no order of ours for now" in last.detail and not world.placed()
    world.wait(1_000)
    world.feed(Wake(world.now_ns))
    assert list(world.engine.desk.closed_venues) == [UPBIT], "a shorter word does not end a longer hold"
    world.wait(600)
    world.feed(Wake(world.now_ns))
    assert world.engine.desk.closed_venues == {}
    world.premium_books()
    world.decide()
    assert world.placed()
