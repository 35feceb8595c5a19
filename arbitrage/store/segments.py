"""The journal's files on disk: finds them, checks every line, cuts a torn tail. Refuses other damage, by name and offset."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from arbitrage.store.files import sync_folder, write_durably
from arbitrage.store.records import holds_undamaged_record, lines_of, read_header

_NAME = re.compile(r"^facts-(\d{20})\.journal$")
TORN_TAIL_FILE = "last-torn-tail.bin"
"""The bytes of the newest cut, kept for whoever wants to look; the one before is overwritten."""


class JournalRefused(Exception):
    """The journal on disk cannot be trusted or is not ours. One line: what, where, what to do."""


class TornTail(msgspec.Struct, frozen=True):
    """A last append that a crash cut short; it never returned to its caller, so nothing was acted on. Cut off at open."""

    file: str
    offset: int
    bytes_cut: int


class Segment(msgspec.Struct):
    """One file of records. `last_sequence` is `first_sequence - 1` while it is empty."""

    path: Path
    first_sequence: int
    last_sequence: int
    size: int


class Scan(msgspec.Struct):
    """What opening found: the segments in order, each record's last sequence and length, and a tail that was cut."""

    segments: list[Segment]
    records: list[tuple[int, int]]
    torn: TornTail | None = None


def segment_path(directory: Path, first_sequence: int) -> Path:
    """Return the file that begins with this sequence number."""
    return directory / f"facts-{first_sequence:020d}.journal"


def is_segment_name(name: str) -> bool:
    """Tell whether a file of this name holds records."""
    return _NAME.match(name) is not None


def scan(directory: Path) -> Scan:
    """Check every segment. Cuts a torn tail of the newest one; raises JournalRefused for any other damage."""
    found = sorted((int(match[1]), path) for path in directory.iterdir() if (match := _NAME.match(path.name)))
    result = Scan([], [])
    for position, (first_sequence, path) in enumerate(found):
        if result.segments and result.segments[-1].last_sequence + 1 != first_sequence:
            before = result.segments[-1]
            raise JournalRefused(
                f"{path}: begins at fact {first_sequence}, but {before.path.name} ends at {before.last_sequence}: "
                "a segment is missing; restore it, or move the journal folder away to start from PostgreSQL"
            )
        _scan_segment(result, path, first_sequence, is_newest=position == len(found) - 1)
    return result


def _scan_segment(result: Scan, path: Path, first_sequence: int, *, is_newest: bool) -> None:
    content = path.read_bytes()
    expected, good_bytes = first_sequence, 0
    for offset, line in lines_of(content):
        header = read_header(line)
        if header is None:
            break
        if header.first_sequence != expected or header.count < 1:
            raise JournalRefused(
                f"{path}: fact {expected} expected at byte {offset}, found {header.first_sequence}: the file was changed; "
                "restore it, or move the journal folder away to start from PostgreSQL"
            )
        expected += header.count
        good_bytes = offset + len(line) + 1
        result.records.append((expected - 1, len(line) + 1))
    if good_bytes < len(content):
        if not is_newest or holds_undamaged_record(content[good_bytes:]):
            raise JournalRefused(
                f"{path}: damaged at byte {good_bytes} (fact {expected}), with whole facts after it: not a crash's torn tail; "
                "restore the file, or move the journal folder away to start from PostgreSQL"
            )
        result.torn = _cut(path, content, good_bytes)
    result.segments.append(Segment(path, first_sequence, expected - 1, good_bytes))


def _cut(path: Path, content: bytes, good_bytes: int) -> TornTail:
    write_durably(path.with_name(TORN_TAIL_FILE), content[good_bytes:])
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, good_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
    return TornTail(path.name, good_bytes, len(content) - good_bytes)
