"""`make faults`: runs the fault table and prints a line a row, then one JSON line. Exit status 0 only when every row passed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(PROJECT / "scripts"), str(PROJECT / "tests" / "integration")]

from reliability.faults.catalog import ROWS  # noqa: E402 - the path is set above, as a script has no package around it
from reliability.faults.nouns import Options, Row  # noqa: E402 - the same
from reliability.faults.table import Table  # noqa: E402 - the same

EXAMPLE = """examples:
  make faults
  make faults ARGS="--only disk_full,clock --json"
  make faults ARGS="--quick"

exit status: 0 every row passed, 1 a row failed or could not run here (MISSING), 2 bad usage"""


def main(argv: Sequence[str]) -> int:
    """Run the rows that are asked for."""
    parser = argparse.ArgumentParser(
        prog="make faults", description="Inject every fault of the table into a real daemon.",
        epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", default="", metavar="NAME[,NAME]", help="only rows whose name begins so")
    parser.add_argument("--quick", action="store_true", help="only what CI runs")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the row load_10x (default 10)")
    parser.add_argument("--rounds", type=int, default=50, help="of the row sigterm (default 50)")
    parser.add_argument("--list", action="store_true", help="say what there is and run nothing")
    parser.add_argument("--json", action="store_true", help="only the last line")
    words = parser.parse_args(argv)
    rows = chosen(words.only, is_quick=words.quick)
    if not rows:
        parser.error(f"no row begins with {words.only!r}; --list says what there is")
    if words.list:
        for row in rows:
            print(f"{row.name:<24}{row.injected}; {row.invariant}{_needs(row)}")
        return 0
    began = time.monotonic()
    table = Table(Options(words.minutes, words.rounds), say=(lambda line: None) if words.json else _say)
    results = table.run(rows)
    verdicts = [result.verdict for result in results]
    counts = {"rows": len(results), "passed": verdicts.count("PASS"), "failed": verdicts.count("FAIL")}
    counts |= {"skipped": verdicts.count("MISSING")}
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({**counts, "seconds": seconds, "results": [dataclasses.asdict(result) for result in results]}))
    return 0 if counts["passed"] == counts["rows"] else 1


def chosen(only: str, *, is_quick: bool) -> list[Row]:
    """Return the rows that are asked for, in the table's order."""
    beginnings = tuple(only.split(",")) if only else ("",)
    return [row for row in ROWS if row.name.startswith(beginnings) and (row.is_quick or not is_quick)]


def _needs(row: Row) -> str:
    return f" [needs {', '.join(row.needs)}]" if row.needs else ""


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
