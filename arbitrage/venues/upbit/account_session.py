"""Upbit's order entry and private stream as one session: effects in, events out. Decides nothing, trusts neither alone.

Source: reference upbit 3, 4, 6, 7, 10. Orders go by signed REST, what becomes of them comes by the private stream; each is held
against the other. The stream is up once it is subscribed and the account answers; what happened before is asked by the engine.
"""

from __future__ import annotations

import asyncio
import uuid

from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder, ReadAccount, VenueEffect
from arbitrage.model.events import (
    AccountLinkDown,
    AccountLinkUp,
    FaultKind,
    FeedFault,
)
from arbitrage.model.orders import ClientOrderId, Order
from arbitrage.venues.backoff import Backoff
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.rest import Limits
from arbitrage.venues.session import first_failure
from arbitrage.venues.trading import AccountContext, AccountSession
from arbitrage.venues.transport import ConnectFailed
from arbitrage.venues.upbit.account_limits import CONNECT, ORDER, AccountLimits
from arbitrage.venues.upbit.account_reader import AccountReader
from arbitrage.venues.upbit.fills import Fills
from arbitrage.venues.upbit.key_check import KeyCheck
from arbitrage.venues.upbit.order_entry import EntryParts, OrderEntry
from arbitrage.venues.upbit.orders_wire import ENDED_STATES, OrdersCodec
from arbitrage.venues.upbit.private_stream import PrivateStream, StreamPlan
from arbitrage.venues.upbit.private_wire import AssetsWord, OrderWord, StatusWord, StreamError, decode, subscription
from arbitrage.venues.upbit.signed_rest import SignedRest
from arbitrage.venues.upbit.signing import Signer
from arbitrage.venues.upbit.stream_watch import StreamWatch
from arbitrage.venues.upbit.terms import Terms

TICK_S = 0.5
"""How often the stream is held against what REST showed."""
WARM_NS = 20 * NS_PER_S
"""After so long without a request one is made, so that the next order finds an open connection and a key that still works."""
FAILURES_MAX = 3
"""So many requests in a row without the venue's own answer: order entry is lost."""


