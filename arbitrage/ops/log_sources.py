"""Log lines and metrics as they can be read from outside: Redis first, the log file when Redis is away. Writes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import msgspec
from redis.asyncio import Redis

from arbitrage.ops.log_lines import Field, LogLine
from arbitrage.ops.places import Places
from arbitrage.ops.status import Status
from arbitrage.store.redis_client import REDIS_FAULTS, make_redis
from arbitrage.store.redis_logs import logs_key
from arbitrage.store.redis_metrics import metrics_key

READ_BYTES_MAX = 8_000_000
"""How much of the end of a log file is looked at."""
STREAM_BATCH = 1_000


def stream_entry(line: LogLine) -> dict[str, object]:
    """Make the fields of a stream entry: flat, so that any Redis client can read them; what is empty is left out."""
    entry: dict[str, object] = {"at_ns": line.at_ns, "level": line.level, "logger": line.logger, "text": line.text}
    if line.code:
        entry["code"] = line.code
    if line.fields:
        entry["fields"] = msgspec.json.encode(line.fields).decode()
    if line.trace:
        entry["trace"] = line.trace
    return entry


def entry_line(entry: dict[str, str]) -> LogLine | None:
    """Read a stream entry back; None when it is not one of ours."""
    try:
        fields = msgspec.json.decode(entry.get("fields", "{}"), type=dict[str, Field])
        return LogLine(
            int(entry["at_ns"]), entry["level"], entry["logger"], entry["text"],
            entry.get("code", ""), fields, entry.get("trace", ""),
        )
    except (KeyError, ValueError):  # a DecodeError is a ValueError
        return None


def parse_line(raw: bytes) -> LogLine | None:
    """Read one line of the log file; None when it is damaged (a crash in the middle of it)."""
    try:
        return msgspec.json.decode(raw, type=LogLine)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class FileFollower:
    """The end of the rotating log file, and what is added to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._inode = 0
        self._rest = b""

    def read_new(self) -> list[LogLine]:
        """Return whole lines that came since the last call (at most the last 8 MB), over a rotation too."""
        try:
            with self.path.open("rb") as file:
                status = self.path.stat()
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset, self._rest = status.st_ino, max(0, status.st_size - READ_BYTES_MAX), b""
                    is_cut = self._offset > 0
                else:
                    is_cut = False
                file.seek(self._offset)
                raw = file.read(READ_BYTES_MAX)
        except OSError:
            return []
        self._offset += len(raw)
        *whole, self._rest = (self._rest + raw).split(b"\n")
        return [line for line in map(parse_line, whole[is_cut:]) if line is not None]


class LogSource:
    """New log lines at every call: from the stream while Redis answers, else from the file. Never the same line twice."""

    def __init__(self) -> None:
        self._file: FileFollower | None = None
        self._after = "-"
        self._newest_ns = 0
        self.name = ""
        """Where the last lines came from, or why there are none."""

    async def read_new(self, places: Places) -> list[LogLine]:
        """Return what came since the last call, oldest first. `places` as they are now: a restart may have moved a port."""
        lines = await self._from_stream(places)
        if lines is None:
            self.name = str(places.log_file)
            if self._file is None or self._file.path != places.log_file:
                self._file = FileFollower(places.log_file)
            fresh = self._file.read_new()
            lines = [line for line in fresh if line.at_ns > self._newest_ns]
        if lines:
            self._newest_ns = max(self._newest_ns, lines[-1].at_ns)
        return lines

    async def _from_stream(self, places: Places) -> list[LogLine] | None:
        """Read the stream from where we were; None when it is away or empty from the start."""
        if places.redis is None:
            return None
        env = env_of(places)
        client = make_redis(places.redis)
        found: list[LogLine] = []
        try:
            while True:
                answer = await client.xrange(logs_key(env), min=self._after, max="+", count=STREAM_BATCH)
                rows = cast("list[tuple[str, dict[str, str]]]", answer)  # the client decodes responses
                for identifier, entry in rows:
                    self._after = f"({identifier}"
                    line = entry_line(entry)
                    if line is not None:
                        found.append(line)
                if len(rows) < STREAM_BATCH:
                    break
        except REDIS_FAULTS:
            return found or None
        finally:
            await close(client)
        if self._after == "-":
            return None
        self.name = f"{places.redis} {logs_key(env)}"
        return found


async def read_metrics(places: Places) -> dict[str, str] | str:
    """Return the METRICS hash of the running session, or why there is none."""
    status = places.status
    if isinstance(status, str):
        return status
    if places.redis is None:
        return "Redis is not running"
    client = make_redis(places.redis)
    try:
        answer = await client.hgetall(metrics_key(status.env, status.session_id))
    except REDIS_FAULTS:
        return f"{places.redis} does not answer"
    finally:
        await close(client)
    return cast("dict[str, str]", answer) or f"no {metrics_key(status.env, status.session_id)} in {places.redis}"


def env_of(places: Places) -> str:
    """Return the environment of the daemon that last ran here, else the configured one."""
    return places.status.env if isinstance(places.status, Status) else places.settings.env


def matching(lines: Iterable[LogLine], *, level_number: int = 0, text: str = "") -> list[LogLine]:
    """Keep the lines of a level and above that hold a text, ignoring case, anywhere: words, code, fields, trace."""
    wanted = text.casefold()
    return [line for line in lines if line.level_number >= level_number and wanted in _haystack(line)]


def _haystack(line: LogLine) -> str:
    fields = " ".join(f"{name}={value}" for name, value in line.fields.items())
    return f"{line.logger} {line.text} {line.code} {fields} {line.trace}".casefold()


async def close(client: Redis) -> None:
    """Close a client whose server may be gone."""
    with contextlib.suppress(*REDIS_FAULTS):
        await client.aclose()
