"""BTC on Upbit and Binance from recorded 5-minute bars, with a KRW-USDT book made for it. Prices recorded, depth synthetic.

Each bar lasts two seconds. Between a bar's open and close the path is a seeded bridge shared by both venues (their 5-minute
returns move together) plus a little of each one's own, held inside the bar's high and low. KRW-USDT is not in the data: it
follows the day's USD/KRW times one plus an hour's average of the recorded premium plus a seeded basis that reverts to zero,
because at the bank's rate alone the whole premium would look like an arbitrage that nobody takes, which it was not.
"""

from __future__ import annotations

import csv
import datetime
import functools
import math
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from arbitrage.model.money import E8
from arbitrage.sim.capture import CaptureError, numbered, open_text
from arbitrage.sim.scenarios.changes import Change, Restarted, VenueKind
from arbitrage.sim.scenarios.depth import DepthShape, SyntheticDepth
from arbitrage.sim.scenarios.scenario import Scenario, TransferSpec
from arbitrage.sim.scenarios.ticks import binance_market, upbit_market

BAR_MS = 300_000
BAR_NS = 2_000_000_000
"""How long a bar lasts here."""
STEPS_PER_BAR = 20
BLOCK_BARS_MIN = 20
PREMIUM_BARS = 12
BASIS_DEVIATION, BASIS_REVERSION_BARS = 0.0022, 3.0
SHARED_NOISE, OWN_NOISE = 0.0005, 0.0001
"""Size of the bridge's noise at the middle of a bar."""
PAUSE_NS = 500_000_000

BTCUSDT = binance_market("BTC/USDT", tick="0.01", lot="0.00001", origin="published")
KRW_BTC = upbit_market("KRW-BTC", origin="published")
KRW_USDT = upbit_market("KRW-USDT", origin="published")


class Bar(msgspec.Struct, frozen=True):
    """One 5-minute bar of one market."""

    open: float
    high: float
    low: float
    close: float


class Moment(msgspec.Struct, frozen=True):
    """Both markets' bars of the same five minutes, and the day's bank rate."""

    upbit: Bar
    binance: Bar
    krw_per_usd: float


def kimchi(folder: Path, seed: int) -> Scenario:
    """Make the scenario from the bars in `folder`. Raises CaptureError when they cannot be read."""
    blocks = _blocks(folder / "kimchi-2025")
    return Scenario(
        name="kimchi-2025",
        label=f"BTC prices recorded in 2025 (5-minute bars, 2 s each); depth and KRW-USDT's path synthetic, seed {seed}",
        notes=(
            f"{len(blocks)} blocks of bars that both venues have; between two blocks the sockets are closed with 1001",
            "the day's USD/KRW is one rate a day: the premium's level has an error of the day's move, up to about 1 %",
        ),
        meaningless=(),
        markets=(BTCUSDT, KRW_BTC, KRW_USDT),
        transfers={"BTC": TransferSpec(200), "USDT": TransferSpec(100)},
        inventory={"binance": {"USDT": "500000", "BTC": "2"}, "upbit": {"KRW": "700000000", "USDT": "250000", "BTC": "2"}},
        changes=functools.partial(_play, blocks, seed),
    )


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """Yield a compressed CSV's rows by column. Raises CaptureError naming file and line."""
    with open_text(path) as lines:
        rows = numbered(path, lines)
        columns = next(csv.reader([next(rows, (1, ""))[1]]))
        for number, line in rows:
            values = next(csv.reader([line]))
            if len(values) != len(columns):
                raise CaptureError(f"{path}:{number}: {len(values)} values for {len(columns)} columns")
            yield dict(zip(columns, values, strict=True))


def _blocks(folder: Path) -> list[list[Moment]]:
    """Gather runs of bars without a hole in which both venues have a bar."""
    rates = {row["date"]: float(row["krw_per_usd"]) for row in read_table(folder / "usdkrw-daily.csv.zst")}
    bars: dict[str, dict[int, Bar]] = {"binance": {}, "upbit": {}}
    for row in read_table(folder / "klines-5m.csv.zst"):
        values = [float(row[name]) for name in ("open", "high", "low", "close")]
        bars[row["venue"]][int(row["ts_ms"])] = Bar(*values)
    blocks: list[list[Moment]] = []
    previous_ms = 0
    for at_ms in sorted(bars["upbit"].keys() & bars["binance"].keys()):
        if at_ms != previous_ms + BAR_MS:
            blocks.append([])
        day = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).date().isoformat()
        blocks[-1].append(Moment(bars["upbit"][at_ms], bars["binance"][at_ms], rates[day]))
        previous_ms = at_ms
    return [block for block in blocks if len(block) >= BLOCK_BARS_MIN]


