"""Plain boards for strategy tests, and the slow, obvious ways to get the answers that the room must give."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction

from arbitrage.model.events import Level
from arbitrage.model.instruments import (
    FeePayment,
    FeeSchedule,
    Instrument,
    Node,
    Side,
    TickTable,
    TradingStatus,
    Venue,
)
from arbitrage.model.money import E8, PPM, Asset
from arbitrage.model.settings import StrategySettings, TransferSettings
from arbitrage.strategy.graph import Graph

NOW_NS = 1_700_000_000_000_000_000
MS_NS = 1_000_000


class Doubt(enum.Enum):
    """Some of the market room's doubts."""

    STALE = "stale"
    GAP = "gap"
    CROSSED = "crossed"
    IMPLAUSIBLE = "implausible"
    HALTED = "halted"
    HELD = "held"


class PlainBook:
    """Levels as given, best first."""

    def __init__(self, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> None:
        self.bids = list(bids)
        self.asks = list(asks)
        self.asked: list[int] = []

    @property
    def best_bid(self) -> float:
        return self.bids[0][0] if self.bids else 0.0

    @property
    def best_bid_quantity(self) -> float:
        return self.bids[0][1] if self.bids else 0.0

    @property
    def best_ask(self) -> float:
        return self.asks[0][0] if self.asks else 0.0

    @property
    def best_ask_quantity(self) -> float:
        return self.asks[0][1] if self.asks else 0.0

    def levels(self, side: Side, limit: int) -> list[Level]:
        self.asked.append(limit)
        return (self.asks if side is Side.BUY else self.bids)[:limit]


class PlainBoard:
    """Books, rules and doubts as given."""

    def __init__(self, instruments: Sequence[Instrument | None], books: Sequence[PlainBook]) -> None:
        self.instruments = list(instruments)
        self.books = list(books)
        self.instruments_version = 1
        self.doubts: dict[int, Doubt] = {}
        self.ages_ms: dict[int, int] = {}

    def doubt(self, market: int, now_ns: int) -> Doubt | None:
        return self.doubts.get(market)

    def age_ms(self, market: int, now_ns: int) -> int:
        return self.ages_ms.get(market, 7)

    @property
    def all_markets(self) -> range:
        return range(len(self.books))


def instrument(
    market: int,
    venue: str,
    pair: str,
    *,
    fee_ppm: int = 0,
    payment: FeePayment = FeePayment.RECEIVED,
    named: str | None = None,
    tick_e8: int = 1,
    lot_e8: int = 1,
    quantity_e8_min: int = 0,
    quantity_e8_max: int = 10**18,
    notional_e8_min: int = 0,
    status: TradingStatus = TradingStatus.TRADING,
) -> Instrument:
    """Make an instrument from `BASE/QUOTE`."""
    base, quote = pair.split("/")
    fees = FeeSchedule(fee_ppm, fee_ppm, payment, Asset(named) if named else None)
    return Instrument(
        market, Venue(venue), pair, Asset(base), Asset(quote), TickTable.single(tick_e8), lot_e8, quantity_e8_min,
        quantity_e8_max, notional_e8_min, status, fees,
    )  # fmt: skip


def node(text: str) -> Node:
    """Make a node from `ASSET@venue`."""
    asset, venue = text.split("@")
    return Node(Venue(venue), Asset(asset))


def rich(_: Node) -> int:
    """Own a lot of everything."""
    return 10**22


def settings(**changes: object) -> StrategySettings:
    """Make settings with room for every test, changed as given."""
    defaults: dict[str, object] = {"sizing_budget_us": 1_000_000, "survivors_max": 100_000}
    return StrategySettings(**{**defaults, **changes})  # type: ignore[arg-type]  # checked by the tests that use them


def confirmed(cost_ppm: int = 0, cost: str = "0") -> TransferSettings:
    """Make a transfer between venues that is known to move the same coin."""
    return TransferSettings(cost_ppm=cost_ppm, cost=cost, is_identity_confirmed=True)


def slow_cycles(graph: Graph, legs_max: int) -> set[frozenset[int]]:
    """Find every cycle by trying all orders of all edges: exponential, and without any rule but the definition."""
    found: set[frozenset[int]] = set()

    def extend(path: list[int]) -> None:
        node = graph.targets[path[-1]]
        if node == graph.sources[path[0]]:
            if is_cycle(graph, path, legs_max):
                found.add(frozenset(path))
            return
        for edge, source in enumerate(graph.sources):
            if source == node and node not in [graph.sources[known] for known in path] and len(path) < 2 * legs_max:
                extend([*path, edge])

    for edge, source in enumerate(graph.sources):
        if source >= 0:
            extend([edge])
    return found


def is_cycle(graph: Graph, path: Sequence[int], legs_max: int) -> bool:
    """Say whether a closed path with distinct nodes keeps the rules on markets and transfers."""
    markets = [edge >> 1 for edge in path if graph.is_market(edge)]
    turns = zip(path, [*path[1:], path[0]], strict=True)
    has_chain = any(not graph.is_market(a) and not graph.is_market(b) for a, b in turns)
    return 2 <= len(markets) <= legs_max and len(set(markets)) == len(markets) and not has_chain


def exact_product(graph: Graph, board: PlainBoard, cycle: Sequence[int]) -> Fraction:
    """Return the product at the top of the books after fees and proportional transfer costs, without rounding."""
    product = Fraction(1)
    for edge in cycle:
        if not graph.is_market(edge):
            product *= Fraction(PPM - graph.transfer(edge).cost_ppm, PPM)
            continue
        rules, book = graph.instrument(edge), board.books[edge >> 1]
        fee, is_buy = rules.fees.taker_ppm, edge % 2 == 0
        price = Fraction(book.best_ask if is_buy else book.best_bid)
        if price == 0:
            return Fraction(0)
        product *= 1 / price if is_buy else price
        is_on_top = is_buy and rules.fees.payment is FeePayment.QUOTE
        product *= Fraction(PPM, PPM + fee) if is_on_top else Fraction(PPM - fee, PPM)
    return product


def ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


class SlowLeg:
    """One leg, walked level by level each time it is asked."""

    def __init__(self, book: PlainBook, rules: Instrument, side: Side, *, spendable_e8: int, slack_ppm: int = 0) -> None:
        self.rules = rules
        self.side = side
        self.spendable_e8 = spendable_e8
        self.slack_ppm = slack_ppm
        lot = rules.lot_e8
        levels = book.asks if side is Side.BUY else book.bids
        self.levels = [(round(price * E8), round(quantity * E8) // lot * lot) for price, quantity in levels]

    @property
    def depth_e8(self) -> int:
        return sum(quantity for _, quantity in self.levels)

    def fills(self, quantity_e8: int) -> list[tuple[int, int]]:
        fills = []
        for price, available in self.levels:
            taken = min(available, quantity_e8)
            if taken > 0:
                fills.append((price, taken))
            quantity_e8 -= taken
        assert quantity_e8 == 0
        return fills

    def result(self, quantity_e8: int) -> tuple[int, int]:
        """Return what is spent and what is received."""
        fee = self.rules.fees.taker_ppm
        is_quote_fee = self.rules.fees.payment is FeePayment.QUOTE
        spent = received = 0
        for price, taken in self.fills(quantity_e8):
            if self.side is Side.BUY:
                notional = ceil_div(price * taken, E8)
                spent += notional + (ceil_div(notional * fee, PPM) if is_quote_fee else 0)
                received += taken - (0 if is_quote_fee else ceil_div(taken * fee, PPM))
            else:
                notional = price * taken // E8
                spent += taken
                received += notional - ceil_div(notional * fee, PPM)
        return spent, received

    def limit_e8(self, quantity_e8: int) -> int:
        worst = self.fills(quantity_e8)[-1][0]
        if self.side is Side.BUY:
            return max(worst, self.rules.ticks.floor(worst * (PPM + self.slack_ppm) // PPM))
        return min(worst, self.rules.ticks.ceil(ceil_div(worst * (PPM - self.slack_ppm), PPM)))

    def is_allowed(self, quantity_e8: int) -> bool:
        limit, fee = self.limit_e8(quantity_e8), max(self.rules.fees.taker_ppm, 0)
        locked = quantity_e8
        walked = 0
        for price, taken in self.fills(quantity_e8):
            walked += ceil_div(price * taken, E8) if self.side is Side.BUY else price * taken // E8
        if self.side is Side.BUY:
            locked = ceil_div(limit * quantity_e8, E8)
            locked += ceil_div(locked * fee, PPM) if self.rules.fees.payment is FeePayment.QUOTE else 0
        return (
            self.rules.quantity_e8_min <= quantity_e8 <= self.rules.quantity_e8_max
            and min(limit * quantity_e8 // E8, walked) >= self.rules.notional_e8_min
            and max(locked, self.result(quantity_e8)[0]) <= self.spendable_e8
        )


Carry = Callable[[int], int]


def slow_best(legs: Sequence[SlowLeg], transfers: Sequence[TransferSettings | None]) -> tuple[int, int] | None:
    """Try every combination of quantities; return the best (profit, -amount in), or None when none is possible."""
    grids = [
        [q for q in range(leg.rules.lot_e8, leg.depth_e8 + 1, leg.rules.lot_e8) if leg.is_allowed(q)] for leg in legs
    ]
    best: tuple[int, int] | None = None
    for quantities in itertools.product(*grids):
        outcome = _chain(legs, transfers, quantities)
        if outcome is not None and (best is None or outcome > best):
            best = outcome
    return best


def _chain(
    legs: Sequence[SlowLeg], transfers: Sequence[TransferSettings | None], quantities: Sequence[int]
) -> tuple[int, int] | None:
    available: int | None = None
    amount_in = 0
    for leg, transfer, quantity in zip(legs, transfers, quantities, strict=True):
        spent, received = leg.result(quantity)
        if available is None:
            amount_in = spent
        elif spent > available:
            return None
        available = received
        if transfer is not None:
            fixed = round(Fraction(transfer.cost) * E8)
            available = max(0, received * (PPM - transfer.cost_ppm) // PPM - fixed)
    assert available is not None
    return available - amount_in, -amount_in


def balances(amounts: Mapping[str, int]) -> Callable[[Node], int]:
    """Own what is given, by `ASSET@venue`, and nothing else."""
    known = {node(text): amount for text, amount in amounts.items()}
    return lambda place: known.get(place, 0)


def rotations(cycle: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for position in range(len(cycle)):
        yield (*cycle[position:], *cycle[:position])
