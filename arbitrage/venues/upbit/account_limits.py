"""What a pocket of Upbit may ask: strict windows by group, shares kept for cancels and questions, holds after refusals.

Source: reference upbit 4: `default` 30 a second (cancelling is one of them), `order` 12, `order-test` 8, private handshakes 5,
each counted per pocket; 429 until the second is over, 418 blocks the address or the pocket, longer each time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from arbitrage.venues.budget import NS_PER_MS, NS_PER_S, SECOND_NS, Budget, SlidingWindow
from arbitrage.venues.holds import BANNED, HOLD_S_MAX
from arbitrage.venues.rest import Limits
from arbitrage.venues.upbit.limits import GROUPS, remaining_this_second

DEFAULT_PER_S, ORDER_PER_S, TEST_PER_S = 30, 12, 8
KEPT_BACK = 2
"""We use fewer, since the venue's second and ours do not begin together."""
CANCEL, QUERY, READ, ORDER, TEST, CONNECT = "cancel", "query", "read", "order", "order-test", "connect"
QUERIES_PER_S = 22
"""Questions and reads together: the rest of `default` is kept for cancels."""
READS_PER_S = 12
"""Reads alone: the rest of that is kept for questions about orders."""
CONNECTS_PER_S = 4
BAN_S_MIN = 60
JITTER_NS_MAX = 200 * NS_PER_MS
DOUBLINGS_MAX = 16
SECONDS_NAMED = re.compile(rb"(\d{1,7})\s*(?:s\b|sec|second|\xec\xb4\x88)", re.IGNORECASE)
"""How a 418 may tell its length: some number of seconds, in English or Korean, in a body of no documented form."""


class AccountLimits:
    """Budgets of one pocket, beside the market-data budgets of the same address."""

    def __init__(self, address: Limits, rng: random.Random) -> None:
        self._address = address
        self._rng = rng
        self._bans = 0
        every, questions = SlidingWindow(DEFAULT_PER_S - KEPT_BACK, SECOND_NS), SlidingWindow(QUERIES_PER_S, SECOND_NS)
        order, test = SlidingWindow(ORDER_PER_S - KEPT_BACK, SECOND_NS), SlidingWindow(TEST_PER_S - KEPT_BACK, SECOND_NS)
        self._budgets = {
            CANCEL: Budget(every),
            QUERY: Budget(every, questions),
            READ: Budget(every, questions, SlidingWindow(READS_PER_S, SECOND_NS)),
            ORDER: Budget(order),
            TEST: Budget(test),
            CONNECT: Budget(SlidingWindow(CONNECTS_PER_S, SECOND_NS)),
        }
        self._counted = {CANCEL: (every, DEFAULT_PER_S), ORDER: (order, ORDER_PER_S), TEST: (test, TEST_PER_S)}
        self._counted |= {QUERY: self._counted[CANCEL], READ: self._counted[CANCEL]}

    @property
    def held_until_ns(self) -> int:
        """Return until when nothing at all is asked: a 429 holds back one group, only a ban holds back all."""
        return min(budget.held_until_ns for budget in self._budgets.values())

    def budget(self, group: str) -> Budget:
        """Return the budget of a group. A ban that market data met blocks the address, and so this too."""
        self.hold(min(self._address.budget(name).held_until_ns for name in GROUPS))
        return self._budgets[group]

    def learn(self, group: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Believe the header when it leaves less than we thought; the group asked decides, whatever the header calls it."""
        left = remaining_this_second(headers.get("Remaining-Req", ""))
        if left is not None and group in self._counted:
            window, per_s = self._counted[group]
            window.correct(now_ns, per_s - left)

    def answered(self) -> None:
        """The venue answers again: the next ban starts from the shortest."""
        self._bans = 0

    def refused(self, group: str, now_ns: int) -> int:
        """Hold a group back after a 429; return until when.

        The venue counts by its own seconds, whose beginning we do not know: a whole second from now one has begun.
        """
        until_ns = now_ns + NS_PER_S + self._rng.randint(1, JITTER_NS_MAX)
        for name in (CANCEL, QUERY, READ) if group in (CANCEL, QUERY, READ) else (group,):
            self._budgets[name].hold(until_ns)
        return until_ns

    def banned(self, retry_after: str, body: bytes, now_ns: int) -> int:
        """Hold everything back after a 418, market data too; return until when. At least a minute, twice as long each time.

        Requests that were on their way when a ban began are all refused by it: it counts once.
        """
        named = SECONDS_NAMED.search(body[:1000])
        told_s = int(named[1]) if named else 0
        header_s = int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0
        self._bans = max(1, self._bans + (now_ns >= self.held_until_ns))
        least_s = BAN_S_MIN << min(self._bans - 1, DOUBLINGS_MAX)
        until_ns = now_ns + min(HOLD_S_MAX, max(least_s, told_s, header_s)) * NS_PER_S
        self.hold(until_ns)
        self._address.refused("", BANNED, until_ns)
        return until_ns

    def hold(self, until_ns: int) -> None:
        """Ask nothing at all before this time."""
        for budget in self._budgets.values():
            budget.hold(until_ns)
