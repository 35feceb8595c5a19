"""`arbitrage simulate`: lives of the whole daemon and both exchanges, each out of one seed. Touches no network and no file."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import msgspec

from arbitrage.app.clock import perf_ns
from arbitrage.app.exits import Exit
from arbitrage.app.simulate.batch import Batch, Job, live_many, live_one
from arbitrage.app.simulate.kept import Kept, keep
from arbitrage.app.simulate.measuring import SEEDS_MAX, Caught, measure
from arbitrage.app.simulate.plants import PLANTS
from arbitrage.app.simulate.scene import Failure
from arbitrage.app.simulate.shrink import shrink, trace_lines
from arbitrage.app.simulate.story import STORM_MS, Shape

SHRUNK_MAX = 3
"""So many failing seeds of a run are shrunk; all are named."""
PROGRESS_SEEDS, SOAK_SEEDS = 100, 1_000
SEED_MAX = 10**9
FOR_EVER = 2**63


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage simulate`."""
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="live so many seeds (100)")
    parser.add_argument("--start", type=int, default=0, metavar="S", help="the first of them (0); -1 draws it, and says so")
    parser.add_argument("--soak", type=float, nargs="?", const=0.0, metavar="SECONDS", help="live on until stopped, or so long")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="add failing lives to this file")
    parser.add_argument("--plant", default="", choices=("", *sorted(PLANTS)), metavar="NAME", help="switch a bug on")
    parser.add_argument("--plants", action="store_true", help="measure how soon each bug on purpose is caught")
    parser.add_argument("--starts", type=int, default=5, metavar="T", help="with --plants: from so many first seeds (5)")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="length of the storm; else 11 s")
    parser.add_argument("--symbols", type=int, default=0, metavar="K", help="coins traded, up to 10; else drawn")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="cores to use (1)")
    parser.add_argument("--trace", action="store_true", help="print everything that happens in the first seed")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    """Live the seeds that were asked for; return 0 when no rule was broken."""
    storm_ms = int(arguments.minutes * 60_000) or STORM_MS
    job = Job(Shape(storm_ms, min(10, max(0, arguments.symbols))), arguments.plant)
    if arguments.plants:
        return _measure(arguments)
    if arguments.start < 0:
        arguments.start = secrets.randbelow(SEED_MAX)
        print(f"first seed: {arguments.start}", file=sys.stderr, flush=True)
    if arguments.trace:
        return _trace(arguments.start, job)
    began_ns = perf_ns()
    if arguments.soak is None:
        batch = _live(range(arguments.start, arguments.start + max(0, arguments.seeds)), job, arguments.jobs, PROGRESS_SEEDS)
    else:
        until_ns = began_ns + int(arguments.soak * 1e9) if arguments.soak else FOR_EVER
        batch = _live(_seeds_until(arguments.start, until_ns), job, arguments.jobs, SOAK_SEEDS)
    seconds = (perf_ns() - began_ns) / 1e9
    failures = [
        _told(seed, failure, job, arguments.keep if place < SHRUNK_MAX else None, is_shrunk=place < SHRUNK_MAX)
        for place, (seed, failure) in enumerate(batch.failures)
    ]
    if arguments.json:
        print(json.dumps({
            "seeds": batch.seeds, "events": batch.events, "seconds": round(seconds, 3), "plans": batch.plans,
            "fills": batch.fills, "crashes": batch.crashes, "failures": failures, "hash": batch.digest,
        }))  # fmt: skip
    else:
        print(_text(batch, failures, seconds))
    return Exit.CHECK_FAILED if batch.failures else Exit.DONE


def _live(seeds: Iterable[int], job: Job, jobs: int, progress_seeds: int) -> Batch:
    """Live seeds to their end, or until somebody stops it."""
    batch = Batch()
    try:
        for life in live_many(seeds, job, jobs):
            batch.add(life)
            if life.failure is not None:
                print(f"seed {life.seed}: {life.failure.checker}: {life.failure.message}", file=sys.stderr, flush=True)
            if batch.seeds % progress_seeds == 0:
                print(f"{batch.seeds} seeds to {life.seed}, {len(batch.failures)} failed", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return batch


def _seeds_until(start: int, until_ns: int) -> Iterator[int]:
    """Yield seeds while there is time."""
    for seed in count(start):
        if perf_ns() >= until_ns:
            return
        yield seed


def _told(seed: int, failure: Failure, job: Job, kept: Path | None, *, is_shrunk: bool) -> dict[str, object]:
    """Tell of a failing seed, shrunk where it is not one of very many."""
    if not is_shrunk:
        return {"seed": seed, "checker": failure.checker, "at": failure.at_ms / 1000, "message": failure.message}
    print(f"shrinking seed {seed}", file=sys.stderr, flush=True)
    shrunk = shrink(seed, job.shape, job.plant)
    if kept is not None:
        keep(kept, Kept(seed, shrunk.checker, shrunk.message, shrunk.weather, job.shape))
    return {name: value for name, value in msgspec.to_builtins(shrunk).items() if name not in ("lives", "weather")}


def _measure(arguments: argparse.Namespace) -> int:
    """Print a line for each plant as soon as it was caught from every start, and at the end what all of it took."""
    began_ns = perf_ns()
    plants = [arguments.plant] if arguments.plant else sorted(PLANTS)
    found: list[Caught] = []
    for caught in measure(plants, arguments.start, max(1, arguments.starts), arguments.jobs):
        found.append(caught)
        seeds = " ".join(f"{count:4}" if count <= SEEDS_MAX else "   -" for count in caught.seeds)
        word, names = "ok  " if caught.is_good else "WEAK", ", ".join(caught.checkers)
        line = f"{word} {caught.plant:32} {caught.median:6g}  {seeds}  {names}"
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    weak = [caught.plant for caught in found if not caught.is_good]
    if arguments.json:
        rows = [{"plant": each.plant, "median": each.median, "seeds": each.seeds, "checkers": each.checkers} for each in found]
        print(json.dumps({"plants": rows, "weak": weak, "seconds": round((perf_ns() - began_ns) / 1e9, 3)}))
    else:
        print(f"{len(found)} plants, {len(weak)} caught too late or by no right checker: {', '.join(weak) or 'none'}")
    return Exit.CHECK_FAILED if weak else Exit.DONE


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
