"""Upbit's public market data: which codes share a connection and what is asked over REST. Holds no key, places no order.

Source: reference upbit 1, 4, 5, 10. Each stream message is a full picture, so a market that needs a fresh one gets it by
sending the whole subscription again: the venue answers with a snapshot of every code. Upbit has no time endpoint: its clock
is read from the HTTP `Date` header, in whole seconds; `ClockMeasured.round_trip_ms` carries that width, half of which bounds
the error as with a round trip.
"""

from __future__ import annotations

import functools
import random
import uuid
from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.model.events import FeedEvent
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.clock_offset import DateOffset
from arbitrage.venues.link import ConnectionRules, LinkPlan
from arbitrage.venues.rest import Answer, Request
from arbitrage.venues.session import Session, in_groups
from arbitrage.venues.upbit.codec import UpbitCodec
from arbitrage.venues.upbit.limits import UpbitLimits
from arbitrage.venues.wiring import Decode, Wiring

RULES = ConnectionRules(messages_per_minute_max=90, connects_per_s_max=4, has_first_messages=True)
"""Upbit allows 100 messages a minute on a connection and 5 handshakes a second; some of both stays unused."""
TYPES_PER_CODE = 2
"""A code is subscribed for its order book and its trades."""
CODES_ASKED_MAX = 100


class _Listed(msgspec.Struct):
    market: str


class UpbitSession(Session):
    """One subscription message for each connection, always whole."""

    def __init__(
        self, name: Venue, settings: VenueSettings, markets: Mapping[str, int], wiring: Wiring, rules: ConnectionRules = RULES
    ) -> None:
        super().__init__(name, settings, markets, wiring, UpbitLimits())
        self._rules = rules
        self._codec = UpbitCodec(name, markets, settings)
        self._date_offset = DateOffset(name)

    @property
    def rules(self) -> ConnectionRules:
        return self._rules

    def plans(self) -> list[LinkPlan]:
        size = max(1, self.settings.streams_per_connection_max // TYPES_PER_CODE)
        rng = self.context.wiring.rng
        return [
            LinkPlan(self.settings.stream_url, group, (self._codec.subscription(_ticket(rng), list(group.values())).encode(),))
            for group in in_groups(self.symbols, size)
        ]

    def decoder(self, connection: str) -> Decode:
        return functools.partial(self._codec.decode, connection=connection)

    async def _fetch_instruments(self) -> Sequence[FeedEvent]:
        """Read the market list first: one unlisted code would spoil the answer about the ticks of all others."""
        listed = await self._rest.get(Request("/v1/market/all", {"is_details": "true"}, group="market"))
        if listed is None:
            return ()
        codes = self._codes_listed(listed)
        rows: list[msgspec.Raw] = []
        for start in range(0, len(codes), CODES_ASKED_MAX):
            part = ",".join(codes[start : start + CODES_ASKED_MAX])
            answer = await self._rest.get(Request("/v1/orderbook/instruments", {"markets": part}, group="orderbook"))
            if answer is None:
                return ()
            rows += _rows(answer.body)
        return self._codec.decode_instruments(listed.body, msgspec.json.encode(rows), listed.done_ns)

    async def _fetch_snapshot(self, market: int) -> Sequence[FeedEvent] | None:
        for lane in self.lanes:
            if market in lane.markets:
                await lane.resubscribe()
        return ()

    async def _measure_clock(self) -> Sequence[FeedEvent]:
        code = next(iter(self.symbols.values()))
        answer = await self._rest.get(Request("/v1/orderbook/instruments", {"markets": code}, group="orderbook"))
        measured = None if answer is None else self._date_offset.measured(answer.headers, answer.sent_ns, answer.received_ns)
        return () if measured is None else (measured,)

    def _codes_listed(self, listed: Answer) -> list[str]:
        try:
            known = {row.market for row in msgspec.json.decode(listed.body, type=list[_Listed])}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []
        return [code for code in self.symbols.values() if code in known]


def _rows(body: bytes) -> list[msgspec.Raw]:
    """Split a list answer so that several become one; what is no list is left for the codec to name."""
    try:
        return msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [msgspec.Raw(b"null")]


def _ticket(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
