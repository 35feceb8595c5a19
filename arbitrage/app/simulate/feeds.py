"""Market data in a simulated daemon: rules, one connection a venue, snapshots, the clock, by the real codecs. Trades nothing.

It does what `venues/*/session.py` does with sockets; whatever the wire brings goes to the codec, and what the codec says to the
door. Budgets and bans are the real ones, shared with the account's link.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from arbitrage.app.simulate.party import MS_NS, S_NS, Life, Party, Steps, header
from arbitrage.model.events import ClockMeasured, FeedEvent, FeedFault, InstrumentsRead, LinkAlive, LinkDown, LinkUp
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.wire import Line, Wire
from arbitrage.venues.binance.codec import BinanceCodec, stream_path
from arbitrage.venues.binance.limits import BinanceLimits
from arbitrage.venues.clock_offset import DateOffset, by_midpoint
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.rest import Limits
from arbitrage.venues.upbit.codec import UpbitCodec
from arbitrage.venues.upbit.limits import UpbitLimits
from arbitrage.venues.wiring import VenueEvent

SNAPSHOT_LEVELS = 100
PING_NS = S_NS
BACKOFF_NS = 500 * MS_NS
CONNECT_TIMEOUT_NS = 5 * S_NS
OK = 200


class FeedContext(msgspec.Struct, frozen=True):
    """Whose market data."""

    venue: Venue
    settings: VenueSettings
    markets: Mapping[str, int]
    """Dense ids by the venue's symbol."""


