"""Telegram, Slack and Discord: the same text, each by its own rules. Formats nothing, so that no text can become a command.

Rules: core.telegram.org/bots/api#sendmessage (4,096 characters, 429 with `retry_after`), api.slack.com/messaging/webhooks
(`&`, `<` and `>` escaped), discord.com/developers/docs/resources/webhook (2,000 characters, `allowed_mentions`).
"""

from __future__ import annotations

import msgspec

from arbitrage.ops.alerts.channel import ChannelFault
from arbitrage.ops.alerts.http import HttpPost, Posted
from arbitrage.ops.alerts.wording import Message

TELEGRAM_SERVER = "https://api.telegram.org"
TELEGRAM_LENGTH_MAX, SLACK_LENGTH_MAX, DISCORD_LENGTH_MAX = 4_096, 4_000, 2_000


class _Told(msgspec.Struct):
    ok: bool


class Telegram:
    """A bot that writes into one chat."""

    def __init__(self, server: str, token: str, chat: str, timeout_s: float) -> None:
        self._url = f"{server.rstrip('/')}/bot{token}/sendMessage"
        self._chat = chat
        self._http = HttpPost(timeout_s)

    async def send(self, message: Message) -> str:
        """Write one message. Raises ChannelFault."""
        body = {"chat_id": self._chat, "text": message.text(TELEGRAM_LENGTH_MAX), "disable_web_page_preview": True}
        answer = await self._http.post(Posted(self._url, msgspec.json.encode(body)))
        try:
            is_taken = msgspec.json.decode(answer, type=_Told).ok
        except msgspec.MsgspecError:
            is_taken = False
        if not is_taken:
            raise ChannelFault("answered without saying that it took it")
        return "taken"

    async def close(self) -> None:
        await self._http.close()


class Slack:
    """An incoming webhook of Slack; its whole address is the secret."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._url = address
        self._http = HttpPost(timeout_s)

    async def send(self, message: Message) -> str:
        """Write one message. Raises ChannelFault."""
        text = message.text(SLACK_LENGTH_MAX).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        await self._http.post(Posted(self._url, msgspec.json.encode({"text": text})))
        return "taken"

    async def close(self) -> None:
        await self._http.close()


class Discord:
    """A webhook of Discord; its whole address is the secret."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._url = address
        self._http = HttpPost(timeout_s)

    async def send(self, message: Message) -> str:
        """Write one message that mentions nobody. Raises ChannelFault."""
        body = {"content": message.text(DISCORD_LENGTH_MAX), "allowed_mentions": {"parse": []}}
        await self._http.post(Posted(self._url, msgspec.json.encode(body)))
        return "taken"

    async def close(self) -> None:
        await self._http.close()
