"""A session's ledger, folded from a snapshot and the journal's facts, as a hash: equal states have equal hashes. Keeps nothing.

Two copies of a house are the same where their ledgers after the same fact are, however each came to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from arbitrage.ledger.ledger import Ledger
from arbitrage.ledger.state import LedgerState
from arbitrage.model.facts import Fact
from arbitrage.model.snapshots import Snapshot
from arbitrage.store.house_files import JOURNAL, SESSIONS, SNAPSHOTS
from arbitrage.store.manifests import BackupRefused, StateHash
from arbitrage.store.records import decode_record, lines_of, read_header
from arbitrage.store.segments import is_segment_name
from arbitrage.store.snapshots import Candidate, Stored, newest_first, stored_from


def fold(snapshot: Snapshot | None, facts: Iterable[tuple[int, Fact]], until: int | None = None) -> tuple[int, str]:
    """Return (last sequence, hash) of the ledger after these facts, or after fact `until`. Raises BackupRefused for a gap."""
    ledger, sequence = Ledger(), 0
    if snapshot is not None:
        ledger = Ledger.restore(msgspec.json.decode(snapshot.sections["ledger"], type=LedgerState))
        sequence = snapshot.journal_sequence
    for number, fact in facts:
        if number <= sequence:
            continue
        if until is not None and number > until:
            break
        if number != sequence + 1:
            raise BackupRefused(f"fact {sequence + 1} is missing: the next one is {number}")
        ledger.apply(fact)
        sequence = number
    ledger.check()
    return sequence, hashlib.sha256(msgspec.json.encode(ledger.snapshot(), order="deterministic")).hexdigest()


def sessions_in(members: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return (environment, session) of every session that has files here."""
    names = {name.split("/")[1] for name in members if name.startswith(f"{SESSIONS}/")}
    return sorted((env, session) for env, _, session in (name.partition(".") for name in names))


def snapshots_in(members: Mapping[str, bytes], env: str, session_id: str) -> list[Snapshot]:
    """Return a session's usable snapshots, newest first."""
    top = f"{SESSIONS}/{env}.{session_id}/{SNAPSHOTS}/"
    found = [stored_from(name, content) for name, content in members.items() if name.startswith(top)]
    judged = newest_first([each for each in found if isinstance(each, Stored)], session_id)
    return [each.snapshot for each in judged if isinstance(each, Candidate)]


def facts_in(members: Mapping[str, bytes], env: str, session_id: str) -> list[tuple[int, Fact]]:
    """Return every fact of a session's journal, in order. Raises BackupRefused for a line that is not understood."""
    top = f"{SESSIONS}/{env}.{session_id}/{JOURNAL}/"
    facts: list[tuple[int, Fact]] = []
    for name in sorted(name for name in members if name.startswith(top) and is_segment_name(name.removeprefix(top))):
        for offset, line in lines_of(members[name]):
            header = read_header(line)
            if header is None:
                raise BackupRefused(f"{name}: damaged at byte {offset}")
            try:
                record = decode_record(header)
            except ValueError as error:
                raise BackupRefused(f"{name}: byte {offset}: {error}") from None
            facts += enumerate(record.facts, record.first_sequence)
    return facts


def states_of(members: Mapping[str, bytes]) -> tuple[StateHash, ...]:
    """Fold every session of a copied house: its newest snapshot and the journal after it. Raises BackupRefused."""
    found = []
    for env, session_id in sessions_in(members):
        snapshots = snapshots_in(members, env, session_id)
        facts = facts_in(members, env, session_id)
        if not snapshots and facts and facts[0][0] > 1:
            continue  # its beginning is in PostgreSQL alone: the start after a restore has not kept a snapshot yet
        sequence, digest = fold(snapshots[0] if snapshots else None, facts)
        found.append(StateHash(env, session_id, sequence, digest))
    return tuple(found)
