"""Endpoints that show how the daemon stands now, from memory. They work with every database down and change nothing."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from arbitrage.model.events import FaultKind
from arbitrage.store.ledger_nouns import Moment, Money
from arbitrage.web.api import pictures
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.ports import BookLevel, LimitUse
from arbitrage.web.problems import problem

LEVELS_MAX = 100
VenueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]
SymbolName = Annotated[str, Meta(min_length=1, max_length=40)]


class Venues(msgspec.Struct, frozen=True):
    """Every venue."""

    at: Moment
    lines: tuple[pictures.VenueLine, ...]


class OfVenue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which venue."""

    venue: VenueName = ""
    """Empty: all."""


class Markets(msgspec.Struct, frozen=True):
    """Markets with their best prices."""

    at: Moment
    lines: tuple[pictures.MarketLine, ...]


class BookQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which book, and how deep."""

    venue: VenueName
    symbol: SymbolName
    levels: Annotated[int, Meta(ge=1, le=LEVELS_MAX)] = 20


class BookPicture(msgspec.Struct, frozen=True):
    """One book as the venue shows it, best levels first."""

    at: Moment
    venue: str
    symbol: str
    age_ms: int
    doubt: str | None
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


class Spreads(msgspec.Struct, frozen=True):
    """Every coin between two venues."""

    at: Moment
    lines: tuple[pictures.SpreadLine, ...]


class Balances(msgspec.Struct, frozen=True):
    """What we hold."""

    at: Moment
    lines: tuple[pictures.BalanceLine, ...]


class Positions(msgspec.Struct, frozen=True):
    """What closed plans left unhedged."""

    at: Moment
    lines: tuple[pictures.PositionLine, ...]


class Recent(msgspec.Struct, frozen=True):
    """The last opportunities and ends of arbitrages that are in memory, newest last."""

    at: Moment
    opportunities: tuple[pictures.RecentLine, ...]
    outcomes: tuple[pictures.OutcomeLine, ...]
    realised: Money


class Risk(msgspec.Struct, frozen=True):
    """Every limit with what is used of it, and how often the guard said no."""

    at: Moment
    killed: str
    paused: str
    limits: tuple[LimitUse, ...]
    refusals: dict[str, int]


class ErrorRate(msgspec.Struct, frozen=True):
    """Errors now and since the start."""

    at: Moment
    per_minute: int
    """Log lines at ERROR or above and venues' faults, over 60 s."""
    venue_faults: dict[str, int]
    """By kind, since the start."""
    surface_faults: dict[str, int]
    """Failures of this surface itself, by where they were."""
    timeouts: int


async def status(call: Call) -> Answer:
    """Answer how the daemon stands."""
    return pictures.status_of(call.ports.views)


async def venues(call: Call) -> Answer:
    """Answer every venue."""
    views = call.ports.views
    return Venues(Moment.of(views.view().at_ns), pictures.venues_of(views))


async def markets(call: Call) -> Answer:
    """Answer markets."""
    view = call.ports.views.view()
    return Markets(Moment.of(view.at_ns), pictures.markets_of(view, call.query.venue))


async def book(call: Call) -> Answer:
    """Answer one book."""
    views, wanted = call.ports.views, call.query
    view = views.view()
    for market in view.markets:
        if (market.venue, market.symbol) == (wanted.venue, wanted.symbol):
            bids, asks = views.levels(market.market, wanted.levels)
            at = Moment.of(view.at_ns)
            return BookPicture(at, market.venue, market.symbol, market.age_ms, market.doubt, bids, asks)
    return problem(404, "unknown_market", "no such market is configured")


async def spreads(call: Call) -> Answer:
    """Answer every spread."""
    view = call.ports.views.view()
    return Spreads(Moment.of(view.at_ns), pictures.spreads_of(view))


async def balances(call: Call) -> Answer:
    """Answer what we hold."""
    view = call.ports.views.view()
    return Balances(Moment.of(view.at_ns), pictures.balances_of(view))


async def positions(call: Call) -> Answer:
    """Answer what closed plans left."""
    view = call.ports.views.view()
    return Positions(Moment.of(view.at_ns), pictures.positions_of(view))


async def recent(call: Call) -> Answer:
    """Answer the last opportunities."""
    view = call.ports.views.view()
    realised = Money.of(view.realised_e8, str(view.reporting_asset))
    return Recent(Moment.of(view.at_ns), pictures.recent_of(view), pictures.outcomes_of(view), realised)


