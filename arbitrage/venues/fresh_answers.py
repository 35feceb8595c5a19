"""Tells the answer to this question from a second answer to an earlier one on the same connection. Sends and reads nothing.

HTTP/1.1 numbers no answers: what comes twice (a fault of a proxy or of the venue) lies in the connection's buffer and would be
taken for the answer to whatever is asked next there, perhaps about another order. An answer that takes no turn of the event
loop lay there before it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

AWAITED, BEGUN = "http11.receive_response_headers.started", "http11.receive_response_headers.complete"
Trace = Callable[[str, Mapping[str, object]], Awaitable[None]]
"""What httpx calls, as the extension `trace`, at each step of a request."""


class StaleAnswer(Exception):
    """The answer lay there before the question: a lie about this one."""


class Freshness:
    """Watches one request. `watch` is told its steps and raises StaleAnswer, which also closes the connection."""

    def __init__(self) -> None:
        self._has_passed = False

    async def watch(self, step: str, info: Mapping[str, object]) -> None:
        """Take note of a step."""
        if step == AWAITED:
            asyncio.get_running_loop().call_soon(self._pass)
        elif step == BEGUN and not self._has_passed:
            raise StaleAnswer

    def _pass(self) -> None:
        self._has_passed = True
