import json
from collections.abc import Callable

import pytest
from sim_client import KeptPipe, get, upgrade

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.scenarios.changes import BookChanged, FramePlayed, Restarted, SnapshotRead, Traded
from arbitrage.sim.scenarios.synthetic import synthetic
from arbitrage.sim.scenarios.ticks import upbit_market
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.http import Request
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.server.upbit import UpbitServer
from arbitrage.sim.server.upbit_format import SHORT_KEYS
from arbitrage.sim.server.upbit_streams import UpbitSession

NOW_NS = 1_795_150_613_204_000_000
E8 = 100_000_000
SPECS = [upbit_market(code, origin="published") for code in ("KRW-BTC", "KRW-USDT", "USDT-LUNC")]


def make_server(now: Callable[[], float] = lambda: 0.0) -> UpbitServer:
    return UpbitServer(SPECS, lambda: NOW_NS, now)


def book(code: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> BookChanged:
    sides = [tuple((parse_e8(price), parse_e8(size)) for price, size in levels) for levels in (bids, asks)]
    return BookChanged(0, "upbit", code, sides[0], sides[1])


def filled_server() -> UpbitServer:
    server = make_server()
    rungs = range(40)
    bids = [(str(148_601_000 - 1000 * rung), "0.03656812") for rung in rungs]
    asks = [(str(148_602_000 + 1000 * rung), "0.10623869") for rung in rungs]
    server.apply(book("KRW-BTC", bids, asks))
    server.apply(book("USDT-LUNC", [("0.00003534", "153")], [("0.00003538", "89"), ("0.00003539", "1.5")]))
    return server


def connect(server: UpbitServer) -> tuple[KeptPipe, UpbitSession]:
    pipe = KeptPipe()
    session = server.accept(upgrade("/websocket/v1"), pipe)
    assert isinstance(session, UpbitSession)
    return pipe, session


def ask(session: UpbitSession, *parts: dict) -> None:
    session.on_message(json.dumps([{"ticket": "t"}, *parts]).encode())


def test_orderbook_answer_has_the_published_shape():
    response, body = get(filled_server(), "/v1/orderbook?markets=KRW-BTC&count=1")
    assert body == [
        {
            "market": "KRW-BTC", "timestamp": 1_795_150_613_204, "total_ask_size": 0.10623869, "total_bid_size": 0.03656812,
            "orderbook_units": [
                {"ask_price": 148602000, "bid_price": 148601000, "ask_size": 0.10623869, "bid_size": 0.03656812}
            ],
            "level": 0,
        }
    ]  # fmt: skip
    assert dict(response.headers)["Remaining-Req"] == "group=orderbook; min=1800; sec=9"


def test_orderbook_gives_thirty_levels_at_most_and_none_before_there_is_a_book():
    server = filled_server()
    assert len(get(server, "/v1/orderbook?markets=KRW-BTC&count=99")[1][0]["orderbook_units"]) == 30
    assert get(server, "/v1/orderbook?markets=KRW-USDT")[1] == []


def test_levels_group_won_prices_and_a_step_not_offered_gives_nothing():
    server = filled_server()
    units = get(server, "/v1/orderbook?markets=KRW-BTC&level=10000")[1][0]["orderbook_units"]
    assert [unit["ask_price"] for unit in units[:2]] == [148610000, 148620000]
    assert [unit["bid_price"] for unit in units[:2]] == [148600000, 148590000]
    assert units[0]["bid_size"] == pytest.approx(2 * 0.03656812)
    assert get(server, "/v1/orderbook?markets=KRW-BTC&level=123")[1] == []
    assert get(server, "/v1/orderbook?markets=USDT-LUNC&level=10")[1] == []


def test_instruments_tell_the_tick_of_the_present_band():
    server = filled_server()
    server.apply(book("KRW-USDT", [("1411", "5")], [("1411.5", "5")]))
    _, rows = get(server, "/v1/orderbook/instruments?markets=KRW-BTC,KRW-USDT,USDT-LUNC")
    assert rows[0] == {
        "market": "KRW-BTC", "quote_currency": "KRW", "tick_size": "1000",
        "supported_levels": ["0", "10000", "100000", "1000000"],
    }  # fmt: skip
    assert [row["tick_size"] for row in rows[1:]] == ["0.5", "0.00000001"]


def test_market_list_names_events_only_when_asked():
    server = filled_server()
    assert list(get(server, "/v1/market/all")[1][0]) == ["market", "korean_name", "english_name"]
    detailed = get(server, "/v1/market/all?is_details=true")[1][0]
    assert detailed["market"] == "KRW-BTC" and detailed["market_event"]["warning"] is False
    assert "GLOBAL_PRICE_DIFFERENCES" in detailed["market_event"]["caution"]


def test_ticker_follows_the_trades():
    server = filled_server()
    for price in ("148602000", "148601000"):
        server.apply(Traded(0, "upbit", "KRW-BTC", parse_e8(price), parse_e8("0.5"), Side.BUY))
    row = get(server, "/v1/ticker?markets=KRW-BTC")[1][0]
    assert (row["opening_price"], row["high_price"], row["low_price"]) == (148602000, 148602000, 148601000)
    assert (row["trade_price"], row["change"], row["signed_change_price"]) == (148601000, "FALL", -1000)
    assert row["acc_trade_volume_24h"] == 1 and row["acc_trade_price"] == 148601500.0
    assert row["trade_time_kst"] != row["trade_time"]
    assert [row["market"] for row in get(server, "/v1/ticker/all?quote_currencies=KRW")[1]] == ["KRW-BTC"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/orderbook?markets=KRW-NOPE", 404), ("/v1/orderbook", 400), ("/v1/orderbook?markets=KRW-BTC&count=x", 400),
        ("/v1/orderbook?markets=KRW-BTC&level=x", 400), ("/v1/nothing", 404),
    ],
)  # fmt: skip
def test_refusals_carry_their_status_as_an_integer_name(target, status):
    response, body = get(filled_server(), target)
    assert response.status == status == body["error"]["name"]


