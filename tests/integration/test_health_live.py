"""The health check and the monitor against real servers: well, ill, and with nothing there. No hang, no traceback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from arbitrage.ops import health_command, monitor_command
from arbitrage.ops.health import Check, Examiner, Health
from arbitrage.ops.log_lines import LogLine
from arbitrage.ops.log_sources import LogSource, read_metrics, stream_entry
from arbitrage.ops.metrics import Metrics
from arbitrage.ops.places import Places, find_places
from arbitrage.ops.preflight import database_problems
from arbitrage.ops.status import FeedStatus, Status, write_status
from arbitrage.store.endpoints import PostgresEndpoint, RedisEndpoint
from arbitrage.store.redis_client import make_redis
from arbitrage.store.redis_logs import logs_key
from arbitrage.store.redis_metrics import metrics_key

PROJECT = Path(__file__).resolve().parents[2]
MINUTE = 60 * 1_000_000_000
pytestmark = pytest.mark.integration


class House:
    """What a running daemon leaves to be seen: status, log file, hash and stream, and the servers themselves."""

    def __init__(self, folder: Path, postgres: PostgresEndpoint, redis: RedisEndpoint) -> None:
        self.folder = folder
        self.redis = redis
        self.session = f"s{time.time_ns()}"
        self.environ = {
            "ARBITRAGE_CONFIG_DIR": str(PROJECT / "config"),
            "ENV": "staging",
            "ARBITRAGE__STORE__DATA_DIR": str(folder),
            "ARBITRAGE__LOG__DIRECTORY": str(folder / "logs"),
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": postgres.database,
            "REDIS_HOST": redis.host,
            "REDIS_PORT": str(redis.port),
            "REDIS_PASSWORD": redis.password,
        }
        self.log_file = folder / "logs" / "arbitrage_staging.log"
        self.log_file.parent.mkdir()
        self.log_file.write_bytes(b"")
        self.write_status()

    def write_status(self, **changes: object) -> None:
        now = time.time_ns()
        status = Status(
            pid=1,
            session_id=self.session,
            env="staging",
            mode="paper",
            armed=True,
            not_armed_reasons=(),
            postgres=None,
            redis=None,
            feeds={"upbit": FeedStatus(True, 20, 6, 6), "binance": FeedStatus(True, 20, 5, 5)},
            last_snapshot_at_ns=now,
            at_ns=now,
            loop_latency_ms=0.4,
            started_at_ns=now,
        )
        write_status(self.folder, msgspec.structs.replace(status, **changes))

    def publish(self, metrics: Metrics, lines: tuple[LogLine, ...] = ()) -> None:
        async def send() -> None:
            client = make_redis(self.redis)
            await client.delete(logs_key("staging"))
            await client.hset(metrics_key("staging", self.session), mapping=metrics.fields(time.time_ns()))
            for line in lines:
                await client.xadd(logs_key("staging"), stream_entry(line))
            await client.aclose()

        asyncio.run(send())

    def places(self, **changes: str) -> Places:
        return find_places({**self.environ, **changes})

    def health(self, *, later_ns: int = 0, **changes: str) -> Health:
        now_ns = time.time_ns() + later_ns
        return asyncio.run(Examiner(self.places(**changes), now_ns=now_ns, timer_ns=time.perf_counter_ns).examine())

    def script(self, name: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **self.environ, **changes}
        command = [sys.executable, str(PROJECT / name), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=30)


@pytest.fixture
def house(tmp_path: Path, postgres: PostgresEndpoint, redis: RedisEndpoint) -> House:
    return House(tmp_path, postgres, redis)


def failed(health: Health) -> dict[str, str]:
    return {check.name: check.text for check in health.checks if not check.passed}


def named(health: Health, name: str) -> Check:
    return next(check for check in health.checks if check.name == name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_well_daemon_passes_with_one_line_a_part(house: House) -> None:
    house.publish(Metrics())
    done = house.script("healthcheck.py")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, lines[-1]) == (0, "", "PASSED"), done.stdout
    parts = ["Redis", "PostgreSQL", "Logs", "Metrics", "Feeds", "Snapshot", "Kill", "Backup"]
    assert [line.split()[0] for line in lines[:-1]] == parts
    assert "over 60 s" in lines[3] and "(limit 30 ms)" in lines[0] and "kB" in lines[2]


def test_json_says_the_same(house: House) -> None:
    house.publish(Metrics())
    done = house.script("healthcheck.py", "--json")
    said = msgspec.json.decode(done.stdout)
    assert done.returncode == 0 and said["passed"] is True and len(said["checks"]) == 8
    assert {"name", "passed", "text", "value", "limit"} == set(said["checks"][0])
    assert house.environ["POSTGRES_PASSWORD"] not in done.stdout


def test_a_slow_loop_fails_by_the_rolling_figure(house: House) -> None:
    metrics = Metrics()
    metrics.loop_latency(time.time_ns(), 101_000)
    house.publish(metrics)
    assert list(failed(house.health())) == ["Metrics"]
    metrics.loop_latency(time.time_ns(), 98_000)
    house.publish(metrics)
    assert failed(house.health()) == {}


def test_without_redis_the_status_file_tells_the_loops_latency_and_redis_fails(house: House) -> None:
    gone = {"REDIS_PORT": str(free_port())}
    assert list(failed(house.health(**gone))) == ["Redis"]
    house.write_status(loop_latency_ms=100.5)
    assert list(failed(house.health(**gone))) == ["Redis", "Metrics"]


def test_old_figures_in_redis_are_not_believed(house: House) -> None:
    metrics = Metrics()
    metrics.loop_latency(time.time_ns(), 500_000)
    house.publish(metrics)
    later_ns = 11_000_000_000
    assert "stands still or is gone" in failed(house.health(later_ns=later_ns))["Metrics"]
    house.write_status(at_ns=time.time_ns() + later_ns)
    late = house.health(later_ns=later_ns)
    assert named(late, "Metrics").passed and "those in Redis are old" in named(late, "Metrics").text


@pytest.mark.parametrize("set_by_ns", [60 * MINUTE, -120 * MINUTE])
def test_a_wall_clock_that_was_set_makes_no_daemon_ill_and_hides_no_dead_one(house: House, set_by_ns: int) -> None:
    engine_ns = time.time_ns() - set_by_ns
    times = {"at_ns": engine_ns, "started_at_ns": engine_ns, "last_snapshot_at_ns": engine_ns}
    house.write_status(**times, wall_ns=time.time_ns())
    assert not failed(house.health()).keys() & {"Metrics", "Feeds", "Snapshot"}
    house.write_status(**times, wall_ns=time.time_ns() - set_by_ns)
    assert {"Metrics", "Feeds"} <= failed(house.health()).keys(), "the clock was set after its last word"


def test_an_old_log_an_old_snapshot_and_a_silent_feed_fail(house: House) -> None:
    house.publish(Metrics())
    long_ago = time.time() - 301
    os.utime(house.log_file, (long_ago, long_ago))
    feeds = {"upbit": FeedStatus(False, 9, 6, 0), "binance": FeedStatus(True, 6_001, 5, 5)}
    before_ns = time.time_ns() - 6 * MINUTE
    house.write_status(last_snapshot_at_ns=before_ns, feeds=feeds, armed=False, not_armed_reasons=("kill switch",))
    found = failed(house.health())
    assert list(found) == ["Logs", "Feeds", "Snapshot"]
    for words in ("upbit down", "binance silent", "not armed because kill switch"):
        assert words in found["Feeds"]
    house.log_file.unlink()
    assert "cannot be read" in failed(house.health())["Logs"]


def test_a_feed_with_no_usable_book_fails(house: House) -> None:
    house.write_status(feeds={"upbit": FeedStatus(True, 9, 6, 0)})
    assert "0/6 usable" in failed(house.health())["Feeds"]
    house.write_status(feeds={})
    assert failed(house.health())["Feeds"].startswith("no venue is connected")


def test_a_daemon_without_a_snapshot_yet_is_well_only_while_it_is_young(house: House) -> None:
    house.write_status(last_snapshot_at_ns=None)
    assert "Snapshot" not in failed(house.health())
    house.write_status(last_snapshot_at_ns=None, started_at_ns=time.time_ns() - 6 * MINUTE)
    assert "none yet" in failed(house.health())["Snapshot"]


def test_with_nothing_there_everything_fails_in_words_and_quickly(tmp_path: Path) -> None:
    places = {"ARBITRAGE__STORE__DATA_DIR": str(tmp_path / "none"), "ARBITRAGE__LOG__DIRECTORY": str(tmp_path / "none")}
    environ = {**os.environ, "ARBITRAGE_CONFIG_DIR": str(PROJECT / "config"), **places}
    began = time.monotonic()
    command = [sys.executable, str(PROJECT / "healthcheck.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=30)
    assert done.returncode == 1 and done.stderr == "" and done.stdout.splitlines()[-1] == "FAILED"
    assert done.stdout.count("FAIL ") == 7 and "the daemon has not run here" in done.stdout
    assert time.monotonic() - began < 15


def test_a_broken_configuration_is_one_more_failed_line(house: House, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    done = house.script("healthcheck.py", ARBITRAGE_CONFIG_DIR=str(tmp_path / "config"))
    assert done.returncode == 1 and done.stdout.startswith("Config     FAIL") and done.stderr == ""


@contextlib.contextmanager
def mute_server() -> Iterator[int]:
    """Accept connections and never answer: a server that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in kept:
            connection.close()


