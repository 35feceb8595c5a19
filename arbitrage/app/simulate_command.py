"""`arbitrage simulate`: lives of the whole daemon and both exchanges, each out of one seed. Touches no network and no file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

import msgspec

from arbitrage.app.clock import perf_ns
from arbitrage.app.exits import Exit
from arbitrage.app.simulate.batch import Batch, Job, live_many, live_one
from arbitrage.app.simulate.plants import PLANTS
from arbitrage.app.simulate.scene import Failure
from arbitrage.app.simulate.shrink import shrink, trace_lines
from arbitrage.app.simulate.story import STORM_MS, Shape

SHRUNK_MAX = 3
"""So many failing seeds of a run are shrunk; all are named."""
PROGRESS_SEEDS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage simulate`."""
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="live so many seeds (100)")
    parser.add_argument("--start", type=int, default=0, metavar="S", help="the first of them (0)")
    parser.add_argument("--plant", default="", choices=("", *sorted(PLANTS)), metavar="NAME", help="switch a bug on")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="length of the storm; else 13 s")
    parser.add_argument("--symbols", type=int, default=0, metavar="K", help="coins traded, up to 10; else drawn")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="cores to use (1)")
    parser.add_argument("--trace", action="store_true", help="print everything that happens in the first seed")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    """Live the seeds that were asked for; return 0 when no rule was broken."""
    storm_ms = int(arguments.minutes * 60_000) or STORM_MS
    job = Job(Shape(storm_ms, min(10, max(0, arguments.symbols))), arguments.plant)
    if arguments.trace:
        return _trace(arguments.start, job)
    seeds = range(arguments.start, arguments.start + max(0, arguments.seeds))
    began_ns = perf_ns()
    batch = _live(seeds, job, arguments.jobs)
    seconds = (perf_ns() - began_ns) / 1e9
    failures = [_told(seed, failure, job, is_shrunk=place < SHRUNK_MAX) for place, (seed, failure) in enumerate(batch.failures)]
    if arguments.json:
        print(json.dumps({
            "seeds": batch.seeds, "events": batch.events, "seconds": round(seconds, 3), "plans": batch.plans,
            "fills": batch.fills, "crashes": batch.crashes, "failures": failures, "hash": batch.digest,
        }))  # fmt: skip
    else:
        print(_text(batch, failures, seconds))
    return Exit.CHECK_FAILED if batch.failures else Exit.DONE


def _live(seeds: Iterable[int], job: Job, jobs: int) -> Batch:
    batch = Batch()
    for life in live_many(seeds, job, jobs):
        batch.add(life)
        if life.failure is not None:
            print(f"seed {life.seed}: {life.failure.checker}: {life.failure.message}", file=sys.stderr, flush=True)
        elif batch.seeds % PROGRESS_SEEDS == 0:
            print(f"{batch.seeds} seeds, {len(batch.failures)} failed", file=sys.stderr, flush=True)
    return batch


def _told(seed: int, failure: Failure, job: Job, *, is_shrunk: bool) -> dict[str, object]:
    if not is_shrunk:
        return {"seed": seed, "checker": failure.checker, "at": failure.at_ms / 1000, "message": failure.message}
    return {name: value for name, value in msgspec.to_builtins(shrink(seed, job.shape, job.plant)).items() if name != "lives"}


def _trace(seed: int, job: Job) -> int:
    life = live_one(seed, job, is_traced=True)
    for line in trace_lines(life, is_whole=True):
        print(line)
    return Exit.CHECK_FAILED if life.failure is not None else Exit.DONE


def _text(batch: Batch, failures: list[dict[str, object]], seconds: float) -> str:
    lines = []
    for failure in failures:
        lines += [f"FAILED  seed {failure['seed']} at {failure['at']} s: {failure['checker']}: {failure['message']}"]
        for name, title in (("strikes", "weather that is needed"), ("trace", "what happened")):
            rows = failure.get(name, ())
            assert isinstance(rows, list | tuple), "lines of text"
            lines += [f"  {title}:", *(f"    {row}" for row in rows)] if rows else []
    lines.append(
        f"{batch.seeds} seeds, {batch.events} events, {batch.plans} plans, {batch.fills} fills, {batch.crashes} crashes, "
        f"{seconds:.1f} s; {len(batch.failures)} failed; hash {batch.digest}"
    )
    return "\n".join(lines)
