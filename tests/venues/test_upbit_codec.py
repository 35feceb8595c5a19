"""Upbit's frames and answers: long and short keys, lists, exponents, padding, and what is refused."""

from __future__ import annotations

import json

import pytest

from arbitrage.model.events import (
    BookFull,
    FaultKind,
    FeedEvent,
    FeedFault,
    InstrumentsRead,
    LinkAlive,
    TradePrint,
)
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, parse_e8
from arbitrage.model.settings import FeeSettings, VenueSettings
from arbitrage.venues.upbit.codec import LISTED_MESSAGES_MAX, UpbitCodec
from arbitrage.venues.upbit.rules import TICK_TABLES
from arbitrage.venues.wire import SURVEY_MASK

VENUE = Venue("upbit")
SYMBOLS = ("KRW-BTC", "KRW-USDT", "BTC-ETH", "USDT-ADA", "SGD-BTC")
SETTINGS = VenueSettings(
    kind="upbit",
    rest_url="https://rest.test",
    stream_url="wss://stream.test",
    symbols=SYMBOLS,
    fees=FeeSettings(500, 500, "quote"),
    quote_fees={"BTC": FeeSettings(2500, 2500, "quote")},
    book_levels=15,
)
CODEC = UpbitCodec(VENUE, {symbol: 10 + position for position, symbol in enumerate(SYMBOLS)}, SETTINGS)
BOOK = {
    "type": "orderbook", "code": "KRW-BTC", "timestamp": 1795150613204, "total_ask_size": 4.79158413,
    "total_bid_size": 2.65609625, "orderbook_units": [
        {"ask_price": 148602000, "bid_price": 148601000, "ask_size": 0.10623869, "bid_size": 0.03656812},
        {"ask_price": 148603000.0, "bid_price": 0, "ask_size": 1e-08, "bid_size": 0}],
    "stream_type": "REALTIME", "level": 0,
}  # fmt: skip
TRADE = {
    "type": "trade", "code": "KRW-BTC", "timestamp": 1795150613210, "trade_date": "2026-11-20", "trade_time": "04:56:53",
    "trade_timestamp": 1795150613180, "trade_price": 148602000, "trade_volume": 0.00135, "ask_bid": "BID",
    "prev_closing_price": 148000000, "change": "RISE", "sequential_id": 17951506131800000, "best_ask_price": 148602000,
    "best_ask_size": 0.1, "best_bid_price": 148601000, "best_bid_size": 0.03, "stream_type": "REALTIME",
}  # fmt: skip
SHORT = {
    "type": "ty", "code": "cd", "timestamp": "tms", "total_ask_size": "tas", "total_bid_size": "tbs", "orderbook_units": "obu",
    "ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs", "stream_type": "st", "level": "lv",
    "trade_date": "td", "trade_time": "ttm", "trade_timestamp": "ttms", "trade_price": "tp", "trade_volume": "tv",
    "ask_bid": "ab", "prev_closing_price": "pcp", "change": "c", "sequential_id": "sid", "best_ask_price": "bap",
    "best_ask_size": "bas", "best_bid_price": "bbp", "best_bid_size": "bbs",
}  # fmt: skip


def simple(message: object) -> object:
    if isinstance(message, dict):
        return {SHORT[key]: simple(value) for key, value in message.items()}
    return [simple(item) for item in message] if isinstance(message, list) else message


