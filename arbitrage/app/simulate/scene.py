"""One seed's life from its first event to its rest: joins world, exchanges and daemon, carries the weather out. Draws nothing.

A rule that is broken ends the life at once (`Violated`); so does an assertion that fails anywhere.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from arbitrage.app.simulate.checkers import (
    AT_REST,
    ON_EVENT,
    ON_LEAVING,
    ON_PLAN,
    ON_REPORT,
    Case,
    Leaving,
    as_intended,
    booked_by_word,
    booked_truly,
    exposure_within_limits,
    gaps_are_doubted,
    ledger_is_truth,
)
from arbitrage.app.simulate.disk import Disk
from arbitrage.app.simulate.evidence import Evidence
from arbitrage.app.simulate.house import Ground, House
from arbitrage.app.simulate.parts import Parts
from arbitrage.app.simulate.story import Story
from arbitrage.app.simulate.twin import compare_twins
from arbitrage.model.effects import Judged, Report
from arbitrage.model.episodes import Episode
from arbitrage.model.events import CommandKind, Event, Funded
from arbitrage.model.facts import Fact, FillBooked, PlanOpened
from arbitrage.model.money import PPM
from arbitrage.model.orders import ClientOrderId
from arbitrage.sim.exchange.nouns import Happened, Update
from arbitrage.sim.sites import Clocks, VenueKeys, make_sites
from arbitrage.sim.town import Stage, Town
from arbitrage.sim.weather import (
    Crash,
    Cut,
    DatabaseAway,
    DiskFull,
    Flip,
    Kill,
    Offer,
    Pause,
    Point,
    Reload,
    Slow,
    Strike,
    Thin,
    Transfer,
    Twin,
    VenueFault,
)
from arbitrage.sim.wire import Wire
from arbitrage.sim.world import World
from arbitrage.venues.trading import Credentials

MS_NS, S_NS = 1_000_000, 1_000_000_000
START_NS = 1_760_000_000 * S_NS
LOOK_NS = 500 * MS_NS
QUIET_NS = 3 * S_NS
"""Nothing is under way for so long, which is longer than the engine waits before it hedges what is left over."""
CLOCK_SEEN_NS = 20 * S_NS
"""So long after a start with a wall clock that is far off, somebody sees it."""
REST_NS_MAX = 240 * S_NS
"""So long after the last fault a life may take to become quiet: a ban of Upbit's holds for a minute, the next one longer."""


