"""The reference: books, cycles and depth walks in Decimal, written from the venues' documents and the rules of the house.

Shares no code with the package: frames are read with `json`, books are plain dicts that are sorted when asked, and cycles
are found by walking every path. Slow, and meant to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from bench.frames import FX_CODE

D = Decimal
Place = tuple[str, str]
"""Venue and asset."""
Level = tuple[Decimal, Decimal]


class DiffBook:
    """Binance's documented procedure: buffer, snapshot, unbroken update ids."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.last_id: int | None = None
        self._buffer: list[dict[str, object]] = []
        self._waiting: bytes | None = None

    def read(self, message: dict[str, object]) -> None:
        """Take a diff in. A gap throws the book away."""
        first, last = int(str(message["U"])), int(str(message["u"]))
        if self.last_id is None:
            self._buffer.append(message)
            if self._waiting is not None:
                self.start(self._waiting)
        elif first > self.last_id + 1:
            self.bids, self.asks, self.last_id = {}, {}, None
            self._buffer = [message]
        elif last > self.last_id:
            self._apply(message)

    def start(self, answer: bytes) -> None:
        """Begin at a REST snapshot if the buffered diffs bridge it; without any, wait for the first."""
        if self.last_id is not None:
            return
        if not self._buffer:
            self._waiting = answer
            return
        self._waiting = None
        snapshot = json.loads(answer)
        if int(str(self._buffer[0]["U"])) > snapshot["lastUpdateId"] + 1:
            return
        buffered, self._buffer = self._buffer, []
        self.bids = {D(price): D(quantity) for price, quantity in snapshot["bids"]}
        self.asks = {D(price): D(quantity) for price, quantity in snapshot["asks"]}
        self.last_id = snapshot["lastUpdateId"]
        for message in buffered:
            self.read(message)

    def side(self, *, is_ask: bool) -> list[Level]:
        """Return one side's levels, best first."""
        return sorted((self.asks if is_ask else self.bids).items(), reverse=not is_ask)

    def best(self, *, is_ask: bool) -> Decimal | None:
        """Return a side's best price, or None."""
        return min(self.asks, default=None) if is_ask else max(self.bids, default=None)

    def _apply(self, message: dict[str, object]) -> None:
        for levels, rows in ((self.bids, message["b"]), (self.asks, message["a"])):
            assert isinstance(rows, list)
            for price, quantity in rows:
                if D(quantity):
                    levels[D(price)] = D(quantity)
                else:
                    levels.pop(D(price), None)
        self.last_id = int(str(message["u"]))


class FullBook:
    """Upbit's: the newest picture by the venue's own time."""

    def __init__(self) -> None:
        self._units: list[dict[str, Decimal]] = []
        self._at_ms = -1

    def read(self, message: dict[str, object]) -> None:
        """Take a picture in unless it is older than the one shown."""
        at_ms, units = int(str(message["tms"])), message["obu"]
        assert isinstance(units, list)
        if at_ms >= self._at_ms:
            self._at_ms, self._units = at_ms, units

    def side(self, *, is_ask: bool) -> list[Level]:
        """Return one side's levels, best first."""
        price, size = ("ap", "as") if is_ask else ("bp", "bs")
        return [(D(unit[price]), D(unit[size])) for unit in self._units]

    def best(self, *, is_ask: bool) -> Decimal | None:
        """Return a side's best price, or None."""
        return next((price for price, _ in self.side(is_ask=is_ask)), None)


class Books:
    """Every market by its symbol, fed with raw bytes."""

    def __init__(self, binance_symbols: list[str], upbit_codes: list[str]) -> None:
        self.by_symbol: dict[str, DiffBook | FullBook] = {
            **{symbol: DiffBook() for symbol in binance_symbols},
            **{code: FullBook() for code in upbit_codes},
        }

    def read(self, raw: bytes) -> str | None:
        """Book one good frame; return the market that it named. Best-price frames book nothing and name none."""
        message = json.loads(raw, parse_float=D)
        if "stream" in message:
            message = message["data"]
            if message.get("e") != "depthUpdate":
                return None
            symbol = message["s"]
        else:
            symbol = message["cd"]
        self.by_symbol[symbol].read(message)
        return str(symbol)

    def snapshot(self, symbol: str, answer: bytes) -> None:
        """Hand over a REST snapshot."""
        book = self.by_symbol[symbol]
        assert isinstance(book, DiffBook), "only Binance answers with snapshots"
        book.start(answer)

    def side(self, symbol: str, *, is_ask: bool) -> list[Level]:
        """Return one side of a market, best first."""
        return self.by_symbol[symbol].side(is_ask=is_ask)

    def best(self, symbol: str, *, is_ask: bool) -> Decimal | None:
        """Return the best price of a side, or None."""
        return self.by_symbol[symbol].best(is_ask=is_ask)


class Terms:
    """Costs, as fractions."""

    binance_fee = D("0.001")
    upbit_fee = D("0.0005")

    def __init__(self, coin_transfer_ppm: int, usdt_transfer_ppm: int) -> None:
        self._coin, self._usdt = D(coin_transfer_ppm) / 10**6, D(usdt_transfer_ppm) / 10**6

    def transfer(self, asset: str) -> Decimal:
        """Return what part of an asset a transfer costs."""
        return self._usdt if asset == "USDT" else self._coin


