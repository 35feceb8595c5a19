"""Everything the daemon keeps, opened and closed as one. Decides nothing: it says how the stores stand, the engine acts on it.

`Stores.open` checks and starts, `run` works until cancelled (give it to the task supervisor), `close` writes what waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from arbitrage.model.effects import Append, Judged
from arbitrage.model.entries import Posting
from arbitrage.model.episodes import Episode
from arbitrage.model.events import StoreReported
from arbitrage.model.facts import Fact
from arbitrage.model.settings import StoreSettings
from arbitrage.store import archive, migrations
from arbitrage.store.dumps import DumpRefused
from arbitrage.store.embedded import Embedded, postgres_of, redis_of
from arbitrage.store.endpoints import (
    POSTGRES_FAULTS,
    PostgresEndpoint,
    RedisEndpoint,
    configured_postgres,
    configured_redis,
)
from arbitrage.store.files import make_private_folder
from arbitrage.store.journal import Journal
from arbitrage.store.moments import Reached
from arbitrage.store.redis_link import RedisLink
from arbitrage.store.redis_logs import QUEUE_MAX, STREAM_LENGTH_MAX, RedisLogs, logs_key
from arbitrage.store.redis_metrics import RedisMetrics, metrics_key
from arbitrage.store.restores import refuse_half_restored
from arbitrage.store.rows import ConfigurationRow, LogRow, Scope, SnapshotRows
from arbitrage.store.segments import JournalRefused
from arbitrage.store.snapshots import Candidate, RefusedSnapshot, SnapshotFiles, newest_first
from arbitrage.store.system_user import EmbeddedRefused
from arbitrage.store.wal_keeper import WalHealth, WalKeeper, WalLimits
from arbitrage.store.writer import Writer, WriterCounters

WATCH_SECONDS = 0.5
DRAIN_SECONDS_MAX = 3.0


class Extras(msgspec.Struct, frozen=True):
    """What the stores may know beyond their own settings."""

    markets: tuple[tuple[str, str], ...] = ()
    """`Settings.market_symbols`, so that rows name symbols."""
    stream_length_max: int = STREAM_LENGTH_MAX
    log_queue_max: int = QUEUE_MAX
    wants_redis: bool = True
    """False leaves Redis alone altogether (replay, tests)."""
    reached: Reached | None = None
    """Told of the `moments` of writing; nobody is, but in a test of recovery."""
    before_tables: Callable[[Stores], Awaitable[None]] | None = None
    """Called once the servers are there, before any table is touched: what refuses here has changed nothing."""
    wal: WalLimits | None = None
    """Where the embedded PostgreSQL's log is archived; None archives nothing."""


class StoresHealth(msgspec.Struct, frozen=True):
    """How the stores stand, for health checks, metrics and the screen."""

    is_postgres_up: bool
    is_redis_up: bool
    redis_latency_ms: float
    journal_sequence: int
    written_sequence: int
    journal_bytes_waiting: int
    is_journal_full: bool
    journal_trouble: str
    rows_waiting: int
    redis_lines_waiting: int
    redis_lines_dropped: int
    counters: WriterCounters
    postgres_error: str
    redis_error: str
    embedded_error: str
    embedded_restarts: int
    """How often an embedded server that died was started again."""
    wal: WalHealth | None
    """The archive of the embedded server's log; None where there is none."""


