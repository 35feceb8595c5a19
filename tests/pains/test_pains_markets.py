"""Books and markets that cannot be trusted: rows 9, 10, 18, 19 and 20 of the pains."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jumping_loop import now_ns, now_s, run_jumping
from pain_house import STILL, TWO_COINS, Daemon, Town, feeding, ids_of, live_through, pass_s, settings_of, town_of, until

from arbitrage.engine.viewing import view_of
from arbitrage.market.doubt import Doubt
from arbitrage.model.events import ClockMeasured, LinkDown, LinkUp
from arbitrage.model.facts import PlanOpened
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Opportunity, Refusal, Refused
from arbitrage.sim.exchange.faults import Kind
from arbitrage.store.rows import Scope, judged_row
from arbitrage.store.statements import INSERT_OPPORTUNITY
from arbitrage.venues.factory import make_session

HOUR_S = 3_600.0


def markets_of(found: Opportunity) -> set[int]:
    return {leg.market for leg in found.legs}


def doubt(house: Daemon, market: int) -> Doubt | None:
    return house.engine.board.doubt(market, now_ns())


def taken(house: Daemon) -> list[Opportunity]:
    return [fact.opportunity for fact in house.of(PlanOpened)]


# -- row 9 -------------------------------------------------------------------------------------------------------------


def is_true(house: Daemon, town: Town) -> bool:
    """Say whether our book of BTCUSDT shows what the exchange shows."""
    book, shown = house.engine.board.books[0], town.sites["binance"].exchange.markets["BTCUSDT"].book
    for side, levels in ((Side.SELL, shown.bids), (Side.BUY, shown.asks)):
        ours = {round(price * E8): round(quantity * E8) for price, quantity in book.shown(side, 1_000)}
        if ours != dict(levels.levels(1_000)):
            return False
    return True


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.LATE])
def test_pain_09_a_lost_or_overtaken_diff_takes_the_book_out_until_it_is_whole_again(kind: Kind, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town, board = house.town, house.engine.board
        town.fault(kind, "binance", "btcusdt@depth@100ms", ms=600)  # the next comes after 400 ms
        town.fault(Kind.LATE, "binance", "GET /api/v3/depth", contains="BTCUSDT", ms=3_000)
        gaps = board.counters["gaps"]
        await until(lambda: board.counters["gaps"] > gaps, "the gap is seen", 5.0)
        seen_ns = now_ns()
        assert doubt(house, 0) is Doubt.GAP, "within the same message"
        judged = len(house.judgements)
        for coin in ("KRW-BTC", "KRW-ETH"):
            town.shift("upbit", coin, 10_000)
        town.set_levels("binance", "BTCUSDT", {}, {9_800_500_000_000: E8 // 7})  # while the snapshot is on its way
        await until(lambda: taken(house), "the other coin is traded", 2.0)
        assert doubt(house, 0) is not None and now_ns() - seen_ns < 3_000_000_000
        assert all(0 not in markets_of(found) for found in taken(house))
        found = [each.opportunity for each in house.judgements[judged:]]
        assert found and not [each for each in found if 0 in markets_of(each)], "nothing is offered out of it"
        town.shift("upbit", "KRW-ETH", 0, before_ppm=10_000)
        await until(lambda: doubt(house, 0) is None, "it is whole again", 10.0)
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
        await house.quiet()
        await until(lambda: is_true(house, town), "nothing that came during the refresh was lost", 2.0)
        await pass_s(5)
        assert board.counters["gaps"] == gaps + 1
        await house.quiet()
        house.check_truth()

    live_through(story, tmp_path, TWO_COINS)


# -- row 10 ------------------------------------------------------------------------------------------------------------


def test_pain_10_a_frozen_symbol_under_a_live_heartbeat_is_gated_within_its_limit(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town, limit_ms = house.town, house.settings.market_data.symbol_age_ms_max
        town.fault(Kind.FROZEN, "binance", symbol="BTCUSDT")
        frozen_s = now_s()
        await until(lambda: doubt(house, 0) is not None, "the symbol is gated", limit_ms / 1_000 + 1.0)
        assert doubt(house, 0) is Doubt.STALE
        assert now_s() - frozen_s <= limit_ms / 1_000 + 0.5
        for coin in ("KRW-BTC", "KRW-ETH"):
            town.shift("upbit", coin, 10_000)
        await until(lambda: taken(house), "the other coin is traded", 5.0)
        await pass_s(3)
        assert all(0 not in markets_of(found) for found in taken(house))
        assert house.engine.board.venue_health(Venue("binance"), now_ns()).is_connected, "its connection is left alone"
        for coin in ("KRW-BTC", "KRW-ETH"):
            town.shift("upbit", coin, 0, before_ppm=10_000)
        await house.quiet()

    live_through(story, tmp_path, TWO_COINS)


def test_pain_10_quiet_symbols_on_live_connections_are_not_reconnected_in_an_hour() -> None:
    async def scene() -> None:
        async with town_of(STILL, is_still=True) as town:
            settings = settings_of(town, "paper", {})
            heard: list[Any] = []
            sessions = [
                make_session(Venue(name), section, ids_of(settings, name), feeding(heard.append))
                for name, section in settings.venues.items()
            ]
            running = [asyncio.get_running_loop().create_task(session.run()) for session in sessions]
            await pass_s(HOUR_S)
            ups = [event for event in heard if isinstance(event, LinkUp)]
            assert len(ups) == sum(len(session.lanes) for session in sessions) == 2, "each connection is the first one"
            assert not [event for event in heard if isinstance(event, LinkDown)]
            assert sum(isinstance(event, ClockMeasured) for event in heard) >= 100, "an hour was lived"
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    run_jumping(scene())


# -- row 18 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["removed", "aged"])
def test_pain_18_without_a_fresh_won_book_no_won_opportunity_is_offered_at_all(how: str, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town, market = house.town, house.market("upbit", "KRW-USDT")
        await house.enter()
        await house.quiet()
        if how == "removed":
            exchange = town.sites["upbit"].exchange.markets["KRW-USDT"].book
            gone = [{price_e8: 0 for price_e8, _ in side.levels()} for side in (exchange.bids, exchange.asks)]
            town.set_levels("upbit", "KRW-USDT", *gone)
            await until(lambda: house.engine.board.books[market].best_bid == 0.0, "the book is empty", 5.0)
        else:
            town.fault(Kind.FROZEN, "upbit", symbol="KRW-USDT")
            await until(lambda: doubt(house, market) is not None, "it has aged", 40.0)
        offered, sent = len(house.judgements), len(house.placed)
        town.shift("upbit", "KRW-BTC", 10_000)
        await pass_s(20)
        assert len(house.judgements) == offered and len(house.placed) == sent, "none at all"
        (spread,) = view_of(house.engine, now_ns()).spreads
        assert spread.locked.startswith("no_fx") or spread.gross_ppm is None, "and it is said why"
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)

    live_through(story, tmp_path)


def test_pain_18_the_rate_used_is_stored_with_every_opportunity(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        house.town.shift("upbit", "KRW-BTC", 10_000)
        await until(lambda: len(house.judgements) >= 3, "some are taken, some refused")
        house.town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
        await house.quiet()
        columns = INSERT_OPPORTUNITY.partition("(")[2].partition(")")[0].replace(" ", "").split(",")
        for judged in house.judgements:
            row = dict(zip(columns, judged_row(judged, 1, Scope("test", "main")), strict=True))
            (rate,) = msgspec.json.decode(row["fx"])
            assert rate["market"] == house.market("upbit", "KRW-USDT")
            assert 0 < rate["bid_e8"] < rate["ask_e8"]
            assert rate["bid_quantity_e8"] > 0 and rate["ask_quantity_e8"] > 0 and rate["age_ms"] >= 0
        assert {isinstance(judged.verdict, Refused) for judged in house.judgements} == {True, False}

    live_through(story, tmp_path)


# -- row 19 ------------------------------------------------------------------------------------------------------------

A_THIRD_PPM = -666_667


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_pain_19_one_ticker_three_times_as_dear_is_kept_apart_and_the_operator_told_why(
    tmp_path: Path, *, is_confirmed: bool
) -> None:
    async def story(house: Daemon) -> None:
        house.town.shift("upbit", "KRW-BTC", A_THIRD_PPM)
        await pass_s(10)
        assert not house.placed, "nothing is traded on it"
        if is_confirmed:  # one coin by the operator's word, and still no price that a market gives away
            reasons = {each.verdict.reason for each in house.judgements if isinstance(each.verdict, Refused)}
            assert reasons == {Refusal.TOO_GOOD, Refusal.PAIR_DISARMED}, "refused, and in quarantine from then on"
            assert "is another coin or unit" in view_of(house.engine, now_ns()).opportunities[-1].detail
            assert "pair-BTC" in house.engine.differences(), "until it is accepted by name"
        else:
            assert not house.judgements, "two tickers are not one coin"
            (spread,) = view_of(house.engine, now_ns()).spreads
            assert spread.locked == "unconfirmed_identity: BTC"

    transfers = {name: {"is_identity_confirmed": name == "USDT" or is_confirmed} for name in ("BTC", "USDT")}
    live_through(story, tmp_path, strategy={"transfers": transfers})


def test_pain_19_a_pair_trades_only_when_its_identity_is_confirmed(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        for coin in ("KRW-BTC", "KRW-ETH"):
            house.town.shift("upbit", coin, 10_000)
        await pass_s(10)
        assert {leg.market for found in taken(house) for leg in found.legs} == {0, 2, 4}, "BTC is confirmed, ETH is not"
        for coin in ("KRW-BTC", "KRW-ETH"):
            house.town.shift("upbit", coin, 0, before_ppm=10_000)
        await house.quiet()

    transfers = {name: {"is_identity_confirmed": name != "ETH"} for name in ("BTC", "ETH", "USDT")}
    live_through(story, tmp_path, TWO_COINS, strategy={"transfers": transfers})


# -- row 20 ------------------------------------------------------------------------------------------------------------


def test_pain_20_with_a_wallet_suspended_the_premium_is_shown_as_locked_and_not_traded(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        house.town.fault(Kind.WALLET, "upbit", asset="BTC")
        await until(lambda: house.engine.board.suspended, "the wallet is known to be suspended", HOUR_S + 60.0)
        house.town.shift("upbit", "KRW-BTC", 10_000)
        await pass_s(5)
        line = view_of(house.engine, now_ns()).opportunities[-1]
        assert line.verdict == "locked" and "BTC@upbit" in line.detail
        tally = house.engine.tally
        assert tally.refused["locked"] > 0 and tally.taken == 0 and not house.placed
        house.town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)

    live_through(story, tmp_path, venues={"upbit": {"instruments_reload_ms": 2_000}})


@pytest.mark.parametrize(("venue", "symbol"), [("binance", "BTCUSDT"), ("upbit", "KRW-BTC")])
def test_pain_20_a_halted_market_refuses_one_order_at_most_before_it_is_held(venue: Any, symbol: str, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town, market = house.town, house.market(venue, symbol)
        town.shift("upbit", "KRW-BTC", 10_000)
        town.fault(Kind.HALT, venue, symbol=symbol)
        await pass_s(20)
        sent = [order for _, order in house.placed if order.market == market]
        assert len(sent) == 1 and not town.sites[venue].exchange.orders(symbol), "one was sent, and refused"
        assert doubt(house, market) is Doubt.HALTED and house.codes().count("market_closed") == 1
        await house.quiet()
        town.sites[venue].exchange.resume(symbol)
        await pass_s(1)
        assert doubt(house, market) is Doubt.HALTED, "until its rules are read again"

    live_through(story, tmp_path)
