"""Kill -9 at every labelled moment and at random ones: nothing is lost, doubled or off; where something is, it is seen."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from broken_run import BROKEN
from kills import command
from kills.plan import KILLS_PER_COMPARISON, POINTS, RANDOM, Kill, plan
from kills.sweep import Sweep, Tally
from live_lab import LiveHouse, live_house_in

pytestmark = pytest.mark.integration
KILLS, SEED = 20, 1
PATIENCE_ON_A_BUSY_MACHINE = 4
BROKEN_RUN = Path(__file__).with_name("broken_run.py")


def test_twenty_kills_at_every_moment_lose_double_and_misplace_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    command.main(["--kills", str(KILLS), "--seed", str(SEED), "--json"])
    printed = capfd.readouterr()
    told = json.loads(printed.out.splitlines()[-1])
    assert told["kills"] == KILLS and told["orders"] > KILLS // 2, told
    assert told["comparisons"] == 1 + KILLS // KILLS_PER_COMPARISON
    names = ("lost", "doubled", "positions_off", "money_off", "postgres_off", "violations", "unarmed", "wrong_ever")
    assert not any(told[name] for name in names), printed.err
    assert told["unreached"] == [] and told["left_by_kills"] and told["found_fills"], "kills met orders that were under way"
    is_quiet = os.getloadavg()[0] < (os.cpu_count() or 1)
    assert told["restart_s"]["p99"] < command.RESTART_S_MAX * (1 if is_quiet else PATIENCE_ON_A_BUSY_MACHINE), printed.err


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    print("\n".join(lines))


def swept(folder: Path, plant: str, deaths: Sequence[str], said: list[str], *faults: dict[str, object]) -> Tally:
    """Kill a broken daemon at these moments, and compare."""
    assert plant in BROKEN
    sweep = Sweep(folder, SEED, said.append, (str(BROKEN_RUN), plant), faults)
    try:
        for number, point in enumerate(deaths):
            sweep.live_and_die(Kill(number, point))
        sweep.finish()
    finally:
        sweep.close()
    return sweep.tally


def test_a_ledger_that_books_a_fill_twice_is_seen(data_folder: Path, said: list[str]) -> None:
    found = swept(data_folder, "doubling", ["after-acknowledgement@binance"], said)
    assert found.last.money_off and found.last.positions_off and found.last.doubled and found.unarmed


def test_an_order_that_is_sent_again_after_a_start_is_seen(data_folder: Path, said: list[str]) -> None:
    found = swept(data_folder, "repeating", ["after-send@binance"] * 2, said)
    assert any("orders under" in words for words in found.last.doubled), said


def test_an_absence_that_is_believed_too_early_is_seen(data_folder: Path, said: list[str]) -> None:
    hidden: dict[str, object] = {"venue": "upbit", "kind": "not_found", "ms": 60_000}
    found = swept(data_folder, "gullible", ["after-send@upbit"], said, hidden)
    assert any("was taken for rejected" in words for words in found.last.lost), said


def test_a_plan_is_its_seed_s_and_comes_to_every_moment() -> None:
    first, again = (list(plan(SEED, KILLS, 4)) for _ in range(2))
    assert first == again != list(plan(SEED + 1, KILLS, 4))
    for seed in range(100):
        drawn = list(plan(seed, KILLS, 4 + seed % 8))
        assert [kill.number for kill in drawn] == list(range(1, KILLS + 1))
        assert {kill.point for kill in drawn} == {RANDOM, *POINTS}
        assert sum(kill.is_compared for kill in drawn) == KILLS // KILLS_PER_COMPARISON


def test_percentiles_are_of_the_values_themselves() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [command.percentile(values, part) for part in (0.5, 0.99)] == [50.0, 99.0]
    assert command.percentile([3.0], 0.99) == 3.0
    assert command.percentile([], 0.5) is None


@pytest.fixture
def house(data_folder: Path) -> Iterator[LiveHouse]:
    with live_house_in(data_folder) as house:
        yield house


def test_a_daemon_with_a_crash_point_says_so_and_dies_there_as_by_kill_9(house: LiveHouse) -> None:
    house.configure({"store.snapshot_interval_ms": 300})
    run = house.start(ARBITRAGE_CRASH_AT="during-snapshot-file")
    assert run.process.wait(60) == -signal.SIGKILL
    assert "ARBITRAGE_CRASH_AT is set: this process kills itself at during-snapshot-file" in run.text()
    assert run.text().endswith("crash point during-snapshot-file reached\n")
    (half,) = (house.session_dir / "snapshots").glob("*.tmp")
    again = house.start()
    again.says("arbitrage.daemon: armed")
    assert not half.exists() and again.end() == 0
    unknown = house.start(ARBITRAGE_CRASH_AT="before-lunch")
    assert unknown.process.wait(60) == 2
    (line,) = unknown.text().splitlines()
    assert "ARBITRAGE_CRASH_AT: 'before-lunch' names no crash point; write LABEL" in line
