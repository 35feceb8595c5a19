"""`arbitrage cycles`: counts checked by another method, the honest answer on recorded books, and one-line errors."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from collections import defaultdict
from itertools import permutations
from pathlib import Path

import pytest

from arbitrage.app import cycles_command
from arbitrage.app.exits import Exit

HEADER = "symbol,bid,bid_qty,ask,ask_qty,base,quote,tick_size,step_size,min_qty,min_notional"
GAINING = (
    "ETHBTC,0.0499,100,0.05,100,ETH,BTC,0.0001,0.001,0.001,0",
    "BTCUSDT,60000,1,60010,1,BTC,USDT,0.01,0.00001,0.00001,10",
    "ETHUSDT,3100,2,3101,2,ETH,USDT,0.01,0.0001,0.0001,10",
)


def recorded() -> Path:
    data = Path(os.environ.get("ARBITRAGE_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
    path = data / "binance-graph-20201009" / "book.csv.zst"
    if not path.exists():
        pytest.skip("needs the recorded books (ARBITRAGE_DATA or ../shared/data): binance-graph-20201009")
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    cycles_command.add_arguments(parser)
    status = cycles_command.run(parser.parse_args(words))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict:  # type: ignore[type-arg]  # any JSON
    status, out, err = run(capsys, *words, "--json")
    assert (status, err) == (Exit.DONE, "") and out.count("\n") == 1
    return json.loads(out)


def table(tmp_path: Path, *lines: str, header: str = HEADER) -> str:
    path = tmp_path / "books.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def neighbours(path: Path) -> dict[str, set[str]]:
    zstandard = pytest.importorskip("zstandard", reason="reading recordings needs zstandard")
    text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read().decode()
    graph: dict[str, set[str]] = defaultdict(set)
    for row in csv.DictReader(io.StringIO(text)):
        graph[row["base"]].add(row["quote"])
        graph[row["quote"]].add(row["base"])
    return graph


def closed_walks(graph: dict[str, set[str]], length: int) -> int:
    """Return the trace of the adjacency matrix to a power: closed walks of that length."""
    total = 0
    for start in graph:
        counts = {start: 1}
        for _ in range(length):
            after: dict[str, int] = defaultdict(int)
            for place, ways in counts.items():
                for neighbour in graph[place]:
                    after[neighbour] += ways
            counts = after
        total += counts.get(start, 0)
    return total


def test_recorded_binance_counts_agree_with_traces_of_the_adjacency_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded()
    graph = neighbours(path)
    edges2 = sum(len(others) for others in graph.values())
    squares = sum(len(others) ** 2 for others in graph.values())
    # Closed 3-walks are triangles, 6 of each; closed 4-walks are squares, 8 of each, or go there and back.
    triangles, rest = divmod(closed_walks(graph, 3), 6)
    four_walks, rest4 = divmod(closed_walks(graph, 4) - 2 * squares + edges2, 8)
    assert rest == rest4 == 0
    found = answer(capsys, "--books", str(path), "--max-legs", "4", "--fee-bps", "10")
    assert (found["markets"], found["assets"]) == (815, 275) and len(graph) == 275
    assert found["cycles"] == {"2": 0, "3": 2 * triangles, "4": 2 * four_walks}


def test_recorded_binance_is_answered_honestly_none_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(recorded())
    found = answer(capsys, "--books", path)
    assert found["gaining"] == 0 and found["best_bps"] < 0 < found["missing_bps"] == -found["best_bps"]
    assert 0 < found["break_even_fee_bps"]["3"] < 10 and not found["truncated"] and found["crossed"] == 0
    for shares in (found["net_bps_over_cycles"], found["net_bps_over_markets"]):
        assert sorted(shares.values()) == list(shares.values()) and shares["max"] == found["best_bps"]
    assert [best["net_bps"] for best in found["top"]] == sorted((best["net_bps"] for best in found["top"]), reverse=True)
    assert all(best["profit"] is None for best in found["top"])
    status, out, _ = run(capsys, "--books", path)
    assert status == Exit.DONE and "none gains" in out and "to break even" in out and "2,278 of 3" in out
    free = answer(capsys, "--books", path, "--fee-bps", "0", "--top", "40")
    assert free["gaining"] > 0 and free["best_bps"] > 0
    assert any(best["profit"] for best in free["top"]) and any(best["no_size_because"] for best in free["top"])
    break_even = max(found["break_even_fee_bps"].values())
    assert answer(capsys, "--books", path, "--fee-bps", f"{break_even + 0.01:.2f}")["gaining"] == 0
    assert answer(capsys, "--books", path, "--fee-bps", f"{break_even - 0.01:.2f}")["gaining"] > 0


def test_counts_agree_with_all_permutations_on_a_small_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [("A", "B"), ("B", "C"), ("C", "A"), ("A", "D"), ("D", "B"), ("E", "A"), ("E", "D"), ("B", "A")]
    lines = [f"{base}{quote}{row},1,1,1.01,1,{base},{quote},,,," for row, (base, quote) in enumerate(pairs)]
    found = answer(capsys, "--books", table(tmp_path, *lines), "--max-legs", "5")
    ways: dict[frozenset[str], int] = defaultdict(int)
    for pair in pairs:
        ways[frozenset(pair)] += 1
    expected = {"2": 2}  # A and B are joined twice: out by one market, back by the other
    for length in (3, 4, 5):
        count = 0
        for places in permutations("ABCDE", length):
            product = 1
            for here, there in zip(places, (*places[1:], places[0]), strict=True):
                product *= ways.get(frozenset((here, there)), 0)
            count += product
        expected[str(length)] = count // length
    assert found["cycles"] == expected


def test_a_gaining_cycle_is_listed_with_its_size_and_profit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--books", table(tmp_path, *GAINING), "--max-legs", "3", "--fee-bps", "7.5")
    assert (found["gaining"], found["fee_bps"], found["missing_bps"]) == (1, 7.5, 0)
    best = found["top"][0]
    assert best["cycle"] == "USDT > BTC > ETH > USDT" and best["legs"] == ["buy BTCUSDT", "buy ETHBTC", "sell ETHUSDT"]
    gross = 3100 / (60010 * 0.05)
    assert best["gross_bps"] == pytest.approx((gross - 1) * 1e4, abs=0.01)
    assert best["net_bps"] == found["best_bps"] == pytest.approx((gross * 0.99925**3 - 1) * 1e4, abs=0.01)
    assert best["asset"] == "USDT" and 0 < float(best["profit"]) < float(best["amount_in"]) < 60010 * 0.11
    assert found["top"][1]["profit"] is None
    _, out, _ = run(capsys, "--books", table(tmp_path, *GAINING))
    assert "1 gain" in out and f"profit {found['top'][0]['profit'][:2]}" in out


def test_a_gain_that_no_order_may_take_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row.replace(",10", ",100000") for row in GAINING]
    found = answer(capsys, "--books", table(tmp_path, *rows), "--fee-bps", "0")
    assert found["top"][0]["profit"] is None and found["top"][0]["no_size_because"].startswith("below_minimum")
    assert "no size: below_minimum" in run(capsys, "--books", table(tmp_path, *rows), "--fee-bps", "0")[1]


def test_columns_say_what_a_symbol_is_not_its_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("GALAEUR,0.02,1,0.02,1,GALA,EUR", "GALUSDT,1.5,1,1.5,1,GAL,USDT", "AEURUSDT,1.08,1,1.08,1,AEUR,USDT")
    header = "symbol,bid,bid_qty,ask,ask_qty,base,quote"
    found = answer(capsys, "--books", table(tmp_path, *rows, header=header))
    assert found["gaining"] == 0 and found["cycles"] == {"2": 0, "3": 0, "4": 0}
    assert found["best_bps"] is None and found["missing_bps"] is None and found["net_bps_over_cycles"] == {}
    assert "no cycle" in run(capsys, "--books", table(tmp_path, *rows, header=header))[1]


def test_empty_sides_and_crossed_rows_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*GAINING[:2], "ETHUSDT,0,0,3101,2,ETH,USDT,,,,"]
    assert answer(capsys, "--books", table(tmp_path, *rows))["gaining"] == 0
    crossed = [*GAINING[:2], "ETHUSDT,3200,1,3101,2,ETH,USDT,,,,"]
    assert answer(capsys, "--books", table(tmp_path, *crossed))["crossed"] == 1
    assert "not below their ask" in run(capsys, "--books", table(tmp_path, *crossed))[1]


def test_without_a_usual_asset_profit_is_told_in_the_busiest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["XY,1,1,1.1,1,X,Y,,,,", "YZ,1,1,1.1,1,Y,Z,,,,", "XZ,1.2,1,1.3,1,X,Z,,,,", "XW,1,1,1.1,1,X,W,,,,"]
    found = answer(capsys, "--books", table(tmp_path, *rows), "--fee-bps", "0")
    assert found["top"][0]["cycle"].startswith("X > ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A,x,1,1,1,A,B,,,,", ":3: column 'bid': 'x' is not a number"),
        ("A,1,-1,1,1,A,B,,,,", ":3: column 'bid_qty': '-1' is no price or quantity"),
        ("A,1,1,NaN,1,A,B,,,,", ":3: column 'ask': 'NaN' is no price or quantity"),
        ("A,1,1,1e99,1,A,B,,,,", ":3: column 'ask': '1e99' is no price or quantity"),
        ("A,1,1,1,1,,B,,,,", ":3: column 'base': is empty"),
        ("A,1,1,1,1,A", ":3: column 'quote': is empty"),
        ("A,1,1,1,1,A,A,,,,", ":3: column 'quote': 'A' is the base as well"),
        ("A,1,1,1,1,A,B,0.000000001,,,", ":3: column 'tick_size': more than 8 decimals"),
    ],
)
def test_a_bad_line_is_one_error_that_names_file_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    path = table(tmp_path, GAINING[0], line)
    status, out, err = run(capsys, "--books", path)
    assert (status, out) == (Exit.USAGE, "") and err.count("\n") == 1
    assert err.startswith(f"arbitrage cycles: {path}{words}")


def test_a_bad_file_is_one_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("zstandard", reason="the packed cases need zstandard")
    cases: list[tuple[str, bytes, str]] = [
        ("missing column.csv", b"symbol,bid\nA,1\n", ":1: column 'bid_qty' is missing"),
        ("empty.csv", b"", ":1: column 'symbol' is missing"),
        ("header.csv", HEADER.encode(), ":1: no market follows the header"),
        ("latin.csv", b"\xff\xfe", ": is not UTF-8 text (byte 0)"),
        ("plain.csv.zst", b"symbol,bid\n", ": is not zstd-compressed"),
        ("long.csv", f"{HEADER}\n{'x' * 200_000},1,1,1,1,A,B\n".encode(), ": not a table of comma-separated values"),
    ]
    for name, raw, words in cases:
        path = tmp_path / name
        path.write_bytes(raw)
        status, _, err = run(capsys, "--books", str(path))
        assert status == Exit.USAGE and err.count("\n") == 1 and words in err and str(path) in err, name
    status, _, err = run(capsys, "--books", str(tmp_path / "none.csv"))
    assert status == Exit.USAGE and "cannot be read: No such file" in err


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bom.csv"
    path.write_text("\n".join([HEADER, *GAINING]), encoding="utf-8-sig")
    assert answer(capsys, "--books", str(path))["markets"] == 3


@pytest.mark.parametrize("fee", ["x", "-1", "10000", "0.001", "NaN"])
def test_a_fee_out_of_range_is_bad_usage(fee: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(capsys, "--books", "x.csv", f"--fee-bps={fee}")
    assert stopped.value.code == Exit.USAGE
