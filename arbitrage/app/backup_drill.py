"""`arbitrage backup --drill`: proves that a backup restores, on copies in a folder of its own. Touches nothing of the house.

The house is backed up and the backup restored: that is the copy. The copy gets a backup and an archived log of its own while
rows are written into it; at a random moment everything of it is killed and its data folder removed. What was archived is
restored, rows and states are compared, and a paper daemon is started on it against simulated exchanges on loopback.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from arbitrage.app.backing_up import database_of, say_to_stderr, take_backup
from arbitrage.app.backup_copy import TABLE, Copy, Enlarge, Life, ask, counts, live_and_die, newest_row_ns
from arbitrage.app.clock import EngineClock
from arbitrage.app.paper_house import start_paper_daemon
from arbitrage.ops.config import Loaded
from arbitrage.store.backups import Made, Place
from arbitrage.store.manifests import StateHash
from arbitrage.store.restores import Request, restore_folder
from arbitrage.store.vault import Keyring
from arbitrage.store.wal_keeper import WalKeeper, WalLimits

RPO_ARCHIVE_S_MAX, RPO_STREAM_S_MAX, RTO_S_MAX = 60.0, 1.0, 60.0


class Rehearsal(msgspec.Struct, frozen=True):
    """How hard the copy is tried."""

    seconds: tuple[float, float] = (2.0, 5.0)
    """It is killed at a random moment between these."""
    seed: int = 0
    """0 draws one."""
    enlarge: Enlarge | None = None
    """Fills the copy's database, to see how restoring grows with it."""


class Report(msgspec.Struct):
    """What a drill found; `_s` are seconds, `_bytes` bytes."""

    passed: bool = False
    verdict: str = ""
    seed: int = 0
    encrypted: bool = False
    database_bytes: int = 0
    backup_bytes: int = 0
    backup_s: float = 0.0
    written_s: float = 0.0
    written_rows: int = 0
    rpo_archive_s: float = 0.0
    """How long before the kill the newest row was written that is back by the finished files of the log alone."""
    rpo_stream_s: float = 0.0
    """The same with the file that was being written."""
    restore_s: float = 0.0
    rto_s: float = 0.0
    """Restoring, and starting the daemon until it is armed or says why not."""
    daemon: str = ""
    rows_compared: int = 0
    states_compared: int = 0
    tables: dict[str, tuple[int, int]] = {}
    """Rows before the loss, and after."""


def drill(loaded: Loaded, keyring: Keyring, environ: Mapping[str, str], rehearsal: Rehearsal | None = None) -> Report:
    """Rehearse the loss of everything. Raises DrillFailed, and what backups and restores raise."""
    folder = Path(tempfile.mkdtemp(prefix="arbitrage-backup-drill-"))
    folder.chmod(0o711)
    clock = EngineClock()
    copies = {name: Copy(folder / name, clock) for name in ("copy", "archived", "restored")}
    try:
        return _Drill(loaded, keyring, rehearsal or Rehearsal(), copies).run(environ)
    finally:
        for copy in copies.values():
            copy.remove()
        shutil.rmtree(folder, ignore_errors=True)


