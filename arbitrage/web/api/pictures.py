"""How the daemon stands as JSON: one struct for each picture, made from views. Reads memory only and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.model.accounts import KillReceipt
from arbitrage.model.money import PPM, format_e8
from arbitrage.store.ledger_nouns import Moment, Money
from arbitrage.strategy.spreads import Spread, Touch
from arbitrage.web.ports import LimitUse, Process, Views


class VenueLine(msgspec.Struct, frozen=True):
    """One venue."""

    venue: str
    is_connected: bool
    alive_age_ms: int
    clock_offset_ms: int | None
    """The venue's clock minus ours; null before it was measured."""
    reason: str
    """Why nothing is entered there; empty when something may be."""
    markets: int
    usable: int
    account: str
    """`up`, `down: reason`, or empty where the daemon has no account."""


class TallyLine(msgspec.Struct, frozen=True):
    """What has been seen since the start of the process."""

    seen: int
    taken: int
    refused: dict[str, int]
    completed: int
    recovered: int
    missed: int
    residual: int
    decisions: int


class Status(msgspec.Struct, frozen=True):
    """How the daemon stands."""

    at: Moment
    started_at: Moment
    pid: int
    mode: str
    session: str
    epoch: int
    version: str
    """Of the configuration in force."""
    is_ready: bool
    is_armed: bool
    not_armed_because: tuple[str, ...]
    killed: str
    """Why the kill switch is on; empty when it is off."""
    paused: str
    differences: tuple[str, ...]
    """What can be accepted, by name."""
    pairs_off: dict[str, str]
    open_plans: int
    open_orders: int
    realised: Money
    kill_last_proven: Moment | None
    kill_last_proven_how: str
    venues: tuple[VenueLine, ...]
    tally: TallyLine
    figures: dict[str, str]
    """Rolling, over 60 s: the METRICS hash."""
    is_postgres_up: bool
    is_redis_up: bool
    shadow: dict[str, int]


class MarketLine(msgspec.Struct, frozen=True):
    """One market's best prices, in its quote asset."""

    market: int
    venue: str
    symbol: str
    bid: str
    ask: str
    age_ms: int
    updates: int
    doubt: str | None
    """Why it may not be traded on; null when it may."""


class TouchLine(msgspec.Struct, frozen=True):
    """One side of a spread."""

    venue: str
    symbol: str
    quote: str
    bid: str
    ask: str
    age_ms: int


class FxLine(msgspec.Struct, frozen=True):
    """The executable rate of a fiat on the way."""

    symbol: str
    bid: str
    ask: str


class SpreadLine(msgspec.Struct, frozen=True):
    """A coin between two venues, in the better direction."""

    asset: str
    buy: TouchLine
    sell: TouchLine
    fx: tuple[FxLine, ...]
    gross_ppm: int | None
    """Before costs; null when a price or a rate is missing."""
    net_ppm: int | None
    missing_ppm: int | None
    """What net lacks to break even."""
    locked: str
    """Why it could not be traded now, whatever the edge."""


class BalanceLine(msgspec.Struct, frozen=True):
    """What we hold of an asset at a venue."""

    venue: str
    asset: str
    free: str
    reserved: str
    total: str


class PositionLine(msgspec.Struct, frozen=True):
    """What closed plans left of one asset, over all venues."""

    asset: str
    amount: str
    value: Money | None
    """By executable books; null when none is usable."""
    since: Moment


class OutcomeLine(msgspec.Struct, frozen=True):
    """One arbitrage that ended."""

    at: Moment
    plan_id: str
    state: str
    expected: Money
    realised: Money


class RecentLine(msgspec.Struct, frozen=True):
    """One opportunity as it was judged."""

    at: Moment
    name: str
    verdict: str
    """`taken`, or the reason of the refusal."""
    detail: str
    edge_ppm: int
    net: Money
    notional: Money


class Resources(msgspec.Struct, frozen=True):
    """What the process takes, and how its stores stand."""

    process: Process
    postgres: str
    """`up`, or why it is away."""
    redis: str
    redis_latency_ms: float
    journal_sequence: int
    written_sequence: int
    journal_bytes_waiting: int
    journal: str
    """`well`, or why it cannot be written."""
    rows_waiting: int
    log_lines_dropped: int
    opportunities_dropped: int
    opportunities_left_out: int
    """Refused ones that were no sample; their opening counts them."""
    episodes_dropped: int
    embedded_restarts: int
    archive: str
    """`well`, `none`, or what is wrong with it."""
    audit_lines_waiting: int
    audit_lines_dropped: int
    requests_failed: int
    """Errors of the surface itself."""
    connections: int
    followers: int


class ReceiptAnswer(msgspec.Struct, frozen=True):
    """A venue's word after a kill."""

    venue: str
    asked: Moment
    at: Moment
    own_orders: int
    foreign_orders: int


class Receipt(msgspec.Struct, frozen=True):
    """That the kill switch was set, what was cancelled, and what the venues said."""

    killed_at: Moment
    proven_at: Moment | None
    actor: str
    reason: str
    cancelled: tuple[str, ...]
    answers: tuple[ReceiptAnswer, ...]


