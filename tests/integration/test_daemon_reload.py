"""One running daemon, watched and told things from outside: reload by SIGHUP, systemd's notices, health, monitor, logs."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from daemon_lab import SESSION, House, Run, house_in, wait_until

from arbitrage.model.settings import HealthSettings
from arbitrage.store.embedded import read_state
from arbitrage.store.redis_logs import logs_key
from arbitrage.store.redis_metrics import METRICS, metrics_key

pytestmark = pytest.mark.integration
SIX = {
    "trades_per_minute", "errors_per_minute", "avg_ws_latency_ms", "avg_loop_latency_ms", "guard_triggers_per_minute",
    "pnl_change_1min",
}  # fmt: skip
WATCHDOG_S = 3.0


class Manager:
    """Stands where systemd stands: hears what the daemon says of itself."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self.heard: list[dict[str, str]] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def has_heard(self, field: str, *, after: int = 0) -> bool:
        """Say whether a message with this field came after so many."""
        return any(field in message for message in self.heard[after:])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while text := self._socket.recv(65_536).decode():
            self.heard.append(dict(line.split("=", 1) for line in text.splitlines()))


@pytest.fixture(scope="module")
def watched(initialised: Path) -> Iterator[tuple[House, Run, Manager]]:
    """One daemon for the whole file, in the order of the tests."""
    from conftest import copied

    folder = copied(initialised)
    manager = Manager(folder / "notify")
    with house_in(folder, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=str(int(WATCHDOG_S * 1e6))) as house:
        # A machine under test may be slow; what is tested is that the daemon is judged, not how fast this machine is.
        house.tree["health"].update({"redis_latency_ms_max": 1_000, "loop_latency_ms_max": 1_000})
        house.configure({})
        run = house.start()
        run.says("ready: ")
        run.says("arbitrage.engine: arbitrage ")
        yield house, run, manager
    manager.close()
    shutil.rmtree(folder, ignore_errors=True)


def valkey(house: House) -> redis.Redis:
    state = read_state(house.folder)
    return redis.Redis(port=state.redis_port, password=state.redis_password, decode_responses=True)


def test_systemd_hears_ready_a_status_and_the_watchdog(watched: tuple[House, Run, Manager]) -> None:
    _, _, manager = watched
    wait_until(lambda: manager.has_heard("READY"), "READY=1")
    count = len(manager.heard)
    wait_until(lambda: manager.has_heard("WATCHDOG", after=count), "the watchdog is fed", WATCHDOG_S)
    ready = next(message for message in manager.heard if "READY" in message)
    assert ready["STATUS"].startswith("armed; ")
    wait_until(lambda: manager.has_heard("STATUS", after=count), "a status")


def test_a_changed_limit_is_accepted_told_recorded_and_snapshotted(watched: tuple[House, Run, Manager]) -> None:
    house, run, manager = watched
    snapshots, heard = len(house.snapshots()), len(manager.heard)
    house.configure({"risk.profit_min": "0.20", "risk.open_plans_max": 3})
    run.hears(signal.SIGHUP)
    run.says("configuration reloaded: ")
    line = run.line("configuration reloaded: ")
    assert 'risk.profit_min "0.10" -> "0.20"' in line and "risk.open_plans_max" in line and "INFO" in line
    run.says("is in force")
    run.says("(reload)")
    assert len(house.snapshots()) == snapshots + 1
    wait_until(lambda: manager.has_heard("READY", after=heard), "READY after RELOADING")
    reloading = next(message for message in manager.heard[heard:] if "RELOADING" in message)
    assert int(reloading["MONOTONIC_USEC"]) > 0
    rows = "SELECT actor, body->'risk'->>'profit_min' AS profit FROM configuration_versions ORDER BY at_ns"
    wait_until(lambda: len(house.query(rows)) == 2, "the new configuration is recorded")
    assert [tuple(row.values()) for row in house.query(rows)] == [("start", "0.10"), ("reload", "0.20")]


def test_a_bad_file_is_refused_by_line_and_the_old_configuration_stays(watched: tuple[House, Run, Manager]) -> None:
    house, run, manager = watched
    heard = len(manager.heard)
    house.configure({"risk.profit_min": "plenty", "risk.open_plans_max": 1})
    run.hears(signal.SIGHUP)
    run.says("configuration refused: ")
    line = run.line("configuration refused: ")
    assert "base.yaml:" in line and "risk.profit_min" in line and "the running one stays whole" in line and "ERROR" in line
    wait_until(lambda: manager.has_heard("READY", after=heard), "systemd is not left waiting")
    house.configure({"risk.profit_min": "0.20", "risk.open_plans_max": 3})
    run.hears(signal.SIGHUP)
    run.says("configuration reloaded: nothing changed")


def test_a_file_that_is_no_yaml_or_gone_is_refused(watched: tuple[House, Run, Manager]) -> None:
    house, run, _ = watched
    base = house.config / "base.yaml"
    text = base.read_text()
    for content in (b"risk: [", b"\xff\xfe\x00", None):
        count = run.text().count("configuration refused: ")
        base.unlink()
        if content is not None:
            base.write_bytes(content)
        run.hears(signal.SIGHUP)
        run.says("configuration refused: ", times=count + 1)
        base.write_text(text)
    assert run.process.poll() is None


