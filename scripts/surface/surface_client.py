"""Clients of a surface for a measurement: paced requests, followers, sign-ins. Measures their side and judges nothing."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import sys
import time
from typing import Any
from urllib.parse import urlsplit

PATHS = (
    "/api/v1/status", "/api/v1/spreads", "/api/v1/markets", "/api/v1/risk", "/api/v1/recent", "/api/v1/orders?limit=50",
    "/api/v1/balances", "/health", "/api/v1/venues", "/metrics",
)  # fmt: skip
CONNECTIONS = 10
NAME, PASSWORD = "root", "correct horse battery"


class Api:
    """One asker without a loop."""

    def __init__(self, origin: str) -> None:
        place = urlsplit(origin)
        self._host, self._port = place.hostname or "", place.port

    def set_up(self, token: str) -> str:
        """Make the first admin; return a key of it."""
        _, headers, made = self._post("/api/v1/setup", {"token": token, "name": NAME, "password": PASSWORD}, {})
        words = {"cookie": headers["set-cookie"].split(";")[0], "x-csrf-token": made["csrf_token"]}
        scopes = ["read", "records", "trade", "configure", "maintain", "people"]
        _, _, key = self._post("/api/v1/keys", {"role": "admin", "scopes": scopes, "owner": NAME}, words)
        text: str = key["text"]
        return text

    def _post(self, path: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=20)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {found}")
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, found


class Clients:
    """All of them."""

    def __init__(self, origin: str, key: str, seconds: float) -> None:
        place = urlsplit(origin)
        self._host, self._port, self._key = place.hostname or "", place.port or 0, key
        self._end = time.monotonic() + seconds
        self.taken_ms: list[float] = []
        self.failed = 0
        self.logins = 0
        self.events = 0

    async def run(self, rate: float, followers: int, logins: float) -> None:
        """Ask until the time is over."""
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS if rate else 0):
                group.create_task(self._ask(rate / CONNECTIONS, number))
            for _ in range(followers):
                group.create_task(self._follow())
            if logins:
                group.create_task(self._sign_in(logins))

    async def _ask(self, rate: float, number: int) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        due = time.monotonic() + number / (rate * CONNECTIONS)
        while time.monotonic() < self._end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += 1 / rate
            path = PATHS[number % len(PATHS)]
            number += 1
            began = time.monotonic()
            writer.write(self._head("GET", path))
            status = await _answer(reader)
            self.taken_ms.append((time.monotonic() - began) * 1_000)
            self.failed += status != 200
        writer.close()

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(self._head("GET", "/api/v1/events?topics=happening,report,status,spreads"))
        self.failed += b" 200 " not in await reader.readline()
        while time.monotonic() < self._end:
            line = await asyncio.wait_for(reader.readline(), 15)
            self.events += line.startswith(b"event:")
            if not line:
                self.failed += 1
                return
        writer.close()

    async def _sign_in(self, rate: float) -> None:
        body = json.dumps({"name": NAME, "password": PASSWORD}).encode()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        while time.monotonic() < self._end:
            began = time.monotonic()
            head = "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status = await _answer(reader)
            self.logins += status == 200
            self.failed += status not in (200, 429, 503)
            await asyncio.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))
        writer.close()

    def _head(self, method: str, path: str) -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer whole; return its status."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 15)
    lines = head.split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


def main() -> int:
    """Ask, and print what it was like as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--origin", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--followers", type=int, required=True)
    parser.add_argument("--logins", type=float, required=True)
    options = parser.parse_args()
    clients = Clients(options.origin, os.environ["SURFACE_KEY"], options.seconds)
    asyncio.run(clients.run(options.rate, options.followers, options.logins))
    taken = sorted(clients.taken_ms)
    print(json.dumps({
        "requests": len(taken), "per_s": round(len(taken) / options.seconds, 1), "failed": clients.failed,
        "events": clients.events, "logins": clients.logins, "ms_p50": round(taken[len(taken) // 2], 2),
        "ms_p99": round(taken[int(len(taken) * 0.99)], 2),
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
