"""The story that `arbitrage demo --live` tells: real orders complete, then a second leg is refused and recovered. Only watches.

The one thing it does is to arm a fault at the simulated exchanges; what the daemon makes of it is read from the daemon's own
state and from the exchanges' truth.
"""

from __future__ import annotations

import asyncio

import msgspec

from arbitrage.app.child import VenueServers
from arbitrage.app.running import Running
from arbitrage.execution.plans import WorkedPlan
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import Asset, format_e8, parse_e8
from arbitrage.model.orders import OrderState, PlanId

LOOK_S = 0.1
QUIET_LOOKS = 100
"""The books are compared once nothing is under way; so often it is looked for."""
REFUSAL = {
    "kind": "error_before", "venue": "upbit", "endpoint": "POST /v1/orders", "status": 400,
    "body": '{"error":{"name":"insufficient_funds_bid","message":"planted by the demonstration"}}',
}  # fmt: skip
"""The next order at Upbit is refused, while the other leg of its arbitrage fills at Binance."""


class Told(msgspec.Struct):
    """What has happened so far."""

    completed: str = ""
    refused: str = ""
    chosen: str = ""
    recovered: str = ""
    orders: int = 0
    differences: dict[str, str] = {}
    violations: dict[str, dict[str, int]] = {}
    is_balanced: bool = False

    @property
    def is_whole(self) -> bool:
        return not self.missing

    @property
    def missing(self) -> tuple[str, ...]:
        """Name what was not shown."""
        shown = {
            "an arbitrage of real orders that completed": bool(self.completed),
            "a refused second leg that was recovered": bool(self.recovered),
            "balances equal to the exchanges' truth": self.is_balanced,
            "exchanges without a complaint": bool(self.orders) and not any(map(any_count, self.violations.values())),
        }
        return tuple(name for name, is_shown in shown.items() if not is_shown)

    @property
    def verdict(self) -> str:
        """Return the last line."""
        missing = "; ".join(self.missing)
        return f"NOT PROVEN: {missing}" if missing else "PROVEN: real signed orders, completed and recovered"


class LiveStory:
    """One run's story; what it says goes to `shown`, which the screen shows."""

    def __init__(self, servers: VenueServers, shown: list[str]) -> None:
        self._servers = servers
        self.lines: list[str] = []
        """Its own lines, without what the scenario says of itself."""
        self._shown = shown
        self.told = Told()

    async def run(self, running: Running) -> None:
        """Tell it to its end. Raises ServersFailed."""
        self._say("waiting for a real order's arbitrage to complete")
        self.told.completed = await self._await_outcome(running, set(), refused=False)
        self._say(f"1. completed: {self.told.completed}, every order signed and placed at the simulated exchanges")
        before = {line.plan_id for line in running.engine.outcomes}
        before |= {plan.plan_id for plan in running.engine.desk.open_plans()}
        await self._servers.control("POST", "/faults", REFUSAL)
        self._say("2. now Upbit will refuse the next order, while Binance fills the other leg")
        self.told.recovered = await self._await_outcome(running, before, refused=True)
        self._say(f"3. recovered: {self.told.recovered}; the leg governor chose to {self.told.chosen}")
        await self._servers.control("DELETE", "/faults")
        await self._compare(running)
        count = self.told.orders
        self._say(
            f"4. {count} orders at the exchanges, every balance equal to the ledger's to the last unit"
            if self.told.is_balanced
            else f"4. NOT EQUAL: {self.told.differences}"
        )

    async def _await_outcome(self, running: Running, known: set[str], *, refused: bool) -> str:
        """Wait for an arbitrage that ended as wanted; return it in words."""
        engine = running.engine
        while True:
            for line in tuple(engine.outcomes):
                plan = engine.desk.plan(PlanId(line.plan_id))
                if line.plan_id in known or plan is None or has_refusal(plan) != refused:
                    continue
                if not refused and line.state != "completed":
                    continue
                if refused:
                    ids = [worked.order.client_order_id for worked in plan.orders if is_refused(worked.state)]
                    self.told.refused = ", ".join(ids)
                    self.told.chosen = plan.last_choice.value if plan.last_choice is not None else "nothing"
                return f"{line.plan_id} ended {line.state}, realised {format_e8(line.realised_e8)}"
            await asyncio.sleep(LOOK_S)

    async def _compare(self, running: Running) -> None:
        """Hold the ledger against the exchanges' truth, when nothing is under way, until they agree or time is up."""
        for _ in range(QUIET_LOOKS):
            truth = await self._servers.control("GET", "/truth?limit=0")
            if not running.engine.desk.unfinished():
                self.told.differences = differences_of(running, truth)
                self.told.is_balanced = not self.told.differences
                self.told.orders = sum(len(truth[venue]["orders"]) for venue in running.settings.venues)
                self.told.violations = {venue: truth[venue]["violations"] for venue in running.settings.venues}
                if self.told.is_balanced:
                    return
            await asyncio.sleep(LOOK_S)

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self._shown.append(line)


def any_count(violations: dict[str, int]) -> bool:
    """Say whether an exchange counted a client's mistake; on a slow machine what was signed in time may be late."""
    return any(count for name, count in violations.items() if name != "timestamp_late")


def is_refused(state: OrderState) -> bool:
    """Tell whether an order was refused whole."""
    return state is OrderState.REJECTED


def has_refusal(plan: WorkedPlan) -> bool:
    """Tell whether a venue refused one of a plan's orders."""
    return any(is_refused(worked.state) for worked in plan.orders)


def differences_of(running: Running, truth: dict[str, dict[str, dict[str, dict[str, str]]]]) -> dict[str, str]:
    """Return every balance of which the exchanges' truth says something else than the ledger, with both."""
    found = {}
    ledger = running.engine.ledger
    for venue in running.settings.venues:
        for asset, balance in truth[venue]["balances"].items():
            real_e8 = parse_e8(balance["free"]) + parse_e8(balance["locked"])
            ours_e8 = ledger.total_e8(Node(Venue(venue), Asset(asset)))
            if real_e8 != ours_e8:
                found[f"{venue}-{asset}"] = f"ledger {format_e8(ours_e8)}, venue {format_e8(real_e8)}"
    return found
