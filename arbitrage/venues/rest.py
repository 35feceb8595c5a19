"""Asks a venue's public REST endpoints within its budget and its holds. Refuses to interpret bodies and to ask during a ban.

Every failure is a FeedFault; a retry is bounded and backed off. Sends no Origin header, no cookie, no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import httpx
import msgspec

from arbitrage.model.events import FaultKind
from arbitrage.venues.backoff import Backoff
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S, Budget
from arbitrage.venues.fresh_answers import Freshness, StaleAnswer
from arbitrage.venues.holds import BANNED, RATE_LIMITED, Holds
from arbitrage.venues.transport import USER_AGENT, is_loopback
from arbitrage.venues.wiring import VenueContext, WireRecord

ATTEMPTS_MAX = 4
REQUESTS_IN_FLIGHT_MAX = 4
BODY_BYTES_MAX = 64 * 1024 * 1024
"""A whole exchangeInfo is some 15 MB; past this the answer is refused unread."""


class Request(msgspec.Struct, frozen=True):
    """One GET. `weight` counts in the budget of `group`; `market` rides on its faults."""

    path: str
    params: dict[str, str] = {}
    weight: int = 1
    group: str = ""
    market: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """A good answer with the times at which it was asked for and began to arrive."""

    body: bytes
    headers: Mapping[str, str]
    sent_ns: int
    received_ns: int
    done_ns: int


class Limits(Protocol):
    """A venue's request budgets and what its headers say about them."""

    holds: Holds

    @property
    def held_until_ns(self) -> int:
        """Return the end of the longest hold there was."""
        ...

    def budget(self, group: str) -> Budget:
        """Return the budget of a group of requests."""
        ...

    def learn(self, group: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Correct our count by the venue's own."""
        ...

    def refused(self, group: str, status: int, until_ns: int) -> None:
        """Hold back everything that a 429 or 418 covers."""
        ...


class Problem(msgspec.Struct, frozen=True):
    """Why an attempt gave nothing, and whether another may."""

    kind: FaultKind
    detail: str
    is_final: bool


class RestClient:
    """GETs with budget, holds, retries and faults. Use as an async context."""

    def __init__(self, context: VenueContext, limits: Limits) -> None:
        self.limits = limits
        self._context = context
        self._clock = context.wiring.clock
        settings = context.settings
        self._timeout_s = settings.request_timeout_ms / 1000
        self._in_flight = asyncio.Semaphore(REQUESTS_IN_FLIGHT_MAX)
        self._client = httpx.AsyncClient(
            base_url=settings.rest_url,
            timeout=self._timeout_s,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            trust_env=not is_loopback(settings.rest_url),
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, request: Request) -> Answer | None:
        """Return the answer, or None after the last attempt; what went wrong each time went to the sink."""
        settings, rng = self._context.settings, self._context.wiring.rng
        backoff = Backoff(settings.backoff_ms_min * NS_PER_MS, settings.backoff_ms_max * NS_PER_MS, rng)
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(backoff.next_ns() / NS_PER_S)
            async with self._in_flight:
                await self.limits.budget(request.group).take(self._clock, request.weight)
                outcome = await self._attempt(request)
            if isinstance(outcome, Answer):
                return outcome
            self._context.fault(outcome.kind, f"GET {request.path}: {outcome.detail}", request.market)
            if outcome.is_final:
                return None
        return None

    async def _attempt(self, request: Request) -> Answer | Problem:
        sent_ns = self._clock()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    "GET", request.path, params=request.params, extensions={"trace": Freshness().watch}
                ) as response,
            ):
                received_ns = self._clock()
                body = await read_body(response, BODY_BYTES_MAX)
        except (TimeoutError, httpx.TimeoutException):
            return Problem(FaultKind.REQUEST_FAILED, f"no answer within {self._timeout_s:g} s", is_final=False)
        except (StaleAnswer, httpx.HTTPError, OSError) as failure:
            return Problem(FaultKind.REQUEST_FAILED, f"{type(failure).__name__}: {failure}", is_final=False)
        now_ns = self._clock()
        self.limits.learn(request.group, response.headers, now_ns)
        if body is None:
            return Problem(FaultKind.OVERFLOW, f"the answer exceeds {BODY_BYTES_MAX} bytes", is_final=True)
        if problem := self._problem(request.group, response, body):
            return problem
        self.limits.holds.reset()
        if self._context.wiring.record is not None:
            record = WireRecord(now_ns, self._context.venue, "rest", "http", body, str(response.url))
            self._context.wiring.record(record)
        return Answer(body, response.headers, sent_ns, received_ns, now_ns)

    def _problem(self, group: str, response: httpx.Response, body: bytes) -> Problem | None:
        """Judge status and shape; a refusal holds back everything its rule covers."""
        status = response.status_code
        is_json = body.lstrip()[:1] in (b"{", b"[")
        said = body[:120].decode("utf-8", "replace") if is_json else f"not JSON, {len(body)} bytes"
        if status in (RATE_LIMITED, BANNED):
            wait_ns = self.limits.holds.next_ns(status, response.headers.get("Retry-After", ""), self._clock())
            self.limits.refused(group, status, self._clock() + wait_ns)
            kind = FaultKind.BANNED if status == BANNED else FaultKind.RATE_LIMITED
            return Problem(kind, f"HTTP {status}, nothing is asked for {wait_ns // NS_PER_S} s: {said}", is_final=False)
        if status != httpx.codes.OK:
            is_ours = status < 500 and status != httpx.codes.REQUEST_TIMEOUT
            return Problem(FaultKind.REQUEST_FAILED, f"HTTP {status}: {said}", is_final=is_ours)
        return None if is_json else Problem(FaultKind.REQUEST_FAILED, f"HTTP 200 but {said}", is_final=False)


async def read_body(response: httpx.Response, bytes_max: int) -> bytes | None:
    """Read a body up to a limit; None when there is more."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > bytes_max:
            return None
        parts.append(part)
    return b"".join(parts)
