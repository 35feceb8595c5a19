import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import DiffBook, KeptPipe, get, upgrade

from arbitrage.model.instruments import Side
from arbitrage.sim.scenarios.changes import BookChanged, Restarted, Traded
from arbitrage.sim.scenarios.scenario import Scenario
from arbitrage.sim.scenarios.synthetic import synthetic
from arbitrage.sim.scenarios.ticks import binance_market
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.http import Request
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.server.upbit import UpbitServer

NOW_NS = 1_785_000_000_000_000_000
SPEC = binance_market("BTC/USDT", tick="0.01", lot="0.00001", origin="published")
OTHER = binance_market("ETH/BTC", tick="0.00001", lot="0.0001", notional_min="0.0001", origin="published")


def make_server() -> BinanceServer:
    return BinanceServer([SPEC, OTHER], lambda: NOW_NS)


def change(bids=(), asks=(), symbol="BTCUSDT") -> BookChanged:
    return BookChanged(0, "binance", symbol, tuple(bids), tuple(asks))


def connect(server: BinanceServer, target: str) -> tuple[KeptPipe, object]:
    pipe = KeptPipe()
    return pipe, server.accept(upgrade(target), pipe)


def staged(scenario: Scenario) -> tuple[BinanceServer, Timeline]:
    server = BinanceServer(scenario.markets, lambda: NOW_NS)
    upbit = UpbitServer(scenario.markets, lambda: NOW_NS, lambda: 0.0)
    return server, Timeline(scenario.changes(), {"binance": server, "upbit": upbit})


def filled_server() -> BinanceServer:
    server = make_server()
    bids = [(6_400_010_000_000, 43_100_000), (6_400_000_000_000, 100_000_000)]
    server.apply(change(bids=bids, asks=[(6_400_020_000_000, 120_000_000)]))
    server.apply(change(bids=[(3_400_000, 100_000_000)], asks=[(3_401_000, 100_000_000)], symbol="ETHBTC"))
    return server


def test_depth_has_the_published_shape():
    server = filled_server()
    _, body = get(server, "/api/v3/depth?symbol=BTCUSDT&limit=1")
    assert list(body) == ["lastUpdateId", "bids", "asks"]
    assert body["bids"] == [["64000.10000000", "0.43100000"]]
    assert body["asks"] == [["64000.20000000", "1.20000000"]]


def test_tickers_answer_one_some_or_all_symbols():
    server = filled_server()
    _, one = get(server, "/api/v3/ticker/bookTicker?symbol=BTCUSDT")
    assert one == {
        "symbol": "BTCUSDT", "bidPrice": "64000.10000000", "bidQty": "0.43100000",
        "askPrice": "64000.20000000", "askQty": "1.20000000",
    }  # fmt: skip
    _, some = get(server, "/api/v3/ticker/bookTicker?symbols=%5B%22ETHBTC%22%5D")
    assert [row["symbol"] for row in some] == ["ETHBTC"]
    _, every = get(server, "/api/v3/ticker/price")
    assert [row["symbol"] for row in every] == ["BTCUSDT", "ETHBTC"]
    assert every[0]["price"] == "64000.10000000"


def test_time_is_the_handed_clock_in_ms_and_ping_is_an_empty_object():
    server = make_server()
    assert get(server, "/api/v3/time")[1] == {"serverTime": 1_785_000_000_000}
    assert get(server, "/api/v3/ping")[1] == {}


