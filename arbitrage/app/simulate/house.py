"""One simulated daemon through all its lives: what a start restores, what it connects, how it dies. Judges nothing.

The engine, the door, the records and the codecs are the real ones; `LiveTransport`, stores and sessions have thin stand-ins,
because theirs wait on an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec

from arbitrage.app.answers import Answers
from arbitrage.app.door import Door, JournalUnavailable
from arbitrage.app.identity import id_prefix
from arbitrage.app.simulate.disk import Disk
from arbitrage.app.simulate.feeds import Feed, FeedContext
from arbitrage.app.simulate.links import AccountLink, LinkContext
from arbitrage.app.simulate.parts import Parts
from arbitrage.app.simulate.party import MS_NS, S_NS, Crashed, Life
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Append, Judged, PlaceOrder, Report, VenueEffect
from arbitrage.model.episodes import Episode
from arbitrage.model.events import Command, CommandKind, Event, Reloaded, StoreReported, Wake
from arbitrage.model.facts import Fact
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.settings import Settings, TradingSettings
from arbitrage.model.snapshots import Snapshot
from arbitrage.sim.weather import Crash, Point
from arbitrage.sim.wire import Wire
from arbitrage.sim.world import World
from arbitrage.store.snapshots import Candidate
from arbitrage.venues.trading import Credentials, held
from arbitrage.venues.wiring import VenueEvent

WAKE_NS = 100 * MS_NS
SECOND_NS = S_NS
ENVIRONMENT = "simulation"


class Watch(Protocol):
    """Who looks on. Told of everything, asked nothing."""

    def on_start(self, house: House) -> None: ...

    def on_crash(self) -> None: ...

    def on_intended(self, facts: Sequence[Fact], *, is_durable: bool) -> None: ...

    def on_facts(self, facts: Sequence[Fact]) -> None: ...

    def on_judged(self, judged: Judged) -> None: ...

    def on_episode(self, episode: Episode) -> None: ...

    def on_report(self, report: Report) -> None: ...

    def on_events(self, events: Sequence[Event]) -> None: ...

    def after(self) -> None: ...


class Ground(msgspec.Struct, frozen=True):
    """What a house stands on, and what outlives it."""

    world: World
    wires: Mapping[str, Wire]
    settings: Settings
    credentials: Mapping[str, Credentials]
    disk: Disk
    watch: Watch
    parts: Parts


class House:
    """One session's processes, one after the other."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.trading: TradingSettings = ground.settings.trading
        """In force; a restart reads it anew, so a reload outlives it."""
        self.engine: Engine
        self.door: Door
        self.life: Life
        self.links: dict[str, AccountLink] = {}
        self.feeds: dict[str, Feed] = {}
        self.is_running = False
        self.epoch = 0
        self.id_prefix = ""
        """What the order ids of this life begin with."""
        self.doom: Crash | None = None
        """How it will die."""
        self.wall_ns = 0
        """By how much the wall clock is off."""
        self._skip = 0
        self._next_snapshot_ns = 0

    # -- its lives ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Do what a start of the daemon does: restore, then connect and compare."""
        ground = self.ground
        self.epoch += 1
        self.is_running = True
        life = self.life = Life(ground.world, self.wall_ns, self._die, ground.watch.after)
        life.guarded(self._come_up)()

    def _come_up(self) -> None:
        ground, life = self.ground, self.life
        settings, disk = ground.settings, ground.disk
        accounts = tuple(Venue(name) for name in settings.venues)
        prefix = self.id_prefix = id_prefix(ENVIRONMENT, settings.session_name, self.epoch, life.now_ns())
        disk.recover()
        self.engine = ground.parts.engine(self.trading, settings.market_symbols, id_prefix=prefix, account_venues=accounts)
        life.not_before(self._restore(self.engine))
        self.door = ground.parts.door(self.engine, life, _Journal(self), _Recorder(ground.watch))
        answers = Answers(self.door, life)
        self._make_links(partial(self._hear, answers.sink))
        self.door.connect(_Transport(self), self._resync)
        ground.watch.on_start(self)
        self.door.feed([self.store_report()])
        for venue in settings.venues:
            self.feeds[venue].start()
            self.links[venue].start()
        self._next_snapshot_ns = life.now_ns() + settings.store.snapshot_interval_ms * MS_NS
        life.after_ns(WAKE_NS, self._wake)
        life.after_ns(SECOND_NS, self._every_second)

    def _restore(self, engine: Engine) -> int:
        """Rebuild the durable state; return the time of the newest thing that was restored."""
        disk = self.ground.disk
        for candidate in disk.candidates(self.ground.settings.session_name):
            if isinstance(candidate, Candidate):
                facts = disk.facts_after(candidate.snapshot.journal_sequence)
                engine.restore(candidate.snapshot, facts)
                return max(candidate.snapshot.at_ns, *(fact.at_ns for fact in facts), 0)
        facts = disk.facts_after(0)
        engine.restore(None, facts)
        return max((fact.at_ns for fact in facts), default=0)

    def _make_links(self, hear: Callable[[Sequence[VenueEvent]], None]) -> None:
        ground = self.ground
        dice = ground.world.dice
        for name, section in ground.settings.venues.items():
            markets = {symbol: market for market, (venue, symbol) in enumerate(ground.settings.market_symbols) if venue == name}
            context = FeedContext(Venue(name), section, markets)
            wire = ground.wires[name]
            feed_dice, link_dice = dice(f"feed {name} {self.epoch}"), dice(f"link {name} {self.epoch}")
            feed = self.feeds[name] = ground.parts.feeds[name](context, self.life, wire, self.sink, feed_dice)
            account = LinkContext(Venue(name), section, markets, ground.credentials[name], self._instrument, feed.limits)
            link = self.links[name] = ground.parts.links[name](account, self.life, wire, hear, link_dice)
            if (until_ns := ground.disk.bans.get(name, 0)) > self.life.now_ns():
                feed.hold_requests(until_ns)
                link.hold_requests(until_ns)

    def die(self, crash: Crash) -> None:
        """Die now, or where the crash says."""
        if not self.is_running:
            return
        self.doom, self._skip = crash, crash.skip
        if crash.point is Point.NOW:
            self._die()

    def reached(self, point: Point) -> None:
        """Come to a place where the process may die. Raises Crashed when it does."""
        if self.doom is None or self.doom.point is not point:
            return
        if self._skip:
            self._skip -= 1
            return
        raise Crashed

    def _die(self) -> None:
        """Lose the process: connections, what it knew, what was on its way to it. It is started again."""
        doom, world = self.doom, self.ground.world
        assert doom is not None, "who dies was to die"
        self.doom, self.is_running, self.life.is_over = None, False, True
        for venue, wire in self.ground.wires.items():
            wire.jumped_ns = max(wire.jumped_ns, doom.wall_ms * MS_NS)
            wire.forget_client(knows_ban=self.ground.disk.bans.get(venue, 0) > self.life.now_ns())
        self.ground.watch.on_crash()
        self.wall_ns += doom.wall_ms * MS_NS
        world.at(world.now_ns + doom.down_ms * MS_NS, self.start)

    # -- what it does -------------------------------------------------------------------------------------------

    def sink(self, events: Sequence[VenueEvent]) -> None:
        """Take in what one frame said."""
        self.ground.watch.on_events(events)
        self.door.feed(events)

    def command(self, kind: CommandKind, name: str = "") -> None:
        """Say an operator's word."""
        if self.is_running:
            word = Command(self.life.now_ns(), kind, "operator", "the weather says so", name)
            self.life.guarded(lambda: self.door.feed([word]))()

    def reload(self, trading: TradingSettings) -> None:
        """Take over another configuration, now or at the next start."""
        self.trading = trading
        if self.is_running:
            event = Reloaded(self.life.now_ns(), trading, "reloaded")
            self.life.guarded(lambda: self.door.feed([event]))()

    def store_report(self) -> StoreReported:
        disk = self.ground.disk
        return StoreReported(self.life.now_ns(), disk.is_database_up, True, disk.bytes_waiting, disk.is_journal_full)

    def _hear(self, sink: Callable[[Sequence[VenueEvent]], None], events: Sequence[VenueEvent]) -> None:
        """Take in what an account's link says."""
        self.ground.watch.on_events(events)
        sink(events)

    def _instrument(self, market: int) -> Instrument | None:
        return self.engine.board.instruments[market]

    def _resync(self, market: int) -> None:
        venue, _ = self.ground.settings.market_symbols[market]
        self.feeds[venue].resync(market)

    def _wake(self) -> None:
        now_ns = self.life.now_ns()
        self.life.after_ns(WAKE_NS, self._wake)
        holds = [event for venue, link in self.links.items() for event in held(Venue(venue), now_ns, link.orders_wait_ns())]
        self.ground.watch.on_events(holds)
        self.door.feed([*holds, Wake(now_ns)])
        for venue, link in self.links.items():
            if link.held_until_ns > now_ns:
                self.ground.disk.bans[venue] = link.held_until_ns

    def _every_second(self) -> None:
        self.life.after_ns(SECOND_NS, self._every_second)
        self.door.retry_journal()
        self.door.feed([self.store_report()])
        if self.life.now_ns() >= self._next_snapshot_ns:
            self._next_snapshot_ns += self.ground.settings.store.snapshot_interval_ms * MS_NS
            self._save_snapshot()

    def _save_snapshot(self) -> None:
        disk = self.ground.disk
        if self.door.is_whole and not disk.is_full:
            snapshot = self.snapshot()
            self.reached(Point.SNAPSHOT)
            disk.save(snapshot)

    def snapshot(self) -> Snapshot:
        return self.engine.snapshot(self.ground.settings.session_name, self.life.now_ns(), self.ground.disk.last_sequence)


