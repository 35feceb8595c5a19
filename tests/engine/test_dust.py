"""Leftovers under a venue's minimum add up in sight and are hedged once tradable: pains row 4, through the whole engine."""

from __future__ import annotations

import msgspec
from engine_world import BINANCE, BTC, MARKETS, UPBIT, USDT, World, instrument, settings

from arbitrage.engine.dust import LOOK_NS
from arbitrage.engine.engine import Engine
from arbitrage.engine.viewing import view_of
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.model.events import Command, CommandKind, InstrumentsRead, LinkDown, OrderAbsent, Wake, WalletsRead
from arbitrage.model.facts import PlanOpened, ResidueWrittenOff
from arbitrage.model.instruments import FeePayment, FeeSchedule, Node, Side
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import PlanState, Refusal, Refused
from arbitrage.model.orders import OrderState
from arbitrage.model.settings import ExecutionSettings, TradingSettings

NOTIONAL_E8_MIN = 1_000 * E8
"""A minimum large enough that what is left is worth more than dust, and is still too small to trade."""


def trading(**execution: object) -> World:
    made: TradingSettings = settings(execution=ExecutionSettings(cooldown_ms=1, **execution))  # type: ignore[arg-type]  # by name
    world = World(made)
    world.connect()
    rules = (instrument(0, notional_e8_min=NOTIONAL_E8_MIN), instrument(1, notional_e8_min=2_000_000 * E8), instrument(2))
    world.feed(InstrumentsRead(world.now_ns, BINANCE, rules[:1]), InstrumentsRead(world.now_ns, UPBIT, rules[1:]))
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_INSTRUMENTS, "kim", "test"))
    return world


def wake(world: World, milliseconds: int = 1_000) -> None:
    world.wait(milliseconds)
    world.quiet_books()
    world.feed(Wake(world.now_ns))


def leave(world: World, btc_e8: int) -> None:
    """Take a premium of which only so much of the purchase fills, and nothing else."""
    world.wait(1_000)
    world.premium_books()
    world.decide()
    buy, sell, back = sorted(world.placed()[-3:], key=lambda order: order.market)
    world.fill(buy, btc_e8)
    world.end(buy, btc_e8)
    world.end(sell, 0)
    world.end(back, 0)
    assert not world.engine.desk.open_plans(), "too little to govern"


def hedges(world: World) -> list[PlanOpened]:
    facts = [fact for fact in world.facts() if isinstance(fact, PlanOpened)]
    return [fact for fact in facts if fact.opportunity.cycle == HEDGE_CYCLE]


