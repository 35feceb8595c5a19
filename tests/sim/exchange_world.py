"""An exchange with its own true books and no wire: what the core's tests stand on."""

from __future__ import annotations

from collections import Counter

import msgspec

from arbitrage.model.instruments import Side, TickTable
from arbitrage.model.money import E8, parse_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.nouns import Force, HeldOrder, OrderRequest, OrderType, Policy, Rejection, SelfTrade, Update
from arbitrage.sim.exchange.policy import BINANCE_POLICY, UPBIT_POLICY
from arbitrage.sim.scenarios.changes import BookChanged, Change, Traded
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.scenarios.ticks import binance_market, upbit_market
from arbitrage.sim.server.book import TruthBook

BTCUSDT = binance_market("BTC/USDT", tick="0.01", lot="0.00001", origin="test")
BNBUSDT = binance_market("BNB/USDT", tick="0.1", lot="0.001", origin="test")
KRWBTC = upbit_market("KRW-BTC", origin="test")
RICH = {"USDT": parse_e8("1000000"), "BTC": parse_e8("100"), "BNB": parse_e8("100"), "KRW": parse_e8("10000000000")}


def e8(text: str | int) -> int:
    return parse_e8(str(text))


class World:
    """One exchange, books that apply what it shows, and a clock that moves by hand."""

    def __init__(self, policy: Policy, specs: list[MarketSpec], balances: dict[str, int] | None = None) -> None:
        self.now_ns = 1_000_000_000_000
        self.exchange = Exchange(specs[0].venue, specs, policy, RICH if balances is None else balances, lambda: self.now_ns)
        self.books = {spec.symbol: TruthBook() for spec in specs}
        self.symbol = specs[0].symbol
        self.venue = specs[0].venue
        self.updates: list[tuple[int, str, str]] = []
        self.prints: list[Traded] = []
        self.exchange.attach(self.books, self.show)
        self.exchange.listen(self.on_update)

    def show(self, change: Change) -> None:
        """What a market does with a change: never a crossed book."""
        if isinstance(change, Traded):
            self.prints.append(change)
        elif isinstance(change, BookChanged):
            book = self.books[change.symbol]
            for side, levels in ((book.bids, change.bids), (book.asks, change.asks)):
                for price_e8, quantity_e8 in levels:
                    side.set(price_e8, quantity_e8)
            bid_e8, ask_e8 = book.bids.best()[0], book.asks.best()[0]
            assert not (bid_e8 and ask_e8) or bid_e8 < ask_e8, "crossed"

    def on_update(self, update: Update) -> None:
        self.updates.append((update.order.order_id, update.happened.value, update.order.status.value))
        self.exchange.account.check()

    def set(self, *, bids: dict[str, str] | None = None, asks: dict[str, str] | None = None, symbol: str = "") -> None:
        """Other people's levels take these quantities, all at once."""
        self.now_ns += 1_000_000
        rows = [tuple((e8(price), e8(size)) for price, size in (side or {}).items()) for side in (bids, asks)]
        self.exchange.on_market(BookChanged(self.now_ns, self.venue, symbol or self.symbol, rows[0], rows[1]))

    def print(self, price: str, quantity: str, taker: Side, *, is_same_moment: bool = False) -> None:
        self.now_ns += 0 if is_same_moment else 1_000_000
        self.exchange.on_market(Traded(self.now_ns, self.venue, self.symbol, e8(price), e8(quantity), taker))

    def limit(self, side: Side, price: str, quantity: str, **other) -> HeldOrder | Rejection:
        return self.exchange.place(self.request(side, price=price, quantity=quantity, **other))

    def placed(self, side: Side, price: str, quantity: str, **other) -> HeldOrder:
        order = self.limit(side, price, quantity, **other)
        assert isinstance(order, HeldOrder), order
        return order

    def request(self, side: Side, **words) -> OrderRequest:
        """Make a request from decimal text; a limit GTC unless told otherwise."""
        amounts = {name: e8(words[name]) if name in words else None for name in ("price", "quantity", "quote")}
        return OrderRequest(
            symbol=words.get("symbol", self.symbol), side=side, type=words.get("type", OrderType.LIMIT),
            force=words.get("force", Force.GTC), price_e8=amounts["price"], quantity_e8=amounts["quantity"],
            quote_e8=amounts["quote"], client_id=words.get("client_id", ""),
            self_trade=words.get("self_trade", SelfTrade.CANCEL_MAKER),
        )  # fmt: skip

    def free(self, asset: str) -> int:
        return self.exchange.account.free_e8(asset)

    def locked(self, asset: str) -> int:
        return self.exchange.account.locked_e8(asset)

    def check(self) -> None:
        """Assert what must hold at every moment."""
        account = self.exchange.account
        account.check()
        locks: Counter[str] = Counter()
        for order in self.exchange.orders():
            request = order.request
            filled_e8 = sum(execution.quantity_e8 for execution in order.executions)
            assert order.executed_e8 == filled_e8 and order.locked_e8 >= 0
            assert order.executed_quote_e8 == sum(execution.quote_e8 for execution in order.executions)
            assert request.quantity_e8 is None or order.executed_e8 + order.prevented_e8 <= request.quantity_e8
            assert request.quote_e8 is None or order.executed_quote_e8 <= request.quote_e8
            if not order.is_open:
                assert order.locked_e8 == 0
            locks[order.locked_asset] += order.locked_e8
            for execution in order.executions:
                assert execution.quote_e8 == execution.price_e8 * execution.quantity_e8 // E8
                if order.limit_e8 is not None:
                    sign = 1 if request.side is Side.BUY else -1
                    assert sign * execution.price_e8 <= sign * order.limit_e8
        assert {asset: account.locked_e8(asset) for asset in account.assets() if account.locked_e8(asset)} == +locks
        for market in self.exchange.markets.values():
            for side in Side:
                queue = market.resting[side]
                assert all(order.is_open for order in queue)
                for price_e8 in {order.limit_e8 for order in queue}:
                    assert market.shown[side].get(price_e8) == market.own_e8(side, price_e8)


def binance(**changes) -> World:
    world = World(_changed(BINANCE_POLICY, changes), [BTCUSDT, BNBUSDT])
    world.set(bids={"300": "1000"}, asks={"300.2": "1000"}, symbol="BNBUSDT")
    world.set(bids={"99": "1", "98": "2"}, asks={"100": "1", "101": "2", "102": "5"})
    return world


def upbit(**changes) -> World:
    world = World(_changed(UPBIT_POLICY, changes), [KRWBTC])
    world.set(bids={"99999000": "1", "99998000": "2"}, asks={"100001000": "0.5", "100002000": "2"})
    return world


def _changed(policy: Policy, changes: dict) -> Policy:
    return msgspec.structs.replace(policy, **changes)


def one_tick(tick: str) -> TickTable:
    return TickTable.single(e8(tick))
