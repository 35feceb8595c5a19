"""The operator's door: a socket file in the data folder, mode 0600. Hands complete questions on; knows none of their meanings.

Who asks is what the kernel says (`SO_PEERCRED`); only the daemon's own user and root are heard. One connection asks once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import socket
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from arbitrage.app.control_words import LINE_BYTES_MAX, SOCKET_NAME, Answer, Ask, short_address

logger = logging.getLogger("arbitrage.daemon")
CONNECTIONS_MAX = 16
QUESTION_SECONDS_MAX = 5.0
"""A connection that has not asked by then is cut."""
BACKLOG = 16
_CREDENTIALS = struct.Struct("3i")

Hear = Callable[[Ask, str], Answer]
"""Carries out a question; the second value names who asked."""


class ControlSocket:
    """One socket file and its open connections."""

    def __init__(self, data_dir: Path, hear: Hear, loop: asyncio.AbstractEventLoop) -> None:
        self._path = data_dir / SOCKET_NAME
        self._hear = hear
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.counters: Counter[str] = Counter()

    async def open(self) -> None:
        """Listen. Raises OSError. What a crash left under the name is replaced: the folder has one daemon."""
        self._path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_address(self._path.parent) as address:
            listening.bind(address)
        self._path.chmod(0o600)  # before it listens: until then nobody can connect
        self._server = await self._loop.create_unix_server(self._connect, sock=listening, backlog=BACKLOG)

    async def close(self) -> None:
        """Cut every connection and take the file away."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.cut()
        self._path.unlink(missing_ok=True)

    def _connect(self) -> _Connection:
        return _Connection(self)

    def admit(self, connection: _Connection, uid: int) -> str:
        """Take a new connection, or say why not."""
        if uid not in (os.geteuid(), 0):
            return f"user {uid} may not command this daemon"
        if len(self._connections) >= CONNECTIONS_MAX:
            return f"more than {CONNECTIONS_MAX} connections at once"
        self._connections.add(connection)
        return ""

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    def refuse(self, why: str) -> Answer:
        """Count and log what is not heard."""
        self.counters["refused"] += 1
        if self.counters["refused"] <= CONNECTIONS_MAX or self.counters["refused"] % 100 == 0:
            logger.warning("control socket: refused (%d so far): %s", self.counters["refused"], why)
        return Answer(done=False, text=why)

    def hear(self, line: bytes, actor: str) -> Answer:
        """Read one question and have it carried out."""
        try:
            ask = msgspec.json.decode(line, type=Ask)
        except msgspec.MsgspecError as error:
            return self.refuse(f"not a question: {error}")
        self.counters["heard"] += 1
        return self._hear(ask, f"{actor} for {ask.on_behalf_of}" if ask.on_behalf_of else actor)


class _Connection(asyncio.Protocol):
    """One asker. Carries out in a callback of the loop, where a broken invariant stops the house, and not in the socket's."""

    def __init__(self, door: ControlSocket) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._has_asked = False
        self._actor = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of a class of their own
        credentials = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        self._actor = f"{user_name(uid)} (process {pid})"
        if why := self._door.admit(self, uid):
            self._answer(self._door.refuse(why))
            return
        self._limit = self._loop.call_later(QUESTION_SECONDS_MAX, self._too_late)

    def data_received(self, data: bytes) -> None:
        if self._has_asked:
            return
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if end and len(line) < LINE_BYTES_MAX:
            self._has_asked = True
            self._loop.call_soon(self._carry_out, line)
        elif len(self._received) >= LINE_BYTES_MAX:
            self._has_asked = True
            self._answer(self._door.refuse(f"a question has at most {LINE_BYTES_MAX} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def cut(self) -> None:
        """End it without an answer."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def _carry_out(self, line: bytes) -> None:
        self._answer(self._door.hear(line, self._actor))

    def _too_late(self) -> None:
        if not self._has_asked:
            self._answer(self._door.refuse(f"no question within {QUESTION_SECONDS_MAX:g} s"))

    def _answer(self, answer: Answer) -> None:
        self._has_asked = True
        if self._transport is not None:
            self._transport.write(msgspec.json.encode(answer) + b"\n")
            self._transport.close()

    def _end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._door.forget(self)


def user_name(uid: int) -> str:
    """Name a user for the record."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
