"""Brings journal, verdicts, log lines and snapshots into PostgreSQL beside the loop. Refuses to block or to lose a fact.

Facts are read back from the journal, from the last one PostgreSQL holds: live writing and catching up are the same path.
Each transaction holds whole journal records with all their rows, so PostgreSQL always holds a prefix of the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from arbitrage.model.effects import Judged
from arbitrage.model.episodes import Episode
from arbitrage.model.facts import Fact
from arbitrage.model.opportunities import Approved
from arbitrage.store import statements as sql
from arbitrage.store.dumps import DumpRefused
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.journal import Journal
from arbitrage.store.migrations import MigrationRefused
from arbitrage.store.moments import BEFORE_COMMIT, SNAPSHOT_ROW, Reached
from arbitrage.store.partitions import drop_days, make_days
from arbitrage.store.rows import (
    Batch,
    ConfigurationRow,
    LogRow,
    Row,
    Scope,
    SnapshotRows,
    episode_row,
    judged_row,
    log_row,
    rows_of_records,
    rows_of_snapshot,
)
from arbitrage.store.tail import Tail

FACTS_PER_WRITE_MAX = 128
ROWS_PER_WRITE_MAX = 128
CONFIGURATIONS_WAITING_MAX = 100
EPISODES_WAITING_MAX = 10_000
"""About 5 kB each with the two opportunities that one holds."""
IDLE_SECONDS = 0.1
PING_NS = 500_000_000
SLOW_NS = 1_500_000_000
"""A command that takes longer makes the database count as down."""
WRITE_SECONDS_MAX = 10.0
PING_SECONDS_MAX = 1.5
DRAIN_STEP_SECONDS = 0.005
BACKOFF_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)
PRUNE_INTERVAL_NS = 3_600_000_000_000
COMPARED_FACTS = 16

_FACTS: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)


class Diverged(Exception):
    """PostgreSQL and the journal tell different stories under the same numbers. Nothing is written until that is mended."""


class Overtaken(Exception):
    """Another instance took the session over: not one row of ours may follow."""


WRITE_FAULTS = (*POSTGRES_FAULTS, MigrationRefused, DumpRefused, Diverged, Overtaken)
"""What ends a connection and is tried again; each shows in `last_error`."""


class WriterCounters(msgspec.Struct):
    """What was written and what was not."""

    facts_written: int = 0
    facts_missing: int = 0
    """Facts that PostgreSQL lacks and the journal no longer holds (a database restored from an older dump, or a new one)."""
    rows_written: int = 0
    opportunities_dropped: int = 0
    opportunities_left_out: int = 0
    """Refused ones that were no sample: their episode counts them."""
    episodes_dropped: int = 0
    """Openings that nobody took, past the queue's bound."""
    logs_dropped: int = 0
    snapshots_skipped: int = 0
    connects: int = 0
    faults: int = 0


