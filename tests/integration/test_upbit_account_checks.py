"""Upbit's key before anything is sent, every signed byte as the venue reads it, and what the account's own terms explain."""

from __future__ import annotations

import random
import string

import msgspec
import pytest
from jumping_loop import now_ns, run_jumping
from upbit_account_lab import World, play, query
from upbit_lab import READER, TRADER, WITHDRAWER, UpbitLab, serving

from arbitrage.model.effects import PlaceOrder
from arbitrage.model.events import FaultKind, FeedFault, OrderAccepted
from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.model.orders import OrderState
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.exchange.nouns import ApiKey, Force, OrderRequest, OrderType, SelfTrade
from arbitrage.venues.upbit.account_limits import CANCEL, QUERY, TEST
from arbitrage.venues.upbit.account_session import UpbitAccountSession
from arbitrage.venues.upbit.signed_rest import Answered, Ask, Method

pytestmark = pytest.mark.integration
Session = UpbitAccountSession
DAY_NS = 86_400 * 10**9
LETTERS = string.ascii_letters + string.digits + "-_.~!*'() \"\\/+%@:;,?#[]{}|^`<>$비트코인é\u00a0\U0001f600"


def reasons(key: ApiKey, days_left: float = 365.0) -> list[str]:
    """Return what the session says of a key of the simulated venue, before anything runs."""

    async def run() -> list[str]:
        async with serving(UpbitLab(now_ns)) as lab:
            expire(lab, days_left)
            session = World(lab, key=key).make()
            said = await session.check()
            await session.close()
            assert lab.exchange.orders() == [], "checking places nothing"
            return said

    return run_jumping(run())


def expire(lab: UpbitLab, days_left: float) -> None:
    """Let every key end so many days from now."""
    ring = lab.server.pocket.ring  # type: ignore[union-attr]  # the lab's server trades
    for key in list(ring.keys.values()):
        ring.replace(msgspec.structs.replace(key, expires_ns=now_ns() + int(days_left * DAY_NS)))


def test_a_key_that_trades_and_no_more_is_taken() -> None:
    assert reasons(TRADER) == []


def test_a_key_that_can_withdraw_is_refused() -> None:
    (reason,) = reasons(WITHDRAWER)
    assert "the key may be able to withdraw" in reason and "withdraw_not_found" in reason


def test_a_key_that_cannot_order_is_refused_for_each_kind_of_market() -> None:
    said = [reason.partition(":")[0] for reason in reasons(READER)]
    assert said == ["KRW-USDT cannot be ordered", "USDT-BTC cannot be ordered"]


def test_a_key_that_the_venue_does_not_know_is_refused_with_its_word() -> None:
    (reason,) = reasons(ApiKey("X" * 40, "x" * 64))
    assert "balances cannot be read" in reason and "invalid_access_key" in reason and "X" * 40 not in reason


def test_a_key_that_ends_within_a_day_is_refused_and_one_that_ends_later_is_not() -> None:
    assert reasons(TRADER, 0.9) == ["the key expires in 0.9 days: make a new one"]
    assert reasons(TRADER, 1.1) == []


@pytest.mark.parametrize(("days_left", "is_told"), [(13.9, True), (14.1, False)])
def test_the_end_of_a_key_is_told_two_weeks_before(days_left: float, is_told: bool) -> None:
    async def scene(it: World, session: Session) -> None:
        expire(it.lab, days_left)
        asked = it.lab.server.counters["requests"]
        await it.sink.until(lambda: it.lab.server.counters["requests"] > asked + 10)
        said = {fault.detail for fault in it.sink.of(FeedFault) if fault.kind is FaultKind.VENUE_ERROR}
        assert said == ({f"the key expires in {days_left} days: make a new one"} if is_told else set())

    play(scene, instruments_reload_ms=500)


def test_every_signed_byte_is_the_byte_that_was_sent() -> None:
    """A thousand sets of parameters whose values look as odd as they can; the venue hashes what arrives, by itself."""
    dice = random.Random(17)

    def text() -> str:
        return "".join(dice.choice(LETTERS) for _ in range(dice.choice((1, 2, 9, 60))))

    async def scene(it: World, session: Session) -> None:
        calls: tuple[tuple[Method, str, str], ...] = (
            ("GET", "/v1/orders/uuids", QUERY), ("DELETE", "/v1/order", CANCEL), ("POST", "/v1/orders/test", TEST),
        )  # fmt: skip
        names: dict[str, int] = {}
        for _ in range(1_000):
            method, path, group = dice.choice(calls)
            arrays = [] if method == "POST" else [("identifiers[]", text()) for _ in range(dice.choice((0, 1, 3)))]
            pairs = [("identifier", text()), *arrays, (dice.choice(("market", "x y", "+", "비")), text())]
            answer = await session.rest.ask(Ask(method, path, pairs, group, 5.0))
            assert isinstance(answer, Answered) and answer.name not in ("invalid_query_payload", "jwt_verification"), pairs
            names[answer.name] = names.get(answer.name, 0) + 1
        assert sum(names.values()) == 1_000 and names.get("order_not_found", 0) > 100, names
        it.lab.server.tally.violations.clear()  # no client asks for markets called like that

    play(scene, seconds=600)


def test_a_fee_that_changed_since_it_was_read_is_read_again_before_a_fill_is_told() -> None:
    async def scene(it: World, session: Session) -> None:
        it.lab.exchange.change_rules("KRW-BTC", taker_ppm=139, maker_ppm=139)
        it.lab.book("KRW-BTC", {}, {"148602000": "0.00312345", "148603000": "0.00107", "148604000": "0.002"})
        it.fault(Kind.SILENT_PRIVATE)
        session.submit(PlaceOrder(it.order("a-1", "148604000", "0.00612345")))
        await it.sink.until_some(OrderAccepted)
        session.submit(query("a-1"))
        await it.until_ended("a-1")
        it.check_fills("a-1")
        assert len(it.fills("a-1")) == 3
        assert session.counters["fees_asked_again"] == 1 and not session.counters["fees_unexplained"]

    play(scene)


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_market_buy_that_ends_in_cancel_although_filled_is_told_filled(is_silent: bool) -> None:
    """It spends won, states no volume, and its last won buy nothing (pains row 6)."""

    async def scene(it: World, session: Session) -> None:
        if is_silent:
            it.fault(Kind.SILENT_PRIVATE)
        won_e8 = parse_e8("5000001")
        it.lab.exchange.place(
            OrderRequest("KRW-BTC", Side.BUY, OrderType.MARKET, Force.IOC, None, None, won_e8, "m-1", SelfTrade.NONE)
        )
        if is_silent:
            session.submit(query("m-1"))
        ended = await it.until_ended("m-1")
        held = it.truth("m-1")
        assert held is not None
        assert (ended.state, ended.reason, ended.filled_quantity_e8) == (OrderState.FILLED, "cancel", held.executed_e8)
        it.check_fills("m-1")

    play(scene)
