"""A book that Binance-shaped diffs keep exact: one snapshot, then absolute quantities in unbroken order of update ids.

Refuses to show a level that could be wrong: across a gap, before the stream bridges the snapshot, or beyond the last price
that the snapshot showed. Source of the procedure: Binance's "How to manage a local order book correctly" (2025-11-12).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from itertools import islice

from arbitrage.market.book import INFINITE, NEVER, NOTHING, SMALLEST, Book
from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect, Report, Resync, Severity
from arbitrage.model.events import BookDiff, BookSnapshot, Level, TopOfBook
from arbitrage.model.instruments import Side
from arbitrage.model.settings import MarketDataSettings

BUFFERED_DIFFS_MAX = 2_048
"""Diffs kept while a snapshot is on its way (200 s of a 100 ms stream); past it the oldest goes and is counted."""
REMEMBERED_TICKERS_MAX = 256
"""Tickers ahead of the book; past it the oldest goes and is counted."""
BEHIND_MAX = 3
"""So many updates in a row that the book is ahead of are no repetition: the id that it believes is wrong."""
BEHIND_SNAPSHOT_NS_MAX = 5_000_000_000
"""A stream that is further behind a snapshot is not late: the snapshot's id is wrong."""
LEVELS_MAX = 10_000
"""Levels kept a side; what lies further from the touch is forgotten and never quoted."""
SLACK_LEVELS = 512
"""A side is swept of deleted prices when it has grown to twice its live size plus this."""


