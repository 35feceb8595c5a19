"""The parts on their own: ladders, limit prices, routes, spreads, the census."""

from __future__ import annotations

import random
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_world import (
    NOW_NS,
    Doubt,
    PlainBoard,
    PlainBook,
    SlowLeg,
    confirmed,
    exact_product,
    instrument,
    node,
)
from strategy_world import settings as strategy_settings

from arbitrage.model.instruments import FeePayment, Instrument, Side, TickBand, TickTable
from arbitrage.model.money import E8, PPM
from arbitrage.strategy.census import percentile, take_census
from arbitrage.strategy.cycles import enumerate_cycles
from arbitrage.strategy.detector import Detector
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import LEVELS_FIRST, Ladder, LegTerms, price_limit_e8
from arbitrage.strategy.spreads import Spread
from arbitrage.strategy.valuation import Valuer

levels = st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 5000)), min_size=1, max_size=6)
fees = st.tuples(st.integers(-1000, 5000), st.sampled_from([FeePayment.RECEIVED, FeePayment.QUOTE]))


def make(
    steps: list[tuple[int, int]], side: Side, fee: tuple[int, FeePayment], lot_e8: int
) -> tuple[PlainBook, Instrument, Ladder]:
    """Make a book of whole lots, the market's rules, and a ladder of one side."""
    ordered = sorted(dict(steps).items(), reverse=side is Side.SELL)
    rows = [(price / E8, lots * lot_e8 / E8) for price, lots in ordered]
    book = PlainBook([], rows) if side is Side.BUY else PlainBook(rows, [])
    rules = instrument(0, "v", "A/B", fee_ppm=fee[0], payment=fee[1], lot_e8=lot_e8)
    return book, rules, Ladder(book, rules, side, LegTerms(100, 0))


