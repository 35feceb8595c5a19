"""The daemon's life: open the stores, restore, connect, trade, and leave everything as a crash would find it, only tidier.

Owns the tasks and the order of start and stop. Knows no venue by name, no strategy, and no money.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

from arbitrage.app.answers import Answers
from arbitrage.app.configuring import Configuring
from arbitrage.app.connections import Connections
from arbitrage.app.control_socket import ControlSocket
from arbitrage.app.exits import Exit
from arbitrage.app.fence import Fence
from arbitrage.app.housekeeping import Housekeeping
from arbitrage.app.modes import LiveTransport, RealTiming, RefusedToTrade, make_transport, mode_of
from arbitrage.app.notify import Notifier
from arbitrage.app.operator import Operator
from arbitrage.app.running import Running
from arbitrage.app.supervisor import Supervisor
from arbitrage.app.surface import surface_of
from arbitrage.model.events import AccountLinkDown, FaultKind, FeedFault, FollowUpsDue, LinkUp, Wake
from arbitrage.model.instruments import Venue
from arbitrage.ops.config import Read
from arbitrage.ops.loop_lag import sample_loop_lag
from arbitrage.venues.wiring import VenueEvent

logger = logging.getLogger("arbitrage.daemon")
WAKE_S = 0.1
FOLLOW_UP_LOOK_S = 0.02
"""So late, at most, refused opportunities are priced again on an idle loop."""
SETTLE_LOOKS, SETTLE_LOOK_S = 300, 0.01
"""On a stop, arbitrages under way get 3 s to end before the snapshot: orders are answered, and a naked leg is governed."""
LEFT_SHOWN_MAX = 10
FAULT_LINE_NS = 60_000_000_000
"""A venue's fault of one kind is logged at most once in so long."""


