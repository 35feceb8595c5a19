"""One daemon of a drill, in this process: started, stopped, crashed, started again. The daemon itself is the real one.

A crash is a failure of one of its tasks: it stops where it stands, keeps no snapshot, and the next start folds its journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from arbitrage.app.drills.parts import Parts
from arbitrage.app.drills.words import Failed
from arbitrage.app.loopback_house import without_real_keys
from arbitrage.app.modes import RefusedToTrade
from arbitrage.app.running import Running
from arbitrage.app.starting import DatabaseAway, Orders, trade
from arbitrage.engine.engine import RestoreRefused
from arbitrage.ops.config import Loaded
from arbitrage.store.stores import STORE_REFUSALS

START_SECONDS_MAX = 30.0


class Crash(Exception):
    """A drill's crash."""


class House:
    """The daemon of one drill."""

    def __init__(self, loaded: Loaded, parts: Parts, environ: Mapping[str, str], group: asyncio.TaskGroup) -> None:
        self.loaded = loaded
        self.status: int | None = None
        """What the daemon ended with; None while it runs."""
        self._parts = parts
        self._environ = without_real_keys(environ)
        self._group = group
        self._running: Running | None = None
        self._leave = asyncio.Event()
        self._is_crash = False
        self._task: asyncio.Task[None] | None = None
        self._refusal = ""
        self._started = asyncio.Event()
        self.on_start: Callable[[Running], None] = lambda running: None

    @property
    def running(self) -> Running:
        """Return the daemon's parts. Raises Failed when it does not run."""
        if self._running is None or self.status is not None:
            raise Failed(self._refusal or f"the daemon ended by itself with status {self.status}")
        return self._running

    async def start(self) -> None:
        """Start the daemon and wait until its engine is there. Raises Failed."""
        assert self._task is None or self._task.done(), "one daemon at a time"
        self._leave, self._started, self._is_crash = asyncio.Event(), asyncio.Event(), False
        self.status, self._running = None, None
        self._task = self._group.create_task(self._live(), name="drill daemon")
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._started.wait()
        except TimeoutError:
            raise Failed(f"the daemon did not start within {START_SECONDS_MAX:.0f} s") from None
        self.on_start(self.running)

    async def stop(self) -> None:
        """Stop it tidily, if it runs."""
        self._leave.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def crash(self) -> None:
        """Let it fail where it stands."""
        self._is_crash = True
        await self.stop()

    async def _live(self) -> None:
        orders = Orders(
            reload=lambda overrides=None: self.loaded, is_quiet=True, beside=self._beside, environ=self._environ,
            engine=self._parts.engine, prepare=self._parts.prepare,
        )  # fmt: skip
        try:
            self.status, _ = await trade(self.loaded, orders)
        except (RefusedToTrade, RestoreRefused, DatabaseAway, *STORE_REFUSALS) as refusal:
            self._refusal, self.status = str(refusal), 3
        finally:
            self._started.set()

    async def _beside(self, running: Running) -> None:
        self._running = running
        self._started.set()
        await self._leave.wait()
        if self._is_crash:
            raise Crash("the drill crashes it")


def described(running: Running) -> dict[str, Any]:
    """Return how the engine stands, for a failure's text."""
    view = running.view()
    doubts = {f"{market.venue} {market.symbol}": market.doubt for market in view.markets if market.doubt is not None}
    return {"not armed because": view.not_armed_because, "doubts": doubts, "refused": dict(view.tally.refused)}
