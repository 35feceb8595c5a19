"""Makes a screenshot small: at most 256 colours, packed as well as zlib can. Meant for pictures of text only."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HEAD = b"\x89PNG\r\n\x1a\n"
COLOURS_MAX = 256
RGB, PALETTE = 2, 3
Colour = tuple[int, int, int]


def shrink(path: Path) -> int:
    """Rewrite a PNG of 8-bit RGB in place; return its size in bytes."""
    chunks = list(_chunks(path.read_bytes()))
    width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, kind) == (8, RGB), "what Chromium writes"
    pixels = _unfiltered(zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")), width * 3, height)
    colours = list(zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True))
    place, kept = _palette(Counter(colours))
    indexed = bytes([place[colour] for colour in colours])
    rows = b"".join(b"\0" + indexed[row * width : (row + 1) * width] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, PALETTE, 0, 0, 0)
    parts = (
        (b"IHDR", head),
        (b"PLTE", bytes(part for colour in kept for part in colour)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    path.write_bytes(HEAD + b"".join(_chunk(name, body) for name, body in parts))
    return path.stat().st_size


def _palette(counts: Counter[Colour]) -> tuple[dict[Colour, int], list[Colour]]:
    """Join colours that differ in their lowest bits only, as few bits as do; return where each went, and the joined ones."""
    for shift in range(8):
        groups: dict[Colour, list[Colour]] = {}
        for red, green, blue in counts:
            groups.setdefault((red >> shift, green >> shift, blue >> shift), []).append((red, green, blue))
        if len(groups) <= COLOURS_MAX:
            break
    kept = [max(group, key=lambda colour: counts[colour]) for group in groups.values()]
    return {colour: number for number, group in enumerate(groups.values()) for colour in group}, kept


def _chunks(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(HEAD)
    while place < len(text):
        (length,) = struct.unpack(">I", text[place : place + 4])
        yield text[place + 4 : place + 8], text[place + 8 : place + 8 + length]
        place += length + 12


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _unfiltered(raw: bytes, stride: int, height: int) -> bytearray:
    """Undo the filters of PNG (its specification, 9.2) on rows of three bytes a pixel."""
    pixels, above = bytearray(), bytearray(stride)
    for number in range(height):
        start = number * (stride + 1)
        row = bytearray(raw[start + 1 : start + 1 + stride])
        match raw[start]:
            case 1:
                for i in range(3, stride):
                    row[i] = (row[i] + row[i - 3]) & 255
            case 2:
                row = bytearray((a + b) & 255 for a, b in zip(row, above, strict=True))
            case 3:
                for i in range(stride):
                    row[i] = (row[i] + ((row[i - 3] if i > 2 else 0) + above[i]) // 2) & 255
            case 4:
                for i in range(stride):
                    row[i] = (row[i] + _paeth(row[i - 3] if i > 2 else 0, above[i], above[i - 3] if i > 2 else 0)) & 255
        pixels += row
        above = row
    return pixels


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    by_left, by_up, by_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
    if by_left <= by_up and by_left <= by_corner:
        return left
    return up if by_up <= by_corner else corner
