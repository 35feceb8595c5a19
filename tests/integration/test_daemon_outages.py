"""What the daemon stands on dies while it trades: databases, exchanges, the disk. Trading goes on or stops with the reason."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_lab import House, Run, fill, frozen, house_in, is_caught_up, postgres_pid, wait_until
from store_servers import reachable_folder

from arbitrage.model.facts import PlanClosed
from arbitrage.store.embedded import read_state

pytestmark = pytest.mark.integration
ARMED = "arbitrage.daemon: armed"
ENDED = "arbitrage.engine: arbitrage "
DISK = "140m"


@pytest.fixture
def house(data_folder: Path) -> Iterator[House]:
    with house_in(data_folder) as house:
        yield house


def closed(house: House) -> int:
    return sum(isinstance(fact, PlanClosed) for fact in house.facts())


def trading(house: House) -> Run:
    run = house.start()
    run.says(ARMED)
    run.says(ENDED)
    return run


def goes_on_trading(house: House) -> None:
    """Wait until one more arbitrage has ended, by the journal."""
    before = closed(house)
    wait_until(lambda: closed(house) > before, "trading goes on", 20)


def test_frozen_databases_are_told_cost_no_trade_and_catch_up(house: House) -> None:
    run = trading(house)
    with frozen(postgres_pid(house)), frozen(read_state(house.folder).redis_pid):
        run.says("PostgreSQL is away: the journal carries on")
        run.says("Redis is away: trading goes on")
        goes_on_trading(house)
        assert house.status().armed
        health = house.script("healthcheck.py").stdout
        assert "Redis      FAIL" in health and "PostgreSQL FAIL" in health and "armed" in health
    run.says("PostgreSQL is back")
    run.says("Redis is back")
    wait_until(lambda: is_caught_up(house), "PostgreSQL has every fact")
    assert run.end() == 0


def test_killed_databases_cost_no_trade_and_no_fact(house: House) -> None:
    run = trading(house)
    os.kill(postgres_pid(house), signal.SIGKILL)
    os.kill(read_state(house.folder).redis_pid, signal.SIGKILL)
    goes_on_trading(house)
    run.says("an embedded database died and was started again")
    wait_until(lambda: is_caught_up(house), "PostgreSQL has every fact")
    goes_on_trading(house)
    wait_until(lambda: house.script("tools/monitor.py", "--metrics", "--once").returncode == 0, "Valkey has the metrics")
    assert house.status().armed
    assert run.end() == 0 and " ERROR " not in run.text()
    again = house.start()
    again.says(ARMED)
    kinds = house.query("SELECT sequence FROM journal_facts ORDER BY sequence")
    assert [row["sequence"] for row in kinds] == list(range(1, len(kinds) + 1)) and len(kinds) > 50
    unequal = "SELECT asset FROM ledger_entries GROUP BY asset HAVING sum(amount_e8) <> 0"
    assert house.query(unequal) == []
    assert again.end() == 0


def test_databases_that_die_while_it_stops_do_not_hold_it(house: House) -> None:
    run = trading(house)
    os.kill(postgres_pid(house), signal.SIGSTOP)
    began = time.monotonic()
    assert run.end(signal.SIGTERM, 30) == 0
    assert time.monotonic() - began < 20
    again = house.start()
    again.says("restored session")
    again.says(ARMED)
    assert again.end() == 0


def test_exchanges_that_go_away_stop_entries_and_not_the_daemon(house: House) -> None:
    run = trading(house)
    house.venues.stop()
    wait_until(
        lambda: (status := house.status()) and not any(feed.usable for feed in status.feeds.values()), "no feed is usable"
    )
    run.says("cannot connect")
    health = house.script("healthcheck.py")
    assert health.returncode == 1 and "Feeds      FAIL" in health.stdout and "binance down" in health.stdout
    taken = run.text().count(ENDED)
    began = time.monotonic()
    assert run.end() == 0 and time.monotonic() - began < 10
    assert run.text().count(ENDED) >= taken and "Traceback" not in run.text()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own that a test may fill."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = reachable_folder()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_stops_entries_with_the_reason_and_is_recovered_from(
    small_disk: Path, initialised: Path, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-a", f"{initialised}/.", small_disk], check=True)
    with house_in(small_disk) as house:
        house.prints = tmp_path
        run = trading(house)
        fill(small_disk / "ballast")
        run.says("the journal's bound is reached: no new entries")
        run.says("not armed because the journal is full or cannot be written")
        wait_until(lambda: (status := house.status()) and not status.armed, "the status says so too, on the full disk", 10)
        assert run.process.poll() is None and "Traceback" not in run.text()
        armed = run.text().count(ARMED)
        (small_disk / "ballast").unlink()
        run.says(ARMED, times=armed + 1)
        run.says(ENDED, times=run.text().count(ENDED) + 1)
        assert run.end() == 0
        again = house.start()
        again.says("restored session")
        again.says(ARMED)
        assert again.end() == 0
        assert "Traceback" not in run.text() + again.text()