@settings(max_examples=300, deadline=None)
@given(levels, st.sampled_from(Side), fees, st.sampled_from([1, 7, 1000]), st.data())
def test_a_ladder_answers_as_walking_level_by_level_does(
    steps: list[tuple[int, int]], side: Side, fee: tuple[int, FeePayment], lot_e8: int, data: st.DataObject
) -> None:
    book, rules, ladder = make(steps, side, fee, lot_e8)
    slow = SlowLeg(book, rules, side, spendable_e8=10**30)
    assert ladder.depth_e8 == 0
    while ladder.read_more():
        assert ladder.reads >= len(ladder.prices) > 0
    assert ladder.depth_e8 == slow.depth_e8
    quantity = data.draw(st.integers(1, slow.depth_e8 // lot_e8)) * lot_e8
    spent, received = slow.result(quantity)
    assert (ladder.spent_e8(quantity), ladder.received_e8(quantity)) == (spent, received)
    assert ladder.limit_e8(quantity) == slow.limit_e8(quantity)
    fills = slow.fills(quantity)
    quote = sum(-(-price * taken // E8) if side is Side.BUY else price * taken // E8 for price, taken in fills)
    assert ladder.quote_e8(quantity) == quote


@settings(max_examples=300, deadline=None)
@given(levels, st.sampled_from(Side), fees, st.sampled_from([1, 7, 1000]), st.integers(0, 10**14))
def test_affordable_and_needed_are_the_largest_and_the_smallest(
    steps: list[tuple[int, int]], side: Side, fee: tuple[int, FeePayment], lot_e8: int, amount: int
) -> None:
    _, _, ladder = make(steps, side, fee, lot_e8)
    bought = ladder.affordable_e8(amount)
    assert bought % lot_e8 == 0
    assert bought == 0 or ladder.spent_e8(bought) <= amount
    assert bought == ladder.depth_e8 or ladder.spent_e8(bought + lot_e8) > amount
    needed = ladder.needed_e8(amount)
    if needed is None:
        assert ladder.received_e8(ladder.depth_e8) < amount
    else:
        assert needed % lot_e8 == 0
        assert (ladder.received_e8(needed) if needed else 0) >= amount
        assert needed <= lot_e8 or ladder.received_e8(needed - lot_e8) < amount


@settings(max_examples=200, deadline=None)
@given(levels, st.sampled_from(Side), st.integers(0, 10**13), st.integers(0, 10**9))
def test_least_is_the_smallest_quantity_that_meets_both_minimums(
    steps: list[tuple[int, int]], side: Side, notional: int, quantity: int
) -> None:
    book, _, _ = make(steps, side, (0, FeePayment.RECEIVED), 7)
    strict = instrument(0, "v", "A/B", lot_e8=7, notional_e8_min=notional, quantity_e8_min=quantity)
    ladder = Ladder(book, strict, side, LegTerms(100, 0))
    least = ladder.least_e8()
    if least is None:
        assert ladder.depth_e8 < quantity or ladder.quotes[-1] < notional
        return
    assert least % 7 == 0 and least >= quantity and ladder.quote_e8(least) >= notional
    assert least == 7 or least - 7 < quantity or ladder.quote_e8(least - 7) < notional


def test_depth_is_read_only_as_far_as_it_is_asked_for() -> None:
    book = PlainBook([], [(100.0 + step, 1.0) for step in range(500)])
    ladder = Ladder(book, instrument(0, "v", "A/B"), Side.BUY, LegTerms(100, 0))
    assert 9 * E8 < ladder.affordable_e8(1000 * E8) < 10 * E8
    assert ladder.reads == 10 and book.asked == [LEVELS_FIRST, 4 * LEVELS_FIRST]
    ladder = Ladder(book, instrument(0, "v", "A/B"), Side.BUY, LegTerms(100, 0))
    assert 2 * E8 < ladder.affordable_e8(300 * E8) < 3 * E8
    assert ladder.reads == 3
    assert ladder.affordable_e8(10**18) == 100 * E8, "levels_max bounds what is read"
    assert not ladder.read_more()


def test_levels_of_less_than_a_lot_are_passed_over() -> None:
    book = PlainBook([(100.0, 0.4), (99.0, 2.7)], [])
    ladder = Ladder(book, instrument(0, "v", "A/B", lot_e8=E8), Side.SELL, LegTerms(100, 0))
    assert ladder.affordable_e8(10 * E8) == 2 * E8 and ladder.prices == [99 * E8]


def test_an_order_is_enough_when_quantity_and_limit_price_meet_the_minimums() -> None:
    strict = instrument(0, "v", "A/B", tick_e8=E8, quantity_e8_min=2 * E8, notional_e8_min=300 * E8)
    ladder = Ladder(PlainBook([(100.0, 9.0)]), strict, Side.SELL, LegTerms(100, 20_000))
    assert ladder.read_more()
    assert not ladder.is_enough(2 * E8 - 1), "the venue's least quantity"
    assert not ladder.is_enough(3 * E8), "the slack lowers the limit to 98"
    assert ladder.is_enough(4 * E8)


def test_a_ladder_ends_at_the_largest_order_and_at_what_may_be_locked() -> None:
    book = PlainBook([], [(100.0, 2.0), (200.0, 5.0)])
    small = Ladder(book, instrument(0, "v", "A/B", quantity_e8_max=3 * E8), Side.BUY, LegTerms(100, 0))
    assert small.affordable_e8(10**15) == 3 * E8 and not small.is_short
    # The venue locks the whole order at its limit price: 3 at 200, though two of them would cost 100.
    poor = Ladder(book, instrument(0, "v", "A/B"), Side.BUY, LegTerms(100, 0, spendable_e8=600 * E8))
    assert poor.affordable_e8(10**15) == 3 * E8 and poor.is_short
    # At 200 not even the two could be locked.
    poorer = Ladder(book, instrument(0, "v", "A/B"), Side.BUY, LegTerms(100, 0, spendable_e8=300 * E8))
    assert poorer.affordable_e8(10**15) == 2 * E8 and poorer.is_short
    seller = Ladder(PlainBook([(1.0, 9.0)], []), instrument(0, "v", "A/B"), Side.SELL, LegTerms(100, 0, spendable_e8=4 * E8))
    assert seller.affordable_e8(10**15) == 4 * E8 and seller.is_short


def test_a_limit_price_is_rounded_against_us_but_never_short_of_the_touched_level() -> None:
    bands = TickTable((TickBand(0, 1), TickBand(1000, 8)))
    rules = msgspec.structs.replace(instrument(0, "v", "A/B"), ticks=bands)
    for price in range(900, 1200):
        for slack in (0, 999, 50_000):
            allowed = [at for at in range(800, 1400) if at < 1000 or at % 8 == 0]
            highest = max(at for at in allowed if at * PPM <= price * (PPM + slack))
            assert price_limit_e8(rules, Side.BUY, price, slack) == max(price, highest)
            lowest = min(at for at in allowed if at * PPM >= price * (PPM - slack))
            assert price_limit_e8(rules, Side.SELL, price, slack) == min(price, lowest)
    assert price_limit_e8(instrument(0, "v", "A/B"), Side.SELL, 1, 100_000) == 1


def two_venues() -> PlainBoard:
    """Make a coin on two venues that quote USDT and KRW, a coin against USDT on both, and the fiat book."""
    quote_fee = {"fee_ppm": 500, "payment": FeePayment.QUOTE}
    return PlainBoard(
        [
            instrument(0, "binance", "BTC/USDT", fee_ppm=1000),
            instrument(1, "upbit", "BTC/KRW", tick_e8=E8, **quote_fee),  # type: ignore[arg-type]  # two keywords for three markets
            instrument(2, "upbit", "USDT/KRW", **quote_fee),  # type: ignore[arg-type]  # as above
            instrument(3, "binance", "XRP/USDT", fee_ppm=1000),
            instrument(4, "upbit", "XRP/USDT", **quote_fee),  # type: ignore[arg-type]  # as above
            None,
            instrument(6, "binance", "ETH/BTC"),
            instrument(7, "binance", "BTC/USDC"),
            instrument(8, "upbit", "DOGE/USDT"),
            instrument(9, "upbit", "DOGE/KRW"),
        ],
        [
            PlainBook([(60_000.0, 1.0)], [(60_010.0, 1.0)]),
            PlainBook([(85_000_000.0, 1.0)], [(85_100_000.0, 1.0)]),
            PlainBook([(1379.0, 1.0)], [(1380.0, 1.0)]),
            PlainBook([(2.0, 1.0)], [(2.01, 1.0)]),
            PlainBook([(1.99, 1.0)], [(2.0, 1.0)]),
            PlainBook(),
            PlainBook([(0.05, 1.0)], [(0.06, 1.0)]),
            PlainBook([(60_000.0, 1.0)], [(60_010.0, 1.0)]),
            PlainBook(),
            PlainBook(),
        ],
    )


TRANSFERS = {"BTC": confirmed(100), "USDT": confirmed(50), "XRP": confirmed()}


def spreads(board: PlainBoard, **changes: object) -> dict[str, Spread]:
    chosen = strategy_settings(**{"transfers": TRANSFERS, **changes})
    detector = Detector(chosen)
    detector.rebuild(board)
    return {line.asset: line for line in detector.spreads(board, NOW_NS)}


def floor_ppm(product: Fraction) -> int:
    return int((product - 1) * PPM // 1)


def test_a_spread_shows_both_books_the_rate_gross_net_and_what_is_missing() -> None:
    found = spreads(two_venues())
    assert list(found) == ["BTC", "XRP"]
    line = found["BTC"]
    assert (line.buy.node, line.buy.ask_e8, line.buy.bid_e8) == (node("BTC@binance"), 60_010 * E8, 60_000 * E8)
    assert (line.sell.node, line.sell.symbol, line.sell.quote) == (node("BTC@upbit"), "BTC/KRW", "KRW")
    gross = Fraction(85_000_000, 60_010 * 1380)
    fees = Fraction(999, 1000) * Fraction(9995, 10_000) * Fraction(PPM, PPM + 500)
    cost = fees * Fraction(9999, 10_000) * Fraction(19_999, 20_000)
    assert (line.gross_ppm, line.net_ppm, line.missing_ppm) == (floor_ppm(gross), floor_ppm(gross * cost), 0)
    (rate,) = line.fx
    assert (rate.bid_e8, rate.ask_e8) == (1379 * E8, 1380 * E8) and line.locked == ""


def test_a_spread_that_does_not_pay_says_what_is_missing_in_its_better_direction() -> None:
    line = spreads(two_venues())["XRP"]
    assert (line.buy.node.venue, line.sell.node.venue, line.fx) == ("upbit", "binance", ())
    net = Fraction(2) / Fraction(2) * Fraction(999, 1000) * Fraction(PPM, PPM + 500) * Fraction(19_999, 20_000)
    assert line.gross_ppm == 0 and line.net_ppm == floor_ppm(net) and line.missing_ppm == -line.net_ppm


def test_a_spread_the_other_way_buys_with_fiat_raised_at_its_bid() -> None:
    board = two_venues()
    board.books[0].bids = [(70_000.0, 1.0)]
    board.books[0].asks = [(70_010.0, 1.0)]
    line = spreads(board)["BTC"]
    assert line.buy.node.venue == "upbit"
    assert line.gross_ppm == floor_ppm(Fraction(70_000 * 1379, 85_100_000))


def test_a_spread_agrees_with_the_screen() -> None:
    board = two_venues()
    detector = Detector(strategy_settings(transfers=TRANSFERS, screen_edge_ppm=-100_000))
    for line in detector.detect(board, lambda _: 10**20, board.all_markets, NOW_NS):
        if line.name.startswith("USDT@binance > BTC"):
            product = exact_product(detector.graph, board, detector._table.edges(line.cycle))
            assert floor_ppm(product) == spreads(board)["BTC"].net_ppm
            break
    else:
        raise AssertionError("the cycle was not seen")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("stale", "stale_market: BTC/KRW@upbit"),
        ("coin", "unconfirmed_identity: BTC"),
        ("back", "unconfirmed_identity: USDT"),
        ("rate", "no_fx: KRW@upbit"),
        ("empty", ""),
        ("off grid", ""),
    ],
)
def test_a_spread_that_cannot_be_traded_says_why(spoil: str, words: str) -> None:
    board, transfers = two_venues(), dict(TRANSFERS)
    if spoil == "stale":
        board.doubts[1] = Doubt.STALE
    elif spoil == "coin":
        transfers["BTC"] = confirmed(100).__class__(cost_ppm=100)
    elif spoil == "back":
        del transfers["USDT"]
    elif spoil == "rate":
        board.doubts[2] = Doubt.GAP
    elif spoil == "empty":
        board.books[0].bids = []
        board.books[1].bids = []
    else:
        board.books[0].bids = [(1e-9, 1.0)]
        board.books[0].asks = [(1e-9, 1.0)]
    line = spreads(board, transfers=transfers)["BTC"]
    assert line.locked == words
    assert (line.net_ppm is None) == (spoil in ("rate", "empty", "off grid"))
    assert (line.missing_ppm is None) == (line.gross_ppm is None) == (line.net_ppm is None)


def test_fiat_whose_book_loses_a_price_behind_a_good_rate_gives_no_spread() -> None:
    class Flicker(PlainBook):
        """Shows levels, but no best ask: the rate is read from the levels."""

        @property
        def best_ask(self) -> float:
            return 0.0

    board = two_venues()
    board.books[2] = Flicker(board.books[2].bids, board.books[2].asks)
    board.books[0].bids = []
    assert spreads(board)["BTC"].net_ppm is None


def test_no_amount_is_valued_beyond_the_depth_and_none_without_a_market() -> None:
    board = two_venues()
    graph = Graph(board.instruments, {})
    valuer = Valuer(graph, board, graph.nodes[graph.index[node("USDT@binance")]].asset, 100, NOW_NS)
    place = node("BTC@binance")
    assert valuer.worth_e8(place, E8) == 60_000 * E8 * 999 // 1000
    assert valuer.worth_e8(place, 0) == valuer.cost_e8(place, 0) == valuer.raised_by_e8(place, 0) == 0
    assert valuer.worth_e8(place, E8 + 1) is None and valuer.cost_e8(place, E8) is None
    assert valuer.worth_e8(place, -E8 // 2) == -60_010 * -(-E8 * PPM // 2 // (PPM - 1000))
    assert valuer.worth_e8(place, -2 * E8) is None
    assert valuer.worth_e8(node("ETH@binance"), 1) is None and valuer.worth_e8(node("DOGE@mars"), 1) is None
    assert valuer.worth_e8(node("USDT@mars"), -5) == -5
    assert valuer.bought_with_e8(place, 60_010 * E8) == E8 * 999 // 1000


def test_census_equals_brute_force() -> None:
    for seed in range(60):
        dice = random.Random(seed)
        pairs = [dice.sample(["A", "B", "C", "D"], 2) for _ in range(dice.randint(3, 8))]
        board = PlainBoard(
            [instrument(market, "v", "/".join(pair)) for market, pair in enumerate(pairs)],
            [PlainBook([(dice.uniform(0.95, 1.0), 1.0)], [(dice.uniform(1.0, 1.05), 1.0)]) for _ in pairs],
        )
        if dice.random() < 0.3:
            board.books[0].bids = []
        graph = Graph(board.instruments, {})
        rates = [exact_product(graph, board, [edge]) for edge in range(graph.transfer_offset)]
        products = {cycle: exact_product(graph, board, cycle) for cycle in enumerate_cycles(graph, 4)}
        census = take_census(graph, rates, legs_max=4, cycles_max=10_000, top=3)
        assert census.cycles == {length: sum(len(cycle) == length for cycle in products) for length in (2, 3, 4)}
        assert census.gaining == sum(product > 1 for product in products.values())
        assert [best.product for best in census.top] == sorted(products.values(), reverse=True)[:3]
        for market, best in census.best_by_market.items():
            through = [product for cycle, product in products.items() if market in {edge >> 1 for edge in cycle}]
            assert best == pytest.approx(float(max(through)))
        bounded = take_census(graph, rates, legs_max=4, cycles_max=1, top=0)
        assert bounded.is_truncated == (len(products) > 1) and bounded.top == []


def test_a_product_of_exactly_one_does_not_gain() -> None:
    board = PlainBoard(
        [instrument(0, "v", "A/B"), instrument(1, "v", "B/C"), instrument(2, "v", "A/C")],
        [PlainBook([(3.3, 1.0)], [(3.4, 1.0)]), PlainBook([(1.1, 1.0)], [(1.2, 1.0)]), PlainBook([(3.6, 1.0)], [(3.63, 1.0)])],
    )
    graph = Graph(board.instruments, {})
    rates = [Fraction(10, 34), Fraction(33, 10), Fraction(10, 12), Fraction(11, 10), Fraction(100, 363), Fraction(36, 10)]
    census = take_census(graph, rates, legs_max=3, cycles_max=10, top=1)
    assert census.gaining == 0 and census.top[0].product == 1


def test_percentiles_are_members() -> None:
    ordered = [1.0, 2.0, 3.0, 4.0]
    shares = [Fraction(1, 100), Fraction(1, 4), Fraction(1, 2), Fraction(51, 100), Fraction(1)]
    assert [percentile(ordered, share) for share in shares] == [1.0, 1.0, 2.0, 3.0, 4.0]
