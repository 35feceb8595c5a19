"""Venues that lose, delay, repeat and reorder everything: every plan ends in time, nothing is sent twice, no unit is lost."""

from __future__ import annotations

import heapq
import itertools
import random

import msgspec
from desk_world import BTC_KRW, BTC_USDT, INSTRUMENTS, SECOND, UPBIT, USDT, House, accepted, end, filled, kimchi, triangle
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.execution import Desk, DeskState
from arbitrage.ledger import Ledger, LedgerState
from arbitrage.model.effects import Append, Effect, PlaceOrder
from arbitrage.model.events import OrderAbsent, OrderAccepted, OrderEnded, OrderEvent, OrderFilled, OrderUnanswered
from arbitrage.model.facts import KillSwitched
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Approved, PlanState
from arbitrage.model.orders import ClientOrderId, Order, OrderState
from arbitrage.model.settings import ExecutionSettings

ANSWER_HORIZON_NS, WAKE_NS = 60 * SECOND, SECOND // 2
"""How long past its deadline a plan waits by default, and how often the storm looks at the clock."""
REST_NS = 85 * SECOND
"""More than a plan's deadline and horizon together."""
NEVER_NS = 10**18


class StormyVenues:
    """What the venues truly did with each order, and what of it reaches us and when."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.truth: dict[ClientOrderId, list[OrderEvent]] = {}
        self.mute: set[ClientOrderId] = set()
        """Orders of which nothing ever reaches us again, questions included."""
        self.seen_from_ns: dict[ClientOrderId, int] = {}
        """Until then a venue that is asked says that the order does not exist; never is the end of time."""
        self.waiting: list[tuple[int, int, OrderEvent]] = []
        self.count = 0

    def place(self, order: Order, now_ns: int) -> None:
        dice = self.dice
        assert order.client_order_id not in self.truth, "sent twice"
        if dice.random() < 0.1:
            self.truth[order.client_order_id], self.seen_from_ns[order.client_order_id] = [], NEVER_NS
            return
        self.seen_from_ns[order.client_order_id] = now_ns + dice.choice((0, 0, 3 * SECOND))
        fraction = dice.choice((0, 0, dice.random(), 1, 1, 1))
        total_e8 = int(order.quantity_e8 * fraction) // INSTRUMENTS[order.market].lot_e8 * INSTRUMENTS[order.market].lot_e8
        word = OrderState.REJECTED if not total_e8 and dice.random() < 0.5 else OrderState.CANCELLED
        cuts = sorted({0, total_e8, *(dice.randint(0, total_e8) for _ in range(dice.randint(0, 3)))})
        fills = [filled(order, str(low), high - low) for low, high in itertools.pairwise(cuts)]
        self.truth[order.client_order_id] = [accepted(order), *fills, end(order, total_e8, word)]
        if dice.random() < 0.03:
            self.mute.add(order.client_order_id)
        self.tell(order.client_order_id, now_ns, dice.choice((0.0, 0.3, 0.9)))
        if dice.random() < 0.3:
            self.post(OrderUnanswered(0, order.client_order_id), now_ns + 3 * SECOND)

    def query(self, client_order_id: ClientOrderId, now_ns: int) -> None:
        if self.dice.random() < 0.2:
            self.post(OrderUnanswered(0, client_order_id), now_ns + 1)
        elif now_ns < self.seen_from_ns[client_order_id] and client_order_id not in self.mute:
            self.post(OrderAbsent(0, client_order_id), now_ns + self.dice.randint(1, SECOND))
        else:
            self.tell(client_order_id, now_ns, self.dice.choice((0.0, 0.0, 0.5)))

    def tell(self, client_order_id: ClientOrderId, now_ns: int, loss: float) -> None:
        if client_order_id in self.mute:
            return
        for event in self.truth[client_order_id]:
            for _ in range(self.dice.choice((1, 1, 1, 2))):
                if self.dice.random() >= loss:
                    self.post(event, now_ns + self.dice.randint(1, SECOND))

    def post(self, event: OrderEvent, due_ns: int) -> None:
        if isinstance(event, OrderUnanswered) and event.client_order_id in self.mute and self.dice.random() < 0.5:
            return
        self.count += 1
        heapq.heappush(self.waiting, (due_ns, self.count, msgspec.structs.replace(event, at_ns=due_ns)))


class Storm:
    """A house in the storm, one event at a time."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.house = House()
        self.venues = StormyVenues(self.dice)
        self.sent = self.asked = 0

    def run(self, until_ns: int, *, plans: int = 0) -> None:
        dice, house = self.dice, self.house
        starts = sorted(dice.randint(house.now_ns, until_ns) for _ in range(plans))
        while house.now_ns < until_ns:
            wake_ns = min(house.now_ns + WAKE_NS, until_ns)
            due_ns = min([wake_ns, *starts[:1], *(item[0] for item in self.venues.waiting[:1])])
            house.now_ns = max(due_ns, house.now_ns)
            if starts and starts[0] <= house.now_ns:
                starts.pop(0)
                house.commit(self._start())
            while self.venues.waiting and self.venues.waiting[0][0] <= house.now_ns:
                house.commit(house.desk.on_event(heapq.heappop(self.venues.waiting)[2]))
            self._weather()
            house.advance()
            self._carry_out()
            self.check_unfinished()

    def _start(self) -> list[Effect]:
        opportunity = self.dice.choice((kimchi(), kimchi(is_carried=True), triangle()))
        return self.house.desk.start(Approved(opportunity), self.house.now_ns)

    def _weather(self) -> None:
        books, dice = self.house.books, self.dice
        books.doubted = {market for market in range(5) if dice.random() < 0.1}
        for market in (BTC_USDT, BTC_KRW):
            mid = dice.randint(49_000, 51_000) * (1 if market == BTC_USDT else 1_000)
            tick = 1 if market == BTC_USDT else 1_000
            books.bids[market] = [(float(mid - tick * step), dice.random()) for step in range(1, 4)]
            books.asks[market] = [(float(mid + tick * step), dice.random()) for step in range(1, 4)]

    def _carry_out(self) -> None:
        house = self.house
        for order in house.sent[self.sent :]:
            self.venues.place(order, house.now_ns)
        for client_order_id in house.queried[self.asked :]:
            self.venues.query(client_order_id, house.now_ns)
        self.sent, self.asked = len(house.sent), len(house.queried)

    def check_unfinished(self) -> None:
        """What the desk calls unfinished are all orders that owe an answer, whichever plan they are of."""
        known = [worked for plan in self.house.desk.snapshot().plans for worked in plan.orders]
        owing = {worked.order.client_order_id for worked in known if not worked.is_settled}
        assert {order.client_order_id for order, _ in self.house.desk.unfinished()} == owing

    def check_ends(self) -> None:
        """Every plan ended in time, with what its fills say and nothing else."""
        house = self.house
        closed = {outcome.plan_id: outcome for outcome in house.outcomes()}
        plans = {order.plan_id for order in house.sent}
        assert set(closed) == plans
        for plan_id, outcome in closed.items():
            worked = house.desk.plan(plan_id)
            assert worked is not None
            assert outcome.closed_at_ns <= worked.deadline_ns + ANSWER_HORIZON_NS + WAKE_NS
            values_e8 = sum(residual.value_e8 for residual in outcome.residuals)
            if worked.is_settled and not house.ledger.unattributed_e8():
                deltas = house.ledger.plan_deltas(plan_id)
                assert outcome.realised_e8 == deltas.get(USDT, 0) + values_e8
                left = {residual.asset: residual.amount_e8 for residual in outcome.residuals}
                assert left == {asset: e8 for asset, e8 in deltas.items() if e8 and asset != USDT}
            if outcome.state is PlanState.MISSED:
                assert outcome.realised_e8 == 0 and not outcome.residuals

    def true_exposure(self) -> dict[Asset, int]:
        """Return what the venues' own fills changed, for orders that reached us whole."""
        totals: dict[Asset, int] = {}
        for client_order_id, events in self.venues.truth.items():
            if client_order_id in self.venues.mute:
                continue
            for event in events:
                if isinstance(event, OrderFilled):
                    fill, rules = event.fill, INSTRUMENTS[event.fill.market]
                    sign = 1 if fill.side.value == "buy" else -1
                    for asset, e8 in (
                        (rules.base, sign * fill.quantity_e8),
                        (rules.quote, -sign * fill.quote_e8),
                        (fill.fee_asset, -fill.fee_e8),
                    ):
                        totals[asset] = totals.get(asset, 0) + e8
        return {asset: e8 for asset, e8 in totals.items() if e8}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_every_plan_ends_in_time_and_every_unit_is_explained(seed: int) -> None:
    storm = Storm(seed)
    storm.run(8 * SECOND, plans=4)
    storm.run(storm.house.now_ns + REST_NS)
    storm.check_ends()
    house = storm.house
    assert house.desk.open_plans() == []
    known = {asset: e8 for asset, e8 in house.ledger.exposure_e8().items() if e8}
    assert known == storm.true_exposure(), "every fill that reached us, once; no other"
    settled = {order.client_order_id for order in house.sent} - {order.client_order_id for order, _ in house.desk.unfinished()}
    assert settled >= {order.client_order_id for order in house.sent} - storm.venues.mute


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), cut=st.integers(0, 20))
def test_a_restart_in_the_storm_goes_on_as_if_nothing_had_happened(seed: int, cut: int) -> None:
    """A snapshot taken anywhere and the facts after it are the state; questions go on, and nothing is sent again."""
    storm = Storm(seed)
    storm.run(4 * SECOND, plans=3)
    house = storm.house
    desk_state = msgspec.json.decode(msgspec.json.encode(house.desk.snapshot()), type=DeskState)
    ledger_state = msgspec.json.decode(msgspec.json.encode(house.ledger.snapshot()), type=LedgerState)
    assert desk_state == house.desk.snapshot()
    position = len(house.facts)
    storm.run(house.now_ns + cut * SECOND // 4, plans=1)
    reborn, ledger = Desk(ExecutionSettings(), lambda market: INSTRUMENTS[market], "t2"), Ledger.restore(ledger_state)
    reborn.restore(desk_state)
    for fact in house.facts[position:]:
        reborn.apply(fact)
        ledger.apply(fact)
    assert reborn.snapshot() == house.desk.snapshot()
    assert ledger == house.ledger
    house.desk = reborn
    storm.run(house.now_ns + REST_NS, plans=0)
    storm.check_ends()
    effects = reborn.start(Approved(kimchi()), house.now_ns)
    assert isinstance(effects[1], PlaceOrder)
    assert effects[1].order.plan_id == "t2-1"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_calculating_changes_nothing_until_facts_are_applied(seed: int) -> None:
    storm = Storm(seed)
    storm.run(3 * SECOND, plans=3)
    house = storm.house
    before = house.desk.snapshot()
    house.desk.start(Approved(kimchi()), house.now_ns)
    for order in house.sent:
        house.desk.on_event(OrderAccepted(house.now_ns, order.client_order_id, "x"))
        house.desk.on_event(filled(order, "x", order.quantity_e8))
        house.desk.on_event(OrderEnded(house.now_ns, order.client_order_id, OrderState.FILLED, order.quantity_e8, ""))
    house.desk.advance(house.now_ns + 100 * SECOND, house.books)
    assert house.desk.snapshot() == before


def test_a_swallowed_acknowledgement_never_makes_a_second_order() -> None:
    """Pains row 5: a thousand runs of one plan whose every word may be lost, and the answers' too."""
    for seed in range(1_000):
        storm = Storm(seed)
        house = storm.house
        house.commit(storm._start())
        storm._carry_out()
        planned = len(house.sent)
        for _ in range(4):
            house.advance(house.now_ns + SECOND)
            storm._carry_out()
        assert len({order.client_order_id for order in house.sent}) == len(house.sent)
        assert len(house.sent) == planned, "nothing came back, so nothing more is sent"
        assert all(house.queried.count(order.client_order_id) == 2 for order in house.sent)


def test_the_kill_switch_survives_a_restart() -> None:
    house = House()
    house.commit([Append(KillSwitched(0, is_on=True, actor="operator", reason="test"))])
    state = house.desk.snapshot()
    assert state.is_killed
    reborn = Desk(ExecutionSettings(), lambda market: INSTRUMENTS[market], "t2")
    reborn.restore(state)
    assert reborn.snapshot() == state


def test_a_snapshot_does_not_move_with_the_desk() -> None:
    storm = Storm(3)
    storm.run(2 * SECOND, plans=3)
    state = storm.house.desk.snapshot()
    frozen = msgspec.json.encode(state)
    storm.run(20 * SECOND)
    assert msgspec.json.encode(state) == frozen
    assert UPBIT in {order.venue for order in storm.house.sent}
