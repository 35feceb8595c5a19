"""The paper venue matches against the book that stands on arrival, never more than is shown, and answers what it knows."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_house import (
    ACKNOWLEDGEMENT_NS,
    BINANCE,
    BTC_NODE,
    LATENCY_NS,
    PLENTY,
    USDT_NODE,
    StillBook,
    StillMarkets,
    cancel,
    fills,
    instrument,
    markets,
    order,
    query,
    send,
    settle,
    venue,
)

from arbitrage.model.effects import PlaceOrder, ReadAccount
from arbitrage.model.events import (
    AccountRead,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderEvent,
    OrderFilled,
    OrderUnanswered,
)
from arbitrage.model.instruments import FeePayment, Node, Side, TradingStatus, Venue
from arbitrage.model.money import E8, Asset, format_e8, parse_e8
from arbitrage.model.orders import ClientOrderId, OrderState, TimeInForce
from arbitrage.model.settings import PaperSettings
from arbitrage.sim import paper as paper_room
from arbitrage.sim.account import Account, opening_balances
from arbitrage.sim.paper import PaperVenue

TWO_ASKS = StillBook(asks=[(100.0, 1.0), (101.0, 2.0)], bids=[(99.0, 1.5), (98.0, 2.0)])


def ended(events: list[OrderEvent]) -> OrderEnded:
    (last,) = [event for event in events if isinstance(event, OrderEnded)]
    assert events[-1] is last, "nothing follows the end"
    return last


def test_an_order_meets_the_book_of_its_arrival_not_of_its_decision() -> None:
    shown = markets(StillBook(asks=[(100.0, 1.0)]))
    paper = venue(shown)
    sent = order(Side.BUY, "103", "1")
    paper.submit(PlaceOrder(sent), 0)
    assert paper.advance(LATENCY_NS - 1) == []
    shown.books[0] = StillBook(asks=[(102.0, 1.0)])
    events = settle(paper)
    assert [fill.price_e8 for fill in fills(events)] == [parse_e8("102")]


def test_a_price_that_ran_away_while_the_order_travelled_fills_nothing() -> None:
    shown = markets(StillBook(asks=[(100.0, 1.0)]))
    paper = venue(shown)
    paper.submit(PlaceOrder(order(Side.BUY, "100", "1")), 0)
    shown.books[0] = StillBook(asks=[(100.01, 1.0)])
    assert ended(settle(paper)) == OrderEnded(
        LATENCY_NS + ACKNOWLEDGEMENT_NS,
        order(Side.BUY, "100", "1").client_order_id,
        OrderState.CANCELLED,
        0,
        "the rest of an IOC",
    )


def test_events_leave_acknowledged_in_order_and_carry_the_time_they_were_due() -> None:
    paper = venue(markets(TWO_ASKS))
    sent = order(Side.BUY, "101", "2.5")
    paper.submit(PlaceOrder(sent), 7)
    assert paper.next_due_ns() == 7 + LATENCY_NS
    assert paper.advance(7 + LATENCY_NS + ACKNOWLEDGEMENT_NS - 1) == []
    assert paper.next_due_ns() == 7 + LATENCY_NS + ACKNOWLEDGEMENT_NS
    events = paper.advance(10**18)
    assert [type(event) for event in events] == [OrderAccepted, OrderFilled, OrderFilled, OrderEnded]
    assert {event.at_ns for event in events} == {7 + LATENCY_NS + ACKNOWLEDGEMENT_NS}
    assert paper.next_due_ns() is None
    assert [(fill.price_e8, fill.quantity_e8) for fill in fills(events)] == [(100 * E8, E8), (101 * E8, 3 * E8 // 2)]
    assert ended(events).state is OrderState.FILLED
    assert ended(events).filled_quantity_e8 == sent.quantity_e8


def test_nothing_is_due_before_its_nanosecond() -> None:
    paper = venue(markets(TWO_ASKS), acknowledgement_ms=0)
    paper.submit(PlaceOrder(order(Side.BUY, "101", "1")), 0)
    assert paper.advance(LATENCY_NS - 1) == []
    assert len(paper.advance(LATENCY_NS)) == 3


@pytest.mark.parametrize(("side", "limit", "filled"), [(Side.BUY, "100.99", "1"), (Side.SELL, "98.01", "1.5")])
def test_the_limit_price_cuts_the_walk_and_the_rest_is_cancelled(side: Side, limit: str, filled: str) -> None:
    last = ended(send(venue(markets(TWO_ASKS)), order(side, limit, "3")))
    assert (last.state, last.filled_quantity_e8) == (OrderState.CANCELLED, parse_e8(filled))


@pytest.mark.parametrize(("side", "limit"), [(Side.BUY, "101"), (Side.SELL, "98")])
def test_a_level_exactly_at_the_limit_is_taken(side: Side, limit: str) -> None:
    assert ended(send(venue(markets(TWO_ASKS)), order(side, limit, "3"))).state is OrderState.FILLED


def test_consumed_depth_does_not_refill_by_itself() -> None:
    paper = venue(markets(TWO_ASKS))
    send(paper, order(Side.BUY, "100", "0.4", name="a-1"))
    assert ended(send(paper, order(Side.BUY, "100", "0.7", name="a-2"))).filled_quantity_e8 == parse_e8("0.6")
    assert ended(send(paper, order(Side.BUY, "100", "0.7", name="a-3"))).filled_quantity_e8 == 0
    assert ended(send(paper, order(Side.SELL, "99", "1", name="a-4"))).filled_quantity_e8 == E8


def test_consumed_depth_refills_when_a_newer_update_changes_that_level_and_only_that() -> None:
    shown = markets(TWO_ASKS)
    paper = venue(shown)
    send(paper, order(Side.BUY, "101", "3", name="a-1"))
    shown.books[0] = StillBook(asks=[(100.0, 0.9), (101.0, 2.0)])
    assert ended(send(paper, order(Side.BUY, "101", "3", name="a-2"))).filled_quantity_e8 == parse_e8("0.9")


def test_the_same_picture_sent_again_refills_nothing() -> None:
    shown = markets(TWO_ASKS)
    paper = venue(shown)
    send(paper, order(Side.BUY, "101", "3", name="a-1"))
    shown.books[0] = StillBook(asks=list(TWO_ASKS.asks))
    assert fills(send(paper, order(Side.BUY, "101", "3", name="a-2"))) == []


def test_a_level_seen_gone_starts_afresh_when_it_comes_back() -> None:
    shown = markets(TWO_ASKS)
    paper = venue(shown)
    send(paper, order(Side.BUY, "100", "1", name="a-1"))
    shown.books[0] = StillBook(asks=[(101.0, 2.0)])
    send(paper, order(Side.BUY, "100", "1", name="a-2"))
    shown.books[0] = TWO_ASKS
    assert ended(send(paper, order(Side.BUY, "100", "1", name="a-3"))).filled_quantity_e8 == E8


def test_legs_in_different_markets_do_not_touch_each_other() -> None:
    shown = StillMarkets([instrument(0), instrument(1)], [TWO_ASKS, TWO_ASKS])
    paper = venue(shown)
    send(paper, order(Side.BUY, "101", "3", name="a-1", market=0))
    assert ended(send(paper, order(Side.BUY, "101", "3", name="a-2", market=1))).state is OrderState.FILLED


def test_an_empty_book_fills_nothing() -> None:
    assert ended(send(venue(markets(StillBook())), order(Side.BUY, "101", "1"))).state is OrderState.CANCELLED


def test_a_market_doubted_on_arrival_fills_nothing_and_says_so() -> None:
    shown = markets(TWO_ASKS)
    paper = venue(shown)
    paper.submit(PlaceOrder(order(Side.BUY, "101", "1")), 0)
    shown.doubts[0] = "gap"
    last = ended(settle(paper))
    assert (last.state, last.filled_quantity_e8, last.reason) == (OrderState.CANCELLED, 0, "book doubted: gap")


def test_a_level_that_no_grid_price_explains_ends_the_walk_and_is_counted() -> None:
    paper = venue(markets(StillBook(asks=[(100.0, 1.0), (100.005, 1.0), (100.02, 1.0)])))
    assert ended(send(paper, order(Side.BUY, "101", "3"))).filled_quantity_e8 == E8
    assert paper.levels_off_grid == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price_e8": parse_e8("100.005")}, "filter failure: PRICE_FILTER"),
        ({"quantity_e8": parse_e8("0.500001")}, "filter failure: LOT_SIZE"),
        ({"quantity_e8": parse_e8("9000.00001")}, "filter failure: LOT_SIZE"),
        ({"quantity_e8": parse_e8("0.04999")}, "filter failure: NOTIONAL"),
        ({"time_in_force": TimeInForce.GTC}, "time in force: paper takes IOC"),
    ],
)
def test_the_venues_filters_reject(changes: dict[str, object], reason: str) -> None:
    events = send(venue(markets(TWO_ASKS)), msgspec.structs.replace(order(Side.BUY, "100", "1"), **changes))
    assert events == [ended(events)]
    assert (ended(events).state, ended(events).filled_quantity_e8, ended(events).reason) == (OrderState.REJECTED, 0, reason)
    assert ended(events).at_ns == LATENCY_NS + ACKNOWLEDGEMENT_NS


def test_values_exactly_at_the_filters_pass() -> None:
    rich = venue(markets(TWO_ASKS, instrument(quantity_e8_max=3 * E8, quantity_e8_min=parse_e8("0.05"))))
    assert ended(send(rich, order(Side.BUY, "100", "0.05"))).state is OrderState.FILLED
    assert ended(send(rich, order(Side.BUY, "100", "3", name="a-2"))).state is OrderState.CANCELLED
    small = venue(markets(TWO_ASKS, instrument(notional_e8_min=0, quantity_e8_min=parse_e8("0.05"))))
    assert ended(send(small, order(Side.BUY, "100", "0.04999"))).reason == "filter failure: LOT_SIZE"


@pytest.mark.parametrize("status", [TradingStatus.HALTED, TradingStatus.CANCEL_ONLY])
def test_a_market_that_takes_no_orders_rejects_them(status: TradingStatus) -> None:
    shown = markets(TWO_ASKS, instrument(status=status))
    assert ended(send(venue(shown), order(Side.BUY, "100", "1"))).reason == "market is closed"


def test_a_symbol_without_rules_rejects() -> None:
    shown = StillMarkets([None], [TWO_ASKS])
    assert ended(send(venue(shown), order(Side.BUY, "100", "1"))).reason == "unknown symbol"


@pytest.mark.parametrize(
    ("side", "balances"),
    [(Side.BUY, {USDT_NODE: parse_e8("202"), BTC_NODE: 0}), (Side.SELL, {BTC_NODE: parse_e8("2"), USDT_NODE: 0})],
)
def test_funds_are_locked_at_the_limit_price_and_an_order_without_them_is_rejected(
    side: Side, balances: dict[Node, int]
) -> None:
    limit = "101" if side is Side.BUY else "98"
    assert ended(send(venue(markets(TWO_ASKS), balances), order(side, limit, "2"))).state is OrderState.FILLED
    short = {node: amount_e8 - 1 for node, amount_e8 in balances.items() if amount_e8}
    assert ended(send(venue(markets(TWO_ASKS), short), order(side, limit, "2"))).reason == "insufficient balance"


def test_a_fee_on_top_is_locked_too() -> None:
    rules = instrument(fee_ppm=500, payment=FeePayment.QUOTE)
    exact = {USDT_NODE: parse_e8("202.101")}
    assert ended(send(venue(markets(TWO_ASKS, rules), exact), order(Side.BUY, "101", "2"))).state is OrderState.FILLED
    short = {USDT_NODE: parse_e8("202.101") - 1}
    assert ended(send(venue(markets(TWO_ASKS, rules), short), order(Side.BUY, "101", "2"))).reason == "insufficient balance"


def test_the_second_of_two_orders_finds_what_the_first_left_of_the_balance() -> None:
    paper = venue(markets(TWO_ASKS), {USDT_NODE: parse_e8("150")})
    assert ended(send(paper, order(Side.BUY, "100", "1", name="a-1"))).state is OrderState.FILLED
    assert ended(send(paper, order(Side.BUY, "101", "1", name="a-2"))).reason == "insufficient balance"
    assert paper.account.balances == {USDT_NODE: parse_e8("50"), BTC_NODE: E8}


def test_fees_that_round_up_fill_by_fill_never_overdraw_the_account() -> None:
    lot = parse_e8("0.00000001")
    rules = instrument(fee_ppm=1, payment=FeePayment.QUOTE, lot_e8=lot, quantity_e8_min=lot, notional_e8_min=0)
    book = StillBook(asks=[(0.98, 0.00000001), (0.99, 0.00000001), (1.0, 0.00000001)])
    paper = venue(markets(book, rules), {USDT_NODE: 4})  # 3 units at the limit and one of fee; each fill takes 2
    last = ended(send(paper, order(Side.BUY, "1", "0.00000003")))
    assert (last.state, last.filled_quantity_e8) == (OrderState.CANCELLED, 2)
    assert paper.account.balances[USDT_NODE] == 0
    assert paper.counters["unpaid"] == 1


def test_random_rejects_come_at_the_configured_rate_and_never_at_none() -> None:
    def rejected(reject_ppm: int) -> int:
        paper = venue(markets(StillBook()), reject_ppm=reject_ppm)
        return sum(
            ended(send(paper, order(Side.BUY, "100", "1", name=f"a-{n}"))).reason == "rejected at random" for n in range(1_000)
        )

    paper = venue(markets(TWO_ASKS))
    send(paper, order(Side.BUY, "101", "2", name="filled"))
    send(paper, order(Side.BUY, "101", "0.00001", name="too-small"))
    assert paper.counters == {"orders": 2, "fills": 2, "rejected": 1, "repeated": 0, "unpaid": 0}
    assert rejected(0) == 0
    assert 200 <= rejected(250_000) <= 300
    assert rejected(1_000_000) == 1_000


def test_a_query_repeats_all_that_is_known() -> None:
    paper = venue(markets(TWO_ASKS))
    sent = order(Side.BUY, "101", "2")
    first = send(paper, sent)
    paper.submit(query(sent), 10**10)
    later = settle(paper)
    assert [msgspec.structs.replace(event, at_ns=0) for event in later] == [
        msgspec.structs.replace(event, at_ns=0) for event in first
    ]
    assert {event.at_ns for event in later} == {10**10 + LATENCY_NS + ACKNOWLEDGEMENT_NS}


def test_a_query_that_overtakes_its_order_gets_no_answer_it_could_be_misled_by() -> None:
    sent = order(Side.BUY, "101", "2")
    slow_then_fast = venue(markets(TWO_ASKS), latency=Turns([50, 1]))
    slow_then_fast.submit(PlaceOrder(sent), 0)
    slow_then_fast.submit(query(sent), 0)
    events = settle(slow_then_fast)
    assert [type(event) for event in events] == [OrderUnanswered, OrderAccepted, OrderFilled, OrderFilled, OrderEnded]


def test_a_cancel_of_an_ioc_is_answered_with_how_it_ended() -> None:
    paper = venue(markets(TWO_ASKS))
    sent = order(Side.BUY, "101", "2")
    first = ended(send(paper, sent))
    paper.submit(cancel(sent), 0)
    assert ended(settle(paper)) == first


def test_an_order_never_seen_does_not_exist() -> None:
    paper = venue(markets(TWO_ASKS))
    paper.submit(query(order(Side.BUY, "101", "2", name="ghost")), 0)
    (answer,) = settle(paper)
    assert answer == OrderAbsent(LATENCY_NS + ACKNOWLEDGEMENT_NS, ClientOrderId("ghost"))


def test_an_order_that_arrives_after_its_validity_is_not_taken() -> None:
    for late_ns, state in ((0, OrderState.FILLED), (1, OrderState.REJECTED)):
        paper = venue(markets(TWO_ASKS))
        events = send(paper, order(Side.BUY, "101", "1", valid_until_ns=LATENCY_NS - late_ns))
        assert ended(events).state is state
        assert (paper.account.balances == PLENTY) == (state is OrderState.REJECTED)


def test_an_account_is_read_as_it_stands_when_the_question_arrives() -> None:
    paper = venue(markets(TWO_ASKS), {**PLENTY, Node(Venue("upbit"), Asset("KRW")): E8})
    paper.submit(PlaceOrder(order(Side.BUY, "101", "1")), 0)
    paper.submit(ReadAccount(BINANCE, "test"), 0)
    read = next(event for event in settle(paper) if isinstance(event, AccountRead))
    assert (read.asked_ns, read.at_ns, read.venue, read.open_orders) == (0, LATENCY_NS + ACKNOWLEDGEMENT_NS, BINANCE, ())
    held = {Node(BINANCE, balance.asset): balance.free_e8 + balance.locked_e8 for balance in read.balances}
    assert held == {node: e8 for node, e8 in paper.account.balances.items() if node.venue == BINANCE}
    assert held[BTC_NODE] == PLENTY[BTC_NODE] + E8


def test_the_same_client_order_id_is_never_a_second_order() -> None:
    paper = venue(markets(TWO_ASKS))
    sent = order(Side.BUY, "101", "1")
    first = send(paper, sent)
    again = send(paper, sent)
    assert [fill.trade_id for fill in fills(again)] == [fill.trade_id for fill in fills(first)]
    assert paper.account.balances[BTC_NODE] == PLENTY[BTC_NODE] + E8
    assert (paper.counters["orders"], paper.counters["repeated"]) == (1, 1)


@pytest.mark.parametrize(
    ("filled", "state"), [("0.3", OrderState.CANCELLED), ("1", OrderState.FILLED), ("0", OrderState.CANCELLED)]
)
def test_an_order_of_before_a_restart_ended_with_the_fills_that_were_kept(filled: str, state: OrderState) -> None:
    paper = venue(markets(TWO_ASKS))
    sent = order(Side.BUY, "101", "1")
    paper.adopt(sent, parse_e8(filled))
    paper.submit(query(sent), 0)
    assert (ended(settle(paper)).state, paper.account.balances) == (state, PLENTY)


def test_old_orders_are_forgotten_beyond_the_limit_and_travelling_ones_never() -> None:
    paper = venue(markets(StillBook()))
    travelling = order(Side.BUY, "101", "1", name="travelling")
    paper.submit(PlaceOrder(travelling), 10**15)
    old = order(Side.BUY, "101", "1", name="old")
    paper.adopt(old, 0)
    for number in range(paper_room.ORDERS_REMEMBERED_MAX - 1):
        paper.submit(PlaceOrder(order(Side.BUY, "101", "1", name=f"b-{number}")), 0)
    paper.submit(query(old), 0)
    answers = [event for event in paper.advance(10**14) if getattr(event, "client_order_id", "") == "old"]
    assert [type(answer) for answer in answers] == [OrderAbsent]
    assert ended(settle(paper)).client_order_id == "travelling"


def test_more_travelling_orders_than_the_limit_are_all_kept() -> None:
    paper = venue(markets(StillBook()))
    count = paper_room.ORDERS_REMEMBERED_MAX + 2
    for number in range(count):
        paper.submit(PlaceOrder(order(Side.BUY, "101", "1", name=f"b-{number}")), 0)
    assert sum(isinstance(event, OrderEnded) for event in settle(paper)) == count


def test_configured_inventory_opens_the_account() -> None:
    inventory = {"binance": {"BTC": "1.5", "USDT": "1000"}}
    assert opening_balances(PaperSettings(inventory=inventory)) == {BTC_NODE: parse_e8("1.5"), USDT_NODE: 1000 * E8}
    assert opening_balances(PaperSettings(inventory={"binance": {"BTC": "0"}})) == {BTC_NODE: 0}
    with pytest.raises(ValueError, match=r"paper\.inventory\.binance\.BTC is -1"):
        opening_balances(PaperSettings(inventory={"binance": {"BTC": "-1"}}))


def test_deposits_and_withdrawals_move_the_balance_and_never_below_nothing() -> None:
    account = Account({})
    account.add(USDT_NODE, 5 * E8)
    account.add(USDT_NODE, -5 * E8)
    assert account.balances == {USDT_NODE: 0}
    with pytest.raises(ValueError, match="cannot withdraw 1 units of 1e-8 from USDT@binance"):
        account.add(USDT_NODE, -1)
    with pytest.raises(ValueError, match="from KRW@upbit"):
        account.add(Node(Venue("upbit"), Asset("KRW")), -1)


class Turns:
    """Latencies in a fixed order, in milliseconds."""

    def __init__(self, latencies_ms: list[int]) -> None:
        self._left = list(latencies_ms)

    def draw_ns(self, rng: random.Random) -> int:
        return self._left.pop(0) * 1_000_000


def run(seed: int, orders: int = 40) -> list[OrderEvent]:
    paper = venue(markets(TWO_ASKS), seed=seed, latency=None, reject_ppm=200_000)
    for number in range(orders):
        side = Side.BUY if number % 2 else Side.SELL
        price = "101" if side is Side.BUY else "98"
        paper.submit(PlaceOrder(order(side, price, "0.3", name=f"a-{number}")), number * 1_000_000)
    return settle(paper)


def test_one_seed_is_one_history() -> None:
    assert run(1) == run(1)
    assert run(1) != run(2)


def test_events_come_in_the_order_of_their_time_whatever_the_latencies() -> None:
    times = [event.at_ns for event in run(3)]
    assert times == sorted(times)
    assert len(set(times)) > 30


prices = st.integers(9_900, 10_100).map(lambda cents: cents / 100)
sizes = st.integers(1, 500_000).map(lambda lots: float(format_e8(lots * 1_000)))


@settings(max_examples=60, deadline=None)
@given(
    asks=st.dictionaries(prices, sizes, max_size=6),
    wanted=st.lists(st.tuples(st.integers(9_900, 10_100), st.integers(5_000, 700_000)), min_size=1, max_size=5),
)
def test_all_orders_together_never_fill_more_than_was_shown_nor_beyond_their_limit(
    asks: dict[float, float], wanted: list[tuple[int, int]]
) -> None:
    paper = venue(markets(StillBook(asks=sorted(asks.items())), instrument(notional_e8_min=0)))
    by_level = dict.fromkeys(asks, 0)
    for number, (cents, lots) in enumerate(wanted):
        sent = order(Side.BUY, "1", "1", name=f"a-{number}", price_e8=cents * 10**6, quantity_e8=lots * 1_000)
        events = send(paper, sent)
        for fill in fills(events):
            assert fill.price_e8 <= sent.price_e8
            by_level[float(format_e8(fill.price_e8))] += fill.quantity_e8
        assert sum(fill.quantity_e8 for fill in fills(events)) == ended(events).filled_quantity_e8 <= sent.quantity_e8
        left = [
            price for price, size in asks.items() if by_level[price] < parse_e8(repr(size)) and price * 100 <= cents + 0.001
        ]
        assert ended(events).state is OrderState.FILLED or not left, "an IOC ends short only when nothing within it is left"
    assert all(taken_e8 <= parse_e8(repr(asks[price])) for price, taken_e8 in by_level.items())


def test_the_real_board_is_what_the_paper_venue_reads() -> None:
    board_room = pytest.importorskip("arbitrage.market.board", reason="the market room is not there")
    from arbitrage.model.events import BookFull, BookUnit, InstrumentsRead, LinkUp
    from arbitrage.model.settings import MarketDataSettings

    board = board_room.Board((("binance", "BTCUSDT"),), MarketDataSettings(), full_picture_venues=("binance",))
    board.apply(InstrumentsRead(1, BINANCE, (instrument(),)))
    board.apply(LinkUp(1, BINANCE, "c", (0,)))
    board.apply(BookFull(2, 0, [BookUnit(100.0, 99.0, 1.0, 1.5), BookUnit(101.0, 98.0, 2.0, 2.0)], 0, True))
    paper = PaperVenue(PaperSettings(), board, random.Random(1), Account(PLENTY))
    last = ended(send(paper, order(Side.BUY, "101", "2.5"), now_ns=3))
    assert (last.state, last.reason) == (OrderState.FILLED, "")
