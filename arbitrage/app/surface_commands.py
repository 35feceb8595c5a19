"""What the surface may have done, through the operator's door or the daemon's own parts. Decides nobody's right."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from arbitrage.app.clock import wall_ns
from arbitrage.app.configuring import Configuring
from arbitrage.app.control_words import Answer, Ask
from arbitrage.app.drill_runs import DrillRuns, own_environment
from arbitrage.app.exercise import ExerciseFailed, exercise
from arbitrage.app.housekeeping import Housekeeping
from arbitrage.app.kill_proof import KillProof
from arbitrage.app.operator import Operator
from arbitrage.app.running import Running
from arbitrage.app.supervisor import Supervisor
from arbitrage.app.surface_views import RunningViews
from arbitrage.model.events import DifferenceFound
from arbitrage.ops.config import Reload, flat_of, needs_restart
from arbitrage.ops.overrides import Override, Overrides
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.schema import is_secret
from arbitrage.web.api.drills import KILL_EXERCISE
from arbitrage.web.callers import Caller
from arbitrage.web.ports import BackupRun, Done, DrillRun

logger = logging.getLogger("arbitrage.web")
BACKUP_SECONDS_MAX = 3_600.0
BACKUP_TEXT_MAX = 2_000
NICE = ("nice", "-n", "19")
"""A backup's compression gives way to trading."""