def packed(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def only_fault(raw: bytes | str) -> FeedFault:
    (fault,) = CODEC.decode(raw, 7)
    assert isinstance(fault, FeedFault) and fault.at_ns == 7 and fault.venue == VENUE
    return fault


def only_book(raw: bytes | str) -> BookFull:
    (book,) = CODEC.decode(raw, 7)
    assert isinstance(book, BookFull)
    return book


def layouts(message: dict[str, object]) -> list[bytes | str | bytearray | memoryview]:
    backwards = dict(reversed(message.items()))
    texts: list[bytes] = []
    for one in (message, simple(message), backwards, simple(backwards)):
        texts += [packed(one), json.dumps(one, indent=1).encode(), packed([one])]
    return [*texts, texts[0].decode(), bytearray(texts[0]), memoryview(texts[3]), b"\n" + texts[2]]


def test_a_book_means_the_same_in_every_layout() -> None:
    for raw in layouts(BOOK):
        book = only_book(raw)
        assert (book.at_ns, book.market, book.venue_ms, book.is_snapshot) == (7, 10, 1795150613204, False)
        rows = [(unit.ask_price, unit.bid_price, unit.ask_size, unit.bid_size) for unit in book.units]
        assert rows == [(148602000.0, 148601000.0, 0.10623869, 0.03656812), (148603000.0, 0.0, 1e-08, 0.0)]


def test_a_trade_means_the_same_in_every_layout() -> None:
    expected = TradePrint(7, 10, 17951506131800000, 148602000.0, 0.00135, Side.BUY, 148601000.0, 148602000.0, 1795150613210)
    for raw in layouts(TRADE):
        assert list(CODEC.decode(raw, 7)) == [expected]


def test_a_trade_from_before_best_prices_rode_along_has_none() -> None:
    old = {key: value for key, value in TRADE.items() if not key.startswith("best_")} | {"ask_bid": "ASK"}
    (event,) = CODEC.decode(packed(simple(old)), 7)
    assert isinstance(event, TradePrint)
    assert (event.taker_side, event.best_bid, event.best_ask) == (Side.SELL, None, None)


def test_a_frame_of_the_old_format_without_level_and_type_of_stream_is_a_book() -> None:
    old = {key: value for key, value in BOOK.items() if key not in ("level", "stream_type")}
    assert only_book(packed(simple(old))).market == 10


def test_the_first_picture_is_told_as_a_snapshot() -> None:
    assert only_book(packed(BOOK | {"stream_type": "SNAPSHOT"})).is_snapshot


def test_a_code_may_carry_the_suffix_it_was_subscribed_with() -> None:
    assert only_book(packed(BOOK | {"code": "KRW-BTC.15"})).market == 10


def test_a_list_gives_all_its_messages_and_a_bad_one_spares_its_neighbours() -> None:
    events = CODEC.decode(packed([BOOK, {"type": "trade"}, simple(TRADE), [BOOK]]), 7)
    assert [type(event) for event in events] == [BookFull, FeedFault, TradePrint, FeedFault]


def test_a_list_is_bounded() -> None:
    assert only_fault(packed([{}] * (LISTED_MESSAGES_MAX + 1))).kind is FaultKind.OUT_OF_RANGE


def test_an_unknown_type_of_stream_is_a_book_and_is_counted() -> None:
    book, fault = CODEC.decode(packed(BOOK | {"stream_type": "DREAM"}), 7)
    assert isinstance(book, BookFull) and not book.is_snapshot
    assert isinstance(fault, FeedFault) and (fault.kind, fault.detail) == (FaultKind.UNKNOWN_FIELD_VALUE, "stream_type DREAM")


def test_an_unknown_side_is_no_trade() -> None:
    assert only_fault(packed(TRADE | {"ask_bid": "BOTH"})).kind is FaultKind.UNKNOWN_FIELD_VALUE


def test_grouped_prices_are_not_a_book_to_trade_on() -> None:
    fault = only_fault(packed(BOOK | {"level": 10000}))
    assert (fault.kind, fault.market) == (FaultKind.OUT_OF_RANGE, 10)


@pytest.mark.parametrize("message", [BOOK, TRADE])
def test_an_unknown_code_is_named(message: dict[str, object]) -> None:
    fault = only_fault(packed(message | {"code": "KRW-DOGE"}))
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_SYMBOL, "KRW-DOGE")


@pytest.mark.parametrize("make", [lambda message: message, simple], ids=["default", "simple"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"148602000", b"-148602000"),
        (b"148602000", b"1e300"),
        (b"148602000", b"1e999"),
        (b"148602000", b'"NaN"'),
        (b"148602000", b'"inf"'),
        (b"0.10623869", b"-0.1"),
        (b"0.10623869", b"1e19"),
        (b"1795150613204", b"-1"),
        (b"1795150613204", b"1795150613204000"),
    ],
)
def test_a_number_out_of_range_is_a_fault(make: object, old: bytes, new: bytes) -> None:
    assert only_fault(packed(make(BOOK)).replace(old, new, 1)).kind is FaultKind.OUT_OF_RANGE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PONG",
        b"null",
        b"5",
        b"[",
        b"[5]",
        b"[[]]",
        b"[" * 100_000,
        b'{"type":"orderbook"',
        packed(BOOK)[:-9],
        packed(BOOK).replace(b"148602000", b"null"),
        packed(BOOK).replace(b'"KRW-BTC"', b'"\xff"'),
        packed({"type": "orderbook"}),
        packed({"ty": "trade", "cd": "KRW-BTC"}),
        packed({"type": 5}),
        '{"type":"\udc80"}',
        b'{"type":"orderbook","x":' + b'{"a":' * 100_000,
    ],
)
def test_a_malformed_frame_is_a_fault(raw: bytes | str) -> None:
    assert only_fault(raw).kind is FaultKind.MALFORMED


