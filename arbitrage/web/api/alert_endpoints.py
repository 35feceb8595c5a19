"""The endpoint of alerts: what is on, what is held back, what is over, and how each channel to people stands. Changes nothing.

It reads memory, so it answers with every database down, and it shows no address and no secret of a channel.
"""

from __future__ import annotations

import msgspec

from arbitrage.ops.alerts.nouns import ActiveAlert, ChannelStanding, EndedAlert, OfficeStanding, Severity
from arbitrage.ops.alerts.wording import RUNBOOK, anchor
from arbitrage.store.ledger_nouns import Moment
from arbitrage.web.callers import Role
from arbitrage.web.endpoints import Answer, Call, Endpoint


class AlertLine(msgspec.Struct, frozen=True):
    """One alert that is on, or held back until it has lasted."""

    key: str
    """What makes two findings the same alert: the rule, and what it is about."""
    rule: str
    severity: Severity
    title: str
    text: str
    since: Moment
    count: int
    """How often it began, or for an event how often it happened."""
    is_event: bool
    """It happens at a moment; it is over when it stopped coming."""
    told: Moment | None
    """When it was last given to the channels; null while it is held back."""
    due: Moment | None
    """When it is told if it lasts; null once it was told."""
    waiting_at: tuple[str, ...]
    """Channels by which something of it has not arrived yet."""
    runbook: str
    """Where it says what to do."""


class EndedLine(msgspec.Struct, frozen=True):
    """One alert that is over, since the start of the process."""

    key: str
    rule: str
    severity: Severity
    title: str
    text: str
    since: Moment
    ended: Moment
    """When it was last seen."""
    count: int
    runbook: str


class ChannelLine(msgspec.Struct, frozen=True):
    """How one channel stands. Counts are of messages since the start of the process."""

    name: str
    kind: str
    severity_min: Severity
    is_failing: bool
    trouble: str
    """Why the last attempt failed; empty when it did not."""
    failing_since: Moment | None
    sent: int
    failed: int
    dropped: int
    """Alerts that never arrived: the bound was reached, or they waited for a day. Kept over restarts."""
    waiting: int
    """Alerts that have not arrived yet."""
    tokens: int
    """Messages that may leave at once now."""
    burst: int
    per_minute: int
    is_quiet: bool
    """Quiet hours: only what is critical goes."""
    last_sent: Moment | None
    last_failed: Moment | None
    last_fault: str
    """Why, kept when the channel works again."""
    heartbeat_ms: int
    """How often a sign of life goes; 0: never."""
    last_heartbeat: Moment | None


class Alerts(msgspec.Struct, frozen=True):
    """Every alert and every channel."""

    at: Moment
    is_told: bool
    """False: this house tells nobody, and judges nothing."""
    firing: tuple[AlertLine, ...]
    """The worst and oldest first."""
    pending: tuple[AlertLine, ...]
    over: tuple[EndedLine, ...]
    """The newest first, of this process."""
    channels: tuple[ChannelLine, ...]
    spool_bytes: int
    """What outlives the process, as last written to disk."""
    spool_faults: int
    """Writes in a row that the disk did not take."""
    events_lost: int
    faults: int
    """Faults of the alerts themselves, each in the log."""


async def alerts(call: Call) -> Answer:
    """Answer every alert."""
    views = call.ports.views
    return alerts_of(views.alerts(), views.now_ns())


def alerts_of(standing: OfficeStanding | None, now_ns: int) -> Alerts:
    """Draw every alert."""
    known = standing or OfficeStanding()
    board = known.board
    return Alerts(
        at=Moment.of(now_ns),
        is_told=standing is not None,
        firing=tuple(_line(each, known.channels) for each in board.firing),
        pending=tuple(_line(each, known.channels) for each in board.pending),
        over=tuple(_ended(each) for each in board.over),
        channels=tuple(_channel(each) for each in known.channels),
        spool_bytes=known.spool_bytes,
        spool_faults=known.spool_faults,
        events_lost=known.events_lost,
        faults=known.faults,
    )


def runbook_of(rule: str) -> str:
    """Return where a rule's section is."""
    return f"{RUNBOOK}#{anchor(rule)}"


def _line(each: ActiveAlert, channels: tuple[ChannelStanding, ...]) -> AlertLine:
    waiting = tuple(channel.name for channel in channels if each.key in channel.keys_waiting)
    due = Moment.of(each.due_ns) if each.told_ns is None else None
    return AlertLine(
        each.key, each.rule, each.severity, each.title, each.text, Moment.of(each.began_ns), each.count, each.is_event,
        _moment(each.told_ns), due, waiting, runbook_of(each.rule),
    )  # fmt: skip


def _ended(each: EndedAlert) -> EndedLine:
    return EndedLine(
        each.key, each.rule, each.severity, each.title, each.text, Moment.of(each.began_ns), Moment.of(each.ended_ns),
        each.count, runbook_of(each.rule),
    )  # fmt: skip


def _channel(each: ChannelStanding) -> ChannelLine:
    return ChannelLine(
        name=each.name, kind=each.kind, severity_min=each.severity_min, is_failing=bool(each.trouble), trouble=each.trouble,
        failing_since=_moment(each.failing_since_ns), sent=each.sent, failed=each.failed, dropped=each.dropped,
        waiting=each.waiting, tokens=each.tokens, burst=each.burst, per_minute=each.per_minute, is_quiet=each.is_quiet,
        last_sent=_moment(each.sent_ns), last_failed=_moment(each.failed_ns), last_fault=each.fault_last,
        heartbeat_ms=each.heartbeat_ns // 1_000_000, last_heartbeat=_moment(each.beat_ns),
    )  # fmt: skip


def _moment(at_ns: int | None) -> Moment | None:
    return Moment.of(at_ns) if at_ns is not None else None


ENDPOINTS = (
    Endpoint(
        method="GET", path="/api/v1/alerts", handler=alerts, role=Role.VIEWER, answer=Alerts, tag="state",
        summary="Every alert that is on, held back or over, and how each channel stands",
    ),
)  # fmt: skip
