"""The lease against a real PostgreSQL: one holder, a number for each start, and an old holder that comes back is fenced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from store_servers import fetch

from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.lease import EpochFile, Fenced, Lease, LeaseHeld
from arbitrage.store.migrations import apply, migrations_dir
from arbitrage.store.rows import Scope

pytestmark = pytest.mark.integration
SCOPE = Scope("test", "main")
KILL_HOLDER = """SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
Until = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture
def endpoint(postgres: PostgresEndpoint, tmp_path: Path) -> PostgresEndpoint:
    asyncio.run(apply(postgres, migrations_dir(), tmp_path))
    return postgres


def lease(endpoint: PostgresEndpoint, name: str, scope: Scope = SCOPE) -> Lease:
    return Lease(lambda: endpoint, scope, name)


def test_every_start_has_a_higher_number_even_when_the_folder_knows_more_than_the_database(endpoint: PostgresEndpoint) -> None:
    async def scene() -> list[int]:
        found = []
        for known in (0, 0, 41, 3):
            each = lease(endpoint, "a")
            found.append(await each.take(known, 1))
            each.drop()
        return found

    assert asyncio.run(scene()) == [1, 2, 42, 43]


def test_a_second_instance_is_refused_by_name_and_another_session_is_not(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = lease(endpoint, "host-a process 7")
        assert await first.take(0, 1) == 1
        began = time.monotonic()
        with pytest.raises(LeaseHeld, match=r"another instance trades for session main of test .*host-a process 7, epoch 1"):
            await lease(endpoint, "b").take(0, 2)
        assert time.monotonic() - began < 6
        other = lease(endpoint, "b", Scope("test", "other"))
        assert await other.take(0, 2) == 1
        first.drop()
        other.drop()
        assert await lease(endpoint, "b").take(0, 3) == 2

    asyncio.run(scene())


def test_a_holder_that_loses_its_connection_says_so_at_once_and_takes_the_same_epoch_back(
    endpoint: PostgresEndpoint, until: Until
) -> None:
    async def scene() -> None:
        held = lease(endpoint, "a")
        await held.take(0, 1)
        changes: list[str] = []
        task = asyncio.ensure_future(held.run(lambda: changes.append(held.trouble)))
        await asyncio.sleep(0.4)
        assert not held.trouble
        began = time.monotonic()
        await fetch(endpoint, KILL_HOLDER)
        await until(lambda: bool(changes))
        assert "the lease is lost" in changes[0] and time.monotonic() - began < 1.5
        await until(lambda: len(changes) == 2)
        assert changes[1] == held.trouble == "" and (held.epoch, held.losses) == (1, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await lease(endpoint, "b").take(0, 2) == 2, "who ends gives it back"

    asyncio.run(scene())


def test_an_old_holder_that_comes_back_after_a_takeover_is_fenced_for_good(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        old, new = lease(endpoint, "old"), lease(endpoint, "new")
        await old.take(0, 1)
        await fetch(endpoint, KILL_HOLDER)  # as a restarted database forgets its locks, while the old holder still runs
        assert await new.take(0, 2) == 2
        new.drop()  # even when the new one has gone again, the old one must not go on
        with pytest.raises(Fenced, match=r"epoch 2 of new, ours is 1"):
            await old.run(lambda: None)
        assert old.trouble.startswith("fenced")

    asyncio.run(scene())


def test_while_another_holds_the_lock_the_old_holder_stays_without(endpoint: PostgresEndpoint, until: Until) -> None:
    async def scene() -> None:
        old, new = lease(endpoint, "old"), lease(endpoint, "new")
        await old.take(0, 1)
        await fetch(endpoint, KILL_HOLDER)
        await new.take(0, 2)
        changes: list[str] = []
        task = asyncio.ensure_future(old.run(lambda: changes.append(old.trouble)))
        await until(lambda: bool(changes))
        await asyncio.sleep(0.8)
        assert len(changes) == 1 and old.trouble and not task.done()
        new.drop()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done and isinstance(task.exception(), Fenced)

    asyncio.run(scene())


def test_a_lost_row_fences_too(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        held = lease(endpoint, "a")
        await held.take(0, 1)
        await fetch(endpoint, "DELETE FROM leases")
        with pytest.raises(Fenced, match="its row is gone"):
            await held.run(lambda: None)

    asyncio.run(scene())


def test_the_folder_remembers_the_highest_epoch(tmp_path: Path) -> None:
    file = EpochFile(tmp_path)
    assert file.read() == 0
    file.write(7)
    assert EpochFile(tmp_path).read() == 7
