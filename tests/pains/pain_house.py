"""The whole house on one jumping loop: both simulated exchanges on loopback, every real session, engine, door and transport.

Only the databases are left out: facts are in real journal files, bans in theirs. Waiting costs no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
from jumping_loop import now_ns, now_s, run_jumping

from arbitrage.app.answers import Answers
from arbitrage.app.bans import BanFile
from arbitrage.app.connections import Connections
from arbitrage.app.door import Door
from arbitrage.app.modes import RealTiming, account_venues, funding, make_transport, mode_of
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Append, Judged, PlaceOrder, Report, VenueEffect
from arbitrage.model.episodes import Episode
from arbitrage.model.events import StoreReported, Wake
from arbitrage.model.facts import Fact
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import PPM
from arbitrage.model.orders import Order
from arbitrage.model.settings import Settings
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import HeldOrder
from arbitrage.sim.scenarios.catalog import make_scenario
from arbitrage.sim.scenarios.changes import BookChanged, VenueKind
from arbitrage.sim.scenarios.scenario import MarketSpec, Scenario
from arbitrage.sim.scenarios.still import book_of
from arbitrage.sim.server.binance import WS_API_PATH
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.server.upbit import PRIVATE_PATH
from arbitrage.sim.sites import Clocks, make_keys, make_sites
from arbitrage.store.journal import Journal
from arbitrage.venues.trading import Credentials
from arbitrage.venues.wiring import Wiring

BINANCE, UPBIT = Venue("binance"), Venue("upbit")
STILL = "still:BTCUSDT,KRW-BTC,KRW-USDT"
TWO_COINS = "still:BTCUSDT,ETHUSDT,KRW-BTC,KRW-ETH,KRW-USDT"
SEED = 1
WAKE_S, LOOK_S = 0.1, 0.02
S = 1_000_000_000
FEES: dict[str, Any] = {
    "binance": {"maker_ppm": 1_000, "taker_ppm": 1_000, "payment": "received"},
    "upbit": {"maker_ppm": 500, "taker_ppm": 500, "payment": "quote"},
}


async def pass_s(seconds: float) -> None:
    """Let so much of the loop's own time pass."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(seconds, lambda: over.done() or over.set_result(None))
    await over


async def until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> float:
    """Look until something holds; return how long that took. Fails with `what` when it does not in time."""
    began_s = now_s()
    while not holds():
        assert now_s() - began_s < seconds, f"not within {seconds:g} s: {what}"
        await pass_s(LOOK_S)
    return now_s() - began_s


