"""The daemon's own files in a backup: journals, snapshots, epochs, reports, the kill switch. Changes nothing it copies.

Journal files are opened before the database is copied and read after it: one that is removed meanwhile, because database and
snapshots hold its facts, is still read whole. So the copy's journal reaches back before the copied database's end, and
further than it. Passwords (`embedded.json`), sockets, locks and the databases' own files are left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from arbitrage.store.base_backup import Sink
from arbitrage.store.files import make_private_folder, sync_folder, write_all
from arbitrage.store.manifests import BackupRefused
from arbitrage.store.records import lines_of, read_header
from arbitrage.store.segments import JournalRefused, is_segment_name
from arbitrage.store.vault import FrameReader

KEPT = ("KILL", "kill-proof.json", "bans.json")
FOLDERS = ("reports", "receipts")
MEMBER_BYTES_MAX = 1_000_000_000
SESSIONS, JOURNAL, SNAPSHOTS = "sessions", "journal", "snapshots"


class HouseFiles:
    """A data folder's files, as they are while a daemon may be writing them."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._journals: dict[str, IO[bytes]] = {}

    def __enter__(self) -> HouseFiles:
        self._open_journals()
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._journals.values():
            file.close()

    def write(self, sink: Sink) -> None:
        """Write everything as a tar. Raises JournalRefused for a damaged journal, OSError."""
        contents = self.contents()
        with tarfile.open(fileobj=sink, mode="w|") as tar:  # type: ignore[call-overload]  # a stream needs only `write`
            for name, content in sorted(contents.items()):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o600
                tar.addfile(member, io.BytesIO(content))

    def contents(self) -> dict[str, bytes]:
        """Return every file by its name in the data folder. Raises JournalRefused for a damaged journal, OSError."""
        contents = dict(self._plain_files())
        self._open_journals()
        for name, file in self._journals.items():
            file.seek(0)
            contents[name] = whole_records(file.read(), str(self._data_dir / name))
        return contents

    def _open_journals(self) -> None:
        for path in self._data_dir.glob(f"{SESSIONS}/*/{JOURNAL}/*"):
            name = str(path.relative_to(self._data_dir))
            if is_segment_name(path.name) and name not in self._journals:
                with contextlib.suppress(FileNotFoundError):
                    self._journals[name] = path.open("rb")

    def _plain_files(self) -> Iterator[tuple[str, bytes]]:
        papers = (f"{each}/*.json" for each in FOLDERS)
        patterns = (*KEPT, f"{SESSIONS}/*/epoch.json", f"{SESSIONS}/*/{SNAPSHOTS}/*.json", *papers)
        for path in sorted({path for pattern in patterns for path in self._data_dir.glob(pattern)}):
            with contextlib.suppress(FileNotFoundError):
                yield str(path.relative_to(self._data_dir)), path.read_bytes()


def whole_records(content: bytes, where: str) -> bytes:
    """Return a journal file up to its last whole record: what is being appended is not acted on yet. Raises JournalRefused."""
    end = 0
    for offset, line in lines_of(content):
        if read_header(line) is None:
            raise JournalRefused(f"{where}: damaged at byte {offset}: it is not copied; look at the disk")
        end = offset + len(line) + 1
    return content[:end]


def read_members(reader: FrameReader, where: str) -> dict[str, bytes]:
    """Return every file of a state tar. Raises BackupRefused."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=reader, mode="r|") as tar:  # type: ignore[call-overload]  # a stream needs only `read`
            for member in tar:
                name = Path(member.name)
                file = tar.extractfile(member) if member.isfile() else None
                if file is None or name.is_absolute() or ".." in name.parts or member.size > MEMBER_BYTES_MAX:
                    raise BackupRefused(f"{where}: holds {member.name!r}, which none of ours does")
                found[member.name] = file.read()
    except tarfile.TarError as error:
        raise BackupRefused(f"{where}: its tar is damaged: {error}") from None
    return found


def put_members(members: dict[str, bytes], data_dir: Path) -> None:
    """Write the files of a state into a data folder, durably."""
    for name, content in members.items():
        path = data_dir / name
        make_private_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for folder in sorted({(data_dir / name).parent for name in members}):
        sync_folder(folder)
    sync_folder(data_dir)
