"""What the drills say and whom they refuse, without a daemon: words, list, pair, scenario."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from arbitrage.app.cli import main
from arbitrage.app.drill_command import result_text
from arbitrage.app.drills.books import pair_of, scenario_of
from arbitrage.app.drills.catalog import DRILLS, NAMES
from arbitrage.app.drills.nouns import Result
from arbitrage.app.drills.words import Line, Risk, Unfit, fact_text
from arbitrage.model.facts import FillBooked, KillSwitched, LegDecided, OrderChanged, OrderIntended, PairSwitched, Paused
from arbitrage.model.instruments import Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import LegChoice, PricedChoice
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId, TimeInForce
from arbitrage.model.settings import Settings
from arbitrage.ops.config import load

PROJECT = Path(__file__).resolve().parents[2]
REQUIRED = {
    "lost-ack", "leg-reject", "partial-dust", "cancel-fill-race", "gap", "frozen-feed", "silent-private-stream", "ban",
    "clock-skew", "venue-halt", "wallet-suspended", "restart-with-fills", "fx-gone", "wrong-tick",
}  # fmt: skip
MARKETS = (("binance", "BTCUSDT"),)
ORDER = Order(ClientOrderId("a-1-0"), PlanId("a-1"), 0, Venue("binance"), 0, Side.BUY, 100 * E8, E8, TimeInForce.IOC)


def own() -> Settings:
    return load(PROJECT / "config", {}).settings


def with_symbols(**symbols: tuple[str, ...]) -> Settings:
    settings = own()
    venues = {
        name: msgspec.structs.replace(section, symbols=symbols.get(name, section.symbols))
        for name, section in settings.venues.items()
    }
    return msgspec.structs.replace(settings, venues=venues)


def test_every_drill_that_was_promised_is_there_once_with_its_story() -> None:
    assert set(NAMES) >= REQUIRED and len(NAMES) == len(set(NAMES))
    assert all(drill.story.endswith(".") for drill in DRILLS)


def test_the_list_names_each_drill_and_runs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(NAMES)
    assert main(["drill", "--list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(NAMES)


@pytest.mark.parametrize("words", [[], ["nonsense"], ["all", "--list"]])
def test_bad_usage_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["drill", *words])
    assert end.value.code == 2 and "usage" in capsys.readouterr().err


def test_the_cheapest_cycle_of_the_configuration_is_what_is_traded() -> None:
    pair = pair_of(own())
    assert (pair.coin, pair.binance, pair.upbit, pair.fx) == ("XRP", "XRPUSDT", "KRW-XRP", ("upbit", "KRW-USDT"))
    assert scenario_of(own()).startswith("still:BTCUSDT,")


def test_a_configuration_without_a_common_coin_or_with_unknown_markets_is_refused() -> None:
    with pytest.raises(Unfit, match="no coin is traded at both venues"):
        pair_of(with_symbols(upbit=("KRW-ADA",)))
    with pytest.raises(Unfit, match="cannot be taken apart"):
        scenario_of(with_symbols(binance=("XRPJPY",)))
    settings = own()
    renamed = msgspec.structs.replace(settings, venues={"upbit": settings.venues["upbit"], "other": settings.venues["binance"]})
    with pytest.raises(Unfit, match="venues named binance and upbit"):
        pair_of(renamed)


def test_facts_are_put_into_words() -> None:
    fill = Fill(Venue("binance"), 0, ORDER.client_order_id, "7", Side.BUY, 100 * E8, E8, 100 * E8, 0, Asset("BTC"))
    choices = (PricedChoice(LegChoice.HOLD, E8, "", None), PricedChoice(LegChoice.REVERSE, None, "no price", None))
    told = [
        fact_text(fact, MARKETS)
        for fact in (
            OrderIntended(1, ORDER),
            OrderChanged(1, ORDER.client_order_id, OrderState.UNKNOWN, 0, "no acknowledgement"),
            FillBooked(1, fill),
            LegDecided(1, PlanId("a-1"), LegChoice.HOLD, choices),
            KillSwitched(1, is_on=True, actor="me", reason="why"),
            PairSwitched(1, "BTC", is_off=True, actor="me", reason="why"),
            Paused(1, is_on=True, actor="me", reason="why"),
        )
    ]
    assert told == [
        "sends buy 1 BTCUSDT at binance to 100",
        "order a-1-0 is unknown (no acknowledgement)",
        "books a fill of a-1-0: buy 1 at 100",
        "a leg is naked: chooses to hold (hold costs 1, reverse not possible)",
        "kill switch on: why",
        "pair BTC off: why",
        "",
    ]


@pytest.mark.parametrize(("passed", "words"), [(True, "held: all well"), (False, "because: all well")])
def test_a_result_is_laid_out_with_its_verdict_timeline_and_risk(*, passed: bool, words: str) -> None:
    risk = Risk("USDT", "2000", 0.5, "0.2")
    text = result_text(
        Result("gap", "A story.", passed, "all well", 3.2, risk, (Line(0.5, "drill", "does it"),), ("a: 1 for 2",))
    )
    assert text.startswith(("PASSED" if passed else "FAILED") + "  gap (3.2 s)") and words in text
    assert "0.500 s  drill   does it" in text and "shortened: a: 1 for 2" in text
    assert "at most 2000 USDT unhedged, more than dust for 0.5 s; at the end 0.2" in text
