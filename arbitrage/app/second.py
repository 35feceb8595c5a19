"""Finds out in a moment that another instance trades for the session, before a start reads half the package. Takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from arbitrage.app.clock import boot_ns
from arbitrage.ops.config import Loaded
from arbitrage.ops.problems import ConfigError
from arbitrage.store.lease import Holder, Lease, LeaseHeld
from arbitrage.store.postgres import POSTGRES_FAULTS, configured_postgres
from arbitrage.store.rows import Scope


def held_by_another(read: Callable[[], Loaded]) -> str:
    """Say who certainly holds the session's lease in a configured database; nothing where that is not certain.

    What is wrong with the configuration or the database is left to the start, which says so.
    """
    try:
        settings = read().settings
    except ConfigError:
        return ""
    endpoint = configured_postgres(settings.store)
    if endpoint is None:
        return ""
    lease = Lease(lambda: endpoint, Scope(settings.env, settings.session_name), Holder("nobody yet"), boot_ns)
    try:
        asyncio.run(lease.refuse_if_held())
    except LeaseHeld as held:
        return str(held)
    except POSTGRES_FAULTS:
        return ""
    return ""
