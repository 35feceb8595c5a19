"""The alerts of a house in their own thread, with real servers: storms, a channel that hangs, stops and starts, the canary."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from alert_servers import HttpServer, Servers, told, until
from daemon_lab import PROJECT

from arbitrage.app import alert_command
from arbitrage.app.cli import build_parser
from arbitrage.app.clock import EngineClock
from arbitrage.model.settings import AlertSettings, ChannelSettings
from arbitrage.ops.alerts.office import Circumstances, Office
from arbitrage.ops.alerts.picture import FeedPicture, Picture, ProcessPicture
from arbitrage.ops.alerts.routes import routes_of
from arbitrage.ops.alerts.spool import FILE_NAME, Kept, Spool
from arbitrage.ops.alerts.wording import House
from arbitrage.ops.secrets import Redactor

pytestmark = pytest.mark.integration
CANARY = "c4n4ry-S3CR3T-0123456789"
HOUSE = House("test", "paper", "lab", "here")
WELL = Picture(0, (), process=ProcessPicture(kill_proof_age_h=1.0))


@pytest.fixture
def servers() -> Iterator[Servers]:
    it = Servers()
    yield it
    it.close()


def webhook(server: HttpServer, **more: Any) -> ChannelSettings:
    return ChannelSettings("webhook", url=server.url, **more)


def settings_of(channels: dict[str, ChannelSettings], **more: Any) -> AlertSettings:
    return AlertSettings(channels=channels, **{"group_ms": 50, "clear_ms": 200, **more})


def office(folder: Path, settings: AlertSettings, clock: Callable[[], int] | None = None) -> Office:
    hidden = Redactor([CANARY])
    around = Circumstances(HOUSE, folder, clock or EngineClock(), hidden.redact)
    it = Office(settings, routes_of(settings, dict.fromkeys(settings.channels, CANARY)), around)
    it.start()
    return it


def picture(it: Office, **fields: Any) -> Picture:
    return msgspec.structs.replace(WELL, at_ns=it._around.clock(), **fields)


def test_ten_thousand_equal_events_in_a_second_become_one_message_and_one_summary(tmp_path: Path, servers: Servers) -> None:
    server, ahead = servers.open(), [0]
    real = EngineClock()
    it = office(tmp_path, settings_of({"ops": webhook(server)}), lambda: real() + ahead[0])
    began = time.monotonic()
    for number in range(10_000):
        it.hear("order_unknown", f"order {number}", "upbit")
        if number % 1_000 == 0:
            time.sleep(0.05)  # the thread looks many times while they come
    took_s = time.monotonic() - began
    until(lambda: told(server))
    time.sleep(0.3)
    assert told(server) == [("order_unknown/upbit", "firing")]
    ahead[0] = 61_000_000_000
    it.show(picture(it))
    until(lambda: len(told(server)) > 1)
    it.close()
    assert told(server)[1:] == [("order_unknown/upbit", "again")]
    assert server.taken[-1].json["alerts"][0]["count"] == 10_000
    assert took_s < 3.0, "whoever leaves them waits for nothing"
    print(f"10,000 equal events in {took_s:.2f} s: {len(told(server))} messages, the second counts all of them")


def test_a_channel_that_hangs_holds_neither_the_loop_nor_another_channel(tmp_path: Path, servers: Servers) -> None:
    stuck, fine = servers.open(), servers.open()
    stuck.hangs = True
    it = office(tmp_path, settings_of({"a": webhook(stuck, timeout_ms=60_000), "b": webhook(fine)}))
    longest = 0.0
    for number in range(20):
        began = time.monotonic()
        it.hear("broken", "x", f"part {number}")
        longest = max(longest, time.monotonic() - began)
        until(lambda seen=number: len(told(fine)) > seen and stuck.taken)  # type: ignore[misc]  # a default binds the turn
        if number == 4:
            break  # the bucket's burst
    assert longest < 0.05 and len(stuck.taken) == 1
    assert [standing.waiting for standing in it.channels if standing.name == "a"] == [5]
    began = time.monotonic()
    it.close()
    assert time.monotonic() - began < 2.5, "a stop waits a second for a channel, not a minute"


def test_a_critical_alert_leaves_within_a_second_also_when_another_waits_for_company(tmp_path: Path, servers: Servers) -> None:
    server = servers.open()
    it = office(tmp_path, settings_of({"ops": webhook(server)}, group_ms=60_000))
    it.hear("loop_stalled", "for 3 s")
    it.show(picture(it, kill_reason="by a: b"))
    took_s = until(lambda: told(server), 1.0)
    assert took_s < 1.0
    print(f"a critical alert left after {took_s:.3f} s")
    assert told(server) == [("kill_switch", "firing"), ("loop_stalled", "firing")]
    it.close()


def test_what_could_not_leave_is_on_disk_and_leaves_after_the_next_start_exactly_once(tmp_path: Path, servers: Servers) -> None:
    server = servers.open()
    settings = settings_of({"ops": webhook(server)})
    server.ok = (503, {}, b"")
    first = office(tmp_path, settings)
    first.show(picture(first, kill_reason="by a: b"))
    until(lambda: server.taken)
    first.close()
    assert b"kill_switch" in (tmp_path / FILE_NAME).read_bytes()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    server.taken.clear()
    server.ok = (200, {}, b"")
    second = office(tmp_path, settings)
    second.show(picture(second, kill_reason="by a: b"))
    until(lambda: told(server))
    for _ in range(5):
        second.show(picture(second, kill_reason="by a: b"))
        time.sleep(0.02)
    second.close()
    assert told(server) == [("kill_switch", "firing")], "told once, by the run that could"
    third = office(tmp_path, settings)
    third.show(picture(third))
    time.sleep(0.25)
    third.show(picture(third))
    until(lambda: len(told(server)) > 1)
    third.close()
    assert told(server)[1:] == [("kill_switch", "over")]


def test_a_run_that_was_killed_is_told_by_the_next(tmp_path: Path, servers: Servers) -> None:
    server = servers.open()
    settings = settings_of({"ops": webhook(server)})
    office(tmp_path, settings).close()
    quiet = office(tmp_path, settings)
    quiet.show(picture(quiet))
    until(lambda: b'"is_running":true' in (tmp_path / FILE_NAME).read_bytes())
    left = (tmp_path / FILE_NAME).read_bytes()
    quiet.close()
    assert told(server) == [], "an end that was tidy is no alert"
    (tmp_path / FILE_NAME).write_bytes(left)
    after = office(tmp_path, settings)
    until(lambda: told(server))
    after.close()
    assert told(server) == [("unclean_end", "firing")]


def test_a_spool_that_is_damaged_costs_no_start(tmp_path: Path, servers: Servers) -> None:
    server = servers.open()
    (tmp_path / FILE_NAME).write_bytes(b"\xff not json")
    it = office(tmp_path, settings_of({"ops": webhook(server)}))
    it.hear("broken", "x")
    until(lambda: told(server))
    it.close()
    assert b"broken" in (tmp_path / FILE_NAME).read_bytes()


def test_nothing_is_written_beside_the_last_writing_or_after_it(tmp_path: Path) -> None:
    spool, long = Spool(tmp_path), Kept(dropped={f"channel {number}": number for number in range(20_000)}, is_running=True)
    late = [threading.Thread(target=spool.write, args=(long,)) for _ in range(8)]
    for each in late:
        each.start()
    spool.write(Kept(), is_last=True)
    for each in late:
        each.join()
    assert Spool(tmp_path).read() == Kept() and spool.faults == 0


def test_a_disk_that_takes_nothing_costs_no_message(tmp_path: Path, servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    server, folder = servers.open(), tmp_path / "gone"
    (folder / (FILE_NAME + ".tmp")).mkdir(parents=True)  # in the way of every writing, the first included
    with caplog.at_level(logging.ERROR, "arbitrage.alerts"):
        it = office(folder, settings_of({"ops": webhook(server)}))
        for part in ("a", "b", "c"):
            it.hear("broken", "x", part)
            until(lambda part=part: (f"broken/{part}", "firing") in told(server))  # type: ignore[misc]  # a default binds the turn
        it.close()
    assert len([record for record in caplog.records if "not written" in record.getMessage()]) == 1


def test_a_channel_that_fails_is_an_alert_of_the_others(tmp_path: Path, servers: Servers) -> None:
    bad, good, ahead = servers.open(), servers.open(), [0]
    bad.ok = (500, {}, f"you sent {CANARY}".encode())
    real = EngineClock()
    it = office(tmp_path, settings_of({"bad": webhook(bad), "good": webhook(good)}), lambda: real() + ahead[0])
    it.hear("broken", "x")
    until(lambda: told(good) and bad.taken)
    it.show(picture(it))
    until(lambda: any(standing.trouble for standing in it.channels))
    it.show(picture(it))
    time.sleep(0.05)
    ahead[0] = 31_000_000_000
    it.show(picture(it))
    until(lambda: ("channel_failing/bad", "firing") in told(good))
    it.close()
    assert "refused with status 500" in good.taken[-1].json["text"]


def test_a_sign_of_life_tells_that_somebody_looks_and_stops_when_nobody_does(tmp_path: Path, servers: Servers) -> None:
    server, ahead = servers.open(), [0]
    real = EngineClock()
    it = office(tmp_path, settings_of({"ops": webhook(server, heartbeat_ms=60_000)}), lambda: real() + ahead[0])
    time.sleep(0.1)
    assert server.taken == [], "nobody has looked yet"
    it.show(picture(it, not_armed_because=("no rules",)))
    until(lambda: len(server.taken) == 1)
    beat = server.taken[0].json
    assert beat["kind"] == "heartbeat" and "not armed because no rules" in beat["text"]
    ahead[0] = 61_000_000_000
    it.show(picture(it))
    until(lambda: len(server.taken) == 2)
    ahead[0] = 200_000_000_000
    it.hear("loop_stalled", "x")  # the thread lives, and nobody looks at the house
    until(lambda: told(server))
    time.sleep(0.1)
    assert [taken.json["kind"] for taken in server.taken].count("heartbeat") == 2
    it.close()


def test_a_reload_changes_what_is_worth_telling_without_a_restart(tmp_path: Path, servers: Servers) -> None:
    server = servers.open()
    settings = settings_of({"ops": webhook(server)}, feed_down_ms=86_400_000)
    it = office(tmp_path, settings)
    down = (FeedPicture("upbit", is_connected=False, reason="cut", usable=0, markets=1, clock_offset_ms=None),)
    it.show(picture(it, feeds=down))
    time.sleep(0.1)
    assert told(server) == [] and it.active == ()
    it.settings = msgspec.structs.replace(settings, feed_down_ms=0)
    it.show(picture(it, feeds=down))
    until(lambda: told(server))
    assert told(server) == [("feed_down/upbit", "firing")]
    assert [(each.key, each.severity) for each in it.active] == [("feed_down/upbit", "critical")]
    it.close()


def test_no_secret_leaves_in_a_message_a_log_line_or_a_file(
    tmp_path: Path, servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = servers.open(), servers.open()
    bad.ok = (401, {}, CANARY.encode())
    chats = {
        kind: ChannelSettings(kind, url=bad.url, chat="1")  # type: ignore[arg-type]  # one of the kinds
        for kind in ("telegram", "slack", "discord")
    }
    settings = settings_of({"good": webhook(good), "bad": webhook(bad), **chats})
    address = f"{bad.url}/services/{CANARY}"
    secrets = {"good": CANARY, "bad": CANARY, "telegram": CANARY, "slack": address, "discord": address}
    around = Circumstances(HOUSE, tmp_path, EngineClock(), Redactor([CANARY]).redact)
    it = Office(settings, routes_of(settings, secrets), around)
    with caplog.at_level(logging.DEBUG):
        it.start()
        it.hear("broken", f"a text that holds {CANARY} by accident")
        until(lambda: told(good) and len(bad.taken) >= 4)
        it.show(picture(it))
        time.sleep(0.1)
        it.close()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("arbitrage")]
    assert any("fails: refused with status 401" in line for line in ours)
    assert CANARY not in "".join(ours)
    assert CANARY not in good.taken[0].body.decode() and "***" in good.taken[0].json["text"]
    assert CANARY not in (tmp_path / FILE_NAME).read_text()
    assert CANARY not in repr(it.standing)
    failing = {each.name: each for each in it.standing.channels}
    assert failing["bad"].fault_last.startswith("refused with status 401") and failing["bad"].keys_waiting == ("broken",)
    assert failing["good"].sent_ns is not None and failing["good"].tokens < failing["good"].burst
    assert it.standing.spool_bytes == (tmp_path / FILE_NAME).stat().st_size


def test_a_test_message_is_sent_by_each_channel_at_once_and_each_says_what_happened(
    tmp_path: Path, servers: Servers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad, stuck = servers.open(), servers.open(), servers.open()
    bad.ok, stuck.hangs = (404, {}, CANARY.encode()), True
    hooks = {"good": good, "bad": bad, "stuck": stuck}
    channels = {name: {"kind": "webhook", "url": server.url, "timeout_ms": 700} for name, server in hooks.items()}
    for name in channels:
        (tmp_path / f"arbitrage-alert-{name}").write_text(CANARY)
        (tmp_path / f"arbitrage-alert-{name}").chmod(0o600)
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "development.yaml").write_text("{}")
    tree = {**yaml.safe_load((PROJECT / "config" / "base.yaml").read_text()), "keys_dir": str(tmp_path)}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**tree, "alerts": {"channels": channels}}))
    tmp_path.chmod(0o700)
    monkeypatch.delenv("ENV", raising=False)
    parser = build_parser("alert")
    began = time.monotonic()
    status = alert_command.run(parser.parse_args(["alert", "test", "--config", str(tmp_path)]))
    assert status == 1 and time.monotonic() - began < 3.0
    text = capsys.readouterr().out
    lines = {line.partition(" ")[0]: line for line in text.splitlines()}  # in the order in which they end
    assert lines["good"].startswith("good (webhook): arrived: taken, ")
    assert lines["bad"].startswith("bad (webhook): FAILED: refused with status 404: there is no such address, ")
    assert lines["stuck"].startswith("stuck (webhook): FAILED: no answer ") and CANARY not in text
    assert good.taken[0].json["kind"] == "test"
    words = ["alert", "test", "--config", str(tmp_path)]
    assert alert_command.run(parser.parse_args([*words, "--channel", "good", "--json"])) == 0
    assert '"arrived": true' in capsys.readouterr().out
    assert alert_command.run(parser.parse_args(["alert", "test", "--config", str(tmp_path), "--channel", "nobody"])) == 2
    (tmp_path / "arbitrage-alert-bad").unlink()
    assert alert_command.run(parser.parse_args(["alert", "test", "--config", str(tmp_path)])) == 2
    assert "arbitrage-alert-bad: is missing" in capsys.readouterr().err
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(tree))
    assert alert_command.run(parser.parse_args(["alert", "test", "--config", str(tmp_path)])) == 1
