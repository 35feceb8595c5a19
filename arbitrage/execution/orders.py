"""The order state machine: an event about one order becomes facts. Keeps nothing, re-sends nothing, believes fills over words.

    INTENDED -> OPEN -> FILLED | CANCELLED | REJECTED        any order of arrival; a venue's end is never undone
    INTENDED | OPEN -> UNKNOWN -> (asked until answered) -> OPEN | an end
    UNKNOWN -> absent: the venue still says "does not exist" when asked a horizon after the order's validity and after the
    venue's last word that it has it. This end is our own conclusion, so a later word of the venue undoes it.

The same intent is then decided anew at the prices of then, under a new id, at every venue alike. Nothing hangs on a venue
telling a repetition from a new order: Binance knows an id as taken among open orders only, so it would execute an IOC twice
under one id (reference binance-spot 7); Upbit spends an id for ever, even on a refusal, so the old one could not be sent again
(reference upbit 7). What keeps the first attempt from a late second life is its validity and the horizon after it.
"""

from __future__ import annotations

from arbitrage.execution.plans import WorkedOrder, WorkedPlan
from arbitrage.model.effects import Append, Effect, QueryOrder, Report, Severity
from arbitrage.model.events import OrderAbsent, OrderAccepted, OrderEnded, OrderFilled, OrderUnanswered
from arbitrage.model.facts import FillBooked, OrderChanged
from arbitrage.model.orders import OrderState
from arbitrage.model.settings import ExecutionSettings

NS_PER_MS = 1_000_000
ABSENT = "absent"
"""The reason of an order's end when the venue never knew it."""


def on_accepted(worked: WorkedOrder, event: OrderAccepted) -> list[Effect]:
    """The venue has it. A late acknowledgement answers the question that was open, and undoes a believed absence."""
    assert event.client_order_id == worked.order.client_order_id, "an answer reaches its own order"
    if worked.is_absent:
        text = "an order that was believed absent exists; it is asked about"
        return [*_asked(worked, event.at_ns, OrderState.UNKNOWN, text), _alarm("absence_wrong", text, worked)]
    if worked.state.is_terminal or worked.state is OrderState.OPEN:
        return []
    return [_changed(worked, event.at_ns, OrderState.OPEN, event.venue_order_id)]


def on_absent(worked: WorkedOrder, event: OrderAbsent, settings: ExecutionSettings) -> list[Effect]:
    """The venue does not know it (yet). Believed when a question asked after validity and horizon is answered so.

    An order that the venue had acknowledged, or of which fills are known, ends with those fills and an alarm.
    """
    assert event.client_order_id == worked.order.client_order_id, "an answer reaches its own order"
    if worked.state.is_terminal:
        return []
    if worked.state is not OrderState.UNKNOWN:
        return [_changed(worked, event.at_ns, OrderState.UNKNOWN, "not found yet")]
    if (event.asked_ns or worked.changed_at_ns) < believed_from_ns(worked, settings):
        return []
    order_id, filled_e8 = worked.order.client_order_id, worked.filled_quantity_e8
    if worked.known_at_ns is None:
        return [Append(OrderChanged(event.at_ns, order_id, OrderState.REJECTED, 0, ABSENT, is_absence=True))]
    reason = "absent, although the venue had acknowledged it"
    ended = OrderChanged(event.at_ns, order_id, OrderState.CANCELLED, filled_e8, reason, is_absence=True)
    return [Append(ended), _alarm("absent_after_acknowledgement", f"the order is {reason}", worked)]


def believed_from_ns(worked: WorkedOrder, settings: ExecutionSettings) -> int:
    """Return from when on a question that is answered "does not exist" is believed.

    What a venue acknowledged late is to be found late: its last word opens the horizon anew (Upbit lists an order seconds after
    it took it, reference upbit 7).
    """
    order = worked.order
    valid_until_ns = order.valid_until_ns or worked.intended_at_ns + settings.order_validity_ms * NS_PER_MS
    assert valid_until_ns >= 0, "validity ends at a time"
    return max(valid_until_ns, worked.known_at_ns or 0) + settings.absence_horizon_ms * NS_PER_MS


def on_unanswered(worked: WorkedOrder, event: OrderUnanswered) -> list[Effect]:
    """No word within the limit: unknown, and asked. An order that was answered meanwhile is left alone."""
    assert event.client_order_id == worked.order.client_order_id, "an answer reaches its own order"
    if worked.state is not OrderState.INTENDED:
        return []
    return ask(worked, event.at_ns, "no acknowledgement")


