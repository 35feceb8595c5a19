"""The local venue servers as a child process: started for the demo, gone with it. Knows one line of its output and no more."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import msgspec

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 5.0
LINE_BYTES_MAX = 1_000_000
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
        """Start them and read where they listen. Raises ServersFailed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "arbitrage", "sim", "--json",
            "--scenario", scenario, "--seed", str(seed), "--speed", str(speed),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None, "pipes were asked for"
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                line = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            raise ServersFailed(f"the venue servers said nothing within {START_SECONDS_MAX:.0f} s") from None
        if not line:
            words = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
            await process.wait()
            raise ServersFailed(words[-1] if words else f"the venue servers ended with status {process.returncode}")
        return cls(process, msgspec.json.decode(line))

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

    def overlay(self) -> dict[str, Any]:
        """Return the configuration that fits what is served: the scenario's own, with the servers' addresses."""
        values: dict[str, Any] = self.description["settings"]
        for venue, section in values["venues"].items():
            section["rest_url"] = self.description[venue]["rest"]
            section["stream_url"] = self.description[venue]["ws"] + STREAM_PATHS.get(venue, "")
        return values