def test_the_eleventh_call_of_a_group_in_a_second_is_429_and_not_json():
    server = filled_server()
    left = [dict(get(server, "/v1/orderbook?markets=KRW-BTC")[0].headers)["Remaining-Req"][-1] for _ in range(10)]
    assert left == list("9876543210")
    response = server.respond(Request("GET", "/v1/orderbook?markets=KRW-BTC", {}, b""))
    assert response.status == 429 and not response.body.startswith(b"{")
    assert get(server, "/v1/market/all")[0].status == 200


def test_a_subscription_gives_a_binary_snapshot_and_then_the_stream():
    server = filled_server()
    pipe, session = connect(server)
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC.5"]}, {"type": "trade", "codes": ["KRW-BTC"]})
    server.apply(Traded(0, "upbit", "KRW-BTC", parse_e8("148602000"), parse_e8("0.00135"), Side.BUY))
    server.apply(book("KRW-BTC", [("148601000", "1")], []))
    assert all(pipe.binary)
    snapshot, trade, picture = pipe.take()
    assert list(snapshot) == [
        "type", "code", "timestamp", "total_ask_size", "total_bid_size", "orderbook_units", "stream_type", "level",
    ]  # fmt: skip
    assert snapshot["stream_type"] == "SNAPSHOT" and len(snapshot["orderbook_units"]) == 5
    assert list(trade) == [
        "type", "code", "timestamp", "trade_date", "trade_time", "trade_timestamp", "trade_price", "trade_volume", "ask_bid",
        "prev_closing_price", "change", "change_price", "sequential_id", "best_ask_price", "best_ask_size", "best_bid_price",
        "best_bid_size", "stream_type",
    ]  # fmt: skip
    assert (trade["trade_price"], trade["ask_bid"], trade["stream_type"]) == (148602000, "BID", "REALTIME")
    assert (trade["best_ask_price"], trade["best_bid_price"]) == (148602000, 148601000)
    assert picture["orderbook_units"][0]["bid_size"] == 1 and picture["stream_type"] == "REALTIME"


