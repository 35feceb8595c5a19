"""The audit log: who changed what, as a chain of hashes in PostgreSQL. Never waits for the database and never changes a line.

A line is on this machine's disk (the spool) when `append` returns; a task brings it into the table and only then forgets it.
Lines get their number and hash as they enter the table, under a lock: the daemon and command lines may write at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.files import make_private_folder, write_all, write_durably
from arbitrage.store.rows import Scope

logger = logging.getLogger("arbitrage.audit")
FOLDER, SPOOL, HEAD = "audit", "spool.jsonl", "head.json"
SPOOL_LINES_MAX = 5_000
URGENT_LINES_MAX = 500
"""Above the bound, for what must work with everything down."""
VALUE_BYTES_MAX = 16_384
"""Of `before` and of `after`; what is larger is kept as its size and hash."""
TEXT_LENGTH_MAX = 500
LINES_PER_WRITE_MAX = 200
LINES_PER_READ = 1_000
RETRY_SECONDS = 1.0
LOCK = 0x61756469  # "audi"
START = "0" * 64
"""What stands for the hash before the first line."""
_INSERT = (
    "INSERT INTO audit_log (number, key, at_ns, env, session_id, actor, address, action, subject, status, reason, before, "
    "after, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
)
_COLUMNS = "number, key, at_ns, env, session_id, actor, address, action, subject, status, reason, before, after, hash"


class AuditDraft(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log before it has its number and hash."""

    at_ns: int
    """Wall clock."""
    actor: str
    """User or key name; `system` for the daemon itself; `cli:USER` for a command line."""
    address: str
    action: str
    """Such as `POST /api/v1/kill` or `user add`."""
    subject: str = ""
    status: int = 200
    """What was answered: refused writes are kept, too."""
    reason: str = ""
    before: Any = None
    after: Any = None


class Kept(msgspec.Struct, frozen=True):
    """A line as the spool holds it: its values are JSON text already, so that they are hashed as they were written."""

    key: str
    at_ns: int
    actor: str
    address: str
    action: str
    subject: str
    status: int
    reason: str
    before: str
    after: str


class Head(msgspec.Struct, frozen=True):
    """The newest line that this machine knows to be in the table."""

    number: int
    hash: str


class Verdict(msgspec.Struct, frozen=True):
    """What checking the whole chain found."""

    is_whole: bool
    lines: int
    text: str
    """One line: what is wrong and where, or what was checked."""
    first_bad: int | None = None


