"""Values at executable books: walked depth, fees taken off, rounded against us; no book, no value."""

from __future__ import annotations

import pytest
from engine_world import BINANCE, BTC, KRW, UPBIT, USDT, World, instrument

from arbitrage.engine.quotes import BookQuotes
from arbitrage.model.events import BookFull, BookUnit, Command, CommandKind, InstrumentsRead, LinkDown
from arbitrage.model.instruments import FeePayment, FeeSchedule, Node, Side, TickTable
from arbitrage.model.money import E8, Asset


def quoted(*, fees_ppm: int = 500) -> tuple[World, BookQuotes]:
    """Two levels of 0.5 BTC a side at 99,990/100,010 and 100 worse; won at 1,399/1,401 for 100,000, ten times that behind."""
    world = World()
    world.connect()
    if fees_ppm != 500:
        schedule = FeeSchedule(fees_ppm, fees_ppm, FeePayment.RECEIVED)
        world.feed(InstrumentsRead(world.now_ns, BINANCE, (instrument(0, fees=schedule),)))
        world.feed(Command(world.now_ns, CommandKind.ACCEPT_INSTRUMENTS, "test", "fees"))
    world.quiet_books()
    world.engine.quotes.now_ns = world.now_ns
    return world, world.engine.quotes


def test_the_reporting_asset_and_nothing_are_worth_themselves() -> None:
    _, quotes = quoted()
    assert quotes.value_in_reporting(USDT, -7) == -7
    assert quotes.value_in_reporting(BTC, 0) == 0


def test_a_sale_walks_the_bids_and_pays_the_fee() -> None:
    _, quotes = quoted()
    gross_e8 = (99_990 * 5 + 99_890 * 2) * E8 // 10
    assert quotes.value_in_reporting(BTC, 7 * E8 // 10) == gross_e8 - -(-gross_e8 * 500 // 1_000_000)


def test_buying_back_walks_the_asks_for_more_than_is_owed() -> None:
    _, quotes = quoted()
    value = quotes.value_in_reporting(BTC, -7 * E8 // 10)
    assert value is not None
    exact = (100_010 * 5 + 100_110 * 2) * E8 / 10 / (1 - 500 / 1_000_000)
    assert exact <= -value < exact * 1.000_1


def test_won_is_turned_at_its_own_book_and_bought_back_there() -> None:
    _, quotes = quoted()
    worth = quotes.value_in_reporting(KRW, 1_401_000 * E8)
    owed = quotes.value_in_reporting(KRW, -1_399_000 * E8)
    assert worth is not None and owed is not None
    assert worth == 1_000 * E8 * 1_000_000 // 1_000_500, "Upbit takes its fee on top"
    assert -owed > 1_000 * E8, "the fee is owed too"


def test_large_amounts_of_won_walk_into_the_next_level() -> None:
    _, quotes = quoted()
    one, two = (quotes.value_in_reporting(KRW, units * E8) for units in (140_000_000, 280_000_000))
    assert one is not None and two is not None
    assert two < 2 * one
    back_one, back_two = (quotes.value_in_reporting(KRW, -units * E8) for units in (139_000_000, 278_000_000))
    assert back_one is not None and back_two is not None
    assert back_two < 2 * back_one


@pytest.mark.parametrize("amount_e8", [2 * E8, -2 * E8])
def test_more_than_the_depth_of_every_way_has_no_value(amount_e8: int) -> None:
    world, quotes = quoted()
    world.feed(LinkDown(world.now_ns, UPBIT, "upbit", (1, 2), "cut"))
    assert quotes.value_in_reporting(BTC, amount_e8) is None


def test_a_doubted_market_is_no_way_but_another_venue_may_be() -> None:
    world, quotes = quoted()
    direct = quotes.value_in_reporting(BTC, E8 // 10)
    world.feed(LinkDown(world.now_ns, BINANCE, "binance", (0,), "cut"))
    by_won = quotes.value_in_reporting(BTC, E8 // 10)
    assert direct is not None and by_won is not None and by_won != direct
    world.feed(LinkDown(world.now_ns, UPBIT, "upbit", (1, 2), "cut"))
    assert quotes.value_in_reporting(BTC, E8 // 10) is None


def test_an_unknown_asset_has_no_value() -> None:
    _, quotes = quoted()
    assert quotes.value_in_reporting(Asset("GALA"), E8) is None
    assert quotes.unit_quote(Node(BINANCE, Asset("GALA"))) is None


def test_unit_quotes_leave_by_the_nodes_own_venue() -> None:
    _, quotes = quoted()
    assert quotes.unit_quote(Node(BINANCE, USDT)) == (E8, E8)
    assert quotes.unit_quote(Node(BINANCE, BTC)) == (99_990 * E8, 100_010 * E8)
    at_upbit = quotes.unit_quote(Node(UPBIT, BTC))
    assert at_upbit is not None
    assert at_upbit[0] == 139_900_000 * (E8 * E8 // (1_401 * E8))
    won = quotes.unit_quote(Node(UPBIT, KRW))
    assert won == (E8 * E8 // (1_401 * E8), -(-E8 * E8 // (1_399 * E8)))


def test_a_unit_too_small_to_be_worth_anything_has_no_quote() -> None:
    world, quotes = quoted()
    dear = TickTable.single(10**16)
    world.feed(InstrumentsRead(world.now_ns, UPBIT, (instrument(1), instrument(2, ticks=dear))))
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_INSTRUMENTS, "test", "grid"))
    for _ in range(10):
        world.picture(2, 1e9, 2e9, 1.0)
        units = [BookUnit(2e9, 1e9, 1.0, 1.0)]
        world.feed(BookFull(world.now_ns, 2, units, world.now_ns // 1_000_000, False))
    assert quotes.unit_quote(Node(UPBIT, KRW)) is None


def test_a_level_of_nothing_is_passed_over_and_one_off_the_grid_ends_the_walk() -> None:
    world, quotes = quoted()
    asks = ((1_401.0, 1e-12), (1_402.0, 10.0), (1_402.5, 1e6))
    units = [BookUnit(price, 1_399.0 - rank, size, 1.0) for rank, (price, size) in enumerate(asks)]
    world.feed(BookFull(world.now_ns, 2, units, world.now_ns // 1_000_000, False))
    worth = quotes.value_in_reporting(KRW, 1_402 * E8)
    assert worth is not None and worth < E8, "bought at the second level"
    world.feed(BookFull(world.now_ns, 1, [BookUnit(0.0, 139_900_000.0, 0.0, 1.0)], world.now_ns // 1_000_000, False))
    assert quotes.doubt(2) is None and quotes.value_in_reporting(KRW, 1_402 * 9 * E8) is not None
    assert quotes.value_in_reporting(KRW, 1_402 * 20 * E8) is None, "the third price is on no grid"


def test_an_empty_side_has_no_touch() -> None:
    world, quotes = quoted()
    world.feed(BookFull(world.now_ns, 2, [BookUnit(0.0, 1_399.0, 0.0, 5.0)], world.now_ns // 1_000_000, False))
    assert quotes._touch(2, Side.SELL) is None


def test_dust_is_worth_nothing_which_is_not_the_same_as_having_no_value() -> None:
    world, quotes = quoted()
    assert quotes.value_in_reporting(KRW, 1) == 0
    world.feed(BookFull(world.now_ns, 2, [BookUnit(1_400.0, 1_401.0, 1.0, 1.0)], world.now_ns // 1_000_000, False))
    assert quotes.doubt(2) is not None and quotes.doubt(1) is None
    assert quotes.value_in_reporting(KRW, 1) == 0, "by way of BTC"