class UpbitAccountSession(AccountSession):
    """One pocket."""

    def __init__(self, account: AccountContext, limits: Limits) -> None:
        super().__init__(account, limits)
        wiring, venue = self.context.wiring, self.context.venue
        assert self.settings.account_url is not None, "a private stream has an address"
        self._signer = Signer(account.credentials, wiring.rng, wiring.clock)
        self._pocket = AccountLimits(limits, wiring.rng)
        self.rest = SignedRest(self.context, self._signer, self._pocket, self._condemn)
        self._watch = StreamWatch()
        self._fills = Fills(venue, account.markets, self.counters)
        self._terms = Terms(account, self.rest)
        self._key = KeyCheck(self.rest, account)
        codec = OrdersCodec(venue, account.markets)
        self._reader = AccountReader(self.context, self.rest, codec, self.counters)
        parts = EntryParts(
            context=self.context, symbols=self.symbols, rest=self.rest, codec=codec, fills=self._fills, watch=self._watch,
            terms=self._terms, counters=self.counters, note_sent=self.note_sent, orders_wait_ns=self.orders_wait_ns,
        )  # fmt: skip
        self._entry = OrderEntry(parts)
        self._stream: PrivateStream | None = None
        self._backoff_ns_max = self.settings.backoff_ms_max * NS_PER_MS
        self._backoff = Backoff(self.settings.backoff_ms_min * NS_PER_MS, self._backoff_ns_max, wiring.rng)

    async def run(self) -> None:
        """Serve until cancelled. The first failure that is ours comes out as itself, so that a broken invariant stays one."""
        venue = self.context.venue
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._under_way.run(), name=f"{venue} effects")
                group.create_task(self._keep_stream(), name=f"{venue} private stream")
                group.create_task(self._listen_for_silence(), name=f"{venue} silence")
                group.create_task(self._look_at_orders(), name=f"{venue} cross-check")
                group.create_task(self._read_terms(), name=f"{venue} terms")
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from failures
        finally:
            await self.close()

    async def close(self) -> None:
        await self.rest.close()

    async def check(self) -> list[str]:
        return await self._key.reasons()

    async def try_order(self, order: Order) -> str:
        return await self._entry.try_order(order)

    def orders_wait_ns(self) -> int:
        return self._pocket.budget(ORDER).wait_ns(self._clock())

    def hold_requests(self, until_ns: int) -> None:
        self._pocket.hold(until_ns)

    @property
    def requests_held_until_ns(self) -> int:
        return self._pocket.held_until_ns

    @property
    def is_up(self) -> bool:
        """Tell whether the private stream is subscribed and the account answered."""
        return self._stream is not None and self._stream.is_up and not self._stream.reason

    async def _carry_out(self, effect: VenueEffect) -> None:
        match effect:
            case PlaceOrder(order):
                await self._entry.place(order)
            case CancelOrder(market=market, client_order_id=client_order_id):
                await self._entry.cancel(client_order_id, market)
            case QueryOrder(market=market, client_order_id=client_order_id):
                await self._entry.query(client_order_id, market)
            case ReadAccount():
                await self._reader.read()

    # -- the private stream -------------------------------------------------------------------------------------

    async def _keep_stream(self) -> None:
        """Keep a private connection: never faster than backoff and budget allow."""
        assert self.settings.account_url is not None, "a private stream has an address"
        while True:
            await self._pocket.budget(CONNECT).take(self._clock)
            ticket = str(uuid.UUID(int=self.context.wiring.rng.getrandbits(128), version=4))
            plan = StreamPlan(self.settings.account_url, subscription(ticket), self._signer)
            stream = PrivateStream(self.context, plan, self._on_frame)
            try:
                await stream.open()
            except ConnectFailed as failure:
                self._report(failure)
            else:
                self._stream = stream
                await stream.serve(self._rise)
                self._on_stream_end(stream)
            await asyncio.sleep(self._backoff.next_ns() / NS_PER_S)

    async def _rise(self) -> str:
        """Come up once the account answers; "" or why not."""
        problem = await self._reader.probe()
        if problem:
            return f"order entry does not answer: {problem}"
        stream = self._stream
        if stream is not None and not stream.reason:
            stream.is_up = True
            self._watch.link_up()
            self.counters["links_up"] += 1
            self.emit(AccountLinkUp(self._clock(), self.context.venue))
        return ""

    def _on_stream_end(self, stream: PrivateStream) -> None:
        if self._clock() - stream.opened_ns >= self._backoff_ns_max:
            self._backoff.reset()
        if stream.is_up:
            self.counters["links_down"] += 1
            self.emit(AccountLinkDown(self._clock(), self.context.venue, stream.reason))
        else:
            self.context.fault(FaultKind.REQUEST_FAILED, f"the private stream did not come up: {stream.reason}")

    def _condemn(self, reason: str) -> None:
        """Give the connection up: something that it should have shown did not come, or the key works no more."""
        if self._stream is not None:
            self._stream.end(reason)

    def _report(self, failure: ConnectFailed) -> None:
        kind = FaultKind.REQUEST_FAILED
        if failure.status == BANNED:
            kind = FaultKind.BANNED
            self._pocket.banned(failure.retry_after, b"", self._clock())
        elif failure.status == RATE_LIMITED:
            kind = FaultKind.RATE_LIMITED
            self._pocket.refused(CONNECT, self._clock())
        self.context.fault(kind, f"the private stream cannot connect: {failure}")

    def _on_frame(self, raw: bytes, at_ns: int) -> None:
        word = decode(self._signer.hide(raw), self.context.venue, at_ns)
        match word:
            case OrderWord():
                self._on_order(word, at_ns)
            case StreamError(name):
                self.context.fault(FaultKind.VENUE_ERROR, f"the private stream says {name}")
                self._condemn(f"the private stream says {name}")
            case FeedFault():
                self.emit(word)
                self._watch.look_now()
            case AssetsWord():
                self.counters["asset_messages"] += 1
            case StatusWord():
                self.counters["status_lines"] += 1

    def _on_order(self, word: OrderWord, at_ns: int) -> None:
        """Tell one message. An order without an identifier is not ours: nothing here makes one."""
        market = self.account.markets.get(word.symbol)
        if market is None or not word.identifier:
            self.counters["foreign_order_messages"] += 1
            return
        has_gap = self._watch.heard(word, market, at_ns, is_end=word.state in ENDED_STATES)
        self.emit(*self._fills.heard(word, at_ns))
        if has_gap:
            self.counters["stream_gaps"] += 1
            self.submit(QueryOrder(self.context.venue, market, ClientOrderId(word.identifier)))

    # -- each against the other ---------------------------------------------------------------------------------

    async def _listen_for_silence(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if not self.is_up:
                continue
            silence = self._watch.silence(self._clock())
            if silence:
                self.counters["silences"] += 1
                self._condemn(silence)
            elif self.rest.failures >= FAILURES_MAX:
                self._condemn(f"order entry is lost: {self.rest.failures} requests in a row without an answer")

    async def _look_at_orders(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if not self.is_up:
                continue
            await self._entry.look()
            if self._clock() - self.rest.last_ns >= WARM_NS:
                await self._reader.probe()

    async def _read_terms(self) -> None:
        """Read fees and wallets now and hourly, and the key's end; sooner where not all could be read."""
        while True:
            is_whole = await self._terms.read()
            warning = await self._key.warning()
            if warning:
                self.context.fault(FaultKind.VENUE_ERROR, warning)
            pause_ms = self.settings.instruments_reload_ms if is_whole else self.settings.backoff_ms_max
            await asyncio.sleep(pause_ms / 1000)
