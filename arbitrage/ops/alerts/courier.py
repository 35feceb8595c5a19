"""Carries what one channel's outbox gives, one message at a time, each within its time limit. Decides nothing about what.

A courier stands in nobody's way: one that hangs or fails leaves the others and the outbox's bound as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

import msgspec

from arbitrage.ops.alerts.channel import Channel, ChannelFault
from arbitrage.ops.alerts.nouns import ChannelStanding, Note
from arbitrage.ops.alerts.outbox import Batch, Limits, Outbox
from arbitrage.ops.alerts.quiet import QuietHours
from arbitrage.ops.alerts.wording import House, Message, worst

logger = logging.getLogger("arbitrage.alerts")
SECOND_NS = 1_000_000_000
LOOK_S_MAX = 30.0
"""Looked again at the latest after this long: quiet hours end without anybody calling."""


class Route(msgspec.Struct, frozen=True):
    """One channel as it is configured and built."""

    name: str
    kind: str
    channel: Channel
    limits: Limits
    timeout_s: float
    heartbeat_ns: int = 0


class Courier:
    """One channel's outbox and who empties it."""

    def __init__(self, route: Route, outbox: Outbox, house: House, clock: Callable[[], int]) -> None:
        self.route = route
        self.outbox = outbox
        self.quiet: QuietHours | None = None
        self.changed: Callable[[], None] = lambda: None
        """Told when something arrived or failed, so that it is kept."""
        self.last_look_ns = 0
        """When the house was last looked at: a heartbeat tells that somebody looks, not only that this thread lives."""
        self._house = house
        self._clock = clock
        self._bell = asyncio.Event()
        self._next_beat_ns = clock()
        self._words = ""
        limits = outbox.limits
        self._standing = ChannelStanding(
            route.name, route.kind, 0, 0, 0, 0, severity_min=limits.severity_min, burst=limits.burst,
            per_minute=limits.per_minute, heartbeat_ns=route.heartbeat_ns,
        )  # fmt: skip

    @property
    def standing(self) -> ChannelStanding:
        """Return how the channel stands, to any thread."""
        waiting, now_ns, quiet = self.outbox.waiting, self._clock(), self.quiet
        return msgspec.structs.replace(
            self._standing, waiting=len(waiting), dropped=self.outbox.dropped, tokens=self.outbox.tokens(now_ns),
            keys_waiting=tuple(each.note.key for each in waiting), is_quiet=quiet is not None and quiet.holds(now_ns),
        )  # fmt: skip

    def put(self, note: Note) -> bool:
        """Give it a note to carry; return whether the channel takes such."""
        is_wanted = self.outbox.put(note, self._clock())
        if is_wanted:
            self._bell.set()
        return is_wanted

    def hurry(self) -> None:
        """Let nothing wait for company any more: the house closes."""
        self.outbox.group_ns = 0
        self._bell.set()

    @property
    def is_leaving(self) -> bool:
        """Say whether something can still leave without waiting: it is under way, or due now."""
        is_quiet = self.quiet is not None and self.quiet.holds(self._clock())
        due_ns = self.outbox.due_ns(self._clock(), is_quiet=is_quiet)
        return self.outbox.is_under_way or due_ns == 0

    def looked(self, at_ns: int, words: str) -> None:
        """Hear that the house was looked at, and what a sign of life is to say."""
        self.last_look_ns, self._words = at_ns, words
        if self._is_beat_due(self._clock()):
            self._bell.set()

    async def run(self) -> None:
        """Carry until cancelled."""
        while True:
            self._bell.clear()
            if not await self.carry_due():
                await self._rest()

    async def carry_due(self) -> bool:
        """Carry one message if one is due; return whether it was."""
        now_ns = self._clock()
        batch = self.outbox.take(now_ns, is_quiet=self.quiet is not None and self.quiet.holds(now_ns))
        if batch is not None:
            await self._carry(batch)
            return True
        if self._is_beat_due(now_ns):
            self._next_beat_ns = now_ns + self.route.heartbeat_ns
            await self._beat(now_ns)
            return True
        return False

    async def _carry(self, batch: Batch) -> None:
        now_ns = self._clock()
        name = " ".join(f"{note.key} {note.state} {note.began_ns}" for note in batch.notes)
        identity = hashlib.sha256(name.encode()).hexdigest()[:24]
        message = Message(identity, "alert", self._house, now_ns, worst(batch.notes), batch.notes, batch.dropped)
        is_done = False
        try:
            await self.send(message)
            is_done = True
            self.outbox.sent()
        except ChannelFault as fault:
            is_done = True
            self.outbox.failed(self._clock(), int(fault.wait_s * SECOND_NS))
        finally:
            if not is_done:  # cancelled: nobody knows whether it arrived, so it is sent again
                self.outbox.failed(self._clock())
            self.changed()

    async def _beat(self, now_ns: int) -> None:
        message = Message(f"beat-{now_ns}", "heartbeat", self._house, now_ns, "info", words=self._words)
        try:
            await self.send(message)
        except ChannelFault:
            logger.debug("channel %s: no sign of life was sent", self.route.name)

    async def send(self, message: Message) -> str:
        """Send within the time limit; note how it went. Raises ChannelFault."""
        try:
            async with asyncio.timeout(self.route.timeout_s):
                said = await self.route.channel.send(message)
        except (TimeoutError, ChannelFault) as error:
            fault = error if isinstance(error, ChannelFault) else ChannelFault("no answer in time")
            self._note_fault(str(fault))
            raise fault from None
        if self._standing.trouble:
            logger.warning("channel %s of alerts works again", self.route.name)
        standing, now_ns = self._standing, self._clock()
        beat_ns = now_ns if message.kind == "heartbeat" else standing.beat_ns
        self._standing = msgspec.structs.replace(
            standing, sent=standing.sent + 1, trouble="", failing_since_ns=None, sent_ns=now_ns, beat_ns=beat_ns
        )
        return said

    def _note_fault(self, words: str) -> None:
        if not self._standing.trouble:
            logger.warning("channel %s of alerts fails: %s", self.route.name, words)
        since_ns, now_ns = self._standing.failing_since_ns, self._clock()
        self._standing = msgspec.structs.replace(
            self._standing, failed=self._standing.failed + 1, trouble=words, failed_ns=now_ns, fault_last=words,
            failing_since_ns=now_ns if since_ns is None else since_ns,
        )  # fmt: skip

    def _is_beat_due(self, now_ns: int) -> bool:
        beat_ns = self.route.heartbeat_ns
        return bool(beat_ns) and now_ns >= self._next_beat_ns and 0 < self.last_look_ns > now_ns - beat_ns

    async def _rest(self) -> None:
        """Wait for a note, or for what waits to become due."""
        now_ns = self._clock()
        due_ns = self.outbox.due_ns(now_ns, is_quiet=self.quiet is not None and self.quiet.holds(now_ns))
        wait_s = LOOK_S_MAX if due_ns is None else min(LOOK_S_MAX, due_ns / SECOND_NS)
        try:
            async with asyncio.timeout(wait_s):
                await self._bell.wait()
        except TimeoutError:
            return
