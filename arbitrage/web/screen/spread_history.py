"""Every pair's gross and net edge once a second for a day, in memory. Forgets older seconds, decides and writes nothing.

It begins anew with the process, and says since when it remembers. What happened between two seconds is in the ledger of
opportunities, not here.
"""

from __future__ import annotations

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.web.screen.charts.sampling import Point
from arbitrage.web.screen.overview import pair_key
from arbitrage.web.screen.seconds import SECONDS_KEPT, Seconds

PAIRS_MAX = 24
"""Two pairs cost 1.4 MB a day; what comes after is counted, not kept."""
PPM_MAX = 2**31 - 1


class _Kept:
    """One pair's two series."""

    def __init__(self, asset: str, seconds: Seconds) -> None:
        self.asset = asset
        self.gross = seconds.column("i")
        self.net = seconds.column("i")
        self.above_at_ns: int | None = None


class Series(msgspec.Struct, frozen=True):
    """What is remembered of one pair, oldest first, both over the same moments."""

    key: str
    asset: str
    gross: list[Point]
    net: list[Point]


class SpreadHistory:
    """Every pair over one ring of seconds."""

    def __init__(self, seconds_kept: int = SECONDS_KEPT) -> None:
        self._seconds = Seconds(seconds_kept)
        self._pairs: dict[str, _Kept] = {}
        self.pairs_not_kept = 0
        """Pairs of the newest sample for which there was no room."""

    @property
    def keys(self) -> dict[str, str]:
        """Each pair that is remembered, with its coin."""
        return {key: kept.asset for key, kept in self._pairs.items()}

    @property
    def since_ns(self) -> int | None:
        """The oldest second; None before the first."""
        return self._seconds.since_ns

    def sample(self, view: EngineView) -> None:
        """Take in one second's picture; a second that was taken already is taken no more."""
        slot = self._seconds.begin(view.at_ns)
        if slot is None:
            return
        self.pairs_not_kept = 0
        for spread in view.spreads:
            pair = self._pair(pair_key(spread), spread.asset)
            if pair is None or spread.net_ppm is None or spread.gross_ppm is None:
                continue
            pair.gross[slot], pair.net[slot] = _held(spread.gross_ppm), _held(spread.net_ppm)
            if spread.net_ppm > 0:
                pair.above_at_ns = view.at_ns

    async def series(self, key: str, since_ns: int = 0, until_ns: int | None = None) -> Series | None:
        """Return one pair's time, sampled down; None for a pair that is not remembered."""
        kept = self._pairs.get(key)
        if kept is None:
            return None
        found = await self._seconds.sampled((kept.gross, kept.net), since_ns, until_ns)
        return Series(key, kept.asset, found.points(0), found.points(1))

    def recent(self, key: str, seconds: int) -> list[int | None]:
        """Return the net edge of the newest seconds, oldest first: a sparkline's figures."""
        kept = self._pairs.get(key)
        return [] if kept is None else self._seconds.newest(kept.net, seconds)

    def above_at_ns(self, key: str) -> int | None:
        """Return when a pair last paid after everything; None: not since it is remembered."""
        kept = self._pairs.get(key)
        return kept.above_at_ns if kept is not None else None

    def _pair(self, key: str, asset: str) -> _Kept | None:
        kept = self._pairs.get(key)
        if kept is None and len(self._pairs) < PAIRS_MAX:
            kept = self._pairs[key] = _Kept(asset, self._seconds)
        self.pairs_not_kept += kept is None
        return kept


def _held(ppm: int) -> int:
    """Hold a figure in four bytes."""
    return max(-PPM_MAX, min(PPM_MAX, ppm))
