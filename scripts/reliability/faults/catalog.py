"""Every row of the fault table, in its order."""

from __future__ import annotations

from reliability.faults import databases, stops
from reliability.faults.nouns import Row

ROWS: tuple[Row, ...] = (*stops.ROWS, *databases.ROWS)
