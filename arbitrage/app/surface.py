"""The operator's surface as one supervised part of the daemon. Never holds trading, and never stops it, whatever fails in here.

What fails is logged, counted and begun again after a pause; a port that is taken is said, and the daemon trades on without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from arbitrage.app.clock import wall_ns
from arbitrage.app.configuring import Configuring
from arbitrage.app.housekeeping import Housekeeping
from arbitrage.app.operator import Operator
from arbitrage.app.running import Running
from arbitrage.app.supervisor import Supervisor
from arbitrage.app.surface_commands import RunningCommands
from arbitrage.model.effects import Report
from arbitrage.model.facts import Fact
from arbitrage.ops.bank_rates import BankRates
from arbitrage.ops.problems import ConfigError
from arbitrage.store.audit import AuditLog
from arbitrage.store.ledger_reads import LedgerReads
from arbitrage.store.people import PeopleStore
from arbitrage.store.reads import Reads
from arbitrage.web.access.reception import Reception
from arbitrage.web.access.tokens import token_key
from arbitrage.web.api.happenings import happening_of
from arbitrage.web.api.publisher import Publisher
from arbitrage.web.application import build
from arbitrage.web.counts import Traffic
from arbitrage.web.events import Events
from arbitrage.web.faults import Faults
from arbitrage.web.ports import Ports
from arbitrage.web.screen.dashboard import Dashboard
from arbitrage.web.server import WebServer, WebUnavailable
from arbitrage.web.table import endpoints

logger = logging.getLogger("arbitrage.web")
AGAIN_SECONDS = 5.0
"""What failed is begun again after so long."""
AUDIT_DRAIN_SECONDS = 0.2
"""What a stop gives the audit log to reach PostgreSQL; what remains stays on disk for the next start."""


class Surface:
    """One daemon's surface: made before the daemon runs, run as one of its tasks, closed before its stores."""

    def __init__(
        self, running: Running, operator: Operator, housekeeping: Housekeeping, configuring: Configuring, supervisor: Supervisor
    ) -> None:
        """Put the parts together. Raises ConfigError, OSError and ValueError; the caller goes on without."""
        settings, stores = running.settings.web, running.stores
        self._running = running
        self.faults, self.traffic = Faults(), Traffic()
        self._commands = RunningCommands(running, operator, housekeeping, configuring, supervisor)
        self._views = self._commands.views
        self.audit = AuditLog(stores.postgres_endpoint, stores.scope, stores.data_dir)
        self._reads = Reads(stores.postgres_endpoint, stores.scope)
        self._ledger = LedgerReads(stores.postgres_endpoint, stores.scope)
        self.events = Events(
            running.epoch, kept_max=settings.stream_events_kept, followers_max=settings.streams_max,
            queue_max=settings.stream_queue_max,
        )  # fmt: skip
        store = PeopleStore(stores.postgres_endpoint, wall_ns)
        self._reception = Reception(store, token_key(stores.data_dir), settings, running.clock)
        self._banks = BankRates(settings.bank_rates, running.clock)
        ports = Ports(
            views=self._views, commands=self._commands, records=self._reads, ledger=self._ledger, audit=self.audit,
            events=self.events, traffic=self.traffic, still_counts=self._reception.guard.still_counts,
            bank_rates=self._banks.known,
            access=self._reception.access,
        )  # fmt: skip
        self._dashboard = Dashboard(ports)
        rows = endpoints(ports, self._dashboard.endpoints())
        self.application = build(ports, settings, self._reception.around, rows, faults=self.faults)
        ports.counts = self.application.counts
        ports.faults = self.faults
        self._publisher = Publisher(ports)
        self._server = WebServer(settings, self.application, self.traffic, self.faults)
        self._set_up_path = ""
        if running.recorder is not None:
            running.recorder.listeners.append(self._hear)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, work in (
                ("server", lambda: self._server.serve(self._opened)),
                ("audit", self.audit.run),
                ("people", lambda: self._reception.run(self._announce)),
                ("publisher", self._publisher.run),
                ("dashboard", self._dashboard.run),
                *([("bank rates", self._banks.run)] if self._banks.known() else []),
            ):
                group.create_task(self._kept_up(name, work), name=f"web {name}")

    def rest(self) -> None:
        """Let those who follow events know that it ends."""
        self.events.close()

    async def close(self) -> None:
        """Write what waits, within its time, and let everything go. Cancel `run` before."""
        self._running.web_url = ""
        with self.faults.contained("close"):
            await self.audit.drain(AUDIT_DRAIN_SECONDS)
            await self._reads.close()
            await self._ledger.close()
            await self._reception.close()

    async def _kept_up(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do work for ever; what fails is counted and begun again."""
        said = ""
        while True:
            with self.faults.contained(name):
                try:
                    await work()
                except (WebUnavailable, OSError) as refusal:  # the world's doing, such as no descriptor left: no trace is owed
                    self.faults.count("unavailable")
                    if str(refusal) != said:
                        said = str(refusal)
                        logger.warning("no surface for operators: %s; trading goes on without it", refusal)
            self._running.web_url = "" if name == "server" else self._running.web_url
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # what fails while it is being ended must not swallow the end
                raise asyncio.CancelledError
            await asyncio.sleep(AGAIN_SECONDS)

    def _opened(self) -> None:
        self._running.web_url = self._server.url
        logger.info("the surface for operators: %s", self._server.url)
        self._say_set_up()

    def _announce(self, path: str) -> None:
        self._set_up_path = path
        self._say_set_up()

    def _say_set_up(self) -> None:
        """Print the set-up link once both its parts are known: on the terminal or in the journal, and nowhere else."""
        running = self._running
        running.set_up_link = f"{running.web_url}{self._set_up_path}" if self._set_up_path and running.web_url else ""
        if running.set_up_link:
            running.logs.confide(f"nobody may sign in yet: make the first admin, within an hour, at {running.set_up_link}")

    def _hear(self, what: Fact | Report) -> None:
        """Take in what happened, from inside the door: nothing may come out of here."""
        with self.faults.contained("hearing"):
            if isinstance(what, Report):
                self._publisher.report(what)
                return
            self._views.hear(what)
            told = happening_of(what, self._running.settings.strategy.reporting_asset)
            if told is not None:
                self._publisher.happened(told)


def surface_of(
    running: Running, operator: Operator, housekeeping: Housekeeping, configuring: Configuring, supervisor: Supervisor
) -> Surface | None:
    """Make the surface, or say why there is none."""
    if not running.settings.web.enabled:
        return None
    try:
        return Surface(running, operator, housekeeping, configuring, supervisor)
    except (ConfigError, OSError, ValueError) as refusal:
        logger.warning("no surface for operators: %s; trading goes on without it", refusal)
        return None