class Daemon:
    """One session of the real process. Its parts are made by `open_running`; ended by `run`."""

    def __init__(
        self, running: Running, reload: Read, notifier: Notifier, connections: Connections
    ) -> None:
        self.running = running
        self.supervisor = Supervisor()
        self._notifier = notifier
        self._housekeeping = Housekeeping(running, notifier)
        self._configuring = Configuring(running, reload, notifier, self._housekeeping)
        self._connections = connections
        self._next_fault_line_ns: dict[tuple[Venue, FaultKind], int] = {}
        self.operator = Operator(running)
        self._surface = surface_of(running, self.operator, self._housekeeping, self._configuring, self.supervisor)
        self._control = ControlSocket(running.stores.data_dir, self.operator.hear, asyncio.get_running_loop())
        timing = RealTiming(running.clock)
        accounts = connections.accounts
        self._fence = Fence(running, timing.soon, self.supervisor.stop)
        self._transport = make_transport(running.settings, running.door, timing, accounts, self._fence.refusal)
        if isinstance(self._transport, LiveTransport):
            self._transport.ends_ns = self._fence.ends_ns
        self._transport.admit = self._admit
        running.door.connect(self._transport, self._resync)
        running.shadow = self._transport.counters
        self._answers = Answers(running.door, timing)
        instruments = running.engine.board.instruments
        connections.attach(self.sink, self.hear, lambda market: instruments[market], ahead_ns=running.ahead_ns)

    async def run(self) -> int:
        """Connect and trade until stopped; return the exit status."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.supervisor.on_unowned)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.supervisor.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.supervisor.spawn("reload", self._configuring.reload()))
        loop.add_signal_handler(signal.SIGUSR1, lambda: self.operator.kill("signal SIGUSR1", "a signal was sent"))
        running = self.running
        if running.office is not None:
            running.office.hear("started", f"epoch {running.epoch}")
        self.operator.look()  # before anything can be decided
        await self._control.open()
        self.supervisor.spawn("stores", running.stores.run())
        if running.lease is not None:
            self.supervisor.spawn("lease", self._fence.keep())
        for name, session in self._connections.feeds.items():
            self.supervisor.spawn(f"session {name}", session.run())
        self.supervisor.spawn("transport", self._transport.run())
        self.supervisor.spawn("wake", self._wake())
        self.supervisor.spawn("follow-ups", self._follow_up())
        self.supervisor.spawn("housekeeping", self._housekeeping.run())
        if self._housekeeping.alerting is not None:
            self.supervisor.spawn("backup watch", self._housekeeping.alerting.watch_backups())
        self.supervisor.spawn("kill exercise", self._housekeeping.keep_kill_proven())
        if self._surface is not None:
            self.supervisor.spawn("web", self._surface.run())
        self.supervisor.spawn("loop lag", sample_loop_lag(running.clock, running.metrics.loop_latency))
        if running.settings.hot_path.busy_poll:
            self._poll()
        await self.supervisor.wait()
        return await self._close()

    def sink(self, events: Sequence[VenueEvent]) -> None:
        """Take in what one frame said; called synchronously from the socket."""
        self.running.frames += 1
        self._log_faults(events)
        self.running.door.feed(events)

    def hear(self, events: Sequence[VenueEvent]) -> None:
        """Take in what an account's session says."""
        self._log_faults(events)
        self._answers.sink(events)

    def _log_faults(self, events: Sequence[VenueEvent]) -> None:
        for event in events:
            if type(event) is FeedFault:
                self._log_fault(event)
            elif type(event) is LinkUp:
                self.running.links_up[event.venue] += 1

    def _log_fault(self, fault: FeedFault) -> None:
        """Log a venue's fault, each kind once a minute; every one is counted by the board."""
        key = (fault.venue, fault.kind)
        if fault.at_ns >= self._next_fault_line_ns.get(key, 0):
            self._next_fault_line_ns[key] = fault.at_ns + FAULT_LINE_NS
            logger.warning("%s: %s: %s", fault.venue, fault.kind.value, fault.detail)

    async def _admit(self, venue: str) -> None:
        """Wait until a venue's key is known to be harmless; meanwhile the account is down, and the reason is shown."""

        def say(reason: str) -> None:
            if mode_of(self.running.settings).is_real:
                self.running.door.feed([AccountLinkDown(self.running.clock(), Venue(venue), reason)])

        await self._connections.admit(venue, say)

    def _resync(self, market: int) -> None:
        venue, _ = self.running.settings.market_symbols[market]
        self._connections.feeds[venue].resync(market)

    async def _wake(self) -> None:
        is_real = mode_of(self.running.settings).is_real
        while True:
            await asyncio.sleep(WAKE_S)
            now_ns = self.running.clock()
            self.operator.look()
            if is_real:
                self._connections.note_holds()
            self.running.door.feed([Wake(now_ns)])
            self._connections.note_bans()

    async def _follow_up(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_UP_LOOK_S)
            now_ns = self.running.clock()
            if now_ns >= self.running.engine.episodes.due_ns:
                self.running.door.feed([FollowUpsDue(now_ns)])

    async def _close(self) -> int:
        """Let orders in flight be answered, snapshot, stop the tasks, close the stores; return the exit status."""
        try:
            return await self._closed()
        finally:
            if self.running.office is not None:
                await asyncio.to_thread(self.running.office.close)

    async def _closed(self) -> int:
        self._notifier.stopping("stopping: snapshot")
        self.running.door.rest()
        if self._surface is not None:
            self._surface.rest()
        if self.supervisor.failure is None and not self._fence.reason:
            if self.running.engine.desk.open_plans():
                # Whoever sends SIGTERM may soon send SIGKILL: what is known is on disk before anything is waited for.
                self._housekeeping.save_snapshot_now("stopping, arbitrages are under way")
            await self._settle()
        self.running.door.close()
        failure = self.running.door.broken or self.supervisor.failure
        self._tell_end(failure)
        self._say_left()
        if self._fence.reason:
            logger.warning("no snapshot is kept: the session belongs to another instance now")
        elif failure is None or isinstance(failure, RefusedToTrade):
            self._housekeeping.save_snapshot_now("stopping")
        else:
            # A state that broke an invariant is not kept: the next start folds the journal over the snapshot before.
            logger.error(
                "stopped by %s: %r; no snapshot of this state is kept", self.supervisor.failed_task, failure, exc_info=failure
            )
        await self._control.close()
        lease = self.running.lease
        if lease is not None:
            await lease.rest()
        await self.supervisor.close()
        if self._surface is not None:
            await self._surface.close()
        await self.running.stores.close(before_servers=lease.give_back if lease is not None else None)
        if isinstance(failure, RefusedToTrade):
            logger.error("refused to trade: %s", failure)
        if self._fence.reason or isinstance(failure, RefusedToTrade):
            return Exit.REFUSED_TO_TRADE
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

    def _say_left(self) -> None:
        """Name what is still under way: it is left in the journal, as a crash would leave it, and the next start asks."""
        if left := [order.client_order_id for order, _ in self.running.engine.desk.unfinished()]:
            shown = ", ".join(left[:LEFT_SHOWN_MAX])
            logger.warning("stopping with %d orders unanswered; the next start asks about them: %s", len(left), shown)

    def _tell_end(self, failure: BaseException | None) -> None:
        """Have the alerts tell that it ends, and whether somebody wanted it to."""
        office = self.running.office
        if office is None:
            return
        if self._fence.reason:
            office.hear("broken", f"another instance trades: {self._fence.reason}")
        elif failure is None:
            office.hear("stopped", "as it was told")
        else:
            office.hear("broken", f"stopped by {self.supervisor.failed_task}: {type(failure).__name__}")

    def _poll(self) -> None:
        """Keep the loop from sleeping (hot_path.busy_poll): costs a core, saves the kernel's wake-up."""
        if not self.supervisor.is_stopping:
            asyncio.get_running_loop().call_soon(self._poll)


def is_broken(failure: BaseException) -> bool:
    """Say whether a broken invariant is (among) what failed."""
    if isinstance(failure, BaseExceptionGroup):
        return failure.subgroup(AssertionError) is not None
    return isinstance(failure, AssertionError)
