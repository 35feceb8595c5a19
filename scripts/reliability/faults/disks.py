"""The data folder's disk fills up under a live daemon, and has room again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from daemon_lab import fill
from reliability.faults.lab import Lab, Sample
from reliability.faults.nouns import TMPFS, Row
from store_servers import reachable_folder

from arbitrage.store.snapshots import Candidate, SnapshotFiles, newest_first

SIZE = "150m"
REASON = "the journal is full or cannot be written"


def disk_full(lab: Lab) -> str:
    folder = _mounted(lab)
    ballast = folder / "ballast"
    lab.cluster.copy_to(folder)
    house = lab.open(folder)
    house.configure({"store.snapshot_interval_ms": 500})
    lab.start()
    lab.until(house.snapshots, "there is a snapshot")
    full_ns = time.time_ns()
    with lab.watch() as watch:
        fill(ballast)
        lab.until(lambda: any(REASON in reason for reason in watch.reasons), "trading pauses, with the reason")
        lab.says("snapshot not saved")
        kept = _good_snapshots(house.session_dir)
        lab.demand(kept, "a snapshot from before still loads")
        lab.demand(REASON in lab.health(), "the health check says so")
        paused_ns = watch.samples[-1].at_ns
        time.sleep(1.0)
        free_ns = time.time_ns()
        ballast.unlink()
        back_s = lab.recovers()
    pause_s = watch.first_s(_is_paused, full_ns)
    lab.demand_no_entry(paused_ns, free_ns, "while the disk is full")
    fill(ballast)
    lab.until(lambda: (status := house.status()) is not None and not status.armed, "it pauses again, its status file says so")
    lab.run.end(signal.SIGKILL)
    kept_at_kill = _good_snapshots(house.session_dir)
    lab.demand(kept_at_kill, "a snapshot still loads after a kill on the full disk")
    ballast.unlink()
    lab.start()
    lab.demand("restored session" in lab.run.text(), "the session is restored")
    lab.recovers()
    orders = lab.settles()
    words = f"paused after {pause_s:.2f} s, {kept} good snapshots kept, armed {back_s:.1f} s after there was room"
    return f"{words}, and after kill -9 on the full disk; {orders} orders, every balance equal"


def _is_paused(sample: Sample) -> bool:
    return sample.standing is not None and any(REASON in reason for reason in sample.standing.not_armed_because)


def _good_snapshots(session_dir: Path) -> int:
    """Count the snapshots that a start would take, by what a start does with a copy of them."""
    with tempfile.TemporaryDirectory() as copy:
        files = SnapshotFiles(Path(shutil.copytree(session_dir / "snapshots", Path(copy) / "snapshots")), kept_max=1_000)
        session = session_dir.name.partition(".")[2]
        return sum(isinstance(each, Candidate) for each in newest_first(files.load(), session))


def _mounted(lab: Lab) -> Path:
    """Mount a small file system for the row."""
    folder = reachable_folder()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)

    def gone() -> None:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()

    lab.stack.callback(gone)
    return folder


ROWS = (
    Row("disk_full", "a small disk full to the last byte, twice, and kill -9 on it",
        "trading pauses with the reason, the last good snapshot loads, it recovers when there is room",
        disk_full, (TMPFS,), is_quick=False),
)  # fmt: skip
