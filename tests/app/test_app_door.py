"""The door: durable before sent, never sent when not durable, and what is open is finished whatever happens."""

from __future__ import annotations

import pytest
from app_world import DoorWorld, trading_door
from engine_world import BINANCE, E8, START_NS, USDT

from arbitrage.model.episodes import Episode, EpisodeState
from arbitrage.model.events import BookDiff, Wake
from arbitrage.model.facts import FillBooked, Funded, OrderChanged, OrderIntended, PlanClosed, PlanOpened
from arbitrage.model.instruments import Side
from arbitrage.model.opportunities import PlanState, Refusal, Refused
from arbitrage.model.orders import OrderState


def opened(world: DoorWorld) -> list[PlanOpened]:
    return [fact for fact in world.journal.facts if isinstance(fact, PlanOpened)]


def closed(world: DoorWorld) -> list[PlanClosed]:
    return [fact for fact in world.journal.facts if isinstance(fact, PlanClosed)]


def test_the_intent_is_durable_before_the_first_order_is_sent() -> None:
    world = trading_door()
    (plan,) = opened(world)
    assert [order.client_order_id for order in world.sent()] == [order.client_order_id for order in plan.orders]
    kinds = world.kinds()
    written = world.notes.index(("durable", plan))
    assert written < kinds.index("sent") and kinds.index("judged") < kinds.index("sent")


def test_a_governor_s_intent_is_durable_before_its_order_is_sent() -> None:
    world = trading_door()
    first, *others = world.sent()
    world.fill(first)
    world.end(first, first.quantity_e8, OrderState.FILLED)
    for order in others:
        world.end(order, 0)
    (intended,) = [fact for fact in world.journal.facts if isinstance(fact, OrderIntended)]
    order = world.sent()[-1]
    assert order == intended.order and order not in (first, *others)
    sent_at = next(at for at, (kind, note) in enumerate(world.notes) if kind == "sent" and note.order == order)
    assert world.notes.index(("durable", intended)) < sent_at


def test_one_frame_is_decided_on_once_and_after_all_of_it_was_applied() -> None:
    world = trading_door()
    before = world.engine.tally.decisions
    world.now_ns += 1
    world.timing.run_until(world.now_ns)
    book = world.engine.board.books[0]
    for number in range(1, 4):
        diff = BookDiff(world.now_ns, 0, world.last_id + number, world.last_id + number, [(99_950.0, float(number))], [], 0)
        world.door.feed([diff])
    assert world.engine.tally.decisions == before
    world.timing.run_until(world.now_ns)
    assert world.engine.tally.decisions == before + 1
    assert (99_950.0, 3.0) in book.levels(Side.SELL, 10)


def test_while_the_journal_is_away_an_entry_is_never_sent_and_its_plan_ends() -> None:
    world = DoorWorld()
    world.connect()
    world.journal.is_available = False
    world.premium_books()
    assert world.sent() == []
    assert world.engine.tally.taken >= 1 and world.engine.desk.open_plans() == []
    assert world.engine.tally.missed == world.engine.tally.taken
    assert opened(world) == [] and world.told("report").count("journal_unavailable") == 1
    assert not world.door.is_whole


def test_waiting_facts_are_written_first_in_their_order_and_once() -> None:
    world = DoorWorld()
    world.connect()
    known = len(world.journal.facts)
    world.journal.is_available = False
    world.premium_books()
    waiting = [each.fact for each in world.door.unwritten]
    assert isinstance(waiting[0], PlanOpened)
    assert not world.door.retry_journal()
    world.journal.is_available = True
    world.fund(BINANCE, USDT, E8)
    written = world.journal.facts[known:]
    assert written[: len(waiting)] == waiting and isinstance(written[len(waiting)], Funded)
    assert world.door.retry_journal() and world.door.unwritten == [] and world.door.is_whole
    assert len(world.journal.facts) == known + len(waiting) + 1
    (end,) = closed(world)
    assert end.outcome.state is PlanState.MISSED


def test_the_record_beside_the_journal_never_holds_what_is_not_durable() -> None:
    world = DoorWorld()
    world.connect()
    world.journal.is_available = False
    world.premium_books()
    assert not [note for note in world.told("kept") if isinstance(note, PlanOpened)]
    world.journal.is_available = True
    assert world.door.retry_journal()
    assert [note for note in world.told("kept") if isinstance(note, PlanOpened)] == opened(world)


