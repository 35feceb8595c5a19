"""Where a daemon's things are, seen from outside: configuration, status, log file, servers. Starts and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from arbitrage.model.settings import Settings
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.logs import log_path
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.status import Status, read_status
from arbitrage.store.embedded import postgres_of, read_state, redis_of
from arbitrage.store.endpoints import PostgresEndpoint, RedisEndpoint, configured_postgres, configured_redis


class Places(NamedTuple):
    """What to look at."""

    settings: Settings
    config_fault: str
    """Why the configuration could not be read (then `settings` are the defaults), or nothing."""
    data_dir: Path
    log_file: Path
    status: Status | str
    postgres: PostgresEndpoint | None
    redis: RedisEndpoint | None


def backup_directory(settings: Settings) -> Path:
    """Return where backups go."""
    return Path(settings.backup.directory or Path(settings.store.data_dir) / "backups").resolve()


def find_places(environ: Mapping[str, str], *, config_dir: str = "", data_dir: str = "") -> Places:
    """Find everything, with what is there; nothing missing raises. Arguments win over the configuration."""
    try:
        settings, fault = load(Path(config_dir) if config_dir else find_config_dir(environ), environ).settings, ""
    except ConfigError as error:
        settings, fault = Settings(venues={}, env=environ.get("ENV") or "development"), str(error.problems[0])
    folder = Path(data_dir or settings.store.data_dir)
    state = read_state(folder)
    status = read_status(folder)
    env = status.env if isinstance(status, Status) else settings.env
    return Places(
        settings=settings,
        config_fault=fault,
        data_dir=folder,
        log_file=log_path(settings.log, env),
        status=status,
        postgres=configured_postgres(settings.store) or (postgres_of(state) if state.postgres_port else None),
        redis=configured_redis(settings.store) or (redis_of(state) if state.redis_port else None),
    )
