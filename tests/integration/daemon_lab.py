"""A real daemon under test: venue servers, data folder, configuration, and the child process, all on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import yaml
from store_servers import fetch

from arbitrage.app.child import STREAM_PATHS
from arbitrage.model.facts import Fact
from arbitrage.ops.config import Overlay, load
from arbitrage.ops.status import Status, read_status
from arbitrage.store.embedded import postgres_of, read_state
from arbitrage.store.records import decode_record, lines_of, read_header

PROJECT = Path(__file__).resolve().parents[2]
SESSION = "lab"
PATIENCE_S = 90.0
SCENARIO, SEED, SPEED = "synthetic", 1, 8.0
"""Eight times as fast as its own time, the synthetic scenario pays within a second or two."""


class TimesOut(AssertionError):
    """Something did not come to hold in time."""


def wait_until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> float:
    """Poll until `holds()`; return after how many seconds it did. Fails with `what` when it does not."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began >= seconds:
            raise TimesOut(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def clean_environment(**named: str) -> dict[str, str]:
    """Return this process's environment without anything that would configure a daemon, and with what is named."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARBITRAGE_", "POSTGRES_", "REDIS_"))}
    for name in ("ENV", "MODE", "LOG_LEVEL", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        kept.pop(name, None)
    return {**kept, **named}


class Venues:
    """`arbitrage sim` as a child."""

    def __init__(self, *, speed: float = SPEED, seed: int = SEED) -> None:
        words = ["--scenario", SCENARIO, "--seed", str(seed), "--speed", str(speed)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "arbitrage", "sim", "--json", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment(), cwd=PROJECT,
        )  # fmt: skip
        assert self.process.stdout is not None, "a pipe was asked for"
        where, what = (json.loads(self.process.stdout.readline()) for _ in range(2))
        self.description: dict[str, Any] = where | what

    def settings(self) -> dict[str, Any]:
        """Return the scenario's configuration with the servers' addresses."""
        values: dict[str, Any] = self.description["settings"]
        for venue, section in values["venues"].items():
            section["rest_url"] = self.description[venue]["rest"]
            section["stream_url"] = self.description[venue]["ws"] + STREAM_PATHS.get(venue, "")
        return values

    def stop(self) -> None:
        """End the child; once is enough."""
        self.process.kill()
        self.process.communicate()


class Run:
    """One process of `arbitrage run` and what it printed."""

    def __init__(self, house: House, words: tuple[str, ...], environ: dict[str, str]) -> None:
        self._house = house
        self.printed = house.prints / f"printed-{len(house.runs)}.txt"
        self.began_s = time.monotonic()
        with self.printed.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *house.program, "run", "--config", str(house.config), *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environ, cwd=PROJECT,
            )  # fmt: skip

    def text(self) -> str:
        """Return everything printed so far."""
        return self.printed.read_text()

    def says(self, words: str, *, times: int = 1, seconds: float = PATIENCE_S) -> float:
        """Wait until it printed these words so often; return the seconds since its start."""

        def has() -> bool:
            assert self.process.poll() is None or self.text().count(words) >= times, f"it ended:\n{self.text()}"
            return self.text().count(words) >= times

        wait_until(has, f"{words!r} in {self.printed}", seconds)
        return time.monotonic() - self.began_s

    def line(self, words: str) -> str:
        """Return the first printed line that holds these words."""
        return next(line for line in self.text().splitlines() if words in line)

    def hears(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE_S) -> int:
        """Signal it, wait for its end, return its exit status."""
        self.hears(number)
        return self.process.wait(seconds)


class House:
    """A data folder with its configuration and every run on it."""

    def __init__(self, folder: Path, venues: Venues, **environ: str) -> None:
        self.folder = self.prints = folder
        """Where the data is, and where what is printed goes; a disk that a test fills takes no line down."""
        self.venues = venues
        self.config = folder / "config"
        self.log_file = folder / "logs" / "arbitrage_development.log"
        self.runs: list[Run] = []
        self.program: tuple[str, ...] = ("-m", "arbitrage")
        """What Python runs; a daemon that is broken on purpose stands elsewhere."""
        self.environ = clean_environment(
            ARBITRAGE__STORE__DATA_DIR=str(folder), ARBITRAGE__LOG__DIRECTORY=str(folder / "logs"),
            ARBITRAGE__WEB__PORT="0",  # any: another house's daemon may run beside this one
            **environ,
        )  # fmt: skip
        (self.config / "environments").mkdir(parents=True)
        (self.config / "environments" / "development.yaml").write_text("log:\n  level: INFO\n")
        loaded = load(PROJECT / "config", clean_environment(), Overlay("lab", {**venues.settings(), "session_name": SESSION}))
        self.tree: dict[str, Any] = msgspec.to_builtins(loaded.settings)
        for key in ("env", "log"):
            del self.tree[key]
        self.configure({})

    def configure(self, changes: dict[str, Any]) -> None:
        """Write base.yaml with changes by dotted key."""
        tree = json.loads(json.dumps(self.tree))
        for key, value in changes.items():
            *path, last = key.split(".")
            block = tree
            for word in path:
                block = block.setdefault(word, {})
            block[last] = value
        (self.config / "base.yaml").write_text(yaml.safe_dump(tree))

    def start(self, *words: str, **environ: str) -> Run:
        """Start `arbitrage run`."""
        run = Run(self, words, {**self.environ, **environ})
        self.runs.append(run)
        return run

    def status(self) -> Status | None:
        """Return the daemon's own status file."""
        found = read_status(self.folder)
        return found if isinstance(found, Status) else None

    def close(self) -> None:
        """End what still runs."""
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()

    @property
    def session_dir(self) -> Path:
        return self.folder / "sessions" / f"development.{SESSION}"

    def facts(self) -> list[Fact]:
        """Return every fact in the journal's files that is whole."""
        found: list[Fact] = []
        for path in sorted((self.session_dir / "journal").glob("facts-*.journal")):
            for _, line in lines_of(path.read_bytes()):
                header = read_header(line)
                if header is not None:
                    found += decode_record(header).facts
        return found

    def snapshots(self) -> list[Path]:
        """Return the snapshot files, oldest first."""
        return sorted((self.session_dir / "snapshots").glob("snapshot-*.json"))

    def query(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Ask the embedded PostgreSQL, which must run."""
        return asyncio.run(fetch(postgres_of(read_state(self.folder)), statement, *arguments))

    def script(self, path: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the project's own scripts against this house."""
        command = [sys.executable, str(PROJECT / path), "--config", str(self.config), *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.environ, check=False, timeout=PATIENCE_S)


@contextlib.contextmanager
def house_in(folder: Path, **environ: str) -> Iterator[House]:
    """Give a house with its own venue servers; everything is gone afterwards."""
    venues = Venues()
    try:
        house = House(folder, venues, **environ)
        try:
            yield house
        finally:
            house.close()
    finally:
        venues.stop()


def is_caught_up(house: House) -> bool:
    """Tell whether PostgreSQL holds every fact that was in the journal just before it was asked."""
    known = len(house.facts())
    ((held,),) = [row.values() for row in house.query("SELECT max(sequence) FROM journal_facts")]
    return bool(held >= known)


def postgres_pid(house: House) -> int:
    """Return the process number of the embedded PostgreSQL."""
    return int((house.folder / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[list[psutil.Process]]:
    """Keep a server and its children from doing anything: it is there and never answers. Gives all of them."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield family
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def fill(path: Path) -> None:
    """Take every free byte of its file system."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    size = 1_000_000
    while size:
        try:
            os.write(descriptor, bytes(size))
        except OSError:
            size //= 2
    os.close(descriptor)
