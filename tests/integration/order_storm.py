"""The daemon's engine, door and live transport over one real account session; seeded faults, crashes, and the truth to check.

The venue in the storm is the simulated one, reached by the session's own sockets and signatures. The arbitrage's other venue
(`ScriptedExchange`, answering at once and in order) is there to have a second leg. Time jumps, so a minute takes little.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

sys.path.append(str(Path(__file__).parents[1] / "engine"))  # the engine's own tests keep their worlds there

from engine_world import BINANCE, MARKETS, UPBIT, World, instrument, settings
from jumping_loop import now_ns
from msgspec.structs import replace
from scripted_exchange import ScriptedExchange

from arbitrage.app.answers import Answers
from arbitrage.app.door import Door
from arbitrage.app.modes import LiveTransport, RealTiming
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Append, Effect, Judged, PlaceOrder, Report, VenueEffect
from arbitrage.model.episodes import Episode
from arbitrage.model.events import AccountLinkUp, ClockMeasured, Event, InstrumentsRead, LinkUp, Wake
from arbitrage.model.facts import Fact, PlanClosed, PlanOpened
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.orders import ClientOrderId, OrderState
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Fault, Faults, Kind

S = 1_000_000_000
WAKE_S, LOOKS_PER_PICTURE = 0.1, 5
PLANS = 2
PATIENCE_S = 20
"""So long an arbitrage is offered."""
QUIET_S = 7
"""Nothing is under way for so long, which is longer than the engine waits before it hedges what is left over."""
REST_S_MAX = 300
REFUSALS_OF_A_BAN_MAX = 10
"""Requests that were on their way when a ban began, and on their way again after a crash that forgot what it was told last."""
NOBODY = Venue("nobody")
NEVER_REPORTED = ("absence_wrong", "absent_after_acknowledgement", "overfilled", "fill_without_order", "fill_unbookable",
                  "fill_too_old", "unknown_order", "difference")  # fmt: skip
"""What would mean that something was believed too early, missed, or done twice."""


STROKES: tuple[dict[str, Any], ...] = (
    {"kind": Kind.LOST}, {"kind": Kind.LATE, "ms": 400}, {"kind": Kind.LATE, "ms": 2_500}, {"kind": Kind.LATE, "ms": 11_000},
    {"kind": Kind.SLOW, "ms": 300}, {"kind": Kind.SLOW, "ms": 2_500}, {"kind": Kind.REPEATED}, {"kind": Kind.HALF_OPEN},
    {"kind": Kind.ERROR_AFTER, "status": 503}, {"kind": Kind.ERROR_AFTER, "status": 502, "body": "<html>"},
    {"kind": Kind.ERROR_BEFORE, "status": 503}, {"kind": Kind.HTML, "status": 403}, {"kind": Kind.CUT},
)  # fmt: skip
"""What may befall a request at any venue."""
MESSAGES = (Kind.LOST, Kind.LOST, Kind.LOST, Kind.LATE, Kind.REPEATED, Kind.REORDERED, Kind.CUT)
PARTS = ("0", "0.004", "0.02", "1", "1")
"""What truly stands at the price that is seen: nothing, some, or enough."""


@dataclasses.dataclass(frozen=True)
class Weather:
    """One venue's faults: what they may strike there, and what only happens there."""

    calls: tuple[str, ...]
    reads: tuple[str, ...]
    news: str
    """The private message about an order."""
    private: str
    """Path of the private stream."""
    strokes: tuple[dict[str, Any], ...]
    lasting: tuple[tuple[float, dict[str, Any]], ...] = ()

    def arm(self, dice: random.Random, faults: Faults, *, is_banned: bool) -> None:
        """Arm faults for one arbitrage. Bans come in runs of their own: what the wire held up would arrive during one."""

        def add(endpoint: str = "*", **fields: Any) -> None:
            assert faults.add(Fault(endpoint=endpoint, **fields))

        if is_banned and dice.random() < 0.7:
            add(kind=Kind.BAN, for_s=dice.choice((2, 6)), at_s=dice.choice((0.0, 0.6, 2.0)))
        strokes = [stroke for stroke in (*STROKES, *self.strokes) if not (is_banned and stroke["kind"] is Kind.SLOW)]
        for _ in range(dice.choice((0, 1, 2, 3, 4))):
            add(dice.choice(self.calls), times=dice.choice((1, 1, 2)), **dice.choice(strokes))
        for endpoint in self.reads:
            if dice.random() < 0.1:
                add(endpoint, **dice.choice(strokes))
        for _ in range(dice.choice((0, 1, 2))):
            late_ms, skip, times = dice.choice((200, 1_500)), dice.choice((0, 0, 1, 2)), dice.choice((1, 4))
            add(self.news, kind=dice.choice(MESSAGES), ms=late_ms, skip=skip, times=times)
        everywhere: tuple[tuple[float, dict[str, Any]], ...] = (
            (0.3, {"kind": Kind.NOT_FOUND, "ms": dice.choice((300, 3_000, 8_000)), "for_s": 30}),
            (0.2, {"kind": Kind.SILENT_PRIVATE, "for_s": dice.choice((2, 8, 20))}),
            (0.1, {"kind": Kind.CUT, "endpoint": f"socket {self.private}"}),
            (0.1, {"kind": Kind.HALF_OPEN, "endpoint": f"socket {self.private}"}),
            (0.1, {"kind": Kind.HTML, "endpoint": f"connect {self.private}", "times": 3}),
        )
        for chance, fault in (*everywhere, *self.lasting):
            if dice.random() < chance:
                add(**fault, at_s=dice.choice((0.0, 0.6, 2.0)))


