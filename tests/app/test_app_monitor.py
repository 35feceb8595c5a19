"""The pages of the monitor: what is cut, what is said without colour, and words of others that must not steer a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from arbitrage.app.monitor.command import run
from arbitrage.app.monitor.pages import PAGES, page
from arbitrage.app.monitor.picture import (
    FeedLine,
    LimitLine,
    MoneyLine,
    OpportunityLine,
    OutcomeLine,
    PairLine,
    Picture,
    ago,
)
from arbitrage.app.monitor.surface import pasts_of
from arbitrage.ops.log_lines import LogLine
from arbitrage.ops.status import FeedStatus, Status, write_status
from arbitrage.store.ledger_nouns import EpisodeLine, Moment

S = 1_000_000_000
FULL = Picture(
    source="api", is_armed=True, mode="live", session="main", age_s=0.0, up_s=7_300.0, counts="3 completed", realised="12 USDT",
    proven="2 h ago, by exercise", open_plans=1, open_orders=2, venues=("upbit", "binance"),
    pairs=(
        PairLine("XRP", {"upbit": "sell 900 KRW", "binance": "buy 0.5 USDT"}, "1/2", 5_000, 3_000, 0, "", "9 s ago", 1_234),
        PairLine("ETH", {"upbit": "buy 1 KRW", "binance": "sell 2 USDT"}, "1400/1401", -100, -2_000, 2_000, "stale"),
    ),
    opportunities=tuple(OpportunityLine("12:00:00", 100, f"{n} USDT", "below_threshold", f"cycle {n}", "x") for n in range(60)),
    outcomes=(OutcomeLine("12:00:01", "p1", "completed", "1 USDT", "0.9 USDT"),),
    money=(MoneyLine("fees", "-1 USDT"), MoneyLine("total", "2 USDT")),
    feeds=(FeedLine("upbit", True, "", 12, 6, 6, 3, "its account agrees"), FeedLine("binance", False, "cut", None, 0, 5, None)),
    limits=(LimitLine("loss_today_max", "50", "200", 250_000), LimitLine("open_plans_max", "", "4", None)),
    refused={"below_threshold": 7}, figures={"trades_per_minute": "4", "updated_at_ns": "1"},
)  # fmt: skip


def drawn(number: int, picture: Picture, lines: tuple[LogLine, ...] = (), *, width: int = 180, height: int = 50) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, highlight=False, markup=False, emoji=False, force_terminal=False)
    console.print(page(number, picture, lines, height))
    return out.getvalue()


def test_the_first_page_answers_the_three_questions_in_words() -> None:
    text = drawn(1, FULL)
    for words in (
        " ARMED ", "live main   up 2 h   realised 12 USDT", "kill switch off   last proven 2 h ago, by exercise",
        "sell 900 KRW", "+0.300", "pays", "9 s ago", "1.2 s", "stale",
        "money today   fees -1 USDT   total 2 USDT", "down: cut", "6 of 6",
        "limits in use   loss_today_max 25.000 %",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize("number", PAGES)
def test_every_page_fits_its_terminal_and_keeps_the_keys_in_sight(number: int) -> None:
    lines = tuple(LogLine(n, "INFO", "arbitrage.daemon", f"line {n}") for n in range(100))
    text = drawn(number, FULL, lines).splitlines()
    assert len(text) <= 50 and text[0].startswith("1 first screen")
    assert number != 4 or "line 99" in text[-1], "the newest line is not the one that is cut"


def test_what_is_wrong_stands_above_everything() -> None:
    wrong = msgspec.structs.replace(
        FULL, is_armed=False, not_armed_because=("kill switch: by a",), killed="by a: b", paused="by c",
        differences=("upbit-XRP",), pairs_off={"XRP": "too bad"}, notes=("pnl: the key may not",), age_s=9.0,
        alerts=("kill_switch",),
    )  # fmt: skip
    top = drawn(1, wrong).partition("pairs")[0]
    for words in ("NOT ARMED  because kill switch: by a", "ON, by a: b", "paused by c", "difference upbit-XRP",
                  "XRP is off: too bad", "alerts on: kill_switch", "pnl: the key may not", "this is 9 s old"):  # fmt: skip
        assert words in top
    gone = drawn(1, Picture("files", ("no status",), is_there=False))
    assert "NO DAEMON ANSWERS" in gone and "what it last said" not in gone and "no status" in gone
    assert "what follows is what it last said" in drawn(1, Picture("files", is_there=False, age_s=60.0))


@given(text=st.text(max_size=60), number=st.sampled_from(sorted(PAGES)), width=st.integers(20, 200))
@settings(max_examples=80, deadline=None)
def test_no_word_of_others_steers_the_terminal_or_breaks_a_page(text: str, number: int, width: int) -> None:
    nasty = f"[red]{text}[/nothing]\x1b]0;x\x07"
    picture = msgspec.structs.replace(
        FULL, not_armed_because=(nasty,), is_armed=False, killed=nasty, paused=nasty, differences=(nasty,), notes=(nasty,),
        opportunities=(OpportunityLine(nasty, 1, nasty, nasty, nasty, nasty),), outcomes=(OutcomeLine(*[nasty] * 5),),
        feeds=(FeedLine(nasty, False, nasty, 1, 1, 1, 1, nasty),), pairs_off={nasty: nasty},
    )  # fmt: skip
    shown = drawn(number, picture, width=width)
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7_200, "2 h ago"), (200_000, "2 d ago")]
)
def test_times_are_said_in_one_unit(seconds: int, words: str) -> None:
    assert ago(0, seconds * S) == words and ago(None, 5) == "never"


def episode(pair: str, last_s: int, life_ms: int) -> EpisodeLine:
    now = Moment.of(last_s * S)
    return EpisodeLine("e", 1, "c", pair, now, now, life_ms, "gone", 1, 5, None, None, None, (), 0, {}, ())


def test_a_coin_was_last_above_when_any_of_its_cycles_was() -> None:
    pasts = pasts_of([episode("XRP", 50, 100), episode("ETH+XRP", 90, 300), episode("XRP", 10, 900)])
    assert (pasts["XRP"].last_ns, pasts["XRP"].life_ms_median) == (90 * S, 300)
    assert set(pasts) == {"XRP", "ETH"} and pasts_of([]) == {}


def look(folder: Path, capsys: pytest.CaptureFixture[str], *words: str, **environ: str) -> tuple[int, str]:
    """Run the monitor once on a data folder; return its exit status and what it printed."""
    status = run(["--once", "--data-dir", str(folder), *words], environ, wall_ns=lambda: 100 * S)
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def test_where_no_daemon_ever_ran_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = look(tmp_path, capsys)
    assert status == 1 and "NO DAEMON ANSWERS" in text and "the daemon has not run here" in text


def test_what_a_daemon_last_said_is_shown_with_its_age(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feeds = {"upbit": FeedStatus(connected=True, alive_age_ms=5, markets=6, usable=6, clock_offset_ms=-2)}
    left = Status(
        pid=1, session_id="main", env="test", mode="paper", armed=False, not_armed_reasons=("paused: by a",), postgres=None,
        redis=None, feeds=feeds, last_snapshot_at_ns=None, at_ns=97 * S, loop_latency_ms=0.1, wall_ns=97 * S,
        kill_last_proven_ns=40 * S, alerts=("paused",),
    )  # fmt: skip
    write_status(tmp_path, left)
    status, text = look(tmp_path, capsys, "--json")
    seen = json.loads(text)
    assert status == 0 and seen["is_there"] and seen["source"] == "files" and seen["age_s"] == 3.0
    assert seen["alerts"] == ["paused"] and seen["proven"] == "57 s ago" and seen["feeds"][0]["clock_offset_ms"] == -2
    write_status(tmp_path, msgspec.structs.replace(left, at_ns=90 * S, wall_ns=90 * S))
    status, text = look(tmp_path, capsys)
    assert status == 1 and "what it last said" in text and "paused: by a" not in text.partition("\n")[0]


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("", "ak_x", "the daemon serves none"), ("http://127.0.0.1:1", "", "no key"),
        ("http://127.0.0.1:1", "é", "what no key holds"), ("http://127.0.0.1:1", "ak_x", "not reached"),
        ("http://192.0.2.1:1", "ak_x", "over https or to this machine only"),
    ],
)  # fmt: skip
def test_why_the_api_is_not_read_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, key: str, words: str
) -> None:
    _, text = look(tmp_path, capsys, "--url", url, "--json", ARBITRAGE_API_KEY=key)
    assert words in json.loads(text)["notes"][0]


def test_a_key_is_read_from_a_file_that_nobody_else_may_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    file.write_text("ak_c4n4ry\n")
    file.chmod(0o644)
    status, text = look(tmp_path, capsys, "--key-file", str(file))
    assert status == 2 and "others may read it" in text and "c4n4ry" not in text
    file.chmod(0o600)
    _, text = look(tmp_path, capsys, "--url", "http://127.0.0.1:1", ARBITRAGE_API_KEY_FILE=str(file), ARBITRAGE_API_KEY="é")
    assert "not reached" in text and "c4n4ry" not in text, "the file goes before the variable"
