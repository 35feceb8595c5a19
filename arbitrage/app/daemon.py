"""The daemon's life: open the stores, restore, connect, trade, and leave everything as a crash would find it, only tidier.

Owns the tasks and the order of start and stop. Knows no venue by name, no strategy, and no money.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Callable, Collection, Sequence

from arbitrage.app.bans import BanFile
from arbitrage.app.clock import EngineClock
from arbitrage.app.door import Door
from arbitrage.app.exits import Exit
from arbitrage.app.housekeeping import Housekeeping
from arbitrage.app.keeping import StoreJournal, StoreRecorder
from arbitrage.app.modes import RealTiming, paper_transport
from arbitrage.app.notify import Notifier
from arbitrage.app.restoring import restore
from arbitrage.app.running import Running
from arbitrage.app.supervisor import Supervisor
from arbitrage.engine.engine import Engine
from arbitrage.model.events import Event, FaultKind, FeedFault, Funded, Reloaded, Wake
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded, compare
from arbitrage.ops.logs import Logs
from arbitrage.ops.loop_lag import sample_loop_lag
from arbitrage.ops.metrics import Metrics
from arbitrage.ops.problems import ConfigError
from arbitrage.store.stores import Extras, Stores
from arbitrage.venues.factory import make_session, transport_named
from arbitrage.venues.session import Session
from arbitrage.venues.wiring import Wiring

logger = logging.getLogger("arbitrage.daemon")
WAKE_S = 0.1
SETTLE_LOOKS, SETTLE_LOOK_S = 30, 0.01
"""On a stop, orders that are already on their way get 0.3 s to be answered before the snapshot."""
FAULT_LINE_NS = 60_000_000_000
"""A venue's fault of one kind is logged at most once in so long."""


class Daemon:
    """One session of the real process, paper for now. Made by `open_daemon`, ended by `run`."""

    def __init__(self, running: Running, reload: Callable[[], Loaded], notifier: Notifier) -> None:
        self.running = running
        self.supervisor = Supervisor()
        self._reload = reload
        self._reloading = asyncio.Lock()
        self._notifier = notifier
        self._housekeeping = Housekeeping(running, notifier)
        self._bans = BanFile(running.stores.data_dir)
        self._sessions = self._make_sessions()
        self._next_fault_line_ns: dict[tuple[Venue, FaultKind], int] = {}
        transport = paper_transport(running.settings, running.door, RealTiming(running.clock))
        running.door.connect(transport, self._resync)

    async def run(self) -> int:
        """Connect and trade until stopped; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.supervisor.on_unowned)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.supervisor.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.supervisor.spawn("reload", self._reload_whole()))
        running = self.running
        self.supervisor.spawn("stores", running.stores.run())
        for name, session in self._sessions.items():
            session.hold_requests(self._bans.until_ns(name))
            self.supervisor.spawn(f"session {name}", session.run())
        self.supervisor.spawn("wake", self._wake())
        self.supervisor.spawn("housekeeping", self._housekeeping.run())
        self.supervisor.spawn("loop lag", sample_loop_lag(running.clock, running.metrics.loop_latency))
        if running.settings.hot_path.busy_poll:
            self._poll()
        await self.supervisor.wait()
        return await self._close()

    async def _reload_whole(self) -> None:
        """Read the configuration again (SIGHUP): taken over whole, or the old one stays whole."""
        async with self._reloading:
            await self._reload_once()

    async def _reload_once(self) -> None:
        running = self.running
        self._notifier.reloading()
        try:
            fresh = await asyncio.to_thread(self._reload)
            change = compare(running.loaded, fresh)
            if change.is_accepted:
                running.door.feed([Reloaded(running.clock(), fresh.settings.trading, fresh.version)])
                running.loaded = fresh
                running.logs.set_level(fresh.settings.log.level)
                self._housekeeping.note_configuration("reload")
                self._housekeeping.save_snapshot_now("reload")
            logger.log(logging.INFO if change.is_accepted else logging.ERROR, "%s", change)
        except (ConfigError, ValueError) as refusal:
            logger.error("configuration refused: %s; the running one stays whole", refusal)
        self._notifier.ready(self._housekeeping.status_text())

    def sink(self, events: Sequence[Event]) -> None:
        """Take in what one frame said; called synchronously from the socket."""
        self.running.frames += 1
        for event in events:
            if type(event) is FeedFault:
                self._log_fault(event)
        self.running.door.feed(events)

    def _log_fault(self, fault: FeedFault) -> None:
        """Log a venue's fault, each kind once a minute; every one is counted by the board."""
        key = (fault.venue, fault.kind)
        if fault.at_ns >= self._next_fault_line_ns.get(key, 0):
            self._next_fault_line_ns[key] = fault.at_ns + FAULT_LINE_NS
            logger.warning("%s: %s: %s", fault.venue, fault.kind.value, fault.detail)

    def _make_sessions(self) -> dict[str, Session]:
        settings = self.running.settings
        wiring = Wiring(
            sink=self.sink,
            clock=self.running.clock,
            rng=random.Random(),
            transport=transport_named(settings.hot_path.transport),
            frames_per_yield=settings.hot_path.frames_per_decision_max,
        )
        ids = {key: market for market, key in enumerate(settings.market_symbols)}
        return {
            name: make_session(Venue(name), section, {symbol: ids[(name, symbol)] for symbol in section.symbols}, wiring)
            for name, section in settings.venues.items()
        }

    def _resync(self, market: int) -> None:
        venue, _ = self.running.settings.market_symbols[market]
        self._sessions[venue].resync(market)

    async def _wake(self) -> None:
        while True:
            await asyncio.sleep(WAKE_S)
            now_ns = self.running.clock()
            self.running.door.feed([Wake(now_ns)])
            self._bans.note({name: session.requests_held_until_ns for name, session in self._sessions.items()}, now_ns)

    async def _close(self) -> int:
        """Let orders in flight be answered, snapshot, stop the tasks, close the stores; return the exit status."""
        self._notifier.stopping("stopping: snapshot")
        self.running.door.rest()
        if self.supervisor.failure is None:
            await self._settle()
        self.running.door.close()
        failure = self.supervisor.failure
        if failure is None:
            self._housekeeping.save_snapshot_now("stopping")
        else:
            # A state that broke an invariant is not kept: the next start folds the journal over the snapshot before.
            logger.error(
                "stopped by %s: %r; no snapshot of this state is kept", self.supervisor.failed_task, failure, exc_info=failure
            )
        await self.supervisor.close()
        await self.running.stores.close()
        if failure is None:
            logger.info("stopped")
            return Exit.DONE
        return Exit.BROKEN if is_broken(failure) else Exit.CHECK_FAILED

    async def _settle(self) -> None:
        """Give what is under way a moment, so that a tidy stop leaves less to explain."""
        for _ in range(SETTLE_LOOKS):
            if self.supervisor.failure is not None or not self.running.engine.desk.open_plans():
                return
            await asyncio.sleep(SETTLE_LOOK_S)

    def _poll(self) -> None:
        """Keep the loop from sleeping (hot_path.busy_poll): costs a core, saves the kernel's wake-up."""
        if not self.supervisor.is_stopping:
            asyncio.get_running_loop().call_soon(self._poll)