class Port(Protocol):
    """The venue in the storm: its truth, and the session that reaches it."""

    rules: Instrument
    """Of the one market that is traded there."""
    exchange: Exchange
    faults: Faults
    violations: Counter[str]

    async def make(self, sink: Callable[[Sequence[Any]], None], held_until_ns: int) -> Any:
        """Return a new session, as a start of the daemon makes it."""

    def show(self, dice: random.Random, premium: float) -> None:
        """Set the true book, which holds less than is seen, or the same. `premium`: how much dearer the coin is at Upbit."""

    def arm(self, dice: random.Random) -> None:
        """Arm faults for one arbitrage."""


class Journal:
    """Keeps facts as the daemon's journal does, through crashes."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def append(self, appends: Sequence[Append]) -> int:
        self.facts += [each.fact for each in appends]
        return len(self.facts)


class Recorder:
    """Counts what was reported."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def judged(self, judged: Judged) -> None: ...

    def episode(self, episode: Episode) -> None: ...

    def report(self, report: Report) -> None:
        self.codes[report.code] += 1


class Partner:
    """The other venue, which never fails."""

    def __init__(self, dice: random.Random) -> None:
        self.exchange = ScriptedExchange(dice, NOBODY)
        self.sink: Callable[[Sequence[Event]], None] = lambda events: None

    def submit(self, effect: VenueEffect) -> None:
        self.exchange.carry_out([effect], now_ns())
        self._arrange()

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def lose(self) -> None:
        """Lose what is on its way to us."""
        self.exchange.due(now_ns())
        self.exchange.waiting.clear()

    def _arrange(self) -> None:
        due_ns = self.exchange.next_ns
        if due_ns is not None:
            asyncio.get_running_loop().call_later(max(0, due_ns - now_ns()) / S, self._due)

    def _due(self) -> None:
        events = self.exchange.due(now_ns())
        if events:
            self.sink(events)
            self._arrange()


