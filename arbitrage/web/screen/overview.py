"""The first screen as values: what is safe, where an edge is, and where it went, in words and exact figures. Decides nothing.

Made from the engine's view and what stands beside it; every field is what a person reads, so that the page without JavaScript
and the live one cannot differ. `tone` fields are one of `good`, `bad`, `warn`, `quiet`; colour never says what words do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.engine.views import EngineView, MarketView, OpportunityLine, OutcomeLine
from arbitrage.model.money import parse_e8
from arbitrage.model.opportunities import FxRate, PlanState, VenueHealth
from arbitrage.strategy.spreads import Spread, Touch
from arbitrage.web.ports import LimitUse
from arbitrage.web.screen import figures
from arbitrage.web.screen.alerts import AlertsPicture
from arbitrage.web.screen.charts.fall import Amount, Fall, fall_of
from arbitrage.web.screen.charts.lines import spark_points, spark_zero

MS_NS = 1_000_000
OPPORTUNITIES_SHOWN, ARBITRAGES_SHOWN = 8, 5
REASONS_SHOWN = 6
FULL_PPM = 1_000_000
NEAR_FULL_PPM = 800_000
"""A limit that is used beyond this share is worth a look."""

TOTALS = ("expected", "realised")
MEANINGS = {
    "top_of_book": "the edge at the top of the books, before any cost",
    "depth": "worse levels of the books, lots and what they leave over",
    "fees": "of every leg, as planned",
    "fx": "what turning fiat costs",
    "transfers": "what carrying the inventory home is expected to cost",
    "transfers_unpaid": "counted against the edge, and not paid by this arbitrage",
    "latency_drift": "prices that moved between the decision and the fill",
    "fx_drift": "the same in the market of fiat",
    "fee_changes": "fees otherwise than planned",
    "partial_fills": "legs that fell short, the orders that mended them, and what is left",
}


class Cell(msgspec.Struct, frozen=True):
    """A figure with its tone."""

    text: str
    tone: str = ""


class Past(msgspec.Struct, frozen=True):
    """What is remembered of one pair."""

    above_at_ns: int | None = None
    """When it last paid after everything; None: not since it is remembered."""
    life_ms_median: int | None = None
    """How long its openings lasted; None: there was none."""
    recent: Sequence[int | None] = ()
    """Its net edge (ppm) in the newest seconds, oldest first."""


class Proof(msgspec.Struct, frozen=True):
    """When and how the kill switch last proved itself."""

    at_ns: int
    how: str
    text: str


class Beside(msgspec.Struct, frozen=True):
    """What the first screen needs and the engine's view does not hold. What is not known stays empty and is shown as such."""

    mode: str
    session: str
    started_at_ns: int = 0
    killed: str = ""
    paused: str = ""
    differences: tuple[str, ...] = ()
    proof: Proof | None = None
    limits: tuple[LimitUse, ...] = ()
    money: tuple[Amount, ...] = ()
    """Today's profit by component; empty: not known now."""
    money_note: str = ""
    pasts: Mapping[str, Past] = {}
    """By the pair's key."""
    round_trip_ms: int | None = None
    """Decision to fill of our own orders, the median lately."""
    alerts: AlertsPicture = AlertsPicture()
    notes: tuple[str, ...] = ()


class Quote(msgspec.Struct, frozen=True):
    """One venue's end of a pair."""

    venue: str
    price: str
    asset: str
    action: str
    """`buy` or `sell`."""
    age: str


class PairRow(msgspec.Struct, frozen=True):
    """One coin between two venues, in the better direction."""

    key: str
    asset: str
    first: Quote
    second: Quote
    rate: str
    gross: str
    net: Cell
    missing: str
    last_above: str
    life: Cell
    state: Cell
    spark: str
    """Path of the net edge lately, in the box of `charts.lines`; empty where too little is known."""
    spark_zero: int
    """The height at which it would break even."""


class OpportunityRow(msgspec.Struct, frozen=True):
    """Opportunities of one cycle with one verdict."""

    key: str
    time: str
    times: str
    """How often among the newest it was found with this verdict; figures are of the best, words of the newest."""
    cycle: str
    edge: str
    net: str
    verdict: Cell
    detail: str


class ArbitrageRow(msgspec.Struct, frozen=True):
    """One closed arbitrage: what it was to bring and what it brought."""

    key: str
    link: str
    time: str
    cycle: str
    state: Cell
    expected: str
    realised: Cell


