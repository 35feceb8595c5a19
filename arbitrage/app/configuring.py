"""Changes the configuration of the running daemon: reads it anew or sets single keys, whole or not at all. Knows no key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from arbitrage.app.housekeeping import Housekeeping
from arbitrage.app.notify import Notifier
from arbitrage.app.running import Running
from arbitrage.model.events import Reloaded
from arbitrage.ops.config import Loaded, Read, Reload, compare
from arbitrage.ops.overrides import Overrides, read_overrides, write_overrides
from arbitrage.ops.problems import ConfigError

logger = logging.getLogger("arbitrage.daemon")
Change = Callable[[Overrides], Overrides]


class Configuring:
    """One daemon's way to another configuration; one change at a time."""

    def __init__(self, running: Running, read: Read, notifier: Notifier, housekeeping: Housekeeping) -> None:
        self._running = running
        self._read = read
        self._notifier = notifier
        self._housekeeping = housekeeping
        self._turn = asyncio.Lock()

    async def reload(self) -> None:
        """Read everything again (SIGHUP)."""
        async with self._turn:
            self._notifier.reloading()
            try:
                fresh = await asyncio.to_thread(self._read)
                change = compare(self._running.loaded, fresh)
                if change.is_accepted:
                    self._take_over(fresh, "reload")
                logger.log(logging.INFO if change.is_accepted else logging.ERROR, "%s", change)
            except (ConfigError, ValueError) as refusal:
                logger.error("configuration refused: %s; the running one stays whole", refusal)
            self._notifier.ready(self._housekeeping.status_text())

    def overrides(self) -> dict[str, object]:
        """Return what is set now. Raises ConfigError."""
        return dict(read_overrides(self._running.stores.data_dir))

    async def tried(self, change: Change) -> tuple[Loaded, Reload]:
        """Say what a change of the overrides would come to; nothing is changed. Raises ConfigError."""
        overrides = change(read_overrides(self._running.stores.data_dir))
        fresh = await asyncio.to_thread(self._read, overrides)
        return fresh, compare(self._running.loaded, fresh)

    async def override(self, change: Change, actor: str) -> Reload:
        """Change the overrides, on disk and in the engine, when the whole that results is valid and can be taken over.

        Raises ConfigError, and OSError where the file cannot be written; the running configuration then stays whole.
        """
        async with self._turn:
            data_dir = self._running.stores.data_dir
            overrides = change(read_overrides(data_dir))
            fresh = await asyncio.to_thread(self._read, overrides)
            difference = compare(self._running.loaded, fresh)
            if difference.is_accepted:
                write_overrides(data_dir, overrides)
                self._take_over(fresh, actor)
                logger.warning("%s, by %s", difference, actor)
            return difference

    def _take_over(self, fresh: Loaded, actor: str) -> None:
        running = self._running
        running.door.feed([Reloaded(running.clock(), fresh.settings.trading, fresh.version)])
        running.loaded = fresh
        running.logs.set_level(fresh.settings.log.level)
        self._housekeeping.note_configuration(actor)
        self._housekeeping.save_snapshot_now(actor if actor == "reload" else "configuration changed")
