"""A venue that does not know an order is not believed at once, and not asked for ever: pains row 6, and what follows."""

from __future__ import annotations

import msgspec
from desk_world import (
    BINANCE,
    BTC,
    DEADLINE,
    INSTRUMENTS,
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

from arbitrage.execution import Desk
from arbitrage.execution.orders import believed_from_ns
from arbitrage.execution.plans import WorkedOrder
from arbitrage.ledger import Ledger
from arbitrage.model.events import OrderAbsent, OrderUnanswered
from arbitrage.model.facts import OrderChanged
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import LegChoice, PlanState
from arbitrage.model.orders import ClientOrderId, Order, OrderState
from arbitrage.model.settings import ExecutionSettings

BELIEVED = 12 * SECOND
"""Two seconds of validity and a horizon of ten, by default."""


def single() -> tuple[House, Order, WorkedOrder]:
    """One order whose plan stays open because the other leg is not answered yet."""
    house = House()
    buy = make_leg(0, Side.BUY, 50_000 * E8, E8 // 10)
    plan = house.start(make_opportunity(buy, make_leg(0, Side.SELL, 50_000 * E8, buy.received_e8)))
    return house, house.sent[0], plan.orders[0]


def absent(order: Order, at_ns: int) -> OrderAbsent:
    return OrderAbsent(at_ns, order.client_order_id)


def ask_until(house: House, order: Order, until_ns: int) -> None:
    """Let the clock run; whatever is asked about this order is answered: it does not exist."""
    while house.now_ns < until_ns:
        asked = house.queried.count(order.client_order_id)
        house.advance(min(house.now_ns + 100 * MS, until_ns))
        if house.queried.count(order.client_order_id) > asked:
            house.hear(absent(order, house.now_ns))


def test_an_order_that_does_not_exist_yet_is_asked_about_at_a_pace_and_not_failed() -> None:
    """Pains row 6: the venue denies it for seconds after accepting it."""
    house, order, worked = single()
    house.hear(absent(order, 0))
    assert worked.state is OrderState.UNKNOWN and house.queried == [], "the first denial is no reason to hurry"
    ask_until(house, order, BELIEVED - 1)
    assert worked.state is OrderState.UNKNOWN
    assert house.queried.count(order.client_order_id) == 11, "once a second"
    assert house.ledger.reserved_e8(Node(BINANCE, USDT)) > 0
    house.hear(accepted(order), filled(order, "1", order.quantity_e8))
    assert worked.state is OrderState.FILLED and worked.is_settled


def test_absence_is_believed_when_it_was_asked_for_after_validity_and_horizon() -> None:
    house, order, worked = single()
    ask_until(house, order, BELIEVED)
    assert worked.state is OrderState.REJECTED and worked.is_absent and worked.is_settled
    last = [fact for fact in house.facts if isinstance(fact, OrderChanged)][-1]
    assert (last.reason, last.is_absence, last.filled_quantity_e8) == ("absent", True, 0)
    assert house.ledger.reserved_e8(Node(BINANCE, USDT)) == 0
    asked = house.queried.count(order.client_order_id)
    ask_until(house, order, BELIEVED + 5 * SECOND)
    assert house.queried.count(order.client_order_id) == asked, "no endless polling after it"
    assert len(house.sent) == 2, "an old placement is never sent again"


def test_a_late_answer_to_an_early_question_is_not_believed() -> None:
    house, order, worked = single()
    house.advance(BELIEVED - SECOND)
    house.now_ns = BELIEVED + SECOND // 2
    house.commit(house.desk.on_event(absent(order, house.now_ns)))
    assert worked.state is OrderState.UNKNOWN
    house.advance()
    house.hear(absent(order, house.now_ns))
    assert worked.is_absent


def test_an_answer_is_dated_by_its_own_question_and_not_by_a_later_one() -> None:
    """A question may wait for its answer, or for its turn, while the next one is already written down."""
    house, order, worked = single()
    house.advance(BELIEVED - SECOND)
    early_ns = house.now_ns
    house.advance(BELIEVED + SECOND)
    house.hear(OrderAbsent(house.now_ns, order.client_order_id, asked_ns=early_ns))
    assert worked.state is OrderState.UNKNOWN and not worked.is_absent
    house.hear(OrderAbsent(house.now_ns, order.client_order_id, asked_ns=house.now_ns))
    assert worked.is_absent


def test_the_governor_decides_anew_under_a_new_id_after_an_absence() -> None:
    """The plan's deadline leaves room for it: the leg is completed although its first order was lost on the way."""
    house = House()
    house.start(kimchi(is_carried=True))
    buy, sell = house.sent
    house.fill_all(buy)
    ask_until(house, sell, BELIEVED)
    assert [fact.choice for fact in house.decisions()] == [LegChoice.COMPLETE]
    mending = house.sent[-1]
    assert mending.client_order_id not in (buy.client_order_id, sell.client_order_id)
    assert mending.valid_until_ns == house.now_ns + 2 * SECOND < DEADLINE
    house.fill_at_touch(mending)
    assert house.outcomes()[0].state is PlanState.RECOVERED


def test_an_order_that_was_acknowledged_and_then_denied_ends_with_its_fills_and_an_alarm() -> None:
    house, order, worked = single()
    house.hear(accepted(order), filled(order, "1", E8 // 20))
    ask_until(house, order, BELIEVED + SECOND)
    assert worked.state is OrderState.CANCELLED and worked.is_settled
    assert worked.filled_quantity_e8 == worked.ended_quantity_e8 == E8 // 20
    assert house.report_codes() == ["absent_after_acknowledgement"]


def test_an_order_that_was_acknowledged_late_is_denied_a_horizon_longer() -> None:
    """Found in a simulated life: the answer came seconds late, the venue's questions lagged too, and the leg was given up."""
    house, order, worked = single()
    ask_until(house, order, BELIEVED - SECOND)
    known_ns = house.now_ns
    house.hear(accepted(order, known_ns))
    ask_until(house, order, known_ns + 9 * SECOND)
    assert worked.state is OrderState.UNKNOWN and not worked.is_absent and not house.report_codes()
    ask_until(house, order, known_ns + 11 * SECOND)
    assert worked.is_absent and house.report_codes() == ["absent_after_acknowledgement"]


def test_a_denial_after_an_end_changes_nothing() -> None:
    house, order, worked = single()
    house.hear(end(order, 0))
    before = len(house.facts)
    house.hear(absent(order, 100 * SECOND))
    assert len(house.facts) == before and worked.state is OrderState.CANCELLED


def test_a_fill_after_absence_was_believed_is_booked_shouted_about_and_asked_for_its_rest() -> None:
    house, order, worked = single()
    ask_until(house, order, BELIEVED)
    house.queried.clear()
    house.hear(filled(order, "1", E8 // 20, at_ns=house.now_ns))
    assert house.report_codes() == ["absence_wrong"]
    assert worked.state is OrderState.UNKNOWN and not worked.is_absent
    assert house.queried == [order.client_order_id]
    assert house.ledger.exposure_e8()[BTC] > 0
    house.hear(filled(order, "2", E8 // 20), end(order, E8 // 10, OrderState.FILLED))
    assert worked.is_settled and worked.state is OrderState.FILLED
    assert house.report_codes() == ["absence_wrong"], "once"


def test_a_whole_fill_after_absence_was_believed_ends_the_order_as_filled() -> None:
    house, order, worked = single()
    ask_until(house, order, BELIEVED)
    house.hear(filled(order, "1", order.quantity_e8))
    assert worked.state is OrderState.FILLED and not worked.is_absent and worked.is_settled
    assert house.report_codes() == ["absence_wrong"]


def test_a_late_acknowledgement_undoes_a_believed_absence() -> None:
    house, order, worked = single()
    ask_until(house, order, BELIEVED)
    house.queried.clear()
    house.hear(accepted(order, house.now_ns))
    assert worked.state is OrderState.UNKNOWN and house.queried == [order.client_order_id]
    assert house.report_codes() == ["absence_wrong"]
    house.hear(end(order, 0))
    assert worked.state is OrderState.CANCELLED and worked.is_settled


def test_the_venues_own_end_takes_the_place_of_a_believed_absence() -> None:
    house, order, worked = single()
    ask_until(house, order, BELIEVED)
    house.hear(end(order, 0, OrderState.REJECTED))
    assert worked.state is OrderState.REJECTED and not worked.is_absent


def test_an_absence_survives_a_restart_and_can_still_be_wrong() -> None:
    house, order, _ = single()
    ask_until(house, order, BELIEVED)
    reborn = Desk(ExecutionSettings(), INSTRUMENTS.__getitem__, "t2")
    reborn.restore(house.desk.snapshot())
    house.desk = reborn
    assert reborn.believed_absent(BINANCE) == [order]
    house.hear(filled(order, "1", order.quantity_e8))
    assert house.report_codes() == ["absence_wrong"] and reborn.believed_absent(BINANCE) == []
    assert Ledger.restore(house.ledger.snapshot()) == house.ledger


def test_validity_of_an_order_from_before_it_was_written_down_is_counted_from_its_intent() -> None:
    house, _, worked = single()
    assert believed_from_ns(worked, ExecutionSettings()) == BELIEVED
    old = msgspec.structs.replace(worked, order=msgspec.structs.replace(house.sent[0], valid_until_ns=0), intended_at_ns=7)
    assert believed_from_ns(old, ExecutionSettings()) == 7 + BELIEVED


def test_every_order_that_owes_an_answer_is_asked_about_when_a_link_comes_back() -> None:
    house = House()
    house.start(kimchi())
    buy, sell, back = house.sent
    house.fill_all(buy)
    house.commit(house.desk.ask_all(sell.venue, 5, "the link is up"))
    assert house.queried == [sell.client_order_id, back.client_order_id]
    house.commit(house.desk.ask_all(BINANCE, 5, "the link is up"))
    assert len(house.queried) == 2, "what is settled is not asked about"


def test_an_id_tells_whether_this_session_made_it() -> None:
    house = House(id_prefix="atag_2_x")
    assert house.desk.made(ClientOrderId("atag_2_x-1-0")), "of this start"
    assert house.desk.made(ClientOrderId("atag_1_y-7-g1")), "of an earlier start, whatever the journal still knows"
    for foreign in ("btag_1_y-7-0", "atag-1-0", "web_123", "", "atag_1_y"):
        assert not house.desk.made(ClientOrderId(foreign))
    known = House(id_prefix="t1")
    known.start(kimchi())
    reborn = Desk(ExecutionSettings(), INSTRUMENTS.__getitem__, "t2")
    reborn.restore(known.desk.snapshot())
    assert reborn.made(ClientOrderId("t1-9-0")) and reborn.made(ClientOrderId("t2-1-0"))
    assert not reborn.made(ClientOrderId("t3-1-0"))


def test_an_unanswered_order_of_which_a_denial_came_first_stays_unknown() -> None:
    house, order, worked = single()
    house.hear(absent(order, 0), OrderUnanswered(0, order.client_order_id))
    assert worked.state is OrderState.UNKNOWN and house.queried == []
    assert house.desk.worked(order.client_order_id) is worked
    assert house.desk.worked(ClientOrderId("nobody-1-0")) is None
