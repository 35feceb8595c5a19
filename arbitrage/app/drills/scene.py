"""What a drill works with: a daemon, the exchanges' faults and truth, waiting, and demanding. Knows no single drill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from arbitrage.app.child import VenueServers
from arbitrage.app.drills.books import VENUES, Books
from arbitrage.app.drills.exposure import Exposure
from arbitrage.app.drills.house import House, described
from arbitrage.app.drills.words import Failed, Line, fact_text
from arbitrage.app.live_story import differences_of
from arbitrage.app.running import Running
from arbitrage.engine.engine import Engine
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.execution.plans import WorkedPlan
from arbitrage.model.money import format_e8, parse_e8
from arbitrage.model.orders import ClientOrderId, PlanId
from arbitrage.model.settings import Settings
from arbitrage.ops.log_lines import LogLine

LOOK_S, EVEN_LOOK_S, EVEN_LOOKS_MAX = 0.02, 0.2, 100
TEMPTED_S = 1.0
READY_SECONDS_MAX = 20.0
ENTRY_SECONDS_MAX = 10.0
SETTLE_SECONDS_MAX = 25.0
NS_PER_S = 1_000_000_000
Truth = Mapping[str, Any]


class Scene:
    """One drill under way."""

    def __init__(self, house: House, servers: VenueServers, books: Books, exposure: Exposure, clock: Callable[[], int]) -> None:
        self.house = house
        self.servers = servers
        self.books = books
        self.exposure = exposure
        self.patience = 1.0
        """By how much every wait's limit is longer."""
        self.held: list[str] = []
        """What was demanded and holds."""
        self.clock = clock
        self.began_ns = clock()
        self._said: list[tuple[int, str, str]] = []
        self._facts_seen = 0
        self._violations: dict[str, dict[str, int]] = {}
        self._excused: set[str] = set()
        house.on_start = self._listen

    # -- what is at hand ----------------------------------------------------------------------------------------

    @property
    def running(self) -> Running:
        return self.house.running

    @property
    def engine(self) -> Engine:
        return self.house.running.engine

    @property
    def settings(self) -> Settings:
        return self.house.loaded.settings

    def market(self, venue: str, symbol: str) -> int:
        """Return a market's dense id."""
        return self.settings.market_symbols.index((venue, symbol))

    def doubt(self, venue: str, symbol: str) -> str:
        """Return why a market is doubted now; nothing when it is not."""
        doubt = self.engine.board.doubt(self.market(venue, symbol), self.clock())
        return "" if doubt is None else doubt.value

    async def truth(self) -> dict[str, Any]:
        """Return what really happened at the exchanges."""
        found: dict[str, Any] = await self.servers.control("GET", "/truth")
        return found

    async def own_orders(self, venue: str = "") -> list[dict[str, Any]]:
        """Return our orders at the exchanges, by their own truth."""
        truth, made = await self.truth(), self.engine.desk.made
        venues = (venue,) if venue else VENUES
        return [order for name in venues for order in truth[name]["orders"] if made(ClientOrderId(order["client_id"]))]

    async def executed_e8(self, venue: str, client_order_id: str) -> int:
        """Return what is filled of an order, by the exchange's own truth; 0 when it does not know it."""
        orders = (await self.truth())[venue]["orders"]
        return sum(parse_e8(order["executed"]) for order in orders if order["client_id"] == client_order_id)

    async def requests(self, venue: str) -> list[dict[str, Any]]:
        """Return the newest REST requests that a venue received, oldest first."""
        found: list[dict[str, Any]] = (await self.servers.control("GET", f"/requests?venue={venue}"))[venue]
        return found

    # -- doing --------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Write down what is done to the daemon."""
        self._said.append((self.clock(), "drill", text))

    async def fault(self, text: str, **fault: object) -> None:
        """Arm a fault at the exchanges."""
        self.say(text)
        await self.servers.control("POST", "/faults", fault)

    async def mend(self, text: str) -> None:
        """End every fault."""
        self.say(text)
        await self.servers.control("DELETE", "/faults")

    async def enter(self, text: str = "a bid at Upbit pays more than everything costs") -> WorkedPlan:
        """Offer an arbitrage and wait until the daemon takes it; return its plan. Raises Failed."""
        since_ns, desk = self.clock(), self.engine.desk
        self.say(text)
        await self.books.offer()

        def taken() -> list[WorkedPlan]:
            closed = [desk.plan(PlanId(line.plan_id)) for line in self.engine.outcomes if line.at_ns >= since_ns]
            plans = [*desk.open_plans(), *(plan for plan in closed if plan is not None)]
            return [plan for plan in plans if plan.opened_at_ns >= since_ns and plan.opportunity.cycle != HEDGE_CYCLE]

        try:
            await self.until("the daemon takes the arbitrage", lambda: bool(taken()), ENTRY_SECONDS_MAX)
        except Failed as failure:
            raise Failed(f"{failure}: this configuration takes no arbitrage here; {described(self.running)}") from None
        return taken()[0]

    async def struck(self, kind: str) -> None:
        """Wait until a fault of this kind has struck in this drill. Raises Failed."""
        end_ns = self.clock() + int(ENTRY_SECONDS_MAX * NS_PER_S)
        while self.clock() < end_ns:
            fired = (await self.servers.control("GET", "/faults"))["fired"]
            if any(one["kind"] == kind and one["at_ns"] >= self.began_ns for one in fired):
                return
            await asyncio.sleep(LOOK_S)
        raise Failed(f"not within {ENTRY_SECONDS_MAX:g} s: the fault {kind} strikes")

    async def pause(self) -> None:
        """Let the daemon look at what is offered, and a plan's rest pass."""
        await asyncio.sleep(TEMPTED_S + self.settings.execution.cooldown_ms / 1000)

    async def stays_out(self, what: str, text: str, tempt: Callable[[], Awaitable[None]]) -> None:
        """Tempt the daemon, and demand that it enters nothing for a while. Raises Failed."""
        before = self.engine.tally.taken
        self.say(text)
        await tempt()
        await asyncio.sleep(TEMPTED_S)
        opened = self.engine.tally.taken - before
        self.demand(not opened, what, f"{opened} arbitrages were entered")

    async def goes_on(self) -> None:
        """Mend, calm the books, and demand that the daemon trades again. Raises Failed."""
        await self.mend("the fault ends, the books are calm")
        await self.books.calm()
        await self.ready()
        plan = await self.enter()
        await self.soon("trading goes on afterwards", lambda: plan.outcome is not None, SETTLE_SECONDS_MAX)

    # -- demanding ----------------------------------------------------------------------------------------------

    def demand(self, holds: bool, what: str, otherwise: str = "") -> None:
        """Go on only if this holds; it is one of the drill's checks. Raises Failed."""
        if not holds:
            raise Failed(f"not so: {what}{f' ({otherwise})' if otherwise else ''}")
        if what not in self.held:
            self.held.append(what)

    async def soon(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        """Demand that something comes to hold in time; it is one of the drill's checks. Raises Failed."""
        await self.until(what, holds, seconds)
        self.demand(True, what)

    def excuse(self, violation: str) -> None:
        """Do not count this violation: the drill itself looks at each of them."""
        self._excused.add(violation)

    def heard(self, words: str) -> bool:
        """Tell whether the daemon logged these words, as a warning or worse, since its start."""
        return any(who == "daemon" and words in text for _, who, text in self._said)

    async def until(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until something holds. Raises Failed when it does not in time, or the daemon ended."""
        end_ns = self.clock() + int(seconds * self.patience * NS_PER_S)
        while not holds():
            if self.clock() > end_ns:
                raise Failed(f"not within {seconds * self.patience:g} s: {what}")
            await asyncio.sleep(LOOK_S)

    async def ready(self) -> None:
        """Wait until the daemon is armed and trusts every book. Raises Failed."""

        def is_ready() -> bool:
            view = self.running.view()
            return view.is_armed and all(market.doubt is None for market in view.markets)

        try:
            await self.until("armed, with every book usable", is_ready, READY_SECONDS_MAX)
        except Failed as failure:
            raise Failed(f"{failure}; {described(self.running)}") from None

    async def begin(self) -> None:
        """Take everything as it is now for the start."""
        truth = await self.truth()
        self._violations = {name: dict(truth[name]["violations"]) for name in VENUES}
        self.began_ns = self.clock()
        await self.exposure.begin()

    async def settle(self) -> None:
        """Calm the books, end the faults, and demand what must hold after every drill. Raises Failed."""
        await self.mend("every fault ends, the books are calm")
        await self.books.calm()
        desk = self.engine.desk
        quiet = "nothing is open any more"
        try:
            await self.until(quiet, lambda: not desk.open_plans() and not desk.unfinished(), SETTLE_SECONDS_MAX)
            await self.until("armed again", lambda: self.running.view().is_armed, SETTLE_SECONDS_MAX)
            await self._demand_even()
            await self.until(quiet, lambda: not desk.open_plans() and not desk.unfinished(), SETTLE_SECONDS_MAX)
        except Failed as failure:
            raise Failed(f"{failure}; {described(self.running)}") from None
        await self._demand_balances()
        await self._demand_orders()

    async def _demand_even(self) -> None:
        """Give the hedging of leftovers its time. Less than a venue takes cannot be hedged."""
        dust_e8 = max(parse_e8(self.settings.execution.dust_value_max), *self.books.minimums_e8)
        left = f"less than {format_e8(dust_e8)} {self.settings.strategy.reporting_asset} is left unhedged"
        for _ in range(int(EVEN_LOOKS_MAX * self.patience)):
            if (worth_e8 := await self.exposure.now_e8()) <= dust_e8:
                break
            await asyncio.sleep(EVEN_LOOK_S)
        self.demand(worth_e8 <= dust_e8, left, f"{format_e8(worth_e8)} is")

    async def _demand_balances(self) -> None:
        truth = await self.truth()
        differing = differences_of(self.running, truth)
        self.demand(not differing, "every balance is the ledger's, to the last unit", str(differing))
        new = {name: _more(truth[name]["violations"], self._violations[name], self._excused) for name in VENUES}
        self.demand(not any(new.values()), "no rule of a venue was broken", str(new))

    async def _demand_orders(self) -> None:
        ids = [order["client_id"] for order in await self.own_orders()]
        known = [order for order in ids if self.engine.desk.worked(ClientOrderId(order)) is not None]
        self.demand(len(set(ids)) == len(ids), "no order was placed twice", f"{len(ids) - len(set(ids))} more")
        self.demand(len(known) == len(ids), "every order at the exchanges is one of the journal's", str(set(ids) - set(known)))

    # -- telling ------------------------------------------------------------------------------------------------

    async def timeline(self) -> tuple[Line, ...]:
        """Return everything that was done and what the daemon did, in order."""
        told = list(self._said)
        if self.house.status is None:
            for _, fact in await self.running.stores.facts_after(0):
                text = fact_text(fact, self.settings.market_symbols)
                if text:
                    told.append((fact.at_ns, "daemon", text))
        since_ns = self.began_ns
        kept = sorted((entry for entry in told if entry[0] >= since_ns), key=lambda entry: entry[0])
        new = [each for before, each in zip([None, *kept], kept, strict=False) if before is None or before[1:] != each[1:]]
        return tuple(Line(round((at_ns - since_ns) / NS_PER_S, 3), who, text) for at_ns, who, text in new)

    def _listen(self, running: Running) -> None:
        running.logs.add_sink(self._hear)

    def _hear(self, lines: Sequence[LogLine]) -> None:
        """Keep what the daemon logs as worth a warning, and how it stands. Called by the log thread."""
        for line in lines:
            is_standing = line.text.startswith(("armed", "not armed")) and line.logger.endswith("daemon")
            if is_standing or line.level in ("WARNING", "ERROR"):
                self._said.append((line.at_ns, "daemon", line.text))


def _more(after: Mapping[str, int], before: Mapping[str, int], excused: set[str]) -> dict[str, int]:
    more = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in more.items() if count > 0 and name not in excused}
