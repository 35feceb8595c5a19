"""`arbitrage report --last`: the newest restart report or kill receipt, from the data folder. Needs and asks no daemon."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.app.operator_command import data_folder
from arbitrage.app.report_text import receipt_text, report_text
from arbitrage.store.papers import PapersDamaged, last_receipt, last_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `arbitrage report`."""
    parser.add_argument("--last", action="store_true", help="the newest one (the default)")
    parser.add_argument("--kill", action="store_true", help="the newest receipt of the kill switch instead")
    parser.add_argument("--data-dir", default="", metavar="FOLDER", help="the daemon's data folder (default: configured)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print it. Exit status 1 when there is none or it is damaged."""
    folder = data_folder(os.environ, arguments.data_dir)
    try:
        found = _receipt(folder) if arguments.kill else _report(folder)
    except PapersDamaged as damage:
        print(damage, file=sys.stderr)
        return Exit.CHECK_FAILED
    if found is None:
        what = "the kill switch was never proven" if arguments.kill else "no start wrote a report"
        print(f"{folder}: {what} here", file=sys.stderr)
        return Exit.CHECK_FAILED
    text, body = found
    print(body.decode() if arguments.json else text)
    return Exit.DONE


def _report(folder: Path) -> tuple[str, bytes] | None:
    report = last_report(folder)
    return None if report is None else (report_text(report), msgspec.json.encode(report))


def _receipt(folder: Path) -> tuple[str, bytes] | None:
    receipt = last_receipt(folder)
    return None if receipt is None else (receipt_text(receipt), msgspec.json.encode(receipt))
