"""The audit log on a real PostgreSQL: a chain that shows every change, and lines that no outage and no crash loses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_servers import eventually, fetch

from arbitrage.store import audit, migrations
from arbitrage.store.audit import AuditDraft, AuditLog, Kept, append_now, verify
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.ledger_nouns import Away
from arbitrage.store.reads import Reads, Wanted
from arbitrage.store.rows import Scope

pytestmark = pytest.mark.integration
SCOPE = Scope("test", "audited")
OFF, ON = "ALTER TABLE audit_log DISABLE TRIGGER ALL", "ALTER TABLE audit_log ENABLE TRIGGER ALL"


@pytest.fixture
def endpoint(postgres: PostgresEndpoint, tmp_path: Path) -> PostgresEndpoint:
    asyncio.run(migrations.apply(postgres, migrations.migrations_dir(), tmp_path / "dumps"))
    return postgres


def gone(endpoint: PostgresEndpoint) -> PostgresEndpoint:
    """Return a place where nobody listens."""
    return msgspec.structs.replace(endpoint, port=1)


def draft(number: int, **more: Any) -> AuditDraft:
    return AuditDraft(at_ns=number, actor="anna", address="::1", action="POST /x", **{"after": {"n": number}, **more})


def log_at(endpoint: PostgresEndpoint, folder: Path) -> AuditLog:
    return AuditLog(lambda: endpoint, SCOPE, folder)


async def written(log: AuditLog, numbers: Sequence[int]) -> None:
    for number in numbers:
        log.append(draft(number))
    assert await log.drain(10)


def checked(endpoint: PostgresEndpoint, folder: Path) -> audit.Verdict:
    return asyncio.run(verify(endpoint, folder))


def times(endpoint: PostgresEndpoint) -> list[int]:
    return [row["at_ns"] for row in asyncio.run(fetch(endpoint, "SELECT at_ns FROM audit_log ORDER BY number"))]


def test_lines_are_numbered_without_a_gap_over_starts_and_many_pages(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    asyncio.run(written(log_at(endpoint, tmp_path), range(1_200)))
    asyncio.run(written(log_at(endpoint, tmp_path), range(1_200, 1_210)))
    assert times(endpoint) == list(range(1_210))
    verdict = checked(endpoint, tmp_path)
    assert (verdict.is_whole, verdict.lines) == (True, 1_210)


def test_an_empty_log_is_whole(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    assert checked(endpoint, tmp_path).is_whole


@pytest.mark.parametrize(
    ("harm", "first_bad"),
    [
        ("UPDATE audit_log SET actor = 'eve' WHERE number = 3", 3),
        ("UPDATE audit_log SET after = '{}' WHERE number = 3", 3),
        ("UPDATE audit_log SET hash = repeat('0', 64) WHERE number = 3", 3),
        ("DELETE FROM audit_log WHERE number = 3", 3),
        ("DELETE FROM audit_log WHERE number >= 3", 3),
        ("DELETE FROM audit_log WHERE number = 5", 5),
        ("DELETE FROM audit_log", 1),
        ("UPDATE audit_log SET at_ns = at_ns + 1 WHERE number = 1", 1),
    ],
)
def test_every_change_is_found_at_its_line(endpoint: PostgresEndpoint, tmp_path: Path, harm: str, first_bad: int) -> None:
    asyncio.run(written(log_at(endpoint, tmp_path), range(5)))
    for statement in (OFF, harm, ON):
        asyncio.run(fetch(endpoint, statement))
    verdict = checked(endpoint, tmp_path)
    assert (verdict.is_whole, verdict.first_bad) == (False, first_bad)


def test_a_whole_chain_written_anew_is_found_by_what_this_machine_remembers(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    asyncio.run(written(log_at(endpoint, tmp_path), range(5)))
    for statement in (OFF, "DELETE FROM audit_log", ON):
        asyncio.run(fetch(endpoint, statement))
    asyncio.run(written(log_at(endpoint, tmp_path / "elsewhere"), range(100, 106)))
    assert not checked(endpoint, tmp_path).is_whole
    assert checked(endpoint, tmp_path / "elsewhere").is_whole


def test_the_database_itself_refuses_to_change_a_line(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    asyncio.run(written(log_at(endpoint, tmp_path), range(2)))
    for statement in ("UPDATE audit_log SET actor = ''", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(Exception, match="append-only"):
            asyncio.run(fetch(endpoint, statement))


def test_lines_wait_on_disk_without_the_database_and_outlive_the_process(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    async def away() -> None:
        log = log_at(gone(endpoint), tmp_path)
        for number in range(3):
            log.append(draft(number))
        assert not await log.flush() and log.waiting == 3 and log.last_error

    async def back() -> None:
        log = log_at(endpoint, tmp_path)
        assert log.waiting == 3
        log.append(draft(3))
        assert await log.drain(10)

    asyncio.run(away())
    asyncio.run(back())
    assert times(endpoint) == [0, 1, 2, 3]
    assert (tmp_path / "audit" / "spool.jsonl").read_bytes() == b""


def test_a_crash_between_the_write_and_the_spool_repeats_no_line(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    spool = tmp_path / "audit" / "spool.jsonl"

    async def first() -> bytes:
        log = log_at(endpoint, tmp_path)
        log.append(draft(1))
        log.append(draft(2))
        before = spool.read_bytes()
        assert await log.drain(10)
        return before

    spool.write_bytes(asyncio.run(first()))
    asyncio.run(written(log_at(endpoint, tmp_path), [3]))
    assert times(endpoint) == [1, 2, 3]
    assert checked(endpoint, tmp_path).is_whole


def test_a_torn_last_line_is_left_out_and_a_damaged_one_stops_nothing(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    log_at(gone(endpoint), tmp_path).append(draft(1))
    spool = tmp_path / "audit" / "spool.jsonl"
    spool.write_bytes(b"{nonsense}\n" + spool.read_bytes() + b'{"key":"half')
    asyncio.run(written(log_at(endpoint, tmp_path), [2]))
    assert times(endpoint) == [1, 2]


def test_the_spool_is_bounded_and_keeps_room_for_what_is_urgent(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    kept = Kept("k", 1, "a", "", "x", "", 200, "", "null", "null")
    lines = [msgspec.json.encode(msgspec.structs.replace(kept, key=str(number))) for number in range(audit.SPOOL_LINES_MAX)]
    (folder / "spool.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    log = log_at(gone(endpoint), tmp_path)
    assert log.is_full
    for number in range(audit.URGENT_LINES_MAX + 3):
        log.append(draft(number))
    assert (log.waiting, log.dropped) == (audit.SPOOL_LINES_MAX + audit.URGENT_LINES_MAX, 3)


def test_a_disk_that_takes_nothing_is_said_and_the_line_still_reaches_the_database(
    endpoint: PostgresEndpoint, tmp_path: Path
) -> None:
    log = log_at(endpoint, tmp_path)
    (tmp_path / "audit" / "spool.jsonl").mkdir()
    log.append(draft(1))
    assert log.is_full and "spool.jsonl" in log.trouble
    asyncio.run(log.flush())
    assert times(endpoint) == [1]


def test_daemon_and_command_line_write_one_chain(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for folder in ("a", "b"):
                group.create_task(written(log_at(endpoint, tmp_path / folder), range(50)))
            for number in range(20):
                group.create_task(append_now(endpoint, SCOPE, [draft(1_000 + number)]))

    asyncio.run(both())
    assert len(times(endpoint)) == 120
    assert checked(endpoint, tmp_path / "a").is_whole


def test_values_and_texts_are_bounded_and_cleaned(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    async def work() -> tuple[audit.AuditDraft, Any]:
        log = log_at(endpoint, tmp_path)
        log.append(draft(1, subject="\x00\ud800" + "s" * 900, before="b" * 20_000, reason="r\n"))
        assert await log.drain(10)
        columns = "env, session_id, first_start_ns, last_start_ns, starts"
        await fetch(endpoint, f"INSERT INTO sessions ({columns}) VALUES ('test', 'audited', 1, 1, 1)")
        reads = Reads(lambda: endpoint, SCOPE)
        found = await reads.audit(Wanted(limit=5, actor="anna"))
        nothing = await reads.audit(Wanted(limit=5, actor="eve"))
        await reads.close()
        return found, nothing

    found, nothing = asyncio.run(work())
    assert not isinstance(found, Away) and nothing == ()
    (line,) = found
    assert line.before["bytes"] == 20_002 and len(line.before["sha256"]) == 64
    assert line.after == {"n": 1} and len(line.subject) <= 520 and "\x00" not in line.subject
    assert checked(endpoint, tmp_path).is_whole


def test_the_task_that_writes_wakes_by_itself(endpoint: PostgresEndpoint, tmp_path: Path) -> None:
    async def work() -> None:
        log = log_at(endpoint, tmp_path)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(log.run())
            await asyncio.sleep(0.05)
            log.append(draft(1))
            await eventually(lambda: not log.waiting)
            running.cancel()

    asyncio.run(work())
    assert times(endpoint) == [1]
