"""The daemon with real signed orders: it trades, dies with orders open, and finds out what became of everything."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from daemon_lab import House, Run, wait_until
from live_lab import HAND, TAG, LiveHouse, command, ledger, live_house_in, processes_in, said, sent_once, standing

from arbitrage.model.facts import FillBooked, PlanOpened
from arbitrage.store.embedded import read_state
from arbitrage.store.papers import last_receipt, last_report

pytestmark = pytest.mark.integration
ARMED = "arbitrage.daemon: armed"
ENDED = "arbitrage.engine: arbitrage "
REPORT = "restart report (start)"
PROVEN = "kill switch proven: binance, upbit show no open order of ours"
RECONCILED_S_MAX = 5.0
PATIENCE_ON_A_BUSY_MACHINE = 4
OPEN_ORDERS = {"binance": 70, "upbit": 30}
WITHDRAWAL_UNKNOWN = '{"error":{"name":"withdraw_not_found","message":"no such withdrawal"}}'
"""What Upbit says to a key that may withdraw."""


@pytest.fixture
def house(data_folder: Path) -> Iterator[LiveHouse]:
    with live_house_in(data_folder) as house:
        yield house
    wait_until(lambda: not processes_in(data_folder), "a killed daemon's servers are gone", 20)


def trading(house: LiveHouse) -> Run:
    run = house.start()
    run.says(ARMED)
    run.says(ENDED)
    return run


def quiet(house: LiveHouse, run: Run) -> None:
    """Stop entries and wait until nothing is under way."""
    said(command(house, "pause", "--reason", "the books are compared"))
    wait_until(lambda: not standing(house)["open_orders"] and not standing(house)["open_plans"], "nothing is under way", 60)
    assert run.end() == 0


def test_a_kill_with_a_hundred_open_orders_is_reconciled_within_seconds_and_to_the_unit(house: LiveHouse) -> None:
    run = trading(house)
    # An order that fills while its answer is lost and the stream is silent: the daemon dies without knowing of it.
    house.fault("silent_private", "upbit")
    house.fault("lost", "upbit", "POST /v1/orders", times=0)
    before = len(house.truth()["upbit"]["fills"])
    wait_until(lambda: len(house.truth()["upbit"]["fills"]) > before, "an order fills whose answer is lost", 60)
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    house.heal()
    for venue, count in OPEN_ORDERS.items():
        for number in range(count):
            house.place_resting(venue, f"{TAG}_1_zz{HAND}-{number}")
    house.place_resting("binance", "somebody-else")
    assert sum(len(house.open_ids(venue)) for venue in OPEN_ORDERS) == 101

    again = house.start()
    took_s = again.says(REPORT)
    print(f"kill -9 with 100 open orders: reconciled {took_s:.2f} s after the process began")
    again.says(ARMED)
    assert house.open_ids("upbit") == set() and house.open_ids("binance") == {"somebody-else"}
    report = last_report(house.folder)
    assert report is not None and report.is_armed and report.occasion == "start"
    standings = {each.venue: each for each in report.venues}
    for venue, count in OPEN_ORDERS.items():
        assert len(standings[venue].cancelled) == count and not standings[venue].differences
    assert [order.client_order_id for order in standings["binance"].foreign] == ["somebody-else"]
    assert report.left_orders and any(each.venue == "upbit" for each in report.left_orders)
    assert standings["upbit"].booked, "what filled unseen was booked"
    shown = said(command(house, "report", "--last"))
    assert "cancelled: 70 orders of ours" in shown and "30 orders of ours" in shown and shown.rstrip().endswith("armed")
    assert json.loads(said(command(house, "report", "--last", "--json")))["occasion"] == "start"
    wait_until(lambda: house.query("SELECT count(*) AS n FROM restart_reports")[0]["n"] >= 2, "both reports are kept", 20)
    quiet(house, again)
    assert house.unequal(ledger(house)) == {}
    sent_once(house)
    is_quiet = os.getloadavg()[0] < (os.cpu_count() or 1)
    assert took_s < RECONCILED_S_MAX * (1 if is_quiet else PATIENCE_ON_A_BUSY_MACHINE)


def test_the_kill_switch_cancels_and_proves_at_the_exchanges_with_every_database_away(house: LiveHouse) -> None:
    run = trading(house)
    for venue in OPEN_ORDERS:
        house.place_resting(venue, f"{TAG}_1_zz{HAND}-{venue}")
    house.place_resting("binance", "somebody-else")
    family = databases(house)
    for process in family:
        process.suspend()
    try:
        assert command(house, "kill", "--reason", "no database").returncode == 0
        count = order_count(house)
        run.says(PROVEN)
        assert house.open_ids("upbit") == set() and house.open_ids("binance") == {"somebody-else"}
        assert order_count(house) == count, "not one order after the kill switch was proven"
    finally:
        for process in family:
            process.resume()
    receipt = last_receipt(house.folder)
    assert receipt is not None and receipt.reason == "no database"
    shown = {each.venue: (each.own_orders, each.foreign_orders) for each in receipt.answers}
    assert shown == {"binance": (0, 1), "upbit": (0, 0)}
    assert {name for name in receipt.cancelled if HAND in name} == {f"{TAG}_1_zz{HAND}-{venue}" for venue in OPEN_ORDERS}
    killed_at_ns = receipt.killed_at_ns
    assert run.end(signal.SIGKILL) == -signal.SIGKILL

    again = house.start()
    again.says(REPORT)
    assert "kill switch: ON" in said(command(house, "status")) and order_count(house) == count
    assert "(kill)" in said(command(house, "status"))
    assert not any(isinstance(fact, PlanOpened) and fact.at_ns > killed_at_ns for fact in house.facts())
    assert "release: done" in said(command(house, "release", "--reason", "checked"))
    wait_until(lambda: order_count(house) > count, "it trades again once released", 60)
    quiet(house, again)
    assert house.unequal(ledger(house)) == {}


def test_a_start_while_an_exchange_is_away_stays_disarmed_and_arms_by_itself_when_it_comes_back(house: LiveHouse) -> None:
    run = trading(house)
    before = len(house.truth()["upbit"]["fills"])
    house.fault("lost", "upbit", "POST /v1/orders", times=0)
    house.fault("silent_private", "upbit")
    wait_until(lambda: house.has_struck("lost", "upbit"), "an order is sent whose answer is lost", 60)
    wait_until(lambda: len(house.truth()["upbit"]["fills"]) > before, "it fills", 60)
    run.end(signal.SIGKILL)
    house.heal()
    house.fault("cut", "upbit", "*", times=0)
    house.fault("cut", "upbit", "connect *", times=0)
    count = settled_count(house)
    again = house.start()
    again.says("upbit: nothing is sent before its key is checked")
    reasons = standing(house)["not_armed_because"]
    assert any(reason.startswith("upbit: nothing is sent before its key is checked: ") for reason in reasons), reasons
    assert order_count(house) == count and last_report(house.folder).at_ns < standing(house)["started_at_ns"]  # type: ignore[union-attr]  # the first start wrote one
    house.heal()
    again.says(REPORT)
    again.says(ARMED)
    quiet(house, again)
    assert house.unequal(ledger(house)) == {}
    sent_once(house)


def test_a_key_found_able_to_withdraw_only_when_the_exchange_comes_back_stops_the_daemon(house: LiveHouse) -> None:
    house.fault("cut", "upbit", "*", times=0)
    house.fault("cut", "upbit", "connect *", times=0)
    run = house.start()
    run.says("upbit: nothing is sent before its key is checked")
    house.heal()
    house.fault("error_before", "upbit", "DELETE /v1/withdraws/coin", times=0, status=404, body=WITHDRAWAL_UNKNOWN)
    assert run.process.wait(60) == 3 and order_count(house) == 0
    assert "refused to trade: upbit: the key may be able to withdraw" in run.text() and "Traceback" not in run.text()


def test_a_stop_with_an_order_unanswered_names_it_and_the_next_start_finds_its_fill(house: LiveHouse) -> None:
    run = trading(house)
    before = len(house.truth()["upbit"]["fills"])
    house.fault("silent_private", "upbit")
    house.fault("half_open", "upbit", "POST /v1/orders", times=0)
    house.fault("html", "upbit", "GET *", times=0)
    wait_until(lambda: house.has_struck("half_open", "upbit"), "an order is sent whose answer never comes", 60)
    wait_until(lambda: len(house.truth()["upbit"]["fills"]) > before, "it fills", 60)
    assert run.end() == 0
    text = run.text()
    assert "orders unanswered; the next start asks about them: " in text and "(stopping)" in text
    first = text.index("(stopping, arbitrages are under way)")
    assert first < text.index("orders unanswered"), "what is known is on disk before anything is waited for"
    house.heal()
    again = house.start()
    again.says(REPORT)
    again.says(ARMED)
    report = last_report(house.folder)
    assert report is not None and report.left_orders, "a snapshot with unanswered orders brings them back"
    quiet(house, again)
    assert house.unequal(ledger(house)) == {}
    sent_once(house)


def test_whoever_is_taken_over_sends_and_writes_nothing_more(house: LiveHouse) -> None:
    run = trading(house)
    house.query("UPDATE leases SET epoch = epoch + 1, holder = 'another'")
    assert run.process.wait(30) == 3
    assert "fenced: epoch 2 of another, ours is 1" in run.text() and "Traceback" not in run.text()
    assert "no snapshot is kept: the session belongs to another instance now" in run.text()


def test_a_key_that_can_withdraw_is_refused_before_anything_is_sent(house: LiveHouse) -> None:
    rights = {
        "ipRestrict": True, "createTime": 1, "enableReading": True, "enableSpotAndMarginTrading": True,
        "enableWithdrawals": True, "enableInternalTransfer": False, "enableMargin": False, "enableFutures": False,
        "permitsUniversalTransfer": False, "enableVanillaOptions": False, "enablePortfolioMarginTrading": False,
    }  # fmt: skip
    house.fault(
        "error_before", "binance", "GET /sapi/v1/account/apiRestrictions", times=0, status=200, body=json.dumps(rights)
    )
    run = house.start()
    assert run.process.wait(60) == 3
    last = run.text().splitlines()[-1]
    assert "MODE=live is refused: binance: the key can withdraw" in last and order_count(house) == 0
    house.heal()
    house.fault("error_before", "upbit", "DELETE /v1/withdraws/coin", times=0, status=404, body=WITHDRAWAL_UNKNOWN)
    run = house.start()
    assert run.process.wait(60) == 3 and "upbit: the key may be able to withdraw" in run.text() and order_count(house) == 0


def test_live_needs_its_confirmation_and_private_keys(house: LiveHouse) -> None:
    house.configure({"confirm_live": "yes"})
    run = house.start()
    assert run.process.wait(60) == 3 and "MODE=live is refused: " in run.text()
    house.configure({})
    (house.keys / "arbitrage-upbit-secret").chmod(0o640)
    run = house.start()
    assert run.process.wait(60) == 3 and "arbitrage-upbit-secret" in run.text() and "mode 0640" in run.text()
    (house.keys / "arbitrage-upbit-secret").unlink()
    run = house.start()
    assert run.process.wait(60) == 3 and "trading key arbitrage-upbit-secret: is missing" in run.text()
    assert order_count(house) == 0 and sum(house.truth()["binance"]["requests"].values()) == 0


def test_shadow_has_signed_orders_judged_and_executes_none(house: LiveHouse) -> None:
    house.configure({"mode": "shadow"})
    run = house.start()
    run.says(ARMED)
    run.says(ENDED)

    def tried(venue: str, endpoint: str) -> int:
        return int(house.truth()[venue]["requests"].get(endpoint, 0))

    wait_until(lambda: tried("binance", "POST /api/v3/order/test") > 1, "Binance judges orders")
    wait_until(lambda: tried("upbit", "POST /v1/orders/test") > 4, "Upbit judges orders, beside the key's check")
    wait_until(lambda: standing(house)["shadow"]["accepted"] > 2, "they would be taken")
    assert "shadow: tried " in said(command(house, "status"))
    assert run.end() == 0
    truth = house.truth()
    for venue in OPEN_ORDERS:
        assert truth[venue]["orders"] == [] and truth[venue]["fills"] == []
        assert not any("order" in name and name.startswith("POST") and "test" not in name for name in truth[venue]["requests"])
    assert any(isinstance(fact, FillBooked) for fact in house.facts()), "paper filled them"


def databases(house: House) -> list[psutil.Process]:
    pid = int((house.folder / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])
    postmaster = psutil.Process(pid)
    return [postmaster, *postmaster.children(recursive=True), psutil.Process(read_state(house.folder).redis_pid)]


def order_count(house: LiveHouse) -> int:
    truth = house.truth()
    return sum(len(truth[venue]["orders"]) for venue in OPEN_ORDERS)


def settled_count(house: LiveHouse) -> int:
    """Count the orders once no request of a killed daemon is left in a socket's buffer."""
    counts = [order_count(house)]

    def is_settled() -> bool:
        time.sleep(1.0)
        counts.append(order_count(house))
        return counts[-1] == counts[-2]

    wait_until(is_settled, "the exchanges have read what was sent")
    return counts[-1]
