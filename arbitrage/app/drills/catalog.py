"""Every drill, in the order in which `all` runs them. Runs none."""

from __future__ import annotations

from arbitrage.app.drills import accounts, feeds, orders, venues
from arbitrage.app.drills.nouns import Drill

DRILLS: tuple[Drill, ...] = (*orders.DRILLS, *feeds.DRILLS, *accounts.DRILLS, *venues.DRILLS)
NAMES = tuple(drill.name for drill in DRILLS)


def drill_named(name: str) -> Drill:
    """Return a drill by its name. Raises KeyError."""
    return {drill.name: drill for drill in DRILLS}[name]
