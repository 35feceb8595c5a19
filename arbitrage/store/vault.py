"""Sealed files: compressed chunks, each with a tag, encrypted where there is a key. Refuses what was changed or cut.

A file is a line that names the format, a line of JSON that says how it was sealed, and frames: a length, then a ciphertext with
its 16-byte tag. The nonce of a frame is its number and whether it is the last, so that frames cannot be dropped, swapped or cut
off unseen (the STREAM construction, as in age). Without a key the tag is a checksum. Memory: one chunk, however large the file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"arbitrage-vault 1\n"
CHUNK_BYTES = 262_144
FRAME_BYTES_MAX = 2 * CHUNK_BYTES
HEADER_BYTES_MAX = 1_000
PASSPHRASE_BYTES_MIN = 16
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**15, 8, 1
"""About 0.1 s and 32 MB for each guess at a passphrase."""
_SCRYPT_N_MAX = 2**17
"""A header that asks for more would make us work for whoever changed it."""
_TAG_BYTES = 16
_LENGTH = struct.Struct(">I")


class VaultDamaged(Exception):
    """A sealed file cannot be trusted, or not with this key. One line: which file, what is wrong."""


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a file was sealed. Everything in it is under every frame's tag."""

    kind: str
    file_salt: str
    key_salt: str = ""
    n: int = 0
    r: int = 0
    p: int = 0
    key_check: str = ""
    """Eight bytes that tell a wrong key from damage; they tell nothing of the key itself."""


