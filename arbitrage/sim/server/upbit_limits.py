"""Upbit's request limits (reference sheet, section 4): groups by second, 429, then 418 for whoever goes on. Knows no endpoint.

Blocking is documented, its numbers are not: ten refusals within ten seconds block for a minute, and each block doubles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from arbitrage.sim.server.http import Response
from arbitrage.sim.server.upbit_errors import Headers, plain

STRIKES_MAX = 10
STRIKES_WITHIN_MS = 10_000
BLOCK_MS = 60_000
BLOCK_MS_MAX = 24 * 3_600_000
ORIGIN_EVERY_MS = 10_000
"""A request with an `Origin` header (a browser) may come once in so long."""


class Group(msgspec.Struct, frozen=True):
    """How many calls fit into one window, and who shares them."""

    name: str
    calls: int
    scope: str
    """`ip` or `pocket`."""
    window_ms: int = 1_000
    """A second is the clock's own; a longer window slides."""

    def counts(self, at_ms: int, now_ms: int) -> bool:
        """Tell whether a call still counts."""
        return at_ms // 1_000 == now_ms // 1_000 if self.window_ms == 1_000 else at_ms > now_ms - self.window_ms


IP_GROUPS = tuple(Group(name, 10, "ip") for name in ("market", "candle", "trade", "ticker", "orderbook"))
POCKET_GROUPS = (
    Group("default", 30, "pocket"),
    Group("order", 12, "pocket"),
    Group("order-test", 8, "pocket"),
    Group("order-cancel-all", 1, "pocket", window_ms=2_000),
)
GROUPS = {group.name: group for group in (*IP_GROUPS, *POCKET_GROUPS)}


class Tally(msgspec.Struct):
    """What clients did wrong, by name, and what was refused, by the error's name."""

    violations: Counter[str] = msgspec.field(default_factory=Counter)
    refused: Counter[str] = msgspec.field(default_factory=Counter)


class _Block:
    """One scope's recent refusals and its block."""

    def __init__(self) -> None:
        self.strikes: list[int] = []
        self.until_ms = 0
        self.last_ms = 0


class UpbitLimits:
    """Counts calls. One pocket and one address: everything here comes from loopback."""

    def __init__(self, now_ms: Callable[[], int], tally: Tally) -> None:
        self.tally = tally
        self._now_ms = now_ms
        self._calls: dict[str, list[int]] = {name: [] for name in GROUPS}
        self._blocks = {"ip": _Block(), "pocket": _Block()}
        self._origin_ms: int | None = None

    def take(self, name: str) -> Headers | Response:
        """Count one call: the headers of its answer, or the refusal."""
        group, now_ms = GROUPS[name], self._now_ms()
        block = self._blocks[group.scope]
        if now_ms < block.until_ms:
            self.tally.violations["requests_while_blocked"] += 1
            left_s = -(-(block.until_ms - now_ms) // 1000)
            return plain(418, f"Too many API requests. Blocked for {left_s} seconds.")
        calls = self._calls[name] = [at for at in self._calls[name] if group.counts(at, now_ms)]
        if len(calls) >= group.calls:
            self.tally.violations[f"requests_over_limit {name}"] += 1
            self._strike(block, now_ms)
            return plain(429, "Too many API requests.")
        calls.append(now_ms)
        return (("Remaining-Req", f"group={name}; min=1800; sec={group.calls - len(calls)}"),)

    def take_origin(self) -> Response | None:
        """Count one request of a browser; None lets it pass."""
        now_ms = self._now_ms()
        if self._origin_ms is not None and now_ms - self._origin_ms < ORIGIN_EVERY_MS:
            self.tally.violations["origin_header"] += 1
            return plain(429, "Too many API requests.")
        self._origin_ms = now_ms
        return None

    def block(self, scope: str, for_ms: int) -> None:
        """Block an address or the pocket now, as a fault does."""
        self._blocks[scope].until_ms = self._now_ms() + for_ms

    def _strike(self, block: _Block, now_ms: int) -> None:
        block.strikes = [at for at in block.strikes if at > now_ms - STRIKES_WITHIN_MS] + [now_ms]
        if len(block.strikes) >= STRIKES_MAX:
            block.last_ms = min(block.last_ms * 2 or BLOCK_MS, BLOCK_MS_MAX)
            block.until_ms = now_ms + block.last_ms
            block.strikes = []
            self.tally.violations["blocks"] += 1
