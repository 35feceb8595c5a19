"""One journal record as a line of text: what `append` was given, with a checksum. Pure; touches no files.

A line is `crc32 version first_sequence count json`, ended by a newline; the checksum covers everything after itself, in any
version, so that a line from a newer program is told from a damaged one. One record holds one `append`: all of it or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from zlib import crc32

import msgspec

from arbitrage.model.entries import Posting
from arbitrage.model.facts import Fact

RECORD_VERSION = 1
RECORD_BYTES_MAX = 8_000_000
"""One `append`; far above what a decision can yield."""
_HEADER = re.compile(rb"(?=([0-9a-f]{8} \d{1,3} \d{1,19} \d{1,9} ))")


class Record(msgspec.Struct, frozen=True):
    """The facts of one append; the first has `first_sequence`, each following one more."""

    first_sequence: int
    facts: tuple[Fact, ...]
    entries: tuple[tuple[Posting, ...], ...]
    """What the ledger made of each fact; empty when none were handed in."""

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + len(self.facts) - 1


class Header(msgspec.Struct, frozen=True):
    """What a whole line says of itself before its JSON is read."""

    version: int
    first_sequence: int
    count: int
    body: bytes


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    facts: tuple[Fact, ...]
    entries: tuple[tuple[Posting, ...], ...] = ()


_BODIES: msgspec.json.Decoder[_Body] = msgspec.json.Decoder(_Body)


def encode_record(first_sequence: int, facts: Sequence[Fact], entries: Sequence[Sequence[Posting]] = ()) -> bytes:
    """Return the line for one append, newline included."""
    assert facts, "a record holds at least one fact"
    assert not entries or len(entries) == len(facts), "entries come with each of the facts or with none"
    body = msgspec.json.encode(_Body(tuple(facts), tuple(map(tuple, entries)) if any(entries) else ()))
    assert len(body) <= RECORD_BYTES_MAX, "one decision does not yield that much"
    rest = b"%d %d %d %b" % (RECORD_VERSION, first_sequence, len(facts), body)
    return b"%08x %b\n" % (crc32(rest), rest)


def read_header(line: bytes) -> Header | None:
    """Return what an undamaged line (without its newline) says, or None when it is damaged."""
    checksum, _, rest = line.partition(b" ")
    fields = rest.split(b" ", 3)
    if len(checksum) != 8 or len(fields) != 4 or checksum != b"%08x" % crc32(rest):
        return None
    if not all(field.isdigit() for field in fields[:3]):
        return None
    return Header(int(fields[0]), int(fields[1]), int(fields[2]), fields[3])


def decode_record(header: Header) -> Record:
    """Read an undamaged line's facts. Raises ValueError when this program does not understand them."""
    if header.version != RECORD_VERSION:
        raise ValueError(f"record version {header.version}, this program knows {RECORD_VERSION}")
    try:
        body = _BODIES.decode(header.body)
    except msgspec.DecodeError as error:
        raise ValueError(f"facts this program does not know: {error}") from None
    if len(body.facts) != header.count:
        raise ValueError(f"{header.count} facts announced, {len(body.facts)} there")
    return Record(header.first_sequence, body.facts, body.entries)


def lines_of(content: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line without newline) for every line that has its newline."""
    while (end := content.find(b"\n", start)) >= 0:
        yield start, content[start:end]
        start = end + 1


def holds_undamaged_record(content: bytes) -> bool:
    """Tell whether an undamaged record begins anywhere in `content`: then what stands before it is not a torn tail."""
    for match in _HEADER.finditer(content):
        end = content.find(b"\n", match.start())
        if end >= 0 and read_header(content[match.start() : end]) is not None:
            return True
    return False
