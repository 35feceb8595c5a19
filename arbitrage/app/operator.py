"""Turns an operator's word, from the socket, a signal or the file `KILL`, into a command for the engine. Decides nothing else.

The kill switch is a fact in the journal and a file in the data folder: either keeps it on, and only a release takes both away.
"""

from __future__ import annotations

import logging
import os

from arbitrage.app.control_words import Answer, Ask, one_line
from arbitrage.app.kill_file import KillFile
from arbitrage.app.running import Running
from arbitrage.model.events import Command, CommandKind
from arbitrage.model.money import format_e8
from arbitrage.ops.standing import Standing, VenueStanding

logger = logging.getLogger("arbitrage.daemon")
NO_REASON = "no reason given"


class Operator:
    """One daemon's ear for people."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._file = KillFile(running.stores.data_dir)
        self._is_file_heeded = False

    def hear(self, ask: Ask, actor: str) -> Answer:
        """Carry out one question from the socket."""
        if ask.word == "status":
            return Answer(done=True, text=self._sentence(), standing=self.standing())
        reason = one_line(ask.reason) or NO_REASON
        match ask.word:
            case "kill":
                return self.kill(actor, reason)
            case "release":
                return self._release(actor, reason)
            case "pause":
                return self._command(CommandKind.PAUSE, actor, reason)
            case "resume":
                return self._command(CommandKind.RESUME, actor, reason)
            case "accept":
                return self._accept(ask.name, actor, reason)
            case "accept_instruments":
                return self._command(CommandKind.ACCEPT_INSTRUMENTS, actor, reason)

    def kill(self, actor: str, reason: str) -> Answer:
        """Set the kill switch. First the engine, then the file: nothing that touches a disk or a database comes before."""
        try:
            return self._command(CommandKind.KILL, actor, reason)
        finally:
            self._is_file_heeded = True
            try:
                self._file.write(f"{actor}: {reason}")
            except OSError as error:
                logger.error("%s not written: %s; the journal alone keeps the kill switch on", self._file.path, error)

    def look(self) -> None:
        """Heed the file `KILL`, once for each time it appears."""
        is_there = self._file.is_there
        if is_there and not self._is_file_heeded and not self.killed:
            self._command(CommandKind.KILL, f"file {self._file.path.name}", self._file.reason())
        self._is_file_heeded = is_there

    @property
    def killed(self) -> str:
        """Why the kill switch is on; empty when it is off."""
        return self._running.engine.guard.memory.kill_reason

    def standing(self) -> Standing:
        """Return how the daemon stands."""
        running = self._running
        view, settings, engine = running.view(), running.settings, running.engine
        proof = running.kill_proofs.last
        venues = []
        for health in view.venues:
            markets = [market for market in view.markets if market.venue == health.venue]
            usable = sum(market.doubt is None for market in markets)
            account = running.account_standing(health.venue)
            venues.append(VenueStanding(health.venue, health.is_connected, len(markets), usable, account))
        return Standing(
            pid=os.getpid(),
            mode=settings.mode,
            session=settings.session_name,
            epoch=running.epoch,
            armed=view.is_armed,
            not_armed_because=view.not_armed_because,
            killed=self.killed,
            paused=engine.guard.memory.pause_reason,
            differences=running.differences(),
            open_plans=view.open_plans,
            open_orders=len(engine.desk.unfinished()),
            realised=format_e8(view.realised_e8),
            reporting_asset=view.reporting_asset,
            venues=tuple(venues),
            kill_last_proven_ns=proof.at_ns if proof is not None else None,
            kill_last_proven_how=proof.how if proof is not None else "",
            shadow=dict(running.shadow),
            at_ns=view.at_ns,
            started_at_ns=running.started_at_ns,
        )

    def _release(self, actor: str, reason: str) -> Answer:
        if not self.killed and not self._file.is_there:
            return Answer(done=False, text="the kill switch is not on")
        if self._running.door.is_closed:
            return Answer(done=False, text="not released: the daemon is stopping; release it after its next start")
        try:
            self._file.remove()
        except OSError as error:
            return Answer(done=False, text=f"not released: {self._file.path} cannot be removed ({error.strerror})")
        self._is_file_heeded = False
        return self._command(CommandKind.RELEASE, actor, reason)

    def _accept(self, name: str, actor: str, reason: str) -> Answer:
        known = self._running.differences()
        if not known:
            return Answer(done=False, text="there is no difference to accept")
        if name and name not in known:
            return Answer(done=False, text=f"no difference is named {name}; there are: {', '.join(known)}")
        return self._command(CommandKind.ACCEPT_DIFFERENCES, actor, reason, name)

    def _command(self, kind: CommandKind, actor: str, reason: str, name: str = "") -> Answer:
        running = self._running
        if running.door.is_closed:
            return Answer(done=False, text="the daemon is stopping; a kill now holds from its next start on")
        running.door.feed([Command(running.clock(), kind, one_line(actor), reason, name)])
        return Answer(done=True, text=f"{kind.value.replace('_', ' ')}: done; {self._sentence()}")

    def _sentence(self) -> str:
        reasons = self._running.engine.not_armed_because()
        return "armed" if not reasons else f"not armed because {'; '.join(reasons)}"
