"""`arbitrage explain ID`: where one opportunity's edge went, with the evidence, on one screen. Asks the database."""

from __future__ import annotations

import argparse
import sys

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.app.ledger_access import add_place, asked
from arbitrage.app.ledger_text import story_text
from arbitrage.store.ledger_nouns import Away, Story
from arbitrage.store.ledger_reads import LedgerReads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage explain`."""
    parser.add_argument("id", metavar="ID", help="of an opportunity, of its plan, or of an opening (`arbitrage opportunities`)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print its story. Exit status 1 when none is kept under this name, or the database is away."""

    async def ask(reads: LedgerReads) -> list[Story] | Away:
        story = await reads.story(arguments.id)
        return story if isinstance(story, Away) else [] if story is None else [story]

    def show(found: list[Story]) -> int:
        for story in found:
            print(msgspec.json.encode(story).decode() if arguments.json else story_text(story))
            return Exit.DONE
        print(f"{arguments.id}: neither an opportunity, a plan nor an opening that is kept", file=sys.stderr)
        return Exit.CHECK_FAILED

    return asked(arguments, ask, show)
