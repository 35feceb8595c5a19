"""The lease: one instance at a time may trade for a session, and each start has a number. Never waits long, never guesses.

An advisory lock alone does not fence: when PostgreSQL restarts, the lock is free while its old holder still runs. So the
holder asks four times a second whether it still holds; a start counts the epoch up under the lock; an old holder that comes
back finds a higher epoch and is fenced for good; and the epoch is part of every order id, so that orders tell whose they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.files import write_durably
from arbitrage.store.rows import Scope

logger = logging.getLogger("arbitrage.daemon")
HEARTBEAT_SECONDS = 0.25
ANSWER_SECONDS_MAX = 1.0
"""Together with the heartbeat: the longest that a lost lease goes unnoticed."""
TAKE_SECONDS_MAX = 3.0
"""How long a start waits for a predecessor that has just died to be noticed by the database."""
TAKE_STEP_SECONDS = 0.1
FILE_NAME = "epoch.json"

_TAKE = """INSERT INTO leases (env, session_id, epoch, holder, taken_at_ns) VALUES ($1, $2, $3::bigint + 1, $4, $5)
ON CONFLICT (env, session_id) DO UPDATE SET epoch = greatest(leases.epoch, $3::bigint) + 1, holder = $4, taken_at_ns = $5
RETURNING epoch"""
_EPOCH = "SELECT epoch, holder FROM leases WHERE env = $1 AND session_id = $2"


class LeaseHeld(Exception):
    """Another instance holds the session's lease; the text names it."""


class Fenced(Exception):
    """Another instance took the session over while this one did not hold its lease: this one must send nothing more."""


class EpochFile:
    """The highest epoch that this data folder knows: a database that was lost must not make old order ids anew."""

    def __init__(self, session_dir: Path) -> None:
        self._path = session_dir / FILE_NAME

    def read(self) -> int:
        """Return it; 0 for none."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=int)
        except FileNotFoundError:
            return 0

    def write(self, epoch: int) -> None:
        """Keep it. Raises OSError."""
        write_durably(self._path, msgspec.json.encode(epoch))


class Lease:
    """One session's lease, held over a connection of its own."""

    def __init__(self, endpoint: Callable[[], PostgresEndpoint], scope: Scope, holder: str) -> None:
        self._endpoint = endpoint
        self._key = (scope.env, scope.session_id)
        self._lock = _lock_number(scope)
        self._holder = holder
        self._connection: Any = None
        self.epoch = 0
        self.trouble = "the lease was not taken yet"
        """Why it is not held; empty while it is."""
        self.losses = 0

    async def take(self, known_epoch: int, at_ns: int) -> int:
        """Take the lease and count the epoch up. Raises LeaseHeld, or one of POSTGRES_FAULTS."""
        for _ in range(round(TAKE_SECONDS_MAX / TAKE_STEP_SECONDS)):
            if await self._lock_once():
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    self.epoch = await self._connection.fetchval(_TAKE, *self._key, known_epoch, self._holder, at_ns)
                self.trouble = ""
                return self.epoch
            await asyncio.sleep(TAKE_STEP_SECONDS)
        row = await self._connection.fetchrow(_EPOCH, *self._key)
        self.drop()
        holder = f"{row['holder']}, epoch {row['epoch']}" if row is not None else "unknown"
        env, session = self._key
        raise LeaseHeld(f"another instance trades for session {session} of {env} on {self._endpoint()} ({holder})")

    async def run(self, changed: Callable[[], None]) -> None:
        """Keep the lease until cancelled; call `changed` whenever it is lost or held again. Raises Fenced."""
        assert self.epoch > 0, "a lease is taken before it is kept"
        try:
            while True:
                before = self.trouble
                try:
                    await self._beat()
                    self.trouble = ""
                except POSTGRES_FAULTS as error:
                    self.drop()
                    self.trouble = f"the lease is lost ({' '.join(str(error).split())[:200] or type(error).__name__})"
                if bool(self.trouble) != bool(before):
                    self.losses += bool(self.trouble)
                    changed()
                await asyncio.sleep(HEARTBEAT_SECONDS)
        finally:
            self.drop()

    def drop(self) -> None:
        """Close the connection; the database frees the lock with it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _beat(self) -> None:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            if self._connection is None and not await self._lock_once():
                raise TimeoutError("another instance holds the lock")
            row = await self._connection.fetchrow(_EPOCH, *self._key)
        if row is None or row["epoch"] != self.epoch:
            found = "its row is gone" if row is None else f"epoch {row['epoch']} of {row['holder']}"
            self.trouble = f"fenced: {found}, ours is {self.epoch}"
            raise Fenced(self.trouble)

    async def _lock_once(self) -> bool:
        if self._connection is None:
            self._connection = await connect_postgres(self._endpoint())
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return bool(await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock))


def _lock_number(scope: Scope) -> int:
    digest = hashlib.blake2b(f"arbitrage lease {scope.env}/{scope.session_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
