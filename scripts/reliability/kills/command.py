"""`make killsweep`: reads the command line, runs one sweep, prints how it goes, and sums it up in a last line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence

from store_servers import reachable_folder

from kills.plan import POINTS
from kills.sweep import Sweep, SweepFailed
from kills.truth import JournalGone

KILLS = 500
KILLS_MIN_FOR_ALL = 20
"""So many kills come to every labelled moment."""
RESTART_S_MAX = 5.0
EXAMPLE = """example:
  make killsweep KILLS=500 ARGS="--seed 7"

The last line is JSON. Exit status: 0 nothing lost, doubled or off and every restart in time; 1 otherwise, with the seed, what
was wrong and the folder of the logs, which is kept; 2 bad usage."""


def percentile(values: Sequence[float], part: float) -> float | None:
    """Return the smallest value that is not exceeded by this part of all."""
    if not values:
        return None
    ranked = sorted(values)
    return round(ranked[min(len(ranked) - 1, max(0, -int(-part * len(ranked) // 1) - 1))], 2)


def summary(sweep: Sweep, seed: int, seconds: float) -> dict[str, object]:
    """Return the last line."""
    tally, verdict, chronicle = sweep.tally, sweep.tally.last, sweep.chronicle
    return {
        "kills": tally.kills.total(),
        "orders": tally.orders,
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "positions_off": len(verdict.positions_off),
        "money_off": sum(map(abs, verdict.money_off.values())),
        "restart_s": {"p50": percentile(tally.explained_s, 0.5), "p99": percentile(tally.explained_s, 0.99)},
        "restarts": len(tally.explained_s),
        "armed_s": {"p50": percentile(tally.armed_s, 0.5), "p99": percentile(tally.armed_s, 0.99)},
        "postgres_off": len(verdict.postgres_off),
        "violations": len(verdict.violations),
        "unarmed": len(tally.unarmed),
        "comparisons": tally.comparisons,
        "wrong_ever": len(tally.wrong),
        "facts": len(chronicle.facts),
        "unknown_orders": len(chronicle.unknown),
        "left_by_kills": chronicle.left_orders,
        "found_fills": chronicle.found_fills,
        "by_point": {point: tally.kills[point] for point in ("random", *POINTS)},
        "missed": dict(tally.missed),
        "unreached": sweep.unreached,
        "seed": seed,
        "seconds": round(seconds),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def failures(told: dict[str, object], *, kills: int) -> list[str]:
    """Return every reason why this sweep did not pass."""
    names = ("lost", "doubled", "positions_off", "money_off", "postgres_off", "violations", "unarmed", "wrong_ever")
    found = [f"{name} is {told[name]}" for name in names if told[name]]
    if told["unreached"] and kills >= KILLS_MIN_FOR_ALL:
        found.append(f"never killed at {told['unreached']}")
    restart = told["restart_s"]
    assert isinstance(restart, dict), "two percentiles"
    if restart["p99"] is None or restart["p99"] >= RESTART_S_MAX:
        found.append(f"restart p99 is {restart['p99']} s, {RESTART_S_MAX:g} s are allowed")
    if told["kills"] != kills:
        found.append(f"{told['kills']} of {kills} kills")
    return found


def main(argv: Sequence[str]) -> int:
    """Run one sweep; return an exit status."""
    parser = argparse.ArgumentParser(
        prog="make killsweep", description="Kill the trading daemon again and again, and compare with the exchanges' truth.",
        epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how often it is killed (default {KILLS})")
    parser.add_argument("--seed", type=int, default=1, help="of the market, the faults and the moments (default 1)")
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    chosen = parser.parse_args(argv)
    if chosen.kills < 1:
        parser.error("--kills must be at least 1")
    began_s = time.monotonic()

    def say(text: str) -> None:
        if not chosen.json:
            print(f"{time.monotonic() - began_s:7.1f} s  {text}", flush=True)

    folder = reachable_folder()
    sweep = Sweep(folder, chosen.seed, say)
    stopped = ""
    try:
        sweep.run(chosen.kills)
    except (SweepFailed, JournalGone) as failure:
        stopped = str(failure)
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        sweep.close()
    told = summary(sweep, chosen.seed, time.monotonic() - began_s)
    found = ([stopped] if stopped else []) + failures(told, kills=chosen.kills)
    for line in [*found, *sweep.tally.wrong, *sweep.tally.unarmed] if found else ():
        print(f"killsweep: seed {chosen.seed}: {line}", file=sys.stderr)
    if found:
        print(f"killsweep: seed {chosen.seed} FAILED after kill {told['kills']}; logs and data: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    print(json.dumps(told | ({"failed": found, "folder": str(folder)} if found else {})), flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
