"""What goes wrong between us and a venue: rows 11, 12 and 13 of the pains, with real sessions on real sockets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from jumping_loop import now_ns, now_s, run_jumping
from pain_house import STILL, Daemon, S, live_through, pass_s, town_of, until

from arbitrage.app.housekeeping import feed_status
from arbitrage.app.screen import feeds_line
from arbitrage.engine.viewing import view_of
from arbitrage.market.doubt import Doubt
from arbitrage.model.facts import FillBooked, PlanClosed
from arbitrage.model.opportunities import Refusal, Refused
from arbitrage.sim.exchange.faults import Kind
from arbitrage.venues.binance.limits import CANCELS, MARKET_DATA, ORDERS, QUERIES, BinanceLimits
from arbitrage.venues.upbit.account_limits import CANCEL, QUERY, READ, AccountLimits
from arbitrage.venues.upbit.limits import UpbitLimits

VENUES = ("binance", "upbit")


def refusals(house: Daemon) -> set[Refusal]:
    return {each.verdict.reason for each in house.judgements if isinstance(each.verdict, Refused)}


# -- row 11 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", VENUES)
def test_pain_11_a_private_stream_that_dies_silently_is_found_out_in_under_ten_seconds_and_nothing_is_lost_or_counted_twice(
    venue: Any, tmp_path: Path
) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        town.fault(Kind.SILENT_PRIVATE, venue, for_s=60.0)
        town.fault(Kind.LOST, venue, "order.place" if venue == "binance" else "POST /v1/orders")
        await house.enter()
        took_s = await until(lambda: "account_link_down" in house.codes(), "the cross-check finds it out", 10.0)
        assert took_s < 10.0
        assert venue in house.engine.reconciler.untradable(), "entries stop there"
        town.shift("upbit", "KRW-BTC", 10_000)
        sent, seen_s = len(house.placed), now_s()
        while venue in house.engine.reconciler.untradable() and now_s() - seen_s < 5.0:
            assert len(house.placed) == sent, "nothing new is entered"
            await pass_s(0.02)
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
        assert now_s() == seen_s or Refusal.VENUE_UNHEALTHY in refusals(house)
        await pass_s(70)
        await house.quiet()
        fills = [fact.fill for fact in house.of(FillBooked)]
        assert len({(fill.venue, fill.market, fill.trade_id) for fill in fills}) == len(fills), "no fill twice"
        true_e8 = sum(one.quantity_e8 for order in town.orders(venue) for one in order.executions)
        assert sum(fill.quantity_e8 for fill in fills if fill.venue == venue) == true_e8 > 0, "none missed"
        assert house.of(PlanClosed)
        house.check_truth()

    live_through(story, tmp_path)


# -- row 12 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_ms", [-3_000, 3_000])
def test_pain_12_clocks_three_seconds_off_are_measured_corrected_and_shown(skew_ms: int, tmp_path: Path) -> None:
    async def scene() -> None:
        async with town_of(STILL) as town:
            for venue in ("binance", "upbit"):
                town.fault(Kind.SKEW, venue, ms=skew_ms)  # type: ignore[arg-type]  # both are venues
            house = Daemon(town, tmp_path, market_data={"clock_offset_ms_max": 5_000})
            await house.start()
            await house.ready()
            view = view_of(house.engine, now_ns())
            for health in view.venues:
                assert health.clock_offset_ms is not None
                coarse_ms = 10 if health.venue == "binance" else 1_000  # Upbit tells whole seconds
                assert abs(health.clock_offset_ms - skew_ms) <= coarse_ms, "measured"
                assert f"clock {health.clock_offset_ms:+d} ms" in feeds_line(view).plain, "shown on the screen"
                assert feed_status(view)[health.venue].clock_offset_ms == health.clock_offset_ms, "and in status.json"
            await house.enter()
            await house.quiet()
            assert all(order.executed_e8 for venue in town.sites for order in town.orders(venue)), "corrected: all were taken"
            house.check_truth()  # and no timestamp was refused
            await house.kill()

    run_jumping(scene())


@pytest.mark.parametrize("venue", VENUES)
def test_pain_12_above_the_limit_a_venue_is_disarmed_before_any_order_is_refused(venue: Any, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        town.fault(Kind.SKEW, venue, ms=3_000)
        section = house.settings.venues[venue]
        market = house.market(venue, section.symbols[0])
        pace_s = section.clock_measure_ms / 1_000
        await until(lambda: house.engine.board.doubt(market, now_ns()) is not None, "measured", pace_s + 5)
        town.shift("upbit", "KRW-BTC", 10_000)
        await pass_s(5)
        assert not house.placed and house.engine.tally.taken == 0, "no order is sent, so none is refused"
        assert house.engine.board.doubt(market, now_ns()) is Doubt.CLOCK_OFFSET
        reasons = {Refusal.CLOCK_OFFSET.value, Refusal.NO_FX.value}  # where the won's own book is that venue's
        assert set() < set(house.engine.tally.refused) <= reasons, "and it is said why"
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)

    live_through(story, tmp_path)


# -- row 13 ------------------------------------------------------------------------------------------------------------


def asked(house: Daemon, venue: Any) -> int:
    """How often anything reached the venue: requests, handshakes, messages on its request socket."""
    server = house.town.binance if venue == "binance" else house.town.upbit
    return sum(server.counters[name] for name in ("requests", "sockets", "api_requests"))


def held_s(house: Daemon, venue: Any) -> float:
    connections = house.connections
    until_ns = max(each[venue].requests_held_until_ns for each in (connections.feeds, connections.accounts))
    return (until_ns - now_ns()) / S


@pytest.mark.parametrize("venue", VENUES)
def test_pain_13_after_429_and_418_nothing_is_asked_before_the_end_over_a_restart_too(venue: Any, tmp_path: Path) -> None:
    read = "GET /api/v3/account" if venue == "binance" else "GET /v1/accounts"

    async def story(house: Daemon) -> None:
        town = house.town
        town.fault(Kind.ERROR_BEFORE, venue, read, status=429)
        await until(lambda: town.sites[venue].faults.counts["error_before"], "429 is met", 90.0)
        limited_s, count = held_s(house, venue), asked(house, venue)
        await pass_s(max(0.0, limited_s - 0.2))
        assert asked(house, venue) == count, "after 429 nothing is asked before its end"
        town.fault(Kind.BAN, venue, for_s=75.0)
        await until(lambda: held_s(house, venue) > 30.0, "418 is met", 90.0)
        house.connections.note_bans()  # as the daemon does every second
        until_s, count = now_s() + held_s(house, venue), asked(house, venue)
        await pass_s(10)
        assert asked(house, venue) == count, "nothing is asked"
        await house.restart()
        assert abs(now_s() + held_s(house, venue) - until_s) < 0.1, "the next process knows"
        await pass_s(until_s - now_s() - 0.5)
        assert asked(house, venue) == count, "nor by the process after it"
        await house.ready(60.0)
        house.check_truth("requests_while_banned", "requests_while_blocked")  # what was on its way when the ban began

    live_through(story, tmp_path)


def test_pain_13_cancels_keep_a_share_of_their_own_when_all_else_is_used_up() -> None:
    limits, now = BinanceLimits(), 1_000 * S
    for group in (MARKET_DATA, ORDERS, QUERIES):
        while limits.budget(group).wait_ns(now) == 0:
            limits.budget(group).charge(now)
    assert all(limits.budget(group).wait_ns(now) > 0 for group in (MARKET_DATA, ORDERS, QUERIES))
    free = 0
    while limits.budget(CANCELS).wait_ns(now) == 0:
        limits.budget(CANCELS).charge(now)
        free += 1
    assert free >= 100
    pocket, now = AccountLimits(UpbitLimits(), random.Random(1)), 1_000 * S
    for group in (READ, QUERY):
        while pocket.budget(group).wait_ns(now) == 0:
            pocket.budget(group).charge(now)
    free = 0
    while pocket.budget(CANCEL).wait_ns(now) == 0:
        pocket.budget(CANCEL).charge(now)
        free += 1
    assert free >= 6, "in this very second"
