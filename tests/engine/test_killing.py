"""The kill switch: entries stop at once, everything is cancelled, and only the venues' own word proves it. Pains row 24."""

from __future__ import annotations

import msgspec
from account_world import AccountWorld, asked, cancelled, open_order
from engine_world import BINANCE, MARKETS, MS, UPBIT, World, settings

from arbitrage.engine.engine import Engine
from arbitrage.engine.killing import Kill, KillState
from arbitrage.model.accounts import KillReceipt
from arbitrage.model.events import AccountRead, Command, CommandKind, LinkDown, OrderAbsent, Wake
from arbitrage.model.facts import KillProven, KillSwitched
from arbitrage.model.instruments import Venue
from arbitrage.model.opportunities import Refusal, Refused
from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot


def trading() -> AccountWorld:
    world = AccountWorld()
    world.start()
    return world


def proofs(world: World) -> list[KillReceipt]:
    return [fact.receipt for fact in world.facts() if isinstance(fact, KillProven)]


def answer(world: World, venue: Venue, *, asked_ns: int | None = None) -> None:
    asked_at_ns = world.now_ns if asked_ns is None else asked_ns
    world.wait(1)
    world.feed(AccountRead(world.now_ns, asked_at_ns, venue, (), ()))


def test_it_stops_entries_and_cancels_and_asks_in_the_same_step() -> None:
    world = trading()
    world.decide()
    orders = [order.client_order_id for order in world.placed()]
    effects = world.tell(CommandKind.KILL)
    assert cancelled(effects) == orders
    assert asked(effects) == [BINANCE, UPBIT]
    world.premium_books()
    world.decide()
    assert {judged.verdict.reason for judged in world.verdicts() if isinstance(judged.verdict, Refused)} == {
        Refusal.KILL_SWITCH
    }
    assert len(world.placed()) == len(orders)


def test_it_needs_no_prices_and_no_store() -> None:
    """Pains row 24: all price sources down, nothing ever reported."""
    world = AccountWorld()
    world.connect(is_funded=False)
    world.feed(LinkDown(world.now_ns, BINANCE, "binance", (0,), "cut"), LinkDown(world.now_ns, UPBIT, "upbit", (1, 2), "cut"))
    world.report_store(is_postgres_up=False, is_redis_up=False)
    assert asked(world.tell(CommandKind.KILL)) == [BINANCE, UPBIT], "even with the accounts' links down"
    world.wait(1)
    world.read()
    (receipt,) = proofs(world)
    assert receipt.answers[0].own_orders == 0


def test_it_is_proven_only_when_every_venue_says_that_nothing_of_ours_is_open() -> None:
    world = trading()
    world.tell(CommandKind.KILL)
    killed_ns = world.now_ns
    world.open_orders[UPBIT] = [open_order("t-3-0", market=1), open_order("web_1")]
    world.wait(1)
    effects = world.read()
    assert cancelled(effects)[:1] == ["t-3-0"] and proofs(world) == []
    world.open_orders[UPBIT] = world.open_orders[UPBIT][1:]
    assert asked(world.wake()) == [UPBIT], "asked again until it is proven; what is said is said"
    world.read(UPBIT)
    (receipt,) = proofs(world)
    assert (receipt.killed_at_ns, receipt.actor, receipt.reason) == (killed_ns, "kim", "looked at it")
    assert receipt.cancelled == ("t-3-0",)
    said = {each.venue: (each.own_orders, each.foreign_orders) for each in receipt.answers}
    assert said == {BINANCE: (0, 0), UPBIT: (0, 1)}
    assert receipt.proven_at_ns == world.now_ns
    assert "kill_proven" in world.reports()
    world.wake(2_000)
    world.read()
    assert len(proofs(world)) == 1, "proven once"


def test_orders_in_flight_are_followed_to_their_end_before_it_is_proven() -> None:
    world = trading()
    world.decide()
    orders = world.placed()
    world.tell(CommandKind.KILL)
    world.wait(1)
    world.read()
    assert proofs(world) == [], "three orders may still appear"
    for order in orders[1:]:
        world.end(order, 0)
    world.fill(orders[0])
    world.read(asked_ms_ago=5)
    assert proofs(world) == [], "asked before the last one ended"
    world.wake()
    world.read()
    (receipt,) = proofs(world)
    assert set(receipt.cancelled) == {order.client_order_id for order in orders}
    assert len(world.placed()) == len(orders), "the governor sends nothing under it"


def test_an_order_of_unknown_fate_delays_the_proof_until_its_absence_is_believed() -> None:
    world = trading()
    world.decide()
    order, *rest = world.placed()
    for each in rest:
        world.end(each, 0)
    world.tell(CommandKind.KILL)
    world.wake(13_000)
    world.read()
    assert proofs(world) == []
    world.feed(OrderAbsent(world.now_ns, order.client_order_id))
    world.wake(1)
    world.read()
    assert len(proofs(world)) == 1


def test_an_order_that_cannot_be_cancelled_from_here_is_shouted_about_and_never_proven_away() -> None:
    world = trading()
    world.tell(CommandKind.KILL)
    world.open_orders[BINANCE] = [open_order("t-9-0", market=None)]
    world.wait(1)
    effects = world.read()
    assert cancelled(effects) == [] and proofs(world) == []
    assert "kill_order_unreachable" in world.reports()


