"""An operator's word becomes a fact with a name on it; the kill switch is set by any of three ways and ends by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_world import DoorWorld, running, trading_door

from arbitrage.app.control_words import Ask
from arbitrage.app.kill_file import KillFile
from arbitrage.app.operator import Operator
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import CancelOrder
from arbitrage.model.events import DifferenceFound
from arbitrage.model.facts import KillSwitched, Paused


def operated(tmp_path: Path, world: DoorWorld | None = None) -> tuple[DoorWorld, Operator]:
    world = world or trading_door()
    return world, Operator(running(world, tmp_path))


def switched(world: DoorWorld) -> list[tuple[bool, str, str]]:
    return [(fact.is_on, fact.actor, fact.reason) for fact in world.journal.facts if isinstance(fact, KillSwitched)]


def test_a_kill_is_journaled_with_its_actor_cancels_and_leaves_its_file(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    orders = world.sent()
    answer = operator.hear(Ask(word="kill", reason="prices look wrong"), "alice")
    assert answer.done and "kill switch: by alice: prices look wrong" in answer.text
    assert switched(world) == [(True, "alice", "prices look wrong")]
    cancelled = [note.client_order_id for kind, note in world.notes if kind == "sent" and isinstance(note, CancelOrder)]
    assert cancelled == [order.client_order_id for order in orders]
    assert KillFile(tmp_path).path.read_text() == "alice: prices look wrong\n"


def test_no_order_leaves_after_a_kill_however_well_it_pays(tmp_path: Path) -> None:
    world = DoorWorld()
    world.connect()
    _, operator = operated(tmp_path, world)
    operator.kill("alice", "test")
    world.premium_books()
    assert world.sent() == []
    assert operator.hear(Ask(word="release"), "bob").done
    world.premium_books()
    assert world.sent(), "it would have paid"
    assert [is_on for is_on, _, _ in switched(world)] == [True, False]


def test_a_kill_works_while_journal_and_disk_take_nothing(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    world.journal.is_available = False
    KillFile(tmp_path).path.with_name("KILL.tmp").mkdir()  # the file cannot be written either
    assert operator.hear(Ask(word="kill"), "alice").done
    assert operator.killed == "by alice: no reason given" and not KillFile(tmp_path).is_there
    assert not world.engine.desk.unfinished() or any(isinstance(note, CancelOrder) for _, note in world.notes)


def test_the_file_kills_once_and_keeps_a_release_from_being_undone(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    operator.look()
    assert switched(world) == []
    KillFile(tmp_path).path.write_text("by a script\nsecond line")
    for _ in range(3):
        operator.look()
    assert switched(world) == [(True, "file KILL", "by a script")]
    assert operator.hear(Ask(word="release", reason="checked"), "bob").done
    assert not KillFile(tmp_path).is_there
    operator.look()
    assert switched(world)[1:] == [(False, "bob", "checked")] and not operator.killed


@pytest.mark.parametrize("kind", ["empty", "binary", "folder", "link"])
def test_whatever_is_named_kill_kills(tmp_path: Path, kind: str) -> None:
    world, operator = operated(tmp_path)
    path = KillFile(tmp_path).path
    match kind:
        case "empty":
            path.touch()
        case "binary":
            path.write_bytes(b"\xff\x00\xfe" * 1000)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "nowhere")
    operator.look()
    assert operator.killed and len(switched(world)) == 1


def test_a_file_that_cannot_be_removed_is_not_released(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    KillFile(tmp_path).path.mkdir()
    operator.look()
    answer = operator.hear(Ask(word="release"), "bob")
    assert not answer.done and "cannot be removed" in answer.text and operator.killed
    assert len(switched(world)) == 1


def test_the_switch_outlives_a_restart_by_the_journal_and_by_the_file(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    operator.kill("alice", "test")
    by_journal = Engine(world.engine.settings, world.engine.markets, id_prefix="again")
    by_journal.restore(None, world.journal.facts)
    assert by_journal.guard.memory.kill_reason == "by alice: test"
    elsewhere = tmp_path / "another session"
    elsewhere.mkdir()
    KillFile(tmp_path).path.rename(KillFile(elsewhere).path)
    fresh, other = operated(elsewhere, DoorWorld())
    other.look()
    assert other.killed == "by file KILL: alice: test" and len(switched(fresh)) == 1


def test_nothing_is_released_that_is_not_killed(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    assert not operator.hear(Ask(word="release"), "bob").done and switched(world) == []


def test_a_pause_and_its_end_are_journaled_with_who_and_why(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    said = operator.hear(Ask(word="pause", reason="look\nat it"), "alice").text
    assert said == "pause: done; not armed because paused: by alice: look at it"
    assert operator.hear(Ask(word="resume"), "bob").done
    paused = [(fact.is_on, fact.actor, fact.reason) for fact in world.journal.facts if isinstance(fact, Paused)]
    assert paused == [(True, "alice", "look at it"), (False, "bob", "no reason given")]


def test_a_difference_is_accepted_by_its_name_and_no_other(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    assert operator.hear(Ask(word="accept"), "bob").text == "there is no difference to accept"
    world.feed(DifferenceFound(world.now_ns, "one thing"), DifferenceFound(world.now_ns, "another"))
    assert operator.standing().differences == ("one thing", "another")
    unknown = operator.hear(Ask(word="accept", name="third"), "bob")
    assert not unknown.done and "no difference is named third; there are: one thing, another" in unknown.text
    assert operator.hear(Ask(word="accept", name="one thing"), "bob").text.endswith("not armed because another")
    assert operator.hear(Ask(word="accept"), "bob").text.endswith("armed")


def test_the_standing_tells_what_a_look_from_outside_needs(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    standing = operator.hear(Ask(word="status"), "alice").standing
    assert standing is not None and standing.armed and standing.mode == "paper" and standing.killed == ""
    assert (standing.open_plans, standing.open_orders) == (1, len(world.sent()))
    assert [(venue.venue, venue.markets, venue.account) for venue in standing.venues] == [("binance", 1, ""), ("upbit", 2, "")]
    assert standing.kill_last_proven_ns is None


def test_a_daemon_that_is_stopping_takes_no_word_but_keeps_a_kill_for_its_next_start(tmp_path: Path) -> None:
    world, operator = operated(tmp_path)
    world.door.close()
    answer = operator.hear(Ask(word="kill", reason="too late"), "alice")
    assert not answer.done and "from its next start on" in answer.text
    assert KillFile(tmp_path).reason() == "alice: too late" and switched(world) == []
    assert not operator.hear(Ask(word="pause"), "alice").done
