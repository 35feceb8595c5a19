"""A log file that stays small: renamed to `.1`, `.2`, ... when full. Never raises for a full or missing disk; it counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


class RotatingFile:
    """Appends lines; used by one thread. At most `files_kept` old files of about `bytes_max` each remain."""

    def __init__(self, path: Path, *, bytes_max: int, files_kept: int) -> None:
        assert bytes_max > 0 and files_kept > 0, "a log has room"
        self.path = path
        self.faults = 0
        """Lines that could not be written."""
        self._bytes_max = bytes_max
        self._files_kept = files_kept
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        """Append one line (without its end). A line that does not fit on the disk is counted in `faults`."""
        try:
            file = self._open()
            if self._size and self._size + len(line) + 1 > self._bytes_max:
                self._rotate()
                file = self._open()
            file.write(line + b"\n")
            self._size += len(line) + 1
        except OSError:
            self.faults += 1
            self._drop()

    def flush(self) -> None:
        """Hand everything to the operating system."""
        try:
            if self._file is not None:
                self._file.flush()
        except OSError:
            self.faults += 1
            self._drop()

    def close(self) -> None:
        self.flush()
        self._drop()

    def _open(self) -> BinaryIO:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            self._file = os.fdopen(descriptor, "ab")
            self._size = os.fstat(descriptor).st_size
        return self._file

    def _rotate(self) -> None:
        self.close()
        for number in range(self._files_kept, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")

    def _drop(self) -> None:
        """Let go of the file without writing what is left: the disk did not take it."""
        file, self._file, self._size = self._file, None, 0
        if file is not None:
            try:
                file.close()
            except OSError:
                self.faults += 1