def test_servers_that_accept_and_never_answer_do_not_hang_the_check(house: House) -> None:
    with mute_server() as port:
        began = time.monotonic()
        done = house.script("healthcheck.py", REDIS_PORT=str(port), POSTGRES_PORT=str(port))
        assert done.returncode == 1 and done.stderr == ""
        assert time.monotonic() - began < 12
        assert done.stdout.count("FAIL ") == 2


def test_a_wrong_password_is_said_without_showing_it(house: House) -> None:
    done = house.script("healthcheck.py", POSTGRES_PASSWORD="wrong-word-1", REDIS_PASSWORD="wrong-word-2")
    assert done.returncode == 1 and "wrong-word" not in done.stdout and done.stderr == ""


def test_preflight_asks_named_databases(house: House) -> None:
    from arbitrage.ops.config import load

    def problems(**changes: str) -> list[str]:
        loaded = load(PROJECT / "config", {**house.environ, **changes})
        return [str(problem) for problem in asyncio.run(database_problems(loaded))]

    assert problems() == []
    found = problems(REDIS_PORT=str(free_port()), POSTGRES_PORT=str(free_port()))
    assert len(found) == 2 and "environment variable POSTGRES_HOST store.postgres_host: PostgreSQL at 127.0.0.1" in found[0]
    assert "leave REDIS_HOST empty for the embedded one" in found[1]


