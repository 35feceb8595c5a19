"""The daemon's own word about itself, in `{data_dir}/status.json`, rewritten whole every second. Holds no secret and no money.

It is how `healthcheck.py` and `tools/monitor.py` find the embedded servers, and what they show when these are gone.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec

FILE_NAME = "status.json"
FILE_BYTES_MAX = 1_000_000
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class PostgresAddress(msgspec.Struct, frozen=True):
    """Where this daemon's PostgreSQL listens; `host` may be a socket folder."""

    host: str
    port: int
    user: str
    database: str


class RedisAddress(msgspec.Struct, frozen=True):
    """Where this daemon's Redis or Valkey listens; a `host` that starts with `/` is a socket's path."""

    host: str
    port: int


class FeedStatus(msgspec.Struct, frozen=True):
    """One venue's market data."""

    connected: bool
    alive_age_ms: int
    markets: int
    usable: int
    clock_offset_ms: int | None = None
    """The venue's clock minus ours as last measured; None before the first time."""


class Status(msgspec.Struct, frozen=True):
    """Everything a look from outside needs. Times are engine time in nanoseconds since 1970."""

    pid: int
    session_id: str
    env: str
    mode: str
    armed: bool
    not_armed_reasons: tuple[str, ...]
    postgres: PostgresAddress | None
    redis: RedisAddress | None
    feeds: dict[str, FeedStatus]
    last_snapshot_at_ns: int | None
    at_ns: int
    loop_latency_ms: float
    started_at_ns: int = 0
    kill_last_proven_ns: int | None = None
    epoch: int = 0
    frames: int = 0
    """Since the start."""
    decision_us_p99: int = 0
    """From a frame's arrival to the end of the decision on it, over the last 30 to 60 s."""
    gaps: int = 0
    """Updates of books that were missed, since the start; each made its book unusable and was made good."""
    books_compared: int = 0
    books_equal: int = 0
    """Comparisons of a depth book with the venue's own best prices at equal update ids, and how many were equal."""
    wall_ns: int = 0
    """The wall clock as this was written: engine time does not follow it when it is set. 0: they were the same."""
    archive_behind_s: float | None = None
    """How far the archive of the embedded database's log is behind; None while nothing is archived."""
    archive_trouble: str = ""
    alerts: tuple[str, ...] = ()
    """Keys of the alerts that are on, the worst first."""
    web_url: str = ""
    """Where the operator's surface is served; empty while it is not."""

    def engine_ns(self, wall_ns: int) -> int:
        """Return the daemon's engine time at a moment of the wall clock, however often that was set since its start."""
        return wall_ns - (self.wall_ns - self.at_ns) if self.wall_ns else wall_ns


def write_status(data_dir: Path, status: Status) -> None:
    """Replace the status file whole, readable by its owner only. Raises OSError; the caller counts it and goes on.

    Not synchronised to disk: after a power cut it would tell the past anyway. Writes about 1 kB, so the loop may do it itself.
    On a full disk it is written over in place: better torn for a moment than a word from before the disk was full.
    """
    target, content = data_dir / FILE_NAME, msgspec.json.encode(status)
    temporary = target.with_suffix(".tmp")
    try:
        _write(temporary, os.O_CREAT | os.O_TRUNC, content)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        temporary.unlink(missing_ok=True)
        _write(target, 0, content)
        return
    temporary.replace(target)


def _write(path: Path, flags: int, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.truncate()


def read_status(data_dir: Path) -> Status | str:
    """Read the status file, or say in words why there is none to read."""
    path = data_dir / FILE_NAME
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Status)
    except FileNotFoundError:
        return f"no {path}: the daemon has not run here"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{path} is damaged"
