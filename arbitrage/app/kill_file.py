"""The file `KILL` in the data folder: the kill switch for whoever can write a file, and what keeps it on across everything.

It needs no daemon, no database and no journal. Only `arbitrage release` takes it away; a start that finds it is killed.
"""

from __future__ import annotations

import os
from pathlib import Path

from arbitrage.app.control_words import REASON_LENGTH_MAX, one_line
from arbitrage.store.files import sync_folder, write_durably

FILE_NAME = "KILL"


class KillFile:
    """One data folder's file."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE_NAME

    @property
    def is_there(self) -> bool:
        """Whether something of that name is there, whatever it is: a link or a folder kills too."""
        return os.path.lexists(self.path)

    def reason(self) -> str:
        """Return its first line; never fails, since a file that cannot be read must kill all the same."""
        try:
            with self.path.open("rb") as file:
                first = file.read(4 * REASON_LENGTH_MAX).decode(errors="replace").partition("\n")[0]
        except OSError as error:
            return f"the file cannot be read ({error.strerror})"
        return one_line(first) or "no reason given"

    def write(self, reason: str) -> None:
        """Make it, durably. Raises OSError."""
        if not self.is_there:
            write_durably(self.path, f"{one_line(reason)}\n".encode())

    def remove(self) -> None:
        """Take it away, durably. Raises OSError when that cannot be done (then the kill switch stays on)."""
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)
