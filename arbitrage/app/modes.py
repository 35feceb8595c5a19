"""What differs between live, shadow, paper and replay: clock and transport. Nothing else in the package knows a mode."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import msgspec

from arbitrage.app.clock import Clock
from arbitrage.app.door import Door, Timing
from arbitrage.market.board import Board
from arbitrage.model.effects import PlaceOrder, VenueEffect
from arbitrage.model.events import Event, Funded, OrderEnded
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import E8, Asset, div_up, parse_e8
from arbitrage.model.orders import Order, OrderState
from arbitrage.model.settings import Settings
from arbitrage.ops.keys import read_keys
from arbitrage.ops.preflight import open_wires, real_money_problems
from arbitrage.ops.problems import ConfigError
from arbitrage.sim.account import Account
from arbitrage.sim.paper import PaperVenue
from arbitrage.venues.session import first_failure
from arbitrage.venues.trading import AccountSession, Credentials

logger = logging.getLogger("arbitrage.daemon")
TRIES_WAITING_MAX = 256
"""Orders that wait for a test endpoint in shadow mode; the newest are left out beyond that, counted."""


Admit = Callable[[str], Awaitable[None]]
"""Returns once a venue's account may be used."""


class RefusedToTrade(Exception):
    """The mode asked for may not run; the text says what is missing."""


class Mode(msgspec.Struct, frozen=True):
    """What a mode may do. Everything else asks for these facts and not for the mode's name."""

    signs: bool
    """It holds keys and sends signed requests."""
    is_real: bool
    """Its orders move real money: it needs the confirmation and the lease, and the venues' accounts are the truth."""


MODES = {
    "paper": Mode(signs=False, is_real=False),
    "shadow": Mode(signs=True, is_real=False),
    "live": Mode(signs=True, is_real=True),
}


def mode_of(settings: Settings) -> Mode:
    """Return what the configured mode may do."""
    return MODES[settings.mode]


def keys_for(settings: Settings, environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Return the keys that this mode signs with; none when it does not. Raises RefusedToTrade with all that is missing."""
    mode = mode_of(settings)
    if not mode.signs:
        return {}
    reasons = real_money_problems(settings) if mode.is_real else open_wires(settings)
    keys: dict[str, Credentials] = {}
    try:
        keys = read_keys(settings, environ)
    except ConfigError as error:
        reasons += [str(problem) for problem in error.problems]
    if reasons:
        raise RefusedToTrade(f"MODE={settings.mode} is refused: {'; '.join(reasons)}; or set MODE=paper")
    return keys


def refusal(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """Say in one line why the configured mode would be refused; None when it would not."""
    try:
        keys_for(settings, environ)
    except RefusedToTrade as refused:
        return str(refused)
    return None


def account_venues(settings: Settings) -> tuple[Venue, ...]:
    """Return the venues whose accounts are the truth that the ledger is compared with."""
    return tuple(Venue(name) for name in settings.venues) if mode_of(settings).is_real else ()


def funding(settings: Settings, known: Collection[Node], at_ns: int) -> list[Event]:
    """Return the paper inventory as events, where the session has none yet: all of it at first, new places later.

    Where the venues' accounts are the truth there is nothing to give: they are read.
    """
    if mode_of(settings).is_real:
        return []
    return [
        Funded(at_ns, Venue(venue), Asset(asset), parse_e8(text), "paper inventory from the configuration")
        for venue, assets in settings.paper.inventory.items()
        for asset, text in assets.items()
        if parse_e8(text) and Node(Venue(venue), Asset(asset)) not in known
    ]


class RealTiming:
    """The running loop's time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    def now_ns(self) -> int:
        return self._clock()

    def soon(self, work: Callable[[], None]) -> None:
        self._loop.call_soon(work)

    def at(self, at_ns: int, work: Callable[[], None]) -> None:
        self._loop.call_later(max(0, at_ns - self._clock()) / 1e9, work)


class VirtualTiming:
    """A replay's time: it moves only when the replay moves it, and due work runs in order of (time, sequence)."""

    def __init__(self) -> None:
        self._now_ns = 0
        self._sequence = itertools.count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def now_ns(self) -> int:
        return self._now_ns

    def soon(self, work: Callable[[], None]) -> None:
        self.at(self._now_ns, work)

    def at(self, at_ns: int, work: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(at_ns, self._now_ns), next(self._sequence), work))

    def run_until(self, at_ns: int) -> None:
        """Run everything due before or at `at_ns`, then stand there."""
        while self._due and self._due[0][0] <= at_ns:
            due_ns, _, work = heapq.heappop(self._due)
            self._now_ns = max(self._now_ns, due_ns)
            work()
        self._now_ns = max(self._now_ns, at_ns)


