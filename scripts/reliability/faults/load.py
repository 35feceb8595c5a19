"""Ten times the recorded peak of frames, for minutes, with both databases writing."""

from __future__ import annotations

import time

import psutil
from reliability.faults.lab import Lab
from reliability.faults.nouns import Row

PEAK_PER_S = 403
"""The most frames in a second of the recorded session (13,090 frames of Binance and Upbit in 120 s)."""
TIMES = 10
QUIET_SPEED, LOAD_SPEED = 1.0, 40.0
"""Of the synthetic scenario: about 115 and about 4,600 frames a second, where the exchanges' servers get a core."""
QUIET_S = 35.0
VENUES = ("binance", "upbit")
LATER = 2.0
GROWTH_MAX = 0.15
SETTLED_SHARE = 0.2
LOOK_S = 1.0


def load_10x(lab: Lab) -> str:
    quiet_us = _quiet(lab)
    house = lab.open(speed=LOAD_SPEED)
    house.configure({"store.snapshot_interval_ms": 86_400_000})  # so that the journal keeps every fact for the comparison
    run = lab.start()
    daemon = psutil.Process(run.process.pid)
    seconds = lab.options.minutes * 60
    began, first = time.monotonic(), _frames(lab)
    sizes, worst_us, told_s = [], 0, 0.0
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(LOOK_S)
        lab.demand(run.process.poll() is None, "it lives")
        sizes.append((passed, daemon.memory_info().rss))
        worst_us = max(worst_us, _p99(lab) if passed > QUIET_S else 0)
        if passed - told_s >= 60:
            told_s = passed
            lab.say(f"        load_10x: {passed / 60:.0f} min, {_rate(lab, first, began):.0f} frames/s")
    rate, p99_us = _rate(lab, first, began), worst_us or _p99(lab)
    settled = next(size for passed, size in sizes if passed >= SETTLED_SHARE * seconds or passed == sizes[-1][0])
    growth = sizes[-1][1] / settled - 1
    rows = house.query("SELECT count(*) AS n FROM opportunities")[0]["n"]
    metrics = house.script("tools/monitor.py", "--metrics", "--once").stdout
    words = (
        f"{rate:.0f} frames/s ({rate / PEAK_PER_S:.1f} times the peak), p99 frame to decision {p99_us} us "
        f"(quiet {quiet_us} us), memory {settled / 1e6:.0f} MB {growth:+.1%}"
    )
    lab.demand(rows and "trades_per_minute" in metrics, f"both databases are written to: {rows} opportunities")
    lost = _lost(lab)
    lab.demand(not lost and "cut without" not in run.text(), f"no frame is lost: {lost}; {words}")
    lab.demand(growth <= GROWTH_MAX, f"memory is flat: {words}")
    orders = lab.settles()
    lab.demand(rate >= TIMES * PEAK_PER_S, f"the exchanges' servers had not enough of the machine for a measurement: {words}")
    lab.demand(p99_us <= LATER * quiet_us, f"p99 frame to decision is at most {LATER:g} times the quiet one: {words}")
    return f"{words}; {rows} opportunities kept, {orders} orders, no gap, every book equal, every balance equal"


def _quiet(lab: Lab) -> int:
    """Return the p99 from frame to decision at the scenario's own pace."""
    lab.open(speed=QUIET_SPEED)
    lab.run = lab.house.start()
    lab.says("arbitrage.daemon: armed")
    seconds = min(QUIET_S, lab.options.minutes * 60)
    time.sleep(seconds)
    quiet_us = _p99(lab)
    lab.demand(quiet_us, "decisions are timed")
    lab.settles()
    return quiet_us


def _p99(lab: Lab) -> int:
    status = lab.house.status()
    return status.decision_us_p99 if status is not None else 0


def _frames(lab: Lab) -> int:
    status = lab.house.status()
    return status.frames if status is not None else 0


def _lost(lab: Lab) -> str:
    """Say what tells of a lost frame: a gap, a book unlike the venue's best prices, a connection dropped as too slow."""
    status, truth = lab.house.status(), lab.house.truth()
    assert status is not None, "it lives"
    dropped = sum(truth[venue]["counters"].get("slow_clients_dropped", 0) for venue in VENUES)
    lab.demand(status.books_compared > 0, "books are compared with the venue's own best prices")
    counts = {"gaps": status.gaps, "books unequal": status.books_compared - status.books_equal, "connections dropped": dropped}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _rate(lab: Lab, first: int, began: float) -> float:
    return (_frames(lab) - first) / max(0.001, time.monotonic() - began)


ROWS = (
    Row("load_10x", f"{TIMES} times the recorded peak of {PEAK_PER_S} frames a second, for minutes (--minutes)",
        "p99 frame to decision at most twice the quiet one, memory flat, no frame lost silently", load_10x, is_quick=False),
)  # fmt: skip
