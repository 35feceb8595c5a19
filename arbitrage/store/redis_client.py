"""How Redis or Valkey is spoken to: a client that gives up quickly. Most commands need only the endpoint, and not this."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from arbitrage.store.endpoints import RedisEndpoint

REDIS_SECONDS_MAX = 1.0
REDIS_FAULTS = (OSError, TimeoutError, RedisError)


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
