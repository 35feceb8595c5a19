"""A small house for the desk's tests: five markets with plain books, a real ledger, and the rule that facts come first."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from arbitrage.execution import Desk, WorkedPlan
from arbitrage.ledger import Ledger
from arbitrage.model.effects import Append, Effect, PlaceOrder, QueryOrder, Report
from arbitrage.model.events import Funded, Level, OrderAccepted, OrderEnded, OrderEvent, OrderFilled
from arbitrage.model.facts import Fact, LegDecided, OrderIntended, PlanClosed, PlanOpened
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, PPM, Asset, fee_up_e8, notional_down_e8, notional_up_e8
from arbitrage.model.opportunities import Approved, EdgeBreakdown, Leg, Opportunity, Outcome
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState
from arbitrage.model.settings import ExecutionSettings

BINANCE, UPBIT = Venue("binance"), Venue("upbit")
BTC, ETH, KRW, USDT = Asset("BTC"), Asset("ETH"), Asset("KRW"), Asset("USDT")
MS, SECOND = 1_000_000, 1_000_000_000
DEADLINE, ANSWERS = 20 * SECOND, 60 * SECOND
"""By default: until when a plan is worked, and how much longer it waits for an answer."""
BTC_USDT, BTC_KRW, USDT_KRW, ETH_BTC, ETH_USDT = range(5)
RECEIVED = FeeSchedule(1_000, 1_000, FeePayment.RECEIVED)
QUOTED = FeeSchedule(500, 500, FeePayment.QUOTE)


def rules(market: int, venue: Venue, base: Asset, quote: Asset, *grid: int, fees: FeeSchedule) -> Instrument:
    tick_e8, lot_e8, notional_e8_min = grid
    return Instrument(
        id=market,
        venue=venue,
        symbol=f"{base}{quote}",
        base=base,
        quote=quote,
        ticks=TickTable.single(tick_e8),
        lot_e8=lot_e8,
        quantity_e8_min=lot_e8,
        quantity_e8_max=10**15,
        notional_e8_min=notional_e8_min,
        status=TradingStatus.TRADING,
        fees=fees,
    )


INSTRUMENTS = (
    rules(BTC_USDT, BINANCE, BTC, USDT, E8 // 100, 1_000, 5 * E8, fees=RECEIVED),
    rules(BTC_KRW, UPBIT, BTC, KRW, 1_000 * E8, 1, 5_000 * E8, fees=QUOTED),
    rules(USDT_KRW, UPBIT, USDT, KRW, E8 // 10, 1, 5_000 * E8, fees=QUOTED),
    rules(ETH_BTC, BINANCE, ETH, BTC, 1_000, 10_000, 10_000, fees=RECEIVED),
    rules(ETH_USDT, BINANCE, ETH, USDT, E8 // 100, 10_000, 5 * E8, fees=RECEIVED),
)


class Reason(enum.Enum):
    """Why a book of these tests is doubted."""

    GAP = "gap"


class Books:
    """Plain books and the ledger's free inventory, as the engine would answer."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.bids: dict[int, list[Level]] = {
            BTC_USDT: [(50_000.0, 1.0), (49_900.0, 5.0)],
            BTC_KRW: [(72_000_000.0, 1.0), (71_900_000.0, 5.0)],
            USDT_KRW: [(1_399.0, 1_000_000.0)],
            ETH_BTC: [(0.06, 1_000.0)],
            ETH_USDT: [(3_000.0, 1_000.0)],
        }
        self.asks: dict[int, list[Level]] = {
            BTC_USDT: [(50_010.0, 1.0), (50_100.0, 5.0)],
            BTC_KRW: [(72_010_000.0, 1.0), (72_100_000.0, 5.0)],
            USDT_KRW: [(1_400.0, 1_000_000.0)],
            ETH_BTC: [(0.06001, 1_000.0)],
            ETH_USDT: [(3_001.0, 1_000.0)],
        }
        self.doubted: set[int] = set()
        self.volatility: dict[Asset, int] = {}
        """Measured over one millisecond, in parts per million; none is measured unless a test says so."""

    def volatility_ppm(self, asset: Asset, horizon_ms: int) -> int | None:
        return self.volatility[asset] * horizon_ms if asset in self.volatility else None

    def levels(self, market: int, side: Side) -> Sequence[Level]:
        return (self.asks if side is Side.BUY else self.bids)[market]

    def doubt(self, market: int) -> Reason | None:
        return Reason.GAP if market in self.doubted else None

    def free_e8(self, node: Node) -> int:
        return self.ledger.free_e8(node)

    def value_in_reporting(self, asset: Asset, amount_e8: int) -> int | None:
        if asset == KRW:
            side = self.asks if amount_e8 > 0 else self.bids
            if USDT_KRW in self.doubted:
                return None
            return amount_e8 * 10 // round(side[USDT_KRW][0][0] * 10)
        market = {BTC: BTC_USDT, ETH: ETH_USDT}.get(asset)
        if market is None or market in self.doubted:
            return None
        levels = (self.bids if amount_e8 > 0 else self.asks)[market]
        return amount_e8 * round(levels[0][0] * 100) // 100 if levels else None


