"""How much prices moved is measured from the books, and prices a wait."""

from __future__ import annotations

import random

import pytest
from engine_world import BTC, KRW, MS, USDT, World

from arbitrage.engine.volatility import GAP_NS_MAX, SAMPLES_MIN, Volatility
from arbitrage.model.events import Wake

SECOND_NS = 1_000 * MS


class Shown:
    """A book that shows two prices."""

    def __init__(self, mid: float = 100.0, flaw: object | None = None) -> None:
        self.mid, self.flaw = mid, flaw

    @property
    def best_bid(self) -> float:
        return self.mid * 0.9999

    @property
    def best_ask(self) -> float:
        return self.mid * 1.0001


def walked(steps: list[float], *, every_ns: int = SECOND_NS) -> Volatility:
    """Sample a book that moves by these relative steps."""
    volatility, book = Volatility(1), Shown()
    for number, step in enumerate((0.0, *steps), 1):
        book.mid *= 1 + step
        volatility.sample([book], number * every_ns)
    return volatility


def test_it_is_not_known_before_enough_steps_were_seen() -> None:
    assert walked([0.001] * (SAMPLES_MIN - 1)).ppm([0], 1_000) is None
    assert walked([0.001] * SAMPLES_MIN).ppm([0], 1_000) is not None
    assert walked([0.001] * SAMPLES_MIN).ppm([], 1_000) == 0


def test_it_is_the_root_of_the_mean_square_and_grows_with_the_root_of_time() -> None:
    volatility = walked([0.001, -0.001] * 50)
    assert volatility.ppm([0], 1_000) == pytest.approx(1_000, rel=0.01)
    assert volatility.ppm([0], 4_000) == pytest.approx(2_000, rel=0.01)
    assert volatility.ppm([0], 0) == 0


@pytest.mark.parametrize("sigma", [0.0001, 0.002])
def test_a_random_walk_gives_back_its_own_measure(sigma: float) -> None:
    dice = random.Random(7)
    measured = walked([dice.gauss(0, sigma) for _ in range(2_000)]).ppm([0], 1_000)
    assert measured == pytest.approx(sigma * 1_000_000, rel=0.25)


def test_a_longer_step_counts_by_its_time() -> None:
    assert walked([0.002, -0.002] * 30, every_ns=4 * SECOND_NS).ppm([0], 1_000) == pytest.approx(1_000, rel=0.01)


def test_several_markets_on_the_way_add_up() -> None:
    volatility, books = Volatility(2), [Shown(), Shown()]
    for number in range(1, 60):
        books[0].mid = 100 + 0.3 * (number % 2)
        books[1].mid = 100 + 0.4 * (number % 2)
        volatility.sample(books, number * SECOND_NS)
    assert volatility.ppm([0, 1], 1_000) == pytest.approx(5_000, rel=0.02)


def test_what_cannot_be_a_price_is_left_out() -> None:
    volatility, book = Volatility(1), Shown()
    for number in range(1, 100):
        book.flaw, book.mid = ("gap", 500.0) if number % 3 == 0 else (None, 100.0)
        volatility.sample([book], number * SECOND_NS)
    assert volatility.ppm([0], 1_000) == 0
    assert walked([0.0] * 30 + [5.0, -0.8] + [0.0] * 5).ppm([0], 1_000) == 0, "another coin under the same name"
    assert walked([0.001] * 30, every_ns=GAP_NS_MAX + 1).ppm([0], 1_000) is None, "too far apart to be steps"


def test_books_are_looked_at_at_most_once_a_second() -> None:
    volatility, book = Volatility(1), Shown()
    for tenth in range(SAMPLES_MIN * 10):
        volatility.sample([book], SECOND_NS + tenth * 100 * MS)
    assert volatility.ppm([0], 1_000) is None
    volatility.sample([book], (SAMPLES_MIN + 1) * SECOND_NS)
    assert volatility.ppm([0], 1_000) == 0


def test_the_engine_measures_assets_by_the_markets_that_value_them() -> None:
    world = World()
    world.connect()
    quotes = world.engine.quotes
    assert quotes.volatility_ppm(USDT, 1_000) == 0 and quotes.volatility_ppm(BTC, 1_000) is None
    for number in range(SAMPLES_MIN + 5):
        shift = 100 * (number % 2)
        world.depth(99_900.0 + shift, 100_000.0 + shift, 0.5)
        world.picture(1, 139_900_000.0, 140_100_000.0, 0.5)
        world.picture(2, 1_399.0, 1_401.0, 100_000.0)
        world.feed(Wake(world.now_ns))
        world.wait(1_000)
    measured = quotes.volatility_ppm(BTC, 1_000)
    assert measured == pytest.approx(1_000, rel=0.05)
    assert quotes.volatility_ppm(KRW, 1_000) == 0