def test_a_proof_that_does_not_come_is_asked_for_ever_more_slowly() -> None:
    """Reading an account costs much of a venue's budget: asking every second for hours would end in a ban."""
    world = trading()
    world.tell(CommandKind.KILL)
    world.open_orders[BINANCE] = [open_order("t-9-0", market=None)]
    world.wait(1)
    world.read()
    seconds = [second for second in range(1, 60) if BINANCE in asked(world.wake())]
    assert seconds == [1, 3, 7, 15, 25, 35, 45, 55]


def test_a_fill_or_an_end_makes_the_questions_quick_again() -> None:
    world = trading()
    world.decide()
    order, *rest = world.placed()
    world.tell(CommandKind.KILL)
    for each in rest:
        world.end(each, 0)
    for _ in range(20):
        world.wake(500)
    world.end(order, 0)
    assert set(asked(world.wake())) == {BINANCE, UPBIT}


def test_it_survives_a_restart_and_is_proven_after_it() -> None:
    world = trading()
    world.decide()
    world.tell(CommandKind.KILL)
    orders = world.placed()
    again = world.reborn()
    again.connect(is_funded=False)
    assert any("kill switch" in reason for reason in again.engine.not_armed_because())
    again.up()
    for order in orders:
        again.end(order, 0)
    again.wake(1_000)
    again.read()
    (receipt,) = proofs(again)
    assert set(receipt.cancelled) == {order.client_order_id for order in orders}
    again.premium_books()
    again.decide()
    assert not again.placed()
    kept = again.engine.snapshot("s", again.now_ns, 1)
    third = Engine(settings(), MARKETS, id_prefix="x", account_venues=(BINANCE, UPBIT))
    third.restore(kept, [])
    assert third.kill.state.last_proven == receipt and third.kill.unproven is None
    assert third.snapshot("s", again.now_ns, 1) == kept


def test_only_a_release_ends_it() -> None:
    world = trading()
    world.tell(CommandKind.KILL)
    world.wait(1)
    world.read()
    world.tell(CommandKind.RESUME)
    world.premium_books()
    world.decide()
    assert not world.placed()
    world.tell(CommandKind.RELEASE)
    assert world.engine.kill.state.receipt is None and world.engine.kill.state.last_proven is not None
    world.wait(1_000)
    world.premium_books()
    world.decide()
    assert world.placed()


def test_a_second_kill_is_proven_anew() -> None:
    world = trading()
    for count in (1, 2):
        world.tell(CommandKind.KILL)
        world.wait(1)
        world.read()
        assert len(proofs(world)) == count


def test_a_mode_without_accounts_proves_it_by_asking_whatever_stands_for_its_venues() -> None:
    """On paper the paper venue is asked, and answers: the daily exercise takes the same way."""
    world = World()
    world.connect()
    world.feed(Command(world.now_ns, CommandKind.KILL, "clock", "daily exercise"))
    world.wait(1)
    for venue in (BINANCE, UPBIT):
        assert proofs(world) == []
        answer(world, venue)
    assert [each.venue for each in proofs(world)[0].answers] == [BINANCE, UPBIT]


def test_words_of_other_times_and_places_prove_nothing() -> None:
    world = World()
    world.connect()
    answer(world, BINANCE)
    world.feed(Command(world.now_ns, CommandKind.KILL, "kim", "test"))
    killed_ns = world.now_ns
    answer(world, Venue("elsewhere"))
    answer(world, UPBIT)
    answer(world, BINANCE, asked_ns=killed_ns)
    assert proofs(world) == [], "asked in the moment of the kill, not after it"
    assert asked(world.feed(Wake(world.now_ns))) == []
    answer(world, BINANCE)
    assert len(proofs(world)) == 1


def test_a_switch_set_before_receipts_were_kept_gets_one() -> None:
    world = World()
    world.connect()
    world.feed(Command(world.now_ns, CommandKind.KILL, "kim", "smoke"))
    kept = world.engine.snapshot("s", world.now_ns, 1)
    old = {name: section for name, section in kept.sections.items() if name not in ("kill", "pairs")}
    engine = Engine(settings(), MARKETS, id_prefix="u")
    engine.restore(Snapshot(SNAPSHOT_VERSION, "s", world.now_ns, 1, old), [])
    receipt = engine.kill.unproven
    assert receipt is not None and "smoke" in receipt.reason
    assert asked(engine.step(Wake(world.now_ns + 1_000 * MS))) == [BINANCE, UPBIT]


def test_the_switch_alone_reads_back_as_it_was_written() -> None:
    world = World()
    kill = Kill(world.engine.desk, (BINANCE,))
    kill.apply(KillSwitched(5, True, "kim", "test"))
    state = msgspec.json.decode(msgspec.json.encode(kill.state), type=KillState)
    assert state == kill.state and state.receipt == KillReceipt(5, "kim", "test")
    kill.apply(KillSwitched(6, False, "kim", "fine"))
    assert kill.state == KillState()
