"""What a mode is: its time, its transport, what it demands. Live is refused without all of it; a paper house holds no key."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from app_world import DoorWorld
from engine_world import MS, START_NS
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.app.clock import EngineClock
from arbitrage.app.modes import (
    TRIES_WAITING_MAX,
    LiveTransport,
    RealTiming,
    RefusedToTrade,
    ShadowTransport,
    VirtualTiming,
    account_venues,
    keys_for,
    mode_of,
    paper_transport,
    refusal,
)
from arbitrage.model.effects import CancelOrder, PlaceOrder, ReadAccount, VenueEffect
from arbitrage.model.events import Event, OrderAccepted, OrderEnded, OrderFilled, Wake
from arbitrage.model.facts import OrderChanged, PlanClosed
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.orders import Order, OrderState
from arbitrage.model.settings import FeeSettings, PaperSettings, Settings, VenueSettings
from arbitrage.ops.config import Overlay, load
from arbitrage.ops.keys import key_names
from arbitrage.ops.preflight import LIVE_PHRASE
from arbitrage.venues.factory import make_session
from arbitrage.venues.trading import AccountContext, AccountSession, Credentials
from arbitrage.venues.wiring import VenueContext, Wiring

PROJECT = Path(__file__).parents[2]
SECRET = "s3cr3t-that-must-not-travel"


@given(st.lists(st.integers(0, 20), max_size=30))
def test_virtual_work_runs_in_order_of_time_then_of_asking(times: list[int]) -> None:
    timing, ran = VirtualTiming(), []
    for number, at_ns in enumerate(times):
        timing.at(at_ns, lambda at_ns=at_ns, number=number: ran.append((at_ns, number, timing.now_ns())))
    timing.run_until(10)
    assert [(at_ns, number) for at_ns, number, _ in ran] == sorted((at, n) for n, at in enumerate(times) if at <= 10)
    assert all(at_ns == now_ns for at_ns, _, now_ns in ran) and timing.now_ns() == 10
    timing.run_until(20)
    assert len(ran) == len(times)


def test_virtual_time_never_goes_back_and_late_work_runs_now() -> None:
    timing, ran = VirtualTiming(), []
    timing.run_until(100)
    timing.at(5, lambda: ran.append(timing.now_ns()))
    timing.run_until(50)
    assert timing.now_ns() == 100 and ran == []
    timing.run_until(100)
    assert ran == [100]


def test_what_work_asks_for_soon_runs_before_later_work() -> None:
    timing, ran = VirtualTiming(), []

    def first() -> None:
        ran.append("first")
        timing.soon(lambda: ran.append("soon"))

    timing.at(10, first)
    timing.at(11, lambda: ran.append("later"))
    timing.run_until(11)
    assert ran == ["first", "soon", "later"]


def test_real_timing_drains_before_it_decides() -> None:
    async def scene() -> list[str]:
        ran: list[str] = []
        timing = RealTiming(EngineClock())
        done = asyncio.Event()
        timing.soon(lambda: ran.append("soon"))
        timing.at(0, lambda: (ran.append("late"), done.set()))
        ran.append("now")
        await done.wait()
        return ran

    assert asyncio.run(scene()) == ["now", "soon", "late"]


def test_the_engine_s_clock_goes_on_from_what_was_restored_and_never_jumps_back() -> None:
    clock = EngineClock()
    now_ns = clock()
    assert clock.not_before(now_ns - 10**9) == 0
    ahead_ns = clock.not_before(now_ns + 10**12)
    assert 0 < ahead_ns <= 10**12
    assert clock() >= now_ns + 10**12 and clock.not_before(now_ns + 10**12) == 0


class CountingTiming(VirtualTiming):
    """Virtual time that notes for when it was asked to wake, and whose timers may run late."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.late_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.late_ns

    def at(self, at_ns: int, work: Callable[[], None]) -> None:
        super().at(at_ns, work)
        self.asked.append(at_ns)


class PaperWorld(DoorWorld):
    """The engine's small house with the paper venue behind its door."""

    def __init__(self) -> None:
        super().__init__()
        self.connect()
        self.waking = CountingTiming()
        self.waking.run_until(START_NS)
        self.arrived: list[tuple[int, Event]] = []
        feed = self.door.feed

        class Gate:
            """Notes when events arrive on their way to the door."""

            engine = self.engine

            @staticmethod
            def feed(events: list[Event]) -> None:
                self.arrived += [(self.waking.now_ns(), event) for event in events]
                feed(events)

        paper = Settings(venues={}, paper=PaperSettings(seed=7))
        self.door.connect(paper_transport(paper, Gate, self.waking), lambda market: None)


