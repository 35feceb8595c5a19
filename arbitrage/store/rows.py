"""Facts, verdicts and log lines as rows for the statements. Pure; connects to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from arbitrage.model.effects import Judged
from arbitrage.model.episodes import Episode
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillProven,
    LegDecided,
    OrderChanged,
    OrderIntended,
    PlanClosed,
    PlanOpened,
    Reconciled,
)
from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, Asset, div_down, div_up
from arbitrage.model.opportunities import Opportunity, PlanState, Refused
from arbitrage.model.orders import Order, OrderState
from arbitrage.model.snapshots import Snapshot
from arbitrage.model.waterfalls import fx_legs, pair_of, planned_edge
from arbitrage.store import statements as sql
from arbitrage.store.records import Record
from arbitrage.store.snapshots import encode_snapshot

Row = tuple[Any, ...]
Batch = dict[str, list[Row]]
"""Rows by statement."""


class Scope(msgspec.Struct, frozen=True):
    """Whose rows: the environment, the session's lasting name, and what its market numbers mean."""

    env: str
    session_id: str
    markets: tuple[tuple[str, str], ...] = ()
    """(venue, symbol) by market number: `Settings.market_symbols`."""

    def symbol(self, market: int) -> str:
        return self.markets[market][1] if 0 <= market < len(self.markets) else ""


class LogRow(msgspec.Struct, frozen=True):
    """A log line for `system_logs` (WARNING and above)."""

    at_ns: int
    level: str
    code: str
    text: str
    fields: dict[str, str | int | float | bool | None] = {}


class PositionRow(msgspec.Struct, frozen=True):
    """One node's balances at a snapshot."""

    venue: str
    asset: str
    free_e8: int
    reserved_e8: int


class ConfigurationRow(msgspec.Struct, frozen=True):
    """A configuration that came into force. `body` is JSON and holds no secret."""

    at_ns: int
    version: str
    actor: str
    body: bytes


class SnapshotRows(msgspec.Struct, frozen=True):
    """A snapshot and the tables that are written with it."""

    snapshot: Snapshot
    positions: tuple[PositionRow, ...] = ()
    metrics: dict[str, float] = {}
    guard: msgspec.Raw | None = None
    """The guard's own section, as JSON."""


def json_text(value: object) -> str:
    """Encode for a json column."""
    return msgspec.json.encode(value).decode()