class House(World):
    """One daemon without its files: what is placed, told, crashed and restored here is what the daemon would do."""

    def __init__(self, port: Port, dice: random.Random) -> None:
        super().__init__(settings(), is_store_reported=False, accounts=(BINANCE, UPBIT))
        self.port, self.dice = port, dice
        self.partner = Partner(dice)
        self.journal, self.recorder = Journal(), Recorder()
        self.placed_ids: list[ClientOrderId] = []
        self.counters: Counter[str] = Counter()
        self.premium = 0.0
        """How much dearer the coin is shown at Upbit."""
        self.crash_ns = 0
        self._asked_while_held = -1
        """How often the venue was asked in spite of a ban, as of when we last were held back; -1 while we were not."""
        self._starts = 0
        self._session: Any = None
        self._running: asyncio.Task[None] | None = None

    def feed(self, *events: Event) -> list[Effect]:
        self.door.feed(events)
        return []

    def connect(self, *, is_funded: bool = True) -> None:
        """Bring both venues' market data up, with the true rules of the venue in the storm."""
        true = self.port.rules
        rules = [true if market == true.id else instrument(market) for market in range(len(MARKETS))]
        rules = [replace(each, notional_e8_min=true.notional_e8_min) if each.venue == true.venue else each for each in rules]
        for venue in (BINANCE, UPBIT):
            own = tuple(each for each in rules if each.venue == venue)
            markets = tuple(each.id for each in own)
            self.feed(InstrumentsRead(self.now_ns, venue, own), LinkUp(self.now_ns, venue, venue, markets))
            self.feed(ClockMeasured(self.now_ns, venue, 0, 1))
        assert not is_funded, "accounts say what they hold"

    # -- its life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Do what a start of the daemon does: restore, connect, compare."""
        self._starts += 1
        self.now_ns = now_ns()
        self.engine = Engine(self.engine.settings, MARKETS, id_prefix=f"t_{self._starts}", account_venues=(BINANCE, UPBIT))
        self.engine.restore(None, self.journal.facts)
        timing = RealTiming(now_ns)
        self.door = Door(self.engine, timing, self.journal, self.recorder)
        answers = Answers(self.door, timing)
        held_until_ns = self._session.requests_held_until_ns if self._session is not None else 0
        session = self._session = await self.port.make(answers.sink, held_until_ns)
        self.partner.sink = answers.sink
        (other,) = {BINANCE, UPBIT} - {self.port.rules.venue}
        transport = LiveTransport({self.port.rules.venue: session, other: self.partner}, self.door, timing, lambda: "")  # type: ignore[dict-item]  # the partner does what is asked of it here
        self.door.connect(_Noting(transport, self.placed_ids), lambda market: None)
        self.last_id += 1_000
        self.report_store()
        self.connect(is_funded=False)
        self.quiet_books()
        self._running = asyncio.get_running_loop().create_task(transport.run())
        self.feed(AccountLinkUp(now_ns(), other))

    async def crash(self) -> None:
        """Lose the process: what was on the wire to us is gone, journal and bans are not."""
        self.crash_ns = 0
        self.counters["crashes"] += 1
        await self.stop()
        self.partner.lose()
        await self.start()

    async def stop(self) -> None:
        assert self._running is not None, "what stops was started"
        self.door.close()
        self.counters.update(self._session.counters)
        self._running.cancel()
        results = await asyncio.gather(self._running, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results

    async def live(self) -> None:
        """Wake as the daemon does, and show the markets, for ever."""
        for look in range(10**9):
            await asyncio.sleep(WAKE_S)
            self.now_ns = now_ns()
            self._look_at_holds()
            if self.crash_ns and self.now_ns >= self.crash_ns:
                await self.crash()
            assert self._running is not None
            if self._running.done():
                self._running.result()
            if look % LOOKS_PER_PICTURE == 0:
                self.port.show(self.dice, self.premium)
                self.quiet_books()
                if self.premium:
                    price = 140_000_000.0 * (1.0 + self.premium)
                    self.picture(1, price - 50_000.0, price + 50_000.0, 0.5)
            self.feed(Wake(self.now_ns))

    def _look_at_holds(self) -> None:
        """Who knows of a ban asks nothing until its end, a restart in between or not."""
        asked = self.port.violations["requests_while_banned"]
        assert self._asked_while_held in (-1, asked), "nothing is asked during a ban"
        is_held = self._session.requests_held_until_ns > self.now_ns + int(WAKE_S * S)
        self._asked_while_held = asked if is_held else -1
        self.counters["looks while held"] += is_held

    # -- one arbitrage ------------------------------------------------------------------------------------------

    async def trade(self) -> None:
        """Offer an arbitrage until it is taken, then let everything come to rest."""
        before = len(self.placed_ids)
        self.premium = self.dice.choice((0.02, -0.02))
        for _ in range(PATIENCE_S * 10):
            if len(self.placed_ids) > before:
                break
            await asyncio.sleep(WAKE_S)
        else:
            self.counters["offers_not_taken"] += 1
        self.premium = 0.0

    async def rest(self) -> None:
        """Wait until nothing has been under way for a while."""
        quiet_ns = now_ns()
        until_ns = quiet_ns + REST_S_MAX * S
        while now_ns() - quiet_ns < QUIET_S * S:
            assert now_ns() < until_ns, f"no rest: {self.unrest()}"
            await asyncio.sleep(WAKE_S)
            if self.unrest():
                quiet_ns = now_ns()

    def unrest(self) -> list[str]:
        """Return what is still under way."""
        desk = self.engine.desk
        orders = [f"{order.client_order_id} is unfinished" for order, _ in desk.unfinished()]
        plans = [f"{plan.plan_id} is open" for plan in desk.open_plans()]
        crash = ["a crash is to come"] if self.crash_ns else []
        return [*orders, *plans, *self.engine.not_armed_because(), *self.engine.reconciler.untradable().values(), *crash]

    # -- the truth ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Hold what is believed against what is true, to the last unit."""
        engine, exchange, venue = self.engine, self.port.exchange, self.port.rules.venue
        has_skew = "skew" in self.port.faults.counts
        assert self.placed_ids, "there was something to take"
        assert len(set(self.placed_ids)) == len(self.placed_ids), "nothing is placed twice"
        held = Counter(order.request.client_id for order in exchange.orders())
        assert not [name for name, count in held.items() if count > 1], "one order for each intention"
        assert held.keys() <= set(self.placed_ids), "nothing that nobody intended"
        for order in exchange.orders():
            worked = engine.desk.worked(ClientOrderId(order.request.client_id))
            assert worked is not None and worked.is_settled and not order.is_open
            assert not worked.is_absent, "what exists is not believed absent"
            assert worked.filled_quantity_e8 == order.executed_e8, "the right fill"
            is_dated = venue == BINANCE and not has_skew  # Upbit takes what the wire held up, however old it is
            assert not is_dated or order.created_ns <= worked.order.valid_until_ns, "taken within its validity"
        for name in set(self.placed_ids) - held.keys():
            worked = engine.desk.worked(name)
            assert worked is not None and worked.is_settled
            is_here = worked.order.venue == venue
            assert not is_here or (worked.state is OrderState.REJECTED and worked.filled_quantity_e8 == 0), "what never was"
        ours = {str(node.asset): engine.ledger.total_e8(node) for node in engine.ledger.nodes() if node.venue == venue}
        account = exchange.account
        truth = {asset: account.free_e8(asset) + account.locked_e8(asset) for asset in account.assets()}
        assert {asset: e8 for asset, e8 in ours.items() if e8} == {asset: e8 for asset, e8 in truth.items() if e8}, "balances"
        partner = {node: e8 for node, e8 in self.partner.exchange.balances.items() if node.venue not in (venue, NOBODY)}
        assert partner == {node: engine.ledger.total_e8(node) for node in partner}, "the partner's balances"
        assert all(engine.ledger.reserved_e8(node) == 0 for node in engine.ledger.nodes())
        assert all(name.startswith("residue-") for name in engine.differences()), "nothing unexplained"
        closed = [fact.outcome for fact in self.journal.facts if isinstance(fact, PlanClosed)]
        assert closed and all(outcome.state.is_terminal for outcome in closed)
        self._check_legs()
        assert not [code for code in NEVER_REPORTED if self.recorder.codes[code]], self.recorder.codes
        assert not forbidden(self.port), f"the venue's rules: {self.port.violations}"
        engine.ledger.check()

    def _check_legs(self) -> None:
        """No leg is done twice: what plans did, less what they reversed, is at most a tenth over it, for worse prices."""
        for fact in self.journal.facts:
            if not isinstance(fact, PlanOpened):
                continue
            plan = self.engine.desk.plan(fact.plan_id)
            assert plan is not None
            for leg in fact.orders:
                there = [worked for worked in plan.orders if worked.order.market == leg.market]
                done_e8 = sum(each.filled_quantity_e8 * (1 if each.order.side is leg.side else -1) for each in there)
                assert done_e8 <= leg.quantity_e8 * 110 // 100 + self.port.rules.lot_e8, f"{fact.plan_id} did a leg twice"

    def story(self) -> Counter[str]:
        """Return what happened, for whoever asks whether the storm was one."""
        told: Counter[str] = Counter({f"session {name}": count for name, count in self.counters.items()})
        told.update({f"fault {name}": count for name, count in self.port.faults.counts.items()})
        told.update({f"report {name}": count for name, count in self.recorder.codes.items()})
        told.update(f"plan {fact.outcome.state.value}" for fact in self.journal.facts if isinstance(fact, PlanClosed))
        told["orders intended"] = len(self.placed_ids)
        told["orders at the venue"] = sum(1 for _ in self.port.exchange.orders())
        return told


class _Noting:
    """Notes every order that is handed to a transport."""

    def __init__(self, transport: LiveTransport, placed: list[ClientOrderId]) -> None:
        self._transport = transport
        self._placed = placed

    def submit(self, effect: VenueEffect) -> None:
        if isinstance(effect, PlaceOrder):
            self._placed.append(effect.order.client_order_id)
        self._transport.submit(effect)


def forbidden(port: Port) -> list[str]:
    """Return what a client must never do. That a clock was set, or a ban begun, it learns by being refused a few times."""
    most = REFUSALS_OF_A_BAN_MAX * port.faults.counts["ban"]
    count = port.violations["requests_while_banned"]
    others = [name for name in port.violations if not name.startswith("timestamp_") and name != "requests_while_banned"]
    return others + [f"{count} requests while banned"] * (count > most)


async def storm(port: Port, seed: int) -> Counter[str]:
    """Live through one seed and check it."""
    dice = random.Random(seed)
    house = House(port, dice)
    await house.start()
    await _weather(house)
    house.check()
    return house.story()


async def _weather(house: House) -> None:
    """A few arbitrages, each in its own weather; then calm, rest and the end."""
    dice, port = house.dice, house.port
    life = asyncio.get_running_loop().create_task(house.live())

    async def course() -> None:
        await house.rest()
        for _ in range(PLANS):
            if dice.random() < 0.2:
                house.crash_ns = now_ns() + int(dice.uniform(0.1, 6.0) * S)
            port.arm(dice)
            await house.trade()
            await asyncio.sleep(dice.uniform(1.0, 20.0))
        port.faults.clear()
        await house.rest()

    acting = asyncio.get_running_loop().create_task(course())
    done, _ = await asyncio.wait((life, acting), return_when=asyncio.FIRST_COMPLETED)
    for task in (life, acting):
        task.cancel()
    await asyncio.gather(life, acting, return_exceptions=True)
    for task in done:
        task.result()
    await house.stop()
