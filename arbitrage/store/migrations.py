"""Numbered SQL files brought into a database in order, once each, under a lock. Refuses changed and missing files by name."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from arbitrage.store.dumps import take_dump
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.moments import DURING_MIGRATION, Reached

ADVISORY_LOCK = 0x61726269  # "arbi"
LOCK_TRIES_MAX = 300
LOCK_WAIT_SECONDS = 0.1
MIGRATION_SECONDS_MAX = 600.0
_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_BOOTSTRAP = """CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""
_OTHER_TABLES = """SELECT count(*) FROM pg_catalog.pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'schema_migrations'"""


class MigrationRefused(Exception):
    """The database stays as it is. One line: which file, what is wrong with it, what to do."""


class Migration(msgspec.Struct, frozen=True):
    """One numbered SQL file."""

    number: int
    name: str
    sha256: str
    sql: str


class Applied(msgspec.Struct, frozen=True):
    """What the database says was applied."""

    number: int
    name: str
    sha256: str
    applied_at: str


class MigrationStatus(msgspec.Struct, frozen=True):
    """One line of `arbitrage migrate --status`; `applied_at` is empty while pending."""

    number: int
    name: str
    applied_at: str

    @property
    def is_pending(self) -> bool:
        return not self.applied_at


class MigrationReport(msgspec.Struct, frozen=True):
    """What `apply` did; `dump` is None when the database was empty or nothing was pending."""

    applied: tuple[str, ...]
    dump: Path | None


def migrations_dir() -> Path:
    """Return the folder of SQL files: the project's, or the one installed beside the package. Raises MigrationRefused."""
    here = Path(__file__).resolve()
    places = (
        here.parents[2] / "db" / "migrations",
        here.parents[1] / "db" / "migrations",
        Path(sys.prefix) / "share" / "arbitrage" / "db" / "migrations",
    )
    for place in places:
        if any(_NAME.match(path.name) for path in (place.iterdir() if place.is_dir() else ())):
            return place
    raise MigrationRefused(f"no migrations found in {' or '.join(map(str, places))}: reinstall the program")


def read_migrations(directory: Path) -> list[Migration]:
    """Read the files in order. Raises MigrationRefused for a stray, repeated or missing number."""
    migrations: list[Migration] = []
    for path in sorted(directory.glob("*.sql")):
        match = _NAME.match(path.name)
        if match is None:
            raise MigrationRefused(f"{path}: name it like 0001_words.sql")
        number = int(match[1])
        if migrations and number == migrations[-1].number:
            raise MigrationRefused(f"{path}: number {number:04d} is also {migrations[-1].name}; give one the next number")
        if number != len(migrations) + 1:
            raise MigrationRefused(f"{path}: number {len(migrations) + 1:04d} is missing before it; restore that file")
        content = path.read_bytes()
        migrations.append(Migration(number, path.name, hashlib.sha256(content).hexdigest(), content.decode()))
    return migrations


def pending(migrations: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """Return what is still to apply. Raises MigrationRefused when the files and the database tell different stories."""
    for position, row in enumerate(applied):
        if row.number > len(migrations):
            known = migrations[-1].name if migrations else "none"
            raise MigrationRefused(f"the database has {row.name} applied, this program knows up to {known}: install the newer")
        file = migrations[position]
        if row.number != file.number:
            raise MigrationRefused(f"{file.name}: not applied, but the later {row.name} is; restore the database from a dump")
        if row.sha256 != file.sha256:
            raise MigrationRefused(
                f"{file.name}: changed since it was applied on {row.applied_at}; restore it and put the change in a new file"
            )
    return list(migrations[len(applied) :])


async def _read_applied(connection: Any) -> list[Applied]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return []
    rows = await connection.fetch("SELECT number, name, sha256, applied_at FROM schema_migrations ORDER BY number")
    return [Applied(row["number"], row["name"], row["sha256"], f"{row['applied_at']:%Y-%m-%d %H:%M:%S} UTC") for row in rows]


async def status(endpoint: PostgresEndpoint, directory: Path) -> list[MigrationStatus]:
    """List every migration with when it was applied. Changes nothing. Raises MigrationRefused or one of POSTGRES_FAULTS."""
    migrations = read_migrations(directory)
    connection = await connect_postgres(endpoint)
    try:
        applied = await _read_applied(connection)
    finally:
        await connection.close()
    pending(migrations, applied)
    dates = {row.number: row.applied_at for row in applied}
    return [MigrationStatus(each.number, each.name, dates.get(each.number, "")) for each in migrations]


async def plan(endpoint: PostgresEndpoint, directory: Path) -> list[Migration]:
    """Return what `apply` would apply. Changes nothing. Raises MigrationRefused or one of POSTGRES_FAULTS."""
    migrations = read_migrations(directory)
    connection = await connect_postgres(endpoint)
    try:
        return pending(migrations, await _read_applied(connection))
    finally:
        await connection.close()


async def apply(
    endpoint: PostgresEndpoint, directory: Path, dumps: Path, reached: Reached | None = None
) -> MigrationReport:
    """Apply what is pending, each file in its own transaction, after a dump when the database holds tables.

    Two appliers at once are safe: the second waits for the first and finds nothing to do. Raises MigrationRefused,
    DumpRefused or one of POSTGRES_FAULTS; a file that fails leaves everything before it applied and itself undone.
    """
    migrations = read_migrations(directory)
    connection = await connect_postgres(endpoint)
    try:
        await _lock(connection)
        todo = pending(migrations, await _read_applied(connection))
        dump = None
        if todo and await connection.fetchval(_OTHER_TABLES):
            dump = await take_dump(endpoint, dumps, await _dump_name(connection, todo[0]))
        await connection.execute(_BOOTSTRAP)
        for migration in todo:
            await _apply_one(connection, migration, reached)
        return MigrationReport(tuple(migration.name for migration in todo), dump)
    finally:
        await connection.close()


async def _lock(connection: Any) -> None:
    for _ in range(LOCK_TRIES_MAX):
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
            return
        await asyncio.sleep(LOCK_WAIT_SECONDS)
    seconds = LOCK_TRIES_MAX * LOCK_WAIT_SECONDS
    raise MigrationRefused(f"another program has been migrating this database for {seconds:.0f} s; try again when it is done")


async def _dump_name(connection: Any, first: Migration) -> str:
    stamp: str = await connection.fetchval("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD-HH24MISS-US')")
    return f"{stamp}-before-{first.number:04d}.dump"


async def _apply_one(connection: Any, migration: Migration, reached: Reached | None) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql, timeout=MIGRATION_SECONDS_MAX)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.sha256,
            )
            if reached is not None:
                reached(DURING_MIGRATION)
    except asyncpg.PostgresError as error:
        words = " ".join(str(error).split())
        raise MigrationRefused(f"{migration.name}: {words} (SQLSTATE {error.sqlstate}); nothing of it was kept") from error
