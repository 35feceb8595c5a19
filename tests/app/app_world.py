"""A door around a real engine for tests without servers: virtual time, and ports that note what reaches them, in order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "engine"))  # the engine's own tests keep `engine_world` there

from engine_world import MARKETS, World

from arbitrage.app.door import Door, JournalUnavailable
from arbitrage.app.kill_proof import KillProofs
from arbitrage.app.modes import VirtualTiming
from arbitrage.app.running import Running
from arbitrage.model.effects import Append, Effect, Judged, PlaceOrder, Report, VenueEffect
from arbitrage.model.episodes import Episode
from arbitrage.model.events import Event
from arbitrage.model.facts import Fact
from arbitrage.model.orders import Order
from arbitrage.model.settings import TradingSettings
from arbitrage.ops.config import Overlay, load
from arbitrage.ops.logs import Logs
from arbitrage.ops.metrics import Metrics
from arbitrage.store.rows import Scope
from arbitrage.store.stores import Extras, Stores

PROJECT = Path(__file__).parents[2]
Note = tuple[str, object]


class NotingJournal:
    """A journal in memory that can be made unavailable."""

    def __init__(self, notes: list[Note]) -> None:
        self.is_available = True
        self.facts: list[Fact] = []
        self.refused = 0
        self._notes = notes

    def append(self, appends: Sequence[Append]) -> int:
        if not self.is_available:
            self.refused += 1
            raise JournalUnavailable("disk full")
        self.facts += [each.fact for each in appends]
        self._notes += [("durable", each.fact) for each in appends]
        return len(self.facts)


class NotingRecorder:
    """Notes what is kept beside the journal."""

    def __init__(self, notes: list[Note]) -> None:
        self._notes = notes

    def facts(self, facts: Sequence[Fact]) -> None:
        self._notes += [("kept", fact) for fact in facts]

    def judged(self, judged: Judged) -> None:
        self._notes.append(("judged", judged))

    def episode(self, episode: Episode) -> None:
        self._notes.append(("episode", episode))

    def report(self, report: Report) -> None:
        self._notes.append(("report", report.code))


class NotingTransport:
    """A venue that takes orders and never answers by itself."""

    def __init__(self, notes: list[Note]) -> None:
        self._notes = notes

    def submit(self, effect: VenueEffect) -> None:
        self._notes.append(("sent", effect))


class DoorWorld(World):
    """The engine's small house, fed through the door."""

    def __init__(self, trading: TradingSettings | None = None) -> None:
        super().__init__(trading, is_store_reported=False)
        self.notes: list[Note] = []
        self.timing = VirtualTiming()
        self.journal = NotingJournal(self.notes)
        self.door = Door(self.engine, self.timing, self.journal, NotingRecorder(self.notes))
        self.door.connect(NotingTransport(self.notes), lambda market: self.notes.append(("resync", market)))
        self.report_store()

    def feed(self, *events: Event) -> list[Effect]:
        """Feed the door as one frame, then let everything happen that is due."""
        self.timing.run_until(self.now_ns)
        self.door.feed(events)
        self.timing.run_until(self.now_ns)
        return []

    def sent(self) -> list[Order]:
        """Return the orders that reached the venue."""
        return [note.order for kind, note in self.notes if kind == "sent" and isinstance(note, PlaceOrder)]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.notes]

    def told(self, kind: str) -> list[object]:
        """Return what was noted of one kind."""
        return [note for name, note in self.notes if name == kind]


def trading_door(trading: TradingSettings | None = None) -> DoorWorld:
    """Return a world whose books pay and whose first plan was opened through the door."""
    world = DoorWorld(trading)
    world.connect()
    world.premium_books()
    return world


def running(world: DoorWorld, folder: Path, **environ: str) -> Running:
    """Put a running daemon's parts together; its stores are not opened and its logs not started."""
    symbols = {name: {"symbols": [symbol for venue, symbol in MARKETS if venue == name]} for name, _ in MARKETS}
    small = Overlay("small house", {"venues": symbols})
    loaded = load(PROJECT / "config", {"ARBITRAGE__STORE__DATA_DIR": str(folder), **environ}, small)
    assert loaded.settings.market_symbols == MARKETS
    stores = Stores(loaded.settings.store, Scope("test", loaded.settings.session_name, MARKETS), lambda: world.now_ns, Extras())
    logs = Logs(loaded.settings.log, "test", redactor=loaded.redactor, stream=None)
    parts = {"logs": logs, "stores": stores, "door": world.door, "metrics": Metrics()}
    return Running(loaded, lambda: world.now_ns, **parts, kill_proofs=KillProofs(folder))
