"""Shows the alerts what the daemon looks like, and lets them hear what it reports. Judges nothing, waits for nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping

from arbitrage.app.modes import mode_of
from arbitrage.app.running import Running
from arbitrage.engine.engine import Engine
from arbitrage.engine.views import EngineView
from arbitrage.model.effects import Report
from arbitrage.model.facts import Fact
from arbitrage.model.money import parse_e8
from arbitrage.model.settings import Settings
from arbitrage.ops.alerts.catalog import HEARD, LOOKED_AT
from arbitrage.ops.alerts.office import Circumstances, Office
from arbitrage.ops.alerts.picture import FeedPicture, LossPicture, Picture, ProcessPicture, StoresPicture
from arbitrage.ops.alerts.routes import routes_of
from arbitrage.ops.alerts.wording import House
from arbitrage.ops.places import backup_directory
from arbitrage.risk.windows import Windows
from arbitrage.store.manifests import BackupRefused, peek, whole_backups

logger = logging.getLogger("arbitrage.alerts")
BACKUP_LOOK_S = 300.0
HOUR_NS, SECOND_NS = 3_600_000_000_000, 1_000_000_000


def house_of(settings: Settings) -> House:
    """Say whose alerts these are."""
    return House(settings.env, settings.mode, settings.session_name, socket.gethostname())


def make_office(running: Running, secrets: Mapping[str, str]) -> Office:
    """Build the alerts of a daemon; nothing is started."""
    settings = running.settings
    around = Circumstances(house_of(settings), running.stores.data_dir, running.clock, running.logs.redact)
    return Office(
        settings.alerts, routes_of(settings.alerts, secrets), around, clock_ms_max=settings.market_data.clock_offset_ms_max
    )


class Alerting:
    """One daemon's side of its alerts: called from the loop, and never in an event's way."""

    def __init__(self, running: Running, office: Office, last_snapshot_ns: Callable[[], int | None]) -> None:
        self.office = office
        self._running = running
        self._last_snapshot_ns = last_snapshot_ns
        self._is_due = False
        self._is_armed: bool | None = None
        self._log_dropped = 0
        self._backup_at_ns: int | None = None

    def hear(self, report: Fact | Report) -> None:
        """Take what the engine reports: an event is told at once, and what may last is looked at before the second is over."""
        if not isinstance(report, Report):
            return
        rule = HEARD.get(report.code)
        if rule is not None:
            self.office.hear(rule, report.text, str(report.fields.get("venue") or ""))
        self._is_due = self._is_due or report.code in LOOKED_AT

    def look_if_due(self, now_ns: int) -> None:
        """Look at once when something was reported, or when it armed or disarmed; otherwise the second's look is enough."""
        is_armed = not self._running.engine.not_armed_because()
        if self._is_due or is_armed != self._is_armed:
            self.look(self._running.view(), now_ns)

    def look(self, view: EngineView, now_ns: int) -> None:
        """Leave a picture of the house."""
        self._is_due, self._is_armed = False, view.is_armed
        running, office = self._running, self.office
        if office.settings is not running.settings.alerts:
            office.settings = running.settings.alerts
        if (dropped := running.logs.dropped) > self._log_dropped:
            office.hear("log_dropped", f"{dropped - self._log_dropped} lines did not fit into the queue")
            self._log_dropped = dropped
        office.show(self._picture(view, now_ns))

    async def watch_backups(self) -> None:
        """Look for the newest backup now and then, in a thread, until cancelled."""
        while True:
            self._backup_at_ns = await asyncio.to_thread(newest_backup_ns, self._running.settings)
            await asyncio.sleep(BACKUP_LOOK_S)

    def _picture(self, view: EngineView, now_ns: int) -> Picture:
        running = self._running
        engine, settings = running.engine, running.settings
        memory = engine.guard.memory
        return Picture(
            at_ns=now_ns,
            not_armed_because=view.not_armed_because,
            kill_reason=memory.kill_reason,
            pause_reason=memory.pause_reason,
            differences=differences_of(engine),
            naked={str(asset): text for asset, text in engine.dust.naked.items()},
            pairs_off=view.pairs_off,
            accounts={
                str(venue): "" if account.is_up else account.standing_text() or "not connected"
                for venue, account in engine.reconciler.accounts.items()
            },
            losses=losses_of(Windows(memory), settings, now_ns),
            feeds=tuple(feeds_of(view)),
            stores=self._stores(now_ns),
            process=self._process(now_ns),
        )

    def _stores(self, now_ns: int) -> StoresPicture:
        running = self._running
        health, settings = running.stores.health(), running.settings
        is_leased = running.lease is not None and mode_of(settings).is_real
        snapshot_ns = self._last_snapshot_ns()
        since_ns = snapshot_ns if snapshot_ns is not None else running.started_at_ns
        backup_ns = self._backup_at_ns
        return StoresPicture(
            postgres_error="" if health.is_postgres_up else health.postgres_error or "away",
            redis_error="" if health.is_redis_up else health.redis_error or "away",
            journal_trouble=health.journal_trouble,
            is_journal_full=health.is_journal_full,
            journal_bytes_waiting=health.journal_bytes_waiting,
            journal_bytes_max=settings.store.journal_bytes_max,
            lease_fault=running.lease.trouble if running.lease is not None and is_leased else "",
            archive_trouble=health.wal.trouble if health.wal is not None else "",
            backup_age_h=max(0, now_ns - backup_ns) / HOUR_NS if backup_ns is not None else None,
            backup_age_h_max=settings.health.backup_age_h_max,
            snapshot_age_s=max(0, now_ns - since_ns) / SECOND_NS,
            snapshot_age_s_max=settings.health.snapshot_age_s_max,
        )

    def _process(self, now_ns: int) -> ProcessPicture:
        running = self._running
        proof = running.kill_proofs.last
        return ProcessPicture(
            errors_per_minute=running.metrics.errors(now_ns),
            loop_late_ms=running.metrics.loop_latency_ms(now_ns),
            loop_late_ms_max=running.settings.health.loop_latency_ms_max,
            kill_proof_age_h=max(0, now_ns - proof.at_ns) / HOUR_NS if proof is not None else None,
            up_s=(now_ns - running.started_at_ns) / SECOND_NS,
            troubles=troubles_of(running),
        )


