"""Facts, verdicts, logs and snapshots reach PostgreSQL once, with every unit of money; a restart finds them all."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_servers import fetch
from store_world import (
    BTC,
    HUGE_E8,
    MARKETS,
    appends,
    approved,
    count_of_each,
    entries,
    funding,
    one_of_each,
    opportunity,
    refused,
    snapshot,
    ticking_clock,
)

from arbitrage.model.effects import Append
from arbitrage.model.facts import PlanOpened
from arbitrage.model.opportunities import Residual
from arbitrage.model.settings import StoreSettings
from arbitrage.store.endpoints import configured_postgres
from arbitrage.store.rows import ConfigurationRow, LogRow, PositionRow, SnapshotRows
from arbitrage.store.segments import JournalRefused
from arbitrage.store.snapshots import Candidate, RefusedSnapshot
from arbitrage.store.stores import Extras, Stores

pytestmark = pytest.mark.integration
Query = Callable[..., list[dict[str, Any]]]


EARLY = ticking_clock(start_ns=200)
"""A clock in the time of the test's facts (1970), so that retention keeps them."""


async def opened(settings: StoreSettings, session: str = "main", clock: Callable[[], int] = EARLY) -> Stores:
    return await Stores.open(settings, "test", session, clock, extras=Extras(markets=MARKETS))


async def working(settings: StoreSettings, work: Callable[[Stores], None], clock: Callable[[], int] = EARLY) -> Stores:
    """Open, run the background work, let `work` use the stores, and close: everything offered is written meanwhile."""
    stores = await opened(settings, clock=clock)
    task = asyncio.ensure_future(stores.run())
    work(stores)
    assert await stores.writer.drain(10.0), stores.health()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stores.close()
    return stores


def test_a_plan_stands_in_every_table_with_exact_money(store_settings: StoreSettings, query: Query) -> None:
    asyncio.run(working(store_settings, lambda stores: stores.append(appends(one_of_each()))))
    assert [row["kind"] for row in query("SELECT kind FROM journal_facts ORDER BY sequence")] == [
        str(fact.__struct_config__.tag) for fact in one_of_each()
    ]
    (plan,) = query("SELECT * FROM plans")
    assert (plan["state"], plan["realised_e8"], plan["closed_at_ns"]) == ("recovered", Decimal(-HUGE_E8), 90)
    assert msgspec.json.decode(plan["residuals"], type=list[Residual]) == [Residual(BTC, -3, -9)]
    first, second = query("SELECT * FROM orders ORDER BY client_order_id")
    assert (first["state"], first["filled_quantity_e8"], first["reason"]) == ("cancelled", 5 * 10**7, "rest of an IOC\ufffd")
    assert (second["state"], second["price_e8"], second["symbol"]) == ("intended", Decimal(HUGE_E8), "KRW-BTC")
    (fill,) = query("SELECT * FROM fills")
    assert (fill["quote_e8"], fill["fee_asset"], fill["trade_id"]) == (Decimal(HUGE_E8), "KRW", "t1")
    (decision,) = query("SELECT * FROM leg_decisions")
    assert decision["choice"] == "complete" and len(msgspec.json.decode(decision["alternatives"])) == 1
    (taken,) = query("SELECT * FROM opportunities")
    assert (taken["plan_id"], taken["refusal"], taken["amount_out_e8"]) == ("p1", None, Decimal(HUGE_E8 + 100))
    assert query("SELECT asset, sum(amount_e8) AS total FROM ledger_entries GROUP BY asset ORDER BY asset") == [
        {"asset": "BTC", "total": Decimal(0)},
        {"asset": "KRW", "total": Decimal(0)},
    ]
    (fact,) = query("SELECT sequence FROM journal_facts WHERE kind = 'fill_booked'")
    assert {row["sequence"] for row in query("SELECT sequence FROM ledger_entries")} == {fact["sequence"]}