@pytest.mark.parametrize(
    ("suffix", "units"), [(".1", 1), (".5", 5), (".15", 15), (".30", 30), ("", 30), (".7", 30), (".x", 30)]
)
def test_the_suffix_chooses_the_levels(suffix, units):
    pipe, session = connect(filled_server())
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC" + suffix]})
    assert len(pipe.take()[0]["orderbook_units"]) == units


def test_a_shorter_side_is_padded_with_zeros():
    pipe, session = connect(filled_server())
    ask(session, {"type": "orderbook", "codes": ["USDT-LUNC"]})
    assert pipe.take()[0]["orderbook_units"][1] == {"ask_price": 3.539e-05, "bid_price": 0, "ask_size": 1.5, "bid_size": 0}


def test_small_prices_are_written_with_an_exponent():
    pipe, session = connect(filled_server())
    ask(session, {"type": "orderbook", "codes": ["USDT-LUNC.1"]})
    assert b'"ask_price":3.538e-05' in pipe.sent[0]


def test_each_request_replaces_all_earlier_subscriptions():
    server = filled_server()
    pipe, session = connect(server)
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC", "USDT-LUNC"]})
    ask(session, {"type": "trade", "codes": ["KRW-BTC"]})
    pipe.take()
    server.apply(book("KRW-BTC", [("148601000", "1")], []))
    server.apply(book("USDT-LUNC", [("0.00003534", "1")], []))
    assert pipe.take() == []
    server.apply(Traded(0, "upbit", "KRW-BTC", parse_e8("148602000"), 1000, Side.SELL))
    assert [message["type"] for message in pipe.take()] == ["trade"]


def test_a_refused_request_leaves_the_earlier_subscription():
    server = filled_server()
    pipe, session = connect(server)
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC.1"]})
    ask(session, {"type": "orderbook"})
    pipe.take()
    server.apply(book("KRW-BTC", [("148601000", "1")], []))
    assert len(pipe.take()) == 1


def test_only_snapshot_ends_and_only_realtime_begins_without_one():
    server = filled_server()
    pipe, session = connect(server)
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC.1"], "is_only_snapshot": True})
    server.apply(book("KRW-BTC", [("148601000", "1")], []))
    assert [message["stream_type"] for message in pipe.take()] == ["SNAPSHOT"]
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC.1"], "is_only_realtime": True})
    server.apply(book("KRW-BTC", [("148601000", "2")], []))
    assert [message["stream_type"] for message in pipe.take()] == ["REALTIME"]


def test_a_misspelt_code_is_silence():
    pipe, session = connect(filled_server())
    ask(session, {"type": "orderbook", "codes": ["KRW-BTV"]})
    assert pipe.sent == []


@pytest.mark.parametrize("form", ["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"])
@pytest.mark.parametrize("kind", ["orderbook", "trade", "ticker"])
def test_every_format_says_the_same(kind, form):
    server = filled_server()
    server.apply(Traded(0, "upbit", "KRW-BTC", parse_e8("148602000"), 1000, Side.SELL))
    messages = []
    for wanted in ("DEFAULT", form):
        pipe, session = connect(server)
        ask(session, {"type": kind, "codes": ["KRW-BTC.1"]}, {"format": wanted})
        messages.append(pipe.take()[0])
    plain, other = messages
    if form.endswith("LIST"):
        assert isinstance(other, list) and len(other) == 1
        other = other[0]
    if form.startswith("SIMPLE"):
        long_keys = {short: long for long, short in SHORT_KEYS[kind].items()}
        assert not set(other) & (set(plain) - set(SHORT_KEYS[kind].values()))
        other = {long_keys[key]: value for key, value in other.items()}
        if kind == "orderbook":
            other["orderbook_units"] = [{long_keys[k]: v for k, v in unit.items()} for unit in other["orderbook_units"]]
    assert other == plain


