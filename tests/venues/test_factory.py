"""Settings choose the session; the optional transport is not needed for the default one."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Literal
from urllib.parse import unquote

import pytest

from arbitrage.model.instruments import Venue
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.venues.binance.session import BinanceSession
from arbitrage.venues.factory import make_session, transport_named
from arbitrage.venues.session import Session, in_groups
from arbitrage.venues.transport import connect_websockets, is_loopback
from arbitrage.venues.upbit.session import UpbitSession
from arbitrage.venues.wiring import Wiring


def session(kind: Literal["binance", "upbit"], *symbols: str, **over: Any) -> Session:
    fees = FeeSettings(maker_ppm=0, taker_ppm=0, payment="quote")
    config = VenueSettings(
        kind=kind, rest_url="http://127.0.0.1:1", stream_url="ws://127.0.0.1:1/", symbols=symbols, fees=fees, **over
    )
    wiring = Wiring(sink=lambda events: None, clock=lambda: 0, rng=random.Random(1))
    return make_session(Venue(kind), config, {symbol: 10 + place for place, symbol in enumerate(symbols)}, wiring)


def test_the_kind_decides_not_the_name() -> None:
    assert type(session("binance", "BTCUSDT")) is BinanceSession
    assert type(session("upbit", "KRW-BTC")) is UpbitSession


def test_a_non_ascii_symbol_travels_percent_encoded() -> None:
    (plan,) = session("binance", "这是测试币456").plans()
    assert plan.url.isascii()
    assert "这是测试币456@depth@100ms" in unquote(plan.url)
    assert plan.symbols == {10: "这是测试币456"}


@pytest.mark.parametrize(("streams", "sizes"), [(200, [7]), (9, [3, 3, 1]), (1, [1] * 7), (100_000, [7])])
def test_no_connection_carries_more_streams_than_allowed(streams: int, sizes: list[int]) -> None:
    plans = session("binance", *"ABCDEFG", streams_per_connection_max=streams).plans()
    assert [len(plan.symbols) for plan in plans] == sizes


def test_a_thousand_symbols_respect_the_venue_limit_whatever_the_setting() -> None:
    plans = session("binance", *(f"S{number}" for number in range(1000)), streams_per_connection_max=100_000).plans()
    assert max(plan.url.count("@") - plan.url.count("@100ms") for plan in plans) <= 1024


def test_groups_keep_every_market_once() -> None:
    symbols = {number: str(number) for number in range(10)}
    groups = in_groups(symbols, 4)
    assert [len(group) for group in groups] == [4, 4, 2]
    assert {market: symbol for group in groups for market, symbol in group.items()} == symbols


def test_a_market_of_another_venue_cannot_be_resynced() -> None:
    with pytest.raises(AssertionError, match="belongs to this session"):
        session("binance", "BTCUSDT").resync(3)


def test_a_session_without_markets_ends_by_itself() -> None:
    idle = session("binance")
    asyncio.run(idle.run())
    assert idle.lanes == []


def test_the_default_transport_needs_no_extra() -> None:
    assert transport_named("websockets") is connect_websockets


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("ws://127.0.0.1:9/x", True),
        ("http://localhost", True),
        ("ws://[::1]:80", True),
        ("wss://stream.example:9443", False),
        ("https://127.evil.example", False),
    ],
)
def test_only_loopback_goes_round_the_proxy(url: str, is_ours: bool) -> None:
    assert is_loopback(url) is is_ours