def is_broken(failure: BaseException) -> bool:
    """Say whether a broken invariant is (among) what failed."""
    if isinstance(failure, BaseExceptionGroup):
        return failure.subgroup(AssertionError) is not None
    return isinstance(failure, AssertionError)


async def open_running(loaded: Loaded, clock: EngineClock, logs: Logs, id_prefix: str) -> Running:
    """Start the stores and rebuild the engine from what they hold. Raises STORE_REFUSALS and RestoreRefused."""
    settings = loaded.settings
    extras = Extras(settings.market_symbols, settings.log.stream_length_max, settings.log.queue_max)
    stores = await Stores.open(settings.store, settings.env, settings.session_name, clock, extras=extras)
    logs.hide((stores.postgres_endpoint().password, stores.redis_endpoint().password))
    for message in stores.messages:
        logger.info("%s", message)
    engine = Engine(settings.trading, settings.market_symbols, id_prefix=id_prefix)
    is_restored = False
    try:
        restored = await restore(engine, stores, logger, clock())
        is_restored = True
    finally:
        if not is_restored:
            await stores.close()
    if ahead_ns := clock.not_before(restored.newest_ns):
        logger.warning("the clock was set back: engine time goes on %.3f s ahead of it", ahead_ns / 1e9)
    metrics = Metrics()
    door = Door(engine, RealTiming(clock), StoreJournal(stores), StoreRecorder(stores, metrics, clock))
    door.feed(restored.differences)
    door.feed(funding(settings, engine.ledger.nodes(), clock()))
    return Running(loaded, clock, logs=logs, stores=stores, door=door, metrics=metrics)


def funding(settings: Settings, known: Collection[Node], at_ns: int) -> list[Event]:
    """Return the paper inventory as events, where the session has none yet: all of it at first, new places later."""
    return [
        Funded(at_ns, Venue(venue), Asset(asset), parse_e8(text), "paper inventory from the configuration")
        for venue, assets in settings.paper.inventory.items()
        for asset, text in assets.items()
        if parse_e8(text) and Node(Venue(venue), Asset(asset)) not in known
    ]
