"""What the sessions of all venues do alike: rules first, then streams, then the hourly and minutely work, until cancelled.

Refuses to know any wire word: a venue's own session says which connections there are and what its requests are. Public market
data only; order entry will be a session of its own beside this one, so that losing one never takes the other with it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from arbitrage.model.events import FeedEvent, InstrumentsRead
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.backoff import Backoff
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S, SECOND_NS, Budget, SlidingWindow
from arbitrage.venues.holds import BANNED
from arbitrage.venues.lane import Lane
from arbitrage.venues.link import ConnectionRules, Feed, LinkPlan
from arbitrage.venues.rest import Limits, RestClient
from arbitrage.venues.wiring import Decode, VenueContext, Wiring

FIVE_MINUTES_NS = 300 * NS_PER_S


class Session(ABC):
    """One venue's market data. Events reach `wiring.sink` synchronously, in the order in which they arrive."""

    def __init__(
        self, name: Venue, settings: VenueSettings, markets: Mapping[str, int], wiring: Wiring, limits: Limits
    ) -> None:
        self.context = VenueContext(name, settings, wiring)
        self.settings = settings
        self.symbols = {market: symbol for symbol, market in markets.items()}
        self.lanes: list[Lane] = []
        self._clock = wiring.clock
        self._are_rules_read = False
        self._wanted: asyncio.Queue[int] = asyncio.Queue()
        self._asked: set[int] = set()
        self._paces = {market: self._backoff() for market in self.symbols}
        self._snapshot_ns = dict.fromkeys(self.symbols, 0)
        self._rest = RestClient(self.context, limits)

    async def run(self) -> None:
        """Serve until cancelled. The first failure that is ours comes out as itself, so that a broken invariant stays one."""
        if not self.symbols:
            return
        try:
            await self._run()
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from failures
        finally:
            await self._rest.close()

    def resync(self, market: int) -> None:
        """Fetch a snapshot of this market at once; while one is on its way, asking again adds nothing."""
        assert market in self.symbols, "a market belongs to this session's venue"
        if market not in self._asked:
            self._asked.add(market)
            self._wanted.put_nowait(market)

    async def load_instruments(self) -> bool:
        """Read the venue's rules and hand them to the sink; tell whether they were read. Each failure was a fault."""
        events = await self._fetch_instruments()
        is_read = any(type(event) is InstrumentsRead for event in events)
        self._are_rules_read = self._are_rules_read or is_read
        self._hand_over(events)
        return is_read

    @property
    def limits(self) -> Limits:
        """Return the request budgets, to be shared with the account session of the same address."""
        return self._rest.limits

    def hold_requests(self, until_ns: int) -> None:
        """Ask nothing before this time: a ban that was met before a restart outlives it."""
        self._rest.limits.refused("", BANNED, until_ns)

    @property
    def requests_held_until_ns(self) -> int:
        """Return the end of the longest ban in force, to be kept across a restart; 0 when there was none."""
        return self._rest.limits.held_until_ns

    @property
    @abstractmethod
    def rules(self) -> ConnectionRules:
        """Return what the venue demands of connections."""

    @abstractmethod
    def plans(self) -> list[LinkPlan]:
        """Return what each connection carries."""

    @abstractmethod
    def decoder(self, connection: str) -> Decode:
        """Return the decoding function for one connection."""

    @abstractmethod
    async def _fetch_instruments(self) -> Sequence[FeedEvent]:
        """Return the venue's rules as one InstrumentsRead (and faults), or only faults, or nothing."""

    @abstractmethod
    async def _fetch_snapshot(self, market: int) -> Sequence[FeedEvent] | None:
        """Return a new picture of the market; nothing when it arrives by the stream; None when it could not be had."""

    @abstractmethod
    async def _measure_clock(self) -> Sequence[FeedEvent]:
        """Return one ClockMeasured, or nothing."""

    async def _run(self) -> None:
        if not self._are_rules_read:
            await self._load_until_read()
        feed = self._feed()
        self.lanes = [Lane(f"{self.context.venue}-{number}", plan, feed) for number, plan in enumerate(self.plans(), start=1)]
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes:
                group.create_task(lane.run(), name=f"{lane.name} lane")
            group.create_task(self._serve_resyncs(), name=f"{self.context.venue} snapshots")
            group.create_task(self._watch_clock(), name=f"{self.context.venue} clock")
            group.create_task(self._reload_instruments(), name=f"{self.context.venue} instruments")

    def _feed(self) -> Feed:
        windows = [SlidingWindow(self.settings.connections_per_5min_max, FIVE_MINUTES_NS)]
        if self.rules.connects_per_s_max is not None:
            windows.append(SlidingWindow(self.rules.connects_per_s_max, SECOND_NS))
        return Feed(
            context=self.context,
            decoder=self.decoder,
            rules=self.rules,
            connects=Budget(*windows),
            holds=self._rest.limits.holds,
            changed=asyncio.Event(),
        )

    async def _serve_resyncs(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                market = await self._wanted.get()
                group.create_task(self._snapshot(market), name=f"snapshot {self.symbols[market]}")

    async def _snapshot(self, market: int) -> None:
        """Fetch until it is there: the first at once, more within a short time backed off, or one market eats the budget."""
        pace = self._paces[market]
        if self._clock() - self._snapshot_ns[market] >= self.settings.backoff_ms_max * NS_PER_MS:
            pace.reset()
        else:
            await asyncio.sleep(pace.next_ns() / NS_PER_S)
        while True:
            self._snapshot_ns[market] = self._clock()
            events = await self._fetch_snapshot(market)
            if events is not None:
                break
            await asyncio.sleep(pace.next_ns() / NS_PER_S)
        self._asked.discard(market)  # before handing over: what is handed over may ask again
        self._hand_over(events)

    async def _watch_clock(self) -> None:
        while True:
            self._hand_over(await self._measure_clock())
            await asyncio.sleep(self.settings.clock_measure_ms / 1000)

    async def _reload_instruments(self) -> None:
        while True:
            await asyncio.sleep(self.settings.instruments_reload_ms / 1000)
            await self._load_until_read()

    async def _load_until_read(self) -> None:
        """Repeat until the rules are there, never faster than the backoff; every failure in between is a fault."""
        backoff = self._backoff()
        while True:
            if await self.load_instruments():
                return
            await asyncio.sleep(backoff.next_ns() / NS_PER_S)

    def _hand_over(self, events: Sequence[FeedEvent]) -> None:
        if events:
            self.context.wiring.sink(events)

    def _backoff(self) -> Backoff:
        settings = self.settings
        return Backoff(settings.backoff_ms_min * NS_PER_MS, settings.backoff_ms_max * NS_PER_MS, self.context.wiring.rng)


def in_groups(symbols: Mapping[int, str], size: int) -> list[dict[int, str]]:
    """Split markets over connections, `size` each."""
    assert size > 0, "a connection carries at least one market"
    items = list(symbols.items())
    return [dict(items[start : start + size]) for start in range(0, len(items), size)]


def first_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure that is not itself a group of failures."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
