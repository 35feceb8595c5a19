"""A reader that follows the journal as it grows, from one sequence number on. Reads only what was made durable."""

from __future__ import annotations

from pathlib import Path

from arbitrage.store.journal import Journal, read_segment
from arbitrage.store.records import Record


class Tail:
    """A place in the journal. `read` goes on where the last one ended."""

    def __init__(self, journal: Journal, sequence: int) -> None:
        """Begin at fact `sequence`, or at the first one still held when that is later."""
        self._journal = journal
        self._next = max(sequence, journal.first_sequence)
        self._path: Path | None = None
        self._offset = 0

    @property
    def next_sequence(self) -> int:
        return self._next

    def read(self, facts_max: int) -> list[Record]:
        """Return the next records, whole, until they hold `facts_max` facts; empty at the end of the journal."""
        records: list[Record] = []
        count = 0
        while count < facts_max and (segment := self._journal.segment_of(self._next)) is not None:
            if segment.path != self._path:
                self._path, self._offset = segment.path, 0
            for record, end in read_segment(segment.path, self._offset, segment.size, self._next):
                self._offset = end
                records.append(record)
                count += len(record.facts)
                self._next = record.last_sequence + 1
                if count >= facts_max:
                    break
        return records
