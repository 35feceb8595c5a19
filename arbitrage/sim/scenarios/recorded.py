"""The recorded session, byte for byte in its own time. Its two halves share no asset, so its spreads mean nothing.

Each Binance book starts from the recorded REST answer, which is offered from the beginning; its diffs move it by the
documented procedure, so a client that comes late or resyncs gets the recording's own book of that moment. At the end the
sockets that watch it are closed with 1001 and the session begins again.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from arbitrage.model.instruments import TickTable
from arbitrage.model.money import parse_e8
from arbitrage.sim.capture import CaptureRow, read_rows
from arbitrage.sim.scenarios.changes import Change, FramePlayed, Restarted, SnapshotRead, VenueKind
from arbitrage.sim.scenarios.scenario import MarketSpec, Scenario
from arbitrage.sim.scenarios.ticks import binance_market, upbit_market

FILE_NAME = "main-session.capture.jsonl.zst"
PAUSE_NS = 1_000_000_000
"""Between the end of one pass and the start of the next."""
_QUOTES = ("USDT", "USDC", "BUSD", "AUD", "BRL", "BTC", "ETH", "BNB")


def recorded(folder: Path) -> Scenario:
    """Make the scenario from the recording in `folder`. Raises CaptureError when it cannot be read."""
    path = folder / FILE_NAME
    markets = derived_markets(path)
    return Scenario(
        name="recorded",
        label="recorded session of 2021, byte for byte: proves links, books and rates; its spreads mean nothing",
        notes=(
            "the two halves were recorded 16 minutes apart and share no asset: no spread between the venues means anything",
            "price and quantity grids are derived from the decimals seen (exchangeInfo was not recorded)",
            "after 121 s its sockets are closed with 1001 and the session begins again",
        ),
        meaningless=tuple(market.symbol for market in markets),
        markets=markets,
        transfers={},
        inventory={},
        changes=functools.partial(_play, path, markets),
    )


def _play(path: Path, markets: tuple[MarketSpec, ...]) -> Iterator[Change]:
    venues: tuple[VenueKind, ...] = ("binance", "upbit")
    offset_ns = 0
    while True:
        for snapshot in _snapshots(path):
            yield SnapshotRead(offset_ns, "binance", _symbol_of(snapshot.url), snapshot.raw)
        start_ns: int | None = None
        end_ns = offset_ns
        for row in read_rows(path):
            start_ns = row.ts if start_ns is None else start_ns
            end_ns = offset_ns + row.ts - start_ns
            if row.kind == "frame":
                yield _frame(row, end_ns)
        offset_ns = end_ns + PAUSE_NS
        for venue in venues:
            yield Restarted(offset_ns, venue, tuple(market.symbol for market in markets if market.venue == venue))


def _frame(row: CaptureRow, at_ns: int) -> FramePlayed:
    """Take a frame to its stream; Binance's combined wrapping is cut off by position, never re-encoded."""
    body = json.loads(row.raw)
    if row.venue == "upbit":
        return FramePlayed(at_ns, "upbit", body["cd"], body["ty"], row.raw)
    head = f'{{"stream":"{body["stream"]}","data":'
    assert row.raw.startswith(head) and row.raw.endswith("}"), "a combined frame wraps its data"
    return FramePlayed(at_ns, "binance", body["data"]["s"], body["stream"], row.raw[len(head) : -1])


def _snapshots(path: Path) -> Iterator[CaptureRow]:
    return (row for row in read_rows(path) if row.kind == "http" and row.venue == "binance")


def _symbol_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["symbol"][0]


def derived_markets(path: Path) -> tuple[MarketSpec, ...]:
    """Derive rules from what was seen: the finest decimals of prices and quantities in the REST answers."""
    specs = []
    for row in _snapshots(path):
        symbol = _symbol_of(row.url)
        quote = next(quote for quote in _QUOTES if symbol.endswith(quote))
        body = json.loads(row.raw)
        levels = [*body["bids"], *body["asks"]]
        tick, lot = (_finest(level[column] for level in levels) for column in (0, 1))
        pair = f"{symbol.removesuffix(quote)}/{quote}"
        specs.append(binance_market(pair, tick=tick, lot=lot, notional_min="0", origin="derived"))
    pictures: dict[str, set[int]] = {}
    for row in read_rows(path):
        if row.kind == "frame" and row.venue == "upbit":
            body = json.loads(row.raw, parse_float=str, parse_int=str)
            seen = pictures.setdefault(body["cd"], set())
            if body["ty"] == "orderbook":
                seen.update(parse_e8(unit[side]) for unit in body["obu"] for side in ("ap", "bp"))
    # A code keeps the one grid that all its recorded prices sit on: today's tick table is younger than the recording.
    grids = {code: TickTable.single(_grid(prices)) for code, prices in pictures.items() if prices}
    specs.extend(upbit_market(code, origin="derived", ticks=ticks) for code, ticks in grids.items())
    return tuple(specs)


def _finest(texts: Iterator[str]) -> str:
    decimals = max(len(text.partition(".")[2].rstrip("0")) for text in texts)
    return f"{10.0**-decimals:.8f}" if decimals else "1"


def _grid(prices: set[int]) -> int:
    """Return the coarsest grid that every price sits on."""
    return math.gcd(*prices)
