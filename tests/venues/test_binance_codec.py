"""Binance's frames and answers, in the layouts of the documentation and in ones it does not show."""

from __future__ import annotations

import json

import pytest

from arbitrage.model.events import (
    BookDiff,
    BookSnapshot,
    FaultKind,
    FeedFault,
    InstrumentsRead,
    TopOfBook,
    TradePrint,
)
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.venues.binance.codec import BinanceCodec, stream_names, stream_path
from arbitrage.venues.wire import QUANTITY_UNLIMITED_E8, SURVEY_MASK

VENUE = Venue("binance")
SETTINGS = VenueSettings(
    kind="binance",
    rest_url="https://rest.test",
    stream_url="wss://stream.test",
    symbols=("BTCUSDT", "这是测试币456", "ETHBTC"),
    fees=FeeSettings(1000, 1000, "received"),
    quote_fees={"BTC": FeeSettings(0, 750, "named", "BNB")},
)
CODEC = BinanceCodec(VENUE, {"BTCUSDT": 3, "这是测试币456": 4, "ETHBTC": 5}, SETTINGS)
DEPTH = (
    '{"e":"depthUpdate","E":1785000000100,"s":"BTCUSDT","U":157,"u":160,'
    '"b":[["64000.10000000","0.00000000"],["63999.99000000","2.5"]],"a":[["64000.20000000","1.50000000"]]}'
)
DIFF = BookDiff(7, 3, 157, 160, [(64000.1, 0.0), (63999.99, 2.5)], [(64000.2, 1.5)], 1785000000100)
TICKER = '{"u":400900217,"s":"BTCUSDT","b":"64000.10000000","B":"0.43100000","a":"64000.20000000","A":"1.20000000"}'
TOP = TopOfBook(7, 3, 400900217, 64000.1, 0.431, 64000.2, 1.2)
AGG = '{"e":"aggTrade","E":1785000000101,"s":"BTCUSDT","a":5933014,"p":"64000.20","q":"0.01","f":100,"l":105,"T":1,"m":true}'
TRADE = '{"e":"trade","E":1785000000101,"s":"BTCUSDT","t":12345,"p":"64000.20","q":"0.01","T":1785000000100,"m":false,"M":true}'
PRINTS = {
    AGG: TradePrint(7, 3, 5933014, 64000.2, 0.01, Side.SELL, None, None, 1785000000101),
    TRADE: TradePrint(7, 3, 12345, 64000.2, 0.01, Side.BUY, None, None, 1785000000101),
}


def wrap(stream: str, data: str) -> str:
    return f'{{"stream":"{stream}","data":{data}}}'


def only_fault(raw: bytes | str) -> FeedFault:
    (fault,) = CODEC.decode(raw, 7)
    assert isinstance(fault, FeedFault) and fault.at_ns == 7 and fault.venue == VENUE
    return fault


@pytest.mark.parametrize(
    ("stream", "data", "event"),
    [
        ("btcusdt@depth@100ms", DEPTH, DIFF),
        ("btcusdt@depth", DEPTH, DIFF),
        ("btcusdt@bookTicker", TICKER, TOP),
        ("btcusdt@aggTrade", AGG, PRINTS[AGG]),
        ("btcusdt@trade", TRADE, PRINTS[TRADE]),
    ],
)
def test_a_message_means_the_same_in_every_layout(stream: str, data: str, event: object) -> None:
    usual = wrap(stream, data)
    spaced = json.dumps(json.loads(usual), indent=1)
    turned = f'{{"data":{data},"stream":"{stream}"}}'
    backwards = wrap(stream, json.dumps(dict(reversed(json.loads(data).items()))))
    richer = wrap(stream, data[:-1] + ',"new":{"deep":[1,{}]},"x":null}')
    for text in (usual, spaced, turned, backwards, richer, data, wrap("renamed", data)):
        for raw in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode())):
            assert list(CODEC.decode(raw, 7)) == [event]


def test_numbers_may_come_bare_and_with_exponents() -> None:
    text = DEPTH.replace('"64000.10000000","0.00000000"', "6.40001e4,0").replace('"2.5"', '"25E-1"')
    assert CODEC.decode(wrap("btcusdt@depth@100ms", text), 7) == (DIFF,)


def test_a_symbol_of_letters_beyond_ascii_is_known() -> None:
    text = TICKER.replace("BTCUSDT", "这是测试币456")
    for raw in (wrap("这是测试币456@bookTicker", text), json.dumps(json.loads(wrap("这是测试币456@bookTicker", text)))):
        (event,) = CODEC.decode(raw.encode(), 7)
        assert isinstance(event, TopOfBook) and event.market == 4


