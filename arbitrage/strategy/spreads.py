"""What a person wants to see of each coin between two venues, gain or not: books, rate, gross, net, what is missing.

A view for screens, off the hot path: it reads the top of the books in exact fractions and decides nothing. Gross is the
executable edge before costs (buy at one ask, sell at the other bid, fiat through its own book's bid or ask); net takes off
the fees of every leg, the fiat leg's included, and proportional transfer costs. Fixed transfer costs depend on the size and
are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import msgspec

from arbitrage.model.instruments import Instrument, Node, Side
from arbitrage.model.money import E8, PPM, Asset
from arbitrage.model.opportunities import FxRate, Refusal
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.board import Board, refusal_of
from arbitrage.strategy.fx import Fx
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import fee_terms
from arbitrage.strategy.valuation import named_fee_ppm


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
    """What one unit turns into, before and after costs."""

    gross: Fraction
    net: Fraction

    def __post_init__(self) -> None:
        assert self.net >= 0, "costs leave nothing at worst"

    def times(self, other: _Rate) -> _Rate:
        return _Rate(self.gross * other.gross, self.net * other.net)


class Spreads:
    """The pairs of one graph."""

    def __init__(self, graph: Graph, fx: Fx, settings: StrategySettings) -> None:
        self._graph = graph
        self._fx = fx
        self._settings = settings

    def read(self, board: Board, now_ns: int) -> list[Spread]:
        """Return every coin that two venues quote in the reporting asset or in fiat, by name."""
        return [self._best(first, second, board, now_ns) for first, second in self._pairs()]

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

    def _best(self, first: Instrument, second: Instrument, board: Board, now_ns: int) -> Spread:
        ways = (self._spread(first, second, board, now_ns), self._spread(second, first, board, now_ns))
        return max(ways, key=lambda way: -(10**30) if way.net_ppm is None else way.net_ppm)

    def _spread(self, bought: Instrument, sold: Instrument, board: Board, now_ns: int) -> Spread:
        assert bought.base == sold.base, "one coin"
        assert bought.venue != sold.venue, "two venues"
        rates = self._fx_rates(bought, sold, board, now_ns)
        whole: _Rate | None = _transfer(self._settings, bought.base)
        for rate in (
            _trade(bought, Side.BUY, board),
            _trade(sold, Side.SELL, board),
            self._exchange(sold, bought, board, rates),
        ):
            whole = whole.times(rate) if whole is not None and rate is not None else None
        gross_ppm, net_ppm = (None, None) if whole is None else (_ppm(whole.gross), _ppm(whole.net))
        return Spread(
            asset=bought.base,
            buy=_touch(bought, board, now_ns),
            sell=_touch(sold, board, now_ns),
            fx=tuple(rate for rate in rates.values() if rate is not None),
            gross_ppm=gross_ppm,
            net_ppm=net_ppm,
            missing_ppm=None if net_ppm is None else max(0, -net_ppm),
            locked=self._locked(bought, sold, rates, board, now_ns=now_ns),
        )

    def _fx_rates(self, bought: Instrument, sold: Instrument, board: Board, now_ns: int) -> dict[Node, FxRate | None]:
        nodes = (Node(known.venue, known.quote) for known in (bought, sold) if known.quote in self._fx.assets)
        return {node: self._fx.rate(node, board, now_ns) for node in nodes}

    def _exchange(
        self, sold: Instrument, bought: Instrument, board: Board, rates: dict[Node, FxRate | None]
    ) -> _Rate | None:
        """Return what turns the sale's quote asset back into the purchase's, at the venue of each."""
        if sold.quote == bought.quote:
            return _transfer(self._settings, sold.quote)
        whole = _transfer(self._settings, self._fx.reporting_asset)
        for known, is_back in ((sold, True), (bought, False)):
            if known.quote != self._fx.reporting_asset:
                rate = rates[Node(known.venue, known.quote)]
                if rate is None:
                    return None
                rules = self._graph.instrument(2 * rate.market)
                side = Side.SELL if (rules.base == known.quote) is is_back else Side.BUY
                traded = _trade(rules, side, board)
                if traded is None:
                    return None
                whole = whole.times(traded)
        return whole

    def _locked(
        self, bought: Instrument, sold: Instrument, rates: dict[Node, FxRate | None], board: Board, *, now_ns: int
    ) -> str:
        for node, rate in rates.items():
            if rate is None:
                return f"{Refusal.NO_FX.value}: {node}"
        for known in (bought, sold):
            doubt = board.doubt(known.id, now_ns)
            if doubt is not None:
                return f"{refusal_of(doubt).value}: {known.symbol}@{known.venue}"
        moved = (bought.base, bought.quote if bought.quote == sold.quote else self._fx.reporting_asset)
        for asset in moved:
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
    gross = Fraction(E8, price_e8) if side is Side.BUY else Fraction(price_e8, E8)
    kept = Fraction(PPM - out_ppm - named_fee_ppm(known), PPM + top_ppm)
    assert gross > 0, "a price is positive"
    return _Rate(gross, gross * kept)


def _transfer(settings: StrategySettings, asset: Asset) -> _Rate:
    terms = settings.transfers.get(asset)
    assert terms is None or terms.cost_ppm <= PPM, "a transfer costs no more than there is"
    return _Rate(Fraction(1), Fraction(PPM - (terms.cost_ppm if terms else 0), PPM))


def _ppm(rate: Fraction) -> int:
    """Return an edge in ppm, rounded down."""
    return ((rate - 1) * PPM).__floor__()
