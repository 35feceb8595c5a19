"""From expected to realised profit: every step by itself, and all of them together to the last unit."""

from __future__ import annotations

import msgspec
import pytest
from desk_world import BTC_USDT, INSTRUMENTS, KRW, USDT, USDT_KRW, House, end, filled, kimchi
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import FxRate, Opportunity
from arbitrage.model.orders import OrderState
from arbitrage.model.waterfalls import TOTALS, edge_waterfall, planned_edge


def test_legs_that_fill_as_planned_leave_nothing_to_explain() -> None:
    house = House()
    plan = house.start(kimchi())
    for worked in list(plan.orders):
        house.fill_all(worked.order)
    (outcome,) = house.outcomes()
    steps = outcome.waterfall
    assert steps is not None
    assert (steps.transfers_e8, steps.prices_e8, steps.fees_e8) == (0, 0, 0)
    assert steps.expected_e8 + steps.legs_e8 == steps.realised_e8 == outcome.realised_e8


def test_a_better_price_and_its_lower_fee_are_told_apart() -> None:
    house = House()
    plan = house.start(kimchi())
    buy, sell, back = (worked.order for worked in plan.orders)
    house.fill_all(buy, price_e8=buy.price_e8 - 10 * E8)
    house.fill_all(sell)
    house.fill_all(back)
    steps = house.outcomes()[0].waterfall
    assert steps is not None and steps.prices_e8 == 10 * buy.quantity_e8
    assert steps.fees_e8 == 0, "the fee is taken in coins, as many as before"


def test_a_better_price_in_won_is_worth_what_won_buy() -> None:
    house = House()
    plan = house.start(kimchi())
    buy, sell, back = (worked.order for worked in plan.orders)
    house.fill_all(buy)
    house.fill_all(sell, price_e8=sell.price_e8 + 10_000 * E8)
    house.fill_all(back)
    steps = house.outcomes()[0].waterfall
    assert steps is not None
    assert steps.prices_e8 == 10_000 * sell.quantity_e8 // 1_400, "at the won's own ask"
    assert steps.fees_e8 < 0, "a dearer sale pays a higher fee"


@pytest.mark.parametrize("is_doubted", [False, True])
def test_what_fell_short_and_what_cannot_be_valued_is_in_the_last_step(*, is_doubted: bool) -> None:
    house = House()
    plan = house.start(kimchi())
    buy, sell, back = (worked.order for worked in plan.orders)
    house.fill_all(sell, price_e8=sell.price_e8 + 1_400_000 * E8)
    house.fill_all(back)
    if is_doubted:
        house.books.doubted |= {USDT_KRW, BTC_USDT}
    half_e8 = buy.quantity_e8 // 2
    house.hear(filled(buy, "1", half_e8), end(buy, half_e8))
    for number in range(3):
        for worked in plan.orders[3 + number :]:
            house.hear(end(worked.order, 0, OrderState.REJECTED))
    house.advance(10**12)
    (outcome,) = house.outcomes()
    steps = outcome.waterfall
    assert steps is not None and steps.legs_e8 != 0 and steps.realised_e8 == outcome.realised_e8
    assert (steps.prices_e8 == 0) is is_doubted
    assert KRW in {residual.asset for residual in outcome.residuals}


def with_won(opportunity: Opportunity) -> Opportunity:
    """Say that the last market prices the won."""
    return msgspec.structs.replace(opportunity, fx=(FxRate(USDT_KRW, 1_399 * E8, E8, 1_400 * E8, E8, 1),))


def test_a_rate_that_moved_is_told_apart_from_prices() -> None:
    house = House()
    plan = house.start(with_won(kimchi()))
    buy, sell, back = (worked.order for worked in plan.orders)
    house.fill_all(buy, price_e8=buy.price_e8 - 10 * E8)
    house.fill_all(sell)
    house.fill_all(back, price_e8=back.price_e8 - E8 // 10)
    steps = house.outcomes()[0].waterfall
    assert steps is not None and steps.prices_e8 == 10 * buy.quantity_e8
    assert steps.fx_e8 == pytest.approx(back.quantity_e8 / 14_000, abs=2), "0.1 won for each tether, at the won's own ask"


def test_carried_won_drift_by_what_they_are_worth_at_the_closing() -> None:
    house = House()
    plan = house.start(with_won(kimchi(is_carried=True)))
    carried = plan.opportunity.legs[2]
    buy, sell = (worked.order for worked in plan.orders)
    house.fill_all(buy)
    house.books.asks[USDT_KRW] = [(1_750.0, 1_000_000.0)]
    house.fill_all(sell)
    steps = house.outcomes()[0].waterfall
    assert steps is not None and steps.prices_e8 == 0
    assert steps.fx_e8 == carried.spent_e8 // 1_750 - carried.received_e8 < 0, "a fifth of it is gone"


def test_carried_won_that_no_book_values_tell_nothing() -> None:
    house = House()
    plan = house.start(with_won(kimchi(is_carried=True)))
    buy, sell = (worked.order for worked in plan.orders)
    house.fill_all(buy)
    house.books.doubted.add(USDT_KRW)
    house.fill_all(sell)
    steps = house.outcomes()[0].waterfall
    assert steps is not None and steps.fx_e8 == 0 and steps.legs_e8 != 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 100), min_size=3, max_size=3),
    st.lists(st.integers(0, 50), min_size=3, max_size=3),
    st.booleans(),
    st.sets(st.sampled_from([BTC_USDT, USDT_KRW])),
)
def test_whatever_fills_the_chain_sums_to_what_the_ledger_booked(
    shares: list[int], better: list[int], is_carried: bool, doubted: set[int]
) -> None:
    house = House()
    plan = house.start(with_won(kimchi(is_carried=is_carried)))
    orders = [worked.order for worked in plan.orders]
    for number, (order, share, ticks) in enumerate(zip(orders, shares, better, strict=False)):
        lot_e8 = INSTRUMENTS[order.market].lot_e8
        part_e8 = order.quantity_e8 * share // 100 // lot_e8 * lot_e8
        price_e8 = order.price_e8 + (-ticks if order.side is Side.BUY else ticks) * E8
        events = [filled(order, f"f{number}", part_e8, price_e8=price_e8)] if part_e8 else []
        if number == 1:
            house.books.doubted |= doubted
        house.hear(*events, end(order, part_e8, OrderState.CANCELLED if share < 100 else OrderState.FILLED))
    for _ in range(4):
        for worked in [each for each in plan.orders if not each.is_settled]:
            house.hear(end(worked.order, 0, OrderState.REJECTED))
    house.advance(10**12)
    (outcome,) = house.outcomes()
    assert outcome.waterfall is not None
    chain = edge_waterfall(planned_edge(plan.opportunity), outcome.waterfall)
    parts_e8 = [e8 for name, e8 in chain.steps() if name not in TOTALS]
    assert sum(parts_e8) == outcome.realised_e8 == house.ledger.realised_e8().get(USDT, 0)
