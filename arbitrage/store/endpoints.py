"""Where a server listens and how to reach it. Never shows a password: not in its text, not in an error."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from arbitrage.model.settings import StoreSettings

CONNECT_SECONDS_MAX = 3.0
COMMAND_SECONDS_MAX = 10.0
REDIS_SECONDS_MAX = 1.0
POSTGRES_FAULTS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a server that is away, slow or unwilling raises."""
REDIS_FAULTS = (OSError, TimeoutError, RedisError)


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


class RedisEndpoint(msgspec.Struct, frozen=True):
    """A Redis or Valkey database."""

    host: str
    port: int
    password: str
    db: int

    def __repr__(self) -> str:
        return f"redis://{self.host}:{self.port}/{self.db}"

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


def configured_redis(settings: StoreSettings) -> RedisEndpoint | None:
    """Return the configured server, or None when the embedded one is meant."""
    if not settings.redis_host:
        return None
    return RedisEndpoint(settings.redis_host, settings.redis_port, settings.redis_password, settings.redis_db)


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


def make_redis(endpoint: RedisEndpoint) -> Redis:
    """Make a client that connects on first use, gives up quickly and never repeats a command by itself."""
    return Redis(
        host=endpoint.host,
        port=endpoint.port,
        password=endpoint.password or None,
        db=endpoint.db,
        socket_timeout=REDIS_SECONDS_MAX,
        socket_connect_timeout=REDIS_SECONDS_MAX,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
