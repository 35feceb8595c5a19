"""The one-time link by which the first admin of a house is made. Keeps no token, and none counts once there is an admin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from arbitrage.web.access.sessions import digest_of, random_text

PATH = "/setup"
VALID_S = 3_600
_SECOND_NS = 1_000_000_000


class SetUpLink:
    """The link that counts now, if any."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._digest = b""
        self._ends_ns = 0
        self.ended = asyncio.Event()
        """Set once there is an admin."""

    @property
    def is_open(self) -> bool:
        return bool(self._digest) and self._clock() < self._ends_ns

    def make(self) -> str:
        """Make a new link, which ends the one before; return its path. Whoever has it can become admin."""
        token = random_text()
        self.ended.clear()
        self._digest, self._ends_ns = digest_of(token), self._clock() + VALID_S * _SECOND_NS
        return f"{PATH}?token={token}"

    def fits(self, token: str) -> bool:
        """Say whether this token counts, and leave it."""
        return self.is_open and digest_of(token) == self._digest

    def take(self, token: str) -> Callable[[], None] | None:
        """Use the token up; return how to give it back, when nothing came of it, or None for one that does not count."""
        if not self.fits(token):
            return None
        digest, self._digest = self._digest, b""

        def give_back() -> None:
            self._digest = self._digest or digest

        return give_back

    def end(self) -> None:
        """There is an admin: no link counts any more."""
        self._digest = b""
        self.ended.set()
