"""What `run` and `demo` share: logs, preflight, the daemon on uvloop, and refusals as one line with an exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path

import uvloop

from arbitrage.app.clock import EngineClock
from arbitrage.app.daemon import Daemon, open_running
from arbitrage.app.exits import Exit
from arbitrage.app.modes import RefusedToTrade, check_mode
from arbitrage.app.notify import Notifier
from arbitrage.app.running import Running
from arbitrage.app.supervisor import Supervisor
from arbitrage.engine.engine import RestoreRefused
from arbitrage.ops.config import Loaded
from arbitrage.ops.log_lines import LogLine
from arbitrage.ops.log_sources import stream_entry
from arbitrage.ops.logs import Logs, is_journal
from arbitrage.ops.preflight import database_problems, fee_report, folder_problems, live_refusal
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.status import Status, read_status
from arbitrage.store.locks import FolderLock
from arbitrage.store.rows import LogRow
from arbitrage.store.stores import STORE_REFUSALS

logger = logging.getLogger("arbitrage.daemon")


class DatabaseAway(Exception):
    """A named database does not answer at start: exit status 1, so that a service manager tries again."""


class FolderHeld(Exception):
    """Another daemon runs on the data folder; the text names it."""


Extra = Callable[[Running], Coroutine[object, object, None]]
"""Work beside the daemon, such as a screen; cancelled with it, and the daemon stops when it ends."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def id_prefix(now_ns: int) -> str:
    """Make this start's prefix of order ids from its time: sorted by start, and new at every start a millisecond apart."""
    number, text = now_ns // 1_000_000, ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return f"a{text}"


def duration(text: str) -> float:
    """Read `--for`: seconds, not negative. Raises argparse.ArgumentTypeError."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time from now on")
    return seconds


def guarded(work: Callable[[], Awaitable[int]]) -> int:
    """Run on uvloop; turn every refusal into one line on standard error and its exit status."""
    try:
        return uvloop.run(_awaited(work))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.USAGE
    except RestoreRefused as refusal:
        print(refusal, file=sys.stderr)
        return Exit.USAGE
    except RefusedToTrade as refusal:
        print(refusal, file=sys.stderr)
        return Exit.REFUSED_TO_TRADE
    except (*STORE_REFUSALS, DatabaseAway, FolderHeld) as refusal:
        print(refusal, file=sys.stderr)
        return Exit.CHECK_FAILED


async def _awaited(work: Callable[[], Awaitable[int]]) -> int:
    return await work()


def check(loaded: Loaded) -> None:
    """Refuse what must not start. Raises RefusedToTrade or ConfigError."""
    if refusal := live_refusal(loaded):
        raise RefusedToTrade(refusal)
    check_mode(loaded.settings)
    if problems := folder_problems(loaded):
        raise ConfigError(problems)


async def check_databases(loaded: Loaded) -> None:
    """Say which named servers do not answer. Raises DatabaseAway for PostgreSQL: a start without it could not be recorded.

    Redis is only missed: trading goes on without rolling metrics.
    """
    for problem in await database_problems(loaded):
        if "store.postgres" in problem.where:
            raise DatabaseAway(str(problem))
        logger.warning("%s", problem)


async def trade(
    loaded: Loaded, *, reload: Callable[[], Loaded], is_quiet: bool, seconds: float, beside: Extra | None = None
) -> tuple[int, Running]:
    """Open a daemon and run it until stopped, or for so many seconds (0: until stopped). Returns status and what ran."""
    check(loaded)
    with held(Path(loaded.settings.store.data_dir)):
        return await _trade(loaded, reload=reload, is_quiet=is_quiet, seconds=seconds, beside=beside)


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Claim a data folder: status, bans and logs have one writer. Raises FolderHeld."""
    lock = FolderLock(data_dir / "daemon.lock")
    if not lock.acquire():
        status = read_status(data_dir)
        holder = f" (process {status.pid}, session {status.session_id})" if isinstance(status, Status) else ""
        raise FolderHeld(
            f"{data_dir}: another daemon runs on this data folder{holder}; stop it, "
            "or give this one a folder of its own with ARBITRAGE__STORE__DATA_DIR"
        )
    try:
        yield
    finally:
        lock.release()


async def _trade(
    loaded: Loaded, *, reload: Callable[[], Loaded], is_quiet: bool, seconds: float, beside: Extra | None
) -> tuple[int, Running]:
    settings = loaded.settings
    stream = None if is_quiet else sys.stdout
    logs = Logs(
        settings.log, settings.env, redactor=loaded.redactor, stream=stream, for_journal=is_journal(os.environ, sys.stdout)
    )
    logs.start()
    clock = EngineClock()
    try:
        logger.info("starting: env %s, mode %s, session %s", settings.env, settings.mode, settings.session_name)
        logger.info("%s", fee_report(loaded))
        await check_databases(loaded)
        running = await open_running(loaded, clock, logs, id_prefix(clock()))
        attach(logs, running)
        daemon = Daemon(running, reload, Notifier.from_environment())
        if beside is not None:
            daemon.supervisor.spawn("beside", _until_it_ends(beside(running), daemon.supervisor))
        if seconds:
            asyncio.get_running_loop().call_later(seconds, daemon.supervisor.stop)
        return await daemon.run(), running
    finally:
        logs.stop()


async def _until_it_ends(work: Coroutine[object, object, None], supervisor: Supervisor) -> None:
    """Stop the house, tidily, when the work beside it has ended: nobody watches any more."""
    await work
    supervisor.stop()


def attach(logs: Logs, running: Running) -> None:
    """Send log lines to the Redis stream, warnings to the table too, and count errors: from the log thread, without waiting."""
    loop, stores = asyncio.get_running_loop(), running.stores

    def offer_stream(lines: Sequence[LogLine]) -> None:
        for line in lines:
            stores.offer_stream_line(stream_entry(line))

    def offer_table(lines: Sequence[LogLine]) -> None:
        for line in lines:
            stores.offer_log(LogRow(line.at_ns, line.level, line.code, line.text, line.fields))

    def count(errors: int) -> None:
        for _ in range(errors):
            running.metrics.error(running.clock())

    def to_stream(lines: Sequence[LogLine]) -> None:
        loop.call_soon_threadsafe(offer_stream, lines)

    def to_table(lines: Sequence[LogLine]) -> None:
        loop.call_soon_threadsafe(offer_table, lines)

    logs.add_sink(to_stream)

    def to_metrics(lines: Sequence[LogLine]) -> None:
        loop.call_soon_threadsafe(count, len(lines))

    logs.add_sink(to_table, logging.WARNING)
    logs.add_sink(to_metrics, logging.ERROR)