def test_verdicts_logs_configuration_and_snapshot_tables_are_written(store_settings: StoreSettings, query: Query) -> None:
    def work(stores: Stores) -> None:
        stores.offer_judged(refused("low"))
        stores.offer_judged(approved("good"))
        for text in ("twice", "twice"):
            stores.offer_log(LogRow(7, "WARNING", "gap", text + "\x00", {"market": 1}))
        stores.offer_configuration(ConfigurationRow(8, "abc", "sighup", b'{"risk":{}}'))
        guard = msgspec.Raw(b'{"loss_today_e8":-5}')
        position = PositionRow("upbit", "KRW", HUGE_E8, 1)
        stores.save_snapshot_now(SnapshotRows(snapshot(0, at_ns=9), (position,), {"trades_per_minute": 2.5}, guard))

    asyncio.run(working(store_settings, work))
    found = query("SELECT opportunity_id, refusal, plan_id, net_e8 FROM opportunities ORDER BY opportunity_id")
    assert [tuple(row.values()) for row in found] == [("good", None, None, 100), ("low", "below_threshold", None, 100)]
    assert [row["text"] for row in query("SELECT text FROM system_logs")] == ["twice\ufffd", "twice\ufffd"]
    assert query("SELECT version, actor FROM configuration_versions") == [{"version": "abc", "actor": "sighup"}]
    assert query("SELECT free_e8, reserved_e8 FROM position_snapshots") == [{"free_e8": HUGE_E8, "reserved_e8": 1}]
    assert query("SELECT metrics::text AS m FROM metrics_snapshots") == [{"m": '{"trades_per_minute":2.5}'}]
    assert query("SELECT state->>'loss_today_e8' AS loss FROM risk_guard_snapshots") == [{"loss": "-5"}]
    assert len(query("SELECT * FROM session_snapshots")) == 1


def test_an_approved_opportunity_is_linked_to_its_plan_whichever_row_comes_first(
    store_settings: StoreSettings, query: Query
) -> None:
    plan = one_of_each("1")[1]
    assert isinstance(plan, PlanOpened)
    asyncio.run(working(store_settings, lambda stores: stores.append([Append(plan)])))
    asyncio.run(working(store_settings, lambda stores: stores.offer_judged(approved("o1"))))
    asyncio.run(working(store_settings, lambda stores: stores.offer_judged(approved("o2"))))
    later = msgspec.structs.replace(plan, plan_id="p2", opportunity=opportunity("o2"), orders=())
    asyncio.run(working(store_settings, lambda stores: stores.append([Append(later)])))
    assert query("SELECT opportunity_id, plan_id FROM opportunities ORDER BY 1") == [
        {"opportunity_id": "o1", "plan_id": "p1"},
        {"opportunity_id": "o2", "plan_id": "p2"},
    ]


