"""What the alerts are shown of a running daemon: every fact that a rule looks at comes from where it is true."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from app_world import DoorWorld, running, trading_door
from engine_world import MS

from arbitrage.app.alerting import Alerting, make_office, newest_backup_ns
from arbitrage.app.housekeeping import Housekeeping
from arbitrage.app.keeping import StoreRecorder
from arbitrage.app.kill_proof import KillProof
from arbitrage.app.notify import Notifier
from arbitrage.app.running import Running
from arbitrage.model.effects import Report, Severity
from arbitrage.model.events import Command, CommandKind, DifferenceFound
from arbitrage.ops.alerts.inbox import Heard
from arbitrage.ops.alerts.picture import Picture
from arbitrage.ops.alerts.rules import findings

HOUR_NS = 3_600_000_000_000


def house(folder: Path, world: DoorWorld | None = None, **environ: str) -> tuple[DoorWorld, Running, Alerting]:
    """Give a daemon's parts with alerts whose thread is not started: what was left for it is looked at here."""
    world = world or trading_door()
    parts = running(world, folder, **environ)
    parts.office = make_office(parts, {})
    return world, parts, Alerting(parts, parts.office, lambda: None)


def left(alerting: Alerting) -> tuple[list[Heard], Picture | None]:
    return alerting.office._inbox.take()


def seen(world: DoorWorld, parts: Running, alerting: Alerting) -> Picture:
    alerting.look(parts.view(), world.now_ns)
    picture = left(alerting)[1]
    assert picture is not None
    return picture


def keys(parts: Running, picture: Picture) -> set[str]:
    return {found.key for found in findings(picture, parts.settings.alerts, parts.settings.market_data.clock_offset_ms_max)}


def test_a_house_that_is_well_has_nothing_that_hurts_but_what_is_not_running_here(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path, ARBITRAGE__WEB__ENABLED="false")
    picture = seen(world, parts, alerting)
    assert keys(parts, picture) == {"database_away", "redis_away"}, "the stores of this house are not opened"
    assert {feed.venue for feed in picture.feeds} == {"binance", "upbit"} and all(feed.is_connected for feed in picture.feeds)


def test_kill_pause_and_differences_are_shown_in_their_own_words(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path)
    world.feed(Command(world.now_ns, CommandKind.KILL, "anna", "wrong prices"))
    world.feed(Command(world.now_ns, CommandKind.PAUSE, "bert", "lunch"))
    world.feed(DifferenceFound(world.now_ns, "upbit-XRP: 5 more than booked"))
    picture = seen(world, parts, alerting)
    assert "wrong prices" in picture.kill_reason and "lunch" in picture.pause_reason
    assert picture.differences == {"upbit-XRP: 5 more than booked": "upbit-XRP: 5 more than booked"}
    found = keys(parts, picture)
    assert {"kill_switch", "paused", "difference/upbit-XRP: 5 more than booked"} <= found and "disarmed" not in found


def test_a_proof_a_snapshot_and_errors_are_shown_with_their_age(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path)
    assert seen(world, parts, alerting).process.kill_proof_age_h is None
    parts.kill_proofs.keep(KillProof(world.now_ns - 31 * HOUR_NS, "exercise", "x"))
    for _ in range(70):
        parts.metrics.error(world.now_ns)
    picture = seen(world, parts, alerting)
    assert picture.process.kill_proof_age_h == 31.0 and picture.process.errors_per_minute == 70
    assert {"kill_unproven", "error_rate"} <= keys(parts, picture)
    world.wait(301_000)
    assert "snapshot_old" in keys(parts, seen(world, parts, alerting)), "none was made since the start"


