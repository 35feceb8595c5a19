"""What tests of backups share: a manifest of nothing, and a house of files whose state is known."""

from __future__ import annotations

from pathlib import Path

import msgspec
from store_world import funding

from arbitrage.store.journal import Journal
from arbitrage.store.manifests import FORMAT, Manifest
from arbitrage.store.vault import Header

SESSION = "development.main"
BLANK = Manifest(
    format=FORMAT, made_at_ns=1, made_at="", program_version="", snapshot_version=1, postgres_version="18", kind="base",
    is_encrypted=False, env="development", session_id="main", configuration_version="", states=(), files=(), wal=None,
    seconds=1.0, sealed=Header("plain", "00"),
)  # fmt: skip


def manifest(**changes: object) -> Manifest:
    """Return a manifest with what is given."""
    return msgspec.structs.replace(BLANK, **changes)


def house_with(folder: Path, facts: int) -> Journal:
    """Make a data folder whose journal holds so many facts, and return the journal, open."""
    journal = Journal(folder / "sessions" / SESSION / "journal", bytes_max=10**9, segment_bytes_max=600)
    for number in range(1, facts + 1):
        journal.append([funding(number)])
    return journal
