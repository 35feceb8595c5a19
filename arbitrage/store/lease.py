"""The lease: one instance at a time may trade for a session, and each start has a number. Never guesses who is dead.

An advisory lock alone does not fence: when PostgreSQL restarts or a connection is cut, the lock is free while its old holder
still runs. So the holder beats four times a second and sends nothing once its last beat is older than `HOLD_SECONDS`; who
wants the lease takes it only after it has seen no beat for longer than that, by its own clock; a start counts the epoch up
under the lock; an old holder that comes back finds a higher epoch and is fenced for good; and the epoch is part of every order
id, so that orders tell whose they are. Only an end that is certain saves the wait: the holder gave the lease back, or it ran on
this boot of this machine with the data folder that is locked by us now.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from arbitrage.store.files import write_durably
from arbitrage.store.postgres import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.rows import Scope

HEARTBEAT_SECONDS = 0.25
ANSWER_SECONDS_MAX = 0.9
"""A beat that takes longer counts as lost; with the heartbeat before it, just less than `HOLD_SECONDS`."""
HOLD_SECONDS = 1.2
"""A holder whose last confirmed beat was sent longer ago sends no order: another instance may be here soon."""
EXPIRY_SECONDS = 1.6
"""Who has seen no beat for so long may take the lease. What is more than `HOLD_SECONDS` covers orders on their way."""
QUIET_SECONDS_MAX = 10.0
"""How long a holder that starts or stops may go without a beat: it sends nothing then, and the loop may stand still."""
LOOK_SECONDS = 0.05
TAKE_SECONDS_MAX = 15.0
"""How long a start waits for a predecessor of which nothing is heard any more."""
LOCK_MS_MAX = 100
FILE_NAME = "epoch.json"

_LOCK_NUMBER = "((classid::bigint << 32) | objid::bigint)"
_OUR_LOCK = f"""locktype = 'advisory' AND objsubid = 1 AND {_LOCK_NUMBER} = $1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_LOCK = "SELECT pg_try_advisory_lock($1)"
_BEATS_MAY_BE_LOST = "SET synchronous_commit = off"
"""With a crash of the database, which only makes others wait longer. An epoch may not."""
_LOOK = f"""SELECT epoch, holder, taken_at_ns, beats, lasts_ms, keeper,
    (extract(epoch FROM clock_timestamp() - beaten_at) * 1000)::bigint AS age_ms,
    EXISTS (SELECT FROM pg_locks WHERE granted AND {_OUR_LOCK}) AS is_locked
FROM leases LEFT JOIN lease_beats USING (env, session_id, epoch) WHERE env = $2 AND session_id = $3"""
_TAKE = """INSERT INTO leases (env, session_id, epoch, holder, taken_at_ns) VALUES ($1, $2, $3::bigint + 1, $4, $5)
ON CONFLICT (env, session_id) DO UPDATE SET epoch = greatest(leases.epoch, $3::bigint) + 1, holder = $4, taken_at_ns = $5
WHERE leases.epoch = $6 RETURNING epoch"""
_NEW_BEAT = "(random() * 9e15)::bigint"
"""Never counted on: a crash of the database may lose the last beats, and the number that was seen would come again."""
_FIRST_BEAT = f"""INSERT INTO lease_beats VALUES ($1, $2, $3, 1, $4, $5, clock_timestamp())
ON CONFLICT (env, session_id) DO UPDATE
SET epoch = $3, beats = {_NEW_BEAT}, lasts_ms = $4, keeper = $5, beaten_at = clock_timestamp()
WHERE lease_beats.epoch <> $6 OR lease_beats.beats = $7::bigint RETURNING beats"""
_BEAT = f"""WITH beaten AS (
    UPDATE lease_beats SET beats = {_NEW_BEAT}, lasts_ms = $4, beaten_at = clock_timestamp()
    WHERE env = $1 AND session_id = $2 AND epoch = $3 RETURNING epoch
) SELECT leases.epoch, holder, EXISTS (SELECT FROM beaten) AS is_beaten FROM leases WHERE env = $1 AND session_id = $2"""
_STANDS = """SELECT leases.epoch, holder, lease_beats.epoch = $3 AND $4::integer >= 0 AS is_beaten
FROM leases JOIN lease_beats USING (env, session_id) WHERE env = $1 AND session_id = $2"""
_END_HOLDER = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE granted AND pid <> pg_backend_pid() AND {_OUR_LOCK}"
_END_WRITERS = """SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE granted AND pid <> pg_backend_pid() AND relation = 'leases'::regclass AND mode IN ('RowShareLock', 'RowExclusiveLock')"""


