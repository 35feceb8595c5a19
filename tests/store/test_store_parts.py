"""The small parts: locks, durable files, endpoints, rows and their statements, the state file, what a user can reach."""

from __future__ import annotations

import gc
import re
import tempfile
import typing
from pathlib import Path

import msgspec
import pytest
from store_world import HUGE_E8, MARKETS, approved, entries, one_of_each, refused, snapshot

from arbitrage.model.facts import Fact
from arbitrage.model.settings import StoreSettings
from arbitrage.store import statements as sql
from arbitrage.store.embedded import STATE_FILE, EmbeddedState, postgres_of, read_state, redis_of
from arbitrage.store.endpoints import configured_postgres, configured_redis
from arbitrage.store.files import write_durably
from arbitrage.store.locks import FolderLock
from arbitrage.store.processes import RunAs
from arbitrage.store.records import Record
from arbitrage.store.rows import (
    LogRow,
    PositionRow,
    Scope,
    SnapshotRows,
    judged_row,
    log_row,
    rows_of_records,
    rows_of_snapshot,
)
from arbitrage.store.system_user import can_traverse

SCOPE = Scope("test", "main", MARKETS)


def slots(statement: str) -> int:
    return max(int(number) for number in re.findall(r"\$(\d+)", statement))


def test_a_lock_is_held_by_one_until_it_is_released(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert first.acquire() and first.acquire() and first.is_held
    assert not second.acquire() and not second.is_held
    first.release()
    assert second.acquire()


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o077 == 0 and list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_durably(path, b"one")
    (tmp_path / "state.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_durably(path, b"two")
    assert path.read_bytes() == b"one"


def test_an_empty_host_means_the_embedded_server() -> None:
    assert configured_postgres(StoreSettings()) is None and configured_redis(StoreSettings()) is None
    settings = StoreSettings(postgres_host="db", postgres_password="hunter2", redis_host="cache", redis_db=3)
    settings = msgspec.structs.replace(settings, redis_password="hunter3")
    postgres, redis = configured_postgres(settings), configured_redis(settings)
    assert postgres is not None and (postgres.host, postgres.port, postgres.password) == ("db", 5432, "hunter2")
    assert redis is not None and (redis.host, redis.port, redis.db) == ("cache", 6379, 3)
    assert "hunter" not in f"{postgres}{postgres!r}{redis}{redis!r}{[postgres, redis]}"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"postgres_port":"x"}'])
def test_an_unusable_state_file_counts_as_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / STATE_FILE).write_bytes(content)
    assert read_state(tmp_path) == EmbeddedState()


def test_the_state_file_tells_where_the_servers_listen_and_its_text_no_password(tmp_path: Path) -> None:
    state = EmbeddedState(11, "hunter2", 22, "hunter3", 33, 44)
    (tmp_path / STATE_FILE).write_bytes(msgspec.json.encode(state))
    read = read_state(tmp_path)
    assert read == state and "hunter" not in repr(read)
    assert (postgres_of(read).port, postgres_of(read).password, redis_of(read).port) == (11, "hunter2", 22)


def test_every_kind_of_fact_becomes_rows_that_fit_their_statements() -> None:
    facts = one_of_each()
    assert {type(fact) for fact in facts} == set(typing.get_args(Fact)), "a new kind of fact needs its rows"
    posted = tuple(entries() if number == 3 else () for number in range(len(facts)))
    batch = rows_of_records([Record(5, facts, posted)], 1, SCOPE)
    assert tuple(batch) == sql.FACT_ORDER
    for statement, rows in batch.items():
        assert rows, statement
        assert {len(row) for row in rows} == {slots(statement)}, statement
    assert [row[1] for row in batch[sql.INSERT_FACT]] == list(range(5, 5 + len(facts)))
    assert [row[1:3] for row in batch[sql.INSERT_ENTRY]] == [(8, line) for line in range(4)]
    assert sum(row[-1] for row in batch[sql.INSERT_ENTRY] if row[-2] == "KRW") == 0
    assert batch[sql.INSERT_ORDER][0][7] == "KRW-BTC" and batch[sql.INSERT_FILL][0][11] == HUGE_E8
    assert batch[sql.INSERT_RESTART_REPORT][0][3:5] == ("start", False)
    assert batch[sql.INSERT_KILL_RECEIPT][0][2:6] == (100, 102, "operator", "drill")


def test_a_market_number_that_the_configuration_lost_has_no_symbol() -> None:
    assert (SCOPE.symbol(1), SCOPE.symbol(3), SCOPE.symbol(-1)) == ("KRW-BTC", "", "")


def test_verdicts_logs_and_snapshots_fit_their_statements() -> None:
    for judged in (refused("a"), approved("b")):
        assert len(judged_row(judged, 1, SCOPE)) == slots(sql.INSERT_OPPORTUNITY) == slots(sql.TAKE_OPPORTUNITY)
    assert judged_row(refused("a"), 1, SCOPE)[-3:] == ("below_threshold", "edge 150 ppm under 200", None)
    assert judged_row(approved("b"), 1, SCOPE)[-3:] == (None, "", None)
    assert len(log_row(LogRow(1, "ERROR", "c", "t"), 1, 1)) == slots(sql.INSERT_LOG)
    full = SnapshotRows(snapshot(3), (PositionRow("upbit", "KRW", 1, 2),), {"a": 1.0}, msgspec.Raw(b"{}"))
    batch = rows_of_snapshot(full, 1)
    assert set(batch) == {sql.INSERT_SNAPSHOT, sql.INSERT_POSITION, sql.INSERT_METRICS, sql.INSERT_GUARD}
    for statement, rows in batch.items():
        assert {len(row) for row in rows} == {slots(statement)}, statement
    bare = rows_of_snapshot(SnapshotRows(snapshot(3)), 1)
    assert set(bare) == {sql.INSERT_SNAPSHOT, sql.INSERT_POSITION}


def test_money_is_never_deleted() -> None:
    deletions = " ".join(sql.prune_statement(table) for table in sql.RETENTION_DAYS) + sql.PRUNE_SNAPSHOTS
    for table in ("journal_facts", "plans", "orders", "fills", "ledger_entries", "leg_decisions"):
        assert f"FROM {table} " not in deletions
    assert "plan_id IS NULL" in sql.prune_statement("opportunities")
    with pytest.raises(AssertionError):
        sql.prune_statement("fills")


@pytest.mark.parametrize(
    ("mode", "passing"),
    [(0o711, "stranger colleague owner"), (0o710, "colleague owner"), (0o700, "owner"), (0o071, "stranger colleague")],
)
def test_a_user_passes_a_folder_by_the_bits_that_apply_to_it(mode: int, passing: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        outer = Path(name)
        found = outer.stat()
        users = {
            "stranger": RunAs("stranger", found.st_uid + 4321, found.st_gid + 4321),
            "colleague": RunAs("colleague", found.st_uid + 4321, found.st_gid),
            "owner": RunAs("owner", found.st_uid, found.st_gid),
        }
        outer.chmod(mode)
        assert [user for user, run_as in users.items() if can_traverse(outer / "inner", run_as)] == passing.split()
        outer.chmod(0o700)


def test_verdicts_that_wait_by_the_thousand_are_nothing_to_the_garbage_collector() -> None:
    """Each was ten objects that it looked at; 50,000 of them held the loop for 0.4 s a collection."""
    gc.collect()
    before = len(gc.get_objects())
    kept = [approved(f"a{number}") for number in range(500)] + [refused(f"r{number}", number) for number in range(500)]
    gc.collect()
    assert len(gc.get_objects()) - before < len(kept) / 10
