"""From expected to realised profit: every step by itself, and all of them together to the last unit."""

from __future__ import annotations

import pytest
from desk_world import BTC_USDT, KRW, USDT_KRW, House, end, filled, kimchi

from arbitrage.model.money import E8
from arbitrage.model.orders import OrderState


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
