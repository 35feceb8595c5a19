"""Money at risk over a drill: what stood unhedged over all venues, fill by fill, by the exchanges' own truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from arbitrage.app.child import VenueServers
from arbitrage.app.drills.books import VENUES, Books, value_e8
from arbitrage.app.drills.words import Risk
from arbitrage.model.money import format_e8, parse_e8
from arbitrage.model.settings import Settings

NS_PER_S = 1_000_000_000
Change = tuple[int, dict[str, int]]
"""When (ns), and what it changed by asset."""


class Naked(msgspec.Struct):
    """The exposure as it went: each change with its time, and for how long it was more than dust."""

    samples: list[tuple[int, int]] = []
    naked_ns: int = 0


class Exposure:
    """The net change of every asset since the drill began, in the reporting asset; fiat that is carried on purpose left out."""

    def __init__(self, servers: VenueServers, settings: Settings, books: Books, clock: Callable[[], int]) -> None:
        strategy = settings.strategy
        policy = strategy.fx_policy_by_pair.get(books.pair.coin, strategy.fx_policy)
        self._servers = servers
        self._books = books
        self._reporting = strategy.reporting_asset
        self._left_out = {self._reporting, *(strategy.fx_assets if policy == "carry" else ())}
        self._dust_e8 = parse_e8(settings.execution.dust_value_max)
        self._clock = clock
        self._began_ns = clock()
        self._before: Counter[str] = Counter()

    async def begin(self) -> None:
        """Take the balances of now as the start."""
        self._before = totals(await self._servers.control("GET", "/truth?limit=1"))
        self._began_ns = self._clock()

    async def now_e8(self) -> int:
        """Return the value of the largest unhedged asset now, by the balances."""
        now = totals(await self._servers.control("GET", "/truth?limit=1"))
        return self._worth_e8({asset: now[asset] - self._before[asset] for asset in now})

    async def risk(self) -> Risk:
        """Sum up the whole drill."""
        truth, end_ns = await self._servers.control("GET", "/truth"), self._clock()
        naked = self._followed(self._changes(truth), end_ns)
        values = [value for _, value in naked.samples] or [0]
        samples = tuple((round((at_ns - self._began_ns) / NS_PER_S, 3), format_e8(value)) for at_ns, value in naked.samples)
        naked_s = round(naked.naked_ns / NS_PER_S, 3)
        return Risk(self._reporting, format_e8(max(values)), naked_s, format_e8(values[-1]), samples)

    def _followed(self, changes: list[Change], end_ns: int) -> Naked:
        net: Counter[str] = Counter()
        naked = Naked()
        for position, (at_ns, change) in enumerate(changes):
            net.update(change)
            worth_e8 = self._worth_e8(net)
            naked.samples.append((at_ns, worth_e8))
            until_ns = changes[position + 1][0] if position + 1 < len(changes) else end_ns
            if worth_e8 > self._dust_e8:
                naked.naked_ns += max(0, until_ns - at_ns)
        return naked

    def _changes(self, truth: Mapping[str, Any]) -> list[Change]:
        """Return what each fill since the start changed, oldest first."""
        found: list[Change] = []
        for venue in VENUES:
            for fill in truth[venue]["fills"]:
                spec = self._books.spec(venue, fill["symbol"])
                sign = 1 if fill["side"] == "buy" else -1
                change = Counter({spec.base: sign * parse_e8(fill["quantity"]), spec.quote: -sign * parse_e8(fill["quote"])})
                change[fill["fee_asset"]] -= parse_e8(fill["fee"])
                if fill["at_ns"] >= self._began_ns:
                    found.append((fill["at_ns"], dict(change)))
        return sorted(found, key=lambda change: change[0])

    def _worth_e8(self, net: Mapping[str, int]) -> int:
        values = [abs(value_e8(asset, e8, self._reporting)) for asset, e8 in net.items() if asset not in self._left_out]
        return max(values, default=0)


def totals(truth: Mapping[str, Any]) -> Counter[str]:
    """Add up every asset over the venues."""
    found: Counter[str] = Counter()
    for venue in VENUES:
        for asset, balance in truth[venue]["balances"].items():
            found[asset] += parse_e8(balance["free"]) + parse_e8(balance["locked"])
    return found
