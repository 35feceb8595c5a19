"""Work of a daemon in a world without an event loop: generators that yield what they wait for. Knows no venue.

A step `value = yield wish` hands out a function that will call back once with the value; `yield from` joins such work. One life
of the process owns all of it: when that life ends, nothing of it goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, TypeVar

from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.wire import Wire
from arbitrage.sim.world import World
from arbitrage.venues.wiring import VenueEvent

T = TypeVar("T")
Wish = Callable[[Callable[[Any], None]], None]
Steps = Generator[Wish, Any, T]
MS_NS, S_NS = 1_000_000, 1_000_000_000
TIMEOUT_NS = 3 * S_NS


class Crashed(Exception):
    """The process is gone in the middle of what it did."""


class Life:
    """One process from its start to its end, with its own engine clock. Everything that it does enters by `guarded`."""

    def __init__(self, world: World, wall_ns: int, on_crash: Callable[[], None], after: Callable[[], None]) -> None:
        self.is_over = False
        self._world = world
        self._offset_ns = wall_ns
        self._on_crash = on_crash
        self._after = after

    def now_ns(self) -> int:
        """Return engine time: the wall's at the start, and true progress since."""
        return self._world.now_ns + self._offset_ns

    def not_before(self, at_ns: int) -> None:
        """Go on from a time that is still to come."""
        self._offset_ns += max(0, at_ns - self.now_ns())

    def soon(self, work: Callable[[], None]) -> None:
        self._world.at(self._world.now_ns, self.guarded(work))

    def at(self, at_ns: int, work: Callable[[], None]) -> None:
        self._world.at(at_ns - self._offset_ns, self.guarded(work))

    def after_ns(self, ns: int, work: Callable[[], None]) -> None:
        self._world.at(self._world.now_ns + ns, self.guarded(work))

    def guarded(self, work: Callable[..., None]) -> Callable[..., None]:
        """Return work that is done while this life lasts, and that may end it."""
        return partial(self._enter, work)

    def _enter(self, work: Callable[..., None], *values: Any) -> None:
        if self.is_over:
            return
        try:
            work(*values)
        except Crashed:
            self._on_crash()
            return
        self._after()


class Party:
    """Somebody in a daemon who talks to one venue."""

    def __init__(self, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random) -> None:
        self.life = life
        self.wire = wire
        self.sink = sink
        self.dice = dice

    def begin(self, steps: Steps[None]) -> None:
        """Start work; it goes on by itself."""
        self._go_on(steps, None)

    def _go_on(self, steps: Steps[None], value: object) -> None:
        try:
            wish = steps.send(value)
        except StopIteration:
            return
        wish(partial(self._go_on, steps))

    def pause(self, ns: int) -> Wish:
        """Wait."""
        return lambda heard: self.life.after_ns(ns, lambda: heard(None))

    def rest(self, request: Request, timeout_ns: int = TIMEOUT_NS) -> Wish:
        """Ask over REST; the answer, or None where none came in time or the connection broke."""

        def ask(heard: Callable[[Response | None], None]) -> None:
            once = _Once(heard)
            self.wire.ask(request, self.life.guarded(once), timeout_ns)
            self.life.after_ns(timeout_ns, lambda: once(None))

        return ask


class _Once:
    """Calls back the first time and never again."""

    __slots__ = ("_heard",)

    def __init__(self, heard: Callable[[Response | None], None]) -> None:
        self._heard: Callable[[Response | None], None] | None = heard

    def __call__(self, answer: Response | None) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            heard(answer)


def header(response: Response, name: str) -> str:
    """Return a header's value, whatever its case; empty when it is not there."""
    return next((value for key, value in response.headers if key.lower() == name.lower()), "")
