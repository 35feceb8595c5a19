"""The alerts of one house, in a thread and a loop of their own: a channel that hangs, or a fault in here, holds no trading.

The trading loop only leaves pictures and events in the inbox. The thread judges them, keeps the book, and lets a courier for
each channel carry. What was told and what has not arrived is on disk, so that a stop or a crash loses no alert.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from arbitrage.model.settings import AlertSettings
from arbitrage.ops.alerts.book import Book, Pace
from arbitrage.ops.alerts.budget import Budget
from arbitrage.ops.alerts.catalog import CATALOG
from arbitrage.ops.alerts.courier import Courier, Route
from arbitrage.ops.alerts.inbox import Inbox
from arbitrage.ops.alerts.nouns import ActiveAlert, Board, ChannelStanding, Finding, Note, OfficeStanding
from arbitrage.ops.alerts.outbox import Outbox
from arbitrage.ops.alerts.picture import Picture
from arbitrage.ops.alerts.quiet import QuietHours
from arbitrage.ops.alerts.rules import findings, unexplained
from arbitrage.ops.alerts.spool import Kept, Spool
from arbitrage.ops.alerts.wording import House

logger = logging.getLogger("arbitrage.alerts")
MS_NS = 1_000_000
FAREWELL_S = 1.0
"""At a stop, what is critical gets so long to leave; it stays on disk when it did not."""
JOIN_S_MAX = 3.0
NAMES_AT_ONCE = 16
AGAIN_S = 1.0


class Circumstances(msgspec.Struct, frozen=True):
    """What the alerts of one house have around them."""

    house: House
    data_dir: Path
    clock: Callable[[], int]
    redact: Callable[[str], str] = str


class Office:
    """Everything about alerts behind four words: start, show, hear, close."""

    def __init__(
        self, settings: AlertSettings, routes: Sequence[Route], around: Circumstances, *, clock_ms_max: int = 1_000
    ) -> None:
        self.settings = settings
        """Replaced whole by a reload; channels are not made anew by it."""
        self.board = Board()
        """What is on, held back and over; replaced whole, so that any thread may read it."""
        self.faults = 0
        """Faults in here, each logged: the daemon goes on without what failed."""
        self._around = around
        self._routes = tuple(routes)
        self._clock_ms_max = clock_ms_max
        self._inbox = Inbox()
        self._spool = Spool(around.data_dir)
        self._budget = Budget()
        self._book = Book(CATALOG, Pace())
        self._couriers: tuple[Courier, ...] = ()
        self._is_stopping = threading.Event()
        self._applied: AlertSettings | None = None
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)

    @property
    def active(self) -> tuple[ActiveAlert, ...]:
        """Return what is on now, to any thread."""
        return self.board.firing

    @property
    def standing(self) -> OfficeStanding:
        """Return how everything about alerts stands, to any thread."""
        return OfficeStanding(
            self.board, self.channels, self._spool.bytes, self._spool.faults, self._inbox.lost, self.faults
        )  # fmt: skip

    @property
    def channels(self) -> tuple[ChannelStanding, ...]:
        """Return how each channel stands, to any thread."""
        return tuple(courier.standing for courier in self._couriers)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def show(self, picture: Picture) -> None:
        """Leave a picture of the house to be judged. Never waits."""
        self._inbox.show(picture)

    def hear(self, rule: str, text: str, subject: str = "") -> None:
        """Leave an event. Never waits."""
        self._inbox.hear(Finding(rule, text, subject), self._around.clock())

    def close(self) -> None:
        """End the thread: what is critical gets a second to leave, the rest is kept on disk. Waits, within a bound."""
        self._is_stopping.set()
        if self._inbox.ring is not None:
            self._inbox.ring()
        if self._thread.is_alive():
            self._thread.join(JOIN_S_MAX)

    def _work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        loop, bell, dirty, moved = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), asyncio.Event()

        def ring() -> None:
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile: nobody looks any more
                loop.call_soon_threadsafe(bell.set)

        def changed() -> None:
            dirty.set()
            moved.set()

        # A look-up of a name that hangs holds a thread of these, and there are enough for every channel.
        loop.set_default_executor(ThreadPoolExecutor(NAMES_AT_ONCE, "alerts"))
        self._restore(changed)
        self._inbox.ring = ring
        ring()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._going_on("keeping", lambda: self._keep(dirty)))]
            tasks += [group.create_task(self._going_on(each.route.name, each.run)) for each in self._couriers]
            while not self._is_stopping.is_set():
                await bell.wait()
                bell.clear()
                await self._guarded("looking", self._attend)
                dirty.set()
            await self._farewell(moved)
            for task in tasks:
                task.cancel()
        for courier in self._couriers:
            await courier.route.channel.close()
        self._spool.write(self._kept(is_running=False), is_last=True)
        self._inbox.ring = None

    def _restore(self, changed: Callable[[], None]) -> None:
        now_ns, kept = self._around.clock(), self._spool.read()
        self._book = Book(CATALOG, Pace(), kept.episodes, now_ns)
        couriers = []
        for route in self._routes:
            outbox = Outbox(route.limits, now_ns, kept.waiting.get(route.name, ()), kept.dropped.get(route.name, 0))
            courier = Courier(route, outbox, self._around.house, self._around.clock)
            courier.changed = changed
            couriers.append(courier)
        self._couriers = tuple(couriers)
        self._configure()
        if kept.is_running:
            self.hear("unclean_end", "the last run was killed or the machine stopped; see the restart report")

    def _configure(self) -> None:
        """Take over the settings in force; channels stay as they are."""
        settings = self.settings
        if settings is self._applied:
            return
        self._applied = settings
        self._book.pace = Pace(clear_ns=settings.clear_ms * MS_NS, repeat_ns=settings.repeat_ms * MS_NS)
        self._book.holds_ns |= {"disarmed": settings.disarmed_ms * MS_NS, "feed_down": settings.feed_down_ms * MS_NS}
        quiet = QuietHours(settings.quiet_from, settings.quiet_until, settings.quiet_zone)
        for courier in self._couriers:
            courier.quiet = quiet

    async def _attend(self) -> None:
        """Judge what was left in the inbox, and give each channel what is to be told."""
        self._configure()
        heard, picture = self._inbox.take()
        notes: list[Note] = []
        for each in heard:
            notes += self._book.hear(self._clean(each.finding), each.at_ns, each.count)
        if picture is not None:
            notes += self._book.look([self._clean(finding) for finding in self._found(picture)], picture.at_ns)
            words = "armed" if not picture.not_armed_because else f"not armed because {'; '.join(picture.not_armed_because)}"
            words = self._around.redact(f"{words}; {len(self.active)} alerts on")
            for courier in self._couriers:
                courier.looked(picture.at_ns, words)
        for note in notes:
            level = logging.INFO if note.severity == "info" else logging.WARNING
            logger.log(level, "alert %s %s: %s", note.key, note.state, note.text)
            for courier in self._couriers:
                courier.put(note)
        self.board = self._book.board()

    def _clean(self, finding: Finding) -> Finding:
        """Take every known secret out, before anything is kept, told or logged."""
        redact = self._around.redact
        return Finding(finding.rule, redact(finding.text), redact(finding.subject))

    def _found(self, picture: Picture) -> list[Finding]:
        settings = self.settings
        is_bad = bool(unexplained(picture)) or any(not feed.is_connected for feed in picture.feeds)
        self._budget.note(picture.at_ns, is_bad=is_bad)
        found = findings(picture, settings, self._clock_ms_max)
        found += self._budget.findings(picture.at_ns, settings.ready_ppm_min)
        for standing in (courier.standing for courier in self._couriers):
            if standing.trouble:
                found.append(Finding("channel_failing", f"{standing.name}: {standing.trouble}", standing.name))
        return found

    async def _farewell(self, moved: asyncio.Event) -> None:
        """Let what is critical leave, for a second at most."""
        await self._guarded("looking", self._attend)
        for courier in self._couriers:
            courier.hurry()
        try:
            async with asyncio.timeout(FAREWELL_S):
                while any(courier.is_leaving for courier in self._couriers):
                    moved.clear()
                    await moved.wait()
        except TimeoutError:
            return

    async def _keep(self, dirty: asyncio.Event) -> None:
        """Write the spool whenever something changed, off this loop: a slow disk delays no message."""
        written: object = None
        while True:
            await dirty.wait()
            dirty.clear()
            kept = self._kept(is_running=True)
            # When an alert was last seen, and its newest words, are no change worth a write a second.
            mark = [(each.finding.key, each.told_ns, each.count) for each in kept.episodes], kept.waiting, kept.dropped
            if mark != written:
                await asyncio.to_thread(self._spool.write, kept)
                written = None if self._spool.faults else mark

    def _kept(self, *, is_running: bool) -> Kept:
        waiting = {courier.route.name: courier.outbox.waiting for courier in self._couriers}
        dropped = {courier.route.name: courier.outbox.dropped for courier in self._couriers}
        return Kept(self._book.episodes, waiting, dropped, is_running)

    async def _going_on(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin a task again when it failed: a fault in here must not end the alerts."""
        while True:
            await self._guarded(name, work)
            await asyncio.sleep(AGAIN_S)

    async def _guarded(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        (outcome,) = await asyncio.gather(work(), return_exceptions=True)
        if isinstance(outcome, Exception):
            self.faults += 1
            logger.error("alerts: %s failed: %s", name, type(outcome).__name__, exc_info=outcome)
