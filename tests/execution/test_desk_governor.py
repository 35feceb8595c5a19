"""A naked leg is completed, reversed or held: each priced on live books, the cheapest allowed taken, all three written down."""

from __future__ import annotations

import pytest
from desk_world import (
    BINANCE,
    BTC,
    BTC_KRW,
    BTC_USDT,
    DEADLINE,
    ETH,
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
    triangle,
)

from arbitrage.execution.balance import beyond
from arbitrage.execution.desk import Desk
from arbitrage.ledger import worst_case
from arbitrage.model.effects import Append
from arbitrage.model.events import Funded, OrderUnanswered
from arbitrage.model.facts import KillSwitched, OrderIntended
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8, notional_down_e8
from arbitrage.model.opportunities import LegChoice, PlanState
from arbitrage.model.orders import Order, OrderState
from arbitrage.model.settings import ExecutionSettings


def naked(settings: ExecutionSettings | None = None, *, doubted: tuple[int, ...] = ()) -> House:
    """Bought at Binance, refused at Upbit: long BTC, nothing else (the KRW leg found no counterparty either)."""
    house = House(settings)
    house.books.doubted = set(doubted)
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.hear(end(back, 0), end(sell, 0, OrderState.REJECTED))
    return house


def bought_only(house: House) -> None:
    """Start the plan; its buy fills, and nothing else does."""
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.hear(end(back, 0), end(sell, 0))


def held(volatility: int) -> House:
    """Bought only, where the sell cannot be completed and a price moved so much lately."""
    house = House()
    house.books.doubted = {BTC_KRW}
    house.books.volatility = {BTC: volatility}
    bought_only(house)
    return house


def reasons(house: House) -> dict[LegChoice, str]:
    return {priced.choice: priced.reason for priced in house.decisions()[-1].alternatives}


def costs(house: House) -> dict[LegChoice, int | None]:
    return {priced.choice: priced.cost_e8 for priced in house.decisions()[-1].alternatives}


def governed(house: House) -> Order:
    assert isinstance(house.facts[-1], OrderIntended)
    return house.sent[-1]


def test_a_leg_that_is_refused_after_the_other_filled_is_decided_about_once_with_three_prices() -> None:
    """Pains row 1: in the same step as the refusal."""
    house = naked()
    assert len(house.decisions()) == 1
    decision = house.decisions()[0]
    assert [priced.choice for priced in decision.alternatives] == list(LegChoice)
    assert decision.choice is LegChoice.COMPLETE
    found = costs(house)
    complete, reverse, hold = found[LegChoice.COMPLETE], found[LegChoice.REVERSE], found[LegChoice.HOLD]
    assert complete is not None and reverse is not None and hold is not None
    assert complete < 0 < reverse < hold, "the premium pays for completing; undoing costs fees"
    assert hold == 50_000 * 9_990_000 * 3_000 // 1_000_000


def test_completing_sells_what_is_too_much_on_the_leg_that_fell_short() -> None:
    house = naked()
    order = governed(house)
    assert (order.venue, order.market, order.side) == (UPBIT, BTC_KRW, Side.SELL)
    assert order.quantity_e8 == E8 // 10 - E8 // 10_000
    assert order.price_e8 == 72_000_000 * E8 * 98 // 100, "the worst price allowed: two per cent under the plan's own limit"
    assert order.client_order_id == "t1-1-g1"


def test_a_plan_that_the_governor_made_even_is_recovered_with_the_profit_of_its_fills() -> None:
    house = naked()
    house.fill_at_touch(governed(house))
    assert house.sent[-1].market == USDT_KRW, "the won that the completed leg brought go on to the last leg"
    house.fill_at_touch(governed(house))
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.RECOVERED
    assert 100 * E8 < outcome.realised_e8 < 150 * E8
    deltas = house.ledger.plan_deltas(outcome.plan_id)
    assert outcome.realised_e8 == deltas[USDT] + sum(residual.value_e8 for residual in outcome.residuals)


def test_a_doubtful_market_is_not_completed_on_but_the_other_leg_is_undone() -> None:
    house = naked(doubted=(BTC_KRW,))
    assert house.decisions()[-1].choice is LegChoice.REVERSE
    assert reasons(house)[LegChoice.COMPLETE] == "doubtful market: gap"
    order = governed(house)
    assert (order.market, order.side) == (BTC_USDT, Side.SELL)
    assert order.price_e8 < 50_000 * E8, "worse than shown, so that a few ticks do not leave it naked"
    house.fill_at_touch(order)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.RECOVERED
    assert -15 * E8 < outcome.realised_e8 < 0
    assert outcome.residuals == ()
    assert house.ledger.plan_deltas(outcome.plan_id) == {BTC: 0, USDT: outcome.realised_e8}