def test_a_key_that_needs_a_restart_is_named_and_nothing_is_taken_over(watched: tuple[House, Run, Manager]) -> None:
    house, run, _ = watched
    house.configure({"risk.profit_min": "0.30", "risk.open_plans_max": 3, "paper.seed": 99})
    run.hears(signal.SIGHUP)
    run.says("configuration refused: restart to change paper.seed")
    house.configure({"risk.profit_min": "0.30", "risk.open_plans_max": 3})
    run.hears(signal.SIGHUP)
    run.says('risk.profit_min "0.20" -> "0.30"')
    assert run.process.poll() is None


def test_a_changed_log_level_is_in_force_at_once(watched: tuple[House, Run, Manager]) -> None:
    house, run, manager = watched
    level = house.config / "environments" / "development.yaml"
    heard = len(manager.heard)
    level.write_text("log:\n  level: ERROR\n")
    run.hears(signal.SIGHUP)
    wait_until(lambda: manager.has_heard("READY", after=heard), "the reload is over")
    level.write_text("log:\n  level: INFO\n")
    run.hears(signal.SIGHUP)
    run.says('log.level "ERROR" -> "INFO"')
    assert 'log.level "INFO" -> "ERROR"' not in run.text(), "that line was below the new level"


def test_many_reloads_at_once_end_with_the_newest_file(watched: tuple[House, Run, Manager]) -> None:
    house, run, _ = watched
    for profit in range(31, 40):
        house.configure({"risk.profit_min": f"0.{profit}", "risk.open_plans_max": 3})
        run.hears(signal.SIGHUP)
    run.says('-> "0.39"')
    assert run.process.poll() is None


def test_health_passes_and_the_monitor_shows_the_six_figures(watched: tuple[House, Run, Manager]) -> None:
    house, _, _ = watched
    assert HealthSettings().redis_latency_ms_max == 30 and HealthSettings().loop_latency_ms_max == 100
    health = house.script("healthcheck.py")
    assert (health.returncode, health.stderr) == (0, ""), health.stdout
    assert health.stdout.splitlines()[-1] == "PASSED" and len(health.stdout.splitlines()) == 9
    said = json.loads(house.script("healthcheck.py", "--json").stdout)
    assert said["passed"] and said["checks"][0]["name"] == "Redis"
    monitor = house.script("tools/monitor.py", "--metrics", "--once", "--json")
    assert (monitor.returncode, monitor.stderr) == (0, "")
    assert json.loads(monitor.stdout).keys() >= SIX == set(METRICS)
    assert int(json.loads(monitor.stdout)["trades_per_minute"]) > 0
    tail = house.script("tools/monitor.py", "--tail", "--once")
    assert tail.returncode == 0 and "configuration reloaded" in tail.stdout


def test_redis_holds_the_metrics_and_the_log_stream(watched: tuple[House, Run, Manager]) -> None:
    house, _, _ = watched
    client = valkey(house)
    key = metrics_key("development", SESSION)
    assert key == f"arbitrage:development:{SESSION}:METRICS" and set(client.hkeys(key)) >= SIX
    assert float(client.hget(key, "errors_per_minute")) >= 1, "the refused configurations were errors"
    assert logs_key("development") == "arbitrage:logs:development" and client.xlen("arbitrage:logs:development") > 5
    client.close()


def test_warnings_and_worse_are_in_the_table_and_everything_is_in_the_file(watched: tuple[House, Run, Manager]) -> None:
    house, _, _ = watched
    rows = "SELECT level, text FROM system_logs"
    wait_until(lambda: any("configuration refused" in row["text"] for row in house.query(rows)), "rows in system_logs")
    found = house.query(rows)
    assert {row["level"] for row in found} <= {"WARNING", "ERROR"}
    lines = [json.loads(line) for line in house.log_file.read_text().splitlines()]
    assert {"INFO", "ERROR"} <= {line["level"] for line in lines}
    assert all(any(row["text"] == line["text"] for line in lines) for row in found)


def test_no_password_is_in_any_log(watched: tuple[House, Run, Manager]) -> None:
    house, run, _ = watched
    state = read_state(house.folder)
    text = run.text() + house.log_file.read_text()
    assert state.postgres_password and state.postgres_password not in text
    assert state.redis_password and state.redis_password not in text


def test_after_its_stop_systemd_knows_and_health_fails_with_reasons(watched: tuple[House, Run, Manager]) -> None:
    house, run, manager = watched
    assert run.end() == 0
    assert manager.has_heard("STOPPING") and "Traceback" not in run.text()
    wait_until(lambda: "stands still or is gone" in house.script("healthcheck.py").stdout, "the last status is too old", 15)
    health = house.script("healthcheck.py")
    assert health.returncode == 1 and health.stdout.splitlines()[-1] == "FAILED" and health.stderr == ""
    assert all(f"{name:<10} FAIL" in health.stdout for name in ("Redis", "PostgreSQL", "Metrics", "Feeds"))
    assert house.script("tools/monitor.py", "--metrics", "--once", "--json").returncode == 1
