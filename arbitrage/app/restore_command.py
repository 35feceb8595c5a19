"""`arbitrage restore`: a backup into an empty folder or an empty database. Overwrites nothing and starts no daemon."""

from __future__ import annotations

import argparse
import os
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import msgspec
import orjson

from arbitrage.app.backing_up import keyring_for, say_to_stderr
from arbitrage.app.backup_command import BACKUP_REFUSALS
from arbitrage.app.clock import perf_ns
from arbitrage.app.exits import Exit
from arbitrage.model.settings import Settings
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, configured_postgres
from arbitrage.store.manifests import BackupRefused, whole_backups
from arbitrage.store.restores import Request, Restored, restore_folder, restore_lost_database, restore_server

SCHEMES = ("postgresql://", "postgres://")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage restore`."""
    parser.add_argument("source", metavar="FROM", help="a backup, or the folder of backups: then its newest whole one")
    parser.add_argument("--to", metavar="DIR|DSN", required=True, help="a new data folder, or an empty database (postgresql://…)")
    parser.add_argument("--data-dir", metavar="DIR", default="", help="with a DSN: the new folder for journals and snapshots")
    parser.add_argument(
        "--database-only", action="store_true", help="DIR is a data folder that lost its database alone"
    )
    parser.add_argument("--sealed-only", action="store_true", help="leave the log's newest, unfinished file out")
    parser.add_argument("--key-file", metavar="FILE", default="", help="the backup's passphrase, in a file of mode 0600")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Restore; return the exit status."""
    began_ns = perf_ns()
    try:
        settings = _settings()
        keyring = keyring_for(settings, os.environ, arguments.key_file)
        endpoint = endpoint_of(arguments.to, settings) if arguments.to.startswith(SCHEMES) else None
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    try:
        source = newest_of(Path(arguments.source).resolve())
        request = Request(source, keyring, say_to_stderr(""), with_growing=not arguments.sealed_only)
        if endpoint is not None:
            restored = restore_server(request, endpoint, Path(arguments.data_dir).resolve() if arguments.data_dir else None)
        elif arguments.database_only:
            restored = restore_lost_database(request, Path(arguments.to).resolve())
        else:
            restored = restore_folder(request, Path(os.path.abspath(arguments.to)))
    except BACKUP_REFUSALS as refusal:
        print(refusal, file=sys.stderr)
        return Exit.CHECK_FAILED
    except POSTGRES_FAULTS as error:
        print(f"{arguments.to}: {error}", file=sys.stderr)
        return Exit.CHECK_FAILED
    row = restored_row(source, restored, (perf_ns() - began_ns) / 1e9)
    print(orjson.dumps(row).decode() if arguments.json else restored_text(row, arguments.to))
    return Exit.DONE


def _settings() -> Settings:
    """Read the configuration; a machine that has none yet restores with the defaults."""
    try:
        return load(find_config_dir(os.environ), os.environ).settings
    except ConfigError as error:
        print(f"restoring without the configuration: {error.problems[0]}", file=sys.stderr)
        return Settings(venues={})


def newest_of(path: Path) -> Path:
    """Return the backup itself, or the newest whole one of a folder of backups. Raises BackupRefused."""
    if not path.is_dir():
        raise BackupRefused(f"{path}: there is no such folder")
    if path.name.startswith("backup-"):
        return path
    found = whole_backups(path)
    if not found:
        raise BackupRefused(f"{path}: holds no whole backup")
    return found[-1]


def endpoint_of(dsn: str, settings: Settings) -> PostgresEndpoint:
    """Read a DSN. Raises ConfigError: a password on the command line would be seen by everybody on the machine."""
    url = urllib.parse.urlsplit(dsn)
    mend = "write postgresql://USER@HOST:PORT/DATABASE, and the password into PGPASSWORD"
    try:
        port = url.port or 5432
    except ValueError:
        raise ConfigError([Problem("--to", "has a port that is no number", mend)]) from None
    if url.password is not None or url.query:
        raise ConfigError([Problem("--to", "holds a password or options", mend)])
    if not (url.hostname and url.username and url.path.strip("/")):
        raise ConfigError([Problem("--to", "names no user, host or database", mend)])
    known = configured_postgres(settings.store)
    is_known = known is not None and (known.host, known.port, known.user) == (url.hostname, port, url.username)
    password = os.environ.get("PGPASSWORD") or (known.password if is_known and known is not None else "")
    return PostgresEndpoint(url.hostname, port, urllib.parse.unquote(url.username), password, url.path.strip("/"))


def restored_row(source: Path, restored: Restored, seconds: float) -> dict[str, Any]:
    """Return what is printed of a restore."""
    return {
        "backup": str(source),
        "made_at": restored.manifest.made_at,
        "kind": restored.manifest.kind,
        "encrypted": restored.manifest.is_encrypted,
        "log": msgspec.to_builtins(restored.archived),
        "database_facts": restored.held,
        "journal_facts": restored.journals,
        "notes": list(restored.notes),
        "seconds": round(seconds, 3),
    }


def restored_text(row: dict[str, Any], target: str) -> str:
    """Lay a restore out for people."""
    log = row["log"]
    replayed = f"{log['files']} files of the log, to {log['last']}" if log and log["files"] else "no archived log"
    return "\n".join(
        [
            f"restored {row['backup']} to {target} in {row['seconds']:.1f} s; {replayed}",
            *(f"  session {name}: the database holds {held} facts" for name, held in row["database_facts"].items()),
            *(f"  session {name}: the journal reaches fact {last}" for name, last in row["journal_facts"].items()),
            *(f"  {note}" for note in row["notes"]),
            "  stop whatever still trades for this session before you start a daemon on it; in live mode it stays disarmed",
            "  until the venues' accounts agree with the ledger (arbitrage report --last)",
        ]
    )