class _Drill:
    """One rehearsal."""

    def __init__(self, loaded: Loaded, keyring: Keyring, rehearsal: Rehearsal, copies: Mapping[str, Copy]) -> None:
        self._own = loaded
        self._keyring = keyring
        self._rehearsal = rehearsal
        self._copies = copies
        self._folder = copies["copy"].folder.parent
        self._clock = EngineClock()
        self._say = say_to_stderr("drill: ")
        seed = rehearsal.seed or int.from_bytes(os.urandom(4), "big")
        self._dice = random.Random(seed)
        self._report = Report(seed=seed, encrypted=keyring.has_key)
        self._faults: list[str] = []

    def run(self, environ: Mapping[str, str]) -> Report:
        """Do it all and judge."""
        report, copy = self._report, self._copies["copy"]
        self._say("backing the house up")
        with database_of(self._own.settings) as endpoint:
            house = take_backup(self._own, self._place("house-backups"), endpoint, follows=False)
        self._say("making the copy")
        restore_folder(self._request(house.path), copy.folder)
        self._compare_states(house.manifest.states, copy.states(), "the copy")
        life = self._live_and_die(copy)
        report.written_rows, report.written_s = life.rows, round(life.seconds, 3)
        self._say("restoring what the finished files of the log hold")
        report.rpo_archive_s, _ = self._restore(self._copies["archived"], life, with_growing=False)
        self._copies["archived"].remove()
        self._say("restoring everything")
        restored = self._copies["restored"]
        report.rpo_stream_s, report.restore_s = self._restore(restored, life, with_growing=True)
        self._compare_states(house.manifest.states, restored.states(), "what was restored")
        self._compare_with_database(restored)
        self._say("starting a paper daemon on it")
        report.daemon, started_s = start_paper_daemon(self._own, restored.folder, environ, self._clock)
        report.rto_s = round(report.restore_s + started_s, 3)
        self._judge()
        return report

    def _live_and_die(self, copy: Copy) -> Life:
        """Back the copy up, write into it while its log is archived, kill it, remove it."""
        report, settings = self._report, self._own.settings
        directory = self._folder / "copy-backups"
        store = msgspec.structs.replace(settings.store, data_dir=str(copy.folder), postgres_host="")
        backup = msgspec.structs.replace(settings.backup, directory=str(directory), wal_archive=True)
        loaded = msgspec.structs.replace(self._own, settings=msgspec.structs.replace(settings, store=store, backup=backup))
        limits = WalLimits(directory, self._keyring, backup.wal_switch_ms * 1_000_000, backup.wal_bytes_max)
        seconds = self._dice.uniform(*self._rehearsal.seconds)
        with copy.running() as (endpoint, pid):
            ask(endpoint, f"CREATE TABLE {TABLE} (at_ns bigint PRIMARY KEY)")
            if self._rehearsal.enlarge is not None:
                self._say("enlarging the copy")
                self._rehearsal.enlarge(endpoint)
            report.tables = {name: (count, 0) for name, count in counts(endpoint).items()}
            self._say("backing the copy up")
            made = take_backup(loaded, self._place(directory.name), endpoint, follows=True)
            self._note_backup(made)
            self._say(f"writing into the copy for {seconds:.1f} s, then killing it")
            keeper = WalKeeper(lambda: endpoint, copy.folder, limits, self._clock)
            life = asyncio.run(live_and_die(endpoint, pid, keeper, seconds, self._clock))
        copy.remove()
        return life

    def _note_backup(self, made: Made) -> None:
        files = made.manifest.files
        self._report.backup_s = made.manifest.seconds
        self._report.database_bytes = sum(file.bytes_plain for file in files)
        self._report.backup_bytes = sum(file.bytes_stored for file in files)

    def _restore(self, copy: Copy, life: Life, *, with_growing: bool) -> tuple[float, float]:
        """Restore the copy's backup and its log; return how much is lost and how long it took."""
        began_ns = self._clock()
        source = max((self._folder / "copy-backups").glob("backup-*"))
        restore_folder(self._request(source, with_growing=with_growing), copy.folder)
        seconds = (self._clock() - began_ns) / 1e9
        with copy.running() as (endpoint, _):
            newest_ns = max(newest_row_ns(endpoint), life.began_ns)
            after = counts(endpoint)
        tables = self._report.tables
        self._report.tables = {name: (tables.get(name, (0, 0))[0], after.get(name, 0)) for name in {**tables, **after}}
        self._faults += [f"{name}: {a} rows before, {b} after" for name, (a, b) in self._report.tables.items() if a != b]
        self._report.rows_compared = sum(count for count, _ in self._report.tables.values())
        return round((life.killed_ns - newest_ns) / 1e9, 3), round(seconds, 3)

    def _compare_states(self, wanted: tuple[StateHash, ...], found: tuple[StateHash, ...], what: str) -> None:
        if wanted != found:
            self._faults.append(f"the state of {what} is {found}, not {wanted}")
        self._report.states_compared += len(found)

    def _compare_with_database(self, copy: Copy) -> None:
        with copy.running() as (endpoint, _):
            compared, faults = copy.disagreements(endpoint)
        self._report.states_compared += compared
        self._faults += faults

    def _judge(self) -> None:
        report = self._report
        limits = (
            ("rpo_archive_s", report.rpo_archive_s, RPO_ARCHIVE_S_MAX),
            ("rpo_stream_s", report.rpo_stream_s, RPO_STREAM_S_MAX),
            ("rto_s", report.rto_s, RTO_S_MAX),
        )
        self._faults += [f"{name} is {value:g}, at most {limit:g} is allowed" for name, value, limit in limits if value > limit]
        report.passed = not self._faults
        report.verdict = "; ".join(self._faults) or (
            f"RPO {report.rpo_archive_s:g} s by archive, {report.rpo_stream_s:g} s streaming; RTO {report.rto_s:g} s "
            f"for {report.database_bytes / 1e6:.0f} MB; rows and states equal; daemon {report.daemon}"
        )

    def _request(self, source: Path, *, with_growing: bool = True) -> Request:
        return Request(source, self._keyring, lambda text: None, with_growing)

    def _place(self, name: str) -> Place:
        return Place(self._folder / name, self._own.settings.backup.kept, self._keyring, self._clock, lambda text: None)

