"""The two faces of a WebSocket: the pipe a venue writes into, and the session that takes what comes. Protocols only."""

from __future__ import annotations

from typing import Protocol


class Pipe(Protocol):
    """Where messages leave."""

    def send(self, payload: bytes, *, is_binary: bool = False, is_data: bool = True) -> None:
        """Send one message; status lines are not data and keep no connection alive."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""

    def abort(self) -> None:
        """Cut the connection without a word."""

    def allow(self, messages_per_s: int) -> None:
        """Let the client send so many messages a second on this connection; 0 is any number."""


class Session(Protocol):
    """A venue's side of one socket."""

    def on_message(self, payload: bytes) -> None:
        """Take one whole client message."""

    def on_ping(self) -> None:
        """Learn that the client sent a ping frame (the pong is already on its way)."""

    def on_second(self) -> None:
        """Take the passing of about a second."""

    def on_close(self) -> None:
        """Forget the socket. May be told twice."""
