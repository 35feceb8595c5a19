"""Why a market may not be traded now, one name for each reason. Holds no thresholds and decides nothing."""

from __future__ import annotations

import enum


class Doubt(enum.Enum):
    """A reason to keep away from a market; `Board.doubt` names the first that holds, in this order."""

    MISSING = "missing"
    """The venue does not list the symbol, or its rules were never read."""
    HALTED = "halted"
    """The venue takes no orders for it."""
    HELD = "held"
    """The venue changed a rule; an operator has not accepted it yet."""
    LINK_DOWN = "link_down"
    NEVER_SYNCED = "never_synced"
    GAP = "gap"
    """An update is missing, or the touch left the range that the snapshot showed."""
    CROSSED = "crossed"
    """Best bid at or above best ask."""
    IMPLAUSIBLE = "implausible"
    """The mid price jumped further than the limit and too few updates have confirmed it."""
    CROSS_CHECK = "cross_check"
    """An independent best price (ticker, last trade) disagrees."""
    SILENT_LINK = "silent_link"
    """The connection behind the market shows no sign of life."""
    STALE = "stale"
    """The connection lives, but this symbol had no update for too long."""
    CLOCK_OFFSET = "clock_offset"
    """The venue's clock and ours are further apart than the limit."""
