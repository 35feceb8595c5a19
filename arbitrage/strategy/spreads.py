"""What a person wants to see of each coin between two venues, gain or not: books, rate, gross, net, what is missing.

A view for screens, off the hot path: it reads the top of the books in exact integers and decides nothing. Gross is the
executable edge before costs (buy at one ask, sell at the other bid, fiat through its own book's bid or ask); net takes off
the fees of every leg, the fiat leg's included, and proportional transfer costs. Fixed transfer costs depend on the size and
are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import msgspec

from arbitrage.model.instruments import Instrument, Node, Side
from arbitrage.model.money import E8, PPM, Asset, div_down
from arbitrage.model.opportunities import FxRate, Refusal
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.board import Board, refusal_of
from arbitrage.strategy.fx import Fx
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import fee_terms, named_fee_ppm


class Touch(msgspec.Struct, frozen=True):
    """One venue's best prices, in 1e-8 of its own quote asset; 0 when a side is empty."""

    market: int
    node: Node
    """Where the coin is held."""
    symbol: str
    quote: Asset
    bid_e8: int
    ask_e8: int
    age_ms: int


class Spread(msgspec.Struct, frozen=True):
    """A coin between two venues, in the better direction."""

    asset: Asset
    buy: Touch
    sell: Touch
    fx: tuple[FxRate, ...]
    """The rate of each fiat on the way, bid and ask."""
    gross_ppm: int | None
    """Rounded down; None when a price or a rate is missing."""
    net_ppm: int | None
    missing_ppm: int | None
    """What net lacks to break even; 0 when it does not."""
    locked: str
    """Why it could not be traded now, whatever the edge; empty when it could."""

    def __post_init__(self) -> None:
        assert (self.net_ppm is None) == (self.gross_ppm is None) == (self.missing_ppm is None), "all or nothing is known"


class _Rate(msgspec.Struct, frozen=True):
    """What one unit turns into, as numerator and denominator, and as much of that as costs leave, likewise."""

    above: int
    below: int
    kept: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        assert self.above > 0 and self.below > 0, "a price is positive"
        assert self.kept >= 0 and self.of > 0, "costs leave nothing at worst"

    def times(self, other: _Rate) -> _Rate:
        return _Rate(self.above * other.above, self.below * other.below, self.kept * other.kept, self.of * other.of)

    @property
    def gross_ppm(self) -> int:
        """The edge before costs, rounded down."""
        return div_down(self.above * PPM, self.below) - PPM

    @property
    def net_ppm(self) -> int:
        """The edge after costs, rounded down."""
        return div_down(self.above * self.kept * PPM, self.below * self.of) - PPM


class Spreads:
    """The pairs of one graph."""

    def __init__(self, graph: Graph, fx: Fx, settings: StrategySettings) -> None:
        self._graph = graph
        self._fx = fx
        self._settings = settings

    def read(self, board: Board, now_ns: int) -> list[Spread]:
        """Return every coin that two venues quote in the reporting asset or in fiat, by name."""
        reading = _Reading(self._graph, self._fx, self._settings, board, now_ns)
        return [reading.better(first, second) for first, second in self._pairs()]

    def _pairs(self) -> Iterator[tuple[Instrument, Instrument]]:
        quotes = self._fx.assets | {self._fx.reporting_asset}
        by_asset: dict[Asset, list[Instrument]] = {}
        for known in self._graph.instruments:
            if known is not None and known.quote in quotes and known.base not in quotes:
                by_asset.setdefault(known.base, []).append(known)
        for _, places in sorted(by_asset.items()):
            for first, second in combinations(places, 2):
                if first.venue != second.venue:
                    yield first, second


