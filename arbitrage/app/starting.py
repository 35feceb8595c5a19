"""What `run` and `demo` share: logs, preflight, the daemon on uvloop, and refusals as one line with an exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import msgspec
import uvloop

from arbitrage.app.alerting import make_office
from arbitrage.app.backing_up import wal_limits
from arbitrage.app.bans import BanFile
from arbitrage.app.clock import EngineClock
from arbitrage.app.connections import Connections
from arbitrage.app.crash_points import armed
from arbitrage.app.daemon import Daemon
from arbitrage.app.exits import Exit
from arbitrage.app.kill_file import KillFile
from arbitrage.app.modes import RefusedToTrade, keys_for
from arbitrage.app.notify import Notifier
from arbitrage.app.opening import Circumstances, open_running
from arbitrage.app.running import Running
from arbitrage.app.second import FolderHeld, held
from arbitrage.app.supervisor import Supervisor
from arbitrage.engine.engine import Engine, RestoreRefused
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded, Read
from arbitrage.ops.keys import hidden_key, hidden_texts, read_channel_keys
from arbitrage.ops.log_lines import LogLine
from arbitrage.ops.log_sources import stream_entry
from arbitrage.ops.logs import Logs, is_journal
from arbitrage.ops.preflight import database_problems, fee_report, folder_problems
from arbitrage.ops.problems import ConfigError
from arbitrage.store.rows import LogRow
from arbitrage.store.stores import STORE_REFUSALS
from arbitrage.venues.trading import Credentials

logger = logging.getLogger("arbitrage.daemon")


class DatabaseAway(Exception):
    """A named database does not answer at start: exit status 1, so that a service manager tries again."""


Extra = Callable[[Running], Coroutine[object, object, None]]
"""Work beside the daemon, such as a screen; cancelled with it, and the daemon stops when it ends."""


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


def check(loaded: Loaded, environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Refuse what must not start; return the keys that the mode signs with. Raises RefusedToTrade or ConfigError."""
    keys = keys_for(loaded.settings, environ)
    if problems := folder_problems(loaded):
        raise ConfigError(problems)
    return keys


async def check_databases(loaded: Loaded) -> None:
    """Say which named servers do not answer. Raises DatabaseAway for PostgreSQL: a start without it could not be recorded.

    Redis is only missed: trading goes on without rolling metrics.
    """
    for problem in await database_problems(loaded):
        if "store.postgres" in problem.where:
            raise DatabaseAway(str(problem))
        logger.warning("%s", problem)


class Orders(msgspec.Struct, frozen=True):
    """How a daemon is to be run."""

    reload: Read
    is_quiet: bool = False
    seconds: float = 0.0
    """0 runs until stopped."""
    is_standby: bool = False
    """Wait while another instance holds the session's lease."""
    beside: Extra | None = None
    environ: Mapping[str, str] = os.environ
    """Where systemd's credentials are named."""
    is_told: bool = False
    """Alerts go to the configured channels; a demonstration or a drill tells nobody."""
    engine: type[Engine] = Engine
    prepare: Callable[[Connections], None] | None = None
    """What a drill's test puts in the place of engine and connections, to see that the drill notices."""


async def trade(loaded: Loaded, orders: Orders) -> tuple[int, Running]:
    """Open a daemon and run it until stopped. Returns status and what ran."""
    keys = check(loaded, orders.environ)
    with held(Path(loaded.settings.store.data_dir)):
        return await _Trading(loaded, keys, orders).run()


class _Trading:
    """One daemon from its first log line to its last."""

    def __init__(self, loaded: Loaded, keys: Mapping[str, Credentials], orders: Orders) -> None:
        settings = loaded.settings
        self._orders = orders
        self._loaded = loaded
        self._keys = keys
        self._clock = EngineClock()
        self._data_dir = Path(settings.store.data_dir).resolve()
        stream = None if orders.is_quiet else sys.stdout
        is_for_journal = is_journal(os.environ, sys.stdout)
        self._logs = Logs(settings.log, settings.env, redactor=loaded.redactor, stream=stream, for_journal=is_for_journal)
        self._logs.hide(hidden_texts(keys))
        self._crash = armed(settings, orders.environ)
        self._wal = wal_limits(settings, orders.environ)
        self._logs.hide(hidden_key(settings, orders.environ))
        self._channel_keys = read_channel_keys(settings, orders.environ) if orders.is_told else {}
        self._logs.hide(self._channel_keys.values())

    async def run(self) -> tuple[int, Running]:
        """Start, trade, stop."""
        settings, orders = self._loaded.settings, self._orders
        self._logs.start()
        # Until the daemon listens, the signal leaves the file: a kill must never be lost to a start that takes its time.
        early = KillFile(self._data_dir)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: early.write("signal SIGUSR1 during the start"))
        connections = Connections(settings, self._keys, self._clock, BanFile(self._data_dir))
        notifier = Notifier.from_environment()
        if self._crash is not None:
            self._crash.watch(connections)
        if orders.prepare is not None:
            orders.prepare(connections)
        try:
            logger.info("starting: env %s, mode %s, session %s", settings.env, settings.mode, settings.session_name)
            logger.info("%s", fee_report(self._loaded))
            await check_databases(self._loaded)
            standby = Standby(settings, notifier) if orders.is_standby else None
            if refusals := await connections.check():
                raise RefusedToTrade(f"MODE={settings.mode} is refused: {'; '.join(refusals)}")
            circumstances = Circumstances(orders.engine, standby, self._wal, self._crash)
            running = await open_running(self._loaded, self._clock, self._logs, circumstances)
            attach(self._logs, running)
            if orders.is_told:
                running.office = make_office(running, self._channel_keys)
                running.office.start()
            daemon = Daemon(running, orders.reload, notifier, connections)
            if orders.beside is not None:
                daemon.supervisor.spawn("beside", _until_it_ends(orders.beside(running), daemon.supervisor))
            if orders.seconds:
                asyncio.get_running_loop().call_later(orders.seconds, daemon.supervisor.stop)
            return await daemon.run(), running
        finally:
            await connections.close()
            self._logs.stop()


class Standby:
    """Says that this instance waits for the lease: in the log when something changes, to the service manager all the while."""

    def __init__(self, settings: Settings, notifier: Notifier) -> None:
        """Raises RefusedToTrade where there is nothing to wait for."""
        if not settings.store.postgres_host:
            raise RefusedToTrade("--standby waits for a lease in a database that both instances reach: set POSTGRES_HOST")
        self._session = settings.session_name
        self._notifier = notifier
        self._told = ""

    def __call__(self, holder: str) -> None:
        """Hear who holds the lease now; nothing while it changes hands."""
        self._notifier.watchdog()
        if holder in ("", self._told):
            return
        if not self._told:
            self._notifier.ready("standing by")
        self._told = holder
        logger.info("standing by for session %s: held by %s", self._session, holder)
        self._notifier.status(f"standing by: held by {holder}")


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
