"""The files of a migration folder, and how they are compared with what a database says was applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbitrage.store.migrations import Applied, MigrationRefused, migrations_dir, pending, read_migrations


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_text(f"-- {name}")
    return tmp_path


def applied(folder: Path, count: int) -> list[Applied]:
    return [Applied(each.number, each.name, each.sha256, "2026-01-01") for each in read_migrations(folder)[:count]]


def test_the_project_s_files_are_found_and_well_numbered() -> None:
    files = read_migrations(migrations_dir())
    assert [each.number for each in files] == list(range(1, len(files) + 1)) and files


def test_what_is_not_applied_is_pending_in_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "0001_a.sql", "0002_b.sql", "0003_c.sql")
    files = read_migrations(folder)
    assert [each.name for each in pending(files, applied(folder, 1))] == ["0002_b.sql", "0003_c.sql"]
    assert pending(files, applied(folder, 3)) == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("0001_a.sql", "0003_c.sql"), r"0003_c\.sql: number 0002 is missing before it"),
        (("0002_b.sql",), r"0002_b\.sql: number 0001 is missing before it"),
        (("0001_a.sql", "0001_b.sql"), r"0001_b\.sql: number 0001 is also 0001_a\.sql"),
        (("0001_a.sql", "later.sql"), r"later\.sql: name it like 0001_words\.sql"),
        (("0001_a.sql", "2_b.sql"), r"2_b\.sql: name it like"),
    ],
)
def test_a_missing_repeated_or_stray_number_is_refused_by_name(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(MigrationRefused, match=words):
        read_migrations(folder_of(tmp_path, *names))


def test_a_file_changed_by_one_byte_after_it_was_applied_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "0001_a.sql", "0002_b.sql")
    before = applied(folder, 1)
    (folder / "0001_a.sql").write_text("-- 0001_a.sql ")
    with pytest.raises(MigrationRefused, match=r"0001_a\.sql: changed since it was applied on 2026-01-01"):
        pending(read_migrations(folder), before)


def test_a_database_that_knows_more_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "0001_a.sql", "0002_b.sql")
    before = applied(folder, 2)
    (folder / "0002_b.sql").unlink()
    with pytest.raises(MigrationRefused, match=r"0002_b\.sql applied, this program knows up to 0001_a\.sql"):
        pending(read_migrations(folder), before)


def test_a_hole_in_what_was_applied_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "0001_a.sql", "0002_b.sql")
    with pytest.raises(MigrationRefused, match=r"0001_a\.sql: not applied, but the later 0002_b\.sql is"):
        pending(read_migrations(folder), applied(folder, 2)[1:])
