"""What people read of the records in PostgreSQL: orders, fills, logs, reports, the audit log. Writes nothing, never raises for
a server that is away: that is a value, `Away`. One connection, opened when it is first needed, one read at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.ledger_nouns import Away, Moment
from arbitrage.store.rows import Scope

READ_SECONDS_MAX = 5.0
WAITING_MAX = 64
"""Reads that may wait for the connection; more are told that it is busy."""

T = TypeVar("T")


class OrderRow(msgspec.Struct, frozen=True):
    """One order as it stands. Amounts are exact decimals of the market's base or quote asset."""

    client_order_id: str
    plan_id: str
    leg_index: int
    venue: str
    symbol: str
    side: str
    price: str
    quantity: str
    filled_quantity: str
    time_in_force: str
    state: str
    reason: str
    intended_at: Moment
    changed_at: Moment


class FillRow(msgspec.Struct, frozen=True):
    """One fill."""

    sequence: int
    at: Moment
    venue: str
    symbol: str
    client_order_id: str
    trade_id: str
    side: str
    price: str
    quantity: str
    quote: str
    fee: str
    fee_asset: str
    fee_value: str | None
    """In the reporting asset by the books of that moment; null where they gave no rate."""
    is_maker: bool


class LogEntry(msgspec.Struct, frozen=True):
    """One log line of WARNING or above."""

    at: Moment
    number: int
    level: str
    code: str
    text: str
    fields: dict[str, Any]


class PaperRow(msgspec.Struct, frozen=True):
    """One restart report or kill receipt, whole."""

    sequence: int
    at: Moment
    body: dict[str, Any]


class ConfigurationVersion(msgspec.Struct, frozen=True):
    """One configuration that was in force."""

    version: str
    at: Moment
    actor: str


class AuditLine(msgspec.Struct, frozen=True):
    """One line of the audit log."""

    number: int
    at: Moment
    """Wall clock."""
    actor: str
    address: str
    action: str
    subject: str
    status: int
    reason: str
    before: Any
    after: Any
    hash: str
    """SHA-256, hex, over the line before's hash and this line."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a table, newest first. Empty text and None mean: any."""

    limit: int
    before_ns: int | None = None
    since_ns: int | None = None
    text: str = ""
    level: str = ""
    state: str = ""
    venue: str = ""
    symbol: str = ""
    plan_id: str = ""
    actor: str = ""


class Reads:
    """One daemon's reading connection. `endpoint` says where PostgreSQL is now; an embedded one may move."""

    def __init__(self, endpoint: Callable[[], PostgresEndpoint], scope: Scope) -> None:
        self._endpoint = endpoint
        self._scope = scope
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._connection: Any = None
        self._session: int | None = None

    async def orders(self, wanted: Wanted) -> tuple[OrderRow, ...] | Away:
        """Return orders."""
        return await self._rows(OrderRow, ORDERS, wanted.limit, wanted.before_ns, wanted.since_ns, wanted.state,
                                wanted.venue, wanted.symbol, wanted.plan_id)  # fmt: skip

    async def order(self, client_order_id: str) -> tuple[OrderRow, ...] | Away:
        """Return one order, or none."""
        return await self._rows(OrderRow, ORDER, client_order_id)

    async def fills(self, wanted: Wanted) -> tuple[FillRow, ...] | Away:
        """Return fills."""
        return await self._rows(FillRow, FILLS, wanted.limit, wanted.before_ns, wanted.since_ns, wanted.venue, wanted.symbol)

    async def fills_of(self, client_order_id: str) -> tuple[FillRow, ...] | Away:
        """Return one order's fills."""
        return await self._rows(FillRow, FILLS_OF, client_order_id)

    async def logs(self, wanted: Wanted) -> tuple[LogEntry, ...] | Away:
        """Return log lines of WARNING and above whose code or text holds `text`."""
        return await self._rows(LogEntry, LOGS, wanted.limit, wanted.before_ns, wanted.since_ns, wanted.level, wanted.text)

    async def reports(self, limit: int) -> tuple[PaperRow, ...] | Away:
        """Return restart reports."""
        return await self._rows(PaperRow, REPORTS, limit)

    async def receipts(self, limit: int) -> tuple[PaperRow, ...] | Away:
        """Return kill receipts."""
        return await self._rows(PaperRow, RECEIPTS, limit)

    async def configurations(self, limit: int) -> tuple[ConfigurationVersion, ...] | Away:
        """Return what was in force."""
        return await self._rows(ConfigurationVersion, CONFIGURATIONS, limit)

    async def configuration(self, version: str) -> dict[str, Any] | Away | None:
        """Return the body of one version without its secrets, None when it is not known."""

        async def work(connection: Any, session: int) -> dict[str, Any] | None:
            body = await connection.fetchval(CONFIGURATION, session, version)
            found: dict[str, Any] | None = msgspec.json.decode(body) if body is not None else None
            return found

        return await self._read(work, None)

    async def audit(self, wanted: Wanted) -> tuple[AuditLine, ...] | Away:
        """Return lines of the audit log."""
        return await self._rows(AuditLine, AUDIT, wanted.limit, wanted.before_ns, wanted.since_ns, wanted.actor, wanted.text)

    async def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _rows(self, kind: type[T], statement: str, *parameters: object) -> tuple[T, ...] | Away:
        async def work(connection: Any, session: int) -> tuple[T, ...]:
            rows: Sequence[Any] = await connection.fetch(statement, session, *parameters)
            return tuple(_row(kind, row) for row in rows)

        return await self._read(work, ())

    async def _read(self, work: Callable[[Any, int], Awaitable[T]], empty: T) -> T | Away:
        """Do one read within its time; `empty` is the answer where the session has no records yet."""
        if self._waiting >= WAITING_MAX:
            return Away("too many reads wait for PostgreSQL")
        self._waiting += 1
        try:
            async with asyncio.timeout(READ_SECONDS_MAX), self._lock:
                session = await self._ready()
                return empty if session is None else await work(self._connection, session)
        except POSTGRES_FAULTS as error:
            await self.close()
            return Away(f"PostgreSQL does not answer: {str(error) or type(error).__name__}")
        finally:
            self._waiting -= 1

    async def _ready(self) -> int | None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_postgres(self._endpoint())
            self._session = None
        if self._session is None:
            self._session = await self._connection.fetchval(FIND_SESSION, self._scope.env, self._scope.session_id)
        return self._session


