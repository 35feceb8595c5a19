"""The engine as a whole: from books to orders to booked money, by events alone."""

from __future__ import annotations

import msgspec
import pytest
from engine_world import BINANCE, BTC, KRW, MARKETS, UPBIT, USDT, World, instrument, settings

from arbitrage.engine.engine import Engine, RestoreRefused
from arbitrage.engine.judging import Judge
from arbitrage.engine.viewing import view_of
from arbitrage.model.events import (
    Command,
    CommandKind,
    Decide,
    DifferenceFound,
    InstrumentsRead,
    LinkDown,
    OrderAccepted,
    OrderUnanswered,
    Reloaded,
    Wake,
)
from arbitrage.model.facts import FillBooked, KillSwitched, LegDecided, PlanClosed, PlanOpened
from arbitrage.model.instruments import Node, TickTable
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Approved, PlanState, Refusal, Refused
from arbitrage.model.orders import OrderState
from arbitrage.model.settings import ExecutionSettings, RiskSettings, StrategySettings


def trading_world() -> World:
    world = World()
    world.connect()
    world.premium_books()
    return world


def outcome(world: World) -> PlanClosed:
    return next(fact for fact in world.facts() if isinstance(fact, PlanClosed))


def refusals(world: World) -> set[Refusal]:
    return {judged.verdict.reason for judged in world.verdicts() if isinstance(judged.verdict, Refused)}


def test_quiet_books_yield_nothing() -> None:
    world = World()
    world.connect()
    world.quiet_books()
    assert world.decide() == []
    assert world.decide() == [], "nothing changed since"
    assert world.engine.tally.decisions == 1


def test_a_premium_becomes_orders_on_every_leg_after_their_intent_is_durable() -> None:
    world = trading_world()
    effects = world.decide()
    names = [type(effect).__name__ for effect in effects]
    assert names.index("Judged") < names.index("Append") < names.index("PlaceOrder")
    assert {order.market for order in world.placed()} == {0, 1, 2}
    assert world.engine.tally.taken == 1
    opened = next(fact for fact in world.facts() if isinstance(fact, PlanOpened))
    assert [order.client_order_id for order in opened.orders] == [order.client_order_id for order in world.placed()]


def test_filled_legs_complete_with_the_profit_that_balances_show() -> None:
    world = trading_world()
    before = {asset: world.total(BINANCE, asset) + world.total(UPBIT, asset) for asset in (BTC, KRW, USDT)}
    world.decide()
    for order in world.placed():
        world.feed(OrderAccepted(world.now_ns, order.client_order_id, f"v{order.market}"))
    world.take_all()
    closed = outcome(world).outcome
    after = {asset: world.total(BINANCE, asset) + world.total(UPBIT, asset) for asset in (BTC, KRW, USDT)}
    residuals = {residual.asset: residual.amount_e8 for residual in closed.residuals}
    assert closed.state is PlanState.COMPLETED
    assert closed.realised_e8 > 0
    assert after[USDT] - before[USDT] + sum(r.value_e8 for r in closed.residuals) == closed.realised_e8
    assert {asset: after[asset] - before[asset] for asset in residuals} == residuals
    assert world.engine.tally.completed == 1
    assert view_of(world.engine, world.now_ns).realised_e8 == closed.realised_e8
    world.engine.ledger.check()


def test_a_fill_says_what_its_fee_was_worth_when_it_came_and_nothing_without_a_book() -> None:
    """Pains row 21: the fee's asset and its value are kept with every fill."""
    world = trading_world()
    world.decide()
    by_market = {order.market: order for order in world.placed()}
    world.fill(by_market[1])
    (of_won,) = [fact for fact in world.facts() if isinstance(fact, FillBooked)]
    assert of_won.fill.fee_asset == KRW and of_won.fee_value_e8 is not None
    assert of_won.fee_value_e8 == pytest.approx(of_won.fill.fee_e8 / 1_401, rel=0.01), "sold by the won's own book"
    for venue in (BINANCE, UPBIT):
        world.feed(LinkDown(world.now_ns, venue, venue, tuple(range(len(MARKETS))), "cut"))
    world.fill(by_market[0])
    last = [fact for fact in world.facts() if isinstance(fact, FillBooked)][-1]
    assert last.fill.fee_asset == BTC and last.fee_value_e8 is None


