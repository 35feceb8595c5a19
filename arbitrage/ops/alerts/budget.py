"""How fast the error budget burns: the share of seconds in which trading was not ready, over four windows. Tells nobody.

Two windows must agree, a long one that says it matters and a short one that says it still happens (Google, *The Site
Reliability Workbook*, chapter 5): 14.4 times the allowed rate over 1 h and 5 min, or 6 times over 6 h and 30 min.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from arbitrage.model.money import PPM
from arbitrage.ops.alerts.nouns import Finding

MINUTE_NS = 60_000_000_000
MINUTES_MAX = 360
PAIRS = (("budget_fast", 60, 5, 144), ("budget_slow", 360, 30, 60))
"""Rule, long and short window in minutes, and how many tenths of the allowed rate are too many."""
SECONDS_MIN = 300
"""Less than this was not watched: too little to judge by."""


class Budget:
    """Counts good and bad seconds by the minute, for six hours at most."""

    def __init__(self) -> None:
        self._minutes: deque[list[int]] = deque(maxlen=MINUTES_MAX)
        """Number of the minute, seconds seen, seconds that were bad."""

    def note(self, now_ns: int, *, is_bad: bool) -> None:
        """Count one look, a second's worth."""
        minute = now_ns // MINUTE_NS
        if not self._minutes or minute > self._minutes[-1][0]:
            self._minutes.append([minute, 0, 0])
        self._minutes[-1][1] += 1
        self._minutes[-1][2] += is_bad

    def share_ppm(self, now_ns: int, minutes: int) -> int | None:
        """Return the share of bad seconds in the last minutes; None when too little was seen."""
        first = now_ns // MINUTE_NS - minutes
        rows = [row for row in self._minutes if row[0] > first]
        seen, bad = sum(row[1] for row in rows), sum(row[2] for row in rows)
        return bad * PPM // seen if seen >= min(SECONDS_MIN, minutes * 30) else None

    def findings(self, now_ns: int, ready_ppm_min: int) -> Iterator[Finding]:
        """Name each pair of windows in which too much is burnt."""
        allowed_ppm = PPM - ready_ppm_min
        for rule, long, short, tenths in PAIRS:
            far, near = self.share_ppm(now_ns, long), self.share_ppm(now_ns, short)
            bound_ppm = min(allowed_ppm * tenths // 10, PPM - 1)
            if far is not None and near is not None and far > bound_ppm and near > bound_ppm:
                text = f"not ready {far / 10_000:.1f} % of the last {long} min, {near / 10_000:.1f} % of the last {short} min"
                yield Finding(rule, f"{text}; {allowed_ppm / 10_000:.2f} % is allowed")
                return
