"""Lives through many seeds of the order storm, prints each that fails with its reason, and then what all of it was.

Usage: python tests/integration/soak_orders.py [--venue binance|upbit] [--seeds 1000] [--first 0]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import cast

VENUES = ("binance", "upbit")
SEEDS = 1_000
Storm = Callable[[int], Counter[str]]


def storm_of(venue: str) -> Storm:
    """Return a venue's storm."""
    return cast(Storm, getattr(importlib.import_module(f"{venue}_storm"), f"{venue}_storm"))


def live_through(storm: Storm, first: int, seeds: int) -> tuple[Counter[str], dict[int, str]]:
    """Live through seeds; return what happened in all of them, and why some failed."""
    story: Counter[str] = Counter()
    failed: dict[int, str] = {}
    for seed in range(first, first + seeds):
        try:
            story += storm(seed)
        except Exception as wrong:  # noqa: BLE001  # whatever breaks is a seed that failed, and the next one is still lived through
            failed[seed] = "".join(traceback.format_exception_only(wrong)).strip()
    return story, failed


def main() -> int:
    """Run; return an exit status."""
    parser = argparse.ArgumentParser(description="orders in seeded storms against the simulated exchanges")
    parser.add_argument("--venue", choices=VENUES, action="append", help="may be repeated; both without it")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=0)
    chosen = parser.parse_args()
    is_good = True
    for venue in chosen.venue or VENUES:
        begun_s = time.monotonic()
        story, failed = live_through(storm_of(venue), chosen.first, chosen.seeds)
        for seed, reason in failed.items():
            print(f"{venue}: seed {seed} FAILED: {reason}")
        took_s = time.monotonic() - begun_s
        print(f"{venue}: {chosen.seeds} seeds from {chosen.first}, {len(failed)} failed, {took_s:.0f} s")
        for name, count in sorted(story.items()):
            print(f"  {name:<40}{count:>8}")
        is_good &= not failed
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
