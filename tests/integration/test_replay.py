"""`arbitrage replay`: the same frames give the same decisions under any hash seed, and a gapped book gives none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from daemon_lab import PROJECT, clean_environment

from arbitrage.app.cli import main
from arbitrage.app.exits import Exit
from arbitrage.sim.capture import CaptureHeader, CaptureRow, CaptureWriter, find_data

pytestmark = pytest.mark.integration
RECORDED = "main-session.capture.jsonl.zst"
START_NS, MS = 1_760_000_000_000_000_000, 1_000_000
FRAMES = 40
KEYS = {
    "frames", "faults", "gaps", "resyncs", "books", "opportunities", "refused", "decision_ns", "frames_per_s", "decision_hash",
    "event_hash",
}  # fmt: skip


def replayed(*captures: Path, hash_seed: str = "0") -> dict[str, Any]:
    """Replay in a process of its own."""
    command = [sys.executable, "-m", "arbitrage", "replay", *map(str, captures), "--json"]
    environ = clean_environment(PYTHONHASHSEED=hash_seed)
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=PROJECT, check=False, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Compare everything but this machine's times."""
    times = {"decision_ns", "frames_per_s"}
    return {key: one[key] for key in one.keys() - times} == {key: other[key] for key in other.keys() - times}


class Recording:
    """A small session of BTC at both venues, written row by row in its own time."""

    def __init__(self, path: Path) -> None:
        self._writer = CaptureWriter(path, CaptureHeader("header", "capture-v1", ("binance", "upbit"), "test"))
        self._at_ns = START_NS
        self._last_id = 100

    def __enter__(self) -> Recording:
        url = "http://venue/api/v3/depth?symbol=BTCUSDT&limit=1000"
        bids, asks = [["99990.01", "0.50001"], ["99980.00", "9.00"]], [["100010.01", "0.50001"], ["100020.00", "9.00"]]
        self._row("binance", "http", {"lastUpdateId": 100, "bids": bids, "asks": asks}, url)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def depth(self, *, skipped: int = 0) -> None:
        """Binance confirms its best bid, after so many lost updates."""
        first = self._last_id + 1 + skipped
        self._last_id = first + 1
        body = {
            "e": "depthUpdate", "E": self._at_ns // MS, "s": "BTCUSDT", "U": first, "u": self._last_id,
            "b": [["99990.01", "0.50001"]], "a": [],
        }  # fmt: skip
        self._row("binance", "frame", {"stream": "btcusdt@depth@100ms", "data": body})

    def ticker(self) -> None:
        """Binance's own best prices at the newest update."""
        body = {"u": self._last_id, "s": "BTCUSDT", "b": "99990.01", "B": "0.50001", "a": "100010.01", "A": "0.50001"}
        self._row("binance", "frame", {"stream": "btcusdt@bookTicker", "data": body})

    def picture(self, code: str, bid: float, ask: float, size: float) -> None:
        """Upbit shows a whole book."""
        unit = {"ap": ask, "bp": bid, "as": size, "bs": size}
        body = {
            "ty": "orderbook",
            "cd": code,
            "tms": self._at_ns // MS,
            "tas": size,
            "tbs": size,
            "obu": [unit],
            "st": "REALTIME",
        }
        self._row("upbit", "frame", body)

    def _row(self, venue: str, kind: Any, body: object, url: str = "") -> None:
        self._writer.write(CaptureRow(self._at_ns, venue, f"{venue}-1", kind, json.dumps(body), venue == "upbit", url))
        self._at_ns += 20 * MS


