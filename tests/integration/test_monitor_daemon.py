"""The first screen in a terminal, of a real daemon: over the API, without a key, frozen and gone; full screen in a real pty."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_lab import PROJECT, House, Run, house_in, wait_until
from live_lab import processes_in
from store_servers import reachable_folder

from arbitrage.ops.config import CONFIG_DIR_VARIABLE

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery"
ENDED = "arbitrage.engine: arbitrage "
COLUMNS, ROWS = 180, 50


class Watched:
    """A daemon and keys to look at it."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.configure({"web.port": 0})
        self.run: Run = house.start()
        self.run.says(ENDED)
        wait_until(lambda: (status := house.status()) is not None and status.web_url, "the surface is served")
        self._command("user", "add", "anna", "--role", "admin", typed=f"{PASSWORD}\n{PASSWORD}\n")

    def key_file(self, role: str, *scopes: str) -> Path:
        words = ("key", "add", "anna", "--role", role, *(word for scope in scopes for word in ("--scope", scope)), "--json")
        text = json.loads(self._command(*words))["text"]
        file = self.house.folder / f"{role}.key"
        file.write_text(text + "\n")
        file.chmod(0o600)
        wait_until(lambda: self._is_heeded(text), "the daemon heeds the key")
        return file

    def monitor(self, *words: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROJECT / "tools" / "monitor.py"), "--config", str(self.house.config), *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.house.environ, check=False, timeout=seconds)

    def picture(self, *words: str) -> Any:
        done = self.monitor("--once", "--json", *words)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def _is_heeded(self, key: str) -> bool:
        status = self.house.status()
        assert status is not None, "it lives"
        asked = urllib.request.Request(f"{status.web_url}/api/v1/status", headers={"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    def _command(self, *words: str, typed: str = "") -> str:
        command, environ = [sys.executable, "-m", "arbitrage", *words], {CONFIG_DIR_VARIABLE: str(self.house.config)}
        done = subprocess.run(
            command, input=typed, capture_output=True, text=True, env={**self.house.environ, **environ}, cwd=PROJECT,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def watched(initialised: Path) -> Iterator[Watched]:
    folder = reachable_folder()
    subprocess.run(["cp", "-a", f"{initialised}/.", folder], check=True)
    with house_in(folder) as house:
        yield Watched(house)
    wait_until(lambda: not processes_in(folder), "a killed daemon's servers are gone", 20)
    shutil.rmtree(folder)


class Terminal:
    """The monitor in a terminal of its own."""

    def __init__(self, watched: Watched, *words: str) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.master, self.slave, self.before = master, slave, termios.tcgetattr(slave)
        command = [sys.executable, str(PROJECT / "tools" / "monitor.py"), "--config", str(watched.house.config), *words]
        environ = {**watched.house.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True, close_fds=True
        )
        self.shown = ""

    def sees(self, *words: str, seconds: float = 30.0) -> None:
        """Read until all words stand on what was drawn since the last look."""
        self.shown, ends = "", time.monotonic() + seconds
        while not all(word in self.shown for word in words):
            assert time.monotonic() < ends, f"{words} not in:\n{self.shown[-3_000:]}"
            if select.select([self.master], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    piece = os.read(self.master, 65_536).decode("utf-8", "replace")
                    self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece)

    def types(self, key: str) -> None:
        os.write(self.master, key.encode())

    def ends(self) -> int:
        """Wait for its end; the terminal is as it was."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.1)[0]:
                os.read(self.master, 65_536)
        assert self.process.poll() is not None, "it left"
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return self.process.returncode


def test_the_first_screen_over_the_api_has_what_the_dashboard_has(watched: Watched) -> None:
    key = watched.key_file("analyst", "read", "records")
    seen = watched.picture("--key-file", str(key))
    assert seen["source"] == "api" and seen["is_armed"] and seen["notes"] == []
    assert seen["venues"] == ["upbit", "binance"]
    pair = next(line for line in seen["pairs"] if set(line["prices"]) == {"upbit", "binance"})
    assert re.fullmatch(r"(buy|sell) [\d.]+ KRW", pair["prices"]["upbit"]) and pair["net_ppm"] is not None and pair["rate"]
    assert {line["verdict"] for line in seen["opportunities"]} and seen["outcomes"]
    assert seen["money"][-1]["name"] == "total" and seen["limits"] and {line["venue"] for line in seen["feeds"]}
    assert re.search(r"s ago, by exercise", seen["proven"]) or seen["proven"] == "never"
    plain = watched.monitor("--once", "--key-file", str(key)).stdout
    for words in (" ARMED ", "KRW per USDT", "to break even %", "last opportunities", "money today", "kill switch off"):
        assert words in plain
    assert "\x1b" not in plain, "plain when piped"
    assert key.read_text().strip() not in plain + json.dumps(seen)


def test_a_key_that_may_less_sees_less_and_is_told_so(watched: Watched) -> None:
    seen = watched.picture("--key-file", str(watched.key_file("viewer", "read")))
    assert seen["source"] == "api" and seen["pairs"] and seen["money"] == []
    assert "pnl: the key may not" in seen["notes"]


def test_alerts_that_are_on_are_seen_from_another_machine_too(watched: Watched) -> None:
    status, place = watched.house.status(), ("--data-dir", str(watched.house.folder))
    assert status is not None
    elsewhere = ("--key-file", str(watched.key_file("viewer", "read")), "--url", status.web_url)
    elsewhere += ("--data-dir", str(watched.house.folder / "nowhere"))
    assert "paused" not in watched.picture(*elsewhere)["alerts"]
    watched._command("pause", "--reason", "to be seen", *place)
    wait_until(lambda: "paused" in watched.picture(*elsewhere)["alerts"], "the alert", 20)
    watched._command("resume", *place)


def test_without_a_key_it_shows_what_the_daemon_leaves(watched: Watched) -> None:
    seen = watched.picture()
    assert seen["source"] == "daemon" and seen["is_armed"] and seen["pairs"] == []
    assert any("no key (--key-file" in note for note in seen["notes"])
    assert int(seen["figures"]["updated_at_ns"]) > 0 and all(line["age_ms"] is not None for line in seen["feeds"])
    wrong = watched.house.folder / "wrong.key"
    wrong.write_text("ak_0000000000000000_nothing\n")
    wrong.chmod(0o600)
    assert any("the key is not taken" in note for note in watched.picture("--key-file", str(wrong))["notes"])
    wrong.chmod(0o644)
    refused = watched.monitor("--once", "--key-file", str(wrong))
    assert refused.returncode == 2 and "others may read it" in refused.stderr
    elsewhere = watched.picture("--key-file", str(watched.key_file("viewer", "read")), "--url", "http://192.0.2.1:8320")
    assert any("over https or to this machine only" in note for note in elsewhere["notes"])


def test_full_screen_keys_switch_pages_and_the_terminal_is_left_as_it_was(watched: Watched) -> None:
    terminal = Terminal(watched, "--key-file", str(watched.key_file("analyst", "read", "records")))
    terminal.sees("ARMED", "KRW per USDT", "last opportunities", "1 first screen")
    terminal.types("2")
    terminal.sees("refused since the start", "last arbitrages")
    terminal.types("3")
    terminal.sees("loss_today_max", "trades_per_minute")
    terminal.types("4")
    terminal.sees("arbitrage.daemon")
    terminal.types("1")
    terminal.sees("KRW per USDT")
    terminal.types("x")
    terminal.sees("KRW per USDT")
    terminal.types("q")
    assert terminal.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was_too(watched: Watched, number: signal.Signals) -> None:
    terminal = Terminal(watched)
    terminal.sees("ARMED", "come over the API")
    terminal.process.send_signal(number)
    assert terminal.ends() == 0


def test_a_daemon_that_hangs_and_one_that_is_gone_are_told_from_one_that_lives(watched: Watched) -> None:
    key = str(watched.key_file("analyst", "read", "records"))
    watched.run.hears(signal.SIGSTOP)
    try:
        time.sleep(6)
        hung = watched.picture("--key-file", key)
        assert not hung["is_there"] and hung["source"] == "files"
        assert any("no answer within" in note for note in hung["notes"])
    finally:
        watched.run.hears(signal.SIGCONT)
    assert watched.run.end() == 0
    gone = watched.monitor("--once", "--key-file", key)
    assert gone.returncode == 1 and "NO DAEMON ANSWERS" in gone.stdout
    assert watched.picture("--key-file", key)["not_armed_because"] is not None
    nowhere = watched.monitor("--once", "--json", "--data-dir", str(watched.house.folder / "nowhere"))
    assert nowhere.returncode == 1 and "has not run here" in nowhere.stdout
