"""What befalls a simulated life: dated strikes, drawn whole from the seed before it begins. Carries none of them out.

A strike is a value, so a failing life can be lived again without it: that is how a trace is shrunk. Times are milliseconds
since the beginning. `Fault`s are the exchanges' own (`exchange/faults.py`); the rest happens to wires, daemon or stores.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from arbitrage.sim.exchange.faults import Fault, Kind

VENUES = ("binance", "upbit")
RATE = "KRW-USDT"
FIRST_MS = 2_500
"""Before this the daemon comes up in peace."""
OFFER_MS = (500, 2_600)
PRIVATE = {"binance": "/ws-api/v3", "upbit": "/websocket/v1/private"}
PUBLIC = {"binance": "/stream", "upbit": "/websocket/v1"}
PLACING = {"binance": "order.place", "upbit": "POST /v1/orders"}
ASKING = {"binance": "GET /api/v3/*", "upbit": "GET /v1/*"}
CANCELLING = {"binance": "order.cancel", "upbit": "DELETE /v1/order"}
NEWS = {"binance": "executionReport", "upbit": "myOrder"}
BOOKS = {"binance": "*@depth@100ms", "upbit": "orderbook.*"}


class Point(enum.Enum):
    """Where in its work the process dies."""

    NOW = "now"
    BEFORE_WRITE = "before the journal's write"
    TORN_WRITE = "in the middle of the journal's write"
    AFTER_WRITE = "after the journal's write"
    BEFORE_SEND = "before an order's send"
    AFTER_SEND = "after an order's send"
    SNAPSHOT = "in the middle of a snapshot's write"


class Strike(msgspec.Struct, frozen=True, tag=True):
    """Something that happens at a time."""

    at_ms: int

    def __str__(self) -> str:
        words = [f"{name}={_word(getattr(self, name))}" for name in self.__struct_fields__ if name != "at_ms"]
        return f"{type(self).__name__.lower()} {' '.join(words)}"


class Offer(Strike, frozen=True):
    """A coin is dearer at Upbit for a while."""

    coin: str
    ppm: int
    for_ms: int


class VenueFault(Strike, frozen=True):
    """A fault is armed at a venue."""

    fault: Fault

    def __str__(self) -> str:
        return f"fault {msgspec.json.encode(self.fault).decode()}"


class Flip(Strike, frozen=True):
    """Messages down a path arrive with a bit flipped, and are JSON still."""

    venue: str
    path: str
    count: int


class Slow(Strike, frozen=True):
    """A wire takes longer, both ways."""

    venue: str
    ms: int
    for_ms: int


class Cut(Strike, frozen=True):
    """A connection ends without a word."""

    venue: str
    path: str


class Thin(Strike, frozen=True):
    """The next order finds that others were there first: so much of every level is left."""

    venue: str
    part_ppm: int


class Crash(Strike, frozen=True):
    """The process dies and is started again; the wall clock may have been set meanwhile."""

    point: Point
    skip: int
    """So many chances pass first."""
    down_ms: int
    wall_ms: int = 0


class DatabaseAway(Strike, frozen=True):
    """Facts wait for PostgreSQL."""

    for_ms: int


class DiskFull(Strike, frozen=True):
    """Neither journal nor snapshot can be written. With `is_reserved` the journal still has its reserve."""

    for_ms: int
    is_reserved: bool


class Reload(Strike, frozen=True):
    """The configuration is read again, with other limits."""

    notional: int
    open_plans: int
    validity_ms: int


class Kill(Strike, frozen=True):
    """The kill switch is set, and released later."""

    for_ms: int


class Pause(Strike, frozen=True):
    """New entries are paused, and resumed later."""

    for_ms: int


class Transfer(Strike, frozen=True):
    """Somebody moves so much of an asset in or (negative) out by hand, and says so to the daemon later."""

    venue: str
    asset: str
    ppm: int
    said_ms: int


class Twin(Strike, frozen=True):
    """A second engine is restored from what is kept, and held against the first."""


AnyStrike = (
    Offer | VenueFault | Flip | Slow | Cut | Thin | Crash | DatabaseAway | DiskFull | Reload | Kill | Pause | Transfer | Twin
)
"""By its tag: strikes are kept as JSON."""
Strikes = tuple[AnyStrike, ...]
Drawn = Iterator[AnyStrike]
Family = Callable[[random.Random, int], Drawn]
STROKES: tuple[dict[str, Any], ...] = (
    {"kind": Kind.LOST}, {"kind": Kind.LATE, "ms": 400}, {"kind": Kind.LATE, "ms": 2_500}, {"kind": Kind.LATE, "ms": 11_000},
    {"kind": Kind.SLOW, "ms": 300}, {"kind": Kind.SLOW, "ms": 2_500}, {"kind": Kind.REPEATED}, {"kind": Kind.HALF_OPEN},
    {"kind": Kind.ERROR_AFTER, "status": 503}, {"kind": Kind.ERROR_AFTER, "status": 502, "body": "<html>"},
    {"kind": Kind.ERROR_BEFORE, "status": 503}, {"kind": Kind.HTML, "status": 403}, {"kind": Kind.CUT},
)  # fmt: skip
"""What may befall a request at any venue."""
REFUSALS: tuple[dict[str, Any], ...] = (
    {"kind": Kind.ERROR_BEFORE, "status": 400, "venue": "binance", "body": '{"code":-1013,"msg":"Filter failure: NOTIONAL"}'},
    {"kind": Kind.ERROR_BEFORE, "status": 400, "venue": "binance", "body": '{"code":-2010,"msg":"insufficient balance"}'},
    {"kind": Kind.ERROR_BEFORE, "status": 400, "venue": "upbit",
     "body": '{"error":{"name":"insufficient_funds_bid","message":"no funds"}}'},
    {"kind": Kind.ERROR_BEFORE, "status": 429, "venue": "binance"},
    {"kind": Kind.ERROR_BEFORE, "status": 429, "venue": "upbit"},
)  # fmt: skip
MESSAGES = (Kind.LOST, Kind.LOST, Kind.LATE, Kind.REPEATED, Kind.REORDERED, Kind.CUT)
PARTS_PPM = (0, 4_000, 20_000, 120_000)


def draw(
    dice: random.Random, coins: Iterable[str], storm_ms: int, *, offer_every_ms: int, fault_share: float = 1.0
) -> Strikes:
    """Draw the whole weather of a life whose storm lasts so long; `fault_share` of the offers may meet faults."""
    names = tuple(coins)
    strikes: list[AnyStrike] = []
    at_ms = FIRST_MS + dice.randrange(500)
    while at_ms < storm_ms:
        ppm = dice.choice((-1, 1)) * dice.choice((9_000, 12_000, 18_000))
        strikes.append(Offer(at_ms, dice.choice(names), ppm, dice.randint(*OFFER_MS)))
        count = dice.choices((0, 1, 2, 3, 4), (1, 2, 3, 3, 2))[0]
        for family in dice.choices(FAMILIES, WEIGHTS, k=count if dice.random() < fault_share else 0):
            strikes += family(dice, at_ms)
        at_ms += int(offer_every_ms * dice.uniform(0.6, 1.5))
    return tuple(sorted(strikes, key=lambda strike: strike.at_ms))


def _placing(dice: random.Random, at_ms: int) -> Drawn:
    venue = dice.choice(VENUES)
    stroke = {"venue": venue} | dice.choice((*STROKES, *STROKES, *REFUSALS))
    yield VenueFault(at_ms, Fault(endpoint=PLACING[stroke["venue"]], times=dice.choice((1, 1, 2)), **stroke))


def _asking(dice: random.Random, at_ms: int) -> Drawn:
    venue = dice.choice(VENUES)
    times, skip = dice.choice((1, 1, 3)), dice.randrange(3)
    yield VenueFault(at_ms, Fault(venue=venue, endpoint=ASKING[venue], times=times, skip=skip, **dice.choice(STROKES)))


def _news(dice: random.Random, at_ms: int) -> Drawn:
    venue, late_ms = dice.choice(VENUES), dice.choice((200, 1_500, 4_000))
    skip, times = dice.choice((0, 0, 1, 2)), dice.choice((1, 4))
    yield VenueFault(at_ms, Fault(dice.choice(MESSAGES), venue, NEWS[venue], ms=late_ms, skip=skip, times=times))


def _books(dice: random.Random, at_ms: int) -> Drawn:
    venue = dice.choice(VENUES)
    kind = dice.choice((Kind.LOST, Kind.LOST, Kind.LOST, Kind.LATE, Kind.REPEATED, Kind.REORDERED))
    before_ms = dice.choice((0, 700, 1_400, 2_100))
    fault = Fault(kind, venue, BOOKS[venue], times=dice.choice((1, 3)), ms=dice.choice((150, 700)))
    yield VenueFault(max(FIRST_MS, at_ms - before_ms), fault)


def _gap(dice: random.Random, at_ms: int) -> Drawn:
    """One update of a book is lost, and the next one comes before or while something would pay."""
    before_ms = dice.choice((0, 700, 1_400, 2_100))
    yield VenueFault(max(FIRST_MS, at_ms - before_ms), Fault(Kind.LOST, "binance", BOOKS["binance"]))


def _unseen(dice: random.Random, at_ms: int) -> Drawn:
    """Order entry loses its answer, and queries do not find the order for a while."""
    venue = dice.choice(VENUES)
    yield VenueFault(at_ms, Fault(Kind.NOT_FOUND, venue, ms=dice.choice((300, 1_500, 3_000)), for_s=10.0))
    yield VenueFault(at_ms, Fault(dice.choice((Kind.LOST, Kind.ERROR_AFTER)), venue, PLACING[venue]))
    yield VenueFault(at_ms, Fault(Kind.SILENT_PRIVATE, venue, for_s=dice.choice((1.0, 5.0))))


def _thin(dice: random.Random, at_ms: int) -> Drawn:
    for venue in dice.choice((("binance",), ("upbit",), VENUES)):
        yield Thin(at_ms, venue, dice.choice(PARTS_PPM))


def _crash(dice: random.Random, at_ms: int) -> Drawn:
    point = dice.choice((*Point, Point.AFTER_WRITE, Point.BEFORE_SEND, Point.AFTER_SEND))
    wall_ms = dice.choice((0, 0, 0, -7_200_000, 400, -400))
    yield Crash(at_ms, point, dice.choice((0, 0, 1, 2, 5)), dice.choice((200, 1_500, 5_000)), wall_ms)


def _frozen(dice: random.Random, at_ms: int) -> Drawn:
    venue, symbol = dice.choice((("binance", ""), ("binance", "BTCUSDT"), ("upbit", ""), ("upbit", RATE), ("upbit", RATE)))
    yield VenueFault(max(FIRST_MS, at_ms - 3_500), Fault(Kind.FROZEN, venue, symbol=symbol, for_s=6.0))


def _blind(dice: random.Random, at_ms: int) -> Drawn:
    """Binance's books are lost just before something would pay, and not back at once."""
    path = PUBLIC["binance"]
    yield VenueFault(at_ms - 200, Fault(Kind.HTML, "binance", f"connect {path}", times=dice.choice((1, 2)), status=502))
    yield Cut(at_ms - dice.choice((50, 150)), "binance", path)