def feeds_of(view: EngineView) -> list[FeedPicture]:
    """Sum the markets up by venue."""
    found = []
    for health in view.venues:
        doubts = [market.doubt for market in view.markets if market.venue == health.venue]
        usable = sum(doubt is None for doubt in doubts)
        numbers = (usable, len(doubts), health.clock_offset_ms)
        found.append(FeedPicture(str(health.venue), health.is_connected, health.reason, *numbers))
    return found


def troubles_of(running: Running) -> dict[str, str]:
    """Name the parts beside trading that should run and do not."""
    is_missing = running.settings.web.enabled and not running.web_url
    return {"web": f"nothing is served at port {running.settings.web.port}; the log says why"} if is_missing else {}


def differences_of(engine: Engine) -> dict[str, str]:
    """Name what keeps it disarmed until it is accepted; leftovers and pairs that are off have alerts of their own."""
    accounts = engine.reconciler.accounts.values()
    found = {difference.name: str(difference) for account in accounts for difference in account.differences.values()}
    return {**{text: text for text in engine.judge.differences}, **found}


def losses_of(windows: Windows, settings: Settings, now_ns: int) -> tuple[LossPicture, ...]:
    """Return the limits of loss and how much of each is used."""
    asset, risk = settings.strategy.reporting_asset, settings.risk
    return (
        LossPicture("today", windows.loss_today_e8(now_ns), parse_e8(risk.loss_today_max), asset),
        LossPicture("drawdown", windows.drawdown_e8(), parse_e8(risk.drawdown_max), asset),
    )


def newest_backup_ns(settings: Settings) -> int | None:
    """Return when the newest whole backup was made; None when there is none that can be read (the health check says why)."""
    found = whole_backups(backup_directory(settings))
    try:
        return peek(found[-1]).made_at_ns if found else None
    except (BackupRefused, OSError):
        return None
