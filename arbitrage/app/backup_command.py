"""`arbitrage backup`: a verified copy of database, journals and configuration; with --drill also the proof that it restores.

Changes nothing of the house but its backup folder and, for the embedded PostgreSQL, which log is kept for the archive.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson

from arbitrage.app.backing_up import database_of, keyring_for, say_to_stderr, take_backup
from arbitrage.app.backup_drill import Report, drill
from arbitrage.app.clock import EngineClock
from arbitrage.app.exits import Exit
from arbitrage.app.paper_house import DrillFailed
from arbitrage.ops.config import Loaded, find_config_dir, load
from arbitrage.ops.places import backup_directory
from arbitrage.ops.problems import ConfigError
from arbitrage.store.backups import Made, Place
from arbitrage.store.endpoints import POSTGRES_FAULTS
from arbitrage.store.manifests import BackupRefused
from arbitrage.store.stores import STORE_REFUSALS
from arbitrage.store.vault import VaultDamaged

BACKUP_REFUSALS = (BackupRefused, VaultDamaged, *STORE_REFUSALS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage backup`."""
    parser.add_argument("--to", metavar="DIR", default="", help="another folder than backup.directory; its log is not archived")
    parser.add_argument(
        "--drill", action="store_true",
        help="back up, copy, destroy the copy, restore, compare, start a paper daemon on it; touches nothing of the house",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Make a backup, or rehearse one; return the exit status."""
    try:
        loaded = load(find_config_dir(os.environ), os.environ)
        keyring = keyring_for(loaded.settings, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    settings = loaded.settings
    try:
        if arguments.drill:
            report = drill(loaded, keyring, os.environ)
            print(orjson.dumps(msgspec.to_builtins(report)).decode() if arguments.json else drill_text(report))
            return Exit.DONE if report.passed else Exit.CHECK_FAILED
        usual = backup_directory(settings)
        directory = Path(arguments.to).resolve() if arguments.to else usual
        place = Place(directory, settings.backup.kept, keyring, EngineClock(), say_to_stderr(""))
        made = _make(loaded, place, follows=directory == usual)
    except BACKUP_REFUSALS as refusal:
        print(refusal, file=sys.stderr)
        return Exit.CHECK_FAILED
    except DrillFailed as failure:
        print(f"the drill failed: {failure}", file=sys.stderr)
        return Exit.CHECK_FAILED
    except POSTGRES_FAULTS as error:
        print(f"PostgreSQL: {error}; start it, or name another with POSTGRES_HOST", file=sys.stderr)
        return Exit.CHECK_FAILED
    row = made_row(made, place.kept)
    print(orjson.dumps(row).decode() if arguments.json else made_text(row))
    return Exit.DONE


def _make(loaded: Loaded, place: Place, *, follows: bool) -> Made:
    with database_of(loaded.settings) as endpoint:
        return take_backup(loaded, place, endpoint, follows=follows)


def made_row(made: Made, kept: int) -> dict[str, Any]:
    """Return what is printed of a backup."""
    manifest = made.manifest
    return {
        "backup": str(made.path),
        "kind": manifest.kind,
        "encrypted": manifest.is_encrypted,
        "verified": True,
        "bytes_plain": sum(file.bytes_plain for file in manifest.files),
        "bytes_stored": sum(file.bytes_stored for file in manifest.files),
        "seconds": manifest.seconds,
        "states": msgspec.to_builtins(manifest.states),
        "wal": msgspec.to_builtins(manifest.wal),
        "kept": kept,
        "removed": list(made.removed),
    }


def made_text(row: dict[str, Any]) -> str:
    """Lay a backup out for people."""
    sizes = f"{row['bytes_plain'] / 1e6:.1f} MB as {row['bytes_stored'] / 1e6:.1f} MB"
    log = f"the log after it is archived as line {row['wal']['name']}" if row["wal"] else "no log is archived after it"
    lines = [
        f"backup {row['backup']}",
        f"  {row['kind']}, {'encrypted' if row['encrypted'] else 'NOT encrypted: no key is configured'}, read back whole",
        f"  {sizes}, {row['seconds']:.1f} s; {log}",
    ]
    for each in row["states"]:
        lines.append(f"  session {each['env']}.{each['session_id']}: fact {each['sequence']}, state {each['sha256'][:16]}")
    removed = f"; removed {', '.join(row['removed'])}" if row["removed"] else ""
    return "\n".join([*lines, f"  the newest {row['kept']} are kept (backup.kept){removed}"])


def drill_text(report: Report) -> str:
    """Lay a drill out for people."""
    lines = [f"{'PASSED' if report.passed else 'FAILED'}  {report.verdict}"]
    rows = msgspec.to_builtins(report)
    lines += [f"  {name:<18} {value}" for name, value in rows.items() if name not in ("passed", "verdict", "tables")]
    return "\n".join(lines)
