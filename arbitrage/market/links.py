"""Which connection each market hangs on, when it last showed life, and how far each venue's clock is off. Holds no books."""

from __future__ import annotations

from arbitrage.model.events import ClockMeasured, LinkAlive, LinkDown, LinkUp
from arbitrage.model.instruments import Venue
from arbitrage.model.opportunities import VenueHealth
from arbitrage.model.settings import MarketDataSettings

NS_PER_MS = 1_000_000
AGE_MS_MAX = 86_400_000
"""Ages are reported up to a day; what never showed life is that old."""


def age_ms_at(then_ns: int, now_ns: int) -> int:
    """Return how long ago `then_ns` was, in whole milliseconds from 0 to a day. 0 means never."""
    if not then_ns:
        return AGE_MS_MAX
    return min(AGE_MS_MAX, max(0, now_ns - then_ns) // NS_PER_MS)


class Link:
    """One connection: any frame of it, or a pong, is a sign of life."""

    __slots__ = ("alive_at_ns", "is_up", "name", "venue")

    def __init__(self, venue: Venue, name: str) -> None:
        assert venue, "a link belongs to a venue"
        self.venue = venue
        self.name = name
        self.is_up = False
        self.alive_at_ns = 0


class Links:
    """Every connection that carries market data. A market hangs on the newest connection that named it."""

    def __init__(self, markets: tuple[tuple[str, str], ...], settings: MarketDataSettings) -> None:
        self._settings = settings
        self._open: dict[tuple[Venue, str], Link] = {}
        self._offsets_ms: dict[Venue, int] = {}
        self.lost: dict[Venue, int] = {Venue(venue): 0 for venue, _ in markets}
        """Connections that ended since the start, for screens; a planned replacement ends one, too."""
        unconnected = {venue: Link(Venue(venue), "") for venue, _ in markets}
        self.of_market: list[Link] = [unconnected[venue] for venue, _ in markets]
        assert len(self.of_market) == len(markets), "every market has a link, if only the one that is not up yet"

    def configure(self, settings: MarketDataSettings) -> None:
        """Judge by new limits from now on."""
        assert settings.link_age_ms_max > 0, "silence is measured against a limit"
        self._settings = settings

    def up(self, event: LinkUp) -> None:
        """Hang the named markets on this connection."""
        link = Link(event.venue, event.connection)
        link.is_up = True
        link.alive_at_ns = event.at_ns
        self._open[event.venue, event.connection] = link
        for market in event.markets:
            assert self.of_market[market].venue == event.venue, "a market stays with its venue"
            self.of_market[market] = link

    def down(self, event: LinkDown) -> tuple[int, ...]:
        """Close a connection; return the markets that still hung on it (a replacement may have taken some over)."""
        link = self._open.pop((event.venue, event.connection), None)
        if link is None:
            return tuple(market for market in event.markets if not self.of_market[market].is_up)
        assert link.is_up, "an open link is up"
        self.lost[event.venue] = self.lost.get(event.venue, 0) + 1
        link.is_up = False
        return tuple(market for market, its_link in enumerate(self.of_market) if its_link is link)

    def alive(self, event: LinkAlive) -> bool:
        """Note a sign of life; return False when it cannot be told whose it is.

        A pure codec does not know its connection and leaves the name empty: that is clear only while one is open.
        """
        key = event.venue, event.connection
        links = [link for name, link in self._open.items() if name == key or (name[0] == key[0] and not key[1])]
        if len(links) != 1:
            return False
        links[0].alive_at_ns = event.at_ns
        return True

    def measure_clock(self, event: ClockMeasured) -> None:
        """Keep the newest clock offset of a venue."""
        assert event.round_trip_ms >= 0, "an answer does not come before its question"
        self._offsets_ms[event.venue] = event.offset_ms

    def is_clock_off(self, venue: Venue) -> bool:
        """Tell whether the measured offset exceeds its limit; one that was never measured does not."""
        return abs(self._offsets_ms.get(venue, 0)) > self._settings.clock_offset_ms_max

    def health(self, venue: Venue, now_ns: int) -> VenueHealth:
        """Sum up what the guard may know of a venue; `reason` is empty when nothing is wrong."""
        links = [link for link in self._open.values() if link.venue == venue]
        alive_age_ms = min((age_ms_at(link.alive_at_ns, now_ns) for link in links), default=AGE_MS_MAX)
        offset_ms = self._offsets_ms.get(venue)
        if not links:
            reason = "no connection"
        elif alive_age_ms > self._settings.link_age_ms_max:
            reason = f"silent for {alive_age_ms} ms"
        elif self.is_clock_off(venue):
            reason = f"clock offset of {offset_ms} ms exceeds {self._settings.clock_offset_ms_max} ms"
        else:
            reason = ""
        return VenueHealth(venue, bool(links), alive_age_ms, offset_ms, reason)
