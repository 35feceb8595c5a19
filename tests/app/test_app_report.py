"""The restart report in words: everything in it is said, and it ends with the one line that counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

sys.path.append(str(Path(__file__).parents[1] / "store"))  # the store's own tests keep `store_world` there

from store_world import receipt, report

from arbitrage.app.cli import main
from arbitrage.app.report_text import LISTED_MAX, receipt_text, report_text
from arbitrage.model.accounts import KillReceipt
from arbitrage.store.papers import save_receipt, save_report


def test_everything_a_report_holds_is_said() -> None:
    text = report_text(report())
    for words in (
        "restart report (start)", "left open: 1 arbitrages, 1 orders", "c1 at upbit: unknown, 0.5 of 1 filled",
        "upbit says: 1 assets held, 1 open orders of somebody else", "adopted: 1 orders of ours", "cancelled: 1 orders of ours",
        "booked: 1 fills that were not known", "c1 buy 0.1 (trade t9)", "somebody else's, untouched: KRW-BTC sell 1",
        "differs: upbit KRW: ledger 300000000000, venue 299999999999.99999993", "accept it by `upbit-KRW`",
    ):  # fmt: skip
        assert words in text, words
    assert text.splitlines()[-1].startswith("not armed because upbit KRW: ledger 300000000000")


def test_an_armed_report_ends_with_armed_and_one_without_accounts_says_so() -> None:
    bare = msgspec.structs.replace(report(is_armed=True), venues=(), left_plans=(), left_orders=())
    assert report_text(bare).splitlines() == [
        "restart report (start)", "left open: 0 arbitrages, 0 orders",
        "no venue was asked: this mode has no account of its own there", "armed",
    ]  # fmt: skip


def test_a_hundred_orders_do_not_make_a_hundred_lines() -> None:
    many = msgspec.structs.replace(report(), left_orders=report().left_orders * 100)
    text = report_text(many)
    assert text.count("c1 at upbit") == LISTED_MAX and "100 orders" in text and "--json lists all" in text


def test_a_receipt_says_who_what_and_what_each_venue_showed() -> None:
    assert receipt_text(receipt()).splitlines() == [
        "killed by operator: drill", "1 orders were cancelled",
        "upbit: 0 open orders of ours, 2 of somebody else, untouched", "proven after 0 ms",
    ]  # fmt: skip
    assert receipt_text(KillReceipt(1, "a", "b")).endswith("no venue was asked: orders never left the house\nnot proven yet")


def test_the_command_prints_the_last_report_and_receipt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", "--last", "--data-dir", str(tmp_path)]
    assert main(words) == 1
    assert "no start wrote a report here" in capsys.readouterr().err
    save_report(tmp_path, report(5, is_armed=True))
    save_receipt(tmp_path, receipt())
    assert main(words) == 0
    assert capsys.readouterr().out.rstrip().endswith("armed")
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_orders"][0]["client_order_id"] == "c1"
    assert main(["report", "--kill", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("killed by operator: drill")
    (tmp_path / "reports" / "restart-00000000000000000005.json").write_text("{")
    assert main(words) == 1 and "is damaged" in capsys.readouterr().err
