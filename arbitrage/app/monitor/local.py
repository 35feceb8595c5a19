"""Reads as much of the first screen as the daemon leaves beside the API: its socket, its status file, Redis. Asks no key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from arbitrage.app.control_client import NoAnswer, ask
from arbitrage.app.control_words import Ask
from arbitrage.app.monitor.picture import FeedLine, Picture, ago
from arbitrage.ops.health import STATUS_AGE_MS_MAX
from arbitrage.ops.log_sources import read_metrics
from arbitrage.ops.places import Places
from arbitrage.ops.standing import Standing
from arbitrage.ops.status import Status

MS_NS = 1_000_000


async def local_picture(places: Places, why: str, wall_ns: int) -> Picture:
    """Draw what can be drawn without the API; `why` says what was wrong with it."""
    status, found = places.status, await read_metrics(places)
    figures = found if isinstance(found, dict) else {}
    try:
        answer = await asyncio.to_thread(ask, places.data_dir, Ask(word="status"))
        standing, missing = answer.standing, ""
    except NoAnswer as failure:
        standing, missing = None, str(failure)
    notes = [f"prices, opportunities, money and limits come over the API: {why}"]
    if standing is None:
        notes.append(f"no daemon answers at its socket: {missing or 'without a standing'}")
    if isinstance(status, str):
        if standing is None:
            return Picture("files", (*notes, status), is_there=False, figures=figures)
        return from_standing(standing, tuple(notes), figures)
    engine_ns = status.engine_ns(wall_ns)
    if standing is None:
        return from_status(status, tuple(notes), figures, engine_ns)
    drawn = from_standing(standing, tuple(notes), figures)
    return _with_feeds(drawn, status)


def from_standing(standing: Standing, notes: tuple[str, ...], figures: dict[str, str]) -> Picture:
    """Draw what the daemon says at its socket."""
    proven_ns = standing.kill_last_proven_ns
    proven = f"{ago(proven_ns, standing.at_ns)}, by {standing.kill_last_proven_how}" if proven_ns is not None else "never"
    return Picture(
        source="daemon", notes=notes, is_armed=standing.armed, not_armed_because=standing.not_armed_because, mode=standing.mode,
        session=standing.session, age_s=0.0, up_s=(standing.at_ns - standing.started_at_ns) / 1e9,
        realised=f"{standing.realised} {standing.reporting_asset}", killed=standing.killed, paused=standing.paused,
        proven=proven, differences=standing.differences, open_plans=standing.open_plans, open_orders=standing.open_orders,
        feeds=tuple(
            FeedLine(each.venue, each.connected, "", None, each.usable, each.markets, None, each.account)
            for each in standing.venues
        ),
        figures=figures,
    )  # fmt: skip


def from_status(status: Status, notes: tuple[str, ...], figures: dict[str, str], engine_ns: int) -> Picture:
    """Draw what the daemon last wrote."""
    age_ms = (engine_ns - status.at_ns) / MS_NS
    return Picture(
        source="files", notes=notes, is_there=abs(age_ms) <= STATUS_AGE_MS_MAX and _lives(status.pid), is_armed=status.armed,
        not_armed_because=status.not_armed_reasons, mode=status.mode, session=status.session_id, age_s=age_ms / 1e3,
        up_s=(status.at_ns - status.started_at_ns) / 1e9, proven=ago(status.kill_last_proven_ns, status.at_ns),
        feeds=tuple(
            FeedLine(venue, feed.connected, "", feed.alive_age_ms, feed.usable, feed.markets, feed.clock_offset_ms)
            for venue, feed in status.feeds.items()
        ),
        figures=figures,
    )  # fmt: skip


def _lives(pid: int) -> bool:
    """Tell whether a process is there: the file of one that has just ended is young."""
    return Path(f"/proc/{pid}").exists()


def _with_feeds(drawn: Picture, status: Status) -> Picture:
    """Add ages and clocks, which only the file has."""
    lines = []
    for line in drawn.feeds:
        feed = status.feeds.get(line.venue)
        age_ms, offset_ms = (feed.alive_age_ms, feed.clock_offset_ms) if feed is not None else (None, None)
        lines.append(
            FeedLine(line.venue, line.is_up, line.reason, age_ms, line.usable, line.markets, offset_ms, line.account)
        )  # fmt: skip
    return msgspec.structs.replace(drawn, feeds=tuple(lines))
