"""A small house for engine tests: BTC at two venues and the won market, fed with events alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Append, Effect, Judged, PlaceOrder, Report
from arbitrage.model.events import (
    BookDiff,
    BookFull,
    BookSnapshot,
    BookUnit,
    ClockMeasured,
    Decide,
    Event,
    Funded,
    InstrumentsRead,
    LinkUp,
    OrderEnded,
    OrderFilled,
    StoreReported,
)
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset, fee_up_e8, notional_down_e8, notional_up_e8
from arbitrage.model.orders import Fill, Order, OrderState
from arbitrage.model.settings import ExecutionSettings, RiskSettings, StrategySettings, TradingSettings, TransferSettings

MS = 1_000_000
START_NS = 1_800_000_000_000_000_000
MARKETS = (("binance", "BTCUSDT"), ("upbit", "KRW-BTC"), ("upbit", "KRW-USDT"))
BINANCE, UPBIT = Venue("binance"), Venue("upbit")
BTC, KRW, USDT = Asset("BTC"), Asset("KRW"), Asset("USDT")
LOTS = (1_000, 1, 1)
TICKS = (1_000_000, 1_000 * E8, E8)


def instrument(market: int, **changes: object) -> Instrument:
    venue, symbol = MARKETS[market]
    base = USDT if market == 2 else BTC
    quote = USDT if market == 0 else KRW
    payment = FeePayment.RECEIVED if venue == "binance" else FeePayment.QUOTE
    made = Instrument(
        id=market, venue=Venue(venue), symbol=symbol, base=base, quote=quote, ticks=TickTable.single(TICKS[market]),
        lot_e8=LOTS[market], quantity_e8_min=LOTS[market], quantity_e8_max=10**17, notional_e8_min=E8,
        status=TradingStatus.TRADING, fees=FeeSchedule(500, 500, payment),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def settings(**changes: object) -> TradingSettings:
    transfers = {name: TransferSettings(is_identity_confirmed=True) for name in ("BTC", "USDT")}
    made = TradingSettings(
        strategy=StrategySettings(transfers=transfers, legs_max=3),
        risk=RiskSettings(edge_ppm_max=100_000),
        execution=ExecutionSettings(cooldown_ms=1_000),
    )
    return msgspec.structs.replace(made, **changes)


class World:
    """An engine, a clock of our own, and everything it wanted done."""

    def __init__(
        self, trading: TradingSettings | None = None, *, is_store_reported: bool = True, accounts: Iterable[Venue] = ()
    ) -> None:
        self.engine = Engine(trading or settings(), MARKETS, id_prefix="t", account_venues=accounts)
        self.now_ns = START_NS
        self.effects: list[Effect] = []
        self.last_id = 100
        if is_store_reported:
            self.report_store()

    def feed(self, *events: Event) -> list[Effect]:
        done: list[Effect] = []
        for event in events:
            done += self.engine.step(event)
        self.effects += done
        return done

    def report_store(self, **changes: object) -> list[Effect]:
        report = StoreReported(
            self.now_ns, is_postgres_up=True, is_redis_up=True, journal_bytes_waiting=0, is_journal_full=False
        )
        return self.feed(msgspec.structs.replace(report, **changes))

    def connect(self, *, is_funded: bool = True) -> None:
        """Bring both venues up with rules, clocks and (unless their accounts will say so) money."""
        for venue, markets in ((BINANCE, (0,)), (UPBIT, (1, 2))):
            rules = tuple(instrument(market) for market in markets)
            self.feed(InstrumentsRead(self.now_ns, venue, rules), LinkUp(self.now_ns, venue, venue, markets))
            self.feed(ClockMeasured(self.now_ns, venue, 3, 10))
        if not is_funded:
            return
        for venue, asset, units in ((BINANCE, USDT, 100_000), (BINANCE, BTC, 1), (UPBIT, KRW, 100_000_000), (UPBIT, BTC, 1)):
            self.fund(venue, asset, units * E8)
        self.fund(UPBIT, USDT, 50_000 * E8)

    def fund(self, venue: Venue, asset: Asset, amount_e8: int) -> list[Effect]:
        return self.feed(Funded(self.now_ns, venue, asset, amount_e8, "test"))

    def picture(self, market: int, bid: float, ask: float, size: float) -> None:
        units = [BookUnit(ask, bid, size, size), BookUnit(ask * 1.01, bid * 0.99, size * 10, size * 10)]
        ticks = instrument(market).ticks
        units = [
            BookUnit(
                ticks.ceil(round(u.ask_price * E8)) / E8, ticks.floor(round(u.bid_price * E8)) / E8, u.ask_size, u.bid_size
            )
            for u in units
        ]
        self.feed(BookFull(self.now_ns, market, units, self.now_ns // MS, False))

    def depth(self, bid: float, ask: float, size: float) -> None:
        """Give Binance's book one level a side, by snapshot the first time and by an absolute diff later."""
        book = self.engine.board.books[0]
        if book.best_bid == 0.0:
            self.feed(
                BookSnapshot(self.now_ns, 0, self.last_id, [(bid, size), (bid - 100, size)], [(ask, size), (ask + 100, size)])
            )
        self.last_id += 1
        gone_bids = [(price, 0.0) for price, _ in book.levels(Side.SELL, 10)]
        gone_asks = [(price, 0.0) for price, _ in book.levels(Side.BUY, 10)]
        bids, asks = [*gone_bids, (bid, size), (bid - 100, size)], [*gone_asks, (ask, size), (ask + 100, size)]
        self.feed(BookDiff(self.now_ns, 0, self.last_id, self.last_id, bids, asks, self.now_ns // MS))

    def quiet_books(self) -> None:
        """Show prices at which nothing pays: 100,000 USDT is 140,000,000 won at 1,400."""
        self.depth(99_990.0, 100_010.0, 0.5)
        self.picture(1, 139_900_000.0, 140_100_000.0, 0.5)
        self.picture(2, 1_399.0, 1_401.0, 100_000.0)

    def premium_books(self) -> None:
        """Show BTC 2 % dearer at Upbit."""
        self.quiet_books()
        self.picture(1, 142_800_000.0, 142_900_000.0, 0.5)

    def wait(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * MS

    def decide(self) -> list[Effect]:
        return self.feed(Decide(self.now_ns))

    def placed(self) -> list[Order]:
        return [effect.order for effect in self.effects if isinstance(effect, PlaceOrder)]

    def facts(self) -> list[object]:
        return [effect.fact for effect in self.effects if isinstance(effect, Append)]

    def verdicts(self) -> list[Judged]:
        return [effect for effect in self.effects if isinstance(effect, Judged)]

    def reports(self) -> list[str]:
        return [effect.code for effect in self.effects if isinstance(effect, Report)]

    def fill(self, order: Order, quantity_e8: int | None = None) -> list[Effect]:
        """Let the venue fill (part of) an order at its limit."""
        rules = instrument(order.market)
        amount_e8 = order.quantity_e8 if quantity_e8 is None else quantity_e8
        is_buy = order.side is Side.BUY
        quote_e8 = (notional_up_e8 if is_buy else notional_down_e8)(order.price_e8, amount_e8)
        is_base_fee = is_buy and rules.fees.payment is FeePayment.RECEIVED
        fee_e8 = fee_up_e8(amount_e8 if is_base_fee else quote_e8, 500)
        asset = rules.base if is_base_fee else rules.quote
        made = Fill(
            order.venue,
            order.market,
            order.client_order_id,
            f"{order.client_order_id}-1",
            order.side,
            order.price_e8,
            amount_e8,
            quote_e8,
            fee_e8,
            asset,
        )
        return self.feed(OrderFilled(self.now_ns, made))

    def end(self, order: Order, filled_e8: int, state: OrderState = OrderState.CANCELLED) -> list[Effect]:
        return self.feed(OrderEnded(self.now_ns, order.client_order_id, state, filled_e8, "test"))

    def take_all(self, orders: Sequence[Order] | None = None) -> None:
        """Fill every placed order whole."""
        for order in orders if orders is not None else self.placed():
            self.fill(order)
            self.end(order, order.quantity_e8, OrderState.FILLED)

    def lose(self) -> None:
        """Take a premium whose second leg then only fills far below what was expected."""
        self.premium_books()
        self.decide()
        buy, sell, back = sorted(self.placed()[-3:], key=lambda order: order.market)
        self.take_all([buy])
        self.end(sell, 0)
        self.end(back, 0)
        self.picture(1, 138_000_000.0, 139_000_000.0, 0.5)
        for _ in range(5):
            self.take_all([order for order, _ in self.engine.desk.unfinished()])
            self.wait(1_100)
        self.wait(2_000)

    def total(self, venue: Venue, asset: Asset) -> int:
        return self.engine.ledger.total_e8(Node(venue, asset))
