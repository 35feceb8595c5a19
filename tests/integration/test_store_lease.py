"""The lease against a real PostgreSQL: one holder, a number for each start, silence before a successor, a fence after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_servers import eventually, fetch

from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.lease import EXPIRY_SECONDS, HOLD_SECONDS, EpochFile, Fenced, Holder, Lease, LeaseHeld, NotMigrated
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


def lease(endpoint: PostgresEndpoint, name: str, scope: Scope = SCOPE, *, keeper: str = "", is_shared: bool = True) -> Lease:
    return Lease(lambda: endpoint, scope, Holder(name, keeper, is_shared=is_shared), time.monotonic_ns)


class Kept:
    """A lease that is taken and kept beside the test."""

    def __init__(self, held: Lease) -> None:
        self.lease = held
        self.changes: list[str] = []
        self._task = asyncio.ensure_future(held.run(lambda: self.changes.append(held.trouble)))

    @property
    def failure(self) -> BaseException | None:
        return self._task.exception() if self._task.done() else None

    async def die(self) -> None:
        """End as a killed process does: the kernel closes its connection, and nothing is said."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.lease.drop()


async def kept(endpoint: PostgresEndpoint, name: str, **named: Any) -> Kept:
    held = lease(endpoint, name, **named)
    await held.take(0, lambda: 1)
    found = Kept(held)
    await eventually(lambda: held.left_ns > 0)
    return found


def test_every_start_has_a_higher_number_even_when_the_folder_knows_more_than_the_database(endpoint: PostgresEndpoint) -> None:
    async def scene() -> list[int]:
        found = []
        for known in (0, 0, 41, 3):
            each = lease(endpoint, "a")
            found.append(await each.take(known, lambda: 1))
            await each.give_back()
        return found

    assert asyncio.run(scene()) == [1, 2, 42, 43]