def test_a_repeated_fill_is_counted_once() -> None:
    world = trading_world()
    world.decide()
    order = world.placed()[0]
    world.fill(order)
    total = world.total(BINANCE, USDT)
    assert world.fill(order) == []
    assert world.total(BINANCE, USDT) == total
    assert sum(isinstance(fact, FillBooked) for fact in world.facts()) == 1


def test_a_leg_that_falls_short_is_governed_and_the_arbitrage_ends() -> None:
    world = trading_world()
    world.decide()
    buy, sell, fx = sorted(world.placed(), key=lambda order: order.market)
    world.take_all([buy, fx])
    world.fill(sell, sell.quantity_e8 // 2)
    world.end(sell, sell.quantity_e8 // 2)
    mending = world.placed()[3:]
    assert mending, "the governor acts at once"
    for _ in range(20):
        waiting = [order for order, _ in world.engine.desk.unfinished()]
        world.take_all(waiting)
        world.wait(1_100)
        world.feed(Wake(world.now_ns))
        if not world.engine.desk.open_plans():
            break
    assert outcome(world).outcome.state.is_terminal
    assert world.engine.tally.recovered + world.engine.tally.residual == 1


def test_no_leg_filled_is_missed_without_loss() -> None:
    world = trading_world()
    world.decide()
    for order in world.placed():
        world.end(order, 0)
    assert outcome(world).outcome.realised_e8 == 0
    assert world.engine.tally.missed == 1


def test_a_plan_that_cannot_be_mended_ends_with_its_residual() -> None:
    world = trading_world()
    world.decide()
    buy, *rest = sorted(world.placed(), key=lambda order: order.market)
    world.take_all([buy])
    for order in rest:
        world.end(order, 0, OrderState.REJECTED)
    world.feed(LinkDown(world.now_ns, BINANCE, "binance", (0,), "gone"), LinkDown(world.now_ns, UPBIT, "upbit", (1, 2), "gone"))
    for order, _ in world.engine.desk.unfinished():
        world.end(order, 0)
    world.wait(60_000)
    world.feed(Wake(world.now_ns))
    closed = outcome(world).outcome
    assert closed.state is PlanState.CLOSED_WITH_RESIDUAL
    assert world.engine.tally.residual == 1
    assert {residual.asset for residual in closed.residuals} == {BTC}


def test_an_unanswered_order_is_asked_and_never_sent_again() -> None:
    world = trading_world()
    world.decide()
    count = len(world.placed())
    order = world.placed()[0]
    world.feed(OrderUnanswered(world.now_ns, order.client_order_id))
    world.wait(2_000)
    effects = world.feed(Wake(world.now_ns))
    assert any(type(effect).__name__ == "QueryOrder" for effect in effects)
    assert len(world.placed()) == count


def test_the_same_cycle_rests_while_it_is_worked_and_after() -> None:
    world = trading_world()
    world.decide()
    world.premium_books()
    world.decide()
    assert refusals(world) == {Refusal.PAIR_BUSY}
    world.take_all()
    world.wait(10)
    world.premium_books()
    world.decide()
    assert refusals(world) == {Refusal.PAIR_BUSY}, "it cools down"
    world.wait(2_000)
    world.premium_books()
    world.decide()
    assert world.engine.tally.taken == 2


@pytest.mark.parametrize(("kind", "undo", "reason"), [
    (CommandKind.KILL, CommandKind.RELEASE, Refusal.KILL_SWITCH),
    (CommandKind.PAUSE, CommandKind.RESUME, Refusal.PAUSED),
])  # fmt: skip
def test_an_operator_can_stop_new_entries_and_allow_them_again(kind: CommandKind, undo: CommandKind, reason: Refusal) -> None:
    world = trading_world()
    world.feed(Command(world.now_ns, kind, "operator", "test"))
    world.decide()
    assert refusals(world) == {reason}
    assert not world.placed()
    assert any("test" in text for text in world.engine.not_armed_because())
    world.feed(Command(world.now_ns, undo, "operator", "fine"))
    world.premium_books()
    world.decide()
    assert world.placed()


def test_a_difference_disarms_until_it_is_accepted() -> None:
    world = trading_world()
    world.feed(DifferenceFound(world.now_ns, "3 BTC nobody knows of"))
    world.decide()
    assert refusals(world) == {Refusal.NOT_ARMED}
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "operator", "looked"))
    assert world.engine.not_armed_because() == ()
    world.premium_books()
    world.decide()
    assert world.placed()


