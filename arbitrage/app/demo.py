"""`arbitrage demo` (and `make run`): the real daemon on paper against local venue servers. Needs no key and no network."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys

import msgspec
import orjson

from arbitrage.app.child import ServersFailed, VenueServers
from arbitrage.app.clock import monotonic_us
from arbitrage.app.exits import Exit
from arbitrage.app.running import Running
from arbitrage.app.screen import Screen
from arbitrage.app.starting import duration, guarded, trade
from arbitrage.model.money import format_e8
from arbitrage.ops.config import Loaded, Overlay, find_config_dir, load
from arbitrage.sim.capture import find_data

logger = logging.getLogger("arbitrage.daemon")
WITH_DATA, WITHOUT_DATA = "recorded+kimchi-2025", "synthetic"


class Firsts(msgspec.Struct):
    """When things were first seen, in seconds after the command's start: making a new database counts."""

    since_us: int
    spread_s: float | None = None
    arbitrage_s: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage demo`."""
    parser.add_argument(
        "--scenario", default="", help="recorded, kimchi-2025, lunc-20251011, synthetic, or several joined by + "
        f"(default: {WITH_DATA} where recordings are found, else {WITHOUT_DATA})",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="for everything that is synthetic (default 1)")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as the scenario's own time (default 1)")
    parser.add_argument(
        "--for", dest="seconds", type=duration, default=0.0, metavar="SECONDS", help="stop after so long; 0 runs on"
    )
    parser.add_argument("--json", action="store_true", help="no screen; the last line on stdout is a JSON summary")


def run(arguments: argparse.Namespace) -> int:
    """Start the servers and the daemon, show what happens, and sum up at the end."""
    arguments.since_us = monotonic_us()
    scenario = arguments.scenario or (WITH_DATA if find_data() is not None else WITHOUT_DATA)

    async def work() -> int:
        try:
            servers = await VenueServers.start(scenario, seed=arguments.seed, speed=arguments.speed)
        except ServersFailed as failure:
            print(failure, file=sys.stderr)
            return Exit.USAGE
        try:
            return await _demonstrate(servers, scenario, arguments)
        finally:
            await servers.stop()

    return guarded(work)


async def _demonstrate(servers: VenueServers, scenario: str, arguments: argparse.Namespace) -> int:
    values = {**servers.overlay(), "session_name": f"demo-{scenario}".replace("+", "-")}

    def read() -> Loaded:
        return load(find_config_dir(os.environ), os.environ, Overlay(f"scenario {scenario}", values))

    firsts = Firsts(arguments.since_us)
    screen = None if arguments.json else Screen(servers.description, sys.stdout)

    lost: list[str] = []

    async def watch_servers() -> None:
        lost.append(f"the venue servers are gone: {await servers.watch()}")
        logger.error("%s", lost[-1])

    async def beside(running: Running) -> None:
        """Note what is first seen and show it, until the servers or the reader of the screen are gone."""
        async with asyncio.TaskGroup() as group:
            noting = group.create_task(_watch_firsts(running, firsts), name="firsts")
            ends = [group.create_task(watch_servers(), name="servers")]
            if screen is not None:
                ends.append(group.create_task(screen.run(running), name="screen"))
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (noting, *ends):
                task.cancel()

    status, running = await trade(read(), reload=read, is_quiet=True, seconds=arguments.seconds, beside=beside)
    summary = summarise(running, firsts)
    if arguments.json:
        print(orjson.dumps(summary).decode(), flush=True)
    elif screen is not None:
        screen.close(summary)
    for line in lost:
        print(line, file=sys.stderr)
    return status or (Exit.CHECK_FAILED if lost else Exit.DONE)


async def _watch_firsts(running: Running, firsts: Firsts) -> None:
    while firsts.spread_s is None or firsts.arbitrage_s is None:
        elapsed_s = round((monotonic_us() - firsts.since_us) / 1e6, 2)
        spreads = running.view().spreads if firsts.spread_s is None else ()
        if any(spread.net_ppm is not None for spread in spreads):
            firsts.spread_s = elapsed_s
        if firsts.arbitrage_s is None and running.engine.tally.completed + running.engine.tally.recovered:
            firsts.arbitrage_s = elapsed_s
        await asyncio.sleep(0.1)


def summarise(running: Running, firsts: Firsts) -> dict[str, object]:
    """Return what a run did, as the last line of `--json`."""
    view = running.view()
    tally, counters = view.tally, view.counters
    return {
        "frames": running.frames,
        "books": {"compared": counters.get("compared", 0), "equal": counters.get("equal", 0)},
        "opportunities": {"seen": tally.seen, "taken": tally.taken, "refused": dict(sorted(tally.refused.items()))},
        "arbitrages": {
            "completed": tally.completed,
            "recovered": tally.recovered,
            "missed": tally.missed,
            "residual": tally.residual,
            "open": view.open_plans,
        },
        "pnl": {
            "currency": view.reporting_asset,
            "realised": format_e8(view.realised_e8 - running.realised_at_start_e8),
            "realised_in_session": format_e8(view.realised_e8),
        },
        "armed": view.is_armed,
        "not_armed_because": list(view.not_armed_because),
        "seconds_to_first_spread": firsts.spread_s,
        "seconds_to_first_arbitrage": firsts.arbitrage_s,
    }
