"""The operator's word to a running daemon: kill by command, signal and file, with the database gone, across restarts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from daemon_lab import PROJECT, SESSION, House, Run, house_in, wait_until
from store_servers import reachable_folder

from arbitrage.model.facts import Fact, KillProven, KillSwitched, Paused, PlanOpened
from arbitrage.store.embedded import postgres_of, read_state
from arbitrage.store.papers import last_receipt, last_report

pytestmark = pytest.mark.integration
ARMED = "arbitrage.daemon: armed"
ENDED = "arbitrage.engine: arbitrage "
PROVEN = "kill switch proven: binance, upbit show no open order of ours"


@pytest.fixture
def house(data_folder: Path) -> Iterator[House]:
    with house_in(data_folder) as house:
        yield house


def trading(house: House) -> Run:
    run = house.start()
    run.says(ARMED)
    run.says(ENDED)
    return run


def arbitrage(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator's against the house's folder."""
    command = [sys.executable, "-m", "arbitrage", *words, "--data-dir", str(house.folder)]
    return subprocess.run(command, capture_output=True, text=True, env=house.environ, cwd=PROJECT, check=False, timeout=60)


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def standing(house: House) -> dict[str, object]:
    answer = json.loads(said(arbitrage(house, "status", "--json")))
    found: dict[str, object] = answer["standing"]
    return found


def switches(house: House) -> list[KillSwitched]:
    return [fact for fact in house.facts() if isinstance(fact, KillSwitched)]


def entries_after(facts: list[Fact], at_ns: int) -> list[PlanOpened]:
    return [fact for fact in facts if isinstance(fact, PlanOpened) and fact.at_ns > at_ns]


def test_a_kill_by_command_stops_entries_is_proven_with_a_receipt_and_outlives_restarts(house: House) -> None:
    run = trading(house)
    assert "kill: done; not armed because kill switch: by " in said(arbitrage(house, "kill", "--reason", "looks wrong"))
    run.says(PROVEN)
    (switch,) = switches(house)
    assert switch.is_on and switch.reason == "looks wrong" and "process" in switch.actor
    receipt = last_receipt(house.folder)
    assert receipt is not None and receipt.reason == "looks wrong"
    assert {answer.venue for answer in receipt.answers} == {"binance", "upbit"}
    assert "looks wrong" in said(arbitrage(house, "report", "--kill"))
    time.sleep(2.0)  # the scenario pays every second
    assert entries_after(house.facts(), switch.at_ns) == []
    wait_until(lambda: house.query("SELECT count(*) AS n FROM kill_receipts")[0]["n"] == 1, "the receipt is in its table", 20)
    assert run.end(signal.SIGKILL) == -signal.SIGKILL

    again = house.start()
    again.says("not armed because kill switch: ")
    assert standing(house)["kill_last_proven_how"] == "kill"
    time.sleep(2.0)
    assert entries_after(house.facts(), switch.at_ns) == []
    wait_until(lambda: len(list(standing(house)["not_armed_because"])) == 1, "nothing but the kill switch is in the way")
    assert "release: done; armed" in said(arbitrage(house, "release", "--reason", "checked"))
    wait_until(lambda: entries_after(house.facts(), switches(house)[-1].at_ns), "trading goes on after the release", 60)
    assert [fact.is_on for fact in switches(house)] == [True, False] and not (house.folder / "KILL").exists()
    assert again.end() == 0


def test_a_signal_and_a_file_kill_too(house: House) -> None:
    run = trading(house)
    run.hears(signal.SIGUSR1)
    wait_until(lambda: switches(house), "the signal kills", 5)
    wait_until((house.folder / "KILL").exists, "and leaves the file", 5)
    assert arbitrage(house, "release").returncode == 0
    (house.folder / "KILL").write_text("by a script\n")
    took_s = wait_until(lambda: len(switches(house)) == 3, "the file kills", 5)
    assert took_s < 1.5 and (switches(house)[-1].actor, switches(house)[-1].reason) == ("file KILL", "by a script")
    assert run.end() == 0


def test_the_kill_switch_needs_no_database(house: House) -> None:
    run = trading(house)
    postmaster = psutil.Process(int((house.folder / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0]))
    family = [postmaster, *postmaster.children(recursive=True), psutil.Process(read_state(house.folder).redis_pid)]
    for process in family:
        process.suspend()
    try:
        began = time.monotonic()
        assert arbitrage(house, "kill", "--reason", "no database").returncode == 0
        run.says(PROVEN)
        assert time.monotonic() - began < 20 and any(isinstance(fact, KillProven) for fact in house.facts())
    finally:
        for process in family:
            process.resume()
    assert run.end() == 0