def status_of(views: Views) -> Status:
    """Draw how the daemon stands."""
    view, standing, stores = views.view(), views.standing(), views.stores()
    tally = view.tally
    return Status(
        at=Moment.of(view.at_ns),
        started_at=Moment.of(standing.started_at_ns),
        pid=standing.pid,
        mode=standing.mode,
        session=standing.session,
        epoch=standing.epoch,
        version=views.loaded().version,
        is_ready=views.is_ready(),
        is_armed=standing.armed,
        not_armed_because=standing.not_armed_because,
        killed=standing.killed,
        paused=standing.paused,
        differences=standing.differences,
        pairs_off=dict(view.pairs_off),
        open_plans=standing.open_plans,
        open_orders=standing.open_orders,
        realised=Money(standing.reporting_asset, standing.realised),
        kill_last_proven=Moment.of(standing.kill_last_proven_ns) if standing.kill_last_proven_ns is not None else None,
        kill_last_proven_how=standing.kill_last_proven_how,
        venues=venues_of(views),
        tally=TallyLine(
            tally.seen, tally.taken, dict(tally.refused), tally.completed, tally.recovered, tally.missed, tally.residual,
            tally.decisions,
        ),
        figures={name: value for name, value in views.figures().items() if name != "updated_at_ns"},
        is_postgres_up=stores.is_postgres_up,
        is_redis_up=stores.is_redis_up,
        shadow=standing.shadow,
    )  # fmt: skip


def venues_of(views: Views) -> tuple[VenueLine, ...]:
    """Draw every venue."""
    known = {each.venue: each for each in views.standing().venues}
    lines = []
    for health in views.view().venues:
        each = known[health.venue]
        lines.append(
            VenueLine(
                str(health.venue), health.is_connected, health.alive_age_ms, health.clock_offset_ms, health.reason,
                each.markets, each.usable, each.account,
            )
        )  # fmt: skip
    return tuple(lines)


def markets_of(view: EngineView, venue: str = "") -> tuple[MarketLine, ...]:
    """Draw every market, or those of one venue."""
    return tuple(
        MarketLine(
            each.market, each.venue, each.symbol, plain(each.bid), plain(each.ask), each.age_ms, each.updates, each.doubt
        )
        for each in view.markets
        if venue in ("", each.venue)
    )


def spreads_of(view: EngineView) -> tuple[SpreadLine, ...]:
    """Draw every spread."""
    symbols = {each.market: each.symbol for each in view.markets}
    return tuple(_spread(each, symbols) for each in view.spreads)


def balances_of(view: EngineView) -> tuple[BalanceLine, ...]:
    """Draw what we hold, by venue and asset."""
    lines = [
        BalanceLine(str(node.venue), str(node.asset), format_e8(free), format_e8(reserved), format_e8(free + reserved))
        for node, (free, reserved) in view.balances.items()
    ]
    return tuple(sorted(lines, key=lambda line: (line.venue, line.asset)))


def positions_of(view: EngineView) -> tuple[PositionLine, ...]:
    """Draw what closed plans left over."""
    asset = str(view.reporting_asset)
    return tuple(
        PositionLine(
            str(line.asset), format_e8(line.amount_e8), Money.of(line.value_e8, asset) if line.value_e8 is not None else None,
            Moment.of(line.since_ns),
        )
        for line in view.dust
    )  # fmt: skip


def outcomes_of(view: EngineView) -> tuple[OutcomeLine, ...]:
    """Draw the last arbitrages that ended, newest last."""
    asset = str(view.reporting_asset)
    return tuple(
        OutcomeLine(
            Moment.of(line.at_ns), line.plan_id, line.state, Money.of(line.expected_e8, asset),
            Money.of(line.realised_e8, asset),
        )
        for line in view.outcomes
    )


def recent_of(view: EngineView) -> tuple[RecentLine, ...]:
    """Draw the last opportunities as they were judged, newest last."""
    return tuple(
        RecentLine(
            Moment.of(line.at_ns), line.name, line.verdict, line.detail, line.edge_ppm,
            Money.of(line.net_e8, str(line.reporting_asset)), Money.of(line.notional_e8, str(line.reporting_asset)),
        )
        for line in view.opportunities
    )  # fmt: skip


def receipt_of(receipt: KillReceipt) -> Receipt:
    """Draw a kill receipt."""
    answers = tuple(
        ReceiptAnswer(str(each.venue), Moment.of(each.asked_ns), Moment.of(each.at_ns), each.own_orders, each.foreign_orders)
        for each in receipt.answers
    )
    proven = Moment.of(receipt.proven_at_ns) if receipt.proven_at_ns else None
    cancelled = tuple(map(str, receipt.cancelled))
    return Receipt(Moment.of(receipt.killed_at_ns), proven, receipt.actor, receipt.reason, cancelled, answers)


def worst_use(limits: Iterable[LimitUse]) -> int:
    """Return the largest share of any limit that is used, in ppm, at most twice the whole."""
    return min(2 * PPM, max((limit.used_ppm for limit in limits if limit.used_ppm is not None), default=0))


def plain(number: float) -> str:
    """Write a book's number in plain decimals, without an exponent."""
    text = format(Decimal(repr(number)), "f")
    return text.removesuffix(".0")


def _spread(spread: Spread, symbols: dict[int, str]) -> SpreadLine:
    fx = tuple(FxLine(symbols.get(rate.market, ""), format_e8(rate.bid_e8), format_e8(rate.ask_e8)) for rate in spread.fx)
    return SpreadLine(
        str(spread.asset), _touch(spread.buy), _touch(spread.sell), fx, spread.gross_ppm, spread.net_ppm, spread.missing_ppm,
        spread.locked,
    )  # fmt: skip


def _touch(touch: Touch) -> TouchLine:
    bid, ask = format_e8(touch.bid_e8), format_e8(touch.ask_e8)
    return TouchLine(str(touch.node.venue), touch.symbol, str(touch.quote), bid, ask, touch.age_ms)
