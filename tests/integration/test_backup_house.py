"""A house is lost and comes back: a daemon that trades, a backup, kill -9 of everything at once, and a start elsewhere."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_lab import PROJECT, SESSION, House, Run, house_in, wait_until
from live_lab import forms, live_house_in, processes_in
from store_servers import reachable_folder

from arbitrage.engine.engine import RESIDUE
from arbitrage.model.facts import Fact

pytestmark = pytest.mark.integration
ARMED, ENDED = "arbitrage.daemon: armed", "arbitrage.engine: arbitrage "
KEY = b"a passphrase that nobody guesses"
WHOLE = f"development.{SESSION}"
KEPT = ("config", "logs", "keys")
"""What of the lab's folder is no part of the data folder."""
COMMAND_S_MAX = 300


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Another disk, so to speak: backups, and what is restored."""
    path = reachable_folder()
    yield path
    for home in path.glob("*/postgres"):
        if home.is_symlink():
            shutil.rmtree(home.resolve(), ignore_errors=True)
    wait_until(lambda: not processes_in(path), "nothing runs there any more", 20)
    shutil.rmtree(path)


def told(house: House, *words: str) -> dict[str, Any]:
    """Run a command with this house's configuration and return the JSON it printed."""
    line = [sys.executable, "-m", "arbitrage", *words, "--json"]
    environ = {**house.environ, "ARBITRAGE_CONFIG_DIR": str(house.config)}
    done = subprocess.run(line, capture_output=True, text=True, env=environ, cwd=PROJECT, check=False, timeout=COMMAND_S_MAX)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def lose(house: House, *, database_only: bool = False) -> tuple[int, list[Fact]]:
    """Kill daemon, databases and archive in one moment, and lose the data; return when, and the facts that were lost."""
    doomed = processes_in(house.folder)
    killed_ns = time.time_ns()
    for process in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for run in house.runs:
        run.process.wait()
    facts = house.facts()
    wait_until(lambda: not processes_in(house.folder), "all of it is dead", 20)
    lost = [house.folder / "postgres"] if database_only else [path for path in house.folder.iterdir() if path.name not in KEPT]
    for path in lost:
        if path.is_symlink():
            shutil.rmtree(path.resolve())
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith("printed"):
            path.unlink()
    return killed_ns, facts


def trade_on(run: Run, times: int = 2) -> None:
    run.says(ENDED, times=run.text().count(ENDED) + times)


def start_on(house: House, folder: Path) -> Run:
    return house.start(ARBITRAGE__STORE__DATA_DIR=str(folder))


def test_a_lost_house_comes_back_to_within_a_second_and_trades_on(data_folder: Path, elsewhere: Path) -> None:
    with house_in(data_folder) as house:
        (house.folder / "keys").mkdir(mode=0o700)
        (house.folder / "keys" / "arbitrage-backup-key").write_bytes(KEY)
        (house.folder / "keys" / "arbitrage-backup-key").chmod(0o600)
        keys = {"keys_dir": str(house.folder / "keys"), "backup.key_required": True}
        house.configure({"backup.directory": str(elsewhere / "backups"), **keys})
        run = house.start()
        run.says(ARMED)
        made = told(house, "backup")
        assert (made["kind"], made["encrypted"], made["verified"]) == ("base", True, True)
        line = elsewhere / "backups" / "wal" / made["wal"]["name"]
        wait_until(lambda: list(line.glob("*.part")), "the log is archived")
        drilled = told(house, "backup", "--drill")
        assert drilled["passed"] and drilled["daemon"] == "armed" and drilled["states_compared"] >= 3, drilled["verdict"]
        assert drilled["rpo_stream_s"] <= 1 and drilled["rows_compared"] > 0 and "Traceback" not in run.text()
        assert len(list((elsewhere / "backups").glob("backup-*"))) == 1, "a drill touches nothing of the house"
        assert any("pg_receivewal" in process.info["cmdline"][0] for process in processes_in(house.folder)), "it streams"
        status = json.loads((house.folder / "status.json").read_text())
        assert status["archive_trouble"] == "" and 0 <= status["archive_behind_s"] < 15
        killed_ns, facts = lose(house)
        stored = b"".join(path.read_bytes() for path in elsewhere.rglob("*") if path.is_file())
        assert not any(form in stored for form in (*forms(KEY), b"KRW-BTC", b"PlanOpened"))

        restored = told(house, "restore", str(elsewhere / "backups"), "--to", str(elsewhere / "new"))
        again = start_on(house, elsewhere / "new")
        again.says(ARMED)
        held = restored["database_facts"][WHOLE]
        assert made["states"][0]["sequence"] < held <= len(facts), "more than the backup itself came back"
        missing_s = (killed_ns - facts[held].at_ns) / 1e9 if held < len(facts) else 0.0
        assert missing_s <= 1.0, f"{missing_s:.3f} s of facts are missing: {len(facts) - held} of {len(facts)}"
        assert restored["log"]["missing"] == "" and "put aside" in restored["notes"][0]
        epoch = json.loads((elsewhere / "new" / "sessions" / WHOLE / "epoch.json").read_text())
        assert epoch > 1_000, "a number of the lost house is not used again"
        trade_on(again)
        again.says("is not archived by this database: make a new backup")
        assert again.end() == 0 and "Traceback" not in again.text()