def test_exchange_info_carries_the_filters_of_the_sheet():
    _, body = get(make_server(), "/api/v3/exchangeInfo?symbol=BTCUSDT")
    symbol = body["symbols"][0]
    filters = {row["filterType"]: row for row in symbol["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert (symbol["baseAsset"], symbol["quoteAsset"], symbol["status"]) == ("BTC", "USDT", "TRADING")
    assert symbol["permissions"] == [] and symbol["permissionSets"][0][0] == "SPOT"
    assert body["rateLimits"][0] == {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/api/v3/depth", -1102),
        ("/api/v3/depth?symbol=NOPE", -1121),
        ("/api/v3/depth?symbol=BTCUSDT&limit=ten", -1100),
        ("/api/v3/depth?symbol=BTCUSDT&bogus=1", -1104),
        ("/api/v3/depth?symbol=BTCUSDT&symbol=ETHBTC", -1101),
        ("/api/v3/ticker/price?symbol=BTCUSDT&symbols=%5B%22ETHBTC%22%5D", -1128),
        ("/api/v3/ticker/price?symbols=BTCUSDT", -1100),
    ],
)
def test_refusals_are_code_and_msg_with_status_400(target, code):
    response, body = get(filled_server(), target)
    assert response.status == 400
    assert list(body) == ["code", "msg"] and body["code"] == code


def test_unknown_paths_and_methods_are_not_answered_as_json():
    server = make_server()
    assert server.respond(Request("GET", "/api/v3/nothing", {}, b"")).status == 404
    assert server.respond(Request("POST", "/api/v3/ping", {}, b"")).status == 405


def test_weight_grows_by_the_sheet_and_falls_at_the_next_minute():
    moments = [NOW_NS]
    server = BinanceServer([SPEC], lambda: moments[0])
    used = []
    for target in ("/api/v3/ping", "/api/v3/depth?symbol=BTCUSDT&limit=1000", "/api/v3/depth?symbol=BTCUSDT&limit=5000"):
        used.append(int(dict(get(server, target)[0].headers)["X-MBX-USED-WEIGHT-1M"]))
    moments[0] += 60_000_000_000
    used.append(int(dict(get(server, "/api/v3/ping")[0].headers)["X-MBX-USED-WEIGHT-1M"]))
    assert used == [1, 51, 301, 1]


def test_too_much_weight_is_429_with_retry_after():
    server = BinanceServer([SPEC], lambda: NOW_NS)
    for _ in range(24):
        assert get(server, "/api/v3/depth?symbol=BTCUSDT&limit=5000")[0].status == 200
    response, body = get(server, "/api/v3/ping")
    assert response.status == 429 and body["code"] == -1003
    assert 1 <= int(dict(response.headers)["Retry-After"]) <= 60


def test_combined_streams_are_wrapped_and_raw_ones_are_not():
    server = filled_server()
    combined, _ = connect(server, "/stream?streams=btcusdt@bookTicker/ethbtc@trade")
    raw, _ = connect(server, "/ws/btcusdt@bookTicker")
    server.apply(change(bids=[(6_400_015_000_000, 50_000_000)]))
    message = combined.take()[0]
    assert list(message) == ["stream", "data"] and message["stream"] == "btcusdt@bookTicker"
    assert raw.take() == [message["data"]]
    assert message["data"] | {"u": 0} == {
        "u": 0, "s": "BTCUSDT", "b": "64000.15000000", "B": "0.50000000", "a": "64000.20000000", "A": "1.20000000",
    }  # fmt: skip


def test_depth_update_has_the_published_shape_and_consecutive_ids():
    server = filled_server()
    pipe, _ = connect(server, "/ws/btcusdt@depth@100ms")
    server.flush(1)
    server.apply(change(bids=[(6_400_010_000_000, 0)], asks=[(6_400_030_000_000, 150_000_000)]))
    server.flush(2)
    server.flush(3)
    first, second = pipe.take()
    assert list(second) == ["e", "E", "s", "U", "u", "b", "a"]
    assert second["U"] == first["u"] + 1 and second["u"] == second["U"] + 1
    assert (second["e"], second["E"], second["s"]) == ("depthUpdate", 1_785_000_000_000, "BTCUSDT")
    assert second["b"] == [["64000.10000000", "0.00000000"]] and second["a"] == [["64000.30000000", "1.50000000"]]


def test_book_ticker_goes_out_at_each_change_of_best_price_or_size_and_at_no_other():
    server = filled_server()
    pipe, _ = connect(server, "/ws/btcusdt@bookTicker")
    best_bid, best_ask = 6_400_010_000_000, 6_400_020_000_000
    for bids, asks, is_best in (
        ([(best_bid, 1000)], [], True),
        ([(best_bid, 1000)], [], False),
        ([(6_399_000_000_000, 5000)], [], False),
        ([], [(best_ask, 2000)], True),
        ([], [(6_400_019_000_000, 3000)], True),
        ([(best_bid, 0)], [(6_500_000_000_000, 1000)], True),
    ):
        server.apply(change(bids=bids, asks=asks))
        sent = pipe.take()
        assert len(sent) == is_best
        assert all(ticker["u"] == server.markets["BTCUSDT"].update_id for ticker in sent)


def test_slow_depth_gathers_ten_windows():
    server = filled_server()
    pipe, _ = connect(server, "/ws/btcusdt@depth")
    for index in range(1, 21):
        server.apply(change(bids=[(6_400_010_000_000, 1_000_000 * index)]))
        server.flush(index)
    first, second = pipe.take()
    assert second["U"] == first["u"] + 1 and second["u"] - second["U"] == 9
    assert second["b"] == [["64000.10000000", "0.20000000"]]


def test_partial_depth_is_the_top_without_symbol():
    server = filled_server()
    pipe, _ = connect(server, "/ws/btcusdt@depth5@100ms")
    server.flush(1)
    assert list(pipe.take()[0]) == ["lastUpdateId", "bids", "asks"]


def test_a_trade_goes_out_as_trade_and_as_aggregate():
    server = filled_server()
    pipe, _ = connect(server, "/stream?streams=btcusdt@trade/btcusdt@aggTrade")
    server.apply(Traded(0, "binance", "BTCUSDT", 6_400_020_000_000, 1_000_000, Side.SELL))
    trade, aggregate = (message["data"] for message in pipe.take())
    assert list(trade) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert list(aggregate) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]
    assert trade["m"] is True and trade["p"] == "64000.20000000" and trade["q"] == "0.01000000"
    assert get(server, "/api/v3/ticker/price?symbol=BTCUSDT")[1]["price"] == "64000.20000000"