class House:
    """Ledger and desk, facts applied to both before anything after them is looked at."""

    def __init__(self, settings: ExecutionSettings | None = None, id_prefix: str = "t1") -> None:
        self.ledger = Ledger(lambda market: INSTRUMENTS[market])
        self.desk = Desk(settings or ExecutionSettings(), lambda market: INSTRUMENTS[market], id_prefix)
        self.books = Books(self.ledger)
        self.facts: list[Fact] = []
        self.sent: list[Order] = []
        self.queried: list[ClientOrderId] = []
        self.reports: list[Report] = []
        self.now_ns = 0
        for venue, asset, whole in (
            (BINANCE, USDT, 1_000_000),
            (BINANCE, BTC, 10),
            (BINANCE, ETH, 100),
            (UPBIT, KRW, 1_000_000_000),
            (UPBIT, BTC, 10),
            (UPBIT, USDT, 1_000_000),
        ):
            self.commit([Append(Funded(0, venue, asset, whole * E8, "test"))])

    def commit(self, effects: Iterable[Effect]) -> None:
        """Apply every fact at once; send only what was intended before, and nothing twice."""
        for effect in effects:
            match effect:
                case Append(fact=fact):
                    self.facts.append(fact)
                    self.ledger.apply(fact)
                    self.ledger.check()
                    self.desk.apply(fact)
                case PlaceOrder(order=order):
                    intended = [fact.order for fact in self.facts if isinstance(fact, OrderIntended)]
                    intended += [known for fact in self.facts if isinstance(fact, PlanOpened) for known in fact.orders]
                    assert order in intended, "the intent is durable before the order leaves"
                    assert order.client_order_id not in {known.client_order_id for known in self.sent}, "sent twice"
                    self.sent.append(order)
                case QueryOrder(client_order_id=client_order_id):
                    self.queried.append(client_order_id)
                case Report():
                    self.reports.append(effect)
                case _:
                    raise AssertionError(f"the desk has no business with {effect}")

    def start(self, opportunity: Opportunity) -> WorkedPlan:
        self.commit(self.desk.start(Approved(opportunity), self.now_ns))
        return self.desk.open_plans()[-1]

    def hear(self, *events: OrderEvent) -> None:
        for event in events:
            self.commit(self.desk.on_event(event))
            self.advance()

    def advance(self, to_ns: int | None = None) -> None:
        self.now_ns = self.now_ns if to_ns is None else to_ns
        for _ in range(100):
            effects = self.desk.advance(self.now_ns, self.books)
            if not effects:
                return
            self.commit(effects)
        raise AssertionError("the desk never comes to rest")

    def fill_all(self, order: Order, *, price_e8: int | None = None) -> None:
        self.hear(
            accepted(order, self.now_ns),
            filled(order, "1", order.quantity_e8, price_e8=price_e8, at_ns=self.now_ns),
            end(order, order.quantity_e8, OrderState.FILLED, at_ns=self.now_ns),
        )

    def fill_at_touch(self, order: Order) -> None:
        """Fill an order whole at the best price shown: a venue gives the better price, not the limit."""
        best, _ = self.books.levels(order.market, order.side)[0]
        self.fill_all(order, price_e8=INSTRUMENTS[order.market].ticks.recover_e8(best))

    def outcomes(self) -> list[Outcome]:
        return [fact.outcome for fact in self.facts if isinstance(fact, PlanClosed)]

    def decisions(self) -> list[LegDecided]:
        return [fact for fact in self.facts if isinstance(fact, LegDecided)]

    def report_codes(self) -> list[str]:
        return [report.code for report in self.reports]


def accepted(order: Order, at_ns: int = 0) -> OrderAccepted:
    return OrderAccepted(at_ns, order.client_order_id, f"venue-{order.client_order_id}")


