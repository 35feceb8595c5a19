"""The local venue servers as a child process: made for a demo or a drill, gone with it. Knows their first lines and control."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import httpx
import msgspec

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 5.0
CONTROL_SECONDS_MAX = 5.0
LINE_BYTES_MAX = 1_000_000
ACCOUNT_WORDS = {"binance": "ws_api", "upbit": "ws_private"}
"""What the first line calls the address of a venue's account."""
STREAM_PATHS = {"upbit": "/websocket/v1"}
"""What a venue's stream address has after its host; Binance's path is made from the symbols."""


class ServersFailed(Exception):
    """The venue servers did not start; the text holds their own last words."""


class VenueServers:
    """Two venue-shaped servers on loopback in a process of their own, so that they do not share our loop."""

    def __init__(self, process: asyncio.subprocess.Process, description: dict[str, Any]) -> None:
        self._process = process
        self.description = description

    @classmethod
    async def start(cls, scenario: str, *, seed: int, speed: float) -> VenueServers:
        """Start them and read where they listen and which test keys they take. Raises ServersFailed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "arbitrage", "sim", "--json",
            "--scenario", scenario, "--seed", str(seed), "--speed", str(speed),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None, "pipes were asked for"
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                lines = [await process.stdout.readline() for _ in range(2)]
        except TimeoutError:
            process.kill()
            raise ServersFailed(f"the venue servers said nothing within {START_SECONDS_MAX:.0f} s") from None
        if not all(lines):
            words = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
            await process.wait()
            raise ServersFailed(words[-1] if words else f"the venue servers ended with status {process.returncode}")
        return cls(process, msgspec.json.decode(lines[0]) | msgspec.json.decode(lines[1]))

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def watch(self) -> str:
        """Wait for the child's end; return its last words."""
        assert self._process.stderr is not None, "a pipe was asked for"
        words = (await self._process.stderr.read()).decode(errors="replace").strip().splitlines()
        status = await self._process.wait()
        return words[-1] if words else f"they ended with status {status}"

    async def stop(self) -> None:
        """End the child; it also ends by itself when we die, because its standard input closes."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._process.communicate()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Say one thing to the servers' control port and return its answer. Raises ServersFailed."""
        content = None if body is None else msgspec.json.encode(body)
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=CONTROL_SECONDS_MAX) as client:
                response = await client.request(method, self.description["control"] + path, content=content)
        except httpx.HTTPError as error:
            raise ServersFailed(f"the venue servers' control port does not answer: {error!r}") from None
        if response.status_code != httpx.codes.OK:
            raise ServersFailed(f"the venue servers refuse {method} {path}: {response.text}")
        return response.json()

    def overlay(self) -> dict[str, Any]:
        """Return the configuration that fits what is served: the scenario's own, with the servers' addresses."""
        values: dict[str, Any] = self.description["settings"]
        for venue, section in values["venues"].items():
            section["rest_url"] = self.description[venue]["rest"]
            section["stream_url"] = self.description[venue]["ws"] + STREAM_PATHS.get(venue, "")
            section["account_url"] = self.description[venue][ACCOUNT_WORDS[venue]]
        return values