class Town:
    """Both exchanges, on the loop's time. They outlive every daemon."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.specs: dict[tuple[str, str], MarketSpec] = {spec.key: spec for spec in scenario.markets}
        self.keys = make_keys(SEED)
        self.binance, self.upbit, self.sites = make_sites(scenario, self.keys, Clocks(now_ns, now_s), SEED)
        self.ports: dict[str, int] = {}

    def fault(self, kind: Kind, venue: VenueKind, endpoint: str = "*", **fields: Any) -> None:
        assert self.sites[venue].faults.add(Fault(kind, venue=venue, endpoint=endpoint, **fields))

    def set_levels(self, venue: VenueKind, symbol: str, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Let other people's levels take these quantities, by price in 1e-8."""
        server = self.binance if venue == "binance" else self.upbit
        server.apply(BookChanged(0, venue, symbol, tuple(bids.items()), tuple(asks.items())))

    def shift(self, venue: VenueKind, symbol: str, ppm: int, *, before_ppm: int = 0) -> None:
        """Move a whole still book by so much from where it stood at first; it stands `before_ppm` away now."""
        spec = self.specs[(venue, symbol)]
        sides = []
        for side, rounded in zip(book_of(spec), (spec.ticks.floor, spec.ticks.ceil), strict=True):
            gone = {rounded(price_e8 * (PPM + before_ppm) // PPM): 0 for price_e8, _ in side}
            there = {rounded(price_e8 * (PPM + ppm) // PPM): quantity_e8 for price_e8, quantity_e8 in side}
            sides.append(gone | there)
        self.set_levels(venue, symbol, *sides)

    def orders(self, venue: VenueKind) -> list[HeldOrder]:
        return self.sites[venue].exchange.orders()

    def holdings(self) -> dict[Node, int]:
        """What the accounts truly hold."""
        found = {}
        for venue, site in self.sites.items():
            account = site.exchange.account
            account.check()
            for asset in account.assets():
                found[Node(Venue(venue), asset)] = account.free_e8(asset) + account.locked_e8(asset)  # type: ignore[arg-type]  # an asset's name
        return {node: amount_e8 for node, amount_e8 in found.items() if amount_e8}

    @property
    def violations(self) -> Counter[str]:
        return self.binance.violations + self.upbit.violations


class Noting:
    """Notes every effect on its way to the transport, with its time."""

    def __init__(self, house: Daemon, inner: Any) -> None:
        self._house, self._inner = house, inner

    def submit(self, effect: VenueEffect) -> None:
        if isinstance(effect, PlaceOrder):
            self._house.placed.append((now_ns(), effect.order))
        self._house.effects.append((now_ns(), effect))
        self._inner.submit(effect)


class Killed(Exception):
    """The process is gone in the middle of a step."""


class Daemon:
    """Daemons over the same journal, one after the other; `start` is what a start of the process does."""

    def __init__(self, town: Town, folder: Path, mode: str = "live", **changes: Any) -> None:
        self.town, self.folder = town, folder
        self.settings = settings_of(town, mode, changes)
        self.journal: list[Fact] = []
        """Every fact that is in the files."""
        self.appends = 0
        self.killed_at = 0
        """The write of the journal after which the process is killed; 0 is never."""
        self.reports: list[tuple[int, Report]] = []
        self.judgements: list[Judged] = []
        self.placed: list[tuple[int, Order]] = []
        self.effects: list[tuple[int, VenueEffect]] = []
        self.starts = 0
        self._tasks: list[asyncio.Task[Any]] = []

    # -- what the door needs: a journal and a recorder

    def append(self, appends: Sequence[Append]) -> int:
        facts = [each.fact for each in appends]
        last = self._files.append(facts, [each.entries for each in appends])
        self.journal += facts
        self.appends += 1
        if self.appends == self.killed_at:
            self.door.close()
            raise Killed
        return last

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def judged(self, judged: Judged) -> None:
        self.judgements.append(judged)

    def episode(self, episode: Episode) -> None: ...

    def report(self, report: Report) -> None:
        self.reports.append((now_ns(), report))

    # -- its life

    async def start(self) -> None:
        self.starts += 1
        settings, keys = self.settings, self.town.keys
        credentials = {}
        if mode_of(settings).signs:
            for venue, key in (("binance", keys.binance), ("upbit", keys.upbit)):
                credentials[venue] = Credentials(key.access_key, key.secret.encode())
        self.connections = Connections(settings, credentials, now_ns, BanFile(self.folder))
        venues = account_venues(settings)
        self.engine = Engine(settings.trading, settings.market_symbols, id_prefix=f"a_{self.starts}", account_venues=venues)
        self._files = Journal(self.folder / "journal", bytes_max=64_000_000)
        self.journal = [fact for _, fact in self._files.read_from(1)]
        self.engine.restore(None, self.journal)
        timing = RealTiming(now_ns)
        self.door = Door(self.engine, timing, self, self)
        self.door.feed([StoreReported(now_ns(), True, True, 0, False)])
        self.door.feed(funding(settings, self.engine.ledger.nodes(), now_ns()))
        self.transport = make_transport(settings, self.door, timing, self.connections.accounts, lambda: "")
        feeds = self.connections.feeds
        venue_of = [venue for venue, _ in settings.market_symbols]
        self.door.connect(Noting(self, self.transport), lambda market: feeds[venue_of[market]].resync(market))
        answers = Answers(self.door, timing)
        self.connections.attach(self.door.feed, answers.sink, lambda market: self.engine.board.instruments[market])
        begin = asyncio.get_running_loop().create_task
        self._tasks = [begin(feed.run()) for feed in feeds.values()]
        self._tasks += [begin(self.transport.run()), begin(self._wake())]

    async def kill(self) -> None:
        """Lose the process where it stands: nothing is saved, nothing is said; bans were noted when they began."""
        self.connections.note_bans()
        self.door.close()
        self._files.close()  # it writes nothing: what was appended was durable then
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError) and not self.is_dead:
                raise result

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def _wake(self) -> None:
        while True:
            await pass_s(WAKE_S)
            for task in self._tasks:
                if task.done():
                    task.result()
            self.connections.note_holds()
            self.door.feed([Wake(now_ns())])

    @property
    def is_dead(self) -> bool:
        return 0 < self.killed_at <= self.appends

    # -- how it stands

    def is_ready(self) -> bool:
        board, engine = self.engine.board, self.engine
        books = all(board.doubt(market, now_ns()) is None for market in range(len(board.books)))
        return books and not engine.not_armed_because() and not engine.reconciler.untradable()

    async def ready(self, seconds: float = 30.0) -> float:
        return await until(self.is_ready, f"armed, with every book usable: {self.engine.not_armed_because()}", seconds)

    async def enter(self, premium_ppm: int = 10_000) -> list[Order]:
        """Let the coin be dearer at Upbit until orders leave, and calm again; return the orders, by market."""
        count = len(self.placed)
        self.town.shift("upbit", "KRW-BTC", premium_ppm)
        await until(lambda: len(self.placed) > count, "an arbitrage is taken")
        self.town.shift("upbit", "KRW-BTC", 0, before_ppm=premium_ppm)
        return sorted((order for _, order in self.placed[count:]), key=lambda order: order.market)

    def is_quiet(self) -> bool:
        desk = self.engine.desk
        return not desk.open_plans() and not desk.unfinished()

    async def quiet(self, seconds: float = 120.0) -> None:
        await until(self.is_quiet, "nothing is open any more", seconds)

    def of(self, kind: type) -> list[Any]:
        return [fact for fact in self.journal if isinstance(fact, kind)]

    def codes(self) -> list[str]:
        return [report.code for _, report in self.reports]

    def market(self, venue: str, symbol: str) -> int:
        return self.settings.market_symbols.index((venue, symbol))

    def holdings(self) -> dict[Node, int]:
        ledger = self.engine.ledger
        ledger.check()
        return {node: amount_e8 for node in ledger.nodes() if (amount_e8 := ledger.total_e8(node))}

    def check_truth(self, *known: str) -> None:
        """Hold what is believed against what is true: balances to the last unit, one order for each intention.

        Of the venues' rules none was broken, but for those that cannot be `known` before they are met.
        """
        assert self.holdings() == self.town.holdings()
        for venue in ("binance", "upbit"):
            names = [order.request.client_id for order in self.town.orders(venue)]
            assert len(names) == len(set(names)), "one order for each intention"
        assert self.town.violations.keys() <= set(known), self.town.violations


def settings_of(town: Town, mode: str, changes: dict[str, Any]) -> Settings:
    """Return the scenario's configuration at the exchanges' addresses; `changes` are by section and key (by venue and key)."""
    tree: dict[str, Any] = town.scenario.settings() | {"mode": mode}
    for name, section in tree["venues"].items():
        address = f"127.0.0.1:{town.ports[name]}"
        path = "" if name == "binance" else "/websocket/v1"
        account = WS_API_PATH if name == "binance" else PRIVATE_PATH
        section |= {
            "kind": name, "rest_url": f"http://{address}", "stream_url": f"ws://{address}{path}",
            "account_url": f"ws://{address}{account}", "fees": FEES[name],
        }  # fmt: skip
    tree["strategy"] |= {"price_slack_ppm": 100, "resize_interval_ms": 20}
    for name, section in changes.items():
        for key, value in section.items():
            tree.setdefault(name, {})[key] = tree[name][key] | value if name == "venues" else value
    return msgspec.convert(tree, Settings)


def ids_of(settings: Settings, venue: str) -> dict[str, int]:
    """Return one venue's market numbers by symbol."""
    return {symbol: market for market, (name, symbol) in enumerate(settings.market_symbols) if name == venue}


def feeding(hear: Callable[[Any], object]) -> Wiring:
    """Wire a session up so that something hears every event, one by one."""

    def sink(events: Sequence[Any]) -> None:
        for event in events:
            hear(event)

    return Wiring(sink=sink, clock=now_ns, rng=random.Random(7))


@contextlib.asynccontextmanager
async def town_of(scenario: str, seed: int = SEED, *, is_still: bool = False) -> AsyncIterator[Town]:
    """Open both exchanges and play the scenario (or only its beginning) while the block runs."""
    town = Town(make_scenario(scenario, seed))
    timeline = Timeline(town.scenario.changes(), {"binance": town.binance, "upbit": town.upbit})
    timeline.advance(0)
    listeners = {venue: site.listener for venue, site in town.sites.items()}
    for venue, listener in listeners.items():
        town.ports[venue] = await listener.open(0)
    begin = asyncio.get_running_loop().create_task
    tasks = [begin(listener.run()) for listener in listeners.values()]
    tasks += [] if is_still else [begin(timeline.play(now_s, 1.0))]
    try:
        yield town
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        for listener in listeners.values():
            await listener.close()
        await asyncio.gather(*tasks, return_exceptions=True)


Story = Callable[[Daemon], Coroutine[Any, Any, None]]


def live_through(
    story: Story, folder: Path, scenario: str = STILL, arrange: Callable[[Town], None] = lambda town: None, **changes: Any
) -> None:
    """Start both exchanges and a live daemon, wait until it may trade, and live the story."""

    async def scene() -> None:
        async with town_of(scenario) as town:
            arrange(town)
            daemon = Daemon(town, folder, **changes)
            await daemon.start()
            try:
                await daemon.ready()
                await story(daemon)
            finally:
                await daemon.kill()

    run_jumping(scene())
