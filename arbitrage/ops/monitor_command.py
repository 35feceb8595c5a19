"""What `tools/monitor.py` shows besides the first screen: metrics, log lines, errors, search. Plain when piped."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from arbitrage.ops.log_lines import LogLine, terminal_line
from arbitrage.ops.log_sources import LogSource, matching, read_metrics
from arbitrage.ops.logs import clock_text
from arbitrage.ops.places import Places, find_places
from arbitrage.ops.status import Status
from arbitrage.store.redis_metrics import METRICS

EPILOG = """examples:
  python tools/monitor.py --key-file ~/.arbitrage-key
  python tools/monitor.py --once --json
  python tools/monitor.py --metrics
  python tools/monitor.py --errors --once --json
  python tools/monitor.py --search "not armed"

exit status: 0 done, 1 nothing to show (with --once), 2 bad usage"""
REFRESH_SECONDS = 1.0
LINES_AT_FIRST = 50
DONE, NOTHING = 0, 1
_STYLES = ((logging.ERROR, "bold red"), (logging.WARNING, "yellow"), (logging.INFO, ""), (0, "dim"))

FindPlaces = Callable[[], Places]


def run(argv: Sequence[str], environ: Mapping[str, str], *, wall_ns: Callable[[], int]) -> int:
    """Show what is asked for, once or until interrupted. Returns the exit status."""
    args = parser().parse_args(argv)

    def places() -> Places:
        return find_places(environ, config_dir=args.config, data_dir=args.data_dir)

    console = Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False)
    show = _show_metrics(args, places, console, wall_ns) if args.metrics else _show_lines(args, places, console)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(show)
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; leave without a complaint at exit
        return DONE
    finally:
        loop.close()


def parser() -> argparse.ArgumentParser:
    """Build the command line; without one of the first four it is the first screen (`app/monitor`)."""
    parser = argparse.ArgumentParser(
        prog="monitor.py", description="Watch the daemon from outside: the first screen, its figures, or its log lines.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--metrics", action="store_true", help="the rolling figures of the last 60 seconds")
    what.add_argument("--tail", action="store_true", help="the newest log lines, and those that follow")
    what.add_argument("--errors", action="store_true", help="log lines at ERROR and above")
    what.add_argument("--search", metavar="TEXT", default="", help="log lines that hold TEXT, ignoring case; prints and ends")
    parser.add_argument("--once", action="store_true", help="print once and end")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--url", default="", help="where the API is (default: what the daemon's status file says)")
    parser.add_argument("--key-file", default="", metavar="FILE", help="file with a key of the API, mode 0600")
    parser.add_argument("--config", default="", metavar="DIR", help="configuration folder")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="data folder, when it is not the configured one")
    return parser


async def _show_metrics(
    args: argparse.Namespace, places: FindPlaces, console: Console, wall_ns: Callable[[], int]
) -> int:
    is_live = console.is_terminal and not (args.once or args.json)
    with Live(console=console, auto_refresh=False) if is_live else contextlib.nullcontext() as live:
        while True:
            here = places()
            found = await read_metrics(here)
            if live is not None:
                live.update(_metrics_table(here, found, wall_ns()), refresh=True)
            else:
                sys.stdout.write(_metrics_text(found, as_json=args.json) + "\n")
                sys.stdout.flush()
            if args.once:
                return DONE if isinstance(found, dict) else NOTHING
            await asyncio.sleep(REFRESH_SECONDS)


def _metrics_text(found: dict[str, str] | str, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(found if isinstance(found, dict) else {"error": found}).decode()
    if isinstance(found, str):
        return f"no metrics: {found}"
    return "\n".join(f"{key} {found.get(key, '-')}" for key in METRICS)


def _metrics_table(places: Places, found: dict[str, str] | str, now_ns: int) -> Table:
    """Draw the figures, and who they are about."""
    status = places.status
    title = "no daemon" if isinstance(status, str) else f"{status.env} {status.mode} {status.session_id}: {_armed(status)}"
    table = Table(title=title, title_justify="left", show_header=False)
    if isinstance(found, str):
        table.add_row("no metrics", Text(found, style="yellow"))
        return table
    for key in METRICS:
        table.add_row(key, Text(found.get(key, "-"), justify="right"))
    engine_ns = status.engine_ns(now_ns) if isinstance(status, Status) else now_ns
    age_s = max(0, engine_ns - int(found.get("updated_at_ns", "0") or 0)) / 1e9
    table.add_row("updated", Text(f"{age_s:.0f} s ago", style="" if age_s < 5 else "bold red", justify="right"))
    return table


def _armed(status: Status) -> str:
    return "armed" if status.armed else f"not armed because {'; '.join(status.not_armed_reasons)}"


async def _show_lines(args: argparse.Namespace, places: FindPlaces, console: Console) -> int:
    source = LogSource()
    level = logging.ERROR if args.errors else 0
    is_first = True
    while True:
        lines = matching(await source.read_new(places()), level_number=level, text=args.search)
        shown = lines if args.search or not is_first else lines[-LINES_AT_FIRST:]
        _print_lines(shown, console, as_json=args.json)
        if args.once or args.search:
            if not lines:
                sys.stderr.write(f"no such line in {source.name}\n")
            return DONE if lines else NOTHING
        is_first = False
        await asyncio.sleep(REFRESH_SECONDS)


def _print_lines(lines: Sequence[LogLine], console: Console, *, as_json: bool) -> None:
    for line in lines:
        text = msgspec.json.encode(line).decode() if as_json else terminal_line(line, clock_text(line.at_ns))
        if console.is_terminal and not as_json:
            style = next(style for number, style in _STYLES if line.level_number >= number)
            console.print(Text(text, style=style))
        else:
            sys.stdout.write(text + "\n")
    sys.stdout.flush()
