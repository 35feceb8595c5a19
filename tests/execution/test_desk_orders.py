"""The order state machine: answers late, lost, repeated and out of order never send twice and never lose a fill."""

from __future__ import annotations

import itertools

import pytest
from desk_world import (
    ANSWERS,
    BINANCE,
    BTC,
    DEADLINE,
    MS,
    SECOND,
    USDT,
    House,
    accepted,
    end,
    filled,
    kimchi,
    make_leg,
    make_opportunity,
)

from arbitrage.execution.orders import end_state
from arbitrage.execution.plans import WorkedOrder
from arbitrage.model.events import OrderEvent, OrderUnanswered
from arbitrage.model.facts import FillBooked, OrderChanged
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import PlanState
from arbitrage.model.orders import Order, OrderState


def single() -> tuple[House, Order, WorkedOrder]:
    """One order whose plan stays open because the other leg is not answered yet."""
    house = House()
    buy = make_leg(0, Side.BUY, 50_000 * E8, E8 // 10)
    plan = house.start(make_opportunity(buy, make_leg(0, Side.SELL, 50_000 * E8, buy.received_e8)))
    return house, house.sent[0], plan.orders[0]


def changes(house: House) -> list[OrderState]:
    return [fact.state for fact in house.facts if isinstance(fact, OrderChanged)]


def fills(house: House) -> int:
    return sum(isinstance(fact, FillBooked) for fact in house.facts)


def test_a_repeated_fill_is_counted_once() -> None:
    house, order, worked = single()
    fill = filled(order, "1", E8 // 20)
    house.hear(fill, fill, accepted(order), fill)
    assert worked.filled_quantity_e8 == E8 // 20
    assert fills(house) == 1


def test_every_order_of_arrival_ends_the_same() -> None:
    """Fills before the acceptance, after the end, each word twice: one state, one sum."""
    ends = set()
    for permutation in itertools.permutations(range(4)):
        house, order, worked = single()
        words: list[OrderEvent] = [
            accepted(order),
            filled(order, "1", E8 // 40),
            filled(order, "2", E8 // 40),
            end(order, E8 // 20),
        ]
        for position in permutation:
            house.hear(words[position], words[position])
        assert worked.is_settled and worked.state is OrderState.CANCELLED
        assert fills(house) == 2
        free = [house.ledger.free_e8(Node(BINANCE, asset)) for asset in (USDT, BTC)]
        ends.add((worked.filled_quantity_e8, *free))
    assert len(ends) == 1


def test_complete_fills_end_an_order_before_its_last_word() -> None:
    house, order, worked = single()
    house.hear(filled(order, "1", E8 // 20), filled(order, "2", E8 // 20))
    assert worked.state is OrderState.FILLED and worked.is_settled
    before = len(house.facts)
    house.hear(accepted(order), end(order, E8 // 10, OrderState.FILLED), OrderUnanswered(0, order.client_order_id))
    assert len(house.facts) == before, "nothing new was said"


def test_upbit_ends_a_filled_market_order_with_the_word_cancel() -> None:
    """Pains row 14: the executed quantity decides, not the word."""
    house, order, worked = single()
    house.hear(end(order, E8 // 10, OrderState.CANCELLED), filled(order, "1", E8 // 10))
    assert worked.state is OrderState.FILLED and worked.is_settled


@pytest.mark.parametrize(
    ("word", "total_e8", "state"),
    [
        (OrderState.CANCELLED, 10, OrderState.FILLED),
        (OrderState.REJECTED, 10, OrderState.FILLED),
        (OrderState.FILLED, 9, OrderState.CANCELLED),
        (OrderState.FILLED, 0, OrderState.CANCELLED),
        (OrderState.REJECTED, 1, OrderState.CANCELLED),
        (OrderState.REJECTED, 0, OrderState.REJECTED),
        (OrderState.CANCELLED, 0, OrderState.CANCELLED),
    ],
)
def test_an_order_ends_by_its_quantity_and_only_then_by_the_word(word: OrderState, total_e8: int, state: OrderState) -> None:
    assert end_state(word, total_e8, 10) is state


def test_an_end_that_announces_more_than_is_known_is_asked_about_until_the_fills_are_here() -> None:
    house, order, worked = single()
    house.hear(end(order, E8 // 20))
    assert house.queried == [order.client_order_id]
    assert worked.state is OrderState.CANCELLED and not worked.is_settled
    house.hear(end(order, E8 // 20))
    assert house.queried == [order.client_order_id], "the same word is no news"
    house.advance(999 * MS)
    assert house.queried.count(order.client_order_id) == 1
    house.advance(1_000 * MS)
    assert house.queried.count(order.client_order_id) == 2
    house.hear(filled(order, "1", E8 // 20))
    assert worked.is_settled
    house.advance(2_500 * MS)
    assert house.queried.count(order.client_order_id) == 2


def test_a_last_word_never_takes_back_what_an_earlier_one_or_a_fill_said() -> None:
    house, order, worked = single()
    house.hear(filled(order, "1", E8 // 20), end(order, 0, OrderState.REJECTED))
    assert worked.state is OrderState.CANCELLED and worked.is_settled
    house.hear(end(order, E8 // 15))
    assert worked.ended_quantity_e8 == E8 // 15 and not worked.is_settled
    house.hear(end(order, E8 // 20))
    assert worked.ended_quantity_e8 == E8 // 15


def test_a_word_that_ends_nothing_is_no_end() -> None:
    house, order, worked = single()
    house.hear(end(order, 0, OrderState.OPEN))
    assert worked.state is OrderState.INTENDED


def test_a_lost_acknowledgement_is_unknown_and_asked_never_sent_again() -> None:
    """Pains row 5."""
    house, order, worked = single()
    house.hear(OrderUnanswered(0, order.client_order_id), OrderUnanswered(0, order.client_order_id))
    assert worked.state is OrderState.UNKNOWN
    assert house.queried == [order.client_order_id]
    for second in range(1, 8):
        house.advance(second * SECOND)
    assert house.queried.count(order.client_order_id) == 8
    assert len(house.sent) == 2


def test_a_late_acknowledgement_answers_the_question() -> None:
    house, order, worked = single()
    house.hear(OrderUnanswered(0, order.client_order_id), accepted(order))
    assert worked.state is OrderState.OPEN
    house.hear(OrderUnanswered(0, order.client_order_id), accepted(order))
    assert changes(house) == [OrderState.UNKNOWN, OrderState.OPEN]


def test_silence_alone_makes_an_order_unknown() -> None:
    house, _, worked = single()
    house.advance(2_999 * MS)
    assert worked.state is OrderState.INTENDED and house.queried == []
    house.advance(3_000 * MS)
    assert worked.state is OrderState.UNKNOWN
    assert sorted(house.queried) == sorted(known.client_order_id for known in house.sent)


def test_an_accepted_order_whose_end_is_lost_is_asked_about() -> None:
    house, order, worked = single()
    house.hear(accepted(order, 2_000 * MS))
    house.advance(3_000 * MS)
    assert worked.state is OrderState.OPEN
    house.advance(5_000 * MS)
    assert worked.state is OrderState.UNKNOWN
    house.hear(end(order, 0))
    assert worked.is_settled


def test_an_overfilled_order_is_booked_whole_and_shouted_about() -> None:
    house, order, worked = single()
    house.hear(filled(order, "1", E8 // 10), filled(order, "2", E8 // 10))
    assert worked.filled_quantity_e8 == E8 // 5
    assert house.report_codes() == ["overfilled"]
    assert worked.is_settled


def test_a_plan_whose_order_stays_unknown_closes_at_the_horizon_with_what_filled() -> None:
    """Pains row 2: never a profit of 0 by default; the end and its reason are visible."""
    house = House()
    plan = house.start(kimchi())
    first, second, third = house.sent
    house.fill_all(first)
    house.hear(end(third, 0))
    over_ns = DEADLINE + ANSWERS
    for second_number in range(1, over_ns // SECOND):
        house.advance(second_number * SECOND)
        assert plan.outcome is None
    house.advance(over_ns - 1)
    assert plan.outcome is None
    house.advance(over_ns)
    outcome = house.outcomes()[0]
    assert outcome.state is PlanState.CLOSED_WITH_RESIDUAL
    assert outcome.realised_e8 != 0
    bought_e8 = house.ledger.plan_deltas(plan.plan_id)[BTC]
    assert [(residual.asset, residual.amount_e8) for residual in outcome.residuals] == [(BTC, bought_e8)]
    assert house.report_codes() == ["order_unknown_at_close"]
    assert house.desk.owing_plans() == [plan] and house.desk.open_plans() == []
    asked = house.queried.count(second.client_order_id)
    assert asked == 77, "from the acknowledgement limit, every second, to the horizon"
    for second_number in range(1, 20):
        house.advance(over_ns + second_number * SECOND)
    assert house.queried.count(second.client_order_id) == asked, "no endless polling"
    assert house.ledger.reserved_e8(Node(second.venue, BTC)) == second.quantity_e8, "until the venue answers"


def test_an_answer_after_the_horizon_is_still_booked_and_shouted_about() -> None:
    house = House()
    plan = house.start(kimchi())
    house.advance(DEADLINE + ANSWERS)
    assert plan.outcome is not None
    order = house.sent[0]
    house.hear(filled(order, "late", order.quantity_e8), end(order, order.quantity_e8, OrderState.FILLED))
    assert house.report_codes() == ["order_unknown_at_close", "fill_after_close"]
    assert house.ledger.unattributed_e8()[BTC] == house.ledger.exposure_e8()[BTC] > 0
    assert len(house.outcomes()) == 1
    house.hear(end(house.sent[1], 0))
    assert house.ledger.reserved_e8(Node(house.sent[1].venue, BTC)) == 0
