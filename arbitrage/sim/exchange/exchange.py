"""One simulated exchange: takes, matches, cancels and finds one account's orders. Knows no wire, no socket and no clock.

How a facade uses it (`BinanceServer(specs, clock, exchange=None, faults=None, keys=None)`, `UpbitServer(...)` alike; with None
they serve market data only):

- `attach(books, show)` once: the markets' true books, and what takes a change that the market must show (`BookChanged`,
  `Traded` and whatever else a scenario sends), normally `lambda change: self.markets[change.symbol].apply(change)`.
- `on_market(change)` for every scenario change INSTEAD of showing it: the exchange shows it through `show`, with our resting
  quantity added to the levels, after it filled whoever of us the change meets. (So a facade's `apply` is: with an exchange,
  `exchange.on_market(change)`; without, `markets[...].apply(change)`.)
- `listen(callback)` for private messages. Updates are told synchronously; orders change in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.account import Account
from arbitrage.sim.exchange.conversion import convert_e8
from arbitrage.sim.exchange.filters import refusal
from arbitrage.sim.exchange.flow import Flow
from arbitrage.sim.exchange.market import Book, Market
from arbitrage.sim.exchange.matching import Matcher, Print, Traces
from arbitrage.sim.exchange.nouns import (
    Execution,
    Happened,
    HeldOrder,
    OrderRequest,
    OrderType,
    Policy,
    Rejection,
    Rules,
    Status,
    Update,
    Why,
)
from arbitrage.sim.exchange.policy import make_rules
from arbitrage.sim.exchange.register import Register
from arbitrage.sim.exchange.settlement import Settlement
from arbitrage.sim.scenarios.changes import Change, Restarted, Traded, VenueKind
from arbitrage.sim.scenarios.scenario import MarketSpec

EXCHANGE_CANCELED = "EXCHANGE_CANCELED"


class Exchange:
    """A venue's orders and its one account."""

    def __init__(
        self,
        venue: VenueKind,
        markets: Iterable[MarketSpec],
        policy: Policy,
        balances: Mapping[str, int],
        clock: Callable[[], int],
    ) -> None:
        self.venue = venue
        self.policy = policy
        self.account = Account(balances)
        self.markets = {spec.symbol: Market(make_rules(spec, policy)) for spec in markets if spec.venue == venue}
        self.halted: set[str] = set()
        """Symbols without trading; changed by `halt` and `resume`."""
        self.suspended: set[str] = set()
        """Assets whose wallet takes no deposits and no withdrawals; trading goes on."""
        self.forbidden: set[str] = set()
        """Symbols that this account may not trade."""
        self.settlement = Settlement(self.account, policy, self._convert)
        self._clock = clock
        self._register = Register(policy)
        self._matcher = Matcher(self.settlement, policy, self._tell, clock)
        self._flow = Flow(venue, self._matcher, self._next_trade_id, clock)
        self._listeners: list[Callable[[Update], None]] = []
        self._grant_listeners: list[Callable[[str, int], None]] = []
        self._trade_id = policy.first_trade_id
        self._number: Callable[[str], int] | None = None

    def attach(
        self,
        books: Mapping[str, Book],
        show: Callable[[Change], None],
        number: Callable[[str], int] | None = None,
    ) -> None:
        """Join the venue's public side. `number`, where given, draws the next public trade id of a symbol."""
        for symbol, market in self.markets.items():
            market.book = books[symbol]
        self._flow.show = show
        self._number = number

    def listen(self, callback: Callable[[Update], None]) -> None:
        """Have every update told to `callback`."""
        self._listeners.append(callback)

    def listen_grants(self, callback: Callable[[str, int], None]) -> None:
        """Have every deposit and withdrawal (asset, delta) told to `callback`, after it was booked."""
        self._grant_listeners.append(callback)

    def grant(self, asset: str, delta_e8: int) -> None:
        """Deposit, or withdraw what is free."""
        self.account.grant(asset, delta_e8)
        for callback in self._grant_listeners:
            callback(asset, delta_e8)

    def check(self, request: OrderRequest) -> Rejection | None:
        """Return why an order would be refused now; places nothing and spends no id (`order/test`)."""
        rejection = self._register.refusal(request)
        if rejection is not None:
            return rejection
        checked = self._prepare(request)
        return checked if isinstance(checked, Rejection) else None

    def place(self, request: OrderRequest) -> HeldOrder | Rejection:
        """Take an order and match it; the order returned has already met the book."""
        rejection = self._register.refusal(request)
        self._register.spend(request)
        if rejection is not None:
            return rejection
        order = self._prepare(request)
        if isinstance(order, Rejection):
            return order
        market = self.markets[request.symbol]
        self.settlement.lock(order, self._needed_e8(market, order))
        self._register.add(order)
        self._tell(order, Happened.ACCEPTED, None)
        traces = self._matcher.take(market, order, lambda: self._next_trade_id(request.symbol))
        self._flow.show_traces(market, traces, self._clock())
        return order

    def cancel(self, order: HeldOrder) -> Rejection | None:
        """Cancel an open order; one that has ended is not found."""
        if not order.is_open:
            return Rejection(Why.NOT_FOUND)
        market = self.markets[order.request.symbol]
        side, limit_e8 = order.request.side, order.limit_e8
        assert limit_e8 is not None, "what is open rests at a price"
        self._matcher.end(market, order, Status.CANCELED)
        self._flow.show_traces(market, Traces(levels={(side, limit_e8): None}), self._clock())
        return None

    def find(self, symbol: str | None = None, *, order_id: int | None = None, client_id: str | None = None) -> HeldOrder | None:
        """Return the newest order that all given words fit; both ids given must be the same order's."""
        return self._register.find(symbol, order_id=order_id, client_id=client_id)

    def orders(self, symbol: str | None = None, is_open: bool | None = None) -> list[HeldOrder]:
        """Return orders, oldest first."""
        return self._register.orders(symbol, is_open)

    def on_market(self, change: Change) -> None:
        """Take one change of the scenario: show it, and fill what of ours it meets. A restart ends what is open."""
        if isinstance(change, Restarted):
            for symbol in change.symbols:
                for order in self.orders(symbol, is_open=True):
                    self._matcher.end(self.markets[symbol], order, self.policy.ioc_rest, EXCHANGE_CANCELED)
                self.markets[symbol].shown = {Side.BUY: {}, Side.SELL: {}}
            self._flow.pass_on(change)
            return
        self._flow.take(self.markets[change.symbol], change, is_halted=change.symbol in self.halted)

    def on_print(self, trade: Traded) -> None:
        """Let a trade that is already shown (in a recorded frame) consume the queue before our orders."""
        self._flow.printed(self.markets[trade.symbol], trade)

    def fill(self, order: HeldOrder, quantity_e8: int | None = None) -> Execution:
        """Let somebody fill a resting order out of nowhere (a fill that races a cancel); all of its rest unless told."""
        assert order.is_open and order.limit_e8 is not None, "only what rests can be filled"
        symbol = order.request.symbol
        lot_e8 = self.rules(symbol).lot_e8
        wanted_e8 = order.remaining_e8 if quantity_e8 is None else min(max(quantity_e8, lot_e8), order.remaining_e8)
        wanted_e8 = wanted_e8 - wanted_e8 % lot_e8 or wanted_e8
        own = Print(self._next_trade_id(symbol), order.limit_e8, wanted_e8, order.request.side.opposite)
        traces = Traces(prints=[own])
        self._matcher.make(self.markets[symbol], order, own, traces)
        self._flow.show_traces(self.markets[symbol], traces, self._clock())
        return order.executions[-1]

    def rules(self, symbol: str) -> Rules:
        """Return a market's rules as they are now."""
        return self.markets[symbol].rules

    def change_rules(self, symbol: str, **fields: object) -> None:
        """Change a market's rules from now on (`ticks`, `lot_e8`, `notional_e8_min`, `maker_ppm`, `taker_ppm`, ...).

        Raises TypeError for a field that `Rules` does not have. Orders that stand keep standing at their price and rates.
        """
        self.markets[symbol].rules = msgspec.structs.replace(self.markets[symbol].rules, **fields)

    def halt(self, symbol: str) -> None:
        """Stop trading and the book of a market; orders stand and can be cancelled."""
        assert symbol in self.markets, "only a listed market halts"
        self.halted.add(symbol)

    def resume(self, symbol: str) -> None:
        """Trade again, at the levels that other people have by now."""
        if symbol in self.halted:
            self.halted.remove(symbol)
            self._flow.resume(self.markets[symbol])

    def _prepare(self, request: OrderRequest) -> HeldOrder | Rejection:
        """Check a request against everything but its id and make the order that it would become."""
        market = self.markets.get(request.symbol)
        if market is None:
            return Rejection(Why.UNKNOWN_SYMBOL)
        if request.symbol in self.forbidden:
            return Rejection(Why.NOT_PERMITTED)
        if request.symbol in self.halted:
            return Rejection(Why.HALTED)
        rejection = refusal(market, self.policy, request)
        if rejection is not None:
            return rejection
        order = self._make(market, request)
        if self._needed_e8(market, order) > self.account.free_e8(order.locked_asset):
            return Rejection(Why.INSUFFICIENT, order.locked_asset)
        return order

    def _make(self, market: Market, request: OrderRequest) -> HeldOrder:
        rules, now_ns = market.rules, self._clock()
        best_e8 = market.ladder(request.side.opposite).best()[0]
        return HeldOrder(
            order_id=0,
            request=request,
            maker_ppm=rules.maker_ppm,
            taker_ppm=rules.taker_ppm,
            created_ns=now_ns,
            updated_ns=now_ns,
            locked_asset=rules.quote if request.side is Side.BUY else rules.base,
            limit_e8=best_e8 if request.type is OrderType.BEST else request.price_e8,
        )

    def _needed_e8(self, market: Market, order: HeldOrder) -> int:
        needed_e8 = self.settlement.needed_e8(order)
        if needed_e8 is not None:
            return needed_e8
        cost_e8 = self._matcher.cost_e8(market, order)
        is_buy = order.request.side is Side.BUY
        return cost_e8 + (self.settlement.reserve_e8(order, cost_e8) if is_buy else 0)

    def _next_trade_id(self, symbol: str) -> int:
        if self._number is not None:
            return self._number(symbol)
        self._trade_id += 1
        return self._trade_id

    def _tell(self, order: HeldOrder, happened: Happened, execution: Execution | None) -> None:
        if not order.is_open:
            self._register.ended(order)
        update = Update(order, happened, execution, self._clock())
        for callback in self._listeners:
            callback(update)

    def _convert(self, source: str, amount_e8: int, target: str) -> int | None:
        return convert_e8(self.markets, source, amount_e8, target)
