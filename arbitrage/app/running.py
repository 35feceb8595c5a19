"""What one running daemon consists of: its parts in one place, for those who look after it or show it. Does nothing itself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping

import msgspec

from arbitrage.app.clock import Clock
from arbitrage.app.door import Door
from arbitrage.app.keeping import StoreRecorder
from arbitrage.app.kill_proof import KillProofs
from arbitrage.app.modes import mode_of
from arbitrage.engine.engine import Engine
from arbitrage.engine.viewing import view_of
from arbitrage.engine.views import EngineView
from arbitrage.model.events import StoreReported
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import Settings
from arbitrage.ops.alerts.office import Office
from arbitrage.ops.config import Loaded
from arbitrage.ops.logs import Logs
from arbitrage.ops.metrics import Metrics
from arbitrage.store.lease import Lease
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
    kill_proofs: KillProofs
    """When the kill switch last proved itself, for real or in the daily exercise."""
    lease: Lease | None = None
    epoch: int = 0
    """Number of this start among all starts of the session; part of every order id."""
    office: Office | None = None
    """The alerts; None in a house that tells nobody."""
    shadow: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What the venues' test endpoints said, counted; empty outside shadow mode."""
    ahead_ns: int = 0
    """How far engine time goes ahead of the wall as it was at this start."""
    recorder: StoreRecorder | None = None
    """Where facts and reports can be listened to."""
    links_up: Counter[str] = dataclasses.field(default_factory=Counter)
    """How often a connection of a venue was made, the first times included."""
    web_url: str = ""
    """Where the surface is served; empty while it is not."""
    set_up_link: str = ""
    """By which the first admin is made, once; empty where there is one, and when it has expired."""
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

    def store_report(self) -> StoreReported:
        """Return the event that tells the engine how stores and lease stand; the lease counts only where orders are real."""
        report = self.stores.report()
        if self.lease is None or not mode_of(self.settings).is_real:
            return report
        fault = self.lease.trouble
        return msgspec.structs.replace(report, lease_fault=fault, is_silenced=bool(fault) and self.lease.is_shared)

    def differences(self) -> tuple[str, ...]:
        """Name everything that an operator can accept now."""
        return self.engine.differences()

    def account_standing(self, venue: Venue) -> str:
        """Say how the account at a venue stands; empty where the daemon has none."""
        return self.engine.account_standing(venue)

    def view(self) -> EngineView:
        """Return the engine's picture as of now."""
        return view_of(self.door.engine, self.clock())
