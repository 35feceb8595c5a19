"""What must outlive the process, in `{data_dir}/alerts.json`: what was told, and what has not arrived yet. Holds no secret.

A file that cannot be read costs a repeated alert, never a start.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import msgspec

from arbitrage.ops.alerts.nouns import Episode
from arbitrage.ops.alerts.outbox import Waiting
from arbitrage.store.files import write_durably

logger = logging.getLogger("arbitrage.alerts")
FILE_NAME = "alerts.json"
FILE_BYTES_MAX = 50_000_000


class Kept(msgspec.Struct, frozen=True):
    """The file's content."""

    episodes: tuple[Episode, ...] = ()
    waiting: dict[str, tuple[Waiting, ...]] = {}
    """By channel."""
    dropped: dict[str, int] = {}
    is_running: bool = False
    """Written while the daemon runs, and taken back by a tidy end."""


class Spool:
    """One file."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._lock = threading.Lock()
        self._is_over = False
        self.faults = 0
        """Writes in a row that the disk did not take."""
        self.bytes = 0
        """Size of the file as last written."""

    def read(self) -> Kept:
        """Read what the last run left."""
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.MsgspecError) as error:
            logger.error("%s cannot be read (%s): alerts that last are told anew", self._path, type(error).__name__)
            return Kept()

    def write(self, kept: Kept, *, is_last: bool = False) -> None:
        """Replace the file whole and on disk; a disk that does not take it is told once and tried again with the next.

        One at a time, and nothing after the last: at an end a writing of before may still be under way in another thread.
        """
        with self._lock:
            if not self._is_over:
                self._is_over = is_last
                self._write(kept)

    def _write(self, kept: Kept) -> None:
        content = msgspec.json.encode(kept)
        try:
            write_durably(self._path, content)
        except OSError as error:
            self.faults += 1
            if self.faults == 1:
                logger.error("%s not written: %s", self._path, error)
            return
        self.faults, self.bytes = 0, len(content)