class _Reading:
    """One look at the board; each fiat's rate is read once."""

    def __init__(self, graph: Graph, fx: Fx, settings: StrategySettings, board: Board, now_ns: int) -> None:
        self._graph = graph
        self._fx = fx
        self._settings = settings
        self._board = board
        self._now_ns = now_ns
        self._rates: dict[Node, FxRate | None] = {}

    def better(self, first: Instrument, second: Instrument) -> Spread:
        """Return the better of the two directions."""
        ways = (self._spread(first, second), self._spread(second, first))
        return max(ways, key=lambda way: -(10**30) if way.net_ppm is None else way.net_ppm)

    def _spread(self, bought: Instrument, sold: Instrument) -> Spread:
        assert bought.base == sold.base, "one coin"
        assert bought.venue != sold.venue, "two venues"
        whole: _Rate | None = _transfer(self._settings, bought.base)
        for rate in (_trade(bought, Side.BUY, self._board), _trade(sold, Side.SELL, self._board), self._exchange(sold, bought)):
            whole = whole.times(rate) if whole is not None and rate is not None else None
        gross_ppm, net_ppm = (None, None) if whole is None else (whole.gross_ppm, whole.net_ppm)
        rates = (self._rate(known) for known in (bought, sold) if known.quote in self._fx.assets)
        return Spread(
            asset=bought.base,
            buy=_touch(bought, self._board, self._now_ns),
            sell=_touch(sold, self._board, self._now_ns),
            fx=tuple(rate for rate in rates if rate is not None),
            gross_ppm=gross_ppm,
            net_ppm=net_ppm,
            missing_ppm=None if net_ppm is None else max(0, -net_ppm),
            locked=self._locked(bought, sold),
        )

    def _rate(self, known: Instrument) -> FxRate | None:
        """Return the rate of the fiat that a market quotes."""
        node = Node(known.venue, known.quote)
        if node not in self._rates:
            self._rates[node] = self._fx.rate(node, self._board, self._now_ns)
        return self._rates[node]

    def _exchange(self, sold: Instrument, bought: Instrument) -> _Rate | None:
        """Return what turns the sale's quote asset back into the purchase's, at the venue of each."""
        if sold.quote == bought.quote:
            return _transfer(self._settings, sold.quote)
        whole = _transfer(self._settings, self._fx.reporting_asset)
        for known, is_back in ((sold, True), (bought, False)):
            if known.quote != self._fx.reporting_asset:
                rate = self._rate(known)
                if rate is None:
                    return None
                rules = self._graph.instrument(2 * rate.market)
                side = Side.SELL if (rules.base == known.quote) is is_back else Side.BUY
                traded = _trade(rules, side, self._board)
                if traded is None:
                    return None
                whole = whole.times(traded)
        return whole

    def _locked(self, bought: Instrument, sold: Instrument) -> str:
        """Return the first reason not to trade the pair now; empty when there is none."""
        for known in (bought, sold):
            if known.quote in self._fx.assets and self._rate(known) is None:
                return f"{Refusal.NO_FX.value}: {known.quote}@{known.venue}"
        for known in (bought, sold):
            doubt = self._board.doubt(known.id, self._now_ns)
            if doubt is not None:
                return f"{refusal_of(doubt).value}: {known.symbol}@{known.venue}"
        for asset in (bought.base, bought.quote if bought.quote == sold.quote else self._fx.reporting_asset):
            terms = self._settings.transfers.get(asset)
            if terms is None or not terms.is_identity_confirmed:
                return f"{Refusal.UNCONFIRMED_IDENTITY.value}: {asset}"
        return ""


def _touch(known: Instrument, board: Board, now_ns: int) -> Touch:
    bid_e8, ask_e8 = _price_e8(known, Side.SELL, board), _price_e8(known, Side.BUY, board)
    node = Node(known.venue, known.base)
    return Touch(known.id, node, known.symbol, known.quote, bid_e8, ask_e8, board.age_ms(known.id, now_ns))


def _price_e8(known: Instrument, side: Side, board: Board) -> int:
    """Return the price that an order of this side would meet; 0 when there is none that we can read."""
    assert board.instruments[known.id] is not None, "the market is known"
    book = board.books[known.id]
    price = book.best_ask if side is Side.BUY else book.best_bid
    try:
        return known.ticks.recover_e8(price) if price > 0.0 else 0
    except ValueError:
        return 0


def _trade(known: Instrument, side: Side, board: Board) -> _Rate | None:
    price_e8 = _price_e8(known, side, board)
    if price_e8 == 0:
        return None
    top_ppm, out_ppm = fee_terms(known, side)
    above, below = (E8, price_e8) if side is Side.BUY else (price_e8, E8)
    return _Rate(above, below, PPM - out_ppm - named_fee_ppm(known), PPM + top_ppm)


def _transfer(settings: StrategySettings, asset: Asset) -> _Rate:
    terms = settings.transfers.get(asset)
    assert terms is None or terms.cost_ppm <= PPM, "a transfer costs no more than there is"
    return _Rate(1, 1, PPM - (terms.cost_ppm if terms else 0), PPM)
