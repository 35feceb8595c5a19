"""Is the daemon well? One verdict a part, each within its time limit, from outside and also while it is down. Mends nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from arbitrage.model.settings import Settings
from arbitrage.ops.places import Places, backup_directory
from arbitrage.ops.preflight import in_words
from arbitrage.ops.status import Status
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, RedisEndpoint, connect_postgres
from arbitrage.store.manifests import BackupRefused, peek, whole_backups
from arbitrage.store.redis_client import REDIS_FAULTS, make_redis
from arbitrage.store.redis_metrics import metrics_key

CHECK_SECONDS_MAX = 4.0
STATUS_AGE_MS_MAX = 5_000
"""The daemon rewrites its status every second: an older one means that it stands still or is gone."""
KILL_AGE_H_MAX, KILL_FIRST_S_MAX = 30, 120
"""The kill switch proves itself once a day, and at a start that finds no young proof."""
METRICS_AGE_MS_MAX = 10_000
PINGS = 5
_MS = 1_000_000


class Check(msgspec.Struct, frozen=True):
    """One part's verdict."""

    name: str
    passed: bool
    text: str
    value: float | None = None
    limit: float | None = None


class Health(msgspec.Struct, frozen=True):
    """All verdicts."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def text(self) -> str:
        """Print one line a part, then PASSED or FAILED."""
        lines = [f"{check.name:<10} {'ok  ' if check.passed else 'FAIL'} {check.text}" for check in self.checks]
        return "\n".join([*lines, "PASSED" if self.passed else "FAILED"])

    def json(self) -> str:
        """Print the same as one JSON object."""
        return msgspec.json.encode({"passed": self.passed, "checks": self.checks}).decode()


class Examiner:
    """Looks at every part. `now_ns` is the wall clock, `timer_ns` any steady clock for latencies."""

    def __init__(self, places: Places, *, now_ns: int, timer_ns: Callable[[], int]) -> None:
        self._places = places
        self._settings: Settings = places.settings
        self._now_ns = now_ns
        status = places.status
        self._engine_ns = status.engine_ns(now_ns) if isinstance(status, Status) else now_ns
        """What the daemon wrote its times in: the wall clock may have been set since it started."""
        self._timer_ns = timer_ns

    async def examine(self) -> Health:
        """Return all verdicts, at the latest after the time limit of the slowest."""
        async with asyncio.TaskGroup() as group:
            redis = group.create_task(self._limited("Redis", self._redis()))
            postgres = group.create_task(self._limited("PostgreSQL", self._postgres()))
            metrics = group.create_task(self._limited("Metrics", self._metrics()))
        found = [redis.result(), postgres.result(), self._logs(), metrics.result(), self._feeds(), self._snapshot()]
        found += [self._kill(), self._backup()]
        if self._places.config_fault:
            found.insert(0, Check("Config", False, self._places.config_fault))
        return Health(tuple(found))

    async def _limited(self, name: str, check: Awaitable[Check]) -> Check:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                return await check
        except TimeoutError:
            return Check(name, False, f"no answer within {CHECK_SECONDS_MAX:g} s", limit=CHECK_SECONDS_MAX)

    async def _redis(self) -> Check:
        endpoint, limit = self._places.redis, self._settings.health.redis_latency_ms_max
        if endpoint is None:
            return Check("Redis", False, f"not running: no embedded server in {self._places.data_dir}, REDIS_HOST is empty")
        try:
            latency_ms = await self._ping_ms(endpoint)
        except REDIS_FAULTS as error:
            return Check("Redis", False, f"{endpoint} does not answer ({in_words(error)})", limit=limit)
        return Check("Redis", latency_ms <= limit, f"{latency_ms:.2f} ms (limit {limit} ms) {endpoint}", latency_ms, limit)

    async def _ping_ms(self, endpoint: RedisEndpoint) -> float:
        """Return the median of a few pings; the connecting one does not count."""
        client = make_redis(endpoint)
        try:
            await client.ping()
            taken = []
            for _ in range(PINGS):
                began_ns = self._timer_ns()
                await client.ping()
                taken.append(self._timer_ns() - began_ns)
        finally:
            with contextlib.suppress(*REDIS_FAULTS):
                await client.aclose()
        return sorted(taken)[PINGS // 2] / _MS

    async def _postgres(self) -> Check:
        endpoint = self._places.postgres
        if endpoint is None:
            text = f"not running: no embedded server in {self._places.data_dir}, POSTGRES_HOST is empty"
            return Check("PostgreSQL", False, text)
        try:
            latency_ms = await self._select_ms(endpoint)
        except POSTGRES_FAULTS as error:
            return Check("PostgreSQL", False, f"{endpoint} does not answer ({in_words(error)})")
        return Check("PostgreSQL", True, f"{latency_ms:.2f} ms {endpoint}", latency_ms)

    async def _select_ms(self, endpoint: PostgresEndpoint) -> float:
        connection = await connect_postgres(endpoint)
        try:
            began_ns = self._timer_ns()
            await connection.fetchval("SELECT 1")
            return (self._timer_ns() - began_ns) / _MS
        finally:
            connection.terminate()

    def _logs(self) -> Check:
        path, limit = self._places.log_file, self._settings.health.log_age_s_max
        try:
            status = Path(path).stat()
        except OSError as error:
            return Check("Logs", False, f"{path} cannot be read ({error.strerror})", limit=limit)
        age_s = max(0, self._now_ns - status.st_mtime_ns) / 1e9
        text = f"{age_s:.0f} s old (limit {limit} s), {status.st_size / 1000:.1f} kB {path}"
        return Check("Logs", age_s <= limit, text, age_s, limit)

    async def _metrics(self) -> Check:
        limit = self._settings.health.loop_latency_ms_max
        status = self._live_status()
        if isinstance(status, str):
            return Check("Metrics", False, status, limit=limit)
        source, latency_ms = await self._loop_latency_ms(status)
        return Check("Metrics", latency_ms <= limit, f"loop {latency_ms:.2f} ms (limit {limit} ms) {source}", latency_ms, limit)

    async def _loop_latency_ms(self, status: Status) -> tuple[str, float]:
        """Read the rolling figure from Redis; the status file has the newest one when Redis is away or behind."""
        away = f"from the status file, {self._places.redis or 'Redis'} has none"
        if self._places.redis is None:
            return away, status.loop_latency_ms
        client = make_redis(self._places.redis)
        try:
            key = metrics_key(status.env, status.session_id)
            latency, updated = await client.hmget(key, ["avg_loop_latency_ms", "updated_at_ns"])
            if (self._engine_ns - int(updated or 0)) / _MS <= METRICS_AGE_MS_MAX:
                return "over 60 s", float(latency or "nan")
            return "from the status file, those in Redis are old", status.loop_latency_ms
        except (*REDIS_FAULTS, ValueError):
            return away, status.loop_latency_ms
        finally:
            with contextlib.suppress(*REDIS_FAULTS):
                await client.aclose()

    def _feeds(self) -> Check:
        status = self._live_status()
        if isinstance(status, str):
            return Check("Feeds", False, status)
        parts, is_well = [], bool(status.feeds)
        for venue, feed in status.feeds.items():
            section = self._settings.venues.get(venue)
            silent = section is not None and feed.alive_age_ms > section.silence_ms_max
            state = "down" if not feed.connected else "silent" if silent else "up"
            is_well &= state == "up" and (feed.usable > 0 or feed.markets == 0)
            parts.append(f"{venue} {state}, {feed.usable}/{feed.markets} usable, alive {feed.alive_age_ms} ms ago")
        armed = "armed" if status.armed else f"not armed because {'; '.join(status.not_armed_reasons) or 'no reason was given'}"
        return Check("Feeds", is_well, "; ".join([*parts, armed]) if parts else "no venue is connected")

    def _snapshot(self) -> Check:
        limit, status = self._settings.health.snapshot_age_s_max, self._places.status
        if isinstance(status, str):
            return Check("Snapshot", False, status, limit=limit)
        if status.last_snapshot_at_ns is None:
            up_s = max(0, self._engine_ns - status.started_at_ns) / 1e9
            return Check("Snapshot", up_s <= limit, f"none yet, started {up_s:.0f} s ago (limit {limit} s)", limit=limit)
        age_s = max(0, self._engine_ns - status.last_snapshot_at_ns) / 1e9
        return Check("Snapshot", age_s <= limit, f"{age_s:.0f} s old (limit {limit} s)", age_s, limit)

    def _kill(self) -> Check:
        """The switch is exercised on paper every day: an old proof means that it is not known to work."""
        limit, status = KILL_AGE_H_MAX, self._places.status
        if isinstance(status, str):
            return Check("Kill", False, status, limit=limit)
        if status.kill_last_proven_ns is None:
            up_s = max(0, self._engine_ns - status.started_at_ns) / 1e9
            return Check("Kill", up_s <= KILL_FIRST_S_MAX, f"never proven, started {up_s:.0f} s ago", limit=limit)
        age_h = max(0, self._engine_ns - status.kill_last_proven_ns) / 3.6e12
        return Check("Kill", age_h <= limit, f"last proven {age_h:.1f} h ago (limit {limit} h)", age_h, limit)

    def _backup(self) -> Check:
        """A backup that grows old and an archive that stands still are found before they are needed."""
        limit, status = self._settings.health.backup_age_h_max, self._places.status
        settings = msgspec.structs.replace(
            self._settings, store=msgspec.structs.replace(self._settings.store, data_dir=str(self._places.data_dir))
        )
        found = whole_backups(backup_directory(settings))
        if isinstance(status, Status) and status.archive_trouble:
            return Check("Backup", False, status.archive_trouble, limit=limit)
        if not found:
            return Check("Backup", True, "none was made yet (arbitrage backup)", limit=limit)
        try:
            age_h = max(0, self._now_ns - peek(found[-1]).made_at_ns) / 3.6e12
        except BackupRefused as refusal:
            return Check("Backup", False, str(refusal), limit=limit)
        behind_s = status.archive_behind_s if isinstance(status, Status) else None
        log = "no log archived" if behind_s is None else f"log archived until {behind_s:.1f} s ago"
        return Check("Backup", age_h <= limit, f"{age_h:.1f} h old (limit {limit} h), {log}", age_h, limit)

    def _live_status(self) -> Status | str:
        """Return the daemon's status if it is fresh, else why there is none."""
        status = self._places.status
        if isinstance(status, str):
            return status
        age_ms = (self._engine_ns - status.at_ns) / _MS
        if abs(age_ms) > STATUS_AGE_MS_MAX:  # from the future: the clock was set back, and nobody has written since
            return f"the daemon stands still or is gone: its last status is {age_ms / 1000:.0f} s old (process {status.pid})"
        return status
