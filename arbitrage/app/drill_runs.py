"""Fire drills begun over the surface: `arbitrage drill NAME` in a process of its own, one at a time. Rehearses none itself.

A drill takes processors from whoever trades beside it: it runs at the lowest priority, within a time of its own, and is
refused, or ended, while orders of a live mode may be on their way. It leaves nothing behind, also when the daemon stops: it
is interrupted, cleans up, and what is left of its family after a moment is killed. Results outlive a restart in
`{data_dir}/drills.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable

import msgspec

from arbitrage.app.clock import wall_ns
from arbitrage.app.running import Running
from arbitrage.app.supervisor import Supervisor
from arbitrage.ops.config import find_config_dir
from arbitrage.ops.standing import Standing
from arbitrage.store.files import write_durably
from arbitrage.store.processes import kill_family
from arbitrage.web.api.drills import DRILLS
from arbitrage.web.callers import Caller
from arbitrage.web.ports import DrillRun

logger = logging.getLogger("arbitrage.web")
FILE_NAME = "drills.json"
RUN_SECONDS_MAX = 180.0
"""A drill's own limit is 55 s beside the starts of databases, exchanges and daemon; a busy machine gets this much."""
LOOK_SECONDS = 1.0
"""So often it is asked whether it may still go on."""
INTERRUPT_SECONDS_MAX = 1.5
"""What is left of it after so long is killed; a stop of the daemon waits no longer for it."""
READ_BYTES, OUTPUT_BYTES_MAX, WORDS_BYTES_MAX, TEXT_MAX, NOTES_MAX = 65_536, 1_000_000, 4_096, 2_000, 20
LOWEST_PRIORITY = 19
OURS_ALONE = ("MODE", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables that no drill is given: our mode, our keys, our line to systemd."""
BY_THE_SANDBOX = "at the daemon's own priority: the sandbox of the service does not let it be lowered"


class Said(msgspec.Struct, frozen=True):
    """The part of the command's JSON that is kept."""

    passed: bool
    reason: str
    shortened: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What came of one run."""

    state: str
    text: str
    notes: tuple[str, ...] = ()


class DrillRuns:
    """One daemon's drills."""

    def __init__(self, running: Running, supervisor: Supervisor, standing: Callable[[], Standing]) -> None:
        self._running = running
        self._supervisor = supervisor
        self._standing = standing
        self._path = running.stores.data_dir / FILE_NAME
        self.runs = self._read()
        self._under_way = ""

    def refusal(self) -> str:
        """Say why none may begin now, or go on; empty: one may."""
        if self._under_way:
            return f"{self._under_way} is running; one at a time"
        return self._forbidden()

    def begin(self, caller: Caller, name: str) -> tuple[bool, str]:
        """Begin a drill of the catalog; say whether, and why not."""
        assert name in dict(DRILLS), "whoever asks has looked it up"
        if refusal := self.refusal():
            return False, refusal
        self._under_way = name
        proven_ns = self.runs.get(name, DrillRun()).proven_ns
        self.runs[name] = DrillRun("running", wall_ns(), 0, caller.actor, proven_ns=proven_ns)
        logger.info("drill %s begun by %s", name, caller.actor)
        self._supervisor.spawn(f"drill {name}", self._drill(name))
        return True, f"{name} has begun; GET /api/v1/drills says how it goes"

    def _forbidden(self) -> str:
        """A live mode whose orders may be on their way shares its processors with no rehearsal."""
        standing = self._standing()
        if standing.mode == "live" and (standing.armed or standing.open_orders or standing.open_plans):
            return (
                "live trading is armed or has orders open, and a drill starts a second daemon, exchanges and databases on the "
                "same processors: pause, or run it at another machine"
            )
        return ""

    async def _drill(self, name: str) -> None:
        """Run it, keep what came of it, and leave nothing. Nothing comes out of here: a task that fails stops the house."""
        run, folder = self.runs[name], ""
        process: asyncio.subprocess.Process | None = None
        verdict = Verdict("not_run", "the daemon stopped")
        try:
            folder = await asyncio.to_thread(_make_folder)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "arbitrage", "drill", name, "--json", env=self._environment(folder),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
            beside = _lowered(process.pid)
            verdict = await self._verdict(process)
            verdict = msgspec.structs.replace(verdict, notes=(*verdict.notes, *beside)[:NOTES_MAX])
        except TimeoutError:  # before OSError: it is one
            verdict = Verdict("not_run", f"no end within {RUN_SECONDS_MAX:.0f} s")
        except OSError as error:
            verdict = Verdict("not_run", f"cannot be run here: {error}")
        finally:
            try:
                if process is not None:
                    await _end(process)
            finally:
                self._under_way = ""
                ended_ns, text = wall_ns(), verdict.text[:TEXT_MAX]
                proven_ns = ended_ns if verdict.state == "passed" else run.proven_ns
                self.runs[name] = DrillRun(
                    verdict.state, run.began_ns, ended_ns, run.actor, text, verdict.notes, proven_ns
                )
                await asyncio.to_thread(self._leave, folder)
        level = logging.INFO if verdict.state == "passed" else logging.WARNING
        logger.log(level, "drill %s: %s: %s", name, verdict.state, text)

    async def _verdict(self, process: asyncio.subprocess.Process) -> Verdict:
        """Wait for its end. Raises TimeoutError."""
        assert process.stdout is not None and process.stderr is not None, "pipes were asked for"
        async with asyncio.timeout(RUN_SECONDS_MAX):
            async with asyncio.TaskGroup() as group:
                out = group.create_task(_start_of(process.stdout), name="drill output")
                err = group.create_task(_end_of(process.stderr), name="drill progress")
                watch = group.create_task(self._watch(), name="drill watch")
                await asyncio.wait((out, watch), return_when=asyncio.FIRST_COMPLETED)
                if not out.done():
                    out.cancel()
                    err.cancel()
                    return Verdict("not_run", f"ended early: {watch.result()}")
                watch.cancel()
            await process.wait()
        try:
            said = msgspec.json.decode(out.result(), type=Said)
        except msgspec.MsgspecError:
            words = err.result().strip().splitlines()
            return Verdict("not_run", words[-1] if words else f"it ended with status {process.returncode}, without a word")
        return Verdict("passed" if said.passed else "failed", said.reason, said.shortened)

    async def _watch(self) -> str:
        """Return, as soon as it may not go on, why."""
        while True:
            if why := self._forbidden():
                return why
            await asyncio.sleep(LOOK_SECONDS)

    def _environment(self, folder: str) -> dict[str, str]:
        """Name the configuration in force, and a folder for all that it makes; nothing by which it could speak for us."""
        environ = {name: value for name, value in os.environ.items() if name not in OURS_ALONE}
        return {**environ, **own_environment(self._running), "TMPDIR": folder}

    def _leave(self, folder: str) -> None:
        """Remove what the drill made and write what is known; both are beside the loop."""
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            write_durably(self._path, msgspec.json.encode(self.runs))
        except OSError as error:
            logger.error("%s not written: %s", self._path, error)

    def _read(self) -> dict[str, DrillRun]:
        """Read what is known of drills that there are."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[str, DrillRun])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            logger.error("%s cannot be read (%s): no drill counts as proven", self._path, error)
            return {}
        return {name: run for name, run in found.items() if name in dict(DRILLS)}


def own_environment(running: Running) -> dict[str, str]:
    """Return the variables by which a command of ours reads the configuration of this very house."""
    settings = running.settings
    return {
        "ENV": settings.env, "ARBITRAGE_CONFIG_DIR": str(find_config_dir(os.environ).resolve()),
        "ARBITRAGE__STORE__DATA_DIR": str(running.stores.data_dir.resolve()), "ARBITRAGE__SESSION_NAME": settings.session_name,
    }  # fmt: skip


def _make_folder() -> str:
    """Make a folder that another system user can pass: as root, PostgreSQL runs as one."""
    folder = tempfile.mkdtemp(prefix="arbitrage-drills-")
    os.chmod(folder, 0o711)
    return folder


def _lowered(pid: int) -> tuple[str, ...]:
    """Give it the lowest priority, before it has children; say where that is not possible."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, LOWEST_PRIORITY)
    except ProcessLookupError:
        return ()
    except OSError:
        return (BY_THE_SANDBOX,)
    return ()


async def _start_of(stream: asyncio.StreamReader) -> bytes:
    """Read all of it and keep the beginning. A pipe that breaks has ended: nothing may come out of a drill."""
    kept = bytearray()
    with contextlib.suppress(OSError):
        while chunk := await stream.read(READ_BYTES):
            kept += chunk[: OUTPUT_BYTES_MAX - len(kept)]
    return bytes(kept)


async def _end_of(stream: asyncio.StreamReader) -> str:
    """Read all of it and keep the end, likewise."""
    kept = b""
    with contextlib.suppress(OSError):
        while chunk := await stream.read(READ_BYTES):
            kept = (kept + chunk)[-WORDS_BYTES_MAX:]
    return kept.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Interrupt it, so that it cleans up, and kill what is left of its family. Nothing where it has ended."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(INTERRUPT_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        kill_family(process.pid)
        await process.wait()
    except asyncio.CancelledError:
        kill_family(process.pid)
        raise
