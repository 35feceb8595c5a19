"""`arbitrage cycles`: every cycle in a table of best prices, and what is missing where none gains. Trades nothing."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

import msgspec

from arbitrage.app.exits import Exit
from arbitrage.model.events import Level
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Node, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import PPM, Asset, format_e8, parse_e8
from arbitrage.model.opportunities import Opportunity
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.census import Census, Ranked, percentile, take_census
from arbitrage.strategy.fx import Fx
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import UNLIMITED_E8
from arbitrage.strategy.route import Route, route_of
from arbitrage.strategy.sizer import Decision, Sizer
from arbitrage.strategy.sizing import Budget
from arbitrage.strategy.valuation import Valuer

VENUE = Venue("table")
CYCLES_MAX = 20_000_000
"""Cycles looked at; reaching it is said in the answer (`truncated`)."""
SIZING_STEPS_MAX = 1_000_000
REQUIRED = ("symbol", "bid", "bid_qty", "ask", "ask_qty", "base", "quote")
FILE_BYTES_MAX = 256_000_000
"""Of a table, unpacked."""
PERCENTILES = (("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99"), ("p99.9", "0.999"), ("max", "1"))
REPORTING = ("USDT", "USDC", "USD", "EUR", "KRW", "BTC")
"""Profit is told in the first of these that the table has, else in the asset with most markets."""


class BadTable(Exception):
    """The file is no table of best prices; the text is one line that says where and why."""


class TableBook(msgspec.Struct):
    """One level a side."""

    best_bid: float
    best_bid_quantity: float
    best_ask: float
    best_ask_quantity: float

    def levels(self, side: Side, limit: int) -> Sequence[Level]:
        """Return the one level that an order of this side would hit."""
        is_buy = side is Side.BUY
        level = (self.best_ask, self.best_ask_quantity) if is_buy else (self.best_bid, self.best_bid_quantity)
        return [level][:limit] if level[0] > 0.0 else []


class Row(msgspec.Struct, frozen=True):
    """One market of the file: its rules, its prices as exact numbers, and the same as a book."""

    rules: Instrument
    bid: Fraction
    ask: Fraction
    book: TableBook


class Table:
    """The file as a board of one moment: nothing is doubted and nothing ages."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.books = [row.book for row in rows]
        self.instruments = [row.rules for row in rows]
        self.instruments_version = 1

    def doubt(self, market: int, now_ns: int) -> None:
        """Doubt nothing."""

    def age_ms(self, market: int, now_ns: int) -> int:
        """Return no age."""
        return 0


class Best(msgspec.Struct, frozen=True):
    """One of the best cycles. Amounts are decimal text in the named asset; they are there only when it gains at some size."""

    cycle: str
    markets: int
    net_bps: float
    gross_bps: float
    legs: tuple[str, ...]
    amount_in: str | None = None
    profit: str | None = None
    asset: str | None = None
    no_size_because: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What is printed as JSON. Every `bps` is rounded down to a hundredth."""

    markets: int
    assets: int
    cycles: dict[str, int]
    gaining: int
    best_bps: float | None
    top: tuple[Best, ...]
    max_legs: int
    fee_bps: float
    missing_bps: float | None
    """What the best cycle lacks to break even; 0 when it gains."""
    break_even_fee_bps: dict[str, float]
    """By number of markets: the fee at which the best such cycle breaks even; below 0, none gains even without a fee."""
    net_bps_over_cycles: dict[str, float]
    """Percentiles of all cycles' net edge."""
    net_bps_over_markets: dict[str, float]
    """Percentiles, over markets, of the best cycle through each."""
    crossed: int
    """Markets whose bid is not below their ask: bad rows more often than gifts."""
    truncated: bool
    """Whether longer cycles were left out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    columns = ",".join(REQUIRED)
    parser.add_argument("--books", required=True, metavar="FILE.csv[.zst]", type=Path, help=f"a table with columns {columns}")
    parser.add_argument("--max-legs", type=int, default=4, choices=range(2, 9), metavar="N", help="markets in a cycle (4)")
    parser.add_argument("--fee-bps", type=_fee_ppm, default=1000, metavar="F", dest="fee_ppm", help="taker's fee in bps (10)")
    parser.add_argument("--top", type=int, default=10, metavar="K", help="how many of the best cycles are listed (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Read the table, look at every cycle, tell what was found."""
    try:
        table = Table(list(read_table(arguments.books, arguments.fee_ppm)))
    except BadTable as error:
        print(f"arbitrage cycles: {error}", file=sys.stderr)
        return Exit.USAGE
    answer = _answer(table, fee_ppm=arguments.fee_ppm, legs_max=arguments.max_legs, top=max(1, arguments.top))
    print(msgspec.json.encode(answer).decode() if arguments.json else "\n".join(_explain(answer)))
    return Exit.DONE


