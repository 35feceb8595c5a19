"""Start-up as crash recovery: the newest usable snapshot, the journal's tail, and a report in words. Never guesses a state."""

from __future__ import annotations

import logging

import msgspec

from arbitrage.engine.engine import Engine
from arbitrage.model.events import DifferenceFound
from arbitrage.model.money import format_e8
from arbitrage.store.snapshots import RefusedSnapshot
from arbitrage.store.stores import Stores


class Restored(msgspec.Struct, frozen=True):
    """What a start found."""

    is_restored: bool
    differences: tuple[DifferenceFound, ...]


async def restore(engine: Engine, stores: Stores, logger: logging.Logger, at_ns: int) -> Restored:
    """Rebuild the engine's durable state and say what was restored. Raises JournalRefused when facts are missing.

    A snapshot that is damaged or of a newer version is refused by name and the one before is taken. When no snapshot at all
    is usable, every fact since the first is folded.
    """
    chosen = None
    for candidate in await stores.load_candidates():
        if isinstance(candidate, RefusedSnapshot):
            logger.warning("snapshot refused: %s: %s", candidate.name, candidate.reason)
            continue
        chosen = candidate
        break
    snapshot = chosen.snapshot if chosen is not None else None
    facts = [fact for _, fact in await stores.facts_after(snapshot.journal_sequence if snapshot is not None else 0)]
    if snapshot is None and not facts:
        logger.info("new session: nothing to restore")
        return Restored(is_restored=False, differences=())
    engine.restore(snapshot, facts)
    _say(engine, logger, snapshot.at_ns if snapshot is not None else None, at_ns, len(facts))
    return Restored(is_restored=True, differences=())


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
