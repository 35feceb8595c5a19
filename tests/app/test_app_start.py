"""What a start prepares: inventory once, order ids of its own, a folder of its own, and a record without passwords."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.app.daemon import funding
from arbitrage.app.housekeeping import public_json
from arbitrage.app.starting import FolderHeld, duration, held, id_prefix
from arbitrage.execution.desk import ID_PREFIX
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.settings import PaperSettings, Settings, StoreSettings

INVENTORY = {"binance": {"USDT": "100", "BTC": "0.5", "BNB": "0"}, "upbit": {"KRW": "1000000"}}
NOW_NS = 1_800_000_000_000_000_000


def test_a_new_session_is_given_the_whole_inventory_and_nothing_of_nothing() -> None:
    settings = Settings(venues={}, paper=PaperSettings(inventory=INVENTORY))
    given_out = {(each.venue, each.asset): each.amount_e8 for each in funding(settings, (), NOW_NS)}
    assert given_out == {
        ("binance", "USDT"): 100 * E8,
        ("binance", "BTC"): E8 // 2,
        ("upbit", "KRW"): 1_000_000 * E8,
    }


def test_a_start_that_was_cut_short_is_completed_and_never_given_twice() -> None:
    settings = Settings(venues={}, paper=PaperSettings(inventory=INVENTORY))
    known = [Node(Venue("binance"), Asset("USDT")), Node(Venue("upbit"), Asset("KRW"))]
    assert [(each.venue, each.asset) for each in funding(settings, known, NOW_NS)] == [("binance", "BTC")]


@given(st.integers(10**18, 4 * 10**18), st.integers(1, 10**12))
def test_order_ids_of_a_later_start_are_new_and_sort_later(now_ns: int, milliseconds: int) -> None:
    first, second = id_prefix(now_ns), id_prefix(now_ns + milliseconds * 1_000_000)
    assert first < second or len(first) < len(second)
    assert ID_PREFIX.fullmatch(first) and len(second) <= 12


def test_one_daemon_at_a_time_holds_a_data_folder(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(FolderHeld, match="another daemon runs on this data folder"), held(tmp_path):
        raise AssertionError("not reached")
    with held(tmp_path):
        assert (tmp_path / "daemon.lock").exists()


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("1.5", 1.5), ("3600", 3600.0)])
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


def test_the_recorded_configuration_holds_no_password() -> None:
    store = StoreSettings(postgres_password="pass-one", redis_password="pass-two", postgres_host="db")
    body = public_json(Settings(venues={}, store=store))
    assert b"pass-" not in body
    assert msgspec.json.decode(body)["store"]["postgres_host"] == "db"