BROKEN = (AssertionError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""What no life may raise, whoever's mistake it is."""


class Violated(Exception):
    """A rule that must hold was broken."""

    def __init__(self, checker: str, message: str) -> None:
        super().__init__(message)
        self.checker = checker
        self.message = message


class Failure(msgspec.Struct, frozen=True):
    """How a life failed."""

    checker: str
    at_ms: int
    message: str


class Life(msgspec.Struct, frozen=True):
    """What became of a seed."""

    seed: int
    events: int
    digest: str
    failure: Failure | None
    plans: int
    fills: int
    crashes: int
    trace: tuple[tuple[int, str, str], ...] = ()


class Scene:
    """One life."""

    def __init__(self, story: Story, parts: Parts, keys: VenueKeys, *, is_traced: bool = False) -> None:
        world = self.world = World(story.seed, START_NS, is_traced=is_traced)
        self.story = story
        settings = story.settings
        clocks = Clocks(world.clock, world.seconds)
        binance, upbit, self.sites = make_sites(story.scenario, keys, clocks, story.seed)
        self.wires = {
            "binance": Wire(world, "binance", binance, self.sites["binance"].faults),
            "upbit": Wire(world, "upbit", upbit, self.sites["upbit"].faults),
        }
        if story.has_bnb:
            self.sites["binance"].exchange.settlement.named_fee_asset = "BNB"
        stage = Stage({"binance": binance.apply, "upbit": upbit.apply}, binance.flush)
        self.town = Town(world, story.scenario, stage, story.requote_ms)
        symbols = settings.market_symbols
        self.evidence = Evidence(settings.trading, symbols, lambda market: binance.markets[symbols[market][1]].update_id)
        credentials = {
            "binance": Credentials(keys.binance.access_key, keys.binance.secret.encode()),
            "upbit": Credentials(keys.upbit.access_key, keys.upbit.secret.encode()),
        }
        self.disk = Disk(settings.store.journal_bytes_max)
        self.house = House(Ground(world, self.wires, settings, credentials, self.disk, _Watch(self), parts))
        self.case = Case(world, self.house, self.evidence, self.sites, self.wires, self.town, story.strikes)
        self.is_dirty = False
        """Facts came since the last look."""
        self.is_over = False
        """The storm is."""
        self._thin: dict[str, int] = {}

    def live(self) -> Life:
        """Live it to its rest, or to the first rule that is broken."""
        failure: Failure | None = None
        try:
            self._live()
        except Violated as violated:
            failure = Failure(violated.checker, self._now_ms(), violated.message)
        except BROKEN as broken:
            frame = traceback.extract_tb(broken.__traceback__)[-1]
            where = f"{frame.filename.rpartition('arbitrage/')[2]}:{frame.lineno}"
            failure = Failure("nothing_breaks", self._now_ms(), f"{type(broken).__name__}: {broken} ({where})")
        evidence, world = self.evidence, self.world
        if failure is not None and world.is_traced:
            world.tell("checker", f"{failure.checker}: {failure.message}")
        return Life(
            self.story.seed, world.events, world.digest(), failure, len(evidence.plans), len(evidence.fills),
            self.house.epoch - 1, tuple((at_ns - START_NS, who, what) for at_ns, who, what in world.trace),
        )  # fmt: skip

    def broken(self, checker: str, message: str) -> None:
        """End the life where a rule is broken."""
        if message:
            raise Violated(checker, message)

    # -- the course of it ---------------------------------------------------------------------------------------

    def _live(self) -> None:
        world, story = self.world, self.story
        for venue, site in self.sites.items():
            site.exchange.listen(partial(self._on_update, venue))
            self.wires[venue].on_leave = partial(self._on_leave, venue)
            self.wires[venue].on_request = partial(self._on_request, venue)
        world.at(START_NS, self.house.start)
        for strike in story.strikes:
            world.at(START_NS + strike.at_ms * MS_NS, partial(self._strike, strike))
        world.run_until(START_NS + story.storm_ms * MS_NS)
        self._heal()
        self._rest()
        self._hold_at_rest()
        self.broken("restart_changes_nothing", compare_twins(self.house))

    def _hold_at_rest(self) -> None:
        """Hold what must hold at last; where nothing comes to rest, this tells why better than that."""
        for check in AT_REST:
            self.broken(check.__name__, check(self.case))

    def _heal(self) -> None:
        """Let every fault stop."""
        self.is_over = True
        self.town.is_calm = True
        for site in self.sites.values():
            site.faults.clear()
        for wire in self.wires.values():
            wire.slow_ns = 0
            wire.spoil.clear()
        self._thin.clear()
        self.disk.is_full = False
        self.disk.database_back()
        self.house.doom = None
        self.set_clock_right()
        for coin in {strike.coin for strike in self.story.strikes if isinstance(strike, Offer)}:
            self.town.offer(coin, 0)

    def set_clock_right(self) -> None:
        """Let somebody set a wall clock right that is far off, and start the daemon again, whose time is from its start."""
        house = self.house
        if abs(house.wall_ns) <= S_NS:
            return
        if house.is_running:
            house.die(Crash(0, Point.NOW, 0, 200, -house.wall_ns // MS_NS))
        house.wall_ns = 0

    def _rest(self) -> None:
        """Wait until nothing has been under way for a while; the operator does what only an operator can."""
        world = self.world
        quiet_ns, until_ns = world.now_ns, world.now_ns + REST_NS_MAX
        looks = 0
        while world.now_ns - quiet_ns < QUIET_NS:
            world.run_until(world.now_ns + LOOK_NS)
            reasons = self._unrest()
            if world.now_ns >= until_ns:
                self._hold_at_rest()
                self.broken("comes_to_rest", "; ".join(reasons))
            if reasons:
                quiet_ns = world.now_ns
            looks += 1
            if looks % 2 == 0:
                self._operate()

    def _operate(self) -> None:
        """Release, resume, accept what the weather changed: rules, and pairs that switched themselves off."""
        house = self.house
        if not house.is_running:
            return
        engine = house.engine
        if engine.guard.memory.kill_reason:
            house.command(CommandKind.RELEASE)
        if engine.guard.memory.pause_reason:
            house.command(CommandKind.RESUME)
        house.command(CommandKind.ACCEPT_INSTRUMENTS)
        self._accept(engine.differences() if self.evidence.lost_facts else [f"pair-{name}" for name in engine.pairs.off()])
        self._accept_transfers()

    def _accept_transfers(self) -> None:
        """Own up to money that was moved by hand, if any was: what plans left over is not written off by that."""
        if self.evidence.transfers and self.house.is_running:
            self._accept(self.house.engine.reconciler.differences())

    def _accept(self, names: Sequence[str]) -> None:
        """Say the operator's word that something is as it should be: only then may a difference be booked."""
        self.evidence.is_accepting = True
        for name in names:
            self.house.command(CommandKind.ACCEPT_DIFFERENCES, name)
        self.evidence.is_accepting = False

    def _unrest(self) -> list[str]:
        """Return what is still under way."""
        if not self.house.is_running:
            return ["the process is down"]
        engine = self.house.engine
        orders = [f"{order.client_order_id} is unfinished" for order, _ in engine.desk.unfinished()]
        plans = [f"{plan.plan_id} is open" for plan in engine.desk.open_plans()]
        unseen = [ledger_is_truth(self.case)] if self.evidence.transfers and ledger_is_truth(self.case) else []
        naked = list(engine.dust.naked.values())
        now_ns, untradable = self.house.life.now_ns(), engine.reconciler.untradable().values()
        found = [(symbol, engine.board.doubt(market, now_ns)) for market, (_, symbol) in enumerate(engine.markets)]
        doubts = [f"{symbol} is doubtful: {doubt.value}" for symbol, doubt in found if doubt is not None]
        return [*orders, *plans, *engine.not_armed_because(), *untradable, *naked, *doubts, *unseen]

    # -- the weather --------------------------------------------------------------------------------------------

    def _strike(self, strike: Strike) -> None:
        world, town, house = self.world, self.town, self.house
        if world.is_traced:
            world.tell("weather", str(strike))
        match strike:
            case Offer(coin=coin, ppm=ppm, for_ms=for_ms):
                town.offer(coin, ppm)
                self._later(for_ms, partial(town.offer, coin, 0))
            case VenueFault(fault=fault):
                for site in self.sites.values():
                    site.faults.add(fault)
            case Flip(venue=venue, path=path, count=count):
                self.wires[venue].spoil[path] = count
            case Slow(venue=venue, ms=ms, for_ms=for_ms):
                self.wires[venue].slow_ns = ms * MS_NS
                self._later(for_ms, partial(setattr, self.wires[venue], "slow_ns", 0))
            case Cut(venue=venue, path=path):
                self.wires[venue].cut(path)
            case Thin(venue=venue, part_ppm=part_ppm):
                self._thin[venue] = part_ppm
            case Crash():
                house.die(strike)
            case DatabaseAway(for_ms=for_ms):
                self.disk.is_database_up = False
                self._later(for_ms, self.disk.database_back)
            case DiskFull(for_ms=for_ms, is_reserved=is_reserved):
                self.disk.is_full, self.disk.has_reserve = True, is_reserved
                self._later(for_ms, partial(setattr, self.disk, "is_full", False))
            case Reload():
                self._reload(strike)
            case Kill(for_ms=for_ms):
                house.command(CommandKind.KILL)
                self._later(for_ms, partial(house.command, CommandKind.RELEASE))
            case Pause(for_ms=for_ms):
                house.command(CommandKind.PAUSE)
                self._later(for_ms, partial(house.command, CommandKind.RESUME))
            case Transfer(venue=venue, asset=asset, ppm=ppm, said_ms=said_ms):
                self._transfer(venue, asset, ppm)
                self._later(said_ms, self._accept_transfers)
            case Twin():
                self.broken("restart_changes_nothing", compare_twins(house))

    def _later(self, ms: int, work: Callable[[], None]) -> None:
        self.world.at(self.world.now_ns + ms * MS_NS, work)

    def _transfer(self, venue: str, asset: str, ppm: int) -> None:
        account = next(site.exchange.account for name, site in self.sites.items() if name == venue)
        account.grant(asset, account.free_e8(asset) * ppm // PPM)
        self.evidence.transfers += 1

    def _reload(self, reload: Reload) -> None:
        before = self.house.trading
        risk = msgspec.structs.replace(
            before.risk, notional_per_opportunity_max=str(reload.notional), open_plans_max=reload.open_plans
        )
        execution = msgspec.structs.replace(before.execution, order_validity_ms=reload.validity_ms)
        trading = msgspec.structs.replace(before, risk=risk, execution=execution)
        self.evidence.settings = trading
        self.house.reload(trading)

    # -- what is looked at --------------------------------------------------------------------------------------

    def look(self) -> None:
        """Hold the rules that hold at every event."""
        if self.house.is_running and not self.house.door.is_inside:
            self.broken(gaps_are_doubted.__name__, gaps_are_doubted(self.case))
        if self.is_dirty and not self.house.door.is_inside:
            self.is_dirty = False
            for check in ON_EVENT:
                self.broken(check.__name__, check(self.case))

    def on_facts(self, facts: Sequence[PlanOpened | FillBooked]) -> None:
        """Hold what must hold when a plan opens that is no hedge, and when a fill is booked."""
        for fact in facts:
            if isinstance(fact, FillBooked):
                self.broken(booked_truly.__name__, booked_truly(self.case, fact.fill))
            elif not self.evidence.is_hedge(fact.plan_id):
                for check in ON_PLAN:
                    self.broken(check.__name__, check(self.case, fact))

    def _on_leave(self, venue: str, where: str, payload: bytes) -> None:
        """Look at a request as it leaves the process."""
        world, wire = self.world, self.wires[venue]
        world.note(where.encode() + payload)
        if world.is_traced:
            world.tell("daemon", f"{venue} < {where} {payload.decode(errors='replace')}")
        if wire.asks_while_banned(where):
            self.broken("nothing_asked_while_banned", f"{venue}: {where} leaves during a ban")
        name = self.evidence.placed_id(where, payload)
        if name is None:
            return
        order = self.evidence.intended.get(name)
        if order is None:
            self.broken("written_first", f"{name} was never intended")
            return
        self.evidence.left[name] += 1
        for check in ON_LEAVING:
            self.broken(check.__name__, check(self.case, Leaving(order, venue)))

    def _on_request(self, venue: str, payload: bytes) -> None:
        """Let others be there before an order, where the weather says so."""
        if venue in self._thin and self.evidence.placed_id("POST /v1/orders", payload) is not None:
            self.town.thin(venue, self._thin.pop(venue))

    def _on_update(self, venue: str, update: Update) -> None:
        order = update.order
        if update.happened is Happened.ACCEPTED:
            self.evidence.held.setdefault(ClientOrderId(order.request.client_id), []).append(order)
            self.broken("as_intended", as_intended(self.case, order))
        elif update.happened is Happened.TRADED:
            self.broken("exposure_within_limits", exposure_within_limits(self.case))
        if self.world.is_traced:
            words = f"{update.happened.value} {order.request.client_id} {order.request.side.value} {order.request.symbol}"
            self.world.tell(venue, f"{words} {order.executed_e8 / 1e8:g} of {(order.request.quantity_e8 or 0) / 1e8:g}")

    def _now_ms(self) -> int:
        return (self.world.now_ns - START_NS) // MS_NS


class _Watch:
    """Tells the scene and its evidence what the house does."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def on_start(self, house: House) -> None:
        scene = self._scene
        scene.evidence.settings = house.trading
        if scene.world.is_traced:
            scene.world.tell("daemon", f"start {house.epoch}")
        if house.wall_ns:
            scene.world.at(scene.world.now_ns + CLOCK_SEEN_NS, scene.set_clock_right)

    def on_crash(self) -> None:
        scene = self._scene
        scene.evidence.on_crash()
        if scene.world.is_traced:
            scene.world.tell("daemon", "is dead")

    def on_intended(self, facts: Sequence[Fact], *, is_durable: bool) -> None:
        scene = self._scene
        scene.is_dirty = True
        for fact in facts:
            if isinstance(fact, Funded):
                scene.broken(booked_by_word.__name__, booked_by_word(scene.case, fact))
        fresh = scene.evidence.on_intended(facts, is_durable=is_durable)
        if scene.world.is_traced:
            for fact in facts:
                scene.world.tell("journal", f"{'' if is_durable else 'REFUSED '}{_words(fact)}")
        scene.on_facts(fresh)

    def on_facts(self, facts: Sequence[Fact]) -> None:
        """Hear that facts are durable, which `on_intended` said already."""

    def on_judged(self, judged: Judged) -> None:
        self._scene.evidence.on_judged(judged)

    def on_episode(self, episode: Episode) -> None:
        self._scene.evidence.on_episode(episode)

    def on_report(self, report: Report) -> None:
        scene = self._scene
        scene.evidence.on_report(report)
        if scene.world.is_traced:
            scene.world.tell("report", f"{report.code}: {report.text}")
        for check in ON_REPORT:
            scene.broken(check.__name__, check(scene.case))

    def on_events(self, events: Sequence[Event]) -> None:
        scene = self._scene
        scene.evidence.on_events(events)
        if scene.world.is_traced:
            for event in events:
                if type(event).__name__ not in QUIET_EVENTS:
                    scene.world.tell("event", _words(event))

    def after(self) -> None:
        self._scene.look()


QUIET_EVENTS = frozenset(("BookDiff", "BookFull", "TopOfBook", "TradePrint", "LinkAlive", "InstrumentsRead"))
WORDS_MAX = 400


def _words(value: msgspec.Struct) -> str:
    names = [name for name in value.__struct_fields__ if name not in ("at_ns", "instruments")]
    text = " ".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{type(value).__name__} {text}"[:WORDS_MAX]
