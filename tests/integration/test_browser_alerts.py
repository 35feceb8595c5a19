"""An alert on pages that are open in a real Chromium: it comes, is read up on, and goes, and nobody loads a page anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_lab import Browser
from daemon_lab import wait_until
from surface_stage import StageHouse
from web_stage import NOW_NS, SECOND_NS

from arbitrage.ops.alerts.nouns import ActiveAlert, Board, ChannelStanding, EndedAlert, OfficeStanding

pytestmark = pytest.mark.integration
OPS = ChannelStanding("ops", "webhook", 0, 7, 2, 0, tokens=3, burst=5, per_minute=10, sent_ns=NOW_NS - SECOND_NS)
SINCE_NS = NOW_NS - 90 * SECOND_NS
KILLED = ActiveAlert("kill_switch", "kill_switch", "critical", "the kill switch is on", "by kim", SINCE_NS, 1, SINCE_NS)
OVER = EndedAlert("kill_switch", "kill_switch", "critical", "the kill switch is on", "by kim", SINCE_NS, NOW_NS, 1)
QUIET, FIRING, AFTER = (
    OfficeStanding(board, (OPS,), 120) for board in (Board(), Board(firing=(KILLED,)), Board(over=(OVER,)))
)  # fmt: skip


@pytest.fixture
def house() -> Iterator[StageHouse]:
    """Every picture is drawn of what holds now."""
    made = StageHouse(seconds=60, period_s=0.02, pictures_kept=1)
    made.tell(QUIET)
    yield made
    made.close()


@pytest.fixture
def browser(house: StageHouse) -> Iterator[Browser]:
    made = Browser(house.url)
    yield made
    made.close()


def test_an_alert_comes_and_goes_on_a_page_that_is_open(house: StageHouse, browser: Browser) -> None:
    browser.open("/")
    wait_until(lambda: "none on; told by ops" in browser.text("main"), "nothing hurts")
    house.tell(FIRING)
    wait_until(lambda: "1 critical; told by ops" in browser.text("main"), "it is on the first screen")
    assert "the kill switch is on" in browser.text("main")

    browser.open("/alerts")
    wait_until(lambda: "the kill switch is on" in browser.text("main"), "it is on its page")
    browser.driver.find_element("css selector", 'main a[href="/runbook/kill_switch"]').click()
    wait_until(lambda: "kill_switch" in browser.text("h1"), "its page of the runbook opens")

    browser.open("/")
    wait_until(lambda: "1 critical" in browser.text("main"), "it is still on")
    house.tell(AFTER)
    wait_until(lambda: "none on; told by ops" in browser.text("main"), "it left the page that is open")
    browser.gather()
    assert not browser.strangers() and not [line for line in browser.said if "favicon" not in line], browser.said
