"""The board: every market's book, its rules and its doubt, fed by events alone. Decides nothing and trades nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from arbitrage.market.book import NOTHING, Book
from arbitrage.market.diff_book import DiffBook
from arbitrage.market.doubt import Doubt
from arbitrage.market.full_book import FullBook
from arbitrage.market.links import NS_PER_MS, Links, age_ms_at
from arbitrage.market.registry import Registry
from arbitrage.model.effects import Effect, Report, Severity
from arbitrage.model.events import (
    BookDiff,
    BookFull,
    BookSnapshot,
    ClockMeasured,
    FaultKind,
    FeedEvent,
    FeedFault,
    FeesRead,
    InstrumentsRead,
    LinkAlive,
    LinkDown,
    LinkUp,
    MarketClosed,
    TopOfBook,
    TradePrint,
    WalletsRead,
)
from arbitrage.model.instruments import Instrument, Node, Venue
from arbitrage.model.opportunities import VenueHealth
from arbitrage.model.settings import MarketDataSettings

COUNTED = (
    "gaps", "resyncs", "compared", "equal", "crossed", "implausible", "old", "damaged_ids", "snapshots_too_old",
    "snapshots_unused", "diffs_forgotten", "tickers_forgotten", "frames_after_link_down", "trades_compared",
    "unsorted_pictures", "sweeps", "refills", "merges", "misrouted", "unknown_links",
)  # fmt: skip
"""Counters that exist from the start, beside one per `FaultKind`."""


class Board:
    """All markets, by dense id. Books of `full_picture_venues` are replaced by each frame; the others are kept by diffs.

    A first `BookFull` teaches the board the same, so a venue under another name needs no configuration.
    """

    def __init__(
        self,
        markets: tuple[tuple[str, str], ...],
        settings: MarketDataSettings,
        full_picture_venues: Collection[str] = ("upbit",),
    ) -> None:
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.counters.update(dict.fromkeys((kind.value for kind in FaultKind), 0))
        self.changed: set[int] = set()
        self.suspended: frozenset[Node] = frozenset()
        """Wallets that take no deposits or withdrawals now."""
        self.books: list[Book] = [
            (FullBook if venue in full_picture_venues else DiffBook)(market, settings, self.counters)
            for market, (venue, _) in enumerate(markets)
        ]
        self._venues = [Venue(venue) for venue, _ in markets]
        self._links = Links(markets, settings)
        self._link_of = self._links.of_market
        self._registry = Registry(markets)
        self._unverified_ticks = self._registry.unverified_ticks
        self.configure(settings)
        self._routes: dict[type[FeedEvent | FeesRead | WalletsRead | MarketClosed], Callable[..., Sequence[Effect]]] = {
            BookDiff: self._on_diff,
            BookFull: self._on_full,
            TopOfBook: self._on_top,
            TradePrint: self._on_trade,
            BookSnapshot: self._on_snapshot,
            LinkUp: self._on_link_up,
            LinkDown: self._on_link_down,
            LinkAlive: self._on_link_alive,
            FeedFault: self._on_fault,
            ClockMeasured: self._on_clock,
            InstrumentsRead: self._on_instruments,
            FeesRead: self._on_fees,
            WalletsRead: self._on_wallets,
            MarketClosed: self._on_closed,
        }

    def configure(self, settings: MarketDataSettings) -> None:
        """Judge by new limits from the next event on."""
        self._settings = settings
        self._symbol_age_ns_max = settings.symbol_age_ms_max * NS_PER_MS
        self._link_age_ns_max = settings.link_age_ms_max * NS_PER_MS
        self._cross_check_ns_max = settings.cross_check_ms_max * NS_PER_MS
        assert self._symbol_age_ns_max > 0 and self._cross_check_ns_max > 0, "every age has a limit"
        self._links.configure(settings)
        for book in self.books:
            book.configure(settings)

    @property
    def links_lost(self) -> dict[Venue, int]:
        """Count the connections that ended since the start, by venue."""
        return dict(self._links.lost)

    @property
    def instruments(self) -> list[Instrument | None]:
        """Accepted rules by market; None until read."""
        return self._registry.instruments

    @property
    def instruments_version(self) -> int:
        """Grow whenever an instrument or its doubt changes."""
        return self._registry.version

    def apply(self, event: FeedEvent | FeesRead | WalletsRead | MarketClosed) -> Sequence[Effect]:
        """Take one event in and return what it wants done; markets to look at again are added to `changed`."""
        return self._routes[type(event)](event)

    def accept_instruments(self) -> Sequence[Effect]:
        """Adopt every held rule change: the answer to `Command(ACCEPT_INSTRUMENTS)`."""
        self.changed.update(market for market, doubt in enumerate(self._registry.doubts) if doubt is not None)
        effects = self._registry.accept()
        assert Doubt.HELD not in self._registry.doubts, "nothing is held after an operator's word"
        return effects

    def doubt(self, market: int, now_ns: int) -> Doubt | None:
        """Return the first reason not to trade on this market now, or None."""
        doubt = self._registry.doubts[market]
        if doubt is not None:
            return doubt
        book = self.books[market]
        if book.flaw is not None:
            return book.flaw
        age_ns = now_ns - book.updated_at_ns
        if age_ns > self._link_age_ns_max and now_ns - self._link_of[market].alive_at_ns > self._link_age_ns_max:
            return Doubt.SILENT_LINK
        if age_ns > self._symbol_age_ns_max:
            return Doubt.STALE
        contradicted_since_ns = book.contradicted_since_ns()
        if contradicted_since_ns and now_ns - contradicted_since_ns > self._cross_check_ns_max:
            return Doubt.CROSS_CHECK
        return Doubt.CLOCK_OFFSET if self._links.is_clock_off(self._venues[market]) else None

    def age_ms(self, market: int, now_ns: int) -> int:
        """Return the age of the market's newest applied update, at most a day."""
        return age_ms_at(self.books[market].updated_at_ns, now_ns)

    def venue_health(self, venue: Venue, now_ns: int) -> VenueHealth:
        """Sum up what the guard may know of a venue."""
        return self._links.health(venue, now_ns)

    def _on_diff(self, event: BookDiff) -> Sequence[Effect]:
        market = event.market
        self._link_of[market].alive_at_ns = event.at_ns
        book = self.books[market]
        if type(book) is not DiffBook:
            return self._misrouted()
        self.changed.add(market)
        return book.apply(event)

    def _on_full(self, event: BookFull) -> Sequence[Effect]:
        market = event.market
        self._link_of[market].alive_at_ns = event.at_ns
        book = self.books[market]
        if type(book) is not FullBook:
            if book.updated_at_ns or book.flaw is Doubt.LINK_DOWN:
                return self._misrouted()
            assert book.flaw is not None, "only a book that never showed anything is replaced"
            book = self.books[market] = FullBook(market, self._settings, self.counters)
        self.changed.add(market)
        effects = book.apply(event)
        if self._unverified_ticks and market in self._unverified_ticks and book.best_bid and book.best_ask:
            return (*effects, *self._registry.verify_tick(market, (book.best_bid, book.best_ask)))
        return effects

    def _on_top(self, event: TopOfBook) -> Sequence[Effect]:
        market = event.market
        self._link_of[market].alive_at_ns = event.at_ns
        book = self.books[market]
        if type(book) is not DiffBook:
            return self._misrouted()
        effects = book.check(event)
        if effects:
            self.changed.add(market)
        return effects

    def _on_trade(self, event: TradePrint) -> Sequence[Effect]:
        market = event.market
        self._link_of[market].alive_at_ns = event.at_ns
        book = self.books[market]
        return book.check(event) if type(book) is FullBook else NOTHING

    def _on_snapshot(self, event: BookSnapshot) -> Sequence[Effect]:
        book = self.books[event.market]
        if type(book) is not DiffBook:
            return self._misrouted()
        self.changed.add(event.market)
        return book.start_from(event)

    def _on_link_up(self, event: LinkUp) -> Sequence[Effect]:
        self._links.up(event)
        self.changed.update(event.markets)
        effects = [effect for market in event.markets for effect in self.books[market].link_up()]
        assert all(self.books[market].flaw is Doubt.NEVER_SYNCED for market in event.markets), "a new link starts from nothing"
        return effects

    def _on_link_down(self, event: LinkDown) -> Sequence[Effect]:
        lost = self._links.down(event)
        self.changed.update(lost)
        for market in lost:
            self.books[market].link_down()
            assert self.books[market].best_bid == 0.0, "no price without a link"
        return NOTHING

    def _on_link_alive(self, event: LinkAlive) -> Sequence[Effect]:
        if not self._links.alive(event):
            self.counters["unknown_links"] += 1
        return NOTHING

    def _on_fault(self, event: FeedFault) -> Sequence[Effect]:
        assert event.kind.value in self.counters, "every kind of fault has its counter"
        self.counters[event.kind.value] += 1
        return NOTHING

    def _on_clock(self, event: ClockMeasured) -> Sequence[Effect]:
        self._links.measure_clock(event)
        return NOTHING

    def _on_instruments(self, event: InstrumentsRead) -> Sequence[Effect]:
        assert len(self.books) == len(self._registry.doubts), "one book, one set of rules"
        effects = self._registry.read(event, [(book.best_bid, book.best_ask) for book in self.books])
        self.changed.update(market for market, venue in enumerate(self._venues) if venue == event.venue)
        return effects

    def _on_fees(self, event: FeesRead) -> Sequence[Effect]:
        effects = self._registry.read_fees(event)
        assert all(self._venues[market] == event.venue for market, _ in event.fees), "fees are of their venue's markets"
        self.changed.update(market for market, _ in event.fees)
        return effects

    def _on_wallets(self, event: WalletsRead) -> Sequence[Effect]:
        """Note which wallets are suspended; say what changed."""
        before = {node for node in self.suspended if node.venue == event.venue}
        after = {Node(event.venue, asset) for asset in event.suspended}
        self.suspended = (self.suspended - before) | after
        return [_report_wallet(node, is_suspended=node in after) for node in sorted(before ^ after)]

    def _on_closed(self, event: MarketClosed) -> Sequence[Effect]:
        assert self._venues[event.market] == event.venue, "a market is of its venue"
        self.changed.add(event.market)
        return self._registry.note_closed(event)

    def _misrouted(self) -> Sequence[Effect]:
        self.counters["misrouted"] += 1
        return NOTHING


def _report_wallet(node: Node, *, is_suspended: bool) -> Effect:
    text = f"the wallet of {node} is {'suspended' if is_suspended else 'open again'}"
    return Report(Severity.WARNING, "wallet", text, {"venue": node.venue, "asset": node.asset})
