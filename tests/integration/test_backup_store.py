"""Backups with a real PostgreSQL: damage is named and refused, a full disk leaves no half, an archive in trouble says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from store_backups import SESSION, house_with
from store_servers import eventually, fetch, reachable_folder

from arbitrage.app.clock import EngineClock
from arbitrage.store import migrations
from arbitrage.store.backups import Made, Place, Subject, make
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint
from arbitrage.store.manifests import BackupRefused, whole_backups
from arbitrage.store.restores import MARKER, Request, Restored, restore_folder, restore_server
from arbitrage.store.vault import Keyring, VaultDamaged
from arbitrage.store.wal_archive import SEALED, line_folder
from arbitrage.store.wal_keeper import WalKeeper, WalLimits
from arbitrage.store.wal_lines import open_line, server_version

pytestmark = pytest.mark.integration
KEYRING, OTHER = Keyring(b"a passphrase of tests"), Keyring(b"another passphrase!!!")
CLOCK = EngineClock()
FACTS = 7
FILES = ("manifest.json", "database.vault", "state.vault", "configuration.vault")
SWITCH_NS = 3_600 * 10**9


class Stand:
    """A data folder with a session in files and database, whose PostgreSQL runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.embedded = Embedded(folder, wants_postgres=True, wants_redis=False)
        self.embedded.start()
        self.endpoint = postgres_of(self.embedded.state)
        asyncio.run(migrations.apply(self.endpoint, migrations.migrations_dir(), folder / "dumps"))
        house_with(folder, FACTS).close()
        session = "INSERT INTO sessions (env, session_id, first_start_ns, last_start_ns, starts) VALUES ($1, $2, 1, 1, 1)"
        asyncio.run(fetch(self.endpoint, session, *SESSION.split(".")))

    def subject(self, kind: str = "base") -> Subject:
        version = asyncio.run(server_version(self.endpoint))
        return Subject(self.folder, self.endpoint, kind, *SESSION.split("."), b'{"a":1}', "v", "0", version)  # type: ignore[arg-type]  # one of the two words


@pytest.fixture(scope="module")
def stand(initialised: Path) -> Iterator[Stand]:
    folder = reachable_folder()
    subprocess.run(["cp", "-a", f"{initialised}/.", folder], check=True)
    stand = Stand(folder)
    yield stand
    stand.embedded.stop()
    shutil.rmtree(folder)


def place(directory: Path, keyring: Keyring = KEYRING, kept: int = 7) -> Place:
    return Place(directory, kept, keyring, CLOCK, lambda text: None)


def request(source: Path, keyring: Keyring = KEYRING) -> Request:
    return Request(source, keyring, lambda text: None)


