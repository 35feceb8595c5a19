"""Reports and receipts are whole files that a person reads with every database down; the newest is found, the oldest go."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from store_world import receipt, report

from arbitrage.store.papers import (
    KEPT_MAX,
    PapersDamaged,
    last_receipt,
    last_report,
    save_receipt,
    save_report,
)


def test_the_newest_report_and_receipt_are_read_back_whole(tmp_path: Path) -> None:
    assert last_report(tmp_path) is None and last_receipt(tmp_path) is None
    for at_ns in (9, 10**18, 5):
        save_report(tmp_path, report(at_ns))
    assert last_report(tmp_path) == report(10**18)
    path = save_receipt(tmp_path, receipt())
    assert last_receipt(tmp_path) == receipt() and path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0


def test_no_more_are_kept_than_the_limit_and_the_oldest_go(tmp_path: Path) -> None:
    for at_ns in range(1, KEPT_MAX + 4):
        save_report(tmp_path, report(at_ns))
    kept = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert len(kept) == KEPT_MAX and kept[0] == f"restart-{4:020d}.json"


@pytest.mark.parametrize("content", [b"", b"{", b'{"at_ns":1}', b"\xff"])
def test_a_damaged_paper_is_said_and_not_skipped(tmp_path: Path, content: bytes) -> None:
    save_report(tmp_path, report(1))
    newest = save_report(tmp_path, report(2))
    newest.write_bytes(content)
    with pytest.raises(PapersDamaged, match=r"restart-0+2\.json is damaged"):
        last_report(tmp_path)


def test_a_paper_is_plain_json(tmp_path: Path) -> None:
    body = msgspec.json.decode(save_report(tmp_path, report(7)).read_bytes())
    assert body["occasion"] == "start" and body["venues"][0]["differences"][0]["asset"] == "KRW"
