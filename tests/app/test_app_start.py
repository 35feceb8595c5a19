"""What a start prepares: inventory once, order ids of its own, a folder of its own, and a record without passwords."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.app.durations import duration
from arbitrage.app.housekeeping import public_json
from arbitrage.app.identity import id_prefix, session_tag
from arbitrage.app.modes import funding
from arbitrage.app.second import FolderHeld, held
from arbitrage.execution.desk import CLIENT_ORDER_ID, ID_PREFIX
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


def test_where_the_venues_accounts_are_the_truth_nothing_is_given_out() -> None:
    settings = Settings(venues={}, mode="live", paper=PaperSettings(inventory=INVENTORY))
    assert funding(settings, (), NOW_NS) == []


def test_a_start_that_was_cut_short_is_completed_and_never_given_twice() -> None:
    settings = Settings(venues={}, paper=PaperSettings(inventory=INVENTORY))
    known = [Node(Venue("binance"), Asset("USDT")), Node(Venue("upbit"), Asset("KRW"))]
    assert [(each.venue, each.asset) for each in funding(settings, known, NOW_NS)] == [("binance", "BTC")]


@given(epoch=st.integers(1, 36**4 - 1), now_ns=st.integers(10**18, 4 * 10**18), later=st.integers(1, 1_000))
def test_order_ids_tell_the_session_and_the_start_and_fit_a_client_order_id(epoch: int, now_ns: int, later: int) -> None:
    first, second = id_prefix("production", "main", epoch, now_ns), id_prefix("production", "main", epoch + later, now_ns)
    assert first != second, "every start has a prefix of its own"
    tag = session_tag("production", "main") + "_"
    assert first.startswith(tag) and second.startswith(tag)
    assert ID_PREFIX.fullmatch(first) and CLIENT_ORDER_ID.fullmatch(f"{first}-9999999-12")


def test_a_lost_epoch_makes_no_order_id_anew() -> None:
    assert id_prefix("a", "b", 1, NOW_NS) != id_prefix("a", "b", 1, NOW_NS + 1_000_000)


def test_sessions_do_not_take_each_other_s_orders_for_their_own() -> None:
    tags = {session_tag(env, name) for env in ("production", "staging") for name in ("main", "second", "third")}
    assert len(tags) == 6 and all(len(tag) == 5 for tag in tags)


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