def test_a_missing_purchase_is_bought_and_its_fee_with_it() -> None:
    house = House()
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(sell)
    house.fill_all(back)
    house.hear(end(buy, 0))
    order = governed(house)
    assert (order.market, order.side) == (BTC_USDT, Side.BUY)
    assert order.quantity_e8 == buy.quantity_e8
    house.fill_all(order)
    assert house.outcomes()[0].state is PlanState.RECOVERED


def test_a_sale_without_its_purchase_can_be_bought_back_where_it_was_sold() -> None:
    house = House()
    house.books.doubted = {BTC_USDT}
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(sell)
    house.hear(end(buy, 0))
    assert house.decisions()[-1].choice is LegChoice.HOLD, "no book values BTC"
    house.books.doubted = set()
    house.books.asks[BTC_USDT] = []
    house.books.value_in_reporting = lambda asset, amount_e8: amount_e8 * 52_000 if asset == BTC else amount_e8 // 1_400  # type: ignore[method-assign]  # books of another venue
    house.advance(SECOND)
    order = governed(house)
    assert (order.market, order.side) == (BTC_KRW, Side.BUY)
    assert order.quantity_e8 == sell.quantity_e8


def test_holding_when_it_is_cheapest_is_priced_again_until_the_deadline_and_then_closed() -> None:
    house = naked(ExecutionSettings(hold_cost_ppm=0), doubted=(BTC_KRW,))
    assert costs(house)[LegChoice.HOLD] == 0
    plan = house.desk.open_plans()[0]
    for tenth in range(1, 200):
        house.advance(tenth * SECOND // 10)
    assert [fact.choice for fact in house.decisions()] == [LegChoice.HOLD] * 20
    assert plan.state is PlanState.GOVERNED
    house.advance(DEADLINE)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.CLOSED_WITH_RESIDUAL
    assert set(reasons(house).values()) == {"the plan's deadline has passed", ""}
    assert outcome.residuals[0].amount_e8 == house.ledger.exposure_e8()[BTC]
    assert house.report_codes() == ["plan_residual"]
    assert len(house.sent) == 3


def test_a_book_that_comes_back_ends_the_holding() -> None:
    house = naked(doubted=(BTC_KRW, BTC_USDT))
    assert house.decisions()[-1].choice is LegChoice.HOLD
    assert costs(house) == dict.fromkeys(LegChoice)
    assert reasons(house)[LegChoice.HOLD] == "no usable book values BTC"
    house.books.doubted = set()
    house.advance(SECOND - 1)
    assert len(house.decisions()) == 1
    house.advance(SECOND)
    assert house.decisions()[-1].choice is LegChoice.COMPLETE


def test_the_kill_switch_leaves_only_holding_and_its_release_ends_that() -> None:
    house = House()
    plan = house.start(kimchi())
    house.commit([Append(KillSwitched(0, is_on=True, actor="operator", reason="test"))])
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.hear(end(back, 0), end(sell, 0))
    assert house.decisions()[-1].choice is LegChoice.HOLD
    assert reasons(house)[LegChoice.COMPLETE] == "the kill switch is on"
    house.advance(2 * SECOND)
    assert len(house.sent) == 3
    house.commit([Append(KillSwitched(2, is_on=False, actor="operator", reason="test"))])
    house.advance(3 * SECOND)
    assert len(house.sent) == 4 and plan.attempts == 1


def test_no_price_worse_than_the_slippage_limit_is_paid() -> None:
    house = House(ExecutionSettings(governor_slippage_ppm_max=10_000))
    house.books.bids[BTC_KRW] = [(71_279_000.0, 5.0)]
    house.books.bids[BTC_USDT] = [(49_509.89, 5.0)]
    bought_only(house)
    assert house.decisions()[-1].choice is LegChoice.HOLD
    text = "less than the venue's minimum quantity within the price limit"
    assert reasons(house) == {LegChoice.COMPLETE: text, LegChoice.REVERSE: text, LegChoice.HOLD: ""}
    house.books.bids[BTC_KRW] = [(71_280_000.0, 5.0)]
    house.advance(SECOND)
    assert governed(house).price_e8 == 71_280_000 * E8, "one per cent below the plan's limit, to the tick"


def test_a_purchase_is_bounded_from_above() -> None:
    house = House(ExecutionSettings(governor_slippage_ppm_max=10_000))
    house.start(kimchi())
    buy, sell, back = house.sent
    house.books.asks[BTC_USDT] = [(50_510.10, 0.02), (50_510.11, 5.0)]
    house.fill_all(sell)
    house.fill_all(back)
    house.hear(end(buy, 0))
    complete = house.decisions()[-1].alternatives[0]
    assert complete.order is not None
    assert (complete.order.quantity_e8, complete.order.price_e8) == (E8 // 50, 50_510 * E8 + E8 // 10)


def test_a_limit_below_the_venues_minimum_notional_is_raised_to_it() -> None:
    """A venue counts the notional at the order's own price; the limit stays under what the book would pay."""
    house = naked(ExecutionSettings(governor_slippage_ppm_max=1_000_000))
    order, rules = governed(house), INSTRUMENTS[BTC_KRW]
    tick_e8 = 1_000 * E8
    assert notional_down_e8(order.price_e8, order.quantity_e8) >= rules.notional_e8_min
    assert notional_down_e8(order.price_e8 - tick_e8, order.quantity_e8) < rules.notional_e8_min
    assert order.price_e8 % tick_e8 == 0


def test_an_order_that_inventory_does_not_cover_is_not_allowed() -> None:
    house = House()
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.hear(end(back, 0))
    house.commit([Append(Funded(0, UPBIT, BTC, -house.ledger.total_e8(Node(UPBIT, BTC)), "withdrawn"))])
    house.hear(end(sell, 0))
    assert reasons(house)[LegChoice.COMPLETE] == "not enough free BTC@upbit"
    assert house.decisions()[-1].choice is LegChoice.REVERSE


def lacking(free_e8: int) -> House:
    """A won-carrying plan whose purchase was refused after its sale, with so much left to buy with."""
    house = House()
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(sell)
    taken_e8 = house.ledger.total_e8(Node(BINANCE, USDT)) - free_e8
    house.commit([Append(Funded(0, BINANCE, USDT, -taken_e8, "used elsewhere"))])
    house.hear(end(buy, 0, OrderState.REJECTED))
    return house


def test_a_purchase_that_inventory_just_covers_is_limited_to_what_inventory_pays() -> None:
    """Sizing may have used all there was: room for the worst price allowed is no condition for completing."""
    house = lacking(5_010 * E8)
    order = governed(house)
    assert house.decisions()[-1].choice is LegChoice.COMPLETE
    assert (order.side, order.quantity_e8) == (Side.BUY, E8 // 10)
    assert order.price_e8 == 50_100 * E8, "5,010 USDT pay a tenth at so much, and not two per cent above the plan's price"
    house.fill_at_touch(order)
    assert house.outcomes()[-1].state is PlanState.RECOVERED


def test_a_purchase_that_inventory_covers_in_part_is_made_in_part() -> None:
    house = lacking(3_000 * E8)
    complete = house.decisions()[-1].alternatives[0]
    assert complete.order is not None
    rules = INSTRUMENTS[BTC_USDT]
    node, needed_e8 = worst_case(complete.order, rules)
    assert needed_e8 <= 3_000 * E8 < needed_e8 + 50_010 * rules.lot_e8 and node == Node(BINANCE, USDT)
    assert 50_010 * E8 <= complete.order.price_e8 < 50_020 * E8, "hardly more than the worst price it would trade at"


def test_a_purchase_with_its_fee_on_top_leaves_room_for_the_fee() -> None:
    house = House()
    buy = make_leg(BTC_KRW, Side.BUY, 72_010_000 * E8, E8 // 10)
    house.start(make_opportunity(make_leg(BTC_USDT, Side.SELL, 50_000 * E8, E8 // 10), buy))
    sell, purchase = house.sent
    house.fill_all(sell)
    free_e8 = 7_205_000 * E8
    house.commit([Append(Funded(0, UPBIT, KRW, free_e8 - house.ledger.total_e8(Node(UPBIT, KRW)), "used elsewhere"))])
    house.hear(end(purchase, 0, OrderState.REJECTED))
    complete = house.decisions()[-1].alternatives[0]
    assert complete.order is not None
    assert worst_case(complete.order, INSTRUMENTS[BTC_KRW])[1] <= free_e8
    assert complete.order.price_e8 == 72_013_000 * E8 and complete.order.quantity_e8 == E8 // 10


def test_an_order_whose_proceeds_no_book_values_is_not_allowed() -> None:
    house = naked(doubted=(USDT_KRW,))
    assert reasons(house)[LegChoice.COMPLETE] == "no usable book values what it would leave"
    assert house.decisions()[-1].choice is LegChoice.REVERSE


def test_an_order_whose_rest_no_book_values_is_not_allowed() -> None:
    house = naked(doubted=(BTC_KRW, BTC_USDT))
    house.books.doubted = set()
    whole_e8 = house.ledger.exposure_e8()[BTC]

    def only_the_whole(asset: object, amount_e8: int) -> int | None:
        return amount_e8 * 50_000 if amount_e8 == whole_e8 else None

    house.books.value_in_reporting = only_the_whole  # type: ignore[method-assign]  # a thin book
    house.books.bids[BTC_USDT] = [(50_000.0, 0.05)]
    house.advance(SECOND)
    assert reasons(house)[LegChoice.REVERSE] == "no usable book values what it would leave"


def test_thin_depth_is_taken_in_steps_and_the_rest_costs_waiting() -> None:
    house = House()
    house.books.bids[BTC_KRW] = [(72_000_000.0, 0.06)]
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(buy)
    house.hear(end(sell, 0))
    first = governed(house)
    assert first.quantity_e8 == 6 * E8 // 100
    house.fill_all(first)
    second = governed(house)
    assert second.quantity_e8 == E8 // 10 - E8 // 10_000 - 6 * E8 // 100
    assert second.client_order_id != first.client_order_id
    house.fill_all(second)
    assert house.outcomes()[0].state is PlanState.RECOVERED


def test_the_governor_gives_up_after_its_attempts_and_says_so() -> None:
    house = naked()
    for attempt in range(1, 4):
        assert house.desk.open_plans()[0].attempts == attempt
        house.hear(end(house.sent[-1], 0))
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.CLOSED_WITH_RESIDUAL
    assert len(house.sent) == 3 + 3
    assert [fact.choice for fact in house.decisions()] == [LegChoice.COMPLETE] * 3 + [LegChoice.HOLD]
    assert reasons(house)[LegChoice.COMPLETE] == "the governor's attempts are used up"


def test_past_the_deadline_nothing_is_sent() -> None:
    house = House()
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.hear(end(back, 0))
    house.advance(DEADLINE)
    house.hear(end(sell, 0))
    assert house.outcomes()[0].state is PlanState.CLOSED_WITH_RESIDUAL
    assert len(house.sent) == 3


def test_an_answer_past_the_deadline_still_completes_an_even_plan() -> None:
    house = House()
    house.start(kimchi())
    house.advance(30 * SECOND)
    for order in list(house.sent):
        house.fill_all(order)
    assert house.outcomes()[0].state is PlanState.COMPLETED


def test_a_residual_worth_less_than_the_dust_limit_needs_no_governor() -> None:
    house = House()
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(buy)
    short_e8 = 1_900
    house.hear(filled(sell, "1", sell.quantity_e8 - short_e8), end(sell, sell.quantity_e8 - short_e8))
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.COMPLETED and house.decisions() == []
    assert outcome.residuals[0].amount_e8 == short_e8
    assert outcome.residuals[0].value_e8 == short_e8 * 50_000 < E8


def test_fills_below_the_venues_minimum_add_up_until_they_can_be_hedged() -> None:
    """Pains row 4: 0.3, 0.3 and 0.4 of what 5,000 won buy, the fee included."""
    minimum_e8 = 7_000
    for parts, state in (((3,), None), ((3, 3), None), ((3, 3, 4), LegChoice.COMPLETE)):
        house = House(ExecutionSettings(dust_value_max="0"))
        house.start(kimchi(is_carried=True))
        buy, sell = house.sent
        total_e8 = 0
        for number, tenths in enumerate(parts):
            house.hear(filled(buy, str(number), minimum_e8 * tenths // 10))
            total_e8 += minimum_e8 * tenths // 10
        house.hear(end(buy, total_e8), end(sell, 0))
        assert [fact.choice for fact in house.decisions()] == ([state] if state else [])


def test_dust_of_closed_plans_adds_up_in_the_ledger_with_its_age() -> None:
    house = House()
    for at_ns in (7, 8):
        house.now_ns = at_ns
        house.start(kimchi(is_carried=True))
        buy, sell = house.sent[-2:]
        house.hear(filled(buy, "1", 3_000, at_ns=at_ns), end(buy, 3_000), end(sell, 0))
    left = house.ledger.leftovers()
    assert [(item.asset, item.amount_e8, item.since_ns) for item in left] == [(BTC, 2 * 2_997, 7)]


def test_a_shortfall_in_the_middle_of_a_triangle_is_mended_on_either_side() -> None:
    house = House()
    house.start(triangle())
    first, second, third = house.sent
    house.fill_all(first)
    house.fill_all(third)
    house.hear(end(second, 0))
    order = governed(house)
    assert order.market == 3 and order.side is Side.BUY, "one order mends the long BTC and the short ETH"
    house.fill_at_touch(order)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.RECOVERED


def test_when_the_larger_imbalance_cannot_be_mended_the_smaller_is() -> None:
    house = House()
    house.start(triangle())
    first, second, third = house.sent
    house.fill_all(first)
    house.hear(filled(third, "1", third.quantity_e8 // 2), end(third, third.quantity_e8 // 2))
    house.books.doubted = {3}
    house.books.bids[BTC_USDT] = []
    house.hear(end(second, 0))
    order = governed(house)
    assert (order.market, order.side) == (ETH_USDT, Side.BUY)
    assert house.ledger.exposure_e8()[ETH] < 0


def test_a_late_fill_after_the_governor_acted_is_undone_again() -> None:
    house = House()
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(buy)
    house.hear(end(sell, 0))
    hedge = governed(house)
    house.hear(filled(sell, "late", sell.quantity_e8))
    house.fill_all(hedge)
    again = governed(house)
    assert (again.side, again.market) == (Side.BUY, BTC_USDT)
    assert house.desk.open_plans()[0].deltas[BTC] == -sell.quantity_e8


def test_depth_below_a_venues_minimum_notional_is_no_way_out() -> None:
    house = House()
    house.books.bids[BTC_USDT] = [(50_000.0, 0.00009)]
    house.books.bids[BTC_KRW] = [(72_000_000.0, 0.00006)]
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(buy)
    house.hear(end(sell, 0))
    text = "less than the venue's minimum notional"
    assert reasons(house) == {LegChoice.COMPLETE: text, LegChoice.REVERSE: text, LegChoice.HOLD: ""}


def test_a_plan_that_cannot_do_one_of_the_three_says_so() -> None:
    """One market bought and never to be sold again: nothing can be completed."""
    house = House()
    buy = make_leg(BTC_USDT, Side.BUY, 50_010 * E8, E8 // 10)
    sell = make_leg(BTC_KRW, Side.SELL, 72_000_000 * E8, buy.received_e8, is_carried=True)
    house.start(make_opportunity(buy, sell))
    house.fill_all(house.sent[0])
    assert house.outcomes()[0].state is PlanState.COMPLETED, "carried on purpose"
    third = make_leg(ETH_USDT, Side.BUY, 3_001 * E8, E8)
    house.start(make_opportunity(third))
    half_e8 = E8 // 2
    order = house.sent[-1]
    house.hear(filled(order, "1", half_e8), end(order, half_e8))
    assert len(house.outcomes()) == 2, "within what was planned to be left"


@pytest.mark.parametrize(
    ("actual", "planned", "expected"),
    [(5, 0, 5), (-5, 0, -5), (5, 7, 0), (9, 7, 2), (-3, 7, -3), (-3, -7, 0), (-9, -7, -2), (4, -7, 4), (0, 0, 0)],
)
def test_what_was_planned_to_be_left_over_is_no_imbalance(actual: int, planned: int, expected: int) -> None:
    assert beyond(actual, planned) == expected


def test_won_left_by_a_better_price_is_even_when_it_is_dust() -> None:
    house = House()
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.fill_all(sell, price_e8=72_005_000 * E8)
    house.fill_all(back)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.COMPLETED
    assert {residual.asset for residual in outcome.residuals} == {KRW}
    assert house.ledger.free_e8(Node(BINANCE, USDT)) < 1_000_000 * E8


def test_holding_is_priced_with_measured_volatility() -> None:
    """What waiting may cost is what the price moved lately; half a per cent here, for the plan's own time."""
    house = held(volatility=1)
    assert costs(house)[LegChoice.HOLD] == 50_000 * 9_990_000 * 20_000 // 1_000_000
    assert house.decisions()[-1].choice is LegChoice.REVERSE


def test_in_a_calm_market_holding_is_cheap_and_never_free() -> None:
    house = held(volatility=0)
    assert costs(house)[LegChoice.HOLD] == 50_000 * 9_990_000 * 300 // 1_000_000
    assert house.decisions()[-1].choice is LegChoice.HOLD


def test_what_is_still_held_at_the_last_look_is_priced_as_unwatched_and_given_up() -> None:
    """Holding was cheapest all the time; nobody governs it after the deadline, so the last look undoes the leg."""
    house = held(volatility=0)
    for tenth in range(1, 190):
        house.advance(tenth * SECOND // 10)
    assert {fact.choice for fact in house.decisions()} == {LegChoice.HOLD}
    house.advance(DEADLINE - SECOND)
    assert house.decisions()[-1].choice is LegChoice.REVERSE
    house.fill_at_touch(governed(house))
    assert house.outcomes()[0].state is PlanState.RECOVERED


def test_no_order_goes_to_a_venue_whose_account_link_is_down() -> None:
    house = House()
    house.desk.closed_venues = {UPBIT: "the private stream is silent"}
    bought_only(house)
    assert reasons(house)[LegChoice.COMPLETE] == "upbit: the private stream is silent"
    assert house.decisions()[-1].choice is LegChoice.REVERSE


def test_a_leg_that_an_earlier_start_left_waits_until_the_accounts_say_that_nobody_mended_it() -> None:
    house = House()
    house.desk.unproved_venues = {UPBIT: "its account is being compared"}
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    heir = Desk(house.desk.settings, lambda market: INSTRUMENTS[market], "heir")
    for fact in house.facts:
        heir.apply(fact)
    heir.unproved_venues, house.desk = house.desk.unproved_venues, heir
    house.hear(end(back, 0), end(sell, 0))
    assert {reasons(house)[way] for way in (LegChoice.COMPLETE, LegChoice.REVERSE)} == {"its account is being compared"}
    assert house.decisions()[-1].choice is LegChoice.HOLD and len(house.sent) == 3
    heir.unproved_venues = {}
    house.advance(SECOND)
    assert house.decisions()[-1].choice is not LegChoice.HOLD and len(house.sent) == 4


def test_the_legs_that_this_start_left_wait_for_no_account() -> None:
    house = House()
    house.desk.unproved_venues = {UPBIT: "its account is being compared"}
    bought_only(house)
    assert house.decisions()[-1].choice is not LegChoice.HOLD and len(house.sent) == 4


def test_a_plan_is_naked_from_the_moment_a_leg_falls_short_or_is_unknown() -> None:
    """Pains row 1: its pair takes no new entry meanwhile, also before the governor has decided anything."""
    house = House()
    plan = house.start(kimchi())
    buy, sell, back = house.sent
    assert not plan.is_naked
    house.fill_all(buy)
    assert not plan.is_naked
    house.hear(OrderUnanswered(0, sell.client_order_id))
    assert plan.is_naked
    house.fill_all(sell)
    assert not plan.is_naked
    house.hear(filled(back, "1", back.quantity_e8 // 2), end(back, back.quantity_e8 // 2))
    assert plan.is_naked


def test_a_venue_that_refuses_an_attempt_is_not_asked_again_at_once() -> None:
    """Three refusals take some milliseconds; the leg would be given up long before its deadline."""
    house = naked()
    house.hear(end(governed(house), 0, OrderState.REJECTED))
    assert len(house.sent) == 4 and house.outcomes() == []
    house.advance(SECOND)
    assert governed(house).client_order_id == "t1-1-g2"


def test_a_leg_waits_for_the_venue_that_takes_no_order_now_and_spends_no_attempt() -> None:
    house = House()
    house.desk.closed_venues = {BINANCE: "it takes no order of ours for now", UPBIT: "it takes no order of ours for now"}
    bought_only(house)
    house.advance(SECOND)
    assert {fact.choice for fact in house.decisions()} == {LegChoice.HOLD} and len(house.sent) == 3
    house.desk.closed_venues = {BINANCE: "it takes no order of ours for now"}
    house.advance(2 * SECOND)
    assert house.decisions()[-1].choice is LegChoice.COMPLETE
    assert governed(house).client_order_id == "t1-1-g1"
