"""HTTP/1.1 as far as a venue needs it: one request read whole within limits, one answer written. Knows no venue."""

from __future__ import annotations

import asyncio
import http
from urllib.parse import parse_qsl, unquote

import msgspec

HEAD_BYTES_MAX = 32_768
BODY_BYTES_MAX = 1_048_576


class Request(msgspec.Struct, frozen=True):
    """One request. Header names are lower case; a name repeated keeps its last value."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> list[tuple[str, str]]:
        """Parameters in the order sent, percent-decoded."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def is_upgrade(self) -> bool:
        return self.headers.get("upgrade", "").lower() == "websocket"


class Response(msgspec.Struct, frozen=True):
    """One answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json;charset=UTF-8"


class Malformed(msgspec.Struct, frozen=True):
    """What arrived is not a request we can answer; the connection ends with this status."""

    status: int


def encode_response(response: Response, date: str) -> bytes:
    """Write an answer with its length, so that the connection can stay open."""
    lines = [
        f"HTTP/1.1 {response.status} {_reason(response.status)}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Date: {date}",
        "Connection: keep-alive",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + response.body


async def read_request(reader: asyncio.StreamReader) -> tuple[Request, bytes] | Malformed | None:
    """Read one request with its body and the raw bytes of its head; None when the peer has gone."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        return Malformed(431)
    parsed = parse_head(head)
    if isinstance(parsed, Malformed):
        return parsed
    length_text = parsed.headers.get("content-length", "0")
    if not length_text.isdecimal() or "transfer-encoding" in parsed.headers:
        return Malformed(411)
    if int(length_text) > BODY_BYTES_MAX:
        return Malformed(413)
    try:
        body = await reader.readexactly(int(length_text))
    except asyncio.IncompleteReadError:
        return None
    return msgspec.structs.replace(parsed, body=body), head


def parse_head(head: bytes) -> Request | Malformed:
    """Take a request's first line and headers apart."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return Malformed(400)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not line:
            continue
        if not colon or name != name.strip():
            return Malformed(400)
        headers[name.lower()] = value.strip()
    return Request(words[0], words[1], headers, b"")


def _reason(status: int) -> str:
    return "I'm a teapot" if status == 418 else http.HTTPStatus(status).phrase
