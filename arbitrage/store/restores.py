"""Restores a backup into an empty place: a data folder of its own, or an empty database. Checks first; overwrites nothing.

A folder gets the base backup, then the archived log up to its newest page, then journals and snapshots. A journal that ends
before the restored database does is put aside: the start takes facts and snapshots from PostgreSQL then. Until all is done the
folder holds a file RESTORING, and no daemon starts on it.
"""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from arbitrage.store.backups import check_stored, state_members
from arbitrage.store.base_backup import PIPE_BYTES, TAR_BYTES, restore_dump, verify_unpacked
from arbitrage.store.embedded import STATE_FILE, postgres_of, read_state
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.files import make_private_folder, sync_folder, write_all, write_durably
from arbitrage.store.house_files import JOURNAL, SESSIONS, put_members
from arbitrage.store.lease import FILE_NAME as EPOCH_FILE
from arbitrage.store.locks import FolderLock
from arbitrage.store.manifests import CONFIGURATION, DATABASE, MANIFEST, BackupRefused, Manifest, read
from arbitrage.store.postgres_server import PostgresServer
from arbitrage.store.records import lines_of, read_header
from arbitrage.store.segments import JournalRefused, is_segment_name
from arbitrage.store.vault import FrameReader, Keyring, read_frames
from arbitrage.store.wal_archive import Archived, Wanted, line_folder, unpack_line

MARKER = "RESTORING"
ASIDE = "journal-before-restore"
RESTORED = "restored"
EPOCH_LEAP = 1_000
"""Added to the epoch: the house that was lost may have started again after the backup, and a number is never used twice."""
_TABLES = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
_HELD = """SELECT env, session_id, (SELECT coalesce(max(sequence), 0) FROM journal_facts f WHERE f.session = s.session) AS held
    FROM sessions s"""


class Request(msgspec.Struct, frozen=True):
    """What is to be restored, with what key, and who is told of progress."""

    source: Path
    keyring: Keyring
    say: Callable[[str], None]
    with_growing: bool = True
    """Whether the log up to its newest page is taken, or only what was archived for good."""


class Restored(msgspec.Struct, frozen=True):
    """What a restore gave."""

    manifest: Manifest
    archived: Archived | None
    held: dict[str, int]
    """By session, the last fact that the restored database holds."""
    journals: dict[str, int]
    """By session, the last fact of the restored journal."""
    notes: tuple[str, ...]


def refuse_half_restored(data_dir: Path) -> None:
    """Refuse a folder in which a restore did not end. Raises JournalRefused."""
    if (data_dir / MARKER).exists():
        raise JournalRefused(f"{data_dir / MARKER}: a restore into this folder did not end; remove the folder, restore again")


def check(source: Path, keyring: Keyring) -> Manifest:
    """Check a backup as far as it can be without unpacking it. Raises BackupRefused, VaultDamaged, naming the file."""
    manifest = read(source, keyring)
    for stored in manifest.files:
        check_stored(source / stored.name, stored)
    if [stored.name for stored in manifest.files if not (source / stored.name).is_file()] or len(manifest.files) != 3:
        raise BackupRefused(f"{source / MANIFEST}: does not name the three files of a backup")
    return manifest


