"""What is sampled of refused opportunities, and how the ledger is told in words; no database is needed for either."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

sys.path.append(str(Path(__file__).parents[1] / "store"))  # the store's own tests keep `store_world` there

from store_world import MARKETS, approved, opportunity, refused

from arbitrage.app.cli import main
from arbitrage.app.ledger_access import since
from arbitrage.app.ledger_text import csv_of, episodes_table, profit_table, story_text, text_of, waterfall_lines
from arbitrage.app.sampling import REMEMBERED_MAX, SAMPLE_INTERVAL_NS, Samples
from arbitrage.store.ledger_nouns import (
    EpisodeLine,
    FollowUpLine,
    Moment,
    Money,
    Profit,
    ProfitLine,
    Story,
)
from arbitrage.store.ledger_rows import leg_lines, line_of_offer, offer_line, rate_lines, waterfall_of_offer

SYMBOLS = {str(market): known for market, known in enumerate(MARKETS)}


def test_of_one_cycle_and_reason_one_in_ten_seconds_is_kept_and_all_that_were_taken() -> None:
    samples = Samples()
    assert samples.wants(refused("a", 5)) and not samples.wants(refused("b", 6))
    assert all(samples.wants(approved(f"t{number}", 7)) for number in range(3))
    assert not samples.wants(refused("c", 4 + SAMPLE_INTERVAL_NS)) and samples.wants(refused("d", 5 + SAMPLE_INTERVAL_NS))


def test_what_is_remembered_for_sampling_is_bounded() -> None:
    samples = Samples()
    for cycle in range(REMEMBERED_MAX + 1):
        judged = refused("a", 5)
        other = msgspec.structs.replace(judged.opportunity, cycle=cycle)
        assert samples.wants(msgspec.structs.replace(judged, opportunity=other))
    assert samples.wants(refused("a", 5)), "all were forgotten"


def test_since_is_so_long_ago_or_a_time() -> None:
    hour_ns = 3_600 * 10**9
    assert abs(time.time_ns() - since("2h") - 2 * hour_ns) < 60 * 10**9
    assert since("1970-01-02") == 24 * hour_ns == since("1970-01-02T09:00+09:00")
    assert since("999999w") == 0
    for wrong in ("2 h", "yesterday", "2026-13-01", "1e9", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="neither so long ago"):
            since(wrong)


def episode(**changes: object) -> EpisodeLine:
    found = offer_line(opportunity("5-1"))
    later = (FollowUpLine(50, 61, Money.of(-3, "USDT"), ""), FollowUpLine(100, 112, None, "market unusable: stale_market: x"))
    seen = (Moment.of(5), Moment.of(9_000_000))
    made = EpisodeLine(
        "e5-7", 7, "n", "BTC", *seen, 8, "gone", 3, 4000, Money.of(100, "USDT"), found, found, (), 0, {"paused": 2}, later
    )
    return msgspec.structs.replace(made, **changes)


def test_a_page_of_episodes_is_columns_or_csv_and_nothing_is_nothing() -> None:
    table = episodes_table([episode(), episode(net_peak=None, first=None, peak=None, refusals={}, follow_ups=())])
    text = text_of(table).splitlines()
    assert len(text) == 3 and text[0].split()[:3] == ["first", "seen", "pair"]
    assert "1970-01-01T00:00:00.000000Z" in text[1] and "unusable" in text[1] and "-0.00000003" in text[1]
    rows = list(csv.DictReader(csv_of(table).splitlines()))
    assert rows[0]["+50_ms"] == "-0.00000003" and rows[0]["most_refused_for"] == "paused" and rows[1]["net"] == ""
    assert text_of(episodes_table([])) == "" and len(csv_of(episodes_table([])).splitlines()) == 1


def test_a_refused_one_is_told_with_books_rates_and_what_it_would_have_paid() -> None:
    found = opportunity("5-1")
    story = Story(
        line_of_offer(found, episode()), waterfall_of_offer(found), leg_lines(found.legs, SYMBOLS), rate_lines(found.fx, {}),
        None, (), (), episode(),
    )  # fmt: skip
    text = story_text(story)
    for words in (
        "5-1   BTC   refused: kept with its episode; refused there because: paused", "where the edge went, in USDT (as far as",
        "upbit KRW-USDT: buy 10 at 1400 (best) to 1401, 3 ms old", "rate market 2: 1399 (5) / 1400 (6), 3 ms old",
        "opening e5-7: 8 ms (gone), 3 looks", "50 ms later (looked at after 61 ms): would have paid -0.00000003 USDT",
        "100 ms later (looked at after 112 ms): market unusable: stale_market: x",
    ):  # fmt: skip
        assert words in text, words
    assert len(text.splitlines()) < 40, "one screen"


def test_a_waterfall_is_drawn_to_its_largest_step() -> None:
    lines = waterfall_lines(waterfall_of_offer(opportunity("5-1")))
    bars = {line[2:].split("  ")[0]: line.rsplit(" ", 1)[-1] for line in lines[1:]}
    assert max(len(bar) for bar in bars.values() if set(bar) <= set("+-=")) == 30
    assert lines[-1].startswith("= expected") and "+0.000001" in lines[-1]


def test_profit_is_a_table_with_a_total_and_components_expect_nothing() -> None:
    nothing, some = Money.of(0, "KRW"), Money.of(5, "KRW")
    line = ProfitLine("depth", 2, nothing, some, None, (Money.of(7, "USDT"),))
    total = ProfitLine("total", 2, some, some, some, ())
    names, rows = profit_table(Profit("component", "KRW", (line,), total, ()))
    assert names[0] == "component" and rows[0] == ["depth", "2", "", "0.00000005", "", "KRW", "0.00000007 USDT"]
    assert rows[1][2] == "0.00000005"
    assert profit_table(Profit("day", "KRW", (line,), total, ()))[1][0][2] == "0"


def test_without_a_database_one_line_says_where_it_was_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["opportunities"], ["explain", "x"], ["pnl"]):
        assert main([*words, "--data-dir", str(tmp_path)]) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.splitlines() == [
            f"{tmp_path}: no database is kept here; is this the daemon's data folder (--data-dir)?"
        ]


def test_a_database_that_is_away_is_said_in_one_line_without_a_password(tmp_path: Path) -> None:
    away = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "1", "POSTGRES_PASSWORD": "very-secret", "ENV": "development"}
    words = [sys.executable, "-m", "arbitrage", "pnl", "--data-dir", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": os.defpath, **away}, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "") and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("PostgreSQL at postgresql://arbitrage@127.0.0.1:1/arbitrage: ")
    assert "secret" not in done.stderr


@pytest.mark.parametrize("words", [["opportunities", "--taken", "--refused"], ["pnl", "--by", "moon"], ["explain"]])
def test_bad_usage_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(words)
    assert refusal.value.code == 2
