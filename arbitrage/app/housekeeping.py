"""The once-a-second work beside trading: store reports, metrics, status file, readiness, snapshots. Never in an event's way."""

from __future__ import annotations

import asyncio
import logging
import os

import msgspec

from arbitrage.app.alerting import Alerting
from arbitrage.app.clock import wall_ns
from arbitrage.app.exercise import ExerciseFailed, exercise
from arbitrage.app.keeping import keep_report
from arbitrage.app.kill_proof import KillProof
from arbitrage.app.notify import Notifier
from arbitrage.app.running import Running
from arbitrage.engine.views import EngineView
from arbitrage.model.events import DifferenceFound, FaultKind, Wake
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import Settings
from arbitrage.ops.status import FeedStatus, PostgresAddress, RedisAddress, Status, write_status
from arbitrage.store.rows import ConfigurationRow, PositionRow, SnapshotRows

logger = logging.getLogger("arbitrage.daemon")
TICK_S = 0.25
MS_NS, SECOND_NS = 1_000_000, 1_000_000_000
WIRE_LATE_MS_MAX, WIRE_HOLD_NS = 1_500, 1_500 * MS_NS
"""Frames older than this on arrival tell a line that lags; looked at once a second, and held until the next look."""
WALL_STEP_NS = SECOND_NS
"""A wall clock that moved by more against engine time within a second was set."""
SIGN_OF_LIFE_NS = 60 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS
MINUTE_S, HOUR_S = 60, 3_600
FAULTS_COUNTED_MAX = 10_000
"""Faults of one second that are counted one by one; a storm beyond it is as bad as it looks."""


