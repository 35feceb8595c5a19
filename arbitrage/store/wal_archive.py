"""The archive of the write-ahead log as files: their names, what is kept, and the log unpacked again. Starts no program.

A line is the log after one base backup, without a gap, in a folder of its own; the database holds a replication slot of the
same name for it. Each file of the log is one sealed file: `.wal` when it is complete, `.part` while it is being written. Its
frames are pieces (offset, bytes); a later piece wins, because the last page of the log is written more than once.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from arbitrage.store.files import make_private_folder, sync_folder
from arbitrage.store.manifests import BackupRefused, WalLine, peek, whole_backups
from arbitrage.store.vault import CHUNK_BYTES, FrameWriter, Keyring, read_frames

SLOT_PREFIX = "arbitrage_wal_"
WAL_FOLDER = "wal"
SEALED, GROWING = ".wal", ".part"
PAGE_BYTES = 8_192
_PIECE = struct.Struct(">I")
_PIECE_BYTES = (CHUNK_BYTES - _PIECE.size) // PAGE_BYTES * PAGE_BYTES
_SEGMENT = re.compile(r"^[0-9A-F]{24}$")
_HISTORY = re.compile(r"^[0-9A-F]{8}\.history$")
_LINE = re.compile(r"^[0-9]{8}t[0-9]{9}z$")


class Archived(msgspec.Struct, frozen=True):
    """What unpacking an archive gave."""

    files: int
    bytes_plain: int
    last: str
    """The newest file of the log; empty for none."""
    missing: str
    """The first file that should be there and is not; the log ends before it. Empty where nothing is missing."""


def line_name(stamp: str) -> str:
    """Return the name of a line that begins now: also part of a replication slot's name, so lower case without dots."""
    return stamp.replace(".", "").lower()


def line_folder(directory: Path, line: str) -> Path:
    """Return where a line is archived."""
    return directory / WAL_FOLDER / line


def segment_name(timeline: int, lsn: int, segment_bytes: int) -> str:
    """Name the file of the log that holds a position, as PostgreSQL does."""
    return f"{timeline:08X}{lsn >> 32:08X}{(lsn & 0xFFFFFFFF) // segment_bytes:08X}"


def following(segment: str, segment_bytes: int) -> str:
    """Name the next file of the same timeline."""
    per_high = (1 << 32) // segment_bytes
    number = int(segment[8:16], 16) * per_high + int(segment[16:], 16) + 1
    return f"{segment[:8]}{number // per_high:08X}{number % per_high:08X}"


def is_log_file(name: str) -> bool:
    """Tell whether PostgreSQL names a complete file of its log, or a timeline's history, like this."""
    return bool(_SEGMENT.match(name) or _HISTORY.match(name))