def test_thirds_of_a_minimum_add_up_in_sight_and_are_hedged_when_they_reach_it() -> None:
    world = trading()
    for part, tenths in enumerate((3, 3, 4), 1):
        leave(world, NOTIONAL_E8_MIN * tenths // 10 // 99_000 // 1_000 * 1_000)
        first_ns = world.now_ns if part == 1 else first_ns  # noqa: F821 - set in the first round
        assert not hedges(world)
        wake(world)
        (line,) = world.engine.dust.lines
        assert (line.asset, line.since_ns) == (BTC, first_ns)
        assert line.value_e8 is not None and abs(line.value_e8 - line.amount_e8 * 99_990) < line.amount_e8 * 200
        assert view_of(world.engine, world.now_ns).dust == (line,)
        if part < 3:
            assert not hedges(world) and world.engine.dust.naked == {}, "under the minimum the pair trades on"
    (hedge,) = hedges(world)
    (order,) = hedge.orders
    assert (order.side, order.venue, order.market) == (Side.SELL, BINANCE, 0)
    assert order.price_e8 * order.quantity_e8 // E8 >= NOTIONAL_E8_MIN
    assert "dust_hedged" in world.reports()
    world.take_all([order])
    assert (world.engine.tally.hedged, world.engine.tally.completed) == (1, 3)
    wake(world)
    assert all(line.amount_e8 < 1_000 for line in world.engine.dust.lines), "less than a lot is left"
    world.engine.ledger.check()


def test_what_is_tradable_and_not_hedged_yet_keeps_its_pair_away() -> None:
    """Pains row 1: the leftover is dust, or the pair is halted."""
    world = trading()
    leave(world, 600_000)
    leave(world, 600_000)
    world.feed(Command(world.now_ns, CommandKind.PAUSE, "kim", "looking"))
    wake(world)
    assert not hedges(world), "nothing is sent while not armed"
    assert list(world.engine.dust.naked) == [BTC] and world.engine.differences() == ("residue-BTC",)
    world.feed(Command(world.now_ns, CommandKind.RESUME, "kim", "looked"))
    world.wait(1_000)
    world.premium_books()
    world.decide()
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.PAIR_NAKED
    assert "left unhedged by earlier plans" in last.detail
    wake(world)
    assert len(hedges(world)) == 1


def test_no_new_entry_slips_in_between_the_end_of_a_plan_and_the_next_look_at_what_it_left() -> None:
    """Pains row 1: the pair is naked from the moment its plan ended so, not from the next second on."""
    world = trading()
    leave(world, 600_000)
    leave(world, 600_000)
    count = len(world.placed())
    world.wait(2)
    world.premium_books()
    world.decide()
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.PAIR_NAKED
    assert len(world.placed()) == count


def test_what_no_book_can_value_is_no_dust() -> None:
    """A leftover larger than all depth has no value; that does not make it small."""
    world = trading()
    leave(world, 600_000)
    leave(world, 600_000)
    world.feed(Command(world.now_ns, CommandKind.PAUSE, "kim", "looking"))
    world.wait(1_000)
    world.depth(99_990.0, 100_010.0, 0.001)
    world.picture(1, 139_900_000.0, 140_100_000.0, 0.0001)
    world.picture(2, 1_399.0, 1_401.0, 100_000.0)
    world.feed(Wake(world.now_ns))
    assert [line.value_e8 for line in world.engine.dust.lines if line.asset == BTC] == [None]
    assert list(world.engine.dust.naked) == [BTC] and world.engine.differences() == ("residue-BTC",)


def test_what_an_unanswered_order_may_have_traded_is_neither_hedged_nor_forgotten() -> None:
    """The sale may have been made: selling once more would turn one naked leg into another."""
    world = trading()
    world.wait(1_000)
    world.premium_books()
    world.decide()
    buy, sell, back = sorted(world.placed()[-3:], key=lambda order: order.market)
    world.take_all([buy])
    world.end(back, 0)
    for _ in range(30):
        wake(world, 3_000)
    assert not world.engine.desk.open_plans() and world.engine.outcomes[-1].state == PlanState.CLOSED_WITH_RESIDUAL.value
    assert [order for order, _ in world.engine.desk.unfinished()] == [sell]
    assert list(world.engine.dust.naked) == [BTC] and not hedges(world)
    world.feed(OrderAbsent(world.now_ns, sell.client_order_id))
    wake(world)
    assert len(hedges(world)) == 1


def test_a_pair_whose_order_is_still_unanswered_after_its_plan_ended_takes_no_new_entry() -> None:
    world = trading()
    world.premium_books()
    world.decide()
    buy, sell, back = sorted(world.placed(), key=lambda order: order.market)
    world.end(buy, 0)
    world.end(back, 0)
    for _ in range(30):
        wake(world, 3_000)
    assert not world.engine.desk.open_plans() and world.engine.ledger.residues() == ()
    count = len(world.placed())
    world.premium_books()
    world.decide()
    assert len(world.placed()) == count, "nobody knows whether that leg stands alone"
    world.feed(OrderAbsent(world.now_ns, sell.client_order_id))
    world.wait(1_000)
    world.premium_books()
    world.decide()
    assert len(world.placed()) > count


def test_a_leftover_is_written_off_by_name_or_with_all_differences() -> None:
    for name in ("residue-BTC", ""):
        world = trading()
        leave(world, 600_000)
        leave(world, 600_000)
        world.feed(Command(world.now_ns, CommandKind.PAUSE, "kim", "looking"))
        wake(world)
        world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "sold by hand", "residue-ETH"))
        assert world.engine.differences() == ("residue-BTC",)
        world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "sold by hand", name))
        assert world.engine.differences() == () and world.engine.ledger.residues() == ()
        assert sum(isinstance(fact, ResidueWrittenOff) for fact in world.facts()) == 1
        engine = Engine(settings(), MARKETS, id_prefix="u")
        engine.restore(None, world.facts())  # type: ignore[arg-type]  # facts are facts
        assert engine.ledger == world.engine.ledger


def test_a_leftover_is_not_written_off_while_it_is_being_hedged() -> None:
    """Found in a simulated life: written off beside its hedge it arose anew, the other way round, and was hedged for ever."""
    for name in ("residue-BTC", ""):
        world = trading()
        leave(world, 600_000)
        leave(world, 600_000)
        wake(world)
        (hedge,) = hedges(world)
        world.engine.dust.naked.setdefault(BTC, "as a start may find it")
        world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "sold by hand", name))
        assert "residue_not_accepted" in world.reports()
        assert not any(isinstance(fact, ResidueWrittenOff) for fact in world.facts())
        world.take_all(list(hedge.orders))
        wake(world)
        assert len(hedges(world)) == 1 and abs(sum(each.amount_e8 for each in world.engine.ledger.residues())) < 1_000
        world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "the rest", "residue-BTC"))
        assert world.engine.ledger.residues() == ()


