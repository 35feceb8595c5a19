"""Servers of the other side of each channel, on loopback: they take, refuse, ask for patience, hang or drip. Keep what came."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATIENCE_S = 15.0


class Taken:
    """One request as it came."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path, self.headers, self.body = path, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpServer:
    """Answers every POST with what it was told to."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        """Given once each, in order; then `ok` for ever."""
        self.ok: tuple[int, dict[str, str], bytes] = (200, {}, b'{"ok":true}')
        self.hangs = False
        self.port = 0
        self.came = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.taken.append(Taken(head[0].split(" ")[1], headers, body))
                self.came.set()
                if self.hangs:
                    await asyncio.Event().wait()
                status, more, answer = self.answers.pop(0) if self.answers else self.ok
                rows = {"content-length": str(len(answer)), "content-type": "application/json", **more}
                text = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in rows.items()) + "\r\n"
                writer.write(text.encode() + answer)
                await writer.drain()

    def cut(self) -> None:
        """Close every connection."""
        for writer in self._open:
            writer.close()


@contextlib.asynccontextmanager
async def http_server(port: int = 0) -> AsyncIterator[HttpServer]:
    """Serve until the end of the block."""
    server = HttpServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.cut()


class MailServer:
    """A mail server that may want TLS and a password; keeps whole mails and the passwords that were tried."""

    def __init__(self, context: ssl.SSLContext | None = None, password: str = "") -> None:
        self.mails: list[str] = []
        self.recipients: list[str] = []
        self.tried: list[str] = []
        self.was_secret: list[bool] = []
        self.refuses = ""
        """A command that is refused, such as `DATA`."""
        self.drips = False
        self.port = 0
        self._context = context
        self._password = password
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            if self.drips:  # a greeting that never ends: each byte starts the other side's clock anew
                while True:
                    writer.write(b"2")
                    await writer.drain()
                    await asyncio.sleep(0.05)
            await self._talk(reader, writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_secret = False
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.split(" ")[0].upper().split(":")[0]
            answer = b"250 ok\r\n"
            if self.refuses == word:
                answer = b"554 no, and the text repeats the " + line.encode() + b"\r\n"
            elif word == "EHLO":
                offers = [b"250-AUTH PLAIN\r\n", b"250 8BITMIME\r\n"]
                answer = b"250-here\r\n" + (b"250-STARTTLS\r\n" if self._context and not is_secret else b"") + b"".join(offers)
            elif word == "STARTTLS" and self._context is not None:
                writer.write(b"220 go\r\n")
                await writer.drain()
                await writer.start_tls(self._context)
                is_secret = True
                continue
            elif word == "AUTH":
                self.tried.append(base64.b64decode(line.split(" ")[2]).decode().split("\0")[2])
                answer = b"235 ok\r\n" if self.tried[-1] == self._password else b"535 no\r\n"
            elif word == "RCPT":
                self.recipients.append(line)
            elif word == "DATA":
                writer.write(b"354 go\r\n")
                self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                self.was_secret.append(is_secret)
            elif word == "QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                writer.close()
                return
            writer.write(answer)
            await writer.drain()

    def cut(self) -> None:
        for writer in self._open:
            writer.close()


@contextlib.asynccontextmanager
async def mail_server(context: ssl.SSLContext | None = None, password: str = "") -> AsyncIterator[MailServer]:
    """Serve until the end of the block."""
    server = MailServer(context, password)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.cut()


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate of 127.0.0.1 and localhost that signs itself; return a server's context and the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alerts under test")])
    began = datetime.datetime.fromtimestamp(1_700_000_000, tz=datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "server.pem"
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = folder / "trusted.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    file.write_bytes(pem + public.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, public


class Servers:
    """Servers of several channels in a loop of their own thread, so that tests stay plain."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._open: list[Any] = []

    def open(self, port: int = 0) -> HttpServer:
        context = http_server(port)
        self._open.append(context)
        return asyncio.run_coroutine_threadsafe(context.__aenter__(), self.loop).result(PATIENCE_S)

    def close(self) -> None:
        for context in self._open:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), self.loop).result(PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)


def until(holds: Callable[[], object], seconds: float = PATIENCE_S) -> float:
    """Wait until something holds; return after how long it did."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it did not come to hold"
        time.sleep(0.005)
    return time.monotonic() - began


def told(server: HttpServer) -> list[tuple[str, str]]:
    """Return every alert that a server was told of, as key and state."""
    return [(row["key"], row["state"]) for taken in server.taken for row in taken.json["alerts"]]
