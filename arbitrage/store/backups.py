"""Makes a backup: database, the daemon's own files, configuration, sealed; read back and compared before it counts as one.

Works while the daemon trades. It is written under a name that nothing takes for a backup, and renamed when every file is on
disk and was read back. One backup is made at a time in a folder; the newest `kept` stay.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from arbitrage.model.snapshots import SNAPSHOT_VERSION
from arbitrage.store import manifests
from arbitrage.store.base_backup import BaseManifest, Sink, check_base, check_dump, stream_base, stream_dump
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.files import make_private_folder, sync_folder, write_durably
from arbitrage.store.house_files import HouseFiles, read_members
from arbitrage.store.locks import FolderLock
from arbitrage.store.manifests import (
    CONFIGURATION,
    DATABASE,
    FORMAT,
    MANIFEST,
    PARTIAL,
    STATE,
    BackupRefused,
    Manifest,
    StoredFile,
    WalLine,
    stamp,
    whole_backups,
)
from arbitrage.store.state_hash import states_of
from arbitrage.store.vault import ChunkedWriter, FrameReader, FrameWriter, Keyring, read_frames
from arbitrage.store.wal_archive import prune, segment_name

READ_BYTES = 1_048_576


class Subject(msgspec.Struct, frozen=True):
    """What is backed up, and by whom."""

    data_dir: Path
    endpoint: PostgresEndpoint
    kind: Literal["base", "dump"]
    env: str
    session_id: str
    configuration: bytes
    """JSON without any secret."""
    configuration_version: str
    program_version: str
    postgres_version: str


class Place(msgspec.Struct, frozen=True):
    """Where backups go."""

    directory: Path
    kept: int
    keyring: Keyring
    clock: Callable[[], int]
    say: Callable[[str], None]
    """Takes one line of progress."""


class Line(msgspec.Struct, frozen=True):
    """The line of the log that is to follow a base backup; PostgreSQL already keeps the log for it."""

    name: str
    segment_bytes: int


class Made(msgspec.Struct, frozen=True):
    """A backup, and what went to make room for it."""

    path: Path
    manifest: Manifest
    removed: tuple[str, ...]


def make(subject: Subject, place: Place, line: Line | None) -> Made:
    """Make one backup. Raises BackupRefused, VaultDamaged, JournalRefused, DumpRefused, with the file named."""
    began_ns = place.clock()
    try:
        make_private_folder(place.directory)
        lock = FolderLock(place.directory / "lock")
        if not lock.acquire():
            raise BackupRefused(f"{place.directory}: another backup is being made there; wait for it")
    except OSError as error:
        raise BackupRefused(f"{place.directory}: cannot be written ({error.strerror}); name another folder with --to") from None
    final = place.directory / f"backup-{stamp(began_ns)}"
    partial = place.directory / (final.name + PARTIAL)
    try:
        _refuse_a_lost_key(place)
        for left in place.directory.glob(f"*{PARTIAL}"):
            shutil.rmtree(left)
        partial.mkdir(mode=0o700)
        manifest = _fill(partial, subject, place, line)
        sync_folder(partial)
        partial.rename(final)
        sync_folder(place.directory)
        removed = _retire(place, line)
    except OSError as error:
        where = error.filename or partial
        raise BackupRefused(f"{where}: {error.strerror}; no backup was made, the ones before stand") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.release()
    return Made(final, manifest, removed)


def _refuse_a_lost_key(place: Place) -> None:
    """Refuse to go on in plain text where the newest backup is encrypted: a key that went missing is no wish of anybody's."""
    newest = whole_backups(place.directory)[-1:]
    if not place.keyring.has_key and newest and manifests.peek(newest[0]).is_encrypted:
        raise BackupRefused(f"{newest[0]}: is encrypted, and no key is at hand now: give it, or name another folder with --to")


