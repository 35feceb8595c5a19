"""Charts over a day in a real Chromium: uPlot's where npm installed it, the server's picture where not, and none that grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser_hour as hour
import pytest
from browser_lab import Browser
from daemon_lab import wait_until
from selenium.webdriver.common.action_chains import ActionChains
from surface_stage import StageHouse, watched

from arbitrage.web.screen.render import PACKAGED, PLOTTER

pytestmark = pytest.mark.integration
needs_plotter = pytest.mark.skipif(
    not all((PACKAGED / name).is_file() for name in PLOTTER), reason="uPlot is not installed: npm was missing at the set-up"
)
DAY = "/spreads?span=24h"
LEAK = """
new MutationObserver(() => {
  window.kept ||= [];
  for (let more = 0; more < 5; more += 1) kept.push(document.createElement("p"), new Array(500).fill(Math.random()));
  document.addEventListener("nothing", () => {});
}).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
"""
FITS = """
const seen = document.querySelector(".canvas").getBoundingClientRect().width;
return seen > 0.8 * innerWidth - 60 && document.documentElement.scrollWidth <= innerWidth;
"""
INK = """
const canvas = document.querySelector(".canvas canvas");
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
const seen = new Set();
for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 255) seen.add(pixels.slice(at, at + 3).join());
return [...seen];
"""


@pytest.fixture(scope="module")
def house() -> Iterator[StageHouse]:
    """A day of two pairs."""
    made = StageHouse()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(house: StageHouse) -> Iterator[Browser]:
    """One browser for all looks at it."""
    made = watched(house, "/")
    yield made
    made.close()


def figures(browser: Browser) -> dict[str, int]:
    """Count what is on the page."""
    words = ("canvas", "svg.plot", "figure.chart")
    return {word: int(browser.script("return document.querySelectorAll(arguments[0]).length", word)) for word in words}


def is_drawn(browser: Browser) -> bool:
    """Say whether every chart of the page is uPlot's and was drawn."""
    found = "[...document.querySelectorAll('figure.chart')].every((figure) => figure.dataset.drawn)"
    return bool(browser.script(f"return {found} && document.querySelectorAll('canvas').length > 0"))


@needs_plotter
def test_the_chart_is_uplots_and_has_a_name_a_cursor_and_a_zoom(browser: Browser) -> None:
    browser.look("light", 1440)
    browser.open(DAY)
    wait_until(lambda: is_drawn(browser), "the charts are drawn")
    shown = figures(browser)
    assert shown["canvas"] == shown["figure.chart"] >= 2 and shown["svg.plot"] == 0
    nodes = browser.cdp("Accessibility.getFullAXTree")["nodes"]
    names = [node.get("name", {}).get("value", "") for node in nodes if node["role"]["value"] == "group"]
    assert [name for name in names if name.startswith("BTC: net and gross edge in per cent over time, best net")]

    place = browser.driver.find_element("css selector", ".canvas .u-over")
    ActionChains(browser.driver).move_to_element(place).perform()
    wait_until(lambda: "UTC" in browser.text("figcaption"), "the cursor reads values off")
    assert browser.text("figcaption").count("%") == 3, browser.text("figcaption")

    ActionChains(browser.driver).move_to_element(place).click_and_hold().move_by_offset(40, 0).release().perform()
    wait_until(lambda: browser.text("figure p").startswith("From "), "a stretch is drawn alone")
    browser.script("document.querySelector('.canvas').focus()")
    for key, seen in (("0", ""), ("+", "From "), ("-", "From "), ("\ue00c", "")):
        ActionChains(browser.driver).send_keys(key).perform()
        wait_until(lambda seen=seen: browser.text("figure p")[:5] == seen, f"{key!r} zooms")
    before = browser.text("figcaption")
    ActionChains(browser.driver).send_keys("\ue012").perform()
    wait_until(lambda: browser.text("figcaption") != before, "an arrow key moves the cursor")


