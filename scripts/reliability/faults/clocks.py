"""The wall clock is set while a live daemon runs: engine time goes on, and nothing is decided by the wall."""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

from reliability.faults.lab import Lab
from reliability.faults.nouns import COMPILER, Row

SOURCE = Path(__file__).with_name("wallclock.c")
HOUR_S = 3_600
NS_PER_S = 1_000_000_000
LOOKED_S, ENTERED_S = 4.0, 2.0
ENGINE_OFF_S_MAX, WALL_OFF_S_MAX = 1.0, 30.0


def clock_forward(lab: Lab) -> str:
    return _set(lab, HOUR_S)


def clock_back(lab: Lab) -> str:
    return _set(lab, -2 * HOUR_S)


def clock_restart(lab: Lab) -> str:
    """Restarted under a clock that is off it enters nothing; set right it trades, although its facts are ahead."""
    wall = _walled(lab)
    for by_s in (HOUR_S, -2 * HOUR_S):
        wall.set(by_s)
        _restart(lab)
        _enters_nothing(lab, by_s)
        wall.set(0)
        _restart(lab)
        lab.recovers()
    orders = lab.settles()
    words = "1 h ahead and 2 h back: nothing is entered, with the offset; set right it trades"
    return f"{words}; {orders} orders, every balance equal"


def _walled(lab: Lab) -> Wall:
    folder = lab.folder()
    wall = Wall(folder)
    lab.open(folder, **wall.environ)
    lab.start()
    return wall


def _set(lab: Lab, by_s: int) -> str:
    wall = _walled(lab)
    house, run = lab.house, lab.run
    before = house.truth()
    connected = run.text().count("cannot connect"), _sockets(before)
    set_ns = time.time_ns()
    with lab.watch() as watch:
        wall.set(by_s)
        lab.until(lambda: abs(_wall_off_s(lab) - by_s) < WALL_OFF_S_MAX, "the daemon's own wall clock has moved")
        lab.until(lambda: time.time_ns() - set_ns > LOOKED_S * 1e9, "some time of it")
        health = lab.health()
    off_s = max(abs(each.standing.at_ns - each.at_ns) / 1e9 for each in watch.samples if each.standing is not None)
    lab.demand(off_s < ENGINE_OFF_S_MAX, f"engine time goes on, {off_s:.1f} s off")
    lab.demand(all(each.armed for each in watch.answers), f"it stays armed: {sorted(watch.reasons)}")
    markets = [(venue.usable, venue.markets) for each in watch.answers for venue in each.venues]
    doubted = sum(usable < count for usable, count in markets)
    lab.demand(not doubted, f"no market is doubted: {doubted} of {len(markets)} looks")
    lab.trades_on()
    after = house.truth()
    lab.demand((run.text().count("cannot connect"), _sockets(after)) == connected, "no connection is thrown away")
    # The file system's own clock is not set here, so the log file is old to who believes the wall: only that check may fail.
    ill = [line for line in health.splitlines() if " FAIL " in line and not line.startswith("Logs")]
    lab.demand(not ill, f"the health check finds nothing: {ill}")
    violations = {name: count for venue in ("binance", "upbit") for name, count in after[venue]["violations"].items()}
    lab.demand(not any(violations.values()), f"no request is early, late or too many: {violations}")
    lab.demand(f"the wall clock was set by {by_s:+d} s" in run.text(), "the log says that the clock was set")
    lab.recovers()
    orders = lab.settles()
    looks = f"armed and undoubted in all {len(watch.answers)} looks, engine time {off_s * 1000:.0f} ms off at most"
    return f"{looks}; {orders} orders, every balance equal"


def _restart(lab: Lab) -> None:
    lab.command("pause")
    lab.demand(lab.run.end() == 0, "it stops")
    lab.run = lab.house.start()
    lab.says("restored session")
    lab.until(lambda: lab.standing() is not None, "it answers")
    lab.command("resume")


def _enters_nothing(lab: Lab, by_s: int) -> None:
    """Restarted under a clock that is hours off, the venues' clocks tell it: nothing is entered, and it says why."""
    since_ns = time.time_ns() - abs(by_s) * NS_PER_S

    def is_seen() -> bool:
        now = lab.standing()
        return now is not None and all(each.connected and not each.usable for each in now.venues)

    lab.until(is_seen, "every market is doubted for the clock's offset")
    entered = len(lab.entered(since_ns, since_ns + 4 * abs(by_s) * NS_PER_S))
    time.sleep(ENTERED_S)
    more = len(lab.entered(since_ns, since_ns + 4 * abs(by_s) * NS_PER_S)) - entered
    lab.demand(not more, f"nothing is entered with a clock {by_s} s off: {more} were")
    offsets = {name: feed.clock_offset_ms for name, feed in (lab.house.status().feeds if lab.house.status() else {}).items()}
    wrong = {name: ms for name, ms in offsets.items() if ms is None or abs(ms + by_s * 1000) > ENGINE_OFF_S_MAX * 1000}
    lab.demand(not wrong, f"the operator reads by how much the clock is off: {offsets}")


def _sockets(truth: dict[str, dict[str, dict[str, int]]]) -> int:
    return sum(truth[venue]["counters"].get("sockets", 0) for venue in ("binance", "upbit"))


def _wall_off_s(lab: Lab) -> float:
    """Return how far the daemon's wall clock is from ours, by the status that it writes every second."""
    status = lab.house.status()
    return (status.wall_ns - time.time_ns()) / 1e9 if status is not None else 0.0


class Wall:
    """The wall clock of the daemon and its servers; every other clock and process keeps its own."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "wall-offset", folder / "wallclock.so"
        self._file.write_bytes(struct.pack("<q", 0))
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        for path in (self._file, library):
            path.chmod(0o755)
        self.environ = {"LD_PRELOAD": str(library), "WALL_OFFSET_FILE": str(self._file)}

    def set(self, by_s: int) -> None:
        """Set it so far ahead of the true one."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("<q", by_s * NS_PER_S))


INVARIANT = "no staleness, expiry or budget decision on wall time: armed, undoubted, connected; the health check passes"
ROWS = (
    Row("clock_forward", "the wall clock set 1 h ahead", INVARIANT, clock_forward, (COMPILER,)),
    Row("clock_back", "the wall clock set 2 h back", INVARIANT, clock_back, (COMPILER,), is_quick=False),
    Row("clock_restart", "restarts under a clock 1 h ahead and 2 h back, and after it was set right",
        "nothing entered while it is off, and why; trading as soon as it is right", clock_restart, (COMPILER,), is_quick=False),
)
