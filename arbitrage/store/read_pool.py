"""A few connections that only read, kept between questions. A database that is away is an answer, not an error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.ledger_nouns import Away

READS_AT_ONCE_MAX = 4
"""Connections at most; who asks while all are taken waits."""
READ_SECONDS_MAX = 5.0
WAIT_SECONDS_MAX = 5.0
_SETTINGS = (
    f"SET default_transaction_read_only = on; SET statement_timeout = '{READ_SECONDS_MAX:.0f}s'; SET idle_session_timeout = 0"
)

Answer = TypeVar("Answer")
Work = Callable[[Any], Awaitable[Answer]]
"""Asks one connection, within one transaction that sees one state of the database."""


class ReadPool:
    """At most READS_AT_ONCE_MAX questions at once."""

    def __init__(self, endpoint: Callable[[], PostgresEndpoint]) -> None:
        """Name where PostgreSQL is; asked anew for each connection."""
        self._endpoint = endpoint
        self._free = asyncio.Semaphore(READS_AT_ONCE_MAX)
        self._idle: list[Any] = []

    async def ask(self, work: Work[Answer]) -> Answer | Away:
        """Do `work` on a connection. What went stale while idle is replaced once; any other fault is `Away`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await self._free.acquire()
        except TimeoutError:
            return Away(f"{READS_AT_ONCE_MAX} questions are under way already")
        try:
            return await self._ask(work)
        except POSTGRES_FAULTS as error:
            words = " ".join(str(error).split())[:300] or type(error).__name__
            return Away(f"PostgreSQL at {self._endpoint()}: {words}")
        finally:
            self._free.release()

    async def close(self) -> None:
        """End every idle connection."""
        while self._idle:
            self._idle.pop().terminate()

    async def _ask(self, work: Work[Answer]) -> Answer:
        if self._idle:
            try:
                return await self._use(self._idle.pop(), work)
            except POSTGRES_FAULTS:
                await self.close()  # the server was away meanwhile: none of them is any good
        connection = await connect_postgres(self._endpoint())
        await connection.execute(_SETTINGS)
        return await self._use(connection, work)

    async def _use(self, connection: Any, work: Work[Answer]) -> Answer:
        is_good = False
        try:
            async with asyncio.timeout(READ_SECONDS_MAX + 1):
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    answer = await work(connection)
            is_good = True
            return answer
        finally:
            if is_good:
                self._idle.append(connection)
            else:
                connection.terminate()