def _row(kind: type[T], row: Any) -> T:
    """Make a struct of a row; amounts become exact decimals, JSON columns their values."""
    values = {name: _value(name, value) for name, value in row.items()}
    return msgspec.convert(values, kind)


def _value(name: str, value: Any) -> Any:
    if name in MOMENT_COLUMNS:
        return msgspec.to_builtins(Moment.of(value))
    return msgspec.json.decode(value) if name in JSON_COLUMNS and value is not None else value


MOMENT_COLUMNS = frozenset({"at", "intended_at", "changed_at"})
JSON_COLUMNS = frozenset({"fields", "body", "before", "after"})
FIND_SESSION = "SELECT session FROM sessions WHERE env = $1 AND session_id = $2"


def _e8(column: str, name: str = "") -> str:
    """Write an amount in 1e-8 as an exact decimal without trailing zeros."""
    return f"trim_scale({column} / 1e8::numeric(38,8))::text AS {name or column.removesuffix('_e8')}"


_ORDER = (
    "SELECT client_order_id, plan_id, leg_index, venue, symbol, side, "
    f"{_e8('price_e8')}, {_e8('quantity_e8')}, {_e8('filled_quantity_e8')}, "
    "time_in_force, state, reason, intended_at_ns AS intended_at, changed_at_ns AS changed_at FROM orders WHERE session = $1 "
)
ORDERS = (
    _ORDER + "AND ($3::bigint IS NULL OR intended_at_ns < $3) AND ($4::bigint IS NULL OR intended_at_ns >= $4) "
    "AND ($5 = '' OR state = $5) AND ($6 = '' OR venue = $6) AND ($7 = '' OR symbol = $7) AND ($8 = '' OR plan_id = $8) "
    "ORDER BY intended_at_ns DESC, client_order_id LIMIT $2"
)
ORDER = _ORDER + "AND client_order_id = $2"
_FILL = (
    "SELECT sequence, at_ns AS at, venue, symbol, client_order_id, trade_id, side, "
    f"{_e8('price_e8')}, {_e8('quantity_e8')}, {_e8('quote_e8')}, {_e8('fee_e8')}, fee_asset, {_e8('fee_value_e8')}, is_maker "
    "FROM fills WHERE session = $1 "
)
FILLS = (
    _FILL + "AND ($3::bigint IS NULL OR at_ns < $3) AND ($4::bigint IS NULL OR at_ns >= $4) "
    "AND ($5 = '' OR venue = $5) AND ($6 = '' OR symbol = $6) ORDER BY at_ns DESC, sequence DESC LIMIT $2"
)
FILLS_OF = _FILL + "AND client_order_id = $2 ORDER BY sequence LIMIT 1000"
LOGS = (
    "SELECT at_ns AS at, number, level, code, text, fields::text AS fields FROM system_logs WHERE session = $1 "
    "AND ($3::bigint IS NULL OR at_ns < $3) AND ($4::bigint IS NULL OR at_ns >= $4) AND ($5 = '' OR level = $5) "
    "AND ($6 = '' OR strpos(lower(code || ' ' || text), lower($6)) > 0) ORDER BY at_ns DESC, number DESC LIMIT $2"
)
REPORTS = (
    "SELECT sequence, at_ns AS at, body::text AS body FROM restart_reports WHERE session = $1 "
    "ORDER BY sequence DESC LIMIT $2"
)
RECEIPTS = (
    "SELECT sequence, proven_at_ns AS at, body::text AS body FROM kill_receipts WHERE session = $1 "
    "ORDER BY sequence DESC LIMIT $2"
)
CONFIGURATIONS = (
    "SELECT version, at_ns AS at, actor FROM configuration_versions WHERE session = $1 "
    "ORDER BY at_ns DESC LIMIT $2"
)
CONFIGURATION = "SELECT body::text FROM configuration_versions WHERE session = $1 AND version = $2 ORDER BY at_ns DESC LIMIT 1"
AUDIT = (
    "SELECT number, at_ns AS at, actor, address, action, subject, status, reason, before, after, hash "
    "FROM audit_log WHERE $1::integer IS NOT NULL "
    "AND ($3::bigint IS NULL OR at_ns < $3) AND ($4::bigint IS NULL OR at_ns >= $4) "
    "AND ($5 = '' OR actor = $5) AND ($6 = '' OR strpos(lower(action || ' ' || subject || ' ' || reason), lower($6)) > 0) "
    "ORDER BY number DESC LIMIT $2"
)
