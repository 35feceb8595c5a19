"""Openings of cycles: one episode each, however long it lasts; refused ones are priced again on the books that followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from engine_world import START_NS, USDT, World, settings

from arbitrage.engine import episodes as room
from arbitrage.engine.engine import Engine
from arbitrage.engine.episodes import Episodes
from arbitrage.engine.viewing import view_of
from arbitrage.model.effects import EpisodeNoted, Judged
from arbitrage.model.episodes import FOLLOW_UP_DELAYS_MS, Episode, EpisodeState
from arbitrage.model.events import Command, CommandKind, FollowUpsDue, Reloaded, Wake
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import Approved, EdgeBreakdown, Leg, Opportunity, Refusal, Refused, Verdict
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.route import Route, Step

MS = 1_000_000


def told(world: World) -> list[Episode]:
    return [effect.episode for effect in world.effects if isinstance(effect, EpisodeNoted)]


def refusing() -> World:
    """A house that is paused: everything is found and refused."""
    world = World()
    world.connect()
    world.feed(Command(world.now_ns, CommandKind.PAUSE, "test", "to see what is refused"))
    return world


def look(world: World, milliseconds: int = 0) -> None:
    """Let time pass, change a book by nothing, decide."""
    world.wait(milliseconds)
    world.premium_books()
    world.decide()


def wake(world: World) -> None:
    world.feed(Wake(world.now_ns))


def follow(world: World) -> None:
    """Do as the daemon's clock does between wakes."""
    assert world.engine.episodes.due_ns <= world.now_ns
    world.feed(FollowUpsDue(world.now_ns))


def is_idle(episodes: Episodes) -> bool:
    return episodes.open_count == 0 and episodes.due_ns == room.NEVER_NS


def test_one_long_opening_is_one_episode_with_its_life_its_looks_and_its_peak() -> None:
    world = refusing()
    for _ in range(5):
        look(world, 10)
    opened_ns = world.now_ns - 40 * MS
    world.wait(7)
    world.picture(1, 145_000_000.0, 145_100_000.0, 0.5)
    world.decide()
    best = max(effect.opportunity.net_e8 for effect in world.effects if isinstance(effect, Judged))
    for _ in range(40):
        world.wait(20)
        world.quiet_books()
        world.decide()
        wake(world)
    (episode,) = told(world)
    assert (episode.state, episode.looks, episode.first_seen_ns) == (EpisodeState.GONE, 6, opened_ns)
    assert episode.life_ns == 67 * MS, "until the change after which it gained no more"
    assert episode.pair == "BTC" and episode.name.startswith("USDT@binance > BTC") and episode.reporting_asset == USDT
    assert episode.refusals == {"paused": 6} and (episode.taken, episode.taken_count) == ((), 0)
    assert episode.first is not None and episode.peak is not None
    assert episode.first.at_ns == opened_ns and episode.peak.net_e8 == best > episode.first.net_e8
    assert 30_000 < episode.edge_ppm_peak < 36_000, "3.5 % less fees, at the top"
    assert world.engine.episodes.counters["episodes_opened"] == world.engine.episodes.counters["episodes_closed"] == 1


