"""Endpoints that read records: opportunities, profit, orders, logs, audit. Each says so when PostgreSQL is away."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from arbitrage.store.ledger_nouns import (
    Away,
    BadQuestion,
    EpisodePage,
    OpportunityPage,
    Profit,
    ProfitQuestion,
    Question,
    Story,
)
from arbitrage.store.reads import AuditLine, FillRow, LogEntry, OrderRow, PaperRow, Wanted
from arbitrage.web.api import pictures
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.problems import Problem, problem

RETRY_S = 5
Rows = Annotated[int, Meta(ge=1, le=1_000)]
TimeNs = Annotated[int, Meta(ge=0, le=9_000_000_000_000_000_000)]
Text = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$")]
Identifier = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00/]+$")]


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters by name."""


class OpportunityQuery(_Query, frozen=True):
    """Which opportunities or episodes, newest first."""

    taken: Literal["yes", "no", "both"] = "both"
    pair: Text = ""
    since_ns: TimeNs = 0
    until_ns: TimeNs | None = None
    limit: Rows = 100
    cursor: Text = ""
    """`next_cursor` of the page before."""


class StoryQuery(_Query, frozen=True):
    """Which opportunity: by its own id or its plan's."""

    id: Identifier


class ProfitQuery(_Query, frozen=True):
    """Profit of closed plans, how grouped, in which currency."""

    by: Literal["day", "pair", "venue", "component"] = "day"
    since_ns: TimeNs = 0
    until_ns: TimeNs | None = None
    currency: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{0,20}$")] = ""
    """Empty: each reporting asset as it is."""


class OrderQuery(_Query, frozen=True):
    """Which orders, newest first."""

    state: Text = ""
    venue: Text = ""
    symbol: Text = ""
    plan_id: Text = ""
    since_ns: TimeNs | None = None
    before_ns: TimeNs | None = None
    """For the page after: the `intended_at.ns` of the last line."""
    limit: Rows = 100


class OrderName(_Query, frozen=True):
    """Which order."""

    client_order_id: Identifier


class FillQuery(_Query, frozen=True):
    """Which fills, newest first."""

    venue: Text = ""
    symbol: Text = ""
    since_ns: TimeNs | None = None
    before_ns: TimeNs | None = None
    limit: Rows = 100


class LogQuery(_Query, frozen=True):
    """Which log lines (WARNING and above), newest first."""

    text: Text = ""
    """Held by the line's code or words, whatever the case."""
    level: Literal["", "WARNING", "ERROR", "CRITICAL"] = ""
    since_ns: TimeNs | None = None
    before_ns: TimeNs | None = None
    limit: Rows = 100


class AuditQuery(_Query, frozen=True):
    """Which lines of the audit log, newest first."""

    actor: Text = ""
    text: Text = ""
    """Held by action, subject or reason."""
    since_ns: TimeNs | None = None
    before_ns: TimeNs | None = None
    limit: Rows = 100


class HowMany(_Query, frozen=True):
    """How many."""

    limit: Rows = 20


class Orders(msgspec.Struct, frozen=True):
    """Orders, newest first."""

    lines: tuple[OrderRow, ...]


class OrderStory(msgspec.Struct, frozen=True):
    """One order with its fills."""

    order: OrderRow
    fills: tuple[FillRow, ...]


class Fills(msgspec.Struct, frozen=True):
    """Fills, newest first."""

    lines: tuple[FillRow, ...]


class LogLines(msgspec.Struct, frozen=True):
    """Log lines, newest first."""

    lines: tuple[LogEntry, ...]


class AuditLines(msgspec.Struct, frozen=True):
    """Lines of the audit log, newest first."""

    waiting: int
    """Lines that are on this machine's disk and not in the table yet."""
    lines: tuple[AuditLine, ...]


class Reports(msgspec.Struct, frozen=True):
    """Restart reports: the newest from memory, whole, and those that PostgreSQL keeps."""

    newest: dict[str, Any] | None
    lines: tuple[PaperRow, ...]


class Receipts(msgspec.Struct, frozen=True):
    """Kill receipts: the newest from memory, and those that PostgreSQL keeps."""

    newest: pictures.Receipt | None
    lines: tuple[PaperRow, ...]


async def opportunities(call: Call) -> Answer:
    """Answer a page of opportunities."""
    return await _asked(call.ports.ledger.opportunities, _question(call.query))


async def episodes(call: Call) -> Answer:
    """Answer a page of episodes."""
    return await _asked(call.ports.ledger.episodes, _question(call.query))


async def story(call: Call) -> Answer:
    """Answer everything about one opportunity."""
    found = await call.ports.ledger.story(call.query.id)
    if found is None:
        return problem(404, "unknown_opportunity", "nothing is kept under this id")
    return away(found) if isinstance(found, Away) else found


async def profit(call: Call) -> Answer:
    """Answer profit."""
    wanted = call.query
    question = ProfitQuestion(wanted.by, wanted.since_ns, wanted.until_ns, wanted.currency)
    return await _asked(call.ports.ledger.profit, question)


