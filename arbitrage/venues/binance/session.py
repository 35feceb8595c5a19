"""Binance's public market data: which streams share a connection and what is asked over REST. Holds no key, places no order.

Source: reference binance-spot 1, 4, 5, 10. The order at start is: rules, streams, then a snapshot for each market that asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from arbitrage.model.events import FaultKind, FeedEvent, FeedFault, InstrumentsRead
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.binance.codec import STREAM_KINDS, BinanceCodec, stream_path
from arbitrage.venues.binance.limits import BinanceLimits, read_limits
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.clock_offset import by_midpoint
from arbitrage.venues.link import ConnectionRules, LinkPlan
from arbitrage.venues.rest import Request
from arbitrage.venues.session import Session, in_groups
from arbitrage.venues.wiring import Decode, Wiring

RULES = ConnectionRules(life_ns=24 * 3600 * NS_PER_S)
STREAMS_PER_CONNECTION = 1_024
SYMBOLS_ASKED_MAX = 100
"""More configured symbols than this are read out of the whole exchangeInfo: a URL has its limits too."""
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))
"""Weight of a depth snapshot by its limit."""


class BinanceSession(Session):
    """Streams in the URL (no subscription message is ever sent), depth snapshots by REST."""

    def __init__(
        self, name: Venue, settings: VenueSettings, markets: Mapping[str, int], wiring: Wiring, rules: ConnectionRules = RULES
    ) -> None:
        self._limits = BinanceLimits()
        super().__init__(name, settings, markets, wiring, self._limits)
        self._rules = rules
        self._codec = BinanceCodec(name, markets, settings)

    @property
    def rules(self) -> ConnectionRules:
        return self._rules

    def plans(self) -> list[LinkPlan]:
        streams = min(self.settings.streams_per_connection_max, STREAMS_PER_CONNECTION)
        base = self.settings.stream_url.rstrip("/")
        return [
            LinkPlan(base + quote(stream_path(list(group.values())), safe="/?=@!"), group)
            for group in in_groups(self.symbols, max(1, streams // len(STREAM_KINDS)))
        ]

    def decoder(self, connection: str) -> Decode:
        return self._codec.decode

    async def _fetch_instruments(self) -> Sequence[FeedEvent]:
        """Ask for our symbols only; one that is no longer listed spoils that answer, then the whole list is read."""
        events: Sequence[FeedEvent] = ()
        if len(self.symbols) <= SYMBOLS_ASKED_MAX:
            names = msgspec.json.encode(list(self.symbols.values())).decode()
            events = await self._exchange_info({"symbols": names})
        if not any(type(event) is InstrumentsRead for event in events):
            events = await self._exchange_info({})
        return events

    async def _exchange_info(self, params: dict[str, str]) -> Sequence[FeedEvent]:
        answer = await self._rest.get(Request("/api/v3/exchangeInfo", params, weight=20))
        if answer is None:
            return ()
        for change in self._limits.learn_counts(read_limits(answer.body), answer.done_ns):
            self.context.fault(FaultKind.RATE_LIMITED, change)
        return self._codec.decode_instruments(answer.body, answer.done_ns)

    async def _fetch_snapshot(self, market: int) -> Sequence[FeedEvent] | None:
        levels = self.settings.snapshot_levels
        params = {"symbol": self.symbols[market], "limit": str(levels)}
        answer = await self._rest.get(Request("/api/v3/depth", params, weight=depth_weight(levels), market=market))
        if answer is None:
            return None
        event = self._codec.decode_snapshot(answer.body, market, answer.done_ns)
        if type(event) is FeedFault:
            self._hand_over((event,))
            return None
        return (event,)

    async def _measure_clock(self) -> Sequence[FeedEvent]:
        answer = await self._rest.get(Request("/api/v3/time"))
        if answer is None:
            return ()
        venue_ms = self._codec.decode_time(answer.body, answer.done_ns)
        if isinstance(venue_ms, FeedFault):
            return (venue_ms,)
        return (by_midpoint(self.context.venue, venue_ms, answer.sent_ns, answer.received_ns),)


def depth_weight(levels: int) -> int:
    """Return what a depth snapshot of so many levels costs."""
    return next(weight for most, weight in DEPTH_WEIGHTS if levels <= most)