def test_nothing_trades_before_the_journal_reported_and_none_enters_when_it_is_full() -> None:
    world = World(is_store_reported=False)
    assert len(world.engine.not_armed_because()) == 2, "no journal, no rules"
    world.connect()
    world.premium_books()
    world.decide()
    assert refusals(world) == {Refusal.NOT_ARMED}
    world.report_store(is_journal_full=True, journal_bytes_waiting=99)
    assert "99 bytes" in world.engine.not_armed_because()[0]
    world.premium_books()
    world.decide()
    assert not world.placed()
    assert world.reports() == ["journal_full"]


def test_a_store_that_goes_and_comes_is_said_once_each_and_stops_nothing() -> None:
    world = World(is_store_reported=False)
    world.report_store(is_postgres_up=False)
    assert world.reports() == [], "not up yet is not away"
    world.connect()
    world.premium_books()
    assert world.report_store() == []
    world.report_store(is_postgres_up=False, is_redis_up=False)
    assert world.report_store(is_postgres_up=False, is_redis_up=False) == []
    world.report_store()
    world.report_store(is_journal_full=True)
    assert world.report_store(is_journal_full=True) == []
    assert world.reports() == ["postgresql", "redis", "postgresql", "redis", "journal_full"]
    world.report_store()
    world.decide()
    assert world.placed()


def test_a_lost_lease_keeps_new_entries_away() -> None:
    world = trading_world()
    world.report_store(lease_fault="another instance holds the lease")
    world.decide()
    assert refusals(world) == {Refusal.NOT_ARMED}
    assert world.engine.not_armed_because() == ("another instance holds the lease",)


@pytest.mark.parametrize("is_silenced", [False, True])
def test_a_naked_leg_is_mended_without_a_lease_only_where_nobody_else_can_hold_it(is_silenced: bool) -> None:
    world = trading_world()
    world.decide()
    orders = world.placed()
    world.report_store(lease_fault="the lease is lost", is_silenced=is_silenced)
    for order in orders:
        filled_e8 = order.quantity_e8 if order is orders[0] else 0
        if filled_e8:
            world.fill(order)
        world.end(order, filled_e8)
    assert bool(world.placed()[len(orders) :]) is not is_silenced
    decided = [fact for fact in world.facts() if isinstance(fact, LegDecided)]
    assert (": the lease is lost" in str(decided)) is is_silenced
    if is_silenced:
        world.report_store()
        world.wait(2_000)
        world.premium_books()
        world.feed(Wake(world.now_ns))
        assert world.placed()[len(orders) :], "what could not be sent is sent when the lease is held again"


def test_a_judge_that_is_told_nothing_holds_nothing_against_anybody() -> None:
    world = trading_world()
    world.decide()
    engine = world.engine
    alone = Judge(engine.board, engine.ledger, engine.desk, engine.guard, engine.quotes)
    view = alone.view(world.verdicts()[0].opportunity, world.now_ns)
    assert view.doubts == {} and all(health.is_connected for health in view.venues.values())


def test_a_changed_rule_holds_the_symbol_until_it_is_accepted() -> None:
    world = trading_world()
    changed = instrument(0, lot_e8=2_000)
    world.feed(InstrumentsRead(world.now_ns, BINANCE, (changed,)))
    world.decide()
    assert not world.placed()
    assert "symbol_held" in world.engine.tally.refused
    assert any(line.verdict == "symbol_held" for line in view_of(world.engine, world.now_ns).opportunities)
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_INSTRUMENTS, "operator", "read it"))
    world.premium_books()
    world.decide()
    assert world.placed()


