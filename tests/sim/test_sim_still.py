"""Markets that stand still: every price is known, no book is crossed, and each gives a sign of life all the time."""

from __future__ import annotations

import itertools

import pytest

from arbitrage.model.money import parse_e8
from arbitrage.sim.scenarios.catalog import make_scenario
from arbitrage.sim.scenarios.changes import BookChanged
from arbitrage.sim.scenarios.still import book_of, price_of, quantity_of

NAME = "still:BTCUSDT,XRPUSDT,ETHBTC,PEPEUSDT,KRW-BTC,KRW-USDT,BTC-ETH"


def test_books_stand_around_the_known_price_on_their_own_grid_and_are_not_crossed() -> None:
    for spec in make_scenario(NAME, 1).markets:
        bids, asks = book_of(spec)
        price = price_of(spec.base) / price_of(spec.quote)
        assert bids[0][0] < asks[0][0] and abs(bids[0][0] / 1e8 / price - 1) < 0.01, spec.symbol
        assert [price_e8 for price_e8, _ in bids] == sorted({price_e8 for price_e8, _ in bids}, reverse=True)
        assert [price_e8 for price_e8, _ in asks] == sorted({price_e8 for price_e8, _ in asks})
        for price_e8, quantity_e8 in (*bids, *asks):
            assert price_e8 % spec.ticks.tick_e8_at(price_e8) == 0 and quantity_e8 % spec.lot_e8 == 0 and quantity_e8 > 0


def test_every_book_moves_far_from_its_best_prices_all_the_time() -> None:
    scenario = make_scenario(NAME, 1)
    count = len(scenario.markets)
    changes = [change for change in itertools.islice(scenario.changes(), count * 4) if isinstance(change, BookChanged)]
    assert {change.symbol for change in changes[:count]} == {spec.symbol for spec in scenario.markets}
    times = [change.at_ns for change in changes]
    assert times == sorted(times)
    for change in changes[count:]:
        spec = next(spec for spec in scenario.markets if spec.symbol == change.symbol)
        ((price_e8, quantity_e8),) = change.asks
        assert not change.bids and price_e8 > book_of(spec)[1][-1][0] and quantity_e8 > 0
    first, second = (next(c for c in changes[count * turn :] if c.symbol == "BTCUSDT").asks[0][1] for turn in (1, 2))
    assert first != second


def test_the_accounts_hold_enough_of_every_asset_and_common_ones_may_move() -> None:
    scenario = make_scenario(NAME, 1)
    assert set(scenario.inventory["binance"]) == {"BTC", "USDT", "XRP", "ETH", "PEPE"}
    assert all(parse_e8(text) > 0 for assets in scenario.inventory.values() for text in assets.values())
    assert set(scenario.transfers) == {"BTC", "ETH", "USDT"}
    spec = scenario.markets[1]
    assert quantity_of(spec, 2_200.0) == parse_e8("1000")


@pytest.mark.parametrize("symbol", ["XRPJPY", "USDT", "EUR-BTC"])
def test_a_symbol_that_cannot_be_served_is_named(symbol: str) -> None:
    with pytest.raises(LookupError, match=symbol):
        make_scenario(f"still:{symbol}", 1)
