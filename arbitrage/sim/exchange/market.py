"""One market inside the exchange: its rules, its book, our resting orders in it and what stands before them. Moves no money.

The book (`sim/server/book.TruthBook`, by shape) shows other people's quantity plus our resting quantity; `others_e8` is the
difference. Queue places follow price-time priority: what stood at our price when we came is ahead; prints take from the front;
a level that shrinks without a print shrinks behind us first, since nobody can know who left (the cautious reading).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.nouns import HeldOrder, Rules
from arbitrage.sim.scenarios.changes import LevelE8


class Ladder(Protocol):
    """One side of a book."""

    def levels(self, limit: int | None = None) -> list[LevelE8]:
        """Return the best levels, best first."""

    def best(self) -> LevelE8:
        """Return the best level, or zeros."""

    def quantity_e8(self, price_e8: int) -> int:
        """Return what stands at a price."""


class Book(Protocol):
    """Both sides of what the venue shows."""

    @property
    def bids(self) -> Ladder: ...

    @property
    def asks(self) -> Ladder: ...


class Offer(msgspec.Struct, frozen=True):
    """What an order meets next: other people's quantity, or an order of the same account."""

    price_e8: int
    quantity_e8: int
    own: HeldOrder | None = None


class _Shrunk(msgspec.Struct):
    """What a level's last change took off a queue place, in case a print of the same moment explains it."""

    at_ns: int
    ahead_before_e8: int


