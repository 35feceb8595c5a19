"""`arbitrage migrate` and the venue servers as a child, against real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_lab import PROJECT, clean_environment, house_in, wait_until

from arbitrage.app.child import ServersFailed, VenueServers
from arbitrage.app.supervisor import Supervisor
from arbitrage.store.migrations import migrations_dir

pytestmark = pytest.mark.integration
NAMES = sorted(path.name for path in migrations_dir().glob("*.sql"))


def migrate(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(ARBITRAGE__STORE__DATA_DIR=str(folder), **environ)
    command = [sys.executable, "-m", "arbitrage", "migrate", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=PROJECT, check=False, timeout=60)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_migrations_are_shown_applied_once_and_shown_again(data_folder: Path) -> None:
    rows = answer(migrate(data_folder, "--status", "--json"))
    assert [(row["name"], row["applied_at"]) for row in rows] == [(name, None) for name in NAMES]
    planned = migrate(data_folder, "--dry-run")
    assert planned.returncode == 0 and all(name in planned.stdout for name in NAMES)
    assert all(row["applied_at"] is None for row in answer(migrate(data_folder, "--status", "--json")))
    assert answer(migrate(data_folder, "--json")) == {"applied": NAMES, "dump": None}
    assert migrate(data_folder).stdout == "applied: nothing, all up to date\n"
    assert all(row["applied_at"] for row in answer(migrate(data_folder, "--status", "--json")))
    assert migrate(data_folder, "--dry-run").stdout == "nothing to apply\n"


def test_beside_a_running_daemon_migrate_is_a_guest(data_folder: Path) -> None:
    with house_in(data_folder) as house:
        run = house.start()
        run.says("arbitrage.daemon: armed")
        assert migrate(data_folder).stdout == "applied: nothing, all up to date\n"
        run.says("arbitrage.engine: arbitrage ", times=run.text().count("arbitrage.engine: arbitrage ") + 1)
        assert run.end() == 0 and "away" not in run.text()


def test_a_database_that_is_away_is_one_line_and_a_failed_check(tmp_path: Path) -> None:
    done = migrate(tmp_path, "--status", POSTGRES_HOST="127.0.0.1", POSTGRES_PORT="1", POSTGRES_PASSWORD="never-shown")
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("PostgreSQL: ") and "POSTGRES_HOST" in done.stderr and "never-shown" not in done.stderr


def test_a_daemon_whose_named_database_is_away_refuses_to_start_in_one_line(new_folder: Path) -> None:
    with house_in(new_folder, POSTGRES_HOST="127.0.0.1", POSTGRES_PORT="1", REDIS_HOST="127.0.0.1", REDIS_PORT="1") as house:
        run = house.start()
        assert run.process.wait(30) == 1
        last = run.text().splitlines()[-1]
        assert "PostgreSQL at 127.0.0.1:1 does not answer" in last and "Traceback" not in run.text()


def test_venue_servers_tell_where_they_are_and_end_when_told() -> None:
    async def scene() -> None:
        servers = await VenueServers.start("synthetic", seed=3, speed=2.0)
        child = psutil.Process(servers._process.pid)
        overlay = servers.overlay()
        for venue, section in overlay["venues"].items():
            assert section["rest_url"].startswith("http://127.0.0.1:"), venue
            assert section["stream_url"].startswith("ws://127.0.0.1:")
        assert overlay["venues"]["upbit"]["stream_url"].endswith("/websocket/v1") and not servers.has_ended
        await servers.stop()
        assert servers.has_ended and not child.is_running()

    asyncio.run(scene())


def test_venue_servers_that_die_are_noticed() -> None:
    async def scene() -> None:
        servers = await VenueServers.start("synthetic", seed=3, speed=2.0)
        watching = asyncio.get_running_loop().create_task(servers.watch())
        psutil.Process(servers._process.pid).kill()
        async with asyncio.timeout(10):
            assert await watching == f"they ended with status {-signal.SIGKILL}"
        await servers.stop()

    asyncio.run(scene())


def test_venue_servers_that_cannot_start_say_why() -> None:
    with pytest.raises(ServersFailed, match="unknown scenario 'nonsense'"):
        asyncio.run(VenueServers.start("nonsense", seed=1, speed=1.0))


def test_venue_servers_end_with_whoever_started_them() -> None:
    code = (
        "import asyncio, time\nfrom arbitrage.app.child import VenueServers\n"
        "async def main():\n    s = await VenueServers.start('synthetic', seed=1, speed=1.0)\n"
        "    print(s._process.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the servers are gone", 10)


def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    lost: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append("the first cancellation")  # as a library's own time-out may lose it
        await asyncio.Event().wait()

    async def scene() -> None:
        supervisor = Supervisor()
        supervisor.spawn("stubborn", stubborn())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await supervisor.close()
        assert lost and supervisor.failure is None and len(asyncio.all_tasks()) == 1

    asyncio.run(scene())