def lines(*texts: str) -> tuple[LogLine, ...]:
    began = time.time_ns()
    return tuple(
        LogLine(began + number, "ERROR" if "bad" in text else "INFO", "arbitrage.test", text, fields={"n": number})
        for number, text in enumerate(texts)
    )


def test_the_monitor_prints_plain_figures_when_piped(house: House) -> None:
    metrics = Metrics()
    metrics.trade(time.time_ns())
    house.publish(metrics)
    done = house.script("tools/monitor.py", "--metrics", "--once")
    assert done.returncode == 0 and "trades_per_minute 1\n" in done.stdout and "\x1b" not in done.stdout
    said = msgspec.json.decode(house.script("tools/monitor.py", "--metrics", "--once", "--json").stdout)
    assert said["trades_per_minute"] == "1" and said["pnl_change_1min"] == "0"
    gone = house.script("tools/monitor.py", "--metrics", "--once", REDIS_PORT=str(free_port()))
    assert gone.returncode == 1 and "does not answer" in gone.stdout and gone.stderr == ""


def test_the_monitor_shows_the_stream_errors_and_a_search(house: House) -> None:
    house.publish(Metrics(), lines("armed", "bad thing", "Not Armed because gap"))
    tail = house.script("tools/monitor.py", "--tail", "--once").stdout.splitlines()
    texts = [line.rpartition("arbitrage.test: ")[2] for line in tail]
    assert texts == ["armed n=0", "bad thing n=1", "Not Armed because gap n=2"]
    assert [line.split()[1] for line in house.script("tools/monitor.py", "--errors", "--once").stdout.splitlines()] == ["ERROR"]
    found = house.script("tools/monitor.py", "--search", "not armed", "--json")
    assert [msgspec.json.decode(line)["text"] for line in found.stdout.splitlines()] == ["Not Armed because gap"]
    none = house.script("tools/monitor.py", "--search", "nothing like it")
    assert (none.returncode, none.stdout) == (1, "") and "no such line in redis://" in none.stderr


