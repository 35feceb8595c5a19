"""The days of the table `episodes`: made ahead of time, dropped whole when they are too old. Knows no other table.

A day's partition is made before its first row is written (at every connection, and hourly). Rows of other days, such as those
of a test or of a clock far off, go to the default partition, which is pruned by rows.
"""

from __future__ import annotations

from typing import Any

from arbitrage.store.statements import DAY_NS, PRUNE_ROWS_MAX

DAYS_AHEAD = 2
EPISODE_DAYS_KEPT = 30
LOCK_WAIT = "SET LOCAL lock_timeout = '2s'"
"""Dropping a day needs the table for itself for a moment; who reads it longer makes it wait for the next hour."""
PREFIX = "episodes_day_"
DAYS = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'episodes'::regclass"
PRUNE_OTHERS = (
    "DELETE FROM episodes_other WHERE ctid = ANY(ARRAY(SELECT ctid FROM episodes_other "
    f"WHERE first_seen_ns < $1 LIMIT {PRUNE_ROWS_MAX}))"
)


async def make_days(connection: Any, now_ns: int) -> None:
    """Make the partitions of today and the days to come, where they are not there yet."""
    today = now_ns // DAY_NS
    known = {row["name"] for row in await connection.fetch(DAYS)}
    for day in range(today, today + DAYS_AHEAD + 1):
        if f"{PREFIX}{day}" in known or await _is_begun(connection, day):
            continue
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {PREFIX}{day} PARTITION OF episodes "
            f"FOR VALUES FROM ({day * DAY_NS}) TO ({(day + 1) * DAY_NS})"
        )


async def drop_days(connection: Any, now_ns: int) -> None:
    """Drop every day that ended more than EPISODE_DAYS_KEPT ago, and prune rows of that age which have no day of their own."""
    oldest = now_ns // DAY_NS - EPISODE_DAYS_KEPT
    for row in await connection.fetch(DAYS):
        number = row["name"].removeprefix(PREFIX)
        if number.isdecimal() and int(number) < oldest:
            async with connection.transaction():
                await connection.execute(LOCK_WAIT)
                await connection.execute(f"DROP TABLE {PREFIX}{number}")
    await connection.execute(PRUNE_OTHERS, oldest * DAY_NS)


async def _is_begun(connection: Any, day: int) -> bool:
    """Say whether rows of a day are in the default partition already: then they stay there."""
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM episodes_other WHERE first_seen_ns >= $1 AND first_seen_ns < $2)",
        day * DAY_NS,
        (day + 1) * DAY_NS,
    )
    return bool(found)
