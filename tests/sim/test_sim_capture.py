import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import DiffBook, KeptPipe, get, upgrade

from arbitrage.sim.capture import CaptureError, CaptureHeader, CaptureRow, CaptureWriter, find_data, read_header, read_rows
from arbitrage.sim.scenarios.catalog import make_scenario
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.server.upbit import UpbitServer

HEADER = CaptureHeader(kind="header", format="capture-v1", venues=("binance",), source="a test")
NEEDS_DATA = pytest.mark.skipif(find_data() is None, reason="recordings not found: set ARBITRAGE_DATA or ../shared/data")
ROWS = st.builds(
    CaptureRow,
    ts=st.integers(0, 2**62),
    venue=st.sampled_from(["binance", "upbit"]),
    conn=st.text(max_size=5),
    kind=st.sampled_from(["open", "send", "frame", "http"]),
    raw=st.text(max_size=50),
    bin=st.booleans(),
    url=st.text(max_size=10),
    ts0=st.none() | st.integers(0, 2**62),
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_rows_come_back_as_they_were_written(tmp_path, name):
    @settings(max_examples=30, deadline=None)
    @given(st.lists(ROWS, max_size=8))
    def check(rows):
        path = tmp_path / name
        with CaptureWriter(path, HEADER) as writer:
            for row in rows:
                writer.write(row)
        assert read_header(path) == HEADER
        assert list(read_rows(path)) == rows

    check()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, ""), ('{"kind":"frame"}\n', 1, "frame"), ('{"kind":"header","format":"capture-v9"}\n', 1, "capture-v9"),
        ("HEADER{broken}\n", 2, "malformed"), ('HEADER{"ts":1,"venue":"b","conn":"c","kind":"dance"}\n', 2, "dance"),
        ('HEADER{"ts":"1","venue":"b","conn":"c","kind":"open"}\n', 2, "ts"), ('HEADER{"ts":1', 2, "breaks off"),
    ],
)  # fmt: skip
def test_errors_name_file_and_line(tmp_path, text, line, words):
    path = tmp_path / "broken.jsonl"
    path.write_text(text.replace("HEADER", '{"kind":"header","format":"capture-v1"}\n'))
    with pytest.raises(CaptureError) as caught:
        list(read_rows(path))
    assert str(caught.value).startswith(f"{path}:{line}: ") and words in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CaptureError, match=r"nothing\.jsonl: No such file"):
        read_header(tmp_path / "nothing.jsonl")


def test_a_truncated_or_damaged_compressed_file_is_an_error_and_not_an_end(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    with CaptureWriter(path, HEADER) as writer:
        for ts in range(5000):
            writer.write(CaptureRow(ts, "binance", "c", "frame", raw=str(ts * 7919)))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:2000] + b"\x00" * 50 + whole[2050:], b"not zstd at all\n"):
        path.write_bytes(damaged)
        with pytest.raises(CaptureError, match=r"a\.jsonl\.zst:\d+: "):
            list(read_rows(path))


def test_the_data_folder_is_the_named_one_or_none(monkeypatch, tmp_path):
    monkeypatch.setenv("ARBITRAGE_DATA", str(tmp_path))
    assert find_data() == tmp_path
    monkeypatch.setenv("ARBITRAGE_DATA", str(tmp_path / "gone"))
    assert find_data() is None


def played(seconds: float) -> tuple[BinanceServer, UpbitServer, KeptPipe, KeptPipe, Timeline]:
    scenario = make_scenario("recorded", 1)
    binance, upbit = BinanceServer(scenario.markets, lambda: 0), UpbitServer(scenario.markets, lambda: 0, lambda: 0.0)
    pipes = KeptPipe(), KeptPipe()
    kinds = ("depth@100ms", "bookTicker", "aggTrade")
    streams = "/".join(f"{symbol.lower()}@{kind}" for symbol in binance.markets for kind in kinds)
    binance.accept(upgrade("/stream?streams=" + streams), pipes[0])
    session = upbit.accept(upgrade("/websocket/v1"), pipes[1])
    wishes = [{"type": kind, "codes": list(upbit.markets), "is_only_realtime": True} for kind in ("orderbook", "trade")]
    session.on_message(json.dumps([{"ticket": "t"}, *wishes, {"format": "SIMPLE"}]).encode())
    timeline = Timeline(scenario.changes(), {"binance": binance, "upbit": upbit})
    while not timeline.advance(int(seconds * 1e9)):
        pass
    return binance, upbit, *pipes, timeline


