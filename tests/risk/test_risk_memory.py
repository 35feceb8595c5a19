"""What the guard remembers, fed by facts: rate, loss, drawdown, kill, pause; and that a snapshot gives it back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_house import BINANCE, MARKET_DATA, NOW_NS, RISK, STRATEGY, USDT, guard, kimchi, usdt_e8, view

from arbitrage.model.events import Funded
from arbitrage.model.facts import Fact, KillSwitched, OrderIntended, Paused, PlanClosed, PlanOpened
from arbitrage.model.instruments import Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Approved, Outcome, PlanState, Refusal, Refused
from arbitrage.model.orders import ClientOrderId, Order, PlanId, TimeInForce
from arbitrage.risk import Guard, RiskState

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
MIDNIGHT_NS = NOW_NS // DAY_NS * DAY_NS


def order(name: str = "a-1") -> Order:
    return Order(ClientOrderId(name), PlanId("p-1"), 0, BINANCE, 0, Side.BUY, E8, E8, TimeInForce.IOC)


def opened(at_ns: int, orders: int) -> PlanOpened:
    return PlanOpened(at_ns, PlanId("p-1"), kimchi(), tuple(order(f"a-{n}") for n in range(orders)), at_ns + 1)


def closed(at_ns: int, realised_e8: int) -> PlanClosed:
    outcome = Outcome(PlanId("p-1"), "o-1", PlanState.COMPLETED, USDT, 0, realised_e8, (), at_ns, at_ns)
    return PlanClosed(at_ns, outcome)


def after(*facts: Fact, **limits: object) -> Guard:
    built = guard(**limits)
    for fact in facts:
        built.apply(fact)
    return built


def verdict(by: Guard, now_ns: int = NOW_NS) -> Refusal | None:
    found = msgspec.structs.replace(kimchi(), at_ns=now_ns)
    answer = by.judge(found, view(), now_ns)
    return None if isinstance(answer, Approved) else answer.reason


def test_orders_of_the_last_minute_and_this_plans_own_stay_within_the_limit() -> None:
    at_ns = NOW_NS - MINUTE_NS + 1
    assert verdict(after(opened(at_ns, 3), orders_per_minute_max=6)) is None
    assert verdict(after(opened(at_ns, 4), orders_per_minute_max=6)) is Refusal.ORDERS_PER_MINUTE
    assert verdict(after(opened(at_ns, 3), OrderIntended(at_ns, order()), orders_per_minute_max=6)) is Refusal.ORDERS_PER_MINUTE


def test_an_order_exactly_a_minute_old_has_left_the_window() -> None:
    built = after(opened(NOW_NS - MINUTE_NS, 4), orders_per_minute_max=6)
    assert verdict(built, NOW_NS) is None
    assert verdict(built, NOW_NS - 1) is Refusal.ORDERS_PER_MINUTE


def test_a_carried_leg_sends_no_order() -> None:
    built = after(opened(NOW_NS, 4), orders_per_minute_max=6)
    assert isinstance(built.judge(kimchi(is_carried=True), view(), NOW_NS), Approved)


def test_order_times_are_forgotten_after_a_minute() -> None:
    built = after(opened(NOW_NS, 100), opened(NOW_NS + MINUTE_NS, 1))
    assert built.memory.order_times_ns == (NOW_NS + MINUTE_NS,)


def test_a_loss_at_its_limit_passes_and_one_unit_more_stops_the_day() -> None:
    assert verdict(after(closed(NOW_NS, -usdt_e8("200")))) is None
    refused = after(closed(NOW_NS, -usdt_e8("200") - 1)).judge(kimchi(), view(), NOW_NS)
    assert refused == Refused(Refusal.LOSS_TODAY, "200.00000001, loss_today_max is 200")


def test_no_loss_at_all_is_within_a_limit_of_nothing_and_one_unit_is_not() -> None:
    nothing = {"loss_today_max": "0", "drawdown_max": "0"}
    assert verdict(after(**nothing)) is None
    assert verdict(after(closed(NOW_NS, 0), **nothing)) is None
    assert verdict(after(closed(NOW_NS, -1), **nothing)) is Refusal.LOSS_TODAY
    assert verdict(after(closed(NOW_NS, 1), closed(NOW_NS, -1), **nothing)) is Refusal.DRAWDOWN
    assert verdict(after(closed(NOW_NS - DAY_NS, -1), closed(NOW_NS, 1), **nothing)) is None


def test_a_new_guard_remembers_nothing() -> None:
    assert guard().memory == RiskState(USDT, "", "", (), 0, 0, 0, 0)


def test_an_order_of_the_governor_counts_as_one() -> None:
    built = after(*(OrderIntended(NOW_NS, order()) for _ in range(3)), orders_per_minute_max=6)
    assert verdict(built) is None
    built.apply(OrderIntended(NOW_NS, order()))
    assert verdict(built) is Refusal.ORDERS_PER_MINUTE


def test_profit_of_the_same_day_pays_for_a_loss() -> None:
    assert verdict(after(closed(NOW_NS, usdt_e8("50")), closed(NOW_NS, -usdt_e8("250")))) is None


def test_yesterdays_profit_does_not_pay_for_todays_loss() -> None:
    built = after(closed(MIDNIGHT_NS - 1, usdt_e8("300")), closed(MIDNIGHT_NS, -usdt_e8("201")))
    assert verdict(built) is Refusal.LOSS_TODAY


def test_a_loss_is_forgotten_at_midnight_utc_and_not_before() -> None:
    built = after(closed(MIDNIGHT_NS, -usdt_e8("201")), drawdown_max="10000")
    assert verdict(built, MIDNIGHT_NS + DAY_NS - 1) is Refusal.LOSS_TODAY
    assert verdict(built, MIDNIGHT_NS + DAY_NS) is None


def test_a_clock_set_back_forgets_no_loss() -> None:
    built = after(closed(MIDNIGHT_NS, -usdt_e8("201")))
    assert verdict(built, MIDNIGHT_NS - 5) is Refusal.LOSS_TODAY
    built.apply(closed(MIDNIGHT_NS - 5, 0))
    assert verdict(built, MIDNIGHT_NS) is Refusal.LOSS_TODAY


def test_drawdown_is_measured_from_the_peak_of_realised_profit() -> None:
    rich = {"loss_today_max": "10000"}
    built = after(closed(NOW_NS, usdt_e8("80")), closed(NOW_NS, -usdt_e8("500")), **rich)
    assert verdict(built) is None
    built.apply(closed(NOW_NS, -1))
    assert verdict(built) is Refusal.DRAWDOWN
    assert verdict(built, NOW_NS + 3 * DAY_NS) is Refusal.DRAWDOWN
    built.apply(closed(NOW_NS, 1))
    assert verdict(built) is None


def test_drawdown_from_the_very_start_counts_from_nothing() -> None:
    assert verdict(after(closed(NOW_NS, -usdt_e8("500") - 1), loss_today_max="10000")) is Refusal.DRAWDOWN


def test_the_kill_switch_refuses_until_it_is_released_and_names_who_and_why() -> None:
    built = after(KillSwitched(NOW_NS, True, "operator", "strange prices"))
    assert built.judge(kimchi(), view(), NOW_NS) == Refused(Refusal.KILL_SWITCH, "by operator: strange prices")
    built.apply(KillSwitched(NOW_NS, False, "operator", "explained"))
    assert verdict(built) is None


def test_a_pause_refuses_until_it_is_lifted() -> None:
    built = after(Paused(NOW_NS, True, "operator", "lunch"))
    assert built.judge(kimchi(), view(), NOW_NS) == Refused(Refusal.PAUSED, "by operator: lunch")
    built.apply(Paused(NOW_NS, False, "operator", "back"))
    assert verdict(built) is None


def test_the_kill_switch_speaks_first_and_needs_no_venue_no_store_and_no_price() -> None:
    built = after(Paused(NOW_NS, True, "a", "b"), KillSwitched(NOW_NS, True, "a", "b"), closed(NOW_NS, -usdt_e8("9999")))
    blind = view(venues={}, store_fault="down", unarmed_reason="never", exposures_e8={})
    answer = built.judge(kimchi(), blind, NOW_NS)
    assert isinstance(answer, Refused)
    assert answer.reason is Refusal.KILL_SWITCH


def test_reasons_come_in_the_documented_order() -> None:
    limits = {
        "orders_per_minute_max": 3, "open_plans_max": 1, "notional_per_order_max": "1", "notional_per_opportunity_max": "1",
        "notional_per_pair_max": "1", "notional_per_venue_max": "1", "exposure_per_asset_max": "1", "carried_fx_max": "1",
        "profit_min": "9999", "edge_ppm_max": 1,
    }  # fmt: skip
    history = [
        KillSwitched(NOW_NS, True, "a", "b"), Paused(NOW_NS, True, "a", "b"), closed(NOW_NS, -usdt_e8("600")), opened(NOW_NS, 9)
    ]  # fmt: skip
    venues = view().venues
    bad_clock = {venue: msgspec.structs.replace(health, clock_offset_ms=None) for venue, health in venues.items()}
    house = view(
        unarmed_reason="x", store_fault="y", venues={}, doubts={0: Refused(Refusal.STALE_MARKET, "z")},
        open_opportunities=(kimchi(),), busy_cycles={7},
    )  # fmt: skip
    repairs: list[tuple[Refusal, dict[str, object], dict[str, object]]] = [
        (Refusal.NOT_ARMED, {"unarmed_reason": ""}, {}),
        (Refusal.STORE_UNHEALTHY, {"store_fault": ""}, {}),
        (Refusal.VENUE_UNHEALTHY, {"venues": bad_clock}, {}),
        (Refusal.CLOCK_OFFSET, {"venues": venues}, {}),
        (Refusal.STALE_MARKET, {"doubts": {}}, {}),
        (Refusal.UNCONFIRMED_IDENTITY, {}, {}),
        (Refusal.TOO_GOOD, {}, {"edge_ppm_max": 10_000_000}),
        (Refusal.BELOW_THRESHOLD, {}, {"profit_min": "0"}),
        (Refusal.LOSS_TODAY, {}, {"loss_today_max": "600"}),
        (Refusal.DRAWDOWN, {}, {"drawdown_max": "600"}),
        (Refusal.ORDERS_PER_MINUTE, {}, {"orders_per_minute_max": 100}),
        (Refusal.OPEN_PLANS, {}, {"open_plans_max": 2}),
        (Refusal.PAIR_BUSY, {"busy_cycles": frozenset()}, {}),
        (Refusal.NOTIONAL_ORDER, {}, {"notional_per_order_max": "1600"}),
        (Refusal.NOTIONAL_OPPORTUNITY, {}, {"notional_per_opportunity_max": "1000"}),
        (Refusal.NOTIONAL_PAIR, {}, {"notional_per_pair_max": "2000"}),
        (Refusal.NOTIONAL_VENUE, {}, {"notional_per_venue_max": "9000"}),
        (Refusal.EXPOSURE_ASSET, {}, {"exposure_per_asset_max": "1000"}),
        (Refusal.CARRIED_FX, {}, {"carried_fx_max": "1500"}),
    ]
    built = after(*history)
    found = kimchi(1_000 * E8, 500 * E8, is_carried=True)
    for switch in (KillSwitched(NOW_NS, False, "a", "b"), Paused(NOW_NS, False, "a", "b")):
        built.configure(msgspec.structs.replace(RISK, **limits), MARKET_DATA, STRATEGY)
        answer = built.judge(found, house, NOW_NS)
        assert isinstance(answer, Refused)
        assert answer.reason is (Refusal.KILL_SWITCH if isinstance(switch, KillSwitched) else Refusal.PAUSED)
        built.apply(switch)
    for reason, to_house, to_limits in repairs:
        answer = built.judge(found, house, NOW_NS)
        assert isinstance(answer, Refused), f"{reason} was expected"
        assert answer.reason is reason
        house = msgspec.structs.replace(house, **to_house)
        limits |= to_limits
        built.configure(msgspec.structs.replace(RISK, **limits), MARKET_DATA, STRATEGY)
        if reason is Refusal.UNCONFIRMED_IDENTITY:
            found = msgspec.structs.replace(found, transfers=())
    assert isinstance(built.judge(found, house, NOW_NS), Approved)


def test_refusals_are_counted_by_reason() -> None:
    built = guard()
    for _ in range(3):
        built.judge(kimchi(), view(busy_cycles={7}), NOW_NS)
    built.judge(kimchi(), view(), NOW_NS)
    built.count(Refusal.BELOW_MINIMUM)
    assert built.refusals == {Refusal.PAIR_BUSY: 3, Refusal.BELOW_MINIMUM: 1}


def test_facts_of_no_concern_change_nothing() -> None:
    built = after(opened(NOW_NS, 2))
    before = built.snapshot()
    built.apply(Funded(NOW_NS, BINANCE, USDT, E8, "deposit"))
    assert built.snapshot() == before


def test_new_limits_are_swapped_whole_and_the_memory_stays() -> None:
    built = after(closed(NOW_NS, -usdt_e8("201")))
    built.configure(msgspec.structs.replace(RISK, loss_today_max="201"), MARKET_DATA, STRATEGY)
    assert verdict(built) is None
    with pytest.raises(ValueError, match="drawdown_max"):
        built.configure(msgspec.structs.replace(RISK, loss_today_max="1", drawdown_max="-1"), MARKET_DATA, STRATEGY)
    assert verdict(built) is None


def test_profit_in_one_reporting_asset_is_never_read_as_another() -> None:
    built = guard()
    in_won = msgspec.structs.replace(STRATEGY, reporting_asset="KRW")
    with pytest.raises(ValueError, match="reporting_asset cannot change"):
        built.configure(RISK, MARKET_DATA, in_won)
    with pytest.raises(ValueError, match="risk memory is in USDT, not in KRW"):
        Guard(RISK, MARKET_DATA, in_won).restore(built.snapshot())


times = st.integers(min_value=NOW_NS, max_value=NOW_NS + 3 * DAY_NS)
facts = st.one_of(
    st.builds(opened, times, st.integers(1, 4)),
    st.builds(lambda at_ns: OrderIntended(at_ns, order()), times),
    st.builds(closed, times, st.integers(-(10**12), 10**12)),
    st.builds(KillSwitched, times, st.booleans(), st.just("operator"), st.text(max_size=5)),
    st.builds(Paused, times, st.booleans(), st.just("operator"), st.text(max_size=5)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(facts, max_size=12), st.data())
def test_a_snapshot_and_the_rest_of_the_facts_are_the_whole_memory(history: list[Fact], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(history)))
    whole, before = after(*history), after(*history[:cut])
    wire = msgspec.json.encode(before.snapshot())
    later = guard()
    later.restore(msgspec.json.decode(wire, type=RiskState))
    for fact in history[cut:]:
        later.apply(fact)
    assert later.snapshot() == whole.snapshot()
    at_ns = data.draw(times)
    assert verdict(later, at_ns) == verdict(whole, at_ns)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(10**12), 10**12), max_size=20))
def test_drawdown_and_loss_equal_a_plain_recount(profits_e8: list[int]) -> None:
    built = after(*(closed(NOW_NS, profit_e8) for profit_e8 in profits_e8), drawdown_max="0", loss_today_max="999999")
    totals = [sum(profits_e8[:count]) for count in range(len(profits_e8) + 1)]
    expected = Refusal.DRAWDOWN if max(totals) > totals[-1] else None
    assert verdict(built) is expected