def test_a_second_instance_is_refused_at_once_by_name_and_another_session_is_not(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = await kept(endpoint, "host-a process 7")
        for refuse in (lease(endpoint, "b").take(0, lambda: 2), lease(endpoint, "b").refuse_if_held()):
            began = time.monotonic()
            with pytest.raises(LeaseHeld, match=r"session main of test .*: host-a process 7 since 1970-01-01T.*Z, epoch 1$"):
                await refuse
            assert time.monotonic() - began < 0.5
        other = lease(endpoint, "b", Scope("test", "other"))
        await other.refuse_if_held()
        assert await other.take(0, lambda: 2) == 1
        other.drop()
        assert not first.changes
        await first.die()

    asyncio.run(scene())


def test_a_killed_holder_is_followed_once_it_must_be_silent_and_not_before(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = await kept(endpoint, "a")
        waiting: list[str] = []
        second = asyncio.ensure_future(lease(endpoint, "b").take(0, lambda: 2, waits=waiting.append))
        await asyncio.sleep(0.5)
        assert not second.done() and waiting[-1].startswith("a since")
        end_ns = time.monotonic_ns() + first.lease.left_ns
        await first.die()
        began = time.monotonic()
        assert await second == 2
        assert time.monotonic_ns() > end_ns and time.monotonic() - began < 2

    asyncio.run(scene())


def test_who_gives_the_lease_back_or_is_known_to_have_ended_is_followed_at_once(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = await kept(endpoint, "a", keeper="boot 1 folder 2")
        await first.die()
        began = time.monotonic()
        heir = lease(endpoint, "b", keeper="boot 1 folder 2")
        assert await heir.take(0, lambda: 2) == 2
        await heir.rest()
        assert heir.silence()
        await heir.give_back()
        assert await lease(endpoint, "c").take(0, lambda: 3) == 3
        assert time.monotonic() - began < 0.5

    asyncio.run(scene())


def test_a_holder_that_starts_or_stops_is_not_followed_while_it_writes(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = lease(endpoint, "a")
        await first.take(0, lambda: 1)
        second = asyncio.ensure_future(lease(endpoint, "b").take(0, lambda: 2, waits=lambda holder: None))
        await asyncio.sleep(EXPIRY_SECONDS + 0.5)
        assert not second.done(), "a start takes longer than a beat"
        await first.give_back()
        assert await second == 2

    asyncio.run(scene())


def test_a_last_word_stands_although_the_holder_still_beats(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = await kept(endpoint, "a")
        await first.lease.rest()
        await asyncio.sleep(0.6)
        (row,) = await fetch(endpoint, "SELECT lasts_ms, beats FROM lease_beats")
        assert row["lasts_ms"] == 10_000 and row["beats"] > 2 and first.failure is None and not first.changes
        assert first.lease.silence(), "who says so sends nothing more"
        await first.die()

    asyncio.run(scene())


def test_a_frozen_holder_with_a_write_under_way_is_followed_and_finds_itself_fenced(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        frozen = lease(endpoint, "frozen")
        await frozen.take(0, lambda: 1)
        writes = await connect_postgres(endpoint)
        await writes.execute("BEGIN")
        await writes.fetchval("SELECT epoch FROM leases FOR SHARE")
        await fetch(endpoint, "UPDATE lease_beats SET lasts_ms = 1600")  # as the first beat after the start would
        assert await lease(endpoint, "heir").take(0, lambda: 2, waits=lambda holder: None) == 2
        with pytest.raises(Fenced, match=r"epoch 2 of heir, ours is 1"):
            for _ in range(2):  # the connection was ended with the lock
                await frozen.run(lambda: None)
        assert frozen.silence().startswith("fenced")
        writes.terminate()

    asyncio.run(scene())


def test_a_write_of_the_holder_does_not_keep_it_from_beating(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        first = await kept(endpoint, "a")
        writes = await connect_postgres(endpoint)
        await writes.execute("BEGIN")
        await writes.fetchval("SELECT epoch FROM leases FOR SHARE")
        await asyncio.sleep(HOLD_SECONDS + 0.3)
        assert not first.changes and not first.lease.silence()
        writes.terminate()
        await first.die()

    asyncio.run(scene())


def test_a_holder_that_cannot_beat_is_silent_before_anybody_may_follow(endpoint: PostgresEndpoint) -> None:
    now = [10**12]

    async def scene() -> None:
        held = Lease(lambda: endpoint, SCOPE, Holder("a"), lambda: now[0])
        await held.take(0, lambda: 1)
        assert held.silence(), "nothing is sent before the first beat"
        beats = Kept(held)
        await eventually(lambda: not held.silence())
        await beats.die()
        now[0] += round(HOLD_SECONDS * 1e9) - 1
        assert held.silence() == ""
        now[0] += 1
        assert held.silence() == f"the lease is lost (not renewed for {HOLD_SECONDS:g} s)"
        assert HOLD_SECONDS < EXPIRY_SECONDS

    asyncio.run(scene())


def test_a_database_that_nobody_else_reaches_silences_nobody(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        alone = lease(endpoint, "a", is_shared=False)
        await alone.take(0, lambda: 1)
        assert alone.left_ns <= 0 and alone.silence() == ""
        alone.drop()

    asyncio.run(scene())


def test_a_holder_that_loses_its_connection_says_so_at_once_and_takes_the_same_epoch_back(
    endpoint: PostgresEndpoint, until: Until
) -> None:
    async def scene() -> None:
        first = await kept(endpoint, "a")
        second = asyncio.ensure_future(lease(endpoint, "b").take(0, lambda: 2, waits=lambda holder: None))
        for losses in (1, 2):
            began = time.monotonic()
            await fetch(endpoint, KILL_HOLDER)  # as a restarted database forgets its locks, while the holder still runs
            await until(lambda wanted=2 * losses - 1: len(first.changes) >= wanted)  # type: ignore[misc]  # the loop's own number
            assert "the lease is lost" in first.changes[2 * losses - 2] and time.monotonic() - began < 1.5
            await until(lambda wanted=2 * losses: len(first.changes) == wanted)  # type: ignore[misc]  # the loop's own number
            assert first.changes[-1] == first.lease.trouble == "" and (first.lease.epoch, first.lease.losses) == (1, losses)
        assert not second.done(), "a lock that is free proves nothing"
        await first.die()
        assert await second == 2

    asyncio.run(scene())


def test_an_old_holder_that_comes_back_after_a_takeover_is_fenced_for_good(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        old = await kept(endpoint, "old")
        await old.die()
        new = lease(endpoint, "new")
        assert await new.take(0, lambda: 2) == 2
        await new.give_back()  # even when the new one has gone again, the old one must not go on
        with pytest.raises(Fenced, match=r"epoch 2 of new, ours is 1"):
            await old.lease.run(lambda: None)
        assert old.lease.trouble.startswith("fenced")

    asyncio.run(scene())


def test_a_lost_row_fences_too(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        for table in ("leases", "lease_beats"):
            held = lease(endpoint, "a")
            await held.take(0, lambda: 1)
            await fetch(endpoint, f"DELETE FROM {table}")
            with pytest.raises(Fenced, match="its row is gone"):
                await held.run(lambda: None)
            held.drop()

    asyncio.run(scene())


def test_what_an_older_version_holds_is_refused_while_it_is_connected(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        older = lease(endpoint, "older")
        await older.take(0, lambda: 1)
        await fetch(endpoint, "DELETE FROM lease_beats")
        with pytest.raises(LeaseHeld, match="older"):
            await lease(endpoint, "b").take(0, lambda: 2)
        older.drop()
        assert await lease(endpoint, "b").take(0, lambda: 2) == 2

    asyncio.run(scene())


def test_a_database_without_the_tables_is_told_apart_from_one_that_is_away(postgres: PostgresEndpoint) -> None:
    with pytest.raises(NotMigrated):
        asyncio.run(lease(postgres, "a").take(0, lambda: 1))
    asyncio.run(lease(postgres, "a").refuse_if_held())


def test_a_standby_survives_a_database_that_is_away(endpoint: PostgresEndpoint, until: Until) -> None:
    where = [msgspec.structs.replace(endpoint, port=1)]

    async def scene() -> None:
        told: list[str] = []
        waits = Lease(lambda: where[0], SCOPE, Holder("b"), time.monotonic_ns)
        task = asyncio.ensure_future(waits.take(0, lambda: 2, waits=told.append))
        await until(lambda: len(told) > 2)
        assert told[-1].startswith("unknown (") and not task.done()
        where[0] = endpoint
        assert await task == 1

    asyncio.run(scene())


def test_the_folder_remembers_the_highest_epoch(tmp_path: Path) -> None:
    file = EpochFile(tmp_path)
    assert file.read() == 0
    file.write(7)
    assert EpochFile(tmp_path).read() == 7


def test_a_holder_that_was_taken_over_hears_of_it_while_its_successor_holds_the_lock(endpoint: PostgresEndpoint) -> None:
    async def scene() -> None:
        old = await kept(endpoint, "old")
        await old.die()
        new = await kept(endpoint, "new")
        with pytest.raises(Fenced, match=r"epoch 2 of new, ours is 1"):
            await old.lease.run(lambda: None)
        assert not new.changes
        await new.die()

    asyncio.run(scene())