class Keyring:
    """One passphrase, or none, and the keys that were stretched from it: slow by intention, so each only once."""

    def __init__(self, passphrase: bytes = b"", *, is_strict: bool = False) -> None:
        assert not passphrase or len(passphrase) >= PASSPHRASE_BYTES_MIN, "whoever read it refused a short one"
        self._passphrase = passphrase
        self._is_strict = is_strict
        self._masters: dict[tuple[bytes, int, int, int], bytes] = {}
        self._salt = os.urandom(16)

    def __repr__(self) -> str:
        return f"Keyring({'a key' if self._passphrase else 'no key'})"

    @property
    def has_key(self) -> bool:
        return bool(self._passphrase)

    def strict(self) -> Keyring:
        """Return a keyring that opens nothing unencrypted: a plain file put among encrypted ones is somebody else's."""
        return Keyring(self._passphrase, is_strict=True)

    def fresh_header(self) -> Header:
        """Return how the next file is to be sealed."""
        file_salt = os.urandom(16).hex()
        if not self._passphrase:
            return Header("plain", file_salt)
        master = self._master(self._salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
        check = _derived(master, b"", b"arbitrage key check")[:8].hex()
        return Header("chacha20poly1305", file_salt, self._salt.hex(), SCRYPT_N, SCRYPT_R, SCRYPT_P, check)

    def box(self, header: Header, where: str) -> _Box:
        """Return what seals and opens the frames of one file. Raises VaultDamaged for a missing or another key."""
        bound = msgspec.json.encode(header)
        if header.kind == "plain":
            if self._is_strict:
                raise VaultDamaged(f"{where}: is not encrypted, but its backup is: somebody else's file")
            return _Box(None, bound)
        master = self._master_of(header, where)
        return _Box(ChaCha20Poly1305(_derived(master, bytes.fromhex(header.file_salt), b"arbitrage file key")), bound)

    def signature(self, header: Header, content: bytes, where: str) -> str:
        """Return what only a holder of the key can make of `content`; a checksum where there is none."""
        if header.kind == "plain":
            return hashlib.sha256(content).hexdigest()
        key = _derived(self._master_of(header, where), bytes.fromhex(header.file_salt), b"arbitrage manifest")
        return hmac.new(key, content, "sha256").hexdigest()

    def _master_of(self, header: Header, where: str) -> bytes:
        if not self._passphrase:
            raise VaultDamaged(f"{where}: is encrypted; give the key (arbitrage-backup-key, see the reference)")
        is_known = header.kind == "chacha20poly1305" and (header.r, header.p) == (SCRYPT_R, SCRYPT_P)
        if not is_known or not 1 < header.n <= _SCRYPT_N_MAX or header.n & (header.n - 1):
            raise VaultDamaged(f"{where}: was sealed in a way that this program does not know ({header.kind})")
        master = self._master(bytes.fromhex(header.key_salt), header.n, header.r, header.p)
        if _derived(master, b"", b"arbitrage key check")[:8].hex() != header.key_check:
            raise VaultDamaged(f"{where}: was encrypted with another key")
        return master

    def _master(self, salt: bytes, n: int, r: int, p: int) -> bytes:
        found = self._masters.get((salt, n, r, p))
        if found is None:
            found = self._masters[salt, n, r, p] = Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(self._passphrase)
        return found


def _derived(master: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt or None, purpose).derive(master)


class _Box:
    """Seals and opens frames of one file."""

    def __init__(self, cipher: ChaCha20Poly1305 | None, bound: bytes) -> None:
        self._cipher = cipher
        self._bound = bound

    def seal(self, number: int, content: bytes, *, is_last: bool) -> bytes:
        nonce = number.to_bytes(11, "big") + bytes([is_last])
        if self._cipher is not None:
            return self._cipher.encrypt(nonce, content, self._bound)
        return content + self._checksum(nonce, content)

    def open(self, number: int, sealed: bytes, *, is_last: bool) -> bytes | None:
        """Return the content, or None when the tag does not fit."""
        nonce = number.to_bytes(11, "big") + bytes([is_last])
        if self._cipher is None:
            content = sealed[:-_TAG_BYTES]
            return content if sealed[-_TAG_BYTES:] == self._checksum(nonce, content) else None
        try:
            return self._cipher.decrypt(nonce, sealed, self._bound)
        except InvalidTag:
            return None

    def _checksum(self, nonce: bytes, content: bytes) -> bytes:
        return hashlib.sha256(self._bound + nonce + content).digest()[:_TAG_BYTES]


class FrameWriter:
    """Writes frames to an open file. Whoever owns the file syncs and closes it."""

    def __init__(self, file: BinaryIO, keyring: Keyring, where: str) -> None:
        header = keyring.fresh_header()
        self._file = file
        self._box = keyring.box(header, where)
        self._number = 0
        self._digest = hashlib.sha256()
        self.bytes_stored = 0
        self._write(MAGIC + msgspec.json.encode(header) + b"\n")

    @property
    def sha256(self) -> str:
        """SHA-256 of everything written so far."""
        return self._digest.hexdigest()

    def frame(self, content: bytes, *, is_last: bool = False) -> None:
        """Seal at most CHUNK_BYTES. Raises OSError."""
        assert len(content) <= CHUNK_BYTES, "a reader takes no larger frames"
        sealed = self._box.seal(self._number, zlib.compress(content, 1), is_last=is_last)
        self._number += 1
        self._write(_LENGTH.pack(len(sealed)) + sealed)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.bytes_stored += len(content)


class ChunkedWriter:
    """A stream of bytes of any length into frames; `finish` writes the last one, without which the file counts as cut."""

    def __init__(self, frames: FrameWriter) -> None:
        self._frames = frames
        self._waiting = bytearray()
        self.bytes_plain = 0

    def write(self, content: bytes) -> int:
        """Take bytes, as a file would."""
        self._waiting += content
        self.bytes_plain += len(content)
        while len(self._waiting) > CHUNK_BYTES:
            self._frames.frame(bytes(self._waiting[:CHUNK_BYTES]))
            del self._waiting[:CHUNK_BYTES]
        return len(content)

    def finish(self) -> None:
        """Write what waits as the last frame."""
        self._frames.frame(bytes(self._waiting), is_last=True)
        self._waiting.clear()


def read_header(file: BinaryIO, where: str) -> Header:
    """Read how a file was sealed. Raises VaultDamaged."""
    if file.readline(len(MAGIC)) != MAGIC:
        raise VaultDamaged(f"{where}: is no sealed file of ours, or is damaged at its first byte")
    try:
        header = msgspec.json.decode(file.readline(HEADER_BYTES_MAX), type=Header)
        bytes.fromhex(header.file_salt + header.key_salt)
    except (msgspec.DecodeError, ValueError):
        raise VaultDamaged(f"{where}: damaged at its header") from None
    return header


def read_frames(file: BinaryIO, keyring: Keyring, where: str, *, is_growing: bool = False) -> Iterator[bytes]:
    """Yield the content of every frame, in order. Raises VaultDamaged for anything that was changed, or cut off.

    A file that was still growing when it was left has no last frame, and may end in a torn one: `is_growing` takes it so far.
    """
    header = read_header(file, where)
    box, number, is_last = keyring.box(header, where), 0, False
    while not is_last:
        prefix = file.read(_LENGTH.size)
        length = _LENGTH.unpack(prefix)[0] if len(prefix) == _LENGTH.size else 0
        sealed = file.read(length) if _TAG_BYTES <= length <= FRAME_BYTES_MAX else b""
        if len(sealed) < max(length, 1):
            if is_growing and length <= FRAME_BYTES_MAX:
                return
            raise VaultDamaged(f"{where}: truncated or damaged at frame {number}")
        packed = box.open(number, sealed, is_last=False)
        if packed is None:
            packed, is_last = box.open(number, sealed, is_last=True), True
        if packed is None:
            if is_growing and not file.read(1):
                return
            raise VaultDamaged(f"{where}: damaged at frame {number}: its tag does not fit")
        yield _unpacked(packed, where, number)
        number += 1
    if file.read(1):
        raise VaultDamaged(f"{where}: has bytes after its last frame")


def _unpacked(packed: bytes, where: str, number: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, CHUNK_BYTES + 1)
    except zlib.error as error:
        raise VaultDamaged(f"{where}: frame {number}: {error}") from None
    if len(content) > CHUNK_BYTES or not unpacker.eof:
        raise VaultDamaged(f"{where}: frame {number} is larger than any of ours")
    return content


class FrameReader:
    """The content of frames as a file to read from, for those who want one (tar)."""

    def __init__(self, frames: Iterator[bytes]) -> None:
        self._frames = frames
        self._frame = b""
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """Return `count` bytes, less only at the end; all that is left for a negative count."""
        parts, have = [], 0
        while count < 0 or have < count:
            if self._at == len(self._frame):
                self._frame, self._at = next(self._frames, b""), 0
                if not self._frame:
                    break
            end = len(self._frame) if count < 0 else min(len(self._frame), self._at + count - have)
            parts.append(self._frame[self._at : end])
            have += end - self._at
            self._at = end
        return b"".join(parts)