def test_a_reload_swaps_the_limits_whole() -> None:
    world = trading_world()
    strict = settings(risk=RiskSettings(edge_ppm_max=100_000, profit_min="1000000"))
    world.feed(Reloaded(world.now_ns, strict, "v2"))
    world.decide()
    assert refusals(world) == {Refusal.BELOW_THRESHOLD}
    bad = settings(strategy=StrategySettings(reporting_asset="KRW"))
    with pytest.raises(ValueError, match="reporting_asset"):
        world.feed(Reloaded(world.now_ns, bad, "v3"))
    assert world.engine.settings == strict


def test_state_survives_by_snapshot_and_by_facts_alike() -> None:
    world = trading_world()
    world.decide()
    world.fill(world.placed()[0])
    world.feed(Command(world.now_ns, CommandKind.PAUSE, "operator", "lunch"))
    snapshot = world.engine.snapshot("s", world.now_ns, len(world.facts()))
    by_snapshot = Engine(settings(), MARKETS, id_prefix="u")
    assert by_snapshot.restore(snapshot, []) == 0
    by_facts = Engine(settings(), MARKETS, id_prefix="u")
    facts = msgspec.convert(msgspec.to_builtins(world.facts()), list)
    assert len(facts) == by_facts.restore(None, world.facts())  # type: ignore[arg-type]  # facts are facts
    for engine in (by_snapshot, by_facts):
        assert engine.snapshot("s", world.now_ns, len(world.facts())) == snapshot
        assert len(engine.desk.unfinished()) == len(world.placed()) - 1


def test_snapshot_and_tail_equal_the_whole() -> None:
    world = trading_world()
    world.decide()
    middle = world.engine.snapshot("s", world.now_ns, 0)
    count = len(world.facts())
    world.take_all()
    engine = Engine(settings(), MARKETS, id_prefix="u")
    engine.restore(middle, world.facts()[count:])  # type: ignore[arg-type]  # facts are facts
    assert engine.snapshot("s", 1, 2) == world.engine.snapshot("s", 1, 2)
    assert engine.tally.completed == 1


def test_a_section_that_does_not_decode_takes_nothing_over() -> None:
    world = trading_world()
    snapshot = world.engine.snapshot("s", 1, 1)
    bad = msgspec.structs.replace(snapshot, sections={**snapshot.sections, "guard": msgspec.Raw(b"[]")})
    engine = Engine(settings(), MARKETS, id_prefix="u")
    with pytest.raises(msgspec.ValidationError):
        engine.restore(bad, [])
    assert engine.ledger.nodes() == ()


def test_a_kill_is_a_fact_and_survives() -> None:
    world = trading_world()
    world.feed(Command(world.now_ns, CommandKind.KILL, "operator", "smoke"))
    assert any(isinstance(fact, KillSwitched) for fact in world.facts())
    engine = Engine(settings(), MARKETS, id_prefix="u")
    engine.restore(world.engine.snapshot("s", 1, 1), [])
    assert "smoke" in engine.not_armed_because()[0]


def test_the_view_shows_every_market_and_balance() -> None:
    world = trading_world()
    view = view_of(world.engine, world.now_ns)
    assert [market.symbol for market in view.markets] == [symbol for _, symbol in MARKETS]
    assert all(market.doubt is None for market in view.markets)
    assert view.is_armed
    assert {health.venue for health in view.venues} == {BINANCE, UPBIT}
    assert (1 * E8, 0) in view.balances.values()
    world.feed(LinkDown(world.now_ns, BINANCE, "binance", (0,), "cut"))
    assert view_of(world.engine, world.now_ns).markets[0].doubt == "link_down"


def test_cycles_remembered_after_their_end_are_bounded() -> None:
    world = trading_world()
    world.engine.judge._closed_at_ns.update(dict.fromkeys(range(10_000, 11_000), 0))
    world.decide()
    world.take_all()
    assert len(world.engine.judge._closed_at_ns) == 1_000


