"""Which line of the log a base backup begins or goes on: a replication slot in PostgreSQL. Archives nothing itself."""

from __future__ import annotations

from arbitrage.store.backups import Line
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.wal_archive import SLOT_PREFIX, line_name

_SLOTS = """SELECT slot_name, coalesce(wal_status, 'lost') AS status, active FROM pg_replication_slots
    WHERE starts_with(slot_name, $1)"""
_SEGMENT_BYTES = "SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'"


async def open_line(endpoint: PostgresEndpoint, stamp: str) -> Line:
    """Return the line that runs, or begin one: from now on PostgreSQL keeps its log for it. Raises one of POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        segment_bytes: int = await connection.fetchval(_SEGMENT_BYTES)
        running = ""
        for row in await connection.fetch(_SLOTS, SLOT_PREFIX):
            if row["status"] == "lost":
                await connection.fetchval("SELECT pg_drop_replication_slot($1)", row["slot_name"])
            else:
                running = max(running, row["slot_name"])
        if not running:
            running = SLOT_PREFIX + line_name(stamp)
            await connection.fetchval("SELECT pg_create_physical_replication_slot($1, true)", running)
        return Line(running.removeprefix(SLOT_PREFIX), segment_bytes)
    finally:
        await connection.close()


async def close_lines(endpoint: PostgresEndpoint) -> None:
    """End every line that nobody reads: PostgreSQL keeps no log for it any more. Raises one of POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        for row in await connection.fetch(_SLOTS, SLOT_PREFIX):
            if not row["active"]:
                await connection.fetchval("SELECT pg_drop_replication_slot($1)", row["slot_name"])
    finally:
        await connection.close()


async def server_version(endpoint: PostgresEndpoint) -> str:
    """Return PostgreSQL's own version. Raises one of POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        found: str = await connection.fetchval("SHOW server_version")
        return found
    finally:
        await connection.close()
