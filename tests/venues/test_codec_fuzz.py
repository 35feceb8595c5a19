"""Any bytes give events or a named fault, and whatever comes out is finite, in range and safe to print."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.events import (
    BookDiff,
    BookFull,
    BookSnapshot,
    FeedEvent,
    FeedFault,
    InstrumentsRead,
    LinkAlive,
    TopOfBook,
    TradePrint,
)
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.venues.binance.codec import BinanceCodec
from arbitrage.venues.upbit.codec import UpbitCodec

FEES = FeeSettings(1000, 1000, "received")
BINANCE = BinanceCodec(
    Venue("binance"), {"BTCUSDT": 0}, VenueSettings("binance", "https://x.test", "wss://x.test", ("BTCUSDT",), FEES)
)
UPBIT = UpbitCodec(Venue("upbit"), {"KRW-BTC": 0}, VenueSettings("upbit", "https://x.test", "wss://x.test", ("KRW-BTC",), FEES))
SEEDS = [
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1785000000100,"s":"BTCUSDT","U":157,"u":160,'
    b'"b":[["64000.10","0"],["1e-8","1.5"]],"a":[["64000.20","1.5"]]}}',
    b'{"stream":"btcusdt@bookTicker","data":{"u":400900217,"s":"BTCUSDT","b":"64000.1","B":"0.431","a":"64000.2","A":"1.2"}}',
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":5,"p":"64000.20","q":"0.01","m":true}}',
    b'{"e":"trade","E":1785000000101,"s":"BTCUSDT","t":12345,"p":"64000.20","q":"0.01","T":1,"m":false,"M":true}',
    b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1785000000000}}',
    b'{"code":2,"msg":"Invalid request","id":1}',
    b'{"result":null,"id":1}',
    b'{"ty":"orderbook","cd":"KRW-BTC","tms":1795150613204,"obu":[{"ap":148602000,"bp":1.48e8,"as":1e-08,"bs":0.03}],"st":"REALTIME"}',
    b'{"type":"orderbook","code":"KRW-BTC","timestamp":1795150613204,"orderbook_units":[{"ask_price":2,"bid_price":1,'
    b'"ask_size":0.1,"bid_size":0}],"stream_type":"SNAPSHOT","level":0}',
    b'{"type":"trade","code":"KRW-BTC","timestamp":1,"trade_price":2,"trade_volume":0.1,"ask_bid":"BID","sequential_id":7}',
    b'[{"ty":"trade","cd":"KRW-BTC","tms":1,"tp":2,"tv":0.1,"ab":"ASK","sid":7,"bap":3,"bbp":2},{"status":"UP"}]',
    b'{"error":{"name":"WRONG_FORMAT","message":"no"}}',
    b'{"lastUpdateId":1027024,"bids":[["64000.1","0.431"]],"asks":[["64000.2","1.2"]]}',
    b'{"serverTime":1785000000000}',
    b'{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","permissionSets":[["SPOT"]],'
    b'"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.01"},{"filterType":"LOT_SIZE","minQty":"0","maxQty":"9","stepSize":"1"}]}]}',
    b'[{"market":"KRW-BTC","quote_currency":"KRW","tick_size":"1000"}]',
]
TOKENS = [
    b"NaN", b'"NaN"', b"Infinity", b'"inf"', b"-1", b"-0.0", b"1e999", b"1e-300", b"null", b"true", b"[]", b"{}", b'""',
    b"\xff",    b"\\ud800", b"9" * 40, b"0.1", b'"0x10"', b",", b":", b'"', b"[" * 2000, b'{"a":' * 2000,
]  # fmt: skip


def mutated(seed: bytes, cuts: Sequence[tuple[float, float, bytes]]) -> bytes:
    """Replace stretches of a frame: each cut is (place, length, what) with both as parts of the whole."""
    frame = seed
    for place, length, token in cuts:
        start = int(place * len(frame))
        frame = frame[:start] + token + frame[start + int(length * 20) :]
    return frame


CUTS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(TOKENS) | st.binary(max_size=4)), min_size=1, max_size=3
)
FRAMES = st.builds(mutated, st.sampled_from(SEEDS), CUTS)
KEYS = ["stream", "data", "e", "s", "u", "U", "b", "a", "E", "ty", "cd", "obu", "error", "code"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


def check_number(value: float, low: float = 0.0) -> None:
    assert math.isfinite(value) and low <= value <= 1e18


def check(event: FeedEvent) -> None:
    match event:
        case BookDiff() | BookSnapshot():
            assert event.last_id >= 0
            for price, quantity in [*event.bids, *event.asks]:
                check_number(price, 1e-8)
                check_number(quantity)
        case BookFull():
            for unit in event.units:
                for number in (unit.ask_price, unit.bid_price, unit.ask_size, unit.bid_size):
                    check_number(number)
        case TopOfBook():
            for number in (event.bid, event.ask, event.bid_quantity, event.ask_quantity):
                check_number(number)
        case TradePrint():
            check_number(event.price, 1e-8)
            check_number(event.quantity)
        case FeedFault():
            assert event.detail.isprintable() and len(event.detail) <= 160
        case InstrumentsRead():
            assert all(instrument.lot_e8 > 0 for instrument in event.instruments)
        case _:
            assert isinstance(event, LinkAlive)


def check_decoding_everywhere(raw: bytes | str) -> None:
    for codec in (BINANCE, UPBIT):
        for event in (*codec.decode(raw, 7), *codec.decode(raw, 0)):
            check(event)
    for event in (*BINANCE.decode_instruments(raw, 7), *UPBIT.decode_instruments(raw, raw, 7)):
        check(event)
    check(BINANCE.decode_snapshot(raw, 0, 7))
    assert isinstance(BINANCE.decode_time(raw, 7), int | FeedFault)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_understood_by_somebody(seed: bytes) -> None:
    check_decoding_everywhere(seed)
    answers = [
        *BINANCE.decode(seed, 7), *UPBIT.decode(seed, 7), BINANCE.decode_snapshot(seed, 0, 7),
        *BINANCE.decode_instruments(seed, 7), *UPBIT.decode_instruments(seed, seed, 7),
    ]  # fmt: skip
    understood = [event for event in answers if not isinstance(event, FeedFault) or "error" in event.kind.value]
    is_quiet = list(BINANCE.decode(seed, 7)) == [] or isinstance(BINANCE.decode_time(seed, 7), int)
    assert understood or is_quiet or b"Shutdown" in seed


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    check_decoding_everywhere(raw)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_lone_surrogates_included(raw: str) -> None:
    check_decoding_everywhere(raw)


@settings(max_examples=1500, deadline=None)
@given(FRAMES)
def test_mutated_frames(raw: bytes) -> None:
    check_decoding_everywhere(raw)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json(value: object) -> None:
    check_decoding_everywhere(json.dumps(value))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.dictionaries(st.text(min_size=3, max_size=8), JSON, max_size=3))
def test_unknown_fields_change_nothing(seed: bytes, more: dict[str, object]) -> None:
    message = json.loads(seed)
    if isinstance(message, list) or "data" not in message:
        return
    known = {*message["data"], "stream", "data", "error", "code", "result", "event"}
    message["data"] = {key: value for key, value in more.items() if key not in known} | message["data"]
    for codec in (BINANCE, UPBIT):
        before, after = list(codec.decode(seed, 7)), list(codec.decode(json.dumps(message), 7))
        assert before == after
