"""`arbitrage drill`: fire drills with the operator's own configuration against simulated exchanges. Touches no real venue."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.app.child import ServersFailed
from arbitrage.app.drills.catalog import DRILLS, NAMES, drill_named
from arbitrage.app.drills.nouns import Drill, Result
from arbitrage.app.drills.runner import run_drill
from arbitrage.app.drills.stage import opened
from arbitrage.app.drills.words import Unfit
from arbitrage.app.exits import Exit
from arbitrage.app.loopback_house import without_real_keys
from arbitrage.app.starting import guarded
from arbitrage.ops.config import find_config_dir, load

ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage drill`."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="say which drills there are, and run none")
    what.add_argument("name", nargs="?", choices=(*NAMES, ALL), metavar="NAME", help="one of --list, or all")
    parser.add_argument("--json", action="store_true", help="one JSON object a drill, each on a line of its own")


def run(arguments: argparse.Namespace) -> int:
    """Run the drills that were asked for; return 0 when all passed."""
    if arguments.list:
        for drill in DRILLS:
            row = {"name": drill.name, "story": drill.story}
            print(json.dumps(row) if arguments.json else f"{drill.name:22} {drill.story}")
        return Exit.DONE
    chosen = DRILLS if arguments.name == ALL else (drill_named(arguments.name),)
    return guarded(lambda: _drill(chosen, without_real_keys(os.environ), as_json=arguments.json))


async def _drill(drills: Sequence[Drill], environ: Mapping[str, str], *, as_json: bool) -> int:
    own = load(find_config_dir(environ), environ)
    failed: list[str] = []
    try:
        print("starting PostgreSQL and Valkey for the drills", file=sys.stderr)
        async with opened(own) as stage:
            for number, drill in enumerate(drills, start=1):
                print(f"{number}/{len(drills)} {drill.name}: {drill.story}", file=sys.stderr, flush=True)
                result = await run_drill(drill, stage, environ)
                print(json.dumps(msgspec.to_builtins(result)) if as_json else result_text(result), flush=True)
                failed += [] if result.passed else [result.name]
    except Unfit as unfit:
        print(f"this configuration cannot be drilled: {unfit}", file=sys.stderr)
        return Exit.CHECK_FAILED
    except ServersFailed as failure:
        print(failure, file=sys.stderr)
        return Exit.CHECK_FAILED
    passed = len(drills) - len(failed)
    print(f"{passed} of {len(drills)} passed" + (f"; failed: {', '.join(failed)}" if failed else ""), file=sys.stderr)
    return Exit.CHECK_FAILED if failed else Exit.DONE


def result_text(result: Result) -> str:
    """Lay a drill's result out for people."""
    lines = [f"{'PASSED' if result.passed else 'FAILED'}  {result.name} ({result.seconds:g} s)"]
    lines += [f"  shortened: {text}" for text in result.shortened]
    lines += [f"  {line.at_s:8.3f} s  {line.who:6}  {line.text}" for line in result.timeline]
    risk = result.risk
    lines.append(
        f"  money at risk: at most {risk.highest} {risk.currency} unhedged, more than dust for {risk.naked_s:g} s; "
        f"at the end {risk.final}"
    )
    lines.append(f"  {'held' if result.passed else 'because'}: {result.reason}")
    return "\n".join(lines) + "\n"
