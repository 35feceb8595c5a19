"""10,000 opportunities a second into a real PostgreSQL: the loop goes on, no taken one is lost, each dropped one is counted.

    python scripts/reliability/ledger_load.py --seconds 60

Harder than a daemon has it: nothing is sampled, each opportunity is offered to the writer, a tenth as many openings beside;
plans open and close through the journal as they do when something is taken. First the same without opportunities, for
comparison. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from arbitrage.model.effects import Append, Judged
from arbitrage.model.episodes import Episode, EpisodeState
from arbitrage.model.facts import PlanClosed, PlanOpened
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import (
    Approved,
    EdgeBreakdown,
    Leg,
    Opportunity,
    Outcome,
    PlanState,
    Refusal,
    Refused,
    Waterfall,
)
from arbitrage.model.orders import PlanId
from arbitrage.model.settings import StoreSettings
from arbitrage.store.endpoints import connect_postgres
from arbitrage.store.stores import Extras, Stores

TICK_S = 0.005
LOOK_S = 0.002
TAKEN_PER_S = 5
EPISODES_SHARE = 10
DRAIN_S = 120.0
LATE_MS_MAX = 100.0
"""What the health check calls unhealthy (`health.loop_latency_ms_max`); held by the 99th percentile."""
MARKETS = (("v", "BTCUSDT"), ("v", "ETHBTC"), ("v", "ETHUSDT"))
BTC, ETH, USDT = Asset("BTC"), Asset("ETH"), Asset("USDT")


class Kept(msgspec.Struct):
    """What was offered, how late the loop was, and how long each suspect held it: the journal, this harness, the collector."""

    offered: int = 0
    taken: int = 0
    episodes: int = 0
    late_ms: list[float] = []
    appending_ms_worst: float = 0.0
    """A fact is durable before anything acts on it: the loop waits for the disk."""
    offering_ms_worst: float = 0.0
    collecting_ms_worst: float = 0.0
    collecting_since_s: float = 0.0

    def collects(self, phase: str, _told: dict[str, int]) -> None:
        """Hear of the garbage collector (a callback of `gc`)."""
        if phase == "start":
            self.collecting_since_s = time.monotonic()
        else:
            self.collecting_ms_worst = max(self.collecting_ms_worst, (time.monotonic() - self.collecting_since_s) * 1_000)

    def lateness(self) -> dict[str, float]:
        """Return p50, p99 and worst of the lateness (ms)."""
        ordered = sorted(self.late_ms) or [0.0]
        shares = {"p50": 0.5, "p99": 0.99, "worst": 1.0}
        return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2) for name, share in shares.items()}


def opportunity(number: int, at_ns: int) -> Opportunity:
    """Return a cycle of three markets at one venue."""

    def leg(market: int, side: Side, spent: Asset, received: Asset) -> Leg:
        nodes = (Node(Venue("v"), spent), Node(Venue("v"), received))
        return Leg(market, side, *nodes, E8, 100 * E8, 100 * E8, E8, E8 // 1000, received, 99 * E8, 12)

    legs = (leg(0, Side.BUY, USDT, BTC), leg(1, Side.BUY, BTC, ETH), leg(2, Side.SELL, ETH, USDT))
    edge = EdgeBreakdown(5 * E8, E8, 2 * E8, 0, 2 * E8)
    name, start = "USDT@v > BTC > ETH > USDT", Node(Venue("v"), USDT)
    return Opportunity(f"{at_ns:x}-{number:x}", at_ns, number % 50, name, legs, (), start, E8, 2 * E8, USDT, E8, 900, edge)


def take(stores: Stores, number: int, at_ns: int) -> None:
    """Take one: its plan opens and closes in the journal, and its verdict is offered."""
    found, plan = opportunity(number, at_ns), PlanId(f"p{number}")
    end = Outcome(
        plan, found.id, PlanState.COMPLETED, USDT, 2 * E8, E8, (), at_ns, at_ns + 1, Waterfall(2 * E8, 0, -E8, 0, 0, E8)
    )
    stores.append([Append(PlanOpened(at_ns, plan, found, (), at_ns + 1))])
    stores.offer_judged(Judged(found, Approved(found)))
    stores.append([Append(PlanClosed(at_ns + 1, end))])


def open_episode(number: int, found: Opportunity) -> Episode:
    """Return an opening that was looked at ten times and refused."""
    times = (found.at_ns - 9, found.at_ns, found.at_ns)
    words = (found.name, "BTC+ETH", USDT, EpisodeState.GONE)
    return Episode(f"e{number:x}-1", found.cycle, *words, *times, 10, 950, found, found, (), 0, {"paused": 10}, ())


async def offer(stores: Stores, kept: Kept, rate: int, seconds: float) -> None:
    """Offer so many a second, in ticks; what a late tick missed is offered with the next."""
    refused = Refused(Refusal.BELOW_THRESHOLD, "edge 90 ppm under 100")
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        at_ns, tick_at = time.time_ns(), time.monotonic()
        while kept.offered < int(passed * rate):
            kept.offered += 1
            found = opportunity(kept.offered, at_ns)
            stores.offer_judged(Judged(found, refused))
            if kept.offered % EPISODES_SHARE == 0:
                stores.offer_episode(open_episode(kept.offered, found))
                kept.episodes += 1
        while kept.taken < int(passed * TAKEN_PER_S):
            kept.taken += 1
            take_at = time.monotonic()
            take(stores, 10**9 + kept.taken + (10**6 if rate else 0), at_ns)
            kept.appending_ms_worst = max(kept.appending_ms_worst, (time.monotonic() - take_at) * 1_000)
        kept.offering_ms_worst = max(kept.offering_ms_worst, (time.monotonic() - tick_at) * 1_000)
        await asyncio.sleep(TICK_S)


async def watch(kept: Kept) -> None:
    """Note how late the loop comes back from a short sleep."""
    while True:
        due = time.monotonic() + LOOK_S
        await asyncio.sleep(LOOK_S)
        kept.late_ms.append((time.monotonic() - due) * 1_000)


async def stage(stores: Stores, rate: int, seconds: float) -> Kept:
    """Offer for so long, with somebody watching."""
    kept = Kept()
    watching = asyncio.create_task(watch(kept))
    gc.callbacks.append(kept.collects)
    await offer(stores, kept, rate, seconds)
    gc.callbacks.remove(kept.collects)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return kept


async def run(settings: StoreSettings, rate: int, seconds: float) -> dict[str, object]:
    """Run both stages and count what the database holds; the faults are named under `faults`."""
    stores = await Stores.open(settings, "load", "load", time.time_ns, extras=Extras(MARKETS, wants_redis=False))
    task = asyncio.create_task(stores.run())
    try:
        quiet = await stage(stores, 0, max(1.0, seconds / 4))
        busy = await stage(stores, rate, seconds)
        is_drained = await stores.writer.drain(DRAIN_S)
        connection = await connect_postgres(stores.postgres_endpoint())
        taken = await connection.fetchval("SELECT count(*) FROM opportunities WHERE plan_id IS NOT NULL")
        untaken = await connection.fetchval("SELECT count(*) FROM opportunities WHERE plan_id IS NULL")
        summing = await connection.fetchval("SELECT count(*) FROM plan_waterfalls")
        episodes = await connection.fetchval("SELECT count(*) FROM episodes")
        await connection.close()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stores.close()
    counters = stores.writer.counters
    late, wanted = busy.lateness(), quiet.taken + busy.taken
    faults = {
        "everything that waited was written": is_drained,
        f"{rate} a second were offered": busy.offered >= int(rate * seconds * 0.99),
        "no taken one is lost": taken == summing == wanted,
        "every dropped one is counted": untaken + counters.opportunities_dropped == busy.offered,
        "every dropped opening is counted": episodes + counters.episodes_dropped == busy.episodes,
        f"the loop's lateness is under {LATE_MS_MAX:.0f} ms at p99": late["p99"] <= LATE_MS_MAX,
        f"the garbage collector holds the loop under {LATE_MS_MAX:.0f} ms": busy.collecting_ms_worst <= LATE_MS_MAX,
    }
    return {
        "offered": busy.offered, "seconds": seconds, "kept": untaken, "dropped": counters.opportunities_dropped,
        "taken": wanted, "taken_kept": taken, "episodes": episodes, "episodes_dropped": counters.episodes_dropped,
        "late_ms": late, "late_ms_without": quiet.lateness(),
        "appending_ms_worst": round(busy.appending_ms_worst, 2), "offering_ms_worst": round(busy.offering_ms_worst, 2),
        "collecting_ms_worst": round(busy.collecting_ms_worst, 2),
        "faults": [name for name, holds in faults.items() if not holds],
    }  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run it in a folder of its own, with an embedded PostgreSQL. Exit status 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rate", type=int, default=10_000, help="opportunities a second (10000)")
    arguments = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-load-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user
    try:
        told = asyncio.run(run(StoreSettings(data_dir=str(folder)), arguments.rate, arguments.seconds))
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    told["load"] = round(os.getloadavg()[0], 1)
    print(
        f"{told['offered']} opportunities in {arguments.seconds:g} s: {told['taken_kept']} of {told['taken']} taken kept, "
        f"{told['dropped']} untaken dropped and counted, loop late {told['late_ms']} ms (without: {told['late_ms_without']})"
    )
    print(json.dumps(told))
    return 1 if told["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