def plain_text(text: str) -> str:
    """Replace NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\x00", "\ufffd")


def rows_of_records(records: Sequence[Record], session: int, scope: Scope) -> Batch:
    """Return every row that these journal records cause, in the order of FACT_ORDER."""
    batch: Batch = {statement: [] for statement in sql.FACT_ORDER}
    for record in records:
        for sequence, fact in enumerate(record.facts, record.first_sequence):
            kind = str(fact.__struct_config__.tag)
            batch[sql.INSERT_FACT].append((session, sequence, fact.at_ns, kind, json_text(fact)))
            _add_fact(batch, fact, (session, sequence), scope)
        for sequence, (fact, postings) in enumerate(zip(record.facts, record.entries, strict=False), record.first_sequence):
            batch[sql.INSERT_ENTRY] += [
                (session, sequence, line, fact.at_ns, each.account.value, each.node.venue, each.node.asset, each.amount_e8)
                for line, each in enumerate(postings)
            ]
    return batch


def _add_fact(batch: Batch, fact: Fact, key: tuple[int, int], scope: Scope) -> None:
    session = key[0]
    match fact:
        case PlanOpened():
            _add_plan(batch, fact, key, scope)
        case OrderIntended():
            batch[sql.INSERT_ORDER].append(_order_row(fact.order, fact.at_ns, key, scope))
        case OrderChanged():
            change = (fact.state.value, fact.filled_quantity_e8, plain_text(fact.reason), fact.at_ns)
            batch[sql.CHANGE_ORDER].append((session, fact.client_order_id, *change))
        case FillBooked():
            batch[sql.INSERT_FILL].append(_fill_row(fact, key, scope))
        case LegDecided():
            alternatives = json_text(fact.alternatives)
            batch[sql.INSERT_LEG_DECISION].append((*key, fact.plan_id, fact.at_ns, fact.choice.value, alternatives))
            batch[sql.GOVERN_PLAN].append((session, fact.plan_id))
        case PlanClosed():
            end = fact.outcome
            residuals = json_text(end.residuals)
            steps = None if end.waterfall is None else json_text(end.waterfall)
            row = (session, end.plan_id, end.state.value, end.realised_e8, residuals, end.closed_at_ns, steps)
            batch[sql.CLOSE_PLAN].append(row)
            if end.waterfall is not None:
                became = end.waterfall
                changes = (became.transfers_e8, became.prices_e8, became.fx_e8, became.fees_e8, became.legs_e8)
                batch[sql.INSERT_WATERFALL].append((session, end.plan_id, *changes))
        case Reconciled(report=report):
            words = (plain_text(report.occasion), report.is_armed, json_text(report))
            batch[sql.INSERT_RESTART_REPORT].append((*key, report.at_ns, *words))
        case KillProven(receipt=receipt):
            times = (receipt.killed_at_ns, receipt.proven_at_ns)
            who = (plain_text(receipt.actor), plain_text(receipt.reason))
            batch[sql.INSERT_KILL_RECEIPT].append((*key, *times, *who, json_text(receipt)))
        case _:  # funding, kill switch and pause stand in journal_facts alone
            pass


def _add_plan(batch: Batch, fact: PlanOpened, key: tuple[int, int], scope: Scope) -> None:
    session, sequence = key
    opportunity = fact.opportunity
    batch[sql.TAKE_OPPORTUNITY].append((*_opportunity_row(opportunity, session, scope), None, "", fact.plan_id))
    batch[sql.INSERT_RATE] += [(session, fact.plan_id, *rate) for rate in _rates(opportunity, fact.at_ns)]
    times = (sequence, fact.at_ns, fact.deadline_ns)
    expected = (PlanState.WORKING.value, opportunity.reporting_asset, opportunity.net_e8)
    batch[sql.INSERT_PLAN].append((session, fact.plan_id, opportunity.id, *times, *expected))
    batch[sql.INSERT_ORDER] += [_order_row(order, fact.at_ns, key, scope) for order in fact.orders]


def _order_row(order: Order, at_ns: int, key: tuple[int, int], scope: Scope) -> Row:
    where = (order.venue, order.market, scope.symbol(order.market))
    terms = (order.side.value, order.price_e8, order.quantity_e8, order.time_in_force.value)
    session, sequence = key
    identity = (session, order.client_order_id, sequence, order.plan_id, order.leg_index)
    return (*identity, *where, *terms, at_ns, OrderState.INTENDED.value, at_ns)


def _fill_row(fact: FillBooked, key: tuple[int, int], scope: Scope) -> Row:
    fill = fact.fill
    where = (fill.venue, fill.market, scope.symbol(fill.market), fill.client_order_id, plain_text(fill.trade_id))
    amounts = (fill.side.value, fill.price_e8, fill.quantity_e8, fill.quote_e8, fill.fee_e8, fill.fee_asset, fill.is_maker)
    return (*key, fact.at_ns, *where, *amounts, fact.fee_value_e8)


def _opportunity_row(found: Opportunity, session: int, scope: Scope) -> Row:
    ends = (found.start.venue, found.start.asset, found.amount_in_e8, found.amount_out_e8)
    parts = found.breakdown
    edge = (parts.top_of_book_e8, parts.depth_e8, parts.fees_e8, parts.transfers_e8, parts.net_e8)
    age_ms_max = max((leg.age_ms for leg in found.legs), default=0)
    identity = (session, found.id, found.at_ns, found.cycle, found.name, *ends)
    value = (found.reporting_asset, found.notional_e8, found.edge_ppm, *edge)
    planned = planned_edge(found)
    fx_part = (planned.depth_e8 + parts.depth_e8, planned.fees_e8 + parts.fees_e8)
    venues = "+".join(sorted({leg.spent.venue for leg in found.legs}))
    seen = (age_ms_max, json_text(found.legs), json_text(found.transfers), json_text(found.fx))
    return (*identity, *value, *seen, pair_of(found, _fiat(found, scope)), venues, _symbols([found], scope), *fx_part)


def _symbols(offers: Sequence[Opportunity], scope: Scope) -> str:
    """Return venue and symbol of every market that is named by its number, as JSON."""
    markets = {leg.market for found in offers for leg in found.legs} | {rate.market for found in offers for rate in found.fx}
    known = range(len(scope.markets))
    return json_text({str(market): scope.markets[market] for market in sorted(markets) if market in known})


def _fiat(found: Opportunity, scope: Scope) -> set[Asset]:
    """Return the fiat that an opportunity passes through: the other asset of a market that prices it, by its symbol."""
    reporting, ends = found.reporting_asset, {asset for leg in found.legs for asset in (leg.spent.asset, leg.received.asset)}
    symbols = {scope.symbol(rate.market).replace("-", "") for rate in found.fx}
    return {asset for asset in ends if symbols.intersection((asset + reporting, reporting + asset))}


def _rates(found: Opportunity, at_ns: int) -> list[Row]:
    """Return (fiat, time, reporting asset, sold for, bought back for, age) for each fiat that the opportunity trades."""
    reporting, by_market = found.reporting_asset, {rate.market: rate for rate in found.fx}
    rows: dict[str, Row] = {}
    for leg in fx_legs(found):
        rate = by_market[leg.market]
        base = leg.received.asset if leg.side is Side.BUY else leg.spent.asset
        fiat = leg.received.asset if leg.spent.asset == reporting else leg.spent.asset
        if base == reporting:
            sold_e8, bought_e8 = rate.bid_e8, rate.ask_e8
        else:
            sold_e8, bought_e8 = div_down(E8 * E8, rate.ask_e8), div_up(E8 * E8, rate.bid_e8)
        rows[fiat] = (fiat, at_ns, reporting, sold_e8, bought_e8, rate.age_ms)
    return list(rows.values())


def judged_row(judged: Judged, session: int, scope: Scope) -> Row:
    """Return the row of an opportunity with the guard's verdict."""
    verdict = judged.verdict
    words = (verdict.reason.value, plain_text(verdict.detail)) if isinstance(verdict, Refused) else (None, "")
    return (*_opportunity_row(judged.opportunity, session, scope), *words, None)


