"""A snapshot file appears whole, comes back equal, and is refused by name when anything about it is not right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from store_world import HUGE_E8, snapshot

from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot
from arbitrage.store.snapshots import (
    Candidate,
    RefusedSnapshot,
    SnapshotFiles,
    Stored,
    encode_snapshot,
    judge,
    newest_first,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def stored(kept: Snapshot, name: str = "s") -> Stored:
    sha256, body = encode_snapshot(kept)
    return Stored(name, (kept.journal_sequence, kept.at_ns), kept.version, sha256, body)


@given(st.dictionaries(st.text(max_size=6), json_values, max_size=4), st.integers(0, 2**62), st.integers(0, 2**62))
def test_what_was_saved_is_what_is_offered(sections: dict[str, object], at_ns: int, sequence: int) -> None:
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in sections.items()}
    kept = Snapshot(SNAPSHOT_VERSION, "main", at_ns, sequence, raw)
    offered = judge(stored(kept), "main")
    assert isinstance(offered, Candidate) and offered.snapshot == kept
    assert {name: msgspec.json.decode(value) for name, value in offered.snapshot.sections.items()} == sections


def test_files_are_offered_newest_first_and_the_oldest_go(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, kept_max=3)
    assert files.oldest_sequence() is None and files.newest_sequence() == 0
    for sequence in (5, 7, 7, 9):
        files.save(snapshot(sequence, at_ns=sequence + len(list(tmp_path.iterdir()))))
    assert (files.oldest_sequence(), files.newest_sequence()) == (7, 9)
    offered = newest_first(files.load(), "main")
    assert [each.snapshot.journal_sequence for each in offered if isinstance(each, Candidate)] == [9, 7, 7]
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_amounts_past_64_bits_survive(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, kept_max=3)
    files.save(Snapshot(1, "main", 1, 1, {"ledger": msgspec.Raw(msgspec.json.encode({"KRW": HUGE_E8}))}))
    (offered,) = newest_first(files.load(), "main")
    assert isinstance(offered, Candidate)
    assert msgspec.json.decode(offered.snapshot.sections["ledger"]) == {"KRW": HUGE_E8}


def test_a_file_cut_or_changed_at_any_byte_is_refused_by_name_and_the_one_before_is_offered(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, kept_max=3)
    files.save(snapshot(1))
    path = files.save(snapshot(2))
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x04
        for content in (whole[:position], bytes(changed)):
            path.write_bytes(content)
            offered = newest_first(files.load(), "main")
            refused = [each for each in offered if isinstance(each, RefusedSnapshot)]
            good = [each.snapshot for each in offered if isinstance(each, Candidate)]
            assert [each.name for each in refused] == [str(path)] and refused[0].reason, (position, content)
            assert good == [snapshot(1)]


def test_a_newer_version_is_refused_before_its_meaning_is_guessed(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, kept_max=3)
    files.save(snapshot(1))
    newer = files.save(snapshot(2, version=SNAPSHOT_VERSION + 1))
    first, second = newest_first(files.load(), "main")
    assert isinstance(first, RefusedSnapshot) and first.name == str(newer)
    assert first.reason.startswith(f"version {SNAPSHOT_VERSION + 1} is newer than this program's {SNAPSHOT_VERSION}: install")
    assert isinstance(second, Candidate)


def test_a_header_that_lies_about_the_version_is_refused() -> None:
    sha256, body = encode_snapshot(snapshot(1, version=0))
    offered = judge(Stored("s", (1, 1), SNAPSHOT_VERSION, sha256, body), "main")
    assert isinstance(offered, RefusedSnapshot) and "version 0 is not" in offered.reason


def test_another_session_s_snapshot_is_refused() -> None:
    offered = judge(stored(snapshot(1, session="other")), "main")
    assert isinstance(offered, RefusedSnapshot) and "belongs to session 'other', not 'main'" in offered.reason


def test_json_that_is_no_snapshot_is_refused() -> None:
    body = b'{"version":1}'
    offered = judge(Stored("s", (1, 1), 1, hashlib.sha256(body).hexdigest(), body), "main")
    assert isinstance(offered, RefusedSnapshot) and offered.reason.startswith("not understood")


def test_the_same_snapshot_in_two_places_is_offered_once_and_a_bad_copy_is_still_named() -> None:
    good, copy = stored(snapshot(3), "file"), stored(snapshot(3), "database")
    assert len(newest_first([good, copy], "main")) == 1
    bad = msgspec.structs.replace(copy, body=copy.body[:-1])
    offered = newest_first([good, bad, stored(snapshot(2), "older")], "main")
    assert [type(each).__name__ for each in offered] == ["Candidate", "RefusedSnapshot", "Candidate"]


def test_what_an_interrupted_save_left_is_cleared_and_never_offered(tmp_path: Path) -> None:
    (tmp_path / "snapshot-x.json.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"not ours")
    files = SnapshotFiles(tmp_path, kept_max=3)
    assert files.load() == [] and [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