class Shipment:
    """One file of the log on its way into the archive: what is new of it is sealed, appended and synced, page by page."""

    def __init__(self, source: Path, folder: Path, name: str, keyring: Keyring) -> None:
        self.name = name
        self._source = source
        self._growing = folder / (name + GROWING)
        self._sealed = folder / (name + SEALED)
        self._path = folder / (name + GROWING + ".tmp")
        """Where it is written now: what an earlier process archived of this file stands until there is something again."""
        self._file: BinaryIO = self._path.open("wb", buffering=0)
        self._frames = FrameWriter(self._file, keyring, str(self._sealed))
        self._shipped = 0
        """Everything before this page is in the archive for good; the page itself may still grow."""
        self._last_page = b""

    def ship(self, source: Path | None = None) -> bool:
        """Append what was written since; return whether there was anything. Raises OSError."""
        with (source or self._source).open("rb") as log:
            pieces = list(self._new_pieces(log))
        for offset, content in pieces:
            self._frames.frame(_PIECE.pack(offset) + content)
        if pieces:
            os.fsync(self._file.fileno())
        if self._path != self._growing and (pieces or not self._growing.exists()):
            self._path = self._path.rename(self._growing)
            sync_folder(self._growing.parent)
        return bool(pieces)

    def finish(self, source: Path) -> None:
        """Seal the complete file under its lasting name. Raises OSError."""
        self.ship(source)
        self._frames.frame(_PIECE.pack(source.stat().st_size), is_last=True)
        os.fsync(self._file.fileno())
        self._path.rename(self._sealed)
        self._growing.unlink(missing_ok=True)
        sync_folder(self._sealed.parent)
        self.close()

    def close(self) -> None:
        """Leave it as it is."""
        self._file.close()

    def _new_pieces(self, log: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Read up to the first page that was never written: a page that was begins with a mark, so it is not all zeros.

        The end is looked for first: a page before one that is written is complete, but only if it is read after that.
        """
        end = self._shipped
        log.seek(end)
        while (page := log.read(PAGE_BYTES)) and any(page):
            end += len(page)
        log.seek(self._shipped)
        for offset in range(self._shipped, end, _PIECE_BYTES):
            piece = log.read(min(_PIECE_BYTES, end - offset))
            if offset == self._shipped and piece == self._last_page:
                return
            self._last_page = piece[-PAGE_BYTES:]
            yield offset, piece
        self._shipped = max(0, end - PAGE_BYTES)


def unpack_file(path: Path, target: Path, keyring: Keyring, segment_bytes: int) -> int:
    """Write one archived file as PostgreSQL wants it; return its content's bytes. Raises VaultDamaged, BackupRefused."""
    is_growing = path.suffix == GROWING
    is_segment = _SEGMENT.match(target.name) is not None
    total = 0
    with path.open("rb") as sealed, target.open("wb") as out:
        for frame in read_frames(sealed, keyring, str(path), is_growing=is_growing):
            (offset,) = _PIECE.unpack_from(frame)
            if len(frame) < _PIECE.size or offset + len(frame) - _PIECE.size > segment_bytes:
                raise BackupRefused(f"{path}: holds more than a file of the log")
            out.seek(offset)
            total += out.write(frame[_PIECE.size :])
        out.truncate(segment_bytes if is_segment else None)
        os.fsync(out.fileno())
    return total


class Wanted(msgspec.Struct, frozen=True):
    """What of a line is to be unpacked."""

    line: WalLine
    here: frozenset[str] = frozenset()
    """Files that the base backup brings itself, whole."""
    with_growing: bool = True
    """Whether the file that was being written counts; without it only what is archived for good does."""


def unpack_line(folder: Path, wanted: Wanted, target: Path, keyring: Keyring) -> Archived:
    """Unpack a line from the base backup's first file on, up to a gap or its end. Raises VaultDamaged, BackupRefused."""
    line = wanted.line
    listed = {path.name.removesuffix(path.suffix): path for path in _files(folder, GROWING)}
    listed = listed if wanted.with_growing else {}
    listed |= {path.name.removesuffix(path.suffix): path for path in _files(folder, SEALED)}
    count = total = 0
    last = missing = ""
    for name in sorted(name for name in listed if _HISTORY.match(name)):
        total += unpack_file(listed[name], target / name, keyring, line.segment_bytes)
    segments = sorted(name for name in listed if _SEGMENT.match(name) and name[8:] >= line.first_segment[8:])
    expected = line.first_segment
    for name in segments:
        if name[8:] != expected[8:]:
            missing = expected
            break
        if name not in wanted.here:
            total += unpack_file(listed[name], target / name, keyring, line.segment_bytes)
        count, last, expected = count + 1, name, following(name, line.segment_bytes)
    return Archived(count, total, last, missing)


def archive_bytes(directory: Path) -> int:
    """Return what all lines take."""
    sizes = 0
    for path in (directory / WAL_FOLDER).glob("*/*"):
        try:
            sizes += path.stat().st_size
        except FileNotFoundError:
            continue
    return sizes


def prune(directory: Path, keep_line: str, *, backups: list[Path] | None = None) -> int:
    """Remove what no backup needs (of all there are, or of these); return how many files went. The running line stays."""
    first: dict[str, str] = {}
    for path in whole_backups(directory) if backups is None else backups:
        try:
            wal = peek(path).wal
        except BackupRefused:
            continue
        if wal is not None:
            first[wal.name] = min(first.get(wal.name, "F" * 24), wal.first_segment[8:])
    gone = 0
    for folder in (directory / WAL_FOLDER).glob("*"):
        if not _LINE.match(folder.name) or (folder.name == keep_line and folder.name not in first):
            continue
        for path in (*_files(folder, SEALED), *_files(folder, GROWING)):
            name = path.name.removesuffix(path.suffix)
            if folder.name not in first or (_SEGMENT.match(name) and name[8:] < first[folder.name]):
                path.unlink(missing_ok=True)
                gone += 1
        if folder.name not in first and not any(folder.iterdir()):
            folder.rmdir()
    return gone


def make_line(directory: Path, line: str) -> Path:
    """Make a line's folder."""
    assert _LINE.match(line), "lines are named by `line_name`"
    folder = line_folder(directory, line)
    make_private_folder(folder)
    return folder


def _files(folder: Path, suffix: str) -> list[Path]:
    found = (path for path in folder.glob(f"*{suffix}") if is_log_file(path.name.removesuffix(suffix)))
    return sorted(found)
