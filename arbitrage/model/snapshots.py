"""What a stop leaves behind and a start folds the journal over: named sections of the durable state, each plain JSON."""

from __future__ import annotations

import msgspec

SNAPSHOT_VERSION = 1


class Snapshot(msgspec.Struct, frozen=True):
    """The engine's durable state at one journal position. `sections` are encoded by the rooms that own them."""

    version: int
    session_id: str
    at_ns: int
    journal_sequence: int
    """Sequence number of the last fact this state contains."""
    sections: dict[str, msgspec.Raw]
