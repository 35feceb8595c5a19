"""One daemon's way to the shared database, which can be cut or made silent beside the others'. Reads nothing of it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable

CHUNK = 65_536
LOOK_S = 0.02
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, as a cut line or a killed server shows itself."""


class Wire:
    """A loopback port in front of another. Open, cut (refuses and resets) or silent (takes everything, answers nothing)."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._state = "open"
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_over = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        with self._lock:
            self._state = "cut"
            for one in tuple(self._pairs):
                self._close(one)

    def silence(self) -> None:
        """Let nothing through any more, and say nothing of it."""
        with self._lock:
            self._state = "silent"

    def heal(self) -> None:
        """Let everything through again; what was silent meanwhile is reset."""
        self.cut()
        with self._lock:
            self._state = "open"

    def close(self) -> None:
        """End it."""
        self.cut()
        self._is_over = True
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._is_over:
            ready = self._selector.select(LOOK_S)
            with self._lock:
                for key, _ in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif self._state != "silent":
                        self._pass_on(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
            if ready and self._state == "silent":
                threading.Event().wait(LOOK_S)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = None
        if self._state != "cut":
            with contextlib.suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self._target()), 1)
        if far is None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        other = self._pairs.get(one)
        if other is None:
            return
        data = b""
        with contextlib.suppress(OSError):
            data = one.recv(CHUNK)
            if data:
                other.sendall(data)
        if not data:
            self._close(one)

    def _close(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for each in (one, other):
            self._selector.unregister(each)
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            each.close()
