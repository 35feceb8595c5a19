"""What the operator's surface costs the trading loop, as `scripts/surface/load.py` measures it in one run of its own.

It runs in the environment of the daemon: the peers pin older packages than the surface needs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import Floor, at_most

SCRIPT = Path(__file__).resolve().parents[1] / "surface" / "load.py"
NAMES = {
    "late_p50": "surface: lateness of the loop with load / without, p50",
    "late_worst": "surface: lateness of the loop with load / without, worst",
    "decision_p99": "surface: frame to decision with load / without, p99",
}


class Side(msgspec.Struct, frozen=True):
    """One kind of window, in microseconds."""

    samples: int
    decisions: int
    late_us_p50: float
    late_us_p99: float
    late_us_worst: float
    decision_us_p50: float
    decision_us_p99: float

    def __str__(self) -> str:
        late = f"loop late p50 {self.late_us_p50:.0f}, p99 {self.late_us_p99:.0f}, worst {self.late_us_worst:,.0f} us"
        decided = f"p50 {self.decision_us_p50:.0f}, p99 {self.decision_us_p99:,.0f} us ({self.decisions:,})"
        return f"{late}; frame to decision {decided}"


class Ratio(msgspec.Struct, frozen=True):
    """With load over without, and what it may be."""

    ratio: float
    bar: float


class Cost(msgspec.Struct, frozen=True):
    """What was measured."""

    without: Side
    loaded: Side = msgspec.field(name="with")
    clients: list[dict[str, Any]] = []
    ratios: dict[str, Ratio] = {}

    @property
    def failed(self) -> int:
        """Requests that were not answered as they should be."""
        return sum(int(client["failed"]) for client in self.clients)


def run(python: str) -> Cost:
    """Measure with all cores: daemon, exchanges and clients each take what they need."""
    everywhere = set(range(os.cpu_count() or 1))
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, everywhere)
    try:
        done = subprocess.run([python, str(SCRIPT), "--json"], stdout=subprocess.PIPE, check=False)
    finally:
        os.sched_setaffinity(0, pinned)
    lines = done.stdout.splitlines()
    if not lines:
        raise SystemExit(f"{python} {SCRIPT} ended with {done.returncode} and without figures: start it by `make bench`")
    return msgspec.json.decode(lines[-1], type=Cost)


def floors(found: Cost) -> list[Floor]:
    """Hold the bars of the surface."""
    held = [at_most(NAMES[name], row.ratio, row.bar) for name, row in found.ratios.items()]
    return [*held, at_most("surface: requests that failed", found.failed, 0)]
