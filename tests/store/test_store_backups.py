"""A backup's own files: manifests that cannot be swapped, journals copied while they are written, states compared by hash."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
import pytest
from store_backups import SESSION, house_with, manifest
from store_world import funding

from arbitrage.ledger.ledger import Ledger
from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot
from arbitrage.store.backups import check_stored
from arbitrage.store.base_backup import check_base
from arbitrage.store.house_files import HouseFiles, put_members, read_members, whole_records
from arbitrage.store.journal import Journal
from arbitrage.store.manifests import MANIFEST, BackupRefused, StoredFile, peek, read, signed, stamp, whole_backups
from arbitrage.store.restores import MARKER, refuse_half_restored
from arbitrage.store.segments import JournalRefused
from arbitrage.store.snapshots import SnapshotFiles
from arbitrage.store.state_hash import fold, states_of
from arbitrage.store.vault import FrameReader, Keyring, VaultDamaged

KEYRING, OTHER = Keyring(b"a passphrase of tests"), Keyring(b"another passphrase!!!")


def put(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(content)
    return folder


def written(folder: Path, keyring: Keyring, **changes: object) -> Path:
    sealed = keyring.fresh_header()
    whole = signed(manifest(sealed=sealed, is_encrypted=keyring.has_key, **changes), keyring)
    return put(folder, msgspec.json.encode(whole))


def test_a_manifest_comes_back_with_the_key_that_signed_it(tmp_path: Path) -> None:
    assert read(written(tmp_path / "backup-1", KEYRING, seconds=7.0), KEYRING).seconds == 7.0
    assert read(written(tmp_path / "backup-2", Keyring(), seconds=8.0), Keyring()).seconds == 8.0


def test_a_changed_manifest_is_refused_even_where_its_json_is_right(tmp_path: Path) -> None:
    folder = written(tmp_path / "backup-1", KEYRING, seconds=7.0)
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes().replace(b"7.0", b"8.0"))
    with pytest.raises(VaultDamaged, match=r"manifest\.json: was changed after it was written"):
        read(folder, KEYRING)


def test_a_manifest_of_another_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VaultDamaged, match="another key"):
        read(written(tmp_path / "backup-1", OTHER), KEYRING)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged or of another program"),
        (b'{"format": 1}', "is damaged or of another program"),
        (msgspec.json.encode(manifest(format=99)), "has format 99"),
    ],
)
def test_what_is_no_manifest_of_ours_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(BackupRefused, match=rf"manifest\.json: {words}"):
        peek(put(tmp_path / "backup-1", content))


def test_a_half_written_backup_is_no_backup(tmp_path: Path) -> None:
    name = f"backup-{stamp(1_795_000_000_123_000_000)}"
    written(tmp_path / f"{name}.partial", Keyring())
    (tmp_path / f"backup-{stamp(1_796_000_000_123_000_000)}").mkdir()
    whole = written(tmp_path / name, Keyring())
    assert whole_backups(tmp_path) == [whole]
    with pytest.raises(BackupRefused, match="was never finished"):
        peek(tmp_path / f"{name}.partial")
    with pytest.raises(BackupRefused, match=r"manifest\.json: is missing"):
        peek(tmp_path / f"backup-{stamp(1_796_000_000_123_000_000)}")


@pytest.mark.parametrize(("content", "words"), [(b"ab", "truncated or changed"), (b"abd", "is damaged")])
def test_a_file_that_is_not_what_was_stored_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "database.vault"
    stored = StoredFile(path.name, 3, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    path.write_bytes(b"abc")
    check_stored(path, stored)
    path.write_bytes(content)
    with pytest.raises(BackupRefused, match=rf"database\.vault: .*{words}"):
        check_stored(path, stored)
    path.unlink()
    with pytest.raises(BackupRefused, match=r"database\.vault: cannot be read"):
        check_stored(path, stored)


# -- the daemon's own files ---------------------------------------------------------------------------------------------


def test_a_journal_file_that_is_pruned_while_the_database_is_copied_is_still_in_the_copy(tmp_path: Path) -> None:
    journal = house_with(tmp_path, 20)
    with HouseFiles(tmp_path) as files:
        journal.append([funding(21)])
        first = journal.first_sequence
        journal.mark_snapshotted(15)
        journal.mark_written(15)
        assert journal.first_sequence > first
        members = files.contents()
    journal.close()
    target = tmp_path / "copy"
    put_members(members, target)
    copy = Journal(target / "sessions" / SESSION / "journal", bytes_max=10**9)
    assert [sequence for sequence, _ in copy.read_from(1)] == list(range(1, 22))
    copy.close()


def test_a_record_that_is_being_appended_is_left_out_and_damage_is_refused(tmp_path: Path) -> None:
    journal = house_with(tmp_path, 3)
    path = journal.segment_of(1).path  # type: ignore[union-attr]  # fact 1 is there
    journal.close()
    content = path.read_bytes()
    assert whole_records(content + b"0123", "x") == content
    with pytest.raises(JournalRefused, match="x: damaged at byte 0"):
        whole_records(b"?" + content[1:], "x")


def test_passwords_locks_and_sockets_stay_out_of_a_backup(tmp_path: Path) -> None:
    house_with(tmp_path, 1).close()
    for name in ("embedded.json", "daemon.lock", "status.json", "secrets.yaml", "sessions/development.main/epoch.json", "KILL"):
        (tmp_path / name).write_text("1")
    with HouseFiles(tmp_path) as files:
        names = set(files.contents())
    assert {name for name in names if "journal" not in name} == {"KILL", "sessions/development.main/epoch.json"}


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_a_tar_that_would_write_elsewhere_is_refused(name: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(BackupRefused, match="which none of ours does"):
        read_members(FrameReader(iter([file.getvalue()])), "state.vault")


def test_a_base_backup_without_its_manifest_is_refused() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("PG_VERSION"), io.BytesIO())
    with pytest.raises(BackupRefused, match="pg_basebackup did not finish"):
        check_base(FrameReader(iter([file.getvalue()])), "database.vault")


# -- states -------------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    with HouseFiles(folder) as files:
        return files.contents()


def snapshot_of(facts: int) -> Snapshot:
    ledger = Ledger()
    for number in range(1, facts + 1):
        ledger.apply(funding(number))
    return Snapshot(SNAPSHOT_VERSION, "main", 1, facts, {"ledger": msgspec.Raw(msgspec.json.encode(ledger.snapshot()))})


def test_a_state_is_the_same_by_journal_alone_and_by_snapshot_and_journal(tmp_path: Path) -> None:
    house_with(tmp_path, 9).close()
    (by_journal,) = states_of(contents(tmp_path))
    SnapshotFiles(tmp_path / "sessions" / SESSION / "snapshots", kept_max=5).save(snapshot_of(4))
    assert states_of(contents(tmp_path)) == (by_journal,)
    assert (by_journal.env, by_journal.session_id, by_journal.sequence) == ("development", "main", 9)


def test_another_fact_makes_another_state() -> None:
    facts = [(number, funding(number)) for number in range(1, 6)]
    assert fold(None, facts, 4) == fold(None, facts[:4]) != fold(None, facts)


def test_a_missing_fact_is_named() -> None:
    with pytest.raises(BackupRefused, match="fact 2 is missing: the next one is 3"):
        fold(None, [(1, funding(1)), (3, funding(3))])


def test_a_session_whose_beginning_is_in_the_database_alone_has_no_state_here(tmp_path: Path) -> None:
    journal = house_with(tmp_path, 0)
    journal.start_after(7)
    journal.append([funding(8)])
    journal.close()
    assert states_of(contents(tmp_path)) == ()


def test_a_folder_in_which_a_restore_did_not_end_is_refused(tmp_path: Path) -> None:
    refuse_half_restored(tmp_path)
    (tmp_path / MARKER).touch()
    with pytest.raises(JournalRefused, match="a restore into this folder did not end"):
        refuse_half_restored(tmp_path)
