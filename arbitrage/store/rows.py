"""Facts, verdicts and log lines as rows for the statements. Pure; connects to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from arbitrage.model.effects import Judged
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
from arbitrage.model.opportunities import Opportunity, PlanState, Refused
from arbitrage.model.orders import Order, OrderState
from arbitrage.model.snapshots import Snapshot
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
    batch[sql.TAKE_OPPORTUNITY].append((*_opportunity_row(opportunity, session), None, "", fact.plan_id))
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


def _opportunity_row(found: Opportunity, session: int) -> Row:
    ends = (found.start.venue, found.start.asset, found.amount_in_e8, found.amount_out_e8)
    parts = found.breakdown
    edge = (parts.top_of_book_e8, parts.depth_e8, parts.fees_e8, parts.transfers_e8, parts.net_e8)
    age_ms_max = max((leg.age_ms for leg in found.legs), default=0)
    identity = (session, found.id, found.at_ns, found.cycle, found.name, *ends)
    value = (found.reporting_asset, found.notional_e8, found.edge_ppm, *edge)
    return (*identity, *value, age_ms_max, json_text(found.legs), json_text(found.transfers), json_text(found.fx))


def judged_row(judged: Judged, session: int) -> Row:
    """Return the row of an opportunity with the guard's verdict."""
    verdict = judged.verdict
    words = (verdict.reason.value, plain_text(verdict.detail)) if isinstance(verdict, Refused) else (None, "")
    return (*_opportunity_row(judged.opportunity, session), *words, None)


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