def test_an_empty_side_of_a_ticker_is_zero() -> None:
    (event,) = CODEC.decode(TICKER.replace("64000.10000000", "0.00000000").replace("0.43100000", "0.00000000"), 7)
    assert isinstance(event, TopOfBook) and (event.bid, event.bid_quantity) == (0.0, 0.0)


def test_the_symbol_inside_wins_over_the_name_of_the_stream() -> None:
    for stream, data in (
        ("ethbtc@depth@100ms", DEPTH),
        ("ethbtc@bookTicker", TICKER),
        ("ethbtc@aggTrade", AGG),
        ("ethbtc@trade", TRADE),
    ):
        (event,) = CODEC.decode(wrap(stream, data), 7)
        assert not isinstance(event, FeedFault) and event.market == 3


@pytest.mark.parametrize("data", [DEPTH, TICKER, AGG, TRADE])
def test_an_unknown_symbol_is_named(data: str) -> None:
    fault = only_fault(wrap("dogeusdt@x", data.replace("BTCUSDT", "DOGEUSDT")))
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_SYMBOL, "DOGEUSDT")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"64000.20000000"', '"-1"'),
        ('"64000.20000000"', '"0"'),
        ('"64000.20000000"', '"NaN"'),
        ('"64000.20000000"', '"Infinity"'),
        ('"64000.20000000"', '"1e300"'),
        ('"64000.20000000"', "1e400"),
        ('"64000.20000000"', '"1e-9"'),
        ('"1.50000000"', '"-0.1"'),
        ('"1.50000000"', '"nan"'),
        ('"1.50000000"', '"1e19"'),
        ('"U":157', '"U":-1'),
        ('"U":157', '"U":161'),
        ('"u":160', '"u":9999999999999999999999'),
        ('"E":1785000000100', '"E":1785000000100000'),
    ],
)
def test_a_number_out_of_range_is_a_fault_of_its_market(old: str, new: str) -> None:
    fault = only_fault(wrap("btcusdt@depth@100ms", DEPTH.replace(old, new)))
    assert (fault.kind, fault.market) == (FaultKind.OUT_OF_RANGE, 3), fault


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"stream":"btcusdt@depth@100ms","data":',
        b'{"stream":"btcusdt@depth@100ms","data":[]}',
        wrap("btcusdt@depth@100ms", DEPTH[:-9]).encode(),
        wrap("btcusdt@depth@100ms", DEPTH.replace('"u":160', '"u":"x"')).encode(),
        wrap("btcusdt@depth@100ms", DEPTH.replace('["64000.20000000","1.50000000"]', '["64000.20000000"]')).encode(),
        wrap("btcusdt@depth@100ms", DEPTH.replace('"s":"BTCUSDT",', "")).encode(),
        wrap("btcusdt@bookTicker", TICKER.replace('"A":"1.20000000"', '"A":true')).encode(),
        wrap("btcusdt@bookTicker", TICKER).encode() + b"x",
        b'{"a":' * 100_000,
        b'{"stream":"btcusdt@depth@100ms","data":' + b"[" * 100_000,
        b'{"e":"trade","s":"\xff\xff"}',
        '{"e":"\udc80"}',
        b'{"e":5}',
    ],
)
def test_a_malformed_frame_is_a_fault(raw: bytes | str) -> None:
    assert only_fault(raw).kind is FaultKind.MALFORMED


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (wrap("btcusdt@kline_1m", '{"e":"kline","E":1,"s":"BTCUSDT","k":{}}'), "kline"),
        (wrap("btcusdt@depth20", '{"lastUpdateId":160,"bids":[],"asks":[]}'), "no event name"),
        ("{}", "no event name"),
    ],
)
def test_an_unknown_event_is_counted_by_name(raw: str, detail: str) -> None:
    fault = only_fault(raw)
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_EVENT, detail)


def test_what_goes_to_a_log_is_short_and_printable() -> None:
    fault = only_fault(json.dumps({"e": "\x1b[2J\n" + "x" * 1000}))
    assert fault.detail.isprintable() and len(fault.detail) <= 160


@pytest.mark.parametrize(
    "raw",
    [
        '{"e":"serverShutdown","E":1785000000000}',
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1785000000000}}',
        '{"event":{"e":"serverShutdown","E":1785000000000}}',
    ],
)
def test_a_server_shutdown_is_told_in_all_three_shapes(raw: str) -> None:
    assert only_fault(raw).kind is FaultKind.SERVER_SHUTDOWN


@pytest.mark.parametrize("raw", ['{"result":null,"id":1}', '{"id":"x","result":["btcusdt@depth"]}'])
def test_answers_to_our_own_requests_are_nothing(raw: str) -> None:
    assert list(CODEC.decode(raw, 7)) == []


