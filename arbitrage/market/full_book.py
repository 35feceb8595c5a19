"""A book that every frame replaces whole (Upbit): the newest picture, packed until somebody asks for more than its touch.

Refuses pictures older than the one it shows, skips padding, and watches the best prices that ride along with trades, because
a feed without sequence numbers cannot show a loss by counting. Why packed: a picture is a hundred objects, and those of the one
before have left the cache when the next arrives. To drop them then costs more than to pack them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from arbitrage.market.book import NEVER, NOTHING, SMALLEST, Book
from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect, Report, Severity
from arbitrage.model.events import BookFull, BookUnit, Level, TradePrint
from arbitrage.model.instruments import Side
from arbitrage.model.settings import MarketDataSettings

OLDER_PICTURES_MAX = 50
"""So many older pictures in a row mean that the venue set its clock back, not that they are late."""
LATE_MS_MAX = 10_000
FAR_OLDER_PICTURES_MAX = 3
"""None is later than that: so many in a row mean that the one shown bore a wrong time, which would freeze a quiet market."""
CONTRADICTIONS_STICK = 3
"""Trades in a row that contradict the book before a newer picture alone no longer clears it."""

pack = msgspec.msgpack.Encoder().encode
"""Floats are packed bit for bit."""


class FullBook(Book):
    """The newest picture of the best levels."""

    __slots__ = (
        "_contradicted_since_ns", "_contradictions", "_last_trade", "_not_before_ms", "_older_pictures", "_packed", "_unit",
        "_units", "_unpack",
    )  # fmt: skip
    _packed: bytes
    _units: list[BookUnit] | None
    _unpack: Callable[[bytes], list[BookUnit]]
    _not_before_ms: int
    _older_pictures: int
    _contradictions: int
    _contradicted_since_ns: int
    _last_trade: TradePrint | None

    def __init__(self, market: int, settings: MarketDataSettings, counters: dict[str, int]) -> None:
        super().__init__(market, settings, counters)
        self._read_as(BookUnit)
        self._reset(Doubt.NEVER_SYNCED, not_before_ms=0)

    def apply(self, picture: BookFull) -> Sequence[Effect]:
        """Replace the book; a picture older than the one shown is ignored and counted."""
        venue_ms = picture.venue_ms
        if venue_ms < self._not_before_ms:
            return self._refuse_older(picture)
        units = picture.units
        if units:
            self._packed, self._units = pack(units), None
            top = units[0]
            if type(top) is not self._unit:
                self._read_as(type(top))
            bid, bid_quantity, ask, ask_quantity = top.bid_price, top.bid_size, top.ask_price, top.ask_size
        else:
            self._packed, self._units = b"", []
            bid = bid_quantity = ask = ask_quantity = 0.0
        self.best_bid = bid
        self.best_bid_quantity = bid_quantity
        self.best_ask = ask
        self.best_ask_quantity = ask_quantity
        self.updated_at_ns = picture.at_ns
        self._not_before_ms = self.venue_ms = venue_ms
        self._older_pictures = 0
        self.version += 1
        mid = bid + ask
        if self._band_low < mid < self._band_high and bid < ask and bid > SMALLEST and bid_quantity and ask_quantity:
            self._mid = mid
            self.flaw = None
        else:
            self._judge()
        if self._contradictions:
            self._weigh_against_trade()
        return NOTHING

    @property
    def units(self) -> list[BookUnit]:
        """Return the picture as it was decoded."""
        if self._units is None:
            self._units = self._unpack(self._packed)
        return self._units

    def check(self, trade: TradePrint) -> Sequence[Effect]:
        """Compare with the best prices that a trade carries, unless the picture is newer than the trade."""
        if trade.best_bid is None or trade.best_ask is None or trade.venue_ms < self._not_before_ms or not self._packed:
            return NOTHING
        self.counters["trades_compared"] += 1
        if trade.best_bid == self.best_bid and trade.best_ask == self.best_ask:
            self._contradictions = 0
            self._contradicted_since_ns = 0
            return NOTHING
        self._last_trade = trade
        self._contradictions += 1
        if not self._contradicted_since_ns:
            self._contradicted_since_ns = trade.at_ns
        return NOTHING

    def shown(self, side: Side, limit: int) -> list[Level]:
        """Return at most `limit` levels that an order of `side` would hit, best first; disorder ends the picture."""
        assert limit > 0, "ask for at least one level"
        found: list[Level] = []
        is_buy = side is Side.BUY
        for unit in self.units:
            price, quantity = (unit.ask_price, unit.ask_size) if is_buy else (unit.bid_price, unit.bid_size)
            if price < SMALLEST or not quantity:
                continue
            if found and (price <= found[-1][0] if is_buy else price >= found[-1][0]):
                self.counters["unsorted_pictures"] += 1
                break
            found.append((price, quantity))
            if len(found) == limit:
                break
        return found

    def link_up(self) -> Sequence[Effect]:
        """Start from nothing: the first picture of the new connection is the book."""
        self._forget_price()
        self._reset(Doubt.NEVER_SYNCED, not_before_ms=0)
        assert self.flaw is Doubt.NEVER_SYNCED, "nothing of the old connection is known"
        return NOTHING

    def link_down(self) -> None:
        """Become unusable; pictures that still arrive belong to a stream that has ended."""
        self._reset(Doubt.LINK_DOWN, not_before_ms=NEVER)
        assert self.best_bid == self.best_ask == 0.0, "no price without a link"

    def contradicted_since_ns(self) -> int:
        """Return since when trades contradict the book, or 0."""
        return self._contradicted_since_ns

    def _reset(self, flaw: Doubt, *, not_before_ms: int) -> None:
        self.flaw = flaw
        self._packed, self._units = b"", []
        self._not_before_ms = not_before_ms
        self._older_pictures = 0
        self._contradictions = 0
        self._contradicted_since_ns = 0
        self._last_trade = None
        self._clear_touch()

    def _read_as(self, unit: type[BookUnit]) -> None:
        """Unpack pictures as the codec decodes them: its units have their own names for what they hold."""
        assert issubclass(unit, BookUnit), "a picture is made of units"
        self._unit = unit
        self._unpack = msgspec.msgpack.Decoder(list[unit]).decode  # type: ignore[valid-type]  # known at run time only

    def _refuse_older(self, picture: BookFull) -> Sequence[Effect]:
        assert picture.venue_ms < self._not_before_ms, "only an older picture is refused"
        if self._not_before_ms == NEVER:
            self.counters["frames_after_link_down"] += 1
            return NOTHING
        self.counters["old"] += 1
        self._older_pictures += 1
        is_far = self._not_before_ms - picture.venue_ms > LATE_MS_MAX
        if self._older_pictures < (FAR_OLDER_PICTURES_MAX if is_far else OLDER_PICTURES_MAX):
            return NOTHING
        text = f"venue time went back from {self._not_before_ms} to {picture.venue_ms} and stayed there"
        self._not_before_ms = picture.venue_ms
        self.apply(picture)
        return (Report(Severity.WARNING, "venue_time_back", text, {"market": self.market}),)

    def _judge(self) -> None:
        """Look at a touch that the hot path did not wave through: padding on top, crossed, one-sided or far away."""
        self.best_bid, self.best_bid_quantity = next(iter(self.levels(Side.SELL, 1)), (0.0, 0.0))
        self.best_ask, self.best_ask_quantity = next(iter(self.levels(Side.BUY, 1)), (0.0, 0.0))
        assert (self.best_bid > 0.0) == (self.best_bid_quantity > 0.0), "a best bid has a quantity"
        assert (self.best_ask > 0.0) == (self.best_ask_quantity > 0.0), "a best ask has a quantity"
        if 0.0 < self.best_ask <= self.best_bid:
            self.counters["crossed"] += 1
            self.flaw = Doubt.CROSSED
            return
        is_two_sided = self.best_bid > 0.0 and self.best_ask > 0.0
        is_plausible = not is_two_sided or self._judge_mid(self.best_bid + self.best_ask)
        self.counters["implausible"] += not is_plausible
        self.flaw = None if is_plausible else Doubt.IMPLAUSIBLE

    def _weigh_against_trade(self) -> None:
        trade = self._last_trade
        assert trade is not None, "a contradiction has its trade"
        if trade.best_bid == self.best_bid and trade.best_ask == self.best_ask:
            self._contradictions = 0
            self._contradicted_since_ns = 0
        elif self._contradictions < CONTRADICTIONS_STICK:
            self._contradicted_since_ns = 0
