"""Binance's request weight: one budget per address, corrected by the answer's own count. Refuses to spend the whole of it.

Source: reference binance-spot 4 (6,000 a minute per address, calendar minutes; header X-MBX-USED-WEIGHT-1M).
"""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.venues.budget import NS_PER_S, Budget, SlidingWindow
from arbitrage.venues.holds import HoldRules, Holds

WEIGHT_PER_MINUTE = 6_000
WEIGHT_RESERVED = 1_200
"""Left for orders and cancels, which share the address's weight."""
HOLD_RULES = HoldRules(rate_limited_s=60, banned_s=120)
USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"


class BinanceLimits:
    """One weight window for every request."""

    def __init__(self) -> None:
        self.holds = Holds(HOLD_RULES)
        self._weight = SlidingWindow(WEIGHT_PER_MINUTE - WEIGHT_RESERVED, 60 * NS_PER_S)
        self._budget = Budget(self._weight)

    @property
    def held_until_ns(self) -> int:
        """Return the end of the longest hold there was."""
        return self._budget.held_until_ns

    def budget(self, group: str) -> Budget:
        """Return the address's budget; Binance knows no groups here."""
        assert group == "", "weight has one budget"
        return self._budget

    def learn(self, group: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Believe the header when it counts more than we do."""
        used = headers.get(USED_WEIGHT_HEADER, "")
        if used.isascii() and used.isdigit():
            self._weight.correct(now_ns, min(int(used[:9]), WEIGHT_PER_MINUTE))

    def refused(self, group: str, status: int, until_ns: int) -> None:
        """Hold back everything: both 429 and 418 are for the address."""
        self.budget(group).hold(until_ns)
