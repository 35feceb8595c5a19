"""What the detector found, what the guard said of it, and what became of it. Values only; decides nothing."""

from __future__ import annotations

import enum

import msgspec

from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import Asset
from arbitrage.model.orders import Order, PlanId


class FxPolicy(enum.Enum):
    """What happens to a foreign-exchange leg of a cycle."""

    EXECUTE = "execute"
    CARRY = "carry"
    """The leg is priced at its executable book but not traded: the proceeds stay as exposure under their own limit."""


class Leg(msgspec.Struct, frozen=True, gc=False):
    """One market of a cycle, sized by walking its book. Amounts are in 1e-8 of the named asset."""

    market: int
    side: Side
    spent: Node
    received: Node
    quantity_e8: int
    """Base quantity on the lot grid."""
    price_limit_e8: int
    """Worst price the walk touched, on the tick grid."""
    spent_e8: int
    """Leaves `spent`, any fee on top included."""
    received_e8: int
    """Arrives at `received`, any fee from it taken off."""
    fee_e8: int
    fee_asset: Asset
    top_price_e8: int
    age_ms: int
    """Age of the market's newest update when this was computed."""
    is_carried: bool = False


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """One asset moved between venues from own inventory, with what it costs to rebalance later."""

    source: Node
    target: Node
    amount_e8: int
    cost_e8: int
    """In the moved asset, rounded up."""


class FxRate(msgspec.Struct, frozen=True, gc=False):
    """The executable top of the book that priced a fiat: the rate used, with its depth and age."""

    market: int
    bid_e8: int
    bid_quantity_e8: int
    ask_e8: int
    ask_quantity_e8: int
    age_ms: int


class EdgeBreakdown(msgspec.Struct, frozen=True, gc=False):
    """Expected edge taken apart, in 1e-8 of the reporting asset; `top_of_book - depth - fees - transfers == net` exactly."""

    top_of_book_e8: int
    depth_e8: int
    fees_e8: int
    transfers_e8: int
    net_e8: int

    def __post_init__(self) -> None:
        costs_e8 = self.depth_e8 + self.fees_e8 + self.transfers_e8
        assert self.top_of_book_e8 - costs_e8 == self.net_e8, "the breakdown sums to net"


class Opportunity(msgspec.Struct, frozen=True, gc=False):
    """A cycle whose output exceeds its input after every cost, sized exactly, with the age of every market used."""

    id: str
    at_ns: int
    cycle: int
    name: str
    """Readable, such as `USDT@binance > BTC > KRW@upbit > USDT`."""
    legs: tuple[Leg, ...]
    transfers: tuple[Transfer, ...]
    start: Node
    amount_in_e8: int
    amount_out_e8: int
    reporting_asset: Asset
    notional_e8: int
    """Input in the reporting asset."""
    edge_ppm: int
    """Net edge over notional, rounded down."""
    breakdown: EdgeBreakdown
    fx: tuple[FxRate, ...] = ()
    """The rate of every fiat on the way, whether or not a leg trades it."""

    @property
    def net_e8(self) -> int:
        return self.breakdown.net_e8


class Refusal(enum.Enum):
    """Why an opportunity was not taken. One reason each; the first that holds, in the guard's own order."""

    KILL_SWITCH = "kill_switch"
    PAUSED = "paused"
    NOT_ARMED = "not_armed"
    STALE_MARKET = "stale_market"
    GAPPED_MARKET = "gapped_market"
    CROSSED_MARKET = "crossed_market"
    DOUBTFUL_MARKET = "doubtful_market"
    SYMBOL_HALTED = "symbol_halted"
    SYMBOL_HELD = "symbol_held"
    NO_FX = "no_fx"
    CLOCK_OFFSET = "clock_offset"
    VENUE_UNHEALTHY = "venue_unhealthy"
    STORE_UNHEALTHY = "store_unhealthy"
    UNCONFIRMED_IDENTITY = "unconfirmed_identity"
    BELOW_THRESHOLD = "below_threshold"
    TOO_GOOD = "too_good"
    BELOW_MINIMUM = "below_minimum"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    NOTIONAL_ORDER = "notional_per_order"
    NOTIONAL_OPPORTUNITY = "notional_per_opportunity"
    NOTIONAL_PAIR = "notional_per_pair"
    NOTIONAL_VENUE = "notional_per_venue"
    EXPOSURE_ASSET = "exposure_per_asset"
    CARRIED_FX = "carried_fx"
    OPEN_PLANS = "open_plans"
    PAIR_BUSY = "pair_busy"
    PAIR_NAKED = "pair_naked"
    """Plans of this pair left more than dust unhedged."""
    PAIR_DISARMED = "pair_disarmed"
    """The pair realised too little of what it expected and disarmed itself."""
    LOCKED = "locked"
    """A wallet on the way is suspended: the premium is real and cannot be carried home."""
    ORDERS_PER_MINUTE = "orders_per_minute"
    LOSS_TODAY = "loss_today"
    DRAWDOWN = "drawdown"
    TIME_BUDGET = "time_budget"
    """The detector's time budget ran out before this survivor was sized."""


