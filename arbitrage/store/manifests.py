"""What a backup says of itself: one JSON file beside the sealed ones, written last. Refuses to read what does not fit it.

A backup is a folder `backup-TIME`; while it is written it is named `TIME.partial`, which nothing takes for a backup.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Literal

import msgspec

from arbitrage.store.vault import Header, Keyring, VaultDamaged

FORMAT = 1
MANIFEST = "manifest.json"
PARTIAL = ".partial"
DATABASE, STATE, CONFIGURATION = "database.vault", "state.vault", "configuration.vault"
MANIFEST_BYTES_MAX = 1_000_000
_NAME = re.compile(r"^backup-\d{8}T\d{6}\.\d{3}Z$")


class BackupRefused(Exception):
    """A backup cannot be made, is not whole, or cannot be restored there. One line: which file, what is wrong, what to do."""


class StoredFile(msgspec.Struct, frozen=True):
    """One sealed file."""

    name: str
    bytes_plain: int
    bytes_stored: int
    sha256: str
    """Of what is stored, so that it can be checked without the key."""


class WalLine(msgspec.Struct, frozen=True):
    """Where the write-ahead log after a base backup is archived, and where it has to begin."""

    name: str
    first_segment: str
    segment_bytes: int


class StateHash(msgspec.Struct, frozen=True):
    """The ledger after one fact of a session, as a hash."""

    env: str
    session_id: str
    sequence: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """One backup."""

    format: int
    made_at_ns: int
    made_at: str
    program_version: str
    snapshot_version: int
    postgres_version: str
    kind: Literal["base", "dump"]
    """A base backup of the embedded PostgreSQL, or a dump of a named one."""
    is_encrypted: bool
    env: str
    session_id: str
    configuration_version: str
    states: tuple[StateHash, ...]
    files: tuple[StoredFile, ...]
    wal: WalLine | None
    seconds: float
    sealed: Header
    signature: str = ""
    """Made with the key, so that nobody else can write a manifest that fits other files; a checksum where there is no key."""

    def content(self) -> bytes:
        """Return what is signed."""
        return msgspec.json.encode(msgspec.structs.replace(self, signature=""))


def stamp(at_ns: int) -> str:
    """Write a time as it stands in names."""
    moment = datetime.datetime.fromtimestamp(at_ns / 1e9, datetime.UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{at_ns // 1_000_000 % 1_000:03d}Z"


def signed(manifest: Manifest, keyring: Keyring) -> Manifest:
    """Return the manifest with its signature."""
    signature = keyring.signature(manifest.sealed, manifest.content(), MANIFEST)
    return msgspec.structs.replace(manifest, signature=signature)


def peek(folder: Path) -> Manifest:
    """Read a manifest without a key. Raises BackupRefused."""
    path = folder / MANIFEST
    if folder.name.endswith(PARTIAL):
        raise BackupRefused(f"{folder}: was never finished; take another, or make a new one (arbitrage backup)")
    try:
        with path.open("rb") as file:
            manifest = msgspec.json.decode(file.read(MANIFEST_BYTES_MAX), type=Manifest)
    except FileNotFoundError:
        raise BackupRefused(f"{path}: is missing, so {folder} is no backup") from None
    except OSError as error:
        raise BackupRefused(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupRefused(f"{path}: is damaged or of another program: {error}") from None
    if manifest.format != FORMAT:
        raise BackupRefused(f"{path}: has format {manifest.format}, this program knows {FORMAT}: install the newer program")
    return manifest


def read(folder: Path, keyring: Keyring) -> Manifest:
    """Read a manifest and check its signature. Raises BackupRefused and VaultDamaged."""
    manifest = peek(folder)
    if manifest.is_encrypted != (manifest.sealed.kind != "plain"):
        raise BackupRefused(f"{folder / MANIFEST}: contradicts itself about encryption")
    if keyring.signature(manifest.sealed, manifest.content(), str(folder / MANIFEST)) != manifest.signature:
        raise VaultDamaged(f"{folder / MANIFEST}: was changed after it was written: its signature does not fit")
    return manifest


def whole_backups(directory: Path) -> list[Path]:
    """Return every finished backup, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.match(path.name) and (path / MANIFEST).is_file())