def test_without_a_daemon_a_kill_is_left_for_the_next_start(house: House) -> None:
    done = arbitrage(house, "kill", "--reason", "before the start", "--json")
    assert done.returncode == 0 and "its next start is killed" in json.loads(done.stdout)["text"]
    for words in (("pause",), ("status",), ("release",), ("accept", "--all")):
        other = arbitrage(house, *words)
        assert other.returncode == 1 and other.stdout == "" and "is the daemon running" in other.stderr
    run = house.start()
    run.says("not armed because ")
    run.says("kill switch: by file KILL: before the start")
    run.says("ready: ")
    time.sleep(2.0)
    assert not any(isinstance(fact, PlanOpened) for fact in house.facts()), "not one order left"
    assert arbitrage(house, "release").returncode == 0
    run.says(ENDED)
    assert run.end() == 0


def test_a_daemon_that_stands_still_is_not_called_killed_but_heeds_the_file_when_it_wakes(house: House) -> None:
    run = trading(house)
    run.hears(signal.SIGSTOP)
    try:
        done = arbitrage(house, "kill", "--reason", "it hangs")
        assert done.returncode == 1 and "not confirmed" in done.stderr and (house.folder / "KILL").exists()
    finally:
        run.hears(signal.SIGCONT)
    wait_until(lambda: switches(house), "it heeds what was said meanwhile", 10)
    assert run.end() == 0


def test_a_pause_is_journaled_and_finishes_what_is_open(house: House) -> None:
    run = trading(house)
    assert arbitrage(house, "pause", "--reason", "lunch").returncode == 0
    text = said(arbitrage(house, "status"))
    assert text.startswith("NOT ARMED") and "because paused: by " in text
    assert "kill switch: off; last proven 0.0 hours ago" in text
    assert arbitrage(house, "resume").returncode == 0 and standing(house)["armed"] is True
    assert [fact.is_on for fact in house.facts() if isinstance(fact, Paused)] == [True, False]
    report = last_report(house.folder)
    assert report is not None and report.is_armed and said(arbitrage(house, "report", "--last")).rstrip().endswith("armed")
    assert run.end() == 0 and not (house.folder / "control.sock").exists()


def test_every_start_has_its_epoch_and_its_orders_bear_it(house: House) -> None:
    for epoch in (1, 2):
        run = trading(house)
        assert standing(house)["epoch"] == epoch
        opened = [fact for fact in house.facts() if isinstance(fact, PlanOpened)]
        assert opened[-1].plan_id.split("_")[1] == str(epoch)
        assert run.end() == 0
    tags = {fact.plan_id.split("_")[0] for fact in house.facts() if isinstance(fact, PlanOpened)}
    assert len(tags) == 1


def test_a_second_instance_of_the_session_elsewhere_refuses_to_trade(house: House) -> None:
    first = trading(house)
    postgres = postgres_of(read_state(house.folder))
    folder = reachable_folder()
    try:
        second = house.start(
            POSTGRES_HOST=postgres.host, POSTGRES_PORT=str(postgres.port), POSTGRES_USER=postgres.user,
            POSTGRES_PASSWORD=postgres.password, POSTGRES_DB=postgres.database, ARBITRAGE__STORE__DATA_DIR=str(folder),
        )  # fmt: skip
        assert second.process.wait(60) == 3
        last = second.text().splitlines()[-1]
        assert f"another instance trades for session {SESSION}" in last and f"process {first.process.pid}" in last
        assert "Traceback" not in second.text()
        before = len(house.facts())
        wait_until(lambda: len(house.facts()) > before, "the first goes on", 30)
    finally:
        shutil.rmtree(folder)
    assert first.end() == 0


def test_whoever_was_taken_over_while_away_is_fenced_and_stops(house: House) -> None:
    run = trading(house)
    house.query("UPDATE leases SET epoch = epoch + 1, holder = 'another'")
    assert run.process.wait(30) == 3
    assert "fenced: epoch 2 of another, ours is 1; another instance trades for this session: stopping" in run.text()
    assert "Traceback" not in run.text()
