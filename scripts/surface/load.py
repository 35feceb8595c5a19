"""Measures what the surface costs the trading loop: the same daemon with and without load, in turns, in one run.

Load: `--rate` requests a second, `--followers` event streams that draw spreads ten times a second, `--logins` sign-ins a
second, all from a process of its own. Measured: lateness of the loop (a 5 ms timer) and frame to decision, each value. Bars:
lateness within 1.25 at the median and 2 at worst, frame to decision within 1.25 at the 99th percentile.
Usage: python scripts/surface/load.py [--quick] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from surface_client import Api  # noqa: E402 - the package beside this script is found only now

from arbitrage.app.child import VenueServers  # noqa: E402 - the same
from arbitrage.app.running import Running  # noqa: E402 - the same
from arbitrage.app.starting import Orders, guarded, trade  # noqa: E402 - the same
from arbitrage.ops.config import Loaded, Overlay, load  # noqa: E402 - the same
from arbitrage.ops.loop_lag import sample_loop_lag  # noqa: E402 - the same

LATENESS_P50_MAX, LATENESS_WORST_MAX, DECISION_P99_MAX = 1.25, 2.0, 1.25
LAG_INTERVAL_MS = 5
WARM_S = 3.0
SETTINGS = {
    "ARBITRAGE__WEB__PORT": "0", "ARBITRAGE__WEB__CLIENT_REQUESTS_PER_S_MAX": "5000",
    "ARBITRAGE__WEB__REQUESTS_PER_S_MAX": "5000", "ARBITRAGE__WEB__LOGINS_PER_MINUTE_MAX": "100000",
    "ARBITRAGE_CONFIG_DIR": str(PROJECT / "config"),
}  # fmt: skip


class Measurement:
    """Raw values of one kind of window."""

    def __init__(self) -> None:
        self.late_us: list[int] = []
        self.decision_us: list[float] = []

    def figures(self) -> dict[str, float]:
        return {
            "samples": len(self.late_us), "decisions": len(self.decision_us),
            "late_us_p50": statistics.median(self.late_us), "late_us_p99": _quantile(self.late_us, 0.99),
            "late_us_worst": max(self.late_us), "decision_us_p50": round(statistics.median(self.decision_us), 1),
            "decision_us_p99": round(_quantile(self.decision_us, 0.99), 1),
        }  # fmt: skip


class Load:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._with, self._without = Measurement(), Measurement()
        self._now: Measurement | None = None
        self.clients: list[dict[str, Any]] = []

    async def beside(self, running: Running) -> None:
        """Measure beside the daemon, in its loop."""
        await running.is_ready.wait()
        while not running.set_up_link:  # noqa: ASYNC110 - the daemon has no event for it, and only a measurement waits
            await asyncio.sleep(0.05)
        key = await asyncio.to_thread(_set_up, running.set_up_link)
        told = running.door.decided

        def decided(now_ns: int, since_ns: int) -> None:
            if told is not None:
                told(now_ns, since_ns)
            if self._now is not None:
                self._now.decision_us.append((now_ns - since_ns) / 1_000)

        running.door.decided = decided
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(sample_loop_lag(running.clock, self._late, interval_ms=LAG_INTERVAL_MS))
            for _ in range(self._options.rounds):
                await self._window(self._without)
                client = await self._client(running.web_url, key)
                await self._window(self._with)
                out, _ = await client.communicate()
                self.clients.append(json.loads(out.decode().splitlines()[-1]))
            sampling.cancel()

    def _late(self, now_ns: int, late_us: int) -> None:
        if self._now is not None:
            self._now.late_us.append(late_us)

    async def _window(self, kind: Measurement) -> None:
        await asyncio.sleep(WARM_S)
        self._now = kind
        await asyncio.sleep(self._options.seconds)
        self._now = None

    async def _client(self, origin: str, key: str) -> asyncio.subprocess.Process:
        options = self._options
        words = ["--origin", origin, "--seconds", str(options.seconds + 2 * WARM_S), "--rate", str(options.rate)]
        words += ["--followers", str(options.followers), "--logins", str(options.logins)]
        program = str(Path(__file__).with_name("surface_client.py"))
        return await asyncio.create_subprocess_exec(
            sys.executable, program, *words, stdout=asyncio.subprocess.PIPE, env={**os.environ, "SURFACE_KEY": key}
        )

    def verdict(self) -> dict[str, Any]:
        """Compare."""
        without, loaded = self._without.figures(), self._with.figures()
        ratios = {
            "late_p50": (_ratio(loaded["late_us_p50"], without["late_us_p50"]), LATENESS_P50_MAX),
            "late_worst": (_ratio(loaded["late_us_worst"], without["late_us_worst"]), LATENESS_WORST_MAX),
            "decision_p99": (_ratio(loaded["decision_us_p99"], without["decision_us_p99"]), DECISION_P99_MAX),
        }
        failed = sum(client["failed"] for client in self.clients)
        is_held = all(ratio <= bar for ratio, bar in ratios.values()) and not failed
        return {
            "without": without, "with": loaded, "clients": self.clients, "is_held": is_held,
            "ratios": {name: {"ratio": ratio, "bar": bar} for name, (ratio, bar) in ratios.items()},
        }  # fmt: skip


def _ratio(one: float, other: float) -> float:
    return round(one / max(other, 1e-9), 3)


def _quantile(values: list[Any], share: float) -> Any:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _set_up(link: str) -> str:
    place = urlsplit(link)
    return Api(f"{place.scheme}://{place.netloc}").set_up(parse_qs(place.query)["token"][0])


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-load-"))
    folder.chmod(0o755)  # the embedded server runs as a user of its own
    return folder


async def _run(run: Load, scenario: str) -> int:
    servers = await VenueServers.start(scenario, seed=1, speed=1.0)
    folder = _folder()
    places = {"ARBITRAGE__STORE__DATA_DIR": str(folder / "data"), "ARBITRAGE__LOG__DIRECTORY": str(folder / "logs")}
    environ = {**os.environ, **SETTINGS, **places}
    overlay = Overlay("load", {**servers.overlay(), "session_name": "load"})

    def read(overrides: Any = None) -> Loaded:
        return load(PROJECT / "config", environ, overlay, overrides)

    try:
        status, _ = await trade(read(), Orders(reload=read, is_quiet=True, beside=run.beside, environ=environ))
        return int(status)
    finally:
        await servers.stop()
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def main() -> int:
    """Run it and say whether the bars hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--followers", type=int, default=5)
    parser.add_argument("--logins", type=float, default=5.0, help="sign-ins a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of one window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenario", default="synthetic")
    parser.add_argument("--quick", action="store_true", help="one round of 5 s: shows that it works, measures nothing")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 5.0, 1
    run = Load(options)
    status = guarded(lambda: _run(run, options.scenario))
    if status:
        return status
    verdict = run.verdict()
    if options.json:
        print(json.dumps(verdict))
    else:
        for name in ("without", "with"):
            print(f"{name:8} {verdict[name]}")
        for name, row in verdict["ratios"].items():
            print(f"{name:14} {row['ratio']:.3f} (bar {row['bar']})")
        print(f"clients {verdict['clients']}")
        print("held" if verdict["is_held"] else "NOT held")
    return 0 if verdict["is_held"] or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
