"""Still books, rules and orders for the paper venue's tests. Books change only when a test shows another picture."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder
from arbitrage.model.events import Level, OrderEvent
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset, parse_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, PlanId, TimeInForce
from arbitrage.model.settings import PaperSettings
from arbitrage.sim.account import Account, FeeConversion, no_conversion
from arbitrage.sim.latency import ConstantLatency, Latency
from arbitrage.sim.paper import PaperVenue

BINANCE = Venue("binance")
BTC, USDT, BNB = Asset("BTC"), Asset("USDT"), Asset("BNB")
BTC_NODE, USDT_NODE, BNB_NODE = Node(BINANCE, BTC), Node(BINANCE, USDT), Node(BINANCE, BNB)
MS_NS = 1_000_000
LATENCY_NS = 40 * MS_NS
ACKNOWLEDGEMENT_NS = 5 * MS_NS
CONSTANT = ConstantLatency(LATENCY_NS)
PLENTY = {BTC_NODE: 1_000 * E8, USDT_NODE: 100_000_000 * E8}


class StillBook:
    """Two sides as they are shown now, best first."""

    def __init__(self, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> None:
        self.bids, self.asks = list(bids), list(asks)

    def shown(self, side: Side, limit: int) -> list[Level]:
        return (self.asks if side is Side.BUY else self.bids)[:limit]


class StillMarkets:
    """What a board would show."""

    def __init__(self, instruments: list[Instrument | None], books: list[StillBook]) -> None:
        self.instruments, self.books = instruments, books
        self.doubts: dict[int, str] = {}

    def doubt(self, market: int, now_ns: int) -> str | None:
        return self.doubts.get(market)


def instrument(
    market: int = 0, *, fee_ppm: int = 0, payment: FeePayment = FeePayment.RECEIVED, **changes: object
) -> Instrument:
    """BTCUSDT with a tick of 0.01, a lot of 0.00001 and a minimum of 5 USDT, unless told."""
    fees = FeeSchedule(fee_ppm, fee_ppm, payment, BNB if payment is FeePayment.NAMED else None)
    built = Instrument(
        market, BINANCE, "BTCUSDT", BTC, USDT, TickTable.single(parse_e8("0.01")), parse_e8("0.00001"), parse_e8("0.00001"),
        parse_e8("9000"), parse_e8("5"), TradingStatus.TRADING, fees,
    )  # fmt: skip
    return msgspec.structs.replace(built, **changes)


def markets(book: StillBook, rules: Instrument | None = None) -> StillMarkets:
    """One market."""
    return StillMarkets([rules or instrument()], [book])


def venue(
    shown: StillMarkets,
    balances: dict[Node, int] = PLENTY,
    *,
    latency: Latency | None = CONSTANT,
    convert: FeeConversion = no_conversion,
    **changes: object,
) -> PaperVenue:
    """A paper venue over these markets."""
    settings = msgspec.structs.replace(PaperSettings(), **changes)
    return PaperVenue(settings, shown, random.Random(settings.seed), Account(balances, convert), latency)


def order(side: Side, price: str, quantity: str, *, name: str = "a-1", market: int = 0, **changes: object) -> Order:
    """An IOC order in decimals."""
    built = Order(
        ClientOrderId(name), PlanId("p"), 0, BINANCE, market, side, parse_e8(price), parse_e8(quantity), TimeInForce.IOC
    )  # fmt: skip
    return msgspec.structs.replace(built, **changes)


def send(paper: PaperVenue, sent: Order, now_ns: int = 0) -> list[OrderEvent]:
    """Submit an order and wait for everything that follows."""
    paper.submit(PlaceOrder(sent), now_ns)
    return settle(paper)


def settle(paper: PaperVenue) -> list[OrderEvent]:
    """Advance due time by due time until nothing is left."""
    events: list[OrderEvent] = []
    while (due_ns := paper.next_due_ns()) is not None:
        events += paper.advance(due_ns)
    return events


def query(sent: Order) -> QueryOrder:
    """Ask after an order."""
    return QueryOrder(sent.venue, sent.market, sent.client_order_id)


def cancel(sent: Order) -> CancelOrder:
    """Cancel an order."""
    return CancelOrder(sent.venue, sent.market, sent.client_order_id)


def fills(events: list[OrderEvent]) -> list[Fill]:
    """Pick the fills."""
    return [event.fill for event in events if hasattr(event, "fill")]
