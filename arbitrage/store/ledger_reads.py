"""Reads of the opportunity ledger in PostgreSQL, for commands, API and pages. Writes nothing and judges nothing.

Each read answers `Away` when the database does not: that is a value, not an error. Bounds are those of `read_pool.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from arbitrage.model.opportunities import FxRate, Leg
from arbitrage.store import ledger_rows as made
from arbitrage.store import ledger_sql as sql
from arbitrage.store.cycle_names import spent_nodes
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.ledger_nouns import (
    LINES_MAX,
    Away,
    BadQuestion,
    EpisodePage,
    Missed,
    Money,
    OpportunityPage,
    Profit,
    ProfitQuestion,
    Question,
    Story,
)
from arbitrage.store.ledger_profit import BY, told
from arbitrage.store.pair_names import asked_assets
from arbitrage.store.read_pool import ReadPool
from arbitrage.store.rows import Scope

CURSOR = re.compile(r"(\d{1,19})~(.{1,120})", re.DOTALL)
EPISODE_ID = re.compile(r"e([0-9a-f]{1,16})-[0-9a-f]+")
OFFER_ID = re.compile(r"([0-9a-f]{1,16})-[0-9a-f]+")
"""What the detector names its opportunities: the time in hexadecimal, and a number."""
NAME_MAX = 200
NS_MAX = 2**63 - 1
ROWS_PER_TURN = 20
"""Rows made into lines before the loop goes on."""
Line = TypeVar("Line")


class LedgerReads:
    """The ledger of one session, read. Made once, in a running loop; `close` gives its connections back."""

    def __init__(self, endpoint: Callable[[], PostgresEndpoint], scope: Scope) -> None:
        """Name where PostgreSQL is (asked anew for each connection) and whose rows are read."""
        self._scope = scope
        self._pool = ReadPool(endpoint)

    async def opportunities(self, question: Question) -> OpportunityPage | Away:
        """Return a page of judged opportunities: all taken ones, and samples of the refused. Raises BadQuestion."""
        rows = await self._page(sql.OPPORTUNITIES, question)
        if isinstance(rows, Away):
            return rows
        lines = await _in_turns(made.opportunity_line, rows[: question.limit])
        last = lines[-1] if len(rows) > question.limit else None
        return OpportunityPage(lines, f"{last.at.ns}~{last.id}" if last is not None else None)

    async def episodes(self, question: Question) -> EpisodePage | Away:
        """Return a page of episodes. Raises BadQuestion."""
        rows = await self._page(sql.EPISODES, question)
        if isinstance(rows, Away):
            return rows
        lines = await _in_turns(made.episode_line, rows[: question.limit])
        last = lines[-1] if len(rows) > question.limit else None
        return EpisodePage(lines, f"{last.first_seen.ns}~{last.id}" if last is not None else None)

    async def story(self, name: str) -> Story | Away | None:
        """Return everything about one opportunity, named by its own id, its plan's or its episode's; None: there is none."""
        if not 0 < len(name) <= NAME_MAX or "\x00" in name:
            return None

        async def work(connection: Any) -> Story | None:
            session = await self._session(connection)
            return await self._story(connection, session, name) if session is not None else None

        return await self._pool.ask(work)

    async def profit(self, question: ProfitQuestion) -> Profit | Away:
        """Return realised profit of closed plans, grouped. Raises BadQuestion."""
        if question.by not in BY:
            raise BadQuestion(f"profit is told by {', '.join(BY)}, not by {question.by!r}")
        _check_times(question.since_ns, question.until_ns)

        async def work(connection: Any) -> Profit:
            session = await self._session(connection)
            own = await connection.fetchval(sql.CURRENCY, session)
            currency = question.currency or own or ""
            times = (question.since_ns, question.until_ns)
            return told(question.by, currency, await connection.fetch(sql.profit(question.by), session, *times, currency))

        return await self._pool.ask(work)

    async def missed(self, node: str, currency: str, since_ns: int) -> Missed | Away:
        """Return what was refused for lack of balance of the cycles that spend `ASSET@VENUE`, told in their reporting asset."""
        _check_times(since_ns, None)

        async def work(connection: Any) -> Missed:
            session = await self._session(connection)
            names = [row["name"] for row in await connection.fetch(sql.MISSED_NAMES, session, since_ns)]
            chosen = [name for name in names if node in spent_nodes(name)]
            row = await connection.fetchrow(sql.MISSED, session, since_ns, chosen, currency)
            first_ns = await connection.fetchval(sql.MISSED_SINCE, session, since_ns)
            net = Money.of(row["net_e8"], currency)
            return Missed(row["openings"], row["priced"], row["paying"], net, first_ns)

        return await self._pool.ask(work)

    async def sessions(self) -> tuple[str, ...] | Away:
        """Return the names of this environment's sessions, the one that started last first."""

        async def work(connection: Any) -> tuple[str, ...]:
            return tuple(row["session_id"] for row in await connection.fetch(sql.SESSIONS, self._scope.env))

        return await self._pool.ask(work)

    async def close(self) -> None:
        """Give every connection back."""
        await self._pool.close()

    async def _session(self, connection: Any) -> int | None:
        session: int | None = await connection.fetchval(sql.SESSION, self._scope.env, self._scope.session_id)
        return session

    async def _page(self, statement: str, question: Question) -> list[Any] | Away:
        """Return one row more than asked for, where there is one."""
        if not 1 <= question.limit <= LINES_MAX:
            raise BadQuestion(f"a page has 1 to {LINES_MAX} lines, not {question.limit}")
        _check_times(question.since_ns, question.until_ns)
        before_ns, before_id = _cursor(question.cursor)
        times = (question.since_ns, question.until_ns)
        wanted = (question.is_taken, asked_assets(question.pair), *times, before_ns, before_id, question.limit + 1)

        async def work(connection: Any) -> list[Any]:
            session = await self._session(connection)
            return list(await connection.fetch(statement, session, *wanted))

        return await self._pool.ask(work)

    async def _story(self, connection: Any, session: int, name: str) -> Story | None:
        opportunity_id = await connection.fetchval(sql.OPPORTUNITY_OF, session, name) or name
        row = await connection.fetchrow(sql.OPPORTUNITY, session, opportunity_id)
        if row is None:
            return await self._story_of_episode(connection, session, name)
        symbols = msgspec.json.decode(row["symbols"], type=dict[str, tuple[str, str]])
        episode = await connection.fetchrow(sql.EPISODE_AT, session, row["cycle"], row["at_ns"])
        plan = await connection.fetchrow(sql.PLAN, session, row["plan_id"]) if row["plan_id"] else None
        asset = row["reporting_asset"]
        closed = orders = fills = decisions = None
        if plan is not None:
            closed = await connection.fetchrow(sql.WATERFALL, session, plan["plan_id"])
            orders, fills, decisions = [
                await connection.fetch(statement, session, plan["plan_id"])
                for statement in (sql.ORDERS, sql.FILLS, sql.DECISIONS)
            ]
        by_order: dict[str, list[Any]] = {}
        for fill in fills or ():
            by_order.setdefault(fill["client_order_id"], []).append(fill)
        return Story(
            opportunity=made.opportunity_line(row),
            waterfall=made.closed_waterfall(closed) if closed is not None else made.planned_waterfall(row),
            legs=made.leg_lines(msgspec.json.decode(row["legs"], type=list[Leg]), symbols),
            rates=made.rate_lines(msgspec.json.decode(row["fx"], type=list[FxRate]), symbols),
            plan=made.plan_line(plan) if plan is not None else None,
            orders=tuple(made.order_line(each, by_order.get(each["client_order_id"], ()), asset) for each in orders or ()),
            decisions=tuple(made.decision_line(each, asset) for each in decisions or ()),
            episode=made.episode_line(episode) if episode is not None else None,
        )

    async def _story_of_episode(self, connection: Any, session: int, name: str) -> Story | None:
        """Return the story of an opportunity that is kept in its episode alone: its first or best one, by either's name."""
        if (of_episode := EPISODE_ID.fullmatch(name)) is not None:
            row = await connection.fetchrow(sql.EPISODE, session, int(of_episode[1], 16), name)
        elif (of_offer := OFFER_ID.fullmatch(name)) is not None and int(of_offer[1], 16) <= NS_MAX:
            row = await connection.fetchrow(sql.EPISODE_WITH, session, int(of_offer[1], 16), name)
        else:
            return None
        offers = made.offers_of(row) if row is not None else []
        found = next((each for each in offers if each.id == name), offers[0] if offers and of_episode else None)
        if found is None:
            return None
        episode = made.episode_line(row)
        symbols = msgspec.json.decode(row["symbols"], type=dict[str, tuple[str, str]])
        return Story(
            opportunity=made.line_of_offer(found, episode),
            waterfall=made.waterfall_of_offer(found),
            legs=made.leg_lines(found.legs, symbols),
            rates=made.rate_lines(found.fx, symbols),
            plan=None,
            orders=(),
            decisions=(),
            episode=episode,
        )


async def _in_turns(make: Callable[[made.Row], Line], rows: Sequence[made.Row]) -> tuple[Line, ...]:
    """Make a line of each row, a few in each turn of the loop: the same loop trades."""
    lines: list[Line] = []
    for begin in range(0, len(rows), ROWS_PER_TURN):
        lines += map(make, rows[begin : begin + ROWS_PER_TURN])
        await asyncio.sleep(0)
    return tuple(lines)


def _check_times(since_ns: int, until_ns: int | None) -> None:
    if not (0 <= since_ns <= NS_MAX and 0 <= (until_ns or 0) <= NS_MAX):
        raise BadQuestion("a time is in nanoseconds since 1970")


def _cursor(text: str) -> tuple[int | None, str]:
    if not text:
        return None, ""
    match = CURSOR.fullmatch(text)
    if match is None or "\x00" in text or int(match[1]) > NS_MAX:
        raise BadQuestion("the cursor is none that a page before gave")
    return int(match[1]), match[2]
