"""What the reads of the opportunity ledger ask and answer: plain values, ready to be shown or encoded. Reads nothing.

Amounts are exact decimal text with their asset (`Money`), times RFC 3339 in UTC with the nanoseconds beside (`Moment`); parts
per million and counts are numbers. Every struct encodes with msgspec as it is.
"""

from __future__ import annotations

import datetime

import msgspec

from arbitrage.model.money import format_e8, parse_e8

LINES_MAX = 1_000
"""Lines of one page at most."""
SECOND_NS = 1_000_000_000


class Money(msgspec.Struct, frozen=True):
    """So much of one asset, as exact decimals."""

    asset: str
    amount: str

    @classmethod
    def of(cls, e8: int, asset: str) -> Money:
        """Make it out of units of 1e-8."""
        return cls(asset, format_e8(int(e8)))

    @property
    def e8(self) -> int:
        """The amount in units of 1e-8, exactly."""
        return parse_e8(self.amount)

    def __str__(self) -> str:
        return f"{self.amount} {self.asset}"


class Moment(msgspec.Struct, frozen=True):
    """When: to the microsecond for people, to the nanosecond for programs."""

    at: str
    """RFC 3339, UTC."""
    ns: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, ns: int) -> Moment:
        """Make it out of nanoseconds since 1970."""
        moment = datetime.datetime.fromtimestamp(ns // SECOND_NS, datetime.UTC)
        return cls(f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % SECOND_NS // 1_000:06d}Z", ns)

    def __str__(self) -> str:
        return self.at


class Away(msgspec.Struct, frozen=True):
    """The database does not answer, and why: nothing can be said now. Not an error of the asker."""

    reason: str


class Question(msgspec.Struct, frozen=True):
    """Which opportunities or episodes: all conditions hold together; newest first."""

    is_taken: bool | None = None
    """True: those that became plans; False: those that were refused; None: both."""
    pair: str = ""
    """What they trade: an asset, such as `BTC`, or a pair's name, such as `BTC+ETH`, in any order; empty: all."""
    since_ns: int = 0
    until_ns: int | None = None
    limit: int = 100
    """From 1 to LINES_MAX."""
    cursor: str = ""
    """`next_cursor` of the page before; empty: the first page."""


class BadQuestion(ValueError):
    """A question that cannot be asked: a limit out of range, a cursor that is none of ours. One line for whoever asked."""


class FollowUpLine(msgspec.Struct, frozen=True):
    """What the refused cycle would have paid so much later, at no more than the same size."""

    delay_ms: int
    """When it was meant to be looked at, after the opportunity: 50, 100, 250, 500."""
    looked_ms: int
    """When the books were looked at, after the opportunity: the first decision or wake that was due."""
    net: Money | None
    """After every cost, rounded against us, negative where it would have lost; None where the books gave no answer."""
    reason: str
    """Why there is no answer, such as `market unusable: stale_market`; empty where there is one."""


class OfferLine(msgspec.Struct, frozen=True):
    """One sized opportunity within an episode: its first one, or the best."""

    id: str
    at: Moment
    edge_ppm: int
    net: Money
    notional: Money


class EpisodeLine(msgspec.Struct, frozen=True):
    """One opening of a cycle, from the first look at which it gained to the last."""

    id: str
    cycle: int
    name: str
    pair: str
    """The assets that it trades besides fiat and the reporting asset, joined by `+`."""
    first_seen: Moment
    last_seen: Moment
    life_ms: int
    state: str
    """`open`, `gone` (it no longer gained), `interrupted` (rules or settings changed) or `stopped` (the daemon ended)."""
    looks: int
    """Decisions in which it gained."""
    edge_ppm_peak: int
    """At the top of the books after fees and proportional transfer costs: an estimate, not sized."""
    net_peak: Money | None
    """Of the best sized opportunity; None where none was ever sized."""
    first: OfferLine | None
    peak: OfferLine | None
    taken: tuple[str, ...]
    """Ids of the opportunities that became plans, the newest few."""
    taken_count: int
    refusals: dict[str, int]
    """How often it was refused, by reason."""
    follow_ups: tuple[FollowUpLine, ...]


class Missed(msgspec.Struct, frozen=True):
    """Openings that were refused for lack of balance and never taken, of the cycles that spend one venue's stock of one asset.

    Every opening is kept, so their number is exact. What they would have paid is known of those alone whose first
    opportunity was sized and priced again at each delay.
    """

    openings: int
    priced: int
    """Of them, answered at every delay."""
    paying: int
    """Of those, still paying at every delay."""
    net: Money
    """What these would have paid at the worst of their delays, together; of those that began within one second only the best
    counts, because they spend the same stock."""
    first_ns: int | None
    """The first opening of any kind that is kept since the asked time; None: none is."""


class OpportunityLine(msgspec.Struct, frozen=True):
    """One opportunity that was sized exactly and judged: every taken one, and samples of the others."""

    id: str
    at: Moment
    name: str
    pair: str
    verdict: str
    """`taken`, or the reason of the refusal."""
    detail: str
    edge_ppm: int
    net: Money
    notional: Money
    age_ms_max: int
    """Age of the oldest market used."""
    plan_id: str | None
    plan_state: str | None
    realised: Money | None
    """None while its plan is open, and where there is none."""


class OpportunityPage(msgspec.Struct, frozen=True):
    """Opportunities, newest first."""

    lines: tuple[OpportunityLine, ...]
    next_cursor: str | None
    """Asks for the page after; None at the end."""


class EpisodePage(msgspec.Struct, frozen=True):
    """Episodes, newest first."""

    lines: tuple[EpisodeLine, ...]
    next_cursor: str | None


class Step(msgspec.Struct, frozen=True):
    """One step of a waterfall."""

    name: str
    """One of STEPS."""
    text: str
    """In words."""
    money: Money
    """Signed: a cost is negative."""
    is_total: bool = False
    """A sum of all steps before it (`expected`, `realised`), not a step of its own."""


class WaterfallLine(msgspec.Struct, frozen=True):
    """From the edge at the top of the books to the realised profit; the steps that are no totals sum to the last exactly."""

    asset: str
    steps: tuple[Step, ...]
    is_closed: bool
    """False: as far as `expected`, the plan is open or there is none."""


class LegLine(msgspec.Struct, frozen=True):
    """One market of an opportunity as it was seen: top and age of its book, and what was to be traded."""

    venue: str
    symbol: str
    side: str
    top_price: str
    price_limit: str
    age_ms: int
    quantity: str
    spent: Money
    received: Money
    fee: Money
    is_carried: bool


class RateLine(msgspec.Struct, frozen=True):
    """The executable rate of a fiat on the way."""

    symbol: str
    bid: str
    bid_quantity: str
    ask: str
    ask_quantity: str
    age_ms: int


class FillLine(msgspec.Struct, frozen=True):
    """One fill as the venue booked it."""

    at: Moment
    trade_id: str
    price: str
    quantity: str
    quote: str
    fee: Money
    fee_value: Money | None
    """In the reporting asset by the books of that moment; None where they gave no rate."""
    is_maker: bool


class OrderLine(msgspec.Struct, frozen=True):
    """One order of the plan with its fills."""

    client_order_id: str
    leg_index: int
    venue: str
    symbol: str
    side: str
    price: str
    quantity: str
    filled_quantity: str
    state: str
    reason: str
    intended_at: Moment
    changed_at: Moment
    fills: tuple[FillLine, ...]


class ChoiceLine(msgspec.Struct, frozen=True):
    """One alternative that the governor priced."""

    choice: str
    cost: Money | None
    reason: str


class DecisionLine(msgspec.Struct, frozen=True):
    """What the governor decided about a leg that fell short."""

    at: Moment
    choice: str
    alternatives: tuple[ChoiceLine, ...]


class ResidualLine(msgspec.Struct, frozen=True):
    """What the plan left of an asset, with its value when it closed."""

    amount: Money
    value: Money
    unvalued_reason: str


class PlanLine(msgspec.Struct, frozen=True):
    """What became of a taken opportunity."""

    id: str
    state: str
    opened_at: Moment
    deadline: Moment
    closed_at: Moment | None
    expected: Money
    realised: Money | None
    residuals: tuple[ResidualLine, ...]


class Story(msgspec.Struct, frozen=True):
    """Everything kept of one opportunity."""

    opportunity: OpportunityLine
    waterfall: WaterfallLine
    legs: tuple[LegLine, ...]
    rates: tuple[RateLine, ...]
    plan: PlanLine | None
    orders: tuple[OrderLine, ...]
    decisions: tuple[DecisionLine, ...]
    episode: EpisodeLine | None
    """The opening of its cycle in which it was found; None when that is no longer kept."""


class ProfitQuestion(msgspec.Struct, frozen=True):
    """Profit of closed plans, grouped and in which currency."""

    by: str = "day"
    """`day` (UTC, of the closing), `pair`, `venue` (a plan's venues together: profit arises between them) or `component`."""
    since_ns: int = 0
    until_ns: int | None = None
    currency: str = ""
    """Empty: each reporting asset as it is."""


class ProfitLine(msgspec.Struct, frozen=True):
    """Profit of one group."""

    key: str
    plans: int
    expected: Money
    """Zero where the group is a component."""
    realised: Money
    """Of all plans that could be converted."""
    fees: Money | None
    """Fees paid, valued at their fills; None where a fill gave no rate."""
    unconverted: tuple[Money, ...]
    """What no rate was known for, in its own asset: not part of `realised`."""


class Profit(msgspec.Struct, frozen=True):
    """Profit by groups, with the total."""

    by: str
    currency: str
    lines: tuple[ProfitLine, ...]
    total: ProfitLine
    notes: tuple[str, ...]
    """What the figures do not say, such as plans without a known rate."""
