"""Upbit's request groups: a few calls a second each, corrected by what the answer says is left. Ignores the header's `min`.

Source: reference upbit 4 (10 a second and address for each market-data group; header `Remaining-Req: group=…; min=…; sec=…`).
"""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.venues.budget import SECOND_NS, Budget, SlidingWindow
from arbitrage.venues.holds import BANNED, HoldRules, Holds

REQUESTS_PER_S = 10
REQUESTS_KEPT_BACK = 2
"""We use fewer, since the venue's second and ours do not begin together."""
HOLD_RULES = HoldRules(rate_limited_s=1, banned_s=60)
GROUPS = ("market", "orderbook")


class UpbitLimits:
    """One window for each group of public requests that we use."""

    def __init__(self) -> None:
        self.holds = Holds(HOLD_RULES)
        self._windows = {group: SlidingWindow(REQUESTS_PER_S - REQUESTS_KEPT_BACK, SECOND_NS) for group in GROUPS}
        self._budgets = {group: Budget(window) for group, window in self._windows.items()}

    @property
    def held_until_ns(self) -> int:
        """Return the end of the longest hold there was."""
        return max(budget.held_until_ns for budget in self._budgets.values())

    def budget(self, group: str) -> Budget:
        """Return the budget of a group."""
        return self._budgets[group]

    def learn(self, group: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Believe the header when it leaves less than we thought; the group asked decides, whatever the header calls it."""
        left = remaining_this_second(headers.get("Remaining-Req", ""))
        if left is not None:
            self._windows[group].correct(now_ns, REQUESTS_PER_S - left)

    def refused(self, group: str, status: int, until_ns: int) -> None:
        """Hold back the group on 429 and the whole address on 418."""
        for name in GROUPS if status == BANNED else (group,):
            self._budgets[name].hold(until_ns)


def remaining_this_second(header: str) -> int | None:
    """Read `sec` out of `group=market; min=1800; sec=9`, tolerating any group name, order and spacing."""
    for part in header.split(";"):
        key, _, value = part.partition("=")
        digits = value.strip()
        if key.strip().lower() == "sec" and digits.isascii() and digits.isdigit() and len(digits) <= 6:
            return int(digits)
    return None
