"""After a loop that stood still nothing is decided until as much time has passed again: what it reads then looks new."""

from __future__ import annotations

from app_world import DoorWorld, NotingRecorder
from engine_world import MS, START_NS

from arbitrage.app.door import Door
from arbitrage.app.stall import HOLD_MS_MAX, STALL_MS, StallGuard
from arbitrage.model.events import Wake


def test_a_loop_on_time_is_held_up_by_nothing() -> None:
    guard = StallGuard()
    for now_ns in range(START_NS, START_NS + 5_000 * MS, STALL_MS * MS):
        assert not guard.has_stalled(now_ns) and not guard.holds(now_ns)


def test_a_stall_holds_for_as_long_as_it_was_and_no_longer_than_the_limit() -> None:
    for stall_ms, hold_ms in ((STALL_MS + 1, STALL_MS + 1), (1_000, 1_000), (60_000, HOLD_MS_MAX)):
        guard = StallGuard()
        guard.has_stalled(START_NS)
        woken_ns = START_NS + stall_ms * MS
        assert guard.has_stalled(woken_ns) and guard.stalled_ms == stall_ms
        assert guard.holds(woken_ns + hold_ms * MS - 1) and not guard.holds(woken_ns + hold_ms * MS)


def test_markets_that_changed_before_a_hold_are_decided_on_after_it() -> None:
    world = DoorWorld()
    recorder = NotingRecorder(world.notes)
    world.door = Door(world.engine, world.timing, world.journal, recorder, stall=StallGuard())

    def seen_changed(at_ns: int) -> bool:
        world.now_ns = at_ns
        world.engine.board.changed.add(0)
        world.feed(Wake(at_ns))
        return bool(world.engine.board.changed)

    assert not seen_changed(START_NS + 100 * MS)
    woken_ns = START_NS + 1_100 * MS
    assert seen_changed(woken_ns) and world.told("report")[-1] == "loop_stalled"
    assert [seen_changed(woken_ns + step * 100 * MS) for step in range(1, 11)] == [True] * 9 + [False]
