"""What the store's integration tests share: folders, queries and waiting."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres


def reachable_folder() -> Path:
    """Make a folder that another system user can reach: as root, PostgreSQL runs as one."""
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-test-"))
    folder.chmod(0o755)
    return folder


async def fetch(endpoint: PostgresEndpoint, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """Run one statement on a connection of its own."""
    connection = await connect_postgres(endpoint)
    try:
        return [dict(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


async def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `holds()`; fail when it does not within the time."""
    for _ in range(int(seconds / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"did not happen within {seconds} s")
