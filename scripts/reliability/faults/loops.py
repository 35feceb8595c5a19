"""The daemon's event loop stands still: for a second, and for longer than a service manager's watchdog allows."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

from reliability.faults.lab import Lab
from reliability.faults.nouns import Row

STALLS, STALL_S = 5, 1.0
DISCARDED_S = 0.5
"""At least so long after the loop's waking nothing is entered: what it reads then is up to a second old."""
WATCHDOG_S, ABORT_S = 2.0, 1.0
SAID = "the loop stood still for"


def loop_stalled(lab: Lab) -> str:
    run = lab.trading()
    before_ns = 0
    for _ in range(STALLS):
        lab.trades_on()
        stopped_ns = time.time_ns()
        run.hears(signal.SIGSTOP)
        time.sleep(STALL_S)
        woken_ns = time.time_ns()
        run.hears(signal.SIGCONT)
        lab.trades_on()
        lab.demand_no_entry(stopped_ns, woken_ns + int(DISCARDED_S * 1e9), "on what waited while the loop stood still")
        before_ns = before_ns or stopped_ns
    lab.demand(run.text().count(SAID) >= STALLS, f"each stall is logged: {run.text().count(SAID)} of {STALLS}")
    entered = len(lab.entered(before_ns, time.time_ns()))
    lab.recovers()
    orders = lab.settles()
    words = f"{STALLS} stalls of {STALL_S:g} s, none of {entered} entries within {DISCARDED_S:g} s of waking"
    return f"{words}; {orders} orders, every balance equal"


class Manager:
    """What systemd does for a unit of Type=notify with WatchdogSec: listens, and ends a daemon that says nothing."""

    def __init__(self, folder: Path) -> None:
        path = folder / "notify.sock"
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        self.said: list[str] = []
        self._fed_s = time.monotonic()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._fed_s

    def _listen(self) -> None:
        while True:
            try:
                text = self._socket.recv(65_536).decode()
            except OSError:
                return
            if not text:
                return
            self.said.append(text)
            if "WATCHDOG=1" in text:
                self._fed_s = time.monotonic()


def watchdog(lab: Lab) -> str:
    folder = lab.folder()
    manager = Manager(folder)
    lab.stack.callback(manager.close)
    lab.open(folder, **manager.environ)
    run = lab.start()
    lab.until(lambda: any("READY=1" in text for text in manager.said), "it says that it is ready")
    lab.until(lambda: any("WATCHDOG=1" in text for text in manager.said), "it feeds the watchdog")
    hung = time.monotonic()
    run.hears(signal.SIGSTOP)
    lab.until(lambda: manager.silent_s > WATCHDOG_S, "the watchdog runs out")
    run.hears(signal.SIGABRT)  # as systemd does; a stopped process hears only SIGKILL after TimeoutAbortSec
    time.sleep(ABORT_S)
    run.end(signal.SIGKILL)
    ended_s = time.monotonic() - hung
    lab.run = lab.house.start()
    lab.says("restored session")
    back_s = lab.recovers()
    orders = lab.settles()
    words = f"ended {ended_s:.1f} s after it hung (WatchdogSec={WATCHDOG_S:g}), restored, armed {back_s:.1f} s later"
    return f"{words}; {orders} orders, every balance equal; the unit itself: make systemd-lab"


ROWS = (
    Row("loop_stalled", f"the process stopped for {STALL_S:g} s, {STALLS} times",
        "opportunities older than the stall are discarded, the stall is logged", loop_stalled),
    Row("watchdog", "the process stopped for longer than its watchdog allows, under a manager that speaks sd_notify",
        "ended and restarted, nothing lost or doubled", watchdog, is_quick=False),
)  # fmt: skip
