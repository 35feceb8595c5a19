"""What a backup needs of configuration and servers: its subject, its place, its key. Shows no secret and keeps none."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from arbitrage import __version__
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded
from arbitrage.ops.keys import BACKUP_KEY, read_backup_key
from arbitrage.ops.places import backup_directory
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.store.backups import Line, Made, Place, Subject, make
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import PostgresEndpoint, configured_postgres
from arbitrage.store.house_files import SESSIONS
from arbitrage.store.manifests import BackupRefused, stamp
from arbitrage.store.restores import refuse_half_restored
from arbitrage.store.vault import Keyring
from arbitrage.store.wal_keeper import WalLimits
from arbitrage.store.wal_lines import close_lines, open_line, server_version


def keyring_for(settings: Settings, environ: Mapping[str, str], key_file: str = "") -> Keyring:
    """Return the key of backups, or none where none is configured. Raises ConfigError where one is demanded."""
    passphrase = read_backup_key(settings, environ, key_file)
    if settings.backup.key_required and not passphrase:
        mend = f"put a passphrase into {BACKUP_KEY}, as the reference says, or set backup.key_required: false"
        raise ConfigError([Problem("backup.key_required", "demands a key, and there is none", mend)])
    return Keyring(passphrase)


def wal_limits(settings: Settings, environ: Mapping[str, str]) -> WalLimits | None:
    """Return where the embedded database's log is archived; None where it is not. Raises ConfigError."""
    backup = settings.backup
    if not backup.wal_archive or settings.store.postgres_host:
        return None
    keyring = keyring_for(settings, environ)
    return WalLimits(backup_directory(settings), keyring, backup.wal_switch_ms * 1_000_000, backup.wal_bytes_max)


def public_settings(settings: Settings) -> Settings:
    """Return the settings without the stores' passwords."""
    store = msgspec.structs.replace(settings.store, postgres_password="", redis_password="")
    return msgspec.structs.replace(settings, store=store)


def configuration_of(loaded: Loaded) -> bytes:
    """Write the configuration in force and where each value came from; secrets are left out."""
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    body = {"version": loaded.version, "settings": public_settings(loaded.settings), "origins": origins}
    return msgspec.json.format(msgspec.json.encode(body), indent=1)


@contextlib.contextmanager
def database_of(settings: Settings) -> Iterator[PostgresEndpoint]:
    """Give the house's PostgreSQL: the named one, the running daemon's, or its embedded one, started for this.

    Raises EmbeddedRefused, BackupRefused and JournalRefused.
    """
    data_dir = Path(settings.store.data_dir)
    fixed = configured_postgres(settings.store)
    if not (data_dir / SESSIONS).is_dir():
        raise BackupRefused(f"{data_dir}: no daemon has run here yet: there is nothing to back up")
    refuse_half_restored(data_dir)
    embedded = Embedded(data_dir, wants_postgres=fixed is None, wants_redis=False)
    try:
        embedded.start()
        yield fixed or postgres_of(embedded.state)
    finally:
        embedded.stop()


def take_backup(loaded: Loaded, place: Place, endpoint: PostgresEndpoint, *, follows: bool) -> Made:
    """Make a backup of the configured house; with `follows` the embedded database's log after it is archived.

    Raises BackupRefused, VaultDamaged, DumpRefused, JournalRefused, and POSTGRES_FAULTS.
    """
    settings = loaded.settings
    kind: Literal["base", "dump"] = "dump" if settings.store.postgres_host else "base"
    line: Line | None = None
    if kind == "base" and follows:
        if settings.backup.wal_archive:
            line = asyncio.run(open_line(endpoint, stamp(place.clock())))
        else:
            asyncio.run(close_lines(endpoint))
    version = asyncio.run(server_version(endpoint))
    subject = Subject(
        data_dir=Path(settings.store.data_dir), endpoint=endpoint, kind=kind, env=settings.env,
        session_id=settings.session_name, configuration=configuration_of(loaded), configuration_version=loaded.version,
        program_version=__version__, postgres_version=version,
    )  # fmt: skip
    return make(subject, place, line)


def say_to_stderr(prefix: str) -> Callable[[str], None]:
    """Return what prints progress as lines on standard error."""

    def say(text: str) -> None:
        print(f"{prefix}{text}", file=sys.stderr, flush=True)

    return say