def record(path: Path, *, skipped: int) -> Path:
    """Write a quiet market in which, after `skipped` lost updates, Bitcoin becomes 2 % dearer at Upbit for a while."""
    with Recording(path) as recording:
        for number in range(FRAMES):
            bid = 139_900_000.0 if number < FRAMES // 2 else 142_800_000.0 + 1_000 * number
            recording.picture("KRW-USDT", 1_399.0, 1_401.0, 100_000.0)
            recording.depth(skipped=skipped if number == FRAMES // 2 else 0)
            recording.ticker()
            recording.picture("KRW-BTC", bid, bid + 200_000.0, 0.5)
    return path


@pytest.fixture(scope="module")
def recorded() -> Path:
    folder = find_data()
    if folder is None or not (folder / RECORDED).is_file():
        pytest.skip(f"the recording is not here: {RECORDED} in ARBITRAGE_DATA or ../shared/data")
    pytest.importorskip("zstandard", reason="compressed captures need the extra `recordings`")
    return folder / RECORDED


def test_the_recorded_session_is_lived_again_alike_and_every_comparison_is_equal(recorded: Path) -> None:
    one, other = replayed(recorded, hash_seed="1"), replayed(recorded, hash_seed="4242")
    assert same(one, other) and one.keys() >= KEYS
    assert one["books"]["compared"] > 1_000 and one["books"]["equal"] == one["books"]["compared"]
    assert one["frames"] > 10_000 and one["frames_per_s"] > 0
    assert set(one["decision_ns"]) == {"p50", "p99", "p999"} and 0 < one["decision_ns"]["p50"] <= one["decision_ns"]["p999"]


def test_decisions_orders_and_fills_are_alike_under_any_hash_seed(tmp_path: Path) -> None:
    capture = record(tmp_path / "whole.jsonl", skipped=0)
    runs = [replayed(capture, hash_seed=seed) for seed in ("0", "1", "77")]
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])
    assert runs[0]["gaps"] == 0 and runs[0]["opportunities"] > 0 and runs[0]["taken"] > 0
    assert sum(runs[0]["arbitrages"].values()) >= 1
    assert runs[0]["books"]["compared"] == runs[0]["books"]["equal"] >= FRAMES - 1
    assert runs[0]["opportunities"] == runs[0]["taken"] + sum(runs[0]["refused"].values())


def test_a_gapped_book_is_reported_and_yields_no_opportunity(tmp_path: Path) -> None:
    whole = replayed(record(tmp_path / "whole.jsonl", skipped=0))
    gapped = replayed(record(tmp_path / "gapped.jsonl", skipped=3))
    assert gapped["gaps"] >= 1 and gapped["opportunities"] == gapped["taken"] == 0
    assert gapped["event_hash"] != whole["event_hash"] and gapped["decision_hash"] != whole["decision_hash"]


def test_a_changed_price_changes_both_hashes(tmp_path: Path) -> None:
    capture = record(tmp_path / "whole.jsonl", skipped=0)
    text = capture.read_text()
    (tmp_path / "other.jsonl").write_text(text.replace("142820000.0", "142821000.0"))
    one, other = replayed(capture), replayed(tmp_path / "other.jsonl")
    assert text.count("142820000.0") >= 1
    assert one["event_hash"] != other["event_hash"] and one["decision_hash"] != other["decision_hash"]


def test_several_captures_are_merged_by_time(tmp_path: Path) -> None:
    capture = record(tmp_path / "whole.jsonl", skipped=0)
    header, *rows = capture.read_text().splitlines(keepends=True)
    for venue in ("binance", "upbit"):
        (tmp_path / f"{venue}.jsonl").write_text(header + "".join(row for row in rows if f'"venue":"{venue}"' in row))
    assert same(replayed(capture), replayed(tmp_path / "upbit.jsonl", tmp_path / "binance.jsonl"))


def test_a_compressed_capture_is_the_same(tmp_path: Path) -> None:
    pytest.importorskip("zstandard", reason="compressed captures need the extra `recordings`")
    plain, packed = record(tmp_path / "whole.jsonl", skipped=0), record(tmp_path / "whole.jsonl.zst", skipped=0)
    assert packed.stat().st_size < plain.stat().st_size and same(replayed(plain), replayed(packed))


def test_without_json_the_answer_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chdir(PROJECT)
    assert main(["replay", str(record(tmp_path / "whole.jsonl", skipped=0))]) == Exit.DONE
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines()] == ["frames", "books", "opportunities", "decision", "hashes"]
    assert "comparisons equal; 0 gaps" in text


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", ":1: "),
        ('{"kind":"header","format":"capture-v9"}\n', ":1: "),
        ('{"kind":"header","format":"capture-v1"}\n{"ts":1,"venue":"binance"\n', ":2: "),
        (
            '{"kind":"header","format":"capture-v1"}\n{"ts":1,"venue":"kraken","conn":"a","kind":"frame","raw":"{}"}\n',
            "'kraken'",
        ),
        ('{"kind":"header","format":"capture-v1"}\n{"ts":1,"venue":"binance","conn":"a","kind":"frame"}', ":2: "),
    ],
)
def test_a_bad_capture_is_refused_in_one_line(
    content: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(content)
    assert main(["replay", str(file), "--json"]) == Exit.USAGE
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and what in said.err


def test_a_missing_capture_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path / "none.jsonl")]) == Exit.USAGE
    assert str(tmp_path / "none.jsonl") in capsys.readouterr().err
