"""From the top of the books to the realised profit: every chain sums to the last unit, whatever its steps are."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.model.episodes import Episode, EpisodeState, FollowUp
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import EdgeBreakdown, FxRate, Leg, Opportunity, Waterfall
from arbitrage.model.waterfalls import STEPS, TOTALS, EdgeWaterfall, edge_waterfall, fx_legs, pair_of, planned_edge

BTC, KRW, USDT, BNB, EUR = map(Asset, ("BTC", "KRW", "USDT", "BNB", "EUR"))
UPBIT, BINANCE = Venue("upbit"), Venue("binance")
AMOUNTS = st.integers(-(10**24), 10**24)


def leg(market: int, side: Side, spent: tuple[Asset, int], received: tuple[Asset, int], top_e8: int, **changes: object) -> Leg:
    quantity_e8 = received[1] if side is Side.BUY else spent[1]
    nodes = (Node(UPBIT, spent[0]), Node(UPBIT, received[0]))
    made = Leg(market, side, *nodes, quantity_e8, top_e8, spent[1], received[1], 0, received[0], top_e8, 1)
    return msgspec.structs.replace(made, **changes)


def found(*legs: Leg, breakdown: EdgeBreakdown, fx: tuple[int, ...] = ()) -> Opportunity:
    rates = tuple(FxRate(market, E8, E8, E8, E8, 1) for market in fx)
    return Opportunity(
        "o", 1, 0, "n", legs, (), legs[0].spent, E8, E8, USDT, E8, 1, breakdown, rates,
    )  # fmt: skip


BUY_COIN = leg(0, Side.BUY, (USDT, 50_000 * E8), (BTC, E8), 50_000 * E8)
SELL_COIN = leg(1, Side.SELL, (BTC, E8), (KRW, 70_000_000 * E8), 70_000_000 * E8)
WON_BACK = leg(
    2, Side.BUY, (KRW, 14_012 * E8), (USDT, 10 * E8), 1_400 * E8, fee_e8=7 * E8, fee_asset=KRW
)  # 14,000 at the best price, 5 for the second level, 7 for the fee
PARTS = EdgeBreakdown(100 * E8, 20 * E8, 10 * E8, 5 * E8, 65 * E8)


def test_what_fiat_costs_is_told_apart_from_depth_and_fees() -> None:
    planned = planned_edge(found(BUY_COIN, SELL_COIN, WON_BACK, breakdown=PARTS, fx=(2,)))
    assert planned.fx_e8 == -(12 * E8 * E8 // (1_400 * E8) + 1), "5 won of depth and 7 of fee, at 1,400, rounded up"
    fee_e8 = -(-7 * E8 * E8 // (1_400 * E8))
    assert planned.fees_e8 == fee_e8 - 10 * E8
    assert planned.depth_e8 == -planned.fx_e8 - fee_e8 - 20 * E8
    assert (planned.top_of_book_e8, planned.transfers_e8, planned.expected_e8) == (100 * E8, -5 * E8, 65 * E8)


def test_without_fiat_nothing_is_spent_on_it() -> None:
    planned = planned_edge(found(BUY_COIN, SELL_COIN, WON_BACK, breakdown=PARTS))
    assert (planned.depth_e8, planned.fees_e8, planned.fx_e8) == (-20 * E8, -10 * E8, 0)


@pytest.mark.parametrize(
    ("fiat_leg", "cost_e8"),
    [
        (leg(2, Side.SELL, (USDT, 10 * E8), (KRW, 13_979 * E8), 1_400 * E8, fee_e8=7 * E8), 21 * E8 * E8 // (1_400 * E8)),
        (leg(2, Side.BUY, (USDT, 12 * E8), (EUR, 10 * E8), 110_000_000), E8),
        (leg(2, Side.SELL, (EUR, 10 * E8), (USDT, 10 * E8), 110_000_000), E8),
        (leg(2, Side.SELL, (EUR, 10 * E8), (USDT, 10 * E8), 110_000_000, fee_e8=9, fee_asset=BNB), E8),
    ],
)
def test_fiat_costs_in_either_direction_and_as_base_or_quote(fiat_leg: Leg, cost_e8: int) -> None:
    planned = planned_edge(found(fiat_leg, breakdown=PARTS, fx=(2,)))
    assert planned.fx_e8 == -cost_e8, "a fee in a third asset stays among the fees"


def test_only_a_leg_between_fiat_and_the_reporting_asset_is_fiat_s() -> None:
    between = msgspec.structs.replace(SELL_COIN, market=2)
    assert fx_legs(found(BUY_COIN, between, breakdown=PARTS, fx=(2,))) == ()
    assert fx_legs(found(BUY_COIN, SELL_COIN, WON_BACK, breakdown=PARTS, fx=(2,))) == (WON_BACK,)


def test_a_pair_is_named_by_what_is_traded_besides_fiat() -> None:
    opportunity = found(BUY_COIN, SELL_COIN, WON_BACK, breakdown=PARTS)
    assert pair_of(opportunity, {KRW}) == "BTC" and pair_of(opportunity, ()) == "BTC+KRW"
    assert pair_of(found(WON_BACK, breakdown=PARTS), {KRW}) == "KRW+USDT", "all of it where nothing is left"


@given(st.lists(AMOUNTS, min_size=3, max_size=3), st.lists(AMOUNTS, min_size=5, max_size=5), st.integers(1, 10**20))
def test_every_chain_sums_to_what_was_realised_exactly(costs: list[int], became: list[int], top_e8: int) -> None:
    depth, fees, transfers = costs
    breakdown = EdgeBreakdown(top_e8, depth, fees, transfers, top_e8 - sum(costs))
    opportunity = found(BUY_COIN, SELL_COIN, WON_BACK, breakdown=breakdown, fx=(2,))
    unpaid, prices, paid, legs, rate = became
    outcome = Waterfall(breakdown.net_e8, unpaid, prices, paid, legs, breakdown.net_e8 + sum(became), rate)
    chain = edge_waterfall(planned_edge(opportunity), outcome)
    steps = dict(chain.steps())
    assert tuple(steps) == STEPS
    assert sum(e8 for name, e8 in steps.items() if name not in TOTALS) == steps["realised"] == outcome.realised_e8
    assert (steps["latency_drift"], steps["fx_drift"], steps["partial_fills"]) == (prices, rate, legs)


def test_a_chain_that_does_not_sum_has_no_constructor() -> None:
    planned = planned_edge(found(BUY_COIN, breakdown=PARTS))
    with pytest.raises(AssertionError, match="ends at what was realised"):
        EdgeWaterfall(planned, 1, 2, 3, 4, 5, 0)
    with pytest.raises(AssertionError, match="what is planned sums"):
        msgspec.structs.replace(planned, fx_e8=1).__post_init__()
    with pytest.raises(AssertionError, match="both are of one plan"):
        edge_waterfall(planned, Waterfall(1, 0, 0, 0, 0, 1))


def test_what_was_kept_before_fiat_was_told_apart_is_read_and_written_as_it_was() -> None:
    kept = b'{"expected_e8":100,"transfers_e8":5,"prices_e8":-30,"fees_e8":-2,"legs_e8":-80,"realised_e8":-7}'
    assert msgspec.json.encode(msgspec.json.decode(kept, type=Waterfall)) == kept


def episode(**changes: object) -> Episode:
    made = Episode("e1-1", 1, "n", "BTC", USDT, EpisodeState.OPEN, 5, 9, 9, 1, 3, None, None, (), 0, {}, ())
    return msgspec.structs.replace(made, **changes)


def test_an_episode_has_a_life_and_a_follow_up_an_answer_or_a_reason() -> None:
    assert episode().life_ns == 4
    for changes in ({"last_seen_ns": 4}, {"looks": 0}, {"taken": ("a",)}):
        with pytest.raises(AssertionError):
            episode(**changes).__post_init__()
    assert FollowUp(50, 1, -3).net_e8 == -3
    for broken in ((None, ""), (3, "why")):
        with pytest.raises(AssertionError, match="an answer or a reason"):
            FollowUp(50, 1, *broken)
