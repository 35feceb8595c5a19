"""An event loop whose time stands still while anything happens and jumps to the next timer when nothing does.

Sockets, bytes and libraries stay the real ones; only waiting costs nothing, and a busy machine makes nothing late.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

START_S = 1_000.0
START_NS = 1_800_000_000_000_000_000
LOOKS = 3
"""What was sent on loopback is there at once, or when another thread of the kernel had its turn."""
T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for what is there, and instead of waiting for more says that the time has passed."""

    now_s = START_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        for _ in range(LOOKS):
            ready = super().select(0)
            if ready or timeout == 0:
                return ready
            os.sched_yield()
        if timeout is None:
            return super().select(None)  # nothing is scheduled: only the outside can go on
        self.now_s += timeout
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """The loop and its clock."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def now_s() -> float:
    """Return the running loop's seconds."""
    return asyncio.get_running_loop().time()


def now_ns() -> int:
    """Return the running loop's time as nanoseconds of the wall."""
    return START_NS + round((now_s() - START_S) * 1e9)


def run_jumping(scene: Coroutine[Any, Any, T]) -> T:
    """Run one scene to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(scene)
