"""A second engine out of what is kept, held against the first: the same state, and the same next decisions. Trades nothing."""

from __future__ import annotations

import msgspec

from arbitrage.app.simulate.house import House
from arbitrage.engine.engine import Engine
from arbitrage.model.snapshots import Snapshot
from arbitrage.store.snapshots import Candidate, Stored, encode_snapshot, judge

LOOKS_MS = (0, 1_000, 5_000, 60_000)
"""How far ahead both desks are asked what they would do."""
MS_NS = 1_000_000


def compare_twins(house: House) -> str:
    """Restore from a snapshot of now, and from the newest kept one and the journal; return what differs, or nothing.

    Only while the journal holds every fact of the engine's state: otherwise no snapshot may be kept either.
    """
    if not house.is_running or not house.door.is_whole:
        return ""
    snapshot = house.snapshot()
    sha256, body = encode_snapshot(snapshot)
    key = (snapshot.journal_sequence, snapshot.at_ns)
    read = judge(Stored("now", key, snapshot.version, sha256, body), house.ground.settings.session_name)
    assert isinstance(read, Candidate), "what was just written can be read"
    wrong = _compare(house, snapshot, read.snapshot, "a snapshot of now")
    if wrong:
        return wrong
    kept = [each for each in house.ground.disk.candidates(house.ground.settings.session_name) if isinstance(each, Candidate)]
    return _compare(house, snapshot, kept[0].snapshot if kept else None, "the kept snapshot and the journal")


def _compare(house: House, now: Snapshot, kept: Snapshot | None, what: str) -> str:
    twin = _restored(house, kept)
    true, again = (Engine.snapshot(each, now.session_id, now.at_ns, now.journal_sequence) for each in (house.engine, twin))
    for name, section in true.sections.items():
        if bytes(section) != bytes(again.sections[name]):
            return f"restored from {what}, {name} is another: {_first_difference(bytes(section), bytes(again.sections[name]))}"
    return _decisions(house, twin, what)


def _restored(house: House, kept: Snapshot | None) -> Engine:
    ground, first = house.ground, house.engine
    facts = ground.disk.facts_after(kept.journal_sequence if kept is not None else 0)
    accounts = tuple(first.reconciler.accounts)
    twin = ground.parts.engine(first.settings, first.markets, id_prefix=house.id_prefix, account_venues=accounts)
    twin.restore(kept, facts)
    return twin


def _decisions(house: House, twin: Engine, what: str) -> str:
    """Ask both desks what they would do next, by the first one's quotes."""
    first, now_ns = house.engine, house.life.now_ns()
    if not first.quotes.now_ns:
        return ""  # it has just come up and never valued anything
    twin.desk.closed_venues = first.desk.closed_venues
    for ahead_ms in LOOKS_MS:
        at_ns = now_ns + ahead_ms * MS_NS
        wanted, offered = (msgspec.json.encode(desk.advance(at_ns, first.quotes)) for desk in (first.desk, twin.desk))
        if wanted != offered:
            return f"restored from {what}, the desk would do something else in {ahead_ms} ms"
    return ""


def _first_difference(one: bytes, other: bytes) -> str:
    place = next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    part = slice(max(0, place - 60), place + 60)
    return f"{one[part].decode(errors='replace')!r} against {other[part].decode(errors='replace')!r}"