def test_the_format_holds_for_the_connection():
    server = filled_server()
    pipe, session = connect(server)
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC.1"]}, {"format": "SIMPLE"})
    ask(session, {"type": "orderbook", "codes": ["KRW-BTC.1"]})
    assert [message["ty"] for message in pipe.take()] == ["orderbook", "orderbook"]


def test_subscriptions_are_listed_in_both_key_lengths():
    pipe, session = connect(filled_server())
    ask(session, {"type": "ticker", "codes": ["KRW-USDT"]}, {"type": "orderbook", "codes": ["KRW-USDT.15"]})
    pipe.take()
    session.on_message(b'[{"ticket":"x"},{"method":"LIST_SUBSCRIPTIONS"}]')
    assert pipe.take()[0] == {
        "method": "LIST_SUBSCRIPTIONS",
        "result": [{"type": "ticker", "codes": ["KRW-USDT"]}, {"type": "orderbook", "codes": ["KRW-USDT.15"], "level": 0}],
        "ticket": "x",
    }
    session.on_message(b'[{"ticket":"x"},{"method":"LIST_SUBSCRIPTIONS"},{"format":"SIMPLE"}]')
    assert list(pipe.take()[0]) == ["mthd", "rslt", "tckt"]


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b"nonsense", "WRONG_FORMAT"), (b"{}", "WRONG_FORMAT"), (b"[1]", "WRONG_FORMAT"), (b"[]", "NO_TICKET"),
        (b'[{"type":"trade","codes":["KRW-BTC"]}]', "NO_TICKET"), (b'[{"ticket":"x"}]', "NO_TYPE"),
        (b'[{"ticket":"x"},{"type":"trade"}]', "NO_CODES"), (b'[{"ticket":"x"},{"type":"trade","codes":[]}]', "NO_CODES"),
        (b'[{"ticket":"x"},{"type":"myth","codes":["KRW-BTC"]}]', "WRONG_FORMAT"),
        (b'[{"ticket":"x"},{"type":"trade","codes":["KRW-BTC"]},{"format":"XML"}]', "WRONG_FORMAT"),
        (b'[{"ticket":"x"},{"type":"orderbook","codes":["KRW-BTC"],"level":"deep"}]', "INVALID_PARAM"),
    ],
)  # fmt: skip
def test_error_frames_are_named(payload, name):
    pipe, session = connect(filled_server())
    session.on_message(payload)
    assert pipe.binary == [True]
    assert pipe.take()[0]["error"]["name"] == name


def test_ping_brings_status_lines_every_ten_seconds():
    moments = [100.0]
    pipe, session = connect(make_server(lambda: moments[0]))
    for moment in (100.0, 109.0, 110.0, 115.0, 120.0):
        moments[0] = moment
        if moment == 100.0:
            session.on_message(b"PING")
        session.on_second()
    assert pipe.take() == [{"status": "UP"}] * 3


def test_more_than_five_connections_a_second_are_refused():
    moments = [0.0]
    server = make_server(lambda: moments[0])
    for _ in range(5):
        connect(server)
    assert server.accept(upgrade("/websocket/v1"), KeptPipe()).status == 429
    moments[0] = 1.0
    connect(server)
    assert server.accept(upgrade("/websocket/v2"), KeptPipe()).status == 404


