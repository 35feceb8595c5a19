"""What outlives the daemons: simulated exchanges, one PostgreSQL, one Valkey; and the daemons themselves. Judges nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from daemon_lab import SESSION, Run, Venues, wait_until
from live_lab import LiveHouse
from store_servers import fetch, reachable_folder

from arbitrage.app.control_client import NoAnswer, ask
from arbitrage.app.control_words import Ask
from arbitrage.ops.standing import Standing
from arbitrage.store.embedded import Embedded, postgres_of, redis_of
from fences.wire import Wire

PLANTED = Path(__file__).resolve().parent / "planted.py"
EPOCH = re.compile(rf"epoch (\d+) of session {SESSION}")
STANDING_BY = f"standing by for session {SESSION}: held by "
SPEED = 4.0
BUSY = {"execution.cooldown_ms": 0, "risk.open_plans_max": 20, "log.level": "INFO"}
"""As many orders as possible: silence proves something only where there was noise."""
POLL_S = 0.005


class Lab:
    """Everything that stays while daemons come and go."""

    def __init__(self, plant: str = "") -> None:
        self.plant = plant
        self.folder = reachable_folder()
        self.servers = Embedded(self.folder / "servers", wants_postgres=True, wants_redis=True)
        (self.folder / "servers").chmod(0o755)
        self.servers.start()
        self.venues = Venues(speed=SPEED)
        self.instances: list[Instance] = []

    def instance(self, *words: str) -> Instance:
        """Start a daemon of the session with a folder of its own, as on a machine of its own."""
        made = Instance(self, len(self.instances), words)
        self.instances.append(made)
        return made

    def postgres_port(self) -> int:
        return self.servers.state.postgres_port

    def postgres_family(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self.servers.pids["postgres"])
        return [postmaster, *postmaster.children(recursive=True)]

    def kill_postgres(self) -> None:
        """Kill it as a crash does, and start it again: its locks are gone."""
        os.kill(self.servers.pids["postgres"], signal.SIGKILL)
        wait_until(self.servers.ensure_running, "PostgreSQL runs again", 30)

    def lease(self) -> dict[str, Any]:
        """Return the lease's row."""
        (row,) = asyncio.run(fetch(postgres_of(self.servers.state), "SELECT * FROM leases"))
        return row

    def orders(self) -> list[dict[str, Any]]:
        """Return every order that the exchanges ever took, in the order of their arrival."""
        truth = next(each for each in self.instances if not each.is_gone).house.control("GET", "/truth?limit=0")
        rows = [row for venue in ("binance", "upbit") for row in truth[venue]["orders"]]
        return sorted(rows, key=lambda row: row["created_ns"])

    def close(self) -> None:
        """End everything and remove it."""
        for each in self.instances:
            each.discard()
        self.venues.stop()
        self.servers.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Instance:
    """One daemon on a machine of its own."""

    def __init__(self, lab: Lab, number: int, words: tuple[str, ...]) -> None:
        self._lab = lab
        self.is_gone = False
        self.wire = Wire(lab.postgres_port)
        folder = lab.folder / f"machine-{number}"
        folder.mkdir()
        state = lab.servers.state
        self.house = LiveHouse(
            folder,
            lab.venues,
            POSTGRES_HOST="127.0.0.1",
            POSTGRES_PORT=str(self.wire.port),
            POSTGRES_PASSWORD=state.postgres_password,
            REDIS_HOST="127.0.0.1",
            REDIS_PORT=str(redis_of(state).port),
            REDIS_PASSWORD=state.redis_password,
        )
        self.house.configure(BUSY)
        if lab.plant:
            self.house.program = (str(PLANTED), lab.plant)
        self.run: Run = self.house.start(*words)

    @property
    def pid(self) -> int:
        return self.run.process.pid

    @property
    def epoch(self) -> int | None:
        """The number that it says it got."""
        found = EPOCH.search(self.run.text())
        return int(found[1]) if found else None

    @property
    def is_running(self) -> bool:
        return self.run.process.poll() is None

    def standing(self) -> Standing | None:
        """Return how it says that it stands; None while it does not answer."""
        try:
            return ask(self.house.folder, Ask(word="status")).standing
        except NoAnswer:
            return None

    def accept_all(self) -> None:
        """Accept every difference."""
        with contextlib.suppress(NoAnswer):
            ask(self.house.folder, Ask(word="accept", reason="the lost machine knew"))

    def signal(self, number: signal.Signals) -> None:
        self.run.hears(number)

    def discard(self) -> None:
        """End it for good and remove its folder."""
        if self.is_gone:
            return
        self.is_gone = True
        if self.is_running:
            self.run.process.kill()
        self.run.process.wait()
        self.wire.close()
        shutil.rmtree(self.house.folder, ignore_errors=True)


def seconds_until(holds: Callable[[], object], began_s: float, what: str, limit_s: float = 30.0) -> float:
    """Poll closely; return how long after `began_s` (monotonic) it held."""
    while not holds():
        if time.monotonic() - began_s > limit_s:
            raise TimeoutError(f"not within {limit_s:g} s: {what}")
        time.sleep(POLL_S)
    return time.monotonic() - began_s
