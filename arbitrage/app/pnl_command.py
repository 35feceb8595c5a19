"""`arbitrage pnl`: realised profit of closed plans by day, pair, venue or component, in any currency. Asks the database."""

from __future__ import annotations

import argparse

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.app.ledger_access import add_place, asked, since
from arbitrage.app.ledger_text import csv_of, profit_table, text_of
from arbitrage.store.ledger_nouns import Profit, ProfitQuestion
from arbitrage.store.ledger_profit import BY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage pnl`."""
    parser.add_argument("--by", choices=BY, default="day", help="one line for each (day)")
    parser.add_argument("--in", dest="currency", default="", metavar="ASSET", help="in this currency (the reporting asset)")
    parser.add_argument("--since", type=since, default=0, metavar="TIME", help="closed since 2h, 7d, or 2026-11-21T08:00 UTC")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it, with the total. Exit status 1 when the database is away."""
    question = ProfitQuestion(arguments.by, arguments.since, None, arguments.currency.upper())

    def show(profit: Profit) -> int:
        if arguments.json:
            print(msgspec.json.encode(profit).decode())
            return Exit.DONE
        table = profit_table(profit)
        print(csv_of(table) if arguments.csv else text_of(table))
        for note in () if arguments.csv else profit.notes:
            print(note)
        return Exit.DONE

    return asked(arguments, lambda reads: reads.profit(question), show)
