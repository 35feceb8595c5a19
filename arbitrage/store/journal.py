"""The local append-only journal of facts: durable when `append` returns. Refuses to lose, repeat or reorder a fact.

One `append` is one line (see `records`), one write and one fdatasync; a crash keeps or loses it whole. Sequence numbers grow by
one and are never reused. Files rotate at `SEGMENT_BYTES_MAX` and go once they are both inside a snapshot and in PostgreSQL.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from arbitrage.model.entries import Posting
from arbitrage.model.facts import Fact
from arbitrage.store.files import make_private_folder, sync_folder, write_all, write_durably
from arbitrage.store.locks import FolderLock
from arbitrage.store.moments import DURING_APPEND, Reached
from arbitrage.store.records import Record, decode_record, encode_record, read_header
from arbitrage.store.segments import JournalRefused, Segment, TornTail, scan, segment_path

SEGMENT_BYTES_MAX = 4_000_000
RESERVE_BYTES = 262_144
"""Kept aside on disk; given up on a full disk so that open legs can still be finished and written."""
_RESERVE_FILE = "reserve.bin"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalUnwritable(Exception):
    """A fact could not be made durable. Nothing may act on it: no new entries. One line: what and where."""


class Journal:
    """One session's facts. One process holds it at a time; all calls come from one thread."""

    def __init__(self, directory: Path, *, bytes_max: int, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        """Open and check the folder. Raises JournalRefused when another process holds it or it is damaged."""
        make_private_folder(directory)
        self.reached: Reached | None = None
        self._directory = directory
        self._bytes_max = bytes_max
        self._segment_bytes_max = segment_bytes_max
        self._lock = FolderLock(directory / "lock")
        if not self._lock.acquire():
            raise JournalRefused(f"{directory}: another running daemon holds this journal; stop it first")
        try:
            found = scan(directory)
        except (JournalRefused, OSError):
            self._lock.release()
            raise
        self.torn: TornTail | None = found.torn
        self._segments = found.segments
        self._waiting = deque(found.records)
        self._bytes_waiting = sum(size for _, size in found.records)
        self._written_sequence = self._snapshotted_sequence = 0
        self._descriptor: int | None = None
        self._failure = ""
        self._is_disk_full = not self._restore_reserve()

    @property
    def first_sequence(self) -> int:
        """First fact still held; one above `last_sequence` when none is."""
        return self._segments[0].first_sequence if self._segments else 1

    @property
    def last_sequence(self) -> int:
        return self._segments[-1].last_sequence if self._segments else 0

    @property
    def bytes_waiting(self) -> int:
        """Bytes of facts that PostgreSQL has not confirmed."""
        return self._bytes_waiting

    @property
    def is_full(self) -> bool:
        """No new entries: the bound is reached, the disk is full, or the journal failed. Appending for open legs goes on."""
        return self._bytes_waiting >= self._bytes_max or self._is_disk_full or bool(self._failure)

    @property
    def trouble(self) -> str:
        """Why `is_full`, in words; empty when it is not."""
        if self._failure:
            return self._failure
        if self._is_disk_full:
            return f"disk full at {self._directory}"
        return f"{self._bytes_waiting} bytes wait for PostgreSQL, limit {self._bytes_max}" if self.is_full else ""

    def start_after(self, sequence: int) -> None:
        """Continue numbering above what a snapshot or PostgreSQL already holds, for a journal folder that was lost."""
        assert self.last_sequence < self.first_sequence, "only an empty journal can be renumbered"
        for segment in self._segments:
            segment.path.unlink()
        self._segments = []
        self._close_file()
        self._open_segment(sequence + 1)

    def append(self, facts: Sequence[Fact], entries: Sequence[Sequence[Posting]] = ()) -> int:
        """Make facts durable, all or none, with the ledger's entries of each, and return the last one's sequence number.

        Raises JournalUnwritable: then none of them is durable and no number was used.
        """
        assert self._lock.is_held, "the journal is open"
        if self._failure:
            raise JournalUnwritable(self._failure)
        line = encode_record(self.last_sequence + 1, facts, entries)
        try:
            self._write_line(line)
        except OSError as error:
            if error.errno not in _DISK_FULL or not self._give_up_reserve():
                raise JournalUnwritable(f"journal {self._directory}: {error.strerror}") from error
            try:
                self._write_line(line)
            except OSError as again:
                raise JournalUnwritable(f"journal {self._directory}: {again.strerror}") from again
        segment = self._segments[-1]
        segment.last_sequence += len(facts)
        segment.size += len(line)
        self._waiting.append((segment.last_sequence, len(line)))
        self._bytes_waiting += len(line)
        return segment.last_sequence

    def records_from(self, sequence: int) -> Iterator[Record]:
        """Yield every record that holds a fact at or after `sequence`. Raises JournalRefused when a line is not understood."""
        for segment in list(self._segments):
            if segment.last_sequence >= sequence:
                for record, _ in read_segment(segment.path, 0, segment.size, sequence):
                    yield record

    def read_from(self, sequence: int) -> Iterator[tuple[int, Fact]]:
        """Yield (sequence number, fact) from `sequence` on. Raises JournalRefused when facts before it were pruned away."""
        if sequence < self.first_sequence:
            raise JournalRefused(f"{self._directory}: fact {sequence} was pruned, {self.first_sequence} is the first held")
        for record in self.records_from(sequence):
            for number, fact in enumerate(record.facts, record.first_sequence):
                if number >= sequence:
                    yield number, fact

    def segment_of(self, sequence: int) -> Segment | None:
        """Return the file that holds `sequence`, or None."""
        return next((s for s in self._segments if s.first_sequence <= sequence <= s.last_sequence), None)

    def mark_written(self, sequence: int) -> None:
        """Note that PostgreSQL holds every fact up to `sequence`; they stop counting against the bound."""
        self._written_sequence = max(self._written_sequence, sequence)
        while self._waiting and self._waiting[0][0] <= sequence:
            self._bytes_waiting -= self._waiting.popleft()[1]
        self._prune()

    def mark_snapshotted(self, sequence: int) -> None:
        """Note that the oldest snapshot worth keeping contains every fact up to `sequence`."""
        self._snapshotted_sequence = max(self._snapshotted_sequence, sequence)
        self._prune()

    def check_space(self) -> None:
        """Take the reserve back once the disk has room again. Call it now and then."""
        if self._is_disk_full:
            self._is_disk_full = not self._restore_reserve()

    def close(self) -> None:
        """Close the files and give the folder back."""
        self._close_file()
        self._lock.release()

    def _write_line(self, line: bytes) -> None:
        segment = self._segments[-1] if self._segments else None
        if segment is None or (segment.size and segment.size + len(line) > self._segment_bytes_max):
            segment = self._open_segment(self.last_sequence + 1)
        if self._descriptor is None:
            self._descriptor = os.open(segment.path, os.O_WRONLY | os.O_APPEND)
        try:
            write_all(self._descriptor, line, None if self.reached is None else partial(self.reached, DURING_APPEND))
        except OSError:
            self._take_back(self._descriptor, segment.size)
            raise
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            # After a failed sync the kernel may call lost pages clean: a second sync would lie. Only a restart reads the truth.
            self._failure = f"journal {segment.path}: sync failed ({error.strerror}); restart after checking the disk"
            raise

    def _take_back(self, descriptor: int, size: int) -> None:
        try:
            os.ftruncate(descriptor, size)
        except OSError as error:
            self._failure = f"journal {self._directory}: half a fact could not be taken back ({error.strerror}); restart"

    def _open_segment(self, first_sequence: int) -> Segment:
        self._close_file()
        path = segment_path(self._directory, first_sequence)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        sync_folder(self._directory)
        segment = Segment(path, first_sequence, first_sequence - 1, 0)
        self._segments.append(segment)
        return segment

    def _close_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _prune(self) -> None:
        bound = min(self._written_sequence, self._snapshotted_sequence)
        while len(self._segments) > 1 and self._segments[0].last_sequence <= bound:
            self._segments.pop(0).path.unlink(missing_ok=True)

    def _give_up_reserve(self) -> bool:
        reserve = self._directory / _RESERVE_FILE
        if self._failure or not reserve.exists():
            return False
        self._is_disk_full = True
        reserve.unlink()
        return True

    def _restore_reserve(self) -> bool:
        reserve = self._directory / _RESERVE_FILE
        if reserve.exists():
            return True
        try:
            write_durably(reserve, bytes(RESERVE_BYTES))
        except OSError:
            return False
        return True


def read_segment(path: Path, start: int, end: int, sequence: int) -> Iterator[tuple[Record, int]]:
    """Yield (record, byte offset after it) between two record boundaries; records that end before `sequence` are skipped."""
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            line = file.readline()
            header = read_header(line.removesuffix(b"\n"))
            if header is None:
                raise JournalRefused(f"{path}: damaged at byte {start}, since it was opened: check the disk")
            offset, start = start, start + len(line)
            if header.first_sequence + header.count <= sequence:
                continue
            try:
                record = decode_record(header)
            except ValueError as error:
                raise JournalRefused(f"{path}: byte {offset}: {error}; install the newer program") from None
            yield record, start
