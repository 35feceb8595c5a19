"""`arbitrage audit verify | list`: checks the audit log's chain, or prints its newest lines. Mends nothing."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.app.people_command import with_postgres
from arbitrage.model.settings import Settings
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.problems import ConfigError
from arbitrage.store.audit import verify
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.ledger_nouns import Away
from arbitrage.store.reads import AuditLine, Reads, Wanted
from arbitrage.store.rows import Scope

LINES_MAX = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage audit`."""
    parser.add_argument("act", choices=("verify", "list"), help="check every line against the one before, or print the newest")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="lines of list (default: 50)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do it; return 1 when a line was changed, is missing, or the database does not answer."""
    try:
        settings = load(find_config_dir(os.environ), os.environ).settings
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    if not 1 <= arguments.limit <= LINES_MAX:
        print(f"--limit: from 1 to {LINES_MAX}", file=sys.stderr)
        return Exit.USAGE
    if arguments.act == "verify":
        return with_postgres(settings, lambda endpoint: _verify(settings, endpoint, as_json=arguments.json))
    return with_postgres(settings, lambda endpoint: _list(settings, endpoint, arguments))


async def _verify(settings: Settings, endpoint: PostgresEndpoint, *, as_json: bool) -> int:
    verdict = await verify(endpoint, Path(settings.store.data_dir))
    text = f"{'whole' if verdict.is_whole else 'BROKEN'}: {verdict.text}"
    print(msgspec.json.encode(verdict).decode() if as_json else text)
    return Exit.DONE if verdict.is_whole else Exit.CHECK_FAILED


async def _list(settings: Settings, endpoint: PostgresEndpoint, arguments: argparse.Namespace) -> int:
    reads = Reads(lambda: endpoint, Scope(settings.env, settings.session_name))
    try:
        found = await reads.audit(Wanted(limit=arguments.limit))
    finally:
        await reads.close()
    if isinstance(found, Away):
        print(found.reason, file=sys.stderr)
        return Exit.CHECK_FAILED
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(map(line_text, found)) or "no line yet")
    return Exit.DONE


def line_text(line: AuditLine) -> str:
    """Lay a line out for people."""
    change = f": {_json(line.before)} -> {_json(line.after)}" if line.before is not None or line.after is not None else ""
    words = [line.at.at, f"{line.actor}@{line.address}" if line.address else line.actor, line.action, line.subject]
    reason = f" ({line.reason})" if line.reason else ""
    return f"{line.number:6d} {' '.join(filter(None, words))} {line.status}{change}{reason}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
