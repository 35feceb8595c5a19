"""Alerts as the first screen and their own page show them: what is on, held back or over, and who is told. Judges none.

Every list is bounded; what is left out is counted in words.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.ops.alerts.nouns import ActiveAlert, ChannelStanding, EndedAlert, OfficeStanding, Severity
from arbitrage.web.screen import figures

FIRST_SHOWN, FIRING_SHOWN, PENDING_SHOWN, OVER_SHOWN = 3, 50, 20, 20
TONES: dict[Severity, str] = {"critical": "bad", "warning": "warn", "info": "quiet"}
NOT_KNOWN, NOT_TOLD = "Not known: nobody looks whether anything hurts.", "This house tells nobody."
NOBODY_TOLD = "nobody is told: no channel is configured (alerts.channels)"


class Word(msgspec.Struct, frozen=True):
    """Words with their tone."""

    text: str
    tone: str = ""


class AlertRow(msgspec.Struct, frozen=True):
    """One alert that is on, or held back."""

    key: str
    severity: Word
    title: str
    text: str
    since: str
    told: Word
    """When it was given to the channels, and which of them have not taken it; for one that is held back, when it is told."""
    link: str
    """Its page of the runbook."""
    runbook: str
    """Its section of docs/RUNBOOK.md."""


class EndedRow(msgspec.Struct, frozen=True):
    """One alert that is over."""

    key: str
    severity: Word
    title: str
    text: str
    ended: str
    lasted: str
    times: str
    link: str
    runbook: str


class ChannelRow(msgspec.Struct, frozen=True):
    """One channel."""

    name: str
    state: Word
    detail: str
    sent: str
    failed: str
    waiting: Word
    lost: Word
    bucket: str
    last: str
    beat: Word


class AlertsPicture(msgspec.Struct, frozen=True):
    """Everything about alerts."""

    summary: Word = Word("")
    first: tuple[AlertRow, ...] = ()
    """The worst, for the first screen."""
    more: str = ""
    firing: tuple[AlertRow, ...] = ()
    pending: tuple[AlertRow, ...] = ()
    over: tuple[EndedRow, ...] = ()
    channels: tuple[ChannelRow, ...] = ()
    notes: tuple[str, ...] = ()
    calm: str = ""
    """Stands where no alert is on; never said by a house that does not judge."""
    untold: str = ""
    """Stands where there is no channel."""


def alerts_picture(standing: OfficeStanding | None, now_ns: int) -> AlertsPicture:
    """Draw everything about alerts."""
    if standing is None:
        return AlertsPicture(Word("not judged in this house, such as a demo", "quiet"), calm=NOT_KNOWN, untold=NOT_TOLD)
    board, channels = standing.board, standing.channels
    firing = tuple(_row(each, channels, now_ns) for each in board.firing[:FIRING_SHOWN])
    rest = len(board.firing) - FIRST_SHOWN
    return AlertsPicture(
        summary=_summary(standing),
        first=firing[:FIRST_SHOWN],
        more=f"and {rest} more" if rest > 0 else "",
        firing=firing,
        pending=tuple(_row(each, channels, now_ns) for each in board.pending[:PENDING_SHOWN]),
        over=tuple(_ended(each, now_ns) for each in board.over[:OVER_SHOWN]),
        channels=tuple(_channel(each, now_ns) for each in channels),
        notes=tuple(_notes(standing)),
        calm="" if firing else "Nothing hurts now.",
        untold="" if channels else f"{NOBODY_TOLD[0].upper()}{NOBODY_TOLD[1:]}.",
    )


def _summary(standing: OfficeStanding) -> Word:
    """Say in one line what is on, and whether anybody hears of it."""
    counts: dict[Severity, int] = {}
    for each in standing.board.firing:
        counts[each.severity] = counts.get(each.severity, 0) + 1
    on = ", ".join(f"{counts[severity]} {severity}" for severity in TONES if severity in counts)
    tone = next((TONES[severity] for severity in TONES if severity in counts), "good")
    failing = [each.name for each in standing.channels if each.trouble]
    if failing:
        told, tone = f"{', '.join(failing)} does not take messages", "bad"
    elif standing.channels:
        told = f"told by {', '.join(each.name for each in standing.channels)}"
    else:
        told, tone = NOBODY_TOLD, tone if counts else "quiet"
    return Word(f"{on or 'none on'}; {told}", tone)


def _notes(standing: OfficeStanding) -> list[str]:
    """Say what is wrong with the alerts themselves."""
    notes = []
    hidden = len(standing.board.firing) - FIRING_SHOWN
    if hidden > 0:
        notes.append(f"{hidden} more are on; the API has all of them")
    if standing.spool_faults:
        notes.append("the disk does not take what must outlive a restart: see the log")
    if standing.events_lost:
        notes.append(f"{standing.events_lost:,} events found no room before they were judged")
    if standing.faults:
        notes.append(f"{standing.faults:,} faults of the alerts themselves since the start: see the log")
    return notes


def _row(each: ActiveAlert, channels: Sequence[ChannelStanding], now_ns: int) -> AlertRow:
    waiting = [channel.name for channel in channels if each.key in channel.keys_waiting]
    if each.told_ns is None:
        told = Word(f"in {figures.age(each.due_ns - now_ns)}, if it lasts", "quiet")
    elif waiting:
        told = Word(f"not yet by {', '.join(waiting)}", "warn")
    elif not channels:
        told = Word("nobody", "warn")
    else:
        told = Word(f"{figures.age(now_ns - each.told_ns)} ago")
    times = f" ({each.count:,} times)" if each.count > 1 else ""
    return AlertRow(
        key=each.key, severity=Word(each.severity, TONES[each.severity]), title=f"{each.title}{times}", text=each.text,
        since=f"{figures.clock_time(each.began_ns)}, {figures.age(now_ns - each.began_ns)} ago", told=told,
        link=f"/runbook/{each.rule}", runbook=f"alert {each.rule}",
    )  # fmt: skip


def _ended(each: EndedAlert, now_ns: int) -> EndedRow:
    return EndedRow(
        key=each.key, severity=Word(each.severity, "quiet"), title=each.title, text=each.text,
        ended=f"{figures.clock_time(each.ended_ns)}, {figures.age(now_ns - each.ended_ns)} ago",
        lasted=figures.age(each.ended_ns - each.began_ns), times=f"{each.count:,}", link=f"/runbook/{each.rule}",
        runbook=f"alert {each.rule}",
    )  # fmt: skip


def _channel(each: ChannelStanding, now_ns: int) -> ChannelRow:
    quiet = "quiet hours: only what is critical goes" if each.is_quiet else ""
    state = Word("fails", "bad") if each.trouble else Word("quiet", "warn") if quiet else Word("well", "good")
    if each.trouble or not each.fault_last or each.failed_ns is None:
        detail = each.trouble or quiet
    else:
        detail = f"last failed {figures.age(now_ns - each.failed_ns)} ago: {each.fault_last}"
    last = "never" if each.sent_ns is None else f"{figures.age(now_ns - each.sent_ns)} ago"
    return ChannelRow(
        name=each.name, state=state, detail=f"{each.kind}, {each.severity_min} and worse" + (f"; {detail}" if detail else ""),
        sent=f"{each.sent:,}", failed=f"{each.failed:,}", waiting=Word(f"{each.waiting:,}", "warn" if each.waiting else ""),
        lost=Word(f"{each.dropped:,}", "bad" if each.dropped else ""), bucket=f"{each.tokens} of {each.burst}", last=last,
        beat=_beat(each, now_ns),
    )  # fmt: skip


def _beat(each: ChannelStanding, now_ns: int) -> Word:
    """Say when the last sign of life arrived, and how often one goes."""
    if not each.heartbeat_ns:
        return Word("none is sent", "quiet")
    every = figures.age(each.heartbeat_ns)
    if each.beat_ns is None:
        return Word(f"none yet, every {every}", "warn")
    age_ns = now_ns - each.beat_ns
    return Word(f"{figures.age(age_ns)} ago, every {every}", "bad" if age_ns > 3 * each.heartbeat_ns else "")
