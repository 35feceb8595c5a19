"""One leg's executable depth in exact integers, read from its book only as far as it is asked for. Chooses no size.

Each touched level is one fill at the venue: notional and fee are rounded against us level by level. All four questions
(what is spent, what is received, how much can be afforded, how much is needed) have closed forms, so no answer is searched
for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from arbitrage.model.events import Level
from arbitrage.model.instruments import FeePayment, Instrument, Side
from arbitrage.model.money import (
    E8,
    PPM,
    ceil_to,
    div_up,
    fee_up_e8,
    floor_to,
    notional_down_e8,
    notional_up_e8,
    recover_price_e8,
    recover_quantity_down_e8,
)
from arbitrage.strategy.board import Book

LEVELS_FIRST = 8
"""Levels fetched from the book at first; four times as many each time more are wanted."""
UNLIMITED_E8 = 10**30


class LegTerms(msgspec.Struct, frozen=True):
    """How one leg may be worked."""

    levels_max: int
    price_slack_ppm: int
    spendable_e8: int = UNLIMITED_E8
    """At most so much of the spent asset may be locked by the order at its limit price."""
    lot_e8: int = 0
    """Overrides the instrument's lot: 1 values amounts that are not ordered."""

    def __post_init__(self) -> None:
        assert self.levels_max > 0, "a ladder has a level"
        assert 0 <= self.price_slack_ppm < PPM, "slack makes a price worse, and leaves one"
        assert self.spendable_e8 >= 0, "nothing is spent out of a debt"


