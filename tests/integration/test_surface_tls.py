"""The surface over TLS: real handshakes with a certificate of our own, and what becomes of clients that do not make one."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from alert_servers import certificate

sys.path.append(str(Path(__file__).parents[1] / "web"))

from web_people import Lab

from arbitrage.model.settings import WebSettings
from arbitrage.web.access.reception import rules_of
from arbitrage.web.api import signing_endpoints
from arbitrage.web.callers import Role
from arbitrage.web.counts import Traffic
from arbitrage.web.faults import Faults
from arbitrage.web.server import WebServer, WebUnavailable

pytestmark = pytest.mark.integration
Asked = tuple[int, dict[str, str], bytes]


class Served:
    """A surface that listens, and what it counted."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        _, self.trusted = certificate(folder)
        file = str(folder / "server.pem")
        fixed: dict[str, Any] = {"port": 0, "certificate_file": file, "private_key_file": file, "header_ms_max": 400}
        self.lab = Lab(allowed_addresses=("127.0.0.0/8",), **{**fixed, **settings})
        self.lab.populate()
        self.traffic, self.faults = Traffic(), Faults()
        application = self.lab.application(signing_endpoints.ENDPOINTS)
        self.server = WebServer(self.lab.settings, application, self.traffic, self.faults)

    def run(self, client: Callable[[], Awaitable[None]]) -> None:
        """Serve while a client asks."""

        async def both() -> None:
            opened = asyncio.Event()
            serving = asyncio.create_task(self.server.serve(opened.set))
            waiting = asyncio.create_task(opened.wait())
            await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if serving.done():
                serving.result()
            try:
                async with asyncio.timeout(20):
                    await client()
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

        asyncio.run(both())

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.trusted))

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Asked:
        """Ask once over TLS."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=self.context())
        given = {"host": f"localhost:{self.server.port}", "connection": "close", "content-length": str(len(body)), **headers}
        rows = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{rows}\r\n".encode() + body)
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        first, *lines = head.decode().split("\r\n")
        return int(first.split(" ")[1]), {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in lines}, rest


def test_the_surface_is_served_over_tls_and_knows_that_it_is(tmp_path: Path) -> None:
    it = Served(tmp_path)
    wrong = json.dumps({"name": "admin", "password": "no such password"}).encode()
    media = {"content_type": "application/json"}
    key = it.lab.key("admin", Role.ADMIN)

    async def client() -> None:
        assert it.server.url == f"https://127.0.0.1:{it.server.port}"
        status, headers, body = await it.ask("GET", "/api/v1/me", authorization=f"Bearer {key}")
        assert status == 200 and b"admin" in body and headers["x-content-type-options"] == "nosniff"
        own = f"https://localhost:{it.server.port}"
        assert (await it.ask("POST", "/api/v1/login", wrong, origin=own, **media))[0] == 401, "our own page may try"
        plain = own.replace("https", "http")
        assert (await it.ask("POST", "/api/v1/login", wrong, origin=plain, **media))[0] == 403, "a page over http may not"
        elsewhere = await it.ask("GET", "/api/v1/me", host="trading.example", authorization=f"Bearer {key}")
        assert elsewhere[0] == 200, "behind a certificate no browser goes on under a wrong name"

    it.run(client)
    assert rules_of(WebSettings()).names is not None and it.faults.total == 0


def test_old_tls_plain_http_and_a_handshake_that_stands_still_get_nowhere_and_hold_nothing(tmp_path: Path) -> None:
    it = Served(tmp_path)

    async def client() -> None:
        old = it.context()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", it.server.port, ssl=old)
        reader, writer = await asyncio.open_connection("127.0.0.1", it.server.port)
        writer.write(b"GET /api/v1/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP/1.1 200" not in await _rest(reader)
        began = asyncio.get_running_loop().time()
        silent, _ = await asyncio.open_connection("127.0.0.1", it.server.port)
        assert await _rest(silent) == b""
        waited_s = asyncio.get_running_loop().time() - began
        assert 0.2 < waited_s < 5, "let go after web.header_ms_max"
        assert (await it.ask("GET", "/api/v1/me"))[0] == 401, "the others are served"

    it.run(client)
    assert it.traffic.connections == 0 and it.faults.total == 0


def test_a_certificate_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    async def nothing() -> None:
        raise AssertionError("nothing is served")

    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate\n")
    for name, words in ((str(broken), "cannot be used"), (str(tmp_path / "none.pem"), "is not there")):
        with pytest.raises(WebUnavailable, match=words) as refusal:
            Served(tmp_path, certificate_file=name, private_key_file=name).run(nothing)
        assert "\n" not in str(refusal.value) and "web.certificate_file" in str(refusal.value)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