def test_writing_the_same_journal_again_changes_nothing(store_settings: StoreSettings, query: Query) -> None:
    asyncio.run(working(store_settings, lambda stores: stores.append(appends(one_of_each()))))
    tables = ("journal_facts", "orders", "plans", "fills", "ledger_entries", "opportunities", "leg_decisions")
    before = {table: query(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables}
    stores = asyncio.run(working(store_settings, lambda _: None))
    assert stores.writer.counters.facts_written == 0 and stores.writer.written_sequence == count_of_each()
    assert {table: query(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables} == before
    (session,) = query("SELECT starts, env, session_id FROM sessions")
    assert session == {"starts": 2, "env": "test", "session_id": "main"}


def test_two_sessions_share_the_database_and_nothing_else(store_settings: StoreSettings, query: Query) -> None:
    async def two() -> None:
        for name in ("a", "b"):
            stores = await opened(store_settings, name)
            stores.append([Append(funding(1))])
            await stores.close()

    asyncio.run(two())
    assert query("SELECT session, sequence FROM journal_facts ORDER BY 1") == [
        {"session": 1, "sequence": 1},
        {"session": 2, "sequence": 1},
    ]


def test_another_writer_of_the_same_numbers_is_found_and_nothing_is_written_over(
    store_settings: StoreSettings, query: Query, tmp_path: Path
) -> None:
    asyncio.run(working(store_settings, lambda stores: stores.append([Append(funding(1))])))
    query("UPDATE journal_facts SET body = $1", msgspec.json.encode(funding(8)).decode())

    async def again() -> Stores:
        stores = await opened(store_settings)
        stores.append([Append(funding(2))])
        await stores.close()
        return stores

    stores = asyncio.run(again())
    assert "fact 1 in PostgreSQL is not the journal's" in stores.writer.last_error
    assert not stores.writer.is_drained and len(query("SELECT * FROM journal_facts")) == 1


def test_a_lost_journal_folder_goes_on_from_postgresql(store_settings: StoreSettings, query: Query, tmp_path: Path) -> None:
    def work(stores: Stores) -> None:
        stores.append(appends(one_of_each()))
        stores.save_snapshot_now(SnapshotRows(snapshot(4, at_ns=50)))
        stores.append([Append(funding(10))])

    asyncio.run(working(store_settings, work))
    shutil.rmtree(tmp_path / "sessions")

    async def restart() -> tuple[list[Candidate | RefusedSnapshot], list[tuple[int, object]], int]:
        stores = await opened(store_settings)
        candidates = await stores.load_candidates()
        facts = await stores.facts_after(4)
        sequence = stores.append([Append(funding(11))])
        await stores.close()
        assert stores.writer.is_drained
        return candidates, list(facts), sequence

    (candidate,), facts, sequence = asyncio.run(restart())
    assert isinstance(candidate, Candidate) and candidate.snapshot == snapshot(4, at_ns=50)
    assert facts == [*enumerate((*one_of_each()[4:], funding(10)), 5)]
    assert sequence == count_of_each() + 2
    assert [row["sequence"] for row in query("SELECT sequence FROM journal_facts ORDER BY 1")] == list(range(1, sequence + 1))


def test_an_old_copy_of_the_journal_is_refused(store_settings: StoreSettings, tmp_path: Path) -> None:
    asyncio.run(working(store_settings, lambda stores: stores.append([Append(funding(1))])))
    shutil.copytree(tmp_path / "sessions", tmp_path / "copy")
    asyncio.run(working(store_settings, lambda stores: stores.append([Append(funding(2))])))
    shutil.rmtree(tmp_path / "sessions")
    (tmp_path / "copy").rename(tmp_path / "sessions")
    with pytest.raises(JournalRefused, match="ends at fact 1, but 2 is known elsewhere"):
        asyncio.run(opened(store_settings))


def test_snapshots_are_offered_newest_first_from_both_places_and_bad_ones_by_name(
    store_settings: StoreSettings, query: Query, tmp_path: Path
) -> None:
    def work(stores: Stores) -> None:
        stores.append([Append(funding(number)) for number in range(1, 4)])
        for sequence in (1, 2, 3):
            stores.save_snapshot_now(SnapshotRows(snapshot(sequence, at_ns=sequence)))

    asyncio.run(working(store_settings, work))
    newest = next((tmp_path / "sessions/test.main/snapshots").glob("*0003-*.json"))
    newest.write_bytes(newest.read_bytes()[:-5])

    async def candidates() -> list[Candidate | RefusedSnapshot]:
        stores = await opened(store_settings)
        try:
            return await stores.load_candidates()
        finally:
            await stores.close()

    first, second, *others = asyncio.run(candidates())
    assert isinstance(first, RefusedSnapshot) and str(newest) == first.name and "SHA-256" in first.reason
    assert isinstance(second, Candidate) and second.name == "session_snapshots(3, 3)"
    assert second.snapshot == snapshot(3, 3)
    assert [each.snapshot.journal_sequence for each in others if isinstance(each, Candidate)] == [2, 1]
    query("UPDATE session_snapshots SET body = replace(body, '-5', '-6')")
    first, second, third, *_ = asyncio.run(candidates())
    assert isinstance(first, RefusedSnapshot) and isinstance(second, RefusedSnapshot)
    assert isinstance(third, Candidate) and third.snapshot.journal_sequence == 2


def test_a_snapshot_takes_the_place_of_the_oldest_row(store_settings: StoreSettings, query: Query) -> None:
    """A dump before a migration carries every row, and a start waits for it."""

    def save(stores: Stores) -> None:
        stores.append([Append(funding(1))])
        stores.save_snapshot_now(SnapshotRows(snapshot(1, at_ns=1_000)))

    asyncio.run(working(store_settings, save))
    query("INSERT INTO session_snapshots SELECT session, 0, n, 1, '', '' FROM sessions, generate_series(1, 60) AS n")
    asyncio.run(working(store_settings, lambda stores: stores.save_snapshot_now(SnapshotRows(snapshot(1, at_ns=2_000)))))
    kept = [row["at_ns"] for row in query("SELECT at_ns FROM session_snapshots ORDER BY at_ns")]
    assert kept == [*range(43, 61), 1_000, 2_000]


def test_untaken_opportunities_and_logs_are_dropped_and_counted_past_the_bound_and_facts_are_not(
    store_settings: StoreSettings, query: Query
) -> None:
    settings = msgspec.structs.replace(store_settings, writer_queue_max=10)

    async def flood() -> Stores:
        stores = await opened(settings)
        for number in range(100):
            stores.offer_judged(refused(f"r{number:03d}"))
            stores.offer_log(LogRow(number, "ERROR", "code", "text"))
            stores.append([Append(funding(number))])
        stores.offer_judged(approved("kept"))
        await stores.close()
        return stores

    counters = asyncio.run(flood()).writer.counters
    assert (counters.opportunities_dropped, counters.logs_dropped, counters.facts_written) == (90, 90, 100)
    kept = [row["opportunity_id"] for row in query("SELECT opportunity_id FROM opportunities ORDER BY 1")]
    assert kept == ["kept", *(f"r{number:03d}" for number in range(90, 100))]


def test_a_batch_that_fails_half_way_leaves_nothing_and_is_written_whole_later(
    store_settings: StoreSettings, query: Query, until: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    endpoint = configured_postgres(store_settings)
    assert endpoint is not None

    async def scene() -> None:
        stores = await opened(store_settings)
        for table in ("orders", "system_logs"):
            await fetch(endpoint, f"ALTER TABLE {table} RENAME TO {table}_away")
        task = asyncio.ensure_future(stores.run())
        stores.append(appends(one_of_each()))
        await until(lambda: stores.writer.counters.faults > 0)
        assert "orders" in stores.writer.last_error
        assert await fetch(endpoint, "SELECT sequence FROM journal_facts") == [], "facts come with all their rows"
        await fetch(endpoint, "ALTER TABLE orders_away RENAME TO orders")
        await until(lambda: stores.writer.written_sequence == count_of_each())
        faults = stores.writer.counters.faults
        stores.offer_log(LogRow(7, "ERROR", "first", "text"))
        stores.offer_log(LogRow(7, "ERROR", "second", "text"))
        stores.offer_judged(refused("r"))
        await until(lambda: stores.writer.counters.faults > faults)
        await fetch(endpoint, "ALTER TABLE system_logs_away RENAME TO system_logs")
        assert await stores.writer.drain(10.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stores.close()

    asyncio.run(scene())
    assert [row["code"] for row in query("SELECT code FROM system_logs ORDER BY number")] == ["first", "second"]
    assert query("SELECT count(*) FROM opportunities") == [{"count": 2}]
    assert query("SELECT count(*) FROM orders") == [{"count": 2}]


def test_retention_removes_old_rows_and_never_money(store_settings: StoreSettings, query: Query) -> None:
    def work(stores: Stores) -> None:
        stores.append(appends(one_of_each()))  # dated 1970: far past any retention
        stores.offer_judged(refused("old"))
        stores.offer_judged(refused("new", time.time_ns()))
        stores.offer_log(LogRow(7, "WARNING", "old", "old"))
        stores.offer_log(LogRow(time.time_ns(), "WARNING", "new", "new"))

    asyncio.run(working(store_settings, work, EARLY))
    assert query("SELECT count(*) FROM opportunities")[0]["count"] == 3
    asyncio.run(working(store_settings, lambda stores: stores.append([Append(funding(1))]), time.time_ns))
    left = {row["opportunity_id"] for row in query("SELECT opportunity_id FROM opportunities")}
    assert left == {"o1", "new"}, "the taken one stays for ever"
    assert [row["code"] for row in query("SELECT code FROM system_logs")] == ["new"]
    assert query("SELECT count(*) FROM journal_facts")[0]["count"] == count_of_each() + 1
    assert query("SELECT count(*) FROM ledger_entries")[0]["count"] == len(entries())


def test_whoever_was_taken_over_writes_not_one_row_more(store_settings: StoreSettings, query: Query) -> None:
    async def scene() -> str:
        stores = await opened(store_settings)
        stores.writer.epoch = 1
        postgres = configured_postgres(store_settings)
        assert postgres is not None
        await fetch(postgres, "INSERT INTO leases VALUES ('test', 'main', 1, 'we', 1)")
        stores.append(appends([funding(1)]))
        assert await stores.writer.drain(10.0), stores.health()
        await fetch(postgres, "UPDATE leases SET epoch = 2, holder = 'another'")
        stores.append(appends([funding(2)]))
        stores.offer_log(LogRow(1, "ERROR", "", "late", {}))
        assert not await stores.writer.drain(2.0)
        await stores.close()
        return stores.health().postgres_error

    assert asyncio.run(scene()) == "Overtaken: the lease bears epoch 2, ours is 1"
    assert [row["n"] for row in query("SELECT count(*) AS n FROM journal_facts")] == [1]
    assert query("SELECT * FROM system_logs") == []
