"""Where PostgreSQL listens and how to reach it. Never shows a password, and reads no other server's client."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec

from arbitrage.model.settings import StoreSettings

CONNECT_SECONDS_MAX = 3.0
COMMAND_SECONDS_MAX = 10.0
POSTGRES_FAULTS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a server that is away, slow or unwilling raises."""


class PostgresEndpoint(msgspec.Struct, frozen=True):
    """A PostgreSQL database."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def __repr__(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    __str__ = __repr__


def configured_postgres(settings: StoreSettings) -> PostgresEndpoint | None:
    """Return the configured server, or None when the embedded one is meant."""
    if not settings.postgres_host:
        return None
    return PostgresEndpoint(
        settings.postgres_host,
        settings.postgres_port,
        settings.postgres_user,
        settings.postgres_password,
        settings.postgres_database,
    )


async def connect_postgres(endpoint: PostgresEndpoint) -> Any:
    """Open one connection. Raises one of POSTGRES_FAULTS.

    `ssl=False` and an explicit password keep the driver from looking for keys in a home folder that a sandbox hides.
    """
    async with asyncio.timeout(CONNECT_SECONDS_MAX):
        return await asyncpg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            password=endpoint.password,
            database=endpoint.database,
            ssl=False,
            command_timeout=COMMAND_SECONDS_MAX,
            server_settings={"application_name": "arbitrage", "timezone": "UTC"},
        )