class Stores:
    """One session's stores. Made by `open`; every method is called from the loop's thread."""

    def __init__(self, settings: StoreSettings, scope: Scope, clock: Callable[[], int], extras: Extras) -> None:
        self._settings = settings
        self.scope = scope
        self._clock = clock
        self.messages: list[str] = []
        """One-line notes of `open` for the operator: what was made, cut, migrated, or is away."""
        self.data_dir = Path(settings.data_dir).resolve()
        refuse_half_restored(self.data_dir)
        self.session_dir = self.data_dir / "sessions" / f"{scope.env}.{scope.session_id}"
        self._fixed_postgres, self._fixed_redis = configured_postgres(settings), configured_redis(settings)
        wants_redis = extras.wants_redis and self._fixed_redis is None
        self.embedded = Embedded(self.data_dir, wants_postgres=self._fixed_postgres is None, wants_redis=wants_redis)
        self._embedded_error = ""
        self._embedded_restarts = 0
        self._wants_redis = extras.wants_redis
        self._before_tables = extras.before_tables
        self._is_migrated = False
        make_private_folder(self.session_dir)
        self._files = SnapshotFiles(self.session_dir / "snapshots", kept_max=settings.snapshots_kept)
        self.journal = Journal(self.session_dir / "journal", bytes_max=settings.journal_bytes_max)
        self.writer = Writer(self.postgres_endpoint, self.journal, scope, clock, settings.writer_queue_max)
        self.writer.prepare = self._migrate
        self._reached = self.journal.reached = self._files.reached = self.writer.reached = extras.reached
        limits = extras.wal if self._fixed_postgres is None else None
        self._wal = WalKeeper(self.postgres_endpoint, self.data_dir, limits, clock) if limits is not None else None
        self._link = RedisLink(self.redis_endpoint, clock)
        self.metrics = RedisMetrics(self._link, metrics_key(scope.env, scope.session_id), clock)
        lengths = {"length_max": extras.stream_length_max, "queue_max": extras.log_queue_max}
        self.logs = RedisLogs(self._link, logs_key(scope.env), **lengths)

    @classmethod
    async def open(
        cls,
        settings: StoreSettings,
        env: str,
        session_id: str,
        clock: Callable[[], int],
        *,
        extras: Extras | None = None,
    ) -> Stores:
        """Start or join the servers, check the journal, bring the tables up to date.

        `session_id` is the session's lasting name: a restart finds its state by it. Raises EmbeddedRefused, JournalRefused,
        MigrationRefused or DumpRefused with one line. A configured server that is away is no error: `messages` says so.
        """
        extras = extras or Extras()
        stores = cls(settings, Scope(env, session_id, extras.markets), clock, extras)
        is_open = False
        try:
            await stores._start()
            is_open = True
        finally:
            if not is_open:
                stores.journal.close()
                await asyncio.to_thread(stores.embedded.stop)
        return stores

    @property
    def is_postgres_shared(self) -> bool:
        """Whether others may reach the database: the embedded one has this process alone for a client."""
        return self._fixed_postgres is not None

    def postgres_endpoint(self) -> PostgresEndpoint:
        """Return where PostgreSQL is; an embedded one may move to another port when it restarts."""
        return self._fixed_postgres or postgres_of(self.embedded.state)

    def redis_endpoint(self) -> RedisEndpoint:
        """Return where Redis is."""
        return self._fixed_redis or redis_of(self.embedded.state)

    def append(self, appends: Sequence[Append]) -> int:
        """Make these facts durable, all or none, before anything acts on them; return the last sequence number.

        One call costs one write and one sync: hand in what stands together in an effect list. Raises JournalUnwritable.
        """
        assert all(_is_balanced(each.entries) for each in appends), "the entries of a fact sum to zero in every asset"
        sequence = self.journal.append([each.fact for each in appends], [each.entries for each in appends])
        self.writer.notify()
        return sequence

    def offer_judged(self, judged: Judged) -> None:
        """Record an opportunity and its verdict, in the background."""
        self.writer.offer_judged(judged)

    def leave_out_judged(self) -> None:
        """Count a refused opportunity that is not recorded: others like it are."""
        self.writer.counters.opportunities_left_out += 1

    def offer_episode(self, episode: Episode) -> None:
        """Record an opening of a cycle as it stands, in the background."""
        self.writer.offer_episode(episode)

    def offer_log(self, row: LogRow) -> None:
        """Record a log line in `system_logs`, in the background."""
        self.writer.offer_log(row)

    def offer_stream_line(self, line: Mapping[str, object]) -> None:
        """Send a log line's fields to the Redis stream, in the background."""
        self.logs.offer(line)

    def offer_metrics(self, values: Mapping[str, float | int | str]) -> None:
        """Show these values in the METRICS hash from now on."""
        self.metrics.offer(values)

    def offer_configuration(self, row: ConfigurationRow) -> None:
        """Record a configuration version, in the background."""
        self.writer.offer_configuration(row)

    def save_snapshot_now(self, rows: SnapshotRows) -> Path:
        """Write the snapshot's file before returning (a few ms: for a stop), and queue it for PostgreSQL. Raises OSError."""
        assert rows.snapshot.session_id == self.scope.session_id, "a snapshot belongs to this session"
        path = self._files.save(rows.snapshot)
        self._note_saved(rows)
        return path

    async def save_snapshot(self, rows: SnapshotRows) -> Path:
        """Write the snapshot's file in a thread, and queue it for PostgreSQL. Raises OSError."""
        assert rows.snapshot.session_id == self.scope.session_id, "a snapshot belongs to this session"
        path = await asyncio.to_thread(self._files.save, rows.snapshot)
        self._note_saved(rows)
        return path

    async def load_candidates(self) -> list[Candidate | RefusedSnapshot]:
        """Return what a start may restore, newest first, local files and PostgreSQL together; unusable ones say why."""
        local = await asyncio.to_thread(self._files.load)
        try:
            remote = await archive.load_snapshots(self.postgres_endpoint(), self.scope)
        except POSTGRES_FAULTS as error:
            self.messages.append(f"snapshots in PostgreSQL not read: {error}")
            remote = []
        return newest_first([*local, *remote], self.scope.session_id)

    async def facts_after(self, sequence: int) -> list[tuple[int, Fact]]:
        """Return every fact after `sequence`: from the journal, or from PostgreSQL where the journal was lost.

        Raises JournalRefused when neither has them all.
        """
        if sequence + 1 >= self.journal.first_sequence:
            return list(self.journal.read_from(sequence + 1))
        older = await archive.facts_between(self.postgres_endpoint(), self.scope, sequence, self.journal.first_sequence)
        return [*older, *self.journal.read_from(self.journal.first_sequence)]

    def health(self) -> StoresHealth:
        """Return how everything stands now. Cheap."""
        return StoresHealth(
            is_postgres_up=self.writer.is_up,
            is_redis_up=self._link.is_up,
            redis_latency_ms=self._link.latency_ms,
            journal_sequence=self.journal.last_sequence,
            written_sequence=self.writer.written_sequence,
            journal_bytes_waiting=self.journal.bytes_waiting,
            is_journal_full=self.journal.is_full,
            journal_trouble=self.journal.trouble,
            rows_waiting=self.writer.rows_waiting,
            redis_lines_waiting=self.logs.waiting,
            redis_lines_dropped=self.logs.dropped,
            counters=self.writer.counters,
            postgres_error=self.writer.last_error,
            redis_error=self._link.last_error,
            embedded_error=self._embedded_error,
            embedded_restarts=self._embedded_restarts,
            wal=self._wal.health() if self._wal is not None else None,
        )

    def report(self) -> StoreReported:
        """Return the event that tells the engine how the stores stand."""
        return StoreReported(
            at_ns=self._clock(),
            is_postgres_up=self.writer.is_up,
            is_redis_up=self._link.is_up,
            journal_bytes_waiting=self.journal.bytes_waiting,
            is_journal_full=self.journal.is_full,
        )

    async def run(self) -> None:
        """Write, publish and keep the embedded servers alive until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.writer.run(), name="store.writer")
            group.create_task(self._watch(), name="store.watch")
            if self._wal is not None:
                group.create_task(self._wal.run(), name="store.wal")
            if self._wants_redis:
                group.create_task(self.metrics.run(), name="store.metrics")
                group.create_task(self.logs.run(), name="store.logs")

    async def close(self, *, before_servers: Callable[[], Awaitable[None]] | None = None) -> None:
        """Write what waits, for at most DRAIN_SECONDS_MAX, then close and stop everything. Cancel `run` before.

        `before_servers` is called when all is written and the servers still run.
        """
        await self.writer.drain(DRAIN_SECONDS_MAX)
        if before_servers is not None:
            await before_servers()
        if self._wants_redis and self._link.is_up:
            while self.logs.waiting and await self.logs.publish():
                continue
        await self._link.close()
        self.journal.close()
        if self._wal is not None:
            await asyncio.to_thread(self._wal.stop)
        await asyncio.to_thread(self.embedded.stop)

    async def _start(self) -> None:
        if self.journal.torn is not None:
            torn = self.journal.torn
            self.messages.append(f"journal {torn.file}: a torn last append was cut, {torn.bytes_cut} bytes at {torn.offset}")
        await asyncio.to_thread(self.embedded.start)
        self.messages += self.embedded.messages
        if self._before_tables is not None:
            await self._before_tables(self)
        try:
            await self._migrate()
            held = await archive.last_sequence(self.postgres_endpoint(), self.scope)
        except POSTGRES_FAULTS as error:
            self.messages.append(f"PostgreSQL at {self.postgres_endpoint()} is away: {error}; starting from local files")
            held = 0
        self._align(held, await self.load_candidates())

    def _align(self, held: int, candidates: Sequence[Candidate | RefusedSnapshot]) -> None:
        """Keep numbering above everything known, so that no number is ever used for two facts."""
        known = max([held, *(each.snapshot.journal_sequence for each in candidates if isinstance(each, Candidate))])
        last = self.journal.last_sequence
        if last >= known:
            return
        if self.journal.first_sequence <= last:
            raise JournalRefused(
                f"{self.session_dir / 'journal'}: ends at fact {last}, but {known} is known elsewhere: an old journal; "
                "put the newest back, or move this folder away to start from PostgreSQL and snapshots"
            )
        self.journal.start_after(known)
        self.messages.append(f"journal: empty, numbering goes on after fact {known}")

    async def _migrate(self) -> None:
        if self._is_migrated:
            return
        dumps = self.data_dir / "dumps"
        report = await migrations.apply(self.postgres_endpoint(), migrations.migrations_dir(), dumps, self._reached)
        self._is_migrated = True
        if report.applied:
            before = f", dump {report.dump.name} taken before" if report.dump else ""
            self.messages.append(f"migrations applied: {', '.join(report.applied)}{before}")

    async def _watch(self) -> None:
        """Restart an embedded server that died and take the journal's reserve back when the disk has room."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.journal.check_space()
            try:
                self._embedded_restarts += await asyncio.to_thread(self.embedded.ensure_running)
                self._embedded_error = ""
            except (EmbeddedRefused, OSError) as error:
                self._embedded_error = str(error)

    def _note_saved(self, rows: SnapshotRows) -> None:
        self.writer.offer_snapshot(rows)
        self.journal.mark_snapshotted(self._files.oldest_sequence() or 0)


def _is_balanced(entries: Sequence[Posting]) -> bool:
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.node.asset] = sums.get(entry.node.asset, 0) + entry.amount_e8
    return not any(sums.values())


STORE_REFUSALS = (EmbeddedRefused, JournalRefused, migrations.MigrationRefused, DumpRefused)
"""What `Stores.open` raises: each is one line for the operator."""
