"""The exit codes of every command, as documented for scripts and systemd."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    """Bad usage or configuration: one line says what, where, and how to mend it."""
    REFUSED_TO_TRADE = 3
    BROKEN = 70
    """A broken invariant: the program was wrong and stopped trading. The next start folds the journal over a snapshot."""
