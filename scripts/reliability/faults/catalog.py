"""Every row of the fault table, in its order."""

from __future__ import annotations

from reliability.faults import clocks, databases, disks, frames, limits, load, loops, network, stops, venues
from reliability.faults.nouns import Row

FAMILIES = (stops, databases, disks, clocks, venues, network, frames, loops, limits, load)
ROWS: tuple[Row, ...] = tuple(row for family in FAMILIES for row in family.ROWS)
