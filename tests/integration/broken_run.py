"""A daemon of its own process, broken on purpose, for kill sweep and fault table: `broken_run.py NAME run --config FOLDER`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from broken_daemons import Repeating

from arbitrage.app import run_command, stall
from arbitrage.app.clock import EngineClock
from arbitrage.app.simulate.plants_engine import DAY_MS, AbsenceBelieved, FillTwice
from arbitrage.app.starting import Orders, guarded, trade
from arbitrage.engine.engine import Engine
from arbitrage.ops.config import Loaded, load


class Patient(Engine):
    """Trusts the books of a connection however long that is silent."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.board.configure(msgspec.structs.replace(self.settings.market_data, link_age_ms_max=DAY_MS))


def by_the_wall() -> None:
    """Let engine time be the wall clock."""
    setattr(EngineClock, "__call__", lambda clock: time.time_ns())  # noqa: B010 - mypy rightly refuses to put one in its place


def without_stall_guard() -> None:
    """Let no stall be noticed."""
    setattr(stall, "STALL_MS", 10**9)  # noqa: B010 - the same


ENGINES: dict[str, type[Engine]] = {
    "doubling": FillTwice, "gullible": AbsenceBelieved, "repeating": Repeating, "patient": Patient,
}  # fmt: skip
BREAKS = {"wall": by_the_wall, "heedless": without_stall_guard}
BROKEN = (*ENGINES, *BREAKS)


def main(argv: Sequence[str]) -> int:
    """Run it as `arbitrage run` would; return the exit status."""
    name, word, *rest = argv
    assert name in BROKEN and word == "run", "it does nothing else"
    parser = argparse.ArgumentParser()
    run_command.add_arguments(parser)
    chosen = parser.parse_args(rest)
    BREAKS.get(name, lambda: None)()

    def read() -> Loaded:
        return load(chosen.config, os.environ)

    async def work() -> int:
        status, _ = await trade(read(), Orders(reload=read, engine=ENGINES.get(name, Engine)))
        return status

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