def _fill(partial: Path, subject: Subject, place: Place, line: Line | None) -> Manifest:
    began_ns, keyring = place.clock(), place.keyring
    stream = stream_base if subject.kind == "base" else stream_dump
    with HouseFiles(subject.data_dir) as house:
        place.say("copying the database")
        files = [_seal(partial / DATABASE, keyring, lambda sink: stream(subject.endpoint, sink))]
        place.say("copying journals and snapshots")
        files.append(_seal(partial / STATE, keyring, house.write))
    files.append(_seal(partial / CONFIGURATION, keyring, lambda sink: sink.write(subject.configuration)))
    place.say("reading all of it back")
    states = states_of(state_members(partial, keyring))
    base = check_files(partial, tuple(files), keyring, subject.kind)
    wal = None
    if base is not None and line is not None:
        wal = WalLine(line.name, segment_name(base.timeline, base.start_lsn, line.segment_bytes), line.segment_bytes)
    manifest = Manifest(
        format=FORMAT, made_at_ns=began_ns, made_at=stamp(began_ns), program_version=subject.program_version,
        snapshot_version=SNAPSHOT_VERSION, postgres_version=subject.postgres_version, kind=subject.kind,
        is_encrypted=keyring.has_key, env=subject.env, session_id=subject.session_id,
        configuration_version=subject.configuration_version, states=states, files=tuple(files), wal=wal,
        seconds=round((place.clock() - began_ns) / 1e9, 3), sealed=keyring.fresh_header(),
    )  # fmt: skip
    write_durably(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifests.signed(manifest, keyring)), indent=1))
    return manifest


def _seal(path: Path, keyring: Keyring, fill: Callable[[Sink], object]) -> StoredFile:
    """Write one sealed file and sync it. Raises OSError, naming the file."""
    try:
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            frames = FrameWriter(file, keyring, str(path))
            writer = ChunkedWriter(frames)
            fill(writer)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return StoredFile(path.name, writer.bytes_plain, frames.bytes_stored, frames.sha256)


def state_members(folder: Path, keyring: Keyring) -> dict[str, bytes]:
    """Read the daemon's own files out of a backup. Raises BackupRefused, VaultDamaged."""
    path = folder / STATE
    with path.open("rb") as file:
        return read_members(FrameReader(read_frames(file, keyring, str(path))), str(path))


def check_files(folder: Path, files: tuple[StoredFile, ...], keyring: Keyring, kind: str) -> BaseManifest | None:
    """Read every file back and compare it with what was written. Raises BackupRefused, VaultDamaged, naming the file."""
    base = None
    for stored in files:
        path = folder / stored.name
        check_stored(path, stored)
        with path.open("rb") as file:
            frames = read_frames(file, keyring, str(path))
            if stored.name != DATABASE:
                size = sum(map(len, frames))
                if size != stored.bytes_plain:
                    raise BackupRefused(f"{path}: holds {size} bytes, {stored.bytes_plain} were put in")
            elif kind == "base":
                reader = FrameReader(frames)
                base = check_base(reader, str(path))
                reader.read()
            else:
                check_dump(frames, str(path))
    return base


def check_stored(path: Path, stored: StoredFile) -> None:
    """Compare a file as it is stored: size and SHA-256, which need no key. Raises BackupRefused, naming the file."""
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        if size != stored.bytes_stored:
            raise BackupRefused(f"{path}: has {size} bytes, {stored.bytes_stored} were written: truncated or changed")
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, not from what is still in memory
            while content := file.read(READ_BYTES):
                digest.update(content)
    except OSError as error:
        raise BackupRefused(f"{path}: cannot be read ({error.strerror})") from None
    if digest.hexdigest() != stored.sha256:
        raise BackupRefused(f"{path}: is damaged: its SHA-256 does not fit the manifest")


def _retire(place: Place, line: Line | None) -> tuple[str, ...]:
    """Remove what is beyond the newest `kept`, and the log that nothing needs any more."""
    old = whole_backups(place.directory)[: -place.kept]
    for path in old:
        gone = path.with_name(path.name + PARTIAL)
        path.rename(gone)
        shutil.rmtree(gone)
    if line is not None:
        prune(place.directory, line.name)
    return tuple(path.name for path in old)