def end(order: Order, filled_e8: int, state: OrderState = OrderState.CANCELLED, *, at_ns: int = 0) -> OrderEnded:
    return OrderEnded(at_ns, order.client_order_id, state, filled_e8, "test")


def filled(order: Order, trade: str, quantity_e8: int, *, price_e8: int | None = None, at_ns: int = 0) -> OrderFilled:
    """Return a fill at the order's limit, or better, with the market's own taker fee; trade ids are made unique by order."""
    market, price_e8 = INSTRUMENTS[order.market], order.price_e8 if price_e8 is None else price_e8
    is_buy = order.side is Side.BUY
    quote_e8 = (notional_up_e8 if is_buy else notional_down_e8)(price_e8, quantity_e8)
    is_base_fee = is_buy and market.fees.payment is FeePayment.RECEIVED
    fee_asset, amount_e8 = (market.base, quantity_e8) if is_base_fee else (market.quote, quote_e8)
    fill = Fill(
        venue=order.venue,
        market=order.market,
        client_order_id=order.client_order_id,
        trade_id=f"{order.client_order_id}.{trade}",
        side=order.side,
        price_e8=price_e8,
        quantity_e8=quantity_e8,
        quote_e8=quote_e8,
        fee_e8=fee_up_e8(amount_e8, market.fees.taker_ppm),
        fee_asset=fee_asset,
    )
    return OrderFilled(at_ns, fill)


def make_leg(market: int, side: Side, price_e8: int, quantity_e8: int, *, is_carried: bool = False) -> Leg:
    instrument = INSTRUMENTS[market]
    is_buy = side is Side.BUY
    quote_e8 = (notional_up_e8 if is_buy else notional_down_e8)(price_e8, quantity_e8)
    spent_e8, received_e8 = (quote_e8, quantity_e8) if is_buy else (quantity_e8, quote_e8)
    is_fee_on_top = is_buy and instrument.fees.payment is FeePayment.QUOTE
    fee_e8 = fee_up_e8(quote_e8 if is_fee_on_top else received_e8, instrument.fees.taker_ppm)
    return Leg(
        market=market,
        side=side,
        spent=instrument.spent_node(side),
        received=instrument.received_node(side),
        quantity_e8=quantity_e8,
        price_limit_e8=price_e8,
        spent_e8=spent_e8 + fee_e8 if is_fee_on_top else spent_e8,
        received_e8=received_e8 if is_fee_on_top else received_e8 - fee_e8,
        fee_e8=fee_e8,
        fee_asset=instrument.quote if is_fee_on_top else instrument.received_node(side).asset,
        top_price_e8=price_e8,
        age_ms=1,
        is_carried=is_carried,
    )


def make_opportunity(*legs: Leg, start: Node | None = None, net_e8: int = E8) -> Opportunity:
    return Opportunity(
        id="found-1",
        at_ns=0,
        cycle=0,
        name="test",
        legs=legs,
        transfers=(),
        start=start or Node(BINANCE, USDT),
        amount_in_e8=E8,
        amount_out_e8=2 * E8,
        reporting_asset=USDT,
        notional_e8=E8,
        edge_ppm=1,
        breakdown=EdgeBreakdown(net_e8, 0, 0, 0, net_e8),
    )


def kimchi(*, is_carried: bool = False, quantity_e8: int = E8 // 10) -> Opportunity:
    """Buy BTC at Binance, sell it at Upbit for KRW, and buy USDT with that (or keep the KRW)."""
    buy = make_leg(BTC_USDT, Side.BUY, 50_010 * E8, quantity_e8)
    sell = make_leg(BTC_KRW, Side.SELL, 72_000_000 * E8, buy.received_e8)
    usdt_e8 = sell.received_e8 * PPM // (PPM + 500) // 1_400 - 1
    back = make_leg(USDT_KRW, Side.BUY, 1_400 * E8, usdt_e8, is_carried=is_carried)
    return make_opportunity(buy, sell, back)


def triangle() -> Opportunity:
    """USDT to BTC to ETH to USDT, all at Binance."""
    first = make_leg(BTC_USDT, Side.BUY, 50_010 * E8, E8 // 10)
    second = make_leg(ETH_BTC, Side.BUY, 6_001_000, first.received_e8 * E8 // 6_001_000 // 10_000 * 10_000)
    third = make_leg(ETH_USDT, Side.SELL, 3_000 * E8, second.received_e8 // 10_000 * 10_000)
    return make_opportunity(first, second, third)
