"""Builds the channels that the settings name, each with its secret. Sends nothing; knows which secret each kind wants."""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.model.settings import AlertSettings, ChannelSettings
from arbitrage.ops.alerts.addresses import is_safe
from arbitrage.ops.alerts.channel import Channel
from arbitrage.ops.alerts.chats import TELEGRAM_SERVER, Discord, Slack, Telegram
from arbitrage.ops.alerts.courier import Route
from arbitrage.ops.alerts.mail import Mail, Post
from arbitrage.ops.alerts.outbox import Limits
from arbitrage.ops.alerts.webhook import Webhook

MS_NS = 1_000_000
WANTED = {
    "webhook": "the key that signs what is sent, at least 16 characters",
    "telegram": "the bot's token",
    "slack": "the whole address of the incoming webhook",
    "discord": "the whole address of the webhook",
    "email": "the password of the mail account",
}
"""What each kind of channel has as its secret."""
SIGNING_LENGTH_MIN = 16


def wants_secret(section: ChannelSettings) -> bool:
    """Say whether a channel has a secret: only mail without a user has none."""
    return section.kind != "email" or bool(section.smtp_user)


def wrong_secret(section: ChannelSettings, secret: str) -> str:
    """Say what is wrong with a secret, without showing any of it; nothing when it can be one."""
    if any(character.isspace() or not character.isprintable() for character in secret):
        return "holds a space or a line break"
    if section.kind == "webhook" and len(secret) < SIGNING_LENGTH_MIN:
        return f"is shorter than {SIGNING_LENGTH_MIN} characters"
    if section.kind in ("slack", "discord") and not is_safe(secret):
        return "is no address that begins with https://"
    return ""


def routes_of(settings: AlertSettings, secrets: Mapping[str, str]) -> tuple[Route, ...]:
    """Build every channel; nothing is connected yet."""
    return tuple(
        Route(
            name, section.kind, channel_of(section, secrets.get(name, "")), limits_of(settings, section),
            section.timeout_ms / 1_000, section.heartbeat_ms * MS_NS,
        )
        for name, section in settings.channels.items()
    )  # fmt: skip


def limits_of(settings: AlertSettings, section: ChannelSettings) -> Limits:
    """Return what a channel takes."""
    return Limits(
        severity_min=section.severity_min, per_minute=section.messages_per_minute_max, burst=section.burst_max,
        group_ns=settings.group_ms * MS_NS, waiting_max=settings.waiting_max,
    )  # fmt: skip


def channel_of(section: ChannelSettings, secret: str) -> Channel:
    """Build one channel."""
    timeout_s = section.timeout_ms / 1_000
    match section.kind:
        case "webhook":
            return Webhook(section.url or "", secret, timeout_s)
        case "telegram":
            return Telegram(section.url or TELEGRAM_SERVER, secret, section.chat, timeout_s)
        case "slack":
            return Slack(secret, timeout_s)
        case "discord":
            return Discord(secret, timeout_s)
        case "email":
            return Mail(
                Post(
                    section.smtp_host, section.smtp_port, section.smtp_security, section.smtp_user, secret, section.sender,
                    section.recipients, timeout_s,
                )
            )  # fmt: skip