async def orders(call: Call) -> Answer:
    """Answer orders."""
    wanted = call.query
    found = await call.ports.records.orders(
        Wanted(limit=wanted.limit, before_ns=wanted.before_ns, since_ns=wanted.since_ns, state=wanted.state, venue=wanted.venue,
               symbol=wanted.symbol, plan_id=wanted.plan_id)
    )  # fmt: skip
    return away(found) if isinstance(found, Away) else Orders(found)


async def order(call: Call) -> Answer:
    """Answer one order."""
    records, name = call.ports.records, call.query.client_order_id
    found = await records.order(name)
    if isinstance(found, Away):
        return away(found)
    if not found:
        return problem(404, "unknown_order", "no such order is kept")
    fills_found = await records.fills_of(name)
    return away(fills_found) if isinstance(fills_found, Away) else OrderStory(found[0], fills_found)


async def fills(call: Call) -> Answer:
    """Answer fills."""
    wanted = call.query
    found = await call.ports.records.fills(
        Wanted(limit=wanted.limit, before_ns=wanted.before_ns, since_ns=wanted.since_ns, venue=wanted.venue,
               symbol=wanted.symbol)
    )  # fmt: skip
    return away(found) if isinstance(found, Away) else Fills(found)


async def logs(call: Call) -> Answer:
    """Answer log lines."""
    wanted = call.query
    found = await call.ports.records.logs(
        Wanted(limit=wanted.limit, before_ns=wanted.before_ns, since_ns=wanted.since_ns, text=wanted.text, level=wanted.level)
    )
    return away(found) if isinstance(found, Away) else LogLines(found)


async def audit(call: Call) -> Answer:
    """Answer the audit log."""
    wanted, waiting = call.query, call.ports.audit.waiting  # asked first: what is written meanwhile is not among the lines
    found = await call.ports.records.audit(
        Wanted(limit=wanted.limit, before_ns=wanted.before_ns, since_ns=wanted.since_ns, text=wanted.text, actor=wanted.actor)
    )
    return away(found) if isinstance(found, Away) else AuditLines(waiting, found)


async def reports(call: Call) -> Answer:
    """Answer restart reports; the newest also with the database down."""
    newest = call.ports.views.restart_report()
    found = await call.ports.records.reports(call.query.limit)
    if isinstance(found, Away) and newest is None:
        return away(found)
    body: dict[str, Any] | None = msgspec.to_builtins(newest) if newest is not None else None
    return Reports(body, () if isinstance(found, Away) else found)


async def receipts(call: Call) -> Answer:
    """Answer kill receipts; the newest also with the database down."""
    newest = call.ports.views.kill_receipt()
    found = await call.ports.records.receipts(call.query.limit)
    if isinstance(found, Away) and newest is None:
        return away(found)
    drawn = pictures.receipt_of(newest) if newest is not None else None
    return Receipts(drawn, () if isinstance(found, Away) else found)


def away(what: Away) -> Problem:
    """Say that PostgreSQL cannot be asked now."""
    return problem(503, "database_away", what.reason, retry_after_s=RETRY_S)


def _question(wanted: OpportunityQuery) -> Question:
    is_taken = {"yes": True, "no": False}.get(wanted.taken)
    return Question(is_taken, wanted.pair, wanted.since_ns, wanted.until_ns, wanted.limit, wanted.cursor)


async def _asked(read: Any, question: Question | ProfitQuestion) -> Answer:
    """Ask the ledger; what cannot be asked so is the asker's fault."""
    try:
        found: msgspec.Struct = await read(question)
    except BadQuestion as fault:
        return problem(400, "bad_parameters", str(fault))
    return away(found) if isinstance(found, Away) else found


def _record(path: str, handler: Any, answer: type[msgspec.Struct], query: type[msgspec.Struct], **row: Any) -> Endpoint:
    return Endpoint(
        method="GET", path=f"/api/v1/{path}", handler=handler, role=Role.ANALYST, scope=Scope.RECORDS, query=query,
        answer=answer, tag="records", **row,
    )  # fmt: skip


ENDPOINTS = (
    _record("opportunities", opportunities, OpportunityPage, OpportunityQuery,
            summary="Opportunities as they were judged: all taken, samples of the refused"),
    _record("opportunities/{id}", story, Story, StoryQuery, errors=(404,),
            summary="One opportunity: its waterfall, books, orders, fills, decisions"),
    _record("episodes", episodes, EpisodePage, OpportunityQuery,
            summary="Openings: one line for each time that a cycle gained"),
    _record("pnl", profit, Profit, ProfitQuery, summary="Realised profit by day, pair, venue or component"),
    _record("orders", orders, Orders, OrderQuery, summary="Orders"),
    _record("orders/{client_order_id}", order, OrderStory, OrderName, errors=(404,), summary="One order with its fills"),
    _record("fills", fills, Fills, FillQuery, summary="Fills"),
    _record("logs", logs, LogLines, LogQuery, summary="Search the log lines of WARNING and above"),
    _record("restart-reports", reports, Reports, HowMany,
            summary="What each start found: left orders, differences, what was adopted and booked"),
    _record("kill-receipts", receipts, Receipts, HowMany, summary="What the venues said after each kill"),
    Endpoint(
        method="GET", path="/api/v1/audit", handler=audit, role=Role.ADMIN, scope=Scope.PEOPLE, query=AuditQuery,
        answer=AuditLines, tag="records", summary="The audit log",
    ),
)  # fmt: skip