def _link(dice: random.Random, at_ms: int) -> Drawn:
    venue, before_ms = dice.choice(VENUES), dice.choice((0, 200, 1_000))
    path = dice.choice((PRIVATE, PUBLIC))[venue]
    choice = dice.randrange(4)
    at_ms = max(FIRST_MS, at_ms - before_ms)
    if choice == 0:
        yield VenueFault(at_ms, Fault(Kind.HALF_OPEN, venue, f"socket {path}"))
    elif choice == 1:
        yield VenueFault(at_ms, Fault(Kind.SHUTDOWN, venue, for_s=1.0))
    else:
        yield Cut(at_ms, venue, path)
        if choice == 2:
            yield VenueFault(at_ms, Fault(Kind.HTML, venue, f"connect {path}", times=2, status=502))


def _skew(dice: random.Random, at_ms: int) -> Drawn:
    ms, for_s = dice.choice((-3_000, -700, 700, 3_000)), dice.choice((3.0, 8.0))
    yield VenueFault(max(FIRST_MS, at_ms - 1_000), Fault(Kind.SKEW, dice.choice(VENUES), ms=ms, for_s=for_s))


def _late(dice: random.Random, at_ms: int) -> Drawn:
    """A clock turns out wrong by an order's refusal, and to measure it takes about as long as the order is valid."""
    begins_ms = max(FIRST_MS, at_ms - dice.choice((0, 50, 200)))
    yield VenueFault(begins_ms, Fault(Kind.SKEW, "binance", ms=dice.choice((-3_000, 3_000)), for_s=6.0))
    yield VenueFault(begins_ms, Fault(Kind.SLOW, "binance", "GET /api/v3/time", ms=dice.choice((600, 1_200, 2_000)), times=3))


