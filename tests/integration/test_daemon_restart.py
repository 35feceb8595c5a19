"""Every start is crash recovery: a tidy stop, a kill, damaged snapshots, and state that must not be trusted at all."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from daemon_lab import SESSION, House, Run, Venues, house_in, wait_until

from arbitrage.engine.engine import Engine
from arbitrage.ledger.ledger import Ledger
from arbitrage.ledger.state import LedgerState
from arbitrage.model.events import Funded
from arbitrage.model.facts import Fact, FillBooked, OrderIntended, PlanClosed, PlanOpened
from arbitrage.model.instruments import Venue
from arbitrage.model.money import Asset, format_e8
from arbitrage.model.snapshots import Snapshot
from arbitrage.ops.config import load
from arbitrage.store.journal import Journal

pytestmark = pytest.mark.integration
ARMED = "arbitrage.daemon: armed"
ENDED = "arbitrage.engine: arbitrage "
KILLS = 2


@pytest.fixture
def house(data_folder: Path) -> Iterator[House]:
    """A house whose orders travel long enough to be caught on their way."""
    with house_in(data_folder) as house:
        house.configure({"paper.latency_ms_median": 150})
        yield house
    wait_until(lambda: not processes_in(data_folder), "a killed daemon's servers are gone", 20)


def positions(house: House) -> str:
    """Write down the newest snapshot's positions as a start does."""
    snapshot = msgspec.json.decode(house.snapshots()[-1].read_bytes().partition(b"\n")[2], type=Snapshot)
    ledger = Ledger.restore(msgspec.json.decode(snapshot.sections["ledger"], type=LedgerState), lambda market: None)
    held = {node: ledger.total_e8(node) for node in ledger.nodes()}
    return ", ".join(f"{node} {format_e8(amount_e8)}" for node, amount_e8 in held.items() if amount_e8)


def open_plans(facts: list[Fact]) -> set[str]:
    """Return the plans that have not ended."""
    opened = {fact.plan_id for fact in facts if isinstance(fact, PlanOpened)}
    return opened - {fact.outcome.plan_id for fact in facts if isinstance(fact, PlanClosed)}


def fold(house: House) -> Engine:
    """Live the whole journal again in a fresh engine, which checks the ledger."""
    settings = load(house.config, house.environ).settings
    engine = Engine(settings.trading, settings.market_symbols, id_prefix="check")
    engine.restore(None, house.facts())
    engine.ledger.check()
    return engine


def assert_every_intent_is_new(facts: list[Fact]) -> None:
    """No order id was ever intended, and so sent, twice; no fill was booked twice."""
    planned = [order for fact in facts if isinstance(fact, PlanOpened) for order in fact.orders]
    intended = planned + [fact.order for fact in facts if isinstance(fact, OrderIntended)]
    ids = [order.client_order_id for order in intended]
    assert len(ids) == len(set(ids)) > 0
    trades = [(fact.fill.venue, fact.fill.market, fact.fill.trade_id) for fact in facts if isinstance(fact, FillBooked)]
    assert len(trades) == len(set(trades)) > 0


def trade_a_little(house: House) -> Run:
    run = house.start()
    run.says(ARMED)
    run.says(ENDED)
    return run


def test_a_tidy_stop_is_continued_with_equal_positions_within_seconds(house: House) -> None:
    run = trade_a_little(house)
    began = time.monotonic()
    assert run.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 8
    assert "snapshot saved" in run.text() and run.text().rstrip().endswith("stopped")
    kept, known = positions(house), house.facts()

    again = house.start()
    armed_s = again.says(ARMED)
    print(f"restart to armed: {armed_s:.2f} s after exec, warm, interpreter start included")
    assert armed_s < 10
    text = again.text()
    assert "restored session: snapshot of " in text and f"positions: {kept}\n" in text
    assert "new session" not in text and "Traceback" not in text and " ERROR " not in text
    again.says(ENDED)
    assert again.end(signal.SIGINT) == 0
    facts = house.facts()
    assert facts[: len(known)] == known and len(facts) > len(known)
    assert sum(isinstance(fact, Funded) for fact in facts) == len({(f.venue, f.asset) for f in facts if isinstance(f, Funded)})
    assert_every_intent_is_new(facts)
    fold(house)


