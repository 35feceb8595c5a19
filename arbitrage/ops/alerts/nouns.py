"""What alerts are made of: rules, findings, episodes and notes, as plain values. Decides nothing, reads no clock."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}
State = Literal["firing", "still", "over", "again"]
"""It began; it lasts; it is over; an occurrence came again so often (`Note.count`) and has stopped since."""


class Topic(enum.Enum):
    """What a rule is about: the sections of the runbook."""

    TRADING = "trading"
    MONEY = "money"
    FEEDS = "feeds"
    STORES = "stores"
    PROCESS = "process"


class Rule(msgspec.Struct, frozen=True):
    """One thing that hurts."""

    name: str
    severity: Severity
    title: str
    """What it is in a few words, without names and numbers."""
    topic: Topic
    hold_ms: int = 0
    """It is told only after it has lasted so long."""
    is_event: bool = False
    """It happens at a moment and does not last: no condition is seen to end, it is over when it stopped coming."""


class Finding(msgspec.Struct, frozen=True):
    """A rule found true now, of one subject (a venue, an asset, a channel), or of the whole."""

    rule: str
    text: str
    """What a person reads; never a secret."""
    subject: str = ""

    @property
    def key(self) -> str:
        """What makes two findings the same alert."""
        return f"{self.rule}/{self.subject}" if self.subject else self.rule


class Episode(msgspec.Struct):
    """One alert from its first finding until it is over. Times are engine time in ns."""

    finding: Finding
    severity: Severity
    began_ns: int
    seen_ns: int
    told_ns: int | None = None
    """When it was last told; None while it is held back."""
    count: int = 1
    """How often it began, or for an event how often it happened."""
    is_event: bool = False
    is_present: bool = True


class Note(msgspec.Struct, frozen=True):
    """What is to be told of one alert: a line in a message."""

    key: str
    rule: str
    severity: Severity
    state: State
    title: str
    text: str
    began_ns: int
    at_ns: int
    count: int = 1


class ActiveAlert(msgspec.Struct, frozen=True):
    """One alert that is on now, for screens and the API."""

    key: str
    rule: str
    severity: Severity
    title: str
    text: str
    began_ns: int
    count: int
    told_ns: int | None = None
    """When it was last given to the channels; None while it is held back."""
    due_ns: int = 0
    """When it is told if it lasts, for one that is held back."""
    is_event: bool = False


class EndedAlert(msgspec.Struct, frozen=True):
    """One alert that was told and is over, for screens and the API."""

    key: str
    rule: str
    severity: Severity
    title: str
    text: str
    began_ns: int
    ended_ns: int
    count: int


class Board(msgspec.Struct, frozen=True):
    """Every alert at one moment: replaced whole, so that any thread may read it."""

    firing: tuple[ActiveAlert, ...] = ()
    """The worst and oldest first."""
    pending: tuple[ActiveAlert, ...] = ()
    """True now, and not told yet: each rule says how long it must last."""
    over: tuple[EndedAlert, ...] = ()
    """The newest first, since the start of the process, within `book.ENDED_MAX`."""


class ChannelStanding(msgspec.Struct, frozen=True):
    """How one channel stands, for screens and metrics."""

    name: str
    kind: str
    waiting: int
    sent: int
    failed: int
    dropped: int
    trouble: str = ""
    """Why the last attempt failed, in words without any secret; empty when it did not."""
    failing_since_ns: int | None = None
    severity_min: Severity = "warning"
    keys_waiting: tuple[str, ...] = ()
    """Alerts of which something has not arrived by this channel yet."""
    tokens: int = 0
    """Messages that may leave at once now."""
    burst: int = 0
    per_minute: int = 0
    sent_ns: int | None = None
    """When the last message arrived, of whatever kind."""
    failed_ns: int | None = None
    fault_last: str = ""
    """Why the last one that failed did, in words without any secret; kept when the channel works again."""
    heartbeat_ns: int = 0
    """How often a sign of life goes; 0: never."""
    beat_ns: int | None = None
    """When the last sign of life arrived."""
    is_quiet: bool = False
    """Now only what is critical goes."""


class OfficeStanding(msgspec.Struct, frozen=True):
    """How the alerts of a house stand, for screens, the API and metrics."""

    board: Board = Board()
    channels: tuple[ChannelStanding, ...] = ()
    spool_bytes: int = 0
    """What outlives the process, as last written to disk."""
    spool_faults: int = 0
    """Writes in a row that the disk did not take."""
    events_lost: int = 0
    """Events that found no room before they were looked at."""
    faults: int = 0
    """Faults of the alerts themselves, each logged."""