def _ban(dice: random.Random, at_ms: int) -> Drawn:
    venue, for_s = dice.choice(VENUES), dice.choice((2.0, 6.0))
    yield VenueFault(at_ms + dice.choice((-200, 0, 150)), Fault(Kind.BAN, venue, for_s=for_s))
    if dice.random() < 0.5:
        yield Crash(at_ms + dice.choice((900, 1_600)), Point.NOW, 0, 200)


def _kill(dice: random.Random, at_ms: int) -> Drawn:
    at_ms += dice.choice((0, 60, 250, 700))
    yield Kill(at_ms, dice.choice((800, 4_000)))
    if dice.random() < 0.5:
        yield Thin(at_ms - 300, dice.choice(VENUES), dice.choice(PARTS_PPM))
    if dice.random() < 0.2:
        yield Crash(at_ms + 300, Point.NOW, 0, 200)
    if dice.random() < 0.7:
        venue = dice.choice(VENUES)
        slow_ms = dice.choice((300, 900))
        yield VenueFault(at_ms - 300, Fault(Kind.SLOW, venue, PLACING[venue], ms=slow_ms))
    if dice.random() < 0.5:
        venue = dice.choice(VENUES)
        yield VenueFault(at_ms - 300, Fault(Kind.FILL_BEFORE_CANCEL, venue, CANCELLING[venue]))


