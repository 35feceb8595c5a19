"""`arbitrage alert test`: sends one message by each channel, or by one, and says what happened. Needs no running daemon."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
from pathlib import Path

from arbitrage.app.alerting import house_of
from arbitrage.app.clock import perf_ns, wall_ns
from arbitrage.app.exits import Exit
from arbitrage.model.settings import Settings
from arbitrage.ops.alerts.channel import ChannelFault
from arbitrage.ops.alerts.courier import Route
from arbitrage.ops.alerts.routes import routes_of
from arbitrage.ops.alerts.wording import Message
from arbitrage.ops.config import find_config_dir, load
from arbitrage.ops.keys import read_channel_keys
from arbitrage.ops.problems import ConfigError

WORDS = "this is a test, nothing happened"


@dataclasses.dataclass(frozen=True)
class Told:
    """What became of one channel's test."""

    channel: str
    kind: str
    arrived: bool
    text: str
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage alert`."""
    parser.add_argument("what", choices=("test",), help="send one message, and say what happened")
    parser.add_argument("--channel", default="", metavar="NAME", help="only this one (default: all)")
    parser.add_argument("--config", type=Path, metavar="FOLDER", help="configuration folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Send and report; return the exit status."""
    try:
        settings = load(arguments.config or find_config_dir(os.environ), os.environ).settings
        known = settings.alerts.channels
        if arguments.channel and arguments.channel not in known:
            print(f"no channel is named {arguments.channel}; there are: {', '.join(known) or 'none'}", file=sys.stderr)
            return Exit.USAGE
        routes = routes_of(settings.alerts, read_channel_keys(settings, os.environ))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    chosen = [route for route in routes if arguments.channel in ("", route.name)]
    told = asyncio.run(test_all(settings, chosen))
    if arguments.json:
        print(json.dumps({"channels": [dataclasses.asdict(each) for each in told]}))
    elif not told:
        print("no channel is configured: nobody would be told (alerts.channels)", file=sys.stderr)
    for each in told if not arguments.json else ():
        print(f"{each.channel} ({each.kind}): {each.text}, {each.seconds:.2f} s")
    return Exit.DONE if told and all(each.arrived for each in told) else Exit.CHECK_FAILED


async def test_all(settings: Settings, routes: list[Route]) -> list[Told]:
    """Send by all at once, so that one that hangs does not delay the others."""
    return list(await asyncio.gather(*(_test(settings, route) for route in routes)))


async def _test(settings: Settings, route: Route) -> Told:
    at_ns, began_ns = wall_ns(), perf_ns()
    message = Message(f"test-{at_ns}", "test", house_of(settings), at_ns, "info", words=WORDS)
    try:
        async with asyncio.timeout(route.timeout_s):
            text, arrived = f"arrived: {await route.channel.send(message)}", True
    except TimeoutError:
        text, arrived = f"FAILED: no answer within {route.timeout_s:g} s", False
    except ChannelFault as fault:
        text, arrived = f"FAILED: {fault}", False
    finally:
        await route.channel.close()
    return Told(route.name, route.kind, arrived, text, (perf_ns() - began_ns) / 1e9)
