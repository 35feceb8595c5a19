"""How long a venue's refusal (429, 418) holds us back. Trusts `Retry-After` within bounds and never guesses less than the rule.

Source: reference binance-spot 4 (429 then 418, 2 minutes to 3 days, always `Retry-After`); upbit 4 (429: next second, 418: no
promised header, at least 60 s, doubling).
"""

from __future__ import annotations

import re

import msgspec

from arbitrage.venues.budget import NS_PER_S

RATE_LIMITED = 429
BANNED = 418
HOLD_S_MAX = 3 * 24 * 3600
"""The longest ban a venue documents; a header beyond it is read as this."""


class HoldRules(msgspec.Struct, frozen=True):
    """What a refusal without a usable header costs."""

    rate_limited_s: int
    banned_s: int


class Holds:
    """Counts bans in a row: each one without a header doubles the next."""

    def __init__(self, rules: HoldRules) -> None:
        self._rules = rules
        self._bans = 0

    def next_ns(self, status: int, retry_after: str) -> int:
        """Return how long nothing may be asked after this refusal."""
        assert status in (RATE_LIMITED, BANNED), "only a refusal holds us back"
        named_s = int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0
        least_s = self._rules.rate_limited_s
        if status == BANNED:
            least_s = min(HOLD_S_MAX, self._rules.banned_s << min(self._bans, 20))
            self._bans += 1
        return min(HOLD_S_MAX, named_s or least_s) * NS_PER_S

    def reset(self) -> None:
        """The venue answers again."""
        self._bans = 0