@pytest.mark.parametrize(
    "raw", ['{"code":2,"msg":"Invalid request: x","id":1}', '{"error":{"code":2,"msg":"Invalid request: x"},"id":1}']
)
def test_an_error_of_the_venue_is_told_with_its_words(raw: str) -> None:
    fault = only_fault(raw)
    assert (fault.kind, fault.detail) == (FaultKind.VENUE_ERROR, "2: Invalid request: x")


def test_a_snapshot_is_read_and_a_side_cut_short_by_the_market_is_whole() -> None:
    asks = [[f"{64001 + i}", "1"] for i in range(1000)]
    raw = json.dumps({"lastUpdateId": 1027024, "bids": [["64000.1", "0.431"]], "asks": asks})
    shot = CODEC.decode_snapshot(raw, 3, 7)
    assert isinstance(shot, BookSnapshot)
    assert (shot.market, shot.last_id, shot.bids, len(shot.asks)) == (3, 1027024, [(64000.1, 0.431)], 1000)
    assert (shot.is_bid_side_whole, shot.is_ask_side_whole) == (True, False)


def test_a_side_of_exactly_a_documented_limit_may_have_been_cut() -> None:
    raw = json.dumps({"lastUpdateId": 1, "bids": [[f"{i + 1}", "1"] for i in range(500)], "asks": []})
    shot = CODEC.decode_snapshot(raw, 3, 7)
    assert isinstance(shot, BookSnapshot) and (shot.is_bid_side_whole, shot.is_ask_side_whole) == (False, True)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ('{"code":-1121,"msg":"Invalid symbol."}', FaultKind.VENUE_ERROR),
        ("<html>503</html>", FaultKind.MALFORMED),
        ("", FaultKind.MALFORMED),
        ('{"lastUpdateId":1,"bids":[["-1","1"]],"asks":[]}', FaultKind.OUT_OF_RANGE),
    ],
)
def test_a_bad_answer_is_a_named_fault(raw: str, kind: FaultKind) -> None:
    shot = CODEC.decode_snapshot(raw, 3, 7)
    assert isinstance(shot, FeedFault) and (shot.kind, shot.market) == (kind, 3)


def test_the_clock_of_the_venue_is_read() -> None:
    assert CODEC.decode_time('{"serverTime":1785000000000}', 7) == 1785000000000
    fault = CODEC.decode_time("busy", 7)
    assert isinstance(fault, FeedFault) and fault.kind is FaultKind.MALFORMED


FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "107.37000000", "stepSize": "0.00000000"},
    {"filterType": "ICEBERG_PARTS", "limit": 100},
    {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "maxNotional": "9000000.0"},
    {"filterType": "MADE_UP_TOMORROW", "tickSize": "7"},
]


def exchange_info(**changes: object) -> str:
    symbol = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "filters": FILTERS,
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN", "TRD_GRP_004"]],
    }
    other = {"symbol": "GALAEUR", "status": "NEW_WORD", "baseAsset": "GALA", "quoteAsset": "EUR", "filters": []}
    return json.dumps({"timezone": "UTC", "symbols": [symbol | changes, other]})


def read_rules(**changes: object) -> tuple[InstrumentsRead, list[FeedFault]]:
    read, *faults = CODEC.decode_instruments(exchange_info(**changes), 7)
    assert isinstance(read, InstrumentsRead)
    return read, [fault for fault in faults if isinstance(fault, FeedFault)]


