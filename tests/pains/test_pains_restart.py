"""Starts after a kill: rows 7 and 8 of the pains, over real journal files, real sessions and both exchanges."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jumping_loop import now_ns, now_s, run_jumping
from pain_house import STILL, Daemon, live_through, pass_s, town_of, until

from arbitrage.model.events import Command, CommandKind, Funded
from arbitrage.model.facts import FillBooked, OrderIntended, PlanClosed, PlanOpened, Reconciled
from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.model.orders import ClientOrderId
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.nouns import Force, HeldOrder, OrderRequest, OrderType, SelfTrade

DOWN_S = 4.0
"""So long nothing runs."""
SLOW_MS = 1_500
"""So long an order travels: what leaves shortly before the kill fills while we are down."""
POINTS_MIN = 8


def slow_orders(house: Daemon) -> None:
    for venue, endpoint in (("binance", "order.place"), ("upbit", "POST /v1/orders")):
        house.town.fault(Kind.SLOW, venue, endpoint, ms=SLOW_MS, times=0)  # type: ignore[arg-type]  # both are venues


async def one_arbitrage(house: Daemon) -> None:
    """Trade once, with a sale that falls short, so that the governor writes too; or until the process is gone."""
    town = house.town
    town.shift("upbit", "KRW-BTC", 10_000)
    await until(lambda: house.placed or house.is_dead, "an arbitrage is taken")
    town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
    await until(lambda: house.is_dead or (house.of(PlanClosed) and house.is_quiet()), "it ends")


async def kill_point(folder: Path, point: int) -> int:
    """Live the same day, killed after its `point`-th write (0: never); return how many writes an undisturbed day has."""
    async with town_of(STILL) as town:
        house = Daemon(town, folder)
        await house.start()
        await house.ready()
        slow_orders(house)
        town.fault(Kind.ERROR_BEFORE, "upbit", "POST /v1/orders", contains='"side":"ask"', status=400,
                   body='{"error":{"name":"insufficient_funds_ask","message":"refused"}}')  # fmt: skip
        first = house.appends
        house.killed_at = first + point if point else 0
        await one_arbitrage(house)
        count = house.appends - first
        if point:
            assert house.is_dead and count == point
            await house.kill()
            house.killed_at = 0
            await pass_s(DOWN_S)
            await restarted(house)
        house.check_truth()
        await house.kill()
        return count


async def restarted(house: Daemon) -> None:
    """Start again; hold what it does against the row."""
    sent, facts, plans = len(house.placed), len(house.journal), {fact.plan_id for fact in house.of(PlanOpened)}
    await house.start()
    assert house.engine.not_armed_because(), "disarmed until the venues were asked"
    while house.engine.not_armed_because():
        assert {order.plan_id for _, order in house.placed[sent:]} <= plans, "before it is armed, open legs are mended at most"
        await pass_s(0.02)
    report = house.of(Reconciled)[-1].report
    assert report.occasion == "start" and report.is_armed
    assert not any(standing.differences for standing in report.venues), "the difference report is empty"
    assert house.holdings() == house.town.holdings(), "own positions equal the venues'"
    await house.quiet()
    await pass_s(10)
    await house.quiet()
    assert len(house.journal) >= facts
    trades = [(fact.fill.venue, fact.fill.market, fact.fill.trade_id) for fact in house.of(FillBooked)]
    assert len(trades) == len(set(trades)), "no fill twice"
    true = {
        (venue, order.request.client_id, one.quantity_e8, one.quote_e8)
        for venue in house.town.sites for order in house.town.orders(venue) for one in order.executions
    }  # fmt: skip
    booked = {(f.fill.venue, f.fill.client_order_id, f.fill.quantity_e8, f.fill.quote_e8) for f in house.of(FillBooked)}
    assert booked == true, "no fill invented, none missed"
    funded = [fact for fact in house.of(Funded) if fact.reason != "taken over from the venue at the first start"]
    assert not funded, "no position was corrected"
    intents = [order.client_order_id for fact in house.of(PlanOpened) for order in fact.orders]
    intents += [fact.order.client_order_id for fact in house.of(OrderIntended)]
    assert len(intents) == len(set(intents)), "no intent twice"


def test_pain_07_killed_at_every_point_of_the_journal_it_comes_back_with_the_venues_own_positions(tmp_path: Path) -> None:
    points = run_jumping(kill_point(tmp_path / "whole", 0))
    assert points >= POINTS_MIN
    for point in range(1, points + 1):
        try:
            run_jumping(kill_point(tmp_path / f"{point}", point))
        except AssertionError as wrong:
            raise AssertionError(f"killed after write {point} of {points}") from wrong


def test_pain_07_what_changed_meanwhile_keeps_it_disarmed_until_it_is_accepted_by_name(tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        await house.enter()
        await house.quiet()
        await house.kill()
        town.sites["upbit"].exchange.grant("BTC", -parse_e8("0.5"))
        await house.start()
        await until(house.engine.differences, "the difference is named", 10)
        assert house.engine.differences() == ("upbit-BTC",)
        assert not house.of(Reconciled)[-1].report.is_armed
        sent = len(house.placed)
        town.shift("upbit", "KRW-BTC", 10_000)
        await pass_s(30)
        assert len(house.placed) == sent and house.engine.not_armed_because(), "disarmed until it is accepted"
        house.door.feed([Command(now_ns(), CommandKind.ACCEPT_DIFFERENCES, "kim", "withdrawn by hand", "upbit-BTC")])
        await until(lambda: len(house.placed) > sent, "it trades again")
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
        await house.quiet()
        await pass_s(10)
        house.check_truth()

    live_through(story, tmp_path)


# -- row 8 -------------------------------------------------------------------------------------------------------------

RESTING = {
    ("binance", Side.BUY): ("BTCUSDT", "60000"),
    ("upbit", Side.BUY): ("KRW-BTC", "100000000"),
    ("upbit", Side.SELL): ("KRW-BTC", "200000000"),
}


def rest(house: Daemon, venue: Any, name: str, side: Side = Side.BUY) -> HeldOrder:
    """Have an order stand at a venue, as whoever bears this name left it."""
    symbol, price = RESTING[(venue, side)]
    request = OrderRequest(
        symbol, side, OrderType.LIMIT, Force.GTC, parse_e8(price), parse_e8("0.01"), None, name, SelfTrade.NONE
    )
    placed = house.town.sites[venue].exchange.place(request)
    assert isinstance(placed, HeldOrder), placed
    return placed


def test_pain_08_after_a_restart_a_hundred_orphans_are_cancelled_within_five_seconds_and_strangers_left_alone(
    tmp_path: Path,
) -> None:
    strangers = ("web_1", "somebody-1-0", "b_7-1-0")

    async def story(house: Daemon) -> None:
        await house.kill()
        orphans = [rest(house, venue, f"a_1-{number}-0") for venue in house.town.sites for number in range(900, 950)]
        foreign = [rest(house, venue, name) for venue in house.town.sites for name in strangers]
        assert len(orphans) == 100
        began_s, real_s = now_s(), time.monotonic()
        await house.start()
        await until(lambda: not any(order.is_open for order in orphans), "every orphan is cancelled", 5.0)
        await until(lambda: not house.engine.not_armed_because(), "armed", 5.0 - (now_s() - began_s))
        print(f"reconciled after {now_s() - began_s:.2f} s of the venues' time, {time.monotonic() - real_s:.2f} s of ours")
        assert all(order.is_open and not order.executions for order in foreign), "strangers are never touched"
        for standing in house.of(Reconciled)[-1].report.venues:
            assert {order.client_order_id for order in standing.foreign} == set(strangers), "they are listed"
            assert len(standing.cancelled) == 50
        assert house.holdings() == house.town.holdings()

    live_through(story, tmp_path)


@pytest.mark.parametrize("venue", ["binance", "upbit"])
def test_pain_08_an_open_order_that_the_journal_knows_is_adopted_and_followed_to_its_end(venue: Any, tmp_path: Path) -> None:
    async def story(house: Daemon) -> None:
        town = house.town
        slow_orders(house)
        house.killed_at = house.appends + 1  # after the intent is durable, before the first order leaves
        town.shift("upbit", "KRW-BTC", 10_000)
        await until(lambda: house.is_dead, "killed", 10.0)
        town.shift("upbit", "KRW-BTC", 0, before_ppm=10_000)
        await house.kill()
        house.killed_at = 0
        assert not house.placed
        intents = {str(order.client_order_id): order for fact in house.of(PlanOpened) for order in fact.orders}
        name = next(name for name, order in intents.items() if order.venue == venue)
        held = rest(house, venue, name, intents[name].side)
        await house.start()
        await until(lambda: house.engine.desk.worked(ClientOrderId(name)) is not None, "it is known")
        await pass_s(3)
        assert held.is_open, "an order that is worked is not cancelled"
        unfinished = {order.client_order_id for order, _ in house.engine.desk.unfinished()}
        assert name in unfinished, "it is adopted"
        assert house.engine.not_armed_because()
        executed_e8 = town.sites[venue].exchange.fill(held).quantity_e8
        await until(lambda: not house.engine.not_armed_because(), "armed", 60.0)
        worked = house.engine.desk.worked(ClientOrderId(name))
        assert worked is not None and worked.filled_quantity_e8 == executed_e8
        report = house.of(Reconciled)[-1].report
        assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
        await pass_s(10)
        await house.quiet()
        assert house.holdings() == town.holdings()

    live_through(story, tmp_path)
