"""The first screen as values: every word of it follows from the engine's picture and what stands beside it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_stage import CYCLE, NOW_NS, SECOND_NS, UPBIT, opportunity, outcome, spread, view

from arbitrage.model.money import E8, parse_e8
from arbitrage.model.opportunities import VenueHealth
from arbitrage.web.ports import LimitUse
from arbitrage.web.screen import figures
from arbitrage.web.screen.charts.fall import Amount, fall_of
from arbitrage.web.screen.overview import Beside, Overview, Past, Proof, overview_of, pair_key

BESIDE = Beside("paper", "demo", started_at_ns=NOW_NS - 90 * SECOND_NS)


def shown(beside: Beside = BESIDE, **changes: object) -> Overview:
    return overview_of(view(**changes), beside)


@pytest.mark.parametrize(
    ("killed", "paused", "reasons", "word", "tone"),
    [
        ("", "", (), "ARMED", "good"), ("", "", ("no rules",), "NOT ARMED", "bad"),
        ("", "by kim: lunch", ("paused: by kim",), "PAUSED", "warn"),
        ("by kim: x", "by kim: y", ("kill switch",), "KILLED", "bad"),
    ],
)  # fmt: skip
def test_the_headline_is_the_strongest_reason(killed: str, paused: str, reasons: tuple[str, ...], word: str, tone: str) -> None:
    found = shown(msgspec.structs.replace(BESIDE, killed=killed, paused=paused), not_armed_because=reasons)
    assert (found.headline.text, found.headline.tone) == (word, tone)
    assert found.reasons == reasons
    assert (found.kill.is_on, found.kill.is_paused) == (bool(killed), bool(paused))


def test_a_pair_shows_both_venues_in_their_columns_whichever_way_it_is_better() -> None:
    one, other = spread(), spread()
    turned = msgspec.structs.replace(other, buy=other.sell, sell=other.buy)
    for pair, actions in ((one, ("sell", "buy")), (turned, ("buy", "sell"))):
        row = shown(spreads=(pair,)).pairs[0]
        assert (row.first.venue, row.second.venue) == ("upbit", "binance")
        assert (row.first.action, row.second.action) == actions
    assert pair_key(one) == pair_key(turned)
    assert (row.gross, row.net.text, row.net.tone, row.missing) == ("+0.0900", "-0.1200", "bad", "0.1200")
    assert row.rate == "1,415 / 1,416"


def test_a_pair_that_pays_says_so_and_one_without_prices_claims_nothing() -> None:
    pays = shown(spreads=(spread(net_ppm=400),)).pairs[0]
    assert (pays.missing, pays.last_above, pays.net.tone) == ("pays", "now", "good")
    unknown = shown(spreads=(spread(net_ppm=None, gross_ppm=None, fx=(), locked="no_fx: KRW@upbit"),)).pairs[0]
    assert {unknown.gross, unknown.net.text, unknown.missing, unknown.rate} == {figures.UNKNOWN}
    assert (unknown.state.text, unknown.state.tone) == ("no fx: KRW@upbit", "warn")
    empty = spread(buy=msgspec.structs.replace(spread().buy, ask_e8=0))
    assert shown(spreads=(empty,)).pairs[0].second.price == figures.UNKNOWN


@pytest.mark.parametrize(("life_ms", "ours", "text", "tone"), [
    (None, 50, "–", "quiet"), (240, None, "240 ms", ""), (240, 50, "240 ms", "good"), (40, 50, "40 ms", "bad"),
])  # fmt: skip
def test_the_life_of_openings_is_held_against_our_round_trip(
    life_ms: int | None, ours: int | None, text: str, tone: str
) -> None:
    past = {pair_key(spread()): Past(NOW_NS - 3 * figures.HOUR_NS, life_ms, (5, None, -3, 2))}
    found = shown(msgspec.structs.replace(BESIDE, pasts=past, round_trip_ms=ours))
    assert (found.pairs[0].life.text, found.pairs[0].life.tone, found.pairs[0].last_above) == (text, tone, "3 h ago")
    assert found.pairs[0].spark.count("M") == 2, "a hole stays a hole"
    assert found.round_trip == ("–" if ours is None else "50 ms")


def test_one_opening_is_one_line_however_often_it_was_found() -> None:
    lines = (opportunity(), *(opportunity("pair_busy", E8 * n, detail=str(n)) for n in (3, 1)), opportunity("below_threshold"))
    rows = shown(opportunities=lines).opportunities
    assert [(row.verdict.text, row.times, row.net, row.detail) for row in rows] == [
        ("below threshold", "", "+1.0000", ""), ("pair busy", "2 times", "+3.0000", "1"), ("taken", "", "+1.0000", ""),
    ]  # fmt: skip
    assert rows[0].cycle == "upbit USDT→KRW→BTC, binance BTC→USDT"
    unsized = shown(opportunities=(opportunity("below_minimum", 0, notional_e8=0),)).opportunities[0]
    assert unsized.net == figures.UNKNOWN, "what was never sized has no profit"


def test_the_waterfall_is_of_the_newest_that_traded_and_sums_as_shown() -> None:
    older, missed = outcome(), outcome(plan_id="p-2", state="missed", realised_e8=0)
    found = shown(outcomes=(older, missed, outcome(plan_id="p-3", steps=())))
    assert found.last is not None and found.fall is not None and found.last.key == "p-1"
    amounts = [(row.tone, parse_e8(row.amount.replace("+", "").replace(",", ""))) for row in found.fall.rows]
    assert sum(e8 for tone, e8 in amounts if tone != "total") == amounts[-1][1] == 2 * E8 - 4
    assert [row.key for row in found.arbitrages] == ["p-3", "p-2", "p-1"]
    assert shown(outcomes=()).last is None and shown(outcomes=()).fall is None


@given(st.lists(st.integers(-(10**14), 10**14), min_size=1, max_size=12))
def test_bars_of_a_waterfall_stand_in_their_box_and_nothing_small_vanishes(steps: list[int]) -> None:
    fall = fall_of(
        [*(Amount(str(place), e8) for place, e8 in enumerate(steps)), Amount("all", sum(steps), is_total=True)], "USDT"
    )
    for row, e8 in zip(fall.rows, [*steps, sum(steps)], strict=True):
        assert row.x >= 0
        assert row.x + row.width <= 1_000
        assert (row.width > 0) == (e8 != 0)
    assert 0 <= fall.zero <= 1_000


def test_a_waterfall_that_does_not_sum_has_no_picture() -> None:
    with pytest.raises(AssertionError, match="sum of the steps"):
        fall_of([Amount("a", 1), Amount("all", 2, is_total=True)], "USDT")


def test_feeds_say_down_doubt_and_what_was_lost() -> None:
    picture = view()
    doubted = (picture.markets[0], msgspec.structs.replace(picture.markets[1], doubt="stale"))
    binance, upbit = shown(markets=doubted).feeds
    assert (binance.state.text, binance.clock, binance.reconnects, binance.books) == ("up", "-3 ms", "2", "1/1")
    assert (upbit.state.text, upbit.state.tone, upbit.clock, upbit.age) == ("up, 1 in doubt", "warn", "–", "1 s")
    down = shown(venues=(VenueHealth(UPBIT, False, 9_000, None, "no connection"),), links_lost={}).feeds[0]
    assert (down.state.text, down.state.tone, down.reconnects) == ("down: no connection", "bad", "–")


def test_limits_show_their_worst_use_rounded_against_us() -> None:
    uses = (
        LimitUse("exposure_per_asset_max", "ETH", "1", "100", "USDT", 10_000),
        LimitUse("exposure_per_asset_max", "BTC", "85.000001", "100", "USDT", 850_000),
        LimitUse("open_plans_max", "", "4", "4", "", 1_000_000), LimitUse("carried_fx_max", "KRW", None, "9", "USDT", None),
        LimitUse("drawdown_max", "", "0", "0", "USDT", None), LimitUse("loss_today_max", "", "1", "0", "USDT", None),
    )  # fmt: skip
    rows = shown(msgspec.structs.replace(BESIDE, limits=uses)).limits
    assert [(row.name, row.used, row.share.text, row.share.tone) for row in rows] == [
        ("exposure per asset, BTC", "85.01", "85 %", "warn"), ("open plans", "4", "100 %", "bad"),
        ("carried fx, KRW", "not valued", "100 %", "bad"), ("drawdown", "0.00", "0 %", "quiet"),
        ("loss today", "1.00", "100 %", "bad"),
    ]  # fmt: skip


def test_the_kill_switch_says_when_it_was_last_proven() -> None:
    assert (shown().kill.proven.text, shown().kill.proven.tone) == ("never", "bad")
    for age_ns, tone in ((figures.HOUR_NS, "good"), (3 * figures.DAY_NS, "warn")):
        kill = shown(msgspec.structs.replace(BESIDE, proof=Proof(NOW_NS - age_ns, "exercise", "told"))).kill
        assert kill.proven.tone == tone and "ago, by exercise" in kill.proven.text and kill.receipt == "told"


def test_money_is_shown_by_component_with_its_total() -> None:
    parts = (Amount("fees", -E8), Amount("realised", -E8, is_total=True))
    rows = shown(msgspec.structs.replace(BESIDE, money=parts, money_note="a note")).money
    assert [(row.name, row.amount.text, row.amount.tone, row.kind) for row in rows] == [
        ("fees", "-1.00000000", "bad", "part"), ("realised", "-1.00000000", "bad", "total"),
    ]  # fmt: skip


def test_a_house_without_pairs_has_a_first_screen() -> None:
    found = shown(spreads=(), outcomes=(), opportunities=(), tally=view().tally.__class__())
    assert found.venues == ("", "") and found.refused == "none" and found.pairs == ()
    assert len(msgspec.json.encode(shown())) < 8_000


@given(st.integers(-(10**20), 10**20))
def test_figures_are_exact_or_cut_against_us(e8: int) -> None:
    assert parse_e8(figures.signed(e8).replace(",", "").removeprefix("+")) == e8
    assert parse_e8(figures.grouped(e8).replace(",", "")) == e8
    for places in (2, 4):
        cut = parse_e8(figures.cut(e8, places).replace(",", "").removeprefix("+"))
        assert 0 <= e8 - cut < 10 ** (8 - places)


@pytest.mark.parametrize(("span_ns", "text"), [
    (-5, "0 ms"), (340_000_000, "340 ms"), (119 * SECOND_NS, "119 s"), (3 * figures.MINUTE_NS, "3 min"),
    (47 * figures.HOUR_NS, "47 h"), (3 * figures.DAY_NS, "3 d"),
])  # fmt: skip
def test_ages_are_told_in_the_unit_that_says_something(span_ns: int, text: str) -> None:
    assert figures.age(span_ns) == text


def test_moments_spans_and_cycles_in_words() -> None:
    assert figures.moment(NOW_NS + 5_000_000) == "2026-09-21 14:13:20.005"
    assert (figures.milliseconds(1_234), figures.milliseconds(53_400)) == ("1.23 ms", "53 ms")
    assert figures.percent(None) == "–" and figures.percent(-1) == "-0.0001"
    assert figures.cycle(CYCLE).startswith("upbit USDT") and figures.cycle("dust BTC") == "dust BTC"
    assert figures.cycle("KRW@upbit > BTC > ETH > KRW") == "upbit KRW→BTC→ETH→KRW"