class MoneyRow(msgspec.Struct, frozen=True):
    """One component of today's profit, or all of it."""

    name: str
    amount: Cell
    kind: str
    """`total` or `part`."""


class FeedRow(msgspec.Struct, frozen=True):
    """One venue's market data."""

    venue: str
    state: Cell
    age: str
    books: str
    clock: str
    reconnects: str
    account: str


class LimitRow(msgspec.Struct, frozen=True):
    """One limit in use."""

    name: str
    used: str
    limit: str
    share: Cell
    share_ppm: int


class Kill(msgspec.Struct, frozen=True):
    """The kill switch."""

    state: Cell
    reason: str
    proven: Cell
    receipt: str
    is_on: bool
    is_paused: bool


class Overview(msgspec.Struct, frozen=True):
    """Everything on the first screen."""

    at_ns: int
    time: str
    mode: str
    session: str
    armed: bool
    headline: Cell
    reasons: tuple[str, ...]
    counts: str
    pairs: tuple[PairRow, ...]
    venues: tuple[str, str]
    """The two venues that the columns of `pairs` stand for."""
    round_trip: str
    opportunities: tuple[OpportunityRow, ...]
    arbitrages: tuple[ArbitrageRow, ...]
    last: ArbitrageRow | None
    """The newest that traded, taken apart in `fall`."""
    fall: Fall | None
    refused: str
    money: tuple[MoneyRow, ...]
    realised: Cell
    reporting_asset: str
    money_note: str
    feeds: tuple[FeedRow, ...]
    books: str
    limits: tuple[LimitRow, ...]
    kill: Kill
    notes: tuple[str, ...]
    alerts: AlertsPicture


def overview_of(view: EngineView, beside: Beside) -> Overview:
    """Read the first screen out of the engine's view and what stands beside it."""
    venues = _two_venues(view)
    asset, last = view.reporting_asset, _last_traded(view)
    return Overview(
        at_ns=view.at_ns,
        time=figures.clock_time(view.at_ns),
        mode=beside.mode,
        session=beside.session,
        armed=view.is_armed,
        headline=_headline(view, beside),
        reasons=tuple(readable(reason) for reason in view.not_armed_because[:REASONS_SHOWN]),
        counts=_counts(view, beside),
        pairs=tuple(_pair(spread, venues, beside, view.at_ns) for spread in view.spreads),
        venues=venues,
        round_trip=figures.UNKNOWN if beside.round_trip_ms is None else f"{beside.round_trip_ms} ms",
        opportunities=_opportunities(view.opportunities),
        arbitrages=tuple(_arbitrage(line) for line in reversed(view.outcomes[-ARBITRAGES_SHOWN:])),
        last=None if last is None else _arbitrage(last),
        fall=None if last is None else fall_of(amounts_of(last.steps), asset),
        refused=_refused(view),
        money=tuple(_money(part) for part in beside.money),
        realised=Cell(figures.cut(view.realised_e8, 4), tone_of(view.realised_e8)),
        reporting_asset=asset,
        money_note=beside.money_note,
        feeds=tuple(_feed(view, health) for health in view.venues),
        books=f"{view.counters.get('equal', 0):,} of {view.counters.get('compared', 0):,} books compared were equal, "
        f"{view.counters.get('gaps', 0):,} gaps",
        limits=_limits(beside.limits),
        kill=_kill(beside, view.at_ns),
        notes=beside.notes,
        alerts=beside.alerts,
    )


def pair_key(spread: Spread) -> str:
    """Name a pair by its coin and its two markets, whichever way it is better."""
    markets = sorted(f"{touch.node.venue}:{touch.symbol}" for touch in (spread.buy, spread.sell))
    return f"{spread.asset}/{'/'.join(markets)}"


def tone_of(e8: int) -> str:
    """Say whether an amount is a gain or a loss."""
    return "good" if e8 > 0 else "bad" if e8 < 0 else "quiet"


def readable(word: str) -> str:
    """Print an identifier of ours in words: `pair_busy` is read as `pair busy`."""
    return word.replace("_", " ")


def _limits(uses: Sequence[LimitUse]) -> tuple[LimitRow, ...]:
    """Show every limit once, by the subject that uses most of it."""
    worst: dict[str, LimitUse] = {}
    for use in uses:
        if use.name not in worst or _share_ppm(use) > _share_ppm(worst[use.name]):
            worst[use.name] = use
    return tuple(_limit(use) for use in worst.values())


