"""Puts a daemon's parts together in the order that a start needs: servers, lease, tables, state, door. Runs nothing.

The lease comes before tables and state: what another instance runs on is not migrated, what is restored must not change hands.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from arbitrage.app.clock import EngineClock, boot_ns
from arbitrage.app.crash_points import CrashPoint
from arbitrage.app.door import Door, Journal
from arbitrage.app.identity import id_prefix
from arbitrage.app.keeping import StoreJournal, StoreRecorder
from arbitrage.app.kill_proof import KillProofs
from arbitrage.app.modes import RealTiming, RefusedToTrade, account_venues, funding, mode_of
from arbitrage.app.restoring import restore
from arbitrage.app.running import Running
from arbitrage.app.stall import StallGuard
from arbitrage.engine.engine import Engine
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded
from arbitrage.ops.logs import Logs
from arbitrage.ops.metrics import Metrics
from arbitrage.store.endpoints import POSTGRES_FAULTS
from arbitrage.store.lease import EpochFile, Holder, Lease, LeaseHeld, NotMigrated
from arbitrage.store.stores import Extras, Stores
from arbitrage.store.wal_keeper import WalLimits

logger = logging.getLogger("arbitrage.daemon")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Of this start of this machine: within it, a locked folder tells that who had it before has ended."""


class Circumstances(msgspec.Struct, frozen=True):
    """What one start has that others have not."""

    engine: type[Engine] = Engine
    standing_by: Callable[[str], None] | None = None
    """Waits for the lease, and is told all the while who holds it; None refuses at once."""
    wal: WalLimits | None = None
    """Where the embedded PostgreSQL's log is archived; None archives nothing."""
    crash: CrashPoint | None = None
    """Where a test of recovery has the process end."""


async def open_running(loaded: Loaded, clock: EngineClock, logs: Logs, circumstances: Circumstances) -> Running:
    """Start the stores, take the lease and rebuild the engine from what they hold.

    Raises STORE_REFUSALS, RestoreRefused and RefusedToTrade.
    """
    settings = loaded.settings
    claim = Claim(settings, clock, circumstances.standing_by)
    log, crash = settings.log, circumstances.crash
    extras = Extras(
        settings.market_symbols, log.stream_length_max, log.queue_max, wal=circumstances.wal,
        reached=crash.store if crash is not None else None, before_tables=claim.before_tables,
    )  # fmt: skip
    is_restored = False
    try:
        stores = await Stores.open(settings.store, settings.env, settings.session_name, clock, extras=extras)
        try:
            logs.hide((stores.postgres_endpoint().password, stores.redis_endpoint().password))
            for message in stores.messages:
                logger.info("%s", message)
            await claim.take(stores)
            prefix = id_prefix(settings.env, settings.session_name, claim.epoch, clock())
            accounts = account_venues(settings)
            engine = circumstances.engine(settings.trading, settings.market_symbols, id_prefix=prefix, account_venues=accounts)
            restored = await restore(engine, stores, logger, clock())
            is_restored = True
        finally:
            if not is_restored:
                await stores.close(before_servers=claim.give_up)
    finally:
        if not is_restored:
            await claim.give_up()
    if ahead_ns := clock.not_before(restored.newest_ns):
        logger.warning("the clock was set back: engine time goes on %.3f s ahead of it", ahead_ns / 1e9)
    metrics, proofs = Metrics(), KillProofs(stores.data_dir)
    journal: Journal = StoreJournal(stores)
    if crash is not None:
        journal = crash.around(journal)
    recorder = StoreRecorder(stores, metrics, clock, proofs)
    door = Door(engine, RealTiming(clock), journal, recorder, stall=StallGuard())
    door.decided = lambda now_ns, since_ns: metrics.decided(now_ns, (now_ns - since_ns) // 1_000)
    door.feed(restored.differences)
    door.feed(funding(settings, engine.ledger.nodes(), clock()))
    lease, epoch = claim.lease, claim.epoch
    return Running(
        loaded, clock, logs=logs, stores=stores, door=door, metrics=metrics, kill_proofs=proofs, lease=lease, epoch=epoch,
        ahead_ns=ahead_ns, recorder=recorder,
    )  # fmt: skip


class Claim:
    """This start's claim on the session's lease."""

    def __init__(self, settings: Settings, clock: EngineClock, standing_by: Callable[[str], None] | None) -> None:
        self.lease: Lease | None = None
        self.epoch = 0
        self._settings = settings
        self._clock = clock
        self._standing_by = standing_by

    async def before_tables(self, stores: Stores) -> None:
        """Take the lease before any table is touched, where there is one to take: what another runs on is not migrated."""
        with contextlib.suppress(NotMigrated):
            await self.take(stores)

    async def take(self, stores: Stores) -> None:
        """Take the session's lease, once. Raises RefusedToTrade or NotMigrated.

        Without its database only a mode whose orders are not real goes on, counting on from what the data folder knows.
        """
        if self.epoch:
            return
        settings, file = self._settings, EpochFile(stores.session_dir)
        known = file.read()
        lease = Lease(stores.postgres_endpoint, stores.scope, holder_of(stores), boot_ns)
        try:
            epoch = await lease.take(known, self._clock, waits=self._standing_by)
        except LeaseHeld as held:
            raise RefusedToTrade(str(held)) from None
        except POSTGRES_FAULTS as error:
            lease.drop()
            if mode_of(settings).is_real:
                raise RefusedToTrade(f"no lease, no orders: PostgreSQL does not answer ({error})") from None
            logger.warning("no lease was taken: PostgreSQL does not answer (%s)", error)
            self.epoch = known + 1
            file.write(self.epoch)
            return
        self.lease, self.epoch = lease, epoch
        file.write(epoch)
        stores.writer.epoch = epoch
        logger.info("epoch %d of session %s", epoch, settings.session_name)

    async def give_up(self) -> None:
        """Let go of it: the start failed before anything was sent."""
        if self.lease is not None:
            await self.lease.give_back()


def holder_of(stores: Stores) -> Holder:
    """Say who we are, to people and to a later start on the same folder."""
    folder = stores.session_dir.stat()
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    keeper = f"{boot} {folder.st_dev}:{folder.st_ino}" if boot else ""
    return Holder(f"{socket.gethostname()} process {os.getpid()}", keeper, is_shared=stores.is_postgres_shared)
