"""A book that Binance-shaped diffs keep exact: one snapshot, then absolute quantities in unbroken order of update ids.

Refuses to show a level that could be wrong: across a gap, before the stream bridges the snapshot, or beyond the last price
that the snapshot showed. Source of the procedure: Binance's "How to manage a local order book correctly" (2025-11-12).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from arbitrage.market.book import INFINITE, NEVER, NOTHING, SMALLEST, Book
from arbitrage.market.book_side import BookSide
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


class DiffBook(Book):
    """Two sides, the update id that they stand at, and what waits until they stand at one."""

    __slots__ = (
        "_asks", "_behind_count", "_behind_version", "_bids", "_buffer", "_is_asked", "_loaded_version", "_tickers",
        "_tickers_since_ns", "_waiting", "last_id",
    )  # fmt: skip
    last_id: int
    _waiting: BookSnapshot | None
    _bids: BookSide
    _asks: BookSide

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
        bids, asks = self._bids, self._asks
        bid, bid_quantity = bids.apply(diff.bids)
        ask, ask_quantity = asks.apply(diff.asks)
        self.last_id = last_id
        self.best_bid = bid
        self.best_bid_quantity = bid_quantity
        self.best_ask = ask
        self.best_ask_quantity = ask_quantity
        self.updated_at_ns = diff.at_ns
        self.venue_ms = diff.venue_ms
        self.version += 1
        mid = bid + ask
        if self._band_low < mid < self._band_high and bids.bound <= bid < ask <= asks.bound:
            self._mid = mid
        elif effects := self._judge(diff):
            return effects
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
        buffered = [diff for diff in _undamaged(self._buffer) if diff.last_id > snapshot.last_id]
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
        if self.last_id == NEVER:
            return []
        return (self._asks if side is Side.BUY else self._bids).shown(limit)

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
        if diff.first_id > diff.last_id:
            return self._count("damaged_ids")  # as the first buffered it would make every snapshot too old
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
        self._bids = BookSide((), self.counters, is_bid=True, is_whole=False)
        self._asks = BookSide((), self.counters, is_bid=False, is_whole=False)
        self._clear_touch()

    def _restart(self, flaw: Doubt, reason: str, first: BookDiff | None) -> Sequence[Effect]:
        """Throw the book away, buffer the update that showed the trouble, ask for a snapshot."""
        self._empty(flaw)
        self._buffer = []
        if first is not None:
            self._buffered(first)
        assert self.best_bid == self.best_ask == 0.0, "unusable within the same message"
        return self._ask(reason)

    def _load(self, snapshot: BookSnapshot) -> None:
        assert self.last_id == NEVER, "a snapshot never overwrites a book in sync"
        self._bids = BookSide(snapshot.bids, self.counters, is_bid=True, is_whole=snapshot.is_bid_side_whole)
        self._asks = BookSide(snapshot.asks, self.counters, is_bid=False, is_whole=snapshot.is_ask_side_whole)
        self.best_bid, self.best_bid_quantity = next(iter(self._bids.shown(1)), (0.0, 0.0))
        self.best_ask, self.best_ask_quantity = next(iter(self._asks.shown(1)), (0.0, 0.0))
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
        if (not bid and self._bids.bound != SMALLEST) or (not ask and self._asks.bound != INFINITE):
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


def _undamaged(diffs: list[BookDiff]) -> list[BookDiff]:
    """Leave out an update inside whose ids its successor lies: its last id is wrong, and would end the book as it begins.

    Ranges that the venue gave never lie inside one another: what comes twice or late is equal to an earlier one or behind it.
    Successors that a snapshot includes show it, too: without them a wrong id outlives every snapshot.
    """
    return [
        diff
        for diff, after in zip_longest(diffs, diffs[1:])
        if after is None or not (diff.first_id < after.first_id and after.last_id < diff.last_id)
    ]