def test_dust_that_nobody_holds_away_is_not_written_off_with_all() -> None:
    world = trading()
    leave(world, 3_000)
    wake(world)
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "all", ""))
    assert len(world.engine.ledger.residues()) == 1


def test_a_hedge_that_was_not_taken_is_tried_again_at_its_pace_and_by_name_of_another_plan() -> None:
    world = trading(hedge_interval_ms=5_000)
    leave(world, 600_000)
    leave(world, 600_000)
    wake(world)
    world.end(hedges(world)[0].orders[0], 0, OrderState.REJECTED)
    for _ in range(4):
        wake(world)
    assert len(hedges(world)) == 1
    wake(world)
    first, second = hedges(world)
    assert first.plan_id != second.plan_id
    assert world.engine.outcomes[-1].state == PlanState.MISSED.value
    wake(world, 6_000)
    assert len(hedges(world)) == 2, "what an open plan trades is waited for"


def test_leftovers_survive_a_restart_with_their_age() -> None:
    world = trading()
    leave(world, 3_000)
    wake(world)
    engine = Engine(settings(), MARKETS, id_prefix="u")
    engine.restore(world.engine.snapshot("s", 1, 1), [])
    assert engine.ledger.residues() == world.engine.ledger.residues() != ()


def test_nothing_is_hedged_through_a_doubtful_book_nor_a_closed_venue_nor_without_funds() -> None:
    for what in ("doubt", "closed", "funds"):
        world = trading()
        leave(world, 600_000)
        leave(world, 600_000)
        if what == "doubt":
            world.wait(1_000)
            world.feed(LinkDown(world.now_ns, BINANCE, "binance", (0,), "cut"), Wake(world.now_ns))
        elif what == "closed":
            world.engine.desk.closed_venues = {BINANCE: "cut"}
            wake(world)
        else:
            world.fund(BINANCE, BTC, -world.engine.ledger.free_e8(Node(BINANCE, BTC)))
            wake(world)
        assert not hedges(world), what


def test_a_lack_is_bought_only_when_inventory_covers_the_worst_price() -> None:
    world = trading()
    for _ in range(2):
        world.wait(1_000)
        world.premium_books()
        world.decide()
        buy, sell, back = sorted(world.placed()[-3:], key=lambda order: order.market)
        world.fill(sell, 600_000)
        for order, filled_e8 in ((buy, 0), (back, 0), (sell, 600_000)):
            world.end(order, filled_e8)
        for _ in range(3):
            world.take_all([order for order, _ in world.engine.desk.unfinished()])
        assert not world.engine.desk.open_plans(), "the won were turned back"
    free_e8 = world.engine.ledger.free_e8(Node(BINANCE, USDT))
    world.fund(BINANCE, USDT, 1_205 * E8 - free_e8)
    wake(world)
    bought = [hedge for hedge in hedges(world) if hedge.orders[0].market == 0]
    assert BTC in world.engine.dust.naked and not bought, "1,200 at the best price, two per cent more at worst"
    world.take_all([order for order, _ in world.engine.desk.unfinished()])
    world.fund(BINANCE, USDT, 100 * E8)
    wake(world)
    order = hedges(world)[-1].orders[0]
    assert (order.side, order.market) == (Side.BUY, 0)
    world.take_all([order])
    wake(world)
    assert all(abs(line.value_e8 or 0) < 2 * E8 for line in world.engine.dust.lines)


def test_what_pays_fees_is_not_hedged() -> None:
    world = trading()
    leave(world, 600_000)
    leave(world, 600_000)
    fees = FeeSchedule(500, 500, FeePayment.NAMED, BTC)
    known = [msgspec.structs.replace(instrument(0), fees=fees), None, None]
    look = world.engine.dust
    world.quiet_books()
    assert look.look(world.engine.settings, known, world.now_ns + LOOK_NS)
    assert look.lines and look.naked == {} and look.hedge(world.engine.settings, known, E8) == []
    assert not look.look(world.engine.settings, known, world.now_ns + LOOK_NS), "at most once a second"


def test_a_suspended_wallet_locks_the_premium() -> None:
    """Pains row 20: it is shown, with its reason, and not counted as tradable."""
    world = trading()
    world.premium_books()
    world.feed(WalletsRead(world.now_ns, UPBIT, (BTC, Asset("XRP"))))
    world.decide()
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.LOCKED
    assert last.detail == "the wallet of BTC@upbit is suspended"
    assert not world.placed() and world.reports().count("wallet") == 2
    world.feed(WalletsRead(world.now_ns, UPBIT, ()))
    world.premium_books()
    world.decide()
    assert world.placed()
