"""What differs between live, paper and replay: the clock and the transport. Nothing else in the package knows a mode."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable

import msgspec

from arbitrage.app.clock import Clock
from arbitrage.app.door import Door, Timing
from arbitrage.market.board import Board
from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder
from arbitrage.model.instruments import Node
from arbitrage.model.money import E8, Asset, div_up
from arbitrage.model.settings import Settings
from arbitrage.sim.account import Account
from arbitrage.sim.paper import PaperVenue

LIVE_PHRASE = "I understand that this trades real money"


class RefusedToTrade(Exception):
    """The mode asked for may not run; the text says what is missing."""


def check_mode(settings: Settings) -> None:
    """Refuse every mode that this version cannot run safely."""
    if settings.mode == "live":
        raise RefusedToTrade(
            "MODE=live is refused: this version sends no signed orders yet; run paper (the default), "
            "and see README.md for what works and what does not"
        )


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
        self._wakes_ns: set[int] = set()
        """When we are woken: once for each time that something is due."""

    def submit(self, effect: PlaceOrder | CancelOrder | QueryOrder) -> None:
        self._venue.submit(effect, self._timing.now_ns())
        self._arrange()

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


def _worth_e8(board: Board, node: Node, amount_e8: int, asset: Asset) -> int | None:
    """Return what an amount is worth in another asset of its venue at that market's best bid, rounded up: a fee paid in BNB."""
    for book, rules in zip(board.books, board.instruments, strict=True):
        is_market = rules is not None and (rules.venue, rules.base, rules.quote) == (node.venue, asset, node.asset)
        if rules is not None and is_market and book.flaw is None and book.best_bid > 0.0:
            return div_up(amount_e8 * E8, rules.ticks.recover_e8(book.best_bid))
    return None
