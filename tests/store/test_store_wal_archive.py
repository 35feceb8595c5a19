"""The archive of the log: a file that grows page by page comes back as it was, gaps are named, what is needed stays."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_backups import manifest

from arbitrage.store.manifests import BackupRefused, WalLine, stamp
from arbitrage.store.vault import Keyring, VaultDamaged
from arbitrage.store.wal_archive import (
    PAGE_BYTES,
    Shipment,
    Wanted,
    archive_bytes,
    following,
    line_folder,
    line_name,
    make_line,
    prune,
    segment_name,
    unpack_line,
)

SEGMENT = 64 * PAGE_BYTES
KEYRING = Keyring(b"a passphrase of tests")
NAMES = [f"0000000100000000{number:08X}" for number in range(1, 9)]
LINE = "20261121t190000000z"


def write_segment(path: Path, used: int, dice: random.Random) -> bytes:
    """Write a file of the log whose first `used` bytes are used: each page begins with a mark, as PostgreSQL's do."""
    content = bytearray(dice.randbytes(used))
    content[::PAGE_BYTES] = b"\xd1" * len(content[::PAGE_BYTES])
    path.write_bytes(bytes(content) + bytes(SEGMENT - used))
    return path.read_bytes()


def ship_whole(source: Path, folder: Path, name: str) -> None:
    Shipment(source, folder, name, KEYRING).finish(source)


