"""Keeps a failure of the surface inside the surface: logged, counted, and no further. The one place that catches everything."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import msgspec

logger = logging.getLogger("arbitrage.web")


class Faults(msgspec.Struct):
    """Failures of ours since the start, by where they were."""

    counts: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def count(self, where: str) -> None:
        """Count one that was named and said where it was."""
        self.counts[where] = self.counts.get(where, 0) + 1

    @contextlib.contextmanager
    def contained(self, where: str) -> Iterator[list[Exception]]:
        """Do work whose failure must not come out; the list that it gives holds the failure afterwards, if there was one."""
        caught: list[Exception] = []
        try:
            yield caught
        except Exception as error:  # the boundary of the surface: whatever fails in it, trading goes on
            caught.append(error)
            self.count(where)
            logger.error("the surface failed in %s: %r", where, error, exc_info=error)