@pytest.mark.parametrize(("raw", "detail"), [('{"type":"ticker","code":"KRW-BTC"}', "ticker"), ("{}", "no message type")])
def test_an_unknown_message_is_counted_by_name(raw: str, detail: str) -> None:
    fault = only_fault(raw)
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_EVENT, detail)


def test_a_status_line_is_life_of_its_connection() -> None:
    assert CODEC.decode(b'{"status":"UP"}', 7, "upbit-1") == (LinkAlive(7, VENUE, "upbit-1"),)
    alive, fault = CODEC.decode(b'{"status":"SLEEPY"}', 7)
    assert alive == LinkAlive(7, VENUE, "")
    assert isinstance(fault, FeedFault) and fault.kind is FaultKind.UNKNOWN_FIELD_VALUE


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ('{"error":{"name":"WRONG_FORMAT","message":"Format is wrong"}}', "WRONG_FORMAT: Format is wrong"),
        ('{"error":{"name":404,"message":"Code not found"}}', "404: Code not found"),
        ('{"error":{"name":"NO_CODES"}}', "NO_CODES: "),
    ],
)
def test_an_error_of_the_venue_is_told_with_its_words(raw: str, detail: str) -> None:
    fault = only_fault(raw)
    assert (fault.kind, fault.detail) == (FaultKind.VENUE_ERROR, detail)


@pytest.mark.parametrize("raw", ['{"method":"LIST_SUBSCRIPTIONS","result":[],"ticket":"x"}', '{"mthd":"LIST_SUBSCRIPTIONS"}'])
def test_the_list_of_subscriptions_is_nothing(raw: str) -> None:
    assert list(CODEC.decode(raw, 7)) == []


def test_the_subscription_is_one_message_with_the_whole_set_and_the_format_last() -> None:
    message = json.loads(CODEC.subscription("ticket-1"))
    assert message == [
        {"ticket": "ticket-1"},
        {"type": "orderbook", "codes": [f"{symbol}.15" for symbol in SYMBOLS], "level": 0},
        {"type": "trade", "codes": list(SYMBOLS)},
        {"format": "SIMPLE"},
    ]
    assert json.loads(CODEC.subscription("t", ["KRW-BTC"]))[2]["codes"] == ["KRW-BTC"]


LISTED = [{"market": code, "korean_name": "x", "market_event": {"warning": False}} for code in (*SYMBOLS, "KRW-DOGE")]


def stated(**ticks: object) -> list[dict[str, object]]:
    names = {"krw_btc": "KRW-BTC", "krw_usdt": "KRW-USDT", "btc_eth": "BTC-ETH", "usdt_ada": "USDT-ADA"}
    return [
        {"market": names[name], "quote_currency": names[name].split("-")[0], "tick_size": tick, "supported_levels": ["0"]}
        for name, tick in ticks.items()
    ]


def read_rules(listed: object, ticks: object) -> tuple[InstrumentsRead, list[FeedEvent]]:
    read, *faults = CODEC.decode_instruments(packed(listed), packed(ticks), 7)
    assert isinstance(read, InstrumentsRead)
    return read, faults