def test_without_redis_the_monitor_reads_the_log_file(house: House) -> None:
    house.log_file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines("one", "bad two")))
    gone = {"REDIS_PORT": str(free_port())}
    assert len(house.script("tools/monitor.py", "--tail", "--once", **gone).stdout.splitlines()) == 2
    assert "bad two" in house.script("tools/monitor.py", "--errors", "--once", **gone).stdout


def test_the_tail_goes_on_and_shows_no_line_twice(house: House, until: Callable[..., object]) -> None:
    first, second, third = lines("one", "two", "three")

    async def follow() -> list[list[str]]:
        source, places = LogSource(), house.places()
        client = make_redis(house.redis)
        await client.delete(logs_key("staging"))
        await client.xadd(logs_key("staging"), stream_entry(first))
        seen = [[line.text for line in await source.read_new(places)]]
        await client.xadd(logs_key("staging"), stream_entry(second))
        seen.append([line.text for line in await source.read_new(places)])
        seen.append([line.text for line in await source.read_new(places)])
        house.log_file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in (first, second, third)))
        seen.append([line.text for line in await source.read_new(places._replace(redis=None))])
        await client.aclose()
        return seen

    assert asyncio.run(follow()) == [["one"], ["two"], [], ["three"]]


def test_metrics_say_why_there_are_none(house: House) -> None:
    assert "METRICS in redis://" in str(asyncio.run(read_metrics(house.places())))
    assert asyncio.run(read_metrics(house.places()._replace(redis=None))) == "Redis is not running"
    assert asyncio.run(read_metrics(house.places()._replace(status="no daemon"))) == "no daemon"


def test_on_a_terminal_the_figures_are_live_until_interrupted(house: House) -> None:
    house.publish(Metrics())
    leader, follower = pty.openpty()
    environ = {**os.environ, **house.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, str(PROJECT / "tools" / "monitor.py"), "--metrics"]
    terminal = {"stdin": follower, "stdout": follower, "stderr": follower}
    with subprocess.Popen(command, **terminal, env=environ, start_new_session=True) as process:
        os.close(follower)
        seen, deadline = b"", time.monotonic() + 20
        while seen.count(b"trades_per_minute") < 2 and time.monotonic() < deadline:
            seen += os.read(leader, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    os.close(leader)
    assert seen.count(b"trades_per_minute") >= 2 and b"\x1b[" in seen and b"Traceback" not in seen
    assert "staging paper" in seen.decode(errors="replace")


def test_the_commands_in_this_process(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.publish(Metrics(), lines("armed", "bad thing"))
    assert health_command.run(["--json"], house.environ, wall_ns=time.time_ns, timer_ns=time.perf_counter_ns) == 0
    assert '"passed":true' in capsys.readouterr().out
    for words, expected in (
        (["--metrics", "--once"], "errors_per_minute 0"),
        (["--metrics", "--once", "--json"], '"errors_per_minute":"0"'),
        (["--tail", "--once"], "armed"),
        (["--errors", "--once", "--json"], '"text":"bad thing"'),
        (["--search", "BAD"], "bad thing"),
    ):
        assert monitor_command.run(words, house.environ, wall_ns=time.time_ns) == 0
        assert expected in capsys.readouterr().out
    assert monitor_command.run(["--search", "nowhere"], house.environ, wall_ns=time.time_ns) == 1
