"""A pair that does not realise what it expects disarms itself: pains row 22."""

from __future__ import annotations

import msgspec
import pytest
from engine_world import MARKETS, World, settings

from arbitrage.engine import pairs as room
from arbitrage.engine.engine import Engine
from arbitrage.engine.pairs import PairBook, PairRecord, PairsState
from arbitrage.engine.viewing import view_of
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.model.events import Command, CommandKind
from arbitrage.model.facts import PairSwitched, PlanClosed
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import (
    EdgeBreakdown,
    Leg,
    Opportunity,
    Outcome,
    PlanState,
    Refusal,
    Refused,
)
from arbitrage.model.orders import PlanId
from arbitrage.model.settings import ExecutionSettings, RiskSettings

BINANCE = Venue("binance")


def trading(**execution: int) -> World:
    risk = RiskSettings(edge_ppm_max=100_000, loss_today_max="100000", drawdown_max="100000")
    world = World(settings(execution=ExecutionSettings(cooldown_ms=1_000, **execution), risk=risk))
    world.connect()
    return world


def test_a_pair_that_loses_what_it_expected_to_win_disarms_itself_until_it_is_accepted_by_name() -> None:
    world = trading(realised_plans=2, realised_ratio_ppm_min=0)
    world.lose()
    assert world.engine.pairs.off() == {} and world.engine.outcomes[-1].realised_e8 < 0
    world.lose()
    assert list(world.engine.pairs.off()) == ["BTC"] and "pair_disarmed" in world.reports()
    assert view_of(world.engine, world.now_ns).pairs_off == world.engine.pairs.off()
    assert world.engine.not_armed_because() == (), "other pairs trade on"
    count = len(world.placed())
    world.premium_books()
    world.decide()
    assert len(world.placed()) == count
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.PAIR_DISARMED
    assert "ppm of what its last 2 arbitrages expected, realised_ratio_ppm_min is 0" in last.detail
    assert "pair-BTC" in world.engine.differences()
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "fees were wrong", "pair-ETH"))
    assert "pair-BTC" in world.engine.differences()
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "fees were wrong", "pair-BTC"))
    assert "pair-BTC" not in world.engine.differences()
    world.premium_books()
    world.decide()
    assert len(world.placed()) > count


def dear(times: float) -> World:
    """Decide once with the coin so many times as dear at Upbit, from its first picture on."""
    world = World(settings(risk=RiskSettings(edge_ppm_max=100_000)))
    world.connect()
    world.depth(99_990.0, 100_010.0, 0.5)
    won = round(140_000_000 * times)
    world.picture(1, won - 50_000.0, won + 50_000.0, 0.5)
    world.picture(2, 1_399.0, 1_401.0, 100_000.0)
    world.decide()
    return world


def test_prices_three_times_apart_put_a_pair_into_quarantine_until_it_is_accepted_by_name() -> None:
    """Pains row 19: it is another coin under the same name until somebody says otherwise."""
    world = dear(3.0)
    (reason,) = world.engine.pairs.off().values()
    assert "is another coin or unit, edge_ppm_quarantine is 1000000" in reason
    world.picture(1, 420_000_000.0, 420_100_000.0, 0.4)
    world.wait(1_000)
    world.decide()
    verdicts = [each.verdict for each in world.verdicts()]
    assert {each.reason for each in verdicts if isinstance(each, Refused)} == {Refusal.TOO_GOOD, Refusal.PAIR_DISARMED}
    assert world.reports().count("pair_disarmed") == 1 and not world.placed()
    world.feed(Command(world.now_ns, CommandKind.ACCEPT_DIFFERENCES, "kim", "it split ten for one", "pair-BTC"))
    assert world.engine.pairs.off() == {}


def test_an_edge_that_is_only_too_good_quarantines_nothing() -> None:
    world = dear(1.5)
    last = world.verdicts()[-1].verdict
    assert isinstance(last, Refused) and last.reason is Refusal.TOO_GOOD
    assert world.engine.pairs.off() == {}


def test_a_disarmed_pair_stays_so_over_a_restart() -> None:
    world = trading(realised_plans=1)
    world.lose()
    assert sum(isinstance(fact, PairSwitched) for fact in world.facts()) == 1
    by_snapshot, by_facts = (Engine(settings(), MARKETS, id_prefix="u") for _ in range(2))
    by_snapshot.restore(world.engine.snapshot("s", 1, 1), [])
    by_facts.restore(None, world.facts())  # type: ignore[arg-type]  # facts are facts
    assert by_snapshot.pairs.state == by_facts.pairs.state == world.engine.pairs.state
    assert by_snapshot.differences() == ("pair-BTC",)


