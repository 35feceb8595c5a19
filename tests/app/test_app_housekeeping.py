"""Snapshots hold only what the journal bears out, and what a start or a store says is told once."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest
from app_world import DoorWorld, running, trading_door
from engine_world import MS, START_NS

from arbitrage.app.housekeeping import WIRE_LATE_MS_MAX, Housekeeping
from arbitrage.app.notify import Notifier
from arbitrage.app.running import Running
from arbitrage.app.stall import StallGuard
from arbitrage.engine.engine import Engine
from arbitrage.model.events import ClockMeasured, Wake
from arbitrage.model.instruments import Venue
from arbitrage.model.snapshots import Snapshot
from arbitrage.ops.status import Status, read_status


def look_after(parts: Running, housekeeping: Housekeeping) -> None:
    """Let it do what is due now, once."""

    async def once() -> None:
        work = asyncio.get_running_loop().create_task(housekeeping.run())
        await asyncio.sleep(0)
        assert not work.done(), work.exception()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(once())


def snapshots(folder: Path) -> list[Path]:
    return sorted(folder.glob("sessions/*/snapshots/*.json"))


def test_a_snapshot_restores_to_the_same_balances(tmp_path: Path) -> None:
    world = trading_door()
    parts = running(world, tmp_path)
    Housekeeping(parts, Notifier(None, 0)).save_snapshot_now("test")
    (path,) = snapshots(tmp_path)
    snapshot = msgspec.json.decode(path.read_bytes().partition(b"\n")[2], type=Snapshot)
    again = Engine(world.engine.settings, world.engine.markets, id_prefix="again")
    again.restore(snapshot, [])
    assert {node: again.ledger.total_e8(node) for node in again.ledger.nodes()} == {
        node: world.engine.ledger.total_e8(node) for node in world.engine.ledger.nodes()
    }
    assert [plan.plan_id for plan in again.desk.open_plans()] == [plan.plan_id for plan in world.engine.desk.open_plans()]


def test_no_snapshot_is_kept_of_facts_that_the_journal_lacks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = trading_door()
    parts = running(world, tmp_path)
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    world.journal.is_available = False
    world.fill(world.sent()[0])
    with caplog.at_level(logging.INFO, "arbitrage.daemon"):
        housekeeping.save_snapshot_now("test")
    assert snapshots(tmp_path) == [] and "does not hold every fact" in caplog.text
    world.journal.is_available = True
    assert world.door.retry_journal()
    housekeeping.save_snapshot_now("test")
    assert len(snapshots(tmp_path)) == 1


def test_no_snapshot_is_kept_of_half_a_step(tmp_path: Path) -> None:
    world = trading_door()
    parts = running(world, tmp_path)
    with pytest.raises(AssertionError):
        world.door.feed([Wake(START_NS - 1)])
    Housekeeping(parts, Notifier(None, 0)).save_snapshot_now("test")
    assert snapshots(tmp_path) == []


def test_a_house_is_ready_once_its_books_are_usable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = DoorWorld()
    world.connect()
    parts = running(world, tmp_path)
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    with caplog.at_level(logging.INFO, "arbitrage.daemon"):
        look_after(parts, housekeeping)
        assert not parts.is_ready.is_set() and "armed" in caplog.text
        world.quiet_books()
        look_after(parts, housekeeping)
    assert parts.is_ready.is_set() and "ready: 3 markets, 3 usable" in caplog.text
    status = read_status(tmp_path)
    assert isinstance(status, Status) and status.armed and status.feeds["upbit"].usable == 0, "written before the books came"


def test_a_house_that_waits_too_long_is_ready_with_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = DoorWorld()
    world.connect()
    parts = running(world, tmp_path, ARBITRAGE__HEALTH__READY_TIMEOUT_MS="2000")
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    look_after(parts, housekeeping)
    assert not parts.is_ready.is_set()
    world.wait(2_001)
    with caplog.at_level(logging.INFO, "arbitrage.daemon"):
        look_after(parts, housekeeping)
    assert parts.is_ready.is_set() and "ready after the time limit with 3 unusable markets" in caplog.text


def test_a_trouble_of_the_stores_is_told_once_while_it_lasts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = trading_door()
    parts = running(world, tmp_path)
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    parts.stores.writer.last_error = "ConnectionRefusedError: nobody there"
    with caplog.at_level(logging.WARNING, "arbitrage.daemon"):
        for _ in range(3):
            look_after(parts, housekeeping)
            world.wait(1_100)
    assert [record.getMessage() for record in caplog.records].count("PostgreSQL: ConnectionRefusedError: nobody there") == 1


def test_waiting_facts_are_tried_again_every_second(tmp_path: Path) -> None:
    world = trading_door()
    parts = running(world, tmp_path)
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    world.journal.is_available = False
    world.fill(world.sent()[0])
    look_after(parts, housekeeping)
    assert not world.door.is_whole
    world.journal.is_available = True
    world.now_ns += 1_100 * MS
    look_after(parts, housekeeping)
    assert world.door.is_whole


def test_nothing_is_decided_while_a_venue_s_frames_arrive_late_and_both_ends_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = trading_door()
    guard = world.door.stall = StallGuard()
    parts = running(world, tmp_path)
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    venue = Venue(world.engine.markets[0][0])
    world.feed(ClockMeasured(world.now_ns, venue, 0, 1))

    def look(late_ms: int) -> str:
        """Let its newest frame be so old on arrival; return what is said."""
        world.now_ns += 2_000 * MS
        for market, (name, _) in enumerate(world.engine.markets):
            book = world.engine.board.books[market]
            book.updated_at_ns, book.venue_ms = world.now_ns, world.now_ns // MS - (late_ms if name == venue else 0)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "arbitrage.daemon"):
            housekeeping._sample_wire(world.now_ns)
        return caplog.text

    assert look(WIRE_LATE_MS_MAX) == "" and not guard.holds(world.now_ns)
    assert f"{venue}: frames arrive 3000 ms late" in look(3_000) and guard.holds(world.now_ns)
    assert look(3_000) == "" and guard.holds(world.now_ns), "said once"
    assert f"{venue}: frames arrive on time again" in look(0) and not guard.holds(world.now_ns)
