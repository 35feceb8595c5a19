"""A raw WebSocket server in a process of its own: sends ready-made frames on a schedule, each stamped just before it leaves.

Usage: server.py FRAMES RATE COUNT CORE. FRAMES holds length-prefixed messages; RATE is frames a second, 0 as fast as it
goes. The stamp is a JSON key that no codec of ours reads, so the message keeps its shape. Prints its port, and at the end
what it did.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

STAMP_BASE = 10**18
"""Added to the monotonic clock, so that a stamp always has 19 digits."""
KEY = b',"t0":'
DIGITS = 19
BURST = 32
"""Frames a write when the rate is 0."""
SLIP_NS = 1_000_000
"""A frame that leaves so late against its schedule has slipped."""
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE = b"\x88\x02\x03\xe8"
SECOND_NS = 1_000_000_000


def wired(message: bytes) -> bytearray:
    """Wrap a message as a WebSocket text frame with room for its stamp before the last brace."""
    payload = message[:-1] + KEY + b"0" * DIGITS + b"}"
    size = len(payload)
    header = struct.pack("!BBH", 0x81, 126, size) if size < 65_536 else struct.pack("!BBQ", 0x81, 127, size)
    return bytearray(header + payload)


def load(path: str) -> list[bytearray]:
    """Read the messages of a file and wrap them."""
    data, position, frames = Path(path).read_bytes(), 0, []
    while position < len(data):
        (size,) = struct.unpack_from("!I", data, position)
        frames.append(wired(data[position + 4 : position + 4 + size]))
        position += 4 + size
    return frames


def stamp(frame: bytearray, now_ns: int) -> None:
    """Write the time of sending into a frame."""
    frame[-DIGITS - 1 : -1] = b"%d" % (STAMP_BASE + now_ns)


def shake_hands(client: socket.socket) -> None:
    """Answer the upgrade request."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(4096)
    lines = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
    key = next(value for name, value in lines.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    client.sendall(head + accept + b"\r\n\r\n")


def send_paced(client: socket.socket, frames: list[bytearray], rate: int) -> dict[str, int]:
    """Send each frame at its time; one that is late goes at once."""
    clock, send = time.monotonic_ns, client.sendall
    slips = latest_ns = 0
    started_ns = clock() + 10_000_000
    for index, frame in enumerate(frames):
        due_ns = started_ns + index * SECOND_NS // rate
        now_ns = clock()
        while now_ns < due_ns:
            now_ns = clock()
        late_ns = now_ns - due_ns
        slips += late_ns > SLIP_NS
        latest_ns = max(latest_ns, late_ns)
        stamp(frame, now_ns)
        send(frame)
    return {"slips": slips, "latest_us": latest_ns // 1000, "took_ns": clock() - started_ns}


def send_all(client: socket.socket, frames: list[bytearray]) -> dict[str, int]:
    """Send as fast as the client reads."""
    clock = time.monotonic_ns
    started_ns = clock()
    for begin in range(0, len(frames), BURST):
        burst, now_ns = frames[begin : begin + BURST], clock()
        for frame in burst:
            stamp(frame, now_ns)
        client.sendall(b"".join(burst))
    return {"slips": 0, "latest_us": 0, "took_ns": clock() - started_ns}


def main(path: str, rate: int, count: int, core: int) -> None:
    """Serve one client and leave."""
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    frames = load(path)[:count]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        client, _ = listener.accept()
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        shake_hands(client)
        time.sleep(0.05)
        done = send_paced(client, frames, rate) if rate else send_all(client, frames)
        client.sendall(CLOSE)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    print(json.dumps({"sent": len(frames), **done}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
