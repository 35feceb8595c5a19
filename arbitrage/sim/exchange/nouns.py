"""What a simulated exchange speaks of: orders as held, executions, refusals, updates, rules, policy, keys. Decides nothing.

Money is integers in units of 1e-8 (`_e8`), rates are parts per million (`_ppm`), times are wall-clock nanoseconds. Facades
(`sim/server/binance_*`, `sim/server/upbit_*`) translate between these nouns and their venue's words.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from arbitrage.model.instruments import Side, TickTable


class OrderType(enum.Enum):
    """What an order asks for. Post-only is a type here, as it is on Binance (LIMIT_MAKER)."""

    LIMIT = "limit"
    MARKET = "market"
    POST_ONLY = "post_only"
    BEST = "best"
    """A limit at the opposite best price of the moment (Upbit)."""


class Force(enum.Enum):
    """How long an order may stand. MARKET never rests, whatever is said here."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class SelfTrade(enum.Enum):
    """What happens when an order meets another of the same account; the taker's mode decides."""

    NONE = "none"
    """They trade with each other."""
    CANCEL_TAKER = "cancel_taker"
    CANCEL_MAKER = "cancel_maker"
    CANCEL_BOTH = "cancel_both"
    REDUCE = "reduce"
    """Both shrink by the smaller rest; whichever has none left ends."""
    TRANSFER = "transfer"
    """Within one account there is nothing to transfer: as REDUCE."""


class OrderRequest(msgspec.Struct, frozen=True):
    """An order as asked for: `quantity_e8` of base, or `quote_e8` to spend (buy) or to receive (sell), never both."""

    symbol: str
    side: Side
    type: OrderType
    force: Force
    price_e8: int | None
    quantity_e8: int | None
    quote_e8: int | None
    client_id: str
    """The client's id; empty on Upbit when none was given (Binance's facade makes one up)."""
    self_trade: SelfTrade


class Status(enum.Enum):
    """Where an order stands. Facades map to their own words: Upbit calls CANCELED, EXPIRED and EXPIRED_IN_MATCH `cancel`."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    EXPIRED_IN_MATCH = "expired_in_match"
    REJECTED = "rejected"

    @property
    def is_open(self) -> bool:
        return self in (Status.NEW, Status.PARTIALLY_FILLED)


class Execution(msgspec.Struct, frozen=True):
    """One fill as booked. `quote_e8` is price times quantity, cut off at 1e-8; the fee is already taken."""

    trade_id: int
    price_e8: int
    quantity_e8: int
    quote_e8: int
    fee_e8: int
    fee_asset: str
    is_maker: bool
    at_ns: int
    taker_side: Side


class Prevention(msgspec.Struct, frozen=True):
    """A trade between two orders of the account that self-trade prevention did not let happen."""

    match_id: int
    """Counts from 0 in each market."""
    maker_id: int
    taker_id: int
    price_e8: int
    quantity_e8: int
    """What would have traded."""
    maker_taken_e8: int
    taker_taken_e8: int
    """What it took off either order; 0 where the mode spares one."""

    def taken_e8(self, order_id: int) -> int:
        """Return what it took off one of its two orders."""
        return self.taker_taken_e8 if order_id == self.taker_id else self.maker_taken_e8

    def other_id(self, order_id: int) -> int:
        """Return the other order's number."""
        return self.maker_id if order_id == self.taker_id else self.taker_id


class HeldOrder(msgspec.Struct, eq=False):
    """An order the exchange took. Compared by identity; changes in place, so copy what a message needs at once."""

    order_id: int
    request: OrderRequest
    maker_ppm: int
    taker_ppm: int
    """The rates in force when the order was taken hold for its life."""
    created_ns: int
    updated_ns: int
    locked_asset: str
    locked_e8: int = 0
    """What is still locked for it, with the reserved fee where the fee is paid in quote (Upbit)."""
    status: Status = Status.NEW
    executed_e8: int = 0
    executed_quote_e8: int = 0
    prevented_e8: int = 0
    """Quantity taken off by self-trade prevention."""
    paid_fee_e8: int = 0
    """Sum over the fills, which may be in different assets: a total only where the fee is always in quote."""
    executions: list[Execution] = []
    preventions: list[Prevention] = []
    """Those it met as the taker, and those that took something off it."""
    expiry_reason: str = ""
    """Binance's word for why it expired, or empty."""
    limit_e8: int | None = None
    """Worst price it may trade at: the request's, or for BEST the price it found; None for MARKET."""
    reserved_fee_e8: int = 0
    """The part of the first lock that was reserved for fees (Upbit's `reserved_fee`)."""
    ahead_e8: int = 0
    """While it rests: other people's quantity at its price that comes first."""

    @property
    def is_open(self) -> bool:
        return self.status.is_open

    @property
    def remaining_e8(self) -> int:
        """Base still to trade; 0 for an order by quote."""
        return max((self.request.quantity_e8 or 0) - self.executed_e8 - self.prevented_e8, 0)

    @property
    def remaining_quote_e8(self) -> int:
        """Quote still to spend or to receive, for an order by quote."""
        return max((self.request.quote_e8 or 0) - self.executed_quote_e8, 0)


