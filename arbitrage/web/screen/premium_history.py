"""Each coin's premium once a second for a day, taken apart: the rate that its prices imply, USDT's own, and the bank's.

In memory, with holes where one of them was not known; it begins anew with the process. Decides and writes nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.model.money import PPM
from arbitrage.web.screen.charts.lines import Line
from arbitrage.web.screen.charts.sampling import Point
from arbitrage.web.screen.figures import percent
from arbitrage.web.screen.overview import pair_key
from arbitrage.web.screen.plots import Plot
from arbitrage.web.screen.premium import parts_of
from arbitrage.web.screen.seconds import SECONDS_KEPT, Seconds

COINS_MAX = 12
"""One coin costs 1.4 MB a day; what comes after is counted, not kept."""
RATE_MAX = 2**63 - 1


class _Kept:
    """One coin's two rates."""

    def __init__(self, asset: str, fiat: str, seconds: Seconds) -> None:
        self.asset = asset
        self.fiat = fiat
        self.implied = seconds.column("q")
        self.rate = seconds.column("q")


class PremiumSeries(msgspec.Struct, frozen=True):
    """What is remembered of one coin, oldest first, all over the same moments; rates are units of fiat, times 1e8."""

    asset: str
    fiat: str
    dollar: str
    """What the rates are for one of: the asset of the market's rate, and a bank's dollar beside it."""
    implied: list[Point]
    rate: list[Point]
    bank: list[Point] | None
    """None: no bank's rate is configured for this fiat."""

    def parts(self) -> Plot:
        """Show the premium's parts in per cent; with a bank's rate also how the dollar of the market stands against it."""
        own = _above(self.implied, self.rate)
        lines = [Line("coin", f"{self.asset}'s own part", own)]
        last = f"last {percent(own[-1][1])} %" if own and own[-1][1] is not None else "not known now"
        if self.bank is not None:
            lines.append(Line("basis", f"{self.dollar} against the bank", _above(self.rate, self.bank)))
            lines.append(Line("gross", "whole premium", _above(self.implied, self.bank)))
        title = f"{self.asset}: the premium in {self.fiat} taken apart, in per cent over time; own part {last}"
        return Plot(title, "percent", lines)

    def rates(self) -> Plot:
        """Show the rates themselves."""
        lines = [
            Line("net", f"implied by {self.asset}", self.implied),
            Line("gross", f"{self.dollar}'s own book", self.rate),
        ]
        if self.bank is not None:
            lines.append(Line("bank", "bank", self.bank))
        return Plot(f"{self.asset}: {self.fiat} for one {self.dollar} over time", "rate", lines)


class PremiumHistory:
    """Every coin over one ring of seconds."""

    def __init__(self, seconds_kept: int = SECONDS_KEPT) -> None:
        self._seconds = Seconds(seconds_kept)
        self._coins: dict[str, _Kept] = {}
        self._banks: dict[str, array[int]] = {}
        self._dollar = ""
        self.coins_not_kept = 0
        """Coins of the newest sample for which there was no room."""

    @property
    def keys(self) -> dict[str, str]:
        """Each pair that is remembered, with its coin."""
        return {key: kept.asset for key, kept in self._coins.items()}

    def sample(self, view: EngineView, banks: Mapping[str, int | None]) -> None:
        """Take in one second: the premiums of the picture, and each bank's rate where it is known."""
        slot = self._seconds.begin(view.at_ns)
        if slot is None:
            return
        self.coins_not_kept = 0
        self._dollar = view.reporting_asset
        for fiat, rate_e8 in banks.items():
            if fiat not in self._banks:
                self._banks[fiat] = self._seconds.column("q")
            if rate_e8 is not None:
                self._banks[fiat][slot] = min(RATE_MAX, rate_e8)
        for spread in view.spreads:
            parts = parts_of(spread, view.reporting_asset)
            coin = self._coin(pair_key(spread), parts.asset, parts.fiat) if parts is not None else None
            if parts is not None and coin is not None:
                coin.implied[slot], coin.rate[slot] = min(RATE_MAX, parts.implied_e8), min(RATE_MAX, parts.rate_e8)

    async def series(self, key: str, since_ns: int = 0, until_ns: int | None = None) -> PremiumSeries | None:
        """Return one coin's time, sampled down; None for a pair that is not remembered."""
        kept = self._coins.get(key)
        if kept is None:
            return None
        bank = self._banks.get(kept.fiat)
        columns = (kept.implied, kept.rate, *(() if bank is None else (bank,)))
        found = await self._seconds.sampled(columns, since_ns, until_ns)
        known = None if bank is None else found.points(2)
        return PremiumSeries(kept.asset, kept.fiat, self._dollar, found.points(0), found.points(1), known)

    def _coin(self, key: str, asset: str, fiat: str) -> _Kept | None:
        kept = self._coins.get(key)
        if kept is None and len(self._coins) < COINS_MAX:
            kept = self._coins[key] = _Kept(asset, fiat, self._seconds)
        self.coins_not_kept += kept is None
        return kept


def _above(rates: list[Point], bases: list[Point]) -> list[Point]:
    """Return by how many millionths a rate is above another, rounded down, where both are known."""
    found: list[Point] = []
    for (at_ns, rate), (_, base) in zip(rates, bases, strict=True):
        found.append((at_ns, None if rate is None or not base else rate * PPM // base - PPM))
    return found