class Refused(msgspec.Struct, frozen=True, gc=False, tag="refused"):
    """No, and why. `detail` names the limit and the value in words."""

    reason: Refusal
    detail: str


class Approved(msgspec.Struct, frozen=True, gc=False, tag="approved"):
    """The only thing that can become orders. Constructed by `risk.guard` alone; a house test holds that."""

    opportunity: Opportunity


Verdict = Approved | Refused


class LegChoice(enum.Enum):
    """What the leg governor did about a leg that fell short."""

    COMPLETE = "complete"
    REVERSE = "reverse"
    HOLD = "hold"


class PricedChoice(msgspec.Struct, frozen=True, gc=False):
    """One of the governor's alternatives with its price in the reporting asset, or the reason it is not allowed."""

    choice: LegChoice
    cost_e8: int | None
    reason: str
    order: Order | None


class PlanState(enum.Enum):
    """Where a plan stands; the last four are terminal."""

    WORKING = "working"
    GOVERNED = "governed"
    COMPLETED = "completed"
    """Flat within dust by its planned legs alone."""
    RECOVERED = "recovered"
    """Flat within dust after the governor's orders."""
    CLOSED_WITH_RESIDUAL = "closed_with_residual"
    MISSED = "missed"
    """Nothing filled on any leg: no position, no profit, no loss."""

    @property
    def is_terminal(self) -> bool:
        return self not in (PlanState.WORKING, PlanState.GOVERNED)


class Residual(msgspec.Struct, frozen=True, gc=False):
    """What an arbitrage left behind in one asset, signed, with its value at the executable book when it closed."""

    asset: Asset
    amount_e8: int
    value_e8: int
    unvalued_reason: str = ""
    """Why `value_e8` is 0 although the amount is not: no executable book could price it."""


class Waterfall(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """From the profit that was expected to the one that was realised, in 1e-8 of the reporting asset; the steps sum exactly.

    A step is positive where it was better than expected.
    """

    expected_e8: int
    transfers_e8: int
    """What carrying the inventory home was expected to cost: counted against the edge, and not paid by this arbitrage."""
    prices_e8: int
    """Better or worse prices than planned, of what the planned legs filled, fiat's own market aside."""
    fees_e8: int
    """Lower or higher fees than planned, of what the planned legs filled."""
    legs_e8: int
    """All the rest: legs that fell short, the orders that mended them, and what is left, valued as it was when this closed."""
    realised_e8: int
    fx_e8: int = 0
    """Better or worse prices than planned in the market of fiat, carried fiat at its value at the closing included.

    In what was kept before it was told apart it is in `prices_e8`, that of carried fiat in `legs_e8`.
    """

    def __post_init__(self) -> None:
        steps_e8 = self.transfers_e8 + self.prices_e8 + self.fx_e8 + self.fees_e8 + self.legs_e8
        assert self.expected_e8 + steps_e8 == self.realised_e8, "a waterfall ends where it says"


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How an arbitrage ended: realised profit in the reporting asset, residuals, and what was expected."""

    plan_id: PlanId
    opportunity_id: str
    state: PlanState
    reporting_asset: Asset
    expected_e8: int
    realised_e8: int
    residuals: tuple[Residual, ...]
    opened_at_ns: int
    closed_at_ns: int
    waterfall: Waterfall | None = None
    """None in what was kept before there was one."""

    def __post_init__(self) -> None:
        assert self.state.is_terminal, "an outcome is an end"


class VenueHealth(msgspec.Struct, frozen=True):
    """What the guard may know of a venue."""

    venue: Venue
    is_connected: bool
    alive_age_ms: int
    clock_offset_ms: int | None
    reason: str
