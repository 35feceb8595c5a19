"""Who listens to which stream. A message is written once, and only when somebody listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Subscriber(Protocol):
    """A connection that wants streams."""

    def deliver(self, stream: str, payload: bytes) -> None:
        """Take one message of a stream."""


class Hub:
    """Streams and their subscribers, in the order they came."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[Subscriber, None]] = {}

    def subscribe(self, stream: str, subscriber: Subscriber) -> None:
        self._streams.setdefault(stream, {})[subscriber] = None

    def unsubscribe(self, stream: str, subscriber: Subscriber) -> None:
        """Forget one wish; one that was never made is no error."""
        subscribers = self._streams.get(stream, {})
        subscribers.pop(subscriber, None)
        if not subscribers:
            self._streams.pop(stream, None)

    def publish(self, stream: str, write: Callable[[], bytes]) -> None:
        """Deliver one message to whoever listens."""
        subscribers = self._streams.get(stream)
        if subscribers:
            payload = write()
            for subscriber in tuple(subscribers):
                subscriber.deliver(stream, payload)
