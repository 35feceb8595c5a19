"""Stands between our orders and the venues: they pass while nobody else can trade for the session. Sends nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

from arbitrage.app.running import Running
from arbitrage.store.lease import Fenced

logger = logging.getLogger("arbitrage.daemon")


class Fence:
    """One instance's lease, as its orders see it."""

    def __init__(self, running: Running, soon: Callable[[Callable[[], None]], None], stop: Callable[[], None]) -> None:
        self.reason = ""
        """Who has taken over; from then on nothing more is sent, whatever comes."""
        self._running = running
        self._soon = soon
        self._stop = stop

    def refusal(self) -> str:
        """Say why no order may be sent now, or nothing. Asked for each order, so that a process that stood still sends none."""
        lease = self._running.lease
        if self.reason or lease is None:
            return self.reason
        had_trouble = bool(lease.trouble)
        silence = lease.silence()
        if silence and not had_trouble:
            self._soon(self._tell)
        return silence

    def ends_ns(self) -> int:
        """Return when, in engine time, an order sent now must have left: somebody else may trade after that. 0 for never."""
        lease = self._running.lease
        return self._running.clock() + lease.left_ns if lease is not None and lease.is_shared else 0

    async def keep(self) -> None:
        """Hold the lease; whoever is fenced by another instance sends nothing more and stops."""
        lease = self._running.lease
        assert lease is not None, "there is something to keep"
        try:
            await lease.run(self._tell)
        except Fenced as fenced:
            self.reason = str(fenced)
            logger.error("%s; another instance trades for this session: stopping", fenced)
            self._running.door.feed([self._running.store_report()])
            self._stop()

    def _tell(self) -> None:
        lease = self._running.lease
        assert lease is not None, "a lease has changed"
        logger.log(logging.WARNING, "%s", lease.trouble or "the lease is held again")
        self._running.door.feed([self._running.store_report()])
