"""What plans left over is traded back in one order once a venue takes one so small: pains row 4."""

from __future__ import annotations

import msgspec
import pytest
from desk_world import (
    BINANCE,
    BTC,
    BTC_KRW,
    BTC_USDT,
    ETH,
    ETH_BTC,
    ETH_USDT,
    INSTRUMENTS,
    KRW,
    SECOND,
    UPBIT,
    USDT,
    USDT_KRW,
    House,
    end,
    filled,
    kimchi,
    make_leg,
    make_opportunity,
    rules,
)

from arbitrage.execution.hedging import HEDGE_CYCLE, Residue, find_hedge, markets_for, takes
from arbitrage.ledger import Leftover
from arbitrage.model.events import Funded
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side
from arbitrage.model.money import E8, Asset, notional_down_e8
from arbitrage.model.opportunities import Opportunity, PlanState
from arbitrage.model.settings import ExecutionSettings

PLENTY = 10_000 * E8
COIN = Asset("COIN")


def residue(asset: Asset, amount_e8: int, *, value_e8_max: int = PLENTY, slippage_ppm: int = 20_000) -> Residue:
    return Residue(asset, amount_e8, USDT, slippage_ppm, value_e8_max)


def hedge(house: House, left: Residue, market: int) -> Opportunity:
    found = find_hedge(left, INSTRUMENTS[market], house.books, house.now_ns)
    assert isinstance(found, Opportunity), found
    return found


def test_markets_lead_to_the_reporting_asset_and_straight_where_they_can() -> None:
    assert [each.id for each in markets_for(residue(BTC, 1), INSTRUMENTS)] == [BTC_USDT]
    assert [each.id for each in markets_for(residue(KRW, 1), INSTRUMENTS)] == [USDT_KRW]
    korean = rules(5, UPBIT, COIN, KRW, E8, 1, E8, fees=INSTRUMENTS[1].fees)
    assert [each.id for each in markets_for(residue(COIN, 1), [*INSTRUMENTS, korean])] == [5], "by way of the won"
    assert markets_for(residue(COIN, 1), [korean]) == [], "the won leads nowhere"
    assert markets_for(residue(Asset("X"), 1), INSTRUMENTS) == []


