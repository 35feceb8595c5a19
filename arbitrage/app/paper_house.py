"""A paper daemon started once on a restored data folder, against simulated exchanges on loopback. Reaches no real venue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
import uvloop

from arbitrage.app.child import STREAM_PATHS, ServersFailed, VenueServers
from arbitrage.app.clock import Clock
from arbitrage.app.drills.books import scenario_of
from arbitrage.app.drills.house import House
from arbitrage.app.drills.parts import Parts
from arbitrage.app.drills.words import Failed, Unfit
from arbitrage.app.loopback_house import check_loopback
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded, version_of

EXPLAINED_S_MAX = 60.0
LOOK_S = 0.02


class DrillFailed(Exception):
    """A step of the drill could not be done. One line: which and why."""


def start_paper_daemon(own: Loaded, data_dir: Path, environ: Mapping[str, str], clock: Clock) -> tuple[str, float]:
    """Start it until it is armed or says why not; return what it said and after how many seconds. Raises DrillFailed."""
    try:
        return uvloop.run(_start(own, data_dir, environ, clock))
    except (Unfit, ServersFailed, Failed) as failure:
        raise DrillFailed(str(failure)) from None


async def _start(own: Loaded, data_dir: Path, environ: Mapping[str, str], clock: Clock) -> tuple[str, float]:
    servers = await VenueServers.start(scenario_of(own.settings), seed=1, speed=1.0)
    try:
        async with asyncio.TaskGroup() as group:
            settings = _on_loopback(own.settings, servers, data_dir)
            loaded = Loaded(settings, own.origins, version_of(settings), own.redactor)
            house = House(loaded, Parts(), environ, group)
            began_ns = clock()
            try:
                await house.start()
                said = await _said(house)
                return said, (clock() - began_ns) / 1e9
            finally:
                await house.stop()
    finally:
        await servers.stop()


async def _said(house: House) -> str:
    """Wait until the daemon is armed, or ready with its reasons."""
    for _ in range(round(EXPLAINED_S_MAX / LOOK_S)):
        reasons = house.running.engine.not_armed_because()
        if not reasons:
            return "armed"
        if house.running.is_ready.is_set():
            return f"not armed because {'; '.join(reasons)}"
        await asyncio.sleep(LOOK_S)
    raise Failed(f"the daemon neither armed nor said why not within {EXPLAINED_S_MAX:.0f} s")


def _on_loopback(settings: Settings, servers: VenueServers, data_dir: Path) -> Settings:
    """Return the operator's settings for paper, the simulated exchanges and the restored folder, with nothing of the house."""
    venues = {}
    for name, section in settings.venues.items():
        stream = servers.description[name]["ws"] + STREAM_PATHS.get(name, "")
        urls = {"rest_url": servers.description[name]["rest"], "stream_url": stream, "account_url": None}
        venues[name] = msgspec.structs.replace(section, **urls)
    changed = msgspec.structs.replace(
        settings, venues=venues, mode="paper", confirm_live="", keys_dir="",
        store=msgspec.structs.replace(settings.store, data_dir=str(data_dir), postgres_host="", redis_host=""),
        backup=msgspec.structs.replace(settings.backup, wal_archive=False, key_required=False),
        log=msgspec.structs.replace(settings.log, directory=str(data_dir / "logs")),
        hot_path=msgspec.structs.replace(settings.hot_path, busy_poll=False),
    )  # fmt: skip
    check_loopback(changed)
    return changed
