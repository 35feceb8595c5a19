"""Start-up as crash recovery: the newest usable snapshot, the journal's tail, and a report in words. Never guesses a state."""

from __future__ import annotations

import logging

import msgspec

from arbitrage.engine.engine import Engine
from arbitrage.model.events import DifferenceFound
from arbitrage.model.facts import Fact
from arbitrage.model.money import format_e8
from arbitrage.store.snapshots import Candidate, RefusedSnapshot
from arbitrage.store.stores import Stores


class Restored(msgspec.Struct, frozen=True):
    """What a start found."""

    is_restored: bool
    differences: tuple[DifferenceFound, ...]
    newest_ns: int = 0
    """Time of the newest thing that was restored."""


async def restore(engine: Engine, stores: Stores, logger: logging.Logger, at_ns: int) -> Restored:
    """Rebuild the engine's durable state and say what was restored. Raises JournalRefused when facts are missing.

    A snapshot that is damaged, not understood or of a newer version is refused by name and the one before is taken. When no
    snapshot at all is usable, every fact since the first is folded.
    """
    for candidate in await stores.load_candidates():
        refused = candidate
        if isinstance(candidate, Candidate):
            facts = await _facts_after(stores, candidate.snapshot.journal_sequence)
            try:
                engine.restore(candidate.snapshot, facts)
            except msgspec.ValidationError as error:
                refused = RefusedSnapshot(candidate.name, f"not understood: {error}")
            else:
                return _restored(engine, logger, candidate.snapshot.at_ns, facts, at_ns)
        assert isinstance(refused, RefusedSnapshot), "what cannot be used says why"
        logger.warning("snapshot refused: %s: %s", refused.name, refused.reason)
    facts = await _facts_after(stores, 0)
    if not facts:
        logger.info("new session: nothing to restore")
        return Restored(is_restored=False, differences=())
    engine.restore(None, facts)
    return _restored(engine, logger, None, facts, at_ns)


async def _facts_after(stores: Stores, sequence: int) -> list[Fact]:
    return [fact for _, fact in await stores.facts_after(sequence)]


def _restored(engine: Engine, logger: logging.Logger, snapshot_ns: int | None, facts: list[Fact], at_ns: int) -> Restored:
    _say(engine, logger, snapshot_ns, at_ns, len(facts))
    newest_ns = max(snapshot_ns or 0, *(fact.at_ns for fact in facts), 0)
    return Restored(is_restored=True, differences=(), newest_ns=newest_ns)


def _say(engine: Engine, logger: logging.Logger, snapshot_at_ns: int | None, at_ns: int, facts: int) -> None:
    age = f"snapshot of {max(0, at_ns - snapshot_at_ns) / 1e9:.1f} s ago" if snapshot_at_ns is not None else "no snapshot"
    logger.info("restored session: %s, %d facts from the journal", age, facts)
    ledger = engine.ledger
    positions = ", ".join(f"{node} {format_e8(ledger.total_e8(node))}" for node in ledger.nodes() if ledger.total_e8(node))
    logger.info("positions: %s", positions or "none")
    open_plans = engine.desk.open_plans()
    unsettled = engine.desk.unfinished()
    if open_plans or unsettled:
        logger.warning(
            "open from before: %d plans, %d orders; the venue is asked what became of them", len(open_plans), len(unsettled)
        )
    else:
        logger.info("differences: none")