@pytest.fixture(scope="module")
def made(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One encrypted base backup, for all who only read it."""
    return make(stand.subject(), place(tmp_path_factory.mktemp("backups")), None)


@pytest.fixture
def target(new_folder: Path) -> Path:
    return new_folder / "restored"


def refused(source: Path, target: Path, keyring: Keyring = KEYRING) -> str:
    with pytest.raises((BackupRefused, VaultDamaged)) as caught:
        restore_folder(request(source, keyring), target)
    assert not target.exists(), "nothing is written before everything was checked"
    return str(caught.value)


def test_a_backup_restores_into_an_empty_folder_whole(stand: Stand, made: Made, target: Path) -> None:
    restored = restore_folder(request(made.path), target)
    assert restored.held == {SESSION: 0} and restored.journals == {SESSION: FACTS}
    names = {str(path.relative_to(target)) for path in target.rglob("*.journal")}
    assert len(names) > 1 and not (target / MARKER).exists()
    assert (target / "restored" / "configuration.json").read_bytes() == b'{"a":1}'
    embedded = Embedded(target, wants_postgres=True, wants_redis=False)
    embedded.start()
    try:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        there, here = (asyncio.run(fetch(each, tables)) for each in (postgres_of(embedded.state), stand.endpoint))
        assert there == here
        assert embedded.state.postgres_password != stand.embedded.state.postgres_password
    finally:
        embedded.stop()
        if (target / "postgres").is_symlink():
            shutil.rmtree((target / "postgres").resolve())


@pytest.mark.parametrize(("keyring", "words"), [(OTHER, "another key"), (Keyring(), "is encrypted; give the key")])
def test_without_the_right_key_nothing_is_restored(made: Made, target: Path, keyring: Keyring, words: str) -> None:
    assert words in refused(made.path, target, keyring)


@pytest.mark.parametrize("damage", ["truncated", "one bit", "gone"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_nothing_is_restored(made: Made, new_folder: Path, name: str, damage: str) -> None:
    copy, target = new_folder / made.path.name, new_folder / "restored"
    shutil.copytree(made.path, copy)
    content = bytearray((copy / name).read_bytes())
    if damage == "gone":
        (copy / name).unlink()
    else:
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content if damage == "one bit" else content[:-5])
    assert f"{copy / name}" in refused(copy, target)


def test_a_folder_that_holds_anything_is_left_as_it_is(made: Made, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(BackupRefused, match="is not empty; nothing is overwritten"):
        restore_folder(request(made.path), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_base_backup_is_not_for_a_named_server(made: Made, postgres: PostgresEndpoint) -> None:
    with pytest.raises(BackupRefused, match="restore it with --to FOLDER"):
        restore_server(request(made.path), postgres, None)


def test_only_the_newest_stay_and_what_a_crash_left_goes(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "backup-20200101T000000.000Z.partial").mkdir()
    subject = stand.subject("dump")
    first, second, third = (make(subject, place(tmp_path, kept=2), None) for _ in range(3))
    assert whole_backups(tmp_path) == [second.path, third.path]
    assert third.removed == (first.path.name,)
    assert sorted(path.name for path in tmp_path.iterdir()) == [second.path.name, third.path.name, "lock"]


@pytest.mark.parametrize("where", ["a file", "a file/below"])
def test_a_folder_that_cannot_be_written_is_named(stand: Stand, tmp_path: Path, where: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(BackupRefused, match=f"{tmp_path / where}: cannot be written"):
        make(stand.subject("dump"), place(tmp_path / where), None)


def test_a_full_disk_leaves_no_half_of_a_backup_and_the_ones_before_stand(stand: Stand, new_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(new_folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        before = make(stand.subject("dump"), place(new_folder), None)
        with pytest.raises(BackupRefused, match=r"database\.vault: No space left on device; no backup was made"):
            make(stand.subject("base"), place(new_folder), None)
        assert sorted(path.name for path in new_folder.iterdir()) == [before.path.name, "lock"]
        (new_folder / before.path.name / "manifest.json").stat()
    finally:
        subprocess.run(["umount", "-l", str(new_folder)], check=True)


def test_two_backups_at_once_do_not_meet(stand: Stand, tmp_path: Path) -> None:
    errors: list[str] = []

    def second(text: str) -> None:
        with contextlib.suppress(AssertionError):
            try:
                make(stand.subject("dump"), place(tmp_path), None)
            except BackupRefused as refusal:
                errors.append(str(refusal))

    make(stand.subject("dump"), msgspec.structs.replace(place(tmp_path), say=second), None)
    assert errors and all("another backup is being made there" in error for error in errors)


# -- a named server -----------------------------------------------------------------------------------------------------


def test_a_dump_restores_into_an_empty_database_and_into_no_other(
    stand: Stand, postgres: PostgresEndpoint, tmp_path: Path
) -> None:
    made = make(stand.subject("dump"), place(tmp_path / "backups"), None)
    restored: Restored = restore_server(request(made.path), postgres, tmp_path / "data")
    assert restored.held == {SESSION: 0} and restored.journals == {SESSION: FACTS}
    assert list((tmp_path / "data" / "sessions" / SESSION / "journal").glob("*.journal"))
    with pytest.raises(BackupRefused, match="has tables; nothing is overwritten"):
        restore_server(request(made.path), postgres, None)


def test_a_dump_of_a_named_server_becomes_an_embedded_database_in_a_folder(stand: Stand, target: Path, tmp_path: Path) -> None:
    made = make(stand.subject("dump"), place(tmp_path), None)
    restored = restore_folder(request(made.path), target)
    assert restored.held == {SESSION: 0} and restored.archived is None
    if (target / "postgres").is_symlink():
        shutil.rmtree((target / "postgres").resolve())


# -- the archive --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def archiving(stand: Stand, directory: Path, bytes_max: int = 10**9) -> AsyncIterator[WalKeeper]:
    """Archive the stand's log into a folder, with a line of its own."""
    line = await open_line(stand.endpoint, "20260101T000000.000Z")
    limits = WalLimits(directory, KEYRING, SWITCH_NS, bytes_max)
    keeper = WalKeeper(lambda: stand.endpoint, stand.folder, limits, CLOCK)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(keeper.run())
            yield keeper
            task.cancel()
    finally:
        keeper.stop()
        slot = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'arbitrage_wal_%'"
        for _ in range(100):
            with contextlib.suppress(*POSTGRES_FAULTS):  # the server needs a moment to notice that its reader is gone
                await fetch(stand.endpoint, slot)
                break
            await asyncio.sleep(0.05)
        shutil.rmtree(stand.folder / "wal-stream" / line.name, ignore_errors=True)


async def write(stand: Stand) -> None:
    """Write something into the log."""
    await fetch(stand.endpoint, "CREATE TABLE IF NOT EXISTS noise (t text)")
    await fetch(stand.endpoint, "INSERT INTO noise SELECT repeat('x', 100) FROM generate_series(1, 100)")


def test_an_archive_that_cannot_be_written_says_so_and_goes_on_where_it_stopped(stand: Stand, tmp_path: Path) -> None:
    async def story() -> None:
        blocked = tmp_path / "wal"
        blocked.touch()
        async with archiving(stand, tmp_path) as keeper:
            await eventually(lambda: "does not go on" in keeper.health().trouble, 30)
            (stopped,) = await fetch(stand.endpoint, "SELECT pg_walfile_name(pg_current_wal_insert_lsn()) AS name")
            await write(stand)
            blocked.unlink()
            await eventually(lambda: keeper.health().trouble == "", 30)
            line = line_folder(tmp_path, keeper.health().line)
            await eventually(lambda: bool(list(line.glob("*.part"))), 30)
            await fetch(stand.endpoint, "SELECT pg_switch_wal()")
            kept = line / f"{stopped['name']}{SEALED}"
            await eventually(kept.exists, 30)
            assert not (line / f"{stopped['name']}.part").exists(), "what was written meanwhile is in it whole"

    asyncio.run(story())


def test_an_archive_that_reached_its_limit_names_it_and_postgresql_goes_on(stand: Stand, tmp_path: Path) -> None:
    async def story() -> None:
        tmp_path.joinpath("wal", "ballast").mkdir(parents=True)
        tmp_path.joinpath("wal", "ballast", "x").write_bytes(bytes(2_000_000))
        async with archiving(stand, tmp_path, bytes_max=1_000_000) as keeper:
            await eventually(lambda: "backup.wal_bytes_max (1000000 bytes)" in keeper.health().trouble, 30)
            await write(stand)
            assert await fetch(stand.endpoint, "SELECT 1")

    asyncio.run(story())


def test_without_a_backup_nothing_is_archived(stand: Stand, tmp_path: Path) -> None:
    async def story() -> None:
        keeper = WalKeeper(lambda: stand.endpoint, stand.folder, WalLimits(tmp_path, KEYRING, SWITCH_NS, 10**9), CLOCK)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(keeper.run())
            await write(stand)
            await asyncio.sleep(1)
            task.cancel()
        assert keeper.health().line == keeper.health().trouble == ""

    asyncio.run(story())
    assert not list(tmp_path.iterdir())
