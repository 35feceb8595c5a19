"""What outlives a simulated process: journal lines and snapshots as bytes, bans, how far PostgreSQL is. Touches no file.

The bytes are the store's own (`store/records.py`, `store/snapshots.py`), so what is restored was written and read as on a disk.
"""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.app.door import JournalUnavailable
from arbitrage.model.entries import Posting
from arbitrage.model.facts import Fact
from arbitrage.model.snapshots import Snapshot
from arbitrage.store.records import decode_record, encode_record, lines_of, read_header
from arbitrage.store.snapshots import Candidate, RefusedSnapshot, Stored, encode_snapshot, newest_first

SNAPSHOTS_KEPT = 4


class Disk:
    """One machine's disk, and the database beside it."""

    def __init__(self, journal_bytes_max: int) -> None:
        self.lines: list[tuple[int, bytes]] = []
        """(last sequence, line) of everything that was written whole."""
        self.torn = b""
        """Half a line at the end, from a crash in the middle of a write."""
        self.bans: dict[str, int] = {}
        self.is_full = False
        self.has_reserve = True
        """A full disk still takes the journal's lines out of what was kept aside."""
        self.is_database_up = True
        self.bytes_waiting = 0
        self._journal_bytes_max = journal_bytes_max
        self._snapshots: list[Stored] = []

    @property
    def last_sequence(self) -> int:
        return self.lines[-1][0] if self.lines else 0

    @property
    def is_journal_full(self) -> bool:
        """Say whether new entries must stop."""
        return self.is_full or self.bytes_waiting >= self._journal_bytes_max

    def line(self, facts: Sequence[Fact], entries: Sequence[Sequence[Posting]]) -> bytes:
        """Return what an append would write. Raises JournalUnavailable."""
        if self.is_full and not self.has_reserve:
            raise JournalUnavailable("no space left on device")
        return encode_record(self.last_sequence + 1, facts, entries)

    def write(self, line: bytes, count: int) -> int:
        """Make a line of so many facts durable; return the last one's sequence number."""
        assert not self.torn, "a start cuts off what was torn before it writes"
        self.lines.append((self.last_sequence + count, line))
        if not self.is_database_up:
            self.bytes_waiting += len(line)
        return self.last_sequence

    def recover(self) -> None:
        """Cut off half a line at the end, as a start does: nothing that depended on it was sent."""
        assert not list(lines_of(self.torn)), "what is torn has no end"
        self.torn = b""

    def facts_after(self, sequence: int) -> list[Fact]:
        """Read the facts after a sequence number out of their bytes."""
        found: list[Fact] = []
        for last, line in self.lines:
            if last <= sequence:
                continue
            header = read_header(line.removesuffix(b"\n"))
            assert header is not None, "a whole line is not damaged"
            record = decode_record(header)
            found += record.facts[max(0, sequence + 1 - record.first_sequence) :]
        return found

    def save(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, whole, beside the newest others."""
        sha256, body = encode_snapshot(snapshot)
        key = (snapshot.journal_sequence, snapshot.at_ns)
        self._snapshots.append(Stored(f"snapshot-{key[0]}", key, snapshot.version, sha256, body))
        del self._snapshots[:-SNAPSHOTS_KEPT]

    def candidates(self, session_id: str) -> list[Candidate | RefusedSnapshot]:
        """Return what a start may take, newest first."""
        return newest_first(self._snapshots, session_id)

    def database_back(self) -> None:
        """Let PostgreSQL take in what waited."""
        self.is_database_up, self.bytes_waiting = True, 0
