"""The moments of writing at which being killed hurts most, by name. Does nothing: who wants to be told hands in a `Reached`.

Nobody is told unless a test of recovery asks for it (`app/crash_points.py`).
"""

from __future__ import annotations

from collections.abc import Callable

Reached = Callable[[str], None]
"""Told the name of a moment when it is reached."""

DURING_APPEND = "during-append"
"""Half of a journal line is in its file."""
BEFORE_COMMIT = "before-commit"
"""Facts with all their rows are in PostgreSQL's transaction, which is not committed."""
SNAPSHOT_FILE = "during-snapshot-file"
"""Half of a snapshot is in its file."""
SNAPSHOT_ROW = "during-snapshot-row"
"""A snapshot is in PostgreSQL's transaction, which is not committed."""
DURING_MIGRATION = "during-migration"
"""A migration's statements were executed in its transaction, which is not committed."""
MOMENTS = (DURING_APPEND, BEFORE_COMMIT, SNAPSHOT_FILE, SNAPSHOT_ROW, DURING_MIGRATION)
