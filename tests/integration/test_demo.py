"""`arbitrage demo` as a stranger runs it: one command, and a minute later money is booked to the last unit."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from daemon_lab import PROJECT, clean_environment, wait_until
from store_servers import fetch, reachable_folder

from arbitrage.ledger.state import LedgerState
from arbitrage.model.money import parse_e8
from arbitrage.model.snapshots import Snapshot
from arbitrage.model.waterfalls import STEPS, TOTALS
from arbitrage.store.embedded import Embedded, postgres_of

pytestmark = pytest.mark.integration
SECONDS = 7
SUMMARY = {
    "frames", "books", "opportunities", "arbitrages", "pnl", "armed", "seconds_to_first_spread", "seconds_to_first_arbitrage",
}  # fmt: skip


class Shown:
    """One finished demo: what it said, and its database."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.done = done
        self._folder = folder
        self.log = (folder / "logs" / "arbitrage_development.log").read_text()
        self._embedded = Embedded(folder, wants_postgres=True, wants_redis=False)
        self._embedded.start()

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads(self.done.stdout.splitlines()[-1])

    def query(self, statement: str) -> list[dict[str, Any]]:
        return asyncio.run(fetch(postgres_of(self._embedded.state), statement))

    def number(self, statement: str) -> int:
        """Return the one number that a statement yields."""
        ((value,),) = [tuple(row.values()) for row in self.query(statement)]
        return int(value)

    def asked(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run one command of the ledger on this folder."""
        words = (sys.executable, "-m", "arbitrage", *words)
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment(self._folder), cwd=PROJECT, check=False, timeout=60
        )
        assert done.returncode == status, done.stderr
        return done

    def close(self) -> None:
        self._embedded.stop()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "arbitrage", "demo", "--scenario", "synthetic", *words]


def environment(folder: Path) -> dict[str, str]:
    return clean_environment(ARBITRAGE__STORE__DATA_DIR=str(folder), ARBITRAGE__LOG__DIRECTORY=str(folder / "logs"))


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    """A demo on an empty folder, so that making the database counts."""
    folder = reachable_folder()
    words = command("--for", str(SECONDS), "--speed", "8", "--json")
    done = subprocess.run(words, capture_output=True, text=True, env=environment(folder), cwd=PROJECT, check=False, timeout=90)
    demo = Shown(folder, done)
    yield demo
    demo.close()
    shutil.rmtree(folder)


def test_the_last_line_is_the_documented_summary_and_nothing_else_is_said(shown: Shown) -> None:
    assert shown.done.returncode == 0 and shown.done.stderr == ""
    assert len(shown.done.stdout.splitlines()) == 1
    summary = shown.summary
    assert summary.keys() >= SUMMARY and summary["frames"] > 500 and summary["armed"] is True
    assert summary["pnl"]["currency"] == "USDT" and float(summary["pnl"]["realised"]) != 0


def test_every_compared_book_is_equal(shown: Shown) -> None:
    books = shown.summary["books"]
    assert books["equal"] == books["compared"] > 50


def test_every_opportunity_is_accounted_for_and_an_arbitrage_is_done(shown: Shown) -> None:
    seen, done = shown.summary["opportunities"], shown.summary["arbitrages"]
    assert seen["seen"] == seen["taken"] + sum(seen["refused"].values()) and seen["taken"] > 0
    assert done["completed"] + done["recovered"] >= 1
    assert seen["taken"] == sum(done[end] for end in ("completed", "recovered", "missed", "residual", "open"))


def test_the_first_minute_shows_a_spread_and_an_arbitrage(shown: Shown) -> None:
    spread_s, arbitrage_s = shown.summary["seconds_to_first_spread"], shown.summary["seconds_to_first_arbitrage"]
    print(f"on a new folder: first spread after {spread_s} s, first arbitrage after {arbitrage_s} s")
    assert 0 < spread_s < 60 and spread_s <= arbitrage_s < 120


def test_ledger_entries_sum_to_zero_in_every_asset(shown: Shown) -> None:
    rows = shown.query("SELECT asset, sum(amount_e8) AS total, count(*) AS n FROM ledger_entries GROUP BY asset")
    assert len(rows) >= 5 and sum(row["n"] for row in rows) > 50
    assert {row["asset"]: int(row["total"]) for row in rows} == {row["asset"]: 0 for row in rows}


def test_balances_rebuilt_from_entries_equal_the_last_snapshot(shown: Shown) -> None:
    rebuilt = shown.query(
        "SELECT venue, asset, sum(amount_e8) AS total FROM ledger_entries WHERE account IN ('free', 'reserved') "
        "GROUP BY venue, asset HAVING sum(amount_e8) <> 0 ORDER BY venue, asset"
    )
    kept = shown.query(
        "SELECT venue, asset, free_e8 + reserved_e8 AS total FROM position_snapshots "
        "WHERE journal_sequence = (SELECT max(journal_sequence) FROM position_snapshots) "
        "AND free_e8 + reserved_e8 <> 0 ORDER BY venue, asset"
    )
    assert len(kept) > 5 and rebuilt == kept


def test_opportunities_plans_orders_and_fills_join(shown: Shown) -> None:
    # What plans left over is hedged by plans of their own, whose opportunities nobody offered.
    hedges = shown.number("SELECT count(*) FROM plans WHERE opportunity_id LIKE 'hedge-%'")
    plans = shown.summary["opportunities"]["taken"] + hedges
    joined = "SELECT count(*) FROM plans JOIN opportunities o USING (session, opportunity_id) WHERE o.plan_id = plans.plan_id"
    assert shown.number(joined) == plans
    assert shown.number("SELECT count(DISTINCT plan_id) FROM orders JOIN plans USING (session, plan_id)") == plans
    assert shown.number("SELECT count(*) FROM orders LEFT JOIN plans USING (session, plan_id) WHERE plans.plan_id IS NULL") == 0
    fills = shown.number("SELECT count(*) FROM fills")
    assert fills == shown.number("SELECT count(*) FROM fills JOIN orders USING (session, client_order_id)") > 0
    wrong = (
        "SELECT count(*) FROM (SELECT o.client_order_id FROM orders o LEFT JOIN fills f USING (session, client_order_id) "
        "GROUP BY o.session, o.client_order_id, o.filled_quantity_e8 "
        "HAVING coalesce(sum(f.quantity_e8), 0) <> o.filled_quantity_e8) AS unequal"
    )
    assert shown.number(wrong) == 0


def test_refused_opportunities_are_kept_with_their_reason(shown: Shown) -> None:
    kept = shown.query("SELECT refusal, count(*) AS n FROM opportunities WHERE plan_id IS NULL GROUP BY refusal")
    refused = shown.summary["opportunities"]["refused"]
    assert kept and all(0 < row["n"] <= refused[row["refusal"]] for row in kept)


def test_the_profit_that_is_told_is_the_plans(shown: Shown) -> None:
    total_e8 = shown.number("SELECT sum(realised_e8) FROM plans WHERE realised_e8 IS NOT NULL")
    assert total_e8 == parse_e8(shown.summary["pnl"]["realised"]) != 0


def test_every_waterfall_sums_to_its_plan_s_profit_and_all_of_them_to_the_ledger_s(shown: Shown) -> None:
    rows = shown.query("SELECT w.*, p.realised_e8 AS plan_e8 FROM plan_waterfalls w JOIN plans p USING (session, plan_id)")
    assert len(rows) == shown.number("SELECT count(*) FROM plans WHERE closed_at_ns IS NOT NULL") > 0
    for row in rows:
        steps_e8 = sum(int(row[f"{step}_e8"]) for step in STEPS if step not in TOTALS)
        assert steps_e8 == row["realised_e8"] == row["plan_e8"], row["plan_id"]
    (last,) = shown.query("SELECT body FROM session_snapshots ORDER BY journal_sequence DESC, at_ns DESC LIMIT 1")
    ledger = msgspec.json.decode(msgspec.json.decode(last["body"], type=Snapshot).sections["ledger"], type=LedgerState)
    assert sum(int(row["realised_e8"]) for row in rows) == dict(ledger.realised)["USDT"] != 0


def test_an_opening_is_one_row_that_says_why_it_was_refused_and_what_it_would_have_paid(shown: Shown) -> None:
    seen, rows = shown.summary["opportunities"], shown.query("SELECT * FROM episodes")
    looks = sum(row["looks"] for row in rows)
    assert 0 < len(rows) < looks and looks >= seen["taken"] and {row["state"] for row in rows} <= {"gone", "stopped"}
    assert sum(row["taken_count"] for row in rows) == seen["taken"]
    followed = [json.loads(row["follow_ups"]) for row in rows if row["first"] and row["taken_count"] == 0]
    assert followed and any(each["net_e8"] is not None for each in followed[0])
    reasons = {reason for row in rows for reason in json.loads(row["refusals"])}
    assert reasons and reasons <= set(seen["refused"])


def test_the_ledger_s_commands_tell_what_the_database_holds(shown: Shown) -> None:
    done = shown.asked("opportunities", "--taken", "--json", "--limit", "1000")
    taken = json.loads(done.stdout)["lines"]
    found = [line for line in taken if not line["id"].startswith("hedge-")]
    assert len(found) == shown.summary["opportunities"]["taken"]
    story = shown.asked("explain", taken[0]["plan_id"]).stdout
    assert "where the edge went, in USDT" in story and f"plan {taken[0]['plan_id']}: " in story and len(story.splitlines()) < 60
    told = json.loads(shown.asked("explain", taken[0]["id"], "--json").stdout)
    amounts = [parse_e8(step["money"]["amount"]) for step in told["waterfall"]["steps"] if not step["is_total"]]
    assert sum(amounts) == parse_e8(told["plan"]["realised"]["amount"])
    by_component = json.loads(shown.asked("pnl", "--by", "component", "--json").stdout)
    assert by_component["total"]["realised"] == {"asset": "USDT", "amount": shown.summary["pnl"]["realised"]}
    assert len(shown.asked("opportunities", "--refused", "--csv", "--limit", "5").stdout.splitlines()) <= 6
    nothing = shown.asked("explain", "nothing-of-that-name", status=1)
    assert nothing.stdout == "" and len(nothing.stderr.splitlines()) == 1
    other = shown.asked("pnl", "--session", "nobody", status=1)
    assert "no session 'nobody' of 'development'" in other.stderr and "demo-synthetic" in other.stderr


def test_the_log_file_tells_the_run_without_an_error(shown: Shown) -> None:
    assert "stopped" in shown.log and "ERROR" not in shown.log and "Traceback" not in shown.log


@pytest.fixture
def folder(data_folder: Path) -> Iterator[Path]:
    """A data folder with a cluster in it; whatever still runs there afterwards is a defect."""
    yield data_folder
    wait_until(lambda: not processes_in(data_folder), "servers of the demo are left behind", 15)


def processes_in(folder: Path) -> list[psutil.Process]:
    """List live processes whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(process)
    return found


def start(folder: Path, *words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
        env=environment(folder), cwd=PROJECT,
    )  # fmt: skip


def has_armed(folder: Path) -> bool:
    log = folder / "logs" / "arbitrage_development.log"
    return log.exists() and '"armed"' in log.read_text()


def test_a_reader_that_leaves_ends_the_demo_tidily(folder: Path) -> None:
    demo = start(folder)
    assert demo.stdout is not None and demo.stderr is not None
    assert "paper" in demo.stdout.readline()
    demo.stdout.close()
    status, complaint = demo.wait(30), demo.stderr.read()
    log = (folder / "logs" / "arbitrage_development.log").read_text()
    assert (status, complaint) == (0, "")
    assert "snapshot saved" in log and "stopped" in log and "ERROR" not in log


def test_venue_servers_that_die_end_the_demo_with_a_clear_line(folder: Path) -> None:
    demo = start(folder, "--json")
    wait_until(lambda: has_armed(folder), "armed")
    (child,) = [child for child in psutil.Process(demo.pid).children() if "sim" in child.cmdline()]
    child.kill()
    out, complaint = demo.communicate(timeout=30)
    assert demo.returncode == 1 and "the venue servers are gone" in complaint and len(complaint.splitlines()) == 1
    assert json.loads(out.splitlines()[-1]).keys() >= SUMMARY
    assert "snapshot saved" in (folder / "logs" / "arbitrage_development.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_demo_with_its_summary(folder: Path, number: signal.Signals) -> None:
    demo = start(folder, "--json")
    wait_until(lambda: has_armed(folder), "armed")
    began = time.monotonic()
    demo.send_signal(number)
    out, complaint = demo.communicate(timeout=30)
    assert (demo.returncode, complaint) == (0, "") and time.monotonic() - began < 10
    assert json.loads(out.splitlines()[-1])["armed"] is True


def test_a_killed_demo_leaves_nothing_running(folder: Path) -> None:
    demo = start(folder, "--json")
    wait_until(lambda: has_armed(folder), "armed")
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= 3
    demo.kill()
    demo.communicate(timeout=30)
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive and len(gone) == len(children)


def test_an_unknown_scenario_is_refused_in_one_line(new_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "arbitrage", "demo", "--scenario", "nonsense", "--for", "1"],
        capture_output=True, text=True, env=environment(new_folder), cwd=PROJECT, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "unknown scenario 'nonsense'" in done.stderr and "synthetic" in done.stderr


def test_the_live_demo_completes_an_arbitrage_recovers_a_refused_leg_and_ends_by_itself(folder: Path) -> None:
    began = time.monotonic()
    demo = start(folder, "--live", "--json")
    out, complaint = demo.communicate(timeout=180)
    took_s = time.monotonic() - began
    log = (folder / "logs" / "arbitrage_development.log").read_text()
    summary = json.loads(out.splitlines()[-1])
    live = summary["live"]
    assert (demo.returncode, complaint) == (0, ""), live
    print(f"demo --live: {live['orders']} real orders, ended by itself after {took_s:.1f} s")
    assert "ended completed" in live["completed"] and "ended " in live["recovered"] and live["refused"] and live["orders"] >= 4
    assert live["chosen"] in ("complete", "reverse", "hold")
    assert live["is_balanced"] is True and live["differences"] == {} and "mode live" in log
    assert live["verdict"].startswith("PROVEN: ")


def test_the_live_demo_that_is_cut_short_says_that_its_story_is_not_whole(folder: Path) -> None:
    demo = start(folder, "--live", "--for", "1")
    out, _ = demo.communicate(timeout=90)
    assert demo.returncode == 1 and out.rstrip().splitlines()[-1].startswith("NOT PROVEN: an arbitrage of real orders")