class Housekeeping:
    """Looks after one daemon."""

    def __init__(self, running: Running, notifier: Notifier) -> None:
        self._running = running
        self._notifier = notifier
        self._last_snapshot_at_ns: int | None = None
        self._next_snapshot_ns = 0
        self._next_second_ns = 0
        self._restarts_seen = 0
        self._troubles: dict[str, str] = {}
        self._was_armed: bool | None = None
        self._status_faults = 0
        self._faults_seen = 0
        self._next_sign_ns = 0
        self._wall_off_ns = wall_ns() - running.clock()
        self._late: set[str] = set()
        """Venues whose frames arrive late."""
        office = running.office
        self.alerting = Alerting(running, office, lambda: self._last_snapshot_at_ns) if office is not None else None
        if self.alerting is not None and running.recorder is not None:
            running.recorder.listeners.append(self.alerting.hear)

    async def run(self) -> None:
        """Work until cancelled. The watchdog is fed from here, by the loop itself: a stalled loop does not feed it."""
        interval_ns = self._running.settings.store.snapshot_interval_ms * 1_000_000
        self.note_configuration("start")
        self._next_snapshot_ns = self._running.clock() + interval_ns
        while True:
            now_ns = self._running.clock()
            if self._notifier.watchdog_interval_s is not None:
                self._notifier.watchdog()
            if now_ns >= self._next_second_ns:
                self._next_second_ns = now_ns + SECOND_NS
                self._every_second(now_ns)
            elif self.alerting is not None:
                self.alerting.look_if_due(now_ns)
            self._say_armed()
            self._maybe_ready(now_ns)
            if now_ns >= self._next_snapshot_ns:
                self._next_snapshot_ns = now_ns + interval_ns
                await self._save_snapshot()
            await asyncio.sleep(TICK_S)

    async def keep_kill_proven(self) -> None:
        """Exercise the kill switch on paper, at a start that finds no young proof and then once a day, until cancelled.

        One that fails keeps trading disarmed until an operator has looked and accepts it.
        """
        running = self._running
        while True:
            now_ns, last = running.clock(), running.kill_proofs.last
            due_ns = last.at_ns + DAY_NS if last is not None else now_ns
            if now_ns < due_ns:
                await asyncio.sleep(min(MINUTE_S, (due_ns - now_ns) / SECOND_NS))
                continue
            try:
                text = await asyncio.to_thread(exercise, running.settings.execution, now_ns)
                logger.info("kill switch proven on paper: %s", text)
            except ExerciseFailed as failure:
                difference = f"the kill switch failed its exercise: {failure}"
                running.door.feed([DifferenceFound(running.clock(), difference)])
                await asyncio.sleep(HOUR_S)
                continue
            running.kill_proofs.keep(KillProof(now_ns, "exercise", text))

    def save_snapshot_now(self, why: str) -> str:
        """Write a snapshot before returning: for a stop or a reload. Returns its name, empty where none was saved."""
        if not self._may_save():
            return ""
        rows = self._rows()
        try:
            path = self._running.stores.save_snapshot_now(rows)
        except OSError as error:
            logger.error("snapshot not saved: %s", error)
            return ""
        self._last_snapshot_at_ns = rows.snapshot.at_ns
        logger.info("snapshot saved: %s (%s)", path.name, why)
        return path.name

    def note_configuration(self, actor: str) -> None:
        """Keep the configuration that is now in force."""
        running = self._running
        body = public_json(running.settings)
        running.stores.offer_configuration(ConfigurationRow(running.clock(), running.loaded.version, actor, body))

    def status_text(self) -> str:
        """Return the line that `systemctl status` shows."""
        reasons = self._running.engine.not_armed_because()
        tally = self._running.engine.tally
        standing = "armed" if not reasons else f"not armed because {'; '.join(reasons)}"
        return f"{standing}; {tally.seen} opportunities seen, {tally.taken} taken"

    def _every_second(self, now_ns: int) -> None:
        running = self._running
        running.door.retry_journal()
        running.door.feed([running.store_report(), Wake(now_ns)])
        self._sample_wire(now_ns)
        self._count_faults(now_ns)
        self._tell_stores()
        self._give_sign(now_ns)
        self._say_wall(now_ns)
        running.stores.offer_metrics(running.metrics.fields(now_ns))
        self._notifier.status(self.status_text())
        try:
            view = running.view()
            if self.alerting is not None:
                self.alerting.look(view, now_ns)
            write_status(running.stores.data_dir, self._status(view, now_ns))
        except OSError as error:
            self._status_faults += 1
            if self._status_faults == 1:
                logger.error("status file not written: %s", error)

    def _sample_wire(self, now_ns: int) -> None:
        """Take the age of each venue's newest frame on arrival, clock offset taken off, once a second and market.

        A slow line delivers whole books late: fresh by their arrival, and seconds old by the venue's own stamp.
        """
        running = self._running
        board = running.engine.board
        late_ms: dict[str, int] = {}
        for market, (venue, _) in enumerate(running.settings.market_symbols):
            book = board.books[market]
            if book.venue_ms and now_ns - book.updated_at_ns < SECOND_NS:
                offset_ms = board.venue_health(Venue(venue), now_ns).clock_offset_ms
                sent_us = (book.venue_ms - (offset_ms or 0) + running.ahead_ns // MS_NS) * 1_000
                age_us = book.updated_at_ns // 1_000 - sent_us
                running.metrics.wire_latency(now_ns, age_us, venue)
                if offset_ms is not None:
                    late_ms[venue] = max(late_ms.get(venue, 0), age_us // 1_000)
        for venue, ms in late_ms.items():
            self._judge_wire(venue, ms, now_ns)

    def _judge_wire(self, venue: str, late_ms: int, now_ns: int) -> None:
        """Have nothing decided while a venue's frames arrive late; say when that begins and ends."""
        is_late = late_ms > WIRE_LATE_MS_MAX
        if is_late and self._running.door.stall is not None:
            self._running.door.stall.hold(now_ns + WIRE_HOLD_NS)
        if is_late and venue not in self._late:
            self._late.add(venue)
            logger.warning("%s: frames arrive %d ms late: nothing is entered until they are on time", venue, late_ms)
        elif not is_late and venue in self._late:
            self._late.discard(venue)
            logger.warning("%s: frames arrive on time again", venue)

    def _tell_stores(self) -> None:
        """Say why a store is away, and that one was started again: the engine knows only whether it is there."""
        health = self._running.stores.health()
        if health.embedded_restarts > self._restarts_seen:
            self._restarts_seen = health.embedded_restarts
            logger.warning("an embedded database died and was started again (%d times since the start)", self._restarts_seen)
        troubles = {
            "embedded databases": health.embedded_error,
            "PostgreSQL": "" if health.is_postgres_up else health.postgres_error,
            "Redis": "" if health.is_redis_up else health.redis_error,
            "journal": health.journal_trouble,
            "backup": health.wal.trouble if health.wal is not None else "",
        }
        for name, trouble in troubles.items():
            if trouble and not self._troubles.get(name):
                logger.warning("%s: %s", name, trouble)
        self._troubles = troubles

    def _count_faults(self, now_ns: int) -> None:
        """Count the venues' faults of the last second as errors."""
        counters = self._running.engine.board.counters
        total = sum(counters.get(kind.value, 0) for kind in FaultKind)
        for _ in range(min(total - self._faults_seen, FAULTS_COUNTED_MAX)):
            self._running.metrics.error(now_ns)
        self._faults_seen = total

    def _give_sign(self, now_ns: int) -> None:
        """Say once a minute that all goes on: a silent log is a fault."""
        if now_ns >= self._next_sign_ns:
            self._next_sign_ns = now_ns + SIGN_OF_LIFE_NS
            logger.info("%s; %d frames", self.status_text(), self._running.frames)

    def _say_wall(self, now_ns: int) -> None:
        """Say that the wall clock was set: the times of log lines jump, and nothing else."""
        before_ns, self._wall_off_ns = self._wall_off_ns, wall_ns() - now_ns
        if abs(self._wall_off_ns - before_ns) > WALL_STEP_NS:
            by_s = (self._wall_off_ns - before_ns) / SECOND_NS
            logger.warning("the wall clock was set by %+.0f s; engine time goes on: nothing is decided by the wall clock", by_s)

    def _say_armed(self) -> None:
        reasons = self._running.engine.not_armed_because()
        if self._was_armed != (not reasons):
            self._was_armed = not reasons
            logger.info("armed" if not reasons else f"not armed because {'; '.join(reasons)}")

    def _maybe_ready(self, now_ns: int) -> None:
        running = self._running
        if running.is_ready.is_set():
            return
        view = running.view()
        unusable = [f"{m.venue} {m.symbol}: {m.doubt}" for m in view.markets if m.doubt is not None]
        is_late = now_ns - running.started_at_ns > running.settings.health.ready_timeout_ms * 1_000_000
        if unusable and not is_late:
            return
        running.is_ready.set()
        if not running.engine.reconciler.accounts:
            # No venue is asked, so no fact says how this start went; with accounts the comparison writes the report.
            keep_report(running.stores.data_dir, running.engine.reconciler.report(now_ns, "start"))
        if unusable:
            logger.warning("ready after the time limit with %d unusable markets: %s", len(unusable), ", ".join(unusable[:10]))
        self._notifier.ready(self.status_text())
        logger.info("ready: %d markets, %d usable", len(view.markets), len(view.markets) - len(unusable))

    def _may_save(self) -> bool:
        """Keep only what the journal bears out: a fact both in a snapshot and written after it would be folded twice."""
        is_whole = self._running.door.is_whole
        if not is_whole:
            logger.error("snapshot not saved: the journal does not hold every fact of this state")
        return is_whole

    async def _save_snapshot(self) -> None:
        if not self._may_save():
            return
        rows = self._rows()
        try:
            await self._running.stores.save_snapshot(rows)
            self._last_snapshot_at_ns = rows.snapshot.at_ns
        except OSError as error:
            logger.error("snapshot not saved: %s", error)

    def _rows(self) -> SnapshotRows:
        running = self._running
        now_ns = running.clock()
        engine = running.engine
        sequence = running.stores.journal.last_sequence
        snapshot = engine.snapshot(running.settings.session_name, now_ns, sequence)
        ledger = engine.ledger
        positions = tuple(
            PositionRow(node.venue, node.asset, ledger.free_e8(node), ledger.reserved_e8(node)) for node in ledger.nodes()
        )
        figures = {name: float(value) for name, value in running.metrics.fields(now_ns).items() if name != "updated_at_ns"}
        return SnapshotRows(snapshot, positions, figures, snapshot.sections["guard"])

    def _status(self, view: EngineView, now_ns: int) -> Status:
        running = self._running
        settings = running.settings
        postgres, redis = running.stores.postgres_endpoint(), running.stores.redis_endpoint()
        reasons = view.not_armed_because
        proof = running.kill_proofs.last
        wal = running.stores.health().wal
        return Status(
            pid=os.getpid(),
            session_id=settings.session_name,
            env=settings.env,
            mode=settings.mode,
            armed=not reasons,
            not_armed_reasons=reasons,
            postgres=PostgresAddress(postgres.host, postgres.port, postgres.user, postgres.database),
            redis=RedisAddress(redis.host, redis.port),
            feeds=feed_status(view),
            last_snapshot_at_ns=self._last_snapshot_at_ns,
            at_ns=now_ns,
            loop_latency_ms=running.metrics.loop_latency_ms(now_ns),
            started_at_ns=running.started_at_ns,
            kill_last_proven_ns=proof.at_ns if proof is not None else None,
            epoch=running.epoch,
            frames=running.frames,
            decision_us_p99=running.metrics.decision_us_p99(),
            gaps=view.counters["gaps"],
            books_compared=view.counters["compared"],
            books_equal=view.counters["equal"],
            wall_ns=wall_ns(),
            archive_behind_s=round(wal.behind_s, 3) if wal is not None and wal.line else None,
            archive_trouble=wal.trouble if wal is not None else "",
            web_url=running.web_url,
            alerts=tuple(alert.key for alert in running.office.active) if running.office is not None else (),
        )


def feed_status(view: EngineView) -> dict[str, FeedStatus]:
    """Sum the markets up by venue."""
    found = {}
    for health in view.venues:
        markets = [market for market in view.markets if market.venue == health.venue]
        usable = sum(market.doubt is None for market in markets)
        numbers = (health.alive_age_ms, len(markets), usable, health.clock_offset_ms)
        found[str(health.venue)] = FeedStatus(health.is_connected, *numbers)
    return found


def public_json(settings: Settings) -> bytes:
    """Encode a configuration for the record, the stores' passwords left out."""
    store = msgspec.structs.replace(settings.store, postgres_password="", redis_password="")
    return msgspec.json.encode(msgspec.structs.replace(settings, store=store))
