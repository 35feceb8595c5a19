"""`arbitrage opportunities`: what was found, one line for each opening of a cycle or each one taken. Asks the database."""

from __future__ import annotations

import argparse

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.app.ledger_access import add_place, asked, since
from arbitrage.app.ledger_text import Table, csv_of, episodes_table, taken_table, text_of
from arbitrage.store.ledger_nouns import EpisodePage, OpportunityPage, Question

NOTHING = "none found; a longer --since, another --pair or --session may tell more"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage opportunities`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--taken", action="store_true", help="those that became plans, one line each")
    which.add_argument("--refused", action="store_true", help="openings of which nothing was taken")
    parser.add_argument("--pair", default="", metavar="PAIR", help="those that trade it: BTC, or BTC+ETH in any order")
    parser.add_argument("--since", type=since, default=0, metavar="TIME", help="2h, 7d, or 2026-11-21T08:00 (UTC)")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many lines, the newest (50)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them, newest first. Exit status 1 when the database is away."""
    is_taken = True if arguments.taken else False if arguments.refused else None
    question = Question(is_taken, arguments.pair, arguments.since, None, arguments.limit)

    if arguments.taken:
        return asked(arguments, lambda reads: reads.opportunities(question), lambda page: _show_taken(page, arguments))
    return asked(arguments, lambda reads: reads.episodes(question), lambda page: _show_episodes(page, arguments))


def _show_taken(page: OpportunityPage, arguments: argparse.Namespace) -> int:
    return _show(page, taken_table(page.lines), arguments)


def _show_episodes(page: EpisodePage, arguments: argparse.Namespace) -> int:
    return _show(page, episodes_table(page.lines), arguments)


def _show(page: msgspec.Struct, table: Table, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(msgspec.json.encode(page).decode())
    else:
        print(csv_of(table) if arguments.csv else text_of(table) or NOTHING)
    return Exit.DONE
