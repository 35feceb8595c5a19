"""The daemon runs out of descriptors or memory, or is started twice."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from pathlib import Path

import psutil
from daemon_lab import Run
from live_lab import TAG, LiveHouse
from reliability.faults.lab import Lab
from reliability.faults.nouns import CGROUP, MEMORY_FOLDER, Row

from arbitrage.store.embedded import postgres_of, read_state

STARVED_S = 6.0
SLACK_BYTES = 1_000_000
ROOM_BYTES = 8_000_000
REFUSED_S_MAX = 10.0


def descriptors(lab: Lab) -> str:
    """No new file or socket can be opened for a while, and an exchange cuts its connections meanwhile."""
    house = lab.open()
    house.configure({"store.snapshot_interval_ms": 1_000})
    run = lab.start()
    daemon = psutil.Process(run.process.pid)
    before = daemon.rlimit(resource.RLIMIT_NOFILE)
    with lab.watch():
        limit = daemon.num_fds()
        starved_ns = time.time_ns()
        daemon.rlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        house.fault("cut", "binance", "socket *", times=0, for_s=1.0)
        lab.says("cannot connect")
        lab.says("snapshot not saved")
        lab.until(lambda: time.time_ns() - starved_ns > STARVED_S * 1e9, "some time of it")
        lab.demand(run.process.poll() is None, "it lives on")
        health = lab.health()
        lab.demand("FAIL" in health, f"the health check fails: {health}")
        blind_ns, fed_ns = starved_ns + int(2e9), time.time_ns()
        daemon.rlimit(resource.RLIMIT_NOFILE, before)
        house.heal()
    back_s = lab.recovers()
    lab.demand_no_entry(blind_ns, fed_ns, "through an exchange that cannot be reached", "binance")
    lab.demand("Traceback" not in run.text(), "no trace of an error")
    orders = lab.settles()
    words = f"{limit} open and no more for {STARVED_S:g} s: lived, said so, well {back_s:.1f} s after"
    return f"{words}; {orders} orders, every balance equal"


def memory_refused(lab: Lab) -> str:
    """The kernel gives it no more memory: it dies of that at once or goes on, and never with a wrong state kept."""
    run = lab.trading()
    daemon = psutil.Process(run.process.pid)
    before = daemon.rlimit(resource.RLIMIT_AS)
    daemon.rlimit(resource.RLIMIT_AS, (daemon.memory_info().vms + SLACK_BYTES, before[1]))
    began = time.monotonic()
    run.hears(signal.SIGHUP)  # reading the configuration again needs some
    while run.process.poll() is None and time.monotonic() - began < STARVED_S:
        time.sleep(0.05)
    died_s = time.monotonic() - began
    if run.process.poll() is None:
        daemon.rlimit(resource.RLIMIT_AS, before)
        what = f"lived through {STARVED_S:g} s without any"
        if lab.standing() is None:
            run.end(signal.SIGKILL)
    else:
        what = f"ended with status {run.process.returncode} after {died_s:.1f} s"
        lab.demand(run.process.returncode not in (0, 2, 3), f"{what}, which a service manager restarts")
    back_s = _again(lab) if run.process.poll() is not None else lab.recovers()
    orders = lab.settles()
    return f"{what}, well {back_s:.1f} s after; {orders} orders, every balance equal"


def out_of_memory(lab: Lab) -> str:
    """The kernel's own killer ends it, in a memory group that grows too small."""
    run = lab.trading()
    group = Path(MEMORY_FOLDER) / _own_group() / f"faults-{os.getpid()}"
    group.mkdir()
    lab.stack.callback(_remove, group)
    (group / "memory.limit_in_bytes").write_text(str(ROOM_BYTES))
    (group / "cgroup.procs").write_text(str(run.process.pid))
    status = _eaten(lab, run, group)
    lab.demand(status == -signal.SIGKILL, f"the kernel kills it: {status}")
    back_s = _again(lab)
    orders = lab.settles()
    words = f"killed by the kernel at {ROOM_BYTES // 10**6} MB more, restored, well {back_s:.1f} s after"
    return f"{words}; {orders} orders, every balance equal"


def _eaten(lab: Lab, run: Run, group: Path) -> int:
    """Wait for the killer; the limit sinks with what it uses, so that it comes whatever the daemon needs."""

    def is_dead() -> bool:
        used = int((group / "memory.usage_in_bytes").read_text())
        try:
            (group / "memory.limit_in_bytes").write_text(str(max(65_536, used // 2)))
        except OSError:  # the kernel could not take so much back at once
            time.sleep(0.01)
        return run.process.poll() is not None

    lab.until(is_dead, "the kernel ends it")
    return int(run.process.returncode)


def _own_group() -> str:
    """Return our own memory group below the controller's folder."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return path.strip("/")
    return ""


def _remove(group: Path) -> None:
    for _ in range(100):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _again(lab: Lab) -> float:
    """Start it anew as a service manager would."""
    lab.run = lab.house.start()
    lab.says("restored session")
    return lab.recovers()


def two_instances(lab: Lab) -> str:
    """A second daemon on the same folder, and one on a folder of its own with the same database: both refuse."""
    run = lab.trading()
    house = lab.house
    with lab.watch() as watch:
        same_s, same = _refused(house.start())
        is_named = "another daemon runs on this data folder" in same[1]
        lab.demand(same[0] == 1 and is_named, f"the same folder is refused: {same}")
        other = LiveHouse(lab.folder(), house.venues)
        at = postgres_of(read_state(house.folder))
        other.configure({
            "store.postgres_host": at.host, "store.postgres_port": at.port, "store.postgres_user": at.user,
            "store.postgres_password": at.password, "store.postgres_database": at.database,
        })  # fmt: skip
        other_s, another = _refused(other.start())
        holder = f"process {run.process.pid}"
        lab.demand(another[0] == 3 and holder in another[1], f"the same session is refused, and who holds it said: {another}")
        lab.trades_on()
    lab.demand(all(each.armed for each in watch.answers), f"the first one trades on: {sorted(watch.reasons)}")
    shutil.rmtree(other.folder / "sessions", ignore_errors=True)
    orders = lab.settles()
    truth = house.truth()
    strangers = [
        order["client_id"] for venue in ("binance", "upbit") for order in truth[venue]["orders"]
        if not order["client_id"].startswith(f"{TAG}_1_")
    ]  # fmt: skip
    lab.demand(not strangers, f"every order is the first one's: {strangers}")
    words = f"refused after {same_s:.2f} s (folder) and {other_s:.2f} s (lease)"
    return f"{words}; {orders} orders, all of the first, every balance equal"


def _refused(run: Run) -> tuple[float, tuple[int, str]]:
    began = time.monotonic()
    status = run.process.wait(REFUSED_S_MAX * 3)
    return time.monotonic() - began, (status, run.text()[-600:])


ROWS = (
    Row("descriptors", f"not one new descriptor for {STARVED_S:g} s (RLIMIT_NOFILE of the live process), a link cut meanwhile",
        "it lives, says so, trades nothing it cannot see, and is well again by itself", descriptors),
    Row("memory_refused", f"no new memory for {STARVED_S:g} s (RLIMIT_AS of the live process)",
        "it dies with a status that is restarted, or goes on; nothing lost or doubled", memory_refused, is_quick=False),
    Row("out_of_memory", "the kernel's killer, in a memory group", "killed, restored, nothing lost or doubled",
        out_of_memory, (CGROUP,), is_quick=False),
    Row("two_instances", "a second daemon on the same folder, and on the same database",
        "both refused with the holder's name, the first one trades on", two_instances, is_quick=False),
)  # fmt: skip
