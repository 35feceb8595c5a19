"""Keeps one subscribed connection to Binance's WebSocket API: opens, subscribes, replaces before the venue cuts, and says when
order entry works and when not. Refuses to know orders, and never sends a request a second time.

A replacement is opened and subscribed beside its predecessor, which stays until its last answer is in; both deliver events
meanwhile, and repetitions fall to the execution id. Source: reference binance-spot 11.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping

import msgspec

from arbitrage.model.events import AccountLinkDown, AccountLinkUp, FaultKind
from arbitrage.venues.backoff import Backoff
from arbitrage.venues.binance.account_rest import AccountRest
from arbitrage.venues.binance.limits import QUERIES, BinanceLimits
from arbitrage.venues.binance.replies import KEY_CODES, Meaning, Outcome, Reply, Unsent, meaning_of
from arbitrage.venues.binance.signing import Signer
from arbitrage.venues.binance.ws_api import ApiConnection, Hears
from arbitrage.venues.binance.ws_wire import Notice
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S, Budget, SlidingWindow
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.transport import ConnectFailed
from arbitrage.venues.wiring import VenueContext

LIFE_NS = 24 * 3600 * NS_PER_S
RENEWAL_PART_MIN = 0.90
RENEWAL_PART_MAX = 0.98
FIVE_MINUTES_NS = 300 * NS_PER_S
OPENING_WEIGHT = 4
"""Two for the connection, two for the subscription."""
RETIREMENT_STEPS, RETIREMENT_STEP_S = 500, 0.02
"""A predecessor is heard for so long: the venue itself gives up after ten seconds."""
SUBSCRIBE = "userDataStream.subscribe.signature"


class LinkParts(msgspec.Struct, frozen=True):
    """What the link works with, and where account events go."""

    context: VenueContext
    signer: Signer
    rest: AccountRest
    limits: BinanceLimits
    on_report: Callable[[bytes, int], None]
    on_up: Callable[[], None]
    count: Callable[[str], None]
    """Counts an occurrence by name."""
    life_ns: int = LIFE_NS


class AccountLink:
    """One place for the connection that carries orders and account events."""

    def __init__(self, parts: LinkParts) -> None:
        self.current: ApiConnection | None = None
        """The connection that new requests go to; None while order entry by it does not work."""
        self._parts = parts
        self._context = parts.context
        self._clock = parts.context.wiring.clock
        settings = parts.context.settings
        self._settings = settings
        self._connects = Budget(SlidingWindow(settings.connections_per_5min_max, FIVE_MINUTES_NS))
        self._backoff_ns_max = settings.backoff_ms_max * NS_PER_MS
        self._backoff = Backoff(settings.backoff_ms_min * NS_PER_MS, self._backoff_ns_max, parts.context.wiring.rng)
        self._pause_ns = 0
        self._renewed_ns: int | None = None
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._connections = itertools.count(1)

    async def run(self) -> None:
        """Keep a subscribed connection until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                connection = await self._open(group)
                before, self.current = self.current, connection
                self._parts.count("links_up")
                self._parts.on_up()
                self._context.wiring.sink((AccountLinkUp(self._clock(), self._context.venue),))
                if before is not None:
                    group.create_task(self._retire(before), name=f"retire {before.name}")
                await self._until_due(connection)
                if self._is_current(connection):
                    self._pace_renewal()
                    continue
                self._failed(connection)
                if not connection.has_ended:
                    group.create_task(self._retire(connection), name=f"retire {connection.name}")

    async def ask(self, method: str, parameters: Mapping[str, str | int], hears: Hears | None = None) -> Outcome:
        """Sign with the time of now and send on the current connection. Unsent when there is none that works."""
        connection = self.current
        if connection is None or not connection.is_usable:
            return Unsent("no connection")
        return await self._ask(connection, method, parameters, hears)

    def condemn(self, reason: str) -> None:
        """Give the connection up: its events can no longer be relied on. Answers that are on their way are still heard."""
        connection = self.current
        if connection is not None:
            connection.is_told_to_leave = True
            self._down(self._parts.signer.hide(reason))

    def mind(self, outcome: Outcome) -> None:
        """Give the connection up when the venue refuses the key: nothing works until somebody acts."""
        if isinstance(outcome, Reply) and outcome.code in KEY_CODES:
            self._parts.count("key_refused")
            self._context.fault(FaultKind.VENUE_ERROR, f"the venue refuses the key: {outcome.words}")
            self.condemn(f"the venue refuses the key: {outcome.words}")

    def on_report(self, connection: ApiConnection, body: bytes, at_ns: int) -> None:
        self._parts.on_report(body, at_ns)

    def on_ignored(self, name: str) -> None:
        self._parts.count(f"events_{name}")

    def on_notice(self, connection: ApiConnection, notice: Notice) -> None:
        if notice is Notice.TERMINATED:
            connection.end("the venue ended the account's events")
        else:
            self._context.fault(FaultKind.SERVER_SHUTDOWN, f"{connection.name}: the server announces its shutdown")
        self._changed.set()

    def on_unanswered(self, connection: ApiConnection) -> None:
        self._parts.count("requests_unanswered")
        self._changed.set()

    def on_ended(self, connection: ApiConnection, reason: str) -> None:
        if self._is_current(connection):
            self._down(reason)
        self._changed.set()

    def on_unasked(self, reply: Reply) -> None:
        self._parts.count("answers_unasked")
        self._parts.rest.heed(reply, QUERIES)
        self.mind(reply)

    def _is_current(self, connection: ApiConnection) -> bool:
        return self.current is connection

    def _down(self, reason: str) -> None:
        self.current = None
        self._parts.count("links_down")
        self._context.wiring.sink((AccountLinkDown(self._clock(), self._context.venue, reason),))
        self._changed.set()

    async def _ask(
        self, connection: ApiConnection, method: str, parameters: Mapping[str, str | int], hears: Hears | None
    ) -> Outcome:
        number = next(self._numbers)
        stamped = {**parameters, "timestamp": self._parts.rest.clock.venue_ms(self._clock())}
        outcome = await connection.ask(number, self._parts.signer.request(number, method, stamped), hears)
        self._parts.rest.heed(outcome, QUERIES)
        return outcome

    async def _open(self, group: asyncio.TaskGroup) -> ApiConnection:
        """Try until a connection is open and subscribed."""
        while True:
            await asyncio.sleep(self._pause_ns / NS_PER_S)
            await self._parts.rest.ready()
            await self._connects.take(self._clock)
            await self._parts.limits.budget(QUERIES).take(self._clock, OPENING_WEIGHT)
            name = f"{self._context.venue}-account#{next(self._connections)}"
            connection = ApiConnection(name, self._context, self._parts.signer, self)
            try:
                await connection.open()
            except ConnectFailed as failure:
                self._pause_ns = self._backoff.next_ns()
                self._report(failure)
                continue
            group.create_task(connection.serve(), name=name)
            if await self._subscribe(connection):
                self._pause_ns = 0
                return connection
            connection.end("the subscription failed")
            self._pause_ns = self._backoff.next_ns()

    async def _subscribe(self, connection: ApiConnection) -> bool:
        """Ask for the account's events; a wrong clock is measured and the question put once more."""
        outcome = await self._ask(connection, SUBSCRIBE, {}, None)
        if meaning_of(outcome) is Meaning.CLOCK:
            await self._parts.rest.measure_clock()
            outcome = await self._ask(connection, SUBSCRIBE, {}, None)
        if meaning_of(outcome) is Meaning.DONE and not connection.has_ended:
            connection.subscribed_ns = self._clock()
            return True
        self._context.fault(FaultKind.VENUE_ERROR, f"{connection.name} is not subscribed: {outcome.words}")
        if isinstance(outcome, Reply) and outcome.code in KEY_CODES:
            self._parts.count("key_refused")
        return False

    async def _until_due(self, connection: ApiConnection) -> None:
        """Wait until the connection ends, is told to leave, or grows old."""
        part = self._context.wiring.rng.uniform(RENEWAL_PART_MIN, RENEWAL_PART_MAX)
        left_ns = max(0, connection.opened_ns + int(self._parts.life_ns * part) - self._clock())
        try:
            async with asyncio.timeout(left_ns / NS_PER_S):
                while not (connection.has_ended or connection.is_told_to_leave):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    async def _retire(self, connection: ApiConnection) -> None:
        """Let the predecessor hear its last answers, then close it."""
        for _ in range(RETIREMENT_STEPS):
            if connection.requests_in_the_air == 0 or connection.has_ended:
                break
            await asyncio.sleep(RETIREMENT_STEP_S)
        await connection.close()

    def _failed(self, connection: ApiConnection) -> None:
        """Pause before the next attempt; a connection that lived long starts the delays from the beginning."""
        if self._clock() - connection.opened_ns >= self._backoff_ns_max:
            self._backoff.reset()
        self._pause_ns = self._backoff.next_ns()

    def _pace_renewal(self) -> None:
        """Replace at once, except when the replacement before was only just made: then back off."""
        now_ns = self._clock()
        is_hasty = self._renewed_ns is not None and now_ns - self._renewed_ns < self._backoff_ns_max
        self._pause_ns = self._backoff.next_ns() if is_hasty else 0
        self._renewed_ns = now_ns

    def _report(self, failure: ConnectFailed) -> None:
        kind = FaultKind.REQUEST_FAILED
        if failure.status in (RATE_LIMITED, BANNED):
            kind = FaultKind.BANNED if failure.status == BANNED else FaultKind.RATE_LIMITED
            now_ns = self._clock()
            until_ns = now_ns + self._parts.limits.holds.next_ns(failure.status, failure.retry_after, now_ns)
            self._connects.hold(until_ns)
            if failure.status == BANNED:  # the address, whatever it asks
                self._parts.limits.refused(QUERIES, BANNED, until_ns)
        self._context.fault(kind, f"{self._context.venue} account cannot connect: {failure}")
