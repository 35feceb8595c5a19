"""The runbook's sections on alerts: what each means, what to look at, what to do, when it is over. Reads the file once.

Understands no more Markdown than those sections have (four points, code, links); a test holds that nothing of it is left over.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

FILE = "RUNBOOK.md"
POINTS = {"means": "What it means", "look": "What to look at", "do": "What to do", "over": "How to prove that it is over"}
_HEADING = re.compile(r"^### alert ([a-z_]+)$", re.M)
_POINT = re.compile(r"^- \*\*(\w+)\*\*: ", re.M)
_PIECE = re.compile(r"`(?P<code>[^`]+)`|\[(?P<words>[^\]]+)\]\((?P<target>[^)]+)\)")


class Piece(msgspec.Struct, frozen=True):
    """Some words in one shape."""

    text: str
    kind: str = ""
    """`code`, `link`, or empty for plain words."""
    rule: str = ""
    """For a link: the alert whose page it leads to."""


class Point(msgspec.Struct, frozen=True):
    """One of the four points."""

    title: str
    pieces: tuple[Piece, ...]


class Section(msgspec.Struct, frozen=True):
    """What the runbook says of one alert."""

    rule: str
    aside: tuple[Piece, ...]
    """What stands before the points: names of Prometheus's rules."""
    points: tuple[Point, ...]


def read_runbook() -> dict[str, Section]:
    """Read the project's runbook, or the one that is installed beside the package; nothing where there is none."""
    places = (Path(__file__).resolve().parents[3] / "docs", Path(sys.prefix) / "share" / "arbitrage" / "docs")
    for place in places:
        if (place / FILE).is_file():
            return sections_of((place / FILE).read_text(encoding="utf-8"))
    return {}


def sections_of(text: str) -> dict[str, Section]:
    """Find every section on an alert, by its rule."""
    _, *found = _HEADING.split(text)
    named = zip(found[::2], found[1::2], strict=True)
    bodies = {rule: re.split(r"^##", body, maxsplit=1, flags=re.M)[0] for rule, body in named}
    return {rule: _section(rule, body, bodies) for rule, body in bodies.items()}


def _section(rule: str, body: str, known: Mapping[str, str]) -> Section:
    aside, *found = _POINT.split(body)
    named = zip(found[::2], found[1::2], strict=True)
    points = tuple(Point(POINTS.get(name, name), tuple(_pieces(words, known))) for name, words in named)
    return Section(rule, tuple(_pieces(aside, known)), points)


def _pieces(words: str, known: Mapping[str, str]) -> Iterator[Piece]:
    """Take a text apart; a link that leads out of the alerts says where its words are found."""
    text, end = " ".join(words.split()), 0
    for match in _PIECE.finditer(text):
        if match.start() > end:
            yield Piece(text[end : match.start()])
        end = match.end()
        if match["code"]:
            yield Piece(match["code"], "code")
            continue
        page, _, anchor = match["target"].partition("#")
        rule = anchor.removeprefix("alert-")
        if not page and rule in known:
            yield Piece(match["words"], "link", rule)
        else:
            yield Piece(f"{match['words']} (docs/{page or FILE})")
    if text[end:]:
        yield Piece(text[end:])
