"""What a channel owes: one message sent, or a fault in words that hold no secret. Retries nothing and waits for nobody."""

from __future__ import annotations

from typing import Protocol

from arbitrage.ops.alerts.wording import Message


class ChannelFault(Exception):
    """A message did not arrive. The text says why and never holds an address's secret part, a token or a password."""

    def __init__(self, words: str, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.wait_s = wait_s
        """How long the other side asked us to wait; 0 when it did not."""


class Channel(Protocol):
    """One way to a person. Used from one task; `send` may be cancelled at any time."""

    async def send(self, message: Message) -> str:
        """Send; return in a few words what the other side said. Raises ChannelFault."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
