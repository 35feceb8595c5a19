"""Unknown outcomes, a thousand seeds for each venue: one order, the right fill, equal balances. Pains 2, 3, 5, 6, 7 and 21."""

from __future__ import annotations

import random

import pytest
from account_world import AccountWorld
from engine_world import BINANCE, BTC, KRW, MS, UPBIT, USDT, instrument
from scripted_exchange import BNB, ScriptedExchange

from arbitrage.engine.engine import Engine
from arbitrage.ledger import add_deltas, fill_deltas
from arbitrage.model.effects import Effect, PlaceOrder
from arbitrage.model.events import AccountLinkUp, Event, Wake
from arbitrage.model.facts import FillBooked, OrderIntended, PlanClosed, PlanOpened
from arbitrage.model.instruments import Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import PlanState

SEEDS = 1_000
STEP_MS = 500
BNB_E8 = (0, E8, E8 // 1_000)
"""What there is at Binance of the coin that it takes fees in before any other: none, plenty, too little for one order."""
REST_MS = 90_000
"""More than a plan's deadline and the horizon for its answers."""


class Day(AccountWorld):
    """One arbitrage against venues that answer badly, perhaps with a crash in the middle."""

    def __init__(self, seed: int, faulty: Venue) -> None:
        self.dice = random.Random(seed)
        self.exchange = ScriptedExchange(self.dice, faulty, bnb_e8=BNB_E8[seed % len(BNB_E8)])
        super().__init__(balances=self.exchange.balances)
        self.resent = 0
        self.start()
        self.crash_ns = self.now_ns + self.dice.randrange(1, 4_000) * MS if self.dice.random() < 0.3 else 0

    def live(self) -> None:
        """Decide once, then let everything come to rest."""
        self.exchange.carry_out(self.decide(), self.now_ns)
        assert self.exchange.placements, "there is something to take"
        until_ns, next_wake_ns = self.now_ns + REST_MS * MS, self.now_ns + STEP_MS * MS
        while self.now_ns < until_ns and not self.is_at_rest:
            due_ns = self.exchange.next_ns
            self.now_ns = next_wake_ns if due_ns is None else max(self.now_ns, min(due_ns, next_wake_ns))
            if self.crash_ns and self.now_ns >= self.crash_ns:
                self._crash()
            self._pass_on(self.exchange.due(self.now_ns))
            if self.now_ns >= next_wake_ns:
                next_wake_ns += STEP_MS * MS
                self.quiet_books()
                self._pass_on([Wake(self.now_ns)])

    @property
    def is_at_rest(self) -> bool:
        engine = self.engine
        return not (engine.desk.open_plans() or engine.desk.unfinished() or engine.not_armed_because() or self.crash_ns)

    def _pass_on(self, events: list[Event]) -> None:
        for event in events:
            effects = self.feed(event)
            self._judge_sent(effects)
            self.exchange.carry_out(effects, self.now_ns)

    def _judge_sent(self, effects: list[Effect]) -> None:
        """An intent is sent again only once its last attempt is over: answered, or absent past validity and horizon."""
        horizon_ns = self.engine.settings.execution.absence_horizon_ms * MS
        for order in [effect.order for effect in effects if isinstance(effect, PlaceOrder)]:
            plan = self.engine.desk.plan(order.plan_id)
            assert plan is not None
            earlier = [each for each in plan.orders if each.order.client_order_id != order.client_order_id]
            assert all(each.is_settled for each in earlier), "nothing is sent while an answer is owed"
            for each in earlier:
                if each.is_absent:
                    assert self.now_ns >= each.order.valid_until_ns + horizon_ns
                    self.resent += (each.order.market, each.order.side) == (order.market, order.side)

    def _crash(self) -> None:
        """Lose the process: what was on the wire to us is gone, the journal is not."""
        self.crash_ns = 0
        self.exchange.due(self.now_ns)
        self.exchange.waiting.clear()
        engine = Engine(self.engine.settings, self.engine.markets, id_prefix="u", account_venues=(BINANCE, UPBIT))
        engine.restore(None, self.facts())  # type: ignore[arg-type]  # facts are facts
        self.engine = engine
        self.last_id += 1_000
        self.report_store()
        self.connect(is_funded=False)
        self.quiet_books()
        self._pass_on([AccountLinkUp(self.now_ns, venue) for venue in (BINANCE, UPBIT)])

    def check(self) -> None:
        """Compare what is believed with what is true."""
        engine, exchange = self.engine, self.exchange
        assert len(set(exchange.placements)) == len(exchange.placements), "nothing is ever placed twice"
        assert engine.desk.open_plans() == [] and engine.desk.unfinished() == []
        for name in exchange.placements:
            worked, held = engine.desk.worked(name), exchange.orders.get(name)
            assert worked is not None and worked.is_settled
            assert worked.filled_quantity_e8 == (held.filled_e8 if held is not None else 0), "the right fill"
        totals = {node: engine.ledger.total_e8(node) for node in engine.ledger.nodes()}
        assert totals == exchange.balances, "equal balances, to the last unit"
        assert all(engine.ledger.reserved_e8(node) == 0 for node in totals)
        assert engine.not_armed_because() == ()
        assert all(name.startswith("residue-") for name in engine.differences()), "nothing unexplained"
        assert self._check_outcomes(), "something was tried"
        engine.ledger.check()

    def _check_outcomes(self) -> int:
        """Every plan ends in time, with exactly what the fills known by then made of it; return how many did."""
        deadlines, deltas, plans, ended = {}, {}, {}, 0
        horizon_ns = (self.engine.settings.execution.answer_horizon_ms + STEP_MS) * MS
        for fact in self.facts():
            if isinstance(fact, PlanOpened):
                deadlines[fact.plan_id], deltas[fact.plan_id] = fact.deadline_ns, dict[Asset, int]()
                plans.update({order.client_order_id: fact.plan_id for order in fact.orders})
            elif isinstance(fact, OrderIntended):
                plans[fact.order.client_order_id] = fact.order.plan_id
            elif isinstance(fact, FillBooked):
                add_deltas(
                    deltas[plans[fact.fill.client_order_id]], fill_deltas(fact.fill, instrument(fact.fill.market)).items()
                )
            elif isinstance(fact, PlanClosed):
                outcome, ended = fact.outcome, ended + 1
                assert fact.at_ns <= deadlines[outcome.plan_id] + horizon_ns
                left = {each.asset: each.amount_e8 for each in outcome.residuals}
                assert left == {asset: e8 for asset, e8 in deltas[outcome.plan_id].items() if e8 and asset != USDT}
                assert all(
                    each.value_e8 or each.unvalued_reason or abs(each.amount_e8) < E8 // 1_000 for each in outcome.residuals
                )
                worth_e8 = sum(each.value_e8 for each in outcome.residuals)
                assert outcome.realised_e8 == deltas[outcome.plan_id].get(USDT, 0) + worth_e8
                assert (outcome.state is PlanState.MISSED) <= (outcome.realised_e8 == 0 and not outcome.residuals)
        return ended


@pytest.mark.parametrize("faulty", [BINANCE, UPBIT])
def test_unknown_outcomes_end_with_one_order_the_right_fill_and_equal_balances(faulty: Venue) -> None:
    states, resent, fee_assets = set(), 0, set()
    for seed in range(SEEDS):
        day = Day(seed, faulty)
        day.live()
        try:
            day.check()
        except AssertionError as wrong:
            raise AssertionError(f"seed {seed} at {faulty}") from wrong
        resent += day.resent
        fee_assets |= day.exchange.fee_assets
        states.update(fact.outcome.state for fact in day.facts() if isinstance(fact, PlanClosed))
    assert len(states) == 4, "every kind of end was seen"
    assert resent > 0, "an intent whose first attempt never arrived was tried again"
    assert fee_assets >= {BTC, KRW, BNB}, "fees were taken in base, in quote and in a third asset"
