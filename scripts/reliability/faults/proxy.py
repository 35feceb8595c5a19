"""A proxy on loopback that delays, swallows, cuts and meddles with what passes. Knows WebSocket frames, and no venue.

It stands in for a bad network where the kernel has no netem. Runs in a thread of its own; faults are set from any thread.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence

CHUNK = 65_536
TEXT, BINARY = 1, 2
HEAD_END = b"\r\n\r\n"
CUT = b""
"""Among the messages to send: send half of the frame before, and cut the connection in its middle."""
Meddle = Callable[[bytes], Sequence[bytes]]
"""What becomes of one message from the server: the messages to send in its place."""


@dataclasses.dataclass
class Faults:
    """What the proxy does now."""

    delay_s: float = 0.0
    """Each way, for each chunk."""
    swallows: bool = False
    """Half-open: nothing passes, and the sockets stay open."""
    refuses: bool = False
    """New connections are closed at once."""
    meddle: Meddle | None = None


class Proxy:
    """One port in front of another."""

    def __init__(self, target_port: int) -> None:
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def heal(self) -> None:
        """Let everything pass again."""
        self.faults = Faults()

    def reset(self) -> None:
        """Cut every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        others = tuple(self._tasks)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._client(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.faults.refuses:
            writer.transport.abort()
            return
        self.counts["connections"] += 1
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port, limit=2**22)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, server_writer))
                group.create_task(self._down(server_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            self.counts["cut"] += 1
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._pass(chunk, writer)
        raise ConnectionError("the other side has closed")

    async def _pass(self, raw: bytes, writer: asyncio.StreamWriter) -> None:
        if self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s)
        if self.faults.swallows:
            self.counts["swallowed"] += 1
            return
        writer.write(raw)
        await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass what the server says: its frames one by one once it has become a WebSocket."""
        first = await reader.read(CHUNK)
        if not first.startswith(b"HTTP/1.1 101"):
            await self._pass(first, writer)
            await self._pump(reader, writer)
            return
        while HEAD_END not in first:
            first += await reader.readexactly(1)
        head, _, rest = first.partition(HEAD_END)
        await self._pass(head + HEAD_END, writer)
        frames = _Frames(reader, rest)
        while True:
            kind, payload = await frames.next()
            meddle = self.faults.meddle
            if meddle is None or kind & 0x0F not in (TEXT, BINARY):
                await self._pass(encoded(kind, payload), writer)
                continue
            self.counts["messages"] += 1
            before = b""
            for message in meddle(payload):
                if message == CUT:
                    raw = encoded(kind, before or payload)
                    await self._pass(raw[: len(raw) // 2], writer)
                    raise ConnectionError("cut in the middle of a frame")
                before = message
                await self._pass(encoded(kind, message), writer)


class _Frames:
    """A server's frames, which carry no mask."""

    def __init__(self, reader: asyncio.StreamReader, rest: bytes) -> None:
        self._reader = reader
        self._rest = rest

    async def next(self) -> tuple[int, bytes]:
        """Return (first byte, payload)."""
        kind, size = await self._take(2)
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self._take(8))
        return kind, await self._take(size)

    async def _take(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken) < count:
            taken += await self._reader.readexactly(count - len(taken))
        return taken


def encoded(kind: int, payload: bytes) -> bytes:
    """Make a server's frame."""
    size = len(payload)
    if size < 126:
        return bytes((kind, size)) + payload
    if size < 65_536:
        return bytes((kind, 126)) + struct.pack(">H", size) + payload
    return bytes((kind, 127)) + struct.pack(">Q", size) + payload