class Market:
    """One symbol."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.book: Book | None = None
        self.last_e8 = 0
        self.resting: dict[Side, list[HeldOrder]] = {Side.BUY: [], Side.SELL: []}
        """Best price first, then oldest first."""
        self.shown: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
        """Our quantity that is included in the book's levels."""
        self.is_recorded = False
        """A recording's frames go out unchanged, so our orders are not shown here."""
        self._shrunk: dict[int, _Shrunk] = {}
        self._preventions = 0

    @property
    def has_own(self) -> bool:
        """Whether orders of ours rest here or are shown."""
        return any(self.resting.values()) or any(self.shown.values())

    def ladder(self, side: Side) -> Ladder:
        """Return the side of the book where orders of this side rest."""
        assert self.book is not None, "a market is attached before it is traded"
        return self.book.bids if side is Side.BUY else self.book.asks

    def top(self) -> tuple[LevelE8, LevelE8]:
        """Return best bid and best ask as they are shown."""
        return (self.ladder(Side.BUY).best(), self.ladder(Side.SELL).best())

    def others(self) -> dict[Side, dict[int, int]]:
        """Return all levels of other people."""
        return {
            side: {price_e8: self.others_e8(side, price_e8) for price_e8, _ in self.ladder(side).levels()} for side in Side
        }  # fmt: skip

    def others_e8(self, side: Side, price_e8: int) -> int:
        """Return other people's quantity among orders of this side at a price."""
        return max(self.ladder(side).quantity_e8(price_e8) - self.shown[side].get(price_e8, 0), 0)

    def own_e8(self, side: Side, price_e8: int) -> int:
        """Return our resting quantity at a price."""
        return sum(order.remaining_e8 for order in self.resting[side] if order.limit_e8 == price_e8)

    def draw_prevention(self) -> int:
        """Draw the number of the next trade that self-trade prevention stops."""
        self._preventions += 1
        return self._preventions - 1

    def reference_e8(self) -> int:
        """Return the last trade's price, or the middle of the book, or zero."""
        if self.last_e8 or self.book is None:
            return self.last_e8
        bid_e8, ask_e8 = self.book.bids.best()[0], self.book.asks.best()[0]
        return (bid_e8 + ask_e8) // 2 if bid_e8 and ask_e8 else bid_e8 or ask_e8

    def offers(self, taker: Side) -> Iterator[Offer]:
        """Yield what an order of this side meets, in price-time priority."""
        side = taker.opposite
        sign = 1 if taker is Side.BUY else -1
        own_prices = {order.limit_e8 for order in self.resting[side] if order.limit_e8 is not None}
        prices = {price_e8 for price_e8, _ in self.ladder(side).levels()} | own_prices
        for price_e8 in sorted(prices, key=lambda price: sign * price):
            others_e8, passed_e8 = self.others_e8(side, price_e8), 0
            for order in tuple(order for order in self.resting[side] if order.limit_e8 == price_e8):
                ahead_e8 = min(order.ahead_e8, others_e8)
                if ahead_e8 > passed_e8:
                    yield Offer(price_e8, ahead_e8 - passed_e8)
                    passed_e8 = ahead_e8
                yield Offer(price_e8, order.remaining_e8, order)
            if others_e8 > passed_e8:
                yield Offer(price_e8, others_e8 - passed_e8)

    def rest(self, order: HeldOrder) -> None:
        """Put an order at the end of its price's queue."""
        price_e8, side = order.limit_e8, order.request.side
        assert price_e8 is not None and order.remaining_e8 > 0, "what rests has a price and something left"
        order.ahead_e8 = self.others_e8(side, price_e8)
        queue = self.resting[side]
        place = len(queue)
        while place and is_better(side, price_e8, _limit(queue[place - 1])):
            place -= 1
        queue.insert(place, order)

    def leave(self, order: HeldOrder) -> None:
        """Take an order out of its queue, if it is in one."""
        queue = self.resting[order.request.side]
        if order in queue:
            queue.remove(order)
        self._shrunk.pop(order.order_id, None)

    def taken(self, side: Side, price_e8: int, quantity_e8: int) -> None:
        """Move queue places forward after other people's resting quantity at a price traded."""
        for order in self.resting[side]:
            if order.limit_e8 == price_e8:
                order.ahead_e8 = max(order.ahead_e8 - quantity_e8, 0)

    def level_changed(self, side: Side, price_e8: int, others_e8: int, at_ns: int) -> None:
        """Cap queue places at a level's new quantity of other people."""
        for order in self.resting[side]:
            if order.limit_e8 == price_e8 and order.ahead_e8 > others_e8:
                self._shrunk[order.order_id] = _Shrunk(at_ns, order.ahead_e8)
                order.ahead_e8 = others_e8

    def printed(self, side: Side, price_e8: int, quantity_e8: int, at_ns: int) -> list[tuple[HeldOrder, int]]:
        """Run a print through our queue on the hit side. Returns who is filled by how much; moves the places of the rest.

        A level's change of the same moment is the print's own trace and does not count twice.
        """
        fills: list[tuple[HeldOrder, int]] = []
        filled_e8 = 0
        places: list[tuple[HeldOrder, int]] = []
        for order in self.resting[side]:
            limit_e8 = _limit(order)
            if is_better(side, price_e8, limit_e8):
                break
            shrunk = self._shrunk.get(order.order_id)
            before_e8 = shrunk.ahead_before_e8 if shrunk and shrunk.at_ns == at_ns else order.ahead_e8
            ahead_e8 = before_e8 if limit_e8 == price_e8 else 0
            ours_e8 = min(max(quantity_e8 - filled_e8 - ahead_e8, 0), order.remaining_e8)
            if ours_e8:
                fills.append((order, ours_e8))
                filled_e8 += ours_e8
            places.append((order, ahead_e8))
        for order, ahead_e8 in places:
            order.ahead_e8 = min(max(ahead_e8 - (quantity_e8 - filled_e8), 0), order.ahead_e8)
        return fills


def is_better(side: Side, price_e8: int, than_e8: int) -> bool:
    """Tell whether a price comes first among orders of this side."""
    return price_e8 > than_e8 if side is Side.BUY else price_e8 < than_e8


def _limit(order: HeldOrder) -> int:
    assert order.limit_e8 is not None, "what rests has a price"
    return order.limit_e8