class LeaseHeld(Exception):
    """Another instance holds the session's lease; the text names it."""


class Fenced(Exception):
    """Another instance took the session over while this one did not hold its lease: this one must send nothing more."""


class NotMigrated(Exception):
    """The database has no table of leases yet, or one of an older version."""


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


class Holder(msgspec.Struct, frozen=True):
    """Who takes a lease."""

    name: str
    """For people: machine and process."""
    keeper: str = ""
    """Machine, boot and data folder, which is locked: a holder of the same has ended. Empty proves nothing."""
    is_shared: bool = True
    """Other machines reach the database, so that a holder that cannot reach it may have a successor."""


class Seen(msgspec.Struct, frozen=True):
    """One look at the lease. `beats` and what follows are None where an older version holds it."""

    epoch: int
    holder: str
    taken_at_ns: int
    beats: int | None
    lasts_ms: int | None
    keeper: str | None
    age_ms: int | None
    """By the server's clock, which may jump: a small one only ever refuses."""
    is_locked: bool

    @property
    def is_given_back(self) -> bool:
        return self.lasts_ms == 0

    def text(self) -> str:
        """Say who holds it."""
        return f"{self.holder} since {when(self.taken_at_ns)}, epoch {self.epoch}"


class Watch:
    """How long nothing was heard of a holder, by our own clock."""

    def __init__(self) -> None:
        self._last: tuple[int, int | None] | None = None
        self._since_ns = 0
        self._changes = 0
        self.locked_out = 0
        """How often in a row the lock was not to be had: once may be somebody else who takes the lease just now."""

    def saw(self, seen: Seen, now_ns: int) -> None:
        """Take in a look."""
        if self._last != (seen.epoch, seen.beats):
            self._changes += self._last is not None
            self._last, self._since_ns = (seen.epoch, seen.beats), now_ns

    def is_over(self, seen: Seen, now_ns: int) -> bool:
        """Tell whether the holder has been silent for as long as it may be. What an older version holds never is."""
        return seen.lasts_ms is not None and now_ns - self._since_ns >= seen.lasts_ms * 1_000_000

    def is_alive(self, seen: Seen) -> bool:
        """Tell whether somebody certainly holds it now: connected, and heard of lately or since we look."""
        if seen.lasts_ms is None or seen.age_ms is None:
            return seen.is_locked
        return seen.is_locked and not seen.is_given_back and (self._changes > 0 or seen.age_ms < seen.lasts_ms)