def test_a_refused_one_is_priced_again_on_the_books_that_followed() -> None:
    world = refusing()
    look(world)
    (judged,) = (effect for effect in world.effects if isinstance(effect, Judged))
    look(world, 49)
    world.quiet_books()
    world.wait(1)
    world.decide()
    follow(world)
    world.picture(1, 145_000_000.0, 145_100_000.0, 0.5)
    world.wait(60)
    wake(world)
    world.wait(200)
    world.picture(1, 138_000_000.0, 138_100_000.0, 0.5)
    wake(world)
    world.wait(240)
    wake(world)
    (episode,) = told(world)
    later = {each.delay_ms: each for each in episode.follow_ups}
    assert tuple(later) == FOLLOW_UP_DELAYS_MS
    assert [(each.at_ns - judged.opportunity.at_ns) // MS for each in later.values()] == [50, 110, 310, 550]
    nets = [each.net_e8 for each in later.values()]
    assert nets[0] is not None and nets[1] is not None and nets[2] is not None
    assert nets[0] < 0 < judged.opportunity.net_e8 < nets[1] and nets[2] < nets[0], "quiet, dearer, cheaper in Korea"


def test_a_market_that_cannot_be_trusted_then_is_an_answer_of_its_own() -> None:
    world = refusing()
    look(world)
    world.wait(40_000)
    wake(world)
    world.quiet_books()
    world.decide()
    (episode,) = told(world)
    assert {each.net_e8 for each in episode.follow_ups} == {None}
    assert all(each.reason.startswith("market unusable: ") for each in episode.follow_ups)


def test_a_taken_one_is_named_and_not_followed() -> None:
    world = World()
    world.connect()
    look(world)
    world.take_all(world.placed())
    world.quiet_books()
    world.decide()
    (episode,) = told(world)
    (taken,) = (effect.opportunity for effect in world.effects if isinstance(effect, Judged))
    assert (episode.taken, episode.taken_count, episode.refusals, episode.follow_ups) == ((taken.id,), 1, {}, ())
    assert episode.first == episode.peak == taken


def test_what_lasts_is_noted_now_and_then_and_what_ends_with_the_process_says_so() -> None:
    world = refusing()
    look(world)
    for _ in range(130):
        look(world, 500)
        wake(world)
    (episode,) = told(world)
    assert episode.state is EpisodeState.OPEN and 60_000 <= episode.life_ns // MS <= 61_500
    assert len(episode.follow_ups) == len(FOLLOW_UP_DELAYS_MS)
    (last,) = world.engine.episodes.finish(world.now_ns)
    assert last.episode.id == episode.id and last.episode.state is EpisodeState.STOPPED and last.episode.looks == 131
    assert is_idle(world.engine.episodes) and world.engine.episodes.finish(world.now_ns) == []


def test_other_settings_interrupt_what_is_open_and_what_is_followed() -> None:
    world = refusing()
    look(world)
    world.quiet_books()
    world.decide()
    world.premium_books()
    world.wait(60)
    world.decide()
    follow(world)
    world.feed(Reloaded(world.now_ns, settings(), "v2"))
    wake(world)
    first, second = sorted(told(world), key=lambda episode: episode.first_seen_ns)
    assert (first.state, second.state) == (EpisodeState.GONE, EpisodeState.INTERRUPTED)
    assert [each.reason for each in first.follow_ups][1:] == ["markets or settings changed meanwhile"] * 3
    assert first.follow_ups[0].net_e8 is not None, "what was due before is told"
    look(world, 10)
    assert world.engine.episodes.open_count == 1, "the same cycle opens anew"


def test_the_view_counts_them() -> None:
    world = refusing()
    look(world)
    assert view_of(world.engine, world.now_ns).counters["episodes_opened"] == 1


def test_nothing_is_done_while_nothing_gains() -> None:
    world = World()
    world.connect()
    world.quiet_books()
    assert world.decide() == [] and is_idle(world.engine.episodes) and told(world) == []


class Counted(Episodes):
    """Knows how many decisions it was asked about."""

    asked = 0

    def decided(self, *arguments: Any) -> list[EpisodeNoted]:
        self.asked += 1
        return super().decided(*arguments)


def test_what_waits_to_be_priced_again_costs_a_decision_nothing() -> None:
    """A third of the rate at 100 symbols went that way once: nearly always something waits."""
    world = refusing()
    world.engine.episodes = episodes = Counted(lambda found, now_ns: 0)
    look(world)
    assert episodes.concerns(range(3)) and not episodes.concerns((99,)), "only markets of what is open matter"
    world.quiet_books()
    world.decide()
    assert episodes.asked == 2 and episodes.open_count == 0 and episodes.due_ns < room.NEVER_NS
    world.quiet_books()
    world.wait(600)
    assert world.decide() == [] and episodes.asked == 2


# -- bounds, by a finder that gains whatever a test says --------------------------------------------------------


class Finder:
    """Says what gains, as the detector would."""

    def __init__(self) -> None:
        self.settings = StrategySettings()
        self.gaining: Mapping[int, float] = {}
        self.unsized: dict[int, Refusal] = {}
        self.era: object = "one"

    def route(self, cycle: int) -> Route:
        spent, received = Node(Venue("v"), Asset("USDT")), Node(Venue("v"), Asset("BTC"))
        steps = (Step(cycle, Side.BUY, spent, received, None), Step(cycle + 1, Side.SELL, received, spent, None))
        return Route(cycle, spent, steps, f"cycle {cycle}")

    def pair(self, cycle: int) -> str:
        return "BTC"


def offered(cycle: int, at_ns: int, verdict: Verdict | None = None) -> Judged:
    node = Node(Venue("v"), Asset("USDT"))
    leg = Leg(0, Side.BUY, node, node, 1, 1, 1, 1, 0, Asset("USDT"), 1, 0)
    edge = EdgeBreakdown(E8, 0, 0, 0, E8)
    found = Opportunity(f"o{cycle}-{at_ns}", at_ns, cycle, "n", (leg,), (), node, 1, 2, Asset("USDT"), 1, 1, edge)
    return Judged(found, verdict or Refused(Refusal.PAUSED, "test"))


def test_open_episodes_and_follow_ups_are_bounded_and_what_is_left_out_is_counted() -> None:
    asked: list[int] = []
    episodes, finder = Episodes(lambda found, now_ns: asked.append(now_ns) or 7), Finder()
    cycles = range(0, 2 * (room.OPEN_MAX + 9), 2)
    finder.gaining = dict.fromkeys(cycles, 1.01)
    assert episodes.decided(finder, (), [offered(cycle, START_NS) for cycle in cycles], START_NS) == []
    assert episodes.open_count == room.OPEN_MAX and episodes.counters["episodes_untracked"] == 9
    assert episodes.counters["follow_ups_left_out"] == room.OPEN_MAX - room.FOLLOW_UPS_MAX
    finder.gaining = {}
    later_ns = START_NS + 50 * MS
    notes = episodes.decided(finder, range(2 * room.OPEN_MAX), [], later_ns)
    assert len(notes) == room.OPEN_MAX - room.FOLLOW_UPS_MAX, "the others wait for their follow-ups"
    assert asked == [] and episodes.due_ns == later_ns, "none in a decision"
    assert episodes.follow(finder, later_ns) == [] and len(asked) == room.FOLLOW_UPS_PER_STEP_MAX
    assert episodes.due_ns == later_ns, "the others are due still"
    while asked.count(later_ns + 450 * MS) < room.FOLLOW_UPS_MAX:
        notes += episodes.woken(finder, later_ns + 450 * MS)
    for _ in range(room.FOLLOW_UPS_MAX):
        notes += episodes.woken(finder, later_ns + 450 * MS)
    assert len(notes) == room.OPEN_MAX and episodes.counters["follow_ups_done"] == 4 * room.FOLLOW_UPS_MAX
    assert not any(len(queue) for queue in episodes._due)


def test_a_decision_prices_nothing_again() -> None:
    asked: list[int] = []
    episodes, finder = Episodes(lambda found, now_ns: asked.append(now_ns) or 7), Finder()
    finder.gaining = {0: 1.01}
    episodes.decided(finder, (), [offered(0, START_NS)], START_NS)
    now_ns = START_NS + 60 * MS
    finder.unsized = {0: Refusal.TIME_BUDGET, 99: Refusal.NO_FX}
    entry = offered(0, now_ns)
    taken = [offered(0, now_ns, Approved(entry.opportunity)) for _ in range(room.TAKEN_NAMED_MAX + 5)]
    assert episodes.decided(finder, (0,), [*taken, offered(4, now_ns)], now_ns) == [] and asked == []
    (note,) = episodes.finish(now_ns)
    episode = note.episode
    assert episode.taken_count == room.TAKEN_NAMED_MAX + 5 and len(episode.taken) == room.TAKEN_NAMED_MAX
    assert episode.refusals == {"paused": 1, "time_budget": 1}
    assert [each.reason for each in episode.follow_ups] == ["nobody looked any more"] * 4


def test_an_episode_that_still_gains_keeps_its_follow_ups_until_it_is_over() -> None:
    episodes, finder = Episodes(lambda found, now_ns: Refused(Refusal.NO_FX, "none")), Finder()
    finder.gaining = {0: 1.01}
    episodes.decided(finder, (), [offered(0, START_NS)], START_NS)
    assert episodes.woken(finder, START_NS + 600 * MS) == []
    finder.gaining = {}
    (note,) = episodes.decided(finder, (1,), [], START_NS + 700 * MS)
    assert [each.reason for each in note.episode.follow_ups] == ["market unusable: no_fx: none"] * 4


def test_of_two_cycles_through_one_market_each_ends_by_itself() -> None:
    episodes, finder = Episodes(lambda found, now_ns: 7), Finder()
    finder.gaining = {0: 1.01, 1: 1.02}
    episodes.decided(finder, (), [], START_NS)
    finder.gaining = {1: 1.01}
    (note,) = episodes.decided(finder, (1,), [], START_NS + MS)
    assert (note.episode.cycle, episodes.open_count) == (0, 1) and note.episode.edge_ppm_peak == 10_000
    finder.gaining = {}
    (note,) = episodes.decided(finder, (1,), [], START_NS + MS)
    assert note.episode.cycle == 1 and is_idle(episodes) and note.episode.first is None


def test_an_engine_decides_the_same_with_and_without_anybody_pricing_again() -> None:
    worlds = [refusing(), refusing()]
    worlds[1].engine.episodes = Episodes(lambda found, now_ns: 0)
    for world in worlds:
        for _ in range(20):
            look(world, 30)
            wake(world)
    first, second = ([msgspec.json.encode(e) for e in world.effects if isinstance(e, Judged)] for world in worlds)
    assert first == second and len(first) == 20 and isinstance(worlds[0].engine, Engine)


@pytest.mark.parametrize("bound", ["OPEN_MAX", "FOLLOW_UPS_MAX", "TAKEN_NAMED_MAX"])
def test_every_bound_has_a_name(bound: str) -> None:
    assert getattr(room, bound) > 0
