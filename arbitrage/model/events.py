"""Everything that happens in the world, stamped with its arrival time. One arrival is one event; nothing here acts.

`at_ns` is engine time: nanoseconds since 1970 at process start plus monotonic progress since, so it never jumps with the
wall clock. `venue_ms` is what the venue wrote, in its own clock. Hot events carry the floats that decoding yields.
"""

from __future__ import annotations

import enum

import msgspec

from arbitrage.model.instruments import FeeSchedule, Instrument, Side, Venue
from arbitrage.model.money import Asset
from arbitrage.model.orders import ClientOrderId, Fill, OrderState
from arbitrage.model.settings import TradingSettings

Level = tuple[float, float]
"""Price and quantity."""


class BookUnit(msgspec.Struct, gc=False):
    """One rung of a full-picture book: best ask and best bid of that depth. Codecs subclass it to name wire keys."""

    ask_price: float
    bid_price: float
    ask_size: float
    bid_size: float


class BookDiff(msgspec.Struct, frozen=True, gc=False):
    """Absolute quantities of changed levels (0 deletes), with the venue's first and last update id."""

    at_ns: int
    market: int
    first_id: int
    last_id: int
    bids: list[Level]
    asks: list[Level]
    venue_ms: int


class BookSnapshot(msgspec.Struct, frozen=True, gc=False):
    """The REST picture that a diff book starts from. A side that is not whole goes on, unknown, beyond its last price."""

    at_ns: int
    market: int
    last_id: int
    bids: list[Level]
    asks: list[Level]
    is_bid_side_whole: bool = False
    is_ask_side_whole: bool = False


class BookFull(msgspec.Struct, frozen=True, gc=False):
    """A complete picture of the best levels; replaces the book. `units` are best first and kept as they were decoded."""

    at_ns: int
    market: int
    units: list[BookUnit]
    venue_ms: int
    is_snapshot: bool