class Feed(Party, ABC):
    """One venue's market data. Also the client of its connection."""

    codec: BinanceCodec | UpbitCodec
    limits: Limits

    def __init__(
        self, context: FeedContext, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random
    ) -> None:
        super().__init__(life, wire, sink, dice)
        self.context = context
        self._line: Line | None = None
        self._connects = 0
        self._heard_ns = 0
        self._fetching: set[int] = set()

    def start(self) -> None:
        """Read the rules, then connect, and keep at it."""
        self.begin(self._live())
        self.begin(self._keep_time())
        self.life.after_ns(PING_NS, self._watch)

    def hold_requests(self, until_ns: int) -> None:
        """Ask nothing before this time: a ban outlives a restart."""
        self.limits.refused("", BANNED, until_ns)

    def resync(self, market: int) -> None:
        """Fetch a fresh picture of a market, unless one is on its way."""
        if market not in self._fetching and self._line is not None:
            self._fetching.add(market)
            self.begin(self._fetch(market))

    # -- the connection -----------------------------------------------------------------------------------------

    def on_open(self, line: Line) -> None:
        self.life.guarded(self._on_open)(line)

    def on_frame(self, line: Line, raw: bytes) -> None:
        self.life.guarded(self._on_frame)(line, raw)

    def on_end(self, reason: str, refusal: Response | None) -> None:
        self.life.guarded(self._on_end)(reason, refusal)

    @property
    def _name(self) -> str:
        return f"{self.context.venue}-{self._connects}"

    def _connect(self) -> None:
        self._connects += 1
        self._heard_ns = self.life.now_ns()
        self._line = self.wire.open(self._target(), self)

    def _on_open(self, line: Line) -> None:
        if line is not self._line:
            return
        self._subscribe(line)
        self._heard_ns = self.life.now_ns()
        self._fetching.clear()
        self.sink((LinkUp(self._heard_ns, self.context.venue, self._name, tuple(self.context.markets.values())),))

    def _on_frame(self, line: Line, raw: bytes) -> None:
        if line is self._line:
            self._heard_ns = now_ns = self.life.now_ns()
            events = self._decode(raw, now_ns)
            if events:
                self.sink(events)

    def _on_end(self, reason: str, refusal: Response | None) -> None:
        if self._line is None or not self._line.has_ended:
            return
        self._line = None
        if refusal is not None and refusal.status in (RATE_LIMITED, BANNED):
            self._heed(refusal, "")
        markets = tuple(self.context.markets.values())
        self.sink((LinkDown(self.life.now_ns(), self.context.venue, self._name, markets, reason),))
        self.begin(self._reconnect())

    def _watch(self) -> None:
        """Ping, and give a connection up that shows no life."""
        now_ns, line = self.life.now_ns(), self._line
        self.life.after_ns(PING_NS, self._watch)
        if line is None:
            return
        if now_ns - self._heard_ns >= self.context.settings.silence_ms_max * MS_NS:
            line.hang_up()
            self._on_end("silent", None)
        else:
            line.ping(self.life.guarded(lambda: self._alive(line)))

    def _alive(self, line: Line) -> None:
        if line is self._line:
            self._heard_ns = self.life.now_ns()
            self.sink((LinkAlive(self._heard_ns, self.context.venue, self._name),))

    # -- requests -----------------------------------------------------------------------------------------------

    def _live(self) -> Steps[None]:
        while True:
            events = yield from self._instruments()
            if events:
                self.sink(events)
            if any(type(event) is InstrumentsRead for event in events):
                break
            yield self.pause(BACKOFF_NS)
        yield from self._reconnect(0)
        while True:
            yield self.pause(self.context.settings.instruments_reload_ms * MS_NS)
            events = yield from self._instruments()
            if events:
                self.sink(events)

    def _reconnect(self, pause_ns: int = BACKOFF_NS) -> Steps[None]:
        yield self.pause(pause_ns)
        while wait_ns := self.limits.budget(self._group()).wait_ns(self.life.now_ns()):
            yield self.pause(wait_ns)
        if self._line is None:
            self._connect()

    def _keep_time(self) -> Steps[None]:
        while True:
            measured = yield from self._measure()
            if measured is not None:
                self.sink((measured,))
            yield self.pause(self.context.settings.clock_measure_ms * MS_NS)

    def _timed(self, path: str, query: Mapping[str, str], group: str) -> Steps[tuple[Response | None, int]]:
        """Ask once within the budget; the answer, and when it was asked for, which is after any waiting."""
        yield from self._budget(group, 1)
        sent_ns = self.life.now_ns()
        answer = yield from self._ask(path, query, group)
        return answer, sent_ns

    def _get(self, path: str, query: Mapping[str, str], group: str, weight: int) -> Steps[Response | None]:
        """Ask once within the budget; an answer that is good, or None."""
        yield from self._budget(group, weight)
        return (yield from self._ask(path, query, group))

    def _budget(self, group: str, weight: int) -> Steps[None]:
        budget = self.limits.budget(group)
        while wait_ns := budget.wait_ns(self.life.now_ns(), weight):
            yield self.pause(wait_ns)
        budget.charge(self.life.now_ns(), weight)

    def _ask(self, path: str, query: Mapping[str, str], group: str) -> Steps[Response | None]:
        target = f"{path}?{urlencode(query)}" if query else path
        response: Response | None = yield self.rest(Request("GET", target, {}, b""))
        if response is None:
            return None
        self.limits.learn(group, dict(response.headers), self.life.now_ns())
        if response.status in (RATE_LIMITED, BANNED):
            self._heed(response, group)
        elif response.status == OK:
            self.limits.holds.reset()
            return response
        return None

    def _heed(self, response: Response, group: str) -> None:
        now_ns = self.life.now_ns()
        until_ns = now_ns + self.limits.holds.next_ns(response.status, header(response, "Retry-After"), now_ns)
        self.limits.refused(group, response.status, until_ns)

    def _group(self) -> str:
        return ""

    @abstractmethod
    def _target(self) -> Request: ...

    @abstractmethod
    def _subscribe(self, line: Line) -> None: ...

    @abstractmethod
    def _decode(self, raw: bytes, at_ns: int) -> Sequence[FeedEvent]: ...

    @abstractmethod
    def _instruments(self) -> Steps[Sequence[FeedEvent]]: ...

    @abstractmethod
    def _fetch(self, market: int) -> Steps[None]: ...

    @abstractmethod
    def _measure(self) -> Steps[ClockMeasured | FeedFault | None]: ...


