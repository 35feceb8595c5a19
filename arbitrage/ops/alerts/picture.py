"""What the rules look at: a house at one moment, as plain values. Holds no secret and no behaviour."""

from __future__ import annotations

import msgspec


class FeedPicture(msgspec.Struct, frozen=True):
    """One venue's market data."""

    venue: str
    is_connected: bool
    reason: str
    usable: int
    markets: int
    clock_offset_ms: int | None


class LossPicture(msgspec.Struct, frozen=True):
    """One limit of loss and how much of it is used, in 1e-8 of the reporting asset."""

    name: str
    used_e8: int
    limit_e8: int
    asset: str


class StoresPicture(msgspec.Struct, frozen=True):
    """How what is kept stands."""

    postgres_error: str = ""
    """Empty: PostgreSQL is there."""
    redis_error: str = ""
    journal_trouble: str = ""
    is_journal_full: bool = False
    journal_bytes_waiting: int = 0
    journal_bytes_max: int = 1
    lease_fault: str = ""
    archive_trouble: str = ""
    backup_age_h: float | None = None
    """None: no backup was ever made, or it is not known yet."""
    backup_age_h_max: int = 50
    snapshot_age_s: float | None = None
    snapshot_age_s_max: int = 300


class ProcessPicture(msgspec.Struct, frozen=True):
    """How the process does."""

    errors_per_minute: int = 0
    loop_late_ms: float = 0.0
    loop_late_ms_max: int = 100
    log_lines_dropped: int = 0
    kill_proof_age_h: float | None = None
    """None: never proven."""
    up_s: float = 0.0
    troubles: dict[str, str] = {}
    """Parts beside trading that do not run (the web server), by name, each with why."""


class Picture(msgspec.Struct, frozen=True):
    """The whole at one moment."""

    at_ns: int
    not_armed_because: tuple[str, ...]
    kill_reason: str = ""
    pause_reason: str = ""
    differences: dict[str, str] = {}
    """What keeps it disarmed until somebody accepts it: by name, in the words of `not_armed_because`."""
    naked: dict[str, str] = {}
    """By asset, what earlier plans left unhedged, in words."""
    pairs_off: dict[str, str] = {}
    accounts: dict[str, str] = {}
    """By venue, why its account is down; empty text where it is not."""
    losses: tuple[LossPicture, ...] = ()
    feeds: tuple[FeedPicture, ...] = ()
    stores: StoresPicture = StoresPicture()
    process: ProcessPicture = ProcessPicture()