@pytest.mark.parametrize(
    ("asset", "amount_e8", "market", "side"),
    [
        (BTC, E8 // 100, BTC_USDT, Side.SELL),
        (BTC, -E8 // 100, BTC_USDT, Side.BUY),
        (KRW, 10_000 * E8, USDT_KRW, Side.BUY),
        (KRW, -10_000 * E8, USDT_KRW, Side.SELL),
        (ETH, E8, ETH_USDT, Side.SELL),
    ],
)
def test_a_leftover_is_sold_and_a_lack_bought_within_the_price_limit(
    asset: Asset, amount_e8: int, market: int, side: Side
) -> None:
    house = House()
    left = residue(asset, amount_e8)
    assert takes(left, INSTRUMENTS[market], house.books)
    leg = hedge(house, left, market).legs[0]
    assert (leg.market, leg.side) == (market, side)
    moved = {leg.spent.asset: -leg.spent_e8, leg.received.asset: leg.received_e8}[asset]
    assert moved * amount_e8 < 0, "it makes what is left smaller"
    step_e8 = INSTRUMENTS[market].lot_e8 * (1_400 if asset == KRW else 1)
    assert abs(moved + amount_e8) <= step_e8 + abs(amount_e8) // 500
    top_e8 = INSTRUMENTS[market].ticks.recover_e8(house.books.levels(market, side)[0][0])
    assert leg.top_price_e8 == top_e8
    assert abs(leg.price_limit_e8 - top_e8) <= top_e8 // 50
    assert leg.fee_e8 > 0 and leg.fee_asset in (leg.spent.asset, leg.received.asset)


def test_a_hedge_is_a_plan_of_its_own_kind_that_expects_nothing_and_leaves_nothing() -> None:
    house = House()
    for number in (1, 2):
        house.start(kimchi(is_carried=True))
        buy, sell = house.sent[-2:]
        house.hear(filled(buy, "1", 6_000), end(buy, 6_000), end(sell, 0))
        assert house.outcomes()[-1].state is PlanState.COMPLETED, f"plan {number} left too little to govern"
    (left,) = house.ledger.residues()
    assert left == Leftover(BTC, 2 * 5_994, 0)
    found = hedge(house, residue(BTC, left.amount_e8), BTC_USDT)
    assert (found.cycle, found.net_e8, found.notional_e8) == (HEDGE_CYCLE, 0, found.legs[0].spent_e8 * 50_000)
    house.commit(house.desk.hedge(found, house.now_ns))
    order = house.sent[-1]
    assert (order.side, order.market, order.quantity_e8) == (Side.SELL, BTC_USDT, 11_000), "floored to the venue's lot"
    assert notional_down_e8(order.price_e8, order.quantity_e8) >= INSTRUMENTS[BTC_USDT].notional_e8_min
    assert order.valid_until_ns == house.now_ns + 2 * SECOND
    house.fill_at_touch(order)
    outcome = house.outcomes()[-1]
    assert outcome.state is PlanState.COMPLETED and outcome.expected_e8 == 0
    assert house.ledger.residues() == (Leftover(BTC, 988, 0),), "what is under a lot stays, with its age"
    assert house.decisions() == []
    house.ledger.check()


@pytest.mark.parametrize(("quantity_e8", "side"), [(E8 // 100, Side.BUY), (E8 // 100, Side.SELL)])
def test_a_hedge_by_way_of_another_currency_clears_what_was_left_and_leaves_that_currency(quantity_e8: int, side: Side) -> None:
    """What is hedged is gone from what is left; the won that came or went instead are the next to be hedged."""
    house = House()
    house.start(
        make_opportunity(
            make_leg(BTC_USDT, side, 50_000 * E8, quantity_e8), make_leg(BTC_KRW, side.opposite, 72_000_000 * E8, quantity_e8)
        )
    )
    first, second = house.sent
    house.hear(end(first, 0), end(second, 0), filled(first, "late", quantity_e8))
    (left,) = house.ledger.residues()
    house.commit(house.desk.hedge(hedge(house, residue(BTC, left.amount_e8), BTC_KRW), house.now_ns))
    house.fill_at_touch(house.sent[-1])
    assert house.outcomes()[-1].state is PlanState.COMPLETED and house.decisions() == []
    residues = {each.asset: each.amount_e8 for each in house.ledger.residues()}
    assert abs(residues.get(BTC, 0)) < INSTRUMENTS[BTC_KRW].lot_e8
    assert abs(residues[KRW]) > 700_000 * E8 and (residues[KRW] > 0) == (left.amount_e8 > 0)
    house.ledger.check()


def test_a_hedge_that_nobody_takes_is_missed_and_leaves_everything_as_it_was() -> None:
    house = House()
    house.commit(house.desk.hedge(hedge(house, residue(BTC, E8 // 100), BTC_USDT), 0))
    house.hear(end(house.sent[-1], 0))
    assert house.outcomes()[-1].state is PlanState.MISSED
    assert house.ledger.residues() == () and house.ledger.reserved_e8(Node(BINANCE, BTC)) == 0


def test_a_hedge_is_at_most_as_large_as_one_order_may_be() -> None:
    house = House()
    leg = hedge(house, residue(BTC, E8, value_e8_max=1_000 * E8), BTC_USDT).legs[0]
    assert leg.quantity_e8 == E8 // 50
    none = find_hedge(residue(BTC, E8, value_e8_max=0), INSTRUMENTS[BTC_USDT], house.books, 0)
    assert none == "less than a unit may be traded at once"


def test_the_limit_of_a_small_sale_is_raised_to_the_venues_minimum_and_not_beyond_what_the_book_pays() -> None:
    house = House()
    least_e8 = 10_000
    order = hedge(house, residue(BTC, least_e8), BTC_USDT).legs[0]
    assert order.price_limit_e8 == 50_000 * E8, "5 USDT exactly: only the best price reaches the minimum"
    house.books.bids[BTC_USDT] = [(49_999.99, 1.0)]
    assert find_hedge(residue(BTC, least_e8), INSTRUMENTS[BTC_USDT], house.books, 0) == "less than the venue's minimum notional"
    assert not takes(residue(BTC, least_e8), INSTRUMENTS[BTC_USDT], house.books)
    house.books.asks[BTC_USDT] = [(49_999.0, 1.0)]
    assert not takes(residue(BTC, -9_000), INSTRUMENTS[BTC_USDT], house.books), "a small purchase is not made dearer"


def test_why_there_is_no_hedge_is_said() -> None:
    house = House()
    house.books.doubted = {BTC_USDT}
    assert find_hedge(residue(BTC, E8), INSTRUMENTS[BTC_USDT], house.books, 0) == "doubtful market: gap"
    house.books.doubted = set()
    assert find_hedge(residue(BTC, 999), INSTRUMENTS[BTC_USDT], house.books, 0) == "less than the venue's minimum quantity"
    house.books.bids[BTC_USDT] = []
    assert find_hedge(residue(BTC, E8), INSTRUMENTS[BTC_USDT], house.books, 0) == "no usable price"


def test_a_hedge_that_inventory_does_not_cover_is_not_made() -> None:
    house = House()
    free_e8 = house.ledger.free_e8(Node(BINANCE, BTC))
    house.ledger.apply(Funded(0, BINANCE, BTC, 1_000 - free_e8, "withdrawn"))
    assert find_hedge(residue(BTC, E8 // 100), INSTRUMENTS[BTC_USDT], house.books, 0) == "not enough free BTC@binance"


def test_a_hedge_whose_fee_is_all_there_is_is_not_made() -> None:
    tiny = FeeSchedule(1_000_000, 1_000_000, FeePayment.RECEIVED)
    instrument: Instrument = msgspec.structs.replace(INSTRUMENTS[BTC_USDT], fees=tiny, notional_e8_min=0)
    assert find_hedge(residue(BTC, E8 // 100), instrument, House().books, 0) == "fees take all of it"


def test_the_kind_of_plan_is_checked() -> None:
    house = House()
    with pytest.raises(AssertionError, match="a hedge is not a cycle"):
        house.desk.hedge(kimchi(), 0)
    with pytest.raises(AssertionError, match="trades one market"):
        house.desk.hedge(msgspec.structs.replace(kimchi(), cycle=HEDGE_CYCLE), 0)


def test_carried_and_settled_currency_is_not_left_over() -> None:
    house = House(ExecutionSettings())
    house.start(kimchi(is_carried=True))
    for order in list(house.sent):
        house.fill_all(order)
    assert house.ledger.carried_e8()[KRW] > 0
    assert house.ledger.residues() == ()
    assert {left.asset for left in house.ledger.leftovers()} == {KRW}


def test_a_fill_after_its_plan_closed_is_left_over() -> None:
    """Pains row 3: nothing that filled is forgotten."""
    house = House()
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.hear(end(buy, 0), end(sell, 0))
    house.hear(filled(buy, "late", E8 // 100))
    (left,) = house.ledger.residues()
    assert (left.asset, left.amount_e8) == (BTC, E8 // 100 - E8 // 100_000)
    assert {ETH_BTC, BTC_KRW}.isdisjoint({each.id for each in markets_for(residue(left.asset, left.amount_e8), INSTRUMENTS)})
