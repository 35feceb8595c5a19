"""`arbitrage sim`: serves a scenario as two exchanges on loopback until told to stop. Decides no trade, records nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from arbitrage.sim.capture import CaptureError
from arbitrage.sim.control import Control
from arbitrage.sim.exchange.acts import ActError
from arbitrage.sim.exchange.scripts import ScriptError, read_faults
from arbitrage.sim.scenarios.catalog import SCENARIOS, make_scenario
from arbitrage.sim.scenarios.scenario import Scenario
from arbitrage.sim.server.binance import WS_API_PATH, BinanceServer
from arbitrage.sim.server.listener import Listener
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.server.upbit import PRIVATE_PATH, UpbitServer
from arbitrage.sim.sites import Clocks, VenueKeys, make_keys, make_sites

EXAMPLE = """example:
  arbitrage sim --scenario synthetic --seed 7 --speed 2 --for 60 --json

exit status: 0 done, 2 bad usage, unknown scenario, missing or damaged recordings, faults that no venue can do"""


class SimOptions(msgspec.Struct, frozen=True):
    """What to serve, where, and for how long."""

    clock: Callable[[], int]
    """Gives wall time in ns; the only source of the timestamps on the wire."""
    scenario: str = "synthetic"
    seed: int = 1
    speed: float = 1.0
    binance_port: int = 0
    upbit_port: int = 0
    control_port: int = 0
    faults: str = ""
    """A script's file name, or a seed; empty for none."""
    seconds: float = 0.0
    """Zero serves until a signal."""
    is_json: bool = False
    watches_stdin: bool = False
    """End when standard input is closed, so that a parent's death ends its child."""


class Served(msgspec.Struct, frozen=True):
    """A running pair of venues."""

    scenario: Scenario
    binance_port: int
    upbit_port: int
    binance: BinanceServer
    upbit: UpbitServer
    keys: VenueKeys
    control: Control
    control_port: int

    def describe(self) -> dict[str, object]:
        """Return the first line of `--json`: where the venues are and which keys they take."""
        binance, upbit = f"127.0.0.1:{self.binance_port}", f"127.0.0.1:{self.upbit_port}"
        keys = self.keys
        return {
            "binance": {
                "rest": f"http://{binance}", "ws": f"ws://{binance}", "ws_api": f"ws://{binance}{WS_API_PATH}",
                "key": keys.binance.access_key, "secret": keys.binance.secret, "ed25519_key": keys.binance.ed25519_pem,
            },
            "upbit": {
                "rest": f"http://{upbit}", "ws": f"ws://{upbit}", "ws_private": f"ws://{upbit}{PRIVATE_PATH}",
                "access_key": keys.upbit.access_key, "secret_key": keys.upbit.secret,
            },
            "control": f"http://127.0.0.1:{self.control_port}",
        }  # fmt: skip

    def describe_scenario(self) -> dict[str, object]:
        """Return the second line of `--json`: what is served, and the configuration that fits it."""
        scenario = self.scenario
        return {
            "scenario": scenario.name,
            "label": scenario.label,
            "notes": list(scenario.notes),
            "meaningless": list(scenario.meaningless),
            "settings": scenario.settings(),
        }


@asynccontextmanager
async def running(scenario: Scenario, options: SimOptions) -> AsyncIterator[Served]:
    """Open both venues and play the scenario as long as the block runs."""
    clock = options.clock

    def now() -> float:
        return clock() / 1e9

    keys = make_keys(options.seed)
    binance, upbit, sites = make_sites(scenario, keys, Clocks(clock, now), options.seed)
    control = Control(sites, clock)
    if options.faults:
        control.arm_all(read_faults(options.faults))
    timeline = Timeline(scenario.changes(), {"binance": binance, "upbit": upbit})
    timeline.advance(0)
    listeners = [sites["binance"].listener, sites["upbit"].listener, Listener(control, clock, now)]
    asked = (options.binance_port, options.upbit_port, options.control_port)
    ports = [await listener.open(port) for listener, port in zip(listeners, asked, strict=True)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(timeline.play(now, options.speed), name="sim timeline")]
        tasks.extend(group.create_task(listener.run(), name="sim listener") for listener in listeners)
        try:
            yield Served(scenario, ports[0], ports[1], binance, upbit, keys, control, ports[2])
        finally:
            for task in tasks:
                task.cancel()
            for listener in listeners:
                await listener.close()


async def serve(options: SimOptions) -> None:
    """Serve until a signal, the end of `--for`, or the end of standard input. Prints where on the first line."""
    scenario = make_scenario(options.scenario, options.seed)
    async with running(scenario, options) as served:
        _announce(served, is_json=options.is_json)
        await _until_told(options)
    _report(served)


async def _until_told(options: SimOptions) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if options.watches_stdin:
        loop.add_reader(sys.stdin.fileno(), _on_stdin, told)
    try:
        async with asyncio.timeout(options.seconds or None):
            await told.wait()
    except TimeoutError:
        told.set()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if options.watches_stdin:
            loop.remove_reader(sys.stdin.fileno())


def _on_stdin(told: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        told.set()


def _is_pipe() -> bool:
    """Tell whether standard input is somebody's open end: a pipe or a socket, no terminal and no file."""
    if sys.stdin is None:
        return False
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _announce(served: Served, *, is_json: bool) -> None:
    description = served.describe()
    if is_json:
        for line in (description, served.describe_scenario()):
            print(json.dumps(line, separators=(",", ":"), ensure_ascii=False), flush=True)
        return
    for venue in ("binance", "upbit"):
        urls = description[venue]
        assert isinstance(urls, dict), "a venue is described by its urls"
        print(f"{venue:8} " + "  ".join(f"{name} {value}" for name, value in urls.items() if name != "ed25519_key"))
    print(f"control  {description['control']}")
    print(served.scenario.label, flush=True)


def _report(served: Served) -> None:
    for name, counters in (("binance", served.binance.counters), ("upbit", served.upbit.counters)):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in sorted(counters.items())), file=sys.stderr)


def parse_options(argv: Sequence[str], clock: Callable[[], int]) -> SimOptions:
    """Read the command line; argparse ends the process with status 2 on bad usage."""
    parser = argparse.ArgumentParser(
        prog="arbitrage sim", description="Serve simulated Binance and Upbit on loopback.",
        epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--scenario", default="synthetic", help=f"{', '.join(SCENARIOS)}, or several joined by +")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as the scenario's own time (default 1)")
    parser.add_argument("--binance-port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--upbit-port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--control-port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--faults", default="", metavar="FILE|SEED", help="a JSON list of faults, or a whole number")
    parser.add_argument("--for", dest="seconds", type=float, default=0.0, help="seconds to serve; 0 until told to stop")
    parser.add_argument("--json", dest="is_json", action="store_true", help="two lines of JSON: where, and what")
    words = parser.parse_args(argv)
    if not 0.01 <= words.speed <= 1000.0 or words.seconds < 0:
        parser.error("--speed must be 0.01 to 1000 and --for not negative")
    return SimOptions(clock=clock, watches_stdin=words.is_json and _is_pipe(), **vars(words))


def main(argv: Sequence[str], clock: Callable[[], int]) -> int:
    """Run the command. Returns 0 when it ended as told, 2 for an unknown scenario, missing or damaged recordings."""
    options = parse_options(argv, clock)
    try:
        asyncio.run(serve(options))
    except (LookupError, FileNotFoundError, CaptureError, ScriptError, ActError) as missing:
        print(f"arbitrage sim: {missing}", file=sys.stderr)
        return 2
    return 0