def test_control_messages_subscribe_list_and_unsubscribe():
    server = filled_server()
    pipe, session = connect(server, "/ws")
    session.on_message(b'{"method":"SUBSCRIBE","params":["btcusdt@trade","no@such"],"id":1}')
    session.on_message(b'{"method":"LIST_SUBSCRIPTIONS","id":"two"}')
    session.on_message(b'{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":null}')
    session.on_message(b'{"method":"LIST_SUBSCRIPTIONS","id":4}')
    assert pipe.take() == [
        {"result": None, "id": 1}, {"result": ["btcusdt@trade", "no@such"], "id": "two"}, {"result": None, "id": None},
        {"result": ["no@such"], "id": 4},
    ]  # fmt: skip
    server.apply(Traded(0, "binance", "BTCUSDT", 6_400_020_000_000, 1_000_000, Side.BUY))
    assert pipe.take() == []


def test_combined_is_a_property():
    server = filled_server()
    pipe, session = connect(server, "/ws/btcusdt@trade")
    session.on_message(b'{"method":"SET_PROPERTY","params":["combined",true],"id":1}')
    session.on_message(b'{"method":"GET_PROPERTY","params":["combined"],"id":2}')
    assert pipe.take() == [{"result": None, "id": 1}, {"result": True, "id": 2}]
    server.apply(Traded(0, "binance", "BTCUSDT", 6_400_020_000_000, 1_000_000, Side.BUY))
    assert pipe.take()[0]["stream"] == "btcusdt@trade"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"nonsense", 3), (b"[]", 2), (b'{"method":"EAT","id":1}', 2), (b'{"method":"SUBSCRIBE","params":"x","id":1}', 2),
        (b'{"method":"SUBSCRIBE","params":[1],"id":1}', 2), (b'{"method":"SUBSCRIBE","params":[],"id":1.5}', 2),
        (b'{"method":"GET_PROPERTY","params":["x"],"id":1}', 0),
        (b'{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1),
    ],
)  # fmt: skip
def test_bad_control_messages_are_named(payload, code):
    pipe, session = connect(filled_server(), "/ws")
    session.on_message(payload)
    answer = pipe.take()[0]
    assert answer["code"] == code and set(answer) == {"code", "msg", "id"}


def test_more_streams_than_allowed_close_the_connection():
    pipe, session = connect(filled_server(), "/ws")
    session.on_message(json.dumps({"method": "SUBSCRIBE", "params": [f"s{n}@trade" for n in range(1025)], "id": 1}).encode())
    assert pipe.closed == [1008]


def test_other_paths_are_no_stream():
    assert connect(filled_server(), "/wss")[1].status == 404


