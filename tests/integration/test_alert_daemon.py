"""A real daemon tells people: a kill within a second, what a stop or a kill -9 interrupted after the next start, no secret."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_servers import HttpServer, Servers, told, until
from daemon_lab import PROJECT, House, frozen, house_in, postgres_pid

pytestmark = pytest.mark.integration
CANARY = "c4n4ry-S3CR3T-0123456789"
ARMED = "arbitrage.daemon: armed"
STOP_S = 30.0


@pytest.fixture
def servers() -> Iterator[Servers]:
    it = Servers()
    yield it
    it.close()


@pytest.fixture
def house(data_folder: Path) -> Iterator[House]:
    with house_in(data_folder) as house:
        yield house


def told_by(house: House, server: HttpServer, *, secret: str = CANARY, **more: int) -> None:
    """Have a house tell a webhook, whose key lies where keys lie."""
    keys = house.folder / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    if secret:
        file = keys / "arbitrage-alert-ops"
        file.write_text(secret + "\n")
        file.chmod(0o600)
    channel = {"kind": "webhook", "url": server.url, "heartbeat_ms": 1_000}
    house.configure({"alerts": {"channels": {"ops": channel}, "clear_ms": 500, "group_ms": 100, **more}, "keys_dir": str(keys)})


def metrics(house: House) -> dict[str, float]:
    """Read the metrics as a scraper on this machine does, without a key."""
    status = house.status()
    assert status is not None
    with urllib.request.urlopen(f"{status.web_url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def arbitrage(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "arbitrage", *words]
    return subprocess.run(command, capture_output=True, text=True, env=house.environ, cwd=PROJECT, check=False, timeout=60)


def test_a_kill_is_told_within_a_second_and_its_release_after_it(house: House, servers: Servers) -> None:
    server = servers.open()
    told_by(house, server)
    run = house.start()
    run.says(ARMED)
    until(lambda: any(": armed; 0 alerts on" in taken.json["text"] for taken in server.taken))
    (house.folder / "KILL").write_text("prices look wrong\n")
    took_s = until(lambda: ("kill_switch", "firing") in told(server), 5.0)
    assert took_s < 1.0, f"a critical alert took {took_s:.3f} s"
    print(f"a critical alert of a real daemon arrived after {took_s:.3f} s")
    until(lambda: metrics(house).get('arbitrage_alerts_firing{severity="critical"}') == 1.0)
    page = metrics(house)
    assert page['arbitrage_alert_messages_sent_total{channel="ops"}'] > 1
    assert page['arbitrage_alert_channel_failing{channel="ops"}'] == 0
    beat_s = time.time() - page['arbitrage_alert_heartbeat_timestamp_seconds{channel="ops"}']
    assert -1 < beat_s < 5 and page['arbitrage_alert_heartbeat_interval_seconds{channel="ops"}'] == 1
    assert arbitrage(house, "release", "--reason", "checked", "--data-dir", str(house.folder)).returncode == 0
    until(lambda: ("kill_switch", "over") in told(server))
    assert run.end() == 0
    assert [key for key, _ in told(server)].count("kill_switch") == 2, "told once, and once when it was over"
    files = [path for path in house.folder.rglob("*") if path.is_file() and not {"postgres", "keys"} & {*path.parts}]
    assert run.printed in files and house.log_file in files
    assert not [path for path in files if CANARY.encode() in path.read_bytes()], "no file and no line holds the secret"
    assert not [taken for taken in server.taken if CANARY.encode() in taken.body + repr(taken.headers).encode()]


def test_a_critical_alert_that_could_not_leave_survives_a_stop_and_a_kill_9(house: House, servers: Servers) -> None:
    server = servers.open()
    told_by(house, server)
    server.ok = (503, {}, b"")
    run = house.start()
    run.says(ARMED)
    (house.folder / "KILL").write_text("prices look wrong\n")
    run.says("alert kill_switch firing")
    assert run.end(seconds=STOP_S) == 0, "a channel that fails holds no stop"
    server.ok = (200, {}, b"{}")
    server.taken.clear()
    again = house.start()
    until(lambda: ("kill_switch", "firing") in told(server), 60.0)
    again.says("not armed because kill switch")
    # A message arrives at least once: until it is noted that it did, a start would send it again.
    until(lambda: b'"waiting":{"ops":[]}' in (house.folder / "alerts.json").read_bytes())
    assert again.end(signal.SIGKILL) == -signal.SIGKILL
    server.taken.clear()
    third = house.start()
    until(lambda: ("unclean_end", "firing") in told(server), 60.0)
    third.says("not armed because kill switch")
    assert "kill_switch" not in [key for key, _ in told(server)], "what was told is not told again"
    assert third.end() == 0


def test_a_daemon_whose_channel_has_no_secret_does_not_start(house: House, servers: Servers) -> None:
    told_by(house, servers.open(), secret="")
    run = house.start()
    assert run.process.wait(60) == 2
    assert "secret of a channel arbitrage-alert-ops: is missing" in run.text()


def test_a_test_message_says_what_happened_by_each_channel(house: House, servers: Servers) -> None:
    server = servers.open()
    told_by(house, server)
    words = ("alert", "test", "--config", str(house.config))
    done = arbitrage(house, *words)
    assert done.returncode == 0 and done.stdout.startswith("ops (webhook): arrived: taken, "), done.stderr
    assert server.taken[0].json["kind"] == "test"
    server.ok = (401, {}, CANARY.encode())
    refused = arbitrage(house, *words, "--channel", "ops", "--json")
    (row,) = json.loads(refused.stdout)["channels"]
    assert refused.returncode == 1 and row["arrived"] is False
    assert row["text"] == "FAILED: refused with status 401: the secret is not taken"
    assert CANARY not in refused.stdout + refused.stderr
    unknown = arbitrage(house, *words, "--channel", "nobody")
    assert unknown.returncode == 2 and "there are: ops" in unknown.stderr
    house.configure({})
    nobody = arbitrage(house, *words)
    assert nobody.returncode == 1 and "nobody would be told" in nobody.stderr


def test_what_breaks_around_a_real_daemon_is_told_and_its_end_too(house: House, servers: Servers) -> None:
    server = servers.open()
    told_by(house, server, feed_down_ms=500, disarmed_ms=86_400_000)
    run = house.start()
    run.says(ARMED)
    pid = postgres_pid(house)
    with frozen(pid):
        until(lambda: ("database_away", "firing") in told(server), 60.0)
    until(lambda: ("database_away", "over") in told(server), 60.0)
    house.venues.process.send_signal(signal.SIGSTOP)
    until(lambda: {("feed_down/binance", "firing"), ("feed_down/upbit", "firing")} <= set(told(server)), 60.0)
    house.venues.process.send_signal(signal.SIGCONT)
    until(lambda: {("feed_down/binance", "over"), ("feed_down/upbit", "over")} <= set(told(server)), 60.0)
    until(lambda: (status := house.status()) is not None and "feed_down/upbit" not in status.alerts)
    assert "difference" not in " ".join(key for key, _ in told(server)), "leftovers are none that disarm"
    assert run.end() == 0


def test_a_broken_invariant_is_told_before_the_process_ends(house: House, servers: Servers) -> None:
    server = servers.open()
    told_by(house, server)
    house.program = (str(Path(__file__).with_name("alert_broken_run.py")),)
    run = house.start()
    assert run.process.wait(60) == 70
    assert ("broken", "firing") in told(server), "the last thing that it said"
