"""`arbitrage run`: the daemon against the configured exchanges, in the configured mode. Asks no question.

Whoever is the second is refused before the rest of the package is read: that takes longer than everything else about it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from arbitrage.app.durations import duration
from arbitrage.app.second import refusal_of_second
from arbitrage.ops.config import CONFIG_DIR_VARIABLE, Loaded, find_config_dir, load
from arbitrage.ops.overrides import Overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage run`."""
    parser.add_argument(
        "--config", type=Path, metavar="FOLDER", help="configuration folder (default: ARBITRAGE_CONFIG_DIR or ./config)"
    )
    parser.add_argument(
        "--for", dest="seconds", type=duration, default=0.0, metavar="SECONDS", help="stop after so long; 0 runs on"
    )
    parser.add_argument(
        "--standby",
        action="store_true",
        help="wait while another instance trades for the session, and take over when it is gone",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop."""

    folder: Path = arguments.config or find_config_dir(os.environ)
    os.environ[CONFIG_DIR_VARIABLE] = str(folder.resolve())  # a backup or a drill that it begins reads the same house

    def read(overrides: Overrides | None = None) -> Loaded:
        return load(folder, os.environ, overrides=overrides)

    if refusal := refusal_of_second(read, may_wait=arguments.standby):
        print(refusal[0], file=sys.stderr)
        return refusal[1]
    starting = importlib.import_module("arbitrage.app.starting")

    async def work() -> int:
        status, _ = await starting.trade(
            read(), starting.Orders(reload=read, seconds=arguments.seconds, is_standby=arguments.standby, is_told=True)
        )
        return int(status)

    return int(starting.guarded(work))
