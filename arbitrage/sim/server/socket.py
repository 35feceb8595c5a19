"""One WebSocket on the server's side: frames, limits, ping, life and idle times. Knows no venue's messages.

Nothing here waits for a client: what a client does not read fills a bounded buffer, and at its limit the client is dropped.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from websockets.extensions.base import ServerExtensionFactory
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from arbitrage.sim.server.session import Session


class SocketLimits(msgspec.Struct, frozen=True):
    """A venue's published limits of one connection; zero switches one off."""

    ping_interval_s: float = 0.0
    pong_timeout_s: float = 60.0
    idle_s: float = 0.0
    life_s: float = 86_400.0
    messages_per_s: int = 5
    messages_per_min: int = 0
    counts_pings: bool = True
    frame_bytes_max: int = 65_536
    close_grace_s: float = 5.0
    """A client that does not finish the closing handshake in this time is cut."""
    buffer_bytes_max: int = 4_000_000
    """What a client may leave unread before it is dropped."""
    has_deflate: bool = False


class Socket:
    """The shell around the sans-I/O protocol of `websockets`."""

    def __init__(
        self, writer: asyncio.StreamWriter, limits: SocketLimits, now: Callable[[], float], counters: Counter[str]
    ) -> None:
        extensions = [ServerPerMessageDeflateFactory()] if limits.has_deflate else []
        self._protocol = ServerProtocol(
            extensions=cast(Sequence[ServerExtensionFactory], extensions), max_size=limits.frame_bytes_max
        )
        self._writer = writer
        self._limits = limits
        self._now = now
        self._counters = counters
        self._parts: list[bytes] = []
        self._message_times: deque[float] = deque()
        self._opened_s = self._active_s = self._pinged_s = now()
        self._ping: bytes | None = None
        self._closing_s: float | None = None
        self._is_frozen = False

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN and self._closing_s is None and not self._is_frozen

    def handshake(self, head: bytes) -> bool:
        """Answer the upgrade request; False when it is not a valid one."""
        self._protocol.receive_data(head)
        events = self._protocol.events_received()
        if events and isinstance(events[0], Handshake):
            self._protocol.send_response(self._protocol.accept(events[0]))
        self._flush()
        return self._protocol.state is State.OPEN

    def send(self, payload: bytes, *, is_binary: bool = False, is_data: bool = True) -> None:
        """Send one message, or drop the client visibly when it has stopped reading."""
        if not self.is_open:
            return
        if is_binary:
            self._protocol.send_binary(payload)
        else:
            self._protocol.send_text(payload)
        if is_data:
            self._active_s = self._now()
        self._flush()
        if self._writer.transport.get_write_buffer_size() > self._limits.buffer_bytes_max:
            self._counters["slow_clients_dropped"] += 1
            self.abort()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        if self.is_open:
            self._closing_s = self._now()
            self._protocol.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._closing_s = self._now()
        self._writer.transport.abort()

    def freeze(self) -> None:
        """Leave the connection half open: nothing is read, answered or sent any more, and nothing closes it but the client."""
        self._is_frozen = True

    def allow(self, messages_per_s: int) -> None:
        """Let the client send so many messages a second on this connection; 0 is any number."""
        self._limits = msgspec.structs.replace(self._limits, messages_per_s=messages_per_s)

    async def run(self, reader: asyncio.StreamReader, session: Session) -> None:
        """Read until the connection ends."""
        while data := await reader.read(65_536):
            if self._is_frozen:
                continue
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._on_frame(event, session)
            self._flush()
            if self._protocol.close_expected():
                break
        session.on_close()

    def on_second(self) -> None:
        """Enforce what depends on passing time."""
        now, limits = self._now(), self._limits
        if self._is_frozen:
            return
        if self._closing_s is not None:
            if now - self._closing_s > limits.close_grace_s:
                self._writer.transport.abort()
            return
        if self._ping is not None and now - self._pinged_s > limits.pong_timeout_s:
            self._end("pong_timeouts", 1008, "Pong timeout")
        elif limits.life_s and now - self._opened_s > limits.life_s:
            self._end("lifetimes_ended", 1001, "")
        elif limits.idle_s and now - self._active_s > limits.idle_s:
            self._end("idle_closed", 1000, "Idle timeout")
        elif limits.ping_interval_s and self._ping is None and now - self._pinged_s >= limits.ping_interval_s:
            self._ping = str(int(now * 1000)).encode()
            self._pinged_s = now
            self._protocol.send_ping(self._ping)
            self._flush()

    def _on_frame(self, frame: Frame, session: Session) -> None:
        self._active_s = self._now()
        if frame.opcode is Opcode.PONG and bytes(frame.data) == self._ping:
            self._ping = None
        if frame.opcode in (Opcode.PING, Opcode.PONG) and self._limits.counts_pings and not self._admit():
            return
        if frame.opcode is Opcode.PING:
            session.on_ping()
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                if self._admit():
                    session.on_message(message)

    def _admit(self) -> bool:
        """Count a client message in strict sliding windows of a second and of a minute."""
        now, limits, times = self._now(), self._limits, self._message_times
        times.append(now)
        while times[0] <= now - 60.0:
            times.popleft()
        in_second = sum(time > now - 1.0 for time in times)
        per_s = limits.messages_per_s
        if (not per_s or in_second <= per_s) and (not limits.messages_per_min or len(times) <= limits.messages_per_min):
            return True
        self._end("messages_over_limit", 1008, "Too many requests")
        return False

    def _end(self, counter: str, code: int, reason: str) -> None:
        self._counters[counter] += 1
        self.close(code, reason)

    def _flush(self) -> None:
        for chunk in self._protocol.data_to_send():
            if chunk:
                self._writer.write(chunk)
            elif self._writer.can_write_eof() and not self._writer.transport.is_closing():
                self._writer.write_eof()