class Writer:
    """The one writer of a session. `offer_*` never block; `run` does the work until it is cancelled."""

    def __init__(
        self, endpoint: Callable[[], PostgresEndpoint], journal: Journal, scope: Scope, clock: Callable[[], int], queue_max: int
    ) -> None:
        self._endpoint = endpoint
        self._journal = journal
        self._scope = scope
        self._clock = clock
        self._queue_max = queue_max
        self.prepare: Callable[[], Awaitable[None]] | None = None
        """Brings the tables up to date; called before each connection is used."""
        self.reached: Reached | None = None
        self.counters = WriterCounters()
        self.written_sequence = 0
        self.last_error = ""
        self._untaken: deque[Judged] = deque()
        self._taken: deque[Judged] = deque(maxlen=queue_max)
        self._episodes: deque[Episode] = deque()
        self._episodes_max = min(queue_max, EPISODES_WAITING_MAX)
        self._taken_episodes: deque[Episode] = deque(maxlen=self._episodes_max)
        self._logs: deque[tuple[int, LogRow]] = deque()
        self._log_number = 0
        self._configurations: deque[ConfigurationRow] = deque(maxlen=CONFIGURATIONS_WAITING_MAX)
        self._snapshot: SnapshotRows | None = None
        self._connection: Any = None
        self.epoch = 0
        """Our start's number, told once the lease is taken: nothing is written when the lease bears another. 0 asks nothing."""
        self._session = 0
        self._tail: Tail | None = None
        self._busy_since_ns = 0
        self._pinged_at_ns = 0
        self._pruned_at_ns = 0
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def is_up(self) -> bool:
        """PostgreSQL is connected and answers in time."""
        is_slow = self._busy_since_ns > 0 and self._clock() - self._busy_since_ns > SLOW_NS
        return self._connection is not None and not is_slow

    @property
    def rows_waiting(self) -> int:
        """Verdicts, log lines, snapshots and configurations not yet written; facts are counted by the journal."""
        queues = len(self._untaken) + len(self._taken) + len(self._logs) + len(self._configurations)
        return queues + len(self._episodes) + len(self._taken_episodes) + (self._snapshot is not None)

    @property
    def is_drained(self) -> bool:
        return self.rows_waiting == 0 and self.written_sequence >= self._journal.last_sequence

    def notify(self) -> None:
        """Say that the journal grew."""
        self._wake.set()

    def offer_judged(self, judged: Judged) -> None:
        """Queue an opportunity with its verdict. Untaken ones are dropped, oldest first and counted, past the limit."""
        if isinstance(judged.verdict, Approved):
            self._taken.append(judged)  # past its bound the oldest go: those that became plans are in the journal whole
            return
        if len(self._untaken) >= self._queue_max:
            self._untaken.popleft()
            self.counters.opportunities_dropped += 1
        self._untaken.append(judged)

    def offer_episode(self, episode: Episode) -> None:
        """Queue an opening as it stands. Those that nobody took are dropped, oldest first and counted, past the limit."""
        if episode.taken_count:
            self._taken_episodes.append(episode)  # what was taken of it is in the journal whole
            return
        if len(self._episodes) >= self._episodes_max:
            self._episodes.popleft()
            self.counters.episodes_dropped += 1
        self._episodes.append(episode)

    def offer_log(self, row: LogRow) -> None:
        """Queue a log line; past the limit the oldest is dropped and counted."""
        if len(self._logs) >= self._queue_max:
            self._logs.popleft()
            self.counters.logs_dropped += 1
        self._log_number += 1
        self._logs.append((self._log_number, row))

    def offer_snapshot(self, rows: SnapshotRows) -> None:
        """Queue a snapshot; only the newest waits, the local files hold the others."""
        self.counters.snapshots_skipped += self._snapshot is not None
        self._snapshot = rows

    def offer_configuration(self, row: ConfigurationRow) -> None:
        """Queue a configuration version."""
        self._configurations.append(row)

    async def run(self) -> None:
        """Write until cancelled; reconnect with growing pauses while PostgreSQL is away."""
        failures = 0
        async with self._turn:
            while True:
                try:
                    await self._connect()
                    failures = 0
                    while True:
                        if not await self._write_some():
                            await self._rest()
                except WRITE_FAULTS as error:
                    self._note(error)
                finally:
                    self._disconnect()
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1

    async def drain(self, seconds_max: float) -> bool:
        """Write what waits, for at most so long, with or without `run`. Returns whether everything was written."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                if self._turn.locked():
                    while not self.is_drained:
                        self._wake.set()
                        await asyncio.sleep(DRAIN_STEP_SECONDS)
                else:
                    await self._drain_alone()
        return self.is_drained

    async def _drain_alone(self) -> None:
        async with self._turn:
            try:
                await self._connect()
                while await self._write_some():
                    continue
            except WRITE_FAULTS as error:
                self._note(error)
            finally:
                self._disconnect()

    async def _connect(self) -> None:
        if self.prepare is not None:
            await self.prepare()
        self._connection = None
        connection = await connect_postgres(self._endpoint())
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await self._attach(connection)
            self._connection = connection
        finally:
            if self._connection is None:
                connection.terminate()
        self.last_error = ""
        self.counters.connects += 1

    async def _attach(self, connection: Any) -> None:
        scope = (self._scope.env, self._scope.session_id)
        session = await connection.fetchval(sql.FIND_SESSION, *scope) if self._session else None
        await make_days(connection, self._clock())
        if session is None:
            session = await connection.fetchval(sql.OPEN_SESSION, *scope, self._clock())
            await connection.execute(sql.STOP_EPISODES, session)
        self._session = session
        held: int = await connection.fetchval(sql.LAST_SEQUENCE, self._session)
        await self._compare(connection, held)
        self._tail = Tail(self._journal, held + 1)
        self.counters.facts_missing = self._tail.next_sequence - held - 1
        self.written_sequence = held
        self._journal.mark_written(held)

    async def _compare(self, connection: Any, held: int) -> None:
        last, first = self._journal.last_sequence, self._journal.first_sequence
        if held > last:
            raise Diverged(f"PostgreSQL holds facts up to {held}, the journal ends at {last}: not the newest journal")
        start = max(first, held - COMPARED_FACTS + 1)
        if held < start:
            return
        rows = await connection.fetch(sql.FACTS_AFTER, self._session, start - 1, COMPARED_FACTS)
        theirs = {row["sequence"]: _FACTS.decode(row["body"]) for row in rows}
        for sequence, fact in self._journal.read_from(start):
            if sequence > held:
                return
            if theirs.get(sequence) != fact:
                raise Diverged(f"fact {sequence} in PostgreSQL is not the journal's: another daemon wrote this session")

    def _note(self, error: Exception) -> None:
        self.counters.faults += 1
        self.last_error = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._tail = None
        self._busy_since_ns = 0

    async def _write_some(self) -> bool:
        """Write one batch of facts and one of rows. Returns whether there was anything."""
        did_facts = await self._write_facts()
        did_rows = await self._write_rows()
        await self._prune_sometimes()
        return did_facts or did_rows

    async def _write_facts(self) -> bool:
        assert self._tail is not None, "connected"
        records = self._tail.read(FACTS_PER_WRITE_MAX)
        if not records:
            return False
        await self._execute(rows_of_records(records, self._session, self._scope), BEFORE_COMMIT)
        self.counters.facts_written += records[-1].last_sequence - records[0].first_sequence + 1
        self.written_sequence = records[-1].last_sequence
        self._journal.mark_written(self.written_sequence)
        return True

    async def _write_rows(self) -> bool:
        taken, untaken = _take(self._taken, ROWS_PER_WRITE_MAX), _take(self._untaken, ROWS_PER_WRITE_MAX)
        logs, configurations = _take(self._logs, ROWS_PER_WRITE_MAX), _take(self._configurations, ROWS_PER_WRITE_MAX)
        seen, entered = _take(self._episodes, ROWS_PER_WRITE_MAX), _take(self._taken_episodes, ROWS_PER_WRITE_MAX)
        snapshot, self._snapshot = self._snapshot, None
        if not (taken or untaken or seen or entered or logs or configurations or snapshot):
            return False
        session = self._session
        batch: Batch = {
            sql.INSERT_OPPORTUNITY: [judged_row(judged, session, self._scope) for judged in (*taken, *untaken)],
            sql.NOTE_EPISODE: [episode_row(episode, session, self._scope) for episode in (*entered, *seen)],
            sql.INSERT_LOG: [log_row(row, number, session) for number, row in logs],
            sql.INSERT_CONFIGURATION: [_configuration_row(row, session) for row in configurations],
        }
        if snapshot is not None:
            batch.update(rows_of_snapshot(snapshot, session))
        rows_written = sum(map(len, batch.values()))
        if snapshot is not None:
            batch[sql.PRUNE_SNAPSHOTS] = [(session, sql.SNAPSHOTS_KEPT)]
        is_written = False
        try:
            await self._execute(batch, SNAPSHOT_ROW if snapshot is not None else "")
            is_written = True
        finally:
            if not is_written:
                _put_back(self._taken, taken)
                _put_back(self._untaken, untaken)
                _put_back(self._taken_episodes, entered)
                _put_back(self._episodes, seen)
                _put_back(self._logs, logs)
                _put_back(self._configurations, configurations)
                self._snapshot = self._snapshot or snapshot
        self.counters.rows_written += rows_written
        return True

    async def _execute(self, batch: Batch, moment: str) -> None:
        with self._busy():
            async with asyncio.timeout(WRITE_SECONDS_MAX), self._connection.transaction():
                await self._check_epoch()
                for statement, rows in batch.items():
                    if rows:
                        await self._connection.executemany(statement, rows)
                if self.reached is not None and moment:
                    self.reached(moment)

    async def _check_epoch(self) -> None:
        """Refuse to write for a session that another instance has taken over; it cannot be taken while this write goes on."""
        if not self.epoch:
            return
        scope = (self._scope.env, self._scope.session_id)
        found = await self._connection.fetchval(sql.EPOCH_HELD, *scope)
        if found != self.epoch:
            raise Overtaken(f"the lease bears epoch {found}, ours is {self.epoch}")

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self._busy_since_ns = self._clock()
        yield
        self._busy_since_ns = 0
        self._pinged_at_ns = self._clock()

    async def _rest(self) -> None:
        """Wait for news; make sure now and then that PostgreSQL still answers."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._wake.wait()
        self._wake.clear()
        if self._clock() - self._pinged_at_ns >= PING_NS:
            with self._busy():
                async with asyncio.timeout(PING_SECONDS_MAX):
                    await self._connection.fetchval("SELECT 1")

    async def _prune_sometimes(self) -> None:
        now_ns = self._clock()
        if now_ns - self._pruned_at_ns < PRUNE_INTERVAL_NS:
            return
        self._pruned_at_ns = now_ns
        with self._busy():
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await make_days(self._connection, now_ns)
                await drop_days(self._connection, now_ns)
                for table, days in sql.RETENTION_DAYS.items():
                    await self._connection.execute(sql.prune_statement(table), self._session, now_ns - days * sql.DAY_NS)


def _configuration_row(row: ConfigurationRow, session: int) -> Row:
    return (session, row.version, row.at_ns, row.actor, row.body.decode())


def _take(queue: deque[Any], count_max: int) -> list[Any]:
    return [queue.popleft() for _ in range(min(count_max, len(queue)))]


def _put_back(queue: deque[Any], items: list[Any]) -> None:
    """Return what was not written to the front; a bounded queue that filled meanwhile keeps its newest."""
    newer = list(queue)
    queue.clear()
    queue.extend(items)
    queue.extend(newer)
