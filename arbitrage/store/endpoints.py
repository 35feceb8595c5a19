"""Where a server listens and how to reach it. Never shows a password: not in its text, not in an error."""

from __future__ import annotations

import msgspec

from arbitrage.model.settings import StoreSettings
from arbitrage.store.postgres import (
    CONNECT_SECONDS_MAX,
    POSTGRES_FAULTS,
    PostgresEndpoint,
    configured_postgres,
    connect_postgres,
)

__all__ = [
    "CONNECT_SECONDS_MAX",
    "POSTGRES_FAULTS",
    "PostgresEndpoint",
    "RedisEndpoint",
    "configured_postgres",
    "configured_redis",
    "connect_postgres",
]


class RedisEndpoint(msgspec.Struct, frozen=True):
    """A Redis or Valkey database."""

    host: str
    port: int
    password: str
    db: int

    def __repr__(self) -> str:
        return f"redis://{self.host}:{self.port}/{self.db}"

    __str__ = __repr__


def configured_redis(settings: StoreSettings) -> RedisEndpoint | None:
    """Return the configured server, or None when the embedded one is meant."""
    if not settings.redis_host:
        return None
    return RedisEndpoint(settings.redis_host, settings.redis_port, settings.redis_password, settings.redis_db)
