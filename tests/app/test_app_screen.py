"""What a person sees, drawn from a real engine's own view, plain where there is no terminal."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import pytest
from app_world import DoorWorld, running, trading_door
from engine_world import E8

from arbitrage.app.screen import PLAIN_WIDTH, Screen, percent, price, surface_lines
from arbitrage.model.events import Command, CommandKind, LinkDown
from arbitrage.model.instruments import Venue

DESCRIPTION: dict[str, object] = {"label": "seeded synthetic books", "notes": ["depth is invented"], "meaningless": ()}


def picture(world: DoorWorld, folder: Path, *, description: dict[str, object] = DESCRIPTION) -> str:
    """Let the screen draw once on a plain stream."""
    out, parts = io.StringIO(), running(world, folder)
    screen = Screen(description, out)

    async def once() -> None:
        shown = asyncio.get_running_loop().create_task(screen.run(parts))
        await asyncio.sleep(0)
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)

    asyncio.run(once())
    parts.stores.journal.close()
    return out.getvalue()


def line_with(text: str, *words: str) -> str:
    found = [line for line in text.splitlines() if all(word in line for word in words)]
    assert found, f"no line with {words} in:\n{text}"
    return found[0]


def test_an_armed_house_shows_pairs_in_both_currencies_and_what_was_taken(tmp_path: Path) -> None:
    text = picture(trading_door(), tmp_path)
    assert "\x1b" not in text and " ARMED " in line_with(text, "paper") and "NOT ARMED" not in text
    assert "seeded synthetic books" in text and "depth is invented" in text
    pair = line_with(text, "BTC", "binance USDT", "upbit KRW")
    for value in ("100010", "142800000", "1399/1401", "pays"):
        assert value in pair, f"{value} is missing in {pair}"
    assert "taken" in line_with(text, "USDT@binance", "taken")
    assert "seen 1, taken 1; refused: none" in text
    assert "binance up, 1/1 books usable" in text and "upbit up, 2/2 books usable" in text
    assert all(len(line) <= PLAIN_WIDTH for line in text.splitlines())


def test_a_pair_that_does_not_pay_says_what_is_missing_to_break_even(tmp_path: Path) -> None:
    world = DoorWorld()
    world.connect()
    world.quiet_books()
    pair = line_with(picture(world, tmp_path), "BTC", "binance", "upbit")
    gross, net, missing = (float(word) for word in pair.split() if word[0] in "+-")
    assert "pays" not in pair and gross < 0 and net < gross and missing > 0


def test_an_unarmed_house_says_why_in_its_first_line(tmp_path: Path) -> None:
    world = DoorWorld()
    first = picture(world, tmp_path).splitlines()[0]
    assert first.startswith(" NOT ARMED  because no instrument rules have been read yet")
    world.connect()
    world.feed(Command(world.now_ns, CommandKind.KILL, "operator", "drill"))
    assert "because kill switch: " in picture(world, tmp_path).splitlines()[0]


def test_a_refused_opportunity_is_shown_with_its_reason(tmp_path: Path) -> None:
    world = DoorWorld()
    world.report_store(is_journal_full=True)
    world.connect()
    world.premium_books()
    text = picture(world, tmp_path)
    assert "not_armed" in line_with(text, "USDT@binance", "not_armed")
    assert "refused: not_armed" in text


def test_a_closed_arbitrage_is_shown_with_expected_and_realised_profit(tmp_path: Path) -> None:
    world = trading_door()
    world.take_all(world.sent())
    text = picture(world, tmp_path)
    (outcome,) = world.engine.outcomes
    assert outcome.plan_id in line_with(text, "completed", outcome.plan_id)
    assert "1 completed, 0 recovered, 0 missed, 0 open" in text
    view = running(world, tmp_path / "other").view()
    assert view.realised_e8 and f"realised {view.realised_e8 / E8:.2f}"[:-1] in text.splitlines()[0]


def test_a_market_that_may_not_be_traded_on_says_why(tmp_path: Path) -> None:
    world = trading_door()
    world.feed(LinkDown(world.now_ns, Venue("binance"), "binance", (0,), "cut"))
    text = picture(world, tmp_path)
    assert "binance down: " in text and "0/1 books usable" in text


def test_spreads_that_mean_nothing_are_labelled_so(tmp_path: Path) -> None:
    world = DoorWorld()
    world.connect()
    world.depth(99_990.0, 100_010.0, 0.5)
    text = picture(world, tmp_path, description={**DESCRIPTION, "meaningless": ("KRW-USDT",)})
    assert "spread means nothing" in line_with(text, "KRW-USDT")


def test_a_reader_that_left_ends_the_screen_without_an_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    screen = Screen(DESCRIPTION, os.fdopen(writer, "w"))

    async def shown() -> bool:
        async with asyncio.timeout(5):
            await screen.run(running(trading_door(), tmp_path))
        return True

    assert asyncio.run(shown())


SUMMARY: dict[str, object] = {
    "frames": 7, "pnl": {"currency": "USDT", "realised": "[bold]1", "by": {"binance": [1, 2], "upbit": []}}, "refused": {},
    "is_whole": True, "plan": None,
}  # fmt: skip
SUMMARY_LINES = [
    "frames: 7", "pnl: currency USDT, realised [bold]1, by (binance (1, 2), upbit none)", "refused: none", "is_whole: yes",
    "plan: none",
]  # fmt: skip


def test_the_summary_is_a_line_a_thing() -> None:
    out = io.StringIO()
    Screen(DESCRIPTION, out).close(SUMMARY)
    assert out.getvalue().splitlines() == SUMMARY_LINES


@pytest.mark.parametrize(("ppm", "text"), [(None, ""), (0, "+0.000"), (12_345, "+1.234"), (-1_500, "-0.150")])
def test_parts_per_million_are_shown_as_per_cent(ppm: int | None, text: str) -> None:
    assert percent(ppm) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "-"), (1_234_567.0, "1,234,567"), (0.00001234, "0.00001234"), (100.5, "100.5")]
)
def test_prices_are_shown_for_the_eye(value: float, text: str) -> None:
    assert price(value) == text


def test_the_last_lines_say_where_the_browser_goes_and_the_link_fits_a_narrow_terminal() -> None:
    link = f"http://127.0.0.1:8320/setup?token={'a' * 43}"
    lines = surface_lines("http://127.0.0.1:8320", link).plain.splitlines()
    assert lines[0] == "in the browser: http://127.0.0.1:8320" and lines[-1] == link and len(link) <= 80
    assert surface_lines("http://127.0.0.1:8320", "").plain == lines[0]
    assert "is not open" in surface_lines("", "").plain