def test_exchange_info_becomes_instruments_and_the_unlisted_are_named() -> None:
    read, faults = read_rules()
    (instrument,) = read.instruments
    assert faults == [] and read.missing == ("这是测试币456", "ETHBTC")
    assert (instrument.id, instrument.symbol, instrument.base, instrument.quote) == (3, "BTCUSDT", "BTC", "USDT")
    assert instrument.ticks == TickTable.single(E8 // 100)
    assert (instrument.lot_e8, instrument.quantity_e8_min, instrument.quantity_e8_max) == (1_000, 1_000, 9_000 * E8)
    assert (instrument.notional_e8_min, instrument.status) == (5 * E8, TradingStatus.TRADING)
    assert instrument.fees == FeeSchedule(1000, 1000, FeePayment.RECEIVED)


def test_base_and_quote_come_from_their_fields_and_fees_from_the_quote() -> None:
    read, _ = read_rules(symbol="ETHBTC", baseAsset="ETHB", quoteAsset="BTC")
    (instrument,) = read.instruments
    assert (instrument.id, instrument.base, instrument.quote) == (5, "ETHB", "BTC")
    assert instrument.fees == FeeSchedule(0, 750, FeePayment.NAMED, "BNB")


def test_the_old_minimum_filter_counts_and_zero_means_off() -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.00000000"},
        {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "0.00000000", "stepSize": "0.00000000"},
        {"filterType": "MIN_NOTIONAL", "minNotional": "10.0"},
    ]
    (instrument,) = read_rules(filters=filters)[0].instruments
    assert (instrument.ticks, instrument.lot_e8) == (TickTable.single(1), 1)
    assert (instrument.quantity_e8_max, instrument.notional_e8_min) == (QUANTITY_UNLIMITED_E8, 10 * E8)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "TRADING"}, TradingStatus.TRADING),
        ({"status": "CANCEL_ONLY"}, TradingStatus.CANCEL_ONLY),
        ({"status": "BREAK"}, TradingStatus.HALTED),
        ({"status": "HALT"}, TradingStatus.HALTED),
        ({"status": "END_OF_DAY"}, TradingStatus.HALTED),
        ({"isSpotTradingAllowed": False}, TradingStatus.HALTED),
        ({"permissionSets": [["SPOT"], ["TRD_GRP_1"]]}, TradingStatus.HALTED),
        ({"permissionSets": [["MARGIN", "SPOT"], ["SPOT", "TRD_GRP_1"]]}, TradingStatus.TRADING),
        ({"permissionSets": [], "permissions": ["SPOT", "MARGIN"]}, TradingStatus.TRADING),
        ({"permissionSets": [], "permissions": ["LEVERAGED"]}, TradingStatus.HALTED),
        ({"permissionSets": [], "permissions": []}, TradingStatus.TRADING),
        ({"orderTypes": ["MARKET"]}, TradingStatus.HALTED),
        ({"orderTypes": []}, TradingStatus.TRADING),
    ],
)
def test_only_a_symbol_that_takes_plain_spot_limit_orders_trades(changes: dict[str, object], status: TradingStatus) -> None:
    read, faults = read_rules(**changes)
    assert read.instruments[0].status is status and faults == []


def test_an_unknown_status_halts_and_is_named() -> None:
    read, (fault,) = read_rules(status="DREAMING")
    assert read.instruments[0].status is TradingStatus.HALTED
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_FIELD_VALUE, "status DREAMING of BTCUSDT")


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": FILTERS[:1]},
        {"filters": FILTERS[1:]},
        {"filters": [FILTERS[0] | {"tickSize": "0.000000001"}, FILTERS[1]]},
        {"filters": [FILTERS[0] | {"tickSize": "-1"}, FILTERS[1]]},
        {"filters": [FILTERS[0] | {"tickSize": "one"}, FILTERS[1]]},
        {"filters": [FILTERS[0], FILTERS[1] | {"minQty": "9001"}]},
        {"baseAsset": "USDT"},
    ],
)
def test_rules_that_cannot_be_read_exactly_make_the_symbol_missing(changes: dict[str, object]) -> None:
    read, (fault,) = read_rules(**changes)
    assert read.instruments == () and "BTCUSDT" in read.missing
    assert (fault.kind, fault.market) == (FaultKind.OUT_OF_RANGE, 3)


@pytest.mark.parametrize("raw", ["", "<html>", "{}", '{"symbols":[{"symbol":5}]}'])
def test_a_bad_exchange_info_changes_nothing_and_is_named(raw: str) -> None:
    (fault,) = CODEC.decode_instruments(raw, 7)
    assert isinstance(fault, FeedFault) and fault.kind is FaultKind.MALFORMED


def test_stream_names_are_lower_case_and_the_path_is_a_combined_stream() -> None:
    assert stream_names("BTCUSDT") == ("btcusdt@depth@100ms", "btcusdt@bookTicker", "btcusdt@aggTrade")
    path = stream_path(["BTCUSDT", "ETHBTC"])
    assert path.startswith("/stream?streams=btcusdt@depth@100ms/") and path.count("/") == 6


def test_one_frame_of_some_thousand_is_looked_over_for_unknown_fields() -> None:
    richer = wrap("btcusdt@depth@100ms", DEPTH[:-1] + ',"zz":1,"deep":[{"yy":2}]}')
    event, fault = CODEC.decode(richer, SURVEY_MASK + 1)
    assert isinstance(event, BookDiff) and isinstance(fault, FeedFault)
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_FIELD, "deep, yy, zz")
    assert len(CODEC.decode(richer, SURVEY_MASK)) == 1
    assert len(CODEC.decode(wrap("btcusdt@bookTicker", TICKER), 0)) == 1, "documented fields are known"
