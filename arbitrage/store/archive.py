"""What PostgreSQL holds of one session, read back at a start: facts and snapshots. Writes nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from arbitrage.model.facts import Fact
from arbitrage.store import statements as sql
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.rows import Scope
from arbitrage.store.segments import JournalRefused
from arbitrage.store.snapshots import Stored

SNAPSHOTS_READ_MAX = 20
FACTS_PER_READ = 5_000

_FACTS: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)


async def _session(connection: Any, scope: Scope) -> int | None:
    session: int | None = await connection.fetchval(sql.FIND_SESSION, scope.env, scope.session_id)
    return session


async def last_sequence(endpoint: PostgresEndpoint, scope: Scope) -> int:
    """Return the last fact that PostgreSQL holds, 0 for none. Raises one of POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        session = await _session(connection, scope)
        found: int = await connection.fetchval(sql.LAST_SEQUENCE, session) if session is not None else 0
        return found
    finally:
        await connection.close()


async def load_snapshots(endpoint: PostgresEndpoint, scope: Scope) -> list[Stored]:
    """Return the newest snapshots of the session. Raises one of POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        session = await _session(connection, scope)
        rows = await connection.fetch(sql.SNAPSHOTS, session, SNAPSHOTS_READ_MAX) if session is not None else []
    finally:
        await connection.close()
    return [
        Stored(
            name=f"session_snapshots({row['journal_sequence']}, {row['at_ns']})",
            key=(row["journal_sequence"], row["at_ns"]),
            version=row["version"],
            sha256=row["sha256"],
            body=row["body"].encode(),
        )
        for row in rows
    ]


async def facts_between(endpoint: PostgresEndpoint, scope: Scope, after: int, before: int) -> list[tuple[int, Fact]]:
    """Return every fact with `after < sequence < before`. Raises JournalRefused when one is missing."""
    facts: list[tuple[int, Fact]] = []
    connection = await connect_postgres(endpoint)
    try:
        session = await _session(connection, scope)
        while after + 1 < before:
            count = min(FACTS_PER_READ, before - after - 1)
            rows = await connection.fetch(sql.FACTS_AFTER, session, after, count)
            if not rows or rows[0]["sequence"] != after + 1 or rows[-1]["sequence"] != after + len(rows):
                raise JournalRefused(
                    f"fact {after + 1} is neither in the journal nor in PostgreSQL: start from a newer snapshot"
                )
            facts += [(row["sequence"], _FACTS.decode(row["body"])) for row in rows]
            after = rows[-1]["sequence"]
    finally:
        await connection.close()
    return facts
