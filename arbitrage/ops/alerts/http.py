"""Posts one body over HTTP and judges the answer. Follows no redirect, reads no environment, and never tells the address.

The address may hold the secret (Slack, Discord, Telegram): what goes wrong is told by kind and status only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import msgspec

from arbitrage.ops.alerts.channel import ChannelFault

ANSWER_BYTES_MAX = 65_536
REFUSALS = {
    400: "the request is not understood", 401: "the secret is not taken", 403: "it is not allowed",
    404: "there is no such address", 410: "the address is gone",
}  # fmt: skip


class Posted(msgspec.Struct, frozen=True):
    """What is to be posted."""

    url: str
    body: bytes
    headers: Mapping[str, str] = {}


class HttpPost:
    """One client for one channel."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    async def post(self, posted: Posted) -> bytes:
        """Post and return what was answered. Raises ChannelFault for every answer that is no success."""
        if self._client is None:  # made by who uses it, as reading the certificates takes a while
            limits = httpx.Limits(max_connections=1, keepalive_expiry=30.0)
            self._client = httpx.AsyncClient(trust_env=False, timeout=self._timeout_s, limits=limits, follow_redirects=False)
        headers = {"content-type": "application/json", "user-agent": "arbitrage", **posted.headers}
        try:
            async with self._client.stream("POST", posted.url, content=posted.body, headers=headers) as response:
                answer = b""
                async for piece in response.aiter_bytes():
                    answer += piece
                    if len(answer) > ANSWER_BYTES_MAX:
                        break
        except httpx.TimeoutException:
            raise ChannelFault("no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise ChannelFault(f"not reached ({type(error).__name__})") from None
        if not response.is_success:
            raise ChannelFault(_words(response.status_code), _wait_s(response, answer))
        return answer

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.aclose()


def _words(status: int) -> str:
    return f"refused with status {status}" + (f": {REFUSALS[status]}" if status in REFUSALS else "")


def _wait_s(response: httpx.Response, answer: bytes) -> float:
    """Read how long we are asked to wait: the header, or Telegram's and Discord's field of the answer."""
    header = response.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", header):
        return float(header)
    found = re.search(rb'"retry_after"\s*:\s*(\d{1,6}(?:\.\d{1,6})?)', answer)
    return float(found[1]) if found else 0.0