def opportunity(asset: str = "BTC", *, expected_e8: int = E8, cycle: int = 0) -> Opportunity:
    spent, received = Node(BINANCE, Asset("USDT")), Node(BINANCE, Asset(asset))
    leg = Leg(0, Side.BUY, spent, received, 1, 1, 1, 1, 0, Asset("USDT"), 1, 1)
    breakdown = EdgeBreakdown(expected_e8, 0, 0, 0, expected_e8)
    return Opportunity("x", 0, cycle, "test", (leg,), (), spent, 1, 1, Asset("USDT"), 1, 0, breakdown)


def outcome(realised_e8: int, *, expected_e8: int = E8, state: PlanState = PlanState.COMPLETED) -> Outcome:
    return Outcome(PlanId("p-1"), "x", state, Asset("USDT"), expected_e8, realised_e8, (), 0, 7)


def book() -> PairBook:
    return PairBook(lambda found: frozenset(leg.received.asset for leg in found.legs))


def close(pairs: PairBook, realised_e8: int, settings: ExecutionSettings, asset: str = "BTC") -> PairSwitched | None:
    found, ended = opportunity(asset), outcome(realised_e8)
    pairs.apply(PlanClosed(7, ended), found)
    return pairs.judge(found, ended, settings)


@pytest.mark.parametrize(("last_e8", "is_off"), [(-E8 + 1, False), (-E8, False), (-E8 - 1, True)])
def test_the_limit_is_exact(last_e8: int, *, is_off: bool) -> None:
    settings, pairs = ExecutionSettings(realised_plans=3, realised_ratio_ppm_min=0), book()
    assert close(pairs, E8 // 2, settings) is None
    assert close(pairs, E8 // 2, settings) is None
    switched = close(pairs, last_e8, settings)
    assert (switched is not None) is is_off
    if switched is not None:
        assert (switched.pair, switched.is_off, switched.at_ns) == ("BTC", True, 7)


def test_only_the_last_results_count() -> None:
    settings, pairs = ExecutionSettings(realised_plans=2, realised_ratio_ppm_min=500_000), book()
    assert close(pairs, -100 * E8, settings) is None
    assert close(pairs, 200 * E8, settings) is None
    assert close(pairs, 0, settings) is None
    assert close(pairs, 0, settings) is not None


def test_what_did_not_trade_or_expected_nothing_or_was_a_hedge_says_nothing_about_a_pair() -> None:
    pairs = book()
    for found, ended in (
        (opportunity(), outcome(0, state=PlanState.MISSED)),
        (opportunity(expected_e8=0), outcome(-5, expected_e8=0)),
        (opportunity(cycle=HEDGE_CYCLE), outcome(-5)),
    ):
        pairs.apply(PlanClosed(7, ended), found)
        assert pairs.judge(found, ended, ExecutionSettings(realised_plans=1)) is None
    pairs.apply(PlanClosed(7, outcome(0)), None)
    assert pairs.state == PairsState()


def test_a_pair_is_switched_off_once() -> None:
    settings, pairs = ExecutionSettings(realised_plans=1), book()
    switched = close(pairs, -1, settings)
    assert switched is not None
    pairs.apply(switched, None)
    assert pairs.off_reason(opportunity()) == switched.reason and pairs.off_reason(opportunity("ETH")) == ""
    assert close(pairs, -1, settings) is None, "plans that were open still end"
    pairs.apply(PairSwitched(8, "BTC", False, "kim", "fine"), None)
    assert pairs.off() == {} and pairs.state.pairs["BTC"] == PairRecord(), "it starts anew"


def test_memory_is_bounded_and_never_forgets_a_pair_that_is_off() -> None:
    settings, pairs = ExecutionSettings(), book()
    pairs.apply(PairSwitched(1, "COIN0", True, "kim", "bad"), None)
    for number in range(1, room.PAIRS_MAX + 2):
        close(pairs, 1, settings, f"COIN{number}")
    assert len(pairs.state.pairs) == room.PAIRS_MAX
    assert "COIN0" in pairs.off() and "COIN1" not in pairs.state.pairs
    for _ in range(room.RESULTS_KEPT_MAX + 1):
        close(pairs, 1, settings)
    assert len(pairs.state.pairs["BTC"].results) == room.RESULTS_KEPT_MAX


def test_the_memory_reads_back_as_it_was_written() -> None:
    pairs, reborn = book(), book()
    close(pairs, 5, ExecutionSettings())
    state = msgspec.json.decode(msgspec.json.encode(pairs.state), type=PairsState)
    reborn.restore(state)
    assert reborn.state == pairs.state
    close(pairs, 5, ExecutionSettings())
    assert reborn.state == state, "a memory of its own"