class TopOfBook(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask with the book's update id; a cross-check, and never itself a book."""

    at_ns: int
    market: int
    update_id: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class TradePrint(msgspec.Struct, frozen=True, gc=False):
    """Somebody's trade; best prices ride along where the venue sends them (else None)."""

    at_ns: int
    market: int
    trade_id: int
    price: float
    quantity: float
    taker_side: Side
    best_bid: float | None
    best_ask: float | None
    venue_ms: int


class LinkUp(msgspec.Struct, frozen=True):
    """A market-data connection is open and subscribed; books behind it start from nothing."""

    at_ns: int
    venue: Venue
    connection: str
    markets: tuple[int, ...]


class LinkDown(msgspec.Struct, frozen=True):
    """A market-data connection ended; its markets are unusable from this event on."""

    at_ns: int
    venue: Venue
    connection: str
    markets: tuple[int, ...]
    reason: str


class LinkAlive(msgspec.Struct, frozen=True):
    """The connection showed life without data (pong, status line): quiet is not dead."""

    at_ns: int
    venue: Venue
    connection: str


class FaultKind(enum.Enum):
    """Named faults of the world, counted and never raised."""

    MALFORMED = "malformed"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_SYMBOL = "unknown_symbol"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_FIELD_VALUE = "unknown_field_value"
    VENUE_ERROR = "venue_error"
    SERVER_SHUTDOWN = "server_shutdown"
    RATE_LIMITED = "rate_limited"
    BANNED = "banned"
    REQUEST_FAILED = "request_failed"
    SUBSCRIPTION_SILENT = "subscription_silent"
    OVERFLOW = "overflow"


class FeedFault(msgspec.Struct, frozen=True):
    """Something arrived that is not an event, or did not arrive. `detail` is short and holds no secret."""

    at_ns: int
    venue: Venue
    kind: FaultKind
    detail: str
    market: int | None = None


class ClockMeasured(msgspec.Struct, frozen=True):
    """Venue clock minus ours, by the midpoint of a request's round trip."""

    at_ns: int
    venue: Venue
    offset_ms: int
    round_trip_ms: int


class InstrumentsRead(msgspec.Struct, frozen=True):
    """The venue's own rules for our configured markets, read at start and hourly. `missing` are configured, not listed."""

    at_ns: int
    venue: Venue
    instruments: tuple[Instrument, ...]
    missing: tuple[str, ...] = ()


class OrderAccepted(msgspec.Struct, frozen=True):
    """The venue has the order."""

    at_ns: int
    client_order_id: ClientOrderId
    venue_order_id: str


class OrderFilled(msgspec.Struct, frozen=True):
    """A fill, possibly one already known: it is applied at most once by the venue's trade id."""

    at_ns: int
    fill: Fill


class OrderEnded(msgspec.Struct, frozen=True):
    """The venue's last word on an order. `filled_quantity_e8` is its own total."""

    at_ns: int
    client_order_id: ClientOrderId
    state: OrderState
    filled_quantity_e8: int
    reason: str


class OrderUnanswered(msgspec.Struct, frozen=True):
    """No acknowledgement came within its limit: the outcome is unknown and will be asked."""

    at_ns: int
    client_order_id: ClientOrderId


class OrderAbsent(msgspec.Struct, frozen=True):
    """The venue says that it does not know the order. Not believed before the order's validity and a horizon have passed.

    Reads lag behind writes (reference binance-spot 2 and 12, upbit 7).
    """

    at_ns: int
    client_order_id: ClientOrderId
    asked_ns: int = 0
    """Before this the question had not left; 0 where nobody noted it, and then the newest question is meant."""


class AccountBalance(msgspec.Struct, frozen=True):
    """What a venue says it holds of one asset for us."""

    asset: Asset
    free_e8: int
    locked_e8: int


class OpenOrder(msgspec.Struct, frozen=True):
    """An order that a venue says is open, ours or a stranger's. `market` is None when the symbol is not configured."""

    client_order_id: ClientOrderId
    """Empty when the order was made without one."""
    venue_order_id: str
    symbol: str
    market: int | None
    side: Side
    price_e8: int
    quantity_e8: int
    filled_quantity_e8: int


class AccountRead(msgspec.Struct, frozen=True):
    """One venue's whole account as it stood between `asked_ns` and `at_ns`: every balance, every open order."""

    at_ns: int
    asked_ns: int
    venue: Venue
    balances: tuple[AccountBalance, ...]
    open_orders: tuple[OpenOrder, ...]


class AccountLinkUp(msgspec.Struct, frozen=True):
    """Order entry and the private stream of a venue work: subscribed, nothing missed from here on."""

    at_ns: int
    venue: Venue


class AccountLinkDown(msgspec.Struct, frozen=True):
    """Order entry or the private stream of a venue is lost, or proved silent: events may have been missed."""

    at_ns: int
    venue: Venue
    reason: str


class FeesRead(msgspec.Struct, frozen=True):
    """The account's own terms by market, read at start and hourly."""

    at_ns: int
    venue: Venue
    fees: tuple[tuple[int, FeeSchedule], ...]
    notional_e8_mins: tuple[tuple[int, int], ...] = ()
    """Smallest order values, where a venue states them to an account alone (Upbit)."""
    inactive: tuple[int, ...] = ()
    """Those of these markets in which the account cannot trade now."""


class WalletsRead(msgspec.Struct, frozen=True):
    """Which assets of a venue cannot be deposited or withdrawn now: their premium is locked, not tradable."""

    at_ns: int
    venue: Venue
    suspended: tuple[Asset, ...]


class MarketClosed(msgspec.Struct, frozen=True):
    """A venue refused an order because the market takes none now: its rules, read before, no longer say how it stands."""

    at_ns: int
    venue: Venue
    market: int


class OrdersHeld(msgspec.Struct, frozen=True):
    """A venue takes no order of ours before a time: it said so (429, 418), or the budget it grants is spent."""

    at_ns: int
    venue: Venue
    until_ns: int


class StoreReported(msgspec.Struct, frozen=True):
    """How the stores stand. New entries stop when the journal's bound is reached; open legs are finished then."""

    at_ns: int
    is_postgres_up: bool
    is_redis_up: bool
    journal_bytes_waiting: int
    is_journal_full: bool
    lease_fault: str = ""
    """Why nothing may be entered for this session now; empty while its lease is held, or where none is needed."""
    is_silenced: bool = False
    """Another instance may hold the lease: not even an open leg may be finished."""


class Funded(msgspec.Struct, frozen=True, tag="funded"):
    """Inventory declared by the operator (paper) or read from the venue (live). Signed change."""

    at_ns: int
    venue: Venue
    asset: Asset
    amount_e8: int
    reason: str


class CommandKind(enum.Enum):
    """What an operator can tell the engine."""

    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill"
    RELEASE = "release"
    ACCEPT_DIFFERENCES = "accept_differences"
    ACCEPT_INSTRUMENTS = "accept_instruments"


class Command(msgspec.Struct, frozen=True):
    """An operator's word, with who said it and why."""

    at_ns: int
    kind: CommandKind
    actor: str
    reason: str
    name: str = ""
    """Which difference is accepted; empty means all of them."""


class Reloaded(msgspec.Struct, frozen=True):
    """A new configuration, validated whole; swapped whole."""

    at_ns: int
    settings: TradingSettings
    version: str


class DifferenceFound(msgspec.Struct, frozen=True):
    """Start-up found something that does not agree; trading stays disarmed until it is explained or accepted."""

    at_ns: int
    text: str


class Wake(msgspec.Struct, frozen=True):
    """The timer: deadlines, ages and windows are looked at now."""

    at_ns: int


class FollowUpsDue(msgspec.Struct, frozen=True):
    """Refused opportunities are to be priced again. Comes by itself between wakes, so that no decision waits for it."""

    at_ns: int


class Decide(msgspec.Struct, frozen=True):
    """The socket is drained: look at every market that changed, once."""

    at_ns: int


MarketEvent = BookDiff | BookSnapshot | BookFull | TopOfBook | TradePrint
FeedEvent = MarketEvent | LinkUp | LinkDown | LinkAlive | FeedFault | ClockMeasured | InstrumentsRead
OrderEvent = OrderAccepted | OrderFilled | OrderEnded | OrderUnanswered | OrderAbsent
AccountEvent = AccountRead | AccountLinkUp | AccountLinkDown | FeesRead | WalletsRead | MarketClosed | OrdersHeld
ControlEvent = StoreReported | Funded | Command | Reloaded | DifferenceFound | Wake | FollowUpsDue | Decide
Event = FeedEvent | OrderEvent | AccountEvent | ControlEvent
