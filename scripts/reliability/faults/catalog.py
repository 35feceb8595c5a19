"""Every row of the fault table, in its order."""

from __future__ import annotations

from reliability.faults import clocks, databases, disks, frames, loops, stops, venues
from reliability.faults.nouns import Row

ROWS: tuple[Row, ...] = (*stops.ROWS, *databases.ROWS, *disks.ROWS, *clocks.ROWS, *venues.ROWS, *frames.ROWS, *loops.ROWS)
