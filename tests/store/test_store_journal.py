"""The journal keeps what `append` returned for, in order, whole; it cuts a torn tail and refuses any other damage."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import appends, count_of_each, entries, funding, one_of_each

from arbitrage.model.facts import Fact
from arbitrage.store.journal import Journal, JournalUnwritable
from arbitrage.store.records import encode_record, holds_undamaged_record, lines_of, read_header
from arbitrage.store.segments import TORN_TAIL_FILE, JournalRefused
from arbitrage.store.tail import Tail


def open_journal(folder: Path, *, bytes_max: int = 1_000_000, segment_bytes_max: int = 4_000_000) -> Journal:
    return Journal(folder, bytes_max=bytes_max, segment_bytes_max=segment_bytes_max)


def written(folder: Path, batches: list[tuple[Fact, ...]], **limits: int) -> None:
    journal = open_journal(folder, **limits)
    for batch in batches:
        journal.append(batch)
    journal.close()


def facts_of(folder: Path) -> list[Fact]:
    journal = open_journal(folder)
    facts = [fact for _, fact in journal.read_from(1)]
    journal.close()
    return facts


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("facts-*.journal"))


def test_every_kind_of_fact_comes_back_equal(tmp_path: Path) -> None:
    written(tmp_path, [one_of_each(), (funding(3),)])
    assert facts_of(tmp_path) == [*one_of_each(), funding(3)]


def test_entries_come_back_beside_their_fact(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append([funding(1), funding(2)], [(), entries()])
    (record,) = journal.records_from(1)
    assert record.entries == ((), entries())
    assert sum(posting.amount_e8 for posting in record.entries[1]) == 0
    journal.close()


def test_append_returns_only_after_write_and_then_sync(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append([funding(1)])
    calls: list[str] = []

    def watch(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and called in (os.write, os.fdatasync, os.fsync):
            calls.append(getattr(called, "__name__", ""))

    sys.setprofile(watch)
    journal.append(one_of_each())
    sys.setprofile(None)
    assert calls == ["write", "fdatasync"], "one list of facts costs one write and one sync"
    journal.close()


def test_a_failed_sync_ends_the_journal_until_a_restart(tmp_path: Path) -> None:
    written(tmp_path, [(funding(1),)])
    (file,) = segments(tmp_path)
    journal = open_journal(tmp_path)
    whole = file.rename(tmp_path / "aside")
    os.mkfifo(file)  # takes a write and refuses to sync
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(2):
        with pytest.raises(JournalUnwritable, match=r"Invalid argument|sync failed"):
            journal.append([funding(2)])
    assert journal.is_full and "sync failed" in journal.trouble and "restart" in journal.trouble
    assert journal.last_sequence == 1
    os.close(reader)
    journal.close()
    file.unlink()
    whole.rename(file)
    assert facts_of(tmp_path) == [funding(1)]


def test_sequence_numbers_grow_by_one_across_lists_and_restarts(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert [journal.append([funding(1)]), journal.append([funding(2), funding(3)])] == [1, 3]
    journal.close()
    again = open_journal(tmp_path)
    assert again.append([funding(4)]) == 4
    assert [number for number, _ in again.read_from(2)] == [2, 3, 4]
    again.close()


def test_a_tail_torn_at_any_byte_is_cut_and_everything_before_it_kept(tmp_path: Path) -> None:
    written(tmp_path, [one_of_each("1"), one_of_each("2")])
    (file,) = segments(tmp_path)
    whole = file.read_bytes()
    first_end = whole.index(b"\n") + 1
    for length in range(first_end, len(whole)):
        file.write_bytes(whole[:length])
        journal = open_journal(tmp_path)
        torn = journal.torn
        assert [fact for _, fact in journal.read_from(1)] == list(one_of_each("1")), length
        assert journal.last_sequence == count_of_each()
        if length == first_end:
            assert torn is None
        else:
            assert torn is not None and (torn.file, torn.offset, torn.bytes_cut) == (file.name, first_end, length - first_end)
            assert (tmp_path / TORN_TAIL_FILE).read_bytes() == whole[first_end:length]
        assert file.read_bytes() == whole[:first_end]
        journal.close()


def test_numbering_goes_on_after_a_cut(tmp_path: Path) -> None:
    written(tmp_path, [(funding(1),), (funding(2),)])
    (file,) = segments(tmp_path)
    os.truncate(file, file.stat().st_size - 1)
    journal = open_journal(tmp_path)
    assert journal.append([funding(20)]) == 2
    journal.close()
    assert facts_of(tmp_path) == [funding(1), funding(20)]


@pytest.mark.parametrize(
    "rest", [bytes(4096), b"\n" * 10, b"\xff" * 70_000, b"00000000 1 2 1 {}\n", bytes(100) + b"\n" + bytes(9)]
)
def test_what_a_power_cut_leaves_in_unwritten_blocks_is_a_torn_tail(tmp_path: Path, rest: bytes) -> None:
    written(tmp_path, [(funding(1),)])
    (file,) = segments(tmp_path)
    with file.open("ab") as raw:
        raw.write(rest)
    assert facts_of(tmp_path) == [funding(1)]


def test_a_changed_byte_anywhere_before_the_last_record_is_refused_by_name_and_offset(tmp_path: Path) -> None:
    written(tmp_path, [(funding(1),), (funding(2),), (funding(3),)])
    (file,) = segments(tmp_path)
    whole = file.read_bytes()
    lines = list(lines_of(whole))
    for position in range(lines[-1][0]):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        file.write_bytes(damaged)
        line_start = max(offset for offset, _ in lines if offset <= position)
        with pytest.raises(JournalRefused, match=f"{re.escape(str(file))}.*byte {line_start} "):
            open_journal(tmp_path)
        assert file.read_bytes() == damaged, "a refusal changes nothing"


@given(position=st.integers(0, 10_000), value=st.integers(0, 255), count=st.integers(2, 6))
@settings(max_examples=150, deadline=None)
def test_no_change_of_one_byte_yields_other_facts(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, count: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    written(folder, [(funding(number),) for number in range(1, count + 1)])
    (file,) = segments(folder)
    content = bytearray(file.read_bytes())
    content[position % len(content)] = value
    file.write_bytes(content)
    try:
        found = facts_of(folder)
    except JournalRefused:
        return
    true = [funding(number) for number in range(1, count + 1)]
    assert found in (true, true[:-1]), "only the last record can pass for a torn tail"


def test_damage_in_an_older_file_is_refused_even_at_its_end(tmp_path: Path) -> None:
    written(tmp_path, [(funding(number),) for number in range(1, 9)], segment_bytes_max=200)
    oldest = segments(tmp_path)[0]
    os.truncate(oldest, oldest.stat().st_size - 3)
    with pytest.raises(JournalRefused, match=re.escape(str(oldest))):
        open_journal(tmp_path)


def test_a_missing_file_is_refused_by_the_name_of_the_next(tmp_path: Path) -> None:
    written(tmp_path, [(funding(number),) for number in range(1, 9)], segment_bytes_max=200)
    files = segments(tmp_path)
    files[1].unlink()
    with pytest.raises(JournalRefused, match=f"{files[2].name}.*a segment is missing"):
        open_journal(tmp_path)


def test_a_repeated_record_is_refused(tmp_path: Path) -> None:
    written(tmp_path, [(funding(1),)])
    (file,) = segments(tmp_path)
    file.write_bytes(file.read_bytes() * 2)
    with pytest.raises(JournalRefused, match="fact 2 expected at byte"):
        open_journal(tmp_path)


def test_a_record_of_a_newer_program_is_refused_and_never_cut(tmp_path: Path) -> None:
    written(tmp_path, [(funding(1),)])
    (file,) = segments(tmp_path)
    line = encode_record(2, [funding(2)])
    header = read_header(line[:-1])
    assert header is not None
    rest = b"2 2 1 " + header.body
    file.write_bytes(file.read_bytes() + b"%08x %b\n" % (journal_crc(rest), rest))
    before = file.read_bytes()
    journal = open_journal(tmp_path)
    with pytest.raises(JournalRefused, match=r"record version 2, this program knows 1; install the newer program"):
        list(journal.read_from(1))
    journal.close()
    assert file.read_bytes() == before


def test_a_fact_of_an_unknown_kind_is_refused_and_never_cut(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    rest = b'1 1 1 {"facts":[{"type":"teleported","at_ns":1}]}'
    (tmp_path / f"facts-{1:020d}.journal").write_bytes(b"%08x %b\n" % (journal_crc(rest), rest))
    journal = open_journal(tmp_path)
    with pytest.raises(JournalRefused, match="facts this program does not know"):
        list(journal.read_from(1))
    journal.close()


def journal_crc(rest: bytes) -> int:
    from zlib import crc32

    return crc32(rest)


def test_files_rotate_and_go_only_when_snapshotted_and_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes_max=300)
    for number in range(1, 21):
        journal.append([funding(number)])
    count = len(segments(tmp_path))
    assert count > 5 and all(file.stat().st_size <= 300 for file in segments(tmp_path))
    journal.mark_written(20)
    assert len(segments(tmp_path)) == count, "a snapshot does not contain them yet"
    journal.mark_snapshotted(10)
    assert journal.first_sequence <= 11 and len(segments(tmp_path)) < count
    assert [number for number, _ in journal.read_from(11)] == list(range(11, 21))
    with pytest.raises(JournalRefused, match="fact 1 was pruned"):
        next(journal.read_from(1))
    journal.mark_snapshotted(20)
    assert len(segments(tmp_path)) == 1, "the newest file stays: it holds the numbering"
    journal.close()
    assert open_journal(tmp_path).last_sequence == 20


def test_bytes_wait_until_postgresql_has_them_and_the_bound_is_visible(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, bytes_max=500)
    assert not journal.is_full and journal.bytes_waiting == 0 and journal.trouble == ""
    number = 0
    while not journal.is_full:
        number = journal.append([funding(number + 1)])
    assert journal.bytes_waiting >= 500 and "limit 500" in journal.trouble
    assert journal.append([funding(99)]) == number + 1, "legs are always finished"
    journal.mark_written(number)
    assert not journal.is_full and 0 < journal.bytes_waiting < 500
    journal.mark_written(number + 1)
    assert journal.bytes_waiting == 0
    journal.close()
    assert open_journal(tmp_path, bytes_max=500).bytes_waiting > 500, "after a restart nothing is known to be written"


def test_a_second_opener_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    first = open_journal(tmp_path)
    with pytest.raises(JournalRefused, match="another running daemon holds this journal"):
        open_journal(tmp_path)
    first.close()
    open_journal(tmp_path).close()


def test_an_empty_journal_can_go_on_after_what_is_known_elsewhere(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.start_after(41)
    assert journal.append([funding(42)]) == 42
    journal.close()
    again = open_journal(tmp_path)
    assert (again.first_sequence, again.last_sequence) == (42, 42)
    again.close()


def test_the_tail_reader_follows_across_files_in_bounded_steps(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, segment_bytes_max=300)
    tail = Tail(journal, 1)
    assert tail.read(10) == []
    for number in range(1, 11):
        journal.append([funding(2 * number - 1), funding(2 * number)])
    seen: list[Fact] = []
    while records := tail.read(3):
        assert sum(len(record.facts) for record in records) <= 4
        seen += [fact for record in records for fact in record.facts]
    assert seen == [funding(number) for number in range(1, 21)]
    journal.append([funding(21)])
    assert [record.facts for record in tail.read(3)] == [(funding(21),)]
    assert tail.next_sequence == 22
    journal.close()


def test_a_tail_that_starts_inside_a_record_gets_that_record_whole(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append([funding(1), funding(2), funding(3)])
    assert [record.first_sequence for record in Tail(journal, 2).read(10)] == [1]
    journal.close()


def test_damage_after_opening_is_refused_by_the_reader(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append([funding(1)])
    (file,) = segments(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"fact 1", b"fact 9"))
    with pytest.raises(JournalRefused, match=f"{file.name}: damaged at byte 0"):
        list(journal.read_from(1))
    journal.close()


@given(st.binary(max_size=300))
def test_random_bytes_are_never_a_record(content: bytes) -> None:
    assert not holds_undamaged_record(content + b"\n")


def test_a_record_is_found_behind_any_rubbish(tmp_path: Path) -> None:
    line = encode_record(5, [funding(5)])
    for rubbish in (b"", b"x", b"0a1b2c3d", b"deadbeef 1 1 1 ", b"\x00" * 9):
        assert holds_undamaged_record(rubbish + line)
        assert not holds_undamaged_record(rubbish + line[:-1])


def test_appended_files_are_private(tmp_path: Path) -> None:
    written(tmp_path / "journal", [(funding(1),)])
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    assert segments(tmp_path / "journal")[0].stat().st_mode & 0o077 == 0


def test_unbalanced_entries_are_broken(tmp_path: Path) -> None:
    from arbitrage.store.stores import _is_balanced

    assert _is_balanced(entries()) and _is_balanced(())
    assert not _is_balanced(entries()[:3]) and not _is_balanced(entries()[:1])
    assert len(appends(one_of_each())) == count_of_each()
