"""A daemon whose engine breaks an invariant some seconds after it armed: `alert_broken_run.py run --config FOLDER`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arbitrage.app.starting import Orders, guarded, trade
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Effect
from arbitrage.model.events import Event, Wake
from arbitrage.ops.config import Loaded, load

WAKES_UNTIL_BROKEN = 80


class BreaksSoon(Engine):
    """Holds for some seconds."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._wakes = 0

    def step(self, event: Event) -> Sequence[Effect]:
        self._wakes += isinstance(event, Wake)
        assert self._wakes < WAKES_UNTIL_BROKEN, "broken on purpose"
        return super().step(event)


def read() -> Loaded:
    return load(Path(sys.argv[3]), os.environ)


async def work() -> int:
    status, _ = await trade(read(), Orders(reload=read, engine=BreaksSoon, is_told=True))
    return int(status)


if __name__ == "__main__":
    raise SystemExit(guarded(work))
