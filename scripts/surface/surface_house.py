"""A real daemon with its surface for tests and measurements: local venues, embedded databases, an admin. Proves nothing.

It is `arbitrage demo` in a process of its own, on a folder of its own, on any free port.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
LIFE_S = 1_500
"""A house that was forgotten ends by itself."""
NAME, PASSWORD = "root", "correct horse battery"
SCOPES = ["read", "records", "trade", "configure", "maintain", "people"]


class HouseFailed(AssertionError):
    """The daemon did not come up or go down as it should."""


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as values."""
        return json.loads(self.body)


class SurfaceHouse:
    """One running daemon."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, scenario: str = "synthetic") -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.key = ""
        self.cookie, self.csrf = "", ""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARBITRAGE_", "POSTGRES_", "REDIS_"))}
        self.environment = {
            **kept, "ARBITRAGE_CONFIG_DIR": str(PROJECT / "config"), "ARBITRAGE__STORE__DATA_DIR": str(self.data_dir),
            "ARBITRAGE__LOG__DIRECTORY": str(folder / "logs"), "ARBITRAGE__WEB__PORT": "0", **(settings or {}),
        }  # fmt: skip
        self._words = [sys.executable, "-m", "arbitrage", "demo", "--scenario", scenario, "--for", str(LIFE_S)]
        self.process: subprocess.Popen[bytes] | None = None
        self.origin = ""

    def start(self, *, wait_for_surface: bool = True) -> None:
        """Start it and wait until it serves."""
        (self.data_dir / "status.json").unlink(missing_ok=True)
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment, cwd=PROJECT
            )
        if wait_for_surface:
            self.origin = self.wait("a surface", lambda: self.status().get("web_url", ""))

    def wait(self, what: str, holds: Any, seconds: float = PATIENCE_S) -> Any:
        """Poll until `holds()` gives something true, and return that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if (found := holds()):
                return found
            if self.process is not None and self.process.poll() is not None:
                raise HouseFailed(f"the daemon ended with {self.process.returncode}: {self.output()[-2000:]}")
            time.sleep(0.05)
        raise HouseFailed(f"not within {seconds:g} s: {what}; {self.output()[-1000:]}")

    def status(self) -> dict[str, Any]:
        """Return the status file; nothing while there is none."""
        try:
            found: dict[str, Any] = json.loads((self.data_dir / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def output(self) -> str:
        """Return what the process printed."""
        return (self.folder / "out").read_text("utf-8", "replace")

    def log(self) -> str:
        """Return the log files."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted((self.folder / "logs").glob("*.log*")))

    def errors(self) -> list[str]:
        """Return the log's lines at ERROR and above, but not the engine's words: a starved machine trades badly."""
        lines = (line for line in self.log().splitlines() if '"logger":"arbitrage.engine"' not in line)
        return [line for line in lines if '"level":"ERROR"' in line or '"level":"CRITICAL"' in line]

    def set_up(self) -> None:
        """Make the first admin by the set-up link, and a key with every scope."""
        token = self.wait("a set-up link", lambda: re.findall(r"setup\?token=([\w-]+)", self.output()))[-1]
        body = {"token": token, "name": NAME, "password": PASSWORD}
        made = self.ask("POST", "/api/v1/setup", body)
        if made.status != 200:
            raise HouseFailed(f"no admin: {made.status} {made.body!r}")
        self.cookie, self.csrf = made.headers["set-cookie"].split(";")[0], made.json()["csrf_token"]
        self.key = self.new_key()

    def new_key(self, role: str = "admin") -> str:
        """Make a key as the admin who is signed in."""
        headers = {"cookie": self.cookie, "x-csrf-token": self.csrf, "authorization": ""}
        wish = {"role": role, "scopes": SCOPES, "owner": NAME, "label": "test"}
        made = self.ask("POST", "/api/v1/keys", wish, headers=headers)
        if made.status != 200:
            raise HouseFailed(f"no key: {made.status} {made.body!r}")
        text: str = made.json()["text"]
        return text

    def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask once, with the key if there is one."""
        words = {"authorization": f"Bearer {self.key}"} if self.key else {}
        words |= {"content-type": "application/json"} if body is not None else {}
        words |= dict(headers or {})
        words = {name: value for name, value in words.items() if value}
        connection = self.connection()
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, words)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection to the surface."""
        place = urlsplit(self.origin)
        return http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)

    def stop(self) -> float:
        """Stop it as a service manager would; return after how many seconds it was gone."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise HouseFailed("SIGTERM did not end it within 30 s") from None
        return time.monotonic() - began


@contextlib.contextmanager
def surface_house(settings: Mapping[str, str] | None = None) -> Iterator[SurfaceHouse]:
    """Give a running daemon with an admin and a key, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-surface-"))
    folder.chmod(0o755)  # the embedded server runs as a user of its own
    house = SurfaceHouse(folder, settings)
    try:
        house.start()
        house.set_up()
        yield house
    finally:
        house.stop()
        shutil.rmtree(folder, ignore_errors=True)