def test_recorded_bytes_go_out_unchanged_to_simple_listeners_and_translated_to_others():
    server = make_server()
    raw = (
        '{"ty":"orderbook","cd":"KRW-BTC","tms":1617646620673,"tas":0.10,"tbs":2.0,'
        '"obu":[{"ap":41.0,"bp":40.0,"as":0.10,"bs":2.0},{"ap":42.0,"bp":0.0,"as":1e-8,"bs":0.0}],"st":"REALTIME"}'
    )
    simple, one = connect(server)
    plain, two = connect(server)
    ask(one, {"type": "orderbook", "codes": ["KRW-BTC.15"]}, {"format": "SIMPLE"})
    ask(two, {"type": "orderbook", "codes": ["KRW-BTC.1"]})
    server.apply(FramePlayed(0, "upbit", "KRW-BTC", "orderbook", raw))
    assert simple.sent == [raw.encode()]
    message = plain.take()[0]
    assert message["orderbook_units"] == [{"ask_price": 41, "bid_price": 40, "ask_size": 0.1, "bid_size": 2}]
    assert message["timestamp"] == 1617646620673
    assert server.markets["KRW-BTC"].book.asks.levels() == [(41 * E8, E8 // 10), (42 * E8, 1)]


def test_a_restart_empties_the_book_and_closes_whoever_watches_it():
    server = filled_server()
    watching, one = connect(server)
    other, two = connect(server)
    ask(one, {"type": "orderbook", "codes": ["KRW-BTC"]})
    ask(two, {"type": "orderbook", "codes": ["USDT-LUNC"]})
    server.apply(Restarted(0, "upbit", ("KRW-BTC",)))
    assert (watching.closed, other.closed) == ([1001], [])
    assert get(server, "/v1/orderbook?markets=KRW-BTC")[1] == []


def test_a_snapshot_of_a_diff_book_is_not_for_upbit():
    with pytest.raises(ValueError, match="no diff book"):
        filled_server().apply(SnapshotRead(0, "upbit", "KRW-BTC", "{}"))


def test_pictures_of_half_a_minute_equal_the_truth_level_by_level():
    scenario = synthetic(5)
    server = UpbitServer(scenario.markets, lambda: NOW_NS, lambda: 0.0)
    stages = {"binance": BinanceServer(scenario.markets, lambda: NOW_NS), "upbit": server}
    timeline = Timeline(scenario.changes(), stages)
    pipe, session = connect(server)
    ask(session, {"type": "orderbook", "codes": list(server.markets)})
    compared = 0
    for at_ms in range(0, 30_000, 50):
        timeline.advance(at_ms * 1_000_000)
        latest = {message["code"]: message for message in pipe.take()}
        for code, message in latest.items():
            truth = server.markets[code].book
            units = message["orderbook_units"]
            for side, price, size in ((truth.asks, "ask_price", "ask_size"), (truth.bids, "bid_price", "bid_size")):
                shown = [(round(unit[price] * E8), round(unit[size] * E8)) for unit in units]
                assert shown == side.levels(30)
            compared += 1
    assert compared > 500


def test_trades_are_told_newest_first_and_by_cursor():
    server = filled_server()
    for price, side in ((148_602_000, Side.BUY), (148_601_000, Side.SELL), (148_602_000, Side.BUY)):
        server.apply(Traded(0, "upbit", "KRW-BTC", price * E8, E8 // 100, side))
    response, rows = get(server, "/v1/trades/ticks?market=KRW-BTC&count=2")
    assert dict(response.headers)["Remaining-Req"].startswith("group=trade")
    assert [(row["trade_price"], row["ask_bid"], row["change_price"]) for row in rows] == [
        (148602000, "BID", 0), (148601000, "ASK", -1000),
    ]  # fmt: skip
    assert (rows[0]["trade_date_utc"], rows[0]["trade_time_utc"]) == ("2026-11-20", "04:56:53")
    _, earlier = get(server, f"/v1/trades/ticks?market=KRW-BTC&count=9&cursor={rows[0]['sequential_id']}")
    assert earlier[0] == rows[1] and len(earlier) == 2
    assert len(get(server, "/v1/trades/ticks?market=KRW-BTC")[1]) == 1


@pytest.mark.parametrize(("query", "status"), [("", 400), ("?market=KRW-NO", 404), ("?market=KRW-BTC&count=0", 400)])
def test_trades_of_no_market_are_refused(query, status):
    assert get(filled_server(), f"/v1/trades/ticks{query}")[1]["error"]["name"] == status
