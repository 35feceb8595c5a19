"""What the daemon of a drill is made of: a test puts something broken in, to see the drill go red. Holds nothing else."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.app.connections import Connections
from arbitrage.engine.engine import Engine


class Parts(msgspec.Struct, frozen=True):
    """Engine and connections of a drill's daemon."""

    engine: type[Engine] = Engine
    prepare: Callable[[Connections], None] | None = None
    patience: float = 1.0
    """By how much a drill waits longer than it would: below 1 where a failure is expected."""
