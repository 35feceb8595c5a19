"""The simulated Binance on a real loopback port, in a thread of its own, so that blocking clients can trade on it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "sim"))  # the simulator's own tests keep `binance_lab` there

from binance_lab import Lab

from arbitrage.sim.server.listener import Listener

WINDOW_S = 0.05
DEEP = ("63000.00", "2.5", "2.6")


class OutsideWatch:
    """Every address that this process connects to or looks up."""

    def __init__(self) -> None:
        self.outside: list[str] = []
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple) -> None:
        if event == "socket.getaddrinfo":
            host = arguments[0]
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            host = arguments[1][0]
        else:
            return
        if host not in (None, "127.0.0.1", "localhost", "::1", b"127.0.0.1", b"localhost"):
            self.outside.append(str(host))


class LiveLab(Lab):
    """The lab on the wall clock."""

    port: int
    loop: asyncio.AbstractEventLoop

    def clock(self) -> int:
        return time.time_ns()

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def do(self, act: Callable[[], object]) -> object:
        """Do something in the venue's own thread."""

        async def call() -> object:
            return act()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    async def serve(self, is_open: threading.Event, is_over: asyncio.Event) -> None:
        """Serve until over, with a book that moves."""
        listener = Listener(self.server, self.clock, time.monotonic, self.faults)
        self.port = await listener.open(0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(listener.run()), group.create_task(self._move())]
            is_open.set()
            await is_over.wait()
            for task in tasks:
                task.cancel()
            await listener.close()

    async def _move(self) -> None:
        index = 0
        while True:
            index += 1
            self.book(bids=((DEEP[0], DEEP[1 + index % 2]),))
            self.server.flush(index)
            await asyncio.sleep(WINDOW_S)


@contextmanager
def live_binance() -> Iterator[LiveLab]:
    """Serve in a thread while the block runs."""
    lab, is_open = LiveLab(), threading.Event()
    over: list[asyncio.Event] = []

    def run() -> None:
        async def main() -> None:
            lab.loop = asyncio.get_running_loop()
            over.append(asyncio.Event())
            await lab.serve(is_open, over[0])

        asyncio.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert is_open.wait(10), "the venue opens"
    try:
        yield lab
    finally:
        lab.loop.call_soon_threadsafe(over[0].set)
        thread.join(10)
        assert not thread.is_alive(), "the venue ends"