def _limit(use: LimitUse) -> LimitRow:
    share_ppm = _share_ppm(use)
    tone = "bad" if share_ppm >= FULL_PPM else "warn" if share_ppm >= NEAR_FULL_PPM else "quiet"
    used, limit = use.used, use.limit
    if use.asset:
        # Used is shown rounded up, so that a limit never looks further away than it is.
        used = figures.cut(-parse_e8(use.used)).lstrip("-") if use.used is not None else None
        limit = f"{figures.grouped(parse_e8(use.limit))} {use.asset}"
    subject = f", {use.subject}" if use.subject and share_ppm else ""
    name = f"{readable(use.name.removesuffix('_max'))}{subject}"
    return LimitRow(name, used or "not valued", limit, Cell(f"{share_ppm // 10_000} %", tone), share_ppm)


def _share_ppm(use: LimitUse) -> int:
    """Return the share in use; what cannot be valued, or is used of nothing, counts as all."""
    if use.used_ppm is not None:
        return min(FULL_PPM, use.used_ppm)
    return 0 if use.used is not None and parse_e8(use.used) == 0 else FULL_PPM


def _headline(view: EngineView, beside: Beside) -> Cell:
    if beside.killed:
        return Cell("KILLED", "bad")
    if beside.paused:
        return Cell("PAUSED", "warn")
    return Cell("ARMED", "good") if view.is_armed else Cell("NOT ARMED", "bad")


def _counts(view: EngineView, beside: Beside) -> str:
    tally = view.tally
    up = f"up {figures.age(view.at_ns - beside.started_at_ns)}" if beside.started_at_ns else ""
    ended = f"{tally.completed:,} completed, {tally.recovered:,} recovered, {tally.missed:,} missed"
    return "; ".join(part for part in (ended, f"{view.open_plans} open now", up) if part)


def _two_venues(view: EngineView) -> tuple[str, str]:
    """Name the venues of the two columns: those of the first pair, in the order of their names from the end."""
    names = sorted({touch.node.venue for spread in view.spreads[:1] for touch in (spread.buy, spread.sell)}, reverse=True)
    return (names[0], names[1]) if len(names) == 2 else ("", "")


def _pair(spread: Spread, venues: tuple[str, str], beside: Beside, now_ns: int) -> PairRow:
    key = pair_key(spread)
    past = beside.pasts.get(key, Past())
    ends = [_quote(spread.buy, "buy", now_ns), _quote(spread.sell, "sell", now_ns)]
    ends.sort(key=lambda end: (end.venue != venues[0], end.venue))
    net = spread.net_ppm
    pays = net is not None and net > 0
    above = "now" if pays else "not seen" if past.above_at_ns is None else f"{figures.age(now_ns - past.above_at_ns)} ago"
    missing = figures.UNKNOWN if spread.missing_ppm is None else "pays" if pays else figures.percent(spread.missing_ppm)
    return PairRow(
        key=key,
        asset=spread.asset,
        first=ends[0],
        second=ends[1],
        rate=_rate(spread.fx),
        gross=figures.percent(spread.gross_ppm),
        net=Cell(figures.percent(net), tone_of(net or 0)),
        missing=missing.lstrip("+"),
        last_above=above,
        life=_life(past, beside.round_trip_ms),
        state=Cell(readable(spread.locked), "warn") if spread.locked else Cell("tradable", "quiet"),
        spark=spark_points(past.recent),
        spark_zero=spark_zero(past.recent),
    )


def _quote(touch: Touch, action: str, now_ns: int) -> Quote:
    price_e8 = touch.ask_e8 if action == "buy" else touch.bid_e8
    price = figures.grouped(price_e8) if price_e8 else figures.UNKNOWN
    return Quote(touch.node.venue, price, touch.quote, action, figures.age(touch.age_ms * MS_NS))


def _rate(rates: tuple[FxRate, ...]) -> str:
    return ", ".join(f"{figures.grouped(rate.bid_e8)} / {figures.grouped(rate.ask_e8)}" for rate in rates) or figures.UNKNOWN


def _life(past: Past, round_trip_ms: int | None) -> Cell:
    """Show the median life, good where it is longer than our own round trip."""
    if past.life_ms_median is None:
        return Cell(figures.UNKNOWN, "quiet")
    text = figures.age(past.life_ms_median * MS_NS)
    if round_trip_ms is None:
        return Cell(text)
    return Cell(text, "good" if past.life_ms_median > round_trip_ms else "bad")


