"""Real servers for the integration tests: one PostgreSQL and one Valkey for the whole run, a database for each test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_servers import eventually, fetch, reachable_folder

from arbitrage.model.settings import StoreSettings
from arbitrage.store.embedded import Embedded, postgres_of, redis_of
from arbitrage.store.endpoints import PostgresEndpoint, RedisEndpoint

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "reliability"))  # the kill sweep is no test
sys.path.append(str(Path(__file__).parents[1] / "store"))  # the store's own tests keep `store_world` there
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def initialised() -> Iterator[Path]:
    """A data folder whose cluster was made and stopped, to be copied: making one costs seconds on a slow disk."""
    folder = reachable_folder()
    embedded = Embedded(folder, wants_postgres=True, wants_redis=True)
    embedded.start()
    embedded.stop()
    yield folder
    shutil.rmtree(folder)


def copied(folder: Path) -> Path:
    """Copy a data folder with its owners."""
    copy = reachable_folder()
    subprocess.run(["cp", "-a", f"{folder}/.", copy], check=True)
    return copy


@pytest.fixture
def new_folder() -> Iterator[Path]:
    """An empty data folder of the test's own, away from pytest's private one."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data_folder(initialised: Path) -> Iterator[Path]:
    """A data folder of the test's own with a cluster in it."""
    folder = copied(initialised)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def servers(initialised: Path) -> Iterator[Embedded]:
    """The shared servers. Tests that kill or freeze a server start their own."""
    folder = copied(initialised)
    embedded = Embedded(folder, wants_postgres=True, wants_redis=True)
    embedded.start()
    yield embedded
    embedded.stop()
    shutil.rmtree(folder)


@pytest.fixture
def postgres(servers: Embedded) -> Iterator[PostgresEndpoint]:
    """An empty database of the test's own; dropped at once, or the server's last checkpoint writes them all."""
    name = f"test{next(_NUMBERS)}"
    shared = postgres_of(servers.state)
    asyncio.run(fetch(shared, f"CREATE DATABASE {name}"))
    yield PostgresEndpoint(shared.host, shared.port, shared.user, shared.password, name)
    asyncio.run(fetch(shared, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def redis(servers: Embedded) -> RedisEndpoint:
    """The shared Valkey."""
    return redis_of(servers.state)


@pytest.fixture
def store_settings(postgres: PostgresEndpoint, redis: RedisEndpoint, tmp_path: Path) -> StoreSettings:
    """Settings that name the shared servers as hosts, with local files of the test's own."""
    return StoreSettings(
        data_dir=str(tmp_path),
        postgres_host=postgres.host,
        postgres_port=postgres.port,
        postgres_user=postgres.user,
        postgres_password=postgres.password,
        postgres_database=postgres.database,
        redis_host=redis.host,
        redis_port=redis.port,
        redis_password=redis.password,
    )


@pytest.fixture
def query(postgres: PostgresEndpoint) -> Callable[..., list[dict[str, Any]]]:
    """Run one SQL statement in the test's database and return its rows."""

    def run(statement: str, *arguments: object) -> list[dict[str, Any]]:
        return asyncio.run(fetch(postgres, statement, *arguments))

    return run


@pytest.fixture
def until() -> Callable[..., Coroutine[Any, Any, None]]:
    """Hand out `eventually`."""
    return eventually
