"""The recorded session through codecs and board: every frame understood, every book equal to the ticker beside it."""

from __future__ import annotations

import io
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from arbitrage.market.board import Board
from arbitrage.market.full_book import FullBook
from arbitrage.model.effects import Resync
from arbitrage.model.events import BookFull, FeedEvent, FeedFault
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import FeeSettings, MarketDataSettings, VenueSettings
from arbitrage.venues.binance.codec import BinanceCodec
from arbitrage.venues.upbit.codec import UpbitCodec

DATA = Path(os.environ.get("ARBITRAGE_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
NAME = "main-session.capture.jsonl.zst"
FEES = FeeSettings(1000, 1000, "received")


class Session:
    """The capture's rows and codecs for the symbols that it subscribed to."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows = rows
        opened = next(row for row in rows if row["kind"] == "open" and row["venue"] == "binance")
        streams = str(opened["url"]).partition("streams=")[2].split("/")
        symbols = {"binance": list(dict.fromkeys(name.partition("@")[0].upper() for name in streams))}
        sent = next(row for row in rows if row["kind"] == "send")
        symbols["upbit"] = next(part["codes"] for part in json.loads(str(sent["raw"])) if part.get("type") == "orderbook")
        self.markets = tuple((venue, symbol) for venue, names in symbols.items() for symbol in names)
        ids = {key: market for market, key in enumerate(self.markets)}
        self.codecs = {
            "binance": BinanceCodec(
                Venue("binance"),
                {symbol: ids["binance", symbol] for symbol in symbols["binance"]},
                VenueSettings("binance", "https://x.test", "wss://x.test", tuple(symbols["binance"]), FEES),
            ),
            "upbit": UpbitCodec(
                Venue("upbit"),
                {symbol: ids["upbit", symbol] for symbol in symbols["upbit"]},
                VenueSettings("upbit", "https://x.test", "wss://x.test", tuple(symbols["upbit"]), FEES),
            ),
        }

    def events(self) -> Iterator[FeedEvent]:
        for row in self.rows:
            venue, at_ns, raw = str(row["venue"]), int(str(row["ts"])), str(row.get("raw", "")).encode()
            if row["kind"] == "frame":
                yield from self.codecs[venue].decode(raw, at_ns)
            elif row["kind"] == "http":
                symbol = parse_qs(urlsplit(str(row["url"])).query)["symbol"][0]
                codec = self.codecs[venue]
                assert isinstance(codec, BinanceCodec)
                yield codec.decode_snapshot(raw, self.markets.index((venue, symbol)), at_ns)


@pytest.fixture(scope="module")
def session() -> Session:
    if not (DATA / NAME).is_file():
        pytest.skip(f"the recording {NAME} is not here: put it into ARBITRAGE_DATA or ../shared/data")
    zstandard = pytest.importorskip("zstandard", reason="reading recordings needs the zstandard package")
    with (DATA / NAME).open("rb") as packed:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), encoding="utf-8")
        return Session([json.loads(line) for line in lines][1:])


def test_every_recorded_frame_is_understood(session: Session) -> None:
    kinds = Counter(type(event).__name__ for event in session.events())
    assert kinds == {"BookDiff": 4709, "TopOfBook": 5408, "TradePrint": 1240 + 672, "BookFull": 1061, "BookSnapshot": 10}


def test_books_equal_the_ticker_at_every_equal_update_id(session: Session) -> None:
    board = Board(session.markets, MarketDataSettings())
    resyncs = [effect for event in session.events() for effect in board.apply(event) if isinstance(effect, Resync)]
    assert board.counters["compared"] > 1_000
    assert board.counters["equal"] == board.counters["compared"]
    assert (board.counters["gaps"], board.counters["resyncs"], board.counters["crossed"]) == (0, 0, 0)
    assert [effect.reason for effect in resyncs] == ["first update"] * 10
    silent = [symbol for (_, symbol), book in zip(session.markets, board.books, strict=True) if book.flaw is not None]
    assert silent == ["USDT-ADA"], "nine of the ten Upbit codes sent something"


def test_upbit_books_are_the_newest_picture(session: Session) -> None:
    board = Board(session.markets, MarketDataSettings())
    newest: dict[int, BookFull] = {}
    for event in session.events():
        board.apply(event)
        if isinstance(event, BookFull):
            newest[event.market] = event
    assert len(newest) == 9
    for market, picture in newest.items():
        book = board.books[market]
        assert isinstance(book, FullBook) and book.units == picture.units and book.best_bid == picture.units[0].bid_price


def test_recorded_frames_with_broken_bytes_give_faults_and_never_an_exception(session: Session) -> None:
    rng = random.Random(11)
    frames = [row for row in session.rows if row["kind"] == "frame"]
    faults = 0
    for row in rng.sample(frames, 3_000):
        raw = bytearray(str(row["raw"]).encode())
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        faults += any(isinstance(event, FeedFault) for event in session.codecs[str(row["venue"])].decode(bytes(raw), 1))
    assert faults > 1_000


def test_a_lost_diff_of_the_recording_is_noticed_at_the_next_and_spares_the_other_books(session: Session) -> None:
    board = Board(session.markets, MarketDataSettings())
    market = session.markets.index(("binance", "MANAUSDT"))
    diffs = 0
    reasons: dict[int, list[str]] = {}
    for event in session.events():
        if type(event).__name__ == "BookDiff" and getattr(event, "market", None) == market:
            diffs += 1
            if diffs == 400:
                continue
        for effect in board.apply(event):
            if isinstance(effect, Resync) and effect.reason != "first update":
                reasons.setdefault(effect.market, []).append(effect.reason)
        if diffs == 401:
            assert board.books[market].best_bid == 0.0
            break
    assert list(reasons) == [market] and reasons[market][0].startswith("update ids jump")
    assert board.counters["gaps"] == 1
