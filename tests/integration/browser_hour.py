"""Keeps real browsers on the first screen and on a day of spreads, and says whether they grow. Judges levels, no single sample.

Usage: python tests/integration/browser_hour.py [SECONDS]     (real time; default 3600)
       python tests/integration/browser_hour.py --compressed   (an hour's updates as fast as the browsers take them)
Prints JSON as its last line; exit status 1: a page grows, or a day is not smooth.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import NamedTuple

from browser_lab import Browser
from surface_stage import StageHouse, watched

HOUR_S = 3_600
PICTURES_PER_S = 2
FIRST, DAY = "/", "/spreads?span=24h"
DAY_EVERY_S = 60
CHARTS = 6
"""Of the stage's two coins: spread, parts and rates of each. A browser asks for all of them every `DAY_EVERY_S`."""
HOUR = {FIRST: HOUR_S * PICTURES_PER_S, DAY: HOUR_S // DAY_EVERY_S * CHARTS}
"""What each page takes in within an hour."""
SAMPLES = 30
GROWTH_SHARE_MAX = 0.10
"""By so much may the last third's level be above the first third's: the heap's, the nodes', the listeners'."""
SLACK = {"heap_bytes": 400_000, "nodes": 150, "listeners": 5}
"""Less than this is no growth, whatever share it is: a list is longer at one moment than at another."""
WARM_SHARE = 0.1
"""Of what a page is to take in: it comes before the first sample, while scripts are compiled and rows made."""
COMPRESSED_PERIOD_S, COMPRESSED_FASTER = 0.002, 600.0
REST_S, REST_LIMIT_S = 0.1, 30.0
"""A page that took nothing in for so long, and asks nothing, is at rest."""
LIMIT_S = 300.0
"""In which a compressed hour passes, or has failed."""
SERVE_MS_MAX, DRAW_MS_MAX = 100.0, 100.0
LOOKS = 15


class Sample(NamedTuple):
    """What a page at rest holds after a forced garbage collection."""

    heard: int
    heap_bytes: int
    nodes: int
    listeners: int


class Watch:
    """One browser on one page, and what it held over time."""

    def __init__(self, house: StageHouse, path: str, *, faster: float, planted: str = "") -> None:
        self.path = path
        self._house = house
        self.samples: list[Sample] = []
        self.browser = watched(house, path, faster=faster, planted=planted)
        self.browser.cdp("Performance.enable")
        self.browser.cdp("HeapProfiler.enable")

    @property
    def heard(self) -> int:
        """How many updates the page took in."""
        return int(self.browser.script("return window.heard"))

    def sample(self) -> None:
        """Look at what it holds, once it has come to rest: on a slow machine much that comes waits in the heap to be read."""
        self._house.is_held = True
        try:
            self.browser.script("window.held = true")
            self._rest()
            self._look()
            self.browser.script("window.held = false")
        finally:
            self._house.is_held = False

    def _rest(self) -> None:
        """Wait until it asks nothing and hears nothing."""
        until, before = time.monotonic() + REST_LIMIT_S, (-1, -1)
        while before != (now := (self.heard, int(self.browser.script("return window.asking")))) or now[1]:
            assert time.monotonic() < until, f"{self.path} does not come to rest in {REST_LIMIT_S} s"
            before = now
            time.sleep(REST_S)

    def _look(self) -> None:
        browser = self.browser
        browser.driver.get_log("performance")  # what gathers there is the driver's, not the page's
        for _ in range(2):  # what the first one lets go, such as a row's own figures, the second takes
            browser.cdp("HeapProfiler.collectGarbage")
        figures = {each["name"]: int(each["value"]) for each in browser.cdp("Performance.getMetrics")["metrics"]}
        heap = int(browser.cdp("Runtime.getHeapUsage")["usedSize"])
        self.samples.append(Sample(self.heard, heap, figures["Nodes"], figures["JSEventListeners"]))


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Return every figure's level in the first third and in the last."""
    third = len(samples) // 3
    assert third > 0, "a level is more than one sample"
    return {
        name: tuple(statistics.median(getattr(each, name) for each in part) for part in (samples[:third], samples[-third:]))
        for name in SLACK
    }  # type: ignore[return-value]  # two parts


def grown(samples: Sequence[Sample]) -> list[str]:
    """Name every figure whose level rose by more than is allowed."""
    return [
        f"{name} rose from {first:,.0f} to {last:,.0f}"
        for name, (first, last) in growth(samples).items()
        if last > first * (1 + GROWTH_SHARE_MAX) and last - first > SLACK[name]
    ]


def follow_compressed(watch: Watch, updates: int, samples: int = SAMPLES) -> None:
    """Sample evenly while so many updates pass; fails where they do not."""
    until = time.monotonic() + LIMIT_S
    start = watch.heard + int(updates * WARM_SHARE)
    for number in range(samples):
        wanted = start + updates * number // (samples - 1)
        while watch.heard < wanted:
            assert time.monotonic() < until, f"{watch.path} took in {watch.heard} of {wanted} updates in {LIMIT_S} s"
            time.sleep(0.02)
        watch.sample()


def follow(watches: Sequence[Watch], seconds: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Sample evenly while real time passes."""
    pause(seconds * WARM_SHARE)
    for _ in range(SAMPLES):
        for watch in watches:
            watch.sample()
        pause(seconds * (1 - WARM_SHARE) / SAMPLES)


def compressed(house: StageHouse, path: str, updates: int, *, planted: str = "", samples: int = SAMPLES) -> Watch:
    """Let a page take in so many updates as fast as it can, with the house's market as fast; its browser is closed then."""
    pace_s, house.period_s = house.period_s, COMPRESSED_PERIOD_S
    watch = Watch(house, path, faster=COMPRESSED_FASTER, planted=planted)
    try:
        follow_compressed(watch, updates, samples)
    finally:
        house.period_s = pace_s
        watch.browser.close()
    return watch


def smoothness(house: StageHouse) -> dict[str, float]:
    """Measure a day of seconds: how long each chart takes to serve, and to draw in the browser."""
    browser = watched(house, DAY)
    try:
        addresses = browser.script("return [...document.querySelectorAll('figure')].map((figure) => figure.dataset.points)")
        assert len(addresses) == CHARTS, addresses
        drawn = [figure for _ in range(LOOKS // 5) for figure in _drawn(browser)]
    finally:
        browser.close()
    served = []
    for look in range(LOOKS):
        began = time.monotonic()
        with urllib.request.urlopen(house.url + addresses[look % CHARTS], timeout=30) as answer:
            points = len(json.loads(answer.read())["at_s"])
        served.append((time.monotonic() - began) * 1_000)
        assert points > 500, "a day"
    return {
        "serve_ms_best": round(min(served), 1), "serve_ms_median": round(statistics.median(served), 1),
        "draw_ms_median": round(statistics.median(drawn), 1), "draw_ms_worst": round(max(drawn), 1),
    }  # fmt: skip


def _drawn(browser: Browser) -> list[float]:
    """Load the day anew, and return how long each chart took to draw."""
    browser.open(DAY)
    until = time.monotonic() + 30
    while True:
        found = browser.script("return [...document.querySelectorAll('figure')].map((figure) => figure.dataset.drawn || '')")
        if all(found):
            return [float(text) for text in found]
        assert time.monotonic() < until, "every chart is drawn"
        time.sleep(0.05)


def report_of(watches: Sequence[Watch], seconds: float) -> dict[str, object]:
    """Write down what was seen, page by page."""
    pages = {
        watch.path: {
            "updates": watch.samples[-1].heard, "samples": len(watch.samples), "grown": grown(watch.samples),
            **{name: [round(level) for level in levels] for name, levels in growth(watch.samples).items()},
        }
        for watch in watches
    }  # fmt: skip
    return {"seconds": round(seconds, 1), "share_max": GROWTH_SHARE_MAX, "pages": pages}


def main(words: Sequence[str]) -> int:
    """Measure, print, judge."""
    seconds = next((float(word) for word in words if not word.startswith("--")), float(HOUR_S))
    house = StageHouse(period_s=1 / PICTURES_PER_S)
    watches: list[Watch] = []
    try:
        began = time.monotonic()
        if "--compressed" in words:
            watches += [compressed(house, path, updates) for path, updates in HOUR.items()]
        else:
            watches += [Watch(house, path, faster=1.0) for path in HOUR]
            follow(watches, seconds)
            for watch in watches:
                watch.browser.close()
        report = report_of(watches, time.monotonic() - began)
        report["day"] = day = smoothness(house)
    finally:
        house.close()
    faults = [f"{watch.path}: {fault}" for watch in watches for fault in grown(watch.samples)]
    faults += [f"a chart of a day takes {day['serve_ms_median']} ms to serve"] * (day["serve_ms_median"] > SERVE_MS_MAX)
    faults += [f"a chart of a day takes {day['draw_ms_median']} ms to draw"] * (day["draw_ms_median"] > DRAW_MS_MAX)
    print(json.dumps({**report, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