class PaperTransport:
    """Hands effects to the paper venue and its answers back to the door when they are due."""

    def __init__(self, venue: PaperVenue, timing: Timing, door: Door) -> None:
        self._venue = venue
        self._timing = timing
        self._door = door
        self.admit: Admit = _at_once
        self.counters: Counter[str] = Counter()
        self._wakes_ns: set[int] = set()
        """When we are woken: once for each time that something is due."""

    def submit(self, effect: VenueEffect) -> None:
        self._venue.submit(effect, self._timing.now_ns())
        self._arrange()

    async def run(self) -> None:
        """Have nothing to do beside the loop: end at once."""

    def _arrange(self) -> None:
        due_ns = self._venue.next_due_ns()
        if due_ns is not None and due_ns not in self._wakes_ns:
            self._wakes_ns.add(due_ns)
            self._timing.at(due_ns, lambda: self._run_due(due_ns))

    def _run_due(self, due_ns: int) -> None:
        self._wakes_ns.discard(due_ns)
        now_ns = self._timing.now_ns()
        events = self._venue.advance(now_ns)
        self._arrange()
        if events:
            # A timer is a little late, and other events may have come since: an event's time is that of its arrival.
            self._door.feed([msgspec.structs.replace(event, at_ns=now_ns) for event in events])


def paper_transport(settings: Settings, door: Door, timing: Timing) -> PaperTransport:
    """Build the paper venue over the engine's own books, read-only. It holds no key and knows no network.

    Its account starts with what the ledger owns; orders that were under way before a restart end with the fills we know.
    """
    engine = door.engine
    balances = {node: engine.ledger.total_e8(node) for node in engine.ledger.nodes()}
    account = Account(balances, lambda node, amount_e8, asset: _worth_e8(engine.board, node, amount_e8, asset))
    venue = PaperVenue(settings.paper, engine.board, random.Random(settings.paper.seed), account)
    for order, filled_quantity_e8 in engine.desk.unfinished():
        venue.adopt(order, filled_quantity_e8)
    return PaperTransport(venue, timing, door)


