"""One round: a second instance is refused, the holder dies, freezes or loses its database, a standby follows. Judges nothing.

Every kind ends with one holder that trades and one standby, so that rounds can follow each other in any order.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

import msgspec
from daemon_lab import wait_until

from fences.lab import STANDING_BY, Instance, Lab, seconds_until

TRADED_S = 1.0
"""A holder has sent an order within this time before it is disturbed: else its silence would prove nothing."""
START_S_MAX, PLANTED_S_MAX = 120.0, 10.0
"""How long a daemon may take to trade; one whose fence is broken on purpose may be kept from it by its own checks."""
ACCEPT_S = 0.5
END_S_MAX = 30.0
FREEZE_S = 3.0
FENCED_STATUS = 3


class Measured(msgspec.Struct):
    """What the rounds found so far, in seconds."""

    refused_s: list[float] = []
    takeover_s: list[float] = []
    silent_s: list[float] = []
    frozen: int = 0
    woke_fenced: int = 0
    lost: int = 0
    """Rounds in which the database was lost for so long that the holder had to fall silent."""
    grants: dict[int, int] = {}
    """When each epoch was granted, in nanoseconds."""
    accepted: int = 0
    """How often an operator had to accept what a lost machine's journal alone knew."""
    wrong: list[str] = []