def test_the_journal_gives_a_lost_database_every_fact_back(data_folder: Path, elsewhere: Path) -> None:
    with house_in(data_folder) as house:
        run = house.start()
        run.says(ARMED)
        made = told(house, "backup", "--to", str(elsewhere / "backups"))
        assert made["wal"] is None, "no log is archived after it: the journal alone must do"
        trade_on(run, 4)
        _, facts = lose(house, database_only=True)
        restored = told(house, "restore", str(elsewhere / "backups"), "--to", str(house.folder), "--database-only")
        assert restored["database_facts"][WHOLE] < len(facts), "the database is older than the journal"
        again = house.start()
        again.says(ARMED)
        count = "SELECT count(*), max(sequence) FROM journal_facts JOIN sessions USING (session) WHERE session_id = $1"
        wait_until(lambda: house.query(count, SESSION)[0]["max"] >= len(facts), "the journal fills the database up")
        row = house.query(count, SESSION)[0]
        assert row["count"] == row["max"] >= len(facts)
        assert house.facts()[: len(facts)] == facts
        assert again.end() == 0 and "Traceback" not in again.text()


def standing_in(folder: Path, house: House) -> dict[str, Any]:
    """Return how the daemon on this folder says that it stands."""
    standing: dict[str, Any] = told(house, "status", "--data-dir", str(folder))["standing"]
    return standing


def test_a_live_house_that_lost_its_journal_too_stays_disarmed_until_a_person_accepts_what_the_venues_say(
    data_folder: Path, elsewhere: Path
) -> None:
    with live_house_in(data_folder) as house:
        run = house.start()
        run.says(ARMED)
        told(house, "backup", "--to", str(elsewhere / "backups"))
        trade_on(run, 3)
        before = run.text()
        lose(house)
        restored = told(house, "restore", str(elsewhere / "backups"), "--to", str(elsewhere / "new"))
        assert restored["log"] is None, "what was traded since is known to the venues alone"
        again = start_on(house, elsewhere / "new")
        again.says("restart report (start)")
        wait_until(lambda: standing_in(elsewhere / "new", house)["differences"], "the accounts differ from what was restored")
        found = standing_in(elsewhere / "new", house)
        venue, _, asset = found["differences"][0].partition("-")
        assert not found["armed"] and any(venue in why and asset in why for why in found["not_armed_because"]), found
        assert ARMED not in again.text()
        ended = [line.partition(ENDED)[2].split()[0] for line in again.text().splitlines() if ENDED in line]
        assert all(f"{ENDED}{plan} " in before for plan in ended), "none but one that was open in the backup"
        words = ("accept", "--all", "--reason", "restored: the venues are right", "--data-dir", str(elsewhere / "new"))
        told(house, *words)
        again.says(ARMED)
        left = standing_in(elsewhere / "new", house)["differences"]
        assert all(name.startswith(RESIDUE) for name in left), f"it trades again, and hedges what that leaves over: {left}"
        assert again.end() == 0 and "Traceback" not in again.text()
