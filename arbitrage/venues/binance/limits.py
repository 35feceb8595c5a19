"""Binance's budgets: one weight for the address, shared by market data and orders, and the account's order counts.

Refuses to spend the whole weight on data: each use keeps back what more important uses may need. Corrected by the venue's own
counts and limits. Source: reference binance-spot 4 (6,000 a minute per address, REST and WebSocket API together; orders per
account and 10 s and day; header X-MBX-USED-WEIGHT-1M). Its fixed windows are kept as strict sliding ones. RAW_REQUESTS (300,000
in 5 minutes) cannot be reached within this weight, as we count every request at least once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.venues.budget import NS_PER_S, Budget, SlidingWindow
from arbitrage.venues.holds import HoldRules, Holds
from arbitrage.venues.wire import DECODING_ERRORS

WEIGHT_PER_MINUTE = 6_000
WEIGHT_RESERVED = 1_200
"""Kept back from market data and account reading, for orders, queries and cancels, which share the address's weight."""
ORDERS_RESERVED = 600
"""Kept back from placing, for queries and cancels."""
QUERIES_RESERVED = 200
"""Kept back from queries, for cancels."""
ORDERS_PER_10S = 100
ORDERS_PER_DAY = 200_000
COUNT_NS = 100_000_000
"""What is sent 10 s apart may arrive closer together: order windows are so much longer."""
HOLD_RULES = HoldRules(rate_limited_s=60, banned_s=120)
USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
ORDER_COUNT_HEADERS = (("X-MBX-ORDER-COUNT-10S", "10S"), ("X-MBX-ORDER-COUNT-1D", "1D"))
MARKET_DATA = ""
ORDERS = "orders"
QUERIES = "queries"
CANCELS = "cancels"


class RateCount(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of `rateLimits`: a limit, and how much of it the venue counted."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int
    count: int | None = None


class _RateLimits(msgspec.Struct, rename="camel"):
    rate_limits: list[RateCount] = []


_read_limits = msgspec.json.Decoder(_RateLimits).decode


def read_limits(body: bytes) -> tuple[RateCount, ...]:
    """Read the limits that exchangeInfo states; none when they cannot be read."""
    try:
        return tuple(_read_limits(body).rate_limits)
    except DECODING_ERRORS:
        return ()


class SharedWindow(SlidingWindow):
    """A use's view of a window that others draw from too: it leaves `reserve` units to them, and counts in the whole."""

    def __init__(self, whole: SlidingWindow, reserve: int) -> None:
        super().__init__(whole.limit - reserve, whole.window_ns)
        self._whole = whole
        self._reserve = reserve

    def used(self, now_ns: int) -> int:
        return self._whole.used(now_ns)

    def wait_ns(self, now_ns: int, units: int = 1) -> int:
        return self._whole.wait_ns(now_ns, min(units + self._reserve, self._whole.limit))

    def charge(self, now_ns: int, units: int = 1) -> None:
        self._whole.charge(now_ns, units)

    def correct(self, now_ns: int, used: int) -> None:
        self._whole.correct(now_ns, used)


class BinanceLimits:
    """The weight of the address with a budget for each use, and the order counts of the account."""

    def __init__(self) -> None:
        self.holds = Holds(HOLD_RULES)
        self._weight = SlidingWindow(WEIGHT_PER_MINUTE, 60 * NS_PER_S)
        self._counts = {
            "10S": SlidingWindow(ORDERS_PER_10S, 10 * NS_PER_S + COUNT_NS),
            "1D": SlidingWindow(ORDERS_PER_DAY, 24 * 3600 * NS_PER_S + COUNT_NS),
        }
        self._stated = {("ORDERS", name): window for name, window in self._counts.items()}
        self._stated["REQUEST_WEIGHT", "1M"] = self._weight
        self._budgets = {
            MARKET_DATA: Budget(SharedWindow(self._weight, WEIGHT_RESERVED)),
            ORDERS: Budget(SharedWindow(self._weight, ORDERS_RESERVED), *self._counts.values()),
            QUERIES: Budget(SharedWindow(self._weight, QUERIES_RESERVED)),
            CANCELS: Budget(self._weight),
        }

    @property
    def held_until_ns(self) -> int:
        """Return the end of the longest hold of the address; an order limit that is used up holds back orders alone."""
        return self._budgets[MARKET_DATA].held_until_ns

    def budget(self, group: str) -> Budget:
        """Return the budget of a use."""
        assert group in self._budgets, "a use has a budget"
        return self._budgets[group]

    def learn(self, group: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Believe the headers where they count more than we do."""
        used = headers.get(USED_WEIGHT_HEADER, "")
        if used.isascii() and used.isdigit():
            self._weight.correct(now_ns, int(used[:9]))
        for name, window in ORDER_COUNT_HEADERS:
            count = headers.get(name, "")
            if count.isascii() and count.isdigit():
                self._counts[window].correct(now_ns, int(count[:9]))

    def learn_counts(self, counts: Sequence[RateCount], now_ns: int) -> list[str]:
        """Believe the `rateLimits` of an answer: its counts where higher than ours, its limits always. Return what changed."""
        changed = []
        for entry in counts:
            window = self._stated.get((entry.rate_limit_type, f"{entry.interval_num}{entry.interval[:1]}"))
            if window is None or (entry.count is not None and entry.count < 0):
                continue
            limit = max(1, entry.limit)
            if limit != window.limit:
                span = f"{entry.interval_num} {entry.interval}"
                changed.append(f"the venue's limit {entry.rate_limit_type} per {span} changed from {window.limit} to {limit}")
                window.limit = limit
            window.correct(now_ns, entry.count or 0)
        return changed

    def refused(self, group: str, status: int, until_ns: int) -> None:
        """Hold back everything: 429 for weight and 418 are for the address."""
        for budget in self._budgets.values():
            budget.hold(until_ns)

    def orders_refused(self, until_ns: int) -> None:
        """Hold back placing alone: the account's order count is used up (-1015)."""
        self._budgets[ORDERS].hold(until_ns)
