"""SIGTERM with orders open, again and again: what is known is on disk at once, and the next start asks for the rest."""

from __future__ import annotations

import signal
import time

from reliability.faults.lab import ARMED, Lab
from reliability.faults.nouns import Row

SNAPSHOT_S_MAX, END_S_MAX = 1.0, 10.0
"""Issue 4: p99 of 50, and hard."""
ANSWER_MS = 2_000
ARMED_S_MAX = 150.0
"""The tenth start within a minute waits until Binance's weight for reading is there again: 4,800 a minute, 500 a start."""
SAVED = "snapshot saved"


def sigterm(lab: Lab) -> str:
    house = lab.open()
    saved_s, ended_s, left = [], [], 0
    for number in range(lab.options.rounds):
        house.fault("silent_private", "upbit")
        house.fault("late", "upbit", "POST /v1/orders", times=0, ms=ANSWER_MS)
        lab.run = house.start()
        lab.says(ARMED, seconds=ARMED_S_MAX)
        lab.until(lambda: (now := lab.standing()) is not None and now.open_orders, "an order is open")
        known, already = set(house.snapshots()), lab.run.text().count(SAVED)
        began = time.monotonic()
        lab.run.hears(signal.SIGTERM)
        lab.until(lambda at=already: lab.run.text().count(SAVED) > at, "a snapshot is saved")
        saved_s.append(time.monotonic() - began)
        lab.demand(set(house.snapshots()) - known, "it is a file of its own")
        status = lab.run.process.wait(END_S_MAX)
        ended_s.append(time.monotonic() - began)
        lab.demand(status == 0 and "Traceback" not in lab.run.text(), f"it stops tidily, not with status {status}")
        left += "orders unanswered" in lab.run.text()
        house.heal()
        if (number + 1) % 10 == 0:
            lab.say(f"        sigterm: {number + 1} of {lab.options.rounds} stops")
    lab.start()
    lab.recovers()
    orders = lab.settles()
    worst = f"snapshot p99 {p99(saved_s):.2f} s, end p99 {p99(ended_s):.2f} s, worst {max(ended_s):.2f} s"
    lab.demand(p99(saved_s) < SNAPSHOT_S_MAX, f"the snapshot is durable under {SNAPSHOT_S_MAX:g} s: {worst}")
    lab.demand(max(ended_s) < END_S_MAX, f"it ends within {END_S_MAX:g} s: {worst}")
    return f"{worst} of {len(saved_s)} ({left} with orders left); {orders} orders, every balance equal"


def p99(values: list[float]) -> float:
    """Return the 99th percentile; of fewer than a hundred values that is the largest."""
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


ROWS = (
    Row("sigterm", "SIGTERM while an order waits for its answer, 50 times",
        "snapshot durable under 1 s (p99), ended within 10 s, nothing lost at the next start", sigterm, is_quick=False),
)  # fmt: skip
