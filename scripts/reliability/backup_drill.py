"""Loses a whole house at random moments and restores it: how much is gone, and how long it takes. Touches no house but its own.

A demo daemon makes a real house first. Each round backs it up, copies it, enlarges the copy to the wanted size with rows like
its own, kills it at a random moment and restores it (`arbitrage backup --drill` in `arbitrage/app/backup_drill.py`).
Usage: python scripts/reliability/backup_drill.py [--gigabytes 1] [--rounds 2] [--seed N] [--encrypt]
Example: make backup-drill GB=0.1 ARGS="--rounds 5"    The last line is JSON; the exit status is 0 when every round passed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from arbitrage.app.backup_copy import ask
from arbitrage.app.backup_drill import Rehearsal, Report, drill
from arbitrage.ops.config import Overlay, find_config_dir, load
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.vault import Keyring

WRITING_S = (33.0, 63.0)
"""Longer than a file of the log lasts, so that finished ones count, and short enough for several rounds."""
DEMO_S = 20
MAKE_SESSION = """INSERT INTO sessions (env, session_id, first_start_ns, last_start_ns, starts)
    VALUES ('drill', 'filler', 1, 1, 1) RETURNING session"""
NUMBERED = ("journal_facts", "fills", "ledger_entries")
NAMED = {"opportunities": "opportunity_id", "orders": "client_order_id", "plans": "plan_id"}
COPIES_PER_STATEMENT = 40


def columns(endpoint: PostgresEndpoint, table: str) -> list[str]:
    rows = ask(endpoint, "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum", table)
    return [row[0] for row in rows]


def enlarger(gigabytes: float) -> Callable[[PostgresEndpoint], None]:
    """Return what multiplies a house's own rows, under a session of their own, until the database has its size."""

    def enlarge(endpoint: PostgresEndpoint) -> None:
        session, wanted = ask(endpoint, MAKE_SESSION)[0][0], gigabytes * 1e9
        number = 0
        while ask(endpoint, "SELECT pg_database_size(current_database())")[0][0] < wanted:
            for table in (*NUMBERED, *NAMED):
                names = columns(endpoint, table)
                changed = {"session": str(session)}
                if table in NAMED:
                    changed[NAMED[table]] = f"t.{NAMED[table]} || '-{number}-' || g"
                else:
                    changed["sequence"] = f"row_number() OVER () + {number}::bigint * 100000000"
                values = ", ".join(changed.get(name, f"t.{name}") for name in names)
                statement = f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} t"
                copies = f"generate_series(1, {COPIES_PER_STATEMENT}) g WHERE t.session <> {session}"
                ask(endpoint, f"{statement}, {copies}")
            number += 1
        ask(endpoint, "CHECKPOINT")

    return enlarge


def make_house(folder: Path) -> dict[str, str]:
    """Let a demo daemon trade for a while; return the environment that names its house."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARBITRAGE_", "POSTGRES_", "REDIS_"))}
    environ = {**kept, "ARBITRAGE__STORE__DATA_DIR": str(folder / "house"), "ARBITRAGE__LOG__DIRECTORY": str(folder / "logs")}
    for name in ("ENV", "MODE", "LOG_LEVEL"):
        environ.pop(name, None)
    (folder / "house").mkdir(mode=0o755)
    words = [sys.executable, "-m", "arbitrage", "demo", "--scenario", "synthetic", "--for", str(DEMO_S), "--json"]
    subprocess.run(words, env=environ, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return environ


def line(number: int, report: Report, load_average: float) -> str:
    verdict = "passed" if report.passed else f"FAILED (seed {report.seed})"
    return f"round {number}: {verdict}: {report.verdict}; backup {report.backup_s:.1f} s; load {load_average:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encrypt", action="store_true", help="with a passphrase of its own")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-backup-bench-"))
    folder.chmod(0o755)
    dice = random.Random(arguments.seed or None)
    reports: list[Report] = []
    try:
        print(f"trading for {DEMO_S} s, so that there is a house", flush=True)
        environ = make_house(folder)
        overlay = Overlay("drill", {"session_name": "demo-synthetic"})
        loaded = load(find_config_dir(environ), environ, overlay)
        keyring = Keyring(os.urandom(32).hex().encode() if arguments.encrypt else b"")
        for number in range(1, arguments.rounds + 1):
            seed = arguments.seed if arguments.rounds == 1 and arguments.seed else dice.randrange(1, 2**32)
            rehearsal = Rehearsal(WRITING_S, seed, enlarger(arguments.gigabytes))
            reports.append(drill(loaded, keyring, environ, rehearsal))
            print(line(number, reports[-1], os.getloadavg()[0]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = ("rpo_archive_s", "rpo_stream_s", "restore_s", "rto_s", "backup_s")
    worst = {name: max(getattr(report, name) for report in reports) for name in figures}
    is_good = all(report.passed for report in reports)
    summary = {
        "rounds": len(reports), "passed": sum(report.passed for report in reports), **worst,
        "database_bytes": max(report.database_bytes for report in reports), "encrypted": arguments.encrypt,
        "memory_mb_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "reports": [{name: value for name, value in msgspec.to_builtins(each).items() if name != "tables"} for each in reports],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    print(json.dumps(summary))
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