@needs_plotter
def test_it_follows_the_theme_and_the_width(browser: Browser) -> None:
    browser.open(DAY)
    inks = {}
    for theme in ("light", "dark"):
        browser.look(theme, 1440)
        wait_until(lambda: is_drawn(browser), "the charts are drawn")
        wait_until(lambda: set(browser.script(INK)) not in inks.values(), f"it is drawn for {theme}")
        inks[theme] = set(browser.script(INK))
    assert "26,86,176" in inks["light"] and "121,176,255" in inks["dark"], "the colour of links, which is the net edge's"
    for width in (390, 1920):
        browser.look("light", width)
        wait_until(lambda: browser.script(FITS), f"it fills {width} and no more")


@needs_plotter
@pytest.mark.parametrize(("command", "off", "on"), [
    ("Network.setBlockedURLs", {"urls": ["*uPlot.iife*"]}, {"urls": []}),
    ("Emulation.setScriptExecutionDisabled", {"value": True}, {"value": False}),
])  # fmt: skip
def test_where_it_does_not_come_the_picture_stays(browser: Browser, command: str, off: object, on: object) -> None:
    browser.gather()
    said = list(browser.said)
    browser.cdp("Network.enable")
    browser.cdp(command, **off)  # type: ignore[arg-type]  # parameters of the protocol
    try:
        browser.open(DAY)
        shown = figures(browser)
        assert shown["svg.plot"] == shown["figure.chart"] >= 2 and shown["canvas"] == 0
        assert browser.texts(".cards tbody th") == ["BTC", "ETH"], "the table is there"
    finally:
        browser.cdp(command, **on)  # type: ignore[arg-type]  # the same
    browser.gather()
    browser.said = said  # that a script did not come is complained of, and was asked for


def test_a_house_without_the_package_shows_the_same_charts_as_pictures(browser: Browser, tmp_path: Path) -> None:
    browser.gather()
    house, base, asked = StageHouse(packaged=tmp_path, seconds=600), browser.base, list(browser.asked)
    try:
        browser.base = house.url
        browser.open(DAY)
        shown = figures(browser)
        assert shown["svg.plot"] == shown["figure.chart"] >= 2 and shown["canvas"] == 0
        assert browser.script("return document.scripts.length") == 0
        browser.gather()
        assert not [address for address in browser.asked[len(asked) :] if "uPlot" in address or "/points" in address]
    finally:
        browser.driver.get("about:blank")  # or it would ask a house that is gone for the page anew
        browser.gather()
        browser.base, browser.asked = base, asked
        house.close()


@pytest.mark.parametrize("path", [hour.FIRST, pytest.param(hour.DAY, marks=needs_plotter)])
def test_a_quarter_of_an_hours_updates_leaves_no_page_larger(house: StageHouse, path: str) -> None:
    """`make browser-hour ARGS=--compressed` passes the whole hour."""
    updates = hour.HOUR[path] // 4
    watch = hour.compressed(house, path, updates, samples=12)
    print(path, watch.samples[-1], hour.growth(watch.samples))
    assert watch.samples[-1].heard > updates
    assert hour.grown(watch.samples) == []


def test_a_leak_planted_on_purpose_is_caught(house: StageHouse) -> None:
    watch = hour.compressed(house, hour.FIRST, 600, planted=LEAK, samples=9)
    assert [fault.split()[0] for fault in hour.grown(watch.samples)] == ["heap_bytes", "nodes", "listeners"]


@needs_plotter
def test_a_day_of_seconds_is_served_and_drawn_within_a_tenth_of_a_second(house: StageHouse) -> None:
    found = hour.smoothness(house)
    print(found)
    assert found["serve_ms_best"] < hour.SERVE_MS_MAX and found["draw_ms_median"] < hour.DRAW_MS_MAX


def test_nobody_else_was_asked_and_the_policy_was_kept(browser: Browser) -> None:
    browser.open(DAY)
    wait_until(lambda: browser.script("return document.readyState") == "complete", "the page is whole")
    browser.open("/")
    assert not browser.strangers() and len(browser.asked) > 2
    ours = ("favicon", "willReadFrequently")  # the second is about this test's own reading of pixels
    assert not [line for line in browser.said if not any(word in line for word in ours)], browser.said
