"""Other people's flow meets our resting orders: books that cross them, prints that reach them. Shows what our own trades leave.

Every change of the scenario passes through here on its way to the public side, so what is shown is never crossed and always
holds our resting quantity. Recorded frames go out byte for byte: there our orders are matched, but not shown.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.market import Market, is_better
from arbitrage.sim.exchange.matching import Matcher, Print, Traces
from arbitrage.sim.scenarios.changes import BookChanged, Change, FramePlayed, LevelE8, SnapshotRead, Traded, VenueKind

Levels = dict[tuple[Side, int], int]
"""Other people's quantity by side and price."""


class Flow:
    """What happens between the scenario and the venue's public side."""

    def __init__(self, venue: VenueKind, matcher: Matcher, number: Callable[[str], int], clock: Callable[[], int]) -> None:
        self.show: Callable[[Change], None] | None = None
        self._venue = venue
        self._matcher = matcher
        self._number = number
        self._clock = clock
        self._held_back: dict[str, Levels] = {}
        """What a halted market's levels will be when it trades again; bounded by the prices the scenario uses."""

    def take(self, market: Market, change: BookChanged | Traded | FramePlayed | SnapshotRead, *, is_halted: bool) -> None:
        """Take one change of one market."""
        match change:
            case BookChanged() if not is_halted and not market.has_own:
                self.pass_on(change)
            case BookChanged():
                levels: Levels = {(Side.BUY, price_e8): quantity_e8 for price_e8, quantity_e8 in change.bids}
                levels.update({(Side.SELL, price_e8): quantity_e8 for price_e8, quantity_e8 in change.asks})
                if is_halted:
                    self._held_back.setdefault(change.symbol, {}).update(levels)
                else:
                    self._move(market, levels, change.at_ns)
            case Traded():
                if not is_halted:
                    self._print(market, change)
            case FramePlayed() | SnapshotRead():
                self.pass_on(change)
                self._played(market)

    def resume(self, market: Market) -> None:
        """Show what happened to a market's levels while it was halted."""
        self._move(market, self._held_back.pop(market.rules.symbol, {}), self._clock())

    def printed(self, market: Market, change: Traded) -> None:
        """Let a trade that is already shown consume the queue before our orders."""
        side = change.taker_side.opposite
        market.last_e8 = change.price_e8
        traces = Traces()
        trade_id = change.trade_id
        for order, quantity_e8 in market.printed(side, change.price_e8, change.quantity_e8, change.at_ns):
            assert order.limit_e8 is not None, "what rests has a price"
            own = Print(trade_id or self._number(change.symbol), order.limit_e8, quantity_e8, change.taker_side)
            self._matcher.make(market, order, own, traces)
            trade_id = 0
        self.show_traces(market, traces, change.at_ns)

    def show_traces(self, market: Market, traces: Traces, at_ns: int) -> None:
        """Show what a matching left: levels first, then its trades."""
        levels = {
            key: max(market.others_e8(*key) - traces.others_taken_e8.get(key, 0), 0) for key in traces.levels
        }  # fmt: skip
        self._show_levels(market, levels, at_ns)
        self._show_prints(market, traces.prints, at_ns)

    def _move(self, market: Market, levels: Levels, at_ns: int) -> None:
        """Take other people's new levels: they fill ours where they cross, the rest stands."""
        traces = Traces()
        for side in (Side.BUY, Side.SELL):
            self._cross(market, side, levels, traces)
        for (side, price_e8), quantity_e8 in levels.items():
            market.level_changed(side, price_e8, quantity_e8, at_ns)
        for key in traces.levels:
            levels.setdefault(key, market.others_e8(*key))
        self._show_levels(market, levels, at_ns)
        self._show_prints(market, traces.prints, at_ns)

    def _cross(self, market: Market, side: Side, levels: Levels, traces: Traces) -> None:
        """Fill our orders of one side by new levels of the other that reach them; the most eager come first."""
        eager = sorted(
            (price_e8 for (theirs, price_e8), quantity_e8 in levels.items() if theirs is side.opposite and quantity_e8),
            key=lambda price_e8: price_e8 if side is Side.BUY else -price_e8,
        )
        for order in tuple(market.resting[side]):
            for price_e8 in eager:
                assert order.limit_e8 is not None, "what rests has a price"
                if is_better(side, price_e8, order.limit_e8) or not order.is_open:
                    break
                key = (side.opposite, price_e8)
                quantity_e8 = min(levels[key], order.remaining_e8)
                if quantity_e8:
                    levels[key] -= quantity_e8
                    own = Print(self._number(market.rules.symbol), order.limit_e8, quantity_e8, side.opposite)
                    traces.prints.append(own)
                    self._matcher.make(market, order, own, traces)

    def _print(self, market: Market, change: Traded) -> None:
        numbered = msgspec.structs.replace(change, trade_id=self._number(change.symbol))
        self.pass_on(numbered)
        self.printed(market, numbered)

    def _played(self, market: Market) -> None:
        """Match our orders against a book that a recording has just moved."""
        for shown in market.shown.values():
            shown.clear()
        market.is_recorded = True
        traces = Traces()
        levels: Levels = {}
        for side in (Side.BUY, Side.SELL):
            resting = market.resting[side]
            if resting and resting[0].limit_e8 is not None:
                worst_e8 = resting[0].limit_e8
                standing = market.ladder(side.opposite).levels()
                levels.update({(side.opposite, at): has for at, has in standing if not is_better(side, at, worst_e8)})
        before = dict(levels)
        for side in (Side.BUY, Side.SELL):
            self._cross(market, side, levels, traces)
        changed = {key: quantity_e8 for key, quantity_e8 in levels.items() if before[key] != quantity_e8}
        self._show_levels(market, changed, self._clock())
        self._show_prints(market, traces.prints, self._clock())

    def _show_levels(self, market: Market, levels: Levels, at_ns: int) -> None:
        if not levels:
            return
        sides: dict[Side, list[LevelE8]] = {Side.BUY: [], Side.SELL: []}
        for (side, price_e8), others_e8 in levels.items():
            own_e8 = 0 if market.is_recorded else market.own_e8(side, price_e8)
            market.shown[side].pop(price_e8, None)
            if own_e8:
                market.shown[side][price_e8] = own_e8
            sides[side].append((price_e8, others_e8 + own_e8))
        symbol = market.rules.symbol
        self.pass_on(BookChanged(at_ns, self._venue, symbol, tuple(sides[Side.BUY]), tuple(sides[Side.SELL])))

    def _show_prints(self, market: Market, prints: list[Print], at_ns: int) -> None:
        for one in prints:
            market.last_e8 = one.price_e8
            symbol = market.rules.symbol
            self.pass_on(
                Traded(at_ns, self._venue, symbol, one.price_e8, one.quantity_e8, one.taker_side, trade_id=one.trade_id)
            )

    def pass_on(self, change: Change) -> None:
        """Show a change as it is."""
        assert self.show is not None, "an exchange is attached before it trades"
        self.show(change)
