"""`arbitrage migrate`: brings the database's tables up to date, or says where they stand. Touches nothing else."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import orjson

from arbitrage.app.exits import Exit
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.problems import ConfigError
from arbitrage.store import migrations
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, configured_postgres
from arbitrage.store.stores import STORE_REFUSALS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage migrate`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="list every migration and when it was applied")
    what.add_argument("--dry-run", action="store_true", help="list what would be applied and change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command against the configured or the embedded PostgreSQL."""
    try:
        settings = load(find_config_dir(os.environ), os.environ).settings.store
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    data_dir = Path(settings.data_dir)
    fixed = configured_postgres(settings)
    embedded = None if fixed is not None else Embedded(data_dir, wants_postgres=True, wants_redis=False)
    try:
        if embedded is not None:
            embedded.start()
        endpoint = fixed or postgres_of(embedded.state)  # type: ignore[union-attr]  # one of the two is there
        return asyncio.run(_carry_out(arguments, endpoint, data_dir))
    except STORE_REFUSALS as refusal:
        print(refusal, file=sys.stderr)
    except POSTGRES_FAULTS as error:
        print(f"PostgreSQL: {error}; start it, or name another with POSTGRES_HOST", file=sys.stderr)
    finally:
        if embedded is not None:
            embedded.stop()
    return Exit.CHECK_FAILED


async def _carry_out(arguments: argparse.Namespace, endpoint: PostgresEndpoint, data_dir: Path) -> int:
    folder = migrations.migrations_dir()
    if arguments.status or arguments.dry_run:
        rows = await migrations.status(endpoint, folder)
        if arguments.dry_run:
            rows = [row for row in rows if row.is_pending]
        if arguments.json:
            print(
                orjson.dumps(
                    [{"number": row.number, "name": row.name, "applied_at": row.applied_at or None} for row in rows]
                ).decode()
            )
            return Exit.DONE
        for row in rows:
            print(f"{row.name:<40} {row.applied_at or 'pending'}")
        if not rows:
            print("nothing to apply")
        return Exit.DONE
    report = await migrations.apply(endpoint, folder, data_dir / "dumps")
    if arguments.json:
        print(orjson.dumps({"applied": list(report.applied), "dump": str(report.dump) if report.dump else None}).decode())
    else:
        print(
            f"applied: {', '.join(report.applied) or 'nothing, all up to date'}"
            + (f"; dump {report.dump}" if report.dump else "")
        )
    return Exit.DONE