def on_filled(worked: WorkedOrder, plan: WorkedPlan, event: OrderFilled) -> list[Effect]:
    """A fill is booked whenever it comes: before the acceptance, after the end, after the plan closed."""
    fill = event.fill
    assert fill.client_order_id == worked.order.client_order_id, "a fill reaches its own order"
    effects: list[Effect] = [Append(FillBooked(event.at_ns, fill))]
    filled_e8 = worked.filled_quantity_e8 + fill.quantity_e8
    quantity_e8 = worked.order.quantity_e8
    if filled_e8 >= quantity_e8 and (not worked.state.is_terminal or worked.is_absent):
        effects.append(Append(OrderChanged(event.at_ns, fill.client_order_id, OrderState.FILLED, filled_e8, "fills complete")))
    if filled_e8 > quantity_e8:
        effects.append(_alarm("overfilled", "the venue filled more than was ordered", worked))
    elif worked.is_absent:
        text = "a fill arrived of an order that was believed absent"
        reopened = [] if filled_e8 >= quantity_e8 else _asked(worked, event.at_ns, OrderState.UNKNOWN, text)
        effects += [*reopened, _alarm("absence_wrong", text, worked)]
    elif plan.outcome is not None:
        effects.append(_alarm("fill_after_close", "a fill arrived after its plan had closed", worked))
    return effects


def on_ended(worked: WorkedOrder, event: OrderEnded) -> list[Effect]:
    """The venue's last word, read by its quantity: a market order may end in `cancel` although filled (Upbit)."""
    assert event.client_order_id == worked.order.client_order_id, "an answer reaches its own order"
    if not event.state.is_terminal:
        return []
    total_e8 = max(event.filled_quantity_e8, worked.filled_quantity_e8, worked.ended_quantity_e8)
    state = end_state(event.state, total_e8, worked.order.quantity_e8)
    if (state, total_e8) == (worked.state, worked.ended_quantity_e8) and not worked.is_absent:
        return []
    effects: list[Effect] = [
        Append(OrderChanged(event.at_ns, worked.order.client_order_id, state, total_e8, event.reason)),
    ]
    if total_e8 > worked.filled_quantity_e8:
        effects.append(_query(worked))
    return effects


def end_state(word: OrderState, total_e8: int, quantity_e8: int) -> OrderState:
    """Return how an order ended, by what was filled and only then by the venue's word."""
    assert word.is_terminal, "only a last word ends an order"
    if total_e8 >= quantity_e8:
        return OrderState.FILLED
    if total_e8 > 0 or word is OrderState.FILLED:
        return OrderState.CANCELLED
    return word


def overdue(plan: WorkedPlan, now_ns: int, settings: ExecutionSettings) -> list[Effect]:
    """Ask about every order of a plan that owes an answer for too long. The same order is never sent again.

    A plan that ended without its answers is asked about more seldom: nothing waits for them but their reservation.
    """
    again_ms = settings.query_interval_ms if plan.outcome is None else settings.answer_horizon_ms
    effects: list[Effect] = []
    for worked in plan.orders:
        if worked.is_settled:
            continue
        is_first_question = worked.state in (OrderState.INTENDED, OrderState.OPEN)
        limit_ms = settings.acknowledgement_ms_max if is_first_question else again_ms
        if now_ns - worked.changed_at_ns >= limit_ms * NS_PER_MS:
            effects += ask(worked, now_ns, "fills missing" if worked.state.is_terminal else "no answer")
    assert not (effects and plan.is_settled), "nothing is asked about a settled plan"
    return effects


def ask(worked: WorkedOrder, now_ns: int, reason: str) -> list[Effect]:
    """Write down that the order is asked about, and ask."""
    assert not worked.is_settled, "a settled order owes nothing"
    state = worked.state if worked.state.is_terminal else OrderState.UNKNOWN
    return _asked(worked, now_ns, state, reason)


def _asked(worked: WorkedOrder, now_ns: int, state: OrderState, reason: str) -> list[Effect]:
    return [_changed(worked, now_ns, state, reason), _query(worked)]


def _changed(worked: WorkedOrder, at_ns: int, state: OrderState, reason: str) -> Append:
    total_e8 = max(worked.ended_quantity_e8, worked.filled_quantity_e8)
    return Append(OrderChanged(at_ns, worked.order.client_order_id, state, total_e8, reason))


def _query(worked: WorkedOrder) -> QueryOrder:
    order = worked.order
    return QueryOrder(order.venue, order.market, order.client_order_id)


def _alarm(code: str, text: str, worked: WorkedOrder) -> Report:
    fields: dict[str, str | int | float | bool | None] = {
        "plan": worked.order.plan_id,
        "order": worked.order.client_order_id,
        "state": worked.state.value,
    }
    return Report(Severity.ERROR, code, text, fields)
