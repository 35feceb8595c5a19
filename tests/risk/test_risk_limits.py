"""Every limit at its boundary: the limit itself passes, one unit over it refuses with its own reason and both numbers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from risk_house import (
    BINANCE,
    BTC,
    KRW,
    MARKET_DATA,
    NOW_NS,
    RISK,
    STRATEGY,
    UPBIT,
    USDT,
    guard,
    health,
    kimchi,
    reverse_kimchi,
    usdt_e8,
    view,
)

from arbitrage.model.instruments import Node
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import Approved, Opportunity, Refusal, Refused
from arbitrage.model.settings import TransferSettings
from arbitrage.risk import Guard, Quote, RiskView

MS_NS = 1_000_000


def verdict(opportunity: Opportunity, house: RiskView | None = None, *, by: Guard | None = None) -> Refusal | None:
    answer = (by or guard()).judge(opportunity, house or view(), NOW_NS)
    assert isinstance(answer, Approved) or answer.detail, "a refusal says why"
    return None if isinstance(answer, Approved) else answer.reason


def test_a_house_in_order_approves_the_very_opportunity() -> None:
    opportunity = kimchi()
    assert guard().judge(opportunity, view(), NOW_NS) == Approved(opportunity)


@pytest.mark.parametrize(
    ("field", "reason", "at_limit"),
    [
        ("notional_per_order_max", Refusal.NOTIONAL_ORDER, "1002"),
        ("notional_per_opportunity_max", Refusal.NOTIONAL_OPPORTUNITY, "1000"),
        ("notional_per_pair_max", Refusal.NOTIONAL_PAIR, "1000"),
        ("notional_per_venue_max", Refusal.NOTIONAL_VENUE, "2002"),
        ("exposure_per_asset_max", Refusal.EXPOSURE_ASSET, "1000"),
    ],
)
def test_a_value_at_its_money_limit_passes_and_one_unit_over_is_refused(field: str, reason: Refusal, at_limit: str) -> None:
    under = f"{int(at_limit) - 1}.99999999"
    assert verdict(kimchi(), by=guard(**{field: at_limit})) is None
    refused = guard(**{field: under}).judge(kimchi(), view(), NOW_NS)
    assert isinstance(refused, Refused)
    assert refused.reason is reason
    assert at_limit in refused.detail
    assert f"{field} is {under}" in refused.detail


def test_an_order_is_measured_by_its_own_amount_of_the_reporting_asset() -> None:
    # the last order receives 1002 USDT though 1000 go around
    assert verdict(kimchi(), by=guard(notional_per_order_max="1001.99999999")) is Refusal.NOTIONAL_ORDER
    assert verdict(kimchi(is_carried=True), by=guard(notional_per_order_max="1000")) is None


def test_a_venue_counts_every_order_sent_to_it_and_those_of_open_plans() -> None:
    crowded = view(open_opportunities=(kimchi(coin="ETH"),))
    assert verdict(kimchi(), crowded, by=guard(notional_per_venue_max="4004")) is None
    assert verdict(kimchi(), crowded, by=guard(notional_per_venue_max="4003.99999999")) is Refusal.NOTIONAL_VENUE


def test_a_venue_that_only_an_open_plan_uses_is_not_this_ones_concern() -> None:
    elsewhere = msgspec.structs.replace(kimchi(coin="ETH"), legs=kimchi(50_000 * E8).legs[:1])
    crowded = view(open_opportunities=(elsewhere,))
    upbit_only = msgspec.structs.replace(kimchi(), legs=kimchi().legs[1:])
    assert verdict(upbit_only, crowded, by=guard(notional_per_venue_max="2002")) is None


def test_a_pair_counts_open_plans_of_the_same_coin_only() -> None:
    limits = guard(notional_per_pair_max="2000")
    assert verdict(kimchi(), view(open_opportunities=(kimchi(),)), by=limits) is None
    assert verdict(kimchi(), view(open_opportunities=(kimchi(net_e8=2 * E8), kimchi(1, 1))), by=limits) is Refusal.NOTIONAL_PAIR
    assert verdict(kimchi(), view(open_opportunities=(kimchi(coin="ETH"),) * 3), by=limits) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_exposure_counts_what_stands_in_either_direction_and_this_cycles_own(sign: int) -> None:
    assert verdict(kimchi(), view(exposures_e8={BTC: sign * usdt_e8("9000")})) is None
    assert verdict(kimchi(), view(exposures_e8={BTC: sign * (usdt_e8("9000") + 1)})) is Refusal.EXPOSURE_ASSET


def test_exposure_that_no_book_values_is_refused_and_foreign_assets_are_ignored() -> None:
    assert verdict(kimchi(), view(exposures_e8={BTC: None})) is Refusal.EXPOSURE_ASSET
    huge = usdt_e8("99999999")
    assert verdict(kimchi(), view(exposures_e8={Asset("ETH"): None, KRW: huge, USDT: huge})) is None


def test_carried_fiat_is_limited_by_what_would_be_kept_afterwards() -> None:
    carried = kimchi(is_carried=True)  # keeps won worth the 1002 USDT it does not buy
    assert verdict(carried, view(carried_fx_e8={KRW: usdt_e8("18998")})) is None
    assert verdict(carried, view(carried_fx_e8={KRW: usdt_e8("18998") + 1})) is Refusal.CARRIED_FX
    assert verdict(carried, view(carried_fx_e8={KRW: None})) is Refusal.CARRIED_FX
    assert verdict(carried, by=guard(carried_fx_max="1002")) is None
    assert verdict(carried, by=guard(carried_fx_max="1001.99999999")) is Refusal.CARRIED_FX


def test_a_carried_leg_that_brings_fiat_back_towards_nothing_always_may() -> None:
    over = view(carried_fx_e8={KRW: usdt_e8("25000")})
    assert verdict(kimchi(is_carried=True), over) is Refusal.CARRIED_FX
    assert verdict(reverse_kimchi(), over) is None
    assert verdict(reverse_kimchi(), view(carried_fx_e8={KRW: -usdt_e8("19000")})) is None
    assert verdict(reverse_kimchi(), view(carried_fx_e8={KRW: -usdt_e8("19000") - 1})) is Refusal.CARRIED_FX
    tight = guard(carried_fx_max="499")  # the same distance on the other side is no nearer
    assert verdict(reverse_kimchi(), view(carried_fx_e8={KRW: usdt_e8("500")}), by=tight) is Refusal.CARRIED_FX


def test_only_the_fiat_of_a_carried_leg_is_carried() -> None:
    assert verdict(kimchi(is_carried=True), view(carried_fx_e8={USDT: None})) is None


def test_an_executed_fx_leg_is_not_carried_fiat() -> None:
    assert verdict(kimchi(), view(carried_fx_e8={KRW: usdt_e8("99999")})) is None


def test_profit_thresholds_are_met_exactly_or_refused() -> None:
    assert verdict(kimchi(100 * E8, E8 // 10)) is None
    assert verdict(kimchi(100 * E8, E8 // 10 - 1)) is Refusal.BELOW_THRESHOLD
    assert verdict(kimchi(10_000 * E8, E8), by=guard(notional_per_order_max="20000")) is None
    assert verdict(kimchi(5_000 * E8, E8 // 2 - 1), by=guard(notional_per_order_max="6000")) is Refusal.BELOW_THRESHOLD


def test_an_edge_above_what_a_market_gives_away_is_too_good() -> None:
    assert verdict(kimchi(1_000 * E8, 50 * E8)) is None
    assert verdict(kimchi(1_000 * E8, 50 * E8 + E8 // 1_000)) is Refusal.TOO_GOOD


@pytest.mark.parametrize("venue", [BINANCE, UPBIT])
def test_either_venue_must_be_known_connected_and_alive(venue: str) -> None:
    def with_health(**changes: object) -> RiskView:
        others = dict(view().venues)
        return view(venues=others | {venue: health(venue, **changes)})

    assert verdict(kimchi(), with_health(alive_age_ms=1_800)) is None
    assert verdict(kimchi(), with_health(alive_age_ms=1_801)) is Refusal.VENUE_UNHEALTHY
    assert verdict(kimchi(), with_health(is_connected=False)) is Refusal.VENUE_UNHEALTHY
    assert (
        verdict(kimchi(), view(venues={other: health(other) for other in {BINANCE, UPBIT} - {venue}}))
        is Refusal.VENUE_UNHEALTHY
    )
    for offset_ms in (1_000, -1_000, 0):
        assert verdict(kimchi(), with_health(clock_offset_ms=offset_ms)) is None
    for wrong_ms in (1_001, -1_001, None):
        assert verdict(kimchi(), with_health(clock_offset_ms=wrong_ms)) is Refusal.CLOCK_OFFSET


@pytest.mark.parametrize("market", [0, 1, 2])
@pytest.mark.parametrize("reason", [Refusal.STALE_MARKET, Refusal.GAPPED_MARKET, Refusal.SYMBOL_HALTED, Refusal.NO_FX])
def test_a_doubt_in_any_market_of_the_cycle_is_the_refusal_itself(market: int, reason: Refusal) -> None:
    doubt = Refused(reason, "the book says so")
    assert guard().judge(kimchi(is_carried=True), view(doubts={market: doubt}), NOW_NS) == doubt
    assert verdict(kimchi(), view(doubts={9: doubt})) is None


def test_a_market_read_too_long_ago_is_stale_the_wait_before_judgement_included() -> None:
    found = msgspec.structs.replace(kimchi(), at_ns=NOW_NS - (30_000 - 10) * MS_NS)  # its legs were 10 ms old when it was found
    assert verdict(found) is None
    assert verdict(msgspec.structs.replace(found, at_ns=found.at_ns - MS_NS)) is Refusal.STALE_MARKET


def test_the_same_ticker_with_prices_too_far_apart_is_another_coin_until_confirmed() -> None:
    gross = kimchi(1_000 * E8, 300 * E8 - E8)  # top of book is one USDT above net: exactly 300,000 ppm
    assert verdict(gross, by=guard(edge_ppm_max=1_000_000)) is None
    another = kimchi(1_000 * E8, 300 * E8 - E8 + 1)
    assert verdict(another, by=guard(edge_ppm_max=1_000_000)) is Refusal.UNCONFIRMED_IDENTITY
    confirmed = msgspec.structs.replace(STRATEGY, transfers={"BTC": TransferSettings(is_identity_confirmed=True)})
    assert verdict(another, by=guard(confirmed, edge_ppm_max=1_000_000)) is None
    other_coin = msgspec.structs.replace(STRATEGY, transfers={"ETH": TransferSettings(is_identity_confirmed=True)})
    assert verdict(another, by=guard(other_coin, edge_ppm_max=1_000_000)) is Refusal.UNCONFIRMED_IDENTITY


def test_three_times_the_price_names_the_coin_before_it_is_called_too_good() -> None:
    refused = guard().judge(kimchi(1_000 * E8, 2_000 * E8), view(), NOW_NS)
    assert isinstance(refused, Refused)
    assert refused.reason is Refusal.UNCONFIRMED_IDENTITY
    assert "BTC@binance and BTC@upbit" in refused.detail


def test_quotes_at_both_ends_of_a_transfer_sharpen_the_identity_check() -> None:
    def quoted(upbit_bid_e8: int) -> RiskView:
        here, there = Quote(99_000, 100_000), Quote(upbit_bid_e8, 2 * upbit_bid_e8)
        return view(quotes={Node(BINANCE, BTC): here, Node(UPBIT, BTC): there})

    assert verdict(kimchi(), quoted(130_000)) is None
    assert verdict(kimchi(), quoted(130_001)) is Refusal.UNCONFIRMED_IDENTITY
    assert verdict(kimchi(), view(quotes={Node(BINANCE, BTC): Quote(1, 1)})) is None
    assert verdict(kimchi(), view(quotes={Node(UPBIT, BTC): Quote(1, 1)})) is None


def test_only_an_unconfirmed_coin_is_judged_by_its_prices_at_both_ends() -> None:
    confirmed = msgspec.structs.replace(STRATEGY, transfers={"BTC": TransferSettings(is_identity_confirmed=True)})
    assert guard().is_questioned(BTC) and not guard(confirmed).is_questioned(BTC)
    assert not guard().is_questioned(USDT) and not guard().is_questioned(KRW)


def test_a_cycle_within_one_venue_has_no_identity_to_confirm() -> None:
    triangle = msgspec.structs.replace(kimchi(1_000 * E8, 400 * E8), transfers=())
    assert verdict(triangle, by=guard(edge_ppm_max=1_000_000)) is None


def test_as_many_open_plans_as_allowed_leave_no_room() -> None:
    others = [kimchi(coin=coin) for coin in ("ETH", "XRP", "SOL", "ADA")]
    assert verdict(kimchi(), view(open_opportunities=others[:3])) is None
    assert verdict(kimchi(), view(open_opportunities=others)) is Refusal.OPEN_PLANS


def test_a_cycle_at_work_and_a_governed_pair_are_busy() -> None:
    assert verdict(kimchi(cycle=7), view(busy_cycles={7})) is Refusal.PAIR_BUSY
    assert verdict(kimchi(cycle=7), view(busy_cycles={8})) is None
    assert verdict(kimchi(), view(busy_pairs={BTC})) is Refusal.PAIR_BUSY
    assert verdict(kimchi(), view(busy_markets={kimchi().legs[1].market: "KRW-BTC"})) is Refusal.PAIR_BUSY
    assert verdict(kimchi(), view(busy_markets={999: "elsewhere"})) is None
    assert verdict(kimchi(), view(busy_pairs={Asset("ETH"), KRW, USDT})) is None


def test_a_cycle_through_fiat_alone_is_named_by_its_fiat() -> None:
    fiat_only = msgspec.structs.replace(kimchi(), legs=kimchi().legs[2:])
    assert guard().pairs(fiat_only) == {KRW}
    assert guard().pairs(kimchi()) == {BTC}
    assert verdict(fiat_only, view(busy_pairs={KRW})) is Refusal.PAIR_BUSY


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: {"unarmed_reason": "two balances differ"}, Refusal.NOT_ARMED),
        (lambda: {"store_fault": "journal full"}, Refusal.STORE_UNHEALTHY),
    ],
)
def test_a_house_that_cannot_trade_says_why(change: Callable[[], dict[str, object]], reason: Refusal) -> None:
    refused = guard().judge(kimchi(), view(**change()), NOW_NS)
    assert refused == Refused(reason, next(iter(change().values())))


def test_a_negative_money_limit_has_no_guard() -> None:
    with pytest.raises(ValueError, match="loss_today_max is -1: a limit of money cannot be negative"):
        guard(loss_today_max="-1")


def test_the_largest_size_that_can_pass_is_told_to_whoever_sizes() -> None:
    assert guard().notional_e8_max == usdt_e8("4761.9047619"), "5000 after the largest edge that is believed, 5 %"
    assert guard(notional_per_opportunity_max="40", edge_ppm_max=1).notional_e8_max == usdt_e8("39.99996")


def test_defaults_are_consistent() -> None:
    built = Guard(RISK, MARKET_DATA, STRATEGY)
    assert built.judge(kimchi(), view(), NOW_NS) == Approved(kimchi())
