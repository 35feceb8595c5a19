"""`arbitrage cycles` end to end: a table in, every cycle looked at, and an honest answer out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arbitrage.app.cli import main
from arbitrage.app.exits import Exit
from arbitrage.sim.capture import find_data

HEAD = "symbol,bid,bid_qty,ask,ask_qty,base,quote,tick_size,step_size,min_qty,min_notional"
FOLDER = "binance-graph-20201009"


def table(path: Path, *rows: str, head: str = HEAD) -> Path:
    file = path / "book.csv"
    file.write_text("\n".join((head, *rows)) + "\n")
    return file


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["cycles", "--json", *words]) == Exit.DONE
    said = capsys.readouterr()
    assert said.err == "" and len(said.out.splitlines()) == 1
    return json.loads(said.out)


def test_a_planted_cycle_is_found_with_its_size_and_profit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 1,000 USDT buy 10 A, which sell for 0.10 B each, which sell for 1,020 USDT: 2 % without fees, 1.69 % with three of 10 bps.
    file = table(
        tmp_path,
        "AUSDT,99,5,100,10,A,USDT,0.01,0.001,0.001,1",
        "AB,0.1,10,0.101,10,A,B,0.0001,0.001,0.001,0.0001",
        "BUSDT,1020,1,1021,1,B,USDT,0.01,0.001,0.001,1",
    )
    found = answer(capsys, "--books", str(file), "--max-legs", "3", "--fee-bps", "10")
    assert (found["markets"], found["assets"], found["gaining"]) == (3, 3, 1)
    assert found["cycles"] == {"2": 0, "3": 2}
    best = found["top"][0]
    assert best["legs"] == ["buy AUSDT", "sell AB", "sell BUSDT"]
    assert best["gross_bps"] == 200.0 and found["best_bps"] == best["net_bps"] == 169.43
    assert (best["asset"], best["amount_in"], best["profit"]) == (
        "USDT",
        "1000",
        "16.94204",
    )  # 9.99 A, then 0.998 of 0.998001 B
    assert found["missing_bps"] == 0.0 and found["truncated"] is False


def test_at_a_higher_fee_the_same_table_gains_nothing_and_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("AUSDT,99,5,100,10,A,USDT,,,,", "AB,0.1,10,0.101,10,A,B,,,,", "BUSDT,1020,1,1021,1,B,USDT,,,,")
    found = answer(capsys, "--books", str(table(tmp_path, *rows)), "--fee-bps", "100")
    assert found["gaining"] == 0 and found["best_bps"] < 0 and found["missing_bps"] == -found["best_bps"]
    assert 65.0 < found["break_even_fee_bps"]["3"] < 67.0
    assert main(["cycles", "--books", str(table(tmp_path, *rows)), "--fee-bps", "100"]) == Exit.DONE
    text = capsys.readouterr().out
    assert "none gains; the best lacks" in text and "would break even at a fee" in text


@pytest.mark.parametrize(
    ("rows", "head", "fault"),
    [
        (("AUSDT,99,5,100,10,A,USDT",), "symbol,bid,bid_qty,ask,ask_qty,base", (":1:", "'quote' is missing")),
        ((), HEAD, (":1:", "no market follows")),
        (("AUSDT,99,5,many,10,A,USDT,,,,",), HEAD, (":2:", "'ask': 'many' is not a number")),
        (("AUSDT,99,5,100,10,A,USDT,,,,", "BUSDT,1,1,-2,1,B,USDT,,,,"), HEAD, (":3:", "'ask': '-2' is no price")),
        (("AUSDT,99,5,100,10,A,A,,,,",), HEAD, (":2:", "'quote': 'A' is the base as well")),
        (("AUSDT,99,5,100,10,,USDT,,,,",), HEAD, (":2:", "'base': is empty")),
        (("AUSDT,1e99,5,100,10,A,USDT,,,,",), HEAD, (":2:", "is no price")),
    ],
)
def test_a_bad_table_is_refused_by_line_and_column(
    rows: tuple[str, ...], head: str, fault: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table(tmp_path, *rows, head=head)
    assert main(["cycles", "--books", str(file)]) == Exit.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    where, what = fault
    assert f"{file}{where}" in line and what in line


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_is_no_text_or_not_there_is_refused(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "book.csv"
    if content is not None:
        file.write_bytes(content)
    assert main(["cycles", "--books", str(file)]) == Exit.USAGE
    assert str(file) in capsys.readouterr().err


def test_a_recorded_graph_is_reported_honestly(capsys: pytest.CaptureFixture[str]) -> None:
    folder = find_data()
    if folder is None or not (folder / FOLDER / "book.csv.zst").is_file():
        pytest.skip(f"the recordings are not here: {FOLDER}/book.csv.zst in ARBITRAGE_DATA or ../shared/data")
    pytest.importorskip("zstandard", reason="compressed tables need the extra `recordings`")
    found = answer(capsys, "--books", str(folder / FOLDER / "book.csv.zst"), "--max-legs", "3", "--fee-bps", "10")
    assert found["markets"] > 500 and found["assets"] > 200 and found["cycles"]["3"] > 1_000
    assert found["gaining"] == 0 and found["best_bps"] < 0 < found["missing_bps"]
    assert set(found["net_bps_over_cycles"]) == {"p50", "p90", "p99", "p99.9", "max"}
    assert found["net_bps_over_cycles"]["max"] == found["best_bps"] == found["top"][0]["net_bps"]
    assert len(found["top"]) == 10 and all(best["net_bps"] <= found["best_bps"] for best in found["top"])
