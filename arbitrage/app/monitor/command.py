"""The command line of `tools/monitor.py`: the first screen, live on a terminal, plain or JSON elsewhere; log lines as asked."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live

from arbitrage.app.monitor.keyboard import Keyboard, keys_of
from arbitrage.app.monitor.local import local_picture
from arbitrage.app.monitor.pages import PAGES, page
from arbitrage.app.monitor.picture import Picture
from arbitrage.app.monitor.surface import Refused, Surface
from arbitrage.ops import monitor_command
from arbitrage.ops.alerts.addresses import is_safe
from arbitrage.ops.log_lines import LogLine
from arbitrage.ops.log_sources import LogSource
from arbitrage.ops.places import Places, find_places
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.secrets import read_private
from arbitrage.ops.status import Status

KEY_VARIABLE, KEY_FILE_VARIABLE = "ARBITRAGE_API_KEY", "ARBITRAGE_API_KEY_FILE"
REFRESH_S, PLAIN_EVERY_S = 1.0, 5.0
PLAIN_WIDTH = 160
LOG_LINES_KEPT = 500
DONE, NOTHING, USAGE = 0, 1, 2


def run(argv: Sequence[str], environ: Mapping[str, str], *, wall_ns: Callable[[], int]) -> int:
    """Show what is asked for, once or until it is left. Returns the exit status."""
    arguments = monitor_command.parser().parse_args(argv)
    if arguments.metrics or arguments.tail or arguments.errors or arguments.search:
        return monitor_command.run(argv, environ, wall_ns=wall_ns)
    try:
        key = key_of(arguments, environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return USAGE
    try:
        return asyncio.run(Watch(arguments, environ, key, wall_ns).run())
    except KeyboardInterrupt:
        return DONE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; leave without a complaint at exit
        return DONE


def key_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """Read the key: the named file, else the variable's file, else the variable. Raises ConfigError."""
    named = arguments.key_file or environ.get(KEY_FILE_VARIABLE, "")
    if named:
        return read_private(Path(named)).decode("utf-8", "replace").strip()
    return environ.get(KEY_VARIABLE, "").strip()


def console_of(width: int | None) -> Console:
    """Write to standard output, every text as it is."""
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


class Watch:
    """One look, or many."""

    def __init__(
        self, arguments: argparse.Namespace, environ: Mapping[str, str], key: str, wall_ns: Callable[[], int]
    ) -> None:
        self._arguments = arguments
        self._environ = environ
        self._key = key
        self._wall_ns = wall_ns
        self._surface: Surface | None = None
        self._surface_url = ""
        self._log = LogSource()
        self._lines: list[LogLine] = []
        self._page = 1

    async def run(self) -> int:
        """Show until it is left."""
        is_live = sys.stdout.isatty() and not (self._arguments.once or self._arguments.json)
        try:
            return await (self._full_screen() if is_live else self._plain())
        finally:
            if self._surface is not None:
                await self._surface.close()

    async def _plain(self) -> int:
        console = console_of(None if sys.stdout.isatty() else PLAIN_WIDTH)
        while True:
            picture = await self._look(self._places())
            if self._arguments.json:
                sys.stdout.write(msgspec.json.encode(picture).decode() + "\n")
            else:
                console.print(page(1, picture))
            sys.stdout.flush()
            if self._arguments.once:
                return DONE if picture.is_there else NOTHING
            await asyncio.sleep(REFRESH_S if self._arguments.json else PLAIN_EVERY_S)

    async def _full_screen(self) -> int:
        console, stopped = console_of(None), asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        with keys_of(sys.stdin) as keyboard, Live(console=console, auto_refresh=False, screen=True) as live:
            while not stopped.is_set() and not keyboard.is_closed:
                places = self._places()
                picture = await self._look(places)
                if self._page == max(PAGES):
                    self._lines = [*self._lines, *await self._log.read_new(places)][-LOG_LINES_KEPT:]
                live.update(page(self._page, picture, self._lines, console.height), refresh=True)
                if await self._is_left(keyboard):
                    break
        return DONE

    async def _is_left(self, keyboard: Keyboard) -> bool:
        """Wait for a key for a second; say whether it was one to leave by."""
        key = await keyboard.pressed(REFRESH_S)
        if key.isdecimal() and int(key) in PAGES:
            self._page = int(key)
        return key in ("q", "Q", "\x03", "\x04")

    async def _look(self, places: Places) -> Picture:
        try:
            return await self._over_api(places)
        except Refused as refusal:
            picture = await local_picture(places, str(refusal), self._wall_ns())
        status = places.status
        return msgspec.structs.replace(picture, alerts=status.alerts) if isinstance(status, Status) else picture

    async def _over_api(self, places: Places) -> Picture:
        """Read over the API. Raises Refused."""
        status = places.status
        url = self._arguments.url or (status.web_url if isinstance(status, Status) else "")
        if not url:
            raise Refused("the daemon serves none, or its status file is not readable here")
        if not self._key:
            raise Refused(f"no key (--key-file, {KEY_FILE_VARIABLE} or {KEY_VARIABLE})")
        if not self._key.isascii() or not self._key.isprintable():
            raise Refused("the key holds what no key holds")
        if not is_safe(url):
            raise Refused("the key is sent over https or to this machine only")
        if self._surface is None or url != self._surface_url:
            if self._surface is not None:
                await self._surface.close()
            self._surface, self._surface_url = Surface(url, self._key), url
        return await self._surface.picture()

    def _places(self) -> Places:
        return find_places(self._environ, config_dir=self._arguments.config, data_dir=self._arguments.data_dir)