def read_table(path: Path, fee_ppm: int) -> Iterator[Row]:
    """Yield the markets of a file. Raises BadTable with the file, line and column of what is wrong."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            raise BadTable(f"{path}:1: column {missing[0]!r} is missing; needed are {','.join(REQUIRED)}")
        market = 0
        for cells in reader:
            yield _Cells(f"{path}:{reader.line_num}", cells).row(market, fee_ppm)
            market += 1
    except csv.Error as error:
        raise BadTable(f"{path}:{reader.line_num}: not a table of comma-separated values: {error}") from None
    if market == 0:
        raise BadTable(f"{path}:1: no market follows the header")


class _Cells:
    """One line of the file."""

    def __init__(self, where: str, cells: Mapping[str, str | None]) -> None:
        self._where = where
        self._cells = cells

    def row(self, market: int, fee_ppm: int) -> Row:
        """Read the line as a market."""
        base, quote = self._word("base"), self._word("quote")
        if base == quote:
            raise self._bad("quote", f"{quote!r} is the base as well")
        rules = Instrument(
            id=market,
            venue=VENUE,
            symbol=self._word("symbol"),
            base=Asset(base),
            quote=Asset(quote),
            ticks=TickTable.single(self._rule("tick_size") or 1),
            lot_e8=self._rule("step_size") or 1,
            quantity_e8_min=self._rule("min_qty"),
            quantity_e8_max=UNLIMITED_E8,
            notional_e8_min=self._rule("min_notional"),
            status=TradingStatus.TRADING,
            fees=FeeSchedule(fee_ppm, fee_ppm, FeePayment.RECEIVED),
        )
        bid, ask = self._number("bid"), self._number("ask")
        book = TableBook(float(bid), float(self._number("bid_qty")), float(ask), float(self._number("ask_qty")))
        return Row(rules, Fraction(bid), Fraction(ask), book)

    def _bad(self, column: str, why: str) -> BadTable:
        return BadTable(f"{self._where}: column {column!r}: {why}")

    def _word(self, column: str) -> str:
        text = (self._cells.get(column) or "").strip()
        if not text:
            raise self._bad(column, "is empty")
        return text

    def _number(self, column: str) -> Decimal:
        text = self._word(column)
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise self._bad(column, f"{text!r} is not a number") from None
        if not number.is_finite() or number < 0 or abs(number.adjusted()) > 30:
            raise self._bad(column, f"{text!r} is no price or quantity")
        return number

    def _rule(self, column: str) -> int:
        """Return an optional rule in 1e-8; 0 where the file has none."""
        if not (self._cells.get(column) or "").strip():
            return 0
        try:
            return parse_e8(str(self._number(column)))
        except ValueError as error:
            raise self._bad(column, str(error)) from None


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        text = _decompressed(path, raw) if path.suffix == ".zst" else raw
        if len(text) > FILE_BYTES_MAX:
            raise BadTable(f"{path}: is larger than {FILE_BYTES_MAX} bytes")
        return text.decode("utf-8-sig")
    except OSError as error:
        raise BadTable(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadTable(f"{path}: is not UTF-8 text (byte {error.start})") from None


def _decompressed(path: Path, raw: bytes) -> bytes:
    try:
        import zstandard  # noqa: PLC0415 - an extra: only compressed files need it
    except ImportError:
        raise BadTable(f"{path}: needs zstandard (pip install 'arbitrage[recordings]'), or unpack it first") from None
    try:
        return bytes(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read(FILE_BYTES_MAX + 1))
    except zstandard.ZstdError as error:
        raise BadTable(f"{path}: is not zstd-compressed: {error}") from None


def _fee_ppm(text: str) -> int:
    try:
        ppm = Decimal(text) * 100
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of basis points") from None
    if not ppm.is_finite() or ppm != ppm.to_integral_value() or not 0 <= ppm < PPM:
        raise argparse.ArgumentTypeError(f"{text!r}: a fee is 0 to 9999.99 bps, in hundredths of a basis point")
    return int(ppm)


def _answer(table: Table, *, fee_ppm: int, legs_max: int, top: int) -> Answer:
    graph = Graph(table.instruments, {})
    kept = Fraction(PPM - fee_ppm, PPM)
    rates = [rate * kept for row in table.rows for rate in (1 / row.ask if row.ask else Fraction(0), row.bid)]
    census = take_census(graph, rates, legs_max=legs_max, cycles_max=CYCLES_MAX, top=top)
    best = census.top[0].product if census.top else None
    listed = _Listing(table, graph, fee_ppm)
    return Answer(
        markets=len(table.rows),
        assets=len(graph.nodes),
        cycles={str(length): count for length, count in census.cycles.items()},
        gaining=census.gaining,
        best_bps=None if best is None else _bps(best),
        top=tuple(map(listed.describe, census.top)),
        max_legs=legs_max,
        fee_bps=fee_ppm / 100,
        missing_bps=None if best is None else max(0.0, -_bps(best)),
        break_even_fee_bps=_break_even(census, float(kept)),
        net_bps_over_cycles=_percentiles(census.products),
        net_bps_over_markets=_percentiles(census.best_by_market.values()),
        crossed=sum(0 < row.ask <= row.bid for row in table.rows),
        truncated=census.is_truncated,
    )


class _Listing:
    """Describes the best cycles, with the size that earns most where they gain."""

    def __init__(self, table: Table, graph: Graph, fee_ppm: int) -> None:
        known = {row.rules.base for row in table.rows} | {row.rules.quote for row in table.rows}
        self._reporting = next((Asset(name) for name in REPORTING if name in known), graph.nodes[0].asset)
        self._table = table
        self._graph = graph
        self._kept = Fraction(PPM - fee_ppm, PPM)

    def describe(self, ranked: Ranked) -> Best:
        """Write one cycle down."""
        route = route_of(self._graph, 0, ranked.cycle, self._reporting)
        symbols = [self._table.instruments[step.market].symbol for step in route.steps]
        best = Best(
            cycle=route.name.replace(f"@{VENUE}", ""),
            markets=len(route.steps),
            net_bps=_bps(ranked.product),
            gross_bps=_bps(ranked.product / self._kept ** len(route.steps)),
            legs=tuple(f"{step.side.value} {symbol}" for step, symbol in zip(route.steps, symbols, strict=True)),
        )
        return self._sized(best, route) if ranked.product > 1 else best

    def _sized(self, best: Best, route: Route) -> Best:
        settings = StrategySettings(reporting_asset=self._reporting, fx_assets=(), levels_max=1)
        sizer = Sizer(settings, self._graph, Fx(self._graph, settings), None)
        valuer = Valuer(self._graph, self._table, self._reporting, 1, 0)
        result = sizer.size(route, Decision(self._table, _unlimited, 0, valuer, Budget(SIZING_STEPS_MAX)), best.cycle)
        if not isinstance(result, Opportunity):
            return msgspec.structs.replace(best, no_size_because=f"{result.reason.value}: {result.detail}")
        profit_e8 = result.amount_out_e8 - result.amount_in_e8
        return msgspec.structs.replace(
            best, amount_in=format_e8(result.amount_in_e8), profit=format_e8(profit_e8), asset=result.start.asset
        )


def _unlimited(_: Node) -> int:
    """Own everything: the question is what the books would give."""
    return UNLIMITED_E8


def _bps(product: Fraction | float) -> float:
    return float((Fraction(product) - 1) * 1_000_000 // 1) / 100


def _percentiles(products: Iterable[float]) -> dict[str, float]:
    ordered = sorted(products)
    return {name: _bps(percentile(ordered, Fraction(share))) for name, share in PERCENTILES} if ordered else {}


def _break_even(census: Census, kept: float) -> dict[str, float]:
    """Return the fee at which the best cycle of each length would just pay: one less the root of its gross inverted."""
    gross = {length: product / kept**length for length, product in census.best_by_length.items()}
    return {str(length): round((1.0 - product ** (-1.0 / length)) * 10_000, 2) for length, product in gross.items()}


def _explain(answer: Answer) -> Iterator[str]:
    counts = ", ".join(f"{count:,} of {length}" for length, count in answer.cycles.items())
    yield f"{answer.markets:,} markets between {answer.assets:,} assets."
    yield f"Cycles over distinct assets by number of markets, each direction counted on its own: {counts}."
    if answer.truncated:
        yield f"Only the first {CYCLES_MAX:,} cycles were looked at; longer ones are missing."
    if answer.crossed:
        yield f"{answer.crossed} markets show a bid that is not below their ask: bad rows more often than gifts."
    if answer.best_bps is None:
        yield "There is no cycle."
        return
    if answer.gaining:
        found = f"{answer.gaining:,} gain at the best prices; the best nets {answer.best_bps} bps"
    else:
        found = f"none gains; the best lacks {answer.missing_bps} bps to break even"
    yield f"At a fee of {answer.fee_bps:g} bps a market {found}."
    fees = ", ".join(f"{fee} bps with {length} markets" for length, fee in answer.break_even_fee_bps.items())
    yield f"The best cycle would break even at a fee a market of: {fees} (below 0: not even without a fee)."
    yield f"Net edge of all cycles, in bps: {_words(answer.net_bps_over_cycles)}."
    yield f"Net edge of the best cycle through each market, in bps: {_words(answer.net_bps_over_markets)}."
    yield "Best cycles (net bps, gross bps):"
    for best in answer.top:
        size = f"  in {best.amount_in}, profit {best.profit} {best.asset}" if best.profit else ""
        refusal = f"  no size: {best.no_size_because}" if best.no_size_because else ""
        yield f"  {best.net_bps:>10.2f} {best.gross_bps:>10.2f}  {best.cycle}{size}{refusal}"


def _words(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {bps}" for name, bps in shares.items())
