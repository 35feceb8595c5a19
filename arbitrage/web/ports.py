"""What the surface needs of the house, as protocols that `app/` implements: views, commands, records, audit. Implements none.

Everything returns values. What needs PostgreSQL may answer `Away` in place of its value; nothing here raises for a server
that is down. Views are read from memory and never wait; commands that need no database never wait for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.model.accounts import KillReceipt, RestartReport
from arbitrage.ops.alerts.nouns import OfficeStanding
from arbitrage.ops.bank_rates import BankRate
from arbitrage.ops.config import Loaded, Reload
from arbitrage.ops.metrics import Metrics
from arbitrage.ops.overrides import Override
from arbitrage.ops.standing import Standing
from arbitrage.store.audit import AuditDraft
from arbitrage.store.ledger_reads import LedgerReads
from arbitrage.store.reads import Reads
from arbitrage.store.stores import StoresHealth
from arbitrage.web.callers import Caller
from arbitrage.web.counts import Access, Counts, Traffic
from arbitrage.web.events import Events
from arbitrage.web.faults import Faults

__all__ = [
    "AuditDraft", "AuditPort", "BackupRun", "BookLevel", "Commands", "Done", "DrillRun", "LimitUse", "Ports",
    "Process", "Views",
]  # fmt: skip


class Done(msgspec.Struct, frozen=True):
    """What came of a command."""

    done: bool
    text: str
    standing: Standing
    detail: Any = None
    """Plain JSON beside the text, for those that have more to say."""


class LimitUse(msgspec.Struct, frozen=True):
    """One limit of the guard, and what is used of it."""

    name: str
    """The key below `risk`."""
    subject: str
    """The pair, venue or asset that it is about; empty for the whole."""
    used: str | None
    """None: it cannot be valued now."""
    limit: str
    asset: str
    """What both are in; empty: counted."""
    used_ppm: int | None


class BookLevel(msgspec.Struct, frozen=True):
    """One level of a book, in plain decimals of the market's quote and base asset."""

    price: str
    quantity: str


class Process(msgspec.Struct, frozen=True):
    """What the process takes of the machine, and how its loop does."""

    pid: int
    resident_bytes: int
    cpu_seconds: float
    open_files: int
    tasks: int
    frames: int
    loop_late_ms_mean: float
    """Over 60 s."""
    loop_late_ms_worst: float
    uptime_s: float


class BackupRun(msgspec.Struct, frozen=True):
    """A backup that was begun over the surface."""

    state: str
    """`never`, `running`, `made` or `failed`."""
    began_ns: int
    ended_ns: int
    text: str


class DrillRun(msgspec.Struct, frozen=True):
    """How a drill goes or went, the last time that it was begun over the surface."""

    state: str = "never"
    """`never`, `running`, `passed`, `failed`, or `not_run`: it came to no verdict."""
    began_ns: int = 0
    ended_ns: int = 0
    actor: str = ""
    text: str = ""
    """What held, why it failed, or why it came to no verdict."""
    notes: tuple[str, ...] = ()
    """What was not as it is in earnest, such as shortened periods."""
    proven_ns: int = 0
    """When it last passed, which may be an earlier time; 0: never."""


class Views(Protocol):
    """What is in memory: cheap, never waits."""

    def now_ns(self) -> int:
        """Return engine time."""
        ...

    def wall_ns(self) -> int:
        """Return the wall clock, for times that people read."""
        ...

    def view(self) -> EngineView:
        """Return the engine's picture; shared by everybody who asks within 100 ms."""
        ...

    def standing(self) -> Standing:
        """Return how the daemon stands: armed or why not, killed, paused, differences, proofs."""
        ...

    def loaded(self) -> Loaded:
        """Return the configuration in force, with the origin of every value."""
        ...

    def overrides(self) -> dict[str, Override]:
        """Return the keys that are set over the files."""
        ...

    def stores(self) -> StoresHealth:
        """Return how PostgreSQL, Redis, journal and archive stand."""
        ...

    def figures(self) -> Mapping[str, str]:
        """Return the rolling figures of the last 60 s (the METRICS hash)."""
        ...

    def metrics(self) -> Metrics:
        """Return the rolling figures and the histograms of the hops."""
        ...

    def levels(self, market: int, limit: int) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
        """Return bids and asks of a market as the venue shows them, best first; none while its book is unusable."""
        ...

    def limits(self) -> tuple[LimitUse, ...]:
        """Return every limit of the guard with what is used of it now."""
        ...

    def connects(self) -> Mapping[str, int]:
        """Return how often a connection of each venue was made, the first times included."""
        ...

    def refusals(self) -> Mapping[str, int]:
        """Return how often the guard gave each reason since the start."""
        ...

    def process(self) -> Process:
        """Return what the process takes of the machine."""
        ...

    def is_ready(self) -> bool:
        """Say whether the daemon told systemd that it is ready."""
        ...

    def restart_report(self) -> RestartReport | None:
        """Return the newest restart report, None when there is none."""
        ...

    def kill_receipt(self) -> KillReceipt | None:
        """Return the newest kill receipt, None when there is none."""
        ...

    def alerts(self) -> OfficeStanding | None:
        """Return every alert and how its channels stand; None in a house that tells nobody."""
        ...


