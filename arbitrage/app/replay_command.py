"""`arbitrage replay CAPTURE...`: lives recorded frames again and says what was decided. Needs no database and no socket."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.app.replay import Replay, Replayed
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.problems import ConfigError
from arbitrage.sim.capture import CaptureError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage replay`."""
    parser.add_argument("captures", nargs="+", type=Path, metavar="CAPTURE", help="capture-v1 file, .jsonl or .jsonl.zst")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Replay the captures under the configuration of this environment."""
    is_shown = sys.stderr.isatty() and not arguments.json
    try:
        settings = load(find_config_dir(os.environ), os.environ).settings
        done = Replay(arguments.captures, settings).run(_progress if is_shown else None)
    except (ConfigError, CaptureError) as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    print(msgspec.json.encode(done).decode() if arguments.json else _text(done))
    return Exit.DONE


def _progress(frames: int) -> None:
    print(f"\r{frames} frames", end="", file=sys.stderr, flush=True)


def _text(done: Replayed) -> str:
    refused = ", ".join(f"{reason} {count}" for reason, count in done.refused.items()) or "none"
    books, times = done.books, done.decision_ns
    equal = f"{books['equal']} of {books['compared']} comparisons equal"
    micros = ", ".join(f"{name} {value / 1e3:.1f} us" for name, value in times.items())
    return "\n".join(
        (
            f"frames         {done.frames}, {done.frames_per_s} a second (decode to decision, one core)",
            f"books          {equal}; {done.gaps} gaps, {done.resyncs} resyncs",
            f"opportunities  {done.opportunities} seen in {done.episodes} episodes, {done.taken} taken; refused: {refused}",
            f"decision       {micros}",
            f"hashes         events {done.event_hash}, decisions {done.decision_hash}",
        )
    )