def test_a_kill_in_the_middle_of_trading_loses_nothing_and_sends_nothing_twice(house: House) -> None:
    house.configure({"paper.latency_ms_median": 1_500})  # a plan is open long enough to be caught on a slow machine
    before: set[str] = set()
    for _ in range(KILLS):
        run = house.start()
        run.says("restored session" if before else "new session")
        wait_until(lambda known=frozenset(before): open_plans(house.facts()) - known, "a plan is open", 120)
        run.end(signal.SIGKILL)
        caught = open_plans(house.facts())
        assert caught, "it was caught in the middle"
        before |= caught
    house.configure({"paper.latency_ms_median": 150})  # orders that arrive late enough miss; these are to fill
    run = house.start()
    run.says("restored session")
    assert "open from before: " in run.text()
    wait_until(lambda: not open_plans(house.facts()) & before, "every plan of before has ended", 60)
    wait_until(lambda: any(isinstance(fact, FillBooked) for fact in house.facts()), "something filled", 120)
    assert run.end() == 0
    facts = house.facts()
    assert_every_intent_is_new(facts)
    engine = fold(house)
    closed = [fact.outcome for fact in facts if isinstance(fact, PlanClosed)]
    assert before <= {outcome.plan_id for outcome in closed} and all(outcome.state.is_terminal for outcome in closed)
    assert len(closed) == len({outcome.plan_id for outcome in closed})
    assert not before & {plan.plan_id for plan in engine.desk.open_plans()}
    assert "Traceback" not in "".join(run.text() for run in house.runs)


def written(house: House, snapshot: Snapshot, *, at_ns: int, version: int = 1) -> Path:
    """Write a snapshot file of our own, whole by its hash."""
    body = msgspec.json.encode(msgspec.structs.replace(snapshot, at_ns=at_ns, version=version))
    path = house.snapshots()[-1].with_name(f"snapshot-{snapshot.journal_sequence:020d}-{at_ns:020d}.json")
    header = f"arbitrage-snapshot {version} {hashlib.sha256(body).hexdigest()}\n"
    path.write_bytes(header.encode() + body)
    return path


def test_damaged_foreign_and_newer_snapshots_are_refused_by_name_and_the_one_before_is_used(house: House) -> None:
    assert trade_a_little(house).end() == 0
    kept = positions(house)
    newest = house.snapshots()[-1]
    snapshot = msgspec.json.decode(newest.read_bytes().partition(b"\n")[2], type=Snapshot)
    spoilt_sections = {**snapshot.sections, "ledger": msgspec.Raw(b'{"nonsense":1}')}
    later = [snapshot.at_ns + number for number in range(1, 4)]
    newer = written(house, snapshot, at_ns=later[2], version=99)
    strange = written(house, msgspec.structs.replace(snapshot, sections=spoilt_sections), at_ns=later[1])
    corrupt = written(house, snapshot, at_ns=later[0])
    corrupt.write_bytes(corrupt.read_bytes().replace(b'"session_id"', b'"sess1on_id"', 1))

    run = house.start()
    run.says("restored session: ")
    refused = [line for line in run.text().splitlines() if "snapshot refused: " in line]
    assert len(refused) == 3 and all("WARNING" in line for line in refused)
    for line, path, why in zip(
        refused, (newer, strange, corrupt), ("version 99 is newer", "not understood", "corrupt: its SHA-256"), strict=True
    ):
        assert str(path) in line and why in line
    assert f"positions: {kept}\n" in run.text()
    run.says(ARMED)
    assert run.end() == 0


