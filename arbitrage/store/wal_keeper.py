"""Keeps the archive of the embedded PostgreSQL's log while the daemon runs. Never stops trading: every trouble is only told.

`pg_receivewal` streams the log into the data folder as it is written; from there each page goes, sealed, into the archive,
less than a second later. A file of the log is finished at least every `switch_ns`. What cannot be archived waits, up to named
limits: first as files here, then in PostgreSQL (`SLOT_BYTES_MAX`). Past both the line is cut off: a new backup begins another.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from arbitrage.store.dumps import DumpRefused, client_address, client_environment, client_program
from arbitrage.store.endpoints import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres
from arbitrage.store.files import make_private_folder
from arbitrage.store.manifests import BackupRefused, peek, whole_backups
from arbitrage.store.processes import spawn, stop_child
from arbitrage.store.vault import Keyring, VaultDamaged
from arbitrage.store.wal_archive import SLOT_PREFIX, Shipment, archive_bytes, is_log_file, make_line, prune

LOOK_SECONDS = 0.3
ASK_EVERY_LOOKS = 5
ANSWER_SECONDS_MAX = 3.0
WAITING_BYTES_MAX = 512_000_000
"""Log that waits in the data folder for an archive that does not take it; past it PostgreSQL has to keep it."""
LIMITS_EVERY_NS, CHILD_REST_NS = 10_000_000_000, 2_000_000_000
BEHIND_SECONDS_MAX = 15.0
"""An archive that is further behind is a trouble, whatever the reason."""
STREAM_FOLDER, LOG_FILE = "wal-stream", "wal-archive.log"
_PARTIAL = ".partial"
_SLOT = """SELECT slot_name, coalesce(wal_status, 'lost') AS status, coalesce(restart_lsn, '0/0') - '0/0'::pg_lsn AS confirmed,
    pg_current_wal_flush_lsn() - '0/0'::pg_lsn AS written
    FROM pg_replication_slots WHERE starts_with(slot_name, $1) ORDER BY slot_name DESC LIMIT 1"""


class WalLimits(msgspec.Struct, frozen=True):
    """Where the archive is, its key, and its limits."""

    directory: Path
    keyring: Keyring
    switch_ns: int
    bytes_max: int


class WalHealth(msgspec.Struct, frozen=True):
    """How the archive stands."""

    line: str = ""
    """Empty while nothing is archived: no backup was made yet."""
    behind_s: float = 0.0
    sealed: int = 0
    """Files of the log finished since the start."""
    trouble: str = ""


class WalKeeper:
    """The archive of one embedded server. Its thread's work is `_ship`; everything else is the loop's."""

    def __init__(
        self, endpoint: Callable[[], PostgresEndpoint], data_dir: Path, limits: WalLimits, clock: Callable[[], int]
    ) -> None:
        self._endpoint = endpoint
        self._local = data_dir / STREAM_FOLDER
        self._log = data_dir / LOG_FILE
        self._limits = limits
        self._clock = clock
        self._connection: Any = None
        self._turn = threading.Lock()
        self._is_closed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._shipment: Shipment | None = None
        self._child_began_ns = 0
        self._child_words = ""
        self._line = self._worked_line = ""
        self._next_limits_ns = 0
        self._is_lost = self._is_full = self._is_choked = False
        self._shipped_ns = 0
        self._asked: tuple[int, int] = (0, 0)
        """When the log was last asked for its end, and that end."""
        self._covered_ns = 0
        self._next_switch_ns = 0
        self._sealed = 0
        self._fault = self._orphaned = ""

    def health(self) -> WalHealth:
        """Return how the archive stands. Cheap."""
        if not self._line:
            return WalHealth(trouble=self._orphaned)
        behind_s = max(0, self._clock() - self._covered_ns) / 1e9
        return WalHealth(self._line, behind_s, self._sealed, self._trouble(behind_s))

    def _trouble(self, behind_s: float) -> str:
        if self._is_lost:
            return "the archive of the log is cut off: it was behind too far; make a new backup (arbitrage backup)"
        if self._is_full:
            limit = f"backup.wal_bytes_max ({self._limits.bytes_max} bytes)"
            return f"the archive of the log has reached {limit}: make a new backup (arbitrage backup), or raise the limit"
        if self._fault:
            return f"the archive of the log does not go on: {self._fault}"
        if behind_s <= BEHIND_SECONDS_MAX:
            return ""
        return f"the archive of the log is {behind_s:.0f} s behind" + (f": {self._child_words}" if self._child_words else "")

    async def run(self) -> None:
        """Archive until cancelled. Raises nothing that a disk or a server can do."""
        looks = 0
        try:
            while True:
                try:
                    if looks % ASK_EVERY_LOOKS == 0:
                        await self._ask()
                    if self._line or self._worked_line:
                        await asyncio.to_thread(self._work)
                    elif looks % ASK_EVERY_LOOKS == 0:
                        self._orphaned = await asyncio.to_thread(self._orphan)
                    self._fault = ""
                except POSTGRES_FAULTS as error:
                    self._fault = " ".join(str(error).split())[:200] or type(error).__name__
                    self._drop()
                except (DumpRefused, VaultDamaged) as refusal:
                    self._fault = str(refusal)
                looks += 1
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._drop()

    def freeze(self) -> None:
        """Archive nothing from this moment on, as if this process had been killed: for drills."""
        with self._turn:
            self._is_closed = True
            if self._child is not None:
                self._child.kill()

    def stop(self) -> None:
        """End the stream and leave everything as it is: the next start goes on from there. May block for a moment."""
        with self._turn:
            self._is_closed = True
            self._stop_child()
            self._forget_shipment()

    # -- the database -------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Find the line, see how far the log and its stream are, and finish a file of the log when it is time."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect_postgres(self._endpoint())
            row = await self._connection.fetchrow(_SLOT, SLOT_PREFIX)
        now_ns = self._clock()
        line = row["slot_name"].removeprefix(SLOT_PREFIX) if row is not None else ""
        if line != self._line:
            self._line, self._covered_ns, self._shipped_ns = line, now_ns, now_ns
            self._asked = (now_ns, 0)
            self._next_switch_ns = now_ns + self._limits.switch_ns
        self._is_lost = row is not None and row["status"] == "lost"
        if row is None or self._is_lost:
            return
        asked_ns, written = self._asked
        if row["confirmed"] >= written and self._shipped_ns > asked_ns:
            self._covered_ns = max(self._covered_ns, asked_ns)
        if row["confirmed"] >= written:
            self._asked = (now_ns, int(row["written"]))
        if now_ns >= self._next_switch_ns:
            self._next_switch_ns = now_ns + self._limits.switch_ns
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await self._connection.fetchval("SELECT pg_switch_wal()")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    # -- the files: in a thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        """Keep the stream running and bring what it wrote into the archive. Raises OSError, DumpRefused."""
        with self._turn:
            if self._line != self._worked_line:
                self._stop_child()
                self._forget_shipment()
                self._worked_line, self._next_limits_ns = self._line, 0
                for old in self._local.iterdir() if self._line and self._local.is_dir() else ():
                    if old.name != self._line:
                        shutil.rmtree(old)  # of a line that ended: nobody reads it any more
                self._is_full = self._is_choked = False
            if not self._line or self._is_closed or self._is_lost:
                self._stop_child()
                return
            began_ns, local = self._clock(), self._local / self._line
            make_private_folder(local)
            self._keep_limits(local, began_ns)
            if self._is_full or self._is_choked:
                self._stop_child()
            else:
                self._keep_child(local, began_ns)
            if self._is_full:
                return
            is_shipped = False
            try:
                self._ship(local)
                is_shipped = True
            finally:
                if not is_shipped:
                    self._forget_shipment()
            self._shipped_ns = began_ns

    def _orphan(self) -> str:
        """Say so where backups count on a log that this database does not archive: it was restored, or is another one."""
        for path in reversed(whole_backups(self._limits.directory)):
            try:
                if peek(path).wal is None:
                    return ""
            except BackupRefused as refusal:
                return str(refusal)
            return f"the log after {path.name} is not archived by this database: make a new backup (arbitrage backup)"
        return ""

    def _ship(self, local: Path) -> None:
        folder = make_line(self._limits.directory, self._line)
        names = sorted(path.name for path in local.iterdir())
        for name in (name for name in names if is_log_file(name)):
            self._shipment_of(name, local / name, folder).finish(local / name)
            self._shipment = None
            (local / name).unlink()
            self._sealed += 1
        for name in (name for name in names if name.endswith(_PARTIAL)):
            try:
                self._shipment_of(name.removesuffix(_PARTIAL), local / name, folder).ship()
            except FileNotFoundError:
                return  # it was finished in this very moment: the next look finds it under its lasting name

    def _shipment_of(self, name: str, source: Path, folder: Path) -> Shipment:
        if self._shipment is None or self._shipment.name != name:
            self._forget_shipment()
            self._shipment = Shipment(source, folder, name, self._limits.keyring)
        return self._shipment

    def _forget_shipment(self) -> None:
        """Begin the file anew: what a failed write left of it is not built upon."""
        if self._shipment is not None:
            self._shipment.close()
            self._shipment = None

    def _keep_limits(self, local: Path, now_ns: int) -> None:
        waiting = sum(path.stat().st_size for path in local.iterdir() if is_log_file(path.name))
        self._is_choked = waiting > (WAITING_BYTES_MAX // 2 if self._is_choked else WAITING_BYTES_MAX)
        limits = self._limits
        if now_ns < self._next_limits_ns:
            return
        self._next_limits_ns = now_ns + LIMITS_EVERY_NS
        if archive_bytes(limits.directory) > limits.bytes_max:
            prune(limits.directory, self._line, backups=whole_backups(limits.directory)[-1:])
        self._is_full = archive_bytes(limits.directory) > limits.bytes_max

    def _keep_child(self, local: Path, now_ns: int) -> None:
        """Start the stream, and again when it ended: PostgreSQL may have been away."""
        if self._child is not None:
            if self._child.poll() is None:
                return
            self._child_words = " ".join(self._log.read_text("utf-8", "replace").split())[-200:]
            if now_ns - self._child_began_ns < CHILD_REST_NS:
                return
        endpoint = self._endpoint()
        words = [f"--directory={local}", f"--slot={SLOT_PREFIX}{self._line}", "--synchronous", "--no-loop"]
        command = [str(client_program("pg_receivewal")), *words, *client_address(endpoint)]
        self._child = spawn(command, log=self._log, environment=client_environment(endpoint))
        self._child_began_ns = now_ns

    def _stop_child(self) -> None:
        if self._child is not None:
            stop_child(self._child, signal.SIGTERM)
            self._child = None
