"""A webhook of your own: JSON, signed. Whoever gets it can prove who sent it and when; replays are theirs to refuse.

`X-Arbitrage-Signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 over `SECONDS.BODY` by the channel's secret.
"""

from __future__ import annotations

import hashlib
import hmac

from arbitrage.ops.alerts.http import HttpPost, Posted
from arbitrage.ops.alerts.wording import SECOND_NS, Message

SIGNATURE = "X-Arbitrage-Signature"


class Webhook:
    """One address that takes our JSON."""

    def __init__(self, url: str, secret: str, timeout_s: float) -> None:
        self._url = url
        self._secret = secret.encode()
        self._http = HttpPost(timeout_s)

    async def send(self, message: Message) -> str:
        """Post the message, signed. Raises ChannelFault."""
        body = message.json()
        signature = signed(self._secret, message.at_ns // SECOND_NS, body)
        await self._http.post(Posted(self._url, body, {SIGNATURE: signature, "Idempotency-Key": message.id}))
        return "taken"

    async def close(self) -> None:
        await self._http.close()


def signed(secret: bytes, at_s: int, body: bytes) -> str:
    """Return the signature of a body sent at a time."""
    digest = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"
