"""Migrations reach a real PostgreSQL once each, in order, under a lock, after a dump; a changed history is refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbitrage.store import dumps, migrations
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.migrations import MigrationRefused

pytestmark = pytest.mark.integration
Query = Callable[..., list[dict[str, Any]]]

ASKED_FOR = {
    "session_snapshots",
    "position_snapshots",
    "metrics_snapshots",
    "risk_guard_snapshots",
    "system_logs",
    "opportunities",
    "plans",
    "orders",
    "fills",
    "ledger_entries",
    "configuration_versions",
}


def sql_folder(tmp_path: Path, *files: str) -> Path:
    folder = tmp_path / "sql"
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(files, 1):
        (folder / f"{number:04d}_step.sql").write_text(text)
    return folder


def apply(postgres: PostgresEndpoint, folder: Path, tmp_path: Path) -> migrations.MigrationReport:
    return asyncio.run(migrations.apply(postgres, folder, tmp_path / "dumps"))


def test_the_project_s_migrations_make_every_table_asked_for(postgres: PostgresEndpoint, tmp_path: Path, query: Query) -> None:
    report = apply(postgres, migrations.migrations_dir(), tmp_path)
    assert report.dump is None, "an empty database needs no dump"
    tables = {row["tablename"] for row in query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert tables >= ASKED_FOR
    for column in query(
        "SELECT table_name, column_name, data_type, numeric_scale FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_name LIKE '%\\_e8'"
    ):
        assert (column["data_type"], column["numeric_scale"]) == ("numeric", 0), column


def test_status_and_plan_change_nothing_and_apply_runs_once(postgres: PostgresEndpoint, tmp_path: Path, query: Query) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int)", "CREATE TABLE b (x int)")
    planned = asyncio.run(migrations.plan(postgres, folder))
    before = asyncio.run(migrations.status(postgres, folder))
    assert [each.name for each in planned] == ["0001_step.sql", "0002_step.sql"] and all(each.is_pending for each in before)
    assert query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [{"count": 0}]
    assert apply(postgres, folder, tmp_path).applied == ("0001_step.sql", "0002_step.sql")
    assert apply(postgres, folder, tmp_path).applied == ()
    assert asyncio.run(migrations.plan(postgres, folder)) == []
    assert not any(each.is_pending for each in asyncio.run(migrations.status(postgres, folder)))


def test_two_appliers_at_once_apply_each_file_once(postgres: PostgresEndpoint, tmp_path: Path, query: Query) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int); SELECT pg_sleep(0.3); INSERT INTO a VALUES (1)")

    async def both() -> list[migrations.MigrationReport]:
        return await asyncio.gather(*(migrations.apply(postgres, folder, tmp_path / "dumps") for _ in range(2)))

    reports = asyncio.run(both())
    assert sorted(len(report.applied) for report in reports) == [0, 1]
    assert query("SELECT count(*) FROM a") == [{"count": 1}]


def test_a_changed_applied_file_is_refused_by_name(postgres: PostgresEndpoint, tmp_path: Path, query: Query) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int)")
    apply(postgres, folder, tmp_path)
    sql_folder(tmp_path, "CREATE TABLE a (x bigint)", "CREATE TABLE b (x int)")
    for call in (migrations.plan, migrations.status):
        with pytest.raises(MigrationRefused, match=r"0001_step\.sql: changed since it was applied on 20"):
            asyncio.run(call(postgres, folder))
    with pytest.raises(MigrationRefused, match=r"0001_step\.sql: changed"):
        apply(postgres, folder, tmp_path)
    assert query("SELECT to_regclass('b') AS b") == [{"b": None}]


def test_a_database_newer_than_the_program_is_refused(postgres: PostgresEndpoint, tmp_path: Path) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int)", "CREATE TABLE b (x int)")
    apply(postgres, folder, tmp_path)
    (folder / "0002_step.sql").unlink()
    with pytest.raises(MigrationRefused, match=r"0002_step\.sql applied, this program knows up to 0001_step\.sql"):
        apply(postgres, folder, tmp_path)


def test_a_failing_file_leaves_itself_undone_and_those_before_it_applied(
    postgres: PostgresEndpoint, tmp_path: Path, query: Query
) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int)", "CREATE TABLE b (x int); SELECT 1/0")
    with pytest.raises(MigrationRefused, match=r"0002_step\.sql: division by zero \(SQLSTATE 22012\)"):
        apply(postgres, folder, tmp_path)
    assert query("SELECT to_regclass('b') AS b") == [{"b": None}]
    assert query("SELECT number FROM schema_migrations") == [{"number": 1}]
    sql_folder(tmp_path, "CREATE TABLE a (x int)", "CREATE TABLE b (x int)")
    assert apply(postgres, folder, tmp_path).applied == ("0002_step.sql",)


def test_a_file_whose_record_cannot_be_written_is_undone_whole(
    postgres: PostgresEndpoint, tmp_path: Path, query: Query
) -> None:
    folder = sql_folder(
        tmp_path, "CREATE TABLE a (x int); INSERT INTO schema_migrations (number, name, sha256) VALUES (1, 'x', 'y')"
    )
    with pytest.raises(MigrationRefused, match=r"0001_step\.sql: duplicate key"):
        apply(postgres, folder, tmp_path)
    assert query("SELECT to_regclass('a') AS a") == [{"a": None}]
    assert query("SELECT count(*) FROM schema_migrations") == [{"count": 0}]


def test_a_dump_is_taken_before_a_filled_database_changes_and_it_restores(
    postgres: PostgresEndpoint, tmp_path: Path, query: Query
) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int); INSERT INTO a VALUES (41)")
    apply(postgres, folder, tmp_path)
    sql_folder(tmp_path, "CREATE TABLE a (x int); INSERT INTO a VALUES (41)", "DROP TABLE a")
    dump = apply(postgres, folder, tmp_path).dump
    assert dump is not None and dump.name.endswith("-before-0002.dump") and dump.stat().st_mode & 0o077 == 0
    assert query("SELECT to_regclass('a') AS a") == [{"a": None}]
    program = dumps.embedded_program("pg_restore")
    assert program is not None
    where = [
        f"--host={postgres.host}",
        f"--port={postgres.port}",
        f"--username={postgres.user}",
        f"--dbname={postgres.database}",
    ]
    environment = os.environ | {"PGPASSWORD": postgres.password}
    subprocess.run(
        [program, *where, f"--dbname={postgres.database}", "--clean", "--if-exists", dump],
        env=environment,
        check=True,
        capture_output=True,
    )
    assert query("SELECT x FROM a") == [{"x": 41}]
    assert [each.name for each in asyncio.run(migrations.plan(postgres, folder))] == ["0002_step.sql"]


def test_no_change_is_made_when_no_dump_can_be_taken(postgres: PostgresEndpoint, tmp_path: Path, query: Query) -> None:
    folder = sql_folder(tmp_path, "CREATE TABLE a (x int)")
    apply(postgres, folder, tmp_path)
    sql_folder(tmp_path, "CREATE TABLE a (x int)", "DROP TABLE a")
    (tmp_path / "dumps").write_text("a file stands where the folder should be")
    with pytest.raises(OSError, match="exists"):
        apply(postgres, folder, tmp_path)
    assert query("SELECT to_regclass('a')::text AS a") == [{"a": "a"}]


def test_dumps_are_bounded(postgres: PostgresEndpoint, tmp_path: Path) -> None:
    async def many() -> list[Path]:
        return [await dumps.take_dump(postgres, tmp_path / "dumps", f"{n:03d}.dump") for n in range(dumps.DUMPS_KEPT + 2)]

    taken = asyncio.run(many())
    assert sorted((tmp_path / "dumps").iterdir()) == taken[2:]


def test_a_failed_dump_names_the_server_and_never_the_password(postgres: PostgresEndpoint, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(postgres, password="hunter2-wrong")
    with pytest.raises(dumps.DumpRefused, match="pg_dump of postgresql://arbitrage@127") as refusal:
        asyncio.run(dumps.take_dump(wrong, tmp_path, "x.dump"))
    assert "hunter2" not in str(refusal.value) and list(tmp_path.iterdir()) == []


def test_an_endpoint_never_shows_its_password(postgres: PostgresEndpoint) -> None:
    assert postgres.password and postgres.password not in f"{postgres} {postgres!r} {[postgres]}"

    async def refuse() -> None:
        await connect_postgres(msgspec.structs.replace(postgres, password="hunter2-wrong"))

    with pytest.raises(Exception, match="password authentication failed") as refusal:
        asyncio.run(refuse())
    assert "hunter2" not in str(refusal.value)
