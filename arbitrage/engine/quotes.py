"""What things are worth at executable books, for the guard, the governor and the outcome. Never a mid, never a static rate.

An asset is valued by selling it (or buying it back) through at most two usable markets into the reporting asset, walking depth,
taker fees taken off, everything rounded against us. No usable market, or too little depth, is no value: None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arbitrage.engine.volatility import Volatility
from arbitrage.ledger.ledger import Ledger
from arbitrage.market.board import Board
from arbitrage.market.doubt import Doubt
from arbitrage.model.events import Level
from arbitrage.model.instruments import Instrument, Node, Side
from arbitrage.model.money import E8, Asset, div_down, div_up
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.ladder import Ladder, LegTerms, named_fee_ppm
from arbitrage.strategy.valuation import Conversion

Step = tuple[int, Side]
"""A market and the side that turns what we hold into what we want."""
Route = tuple[Step, ...]
ROUTES_MAX = 8
"""Ways tried for one asset, the shortest first."""
LEVELS_MAX = 200
TERMS = LegTerms(LEVELS_MAX, 0, lot_e8=1)
"""A value is of amounts, not of orders: no lot, no slack."""


class BookQuotes:
    """Executable prices and free inventory; `now_ns` is set by the engine before every use."""

    def __init__(self, board: Board, ledger: Ledger, settings: StrategySettings, locked_e8: Callable[[Node], int]) -> None:
        self.ledger = ledger
        self.now_ns = 0
        self.volatility = Volatility(len(board.books))
        self.locked_e8 = locked_e8
        """What others than our orders hold at a node."""
        self._board = board
        self._reporting = Asset(settings.reporting_asset)
        self._routes: dict[Asset, tuple[Route, ...]] = {}

    def rebuild(self) -> None:
        """Forget the ways found among earlier instruments."""
        self._routes.clear()

    def levels(self, market: int, side: Side) -> Sequence[Level]:
        """Return what an order of this side would hit, best first."""
        return self._board.books[market].levels(side, LEVELS_MAX)

    def doubt(self, market: int) -> Doubt | None:
        """Return why this market must not be traded on, or None."""
        return self._board.doubt(market, self.now_ns)

    def free_e8(self, node: Node) -> int:
        """Return the inventory at a node that no order has reserved, ours or a stranger's."""
        return self.ledger.free_e8(node) - self.locked_e8(node)

    def value_in_reporting(self, asset: Asset, amount_e8: int) -> int | None:
        """Return what a signed amount sells for, or costs to buy back (negative), in 1e-8 of the reporting asset."""
        if asset == self._reporting or not amount_e8:
            return amount_e8
        assert self.now_ns > 0, "a value is as of a moment"
        for route in self._routes_from(asset):
            value_e8 = self._walk(route, abs(amount_e8), is_back=amount_e8 < 0)
            if value_e8 is not None:
                return value_e8 if amount_e8 > 0 else -value_e8
        return None

    def volatility_ppm(self, asset: Asset, horizon_ms: int) -> int | None:
        """Return by how much an asset's value moves over a horizon, as measured (one standard deviation), or None."""
        if asset == self._reporting:
            return 0
        measured = (self.volatility.ppm((market for market, _ in route), horizon_ms) for route in self._routes_from(asset))
        return next((ppm for ppm in measured if ppm is not None), None)

    def _walk(self, route: Route, amount_e8: int, *, is_back: bool) -> int | None:
        value_e8: int | None = amount_e8
        for market, side in route:
            if value_e8 is None or self.doubt(market) is not None:
                return None
            if not value_e8:
                return 0  # too little to be worth a unit on the way
            value_e8 = self._turn(market, side, value_e8, is_back=is_back)
        return value_e8

    def unit_quote(self, node: Node) -> tuple[int, int] | None:
        """Return what one whole unit sells and buys for at the touch, leaving through that venue's own markets first."""
        if node.asset == self._reporting:
            return E8, E8
        for route in self._routes_from(node.asset):
            instrument = self._board.instruments[route[0][0]]
            if instrument is None or instrument.venue != node.venue:
                continue
            touches = [self._touch(market, side) for market, side in route if self.doubt(market) is None]
            prices = [touch for touch in touches if touch is not None]
            if len(prices) != len(route):
                continue
            bid_e8 = ask_e8 = E8
            for bid, ask in prices:
                bid_e8, ask_e8 = div_down(bid_e8 * bid, E8), div_up(ask_e8 * ask, E8)
            assert bid_e8 <= ask_e8, "what is uncrossed on the way is uncrossed at its end"
            if bid_e8 > 0:
                return bid_e8, ask_e8
        return None

    def _touch(self, market: int, side: Side) -> tuple[int, int] | None:
        """Return bid and ask of what we hold in what we get, fees aside; turned around when what we hold is the quote."""
        book, instrument = self._board.books[market], self._board.instruments[market]
        if instrument is None or not 0.0 < book.best_bid < book.best_ask:
            return None
        try:
            bid_e8, ask_e8 = instrument.ticks.recover_e8(book.best_bid), instrument.ticks.recover_e8(book.best_ask)
        except ValueError:
            return None  # off the tick grid: the venue changed a rule, and the board will hold the symbol for it
        assert bid_e8 <= ask_e8, "a usable book is not crossed"
        if side is Side.SELL:
            return bid_e8, ask_e8
        return div_down(E8 * E8, ask_e8), div_up(E8 * E8, bid_e8)

    def _routes_from(self, asset: Asset) -> tuple[Route, ...]:
        found = self._routes.get(asset)
        if found is None:
            found = self._routes[asset] = self._search(asset)
        return found

    def _search(self, asset: Asset) -> tuple[Route, ...]:
        known = [instrument for instrument in self._board.instruments if instrument is not None]
        one: list[Route] = []
        two: list[Route] = []
        for first, side, middle in _ways(known, asset):
            if middle == self._reporting:
                one.append(((first, side),))
                continue
            two += [((first, side), (m, s)) for m, s, end in _ways(known, middle) if end == self._reporting and m != first]
        assert all(route[-1][0] != route[0][0] for route in two), "a way of two steps uses two markets"
        return tuple((one + two)[:ROUTES_MAX])

    def _turn(self, market: int, side: Side, amount_e8: int, *, is_back: bool) -> int | None:
        """Return what spending an amount brings, or (back) what the opposite order must spend for it to arrive."""
        instrument = self._board.instruments[market]
        assert instrument is not None, "a route leads through known markets"
        assert amount_e8 > 0, "something is turned"
        way = side.opposite if is_back else side
        conversion = Conversion(Ladder(self._board.books[market], instrument, way, TERMS), named_fee_ppm(instrument))
        try:
            return conversion.cost_e8(amount_e8) if is_back else conversion.yield_e8(amount_e8)
        except ValueError:
            return None  # a level off the tick grid: the venue changed a rule, and the board will hold the symbol for it


def _ways(instruments: Sequence[Instrument], asset: Asset) -> list[tuple[int, Side, Asset]]:
    """List the markets that turn an asset into another, and into which."""
    sells = [(each.id, Side.SELL, each.quote) for each in instruments if each.base == asset]
    return sells + [(each.id, Side.BUY, each.base) for each in instruments if each.quote == asset]