@pytest.fixture(scope="module")
def rows() -> list[CaptureRow]:
    folder = find_data()
    assert folder is not None
    return list(read_rows(folder / "main-session.capture.jsonl.zst"))


@NEEDS_DATA
def test_every_recorded_frame_is_served_byte_for_byte(rows):
    *_, binance_pipe, upbit_pipe, _ = played(120.5)
    for venue, pipe in (("binance", binance_pipe), ("upbit", upbit_pipe)):
        recorded = [row.raw.encode() for row in rows if row.kind == "frame" and row.venue == venue]
        assert pipe.sent == recorded
    assert all(upbit_pipe.binary) and not any(binance_pipe.binary)
    assert len(binance_pipe.sent) == 11_357 and len(upbit_pipe.sent) == 1_733


@NEEDS_DATA
def test_the_recorded_snapshot_is_served_as_it_was_until_the_first_diff_after_it(rows):
    binance, *_ = played(0.0)
    recorded = {row.url.partition("symbol=")[2].partition("&")[0]: row.raw for row in rows if row.kind == "http"}
    assert len(recorded) == 10
    for symbol, raw in recorded.items():
        assert get(binance, f"/api/v3/depth?symbol={symbol}&limit=1000")[0].body == raw.encode()


@NEEDS_DATA
@pytest.mark.parametrize("joins_s", [0.0, 3.0, 20.0, 90.0])
def test_a_client_that_joins_at_any_time_rebuilds_the_recorded_books(joins_s):
    binance, _, pipe, _, timeline = played(joins_s)
    pipe.take()
    clients = {symbol: DiffBook(get(binance, f"/api/v3/depth?symbol={symbol}&limit=5000")[1]) for symbol in binance.markets}
    while not timeline.advance(int(120.5e9)):
        pass
    tickers: dict[tuple[str, int], dict] = {}
    for message in pipe.take():
        data = message["data"]
        if message["stream"].endswith("bookTicker"):
            tickers[data["s"], data["u"]] = data
        elif data["e"] == "depthUpdate":
            client = clients[data["s"]]
            client.apply(data)
            if (data["s"], client.id) in tickers:
                client.compare(tickers[data["s"], client.id])
    for symbol, market in binance.markets.items():
        assert clients[symbol].id == market.update_id
        assert clients[symbol].bids == dict(market.book.bids.levels())
        assert clients[symbol].asks == dict(market.book.asks.levels())
    if joins_s == 0.0:
        assert sum(client.compared for client in clients.values()) > 1_000


@NEEDS_DATA
def test_the_recording_begins_again_with_closed_sockets_and_its_first_snapshot():
    binance, upbit, binance_pipe, upbit_pipe, timeline = played(120.5)
    before = get(binance, "/api/v3/depth?symbol=ZILUSDT")[1]["lastUpdateId"]
    assert not binance_pipe.closed
    timeline.advance(int(121.2e9))
    assert binance_pipe.closed == [1001] and upbit_pipe.closed == [1001]
    assert get(binance, "/api/v3/depth?symbol=ZILUSDT")[1]["lastUpdateId"] == 499822895 < before
    assert upbit.counters["closed_by_restart"] == 1


@NEEDS_DATA
def test_derived_rules_say_so_and_fit_what_was_recorded():
    scenario = make_scenario("recorded", 1)
    assert len(scenario.markets) == 19 and {market.origin for market in scenario.markets} == {"derived"}
    by_symbol = {market.symbol: market for market in scenario.markets}
    assert (by_symbol["BTCAUD"].base, by_symbol["BTCAUD"].quote) == ("BTC", "AUD")
    assert by_symbol["KRW-ADA"].ticks.tick_e8_at(0) == 5 * 10**8
    assert "USDT-ADA" not in by_symbol, "a code that never sent anything is not listed"