def test_a_corrupt_newest_snapshot_costs_nothing_even_when_it_was_the_only_good_copy(house: House) -> None:
    assert trade_a_little(house).end() == 0
    kept = positions(house)
    for path in house.snapshots():
        path.write_bytes(path.read_bytes()[:-7])
    run = house.start()
    run.says(ARMED)
    assert "restored session: " in run.text()
    assert "snapshot refused: " in run.text() and f"positions: {kept}\n" in run.text()
    assert run.end() == 0


def append(house: House, *facts: Fact) -> None:
    """Write facts behind the daemon's back."""
    journal = Journal(house.session_dir / "journal", bytes_max=64_000_000)
    journal.append(facts)
    journal.close()


def test_a_clock_that_was_set_back_does_not_take_engine_time_with_it(house: House) -> None:
    house.configure({"market_data.clock_offset_ms_max": 60_000})  # the venues' clocks then seem behind: that is doubted too
    run = house.start()
    run.says("ready: ")
    assert run.end() == 0
    ahead_ns = time.time_ns() + 8_000_000_000
    append(house, Funded(ahead_ns, Venue("binance"), Asset("USDT"), 100_000_000, "from a clock that was ahead"))
    again = house.start()
    again.says("the clock was set back: engine time goes on ")
    again.says("ready: ")
    assert again.end() == 0
    assert all(fact.at_ns >= ahead_ns for fact in house.facts()[-1:])
    assert "Traceback" not in again.text()


def test_a_state_that_breaks_an_invariant_is_not_traded_on_and_ends_with_seventy(house: House) -> None:
    assert trade_a_little(house).end() == 0
    twice = next(fact for fact in house.facts() if isinstance(fact, PlanOpened))
    append(house, twice)
    run = house.start()
    assert run.process.wait(30) == 70
    text = run.text()
    assert "AssertionError: a plan opens once" in text and ARMED not in text
    assert not processes_in(house.folder), "its servers went with it"


def test_a_second_daemon_on_the_folder_is_refused_in_one_line_and_disturbs_nothing(house: House) -> None:
    first = house.start()
    first.says(ARMED)
    for session in (SESSION, "another"):
        second = house.start(ARBITRAGE__SESSION_NAME=session)
        assert second.process.wait(20) == 1
        (line,) = second.text().splitlines()
        assert "another daemon runs on this data folder" in line and f"process {first.process.pid}" in line
    first.says(ENDED, times=2)
    assert first.end() == 0
    assert not (house.folder / "sessions" / "development.another").exists()


def processes_in(folder: Path) -> list[psutil.Process]:
    """List live processes that work in the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if str(folder) in " ".join(process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_a_stop_during_start_up_ends_it_and_the_next_start_is_well(new_folder: Path) -> None:
    venues = Venues()
    house = House(new_folder, venues)
    run = house.start()
    run.says("starting: ")  # now it makes its database, which takes a second or more
    began = time.monotonic()
    run.end(signal.SIGTERM, 20)
    assert time.monotonic() - began < 15 and ARMED not in run.text() and "Traceback" not in run.text()
    wait_until(lambda: not processes_in(new_folder), "everything it started is gone", 20)
    again = house.start()
    again.says(ARMED)
    assert again.end() == 0
    venues.stop()


def test_orders_that_are_open_are_not_given_to_another_list_of_markets(house: House) -> None:
    house.configure({"paper.latency_ms_median": 1_500})
    run = house.start()
    wait_until(lambda: open_plans(house.facts()), "a plan is open", 120)
    run.end(signal.SIGKILL)
    caught = open_plans(house.facts())
    symbols = house.tree["venues"]["binance"]["symbols"]
    house.configure({"venues.binance.symbols": symbols[1:] + symbols[:1], "paper.latency_ms_median": 1_500})
    moved = house.start()
    assert moved.process.wait(30) == 2
    assert "put the old list back" in moved.text().splitlines()[-1] and "Traceback" not in moved.text()
    house.configure({})
    back = house.start()
    back.says(ARMED)
    wait_until(lambda: not caught & open_plans(house.facts()), "its plans end", 60)
    assert back.end() == 0
