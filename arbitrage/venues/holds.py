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
    """Counts bans in a row: each one without a header doubles the next. What comes during one is another word of the same."""

    def __init__(self, rules: HoldRules) -> None:
        self._rules = rules
        self._bans = 0
        self._banned_until_ns = 0

    def next_ns(self, status: int, retry_after: str, now_ns: int) -> int:
        """Return how long nothing may be asked after this refusal.

        Requests that were on their way when a ban began are all refused by it: it counts once.
        """
        assert status in (RATE_LIMITED, BANNED), "only a refusal holds us back"
        named_s = int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0
        least_s = self._rules.rate_limited_s
        if status == BANNED:
            self._bans = max(1, self._bans + (now_ns >= self._banned_until_ns))
            least_s = min(HOLD_S_MAX, self._rules.banned_s << min(self._bans - 1, 20))
        wait_ns = min(HOLD_S_MAX, named_s or least_s) * NS_PER_S
        if status == BANNED:
            self._banned_until_ns = max(self._banned_until_ns, now_ns + wait_ns)
        return wait_ns

    def reset(self) -> None:
        """The venue answers again."""
        self._bans = 0
