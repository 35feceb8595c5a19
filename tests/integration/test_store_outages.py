"""Nothing durable is lost and nothing is written twice when a server or the daemon dies, freezes, or the disk is full."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from store_servers import fetch
from store_world import appends, count_of_each, entries, funding, one_of_each, snapshot

from arbitrage.model.effects import Append
from arbitrage.model.settings import StoreSettings
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.journal import RESERVE_BYTES, Journal, JournalUnwritable
from arbitrage.store.snapshots import SnapshotFiles, Stored
from arbitrage.store.stores import Extras, Stores

pytestmark = pytest.mark.integration
Until = Callable[..., Coroutine[Any, Any, None]]
KILLS = 6


async def loop_lateness(seconds: float) -> float:
    """Return the worst lateness of a 5 ms timer, in seconds."""
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - before - 0.005)
    return worst


async def stop(stores: Stores, task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stores.close()


async def stored_numbers(endpoint: PostgresEndpoint) -> list[int]:
    return [row["sequence"] for row in await fetch(endpoint, "SELECT sequence FROM journal_facts ORDER BY sequence")]


def test_a_killed_postgresql_comes_back_and_everything_arrives_once(data_folder: Path, until: Until) -> None:
    async def scene() -> None:
        stores = await Stores.open(StoreSettings(data_dir=str(data_folder)), "test", "main", time.time_ns)
        task = asyncio.ensure_future(stores.run())
        stores.append(appends(one_of_each()))
        await until(lambda: stores.writer.written_sequence == count_of_each() and stores.health().is_redis_up)
        os.kill(stores.embedded.pids["postgres"], signal.SIGKILL)
        for number in range(10, 210):
            stores.append([Append(funding(number), entries() if number % 2 else ())])
            await asyncio.sleep(0.001)
        killed = time.monotonic()
        await until(lambda: stores.writer.written_sequence == count_of_each() + 200)
        assert time.monotonic() - killed < 10.0
        await until(lambda: stores.report().is_postgres_up)
        assert stores.journal.bytes_waiting == 0 and stores.writer.counters.connects >= 2
        endpoint = stores.postgres_endpoint()
        assert await stored_numbers(endpoint) == list(range(1, count_of_each() + 201))
        (row,) = await fetch(endpoint, "SELECT count(*) AS n, sum(amount_e8) AS total FROM ledger_entries")
        assert (row["n"], row["total"]) == (4 + 100 * 4, 0)
        await stop(stores, task)

    asyncio.run(scene())


def test_a_frozen_postgresql_is_seen_never_holds_the_loop_and_catches_up(data_folder: Path, until: Until) -> None:
    async def scene() -> None:
        settings = StoreSettings(data_dir=str(data_folder))
        stores = await Stores.open(settings, "test", "main", time.time_ns, extras=Extras(wants_redis=False))
        task = asyncio.ensure_future(stores.run())
        await until(lambda: stores.report().is_postgres_up)
        server = psutil.Process(stores.embedded.pids["postgres"])
        family = [server, *server.children(recursive=True)]
        for process in family:
            process.suspend()
        frozen = time.monotonic()
        for number in range(1, 51):
            stores.append([Append(funding(number))])
        lateness = await loop_lateness(0.5)
        await until(lambda: not stores.report().is_postgres_up)
        assert time.monotonic() - frozen < 3.0 and lateness < 0.5
        assert stores.append([Append(funding(51))]) == 51, "the journal carries on"
        await asyncio.sleep(0.5)
        for process in family:
            process.resume()
        await until(lambda: stores.writer.written_sequence == 51 and stores.report().is_postgres_up, 20.0)
        assert await stored_numbers(stores.postgres_endpoint()) == list(range(1, 52))
        await stop(stores, task)

    asyncio.run(scene())


def test_while_postgresql_is_away_the_journal_s_bound_is_told_and_lifted_when_it_is_back(
    data_folder: Path, tmp_path: Path, until: Until
) -> None:
    server = Embedded(data_folder, wants_postgres=True, wants_redis=False)
    server.start()
    endpoint = postgres_of(server.state)
    settings = StoreSettings(
        data_dir=str(tmp_path),
        postgres_host=endpoint.host,
        postgres_port=endpoint.port,
        postgres_user=endpoint.user,
        postgres_password=endpoint.password,
        postgres_database=endpoint.database,
        journal_bytes_max=65_536,
    )
    server.stop()

    async def scene() -> None:
        stores = await Stores.open(settings, "test", "main", time.time_ns, extras=Extras(wants_redis=False))
        assert any("is away" in message for message in stores.messages)
        assert not any(endpoint.password in message for message in stores.messages)
        task = asyncio.ensure_future(stores.run())
        number = 0
        while not stores.report().is_journal_full:
            number = stores.append([Append(funding(number + 1))])
        report = stores.report()
        assert report.journal_bytes_waiting >= 65_536 and not report.is_postgres_up
        last = stores.append([Append(funding(number + 1))])
        assert last == number + 1, "open legs are still finished and written"
        await asyncio.to_thread(server.start)
        await until(lambda: stores.writer.written_sequence == last, 20.0)
        assert not stores.report().is_journal_full and stores.journal.bytes_waiting == 0
        assert await stored_numbers(endpoint) == list(range(1, last + 1))
        await stop(stores, task)

    asyncio.run(scene())
    server.stop()


def test_no_fact_told_durable_is_lost_over_kills_at_any_moment(data_folder: Path) -> None:
    """Each start after a kill -9 finds every number that was printed; PostgreSQL gets them all once."""
    chance = random.Random(7)
    durable = 0
    for _ in range(KILLS):
        command = [sys.executable, str(Path(__file__).with_name("store_daemon.py")), str(data_folder)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert daemon.stdout is not None
        opened = re.match(r"open (\d+) ", daemon.stdout.readline())
        assert opened is not None and int(opened[1]) >= durable, f"lost: {durable} was durable"
        for _ in range(chance.randrange(1, 150)):
            durable = int(daemon.stdout.readline())
        daemon.kill()
        for line in daemon.communicate()[0].splitlines():
            durable = int(line) if line.isdecimal() else durable

    async def last_start() -> None:
        stores = await Stores.open(StoreSettings(data_dir=str(data_folder)), "test", "main", time.time_ns)
        last = stores.journal.last_sequence
        assert last >= durable > 0
        assert await stores.writer.drain(10.0)
        assert await stored_numbers(stores.postgres_endpoint()) == list(range(1, last + 1))
        (session,) = await fetch(stores.postgres_endpoint(), "SELECT count(*) AS n FROM sessions")
        assert session["n"] == 1
        await stores.close()

    asyncio.run(last_start())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)  # a failed test may hold a file open


def fill(place: Path) -> Path:
    rubbish = place / "rubbish"
    with rubbish.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return rubbish


def test_a_full_disk_stops_new_entries_first_and_loses_nothing(small_disk: Path) -> None:
    journal = Journal(small_disk / "journal", bytes_max=10_000_000)
    assert not journal.is_full
    rubbish, number = fill(small_disk), 0
    while not journal.is_full:
        number = journal.append([funding(number + 1)])
    assert journal.trouble.startswith("disk full at"), "told while the reserve still takes facts"
    in_reserve = number
    with pytest.raises(JournalUnwritable, match="No space left on device"):
        while True:
            number = journal.append([funding(number + 1)])
    assert number - in_reserve > RESERVE_BYTES / 2 / 100, "the reserve finishes open legs"
    assert journal.last_sequence == number
    journal.check_space()
    assert journal.is_full, "still no room"
    rubbish.unlink()
    assert journal.append([funding(number + 1)]) == number + 1, "the failed number was not used up"
    journal.check_space()
    assert not journal.is_full
    journal.close()
    again = Journal(small_disk / "journal", bytes_max=10_000_000)
    assert again.torn is None
    assert [fact for _, fact in again.read_from(1)] == [funding(each) for each in range(1, number + 2)]
    again.close()


def test_a_full_disk_leaves_the_older_snapshots_whole(small_disk: Path) -> None:
    files = SnapshotFiles(small_disk / "snapshots", kept_max=5)
    files.save(snapshot(1))
    fill(small_disk)
    big = msgspec.structs.replace(snapshot(2), sections={"ledger": msgspec.Raw(b'"' + b"x" * 50_000 + b'"')})
    with pytest.raises(OSError, match="No space left"):
        files.save(big)
    (stored,) = files.load()
    assert isinstance(stored, Stored) and stored.key == (1, 1)