class _Books:
    """The three ladders."""

    def __init__(self, generator: random.Random) -> None:
        def ladder(spec_index: int) -> SyntheticDepth:
            spec, value = ((BTCUSDT, 600.0), (KRW_BTC, 800_000.0), (KRW_USDT, 6_000_000.0))[spec_index]
            return SyntheticDepth(spec, DepthShape(levels=40, step_ppm=100, level_value_e8=int(value * E8)), generator)

        self.binance, self.upbit, self.rate = ladder(0), ladder(1), ladder(2)

    def quote(self, depth: SyntheticDepth, at_ns: int, price: float, half_spread: float) -> Change:
        """Stand around a price."""
        ticks = depth.spec.ticks
        bid_e8 = ticks.floor(int(price * (1.0 - half_spread) * E8))
        ask_e8 = max(ticks.ceil(int(price * (1.0 + half_spread) * E8)), bid_e8 + ticks.tick_e8_at(bid_e8))
        return depth.requote(at_ns, bid_e8, ask_e8)


def _play(blocks: list[list[Moment]], seed: int) -> Iterator[Change]:
    generator = random.Random(seed)
    books = _Books(generator)
    at_ns, index = 0, seed
    while True:
        for change in _play_block(blocks[index % len(blocks)], books, generator, at_ns):
            at_ns = change.at_ns
            yield change
        at_ns += PAUSE_NS
        for depth in (books.binance, books.upbit, books.rate):
            depth.clear()
        venues: tuple[tuple[VenueKind, tuple[str, ...]], ...] = (("binance", ("BTCUSDT",)), ("upbit", ("KRW-BTC", "KRW-USDT")))
        for venue, symbols in venues:
            yield Restarted(at_ns, venue, symbols)
        index += 1


def _play_block(block: list[Moment], books: _Books, generator: random.Random, start_ns: int) -> Iterator[Change]:
    first = block[0]
    premium = first.upbit.open / first.binance.open / first.krw_per_usd - 1.0
    basis = BASIS_DEVIATION * generator.gauss(0.0, 1.0)
    kept = math.exp(-1.0 / BASIS_REVERSION_BARS / STEPS_PER_BAR)
    step_ns = BAR_NS // STEPS_PER_BAR
    for number, moment in enumerate(block):
        shared = _bridge(generator, SHARED_NOISE)
        paths = [_path(bar, shared, _bridge(generator, OWN_NOISE)) for bar in (moment.binance, moment.upbit)]
        for step in range(STEPS_PER_BAR):
            binance, upbit = paths[0][step], paths[1][step]
            premium += (upbit / binance / moment.krw_per_usd - 1.0 - premium) * 2.0 / (PREMIUM_BARS * STEPS_PER_BAR + 1)
            basis = basis * kept + BASIS_DEVIATION * math.sqrt(1.0 - kept * kept) * generator.gauss(0.0, 1.0)
            at_ns = start_ns + number * BAR_NS + step * step_ns
            yield from _step(books, generator, at_ns, (binance, upbit, moment.krw_per_usd * (1.0 + premium + basis)))


def _step(books: _Books, generator: random.Random, at_ns: int, prices: tuple[float, float, float]) -> Iterator[Change]:
    """Requote the three books, each a few milliseconds after the other, with now and then a trade before."""
    rows = ((books.binance, prices[0], 0.00001), (books.upbit, prices[1], 0.00004), (books.rate, prices[2], 0.0001))
    for order, (depth, price, half_spread) in enumerate(rows):
        moment_ns = at_ns + order * 4_000_000 + generator.randrange(3_000_000)
        if generator.random() < 0.15:
            yield from depth.trade(moment_ns)
        yield books.quote(depth, moment_ns, price, half_spread)


def _bridge(generator: random.Random, size: float) -> list[float]:
    """Draw a path that begins and ends at zero and is about `size` wide in its middle."""
    walk = [0.0]
    for _ in range(STEPS_PER_BAR):
        walk.append(walk[-1] + generator.gauss(0.0, 2.0 * size / math.sqrt(STEPS_PER_BAR)))
    return [value - walk[-1] * step / STEPS_PER_BAR for step, value in enumerate(walk)][:STEPS_PER_BAR]


def _path(bar: Bar, shared: list[float], own: list[float]) -> list[float]:
    """Go from open to close along the bridges, never outside the bar."""
    path = []
    for step in range(STEPS_PER_BAR):
        straight = bar.open + (bar.close - bar.open) * step / STEPS_PER_BAR
        path.append(min(max(straight * (1.0 + shared[step] + own[step]), bar.low), bar.high))
    return path