class RunningCommands:
    """One daemon's commands."""

    def __init__(
        self, running: Running, operator: Operator, housekeeping: Housekeeping, configuring: Configuring, supervisor: Supervisor
    ) -> None:
        self._running = running
        self._operator = operator
        self._housekeeping = housekeeping
        self._configuring = configuring
        self._supervisor = supervisor
        self.views = RunningViews(running, operator)
        self._backup = BackupRun("never", 0, 0, "")
        self._is_exercising = False
        self._drills = DrillRuns(running, supervisor, self.views.standing)

    def kill(self, caller: Caller, reason: str) -> Done:
        """Set the kill switch."""
        return self._done(self._operator.kill(caller.actor, reason or "no reason given"))

    def release(self, caller: Caller, reason: str) -> Done:
        """Release the kill switch."""
        return self._heard(Ask("release", reason), caller)

    def pause(self, caller: Caller, reason: str) -> Done:
        """Enter nothing new."""
        return self._heard(Ask("pause", reason), caller)

    def resume(self, caller: Caller, reason: str) -> Done:
        """End a pause."""
        return self._heard(Ask("resume", reason), caller)

    def accept(self, caller: Caller, name: str, reason: str) -> Done:
        """Accept one difference, or all."""
        return self._heard(Ask("accept", reason, name), caller)

    def accept_instruments(self, caller: Caller, reason: str) -> Done:
        """Accept changed rules of markets."""
        return self._heard(Ask("accept_instruments", reason), caller)

    async def snapshot(self, caller: Caller) -> Done:
        """Save a snapshot now."""
        logger.info("snapshot asked for by %s", caller.actor)
        saved = self._housekeeping.save_snapshot_now(f"asked for by {caller.actor}")
        text = f"snapshot saved: {saved}" if saved else "snapshot not saved: the log says why"
        return Done(bool(saved), text, self.views.standing())

    async def backup(self, caller: Caller) -> Done:
        """Begin a backup in a process of its own; one at a time."""
        if self._backup.state == "running":
            return Done(False, "a backup is being made", self.views.standing())
        self._backup = BackupRun("running", wall_ns(), 0, "")
        logger.info("backup begun by %s", caller.actor)
        self._supervisor.spawn("web backup", self._make_backup())
        return Done(True, "the backup has begun; GET /api/v1/backup says how it goes", self.views.standing())

    def backup_run(self) -> BackupRun:
        """Return how the last backup that was begun here goes, or went."""
        return self._backup

    async def exercise_kill(self, caller: Caller) -> Done:
        """Prove the kill switch on paper, now: it touches neither engine nor venues."""
        if self._is_exercising:
            return Done(False, "it is being exercised", self.views.standing())
        self._is_exercising = True
        running = self._running
        try:
            text = await asyncio.to_thread(exercise, running.settings.execution, running.clock())
        except ExerciseFailed as failure:
            difference = f"the kill switch failed its exercise: {failure}"
            running.door.feed([DifferenceFound(running.clock(), difference)])
            return Done(False, difference, self.views.standing())
        finally:
            self._is_exercising = False
        running.kill_proofs.keep(KillProof(running.clock(), "exercise", text))
        logger.info("kill switch proven on paper, asked for by %s: %s", caller.actor, text)
        self.views.forget()
        return Done(True, text, self.views.standing())

    def drill_runs(self) -> Mapping[str, DrillRun]:
        """Return how each drill goes, or last went; the kill switch's exercise by its last proof, whoever asked for it."""
        proof = self._running.kill_proofs.last
        if proof is None:
            return self._drills.runs
        run = DrillRun("passed", 0, proof.at_ns, "", f"{proof.how}: {proof.text}", proven_ns=proof.at_ns)
        return {**self._drills.runs, KILL_EXERCISE: run}

    def drill_refusal(self) -> str:
        """Say why none can be begun now."""
        return self._drills.refusal()

    async def begin_drill(self, caller: Caller, name: str) -> Done:
        """Begin a drill of the catalog in a process of its own."""
        is_begun, text = self._drills.begin(caller, name)
        return Done(is_begun, text, self.views.standing())

    async def try_settings(self, values: Mapping[str, Any]) -> Reload | tuple[str, ...]:
        """Say what setting these keys would change, or every problem; changes nothing."""
        try:
            _, difference = await self._configuring.tried(self._setting(values, "nobody", ""))
        except ConfigError as error:
            return tuple(str(problem) for problem in error.problems)
        return difference

    async def put_settings(self, caller: Caller, values: Mapping[str, Any], reason: str) -> Reload | tuple[str, ...]:
        """Set keys over the files, all or none."""
        return await self._override(self._setting(values, caller.name or caller.actor, reason), caller)

    async def reset_settings(self, caller: Caller, keys: tuple[str, ...] | None) -> Reload | tuple[str, ...]:
        """Take keys back to what the files say; None resets all."""

        def change(overrides: Overrides) -> Overrides:
            return {key: override for key, override in overrides.items() if keys is not None and key not in keys}

        return await self._override(change, caller)

    async def roll_back(self, caller: Caller, body: Mapping[str, Any], reason: str) -> Reload | tuple[str, ...]:
        """Go back to the settings of an earlier configuration, as far as a running process can."""
        try:
            bare, _ = await self._configuring.tried(lambda overrides: {})
        except ConfigError as error:
            return tuple(str(problem) for problem in error.problems)
        wanted, files = flat_of(body), flat_of(msgspec.to_builtins(bare.settings))
        keys = [key for key in files if not needs_restart(key) and not is_secret(tuple(key.split(".")))]
        values = {key: wanted[key] for key in keys if key in wanted and wanted[key] != files[key]}
        setting = self._setting(values, caller.name or caller.actor, reason)
        return await self._override(lambda overrides: setting({}), caller)

    async def _override(self, change: Callable[[Overrides], Overrides], caller: Caller) -> Reload | tuple[str, ...]:
        try:
            return await self._configuring.override(change, caller.actor)
        except ConfigError as error:
            return tuple(str(problem) for problem in error.problems)
        except OSError as error:
            return (f"the overrides cannot be written: {error.strerror}",)
        finally:
            self.views.forget()

    def _setting(self, values: Mapping[str, Any], actor: str, reason: str) -> Callable[[Overrides], Overrides]:
        now_ns = wall_ns()
        return lambda overrides: {**overrides, **{key: Override(value, actor, now_ns, reason) for key, value in values.items()}}

    def _heard(self, ask: Ask, caller: Caller) -> Done:
        return self._done(self._operator.hear(ask, caller.actor))

    def _done(self, answer: Answer) -> Done:
        self.views.forget()
        return Done(answer.done, answer.text, self.views.standing())

    async def _make_backup(self) -> None:
        """Run `arbitrage backup` on this house, niced, and keep what it said."""
        began_ns = self._backup.began_ns
        environment = {**os.environ, **own_environment(self._running)}
        command = (*NICE, sys.executable, "-m", "arbitrage", "backup", "--json")
        state, text = "failed", ""
        process: asyncio.subprocess.Process | None = None
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(BACKUP_SECONDS_MAX):
                out, err = await process.communicate()
            state = "made" if process.returncode == 0 else "failed"
            text = (out if state == "made" else err).decode("utf-8", "replace")[-BACKUP_TEXT_MAX:].strip()
        except TimeoutError:
            text = f"no end within {BACKUP_SECONDS_MAX:.0f} s"
        except OSError as error:
            text = f"cannot be started: {error.strerror}"
        finally:
            if process is not None and process.returncode is None:
                process.kill()
            self._backup = BackupRun(state, began_ns, wall_ns(), text)
        logger.log(logging.INFO if state == "made" else logging.ERROR, "backup %s: %s", state, text)