def restore_folder(request: Request, target: Path) -> Restored:
    """Restore everything into an empty folder. Raises BackupRefused, VaultDamaged, EmbeddedRefused."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise BackupRefused(f"{target}: is not empty; nothing is overwritten: name a new folder with --to")
    request.say("checking the backup")
    manifest = check(request.source, request.keyring)
    members = state_members(request.source, _strict(request, manifest))
    make_private_folder(target)
    target.chmod(0o711 if os.geteuid() == 0 else 0o700)
    write_durably(target / MARKER, b"")
    archived, held = _restore_embedded(request, manifest, target)
    notes: list[str] = []
    if archived is not None and archived.missing:
        notes.append(f"the log has a gap at {archived.missing}: what came after it is not restored")
    journals = _put_state(members, held, target, notes)
    _put_papers(request, manifest, target)
    (target / MARKER).unlink()
    sync_folder(target)
    return Restored(manifest, archived, held, journals, tuple(notes))


def restore_lost_database(request: Request, target: Path) -> Restored:
    """Give a data folder its database back, of which everything else is there: the journal closes the gap at the next start.

    Raises BackupRefused, VaultDamaged, EmbeddedRefused.
    """
    if not (target / SESSIONS).is_dir():
        raise BackupRefused(f"{target / SESSIONS}: is missing: this is no data folder whose database alone is lost")
    if (target / "postgres").exists() and any((target / "postgres").iterdir()):
        raise BackupRefused(f"{target / 'postgres'}: is not empty; nothing is overwritten: move it away first")
    locks = [FolderLock(target / name) for name in ("daemon.lock", "embedded.lock")]
    if not all(lock.acquire() for lock in locks):
        raise BackupRefused(f"{target}: a daemon runs on this folder; stop it first")
    try:
        request.say("checking the backup")
        manifest = check(request.source, request.keyring)
        write_durably(target / MARKER, b"")
        archived, held = _restore_embedded(request, manifest, target)
        (target / MARKER).unlink()
        sync_folder(target)
    finally:
        for lock in locks:
            lock.release()
    return Restored(manifest, archived, held, {}, ())


def restore_server(request: Request, endpoint: PostgresEndpoint, data_dir: Path | None) -> Restored:
    """Restore a dump into an empty database of a named server, and the daemon's files where a folder is given for them.

    Raises BackupRefused, VaultDamaged, and POSTGRES_FAULTS.
    """
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
        raise BackupRefused(f"{data_dir}: is not empty; nothing is overwritten: name a new folder with --data-dir")
    request.say("checking the backup")
    manifest = check(request.source, request.keyring)
    if manifest.kind != "dump":
        raise BackupRefused(f"{request.source}: is a base backup of an embedded PostgreSQL: restore it with --to FOLDER")
    if asyncio.run(_ask(endpoint, _TABLES))[0][0]:
        raise BackupRefused(f"{endpoint}: has tables; nothing is overwritten: make an empty database (createdb)")
    _restore_dump(request, manifest, endpoint)
    held = _held(endpoint)
    notes: list[str] = []
    journals: dict[str, int] = {}
    if data_dir is not None:
        members = state_members(request.source, _strict(request, manifest))
        make_private_folder(data_dir)
        journals = _put_state(members, held, data_dir, notes)
        _put_papers(request, manifest, data_dir)
    return Restored(manifest, None, held, journals, tuple(notes))


def _strict(request: Request, manifest: Manifest) -> Keyring:
    return request.keyring.strict() if manifest.is_encrypted else request.keyring


def _restore_embedded(request: Request, manifest: Manifest, target: Path) -> tuple[Archived | None, dict[str, int]]:
    """Make the embedded database, bring it to the end of its log, give it a password, and see how far it reaches."""
    server = PostgresServer(target / "postgres", target / "postgres.log")
    known = read_state(target)
    password = known.postgres_password or os.urandom(24).hex()
    archived: list[Archived] = []
    here: set[str] = set()

    def unpack(folder: Path) -> None:
        request.say("unpacking the database")
        _unpack_base(request, manifest, folder)
        here.update(path.name for path in (folder / "pg_wal").iterdir() if path.is_file())

    def fetch_wal(folder: Path) -> None:
        if manifest.wal is None:
            return
        request.say("unpacking the archived log")
        wanted = Wanted(manifest.wal, frozenset(here), request.with_growing)
        lines = line_folder(request.source.parent, manifest.wal.name)
        archived.append(unpack_line(lines, wanted, folder, _strict(request, manifest)))

    try:
        if manifest.kind == "base":
            server.restore(unpack, fetch_wal, lambda: request.say("replaying the log"))
        port = server.start(known.postgres_port, password, is_password_new=True)
        state = msgspec.structs.replace(known, postgres_port=port, postgres_password=password)
        if manifest.kind == "dump":
            _restore_dump(request, manifest, postgres_of(state))
        held = _held(postgres_of(state))
    finally:
        server.stop()
    write_durably(target / STATE_FILE, msgspec.json.encode(state))
    return (archived[0] if archived else None), held


def _unpack_base(request: Request, manifest: Manifest, folder: Path) -> None:
    path = request.source / DATABASE
    with path.open("rb") as sealed:
        reader = FrameReader(read_frames(sealed, _strict(request, manifest), str(path)))
        try:
            with tarfile.open(fileobj=reader, mode="r|", bufsize=TAR_BYTES) as tar:  # type: ignore[call-overload]  # a stream needs only `read`
                for member in tar:
                    _unpack_member(tar, member, folder)
        except tarfile.TarError as error:
            raise BackupRefused(f"{path}: its tar is damaged: {error}") from None
        reader.read()
    verify_unpacked(folder, str(path))


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = Path(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise BackupRefused(f"{member.name!r} in the base backup is neither a file nor a folder of a database")
    if member.isdir():
        (folder / name).mkdir(mode=0o700, exist_ok=True, parents=True)
        return
    (folder / name).parent.mkdir(mode=0o700, exist_ok=True, parents=True)
    file = tar.extractfile(member)
    assert file is not None, "a file has content"
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while content := file.read(PIPE_BYTES):
            write_all(descriptor, content)
    finally:
        os.close(descriptor)


def _restore_dump(request: Request, manifest: Manifest, endpoint: PostgresEndpoint) -> None:
    path = request.source / DATABASE
    request.say("restoring the dump")
    with path.open("rb") as sealed:
        restore_dump(read_frames(sealed, _strict(request, manifest), str(path)), endpoint, str(path))


def _put_state(members: Mapping[str, bytes], held: Mapping[str, int], target: Path, notes: list[str]) -> dict[str, int]:
    """Write the daemon's files; a journal that the database has overtaken is put aside. Return where the journals end."""
    ends: dict[str, int] = {}
    put: dict[str, bytes] = {}
    for name in sorted(members):
        parts = Path(name).parts
        if len(parts) == 4 and parts[2] == JOURNAL and is_segment_name(parts[3]):
            ends[parts[1]] = max(ends.get(parts[1], 0), _end_of(members[name]))
    aside = {session for session, end in ends.items() if held.get(session, 0) > end}
    for name, content in members.items():
        parts = Path(name).parts
        if len(parts) == 4 and parts[1] in aside and parts[2] == JOURNAL:
            put[str(Path(SESSIONS, parts[1], ASIDE, parts[3]))] = content
        elif len(parts) == 3 and parts[2] == EPOCH_FILE:
            put[name] = msgspec.json.encode(msgspec.json.decode(content, type=int) + EPOCH_LEAP)
        else:
            put[name] = content
    put_members(put, target)
    for session in sorted(aside):
        text = f"session {session}: the database reaches fact {held[session]}, the backup's journal {ends[session]}"
        notes.append(f"{text}: put aside as {ASIDE}; the start takes facts from PostgreSQL")
    return {session: end for session, end in ends.items() if session not in aside}


def _end_of(segment: bytes) -> int:
    """Return the last fact of a journal file; 0 for an empty one."""
    end = 0
    for _, line in lines_of(segment):
        header = read_header(line)
        end = header.first_sequence + header.count - 1 if header is not None else end
    return end


def _put_papers(request: Request, manifest: Manifest, target: Path) -> None:
    """Lay manifest and configuration beside the data, for a person to take over."""
    path, folder = request.source / CONFIGURATION, target / RESTORED
    make_private_folder(folder)
    with path.open("rb") as sealed:
        content = b"".join(read_frames(sealed, _strict(request, manifest), str(path)))
    write_durably(folder / "configuration.json", content)
    write_durably(folder / MANIFEST, (request.source / MANIFEST).read_bytes())


def _held(endpoint: PostgresEndpoint) -> dict[str, int]:
    return {f"{row['env']}.{row['session_id']}": int(row["held"]) for row in asyncio.run(_ask(endpoint, _HELD))}


async def _ask(endpoint: PostgresEndpoint, statement: str) -> list[Mapping[str | int, int]]:
    connection = await connect_postgres(endpoint)
    try:
        rows: list[Mapping[str | int, int]] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()