class Lease:
    """One session's lease, held over a connection of its own."""

    def __init__(
        self, endpoint: Callable[[], PostgresEndpoint], scope: Scope, holder: Holder, clock: Callable[[], int]
    ) -> None:
        """`clock` never jumps, and counts while the machine sleeps; nanoseconds."""
        self._endpoint = endpoint
        self._key = (scope.env, scope.session_id)
        self._lock = _lock_number(scope)
        self._holder = holder
        self._clock = clock
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self._lasts_s = EXPIRY_SECONDS
        self._confirmed_ns = 0
        self._was_held = False
        """What `changed` was told last."""
        self.epoch = 0
        self.trouble = "the lease was not taken yet"
        """Why it is not held; empty while it is."""
        self.losses = 0

    @property
    def is_shared(self) -> bool:
        return self._holder.is_shared

    @property
    def left_ns(self) -> int:
        """How long nobody else can hold it yet, as far as this instance can know."""
        return self._confirmed_ns + round(HOLD_SECONDS * 1e9) - self._clock()

    def silence(self) -> str:
        """Say why no order may leave now, or nothing. For a process that stood still this is the first to notice."""
        if not self.is_shared:
            return ""
        if not self.trouble and self.left_ns <= 0:
            self._lose(f"the lease is lost (not renewed for {HOLD_SECONDS:g} s)")
            self._was_held = False
        return self.trouble

    async def look(self) -> Seen | None:
        """Return who holds it, None for nobody ever. Raises one of POSTGRES_FAULTS or NotMigrated."""
        if self._connection is None:
            self._connection = await connect_postgres(self._endpoint())
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                row = await self._connection.fetchrow(_LOOK, self._lock, *self._key)
        except asyncpg.UndefinedTableError:
            self.drop()
            raise NotMigrated(str(self._endpoint())) from None
        return Seen(**row) if row is not None else None

    async def refuse_if_held(self) -> None:
        """Look once. Raises LeaseHeld when somebody certainly holds it, and one of POSTGRES_FAULTS."""
        try:
            with contextlib.suppress(NotMigrated):
                seen = await self.look()
                if seen is not None and Watch().is_alive(seen):
                    raise self._held(seen)
        finally:
            self.drop()

    async def take(
        self, known_epoch: int, now: Callable[[], int], *, waits: Callable[[str], None] | None = None
    ) -> int:
        """Take the lease and count the epoch up. Raises LeaseHeld, NotMigrated or one of POSTGRES_FAULTS.

        `now` tells the time that people are told, in nanoseconds. With `waits` nobody is refused: it is told who holds the
        lease at every look.
        """
        watch, began_ns = Watch(), self._clock()
        while True:
            try:
                seen = await self.look()
                if seen is None or self._may_take(watch, seen):
                    if await self._try_take(watch, seen, known_epoch, now()):
                        return self.epoch
                elif waits is None and (watch.is_alive(seen) or self._clock() - began_ns > TAKE_SECONDS_MAX * 1e9):
                    self.drop()
                    raise self._held(seen)
                holder = seen.text() if seen is not None else ""
            except POSTGRES_FAULTS as error:
                self.drop()
                if waits is None:
                    raise
                holder = f"unknown ({_in_words(error)})"
            if waits is not None:
                waits(holder)
            await asyncio.sleep(LOOK_SECONDS)

    async def run(self, changed: Callable[[], None]) -> None:
        """Keep the lease until cancelled; call `changed` whenever it is lost or held again. Raises Fenced.

        Whoever cancels it says by `rest` and `give_back` what is to become of it.
        """
        assert self.epoch > 0, "a lease is taken before it is kept"
        self._was_held = not self.trouble
        while True:
            try:
                await self._beat()
                self.trouble = ""
            except POSTGRES_FAULTS as error:
                self.drop()
                if not self.trouble:
                    self._lose(f"the lease is lost ({_in_words(error)})")
            if self._was_held == bool(self.trouble):
                self._was_held = not self.trouble
                changed()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def rest(self) -> None:
        """Announce that no beat comes for a while, because nothing is sent any more: what waits is still written."""
        await self._say_last(QUIET_SECONDS_MAX)

    async def give_back(self) -> None:
        """Let go of the lease, so that nobody has to wait."""
        await self._say_last(0)
        self.drop()

    def drop(self) -> None:
        """Close the connection; the database frees the lock with it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _say_last(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s
        self._confirmed_ns = 0
        with contextlib.suppress(Fenced, *POSTGRES_FAULTS):
            if self._connection is not None:
                await self._beat()

    async def _beat(self) -> None:
        began_ns, is_locked = self._clock(), True
        async with asyncio.timeout(ANSWER_SECONDS_MAX), self._turn:
            if self._connection is None:
                self._connection = await connect_postgres(self._endpoint())
                await self._connection.execute(_BEATS_MAY_BE_LOST)
                is_locked = await self._connection.fetchval(_LOCK, self._lock)
            beat = (self.epoch, round(self._lasts_s * 1000))
            row = await self._connection.fetchrow(_BEAT if is_locked else _STANDS, *self._key, *beat)
        if row is None or row["epoch"] != self.epoch or not row["is_beaten"]:
            is_gone = row is None or row["epoch"] == self.epoch
            found = "its row is gone" if is_gone else f"epoch {row['epoch']} of {row['holder']}"
            self.trouble = f"fenced: {found}, ours is {self.epoch}"
            raise Fenced(self.trouble)
        if not is_locked:
            raise TimeoutError("another instance holds the lock")
        if self._lasts_s == EXPIRY_SECONDS:  # else it was the last word, and nothing more is sent
            self._confirmed_ns = began_ns

    def _may_take(self, watch: Watch, seen: Seen) -> bool:
        now_ns = self._clock()
        watch.saw(seen, now_ns)
        if watch.is_over(seen, now_ns):
            return True
        is_ours = bool(self._holder.keeper) and seen.keeper == self._holder.keeper
        return not seen.is_locked and (seen.is_given_back or seen.beats is None or is_ours)

    async def _try_take(self, watch: Watch, seen: Seen | None, known_epoch: int, at_ns: int) -> bool:
        """Take it as it was seen, or not at all. What a silent holder left behind in the database is ended."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            if not await self._connection.fetchval(_LOCK, self._lock):
                watch.locked_out += 1
                if watch.locked_out > 1 and seen is not None and watch.is_over(seen, self._clock()):
                    await self._connection.execute(_END_HOLDER, self._lock)
                return False
            watch.locked_out = 0
            epoch = await self._count_up(seen, known_epoch, at_ns)
            if epoch is None:
                await self._connection.execute("SELECT pg_advisory_unlock($1)", self._lock)
                return False
            await self._connection.execute(_BEATS_MAY_BE_LOST)
        self.epoch, self.trouble = epoch, ""
        return True

    async def _count_up(self, seen: Seen | None, known_epoch: int, at_ns: int) -> int | None:
        """Make the lease ours under the next number; None when somebody was faster, or a holder's write stands in the way."""
        connection = self._connection
        before = (0, None) if seen is None else (seen.epoch, seen.beats)
        taker = (known_epoch, self._holder.name, at_ns, before[0])
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {LOCK_MS_MAX}")
                epoch: int | None = await connection.fetchval(_TAKE, *self._key, *taker)
                beat = (epoch, round(QUIET_SECONDS_MAX * 1000), self._holder.keeper, *before)
                if epoch is None or await connection.fetchval(_FIRST_BEAT, *self._key, *beat) is None:
                    raise _Moved
                return epoch
        except _Moved:
            return None
        except asyncpg.LockNotAvailableError:
            await connection.execute(_END_WRITERS)  # a holder that was frozen within a write holds the row for ever
            return None

    def _lose(self, trouble: str) -> None:
        self.trouble = trouble
        self.losses += 1

    def _held(self, seen: Seen) -> LeaseHeld:
        env, session = self._key
        return LeaseHeld(f"another instance trades for session {session} of {env} on {self._endpoint()}: {seen.text()}")


class _Moved(Exception):
    """Somebody else was faster."""


def when(at_ns: int) -> str:
    """Write a time for people, in UTC."""
    return f"{datetime.datetime.fromtimestamp(at_ns // 10**9, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _lock_number(scope: Scope) -> int:
    digest = hashlib.blake2b(f"arbitrage lease {scope.env}/{scope.session_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