class AuditLog:
    """One daemon's audit log. All calls come from the loop's thread."""

    def __init__(self, endpoint: Callable[[], PostgresEndpoint], scope: Scope, data_dir: Path) -> None:
        self._endpoint = endpoint
        self._scope = scope
        self._folder = data_dir / FOLDER
        self._waiting: deque[Kept] = deque()
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._connection: Any = None
        self._dropped = 0
        self.written = 0
        self.trouble = ""
        """Why the spool cannot be written; empty when it can."""
        self.last_error = ""
        """Why PostgreSQL did not take the last batch; empty when it did."""
        make_private_folder(self._folder)
        self._read_spool()

    @property
    def waiting(self) -> int:
        """Lines that PostgreSQL does not hold yet."""
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Lines that found no room: urgent ones past both bounds."""
        return self._dropped

    @property
    def is_full(self) -> bool:
        """No line can be kept any more: whatever is not urgent has to be refused."""
        return len(self._waiting) >= SPOOL_LINES_MAX or bool(self.trouble)

    def append(self, draft: AuditDraft) -> None:
        """Take a line. It is on disk when this returns, or `trouble` says why not and it waits in memory; never raises."""
        if len(self._waiting) >= SPOOL_LINES_MAX + URGENT_LINES_MAX:
            self._dropped += 1
            logger.error("no room for an audit line: %s by %s", draft.action, draft.actor)
            return
        kept = kept_of(draft)
        self._waiting.append(kept)
        try:
            self._add_to_spool(kept)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self._folder / SPOOL}: {error.strerror}"
            logger.error("the audit line waits in memory only: %s", self.trouble)
        self._wake.set()

    async def run(self) -> None:
        """Bring lines into the table until cancelled."""
        try:
            while True:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                if not await self.flush():
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._drop_connection()

    async def drain(self, seconds_max: float) -> bool:
        """Write what waits, for at most so long; return whether nothing waits any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                while self._waiting and await self.flush():
                    continue
        return not self._waiting

    async def flush(self) -> bool:
        """Write one batch; return whether PostgreSQL took it."""
        async with self._turn:
            batch = [self._waiting[place] for place in range(min(len(self._waiting), LINES_PER_WRITE_MAX))]
            if not batch:
                return True
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect_postgres(self._endpoint())
                head = await write(self._connection, self._scope, batch)
            except POSTGRES_FAULTS as error:
                if not self.last_error:
                    logger.warning("audit lines wait on disk: PostgreSQL: %s", error)
                self.last_error = str(error) or type(error).__name__
                self._drop_connection()
                return False
            self.last_error = ""
            for _ in batch:
                self._waiting.popleft()
            self.written += len(batch)
            self._after_write(head)
            return True

    def _after_write(self, head: Head) -> None:
        """Remember the head, then forget what is written: in this order, so that a crash between them only repeats a write."""
        try:
            write_durably(self._folder / HEAD, msgspec.json.encode(head))
            write_durably(self._folder / SPOOL, b"".join(msgspec.json.encode(kept) + b"\n" for kept in self._waiting))
        except OSError as error:
            self.trouble = f"{self._folder}: {error.strerror}"

    def _add_to_spool(self, kept: Kept) -> None:
        descriptor = os.open(self._folder / SPOOL, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            write_all(descriptor, msgspec.json.encode(kept) + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _read_spool(self) -> None:
        """Take over what an earlier start left; a torn last line was never answered for."""
        try:
            lines = (self._folder / SPOOL).read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{self._folder / SPOOL}: {error.strerror}"
            return
        for number, line in enumerate(lines[:-1], start=1):
            try:
                self._waiting.append(msgspec.json.decode(line, type=Kept))
            except msgspec.MsgspecError as error:
                logger.error("%s line %d is damaged and left out: %s", self._folder / SPOOL, number, error)
        if lines[-1]:
            logger.warning("%s: a torn last line is left out", self._folder / SPOOL)
            self._after_write(read_head(self._folder) or Head(0, START))

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def kept_of(draft: AuditDraft) -> Kept:
    """Make a line ready to be kept: bounded texts, values as JSON text, a key of its own."""
    texts = (draft.actor, draft.address, draft.action, draft.subject)
    actor, address, action, subject = (_clean(text) for text in texts)
    return Kept(
        key=secrets.token_hex(16),
        at_ns=draft.at_ns,
        actor=actor,
        address=address,
        action=action,
        subject=subject,
        status=draft.status,
        reason=_clean(draft.reason),
        before=_json(draft.before),
        after=_json(draft.after),
    )


def line_hash(before: str, line: Sequence[object]) -> str:
    """Hash a line (every column but the hash, in the table's order) over the hash of the line before it."""
    return hashlib.sha256(before.encode() + b"\n" + msgspec.json.encode(list(line))).hexdigest()


async def write(connection: Any, scope: Scope, batch: Sequence[Kept]) -> Head:
    """Append lines in one transaction; those that are there already are left alone. Raises one of POSTGRES_FAULTS."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        row = await connection.fetchrow("SELECT number, hash FROM audit_log ORDER BY number DESC LIMIT 1")
        head = Head(row["number"], row["hash"]) if row is not None else Head(0, START)
        known = await connection.fetch("SELECT key FROM audit_log WHERE key = ANY($1)", [kept.key for kept in batch])
        there = {each["key"] for each in known}
        rows = []
        for kept in batch:
            if kept.key in there:
                continue
            line = (
                head.number + 1, kept.key, kept.at_ns, scope.env, scope.session_id, kept.actor, kept.address, kept.action,
                kept.subject, kept.status, kept.reason, kept.before, kept.after,
            )  # fmt: skip
            head = Head(head.number + 1, line_hash(head.hash, line))
            rows.append((*line, head.hash))
        await connection.executemany(_INSERT, rows)
    return head


async def append_now(endpoint: PostgresEndpoint, scope: Scope, drafts: Sequence[AuditDraft]) -> Head:
    """Write lines at once, for a command line beside no daemon. Raises one of POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        return await write(connection, scope, [kept_of(draft) for draft in drafts])
    finally:
        await connection.close()


async def verify(endpoint: PostgresEndpoint, data_dir: Path | None) -> Verdict:
    """Check every line against the one before, and the end against what this machine remembers. Raises POSTGRES_FAULTS."""
    connection = await connect_postgres(endpoint)
    try:
        return await _verified(connection, read_head(data_dir / FOLDER) if data_dir is not None else None)
    finally:
        await connection.close()


async def _verified(connection: Any, remembered: Head | None) -> Verdict:
    head, is_remembered = Head(0, START), remembered is None or remembered.number == 0
    while True:
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM audit_log WHERE number > $1 ORDER BY number LIMIT $2", head.number, LINES_PER_READ
        )
        for row in rows:
            *line, found = tuple(row.values())
            number = line[0]
            if number != head.number + 1:
                return Verdict(False, head.number, f"line {head.number + 1} is missing", head.number + 1)
            if found != line_hash(head.hash, line):
                return Verdict(False, head.number, f"line {number} is not what was written", number)
            head = Head(number, found)
            is_remembered |= head == remembered
        if not rows:
            break
    if not is_remembered and remembered is not None:
        text = f"line {remembered.number} as this machine wrote it is missing; the table ends at {head.number}"
        return Verdict(False, head.number, text, min(remembered.number, head.number + 1))
    return Verdict(True, head.number, f"{head.number} lines, each over the one before it")


def read_head(folder: Path) -> Head | None:
    """Return the newest line that this machine wrote, None where it wrote none."""
    try:
        return msgspec.json.decode((folder / HEAD).read_bytes(), type=Head)
    except (OSError, msgspec.MsgspecError):
        return None


def _clean(text: str) -> str:
    """Keep what PostgreSQL and a line can hold, within bounds."""
    return text[:TEXT_LENGTH_MAX].encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _json(value: Any) -> str:
    text = msgspec.json.encode(value, order="deterministic")
    if len(text) > VALUE_BYTES_MAX:
        text = msgspec.json.encode({"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()})
    return text.decode()