async def risk(call: Call) -> Answer:
    """Answer limits and what is used of them."""
    views = call.ports.views
    standing = views.standing()
    at = Moment.of(views.now_ns())
    return Risk(at, standing.killed, standing.paused, views.limits(), dict(views.refusals()))


async def error_rate(call: Call) -> Answer:
    """Answer errors."""
    ports = call.ports
    views = ports.views
    counters = views.view().counters
    faults = {kind.value: counters[kind.value] for kind in FaultKind if counters.get(kind.value)}
    per_minute = int(views.figures()["errors_per_minute"])
    return ErrorRate(Moment.of(views.now_ns()), per_minute, faults, dict(ports.faults.counts), ports.counts.timeouts)


async def resources(call: Call) -> Answer:
    """Answer what the process takes and how its stores stand."""
    ports = call.ports
    stores = ports.views.stores()
    archive = "none" if stores.wal is None else stores.wal.trouble or "well"
    return pictures.Resources(
        process=ports.views.process(),
        postgres="up" if stores.is_postgres_up else stores.postgres_error or "away",
        redis="up" if stores.is_redis_up else stores.redis_error or "away",
        redis_latency_ms=round(stores.redis_latency_ms, 3),
        journal_sequence=stores.journal_sequence,
        written_sequence=stores.written_sequence,
        journal_bytes_waiting=stores.journal_bytes_waiting,
        journal=stores.journal_trouble or ("full" if stores.is_journal_full else "well"),
        rows_waiting=stores.rows_waiting,
        log_lines_dropped=stores.redis_lines_dropped + stores.counters.logs_dropped,
        opportunities_dropped=stores.counters.opportunities_dropped,
        opportunities_left_out=stores.counters.opportunities_left_out,
        episodes_dropped=stores.counters.episodes_dropped,
        embedded_restarts=stores.embedded_restarts,
        archive=archive,
        audit_lines_waiting=ports.audit.waiting,
        audit_lines_dropped=ports.audit.dropped,
        requests_failed=ports.faults.total,
        connections=ports.traffic.connections,
        followers=ports.events.followers,
    )


ENDPOINTS = (
    Endpoint(
        method="GET", path="/api/v1/status", handler=status, role=Role.VIEWER, answer=pictures.Status, tag="state",
        summary="How the daemon stands: armed or why not, venues, what was seen",
    ),
    Endpoint(
        method="GET", path="/api/v1/venues", handler=venues, role=Role.VIEWER, answer=Venues, tag="state",
        summary="Every venue: connection, clock, markets, account",
    ),
    Endpoint(
        method="GET", path="/api/v1/markets", handler=markets, role=Role.VIEWER, query=OfVenue, answer=Markets, tag="state",
        summary="Every market: best prices, age, doubt",
    ),
    Endpoint(
        method="GET", path="/api/v1/books/{venue}/{symbol}", handler=book, role=Role.VIEWER, query=BookQuestion,
        answer=BookPicture, errors=(404,), tag="state", summary="One book, as deep as asked",
    ),
    Endpoint(
        method="GET", path="/api/v1/spreads", handler=spreads, role=Role.VIEWER, answer=Spreads, tag="state",
        summary="Every coin between two venues: gross, net, what is missing",
    ),
    Endpoint(
        method="GET", path="/api/v1/balances", handler=balances, role=Role.ANALYST, scope=Scope.RECORDS, answer=Balances,
        tag="state", summary="What the ledger holds, free and reserved",
    ),
    Endpoint(
        method="GET", path="/api/v1/positions", handler=positions, role=Role.ANALYST, scope=Scope.RECORDS, answer=Positions,
        tag="state", summary="What closed plans left unhedged",
    ),
    Endpoint(
        method="GET", path="/api/v1/recent", handler=recent, role=Role.VIEWER, answer=Recent, tag="state",
        summary="The last opportunities and outcomes in memory: there with every database down",
    ),
    Endpoint(
        method="GET", path="/api/v1/risk", handler=risk, role=Role.VIEWER, answer=Risk, tag="state",
        summary="Every limit of the guard and what is used of it",
    ),
    Endpoint(
        method="GET", path="/api/v1/errors/rate", handler=error_rate, role=Role.VIEWER, answer=ErrorRate, tag="state",
        summary="Errors over 60 s and by kind since the start",
    ),
    Endpoint(
        method="GET", path="/api/v1/resources", handler=resources, role=Role.VIEWER, answer=pictures.Resources, tag="state",
        summary="Process, loop, stores, queues, and what was dropped",
    ),
)  # fmt: skip