class DiffBook(Book):
    """Two dicts price -> quantity with sorted price lists beside them. A deleted price stays as a zero until swept.

    `dict.update` applies a whole side in C; a dict keeps insertion order, so the prices that are new are its last keys.
    """

    __slots__ = (
        "_ask_ceiling", "_ask_prices", "_asks", "_asks_swept_at", "_behind_count", "_behind_version", "_bid_floor",
        "_bid_prices", "_bids", "_bids_swept_at", "_buffer", "_is_asked", "_loaded_version", "_tickers", "_tickers_since_ns",
        "_waiting", "last_id",
    )  # fmt: skip
    last_id: int
    _waiting: BookSnapshot | None
    _bids: dict[float, float]
    _asks: dict[float, float]
    _bid_prices: list[float]
    _ask_prices: list[float]
    _bid_floor: float
    _ask_ceiling: float
    _bids_swept_at: int
    _asks_swept_at: int

    def __init__(self, market: int, settings: MarketDataSettings, counters: dict[str, int]) -> None:
        super().__init__(market, settings, counters)
        self._buffer: list[BookDiff] = []
        self._tickers: dict[int, TopOfBook] = {}
        self._tickers_since_ns = 0
        self._behind_count = self._behind_version = self._loaded_version = 0
        self._empty(Doubt.NEVER_SYNCED)
        self._is_asked = False

    def apply(self, diff: BookDiff) -> Sequence[Effect]:
        """Apply one diff, buffer it while unsynced, ignore it when old; a gap makes the book unusable before returning."""
        last_id = diff.last_id
        known_id = self.last_id
        if last_id <= known_id:
            return self._buffered(diff) if known_id == NEVER else self._behind(diff)
        if diff.first_id > known_id + 1:
            self.counters["gaps"] += 1
            return self._restart(Doubt.GAP, f"update ids jump from {known_id} to {diff.first_id}", diff)
        bids = self._bids
        prices = self._bid_prices
        count = len(bids)
        bids.update(diff.bids)
        if len(bids) != count:
            _index_new(bids, prices, len(bids) - count)
        bid = bid_quantity = 0.0
        while prices:
            bid = prices[-1]
            bid_quantity = bids[bid]
            if bid_quantity:
                break
            del bids[prices.pop()]
            bid = 0.0
        asks = self._asks
        prices = self._ask_prices
        count = len(asks)
        asks.update(diff.asks)
        if len(asks) != count:
            _index_new(asks, prices, len(asks) - count)
        ask = ask_quantity = 0.0
        while prices:
            ask = prices[0]
            ask_quantity = asks[ask]
            if ask_quantity:
                break
            del asks[prices.pop(0)]
            ask = 0.0
        self.last_id = last_id
        self.best_bid = bid
        self.best_bid_quantity = bid_quantity
        self.best_ask = ask
        self.best_ask_quantity = ask_quantity
        self.updated_at_ns = diff.at_ns
        self.venue_ms = diff.venue_ms
        self.version += 1
        mid = bid + ask
        if self._band_low < mid < self._band_high and self._bid_floor <= bid < ask <= self._ask_ceiling:
            self._mid = mid
        elif effects := self._judge(diff):
            return effects
        if len(bids) > self._bids_swept_at or len(asks) > self._asks_swept_at:
            self._sweep()
        return self._compare_remembered() if self._tickers else NOTHING

    def start_from(self, snapshot: BookSnapshot) -> Sequence[Effect]:
        """Begin at a snapshot when the buffered diffs bridge it; ask for another when it is older than the first of them."""
        if self.last_id != NEVER or self.flaw is Doubt.LINK_DOWN:
            return self._count("snapshots_unused")
        assert snapshot.market == self.market, "a snapshot goes to its own market"
        if not self._buffer:
            self._waiting = snapshot
            return NOTHING
        self._waiting = None
        if self._buffer[0].first_id > snapshot.last_id + 1:
            self.counters["snapshots_too_old"] += 1
            return self._ask("the snapshot is older than the first buffered update")
        buffered = [diff for diff in self._buffer if diff.last_id > snapshot.last_id]
        newest = self._buffer[-1]
        self._buffer = []
        self._load(snapshot)
        self.venue_ms = newest.venue_ms
        effects = self._judge(None) or (self._compare_remembered() if self._tickers else NOTHING)
        for position, diff in enumerate(buffered):
            if self.last_id == NEVER:
                self._buffer.extend(buffered[position:])
                break
            effects = self.apply(diff)
        return effects

    def check(self, ticker: TopOfBook) -> Sequence[Effect]:
        """Compare with the best prices at the same update id, now or when the diff that ends there arrives."""
        update_id, tickers = ticker.update_id, self._tickers
        while tickers and next(reversed(tickers)) > update_id:
            tickers.popitem()  # ids only grow: what a later ticker is behind was another id on the way
        if update_id == self.last_id:
            return self._compare(ticker)
        if update_id > self.last_id or self.last_id == NEVER:
            if not tickers:
                self._tickers_since_ns = ticker.at_ns
            tickers[update_id] = ticker
            if len(tickers) > REMEMBERED_TICKERS_MAX:
                del tickers[next(iter(tickers))]
                self.counters["tickers_forgotten"] += 1
        return NOTHING

    def shown(self, side: Side, limit: int) -> list[Level]:
        """Return at most `limit` levels that an order of `side` would hit, best first, within what the snapshot proves."""
        assert limit > 0, "ask for at least one level"
        found: list[Level] = []
        if self.last_id == NEVER:
            return found
        is_buy = side is Side.BUY
        quantities = self._asks if is_buy else self._bids
        for price in self._ask_prices if is_buy else reversed(self._bid_prices):
            if price > self._ask_ceiling if is_buy else price < self._bid_floor:
                break
            quantity = quantities[price]
            if quantity:
                found.append((price, quantity))
                if len(found) == limit:
                    break
        return found

    def link_up(self) -> Sequence[Effect]:
        """Start from nothing: buffer the new connection's diffs and ask for a snapshot."""
        self._empty(Doubt.NEVER_SYNCED)
        self._forget_price()
        self._buffer = []
        self._tickers.clear()
        assert self.last_id == NEVER, "nothing of the old connection is known"
        return (Resync(self.market, "connected"),)

    def link_down(self) -> None:
        """Become unusable; what is buffered belongs to a stream that has ended."""
        self._empty(Doubt.LINK_DOWN)
        self._buffer = []
        self._tickers.clear()
        assert self.flaw is Doubt.LINK_DOWN, "no flaw hides that the link is down"

    def contradicted_since_ns(self) -> int:
        """Return since when tickers ahead of the book show another touch, or 0: a depth stream that froze is seen here."""
        if not self._tickers:
            return 0
        newest = self._tickers[next(reversed(self._tickers))]
        is_same = newest.bid == self.best_bid and newest.ask == self.best_ask
        return 0 if is_same else self._tickers_since_ns

    def _behind(self, diff: BookDiff) -> Sequence[Effect]:
        """Count an update that the book is ahead of. Several in a row are no repetition: a wrong id would freeze the book."""
        self.counters["old"] += 1
        if self.version == self._loaded_version:
            if diff.at_ns - self.updated_at_ns < BEHIND_SNAPSHOT_NS_MAX:
                return NOTHING
        else:
            self._behind_count = self._behind_count + 1 if self._behind_version == self.version else 1
            self._behind_version = self.version
            if self._behind_count < BEHIND_MAX:
                return NOTHING
        self.counters["gaps"] += 1
        return self._restart(Doubt.GAP, f"update ids went back from {self.last_id} to {diff.last_id}", diff)

    def _buffered(self, diff: BookDiff) -> Sequence[Effect]:
        if self.flaw is Doubt.LINK_DOWN:
            return self._count("frames_after_link_down")
        assert self.last_id == NEVER, "a book in sync applies at once"
        self._buffer.append(diff)
        if len(self._buffer) > BUFFERED_DIFFS_MAX:
            del self._buffer[0]
            self.counters["diffs_forgotten"] += 1
        if self._waiting is not None:
            return self.start_from(self._waiting)
        if not self._is_asked:
            self._is_asked = True
            return (Resync(self.market, "first update"),)
        return NOTHING

    def _count(self, name: str) -> Sequence[Effect]:
        self.counters[name] += 1
        return NOTHING

    def _ask(self, reason: str) -> Sequence[Effect]:
        assert self.last_id == NEVER, "only an unusable book asks"
        self.counters["resyncs"] += 1
        self._is_asked = True
        return (Resync(self.market, reason),)

    def _empty(self, flaw: Doubt) -> None:
        self.flaw = flaw
        self.last_id = NEVER
        self._waiting = None
        self._is_asked = True
        self._bids = {}
        self._asks = {}
        self._bid_prices = []
        self._ask_prices = []
        self._bid_floor, self._ask_ceiling = INFINITE, 0.0
        self._bids_swept_at = self._asks_swept_at = SLACK_LEVELS
        self._clear_touch()

    def _restart(self, flaw: Doubt, reason: str, first: BookDiff | None) -> Sequence[Effect]:
        """Throw the book away, keep the update that showed the trouble as the first buffered one, ask for a snapshot."""
        self._empty(flaw)
        self._buffer = [] if first is None else [first]
        assert self.best_bid == self.best_ask == 0.0, "unusable within the same message"
        return self._ask(reason)

    def _load(self, snapshot: BookSnapshot) -> None:
        assert self.last_id == NEVER, "a snapshot never overwrites a book in sync"
        self._bids = {price: quantity for price, quantity in snapshot.bids if quantity}
        self._asks = {price: quantity for price, quantity in snapshot.asks if quantity}
        self._bid_prices = sorted(self._bids)
        self._ask_prices = sorted(self._asks)
        self._bid_floor = self._bid_prices[0] if self._bids and not snapshot.is_bid_side_whole else SMALLEST
        self._ask_ceiling = self._ask_prices[-1] if self._asks and not snapshot.is_ask_side_whole else INFINITE
        self._bids_swept_at = 2 * len(self._bids) + SLACK_LEVELS
        self._asks_swept_at = 2 * len(self._asks) + SLACK_LEVELS
        self.best_bid = self._bid_prices[-1] if self._bids else 0.0
        self.best_bid_quantity = self._bids.get(self.best_bid, 0.0)
        self.best_ask = self._ask_prices[0] if self._asks else 0.0
        self.best_ask_quantity = self._asks.get(self.best_ask, 0.0)
        self.last_id = snapshot.last_id
        self.updated_at_ns = snapshot.at_ns
        self.version += 1
        self._loaded_version = self.version
        self.flaw = None

    def _judge(self, diff: BookDiff | None) -> Sequence[Effect]:
        """Look at a touch that the hot path did not wave through: empty side, crossed, out of known range, or far away."""
        bid, ask = self.best_bid, self.best_ask
        assert (bid > 0.0) == (self.best_bid_quantity > 0.0), "a best bid has a quantity"
        assert (ask > 0.0) == (self.best_ask_quantity > 0.0), "a best ask has a quantity"
        if 0.0 < ask <= bid:
            self.counters["crossed"] += 1
            return self._restart(Doubt.CROSSED, f"best bid {bid!r} is not below best ask {ask!r}", diff)
        if bid < self._bid_floor != SMALLEST or ask > self._ask_ceiling or (not ask and self._ask_ceiling != INFINITE):
            return self._restart(Doubt.GAP, "the touch left the range that the snapshot showed", diff)
        if bid and ask:
            is_plausible = self._judge_mid(bid + ask)
            self.counters["implausible"] += not is_plausible
            self.flaw = None if is_plausible else Doubt.IMPLAUSIBLE
        return NOTHING

    def _compare_remembered(self) -> Sequence[Effect]:
        tickers = self._tickers
        ticker = tickers.pop(self.last_id, None)
        for update_id in [known for known in tickers if known < self.last_id]:
            del tickers[update_id]
        if tickers:
            self._tickers_since_ns = next(iter(tickers.values())).at_ns
        return NOTHING if ticker is None else self._compare(ticker)

    def _compare(self, ticker: TopOfBook) -> Sequence[Effect]:
        assert ticker.update_id == self.last_id, "only equal update ids are comparable"
        self.counters["compared"] += 1
        shown = (ticker.bid, ticker.bid_quantity, ticker.ask, ticker.ask_quantity)
        held = (self.best_bid, self.best_bid_quantity, self.best_ask, self.best_ask_quantity)
        if shown == held:
            self.counters["equal"] += 1
            return NOTHING
        text = f"at update {ticker.update_id} the ticker shows {shown}, the book {held}"
        report = Report(Severity.ERROR, "book_mismatch", text, {"market": self.market})
        return (report, *self._restart(Doubt.CROSS_CHECK, "the book differs from the ticker", None))

    def _sweep(self) -> None:
        """Drop the zeros, and what lies beyond `LEVELS_MAX` from the touch with the range that can be quoted."""
        self.counters["sweeps"] += 1
        self._bid_prices = [price for price in self._bid_prices if self._bids[price]]
        if len(self._bid_prices) > LEVELS_MAX:
            del self._bid_prices[:-LEVELS_MAX]
            self._bid_floor = max(self._bid_floor, self._bid_prices[0])
        self._ask_prices = [price for price in self._ask_prices if self._asks[price]]
        if len(self._ask_prices) > LEVELS_MAX:
            del self._ask_prices[LEVELS_MAX:]
            self._ask_ceiling = min(self._ask_ceiling, self._ask_prices[-1])
        self._bids = {price: self._bids[price] for price in self._bid_prices}
        self._asks = {price: self._asks[price] for price in self._ask_prices}
        self._bids_swept_at = 2 * len(self._bids) + SLACK_LEVELS
        self._asks_swept_at = 2 * len(self._asks) + SLACK_LEVELS
        assert len(self._bids) == len(self._bid_prices), "one bid price, one quantity"
        assert len(self._asks) == len(self._ask_prices), "one ask price, one quantity"


def _index_new(quantities: dict[float, float], prices: list[float], grown: int) -> None:
    """Enter the newest `grown` keys into the sorted prices; a deletion of a price we never had is normal and leaves nothing."""
    assert grown > 0, "called when there are new prices"
    for price in tuple(islice(reversed(quantities), grown)):
        if quantities[price]:
            insort(prices, price)
        else:
            del quantities[price]