def test_an_unsettled_desk_that_never_rests_is_broken() -> None:
    world = trading_world()
    world.decide()

    class Restless:
        settings = ExecutionSettings()

        is_idle = False

        def advance(self, now_ns: int, quotes: object) -> list[object]:
            return [Decide(now_ns)]

    world.engine.desk = Restless()  # type: ignore[assignment]  # a desk that is wrong on purpose
    with pytest.raises(AssertionError, match="never comes to rest"):
        world.feed(Wake(world.now_ns))


def test_approved_is_what_was_judged() -> None:
    world = trading_world()
    world.decide()
    judged = world.verdicts()[0]
    assert isinstance(judged.verdict, Approved)
    assert judged.verdict.opportunity == judged.opportunity


def test_another_list_of_markets_is_refused_while_orders_are_open_and_taken_over_when_none_is() -> None:
    world = trading_world()
    world.decide()
    busy = world.engine.snapshot("s", 1, 1)
    shifted = (("binance", "ETHUSDT"), *MARKETS)
    with pytest.raises(RestoreRefused, match="put the old list back"):
        Engine(settings(), shifted, id_prefix="u").restore(busy, [])
    world.take_all()
    engine = Engine(settings(), shifted, id_prefix="u")
    engine.restore(world.engine.snapshot("s", 1, 1), [])
    assert engine.ledger.rules() == ()


def test_a_price_off_the_grid_values_nothing_and_breaks_nothing() -> None:
    world = trading_world()
    quotes = world.engine.quotes
    quotes.now_ns = world.now_ns
    assert quotes.value_in_reporting(BTC, E8 // 100) is not None
    world.feed(InstrumentsRead(world.now_ns, BINANCE, (instrument(0, ticks=TickTable.single(7 * E8)),)))
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_INSTRUMENTS, "operator", "new grid"))
    world.depth(99_990.5, 100_010.5, 0.5)
    assert quotes.value_in_reporting(BTC, E8 // 100) is not None, "by way of the won"
    world.wait(60_000)
    assert quotes.unit_quote(Node(BINANCE, BTC)) is None


def test_funds_that_an_earlier_opportunity_reserved_refuse_the_next_of_the_same_decision() -> None:
    world = trading_world()
    world.decide()
    judged = world.verdicts()[0]
    assert isinstance(judged.verdict, Approved)
    world.fund(BINANCE, USDT, -world.engine.ledger.free_e8(Node(BINANCE, USDT)))
    plan = world.engine.desk.start(judged.verdict, world.now_ns)
    refused = world.engine._covered(judged.verdict, plan)
    assert isinstance(refused, Refused) and refused.reason is Refusal.INSUFFICIENT_BALANCE


def test_the_guard_is_told_of_every_doubt_of_a_cycle() -> None:
    world = trading_world()
    world.decide()
    opportunity = world.verdicts()[0].opportunity
    world.feed(LinkDown(world.now_ns, BINANCE, "binance", (0,), "cut"))
    view = world.engine.judge.view(opportunity, world.now_ns)
    assert {market: refused.reason for market, refused in view.doubts.items()} == {0: Refusal.VENUE_UNHEALTHY}
    assert view.quotes == {}, "nobody asks whether a confirmed coin is one"
    assert set(view.busy_markets) == {0, 1, 2}
    trading = settings()
    world.engine.guard.configure(trading.risk, trading.market_data, StrategySettings())
    view = world.engine.judge.view(opportunity, world.now_ns)
    assert Node(BINANCE, BTC) not in view.quotes
    assert Node(UPBIT, BTC) in view.quotes


def test_a_session_kept_in_another_reporting_asset_is_refused_before_anything_is_taken_over() -> None:
    world = trading_world()
    snapshot = world.engine.snapshot("s", 1, 1)
    other = settings(strategy=StrategySettings(reporting_asset="KRW", transfers=settings().strategy.transfers))
    engine = Engine(other, MARKETS, id_prefix="u")
    with pytest.raises(RestoreRefused, match="session_name"):
        engine.restore(snapshot, [])
    assert engine.ledger.nodes() == ()
