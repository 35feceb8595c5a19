"""The sessions of one daemon: market data for every venue, and an account beside it where keys were given. Decides nothing.

They are made before there is an engine, because a key is checked before anything else starts; what they say until `attach`
is kept and handed over then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from arbitrage.app.bans import BanFile
from arbitrage.app.clock import Clock
from arbitrage.app.modes import RefusedToTrade
from arbitrage.model.events import ClockMeasured, FeedFault
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.settings import Settings
from arbitrage.venues.factory import make_account_session, make_session, transport_named
from arbitrage.venues.session import Session
from arbitrage.venues.trading import AccountContext, AccountSession, Credentials, Unasked, held
from arbitrage.venues.wiring import VenueContext, VenueEvent, Wiring

logger = logging.getLogger("arbitrage.daemon")
CHECK_SECONDS_MAX = 12.0
CHECK_AGAIN_SECONDS = 5.0
"""A venue that could not be asked about its key is asked again so often; nothing is sent there before."""
NS_PER_MS = 1_000_000
EARLY_EVENTS_MAX = 1_000
"""What sessions may say before there is an engine; more is dropped and counted."""

Sink = Callable[[Sequence[VenueEvent]], None]


class Connections:
    """Every session, by venue."""

    def __init__(self, settings: Settings, keys: Mapping[str, Credentials], clock: Clock, bans: BanFile) -> None:
        self.bans = bans
        self._clock = clock
        self._early: list[VenueEvent] = []
        self._early_dropped = 0
        self._sink: Sink = self._keep_early
        self._account_sink: Sink = self._keep_early
        self._instrument: Callable[[int], Instrument | None] = lambda market: None
        wiring = Wiring(
            sink=self._say,
            clock=clock,
            rng=random.Random(),
            transport=transport_named(settings.hot_path.transport),
            frames_per_yield=settings.hot_path.frames_per_decision_max,
        )
        ids = {key: market for market, key in enumerate(settings.market_symbols)}
        self.feeds: dict[str, Session] = {}
        self.accounts: dict[str, AccountSession] = {}
        self.unchecked: dict[str, str] = {}
        """Accounts whose key is not known to be harmless yet, and why: the venue did not answer."""
        for name, section in settings.venues.items():
            markets = {symbol: ids[(name, symbol)] for symbol in section.symbols}
            feed = self.feeds[name] = make_session(Venue(name), section, markets, wiring)
            feed.hold_requests(bans.until_ns(name))
            if name in keys:
                own_wiring = msgspec.structs.replace(wiring, sink=self._say_account)
                context = VenueContext(Venue(name), section, own_wiring)
                account = AccountContext(context, keys[name], markets, self._rules)
                self.accounts[name] = make_account_session(account, feed.limits)
                self.accounts[name].hold_requests(bans.until_ns(name))

    async def check(self) -> list[str]:
        """Ask every venue whether its key may trade and may not withdraw; return every reason against it.

        A venue that does not answer is no reason: its account stays `unchecked`, and `admit` goes on asking.
        """
        found = await asyncio.gather(*(self._check(name) for name in self.accounts))
        return [f"{name}: {reason}" for name, reasons in zip(self.accounts, found, strict=True) for reason in reasons]

    async def admit(self, name: str, say: Callable[[str], None]) -> None:
        """Return once the venue has said that the key is harmless; `say` why it has not. Raises RefusedToTrade."""
        said = ""
        while name in self.unchecked:
            if said != (said := self.unchecked[name]):
                say(f"nothing is sent before its key is checked: {said}")
            await asyncio.sleep(CHECK_AGAIN_SECONDS)
            if refusals := await self._check(name):
                raise RefusedToTrade(f"{name}: {'; '.join(refusals)}")

    async def _check(self, name: str) -> list[str]:
        """Ask one venue; return what is definitely against its key, and remember what could not be asked."""
        banned_ns = self.bans.until_ns(name) - self._clock()
        reasons: list[str] = [Unasked(f"this address is banned for {banned_ns / 1e9:.0f} s more")]
        if banned_ns <= 0:
            try:
                async with asyncio.timeout(CHECK_SECONDS_MAX):
                    reasons = await self.accounts[name].check()
            except TimeoutError:
                reasons = [Unasked(f"no answer within {CHECK_SECONDS_MAX:.0f} s, any wait for its request budget included")]
        self.unchecked.pop(name, None)
        definite = [reason for reason in reasons if not isinstance(reason, Unasked)]
        if reasons and not definite:
            self.unchecked[name] = "; ".join(reasons)
            logger.warning("%s: the key could not be checked: %s", name, self.unchecked[name])
        return definite

    def attach(
        self, sink: Sink, account_sink: Sink, instrument: Callable[[int], Instrument | None], *, ahead_ns: int = 0
    ) -> None:
        """Name who hears market data, who hears the accounts, and who knows the rules from now on.

        Engine time may go `ahead_ns` ahead of the wall on purpose: a venue's clock is held against the wall all the same.
        """
        if self._early:
            account_sink(self._early)  # measured while engine time was still the wall's
            self._early = []
        if ahead_ns:
            for account in self.accounts.values():
                account.time_went_ahead(ahead_ns)
            sink, account_sink = (_against_the_wall(each, ahead_ns // NS_PER_MS) for each in (sink, account_sink))
        self._sink, self._account_sink, self._instrument = sink, account_sink, instrument
        if self._early_dropped:
            logger.warning("%d events of the sessions before the start were dropped", self._early_dropped)

    async def close(self) -> None:
        """Close what was opened by checking, when the daemon does not get so far as to run the sessions."""
        for account in self.accounts.values():
            await account.close()

    def note_bans(self) -> None:
        """Keep until when each venue refuses us, so that a restart knows."""
        ends_ns = {name: feed.requests_held_until_ns for name, feed in self.feeds.items()}
        for name, account in self.accounts.items():
            ends_ns[name] = max(ends_ns[name], account.requests_held_until_ns)
        self.bans.note(ends_ns, self._clock())

    def note_holds(self) -> None:
        """Tell the engine where no order may leave for a while: a ban that a question met is not found out by an order."""
        now_ns = self._clock()
        for name, account in self.accounts.items():
            if events := held(Venue(name), now_ns, account.orders_wait_ns()):
                self._account_sink(events)

    def _say(self, events: Sequence[VenueEvent]) -> None:
        self._sink(events)

    def _say_account(self, events: Sequence[VenueEvent]) -> None:
        self._account_sink(events)

    def _rules(self, market: int) -> Instrument | None:
        return self._instrument(market)

    def _keep_early(self, events: Sequence[VenueEvent]) -> None:
        for event in events:
            if isinstance(event, FeedFault):
                logger.warning("%s: %s: %s", event.venue, event.kind.value, event.detail)
        room = EARLY_EVENTS_MAX - len(self._early)
        self._early += events[:room]
        self._early_dropped += max(0, len(events) - room)


def _against_the_wall(sink: Sink, ahead_ms: int) -> Sink:
    """Hand measured clocks on as if engine time had not gone ahead."""

    def corrected(events: Sequence[VenueEvent]) -> None:
        if events and type(events[0]) is ClockMeasured:
            measured = events[0]
            events = (msgspec.structs.replace(measured, offset_ms=measured.offset_ms + ahead_ms), *events[1:])
        sink(events)

    return corrected
