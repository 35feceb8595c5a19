"""A ledger is its facts: a snapshot restores it whole, a replay makes it again, and the check sees any unit that is off."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_world import BINANCE, BTC, INSTRUMENTS, USDT, booked, closed, ended, funded_ledger, make_fill, make_leg, opened

from arbitrage.ledger import Ledger, LedgerState
from arbitrage.model.entries import Account, Posting
from arbitrage.model.events import Funded
from arbitrage.model.facts import Fact, FillBooked, OrderChanged, PlanClosed, PlanOpened
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8, Asset
from arbitrage.model.orders import Order, OrderState, PlanId


class RandomFacts:
    """Facts in any order a bad day may bring, from one seed; applied as they are made."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.ledger = funded_ledger()
        self.facts: list[Fact] = []
        self.orders: list[Order] = []
        self.fills: list[FillBooked] = []
        self.open_plans: list[str] = []
        self.steps = 0

    def run(self, steps: int) -> None:
        for number in range(self.steps, self.steps + steps):
            make = self.dice.choice((self._open, self._fill, self._fill, self._repeat, self._end, self._close, self._fund))
            fact = make(number)
            if fact is None:
                continue
            self.facts.append(fact)
            self.ledger.apply(fact)
            self.ledger.check()
        self.steps += steps

    def _open(self, number: int) -> PlanOpened | None:
        dice = self.dice
        legs = [
            make_leg(
                dice.randrange(3),
                dice.choice((Side.BUY, Side.SELL)),
                dice.randint(1, 50_000),
                dice.randint(1, E8),
                is_carried=position == 2,
            )
            for position in range(dice.randint(2, 3))
        ]
        plan = opened(f"p-{number}", *legs)
        if self.ledger.uncovered(plan) is not None:
            return None
        self.orders += plan.orders
        self.open_plans.append(f"p-{number}")
        return plan

    def _fill(self, number: int) -> FillBooked | None:
        if not self.orders:
            return None
        order = self.dice.choice(self.orders)
        price_e8 = max(1, order.price_e8 + self.dice.randint(-E8, E8 // 10))
        quantity_e8 = self.dice.randint(1, order.quantity_e8)
        self.fills.append(booked(order, f"t{number}", quantity_e8, price_e8=price_e8, fee_e8=self.dice.randint(-99, 999)))
        return self.fills[-1]

    def _repeat(self, number: int) -> FillBooked | None:
        assert number >= 0
        return self.dice.choice(self.fills) if self.fills else None

    def _end(self, number: int) -> OrderChanged | None:
        assert number >= 0
        if not self.orders:
            return None
        order = self.dice.choice(self.orders)
        return ended(order, self.dice.randint(0, order.quantity_e8), self.dice.choice(list(OrderState)))

    def _close(self, number: int) -> PlanClosed | None:
        if not self.open_plans:
            return None
        plan = self.open_plans.pop(self.dice.randrange(len(self.open_plans)))
        return closed(self.ledger, plan, number, {BTC: self.dice.randint(-E8, E8)})

    def _fund(self, number: int) -> Funded:
        return Funded(number, BINANCE, USDT, self.dice.randint(-E8, E8), "test")


def through_json(ledger: Ledger) -> Ledger:
    return Ledger.restore(msgspec.json.decode(msgspec.json.encode(ledger.snapshot()), type=LedgerState))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), before=st.integers(0, 40), after=st.integers(0, 40))
def test_a_snapshot_restores_the_ledger_whole_and_the_rest_of_the_journal_leads_to_the_same(
    seed: int, before: int, after: int
) -> None:
    world = RandomFacts(seed)
    world.run(before)
    restored = through_json(world.ledger)
    assert restored == world.ledger
    tail_start = len(world.facts)
    world.run(after)
    for fact in world.facts[tail_start:]:
        restored.apply(fact)
        restored.check()
    assert restored == world.ledger
    assert restored.nodes() == world.ledger.nodes()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_all_facts_replayed_make_the_same_ledger_without_asking_for_todays_rules(seed: int) -> None:
    world = RandomFacts(seed)
    world.run(60)
    replayed = funded_ledger()
    for fact in world.facts:
        replayed.apply(fact)
    assert replayed == world.ledger
    blind = Ledger.restore(funded_ledger().snapshot())
    for fact in world.facts:
        blind.apply(fact)
    assert blind == world.ledger


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_free_turns_negative_only_where_the_counters_say_so(seed: int) -> None:
    world = RandomFacts(seed)
    world.run(60)
    is_negative = any(world.ledger.free_e8(node) < 0 for node in world.ledger.nodes())
    named = world.ledger.counters.keys() & {"free_negative", "withdrawn_below_zero"}
    assert named or not is_negative


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_plans_and_the_unattributed_together_explain_every_unit(seed: int) -> None:
    world = RandomFacts(seed)
    world.run(80)
    explained: dict[Asset, int] = {}
    for plan in world.ledger.snapshot().plans:
        for asset, amount_e8 in plan.deltas.items():
            explained[asset] = explained.get(asset, 0) + amount_e8
    assert world.ledger.counters.get("fills_without_order", 0) == 0
    assert explained == world.ledger.exposure_e8()


