"""A crash point is armed by its name alone, where nothing real can be hurt, and is reached when its time has come."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from arbitrage.app.crash_points import LABELS, ORDER_LABELS, CrashPoint, DyingJournal, armed
from arbitrage.model.settings import Settings
from arbitrage.ops.config import load
from arbitrage.ops.problems import ConfigError
from arbitrage.store.moments import MOMENTS

PROJECT = Path(__file__).resolve().parents[2]
OUR_OWN = {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:1", "account_url": "ws://localhost:1"}


@pytest.fixture(scope="module")
def shipped() -> Settings:
    return load(PROJECT / "config", {}).settings


@pytest.fixture(scope="module")
def loopback(shipped: Settings) -> Settings:
    venues = {name: msgspec.structs.replace(section, **OUR_OWN) for name, section in shipped.venues.items()}
    return msgspec.structs.replace(shipped, venues=venues)


def refusal(settings: Settings, word: str) -> str:
    with pytest.raises(ConfigError) as caught:
        armed(settings, {"ARBITRAGE_CRASH_AT": word})
    return str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"ARBITRAGE_CRASH_AT": ""}])
def test_without_the_variable_there_is_nothing(shipped: Settings, environ: dict[str, str]) -> None:
    assert armed(shipped, environ) is None


@pytest.mark.parametrize("label", LABELS)
def test_every_label_can_be_armed_on_loopback_alone(loopback: Settings, shipped: Settings, label: str) -> None:
    found = armed(loopback, {"ARBITRAGE_CRASH_AT": f"{label}:3"})
    assert found is not None and found.label == label and (found.store is not None) == (label in MOMENTS)
    told = refusal(shipped, label)
    assert told.startswith("environment variable ARBITRAGE_CRASH_AT: kills this process on purpose, and venues.")
    assert "leaves this machine" in told


@pytest.mark.parametrize("host", ["postgres_host", "redis_host"])
def test_a_server_of_somebody_else_is_never_at_risk(loopback: Settings, host: str) -> None:
    store = msgspec.structs.replace(loopback.store, **{host: "127.0.0.1"})
    assert f"store.{host} names a server" in refusal(msgspec.structs.replace(loopback, store=store), "before-commit")


@pytest.mark.parametrize(
    "word", ["before-lunch", "after-send:0", "after-send:x", "after-send:99999", "AFTER-SEND", "after-send@", "after-send it"]
)
def test_what_names_no_moment_is_refused_with_those_that_there_are(loopback: Settings, word: str) -> None:
    told = refusal(loopback, word)
    assert f"{word!r} names no crash point" in told and all(label in told for label in LABELS)


def test_a_venue_may_be_named_where_orders_are_meant(loopback: Settings) -> None:
    for label in ORDER_LABELS:
        assert armed(loopback, {"ARBITRAGE_CRASH_AT": f"{label}@upbit:2"}) is not None
    assert "names a venue that it cannot be about" in refusal(loopback, "after-send@elsewhere")
    assert "names a venue that it cannot be about" in refusal(loopback, "before-commit@upbit")


def test_only_moments_around_an_append_stand_between_door_and_journal() -> None:
    class Silent:
        def append(self, appends: object) -> int:
            return 1

    journal = Silent()
    for label in LABELS:
        around = CrashPoint(label, "", 1).around(journal)
        assert isinstance(around, DyingJournal) == (label in ("after-intent", "after-acknowledgement"))
        assert around is journal or around.append([]) == 1


def dying(code: str) -> subprocess.CompletedProcess[str]:
    head = "import asyncio\nfrom arbitrage.app.crash_points import CrashPoint\n"
    command = [sys.executable, "-c", head + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=60)


def test_it_dies_at_the_time_that_was_named_and_says_where() -> None:
    code = "reached = CrashPoint('before-commit', '', 3).store\nfor turn in range(9):\n"
    code += "    print(turn, flush=True)\n    reached('during-migration')\n    reached('before-commit')\n"
    done = dying(code)
    assert done.returncode == -signal.SIGKILL and done.stdout.split() == ["0", "1", "2"]
    assert done.stderr == "crash point before-commit reached\n"


def test_bytes_that_the_loop_holds_back_are_out_before_it_dies() -> None:
    code = """
class Session: on_sent = None
class Connections: accounts = {"upbit": Session(), "binance": Session()}
async def main():
    CrashPoint("after-send", "upbit", 1).watch(Connections)
    assert Connections.accounts["binance"].on_sent is None
    Connections.accounts["upbit"].on_sent()
    asyncio.get_running_loop().call_soon(print, "this turn", False)
    print("at once", flush=True)
    await asyncio.sleep(0)
    print("the next turn", flush=True)
    await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""
    done = dying(code)
    assert done.returncode == -signal.SIGKILL and done.stdout.splitlines()[0] == "at once" and "the next turn" in done.stdout
