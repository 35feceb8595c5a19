"""What money does: rows 21 to 24 of the pains."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_world import BINANCE as BINANCE_NAME
from engine_world import World, settings
from exchange_world import BNBUSDT, BTCUSDT, KRWBTC
from exchange_world import World as Venue_World
from jumping_loop import now_ns
from pain_house import Daemon, live_through, pass_s, until
from test_exchange_properties import Crowd
from test_pains_restart import rest

from arbitrage.engine.viewing import view_of
from arbitrage.ledger import Ledger, fill_deltas
from arbitrage.model.events import Command, CommandKind, Funded
from arbitrage.model.facts import FillBooked, KillProven, OrderChanged, PairSwitched, PlanClosed, PlanOpened
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import Outcome, PlanState, Refusal, Refused
from arbitrage.model.orders import ClientOrderId, Fill, OrderState
from arbitrage.model.settings import ExecutionSettings, RiskSettings
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.nouns import Force, OrderType, SelfTrade
from arbitrage.sim.exchange.policy import BINANCE_POLICY, UPBIT_POLICY
from arbitrage.store.records import Record
from arbitrage.store.rows import Scope, rows_of_records
from arbitrage.store.statements import CLOSE_PLAN, INSERT_FILL

BNB_MARKETS = "still:BTCUSDT,BNBUSDT,KRW-BTC,KRW-USDT"
PREMIUM_PPM = 10_000


# -- row 21 ------------------------------------------------------------------------------------------------------------

FEE_MODES = {
    "base": (PREMIUM_PPM, None, {"BTC"}),
    "quote": (-PREMIUM_PPM, None, {"USDT"}),
    "bnb": (PREMIUM_PPM, 100 * E8, {"BNB"}),
    "bnb running out": (PREMIUM_PPM, E8 // 700, {"BNB", "BTC"}),
}
"""By mode: which way the coin goes (so which asset Binance takes its fee from), what there is of BNB, and who pays."""


@pytest.mark.parametrize("mode", FEE_MODES)
def test_pain_21_whoever_pays_the_fee_no_leg_exceeds_the_balance_and_each_fill_says_what_it_paid(
    mode: str, tmp_path: Path
) -> None:
    premium_ppm, bnb_e8, payers = FEE_MODES[mode]

    async def story(house: Daemon) -> None:
        town, exchange = house.town, house.town.sites["binance"].exchange
        book = exchange.markets["BTCUSDT"].book
        thin = [{side.levels(1)[0][0]: E8 // 100} for side in (book.bids, book.asks)]
        town.set_levels("binance", "BTCUSDT", *thin)  # so that an order has several fills
        await pass_s(1)
        await house.enter(premium_ppm)
        await house.quiet()
        fills = [fact.fill for fact in house.of(FillBooked) if fact.fill.venue == "binance"]
        assert len(fills) >= 2 and {fill.fee_asset for fill in fills} == payers
        true = Counter(
            {(one.fee_asset, str(one.trade_id)): one.fee_e8 for order in town.orders("binance") for one in order.executions}
        )
        assert Counter({(str(fill.fee_asset), fill.trade_id): fill.fee_e8 for fill in fills}) == true
        rejected = [fact.reason for fact in house.of(OrderChanged) if fact.state is OrderState.REJECTED]
        assert rejected == [], "no order was too large for what there is"
        for fact in house.of(FillBooked):  # and so it is stored
            batch = rows_of_records([Record(1, (fact,), ((),))], 1, Scope("test", "test", house.settings.market_symbols))
            (row,) = batch[INSERT_FILL]
            assert fact.fill.fee_e8 in row and fact.fill.fee_asset in row
            assert fact.fee_value_e8 is not None and row[-1] == fact.fee_value_e8
            dollars_e8 = fact.fill.quote_e8 // (1 if fact.fill.venue == "binance" else 1_400)
            assert 400 < fact.fee_value_e8 * 1_000_000 // dollars_e8 < 1_200, "0.05 to 0.1 % of what was traded, in USDT"
        await pass_s(10)
        await house.quiet()
        house.check_truth()

    def arrange(town: Any) -> None:
        for site in town.sites.values():  # as little as one order wants
            site.exchange.grant("BTC", E8 // 50 - site.exchange.account.free_e8("BTC"))
        exchange = town.sites["binance"].exchange
        if bnb_e8 is not None:
            exchange.settlement.named_fee_asset = "BNB"
            exchange.grant("BNB", bnb_e8 - exchange.account.free_e8("BNB"))

    live_through(story, tmp_path, BNB_MARKETS, arrange=arrange)


# -- row 22 ------------------------------------------------------------------------------------------------------------


def outcomes(house: Daemon) -> list[Outcome]:
    return [fact.outcome for fact in house.of(PlanClosed)]


def check_waterfall(outcome: Outcome) -> None:
    steps = outcome.waterfall
    assert steps is not None
    parts_e8 = (steps.transfers_e8, steps.prices_e8, steps.fees_e8, steps.legs_e8)
    assert (steps.expected_e8, steps.realised_e8) == (outcome.expected_e8, outcome.realised_e8)
    assert steps.expected_e8 + sum(parts_e8) == steps.realised_e8, "to the cent, and to the last unit"


def test_pain_22_every_closed_arbitrage_has_a_waterfall_from_expected_to_realised(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        await house.enter()
        await house.quiet()
        town.fault(Kind.SLOW, "upbit", "POST /v1/orders", contains='"side":"ask"', ms=500)  # it comes too late for the premium
        await pass_s(5)
        await house.enter()
        await house.quiet()
        whole, mended = outcomes(house)[0], next(each for each in outcomes(house) if each.state is PlanState.RECOVERED)
        town.fault(Kind.SLOW, "binance", "order.place", ms=300)
        await pass_s(5)
        buy = (await house.enter())[0]
        town.shift("binance", "BTCUSDT", -500)  # it becomes cheaper while the order travels
        await house.quiet()
        cheaper = outcomes(house)[-1].waterfall
        leg = house.of(PlanOpened)[-1].opportunity.legs[0]
        paid_e8 = sum(fact.fill.quote_e8 for fact in house.of(FillBooked) if fact.fill.client_order_id == buy.client_order_id)
        assert cheaper is not None and cheaper.prices_e8 == leg.spent_e8 - paid_e8 > 0, "a better price is told as one"
        for outcome in outcomes(house):
            check_waterfall(outcome)
        steps = whole.waterfall
        assert steps is not None and whole.state is PlanState.COMPLETED
        assert abs(steps.legs_e8) <= E8 // 100, "what filled as planned leaves nothing unexplained, to the cent"
        assert mended.waterfall is not None and mended.waterfall.legs_e8 < -E8, "what the refused leg cost"
        closed = next(fact for fact in house.of(PlanClosed))
        batch = rows_of_records([Record(1, (closed,), ((),))], 1, Scope("test", "test", ()))
        (row,) = batch[CLOSE_PLAN]
        assert msgspec.json.decode(row[-1])["realised_e8"] == closed.outcome.realised_e8, "and it is stored"

    live_through(story, tmp_path)


def test_pain_22_a_pair_that_realises_too_little_of_what_it_expects_disarms_itself() -> None:
    risk = RiskSettings(edge_ppm_max=100_000, loss_today_max="100000", drawdown_max="100000")
    execution = ExecutionSettings(cooldown_ms=1_000, realised_plans=2, realised_ratio_ppm_min=500_000)
    world = World(settings(execution=execution, risk=risk))
    world.connect()
    for part in (1, 2):
        world.lose()
        closed = [fact.outcome for fact in world.facts() if isinstance(fact, PlanClosed)]
        for outcome in closed:
            check_waterfall(outcome)
        assert closed[-1].realised_e8 < 0 < closed[-1].expected_e8
        assert bool(world.engine.pairs.off()) is (part == 2), "after its last N"
    assert [fact.is_off for fact in world.facts() if isinstance(fact, PairSwitched)] == [True]
    count = len(world.placed())
    world.premium_books()
    world.decide()
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.PAIR_DISARMED and len(world.placed()) == count


# -- row 23 ------------------------------------------------------------------------------------------------------------

FILLS = 10_000
POLICIES = {
    "binance": (msgspec.structs.replace(BINANCE_POLICY, fees_ppm={"": (-150, 400)}), [BTCUSDT, BNBUSDT]),
    "binance in BNB": (msgspec.structs.replace(BINANCE_POLICY, named_fee_asset="BNB"), [BTCUSDT, BNBUSDT]),
    "upbit": (msgspec.structs.replace(UPBIT_POLICY, fees_ppm={"KRW": (-100, 500), "": (0, 0)}), [KRWBTC]),
}
"""Makers are paid at two of them."""


def rules_of(world: Any, payment: FeePayment) -> Instrument:
    rules = world.exchange.rules(world.symbol)
    named = Asset("BNB") if payment is FeePayment.NAMED else None
    return Instrument(
        0, Venue(world.venue), rules.symbol, Asset(rules.base), Asset(rules.quote), TickTable.single(1), 1, 0, 10**20, 0,
        TradingStatus.TRADING, FeeSchedule(0, 0, payment, named),
    )  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_pain_23_profit_rebuilt_from_fills_alone_is_the_change_of_the_balances_to_the_last_unit(name: str) -> None:
    policy, specs = POLICIES[name]
    start = {"USDT": 10**15, "BTC": 10**13, "BNB": 10**11, "KRW": 10**18}
    world = Venue_World(policy, specs, start)
    payment = {"binance": FeePayment.RECEIVED, "binance in BNB": FeePayment.NAMED, "upbit": FeePayment.QUOTE}[name]
    rules, dice = rules_of(world, payment), random.Random(23)
    ledger = Ledger(lambda market: rules)
    for asset, amount_e8 in start.items():
        ledger.apply(Funded(0, Venue(world.venue), Asset(asset), amount_e8, "test"))
    if "BNB" in name or name == "binance":
        world.set(bids={"600": "100000"}, asks={"600.1": "100000"}, symbol="BNBUSDT")
    middle, tick = (100_000_000 * E8, 100_000 * E8) if name == "upbit" else (100 * E8, 7_000_000)
    crowd = Crowd(world, middle, tick)
    rebuilt: Counter[str] = Counter()
    told: Counter[Any] = Counter()

    def book(update: Any) -> None:
        one, request = update.execution, update.order.request
        if one is None:
            return
        number = update.order.order_id
        fill = Fill(
            rules.venue, 0, ClientOrderId(f"c-{number}"), f"{one.trade_id}-{number}", request.side, one.price_e8,
            one.quantity_e8, one.quote_e8, one.fee_e8, Asset(one.fee_asset), one.is_maker,
        )  # fmt: skip
        ledger.apply(FillBooked(1, fill, rules))
        for asset, change_e8 in fill_deltas(fill, rules).items():
            rebuilt[asset] += change_e8
        told[fill.is_maker, fill.fee_e8 < 0] += 1

    world.exchange.listen(book)
    sizes = [E8 // 10 * number for number in range(1, 30)] if name != "upbit" else [10_000 * number for number in range(1, 60)]
    while sum(told.values()) < FILLS:
        crowd.requote(dice.randint(-2, 2), [dice.choice(sizes) for _ in range(4)])
        for _ in range(6):
            side = dice.choice(list(Side))
            price = (crowd.middle + dice.randint(-5, 5) * tick) / E8
            world.limit(
                side, f"{price:.8f}".rstrip("0").rstrip("."), f"{dice.choice(sizes) / E8:.5f}",
                force=dice.choice([Force.GTC, Force.IOC]), self_trade=SelfTrade.CANCEL_MAKER, type=OrderType.LIMIT,
            )  # fmt: skip
        crowd.trade(dice.choice(list(Side)), dice.randint(1, 99))
    account = world.exchange.account
    account.check()
    for asset, amount_e8 in start.items():
        true_e8 = account.free_e8(asset) + account.locked_e8(asset)
        assert amount_e8 + rebuilt[asset] == true_e8, asset
        assert ledger.total_e8(Node(Venue(world.venue), Asset(asset))) == true_e8
    ledger.check()
    if name != "binance in BNB":
        assert told[True, True] > 500, "rebates were paid"
    assert told[False, False] > 500


# -- row 24 ------------------------------------------------------------------------------------------------------------


def test_pain_24_with_every_price_source_down_a_kill_stops_all_and_is_proven_by_the_venues(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        await house.enter()
        await house.quiet()
        for venue, path in (("binance", "/stream*"), ("upbit", "/websocket/v1")):
            town.fault(Kind.CUT, venue, f"socket {path}", times=0)  # type: ignore[arg-type]  # both are venues
            town.fault(Kind.HTML, venue, f"connect {path}", status=403, times=0)  # type: ignore[arg-type]  # both are venues
        board = house.engine.board
        await until(lambda: all(book.best_bid == 0.0 for book in board.books), "no price is known", 20.0)
        ours = [rest(house, venue, f"a_1-{number}-0") for venue in town.sites for number in range(900, 905)]
        theirs = [rest(house, venue, "web_1") for venue in town.sites]
        killed_ns = now_ns()
        house.door.feed([Command(killed_ns, CommandKind.KILL, "kim", "no prices")])
        await until(lambda: house.of(KillProven), "it is proven", 10.0)
        assert not any(order.is_open for order in ours) and all(order.is_open for order in theirs), "by the exchanges' truth"
        receipt = house.of(KillProven)[0].receipt
        assert {(each.venue, each.own_orders, each.foreign_orders) for each in receipt.answers} == {
            ("binance", 0, 1), ("upbit", 0, 1),
        }  # fmt: skip
        assert all(each.asked_ns > killed_ns for each in receipt.answers), "asked after the kill"
        for venue in town.sites:
            town.sites[venue].faults.clear()
        await house.restart()
        await until(lambda: not house.engine.reconciler.untradable() and board is not house.engine.board, "it is back", 30.0)
        town.shift("upbit", "KRW-BTC", PREMIUM_PPM)
        await pass_s(30)
        assert all(at_ns < killed_ns for at_ns, _ in house.placed), "no order leaves after it, a restart later either"
        assert any("kill switch" in reason for reason in house.engine.not_armed_because())
        house.door.feed([Command(now_ns(), CommandKind.RELEASE, "kim", "looked")])
        await until(lambda: house.placed[-1][0] > killed_ns, "only a release ends it", 30.0)
        town.shift("upbit", "KRW-BTC", 0, before_ppm=PREMIUM_PPM)
        await house.quiet()

    live_through(story, tmp_path)


def test_pain_24_loss_limits_act_on_money_lost_and_not_on_a_portfolio_that_nobody_can_price() -> None:
    world = World(settings(risk=RiskSettings(edge_ppm_max=100_000, loss_today_max="50", drawdown_max="100000")))
    world.connect()
    world.fund(BINANCE_NAME, Asset("XYZ"), 10**6 * E8)  # no market here values it
    world.lose()
    assert world.placed(), "what cannot be priced keeps nothing away"
    lost_e8 = -next(fact.outcome.realised_e8 for fact in world.facts() if isinstance(fact, PlanClosed))
    assert lost_e8 > 50 * E8
    count = len(world.placed())
    world.premium_books()
    world.decide()
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.LOSS_TODAY and len(world.placed()) == count
    assert last.detail.startswith(f"{lost_e8 / E8:.8f}".rstrip("0")), "by exactly what was lost"
    assert Node(BINANCE_NAME, Asset("XYZ")) in view_of(world.engine, world.now_ns).balances