def test_a_snapshot_does_not_move_with_the_ledger() -> None:
    world = RandomFacts(5)
    world.run(30)
    state = world.ledger.snapshot()
    frozen = msgspec.json.encode(state)
    world.run(30)
    assert msgspec.json.encode(state) == frozen
    restored = Ledger.restore(state)
    for order in [hold.order for hold in state.holds]:
        restored.apply(booked(order, f"new-{order.client_order_id}", 1))
    assert msgspec.json.encode(state) == frozen
    assert restored.snapshot().plans != state.plans


def test_ledgers_that_differ_by_one_unit_are_not_equal() -> None:
    one, other = funded_ledger(), funded_ledger()
    assert one == other
    other.apply(Funded(1, BINANCE, USDT, 1, "test"))
    assert one != other
    assert one != "a ledger"


def damaged(**changes: object) -> LedgerState:
    ledger = funded_ledger()
    plan = opened("p-1", make_leg(0, Side.BUY, 50_000, E8))
    ledger.apply(plan)
    ledger.apply(booked(plan.orders[0], "t1", E8 // 2))
    return msgspec.structs.replace(ledger.snapshot(), **changes)


def moved(*moves: tuple[Account, int]) -> tuple[Posting, ...]:
    """Return the balances of `damaged` with USDT moved between accounts behind the ledger's back."""
    changes, node = dict(moves), Node(BINANCE, USDT)
    return tuple(
        Posting(entry.account, entry.node, entry.amount_e8 + (changes.get(entry.account, 0) if entry.node == node else 0))
        for entry in damaged().balances
    )


def test_the_check_sees_a_unit_out_of_nowhere() -> None:
    with pytest.raises(AssertionError, match="do not sum to zero"):
        Ledger.restore(damaged(balances=moved((Account.FREE, 1))))


def test_the_check_sees_a_reservation_that_no_order_has() -> None:
    with pytest.raises(AssertionError, match="is not the sum of its orders"):
        Ledger.restore(damaged(balances=moved((Account.FREE, -1), (Account.RESERVED, 1))))


def test_the_check_sees_a_balance_that_no_fill_explains() -> None:
    with pytest.raises(AssertionError, match="is not funding plus fills"):
        Ledger.restore(damaged(balances=moved((Account.FREE, 1), (Account.MARKET, -1))))


def test_the_check_sees_an_order_that_holds_less_than_nothing() -> None:
    state = damaged()
    state.holds[0].reserved_e8 = -1
    with pytest.raises(AssertionError, match="holds less than nothing"):
        Ledger.restore(state)


def test_rules_of_another_market_are_refused() -> None:
    order = opened("p-1", make_leg(0, Side.BUY, 50_000, E8)).orders[0]
    with pytest.raises(AssertionError, match="rules belong to their market"):
        Ledger(lambda market: INSTRUMENTS[1]).apply(FillBooked(1, make_fill(order, "t1", 1)))


def test_plans_that_are_not_known_have_no_deltas() -> None:
    assert funded_ledger().plan_deltas(PlanId("nobody")) == {}


def test_rules_are_forgotten_only_when_no_order_is_open() -> None:
    """Market numbers are positions in the configured list: after a restart with another list, old rules must not be used."""
    ledger = funded_ledger()
    fact = opened("p", make_leg(0, Side.BUY, 50_000, E8))
    ledger.apply(fact)
    assert [rules.id for rules in ledger.rules()] == [0]
    with pytest.raises(AssertionError, match="open orders keep the rules"):
        ledger.forget_rules()
    ledger.apply(ended(fact.orders[0], 0))
    ledger.forget_rules()
    assert ledger.rules() == ()
