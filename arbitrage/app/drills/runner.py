"""Runs a drill from the daemon's start to its verdict. Whatever becomes of the daemon is the drill's result and no error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from arbitrage.app.child import ServersFailed
from arbitrage.app.clock import EngineClock
from arbitrage.app.drills.exposure import Exposure
from arbitrage.app.drills.house import House
from arbitrage.app.drills.nouns import Drill, Result
from arbitrage.app.drills.parts import Parts
from arbitrage.app.drills.scene import NS_PER_S, Scene
from arbitrage.app.drills.stage import Stage
from arbitrage.app.drills.words import Failed
from arbitrage.app.identity import base36

DRILL_SECONDS_MAX = 55.0


async def run_drill(drill: Drill, stage: Stage, environ: Mapping[str, str], parts: Parts | None = None) -> Result:
    """Run one drill on exchanges, a daemon and a session of its own. Raises ServersFailed."""
    clock = EngineClock()
    began_ns = clock()
    session = f"drill-{drill.name}-{base36(began_ns // 1_000_000)}"
    async with stage.exchanges() as (servers, keys):
        configuration = stage.configuration(session, servers, keys, drill.hurried)
        books = stage.books(servers)
        exposure = Exposure(servers, configuration.loaded.settings, books, clock)
        try:
            async with asyncio.TaskGroup() as group:
                house = House(configuration.loaded, parts or Parts(), environ, group)
                scene = Scene(house, servers, books, exposure, clock)
                try:
                    reason = await _judged(drill, scene, parts or Parts())
                    timeline, risk = await scene.timeline(), await exposure.risk()
                finally:
                    await house.stop()
        except* ServersFailed as lost:
            raise ServersFailed(f"{drill.name}: {lost.exceptions[0]}") from None
    seconds = round((clock() - began_ns) / NS_PER_S, 1)
    told = reason or "; ".join(scene.held)
    return Result(drill.name, drill.story, not reason, told, seconds, risk, timeline, configuration.shortened)


async def _judged(drill: Drill, scene: Scene, parts: Parts) -> str:
    """Run it; return why it failed, or nothing."""
    try:
        async with asyncio.timeout(DRILL_SECONDS_MAX):
            await scene.house.start()
            await scene.ready()
            await scene.begin()
            scene.patience = parts.patience
            await drill.act(scene)
            await scene.settle()
    except Failed as failure:
        return str(failure)
    except TimeoutError:
        return f"not over within {DRILL_SECONDS_MAX:.0f} s"
    return ""
