"""A daemon of its own process, broken on purpose, for the kill sweep's test: `broken_run.py NAME run --config FOLDER`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from broken_daemons import Doubling, Gullible, Repeating

from arbitrage.app import run_command
from arbitrage.app.starting import Orders, guarded, trade
from arbitrage.engine.engine import Engine
from arbitrage.ops.config import Loaded, load

PLANTS: dict[str, type[Engine]] = {"doubling": Doubling, "gullible": Gullible, "repeating": Repeating}


def main(argv: Sequence[str]) -> int:
    """Run it as `arbitrage run` would; return the exit status."""
    name, word, *rest = argv
    assert word == "run", "it does nothing else"
    parser = argparse.ArgumentParser()
    run_command.add_arguments(parser)
    chosen = parser.parse_args(rest)

    def read() -> Loaded:
        return load(chosen.config, os.environ)

    async def work() -> int:
        status, _ = await trade(read(), Orders(reload=read, engine=PLANTS[name]))
        return status

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
