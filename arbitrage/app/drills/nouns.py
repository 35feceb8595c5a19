"""What a drill is and what came of it: plain values. Runs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from arbitrage.app.drills.scene import Scene
from arbitrage.app.drills.words import Line, Risk


class Drill(msgspec.Struct, frozen=True):
    """One drill: what is done to the exchanges, and what must hold meanwhile and afterwards."""

    name: str
    story: str
    """One sentence for people."""
    act: Callable[[Scene], Awaitable[None]]
    hurried: tuple[str, ...] = ()
    """Periods of `venues.VENUE` that are shortened so that a minute is enough."""


class Result(msgspec.Struct, frozen=True):
    """What came of one drill."""

    name: str
    story: str
    passed: bool
    reason: str
    """Why it failed; what held when it passed."""
    seconds: float
    risk: Risk
    timeline: tuple[Line, ...]
    shortened: tuple[str, ...] = ()
    """Periods of the configuration that were shortened for the drill."""