def test_shutdown_is_announced_in_both_forms():
    server = filled_server()
    combined, _ = connect(server, "/stream")
    raw, session = connect(server, "/ws")
    server.announce_shutdown()
    event = {"e": "serverShutdown", "E": 1_785_000_000_000}
    assert raw.take() == [event]
    assert combined.take() == [{"stream": "!serverShutdown", "data": event}]
    session.on_close()
    server.announce_shutdown()
    assert raw.take() == []


def test_a_restart_empties_the_book_and_closes_whoever_watches_it():
    server = filled_server()
    watching, _ = connect(server, "/ws/btcusdt@trade")
    other, _ = connect(server, "/ws/ethbtc@trade")
    server.apply(Restarted(0, "binance", ("BTCUSDT",)))
    assert (watching.closed, other.closed) == ([1001], [])
    assert get(server, "/api/v3/depth?symbol=BTCUSDT")[1]["bids"] == []
    assert get(server, "/api/v3/depth?symbol=ETHBTC")[1]["bids"] != []


prices = st.integers(1, 40).map(lambda tick: tick * 1_000_000)
quantities = st.one_of(st.just(0), st.integers(1, 5).map(lambda lot: lot * 1000))
batches = st.lists(
    st.tuples(
        st.lists(st.tuples(prices, quantities), max_size=4),
        st.lists(st.tuples(prices.map(lambda price: price + 100_000_000), quantities), max_size=4),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=80, deadline=None)
@given(batches, st.integers(0, 29))
def test_diffs_rebuild_the_truth_from_a_snapshot_of_any_moment(steps, joins_at):
    server = make_server()
    pipe, _ = connect(server, "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker")
    client: DiffBook | None = None
    for index, (bids, asks, closes) in enumerate(steps):
        server.apply(change(bids=bids, asks=asks))
        if index == joins_at:
            client = DiffBook(get(server, "/api/v3/depth?symbol=BTCUSDT&limit=5000")[1])
        if closes:
            server.flush(index + 1)
    client = client or DiffBook(get(server, "/api/v3/depth?symbol=BTCUSDT&limit=5000")[1])
    server.flush(99)
    events = [message["data"] for message in pipe.take()]
    for event in events:
        if event.get("e") == "depthUpdate":
            client.apply(event)
    truth = server.markets["BTCUSDT"]
    assert client.id == truth.update_id
    assert client.bids == dict(truth.book.bids.levels()) and client.asks == dict(truth.book.asks.levels())
    tickers = [event for event in events if "e" not in event]
    if tickers and client.bids and client.asks:
        client.compare(tickers[-1])


def test_half_a_minute_of_the_synthetic_market_rebuilds_every_binance_book():
    scenario = synthetic(3)
    server, timeline = staged(scenario)
    pipe, _ = connect(server, "/stream?streams=" + "/".join(f"{symbol.lower()}@depth@100ms" for symbol in server.markets))
    timeline.advance(1_000_000_000)
    clients = {symbol: DiffBook(get(server, f"/api/v3/depth?symbol={symbol}&limit=5000")[1]) for symbol in server.markets}
    while not timeline.advance(30_000_000_000):
        pass
    for message in pipe.take():
        data = message["data"]
        clients[data["s"]].apply(data)
    for symbol, market in server.markets.items():
        client = clients[symbol]
        assert client.id == market.update_id
        assert client.bids == dict(market.book.bids.levels()) and client.asks == dict(market.book.asks.levels())
        assert client.applied > 100


def test_book_ticker_equals_the_depth_book_at_equal_ids():
    scenario = synthetic(3)
    server, timeline = staged(scenario)
    pipe, _ = connect(server, "/stream?streams=xrpusdt@depth@100ms/xrpusdt@bookTicker")
    timeline.advance(0)
    client = DiffBook(get(server, "/api/v3/depth?symbol=XRPUSDT&limit=5000")[1])
    while not timeline.advance(20_000_000_000):
        pass
    tickers = {}
    for message in pipe.take():
        data = message["data"]
        if "e" not in data:
            tickers[data["u"]] = data
            continue
        client.apply(data)
        if client.id in tickers:
            client.compare(tickers[client.id])
    assert client.compared > 50


def traded_server() -> BinanceServer:
    server = filled_server()
    for price, quantity, side in ((6_400_020, 10, Side.BUY), (6_400_100, 30, Side.BUY), (6_400_010, 20, Side.SELL)):
        server.apply(Traded(0, "binance", "BTCUSDT", price * 1_000_000, quantity * 1_000_000, side))
    return server


def test_trades_are_told_oldest_first_and_by_id_or_time():
    server = traded_server()
    _, trades = get(server, "/api/v3/trades?symbol=BTCUSDT&limit=2")
    assert [(row["price"], row["qty"], row["isBuyerMaker"]) for row in trades] == [
        ("64001.00000000", "0.30000000", False), ("64000.10000000", "0.20000000", True),
    ]  # fmt: skip
    assert trades[0]["quoteQty"] == "19200.30000000"
    _, every = get(server, "/api/v3/aggTrades?symbol=BTCUSDT")
    assert [row["a"] for row in every][1:] == [row["id"] for row in trades]
    _, onward = get(server, f"/api/v3/aggTrades?symbol=BTCUSDT&fromId={every[1]['a']}&limit=1")
    assert onward == every[1:2]
    assert get(server, "/api/v3/aggTrades?symbol=BTCUSDT&endTime=1")[1] == []
    assert get(server, "/api/v3/aggTrades?symbol=BTCUSDT&startTime=1&limit=1")[1] == every[:1]


def test_the_day_is_told_by_rest_and_by_two_streams():
    server = traded_server()
    _, day = get(server, "/api/v3/ticker/24hr?symbol=BTCUSDT")
    assert (day["openPrice"], day["highPrice"], day["lowPrice"], day["lastPrice"]) == (
        "64000.20000000", "64001.00000000", "64000.10000000", "64000.10000000",
    )  # fmt: skip
    assert (day["priceChange"], day["priceChangePercent"], day["volume"]) == ("-0.10000000", "-0.000", "0.60000000")
    assert (day["quoteVolume"], day["weightedAvgPrice"]) == ("38400.34000000", "64000.56666666")
    assert (day["count"], day["lastId"] - day["firstId"], day["askPrice"]) == (3, 2, "64000.20000000")
    _, every = get(server, "/api/v3/ticker/24hr")
    assert every[0] == day and (every[1]["count"], every[1]["lastPrice"]) == (0, "0.03400000")
    pipe, _ = connect(server, "/stream?streams=btcusdt@ticker/btcusdt@miniTicker")
    for index in range(1, 11):
        server.flush(index)
    full, mini = (message["data"] for message in pipe.take())
    assert (full["e"], full["s"], full["c"], full["n"], len(full)) == ("24hrTicker", "BTCUSDT", day["lastPrice"], 3, 23)
    names = ("e", "E", "s", "c", "o", "h", "l", "v", "q")
    assert tuple(mini) == names and mini == {**{name: full[name] for name in names}, "e": "24hrMiniTicker"}


@pytest.mark.parametrize(("count", "weight"), [("?symbol=BTCUSDT", "2"), ("?symbols=%5B%22BTCUSDT%22%5D", "2"), ("", "80")])
def test_the_day_of_all_symbols_weighs_more_than_that_of_some(count, weight):
    assert dict(get(make_server(), f"/api/v3/ticker/24hr{count}")[0].headers)["X-MBX-USED-WEIGHT-1M"] == weight


def test_times_come_in_microseconds_for_whoever_asks_so():
    server = traded_server()
    micro = Request("GET", "/api/v3/time", {"x-mbx-time-unit": "MICROSECOND"}, b"")
    assert json.loads(server.respond(micro).body) == {"serverTime": 1_785_000_000_000_000}
    fine, _ = connect(server, "/ws/btcusdt@trade/btcusdt@depth@100ms?timeUnit=MICROSECOND")
    plain, _ = connect(server, "/ws/btcusdt@trade/btcusdt@depth@100ms")
    server.apply(Traded(0, "binance", "BTCUSDT", 6_400_020_000_000, 1_000_000, Side.BUY))
    server.flush(1)
    for exact, usual in zip(fine.take(), plain.take(), strict=True):
        times = {"E", "T"} & set(usual)
        assert times and exact == usual | {name: usual[name] * 1_000 for name in times}
