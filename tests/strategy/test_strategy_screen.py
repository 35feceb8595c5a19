"""Cycles and the screen against brute force on random graphs: the same cycles, each once, and none lost or invented."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_world import (
    PlainBoard,
    PlainBook,
    confirmed,
    exact_product,
    instrument,
    slow_cycles,
)

from arbitrage.model.instruments import FeePayment, Instrument
from arbitrage.model.money import PPM
from arbitrage.model.settings import TransferSettings
from arbitrage.strategy.cycles import enumerate_cycles
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.screen import Screen
from arbitrage.strategy.segments import SegmentTable, cut

SLACK = Fraction(1, 10**9)


def random_world(dice: random.Random) -> tuple[PlainBoard, dict[str, TransferSettings]]:
    """Make one to three venues over a few assets, with parallel markets, empty sides, fees of both kinds and rebates."""
    venues = ["u", "v", "w"][: dice.choice([1, 1, 2, 2, 3])]
    assets = [f"A{position}" for position in range(dice.randint(2, 5 if len(venues) == 1 else 4))]
    value = {asset: dice.uniform(0.01, 1000) for asset in assets}
    instruments: list[Instrument | None] = []
    books = []
    for market in range(dice.randint(2, 9)):
        base, quote = dice.sample(assets, 2)
        payment = dice.choice([FeePayment.RECEIVED, FeePayment.QUOTE])
        fee_ppm = dice.choice([-100, 0, 500, 1000])
        known = instrument(market, dice.choice(venues), f"{base}/{quote}", fee_ppm=fee_ppm, payment=payment)
        instruments.append(known if dice.random() > 0.05 else None)
        books.append(PlainBook())
        reprice(dice, books[-1], value[base] / value[quote])
    transfers = {asset: confirmed(dice.choice([0, 0, 300])) for asset in assets if dice.random() < 0.8}
    return PlainBoard(instruments, books), transfers


def reprice(dice: random.Random, book: PlainBook, price: float) -> None:
    mid = price * (1 + dice.uniform(-0.01, 0.01))
    half_spread = dice.uniform(0, 0.002)
    book.bids = [(mid * (1 - half_spread), 1.0)] if dice.random() > 0.03 else []
    book.asks = [(mid * (1 + half_spread), 1.0)] if dice.random() > 0.03 else []


def assert_same(graph: Graph, table: SegmentTable, screen: Screen, board: PlainBoard, edge_ppm: int) -> int:
    """Compare what passes with an exact product of every cycle; return how many pass."""
    passing = set().union(*screen.passing.values())
    limit = 1 + Fraction(edge_ppm, PPM)
    for cycle in range(len(table)):
        product = exact_product(graph, board, table.edges(cycle))
        assert cycle in passing or product <= limit, "a gaining cycle was dropped"
        assert cycle not in passing or product > limit * (1 - SLACK), "a cycle that does not gain was let through"
        assert abs(screen.product(cycle) - float(product)) <= 1e-9 * max(1.0, float(product))
        for market in board.all_markets:
            is_listed = cycle in screen.passing.get(market, ())
            assert is_listed == (cycle in passing and market in screen.markets_of(cycle))
    return len(passing)


@pytest.mark.parametrize("seed", range(1500))
def test_every_cycle_is_found_once(seed: int) -> None:
    dice = random.Random(seed)
    board, transfers = random_world(dice)
    graph = Graph(board.instruments, transfers)
    legs_max = dice.randint(2, 5)
    cycles = list(enumerate_cycles(graph, legs_max))
    assert len({frozenset(cycle) for cycle in cycles}) == len(cycles)
    assert {frozenset(cycle) for cycle in cycles} == slow_cycles(graph, legs_max)
    for cycle in cycles:
        assert all(graph.targets[a] == graph.sources[b] for a, b in zip(cycle, (*cycle[1:], cycle[0]), strict=True))


@pytest.mark.parametrize("seed", range(400))
def test_screen_equals_brute_force_after_any_updates(seed: int) -> None:
    dice = random.Random(seed)
    board, transfers = random_world(dice)
    graph = Graph(board.instruments, transfers)
    table = SegmentTable(graph, enumerate_cycles(graph, dice.randint(2, 5)), 10_000)
    edge_ppm = dice.choice([-2000, 0, 0, 1500])
    screen = Screen(graph, table, edge_ppm)
    screen.update(board.books, board.all_markets)
    seen = assert_same(graph, table, screen, board, edge_ppm)
    for _ in range(12):
        changed = set(dice.sample(board.all_markets, dice.randint(1, min(3, len(board.books)))))
        for market in changed:
            if dice.random() < 0.8:
                book = board.books[market]
                price = book.best_bid or book.best_ask or 1.0
                reprice(dice, book, price)
        screen.update(board.books, changed)
        gaining = screen.gaining(changed)
        assert set(gaining) == {cycle for market in changed for cycle in screen.passing.get(market, ())}
        seen += assert_same(graph, table, screen, board, edge_ppm)
    assert seen >= 0


def test_random_graphs_do_contain_gaining_cycles() -> None:
    counts = []
    for seed in range(100):
        dice = random.Random(seed)
        board, transfers = random_world(dice)
        graph = Graph(board.instruments, transfers)
        table = SegmentTable(graph, enumerate_cycles(graph, 4), 10_000)
        screen = Screen(graph, table, 0)
        screen.update(board.books, board.all_markets)
        counts.append(len(set().union(*screen.passing.values())))
    assert sum(count > 0 for count in counts) > 30 and max(counts) > 5


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_screen_equals_brute_force_for_hypothesis(data: st.DataObject) -> None:
    pairs = [("A", "B"), ("B", "C"), ("C", "A"), ("B", "A"), ("C", "B")]
    price = st.floats(0.9, 1.1, allow_nan=False).map(lambda value: round(value, 6))
    board = PlainBoard(
        [instrument(market, "v", "/".join(pair), fee_ppm=market * 100) for market, pair in enumerate(pairs)],
        [PlainBook() for _ in pairs],
    )
    graph = Graph(board.instruments, {})
    table = SegmentTable(graph, enumerate_cycles(graph, 4), 10_000)
    screen = Screen(graph, table, 0)
    for _ in range(data.draw(st.integers(1, 12))):
        market = data.draw(st.sampled_from(board.all_markets))
        low, high = sorted((data.draw(price), data.draw(price)))
        board.books[market].bids = data.draw(st.sampled_from([[(low, 1.0)], [(low, 1.0)], []]))
        board.books[market].asks = data.draw(st.sampled_from([[(high, 1.0)], [(high, 1.0)], []]))
        screen.update(board.books, {market})
        screen.gaining({market})
        assert_same(graph, table, screen, board, 0)


def test_a_product_of_exactly_one_plus_the_screen_is_not_dropped_by_rounding() -> None:
    # 3.3 * 1.1 / 3.63 is exactly 1 in decimals and 0.9999999999999999 in floats.
    board = PlainBoard(
        [instrument(0, "v", "A/B"), instrument(1, "v", "B/C"), instrument(2, "v", "A/C")],
        [PlainBook([(3.3, 1.0)], [(3.4, 1.0)]), PlainBook([(1.1, 1.0)], [(1.2, 1.0)]), PlainBook([(3.6, 1.0)], [(3.63, 1.0)])],
    )
    graph = Graph(board.instruments, {})
    screen = Screen(graph, SegmentTable(graph, enumerate_cycles(graph, 3), 10), 0)
    screen.update(board.books, {0, 1, 2})
    assert set(screen.passing) == {0, 1, 2}


@pytest.mark.parametrize("price", [1e300, 5e-324, 1e18, 1e-18, float("inf"), float("nan"), -1.0])
def test_a_price_that_no_venue_means_is_no_price(price: float) -> None:
    board = PlainBoard(
        [instrument(0, "v", "A/B"), instrument(1, "v", "B/C"), instrument(2, "v", "A/C")],
        [PlainBook([(at, 1.0)], [(at, 1.0)]) for at in (price, 1.1, 1.0)],
    )
    graph = Graph(board.instruments, {})
    screen = Screen(graph, SegmentTable(graph, enumerate_cycles(graph, 3), 10), 0)
    screen.update(board.books, {0, 1, 2})
    assert not screen.passing
    board.books[0].bids, board.books[0].asks = [(1.0, 1.0)], [(1.0, 1.0)]
    screen.update(board.books, {0})
    assert set(screen.passing) == {0, 1, 2}, "and it leaves nothing behind"


def test_cutting_takes_the_two_busiest_nodes_and_balances_the_halves() -> None:
    coins = [f"C{position}" for position in range(6)]
    instruments: list[Instrument | None] = []
    for coin in coins:
        instruments.append(instrument(len(instruments), "b", f"{coin}/USDT"))
        instruments.append(instrument(len(instruments), "u", f"{coin}/KRW"))
    instruments.append(instrument(len(instruments), "u", "USDT/KRW"))
    graph = Graph(instruments, {asset: confirmed() for asset in [*coins, "USDT"]})
    table = SegmentTable(graph, enumerate_cycles(graph, 4), 10_000)
    assert len(table) == 2 * 6 + 6 * 5
    assert len(table.segments) == 2 * 6 + 2 and len(table.groups) == 2
    for cycle in enumerate_cycles(graph, 4):
        begin, end = cut(graph, cycle)
        ends = {graph.nodes[graph.sources[cycle[position]]] for position in (begin, end)}
        assert {str(place) for place in ends} == {"USDT@b", "KRW@u"}


def test_reaching_the_bound_on_cycles_is_visible_and_keeps_the_short_ones() -> None:
    pairs = ["A/B", "B/C", "C/A", "A/D", "B/D", "C/D"]
    graph = Graph([instrument(market, "v", pair) for market, pair in enumerate(pairs)], {})
    everything = SegmentTable(graph, enumerate_cycles(graph, 4), 1_000)
    assert not everything.is_truncated and len(everything) == 8 + 6
    bounded = SegmentTable(graph, enumerate_cycles(graph, 4), 8)
    assert bounded.is_truncated and {len(bounded.edges(cycle)) for cycle in range(8)} == {3}
