"""`make fencing`: rounds of dying, frozen and parted holders, judged at the exchanges by the epochs in the orders' ids."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from fences.lab import Lab
from fences.planted import PLANTS
from fences.rounds import Measured, Rounds, epoch_of

REFUSED_S, TAKEOVER_S, SILENT_S = 1.0, 2.0, 1.5
SHOWN_MAX, SAID_MAX = 5, 4_000


def overlaps(orders: Sequence[dict[str, Any]], grants: dict[int, int]) -> list[str]:
    """List every order that came to an exchange after one of a later epoch, or after the grant of a later epoch."""
    found, newest = [], 0
    for row in sorted(orders, key=lambda row: row["created_ns"]):
        epoch, at_ns = epoch_of(row["client_id"]), row["created_ns"]
        granted_ns = min((since_ns for later, since_ns in grants.items() if later > epoch), default=at_ns)
        if epoch < newest:
            found.append(f"{row['client_id']} of epoch {epoch} came after an order of epoch {newest}")
        elif granted_ns < at_ns:
            late_ms = (at_ns - granted_ns) / 1e6
            found.append(f"{row['client_id']} of epoch {epoch} came {late_ms:.0f} ms after the grant of a later one")
        newest = max(newest, epoch)
    return found


def summary(measured: Measured, orders: Sequence[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Return the last line."""
    return {
        "rounds": rounds,
        "overlaps": len(overlaps(orders, measured.grants)),
        "refused_s": percentiles(measured.refused_s),
        "takeover_s": percentiles(measured.takeover_s),
        "silent_s": {**percentiles(measured.silent_s), "max": round(max(measured.silent_s, default=0.0), 3)},
        "woke_fenced": measured.woke_fenced,
        "orders": len(orders),
        "accepted": measured.accepted,
        "epochs": len({epoch_of(row["client_id"]) for row in orders}),
        "samples": {
            "refused": len(measured.refused_s),
            "takeovers": len(measured.takeover_s),
            "silences": len(measured.silent_s),
            "frozen": measured.frozen,
        },
    }


def missed(found: dict[str, Any], measured: Measured, patience: float) -> list[str]:
    """List every bar that was missed. `patience` stretches the times, never anything else."""
    bars = (
        (found["overlaps"] == 0, f"{found['overlaps']} orders of two epochs overlap"),
        (found["woke_fenced"] == measured.frozen, f"{found['woke_fenced']} of {measured.frozen} frozen holders woke fenced"),
        (found["refused_s"]["p99"] <= REFUSED_S * patience, f"a refusal took {found['refused_s']['p99']} s"),
        (found["takeover_s"]["p99"] <= TAKEOVER_S * patience, f"a take-over took {found['takeover_s']['p99']} s"),
        (found["silent_s"]["max"] <= SILENT_S * patience, f"an order came {found['silent_s']['max']} s after the loss"),
        (found["orders"] > 0, "nothing was traded, so nothing is proved"),
    )
    return [text for is_good, text in bars if not is_good] + measured.wrong


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile (the highest of less than a hundred); 0 for none."""
    if not values:
        return {"p50": 0.0, "p99": 0.0}
    ordered = sorted(values)
    high = ordered[-1] if len(ordered) < 100 else statistics.quantiles(ordered, n=100, method="inclusive")[98]
    return {"p50": round(statistics.median(ordered), 3), "p99": round(high, 3)}


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the words of the command line."""
    parser = argparse.ArgumentParser(
        prog="make fencing",
        description="Kill, freeze and part the daemon that trades; a standby follows. No two of them may trade at once.",
        epilog='example: make fencing ROUNDS=20 ARGS="--seed 7 --kind frozen"; status 1 when a bar is missed',
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="draws the rounds and their moments (default: a new one)")
    kinds = "kill, frozen, cut, silent, db-killed, db-frozen, stop"
    parser.add_argument("--kind", action="append", default=[], help=f"only rounds of this kind, may be repeated: {kinds}")
    parser.add_argument("--patience", type=float, default=1.0, help="times may be so many times as long: for a busy machine")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="break the fence of every daemon on purpose")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds and return an exit status."""
    wanted = read_arguments(argv)
    seed = wanted.seed if wanted.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"fencing: {wanted.rounds} rounds, seed {seed}", flush=True)
    lab, done, began_s = Lab(wanted.plant), 0, time.monotonic()
    rounds: Rounds | None = None
    failure = ""
    try:
        rounds = Rounds(lab, seed)
        for number in range(1, wanted.rounds + 1):
            kind = rounds.run(wanted.kind)
            done = number
            print(f"round {number:>3} {kind:<10} epoch {rounds.holder.epoch}  {time.monotonic() - began_s:.0f} s", flush=True)
    except (AssertionError, TimeoutError) as stuck:
        failure = f"round {done + 1} did not end: {stuck}"
        for each in lab.instances:
            if not each.is_gone:
                print(f"--- process {each.pid}, epoch {each.epoch}:\n{each.run.text()[-SAID_MAX:]}")
    finally:
        orders = lab.orders() if rounds is not None else []
        lab.close()
    measured = rounds.measured if rounds is not None else Measured()
    for line in overlaps(orders, measured.grants)[:SHOWN_MAX]:
        print(line)
    found = summary(measured, orders, done)
    faults = [*missed(found, measured, wanted.patience), *([failure] if failure else [])]
    for fault in faults:
        print(f"missed: {fault} (seed {seed})")
    print(f"fencing: {'FAILED' if faults else 'passed'}, {done} rounds, {found['epochs']} epochs, {found['orders']} orders")
    print(json.dumps({**found, "seed": seed}), flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
