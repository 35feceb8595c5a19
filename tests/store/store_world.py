"""Facts, verdicts and snapshots for the store's tests, one of each kind and with amounts past 64 bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec

from arbitrage.model.accounts import BookedFill, Difference, KillReceipt, LeftOrder, RestartReport, VenueAnswer, VenueStanding
from arbitrage.model.effects import Append, Judged
from arbitrage.model.entries import Account, Posting
from arbitrage.model.events import AccountBalance, Funded, OpenOrder
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillProven,
    KillSwitched,
    LegDecided,
    OrderChanged,
    OrderIntended,
    PairSwitched,
    Paused,
    PlanClosed,
    PlanOpened,
    Reconciled,
    ResidueWrittenOff,
)
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import (
    Approved,
    EdgeBreakdown,
    FxRate,
    Leg,
    LegChoice,
    Opportunity,
    Outcome,
    PlanState,
    PricedChoice,
    Refusal,
    Refused,
    Residual,
    Transfer,
    Waterfall,
)
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId, TimeInForce
from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot

BINANCE, UPBIT = Venue("binance"), Venue("upbit")
BTC, KRW, USDT = Asset("BTC"), Asset("KRW"), Asset("USDT")
MARKETS = (("binance", "BTCUSDT"), ("upbit", "KRW-BTC"), ("upbit", "KRW-USDT"))
HUGE_E8 = 3 * 10**19
"""300 billion won: past 64 bits, signed or not."""


def ticking_clock(start_ns: int = 1_700_000_000_000_000_000, step_ns: int = 1_000_000) -> Callable[[], int]:
    """Return a clock that moves by one step whenever it is read."""
    ticks = itertools.count(start_ns, step_ns)
    return lambda: next(ticks)


def leg(market: int = 0) -> Leg:
    return Leg(
        market=market,
        side=Side.BUY,
        spent=Node(UPBIT, KRW),
        received=Node(UPBIT, BTC),
        quantity_e8=10**8,
        price_limit_e8=HUGE_E8,
        spent_e8=HUGE_E8,
        received_e8=10**8,
        fee_e8=5,
        fee_asset=KRW,
        top_price_e8=HUGE_E8,
        age_ms=12,
    )


def won_leg() -> Leg:
    """Return the leg that turns won back: 10 tether at 1,400 won, 0.05 % on top."""
    return Leg(
        market=2,
        side=Side.BUY,
        spent=Node(UPBIT, KRW),
        received=Node(UPBIT, USDT),
        quantity_e8=10 * E8,
        price_limit_e8=1_401 * E8,
        spent_e8=14_012 * E8,
        received_e8=10 * E8,
        fee_e8=7 * E8,
        fee_asset=KRW,
        top_price_e8=1_400 * E8,
        age_ms=3,
    )


def opportunity(name: str = "o1", at_ns: int = 5) -> Opportunity:
    return Opportunity(
        id=name,
        at_ns=at_ns,
        cycle=7,
        name="KRW@upbit > BTC > USDT@binance > KRW",
        legs=(leg(1), leg(0), won_leg()),
        transfers=(Transfer(Node(UPBIT, BTC), Node(BINANCE, BTC), 10**8, 3),),
        start=Node(UPBIT, KRW),
        amount_in_e8=HUGE_E8,
        amount_out_e8=HUGE_E8 + 100,
        reporting_asset=USDT,
        notional_e8=10**12,
        edge_ppm=150,
        breakdown=EdgeBreakdown(200, 50, 40, 10, 100),
        fx=(FxRate(2, 1_399 * E8, 5 * E8, 1_400 * E8, 6 * E8, 3),),
    )


def order(name: str = "c1", plan: str = "p1", market: int = 1) -> Order:
    price_e8, quantity_e8 = HUGE_E8, 10**8
    side, force = Side.BUY, TimeInForce.IOC
    return Order(ClientOrderId(name), PlanId(plan), 0, UPBIT, market, side, price_e8, quantity_e8, force)


def fill(trade: str = "t1", name: str = "c1") -> Fill:
    return Fill(UPBIT, 1, ClientOrderId(name), trade, Side.BUY, HUGE_E8, 10**8, HUGE_E8, 5, KRW)


def one_of_each(tag: str = "1") -> tuple[Fact, ...]:
    """Return a plan's life and the operator's words: every kind of fact, in an order that can happen."""
    plan, first, second = PlanId(f"p{tag}"), ClientOrderId(f"c{tag}"), ClientOrderId(f"d{tag}")
    choice = PricedChoice(LegChoice.COMPLETE, 12, "", order(second, plan))
    steps = Waterfall(100, 10, -5, 2, -HUGE_E8 - 114, -HUGE_E8, 7)
    left = (Residual(BTC, -3, -9),)
    outcome = Outcome(plan, f"o{tag}", PlanState.RECOVERED, USDT, 100, -HUGE_E8, left, 10, 90, steps)
    return (
        Funded(1, UPBIT, KRW, HUGE_E8, "opening"),
        PlanOpened(10, plan, opportunity(f"o{tag}"), (order(first, plan),), 10_000),
        OrderChanged(20, first, OrderState.CANCELLED, 5 * 10**7, "rest of an IOC\x00"),
        FillBooked(21, fill(f"t{tag}", first)),
        LegDecided(30, plan, LegChoice.COMPLETE, (choice,)),
        OrderIntended(31, order(second, plan)),
        PlanClosed(90, outcome),
        KillSwitched(100, True, "operator", "drill"),
        Paused(101, False, "operator", "시험"),
        KillProven(102, receipt()),
        Reconciled(103, report()),
        PairSwitched(104, "BTC binance/upbit", True, "guard", "realises too little"),
        ResidueWrittenOff(105, BTC, -3, "operator", "sold by hand"),
    )


def count_of_each() -> int:
    """Return how many facts `one_of_each` has."""
    return len(one_of_each())


def receipt() -> KillReceipt:
    """Return the receipt of a kill that one venue has proven."""
    answer = VenueAnswer(UPBIT, 100, 101, own_orders=0, foreign_orders=2)
    return KillReceipt(100, "operator", "drill", (ClientOrderId("c1"),), (answer,), 102)


def report(at_ns: int = 103, *, is_armed: bool = False) -> RestartReport:
    """Return a restart report with everything in it that one can hold."""
    left = LeftOrder(ClientOrderId("c1"), UPBIT, 1, Side.BUY, 10**8, 5 * 10**7, OrderState.UNKNOWN)
    stranger = OpenOrder(ClientOrderId(""), "77", "KRW-BTC", 1, Side.SELL, HUGE_E8, 10**8, 0)
    booked = BookedFill(ClientOrderId("c1"), "t9", 1, Side.BUY, 10**7, HUGE_E8 // 10)
    differs = Difference(UPBIT, KRW, HUGE_E8, HUGE_E8 - 7)
    standing = VenueStanding(
        UPBIT, 100, 101, (AccountBalance(KRW, HUGE_E8, 0),), (), (ClientOrderId("c2"),), (ClientOrderId("c3"),), (booked,),
        (stranger,), (differs,),
    )  # fmt: skip
    return RestartReport(at_ns, "start", (PlanId("p1"),), (left,), (standing,), () if is_armed else (str(differs),))


def entries() -> tuple[Posting, ...]:
    """Return a purchase: won out of the reservation, coins in, and the market on the other side."""
    won, coin = Node(UPBIT, KRW), Node(UPBIT, BTC)
    return (
        Posting(Account.RESERVED, won, -HUGE_E8),
        Posting(Account.MARKET, won, HUGE_E8),
        Posting(Account.MARKET, coin, -(10**8)),
        Posting(Account.FREE, coin, 10**8),
    )


def appends(facts: tuple[Fact, ...]) -> list[Append]:
    """Return effects for these facts; a fill comes with the ledger's entries."""
    return [Append(fact, entries() if isinstance(fact, FillBooked) else ()) for fact in facts]


def funding(number: int) -> Funded:
    """Return a small fact that says which one it is."""
    return Funded(number, BINANCE, USDT, number, f"fact {number}")


def refused(name: str, at_ns: int = 5) -> Judged:
    return Judged(opportunity(name, at_ns), Refused(Refusal.BELOW_THRESHOLD, "edge 150 ppm under 200"))


def approved(name: str, at_ns: int = 5) -> Judged:
    return Judged(opportunity(name, at_ns), Approved(opportunity(name, at_ns)))


def snapshot(sequence: int, at_ns: int = 1, session: str = "main", version: int = SNAPSHOT_VERSION) -> Snapshot:
    sections = {"ledger": msgspec.Raw(b'{"KRW":"30000000000000000001"}'), "guard": msgspec.Raw(b'{"loss_today_e8":-5}')}
    return Snapshot(version, session, at_ns, sequence, sections)
