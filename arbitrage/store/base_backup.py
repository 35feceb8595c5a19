"""A database as one stream: a base backup of the embedded server, or a dump of a named one. Never holds it whole in memory.

The base backup's own manifest (a SHA-256 for each file) is the last member of its tar; `check_base` compares all with it.
"""

from __future__ import annotations

import hashlib
import os
import select
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from arbitrage.store.dumps import client_address, client_environment, client_program
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.manifests import BackupRefused
from arbitrage.store.vault import FrameReader

SILENCE_SECONDS_MAX = 120.0
PIPE_BYTES = 262_144
TAR_BYTES = 1_048_576
RESTORE_SECONDS_MAX = 3_600
BACKUP_MANIFEST = "backup_manifest"
_OUTSIDE = ("pg_wal/", BACKUP_MANIFEST)
"""Members that the manifest does not list: the log is checked by its own checksums when it is replayed."""


class Sink(Protocol):
    """Takes bytes."""

    def write(self, content: bytes, /) -> int: ...


class BaseManifest(msgspec.Struct, frozen=True):
    """What PostgreSQL says of a base backup."""

    files: dict[str, tuple[int, str]]
    timeline: int
    start_lsn: int
    bytes_total: int


def stream_base(endpoint: PostgresEndpoint, sink: Sink) -> None:
    """Write a base backup with the log it needs, as a tar. Raises BackupRefused."""
    words = ("--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--manifest-checksums=SHA256")
    _stream("pg_basebackup", (*words, *client_address(endpoint)), endpoint, sink)


def stream_dump(endpoint: PostgresEndpoint, sink: Sink) -> None:
    """Write a dump in custom format, not compressed: whoever seals it compresses. Raises BackupRefused."""
    words = ("--format=custom", "--compress=0", f"--dbname={endpoint.database}")
    _stream("pg_dump", (*words, *client_address(endpoint)), endpoint, sink)


def _stream(name: str, words: tuple[str, ...], endpoint: PostgresEndpoint, sink: Sink) -> None:
    with tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(
            [str(client_program(name)), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaint,
            env=client_environment(endpoint), cwd="/",
        )  # fmt: skip
        assert process.stdout is not None, "a pipe was asked for"
        descriptor = process.stdout.fileno()
        try:
            while select.select([descriptor], [], [], SILENCE_SECONDS_MAX)[0]:
                content = os.read(descriptor, PIPE_BYTES)
                if not content:
                    break
                sink.write(content)
            else:
                raise BackupRefused(f"{name} of {endpoint} said nothing for {SILENCE_SECONDS_MAX:.0f} s")
            status = process.wait(SILENCE_SECONDS_MAX)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
        complaint.seek(0)
        words_said = " ".join(complaint.read().decode("utf-8", "replace").split())[-300:]
    if status != 0:
        mend = "; restart the daemon once, so that its database lets backups in" if "pg_hba.conf" in words_said else ""
        raise BackupRefused(f"{name} of {endpoint} failed: {words_said}{mend}")


def read_base_manifest(content: bytes) -> BaseManifest:
    """Read PostgreSQL's own manifest."""
    raw: dict[str, Any] = msgspec.json.decode(content)
    files = {row["Path"]: (int(row["Size"]), str(row["Checksum"])) for row in raw["Files"]}
    ranges = raw["WAL-Ranges"][0]
    high, low = str(ranges["Start-LSN"]).split("/")
    total = sum(size for size, _ in files.values())
    return BaseManifest(files, int(ranges["Timeline"]), (int(high, 16) << 32) + int(low, 16), total)


def check_base(reader: FrameReader, where: str) -> BaseManifest:
    """Read a base backup's tar and compare every file with the manifest in it. Raises BackupRefused, naming the file."""
    found: dict[str, tuple[int, str]] = {}
    manifest: BaseManifest | None = None
    try:
        with tarfile.open(fileobj=reader, mode="r|", bufsize=TAR_BYTES) as tar:  # type: ignore[call-overload]  # a stream needs only `read`
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and member.name == BACKUP_MANIFEST:
                    manifest = read_base_manifest(file.read())
                elif file is not None:
                    found[member.name] = (member.size, _digest(file))
    except tarfile.TarError as error:
        raise BackupRefused(f"{where}: its tar is damaged: {error}") from None
    if manifest is None:
        raise BackupRefused(f"{where}: has no {BACKUP_MANIFEST}: pg_basebackup did not finish")
    for name, wanted in manifest.files.items():
        if found.get(name) != wanted:
            raise BackupRefused(f"{where}: {name} is {'not as PostgreSQL wrote it' if name in found else 'missing'}")
    extra = [name for name in found if name not in manifest.files and not name.startswith(_OUTSIDE)]
    if extra:
        raise BackupRefused(f"{where}: {extra[0]} is not in PostgreSQL's manifest")
    return manifest


def verify_unpacked(folder: Path, where: str) -> None:
    """Let pg_verifybackup compare an unpacked base backup with its manifest, log included. Raises BackupRefused."""
    program = str(client_program("pg_verifybackup"))
    done = subprocess.run(
        [program, "--exit-on-error", "--quiet", str(folder)], capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"}, timeout=RESTORE_SECONDS_MAX,
    )  # fmt: skip
    if done.returncode != 0:
        raise BackupRefused(f"{where}: pg_verifybackup: {' '.join((done.stdout + done.stderr).split())[-300:]}")


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := file.read(PIPE_BYTES):
        digest.update(part)
    return digest.hexdigest()


def check_dump(frames: Iterator[bytes], where: str) -> None:
    """Let pg_restore read a dump to its end. Raises BackupRefused."""
    _feed("pg_restore", ("--file=-",), {"PATH": os.defpath, "LC_ALL": "C"}, frames, where)


def restore_dump(frames: Iterator[bytes], endpoint: PostgresEndpoint, where: str) -> None:
    """Restore a dump into an empty database, whole or not at all. Raises BackupRefused."""
    words = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={endpoint.database}")
    _feed("pg_restore", (*words, *client_address(endpoint)), client_environment(endpoint), frames, where)


def _feed(name: str, words: tuple[str, ...], environment: dict[str, str], frames: Iterator[bytes], where: str) -> None:
    """Run a program on what the frames hold; a damaged frame ends it before it can end well."""
    with tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(
            [str(client_program(name)), *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaint,
            env=environment, cwd="/",
        )  # fmt: skip
        assert process.stdin is not None, "a pipe was asked for"
        is_fed = False
        try:
            for frame in frames:
                process.stdin.write(frame)
            process.stdin.close()
            is_fed = True
        except BrokenPipeError:
            is_fed = True  # it ended by itself and says why
        finally:
            if not is_fed:
                process.kill()
            status = process.wait(RESTORE_SECONDS_MAX)
        complaint.seek(0)
        if status != 0:
            raise BackupRefused(f"{where}: {name}: {' '.join(complaint.read().decode('utf-8', 'replace').split())[-300:]}")
