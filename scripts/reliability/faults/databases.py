"""PostgreSQL and Valkey killed, restarted, frozen, slow and emptied under a live daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import psutil
from daemon_lab import frozen, is_caught_up, postgres_pid
from reliability.faults.lab import Lab
from reliability.faults.nouns import Row
from reliability.faults.proxy import Proxy

from arbitrage.store.embedded import Embedded, postgres_of, read_state, redis_of
from arbitrage.store.redis_client import make_redis

SILENT_S_MAX = 1.5
"""Issue 4: so soon a holder that lost the database enters nothing more."""
FROZEN_S = 4.0
SLOW_DELAY_S = 0.15
LOOP_LATE_MS_MAX = 100.0


def _lost_and_found(lab: Lab, hurt: Callable[[], None], heal: Callable[[], None], words: str) -> str:
    """Take PostgreSQL away from a live daemon: it falls silent in time and says so, and arms again by itself."""
    run = lab.run
    armed = run.text().count("arbitrage.daemon: armed")
    with lab.watch() as watch:
        hurt_ns = time.time_ns()
        hurt()
        lab.says("the lease is lost")
        silent_ns = time.time_ns()
        heal()
        healed_ns = time.time_ns()
        lab.says(words)
        lab.says("arbitrage.daemon: armed", times=armed + 1)
        back_ns = time.time_ns()
    silent_s = (silent_ns - hurt_ns) / 1e9
    lab.demand(any("lease" in reason for reason in watch.reasons), f"the operator reads why: {sorted(watch.reasons)}")
    lab.demand(silent_s <= SILENT_S_MAX, f"silent within {SILENT_S_MAX} s, not {silent_s:.2f} s")
    lab.demand_no_entry(silent_ns, healed_ns, "while the lease is lost")
    back_s = (back_ns - max(silent_ns, healed_ns)) / 1e9
    lab.until(lambda: is_caught_up(lab.house), "PostgreSQL has every fact")
    lab.recovers()
    orders = lab.settles()
    return f"silent after {silent_s:.2f} s, armed {back_s:.2f} s after it came back; {orders} orders, every balance equal"


def postgres_killed(lab: Lab) -> str:
    lab.trading()
    restarted = "an embedded database died and was started again"
    return _lost_and_found(lab, lambda: os.kill(postgres_pid(lab.house), signal.SIGKILL), lambda: None, restarted)


def postgres_restarted(lab: Lab) -> str:
    lab.trading()
    restarted = "an embedded database died and was started again"
    return _lost_and_found(lab, lambda: os.kill(postgres_pid(lab.house), signal.SIGINT), lambda: None, restarted)


def postgres_frozen(lab: Lab) -> str:
    lab.trading()
    with frozen(postgres_pid(lab.house)) as family:
        def thaw() -> None:
            time.sleep(FROZEN_S)
            for process in family:
                process.resume()

        return _lost_and_found(lab, lambda: None, thaw, "PostgreSQL is away: the journal carries on")


def postgres_slow(lab: Lab) -> str:
    """A named server behind a slow line: nothing of it is ever in the way of a decision."""
    folder = lab.folder()
    servers = Embedded(folder, wants_postgres=True, wants_redis=False)
    servers.start()
    lab.stack.callback(servers.stop)
    at = postgres_of(servers.state)
    proxy = lab.stack.enter_context(Proxy(at.port))
    house = lab.open()
    house.configure({
        "store.postgres_host": at.host, "store.postgres_port": proxy.port, "store.postgres_user": at.user,
        "store.postgres_password": at.password, "store.postgres_database": at.database,
    })  # fmt: skip
    lab.start()
    with lab.watch() as watch:
        proxy.faults.delay_s = SLOW_DELAY_S
        began = time.monotonic()
        for _ in range(3):
            lab.trades_on()
        lab.until(lambda: time.monotonic() - began > 4.0, "some time of it")
        status = house.status()
    lab.demand(all(each.armed for each in watch.answers), f"it stays armed: {sorted(watch.reasons)}")
    assert status is not None, "it writes its status"
    lab.demand(status.loop_latency_ms < LOOP_LATE_MS_MAX, f"the loop does not wait for it: {status.loop_latency_ms:.1f} ms")
    proxy.heal()
    lab.recovers()
    orders = lab.settles()
    late = f"loop {status.loop_latency_ms:.1f} ms late"
    return f"{2 * SLOW_DELAY_S * 1000:.0f} ms a round trip: armed all the time, {late}; {orders} orders, every balance equal"


def _valkey(lab: Lab) -> psutil.Process:
    return psutil.Process(read_state(lab.house.folder).redis_pid)


async def _flush(lab: Lab) -> None:
    client = make_redis(redis_of(read_state(lab.house.folder)))
    await client.flushall()
    await client.aclose()


def _metrics_come_back(lab: Lab) -> None:
    def shown() -> str:
        return lab.house.script("tools/monitor.py", "--metrics", "--once").stdout

    lab.until(lambda: "trades_per_minute" in shown(), "Valkey has the metrics again")


def _never_stops(lab: Lab, hurt: Callable[[], None], heal: Callable[[], None], words: str) -> str:
    with lab.watch() as watch:
        hurt()
        lab.trades_on()
        if words:
            lab.says(words)
        lab.trades_on()
        heal()
        _metrics_come_back(lab)
        lab.trades_on()
    lab.demand(all(each.armed for each in watch.answers), f"trading never stops: {sorted(watch.reasons)}")
    orders = lab.settles()
    return f"armed in all {len(watch.answers)} looks, metrics are back; {orders} orders, every balance equal"


def valkey_flushed(lab: Lab) -> str:
    lab.trading()
    return _never_stops(lab, lambda: asyncio.run(_flush(lab)), lambda: None, "")


def valkey_killed(lab: Lab) -> str:
    lab.trading()
    return _never_stops(lab, lambda: _valkey(lab).kill(), lambda: None, "an embedded database died and was started again")


def valkey_frozen(lab: Lab) -> str:
    lab.trading()
    server = _valkey(lab)
    return _never_stops(lab, server.suspend, server.resume, "Redis is away: trading goes on")


LEASE = "silent within 1.5 s with the reason, arms again by itself, PostgreSQL gets every fact"
NEVER = "trading never stops, the metrics come back by themselves"
ROWS = (
    Row("postgres_killed", "kill -9 of PostgreSQL", LEASE, postgres_killed, is_quick=False),
    Row("postgres_restarted", "PostgreSQL told to restart fast", LEASE, postgres_restarted, is_quick=False),
    Row("postgres_frozen", "PostgreSQL and its children stopped for 4 s", LEASE, postgres_frozen, is_quick=False),
    Row("postgres_slow", "300 ms a round trip to PostgreSQL", "armed all the time, the loop waits for nothing",
        postgres_slow, is_quick=False),
    Row("valkey_flushed", "FLUSHALL", NEVER, valkey_flushed, is_quick=False),
    Row("valkey_killed", "kill -9 of Valkey", NEVER, valkey_killed, is_quick=False),
    Row("valkey_frozen", "Valkey stopped", NEVER, valkey_frozen, is_quick=False),
)  # fmt: skip
