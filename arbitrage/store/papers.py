"""Restart reports and kill receipts as files in the data folder, to be read with every database down. Judges nothing.

Both are facts of the journal too; the files are for people, and for whoever looks while no daemon runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from arbitrage.model.accounts import KillReceipt, RestartReport
from arbitrage.store.files import make_private_folder, write_durably

REPORTS, RECEIPTS = "reports", "receipts"
KEPT_MAX = 200
"""Files of each kind; the oldest go. PostgreSQL keeps them for ever."""
PAPER_BYTES_MAX = 4_000_000

Paper = TypeVar("Paper", RestartReport, KillReceipt)


class PapersDamaged(Exception):
    """The newest paper cannot be read; the text names the file and why."""


def save_report(data_dir: Path, report: RestartReport) -> Path:
    """Keep a report. Raises OSError."""
    return _save(data_dir / REPORTS, f"restart-{report.at_ns:020d}.json", msgspec.json.encode(report))


def save_receipt(data_dir: Path, receipt: KillReceipt) -> Path:
    """Keep a receipt. Raises OSError."""
    return _save(data_dir / RECEIPTS, f"kill-{receipt.proven_at_ns:020d}.json", msgspec.json.encode(receipt))


def last_report(data_dir: Path) -> RestartReport | None:
    """Return the newest report, None when there is none. Raises PapersDamaged."""
    return _last(data_dir / REPORTS, RestartReport)


def last_receipt(data_dir: Path) -> KillReceipt | None:
    """Return the newest receipt, None when there is none. Raises PapersDamaged."""
    return _last(data_dir / RECEIPTS, KillReceipt)


def _save(folder: Path, name: str, body: bytes) -> Path:
    make_private_folder(folder)
    path = folder / name
    write_durably(path, body)
    for old in sorted(folder.glob("*.json"))[:-KEPT_MAX]:
        old.unlink(missing_ok=True)
    return path


def _last(folder: Path, kind: type[Paper]) -> Paper | None:
    newest = max(folder.glob("*.json"), default=None)
    if newest is None:
        return None
    try:
        with newest.open("rb") as file:
            return msgspec.json.decode(file.read(PAPER_BYTES_MAX), type=kind)
    except OSError as error:
        raise PapersDamaged(f"{newest} cannot be read ({error.strerror})") from None
    except msgspec.MsgspecError as error:
        raise PapersDamaged(f"{newest} is damaged ({error})") from None