def archived_line(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Archive full files of these names; return their contents."""
    line, dice = make_line(folder, LINE), random.Random(1)
    contents = {}
    for name in names:
        contents[name] = write_segment(folder / name, SEGMENT, dice)
        ship_whole(folder / name, line, name)
    return contents


def unpacked(folder: Path, first: str = NAMES[0], **changes: object) -> tuple[dict[str, bytes], object]:
    target = folder / "unpacked"
    target.mkdir(exist_ok=True)
    wanted = msgspec.structs.replace(Wanted(WalLine(LINE, first, SEGMENT)), **changes)
    found = unpack_line(line_folder(folder, LINE), wanted, target, KEYRING)
    return {path.name: path.read_bytes() for path in target.iterdir()}, found


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.integers(0, 30_000), max_size=12), seed=st.integers(0, 99))
def test_a_file_shipped_in_any_steps_comes_back_as_far_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("wal")
    line, source = make_line(folder, LINE), folder / "source"
    whole = write_segment(source, SEGMENT, random.Random(seed))
    source.write_bytes(bytes(SEGMENT))
    shipment, used = Shipment(source, line, NAMES[0], KEYRING), 0
    shipment.ship()
    for step in steps:
        used = min(SEGMENT, used + step)
        with source.open("r+b") as file:
            file.write(whole[:used])
        shipment.ship()
    shipment.close()
    contents, _ = unpacked(folder)
    assert contents[NAMES[0]] == whole[:used] + bytes(SEGMENT - used)


def test_a_page_that_grew_replaces_what_was_shipped_of_it(tmp_path: Path) -> None:
    line, source = make_line(tmp_path, LINE), tmp_path / "source"
    source.write_bytes(b"\xd1first".ljust(SEGMENT, b"\0"))
    shipment = Shipment(source, line, NAMES[0], KEYRING)
    assert [shipment.ship(), shipment.ship()] == [True, False]
    source.write_bytes(b"\xd1first and second".ljust(SEGMENT, b"\0"))
    assert [shipment.ship(), shipment.ship()] == [True, False]
    shipment.close()
    assert unpacked(tmp_path)[0][NAMES[0]].rstrip(b"\0") == b"\xd1first and second"


def test_what_an_earlier_process_archived_stands_until_there_is_something_again(tmp_path: Path) -> None:
    line, source = make_line(tmp_path, LINE), tmp_path / "source"
    source.write_bytes(b"\xd1 before the restart".ljust(SEGMENT, b"\0"))
    first = Shipment(source, line, NAMES[0], KEYRING)
    first.ship()
    first.close()
    source.write_bytes(bytes(SEGMENT))
    second = Shipment(source, line, NAMES[0], KEYRING)
    assert not second.ship()
    assert unpacked(tmp_path)[0][NAMES[0]].rstrip(b"\0") == b"\xd1 before the restart"
    source.write_bytes(b"\xd1 before the restart, and after".ljust(SEGMENT, b"\0"))
    assert second.ship()
    assert unpacked(tmp_path)[0][NAMES[0]].rstrip(b"\0") == b"\xd1 before the restart, and after"
    second.finish(source)
    assert [path.name for path in line.iterdir()] == [f"{NAMES[0]}.wal"]


def test_what_is_written_is_not_readable_without_the_key(tmp_path: Path) -> None:
    line, source = make_line(tmp_path, LINE), tmp_path / "source"
    source.write_bytes(b"\xd1 a very secret order".ljust(SEGMENT, b"\0"))
    shipment = Shipment(source, line, NAMES[0], KEYRING)
    shipment.ship()
    shipment.close()
    assert b"secret" not in (line / f"{NAMES[0]}.part").read_bytes()
    with pytest.raises(VaultDamaged, match=r"\.part: is encrypted"):
        unpack_line(line, Wanted(WalLine(LINE, NAMES[0], SEGMENT)), tmp_path, Keyring())


def test_a_line_is_unpacked_from_the_first_file_that_is_needed(tmp_path: Path) -> None:
    contents = archived_line(tmp_path, NAMES[:4])
    found, archived = unpacked(tmp_path, NAMES[1])
    assert found == {name: contents[name] for name in NAMES[1:4]}
    assert (archived.files, archived.last, archived.missing) == (3, NAMES[3], "")


def test_a_gap_ends_the_line_and_is_named(tmp_path: Path) -> None:
    archived_line(tmp_path, [NAMES[0], NAMES[1], NAMES[3]])
    found, archived = unpacked(tmp_path)
    assert sorted(found) == NAMES[:2]
    assert (archived.last, archived.missing) == (NAMES[1], NAMES[2])


def test_files_that_the_backup_brings_whole_are_left_to_it(tmp_path: Path) -> None:
    archived_line(tmp_path, NAMES[:3])
    found, archived = unpacked(tmp_path, here=frozenset(NAMES[:1]))
    assert sorted(found) == NAMES[1:3] and archived.files == 3


def test_without_the_growing_file_only_finished_ones_count(tmp_path: Path) -> None:
    archived_line(tmp_path, NAMES[:2])
    source = tmp_path / "source"
    write_segment(source, 100, random.Random(2))
    shipment = Shipment(source, line_folder(tmp_path, LINE), NAMES[2], KEYRING)
    shipment.ship()
    shipment.close()
    assert sorted(unpacked(tmp_path, with_growing=False)[0]) == NAMES[:2]
    assert sorted(unpacked(tmp_path)[0]) == NAMES[:3]


def test_a_damaged_file_of_the_log_is_named(tmp_path: Path) -> None:
    archived_line(tmp_path, NAMES[:2])
    path = line_folder(tmp_path, LINE) / f"{NAMES[1]}.wal"
    raw = bytearray(path.read_bytes())
    raw[-40] ^= 1
    path.write_bytes(raw)
    with pytest.raises(VaultDamaged, match=f"{NAMES[1]}.wal: damaged at frame"):
        unpacked(tmp_path)


def test_a_file_larger_than_any_of_the_log_is_refused(tmp_path: Path) -> None:
    archived_line(tmp_path, NAMES[:1])
    wanted = Wanted(WalLine(LINE, NAMES[0], PAGE_BYTES))
    with pytest.raises(BackupRefused, match="holds more than a file of the log"):
        unpack_line(line_folder(tmp_path, LINE), wanted, tmp_path, KEYRING)


def test_files_are_named_as_postgresql_names_them() -> None:
    assert segment_name(1, 0x1_FF00_0028, 16 << 20) == "0000000100000001000000FF"
    assert following("0000000100000001000000FF", 16 << 20) == "000000010000000200000000"
    assert following("000000010000000100000FFF", 1 << 20) == "000000010000000200000000"
    assert line_name(stamp(1_795_000_000_123_000_000)) == "20261118t110640123z"


def backed_up(folder: Path, number: int, first: str) -> Path:
    path = folder / f"backup-2026112{number}T000000.000Z"
    path.mkdir()
    wal = WalLine(LINE, first, SEGMENT)
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest(wal=wal)))
    return path


def test_only_what_no_backup_needs_goes(tmp_path: Path) -> None:
    archived_line(tmp_path, NAMES[:6])
    older, newer = backed_up(tmp_path, 1, NAMES[2]), backed_up(tmp_path, 2, NAMES[4])
    assert prune(tmp_path, LINE) == 2
    assert sorted(path.stem for path in line_folder(tmp_path, LINE).iterdir()) == NAMES[2:6]
    before = archive_bytes(tmp_path)
    assert prune(tmp_path, LINE, backups=[newer]) == 2
    assert archive_bytes(tmp_path) < before and older.exists()
    assert sorted(path.stem for path in line_folder(tmp_path, LINE).iterdir()) == NAMES[4:6]


def test_a_line_that_no_backup_knows_goes_whole_but_not_the_running_one(tmp_path: Path) -> None:
    archived_line(tmp_path, NAMES[:2])
    assert prune(tmp_path, LINE) == 0
    assert prune(tmp_path, "") == 2
    assert not line_folder(tmp_path, LINE).exists()
