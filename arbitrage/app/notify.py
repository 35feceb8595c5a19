"""Tells systemd how the daemon stands (sd_notify protocol). Silent when systemd did not ask for it."""

from __future__ import annotations

import os
import socket
from collections import deque

from arbitrage.app.clock import monotonic_us

KIND = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
"""Never wait: a service manager that stands still must not hold the loop."""
OWED_MAX = 16
"""Messages that wait for room in the manager's queue; the oldest go first beyond that."""


class Notifier:
    """Sends state lines to the socket that systemd named in NOTIFY_SOCKET (sd_notify(3))."""

    def __init__(self, address: str | None, watchdog_us: int) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, KIND) if address else None
        self._owed: deque[str] = deque(maxlen=OWED_MAX)
        self.watchdog_interval_s = watchdog_us / 3e6 if watchdog_us else None
        """A third of WatchdogSec, or None when no watchdog is set."""

    @classmethod
    def from_environment(cls) -> Notifier:
        return cls(os.environ.get("NOTIFY_SOCKET"), int(os.environ.get("WATCHDOG_USEC", "0") or 0))

    def ready(self, status: str) -> None:
        self._owe(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={_one_line(text)}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        self._owe(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us()}")

    def stopping(self, status: str) -> None:
        self._owe(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def _owe(self, text: str) -> None:
        """Send what must arrive: now, or with the next message when the manager's queue is full."""
        self._owed.append(text)
        self._pay()

    def _send(self, text: str) -> None:
        """Send what the next one replaces: dropped when the manager's queue is full."""
        if self._pay():
            self._put(text)

    def _pay(self) -> bool:
        while self._owed and self._put(self._owed[0]):
            self._owed.popleft()
        return not self._owed

    def _put(self, text: str) -> bool:
        """Return whether it is dealt with: only a full queue is worth another try."""
        if self._socket is None or self._address is None:
            return True
        try:
            self._socket.sendto(text.encode(), self._address)
        except BlockingIOError:
            return False
        except OSError:
            # systemd restarting its socket must not stop trading; the watchdog will speak if it stays away.
            return True
        return True


def _one_line(text: str) -> str:
    """Keep words from becoming fields of their own."""
    return " ".join(text.split())