class Ladder:
    """Cumulative depth of one side. `quantities`, `quotes`, `spends`, `yields` start with 0 and have one entry a level more."""

    __slots__ = (
        "_asked", "_book", "_fetched", "_is_sale", "_is_whole", "_lockable_quote_e8", "_quantity_e8_max", "_room_e8", "_terms",
        "_tick_e8", "fee_out_ppm", "fee_top_ppm", "instrument", "is_short", "lot_e8", "prices", "quantities", "quotes", "reads",
        "side", "spends", "yields",
    )  # fmt: skip

    def __init__(self, book: Book, instrument: Instrument, side: Side, terms: LegTerms) -> None:
        self.instrument = instrument
        self.side = side
        self.lot_e8 = lot_e8 = terms.lot_e8 or instrument.lot_e8
        assert lot_e8 > 0, "a lot is positive"
        self.prices: list[int] = []
        self.quantities, self.quotes, self.spends, self.yields = [0], [0], [0], [0]
        self.is_short = False
        """Whether the spendable amount ended the ladder."""
        self.reads = 0
        """Levels recovered so far: what this ladder has cost in steps."""
        self._book = book
        self._terms = terms
        self._fetched: Sequence[Level] = ()
        self._asked = 0
        """How many levels the book was asked for."""
        self._is_whole = False
        self._is_sale = side is Side.SELL
        self.fee_top_ppm, self.fee_out_ppm = fee_terms(instrument, side)
        bands = instrument.ticks.bands
        self._tick_e8 = bands[0].tick_e8 if len(bands) == 1 else 0
        """The tick of every price, or 0 where it depends on the price."""
        self._quantity_e8_max = floor_to(instrument.quantity_e8_max, lot_e8)
        self._room_e8 = floor_to(terms.spendable_e8, lot_e8)
        """What a sale may lock."""
        fees = instrument.fees
        fee_ppm = max(fees.taker_ppm, fees.maker_ppm, 0) if self.is_fee_in_quote else 0
        self._lockable_quote_e8 = terms.spendable_e8 * PPM // (PPM + fee_ppm)
        """The largest notional that a purchase may lock, its fee aside."""

    @property
    def depth_e8(self) -> int:
        """The base quantity read so far."""
        return self.quantities[-1]

    def read_more(self) -> bool:
        """Read one further level; say whether there was any. Raises ValueError for a price off the tick grid we know."""
        before = len(self.prices)
        while not self._is_whole and len(self.prices) == before:
            if self.reads == len(self._fetched):
                self._fetch()
            else:
                price, quantity = self._fetched[self.reads]
                self.reads += 1
                self._is_whole = not self._add(price, quantity)
        assert len(self.quantities) == len(self.prices) + 1, "one entry a level, after nothing"
        return len(self.prices) > before

    def _fetch(self) -> None:
        """Fetch further levels from the book, which is whole when there are none."""
        asked, levels_max = self._asked, self._terms.levels_max
        if len(self._fetched) < asked or asked == levels_max:
            self._is_whole = True
            return
        self._asked = min(levels_max, max(LEVELS_FIRST, 4 * asked))
        self._fetched = self._book.levels(self.side, self._asked)
        assert len(self._fetched) <= self._asked, "no more than asked for"

    def level_of(self, quantity_e8: int) -> int:
        """Return the index of the worst level that a quantity touches."""
        assert 0 < quantity_e8 <= self.quantities[-1], "the quantity is within the depth read"
        return bisect_left(self.quantities, quantity_e8) - 1

    def level_at(self, quantity_e8: int, *, is_above: bool) -> int:
        """Return the index of the level that a little less, or a little more, than a quantity ends in."""
        assert self.prices, "a level was read"
        find = bisect_right if is_above else bisect_left
        return min(max(0, find(self.quantities, quantity_e8) - 1), len(self.prices) - 1)

    def limit_e8(self, quantity_e8: int) -> int:
        """Return the limit price of an order for this quantity."""
        price_e8 = self.prices[self.level_of(quantity_e8)]
        return price_limit_e8(self.instrument, self.side, price_e8, self._terms.price_slack_ppm)

    def is_enough(self, quantity_e8: int) -> bool:
        """Say whether an order for this quantity meets the venue's minimums.

        The venue multiplies the order's own price, and a sale's limit may lie below what the walk expects.
        """
        rules = self.instrument
        if quantity_e8 < rules.quantity_e8_min:
            return False
        price_e8 = self.prices[self.level_of(quantity_e8)]
        worst_e8 = price_e8 * (PPM - self._terms.price_slack_ppm) // PPM  # no limit is below it
        if worst_e8 * quantity_e8 // E8 >= rules.notional_e8_min:
            return True
        return notional_down_e8(self.limit_e8(quantity_e8), quantity_e8) >= rules.notional_e8_min

    def quote_e8(self, quantity_e8: int) -> int:
        """Return the notional of a quantity without fees, as the venue would book it."""
        level = self.level_of(quantity_e8)
        return self.quotes[level] + self._notional(level, quantity_e8 - self.quantities[level])

    def spent_e8(self, quantity_e8: int) -> int:
        """Return what leaves the spent node, fees on top included."""
        if self._is_sale:
            return quantity_e8
        quantities = self.quantities
        assert 0 < quantity_e8 <= quantities[-1], "the quantity is within the depth read"
        level = bisect_left(quantities, quantity_e8) - 1
        quote_e8 = -(-self.prices[level] * (quantity_e8 - quantities[level]) // E8)
        return self.spends[level] + quote_e8 - (-quote_e8 * self.fee_top_ppm // PPM)

    def received_e8(self, quantity_e8: int) -> int:
        """Return what arrives at the received node, fees from it taken off."""
        quantities = self.quantities
        assert 0 < quantity_e8 <= quantities[-1], "the quantity is within the depth read"
        level = bisect_left(quantities, quantity_e8) - 1
        out_e8 = quantity_e8 - quantities[level]
        if self._is_sale:
            out_e8 = self.prices[level] * out_e8 // E8
        return self.yields[level] + out_e8 + (-out_e8 * self.fee_out_ppm // PPM)

    def affordable_e8(self, spent_e8: int) -> int:
        """Return the largest quantity on the lot grid that costs at most `spent_e8`; limited by the depth."""
        assert spent_e8 >= 0, "nothing is bought with a debt"
        while self.spends[-1] <= spent_e8 and self.read_more():
            pass
        level = bisect_right(self.spends, spent_e8) - 1
        quantity_e8 = self.quantities[level]
        if level < len(self.prices):
            rest_e8 = spent_e8 - self.spends[level]
            if not self._is_sale:
                rest_e8 = rest_e8 * PPM // (PPM + self.fee_top_ppm) * E8 // self.prices[level]
            quantity_e8 = min(quantity_e8 + rest_e8, self.quantities[level + 1])
        assert quantity_e8 <= self.quantities[-1], "no more than there is"
        return quantity_e8 - quantity_e8 % self.lot_e8

    def needed_e8(self, received_e8: int) -> int | None:
        """Return the smallest quantity on the lot grid that yields at least `received_e8`, or None without such depth."""
        while self.yields[-1] < received_e8 and self.read_more():
            pass
        if self.yields[-1] < received_e8:
            return None
        if received_e8 <= 0:
            return 0
        level = bisect_left(self.yields, received_e8) - 1
        rest_e8 = -((self.yields[level] - received_e8) * PPM // (PPM - self.fee_out_ppm))
        if self._is_sale:
            rest_e8 = -(-rest_e8 * E8 // self.prices[level])
        quantity_e8 = self.quantities[level] + rest_e8
        quantity_e8 += -quantity_e8 % self.lot_e8
        assert quantity_e8 <= self.quantities[level + 1], "levels sit on the lot grid"
        return quantity_e8

    def least_e8(self) -> int | None:
        """Return the smallest quantity that meets the venue's minimums, or None without such depth."""
        rules = self.instrument
        while self.quotes[-1] < rules.notional_e8_min and self.read_more():
            pass
        if self.quotes[-1] < rules.notional_e8_min:
            return None
        quantity_e8 = max(rules.quantity_e8_min, 1)
        level = bisect_left(self.quotes, rules.notional_e8_min) - 1
        if level >= 0:
            rest_e8 = rules.notional_e8_min - self.quotes[level]
            if self.side is Side.BUY:
                rest_e8 = (rest_e8 - 1) * E8 // self.prices[level] + 1  # a purchase's notional is rounded up
            else:
                rest_e8 = div_up(rest_e8 * E8, self.prices[level])
            quantity_e8 = max(quantity_e8, self.quantities[level] + rest_e8)
        quantity_e8 = ceil_to(quantity_e8, self.lot_e8)
        while self.depth_e8 < quantity_e8 and self.read_more():
            pass
        return quantity_e8 if quantity_e8 <= self.depth_e8 else None

    def _notional(self, level: int, quantity_e8: int) -> int:
        price_e8 = self.prices[level]
        return notional_down_e8(price_e8, quantity_e8) if self._is_sale else notional_up_e8(price_e8, quantity_e8)

    def _add(self, price: float, quantity: float) -> bool:
        """Take one level in; say whether another may follow. Raises ValueError for a price off the tick grid we know."""
        tick_e8 = self._tick_e8
        price_e8 = recover_price_e8(price, tick_e8) if tick_e8 else self.instrument.ticks.recover_e8(price)
        level_e8 = recover_quantity_down_e8(quantity, self.lot_e8)
        depth_e8 = self.quantities[-1]
        left_e8 = min(level_e8, self._quantity_e8_max - depth_e8)
        room_e8 = (self._room_e8 if self._is_sale else self._lockable_e8(price_e8, depth_e8 + left_e8)) - depth_e8
        self.is_short = room_e8 < left_e8
        taken_e8 = min(left_e8, room_e8)
        if taken_e8 > 0:
            self._append(price_e8, taken_e8)
        return taken_e8 == level_e8

    def _append(self, price_e8: int, quantity_e8: int) -> None:
        assert price_e8 > 0, "a level has a price"
        assert quantity_e8 % self.lot_e8 == 0, "levels sit on the lot grid"
        self.prices.append(price_e8)
        self.quantities.append(self.quantities[-1] + quantity_e8)
        if self._is_sale:
            quote_e8 = out_e8 = notional_down_e8(price_e8, quantity_e8)
            self.spends.append(self.spends[-1] + quantity_e8)
        else:
            quote_e8, out_e8 = notional_up_e8(price_e8, quantity_e8), quantity_e8
            self.spends.append(self.spends[-1] + quote_e8 + fee_up_e8(quote_e8, self.fee_top_ppm))
        self.quotes.append(self.quotes[-1] + quote_e8)
        self.yields.append(self.yields[-1] + out_e8 - fee_up_e8(out_e8, self.fee_out_ppm))

    def _lockable_e8(self, price_e8: int, wanted_e8: int) -> int:
        """Return what of `wanted_e8` a purchase that reaches this price may lock at its limit price."""
        slack_ppm = self._terms.price_slack_ppm
        worst_e8 = price_e8 + price_e8 * slack_ppm // PPM  # before it is rounded down to the grid: no limit is above it
        if worst_e8 * wanted_e8 <= self._lockable_quote_e8 * E8:
            return wanted_e8
        limit_e8 = price_limit_e8(self.instrument, self.side, price_e8, slack_ppm)
        assert price_e8 <= limit_e8 <= worst_e8, "an order reaches its level, with no more than the slack"
        return floor_to(self._lockable_quote_e8 * E8 // limit_e8, self.lot_e8)

    @property
    def is_fee_in_quote(self) -> bool:
        """Whether the fee is always paid in the quote asset."""
        fees = self.instrument.fees
        return fees.payment is FeePayment.QUOTE or fees.named_asset == self.instrument.quote


def fee_terms(instrument: Instrument, side: Side) -> tuple[int, int]:
    """Return the taker's fee on top of what is spent and out of what is received, in ppm; a third asset's fee is in neither."""
    fees = instrument.fees
    assert fees.taker_ppm < PPM, "a fee leaves something"
    if fees.payment is FeePayment.QUOTE or fees.named_asset == instrument.quote:
        return (fees.taker_ppm, 0) if side is Side.BUY else (0, fees.taker_ppm)
    return (0, fees.taker_ppm) if fees.payment is FeePayment.RECEIVED else (0, 0)


def named_fee_ppm(instrument: Instrument) -> int:
    """Return the taker's fee where it is taken from a third asset, else 0. A rebate there is not counted on."""
    fees = instrument.fees
    assert fees.taker_ppm < PPM, "a fee leaves something"
    is_third = fees.payment is FeePayment.NAMED and fees.named_asset != instrument.quote
    return max(0, fees.taker_ppm) if is_third else 0


def price_limit_e8(instrument: Instrument, side: Side, price_e8: int, slack_ppm: int) -> int:
    """Return the limit price that reaches `price_e8` with some slack, rounded against us on the grid but never short of it."""
    assert price_e8 > 0, "a level has a price"
    if side is Side.BUY:
        return max(price_e8, instrument.ticks.floor(price_e8 * (PPM + slack_ppm) // PPM))
    return min(price_e8, instrument.ticks.ceil(max(1, div_up(price_e8 * (PPM - slack_ppm), PPM))))