def test_losses_are_shown_with_their_limits(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path)
    memory, lost_e8 = world.engine.guard.memory, 200 * 10**8
    lost = {"day": world.now_ns // (24 * HOUR_NS), "realised_today_e8": -lost_e8, "realised_e8": -lost_e8}
    world.engine.guard.restore(msgspec.structs.replace(memory, **lost))
    picture = seen(world, parts, alerting)
    assert [(loss.name, loss.used_e8, loss.limit_e8) for loss in picture.losses] == [
        ("today", 200 * 10**8, 200 * 10**8), ("drawdown", 200 * 10**8, 500 * 10**8),
    ]  # fmt: skip
    assert "loss_limit/today" in keys(parts, picture)


def test_a_report_that_is_an_event_is_heard_with_its_venue_and_has_the_house_looked_at_at_once(tmp_path: Path) -> None:
    world, _, alerting = house(tmp_path)
    alerting.look_if_due(world.now_ns)
    left(alerting)
    alerting.look_if_due(world.now_ns)
    assert left(alerting) == ([], None), "nothing happened"
    alerting.hear(Report(Severity.ERROR, "fill_without_order", "a fill", {"venue": "upbit"}))
    alerting.hear(Report(Severity.INFO, "plan_closed", "well", {}))
    (heard,), nothing = left(alerting)
    assert heard.finding.key == "order_unknown/upbit" and nothing is None
    alerting.look_if_due(world.now_ns)
    assert left(alerting)[1] is not None


def test_disarming_has_the_house_looked_at_at_once(tmp_path: Path) -> None:
    world, _, alerting = house(tmp_path)
    alerting.look_if_due(world.now_ns)
    left(alerting)
    world.feed(Command(world.now_ns, CommandKind.KILL, "anna", "x"))
    alerting.look_if_due(world.now_ns)
    picture = left(alerting)[1]
    assert picture is not None and picture.kill_reason


def test_lines_that_the_log_lost_are_an_event_once(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path)
    parts.logs.dropped = 7
    alerting.look(parts.view(), world.now_ns)
    alerting.look(parts.view(), world.now_ns)
    (heard,), _ = left(alerting)
    assert heard.finding.rule == "log_dropped" and heard.count == 1 and "7 lines" in heard.finding.text


def test_a_reload_reaches_the_alerts_with_the_next_look(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path)
    fresh = msgspec.structs.replace(parts.settings, alerts=msgspec.structs.replace(parts.settings.alerts, quiet_until="07:00"))
    parts.loaded = msgspec.structs.replace(parts.loaded, settings=fresh)
    alerting.look(parts.view(), world.now_ns)
    assert alerting.office.settings.quiet_until == "07:00"


def test_housekeeping_shows_the_house_every_second_and_listens_to_reports(tmp_path: Path) -> None:
    world, parts, alerting = house(tmp_path)
    parts.recorder = StoreRecorder(parts.stores, parts.metrics, parts.clock, parts.kill_proofs)
    housekeeping = Housekeeping(parts, Notifier(None, 0))
    parts.recorder.report(Report(Severity.WARNING, "loop_stalled", "for 3 s"))

    async def once() -> None:
        work = asyncio.get_running_loop().create_task(housekeeping.run())
        await asyncio.sleep(0)
        assert not work.done(), work.exception()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(once())
    heard, picture = left(alerting)
    assert [each.finding.rule for each in heard] == ["loop_stalled"] and picture is not None
    assert picture.at_ns == world.now_ns


def test_no_backup_and_one_that_cannot_be_read_have_no_age(tmp_path: Path) -> None:
    _, parts, _ = house(tmp_path)
    assert newest_backup_ns(parts.settings) is None
    broken = tmp_path / "backups" / "backup-20260101T000000Z"
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text("{")
    assert newest_backup_ns(parts.settings) is None


@pytest.mark.parametrize("looks", [200])
def test_a_look_costs_the_loop_less_than_a_millisecond(tmp_path: Path, looks: int) -> None:
    world, parts, alerting = house(tmp_path)
    view, costs = parts.view(), []
    for _ in range(looks):
        began = time.perf_counter_ns()
        alerting.look(view, world.now_ns)
        costs.append(time.perf_counter_ns() - began)
    assert sorted(costs)[looks // 2] < MS, f"{sorted(costs)[looks // 2] / 1000:.0f} us"
