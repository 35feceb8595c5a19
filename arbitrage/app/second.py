"""Finds out in a moment that another instance has the folder or the lease, before a start reads half the package."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from arbitrage.app.clock import boot_ns
from arbitrage.app.exits import Exit
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.status import Status, read_status
from arbitrage.store.lease import Holder, Lease, LeaseHeld, when
from arbitrage.store.locks import FolderLock
from arbitrage.store.postgres import POSTGRES_FAULTS, configured_postgres
from arbitrage.store.rows import Scope

LOCK_NAME = "daemon.lock"


class FolderHeld(Exception):
    """Another daemon runs on the data folder; the text names it."""


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Claim a data folder: status, bans and logs have one writer. Raises FolderHeld."""
    lock = FolderLock(data_dir / LOCK_NAME)
    if not lock.acquire():
        status = read_status(data_dir)
        holder = ""
        if isinstance(status, Status):
            since = when(status.started_at_ns)
            holder = f" (process {status.pid}, session {status.session_id}, since {since}, epoch {status.epoch})"
        raise FolderHeld(
            f"{data_dir}: another daemon runs on this data folder{holder}; stop it, "
            "or give this one a folder of its own with ARBITRAGE__STORE__DATA_DIR"
        )
    try:
        yield
    finally:
        lock.release()


def refusal_of_second(read: Callable[[], Loaded], *, may_wait: bool) -> tuple[str, Exit] | None:
    """Say why a start is certainly the second one, and its exit status; None where that is not certain.

    What is wrong with the configuration or the database is left to the start, which says so. No lease refuses who may wait.
    """
    try:
        settings = read().settings
    except ConfigError:
        return None
    data_dir = Path(settings.store.data_dir)
    try:
        if (data_dir / LOCK_NAME).exists():
            with held(data_dir):
                pass  # nobody else is there: the start claims it for good
    except FolderHeld as refusal:
        return str(refusal), Exit.CHECK_FAILED
    except OSError:
        return None
    holder = "" if may_wait else _lease_holder(settings)
    return (holder, Exit.REFUSED_TO_TRADE) if holder else None


def _lease_holder(settings: Settings) -> str:
    """Say who certainly holds the session's lease in a configured database; nothing where that is not certain."""
    endpoint = configured_postgres(settings.store)
    if endpoint is None:
        return ""
    lease = Lease(lambda: endpoint, Scope(settings.env, settings.session_name), Holder("nobody yet"), boot_ns)
    try:
        asyncio.run(lease.refuse_if_held())
    except LeaseHeld as held_by:
        return str(held_by)
    except POSTGRES_FAULTS:
        return ""
    return ""
