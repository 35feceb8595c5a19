"""How a command reaches the opportunity ledger: whose rows, which database, what to say when it is away. Prints no result."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from arbitrage.app.clock import wall_ns
from arbitrage.app.exits import Exit
from arbitrage.ops.places import Places, find_places
from arbitrage.ops.status import Status
from arbitrage.store.embedded import Embedded, postgres_of
from arbitrage.store.endpoints import PostgresEndpoint, configured_postgres
from arbitrage.store.ledger_nouns import Away, BadQuestion
from arbitrage.store.ledger_reads import LedgerReads
from arbitrage.store.rows import Scope
from arbitrage.store.stores import STORE_REFUSALS

Answer = TypeVar("Answer")
Ask = Callable[[LedgerReads], Awaitable[Answer | Away]]
AGO = re.compile(r"(\d{1,6})([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SECOND_NS = 1_000_000_000


class LedgerAway(Exception):
    """The ledger cannot be asked: one line says why, and what to do."""


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whose ledger."""
    parser.add_argument("--data-dir", default="", metavar="FOLDER", help="the daemon's data folder (default: configured)")
    parser.add_argument("--session", default="", metavar="NAME", help="whose (default: of the daemon that ran here last)")


def since(text: str) -> int:
    """Read `--since`: `90s 30m 2h 7d 1w` ago, a day, or a time in UTC. Raises argparse.ArgumentTypeError."""
    ago = AGO.fullmatch(text)
    if ago is not None:
        return max(0, wall_ns() - int(ago[1]) * SECONDS[ago[2]] * SECOND_NS)
    try:
        moment = datetime.datetime.fromisoformat(text)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
        return max(0, int(aware.timestamp()) * SECOND_NS)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither so long ago (2h, 7d) nor a time (2026-11-21T08:00)") from None


def asked(arguments: argparse.Namespace, ask: Ask[Answer], show: Callable[[Answer], int]) -> int:
    """Ask the ledger and show the answer; say in one line why there is none. Returns the exit status."""
    try:
        return show(_answer(arguments, ask))
    except BadQuestion as question:
        print(question, file=sys.stderr)
        return Exit.USAGE
    except LedgerAway as away:
        print(away, file=sys.stderr)
        return Exit.CHECK_FAILED


def _answer(arguments: argparse.Namespace, ask: Ask[Answer]) -> Answer:
    places = find_places(os.environ, data_dir=arguments.data_dir)
    fixed = configured_postgres(places.settings.store)
    if fixed is not None:
        return _checked(asyncio.run(_asked(fixed, _scope(places, arguments.session), ask)))
    if not (places.data_dir / "postgres").is_dir():
        raise LedgerAway(f"{places.data_dir}: no database is kept here; is this the daemon's data folder (--data-dir)?")
    embedded = Embedded(Path(places.data_dir), wants_postgres=True, wants_redis=False)
    try:
        embedded.start()  # or joins the one of a daemon that runs
        return _checked(asyncio.run(_asked(postgres_of(embedded.state), _scope(places, arguments.session), ask)))
    except STORE_REFUSALS as refusal:
        raise LedgerAway(str(refusal)) from None
    finally:
        embedded.stop()


def _scope(places: Places, session: str) -> Scope:
    status = places.status if isinstance(places.status, Status) else None
    env = status.env if status is not None else places.settings.env
    known = status.session_id if status is not None else places.settings.session_name
    return Scope(env, session or known, places.settings.market_symbols)


async def _asked(endpoint: PostgresEndpoint, scope: Scope, ask: Ask[Answer]) -> Answer | Away:
    reads = LedgerReads(lambda: endpoint, scope)
    try:
        sessions = await reads.sessions()
        if isinstance(sessions, Away):
            return sessions
        if scope.session_id not in sessions:
            names = ", ".join(sessions) or "none at all"
            what = f"no session {scope.session_id!r} of {scope.env!r} is kept in {endpoint}"
            raise LedgerAway(f"{what}; name one with --session: {names}")
        return await ask(reads)
    finally:
        await reads.close()


def _checked(answer: Answer | Away) -> Answer:
    if isinstance(answer, Away):
        hint = "`arbitrage status` tells whether the daemon runs, `arbitrage migrate` brings tables up to date"
        raise LedgerAway(f"{answer.reason}; {hint}")
    return answer
