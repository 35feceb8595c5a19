"""Keeps one group of markets behind a live connection: opens, reopens with backoff, replaces before the venue cuts.

Refuses to look into messages. A replacement opens beside its predecessor, both deliver while it warms up (update ids and
whole pictures make repetition harmless), then it comes up and the predecessor retires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from arbitrage.model.events import FaultKind
from arbitrage.venues.backoff import Backoff
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.link import Feed, Link, LinkPlan
from arbitrage.venues.transport import ConnectFailed

RENEWAL_PART_MIN = 0.90
RENEWAL_PART_MAX = 0.98
"""A connection is replaced at a random age between these parts of its life, so that lanes do not all renew together."""


class Lane:
    """One place for a connection; `run` fills it again whenever it becomes empty."""

    def __init__(self, name: str, plan: LinkPlan, feed: Feed) -> None:
        self.name = name
        self._plan = plan
        self._feed = feed
        self._context = feed.context
        self._clock = feed.context.wiring.clock
        settings = feed.context.settings
        self._backoff_ns_max = settings.backoff_ms_max * NS_PER_MS
        self._backoff = Backoff(settings.backoff_ms_min * NS_PER_MS, self._backoff_ns_max, feed.context.wiring.rng)
        self._link: Link | None = None
        self._pause_ns = 0
        self._renewed_ns: int | None = None
        self._count = 0

    async def run(self) -> None:
        """Keep a link until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._link = await self._open(group, is_primary=True)
            while True:
                self._link = await self._successor(self._link, group)

    @property
    def markets(self) -> frozenset[int]:
        """Return the markets it carries."""
        return frozenset(self._plan.symbols)

    async def resubscribe(self) -> None:
        """Send the whole subscription again, where there is one; without a link the next one will."""
        if self._link is not None and not self._link.has_ended:
            await self._link.subscribe()

    async def _successor(self, link: Link, group: asyncio.TaskGroup) -> Link:
        """Wait until `link` ends, is told to leave or grows old; return the one that carries its markets from then on."""
        await self._until(lambda: link.has_ended or link.is_told_to_leave, self._renewal_wait_ns(link))
        if link.has_ended:
            self._failed(link)
        else:
            self._pace_renewal()
        while True:
            candidate = await self._open(group, is_primary=link.has_ended)
            await self._warm(candidate, link)
            candidate.come_up()
            if candidate.is_up:
                await link.retire(candidate.connection)
                return candidate
            self._failed(candidate)

    async def _open(self, group: asyncio.TaskGroup, *, is_primary: bool) -> Link:
        """Try until a connection is open, then start serving it."""
        while True:
            await asyncio.sleep(self._pause_ns / NS_PER_S)
            await self._feed.connects.take(self._clock)
            self._count += 1
            link = Link(f"{self.name}#{self._count}", self._plan, self._feed, is_primary=is_primary)
            try:
                await link.open()
            except ConnectFailed as failure:
                self._pause_ns = self._backoff.next_ns()
                self._report(failure)
                continue
            self._pause_ns = 0
            group.create_task(link.serve(), name=link.connection)
            return link

    async def _warm(self, candidate: Link, link: Link) -> None:
        """Let the candidate hear of its markets while its predecessor still serves them."""
        await self._until(lambda: candidate.is_warm or candidate.has_ended or link.has_ended, None)

    async def _until(self, is_true: Callable[[], bool], timeout_ns: int | None) -> None:
        changed = self._feed.changed
        try:
            async with asyncio.timeout(None if timeout_ns is None else timeout_ns / NS_PER_S):
                while not is_true():
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return

    def _renewal_wait_ns(self, link: Link) -> int | None:
        life_ns = self._feed.rules.life_ns
        if life_ns is None:
            return None
        part = self._context.wiring.rng.uniform(RENEWAL_PART_MIN, RENEWAL_PART_MAX)
        return max(0, link.opened_ns + int(life_ns * part) - self._clock())

    def _pace_renewal(self) -> None:
        """Replace at once, except when the replacement before this one was only just made: then back off."""
        now_ns = self._clock()
        is_hasty = self._renewed_ns is not None and now_ns - self._renewed_ns < self._backoff_ns_max
        self._pause_ns = self._backoff.next_ns() if is_hasty else 0
        self._renewed_ns = now_ns

    def _failed(self, link: Link) -> None:
        """Pause before the next attempt; a link that lived long starts the delays from the beginning."""
        if self._clock() - link.opened_ns >= self._backoff_ns_max:
            self._backoff.reset()
        self._pause_ns = self._backoff.next_ns()

    def _report(self, failure: ConnectFailed) -> None:
        kind = FaultKind.REQUEST_FAILED
        if failure.status in (RATE_LIMITED, BANNED):
            kind = FaultKind.BANNED if failure.status == BANNED else FaultKind.RATE_LIMITED
            now_ns = self._clock()
            self._feed.connects.hold(now_ns + self._feed.holds.next_ns(failure.status, failure.retry_after, now_ns))
        self._context.fault(kind, f"{self.name} cannot connect: {failure}")