def _stores(dice: random.Random, at_ms: int) -> Drawn:
    at_ms = max(FIRST_MS, at_ms - dice.choice((0, 150, 1_200)))
    if dice.random() < 0.5:
        yield DatabaseAway(at_ms, dice.choice((2_000, 8_000)))
    else:
        yield DiskFull(at_ms, dice.choice((600, 3_000)), dice.random() < 0.3)


def _operator(dice: random.Random, at_ms: int) -> Drawn:
    if dice.random() < 0.3:
        yield Pause(at_ms, dice.choice((500, 3_000)))
    else:
        before_ms = dice.choice((0, 400, 1_500))
        notional, plans = dice.choice((300, 1_000, 4_000)), dice.choice((1, 2, 4))
        yield Reload(max(FIRST_MS, at_ms - before_ms), notional, plans, dice.choice((600, 1_500)))


def _transfer(dice: random.Random, at_ms: int) -> Drawn:
    venue = dice.choice(VENUES)
    asset = dice.choice(("BTC", {"binance": "USDT", "upbit": "KRW"}[venue]))
    yield Transfer(at_ms, venue, asset, dice.choice((-200_000, -10_000, 3_000, 150_000)), dice.choice((1_500, 3_000)))


def _rules(dice: random.Random, at_ms: int) -> Drawn:
    symbol = dice.choice(("BTCUSDT", "KRW-BTC"))
    venue = "upbit" if "-" in symbol else "binance"
    choice = dice.randrange(3)
    if choice == 0:
        yield VenueFault(at_ms, Fault(Kind.HALT, venue, symbol=symbol, for_s=3.0))
    elif choice == 1:
        yield VenueFault(at_ms, Fault(Kind.WALLET, venue, asset="BTC", for_s=6.0))
    else:
        fields = {"taker_fee": dice.choice(("0.002", "0.0003"))}
        yield VenueFault(at_ms - 200, Fault(Kind.RULES, venue, symbol=symbol, fields=fields, for_s=20.0))


def _flips(dice: random.Random, at_ms: int) -> Drawn:
    venue = dice.choice(VENUES)
    before_ms = dice.choice((0, 200, 800))
    yield Flip(max(FIRST_MS, at_ms - before_ms), venue, PUBLIC[venue], dice.choice((1, 3, 8)))


def _slow(dice: random.Random, at_ms: int) -> Drawn:
    yield Slow(at_ms, dice.choice(VENUES), dice.choice((80, 400, 1_200)), dice.choice((500, 2_500)))


def _twin(dice: random.Random, at_ms: int) -> Drawn:
    for _ in range(2):
        yield Twin(at_ms + dice.randrange(1, 2_000))


WEATHER: tuple[tuple[Family, int], ...] = (
    (_placing, 8), (_asking, 3), (_news, 7), (_books, 5), (_gap, 5), (_unseen, 5), (_thin, 8), (_crash, 7), (_frozen, 3),
    (_link, 3), (_blind, 2), (_skew, 3), (_ban, 3), (_kill, 6), (_stores, 4), (_operator, 3), (_rules, 3), (_flips, 2),
    (_slow, 2), (_twin, 5), (_transfer, 2), (_late, 3),
)  # fmt: skip
FAMILIES = tuple(family for family, _ in WEATHER)
WEIGHTS = tuple(weight for _, weight in WEATHER)


def _word(value: object) -> str:
    return str(value.value) if isinstance(value, enum.Enum) else str(value)
