"""Sealed files: what goes in comes out, and what was changed, cut, swapped or sealed by somebody else is refused by name."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.store.vault import (
    CHUNK_BYTES,
    ChunkedWriter,
    FrameReader,
    FrameWriter,
    Keyring,
    VaultDamaged,
    read_frames,
)

KEY, OTHER = b"correct horse battery", b"wrong horse battery!!"
WITH_KEY, WITHOUT = Keyring(KEY), Keyring()
"""Shared, because stretching a passphrase takes its time by intention."""
NAME = "x.vault"


def sealed(content: bytes, keyring: Keyring, *, is_finished: bool = True) -> bytes:
    file = io.BytesIO()
    writer = ChunkedWriter(FrameWriter(file, keyring, NAME))
    writer.write(content)
    if is_finished:
        writer.finish()
    return file.getvalue()


def opened(raw: bytes, keyring: Keyring, *, is_growing: bool = False) -> bytes:
    return b"".join(read_frames(io.BytesIO(raw), keyring, NAME, is_growing=is_growing))


def three_frames(keyring: Keyring) -> bytes:
    return sealed(bytes(range(256)) * (CHUNK_BYTES // 100), keyring)


@pytest.mark.parametrize("keyring", [WITH_KEY, WITHOUT], ids=["key", "no key"])
@settings(max_examples=25, deadline=None)
@given(size=st.integers(0, 3 * CHUNK_BYTES), filler=st.binary(min_size=1, max_size=50))
def test_any_content_comes_back_whole(keyring: Keyring, size: int, filler: bytes) -> None:
    content = (filler * (size // len(filler) + 1))[:size]
    assert opened(sealed(content, keyring), keyring) == content


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_content_around_a_chunks_size_comes_back_whole(size: int) -> None:
    assert opened(sealed(b"a" * size, WITHOUT), WITHOUT) == b"a" * size


def test_the_key_and_the_content_are_nowhere_in_an_encrypted_file() -> None:
    raw = sealed(b"the very secret content" * 3, WITH_KEY)
    assert b"secret" not in raw and KEY not in raw and KEY.hex().encode() not in raw
    assert "horse" not in repr(WITH_KEY)


def test_another_key_is_told_from_damage() -> None:
    with pytest.raises(VaultDamaged, match=r"x\.vault: was encrypted with another key"):
        opened(sealed(b"abc", WITH_KEY), Keyring(OTHER))


def test_a_missing_key_is_told() -> None:
    with pytest.raises(VaultDamaged, match=r"x\.vault: is encrypted; give the key"):
        opened(sealed(b"abc", WITH_KEY), WITHOUT)


def test_a_plain_file_among_encrypted_ones_is_somebody_elses() -> None:
    raw = sealed(b"abc", WITHOUT)
    assert opened(raw, WITH_KEY) == b"abc"
    with pytest.raises(VaultDamaged, match="is not encrypted, but its backup is"):
        opened(raw, WITH_KEY.strict())


@pytest.mark.parametrize("keyring", [WITH_KEY, WITHOUT], ids=["key", "no key"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_seen(keyring: Keyring, data: st.DataObject) -> None:
    raw = bytearray(three_frames(keyring))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(VaultDamaged, match=r"^x\.vault: "):
        opened(bytes(raw), keyring)


@pytest.mark.parametrize("keyring", [WITH_KEY, WITHOUT], ids=["key", "no key"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_is_seen_even_between_frames(keyring: Keyring, data: st.DataObject) -> None:
    raw = three_frames(keyring)
    with pytest.raises(VaultDamaged, match=r"^x\.vault: "):
        opened(raw[: data.draw(st.integers(0, len(raw) - 1))], keyring)


def frames_of(raw: bytes) -> tuple[bytes, list[bytes]]:
    head = raw.index(b"\n", raw.index(b"\n") + 1) + 1
    rest, frames = raw[head:], []
    while rest:
        size = 4 + int.from_bytes(rest[:4], "big")
        frames.append(rest[:size])
        rest = rest[size:]
    return raw[:head], frames


@pytest.mark.parametrize(
    "reorder",
    [lambda f: [f[1], f[0], *f[2:]], lambda f: f[:-1], lambda f: f[1:], lambda f: [*f[:1], *f], lambda f: [*f, f[-1]]],
    ids=["swapped", "last gone", "first gone", "repeated", "appended"],
)
def test_frames_cannot_be_moved_dropped_or_repeated(reorder: Callable[[list[bytes]], list[bytes]]) -> None:
    head, frames = frames_of(three_frames(WITH_KEY))
    assert len(frames) >= 3
    with pytest.raises(VaultDamaged):
        opened(head + b"".join(reorder(frames)), WITH_KEY)


def test_a_frame_of_another_file_does_not_fit() -> None:
    head, frames = frames_of(three_frames(WITH_KEY))
    _, others = frames_of(three_frames(WITH_KEY))
    with pytest.raises(VaultDamaged, match="frame 1"):
        opened(head + frames[0] + others[1] + b"".join(frames[2:]), WITH_KEY)


def test_a_file_that_was_growing_is_taken_up_to_its_torn_end_and_only_if_asked() -> None:
    raw = sealed(b"a" * (2 * CHUNK_BYTES + 5), WITH_KEY, is_finished=False)
    assert opened(raw, WITH_KEY, is_growing=True) == b"a" * (2 * CHUNK_BYTES)
    assert opened(raw[:-3], WITH_KEY, is_growing=True) == b"a" * CHUNK_BYTES
    with pytest.raises(VaultDamaged, match="truncated"):
        opened(raw, WITH_KEY)


def test_damage_inside_a_growing_file_is_still_damage() -> None:
    head, frames = frames_of(three_frames(WITH_KEY))
    broken = bytearray(frames[0])
    broken[20] ^= 1
    with pytest.raises(VaultDamaged, match="frame 0"):
        opened(head + bytes(broken) + frames[1], WITH_KEY, is_growing=True)


def test_a_header_that_would_make_us_work_for_ever_is_refused() -> None:
    raw = sealed(b"abc", WITH_KEY).replace(b'"n":32768', b'"n":1073741824')
    with pytest.raises(VaultDamaged, match="does not know"):
        opened(raw, WITH_KEY)


def test_a_reader_gives_exact_pieces() -> None:
    reader = FrameReader(iter([b"abc", b"defg", b"h"]))
    assert [reader.read(count) for count in (2, 3, 0, -1, 1)] == [b"ab", b"cde", b"", b"fgh", b""]
