"""LUNC's recorded best quotes of 2025-10-11: MEXC's behind the Binance-shaped venue, Gate.io's behind Upbit's USDT market.

Prices are recorded. Depth behind the best is synthetic; so are all sizes of the second venue, whose contracts have an
unknown size.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from pathlib import Path

from arbitrage.model.money import E8, parse_e8
from arbitrage.sim.scenarios.changes import Change, Restarted
from arbitrage.sim.scenarios.depth import DepthShape, SyntheticDepth
from arbitrage.sim.scenarios.kimchi import read_table
from arbitrage.sim.scenarios.scenario import Scenario, TransferSpec
from arbitrage.sim.scenarios.ticks import binance_market, upbit_market

PAUSE_NS = 1_000_000_000
LUNCUSDT = binance_market("LUNC/USDT", tick="0.00000001", lot="0.01", notional_min="1", origin="derived")
USDT_LUNC = upbit_market("USDT-LUNC", origin="published")


def lunc(folder: Path, seed: int) -> Scenario:
    """Make the scenario from the quotes in `folder`. Raises CaptureError when they cannot be read."""
    path = folder / "lunc-20251011" / "quotes.csv.zst"
    next(read_table(path))
    return Scenario(
        name="lunc-20251011",
        label=f"LUNC best quotes of 2025-10-11 (MEXC, Gate.io perpetual); depth and Gate.io's sizes synthetic, seed {seed}",
        notes=(
            "served as LUNCUSDT at the Binance-shaped and USDT-LUNC at the Upbit-shaped venue: neither exchange quoted this",
            "one leg is a perpetual: a lasting difference is basis and funding, not only mispricing",
            "sampled quotes (0.5 to 0.8 s apart), 50 minutes, then sockets are closed with 1001 and it begins again",
        ),
        meaningless=(),
        markets=(LUNCUSDT, USDT_LUNC),
        transfers={"LUNC": TransferSpec(200), "USDT": TransferSpec(100)},
        inventory={
            "binance": {"USDT": "50000", "LUNC": "500000000"},
            "upbit": {"USDT": "50000", "LUNC": "500000000"},
        },
        changes=functools.partial(_play, path, seed),
    )


def _play(path: Path, seed: int) -> Iterator[Change]:
    generator = random.Random(seed)
    shape = DepthShape(levels=30, step_ppm=300, level_value_e8=500 * E8, refreshed=2)
    books = {"mexc": SyntheticDepth(LUNCUSDT, shape, generator), "gateio-perp": SyntheticDepth(USDT_LUNC, shape, generator)}
    offset_ns = 0
    while True:
        start_us: int | None = None
        at_ns = offset_ns
        for row in read_table(path):
            start_us = int(row["ts_us"]) if start_us is None else start_us
            at_ns = offset_ns + (int(row["ts_us"]) - start_us) * 1000
            bid_e8, ask_e8 = parse_e8(row["bid"]), parse_e8(row["ask"])
            if not 0 < bid_e8 < ask_e8:
                continue
            sizes = (_size(row["bid_qty"]), _size(row["ask_qty"])) if row["venue"] == "mexc" else (None, None)
            yield books[row["venue"]].requote(at_ns, bid_e8, ask_e8, tops=sizes)
        offset_ns = at_ns + PAUSE_NS
        for depth in books.values():
            depth.clear()
        yield Restarted(offset_ns, "binance", (LUNCUSDT.symbol,))
        yield Restarted(offset_ns, "upbit", (USDT_LUNC.symbol,))


def _size(text: str) -> int:
    """Read a recorded size down to the lot; the source's went through floats."""
    return int(float(text) * 100) * (E8 // 100)