def test_paper_orders_are_answered_when_due_each_time_woken_once() -> None:
    world = PaperWorld()
    world.premium_books()
    assert len(world.engine.desk.open_plans()) == 1 and world.arrived == []
    world.waking.run_until(START_NS + 5_000 * MS)
    words = [type(event) for _, event in world.arrived]
    assert words.count(OrderAccepted) == words.count(OrderEnded) >= 2 and OrderFilled in words
    assert len(world.waking.asked) == len(set(world.waking.asked)), "one wake for each time something is due"
    world.feed(Wake(world.now_ns + 1))
    assert world.engine.desk.open_plans() == []
    assert any(isinstance(fact, PlanClosed) for fact in world.journal.facts)


def test_paper_answers_bear_the_time_of_their_arrival_even_when_the_timer_is_late() -> None:
    world = PaperWorld()
    world.premium_books()
    world.waking.late_ns = 700 * MS  # the loop was busy: its timers run late, and other events came first
    now_ns = world.now_ns = START_NS + 700 * MS
    world.feed(Wake(now_ns))
    world.waking.run_until(max(world.waking.asked))
    assert len(world.arrived) > 2 and all(event.at_ns == at_ns >= now_ns for at_ns, event in world.arrived)


def settings_of(folder: Path, mode: str, *, keys_dir: str = "", confirm: str = "") -> Settings:
    """Load the project's own configuration in a mode."""
    shutil.copytree(PROJECT / "config", folder / "config", ignore=shutil.ignore_patterns("secrets.yaml"))
    overlay = Overlay("test", {"keys_dir": keys_dir, "confirm_live": confirm})
    return load(folder / "config", {"MODE": mode}, overlay).settings


