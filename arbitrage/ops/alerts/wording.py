"""What a message says, as text for people and as JSON for machines. Sends nothing and knows no channel."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from arbitrage.ops.alerts.nouns import RANK, Note, Severity

RUNBOOK = "docs/RUNBOOK.md"
SECOND_NS = 1_000_000_000
TEXT_LENGTH_MAX = 300
"""Of one alert's own words."""
CUT = "…"


class House(msgspec.Struct, frozen=True):
    """Whose alerts these are."""

    env: str
    mode: str
    session: str
    host: str

    def __str__(self) -> str:
        return f"{self.env} {self.mode} {self.session} on {self.host}"


class Message(msgspec.Struct, frozen=True):
    """One message: alerts, or a sign of life, or a test."""

    id: str
    """The same each time that the same message is tried again."""
    kind: str
    """`alert`, `heartbeat` or `test`."""
    house: House
    at_ns: int
    severity: Severity
    notes: tuple[Note, ...] = ()
    dropped: int = 0
    words: str = ""
    """What a heartbeat or a test says."""

    @property
    def headline(self) -> str:
        """Return one line that says the worst first: a mail's subject."""
        if self.kind != "alert":
            return f"[{self.kind}] arbitrage {self.house}: {self.words}"
        first = self.notes[0]
        more = f" and {len(self.notes) - 1} more" if len(self.notes) > 1 else ""
        return f"[{_mark(first)}] arbitrage {self.house}: {_name(first)}{more}"

    def text(self, length_max: int) -> str:
        """Return the whole for people, cut to a channel's limit; what is cut is said."""
        lines = [self.headline]
        for place, note in enumerate(self.notes):
            line = in_words(note)
            rest = f"{CUT} and {len(self.notes) - place} more"
            if len("\n".join([*lines, line])) + len(rest) + 1 > length_max:
                lines.append(rest)
                break
            lines.append(line)
        if self.dropped:
            lines.append(f"{self.dropped} older alerts were lost on the way")
        if self.notes:
            lines.append(f"what to do: {RUNBOOK}, alert {', '.join(sorted({note.rule for note in self.notes}))}")
        text = "\n".join(lines)
        return text if len(text) <= length_max else text[: length_max - 1] + CUT

    def json(self) -> bytes:
        """Return the whole for machines."""
        body = {
            "id": self.id, "kind": self.kind, "at": rfc3339(self.at_ns), "at_ns": self.at_ns, "house": self.house,
            "severity": self.severity, "text": self.text(4_000), "dropped": self.dropped,
            "alerts": [
                {
                    "key": note.key, "rule": note.rule, "severity": note.severity, "state": note.state, "title": note.title,
                    "text": note.text, "began": rfc3339(note.began_ns), "told": rfc3339(note.at_ns), "count": note.count,
                    "runbook": f"{RUNBOOK}#{anchor(note.rule)}",
                }
                for note in self.notes
            ],
        }  # fmt: skip
        return msgspec.json.encode(body)


def worst(notes: Sequence[Note]) -> Severity:
    """Return the highest severity among the notes."""
    assert notes, "a message is about something"
    return max((note.severity for note in notes), key=RANK.__getitem__)


def anchor(rule: str) -> str:
    """Return the runbook's anchor of a rule's section."""
    return f"alert-{rule}"


def in_words(note: Note) -> str:
    """Return one alert's line."""
    text = note.text if len(note.text) <= TEXT_LENGTH_MAX else note.text[: TEXT_LENGTH_MAX - 1] + CUT
    since, lasted = moment(note.began_ns), duration((note.at_ns - note.began_ns) // SECOND_NS)
    match note.state:
        case "firing":
            return f"{_mark(note)} {note.title}: {text} (since {since})"
        case "still":
            return f"{_mark(note)} {note.title}, for {lasted}: {text}"
        case "over":
            times = f", it came {note.count} times" if note.count > 1 else ""
            return f"{_mark(note)} {note.title}, after {lasted}{times}: {text}"
        case "again":
            return f"{_mark(note)} {note.title}: {note.count} times in {lasted}, none since; the last: {text}"


def duration(seconds: int) -> str:
    """Say a duration with two units at most."""
    for size, name, below, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size} {name} {rest} {smaller}" if rest else f"{seconds // size} {name}"
    return f"{max(0, seconds)} s"


def utc(at_ns: int) -> datetime.datetime:
    """Return a time as a calendar has it, without the part of a second."""
    return datetime.datetime.fromtimestamp(at_ns // SECOND_NS, tz=datetime.UTC)


def moment(at_ns: int) -> str:
    """Print a time in UTC for people."""
    return f"{utc(at_ns):%Y-%m-%d %H:%M:%S} UTC"


def rfc3339(at_ns: int) -> str:
    """Print a time for machines."""
    return f"{utc(at_ns):%Y-%m-%dT%H:%M:%S}.{at_ns % SECOND_NS // 1_000_000:03d}Z"


def _name(note: Note) -> str:
    return f"{note.title} ({note.key})"


def _mark(note: Note) -> str:
    if note.state in ("over", "again"):
        return f"OVER ({note.severity})"
    return note.severity.upper()
