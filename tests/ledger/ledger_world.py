"""Small real parts for the ledger's tests: three markets with three ways of paying fees, plans, orders and fills."""

from __future__ import annotations

from arbitrage.ledger import Ledger
from arbitrage.model.events import Funded
from arbitrage.model.facts import FillBooked, OrderChanged, PlanClosed, PlanOpened
from arbitrage.model.instruments import (
    FeePayment,
    FeeSchedule,
    Instrument,
    Node,
    Side,
    TickTable,
    TradingStatus,
    Venue,
)
from arbitrage.model.money import E8, Asset, fee_up_e8, notional_up_e8
from arbitrage.model.opportunities import EdgeBreakdown, Leg, Opportunity, Outcome, PlanState, Residual
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId, TimeInForce

BINANCE, UPBIT = Venue("binance"), Venue("upbit")
BTC, ETH, BNB, KRW, USDT = Asset("BTC"), Asset("ETH"), Asset("BNB"), Asset("KRW"), Asset("USDT")


def make_instrument(market: int, venue: Venue, base: Asset, quote: Asset, fees: FeeSchedule) -> Instrument:
    return Instrument(
        id=market,
        venue=venue,
        symbol=f"{base}{quote}",
        base=base,
        quote=quote,
        ticks=TickTable.single(1),
        lot_e8=1,
        quantity_e8_min=1,
        quantity_e8_max=10**20,
        notional_e8_min=1,
        status=TradingStatus.TRADING,
        fees=fees,
    )


INSTRUMENTS = (
    make_instrument(0, BINANCE, BTC, USDT, FeeSchedule(-100, 1_000, FeePayment.RECEIVED)),
    make_instrument(1, UPBIT, BTC, KRW, FeeSchedule(500, 500, FeePayment.QUOTE)),
    make_instrument(2, BINANCE, ETH, USDT, FeeSchedule(0, 750, FeePayment.NAMED, BNB)),
)


def funded(at_ns: int, venue: Venue, asset: Asset, whole: int) -> Funded:
    return Funded(at_ns, venue, asset, whole * E8, "test")


def funded_ledger() -> Ledger:
    ledger = Ledger(lambda market: INSTRUMENTS[market])
    for venue, asset, whole in (
        (BINANCE, USDT, 100_000),
        (BINANCE, BTC, 10),
        (BINANCE, ETH, 100),
        (BINANCE, BNB, 50),
        (UPBIT, KRW, 1_000_000_000),
        (UPBIT, BTC, 10),
    ):
        ledger.apply(funded(0, venue, asset, whole))
    return ledger


def make_leg(market: int, side: Side, price: int, quantity_e8: int, *, is_carried: bool = False) -> Leg:
    rules = INSTRUMENTS[market]
    quote_e8 = notional_up_e8(price * E8, quantity_e8)
    spent_e8, received_e8 = (quote_e8, quantity_e8) if side is Side.BUY else (quantity_e8, quote_e8)
    return Leg(
        market=market,
        side=side,
        spent=rules.spent_node(side),
        received=rules.received_node(side),
        quantity_e8=quantity_e8,
        price_limit_e8=price * E8,
        spent_e8=spent_e8,
        received_e8=received_e8,
        fee_e8=0,
        fee_asset=rules.quote,
        top_price_e8=price * E8,
        age_ms=1,
        is_carried=is_carried,
    )


def make_opportunity(*legs: Leg, name: str = "test") -> Opportunity:
    return Opportunity(
        id=name,
        at_ns=0,
        cycle=0,
        name=name,
        legs=legs,
        transfers=(),
        start=Node(BINANCE, USDT),
        amount_in_e8=E8,
        amount_out_e8=E8,
        reporting_asset=USDT,
        notional_e8=E8,
        edge_ppm=0,
        breakdown=EdgeBreakdown(0, 0, 0, 0, 0),
    )


def opened(plan: str, *legs: Leg, at_ns: int = 1) -> PlanOpened:
    orders = tuple(
        Order(
            ClientOrderId(f"{plan}-{index}"),
            PlanId(plan),
            index,
            leg.spent.venue,
            leg.market,
            leg.side,
            leg.price_limit_e8,
            leg.quantity_e8,
            TimeInForce.IOC,
        )
        for index, leg in enumerate(legs)
        if not leg.is_carried
    )
    rules = tuple(INSTRUMENTS[market] for market in sorted({order.market for order in orders}))
    return PlanOpened(at_ns, PlanId(plan), make_opportunity(*legs), orders, at_ns + 1_000, rules)


def make_fill(order: Order, trade: str, quantity_e8: int, *, price_e8: int | None = None, fee_e8: int | None = None) -> Fill:
    rules = INSTRUMENTS[order.market]
    price_e8 = order.price_e8 if price_e8 is None else price_e8
    quote_e8 = notional_up_e8(price_e8, quantity_e8)
    match rules.fees.payment:
        case FeePayment.RECEIVED:
            fee_asset, amount_e8 = (rules.base, quantity_e8) if order.side is Side.BUY else (rules.quote, quote_e8)
        case FeePayment.QUOTE:
            fee_asset, amount_e8 = rules.quote, quote_e8
        case FeePayment.NAMED:
            fee_asset, amount_e8 = BNB, quote_e8 // 600
    fee_e8 = fee_up_e8(amount_e8, rules.fees.taker_ppm) if fee_e8 is None else fee_e8
    return Fill(
        order.venue,
        order.market,
        order.client_order_id,
        trade,
        order.side,
        price_e8,
        quantity_e8,
        quote_e8,
        fee_e8,
        fee_asset,
    )


def booked(order: Order, trade: str, quantity_e8: int, **changes: int) -> FillBooked:
    return FillBooked(5, make_fill(order, trade, quantity_e8, **changes))


def ended(order: Order, filled_e8: int, state: OrderState = OrderState.CANCELLED) -> OrderChanged:
    return OrderChanged(6, order.client_order_id, state, filled_e8, "test")


def closed(ledger: Ledger, plan: str, at_ns: int = 9, values_e8: dict[Asset, int] | None = None) -> PlanClosed:
    deltas = ledger.plan_deltas(PlanId(plan))
    residuals = tuple(
        Residual(asset, amount_e8, (values_e8 or {}).get(asset, 0))
        for asset, amount_e8 in sorted(deltas.items())
        if amount_e8 and asset != USDT
    )
    realised_e8 = deltas.get(USDT, 0) + sum(residual.value_e8 for residual in residuals)
    outcome = Outcome(PlanId(plan), plan, PlanState.COMPLETED, USDT, 0, realised_e8, residuals, 1, at_ns)
    return PlanClosed(at_ns, outcome)
