"""Owns every background task: a name, an end, and what its failure means. Nothing else in the package starts tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("arbitrage.daemon")
CANCELS_MAX, CANCEL_SECONDS = 3, 2.0
"""A cancellation can be lost in a library's own time-out: it is given again, and a stop never waits for ever."""


class Supervisor:
    """Runs named tasks until told to stop; the first failure of any of them stops the house."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._stopping = asyncio.Event()
        self.failure: BaseException | None = None
        self.failed_task = ""

    def spawn(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Start a task. It may end by itself; an exception out of it stops the house."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(self._ended)

    def stop(self) -> None:
        """Ask the house to stop."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def wait(self) -> None:
        """Return when somebody asked to stop or a task failed."""
        await self._stopping.wait()

    def fail(self, name: str, failure: BaseException) -> None:
        """Record the first failure and stop the house."""
        if self.failure is None:
            self.failure, self.failed_task = failure, name
        self._stopping.set()

    def on_unowned(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Be the loop's exception handler: a callback that no task owns (a decision, a paper fill) fails like a task."""
        failure = context.get("exception")
        if failure is None or "handle" not in context:
            loop.default_exception_handler(context)
            return
        self.fail("callback", failure)

    async def close(self) -> None:
        """Cancel what still runs and wait for it; what does not end within a bound is named and left behind."""
        self._stopping.set()
        pending = set(self._tasks)
        for _ in range(CANCELS_MAX):
            for task in pending:
                task.cancel()
            if pending:
                _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)
        for task in pending:
            logger.error("task %s did not end when it was cancelled; the process ends without it", task.get_name())

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = self._tasks.pop(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.fail(name, failure)
