"""Endpoints for machines: health, metrics, the OpenAPI document, and events as they happen. Show no secret and no balance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from arbitrage.web.api.exposition import CONTENT_TYPE
from arbitrage.web.api.publisher import TOPICS
from arbitrage.web.callers import Role
from arbitrage.web.callers import Scope as CallerScope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.events import SEND_SECONDS_MAX, Follower
from arbitrage.web.ports import Ports
from arbitrage.web.problems import problem

LOOP_LATE_MS_MAX = 1_000
STREAM_MEDIA = "text/event-stream"


class Health(msgspec.Struct, frozen=True):
    """Whether the daemon lives and is ready, and why not."""

    is_live: bool
    is_ready: bool
    why_not: tuple[str, ...] | None = None
    """Null to whoever may not see it: see `web.probes_open_to`."""
    is_armed: bool | None = None
    """Likewise."""


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which topics, joined by commas, and since when."""

    topics: Annotated[str, Meta(pattern=rf"^({'|'.join(TOPICS)})(,({'|'.join(TOPICS)})){{0,3}}$")] = "happening,report"
    last_event_id: Annotated[str, Meta(pattern=r"^(\d{1,18}-\d{1,18})?$")] = ""
    """As the header `Last-Event-ID`, which wins."""


def health_of(ports: Ports) -> Health:
    """Say how the daemon is, without asking anybody."""
    views = ports.views
    view, stores = views.view(), views.stores()
    reasons = [] if views.is_ready() else ["the books are not all in sync yet"]
    if not any(market.doubt is None for market in view.markets):
        reasons.append("no market is usable")
    reasons += [f"{venue.venue} is not connected" for venue in view.venues if not venue.is_connected]
    if stores.is_journal_full:
        reasons.append("the journal is full or cannot be written")
    if not stores.is_postgres_up:
        reasons.append("PostgreSQL is away")
    is_live = views.process().loop_late_ms_mean < LOOP_LATE_MS_MAX
    return Health(is_live, not reasons, tuple(reasons), view.is_armed)


def shown(found: Health, *, sees_all: bool) -> Health:
    """Leave out what is not for everybody."""
    return found if sees_all else Health(found.is_live, found.is_ready)


async def health(call: Call) -> Answer:
    """Answer how the daemon is: 200 while it lives."""
    found = shown(health_of(call.ports), sees_all=call.caller.sees_probes)
    if not found.is_live:
        return problem(503, "not_live", "the loop is late", errors=found.why_not or ())
    return found


async def ready(call: Call) -> Answer:
    """Answer 200 only when the daemon is ready."""
    found = shown(health_of(call.ports), sees_all=call.caller.sees_probes)
    if found.is_ready:
        return found
    why = found.why_not or ()
    return problem(503, "not_ready", "; ".join(why) or "not ready; why is told to who shows a key", errors=why)


class Stream(Response):
    """A stream of events that waits for nobody: who does not take an event in time is dropped."""

    media_type = STREAM_MEDIA

    def __init__(self, follower: Follower, counts: Callable[[], bool], leave: Callable[[], None]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._follower = follower
        self._counts = counts
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves, is too slow, may not go on, or the surface closes."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(receive), name="stream watch")
                await self._send_all(scope, send)
                watch.cancel()
        finally:
            self._leave()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._follower.end()

    async def _send_all(self, scope: Scope, send: Send) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in self._follower.taken():
                if not self._counts():
                    break
                async with asyncio.timeout(SEND_SECONDS_MAX):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            abort = scope.get("state", {}).get("abort")
            if abort is not None:
                abort()


async def events(call: Call) -> Answer:
    """Answer with events as they happen."""
    last_id = call.headers.get("last-event-id", "") or call.query.last_event_id
    ports = call.ports
    follower = ports.events.follow(call.query.topics.split(","), last_id[:40], call.caller.actor)
    if follower is None:
        return problem(503, "too_many_followers", "no place is left for another follower", retry_after_s=5)
    return Stream(follower, lambda: ports.still_counts(call.caller), lambda: ports.events.leave(follower))


def endpoints(exposition: Callable[[], bytes], document: Callable[[], bytes]) -> tuple[Endpoint, ...]:
    """Return the rows; the two give the metrics and the OpenAPI document."""

    async def metrics(call: Call) -> Answer:
        """Answer the metrics."""
        assert call.endpoint.produces == CONTENT_TYPE, "the table names this media type"
        return Response(exposition(), media_type=CONTENT_TYPE)

    async def openapi(call: Call) -> Answer:
        """Answer what this API is."""
        assert call.endpoint.role is None, "the document is public"
        return Response(document(), media_type="application/json")

    return (
        Endpoint(
            method="GET", path="/health", handler=health, role=None, answer=Health, errors=(503,), tag="probes",
            summary="Whether the daemon lives (200) and is ready; why not, to whoever may see it",
        ),
        Endpoint(
            method="GET", path="/health/ready", handler=ready, role=None, answer=Health, errors=(503,), tag="probes",
            summary="200 only when the daemon is ready",
        ),
        Endpoint(
            method="GET", path="/metrics", handler=metrics, role=Role.VIEWER, is_probe=True, produces=CONTENT_TYPE,
            tag="probes", summary="Metrics for Prometheus",
        ),
        Endpoint(
            method="GET", path="/api/v1/openapi.json", handler=openapi, role=None, produces="application/json", tag="probes",
            summary="This API as an OpenAPI document",
        ),
        Endpoint(
            method="GET", path="/api/v1/events", handler=events, role=Role.VIEWER, scope=CallerScope.READ, query=EventQuery,
            produces=STREAM_MEDIA, streams=True, errors=(503,), tag="events",
            summary="Server-sent events: what happens, what the engine reports, status and spreads as they change",
        ),
    )  # fmt: skip
