"""Feeds events through the engine's one door and carries its effects out in order. Decides nothing and computes no money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from arbitrage.app.stall import StallGuard
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import (
    Append,
    CancelOrder,
    Effect,
    EpisodeNoted,
    Judged,
    PlaceOrder,
    QueryOrder,
    ReadAccount,
    Report,
    Resync,
    Severity,
    VenueEffect,
)
from arbitrage.model.episodes import Episode
from arbitrage.model.events import Decide, Event, OrderEnded
from arbitrage.model.facts import Fact, PlanOpened
from arbitrage.model.orders import OrderState


class JournalUnavailable(Exception):
    """The journal could not make a fact durable (disk full, bound reached)."""


class Journal(Protocol):
    """Where facts become durable before anything that depends on them is sent."""

    def append(self, appends: Sequence[Append]) -> int:
        """Return the last sequence number written. Raises JournalUnavailable."""
        ...


class Recorder(Protocol):
    """Where everything goes that is kept but not needed to restore."""

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def judged(self, judged: Judged) -> None: ...

    def episode(self, episode: Episode) -> None: ...

    def report(self, report: Report) -> None: ...


class Timing(Protocol):
    """Time as a mode has it: the real loop's, or a replay's own."""

    def now_ns(self) -> int: ...

    def soon(self, work: Callable[[], None]) -> None:
        """Run `work` once the transport has been drained."""
        ...

    def at(self, at_ns: int, work: Callable[[], None]) -> None: ...


class Transport(Protocol):
    """Where orders go: a paper venue or real ones."""

    def submit(self, effect: VenueEffect) -> None: ...


class Door:
    """One engine, one journal, one transport. Everything that happens goes through `feed`."""

    def __init__(
        self, engine: Engine, timing: Timing, journal: Journal, recorder: Recorder, *, stall: StallGuard | None = None
    ) -> None:
        """Make a door. With a `stall` guard it decides nothing on what waited while the loop stood still: real time only."""
        self.engine = engine
        self.stall = stall
        self.unwritten: list[Append] = []
        """Facts that the journal refused; they wait here and are retried before anything newer."""
        self._timing = timing
        self._journal = journal
        self._recorder = recorder
        self._transport: Transport | None = None
        self._resync: Callable[[int], None] | None = None
        self.decided: Callable[[int, int], None] | None = None
        """Told after each decision what time it is and since when its event had waited (ns)."""
        self._is_decision_due = False
        self._since_ns = 0
        """When the oldest event arrived that the decision due is about."""
        self._is_inside = False
        """An event is being carried out. What fails on the way leaves it so: half an event is followed by no other."""
        self._is_resting = False
        self._is_closed = False
        self.broken: AssertionError | None = None
        """What failed half way: what other tasks fail with afterwards is only its echo."""

    def connect(self, transport: Transport, resync: Callable[[int], None]) -> None:
        """Name where orders and snapshot requests go."""
        self._transport, self._resync = transport, resync

    @property
    def is_whole(self) -> bool:
        """Say whether the journal holds every fact of the engine's state: only then may a snapshot of it be kept."""
        return not self.unwritten and not self._is_inside

    @property
    def is_inside(self) -> bool:
        """Say whether an event is being carried out now, so that no other may come in."""
        return self._is_inside

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def rest(self) -> None:
        """Decide nothing any more; what is open is still finished."""
        self._is_resting = True

    def close(self) -> None:
        """Let nothing in any more; what was looked at until now is noted as it stands."""
        if not self._is_closed and not self._is_inside:
            for note in self.engine.episodes.finish(self._timing.now_ns()):
                self._recorder.episode(note.episode)
        self._is_closed = True

    def feed(self, events: Sequence[Event]) -> None:
        """Apply everything now; decide once, when the transport is drained. What fails here is Broken: no event follows."""
        if self._is_closed:
            return
        assert not self._is_inside, "an event that failed half way is followed by no other"
        self._is_inside = True
        step = self.engine.step
        try:
            for event in events:
                effects = step(event)
                if effects:
                    self._carry_out(effects)
        except AssertionError as broken:
            self.broken = broken
            raise
        self._is_inside = False
        if not self._is_decision_due:
            self._is_decision_due = True
            self._since_ns = events[0].at_ns if events else self._timing.now_ns()
            self._timing.soon(self._decide)

    def retry_journal(self) -> bool:
        """Write waiting facts, if any; return whether the journal holds everything."""
        if self.unwritten:
            self._make_durable([])
        return not self.unwritten

    def _decide(self) -> None:
        self._is_decision_due = False
        if self._is_resting or self._is_closed:
            return
        assert not self._is_inside, "an event that failed half way is followed by no decision"
        now_ns = self._timing.now_ns()
        if self.stall is not None and self._is_held(self.stall, now_ns):
            return
        self._is_inside = True
        try:
            effects = self.engine.step(Decide(now_ns))
            if effects:
                self._carry_out(effects)
        except AssertionError as broken:
            self.broken = broken
            raise
        self._is_inside = False
        if self.decided is not None:
            self.decided(self._timing.now_ns(), self._since_ns)

    def _is_held(self, stall: StallGuard, now_ns: int) -> bool:
        """Decide nothing on books that may be as old as a stall; markets that changed stay noted for the next decision."""
        if stall.has_stalled(now_ns):
            text = f"the loop stood still for {stall.stalled_ms} ms: what it missed is read and not traded on"
            self._recorder.report(Report(Severity.WARNING, "loop_stalled", text))
        return stall.holds(now_ns)

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        appends = [effect for effect in effects if type(effect) is Append]
        is_durable = self._make_durable(appends) if appends else True
        is_entry = any(type(each.fact) is PlanOpened for each in appends)
        for effect in effects:
            match effect:
                case PlaceOrder() if is_entry and not is_durable:
                    self._refuse_entry(effect)
                case PlaceOrder() | CancelOrder() | QueryOrder() | ReadAccount():
                    assert self._transport is not None, "an order needs a transport"
                    self._transport.submit(effect)
                case Resync():
                    assert self._resync is not None, "a snapshot request needs a session"
                    self._resync(effect.market)
                case Judged():
                    self._recorder.judged(effect)
                case EpisodeNoted():
                    self._recorder.episode(effect.episode)
                case Report():
                    self._recorder.report(effect)
                case Append():
                    pass

    def _make_durable(self, appends: list[Append]) -> bool:
        waiting = [*self.unwritten, *appends]
        try:
            self._journal.append(waiting)
        except JournalUnavailable as refusal:
            if not self.unwritten:
                self._recorder.report(Report(Severity.ERROR, "journal_unavailable", str(refusal)))
            self.unwritten = waiting
            return False
        self.unwritten = []
        self._recorder.facts([each.fact for each in waiting])
        return True

    def _refuse_entry(self, effect: PlaceOrder) -> None:
        """Never send an entry whose intent is not durable: to the engine it ends as if the venue had refused it."""
        client_order_id, reason = effect.order.client_order_id, "journal unavailable: not sent"

        def end() -> None:
            self.feed([OrderEnded(self._timing.now_ns(), client_order_id, OrderState.REJECTED, 0, reason)])

        self._timing.soon(end)
