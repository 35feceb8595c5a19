"""Capture files (format capture-v1): read row by row with errors that name file and line, and written. Interprets no frame.

JSON Lines, plain (`.jsonl`) or compressed (`.jsonl.zst`, needs the `recordings` extra). The first line is a header; every
other line is one event of a recorder: a socket opened, what was sent, a frame received, or a REST answer.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec

LINE_BYTES_MAX = 16_000_000
DATA_VARIABLE = "ARBITRAGE_DATA"
T = TypeVar("T")


class CaptureError(ValueError):
    """A capture that cannot be read; the text names the file, and the line where there is one."""


class CaptureHeader(msgspec.Struct, frozen=True):
    """The first line. Fields beyond these are allowed and ignored."""

    kind: Literal["header"]
    format: Literal["capture-v1"]
    venues: tuple[str, ...] = ()
    source: str = ""
    note: str = ""


class CaptureRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `ts` is the recorder's receive time in ns since 1970; `ts0` the original one where a row was moved."""

    ts: int
    venue: str
    conn: str
    kind: Literal["open", "send", "frame", "http"]
    raw: str = ""
    """The exact text of the message, not re-encoded."""
    bin: bool = False
    """True when the exchange sent a binary WebSocket frame."""
    url: str = ""
    ts0: int | None = None


def find_data() -> Path | None:
    """Return the folder of recordings: `ARBITRAGE_DATA`, or `../shared/data` beside the project; None when there is none."""
    named = os.environ.get(DATA_VARIABLE)
    if named:
        return Path(named) if Path(named).is_dir() else None
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return beside if beside.is_dir() else None


def read_header(path: Path) -> CaptureHeader:
    """Read the first line. Raises CaptureError."""
    with open_text(path) as lines:
        return _decode(_header_decoder(), next(numbered(path, lines), (1, "")), path)


def read_rows(path: Path) -> Iterator[CaptureRow]:
    """Yield every row after the header, in the file's order and without holding more than one. Raises CaptureError."""
    decoder = msgspec.json.Decoder(CaptureRow)
    with open_text(path) as lines:
        rows = numbered(path, lines)
        _decode(_header_decoder(), next(rows, (1, "")), path)
        for row in rows:
            yield _decode(decoder, row, path)


class CaptureWriter:
    """Writes a capture: the header at once, then row by row. Use it as a context manager."""

    def __init__(self, path: Path, header: CaptureHeader) -> None:
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO = path.open("wb")
        self._out: Any = self._file
        if path.suffix == ".zst":
            self._out = _zstandard(path).ZstdCompressor(level=9).stream_writer(self._file)
        self._line(header)

    def write(self, row: CaptureRow) -> None:
        """Append one row."""
        self._line(row)

    def close(self) -> None:
        """Finish the file; a compressed one is not readable before."""
        self._out.close()
        self._file.close()

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _line(self, value: CaptureHeader | CaptureRow) -> None:
        self._out.write(self._encoder.encode(value) + b"\n")


def open_text(path: Path) -> io.TextIOWrapper:
    """Open a plain or compressed text file for reading. Raises CaptureError when it cannot be opened."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None
    if path.suffix != ".zst":
        return io.TextIOWrapper(file, encoding="utf-8", newline="\n")
    reader = _zstandard(path).ZstdDecompressor().stream_reader(file, closefd=True)
    return io.TextIOWrapper(io.BufferedReader(reader), encoding="utf-8", newline="\n")


def numbered(path: Path, lines: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
    """Yield (line number, line); a file that breaks off is named with the line it broke at."""
    damage: tuple[type[Exception], ...] = (UnicodeDecodeError, EOFError, OSError)
    if path.suffix == ".zst":
        damage = (*damage, _zstandard(path).ZstdError)
    number = 0
    while True:
        number += 1
        try:
            line = lines.readline(LINE_BYTES_MAX)
        except damage as error:
            raise CaptureError(f"{path}:{number}: the file is damaged ({error})") from None
        if not line:
            return
        if not line.endswith("\n"):
            raise CaptureError(f"{path}:{number}: the file breaks off inside a line")
        yield number, line


def _decode(decoder: msgspec.json.Decoder[T], row: tuple[int, str], path: Path) -> T:
    number, line = row
    try:
        return decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise CaptureError(f"{path}:{number}: {error}") from None


def _header_decoder() -> msgspec.json.Decoder[CaptureHeader]:
    return msgspec.json.Decoder(CaptureHeader)


def _zstandard(path: Path) -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        raise CaptureError(f"{path}: needs the `recordings` extra (package zstandard)") from None