class BinanceFeed(Feed):
    """Streams in the URL, snapshots over REST."""

    def __init__(
        self, context: FeedContext, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random
    ) -> None:
        super().__init__(context, life, wire, sink, dice)
        self.limits: BinanceLimits = BinanceLimits()
        self.codec: BinanceCodec = BinanceCodec(context.venue, context.markets, context.settings)
        self._symbols = {market: symbol for symbol, market in context.markets.items()}

    def _target(self) -> Request:
        return Request("GET", stream_path(list(self.context.markets)), {}, b"")

    def _subscribe(self, line: Line) -> None:
        """Say nothing: the URL has said it."""

    def _decode(self, raw: bytes, at_ns: int) -> Sequence[FeedEvent]:
        return self.codec.decode(raw, at_ns)

    def _instruments(self) -> Steps[Sequence[FeedEvent]]:
        names = msgspec.json.encode(list(self.context.markets)).decode()
        answer = yield from self._get("/api/v3/exchangeInfo", {"symbols": names}, "", 20)
        return () if answer is None else self.codec.decode_instruments(answer.body, self.life.now_ns())

    def _fetch(self, market: int) -> Steps[None]:
        line = self._line
        while line is self._line:
            query = {"symbol": self._symbols[market], "limit": str(SNAPSHOT_LEVELS)}
            answer = yield from self._get("/api/v3/depth", query, "", 5)
            if answer is not None and line is self._line:
                self._fetching.discard(market)
                self.sink((self.codec.decode_snapshot(answer.body, market, self.life.now_ns()),))
                return
            yield self.pause(BACKOFF_NS)

    def _measure(self) -> Steps[ClockMeasured | FeedFault | None]:
        answer, sent_ns = yield from self._timed("/api/v3/time", {}, "")
        if answer is None:
            return None
        venue_ms = self.codec.decode_time(answer.body, self.life.now_ns())
        if isinstance(venue_ms, FeedFault):
            return venue_ms
        return by_midpoint(self.context.venue, venue_ms, sent_ns, self.life.now_ns())


class UpbitFeed(Feed):
    """One subscription message, sent again for a fresh picture."""

    def __init__(
        self, context: FeedContext, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random
    ) -> None:
        super().__init__(context, life, wire, sink, dice)
        self.limits: UpbitLimits = UpbitLimits()
        self.codec: UpbitCodec = UpbitCodec(context.venue, context.markets, context.settings)
        self._date_offset = DateOffset(context.venue)

    def _group(self) -> str:
        return "market"

    def _target(self) -> Request:
        return Request("GET", "/websocket/v1", {}, b"")

    def _subscribe(self, line: Line) -> None:
        line.tell(self.codec.subscription(f"t{self._connects}").encode())

    def _decode(self, raw: bytes, at_ns: int) -> Sequence[FeedEvent]:
        return self.codec.decode(raw, at_ns, self._name)

    def _instruments(self) -> Steps[Sequence[FeedEvent]]:
        listed = yield from self._get("/v1/market/all", {"is_details": "true"}, "market", 1)
        if listed is None:
            return ()
        codes = ",".join(self.context.markets)
        rules = yield from self._get("/v1/orderbook/instruments", {"markets": codes}, "orderbook", 1)
        return () if rules is None else self.codec.decode_instruments(listed.body, rules.body, self.life.now_ns())

    def _fetch(self, market: int) -> Steps[None]:
        yield self.pause(50 * MS_NS)
        self._fetching.discard(market)
        if self._line is not None:
            self._subscribe(self._line)

    def _measure(self) -> Steps[ClockMeasured | FeedFault | None]:
        code = next(iter(self.context.markets))
        answer, sent_ns = yield from self._timed("/v1/orderbook/instruments", {"markets": code}, "orderbook")
        if answer is None:
            return None
        return self._date_offset.measured(dict(answer.headers), sent_ns, self.life.now_ns())