class Edge:
    """One step between two places: a trade (symbol and side) or a transfer (no symbol)."""

    def __init__(self, source: Place, target: Place, symbol: str = "", *, is_buy: bool = False) -> None:
        self.source, self.target, self.symbol, self.is_buy = source, target, symbol, is_buy


class Cycles:
    """Every cycle of 2 to `legs_max` trades over `coins`, found by walking every path from every place."""

    def __init__(self, coins: list[str], legs_max: int) -> None:
        self._legs_max = legs_max
        self._edges: list[Edge] = []
        for coin in coins:
            self._trade("binance", coin, "USDT", f"{coin}USDT")
            self._trade("upbit", coin, "KRW", f"KRW-{coin}")
        self._trade("upbit", "USDT", "KRW", FX_CODE)
        for asset in (*coins, "USDT"):
            ends = ("binance", asset), ("upbit", asset)
            self._edges += [Edge(ends[0], ends[1]), Edge(ends[1], ends[0])]
        starts = {edge.source for edge in self._edges}
        self.all = {turned([edge.source for edge in path]): path for start in starts for path in self._walk(start, [])}

    def product(self, path: list[Edge], books: Books, terms: Terms) -> Decimal:
        """Return what one unit turns into at the best prices, after fees and transfers; 0 where a side is empty."""
        product = D(1)
        for edge in path:
            if not edge.symbol:
                product *= 1 - terms.transfer(edge.source[1])
                continue
            price = books.best(edge.symbol, is_ask=edge.is_buy)
            if price is None:
                return D(0)
            product *= 1 / price if edge.is_buy else price
            if edge.source[0] == "binance":
                product *= 1 - terms.binance_fee
            else:
                product = product / (1 + terms.upbit_fee) if edge.is_buy else product * (1 - terms.upbit_fee)
        return product

    def _trade(self, venue: str, base: str, quote: str, symbol: str) -> None:
        ends = (venue, quote), (venue, base)
        self._edges += [Edge(ends[0], ends[1], symbol, is_buy=True), Edge(ends[1], ends[0], symbol)]

    def _walk(self, start: Place, path: list[Edge]) -> Iterator[list[Edge]]:
        here = path[-1].target if path else start
        trades = sum(1 for edge in path if edge.symbol)
        for edge in self._edges:
            if edge.source != here or (path and not edge.symbol and not path[-1].symbol):
                continue
            if edge.symbol and (trades == self._legs_max or any(edge.symbol == other.symbol for other in path)):
                continue
            if edge.target == start and trades + bool(edge.symbol) >= 2 and (edge.symbol or path[0].symbol):
                yield [*path, edge]
            elif all(edge.target not in (other.source, other.target) for other in path) and edge.target != start:
                yield from self._walk(start, [*path, edge])


def turned(places: list[Place]) -> tuple[Place, ...]:
    """Turn a cycle's places so that equal cycles are equal."""
    begin = places.index(min(places))
    return (*places[begin:], *places[:begin])


def places_of(name: str) -> tuple[Place, ...]:
    """Read an opportunity's name (`USDT@binance > BTC > BTC@upbit > …`): a word without a venue keeps the one before."""
    places: list[Place] = []
    for word in name.split(" > "):
        asset, _, venue = word.partition("@")
        places.append((venue or places[-1][0], asset))
    return turned(places[:-1])


class Pour:
    """The most that a cycle could earn without lots, minimums and rounding: poured in level by level while it still pays."""

    def __init__(self, path: list[Edge], books: Books, terms: Terms) -> None:
        self._legs = [_Leg(edge, books, terms) for edge in path]

    def best(self, amount_max: Decimal) -> Decimal:
        """Return the profit in the first place's asset, of at most `amount_max` put in."""
        profit, left = D(0), amount_max
        while left > 0 and all(leg.is_open for leg in self._legs):
            product, room = D(1), left
            for leg in self._legs:
                if leg.left is not None:
                    room = min(room, leg.left / product)
                product *= leg.rate
            if product <= 1:
                break
            amount = room
            for leg in self._legs:
                amount = leg.flow(amount)
            profit += amount - room
            left -= room
        return profit


class _Leg:
    """One edge with what is left of its level, counted in what it takes in."""

    def __init__(self, edge: Edge, books: Books, terms: Terms) -> None:
        self.left: Decimal | None = None
        self.is_open = True
        self._levels: Iterator[Level] = iter(())
        self._edge, self._terms = edge, terms
        if edge.symbol:
            self._levels = iter(books.side(edge.symbol, is_ask=edge.is_buy))
            self._next()
        else:
            self.rate = 1 - terms.transfer(edge.source[1])

    def flow(self, amount: Decimal) -> Decimal:
        """Send an amount through; return what comes out."""
        out = amount * self.rate
        if self.left is not None:
            self.left -= amount
            if self.left < D("1e-18"):
                self._next()
        return out

    def _next(self) -> None:
        level = next(self._levels, None)
        if level is None:
            self.is_open = False
            return
        (price, size), is_buy = level, self._edge.is_buy
        on_top = 1 + self._terms.upbit_fee if is_buy and self._edge.source[0] == "upbit" else D(1)
        fee = self._terms.binance_fee if self._edge.source[0] == "binance" else self._terms.upbit_fee
        kept = D(1) if on_top != 1 else 1 - fee
        self.rate = kept / price / on_top if is_buy else kept * price
        self.left = size * price * on_top if is_buy else size