class _Journal:
    """The journal as the door sees it: a crash may come before, in the middle of and after each write."""

    def __init__(self, house: House) -> None:
        self._house = house

    def append(self, appends: Sequence[Append]) -> int:
        house, disk, watch = self._house, self._house.ground.disk, self._house.ground.watch
        facts = [each.fact for each in appends]
        house.reached(Point.BEFORE_WRITE)
        try:
            line = disk.line(facts, [each.entries for each in appends])
        except JournalUnavailable:
            watch.on_intended(facts, is_durable=False)
            raise
        if house.doom is not None and house.doom.point is Point.TORN_WRITE:
            disk.torn = line[: len(line) // 2]
            house.reached(Point.TORN_WRITE)
            disk.torn = b""
        sequence = disk.write(line, len(facts))
        house.ground.world.note(line)
        watch.on_intended(facts, is_durable=True)
        house.reached(Point.AFTER_WRITE)
        return sequence


class _Recorder:
    """Hands on what is kept but not needed to restore."""

    def __init__(self, watch: Watch) -> None:
        self.facts = watch.on_facts
        self.judged = watch.on_judged
        self.report = watch.on_report
        self.episode = watch.on_episode


class _Transport:
    """Hands effects to the venues' links."""

    def __init__(self, house: House) -> None:
        self._house = house

    def submit(self, effect: VenueEffect) -> None:
        house = self._house
        if not isinstance(effect, PlaceOrder):
            house.links[effect.venue].submit(effect)
            return
        house.reached(Point.BEFORE_SEND)
        house.links[effect.order.venue].submit(effect)
        house.reached(Point.AFTER_SEND)