def with_keys(folder: Path) -> str:
    """Write four key files and return their folder."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    for venue in ("binance", "upbit"):
        for name, text in zip(key_names(venue), (f"{venue}-access-1", f"{venue}-{SECRET}"), strict=True):
            (keys / name).write_text(text)
            (keys / name).chmod(0o600)
    return str(keys)


def test_live_without_anything_is_refused_in_one_line_with_all_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RefusedToTrade) as caught:
        keys_for(settings_of(tmp_path, "live"), {})
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and text.startswith("MODE=live is refused: ") and text.endswith("or set MODE=paper")
    assert LIVE_PHRASE in text and all(name in text for venue in ("binance", "upbit") for name in key_names(venue))


def test_live_needs_confirmation_even_with_keys_and_keys_even_with_confirmation(tmp_path: Path) -> None:
    keys = with_keys(tmp_path)
    for number, (keys_dir, confirm, is_refused) in enumerate((
        (keys, "", True), ("", LIVE_PHRASE, True), (keys, LIVE_PHRASE.upper(), True), (keys, LIVE_PHRASE, False),
    )):  # fmt: skip
        settings = settings_of(tmp_path / str(number), "live", keys_dir=keys_dir, confirm=confirm)
        assert (refusal(settings, {}) is not None) is is_refused
    assert set(keys_for(settings, {})) == {"binance", "upbit"}


def test_shadow_needs_keys_and_no_confirmation_since_it_executes_nothing(tmp_path: Path) -> None:
    assert refusal(settings_of(tmp_path / "a", "shadow"), {}) is not None
    assert refusal(settings_of(tmp_path / "b", "shadow", keys_dir=with_keys(tmp_path)), {}) is None


def test_a_paper_house_reads_no_key_and_holds_none(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "paper", keys_dir=with_keys(tmp_path))
    assert keys_for(settings, {}) == {} and not mode_of(settings).signs and account_venues(settings) == ()
    assert SECRET not in msgspec.json.encode(msgspec.to_builtins(settings)).decode()


class NotingAccount(AccountSession):
    """An account that carries nothing out, and whose test endpoint refuses sales."""

    def __init__(self, name: str, sink: Callable[[Sequence[Event]], None]) -> None:
        section = VenueSettings(
            kind="binance", rest_url="http://127.0.0.1:1", stream_url="ws://127.0.0.1:1", symbols=(),
            fees=FeeSettings(maker_ppm=0, taker_ppm=0, payment="quote"),
        )  # fmt: skip
        context = VenueContext(Venue(name), section, Wiring(sink=sink, clock=lambda: START_NS, rng=random.Random(1)))
        limits = make_session(Venue(name), section, {}, context.wiring).limits
        super().__init__(AccountContext(context, Credentials("access-1", SECRET.encode()), {}, lambda market: None), limits)
        self.done: list[VenueEffect] = []
        self.tried: list[Order] = []
        self.closed = False

    async def run(self) -> None:
        await self._under_way.run()

    async def check(self) -> list[str]:
        return []

    async def try_order(self, order: Order) -> str:
        self.tried.append(order)
        return "Filter failure: NOTIONAL" if order.side is Side.SELL else ""

    async def close(self) -> None:
        self.closed = True

    def orders_wait_ns(self) -> int:
        return 0

    def hold_requests(self, until_ns: int) -> None: ...

    @property
    def requests_held_until_ns(self) -> int:
        return 0

    async def _carry_out(self, effect: VenueEffect) -> None:
        self.done.append(effect)


def orders_of(world: DoorWorld) -> list[Order]:
    world.connect()
    world.premium_books()
    orders = world.sent()
    assert len(orders) >= 2
    return orders


def test_live_hands_every_effect_to_the_account_of_its_venue() -> None:
    world = DoorWorld()
    orders = orders_of(world)
    accounts = {name: NotingAccount(name, world.door.feed) for name in ("binance", "upbit")}
    transport = LiveTransport(accounts, world.door, world.timing, lambda: "")

    async def scene() -> None:
        running = asyncio.get_running_loop().create_task(transport.run())
        for order in orders:
            transport.submit(PlaceOrder(order))
            transport.submit(CancelOrder(order.venue, order.market, order.client_order_id))
        transport.submit(ReadAccount(Venue("upbit"), "test"))
        for _ in range(5):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scene())
    for name, account in accounts.items():
        placed = [effect.order for effect in account.done if isinstance(effect, PlaceOrder)]
        assert placed == [order for order in orders if order.venue == name] and len(account.done) >= 2 * len(placed)
    assert ReadAccount(Venue("upbit"), "test") in accounts["upbit"].done


def test_whoever_is_fenced_sends_no_order_but_still_cancels_and_asks() -> None:
    world = DoorWorld()
    order = orders_of(world)[0]
    account = NotingAccount(order.venue, world.door.feed)
    transport = LiveTransport({order.venue: account}, world.door, world.timing, lambda: "fenced: epoch 8 of other, ours is 7")
    transport.submit(PlaceOrder(order))
    transport.submit(CancelOrder(order.venue, order.market, order.client_order_id))
    assert account._under_way.count == 1
    world.timing.run_until(world.now_ns)
    (ended,) = [fact for fact in world.journal.facts if isinstance(fact, OrderChanged)]
    assert ended.client_order_id == order.client_order_id and ended.state is OrderState.REJECTED
    assert ended.reason == "not sent: fenced: epoch 8 of other, ours is 7"


def test_an_order_must_leave_while_the_lease_lasts_for_certain_and_keeps_its_own_validity_where_that_is_shorter() -> None:
    world = DoorWorld()
    order = orders_of(world)[0]
    account = NotingAccount(order.venue, world.door.feed)
    transport = LiveTransport({order.venue: account}, world.door, world.timing, lambda: "")
    lasting = [0, order.valid_until_ns - 7, order.valid_until_ns + 7]

    async def scene() -> None:
        running = asyncio.get_running_loop().create_task(transport.run())
        for ends_ns in lasting:
            transport.ends_ns = lambda ends_ns=ends_ns: ends_ns  # type: ignore[misc]  # the loop's own number
            transport.submit(PlaceOrder(order))
        transport.submit(PlaceOrder(msgspec.structs.replace(order, valid_until_ns=0)))
        for _ in range(5):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scene())
    until = [effect.order.valid_until_ns - order.valid_until_ns for effect in account.done if isinstance(effect, PlaceOrder)]
    assert until == [0, -7, 0, 7]


def test_shadow_trades_on_paper_and_has_each_order_judged_by_the_venue(caplog: pytest.LogCaptureFixture) -> None:
    world = DoorWorld()
    orders = orders_of(world)
    papered: list[VenueEffect] = []

    class Paper:
        """Notes what reaches the paper venue."""

        def submit(self, effect: VenueEffect) -> None:
            papered.append(effect)

    accounts = {name: NotingAccount(name, world.door.feed) for name in ("binance", "upbit")}

    async def scene() -> ShadowTransport:
        transport = ShadowTransport(Paper(), accounts)
        running = asyncio.get_running_loop().create_task(transport.run())
        for order in orders:
            transport.submit(PlaceOrder(order))
        transport.submit(CancelOrder(orders[0].venue, orders[0].market, orders[0].client_order_id))
        for _ in range(5):
            await asyncio.sleep(0)
        for _ in range(TRIES_WAITING_MAX + 3):
            transport.submit(PlaceOrder(orders[0]))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return transport

    transport = asyncio.run(scene())
    tried = [order for account in accounts.values() for order in account.tried]
    assert sorted(order.client_order_id for order in tried) == sorted(order.client_order_id for order in orders)
    assert all(not account.done for account in accounts.values()), "nothing is placed"
    sales = sum(order.side is Side.SELL for order in orders)
    assert 0 < sales < len(orders)
    assert transport.counters == {"tried": len(orders), "accepted": len(orders) - sales, "refused": sales, "left_out": 3}
    assert caplog.text.count("Filter failure: NOTIONAL") == sales and len(papered) == len(orders) + 1 + TRIES_WAITING_MAX + 3
