"""What the surface answered, refused and dropped, counted since the start, for `/metrics`. Counts; judges nothing."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Counts(msgspec.Struct):
    """What was answered since the start, for `/metrics`. Keys are endpoint names, never paths as they were asked."""

    answers: dict[tuple[str, int], int] = {}
    timeouts: int = 0

    def note(self, name: str, status: int) -> None:
        """Count one answer."""
        self.answers[(name, status)] = self.answers.get((name, status), 0) + 1


class Traffic(msgspec.Struct):
    """What came in and what was dropped, since the start."""

    connections: int = 0
    """Open now."""
    accepted: int = 0
    refused: int = 0
    """Past `connections_max`."""
    dropped: int = 0
    """Too slow with a request's head, or aborted by a time limit."""


class Access(msgspec.Struct, frozen=True):
    """Who is in, and what the guard turned away since the start."""

    sessions: int = 0
    """Signed in now."""
    refused: Mapping[str, int] = {}
    """Requests that were turned away, by the code of their problem."""
    requests_hurried: int = 0
    """Of those, requests over a limit on requests."""
    sign_ins_held: int = 0
    """Tries to sign in that had to wait after failures."""
    sign_ins_hurried: int = 0
    """Tries to sign in over the limit of tries a minute."""