def test_markets_and_ticks_become_instruments() -> None:
    ticks = stated(krw_btc="1000", krw_usdt="0.5", btc_eth="0.00000001", usdt_ada=0.001)
    read, faults = read_rules(LISTED, ticks)
    btc, tether, ether, ada = read.instruments
    assert (btc.id, btc.base, btc.quote, btc.ticks, btc.tick_read_e8) == (10, "BTC", "KRW", TICK_TABLES["KRW"], 1000 * E8)
    assert (btc.lot_e8, btc.notional_e8_min, btc.status) == (1, 5_000 * E8, TradingStatus.TRADING)
    assert btc.fees == FeeSchedule(500, 500, FeePayment.QUOTE)
    assert tether.ticks == TickTable.single(E8 // 2), (
        "the stated tick is the authority where the printed table has no such tick"
    )
    assert (ether.base, ether.quote, ether.notional_e8_min, ether.fees.taker_ppm) == ("ETH", "BTC", 5_000, 2500)
    assert (ada.notional_e8_min, ada.ticks) == (E8 // 2, TICK_TABLES["USDT"])
    assert read.missing == ("SGD-BTC",) and [fault.kind for fault in faults] == [FaultKind.OUT_OF_RANGE]


def test_a_market_without_a_stated_tick_falls_back_to_the_printed_table() -> None:
    read, _ = read_rules(LISTED, [])
    assert [instrument.tick_read_e8 for instrument in read.instruments] == [0, 0, 0, 0]
    assert read.instruments[1].ticks == TICK_TABLES["KRW"]


def test_a_code_that_is_not_listed_is_missing() -> None:
    read, _ = read_rules(LISTED[:1], stated(krw_btc="1000", krw_usdt="1"))
    assert [instrument.symbol for instrument in read.instruments] == ["KRW-BTC"]
    assert read.missing == SYMBOLS[1:]


@pytest.mark.parametrize("tick", ["0", "-1", "x", "0.000000001", 0])
def test_a_tick_that_cannot_be_makes_the_code_missing(tick: object) -> None:
    read, faults = read_rules(LISTED, stated(krw_btc=tick))
    assert "KRW-BTC" in read.missing and FaultKind.OUT_OF_RANGE in [fault.kind for fault in faults]


def test_a_quote_currency_that_contradicts_the_code_makes_it_missing() -> None:
    read, _ = read_rules(LISTED, [{"market": "KRW-BTC", "quote_currency": "BTC", "tick_size": "1"}])
    assert "KRW-BTC" in read.missing


@pytest.mark.parametrize(
    ("listed", "ticks", "kind"),
    [
        (b"{", b"[]", FaultKind.MALFORMED),
        (b"[]", b"{", FaultKind.MALFORMED),
        (b'{"error":{"name":400,"message":"no"}}', b"[]", FaultKind.VENUE_ERROR),
        (b"[]", b'{"error":{"name":"x","message":"no"}}', FaultKind.VENUE_ERROR),
        (b"Too many API requests.", b"[]", FaultKind.MALFORMED),
    ],
)
def test_a_bad_answer_is_a_named_fault(listed: bytes, ticks: bytes, kind: FaultKind) -> None:
    (fault,) = CODEC.decode_instruments(listed, ticks, 7)
    assert isinstance(fault, FeedFault) and fault.kind is kind


@pytest.mark.parametrize(
    ("quote", "price", "tick"),
    [
        ("KRW", "148601000", "1000"), ("KRW", "1000000", "1000"), ("KRW", "999999", "500"), ("KRW", "500000", "500"),
        ("KRW", "499999", "100"), ("KRW", "100000", "100"), ("KRW", "99999", "50"), ("KRW", "50000", "50"),
        ("KRW", "49999", "10"), ("KRW", "10000", "10"), ("KRW", "9999", "5"), ("KRW", "5000", "5"), ("KRW", "4999", "1"),
        ("KRW", "1000", "1"), ("KRW", "100", "1"), ("KRW", "99.9", "0.1"), ("KRW", "10", "0.1"), ("KRW", "9.99", "0.01"),
        ("KRW", "1", "0.01"), ("KRW", "0.999", "0.001"), ("KRW", "0.01", "0.0001"), ("KRW", "0.001", "0.00001"),
        ("KRW", "0.0001", "0.000001"), ("KRW", "0.00001", "0.0000001"), ("KRW", "0.00000999", "0.00000001"),
        ("BTC", "0.05", "0.00000001"), ("USDT", "64000", "0.01"), ("USDT", "10", "0.01"), ("USDT", "9.999", "0.001"),
        ("USDT", "0.5", "0.0001"), ("USDT", "0.05", "0.00001"), ("USDT", "0.001", "0.000001"), ("USDT", "0.0001", "0.0000001"),
        ("USDT", "0.00009", "0.00000001"),
    ],
)  # fmt: skip
def test_printed_ticks_by_band(quote: str, price: str, tick: str) -> None:
    assert TICK_TABLES[quote].tick_e8_at(parse_e8(price)) == parse_e8(tick)


@pytest.mark.parametrize("message", [BOOK, TRADE, simple(BOOK), simple(TRADE), {"status": "UP"}])
def test_one_frame_of_some_thousand_is_looked_over_for_unknown_fields(message: dict[str, object]) -> None:
    assert len(CODEC.decode(packed(message), SURVEY_MASK + 1)) == 1, "documented fields are known"
    event, fault = CODEC.decode(packed(message | {"zz": [{"yy": 1}]}), SURVEY_MASK + 1)
    assert not isinstance(event, FeedFault) and isinstance(fault, FeedFault)
    assert (fault.kind, fault.detail) == (FaultKind.UNKNOWN_FIELD, "yy, zz")
    assert len(CODEC.decode(packed(message | {"zz": 1}), SURVEY_MASK)) == 1


def test_nesting_without_end_in_a_field_nobody_reads_is_no_reason_to_fail() -> None:
    raw = packed(BOOK)[:-1] + b',"zz":' + b"[" * 400 + b"]" * 400 + b"}"
    assert isinstance(CODEC.decode(raw, 0)[0], BookFull)