def test_while_the_journal_is_away_open_legs_are_still_finished() -> None:
    world = trading_door()
    first, *others = world.sent()
    world.journal.is_available = False
    world.fill(first)
    world.end(first, first.quantity_e8, OrderState.FILLED)
    for order in others:
        world.end(order, 0)
    known = 1 + len(others)
    assert len(world.sent()) > known, "the governor's order went out"
    while world.engine.desk.open_plans():
        mending, known = world.sent()[known], known + 1
        world.fill(mending)
        world.end(mending, mending.quantity_e8, OrderState.FILLED)
    assert world.engine.tally.recovered + world.engine.tally.residual == 1
    assert all(not isinstance(fact, FillBooked) for fact in world.journal.facts)
    world.journal.is_available = True
    assert world.door.retry_journal()
    assert sum(isinstance(fact, FillBooked) for fact in world.journal.facts) == len(world.sent()) - len(others)
    assert any(isinstance(fact, OrderChanged) for fact in world.journal.facts)


def test_a_refused_entry_ends_at_the_time_it_is_told_not_before_events_that_came_between() -> None:
    world = DoorWorld()
    world.connect()
    world.quiet_books()
    world.journal.is_available = False
    world.timing.run_until(world.now_ns)
    world.door.feed([])  # asks for a decision, which stands in the queue before the next line's
    world.timing.at(world.now_ns, lambda: world.door.feed([Wake(world.now_ns)]))
    world.premium_books()
    assert world.engine.desk.open_plans() == [] and world.engine.tally.missed == 1


def test_a_gap_asks_the_session_for_a_snapshot() -> None:
    world = trading_door()
    before = world.told("resync")
    world.feed(BookDiff(world.now_ns, 0, world.last_id + 7, world.last_id + 9, [], [], 0))
    assert world.told("resync") == [*before, 0]


def test_what_fails_half_way_is_followed_by_no_other_event() -> None:
    world = trading_door()
    assert world.engine.desk.open_plans() and world.door.is_whole
    with pytest.raises(AssertionError, match="time does not go back"):
        world.door.feed([Wake(START_NS - 1)])
    assert not world.door.is_whole, "no snapshot is taken of half a step"
    facts, sent = list(world.journal.facts), world.sent()
    with pytest.raises(AssertionError, match="followed by no other"):
        world.fill(sent[0])
    assert world.journal.facts == facts and world.sent() == sent


def test_a_decision_that_fails_comes_out_of_the_timing_and_shuts_the_door() -> None:
    world = DoorWorld()
    world.connect()
    world.engine.board.changed.add(99)  # a market that is not there
    with pytest.raises((AssertionError, LookupError)):
        world.feed()
    with pytest.raises(AssertionError, match="followed by no other"):
        world.feed(Wake(world.now_ns))


def test_at_rest_nothing_new_is_decided_and_what_is_open_is_finished() -> None:
    world = trading_door()
    orders = world.sent()
    world.door.rest()
    decisions = world.engine.tally.decisions
    world.take_all(orders)
    assert world.engine.desk.open_plans() == [] and len(closed(world)) == 1
    world.wait(5_000)
    world.premium_books()
    assert world.engine.tally.decisions == decisions and len(world.sent()) == len(orders)


def test_a_closed_door_lets_nothing_in() -> None:
    world = trading_door()
    facts = list(world.journal.facts)
    world.door.close()
    told = [note for _, note in world.notes if isinstance(note, Episode)]
    assert [episode.state for episode in told] == [EpisodeState.STOPPED], "what was looked at until now is noted"
    notes = list(world.notes)
    world.door.close()
    world.take_all(world.sent())
    world.premium_books()
    assert world.journal.facts == facts and world.notes == notes and world.door.is_whole


def test_an_unarmed_house_says_so_as_a_verdict_and_sends_nothing() -> None:
    world = DoorWorld()
    world.report_store(is_journal_full=True)
    world.connect()
    world.premium_books()
    verdicts = [judged.verdict for judged in world.told("judged")]
    assert verdicts and world.sent() == []
    assert all(isinstance(verdict, Refused) and verdict.reason is Refusal.NOT_ARMED for verdict in verdicts)