class Rounds:
    """The session: its holder, its standby, and what was measured."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.measured = Measured()
        self._lab = lab
        self._rng = random.Random(seed)
        self._kinds: dict[str, Callable[[], None]] = {
            "kill": self._kill,
            "frozen": self._freeze,
            "cut": self._cut,
            "silent": self._silence,
            "db-killed": self._kill_postgres,
            "db-frozen": self._freeze_postgres,
            "stop": self._stop,
        }
        self._queue: list[str] = []
        self._patience_s = START_S_MAX
        self.holder = lab.instance()
        self._await_trade()
        self.standby = lab.instance("--standby")
        self._await_standby()
        self._patience_s = PLANTED_S_MAX if lab.plant else START_S_MAX

    def kinds(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def run(self, only: Sequence[str] = ()) -> str:
        """Run the next round, of every kind (or every one of `only`) once before any comes again; return its kind."""
        if not self._queue:
            self._queue = self._rng.sample(only or self.kinds(), len(only or self._kinds))
        kind = self._queue.pop()
        self._refuse_another()
        self._await_trade()
        time.sleep(self._rng.random() * 0.25)  # anywhere between two beats
        self._kinds[kind]()
        self._await_trade()
        self._await_standby()
        return kind

    # -- what happens to the holder -----------------------------------------------------------------------------

    def _kill(self) -> None:
        began_s = time.monotonic()
        self.holder.signal(signal.SIGKILL)
        self._follow(began_s)

    def _stop(self) -> None:
        self.holder.signal(signal.SIGTERM)
        self._follow(None)

    def _freeze(self) -> None:
        began_s, holder = time.monotonic(), self.holder
        holder.signal(signal.SIGSTOP)
        self._follow(began_s, is_dead=False)
        self._await_trade()
        woke_ns = time.time_ns()
        holder.signal(signal.SIGCONT)
        self.measured.frozen += 1
        self._expect_fenced(holder)
        self.measured.woke_fenced += self._last_order_ns(holder) < woke_ns
        holder.discard()

    def _cut(self) -> None:
        self._part(self.holder.wire.cut)

    def _silence(self) -> None:
        self._part(self.holder.wire.silence)

    def _part(self, part: Callable[[], None]) -> None:
        """Part the holder alone from a database that goes on."""
        began_s, began_ns, holder = time.monotonic(), time.time_ns(), self.holder
        part()
        self._follow(began_s, is_dead=False)
        self._await_trade()
        self._note_silence(holder, began_ns)
        holder.wire.heal()
        self._expect_fenced(holder)
        holder.discard()

    def _kill_postgres(self) -> None:
        """The lock is free while the holder still trades: it goes on under its epoch, or is followed, and never both."""
        self._lab.kill_postgres()
        self._settle()

    def _freeze_postgres(self) -> None:
        began_ns, holder = time.time_ns(), self.holder
        family = self._lab.postgres_family()
        for process in family:
            process.suspend()
        time.sleep(FREEZE_S)
        woke_ns = time.time_ns()
        for process in family:
            process.resume()
        self._note_silence(holder, began_ns, woke_ns)
        self._settle()

    # -- what is waited for and measured ------------------------------------------------------------------------

    def _refuse_another(self) -> None:
        """Start one more without `--standby`: it is refused, and told by whom."""
        second = self._lab.instance()
        second.run.process.wait(START_S_MAX)
        self.measured.refused_s.append(time.monotonic() - second.run.began_s)
        said, row = second.run.text(), self._lab.lease()
        words = (row["holder"], f"process {self.holder.pid} since 2", f"Z, epoch {self.holder.epoch}")
        if second.run.process.returncode != FENCED_STATUS or not all(word in said for word in words):
            self.measured.wrong.append(f"a second instance was not refused by {words}: {said[-400:]}")
        second.discard()

    def _follow(self, began_s: float | None, *, is_dead: bool = True) -> None:
        """Wait until the standby holds the lease, and put a new one in its place."""
        follower, before = self.standby, self.holder
        took_s = seconds_until(lambda: follower.epoch, time.monotonic() if began_s is None else began_s, "the standby follows")
        if began_s is not None:
            self.measured.takeover_s.append(took_s)
        self._swap()
        if is_dead:
            before.run.process.wait(START_S_MAX)
            before.discard()

    def _settle(self) -> None:
        """After the database was away for both: see who has the lease, and make sure that the other has not."""
        holder = self.holder
        wait_until(lambda: self.standby.epoch or self._is_trading(holder), "somebody trades again", START_S_MAX)
        if self.standby.epoch:
            self._swap()
            self._expect_fenced(holder)
            holder.discard()

    def _swap(self) -> None:
        self.holder, row = self.standby, self._lab.lease()
        self.measured.grants[row["epoch"]] = row["taken_at_ns"]
        self.standby = self._lab.instance("--standby")

    def _await_trade(self) -> None:
        """Wait until the holder sends orders."""
        holder = self.holder
        wait_until(lambda: self._is_armed(holder), f"epoch {holder.epoch} is armed", self._patience_s)
        wait_until(lambda: self._is_trading(holder), f"epoch {holder.epoch} trades", self._patience_s)

    def _is_armed(self, holder: Instance) -> bool:
        """Tell whether it is, and do what an operator does where it is not: look, and accept what differs.

        Facts that only the lost machine's journal holds differ by their money until then.
        """
        standing = holder.standing()
        if standing is None or standing.armed:
            return standing is not None
        if standing.differences:
            self.measured.accepted += 1
            holder.accept_all()
            time.sleep(ACCEPT_S)
        return False

    def _is_trading(self, instance: Instance) -> bool:
        return time.time_ns() - self._last_order_ns(instance) < TRADED_S * 1e9

    def _await_standby(self) -> None:
        self.standby.run.says(STANDING_BY, seconds=START_S_MAX)

    def _last_order_ns(self, instance: Instance) -> int:
        mine = [row["created_ns"] for row in self._lab.orders() if epoch_of(row["client_id"]) == instance.epoch]
        return max(mine, default=0)

    def _note_silence(self, holder: Instance, began_ns: int, until_ns: int = 2**63) -> None:
        """Note how long after the database was lost the holder's last order came to an exchange."""
        orders = [row["created_ns"] for row in self._lab.orders() if epoch_of(row["client_id"]) == holder.epoch]
        last_ns = max((at_ns for at_ns in orders if began_ns < at_ns < until_ns), default=began_ns)
        self.measured.silent_s.append((last_ns - began_ns) / 1e9)

    def _expect_fenced(self, instance: Instance) -> None:
        """Wait for the end of whoever was taken over; it must say why."""
        status = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = instance.run.process.wait(END_S_MAX)
        if status != FENCED_STATUS or "fenced: epoch" not in instance.run.text():
            said = instance.run.text()[-600:]
            self.measured.wrong.append(f"epoch {instance.epoch} was taken over and ended with {status}: {said}")


def epoch_of(client_id: str) -> int:
    """Read the epoch from an order's id; 0 where it has none."""
    parts = client_id.split("_")
    return int(parts[1], 36) if len(parts) > 1 else 0
