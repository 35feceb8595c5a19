"""Binance's request limits: fixed calendar windows, 429, then bans for whoever goes on. Knows no endpoint.

Reference sheet, section 4. How many requests past a 429 bring the ban is not published: here ten do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from arbitrage.sim.server.binance_wire import Headers, VenueError

STRIKES_MAX = 10
"""Requests sent in spite of a 429 until the address is banned."""
BAN_S_MIN, BAN_S_MAX = 120, 259_200
BAN_GROWTH = 5
CONNECTION_WEIGHT = 2
SAPI_IP_MAX, SAPI_UID_MAX = 12_000, 180_000


class Window(msgspec.Struct, frozen=True):
    """One published limit."""

    kind: str
    interval: str
    interval_num: int
    seconds: int
    limit: int

    def row(self) -> dict[str, object]:
        """Return its row in `exchangeInfo.rateLimits`."""
        return {
            "rateLimitType": self.kind, "interval": self.interval, "intervalNum": self.interval_num, "limit": self.limit,
        }  # fmt: skip


WEIGHT = Window("REQUEST_WEIGHT", "MINUTE", 1, 60, 6_000)
ORDERS_SECOND = Window("ORDERS", "SECOND", 10, 10, 100)
ORDERS_DAY = Window("ORDERS", "DAY", 1, 86_400, 200_000)
RAW = Window("RAW_REQUESTS", "MINUTE", 5, 300, 300_000)
PUBLISHED = (WEIGHT, ORDERS_SECOND, ORDERS_DAY, RAW)
ORDERS = (ORDERS_SECOND, ORDERS_DAY)
CONNECTIONS = Window("CONNECTIONS", "MINUTE", 5, 300, 300)


class _Counts:
    """How much of a window is used; at the next calendar window nothing is."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._index = 0
        self._used = 0

    def used(self, now_ms: int) -> int:
        index = now_ms // (self.window.seconds * 1000)
        if index != self._index:
            self._index, self._used = index, 0
        return self._used

    def add(self, amount: int, now_ms: int) -> int:
        self._used = max(0, self.used(now_ms) + amount)
        return self._used

    def ends_ms(self, now_ms: int) -> int:
        width_ms = self.window.seconds * 1000
        return (now_ms // width_ms + 1) * width_ms


class BinanceLimits:
    """Counts for the one address and the one account that a loopback server has."""

    def __init__(self, now_ms: Callable[[], int], violations: Counter[str], windows: tuple[Window, ...] = PUBLISHED) -> None:
        self.published = windows
        self.banned_until_ms = 0
        self._now_ms = now_ms
        self._violations = violations
        self._counts = {(window.kind, window.seconds): _Counts(window) for window in (*windows, CONNECTIONS)}
        self._sapi: dict[str, _Counts] = {}
        self._limited_until_ms = 0
        self._strikes = 0
        self._ban_s = 0

    def admit(self, weight: int) -> None:
        """Charge one request. Raises VenueError with 429, or with 418 for whoever went on."""
        now_ms = self._now_ms()
        self.require_not_banned()
        for counts, amount in ((self._of(RAW), 1), (self._of(WEIGHT), weight)):
            if counts.add(amount, now_ms) > counts.window.limit:
                self._limit(counts, now_ms)

    def refund(self, weight: int) -> None:
        """Give weight back: a successful order call costs none."""
        self._of(WEIGHT).add(-weight, self._now_ms())

    def take_order(self) -> None:
        """Count one order against the account. Raises VenueError when a window is full."""
        now_ms = self._now_ms()
        for counts in self._orders():
            if counts.used(now_ms) >= counts.window.limit:
                self._violations["orders_over_limit"] += 1
                window = counts.window
                words = f"current limit is {window.limit} orders per {window.interval_num} {window.interval}."
                raise self._refusal(-1015, f"Too many new orders; {words}", counts.ends_ms(now_ms))
        for counts in self._orders():
            counts.add(1, now_ms)

    def give_back_order(self) -> None:
        """Count an order no more: its first fill does that."""
        for counts in self._orders():
            counts.add(-1, self._now_ms())

    def take_connection(self) -> None:
        """Charge opening a stream connection. Raises VenueError."""
        self.require_not_banned()
        counts, now_ms = self._of(CONNECTIONS), self._now_ms()
        if counts.add(1, now_ms) > counts.window.limit:
            self._violations["connections_over_limit"] += 1
            raise self._refusal(-1003, "Too many connection attempts.", counts.ends_ms(now_ms))

    def take_sapi(self, endpoint: str, weight: int, *, is_uid: bool) -> Headers:
        """Charge a wallet endpoint's own budget and return its header. Raises VenueError with 429; bans nobody."""
        limit = SAPI_UID_MAX if is_uid else SAPI_IP_MAX
        counts = self._sapi.setdefault(endpoint, _Counts(Window("SAPI", "MINUTE", 1, 60, limit)))
        now_ms = self._now_ms()
        used = counts.add(weight, now_ms)
        name = "X-SAPI-USED-UID-WEIGHT-1M" if is_uid else "X-SAPI-USED-IP-WEIGHT-1M"
        if used > limit:
            self._violations["sapi_over_limit"] += 1
            words = f"Too many requests; current limit is {limit} request weight per 1 MINUTE."
            raise self._refusal(-1003, words, counts.ends_ms(now_ms))
        return ((name, str(used)),)

    def ban(self, seconds: int) -> None:
        """Ban the address now, as a fault does."""
        self.banned_until_ms = self._now_ms() + seconds * 1000

    def weight_headers(self) -> Headers:
        """Return what every answer of the API tells."""
        used = str(self._of(WEIGHT).used(self._now_ms()))
        return (("X-MBX-USED-WEIGHT", used), ("X-MBX-USED-WEIGHT-1M", used))

    def order_headers(self) -> Headers:
        """Return what an accepted order tells besides."""
        return tuple(
            (f"X-MBX-ORDER-COUNT-{counts.window.interval_num}{counts.window.interval[0]}", str(counts.used(self._now_ms())))
            for counts in self._orders()
        )

    def order_rows(self) -> list[dict[str, object]]:
        """Return the answer to `rateLimit/order`."""
        return [{**counts.window.row(), "count": counts.used(self._now_ms())} for counts in self._orders()]

    def weight_row(self) -> dict[str, object]:
        """Return the weight's row in a WebSocket API answer."""
        counts = self._of(WEIGHT)
        return {**counts.window.row(), "count": counts.used(self._now_ms())}

    def require_not_banned(self) -> None:
        """Raise VenueError with 418 while the address is banned."""
        if self._now_ms() < self.banned_until_ms:
            self._violations["requests_while_banned"] += 1
            raise self._banned()

    def _limit(self, counts: _Counts, now_ms: int) -> None:
        if now_ms < self._limited_until_ms:
            self._violations["requests_while_limited"] += 1
            self._strikes += 1
        else:
            self._strikes = 0
            self._limited_until_ms = counts.ends_ms(now_ms)
        if self._strikes >= STRIKES_MAX:
            self._ban_s = min(self._ban_s * BAN_GROWTH or BAN_S_MIN, BAN_S_MAX)
            self._strikes = 0
            self.ban(self._ban_s)
            raise self._banned()
        self._violations["requests_over_limit"] += 1
        window = counts.window
        if window.kind == RAW.kind:
            words = f"Too many requests; current limit is {window.limit} requests per {window.interval_num} {window.interval}."
        else:
            words = f"Too much request weight used; current limit is {window.limit} request weight per 1 MINUTE."
        advice = " Please use WebSocket Streams for live updates to avoid polling the API."
        raise self._refusal(-1003, words + advice, counts.ends_ms(now_ms))

    def _banned(self) -> VenueError:
        until_ms = self.banned_until_ms
        words = f"Way too much request weight used; IP banned until {until_ms}."
        advice = " Please use WebSocket Streams for live updates to avoid bans."
        return self._refusal(-1003, words + advice, until_ms, status=418)

    def _refusal(self, code: int, words: str, until_ms: int, *, status: int = 429) -> VenueError:
        """Make a refusal that says in both ways when it ends: `Retry-After` in s, `retryAfter` in epoch ms."""
        now_ms = self._now_ms()
        wait_s = max(1, -(-(until_ms - now_ms) // 1000))
        data: dict[str, object] = {"serverTime": now_ms, "retryAfter": until_ms}
        return VenueError(code, words, status, headers=(("Retry-After", str(wait_s)),), socket_data=data)

    def _of(self, window: Window) -> _Counts:
        return self._counts[(window.kind, window.seconds)]

    def _orders(self) -> tuple[_Counts, ...]:
        return tuple(self._of(window) for window in ORDERS)
