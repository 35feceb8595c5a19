"""`arbitrage demo` (`make run`, `make demo-live`): the real daemon against local venue servers. Needs no network and no key.

With `--live` it runs in MODE=live: it signs with the servers' own test keys and places orders at them, on loopback alone.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Mapping

import msgspec
import orjson

from arbitrage.app.child import ServersFailed, VenueServers
from arbitrage.app.clock import monotonic_us, wall_ms
from arbitrage.app.durations import duration
from arbitrage.app.exits import Exit
from arbitrage.app.identity import base36
from arbitrage.app.live_story import LiveStory
from arbitrage.app.loopback_house import check_loopback, live_values, test_keys, without_real_keys
from arbitrage.app.running import Running
from arbitrage.app.screen import Screen
from arbitrage.app.starting import Orders, guarded, trade
from arbitrage.model.money import format_e8
from arbitrage.ops.config import Loaded, Overlay, find_config_dir, load
from arbitrage.ops.overrides import Overrides
from arbitrage.sim.capture import find_data

logger = logging.getLogger("arbitrage.daemon")
STORY_SECONDS_MAX = 180.0
LAST_LOOK_S = 3.0
"""How long the end of the story stays on the screen."""
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
    parser.add_argument(
        "--live", action="store_true",
        help="MODE=live with test keys: orders are signed and placed at the local servers; tells a story, then stops",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="no screen; the last line on stdout is a JSON summary")


def run(arguments: argparse.Namespace) -> int:
    """Start the servers and the daemon, show what happens, and sum up at the end."""
    arguments.since_us = monotonic_us()
    has_data = find_data() is not None and not arguments.live
    scenario = arguments.scenario or (WITH_DATA if has_data else WITHOUT_DATA)

    async def work() -> int:
        try:
            servers = await VenueServers.start(scenario, seed=arguments.seed, speed=arguments.speed)
        except ServersFailed as failure:
            print(failure, file=sys.stderr)
            return Exit.USAGE
        try:
            if not arguments.live:
                values = {**servers.overlay(), "session_name": f"demo-{scenario}".replace("+", "-")}
                return await Demonstration(servers, scenario, arguments, values).run(os.environ)
            with test_keys(servers) as keys:
                # The servers begin anew each time, and so does the session: a ledger of before would differ from them.
                name = f"demo-live-{base36(wall_ms())}"
                values = {**live_values(servers, keys), "session_name": name}
                return await Demonstration(servers, scenario, arguments, values).run(without_real_keys(os.environ))
        finally:
            await servers.stop()

    return guarded(work)


class Demonstration:
    """One run of the daemon against the local servers."""

    def __init__(
        self, servers: VenueServers, scenario: str, arguments: argparse.Namespace, values: Mapping[str, object]
    ) -> None:
        self._servers = servers
        self._arguments = arguments
        self._overlay = Overlay(f"scenario {scenario}", values)
        self._firsts = Firsts(arguments.since_us)
        notes = list(servers.description.get("notes", ()))
        self._screen = None if arguments.json else Screen({**servers.description, "notes": notes}, sys.stdout)
        self._story = LiveStory(servers, notes) if arguments.live else None
        self._lost: list[str] = []

    async def run(self, environ: Mapping[str, str]) -> int:
        """Run it, show it, sum it up; return the exit status."""

        def read(overrides: Overrides | None = None) -> Loaded:
            return load(find_config_dir(environ), environ, self._overlay, overrides)

        loaded = read()
        check_loopback(loaded.settings)
        limit_s = self._arguments.seconds or (STORY_SECONDS_MAX if self._story is not None else 0.0)
        orders = Orders(reload=read, is_quiet=True, seconds=limit_s, beside=self._beside, environ=environ)
        status, running = await trade(loaded, orders)
        summary = summarise(running, self._firsts)
        if self._story is not None:
            summary["live"] = {**msgspec.to_builtins(self._story.told), "verdict": self._story.told.verdict}
        if self._arguments.json:
            print(orjson.dumps(summary).decode(), flush=True)
        elif self._screen is not None:
            self._screen.close(summary)
            print("\n".join([*self._story.lines, self._story.told.verdict] if self._story is not None else ()))
        for line in self._lost:
            print(line, file=sys.stderr)
        is_told = self._story is None or self._story.told.is_whole
        return status or (Exit.CHECK_FAILED if self._lost or not is_told else Exit.DONE)

    async def _beside(self, running: Running) -> None:
        """Note what is first seen and show it, until the servers or the reader of the screen are gone, or the story is told."""
        async with asyncio.TaskGroup() as group:
            noting = group.create_task(_watch_firsts(running, self._firsts), name="firsts")
            ends = [group.create_task(self._watch_servers(), name="servers")]
            if self._screen is not None:
                ends.append(group.create_task(self._screen.run(running), name="screen"))
            if self._story is not None:
                ends.append(group.create_task(self._tell(self._story, running), name="story"))
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (noting, *ends):
                task.cancel()

    async def _tell(self, story: LiveStory, running: Running) -> None:
        """Tell the story; then stay a moment, or for as long as was asked."""
        try:
            await story.run(running)
        except ServersFailed as failure:
            self._lost.append(str(failure))
            return
        await asyncio.sleep(self._arguments.seconds or LAST_LOOK_S)

    async def _watch_servers(self) -> None:
        self._lost.append(f"the venue servers are gone: {await self._servers.watch()}")
        logger.error("%s", self._lost[-1])


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
