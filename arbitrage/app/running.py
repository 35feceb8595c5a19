"""What one running daemon consists of: its parts in one place, for those who look after it or show it. Does nothing itself."""

from __future__ import annotations

import asyncio
import dataclasses

from arbitrage.app.clock import Clock
from arbitrage.app.door import Door
from arbitrage.engine.engine import Engine
from arbitrage.engine.viewing import view_of
from arbitrage.engine.views import EngineView
from arbitrage.model.settings import Settings
from arbitrage.ops.config import Loaded
from arbitrage.ops.logs import Logs
from arbitrage.ops.metrics import Metrics
from arbitrage.store.stores import Stores


@dataclasses.dataclass
class Running:
    """A daemon's parts. Made once the stores are open and the engine is restored."""

    loaded: Loaded
    clock: Clock
    logs: Logs
    stores: Stores
    door: Door
    metrics: Metrics
    frames: int = 0
    is_ready: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    started_at_ns: int = dataclasses.field(init=False)
    realised_at_start_e8: int = dataclasses.field(init=False)
    """Profit of the session before this start, so that a run can tell its own."""

    def __post_init__(self) -> None:
        self.started_at_ns = self.clock()
        self.realised_at_start_e8 = self.view().realised_e8

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @property
    def engine(self) -> Engine:
        return self.door.engine

    def view(self) -> EngineView:
        """Return the engine's picture as of now."""
        return view_of(self.door.engine, self.clock())
