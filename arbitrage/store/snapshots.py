"""Snapshots as local files and what is offered at a start: newest first, damaged and foreign ones refused by name.

A file is a header line (`arbitrage-snapshot`, version, SHA-256 of the rest) and the snapshot's JSON. It appears whole or not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import msgspec

from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot
from arbitrage.store.files import make_private_folder, sync_folder, write_durably
from arbitrage.store.moments import SNAPSHOT_FILE, Reached

_MAGIC = "arbitrage-snapshot"
_NAME = re.compile(r"^snapshot-(\d{20})-(\d{20})\.json$")
_DECODER = msgspec.json.Decoder(Snapshot)


class Candidate(msgspec.Struct, frozen=True):
    """A whole snapshot that this program understands, and where it was found."""

    name: str
    snapshot: Snapshot


class RefusedSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that cannot be used: its name and why. Another one is offered after it where there is one."""

    name: str
    reason: str


class Stored(msgspec.Struct, frozen=True):
    """A snapshot as it was found, not yet judged. `key` orders: journal sequence, then time."""

    name: str
    key: tuple[int, int]
    version: int
    sha256: str
    body: bytes


def encode_snapshot(snapshot: Snapshot) -> tuple[str, bytes]:
    """Return (SHA-256 in hex, JSON)."""
    body = msgspec.json.encode(snapshot)
    return hashlib.sha256(body).hexdigest(), body


def judge(stored: Stored, session_id: str) -> Candidate | RefusedSnapshot:
    """Check hash, version, meaning and owner of a stored snapshot."""
    if stored.version > SNAPSHOT_VERSION:
        reason = f"version {stored.version} is newer than this program's {SNAPSHOT_VERSION}: install the newer program"
        return RefusedSnapshot(stored.name, reason)
    if hashlib.sha256(stored.body).hexdigest() != stored.sha256:
        return RefusedSnapshot(stored.name, "corrupt: its SHA-256 does not match")
    try:
        snapshot = _DECODER.decode(stored.body)
    except msgspec.DecodeError as error:
        return RefusedSnapshot(stored.name, f"not understood: {error}")
    if snapshot.version != stored.version or snapshot.version != SNAPSHOT_VERSION:
        return RefusedSnapshot(stored.name, f"version {snapshot.version} is not this program's {SNAPSHOT_VERSION}")
    if snapshot.session_id != session_id:
        return RefusedSnapshot(stored.name, f"belongs to session {snapshot.session_id!r}, not {session_id!r}")
    return Candidate(stored.name, snapshot)


def newest_first(stored: Iterable[Stored | RefusedSnapshot], session_id: str) -> list[Candidate | RefusedSnapshot]:
    """Order and judge. A good copy found in two places is offered once."""
    refused = [item for item in stored if isinstance(item, RefusedSnapshot)]
    readable = sorted((item for item in stored if isinstance(item, Stored)), key=lambda item: item.key, reverse=True)
    judged: list[Candidate | RefusedSnapshot] = []
    seen: set[str] = set()
    for item in readable:
        verdict = judge(item, session_id)
        if isinstance(verdict, RefusedSnapshot) or item.sha256 not in seen:
            judged.append(verdict)
        if isinstance(verdict, Candidate):
            seen.add(item.sha256)
    return [*refused, *judged]


class SnapshotFiles:
    """The local folder of one session's snapshots, newest `kept_max` of them."""

    def __init__(self, directory: Path, *, kept_max: int) -> None:
        make_private_folder(directory)
        for unfinished in directory.glob("*.tmp"):
            unfinished.unlink()
        self.reached: Reached | None = None
        self._directory = directory
        self._kept_max = kept_max

    def save(self, snapshot: Snapshot) -> Path:
        """Write durably and remove the oldest beyond the limit. Raises OSError; every older snapshot then still stands."""
        sha256, body = encode_snapshot(snapshot)
        path = self._directory / f"snapshot-{snapshot.journal_sequence:020d}-{snapshot.at_ns:020d}.json"
        halfway = None if self.reached is None else partial(self.reached, SNAPSHOT_FILE)
        write_durably(path, f"{_MAGIC} {snapshot.version} {sha256}\n".encode() + body, halfway)
        for old in self._paths()[: -self._kept_max]:
            old.unlink()
        sync_folder(self._directory)
        return path

    def oldest_sequence(self) -> int | None:
        """Return the journal sequence of the oldest file: facts after it are needed to restore any of them."""
        paths = self._paths()
        return _key(paths[0])[0] if paths else None

    def newest_sequence(self) -> int:
        """Return the journal sequence of the newest file, 0 when there is none."""
        paths = self._paths()
        return _key(paths[-1])[0] if paths else 0

    def load(self) -> list[Stored | RefusedSnapshot]:
        """Read every file; what has no readable header is refused here, the rest is judged with the others."""
        return [_read(path) for path in self._paths()]

    def _paths(self) -> list[Path]:
        return sorted((path for path in self._directory.iterdir() if _NAME.match(path.name)), key=_key)


def _key(path: Path) -> tuple[int, int]:
    match = _NAME.match(path.name)
    assert match is not None, "only snapshot files are listed"
    return int(match[1]), int(match[2])


def _read(path: Path) -> Stored | RefusedSnapshot:
    try:
        return stored_from(str(path), path.read_bytes())
    except OSError as error:
        return RefusedSnapshot(str(path), f"unreadable: {error.strerror}")


def stored_from(name: str, content: bytes) -> Stored | RefusedSnapshot:
    """Take a snapshot file's content apart; `name` ends in the file's own name."""
    header, _, body = content.partition(b"\n")
    words = header.decode("ascii", "replace").split(" ")
    if len(words) != 3 or words[0] != _MAGIC or not words[1].isdecimal():
        return RefusedSnapshot(name, "corrupt: no snapshot header")
    return Stored(name, _key(Path(name)), int(words[1]), words[2], body)
