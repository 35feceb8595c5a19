"""The command line of `healthcheck.py`: looks once and prints. Exit status 0 when all is well, 1 when not."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence

from arbitrage.ops.health import Examiner, Health
from arbitrage.ops.places import find_places

EPILOG = """examples:
  python healthcheck.py
  python healthcheck.py --json --data-dir /var/lib/arbitrage

exit status: 0 PASSED, 1 FAILED, 2 bad usage"""


def run(
    argv: Sequence[str], environ: Mapping[str, str], *, wall_ns: Callable[[], int], timer_ns: Callable[[], int]
) -> int:
    """Examine the daemon and print the verdicts. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="healthcheck.py", description="Say whether the daemon is well, one line a part.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--config", default="", metavar="DIR", help="configuration folder")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="data folder, when it is not the configured one")
    args = parser.parse_args(argv)
    places = find_places(environ, config_dir=args.config, data_dir=args.data_dir)
    health = _within_limits(Examiner(places, now_ns=wall_ns(), timer_ns=timer_ns))
    sys.stdout.write(f"{health.json() if args.json else health.text()}\n")
    return 0 if health.passed else 1


def _within_limits(examiner: Examiner) -> Health:
    """Run the examination without `asyncio.run`, which at its end waits for a name look-up that nobody can cancel."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(examiner.examine())
    finally:
        loop.close()