class Why(enum.Enum):
    """Why a request is refused."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    HALTED = "halted"
    PRICE_FILTER = "price_filter"
    LOT_SIZE = "lot_size"
    NOTIONAL = "notional"
    NOTIONAL_MAX = "notional_max"
    PERCENT_PRICE = "percent_price"
    MAX_ORDERS = "max_orders"
    INSUFFICIENT = "insufficient"
    DUPLICATE_ID = "duplicate_id"
    """Binance: an order with this client id is open."""
    ID_SPENT = "id_spent"
    """Upbit: this identifier was sent before, even if that request was refused."""
    WOULD_TAKE = "would_take"
    NOT_PERMITTED = "not_permitted"
    TOO_DEEP = "too_deep"
    NOT_FOUND = "not_found"
    """Cancel of an order that is not open (any more)."""
    NO_LIQUIDITY = "no_liquidity"
    """A market or best order meets an empty book."""


class Rejection(msgspec.Struct, frozen=True):
    """A refusal; it leaves no order behind."""

    why: Why
    detail: str = ""


class Happened(enum.Enum):
    """What an update tells."""

    ACCEPTED = "accepted"
    TRADED = "traded"
    CANCELED = "canceled"
    EXPIRED = "expired"
    """Ended by its own rule or by the exchange."""
    REJECTED = "rejected"
    PREVENTED = "prevented"
    """Self-trade prevention took quantity off, the last of `preventions`; when it took all, the order has ended."""


class Update(msgspec.Struct, frozen=True):
    """Something happened to an order. Told synchronously, after balances and order were changed."""

    order: HeldOrder
    happened: Happened
    execution: Execution | None
    at_ns: int


class IdRule(enum.Enum):
    """How client ids may be used again."""

    OPEN_ONLY = "open_only"
    FOREVER = "forever"


class FeeMode(enum.Enum):
    """Which asset pays."""

    RECEIVED = "received"
    QUOTE = "quote"


class Policy(msgspec.Struct, frozen=True):
    """How a venue differs from the other. `policy.py` holds the two."""

    id_rule: IdRule
    fee_mode: FeeMode
    ioc_rest: Status
    """How an order ends whose rest may not stand: EXPIRED (Binance), CANCELED (Upbit)."""
    prevented: Status
    """How self-trade prevention ends an order: EXPIRED_IN_MATCH (Binance), CANCELED (Upbit)."""
    quote_buy_end: Status
    """How a market buy by quote ends when no further unit can be bought: FILLED (Binance), CANCELED (Upbit)."""
    fees_ppm: Mapping[str, tuple[int, int]]
    """Maker and taker rate by quote asset; the key "" is for all others."""
    named_fee_asset: str = ""
    """Pays instead of the received asset while it suffices (BNB); empty is off. Switched at run time on the exchange."""
    named_fee_share_ppm: int = 1_000_000
    """What is paid of the rate then: 750000 is a quarter off."""
    market_levels_max: int = 0
    """A market order that needs more levels is refused; 0 is no such rule."""
    open_orders_max: int = 0
    """Per symbol; 0 is no such rule."""
    percent_down_ppm: int = 0
    percent_up_ppm: int = 0
    """Bounds of a limit price against the reference price; 0 is no such rule."""
    notional_e8_max: int = 0
    first_order_id: int = 1
    first_trade_id: int = 1


class Rules(msgspec.Struct, frozen=True):
    """One market's rules as they are now; replaced whole when one changes at run time."""

    symbol: str
    base: str
    quote: str
    ticks: TickTable
    lot_e8: int
    quantity_e8_min: int
    quantity_e8_max: int
    notional_e8_min: int
    maker_ppm: int
    taker_ppm: int


class ApiKey(msgspec.Struct, frozen=True):
    """A test key. On Binance one key signs either way: HMAC by `secret`, or Ed25519 by the key of `ed25519_pem`."""

    access_key: str
    secret: str
    ed25519_pem: str = ""
    """PKCS#8 PEM of the private key, made from the seed; the facade takes the public key from it."""
    can_trade: bool = True
    can_withdraw: bool = False

    def __repr__(self) -> str:
        return f"ApiKey({self.access_key[:6]}…)"