class Commands(Protocol):
    """What an operator can have done. Each names its caller; the engine's are Command events and facts of the journal."""

    def kill(self, caller: Caller, reason: str) -> Done:
        """Set the kill switch, at once, whatever else is down."""
        ...

    def release(self, caller: Caller, reason: str) -> Done: ...

    def pause(self, caller: Caller, reason: str) -> Done: ...

    def resume(self, caller: Caller, reason: str) -> Done: ...

    def accept(self, caller: Caller, name: str, reason: str) -> Done:
        """Accept one difference by its name, or all."""
        ...

    def accept_instruments(self, caller: Caller, reason: str) -> Done: ...

    async def snapshot(self, caller: Caller) -> Done: ...

    async def backup(self, caller: Caller) -> Done: ...

    def backup_run(self) -> BackupRun:
        """Return how the last backup that was begun here goes, or went."""
        ...

    async def exercise_kill(self, caller: Caller) -> Done:
        """Prove the kill switch on paper, now."""
        ...

    def drill_runs(self) -> Mapping[str, DrillRun]:
        """Return how each drill that was begun here goes, or last went, by its name."""
        ...

    def drill_refusal(self) -> str:
        """Say why none can be begun now; empty: one can."""
        ...

    async def begin_drill(self, caller: Caller, name: str) -> Done:
        """Begin a drill of the catalog in a process of its own; one at a time."""
        ...

    async def try_settings(self, values: Mapping[str, Any]) -> Reload | tuple[str, ...]:
        """Say what setting these keys would change, or every problem; changes nothing."""
        ...

    async def put_settings(self, caller: Caller, values: Mapping[str, Any], reason: str) -> Reload | tuple[str, ...]:
        """Set keys over the files, all or none; what a running process cannot take over is refused (`is_accepted`)."""
        ...

    async def reset_settings(self, caller: Caller, keys: tuple[str, ...] | None) -> Reload | tuple[str, ...]:
        """Take keys back to what the files say; None resets all."""
        ...

    async def roll_back(self, caller: Caller, body: Mapping[str, Any], reason: str) -> Reload | tuple[str, ...]:
        """Go back to the settings of an earlier configuration, as far as a running process can."""
        ...


class AuditPort(Protocol):
    """The audit log."""

    @property
    def waiting(self) -> int:
        """Lines that are on this machine's disk and not in PostgreSQL yet."""
        ...

    @property
    def dropped(self) -> int:
        """Lines that found no room."""
        ...

    @property
    def is_full(self) -> bool:
        """Say whether no line can be taken any more (the spool's bound); only urgent writes are let through then."""
        ...

    def append(self, draft: AuditDraft) -> None:
        """Take a line; it is on this machine's disk when this returns, and reaches PostgreSQL later. Never waits for it."""
        ...


class Ports(msgspec.Struct, kw_only=True):
    """All of them, handed to every handler."""

    views: Views
    commands: Commands
    records: Reads
    """What PostgreSQL holds; every read answers `Away` where it cannot."""
    ledger: LedgerReads
    audit: AuditPort
    events: Events
    traffic: Traffic
    still_counts: Callable[[Caller], bool]
    """Says whether a caller may go on: for streams, which outlive their request."""
    bank_rates: Callable[[], Mapping[str, BankRate]] = dict
    """What banks ask for a dollar, by fiat asset: what is configured, known or not."""
    access: Callable[[], Access] = Access
    """Says who is signed in and how many were turned away."""
    counts: Counts = msgspec.field(default_factory=Counts)
    faults: Faults = msgspec.field(default_factory=Faults)
