"""Checks before the start, beyond what the files alone tell: real money, folders, databases that answer. Starts nothing.

`load` has already checked types, ranges and that limits fit together (`ops/consistency.py`).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import urlsplit

from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded
from arbitrage.ops.consistency import cheapest_cycle
from arbitrage.ops.problems import Problem
from arbitrage.store.endpoints import (
    CONNECT_SECONDS_MAX,
    POSTGRES_FAULTS,
    PostgresEndpoint,
    RedisEndpoint,
    configured_postgres,
    configured_redis,
    connect_postgres,
)
from arbitrage.store.redis_client import REDIS_FAULTS, make_redis
from arbitrage.venues.transport import is_loopback

LIVE_PHRASE = "I understand that this trades real money"


def real_money_problems(settings: Settings) -> list[str]:
    """List what the configuration lacks before real orders may be sent: the phrase, addresses, and that no key travels open."""
    found = []
    if settings.confirm_live != LIVE_PHRASE:
        found.append(f"confirm_live is not `{LIVE_PHRASE}`")
    for venue, section in settings.venues.items():
        if section.account_url is None:
            found.append(f"venues.{venue}.account_url is not set")
    return [*found, *open_wires(settings)]


def open_wires(settings: Settings) -> list[str]:
    """List addresses to which a signed request would go unencrypted over a network."""
    found = []
    for venue, section in settings.venues.items():
        for key, url in (("rest_url", section.rest_url), ("account_url", section.account_url or "")):
            parts = urlsplit(url)
            if parts.scheme in ("http", "ws") and not is_loopback(url):
                found.append(f"venues.{venue}.{key} is not encrypted ({parts.scheme}://)")
    return found


def fee_report(loaded: Loaded) -> str:
    """Tell the cheapest cycle's fees beside what is demanded on top of them."""
    cheapest = cheapest_cycle(loaded.settings)
    risk, asset = loaded.settings.risk, loaded.settings.strategy.reporting_asset
    demanded = f"demanded net of all fees: {risk.edge_ppm_min} ppm and {risk.profit_min} {asset}"
    if cheapest is None:
        return f"cheapest cycle: no confirmed asset is traded at two venues; {demanded}"
    gross = cheapest.fees_ppm + risk.edge_ppm_min
    return f"cheapest cycle: {' > '.join(cheapest.markets)} costs {cheapest.fees_ppm} ppm; {demanded}; so gross {gross} ppm"


def folder_problems(loaded: Loaded) -> list[Problem]:
    """List folders that cannot be made or written."""
    problems = []
    for key, text in (("store.data_dir", loaded.settings.store.data_dir), ("log.directory", loaded.settings.log.directory)):
        path = Path(text)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"{text} cannot be made ({error.strerror})"
            problems.append(Problem(f"{loaded.origins[key]} {key}", what, "name a folder of the user who runs this"))
            continue
        if not os.access(path, os.W_OK | os.X_OK):
            where = f"{loaded.origins[key]} {key}"
            problems.append(Problem(where, f"{text} cannot be written", "chown it to the user who runs this"))
    return problems


async def database_problems(loaded: Loaded) -> list[Problem]:
    """Ask every named server whether it is there; embedded servers (empty hosts) are started later and not asked."""
    store = loaded.settings.store
    found = []
    postgres, redis = configured_postgres(store), configured_redis(store)
    if postgres is not None and (reason := await postgres_fault(postgres)):
        where = f"{loaded.origins['store.postgres_host']} store.postgres_host"
        what = f"PostgreSQL at {store.postgres_host}:{store.postgres_port} does not answer ({reason})"
        found.append(Problem(where, what, "start it, correct POSTGRES_*, or leave POSTGRES_HOST empty for the embedded one"))
    if redis is not None and (reason := await redis_fault(redis)):
        where = f"{loaded.origins['store.redis_host']} store.redis_host"
        what = f"Redis at {store.redis_host}:{store.redis_port} does not answer ({reason})"
        found.append(Problem(where, what, "start it, correct REDIS_*, or leave REDIS_HOST empty for the embedded one"))
    return found


async def postgres_fault(endpoint: PostgresEndpoint) -> str | None:
    """Connect and select once. Returns the reason in words when that fails."""
    try:
        connection = await connect_postgres(endpoint)
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()
    except POSTGRES_FAULTS as error:
        return in_words(error)
    return None


async def redis_fault(endpoint: RedisEndpoint) -> str | None:
    """Connect and ping once. Returns the reason in words when that fails."""
    client = make_redis(endpoint)
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            await client.ping()
    except REDIS_FAULTS as error:
        return in_words(error)
    finally:
        await client.aclose()
    return None


def in_words(error: Exception) -> str:
    """Put an error on one line; a silent one (a time-out) by its kind."""
    return " ".join(str(error).split())[:200] or type(error).__name__