class LiveTransport:
    """Hands effects to the venues' account sessions, whose answers come through the door as events."""

    def __init__(self, sessions: Mapping[str, AccountSession], door: Door, timing: Timing, fenced: Callable[[], str]) -> None:
        self._sessions = sessions
        self._door = door
        self._timing = timing
        self._fenced = fenced
        self.ends_ns: Callable[[], int] = int
        """When an order sent now must have left at the latest; 0 leaves that to its validity. Told from outside."""
        self.admit: Admit = _at_once
        self.counters: Counter[str] = Counter()

    def submit(self, effect: VenueEffect) -> None:
        """Send an effect on its way; an order is not sent when another instance may have taken over, and ends as refused.

        One that is sent must leave before that can happen: whatever it waits for, and at the venue where that looks at it.
        """
        order = effect.order if isinstance(effect, PlaceOrder) else None
        if order is not None and (reason := self._fenced()):
            self.counters["fenced"] += 1
            self._timing.soon(lambda: self._refuse(order, reason))
            return
        if order is not None and (ends_ns := self.ends_ns()):
            until_ns = min(order.valid_until_ns or ends_ns, ends_ns)
            effect = PlaceOrder(msgspec.structs.replace(order, valid_until_ns=until_ns))
        venue = order.venue if order is not None else effect.venue  # type: ignore[union-attr]  # all others name it
        self._sessions[venue].submit(effect)

    async def run(self) -> None:
        """Keep every session going until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for venue, session in self._sessions.items():
                    group.create_task(self._serve(venue, session), name=f"account {venue}")
        except BaseExceptionGroup as failures:
            raise first_failure(failures) from failures

    async def _serve(self, venue: str, session: AccountSession) -> None:
        """Let a session begin when its key is known to be harmless; what was asked of it waits until then."""
        await self.admit(venue)
        await session.run()

    def _refuse(self, order: Order, reason: str) -> None:
        ended = OrderEnded(self._timing.now_ns(), order.client_order_id, OrderState.REJECTED, 0, f"not sent: {reason}")
        self._door.feed([ended])


class ShadowTransport:
    """Trades on paper, and has each order built, signed and judged by the venue's test endpoint, which executes nothing."""

    def __init__(self, paper: PaperTransport, sessions: Mapping[str, AccountSession]) -> None:
        self._paper = paper
        self._sessions = sessions
        self._waiting: deque[Order] = deque()
        self._news = asyncio.Event()
        self.admit: Admit = _at_once
        self.counters: Counter[str] = Counter(tried=0, accepted=0, refused=0, left_out=0)

    def submit(self, effect: VenueEffect) -> None:
        """Give an effect to the paper venue, and an order to the test endpoint too."""
        self._paper.submit(effect)
        if not isinstance(effect, PlaceOrder):
            return
        if len(self._waiting) >= TRIES_WAITING_MAX:
            self.counters["left_out"] += 1
            return
        self._waiting.append(effect.order)
        self._news.set()

    async def run(self) -> None:
        """Try the orders one after the other until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                order = self._waiting.popleft()
                await self.admit(order.venue)
                self._count(order, await self._sessions[order.venue].try_order(order))

    def _count(self, order: Order, refusal: str) -> None:
        self.counters["tried"] += 1
        self.counters["refused" if refusal else "accepted"] += 1
        if refusal:
            logger.warning("shadow: %s would refuse order %s: %s", order.venue, order.client_order_id, refusal)


class Transport(Protocol):
    """What a mode sends orders by. Its counters are shown to the operator."""

    admit: Admit
    """Asked before an account is used; told by whoever checked the keys."""
    counters: Counter[str]

    def submit(self, effect: VenueEffect) -> None: ...

    async def run(self) -> None: ...


def make_transport(
    settings: Settings, door: Door, timing: Timing, accounts: Mapping[str, AccountSession], fenced: Callable[[], str]
) -> Transport:
    """Build the transport of the configured mode. `fenced` says why orders may not be sent any more, or nothing."""
    mode = mode_of(settings)
    if mode.is_real:
        return LiveTransport(accounts, door, timing, fenced)
    paper = paper_transport(settings, door, timing)
    return ShadowTransport(paper, accounts) if mode.signs else paper


async def _at_once(venue: str) -> None:
    """Keep nobody waiting."""


def _worth_e8(board: Board, node: Node, amount_e8: int, asset: Asset) -> int | None:
    """Return what an amount is worth in another asset of its venue at that market's best bid, rounded up: a fee paid in BNB."""
    for book, rules in zip(board.books, board.instruments, strict=True):
        is_market = rules is not None and (rules.venue, rules.base, rules.quote) == (node.venue, asset, node.asset)
        if rules is not None and is_market and book.flaw is None and book.best_bid > 0.0:
            return div_up(amount_e8 * E8, rules.ticks.recover_e8(book.best_bid))
    return None
