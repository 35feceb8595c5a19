"""Every drill passes with the daemon as it is, and goes red with one that does what the drill guards against.

The daemon as it is is drilled by the command, in a process beside the broken ones, so that both fit into a minute or so.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broken_daemons import BROKEN, Broken, Greedy
from daemon_lab import clean_environment

from arbitrage.app.drills.catalog import NAMES, drill_named
from arbitrage.app.drills.nouns import Result
from arbitrage.app.drills.parts import Parts
from arbitrage.app.drills.runner import run_drill
from arbitrage.app.drills.stage import Stage, opened
from arbitrage.model.money import parse_e8
from arbitrage.ops.config import load

PROJECT = Path(__file__).resolve().parents[2]
QUICK = {
    "VENUES__BINANCE__SYMBOLS": "[XRPUSDT, BTCUSDT]",
    "VENUES__UPBIT__SYMBOLS": "[KRW-XRP, KRW-BTC, KRW-USDT]",
    "EXECUTION__COOLDOWN_MS": "100",
    "EXECUTION__HEDGE_INTERVAL_MS": "500",
    "EXECUTION__DUST_VALUE_MAX": "3",
    "MARKET_DATA__SYMBOL_AGE_MS_MAX": "2000",
}
"""What makes drills wait shorter; everything else is the project's own configuration."""
ALL_SECONDS_MAX = 600


def quick_environment(**more: str) -> dict[str, str]:
    named = {f"ARBITRAGE__{key}": value for key, value in (QUICK | more).items()}
    return clean_environment(ARBITRAGE_CONFIG_DIR=str(PROJECT / "config"), **named)


def command(*words: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "arbitrage", "drill", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=PROJECT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def healthy() -> Iterator[subprocess.Popen[str]]:
    """The command, begun before the broken daemons and awaited after them."""
    process = command("all", "--json", environ=quick_environment())
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def slow(healthy: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The command with a limit that is too long for a drill, begun as early."""
    assert healthy.pid != os.getpid()
    process = command("frozen-feed", "--json", environ=quick_environment(MARKET_DATA__SYMBOL_AGE_MS_MAX="60000"))
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def results(healthy: subprocess.Popen[str]) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Its exit status, what it said of each drill, and its progress."""
    out, progress = healthy.communicate(timeout=ALL_SECONDS_MAX)
    rows = [json.loads(line) for line in out.splitlines()]
    return healthy.returncode, {row["name"]: row for row in rows}, progress


@pytest.fixture(scope="module")
def stage(slow: subprocess.Popen[str]) -> Iterator[tuple[asyncio.Runner, Stage]]:
    assert slow.pid != os.getpid()
    own = load(PROJECT / "config", quick_environment())
    with asyncio.Runner() as runner:
        context = opened(own)
        yield runner, runner.run(_entered(context))
        runner.run(_left(context))


async def _entered(context: Any) -> Stage:
    entered: Stage = await context.__aenter__()
    return entered


async def _left(context: Any) -> None:
    await context.__aexit__(None, None, None)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.drill}-{broken.because.replace(' ', '-')}")
def test_a_daemon_that_does_what_the_drill_guards_against_fails(stage: tuple[asyncio.Runner, Stage], broken: Broken) -> None:
    runner, house = stage
    result: Result = runner.run(run_drill(drill_named(broken.drill), house, {}, broken.parts))
    assert not result.passed and broken.because in result.reason, f"{result.reason}\n{result.timeline}"


def test_every_drill_has_a_daemon_that_fails_it() -> None:
    assert {broken.drill for broken in BROKEN} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_daemon_as_it_is_passes(results: tuple[int, dict[str, dict[str, Any]], str], name: str) -> None:
    _, rows, progress = results
    assert name in rows, progress
    row = rows[name]
    assert row["passed"], f"{row['reason']}\n{row['timeline']}"
    assert "every balance is the ledger's, to the last unit" in row["reason"]
    assert parse_e8(row["risk"]["highest"]) > parse_e8(row["risk"]["final"]), "something was traded, and is hedged"
    assert {line["who"] for line in row["timeline"]} == {"drill", "daemon"}
    times = [line["at_s"] for line in row["timeline"]]
    assert times == sorted(times)


def test_the_command_ends_with_zero_when_all_passed(results: tuple[int, dict[str, dict[str, Any]], str]) -> None:
    status, rows, progress = results
    assert (status, len(rows)) == (0, len(NAMES)) and f"{len(NAMES)} of {len(NAMES)} passed" in progress


def test_a_configuration_that_trades_nothing_is_not_drilled() -> None:
    process = command("lost-ack", environ=quick_environment(VENUES__UPBIT__SYMBOLS="[KRW-ADA]"))
    out, complaint = process.communicate(timeout=ALL_SECONDS_MAX)
    assert (process.returncode, out) == (1, "") and "this configuration cannot be drilled: no coin" in complaint


def test_a_configuration_that_no_drill_fits_into_a_minute_fails_and_says_why(slow: subprocess.Popen[str]) -> None:
    out, progress = slow.communicate(timeout=ALL_SECONDS_MAX)
    row = json.loads(out)
    assert (slow.returncode, row["passed"]) == (1, False) and "0 of 1 passed; failed: frozen-feed" in progress
    assert "market_data.symbol_age_ms_max lets a symbol be silent for 60 s" in row["reason"]


def test_limits_that_let_nothing_through_fail_the_drill_with_the_reason(stage: tuple[asyncio.Runner, Stage]) -> None:
    runner, house = stage
    result: Result = runner.run(run_drill(drill_named("leg-reject"), house, {}, Parts(Greedy, patience=0.3)))
    assert not result.passed and "this configuration takes no arbitrage here" in result.reason
    assert "below_threshold" in result.reason