def episode_row(episode: Episode, session: int, scope: Scope) -> Row:
    """Return the row of an opening as it stands."""
    identity = (session, episode.first_seen_ns, episode.id, episode.cycle, episode.name, episode.pair, episode.reporting_asset)
    stands = (episode.state.value, episode.last_seen_ns, episode.noted_at_ns, episode.looks, episode.edge_ppm_peak)
    net_e8 = episode.peak.net_e8 if episode.peak is not None else None
    became = (net_e8, episode.taken_count, json_text(episode.taken), json_text(episode.refusals), json_text(episode.follow_ups))
    offers = (episode.first, episode.peak)
    bodies = (json_text(each) if each is not None else None for each in offers)
    return (*identity, *stands, *became, _symbols([each for each in offers if each is not None], scope), *bodies)


def log_row(row: LogRow, number: int, session: int) -> Row:
    """Return the row of a log line."""
    return (session, row.at_ns, number, row.level, row.code, plain_text(row.text), json_text(row.fields))


def rows_of_snapshot(rows: SnapshotRows, session: int) -> Batch:
    """Return the rows of a snapshot: the whole, each position, the metrics, the guard."""
    snapshot = rows.snapshot
    sha256, body = encode_snapshot(snapshot)
    at = (session, snapshot.at_ns, snapshot.journal_sequence)
    batch: Batch = {
        sql.INSERT_SNAPSHOT: [(session, snapshot.journal_sequence, snapshot.at_ns, snapshot.version, sha256, body.decode())],
        sql.INSERT_POSITION: [(*at, each.venue, each.asset, each.free_e8, each.reserved_e8) for each in rows.positions],
    }
    if rows.metrics:
        batch[sql.INSERT_METRICS] = [(session, snapshot.at_ns, json_text(rows.metrics))]
    if rows.guard is not None:
        batch[sql.INSERT_GUARD] = [(*at, bytes(rows.guard).decode())]
    return batch