def _opportunities(lines: Sequence[OpportunityLine]) -> tuple[OpportunityRow, ...]:
    """Show the newest first, those of one cycle with one verdict as one line: a long opening is not many opportunities."""
    groups: dict[tuple[str, str], list[OpportunityLine]] = {}
    for line in reversed(lines):
        groups.setdefault((line.name, line.verdict), []).append(line)
    return tuple(_opportunity(group) for group in list(groups.values())[:OPPORTUNITIES_SHOWN])


def _opportunity(group: Sequence[OpportunityLine]) -> OpportunityRow:
    newest, best = group[0], max(group, key=lambda line: (line.net_e8, line.edge_ppm))
    return OpportunityRow(
        key=f"{group[-1].at_ns}/{newest.name}",
        time=figures.clock_time(newest.at_ns),
        times=f"{len(group)} times" if len(group) > 1 else "",
        cycle=figures.cycle(newest.name),
        edge=figures.percent(best.edge_ppm),
        net=figures.cut(best.net_e8, 4) if best.notional_e8 else figures.UNKNOWN,
        verdict=Cell(readable(newest.verdict), "good" if newest.verdict == "taken" else "quiet"),
        detail=newest.detail,
    )


def _arbitrage(line: OutcomeLine) -> ArbitrageRow:
    return ArbitrageRow(
        key=line.plan_id,
        link=f"/opportunities/{line.opportunity_id}",
        time=figures.clock_time(line.at_ns),
        cycle=figures.cycle(line.name),
        state=Cell(readable(line.state), "good" if line.state == PlanState.COMPLETED.value else "warn"),
        expected=figures.cut(line.expected_e8, 4),
        realised=Cell(figures.cut(line.realised_e8, 4), tone_of(line.realised_e8)),
    )


def _last_traded(view: EngineView) -> OutcomeLine | None:
    """Return the newest arbitrage that filled something and whose way is known."""
    return next((line for line in reversed(view.outcomes) if line.steps and line.state != PlanState.MISSED.value), None)


def amounts_of(steps: Sequence[tuple[str, int]]) -> tuple[Amount, ...]:
    """Name the steps of a waterfall in words."""
    return tuple(Amount(readable(name), e8, name in TOTALS, MEANINGS.get(name, "")) for name, e8 in steps)


def _refused(view: EngineView) -> str:
    ranked = sorted(view.tally.refused.items(), key=lambda row: -row[1])[:REASONS_SHOWN]
    return ", ".join(f"{readable(reason)} {count:,}" for reason, count in ranked) or "none"


def _feed(view: EngineView, health: VenueHealth) -> FeedRow:
    markets: list[MarketView] = [market for market in view.markets if market.venue == health.venue]
    usable = sum(market.doubt is None for market in markets)
    state = Cell("up", "good") if health.is_connected else Cell(f"down: {health.reason}", "bad")
    if health.is_connected and usable < len(markets):
        state = Cell(f"up, {len(markets) - usable} in doubt", "warn")
    offset = health.clock_offset_ms
    lost = view.links_lost.get(health.venue)
    return FeedRow(
        venue=health.venue,
        state=state,
        age=figures.age(health.alive_age_ms * MS_NS),
        books=f"{usable}/{len(markets)}",
        clock=figures.UNKNOWN if offset is None else f"{offset:+d} ms",
        reconnects=figures.UNKNOWN if lost is None else f"{lost:,}",
        account=view.accounts.get(health.venue, ""),
    )


def _money(part: Amount) -> MoneyRow:
    return MoneyRow(part.name, Cell(figures.signed(part.e8), tone_of(part.e8)), "total" if part.is_total else "part")


def _kill(beside: Beside, now_ns: int) -> Kill:
    proof = beside.proof
    proven = Cell("never", "bad") if proof is None else Cell(f"{figures.age(now_ns - proof.at_ns)} ago, by {proof.how}", "good")
    if proof is not None and now_ns - proof.at_ns > 2 * figures.DAY_NS:
        proven = Cell(proven.text, "warn")
    return Kill(
        state=Cell("on", "bad") if beside.killed else Cell("off", "good"),
        reason=beside.killed or beside.paused,
        proven=proven,
        receipt=proof.text if proof is not None else "",
        is_on=bool(beside.killed),
        is_paused=bool(beside.paused),
    )
