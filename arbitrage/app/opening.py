"""Puts a daemon's parts together in the order that a start needs: stores, lease, state, door. Runs nothing.

The lease comes before the state: what is restored must not change hands afterwards.
"""

from __future__ import annotations

import logging
import os
import socket

from arbitrage.app.clock import EngineClock
from arbitrage.app.door import Door
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
from arbitrage.store.lease import EpochFile, Lease, LeaseHeld
from arbitrage.store.stores import Extras, Stores

logger = logging.getLogger("arbitrage.daemon")


async def open_running(loaded: Loaded, clock: EngineClock, logs: Logs, kind: type[Engine] = Engine) -> Running:
    """Start the stores, take the lease and rebuild the engine from what they hold.

    Raises STORE_REFUSALS, RestoreRefused and RefusedToTrade.
    """
    settings = loaded.settings
    extras = Extras(settings.market_symbols, settings.log.stream_length_max, settings.log.queue_max)
    stores = await Stores.open(settings.store, settings.env, settings.session_name, clock, extras=extras)
    logs.hide((stores.postgres_endpoint().password, stores.redis_endpoint().password))
    for message in stores.messages:
        logger.info("%s", message)
    lease: Lease | None = None
    is_restored = False
    try:
        lease, epoch = await take_lease(stores, settings, clock())
        prefix = id_prefix(settings.env, settings.session_name, epoch, clock())
        accounts = account_venues(settings)
        engine = kind(settings.trading, settings.market_symbols, id_prefix=prefix, account_venues=accounts)
        restored = await restore(engine, stores, logger, clock())
        is_restored = True
    finally:
        if not is_restored:
            if lease is not None:
                lease.drop()
            await stores.close()
    if ahead_ns := clock.not_before(restored.newest_ns):
        logger.warning("the clock was set back: engine time goes on %.3f s ahead of it", ahead_ns / 1e9)
    metrics, proofs = Metrics(), KillProofs(stores.data_dir)
    recorder = StoreRecorder(stores, metrics, clock, proofs)
    door = Door(engine, RealTiming(clock), StoreJournal(stores), recorder, stall=StallGuard())
    door.decided = lambda now_ns, since_ns: metrics.decided(now_ns, (now_ns - since_ns) // 1_000)
    door.feed(restored.differences)
    door.feed(funding(settings, engine.ledger.nodes(), clock()))
    return Running(
        loaded, clock, logs=logs, stores=stores, door=door, metrics=metrics, kill_proofs=proofs, lease=lease, epoch=epoch,
        ahead_ns=ahead_ns,
    )  # fmt: skip


async def take_lease(stores: Stores, settings: Settings, at_ns: int) -> tuple[Lease | None, int]:
    """Take the session's lease; return it and this start's epoch. Raises RefusedToTrade.

    Without its database only a mode whose orders are not real goes on, counting on from what the data folder knows.
    """
    file = EpochFile(stores.session_dir)
    lease = Lease(stores.postgres_endpoint, stores.scope, f"{socket.gethostname()} process {os.getpid()}")
    known = file.read()
    try:
        epoch = await lease.take(known, at_ns)
    except LeaseHeld as held:
        raise RefusedToTrade(str(held)) from None
    except POSTGRES_FAULTS as error:
        lease.drop()
        if mode_of(settings).is_real:
            raise RefusedToTrade(f"no lease, no orders: PostgreSQL does not answer ({error})") from None
        logger.warning("no lease was taken: PostgreSQL does not answer (%s)", error)
        file.write(known + 1)
        return None, known + 1
    file.write(epoch)
    stores.writer.epoch = epoch
    logger.info("epoch %d of session %s", epoch, settings.session_name)
    return lease, epoch
