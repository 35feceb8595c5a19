"""Copies of a house in a drill's folder: looked into, written into, killed and removed. Never the house itself."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from arbitrage.app.clock import Clock
from arbitrage.store.archive import facts_between, load_snapshots
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.house_files import HouseFiles
from arbitrage.store.manifests import BackupRefused, StateHash
from arbitrage.store.processes import kill_family
from arbitrage.store.rows import Scope
from arbitrage.store.snapshots import Candidate, newest_first
from arbitrage.store.state_hash import facts_in, fold, sessions_in, snapshots_in, states_of
from arbitrage.store.wal_keeper import WalKeeper

TABLE = "backup_drill"
BEAT_S = 0.01
STATEMENT_S_MAX = 600.0
_TABLES = f"""SELECT format('%I.%I', schemaname, tablename) FROM pg_catalog.pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> '{TABLE}' ORDER BY 1"""
_LAST = """SELECT coalesce(max(f.sequence), 0) FROM journal_facts f JOIN sessions s USING (session)
    WHERE s.env = $1 AND s.session_id = $2"""


class Life(msgspec.Struct, frozen=True):
    """What was written into a copy before it was killed."""

    rows: int
    seconds: float
    began_ns: int
    killed_ns: int


def ask(endpoint: PostgresEndpoint, statement: str, *arguments: object) -> list[Any]:
    """Run one statement and return its rows. Raises one of POSTGRES_FAULTS."""

    async def asked() -> list[Any]:
        connection = await connect_postgres(endpoint)
        try:
            return list(await connection.fetch(statement, *arguments, timeout=STATEMENT_S_MAX))
        finally:
            await connection.close()

    return asyncio.run(asked())


class Copy:
    """One data folder of a drill."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock

    @contextlib.contextmanager
    def running(self) -> Iterator[tuple[PostgresEndpoint, int]]:
        """Run its database; give where it listens and its process number. Raises EmbeddedRefused."""
        embedded = Embedded(self.folder, wants_postgres=True, wants_redis=False)
        try:
            embedded.start()
            yield postgres_of(embedded.state), embedded.pids["postgres"]
        finally:
            embedded.stop()

    def remove(self) -> None:
        """Lose everything of it, its database wherever that lives."""
        home = self.folder / "postgres"
        if home.is_symlink():
            shutil.rmtree(home.resolve())
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def states(self) -> tuple[StateHash, ...]:
        """Fold its snapshots and journals. Raises BackupRefused, JournalRefused."""
        with HouseFiles(self.folder) as files:
            return states_of(files.contents())

    def disagreements(self, endpoint: PostgresEndpoint) -> tuple[int, list[str]]:
        """Fold each session from files and from the database alone, to the last fact both know; return (compared, faults)."""
        with HouseFiles(self.folder) as files:
            members = files.contents()
        compared, faults = 0, []
        for env, session_id in sessions_in(members):
            until: int = ask(endpoint, _LAST, env, session_id)[0][0]
            snapshots = [each for each in snapshots_in(members, env, session_id) if each.journal_sequence <= until]
            facts = facts_in(members, env, session_id)
            if not until or (not snapshots and (not facts or facts[0][0] > 1)):
                continue  # one of the two knows nothing of this session's beginning
            ours = fold(snapshots[0] if snapshots else None, facts, until)
            theirs = asyncio.run(_fold_database(endpoint, Scope(env, session_id, ()), ours[0]))
            compared += 1
            if ours != theirs:
                faults.append(f"session {env}.{session_id}: files give {ours}, the database gives {theirs}")
        return compared, faults


async def _fold_database(endpoint: PostgresEndpoint, scope: Scope, until: int) -> tuple[int, str]:
    judged = newest_first(await load_snapshots(endpoint, scope), scope.session_id)
    usable = [each.snapshot for each in judged if isinstance(each, Candidate) and each.snapshot.journal_sequence <= until]
    snapshot = usable[0] if usable else None
    after = snapshot.journal_sequence if snapshot is not None else 0
    return fold(snapshot, await facts_between(endpoint, scope, after, until + 1), until)


def counts(endpoint: PostgresEndpoint) -> dict[str, int]:
    """Count the rows of every table but the drill's own."""
    return {row[0]: ask(endpoint, f"SELECT count(*) FROM {row[0]}")[0][0] for row in ask(endpoint, _TABLES)}


def newest_row_ns(endpoint: PostgresEndpoint) -> int:
    """Return when the newest of the drill's rows was written; 0 for none."""
    newest: int = ask(endpoint, f"SELECT coalesce(max(at_ns), 0) FROM {TABLE}")[0][0]
    return newest


async def live_and_die(endpoint: PostgresEndpoint, pid: int, keeper: WalKeeper, seconds: float, clock: Clock) -> Life:
    """Write rows while the log is archived, then end the archive and kill the server without a word."""
    connection = await connect_postgres(endpoint)
    began_ns, rows = clock(), 0
    try:
        async with asyncio.TaskGroup() as group:
            archiving = group.create_task(keeper.run(), name="archive")
            while clock() - began_ns < seconds * 1e9:
                await connection.execute(f"INSERT INTO {TABLE} VALUES ($1)", clock())
                rows += 1
                await asyncio.sleep(BEAT_S)
            killed_ns = clock()
            keeper.freeze()
            kill_family(pid)
            archiving.cancel()
    finally:
        connection.terminate()
        keeper.stop()
    if keeper.health().trouble:
        raise BackupRefused(keeper.health().trouble)
    return Life(rows, seconds, began_ns, killed_ns)


Enlarge = Callable[[PostgresEndpoint], None]
"""Fills a copy's database."""
