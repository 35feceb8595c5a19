"""What a mode is: its time and its transport. Live is refused, and a paper house holds no key."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from app_world import DoorWorld
from engine_world import MS, START_NS
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.app.clock import EngineClock
from arbitrage.app.modes import RealTiming, RefusedToTrade, VirtualTiming, check_mode, paper_transport
from arbitrage.model.events import Event, OrderAccepted, OrderEnded, OrderFilled, Wake
from arbitrage.model.facts import PlanClosed
from arbitrage.model.settings import PaperSettings, Settings
from arbitrage.ops.config import load

PROJECT = Path(__file__).parents[2]


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


def test_live_is_refused_in_words() -> None:
    with pytest.raises(RefusedToTrade, match="MODE=live is refused"):
        check_mode(Settings(venues={}, mode="live"))
    check_mode(Settings(venues={}))


def test_a_paper_house_holds_no_key(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    secret = "k3y-that-must-not-travel"
    file = tmp_path / "config" / "secrets.yaml"
    file.write_text(f"keys:\n  binance: {{api_key: {secret}, api_secret: {secret}-2}}\n")
    file.chmod(0o600)
    loaded = load(tmp_path / "config", {})
    assert loaded.key_names == {"binance.api_key", "binance.api_secret"}
    everything = msgspec.json.encode(msgspec.to_builtins(loaded.settings)).decode() + repr(loaded)
    assert secret not in everything, "the settings that a paper house is built from cannot hold a key"
