"""Kills one daemon after the other on one data folder, and compares. Knows when, how and what to look at; judges by `truth`."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon_lab import Run, Venues, wait_until
from live_lab import LiveHouse, processes_in

from arbitrage.app.control_client import NoAnswer, ask
from arbitrage.app.control_words import Ask
from arbitrage.app.crash_points import VARIABLE
from arbitrage.ops.standing import Standing
from arbitrage.store.embedded import Embedded
from arbitrage.store.migrations import migrations_dir, read_migrations
from kills.plan import POINTS, RANDOM, Kill, plan
from kills.truth import VENUES, Chronicle, Verdict

ARMED, REPORT, READY = "arbitrage.daemon: armed", "restart report (start)", "arbitrage.daemon: ready: "
STARTING = ("is not connected yet", "no instrument rules", "is being compared")
"""Words of reasons that explain nothing: a start that is still under way has them too."""
POINT_SECONDS_MAX = 40.0
"""A labelled moment that does not come within so long is not waited for: the daemon is killed where it is, which is told."""
EXPLAINED_SECONDS_MAX, FLAT_SECONDS_MAX, CAUGHT_UP_SECONDS_MAX, ARMED_SECONDS_MAX = 60.0, 90.0, 20.0, 30.0
LAST_LOOK_S = 2.0
"""Before the last comparison: a request that a fault holds back has arrived by then."""
LOOK_S = 0.01
SPEED = 2.0
"""Of the market: with low fees it pays often enough, and a faster one costs the exchanges more than a loaded machine has."""
SYMBOLS = {
    "binance": ("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT"),
    "upbit": ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL", "KRW-USDT"),
}
Fault = dict[str, Any]
CHANGES: dict[str, Any] = {
    **{f"venues.{venue}.symbols": list(symbols) for venue, symbols in SYMBOLS.items()},
    "venues.binance.snapshot_levels": 100,
    "store.snapshot_interval_ms": 1_000,
    "execution.order_validity_ms": 1_500,
    "execution.absence_horizon_ms": 4_000,
    "execution.cooldown_ms": 100,
    "risk.orders_per_minute_max": 1_000,
    "risk.loss_today_max": "1000000",
    "risk.drawdown_max": "1000000",
    "execution.realised_ratio_ppm_min": -10_000_000,
}
"""Fewer markets and shallower first pictures, because Binance counts the weight of every start in the same minute; what makes a
sweep shorter; and no limit on losses, which governed legs and faults make, and which would end the sweep and prove nothing."""
FAULTS: tuple[Fault, ...] = tuple(
    {"venue": venue, "endpoint": endpoint, "times": 0, **fault}
    for venue, endpoint, report in (("binance", "order.place", "executionReport"), ("upbit", "POST /v1/orders", "myOrder"))
    for endpoint, fault in (
        (endpoint, {"kind": "lost", "chance_ppm": 40_000}),
        (endpoint, {"kind": "late", "chance_ppm": 60_000, "ms": 1_200}),
        (endpoint, {"kind": "slow", "chance_ppm": 60_000, "ms": 600}),
        (endpoint, {"kind": "slow", "chance_ppm": 30_000, "ms": 1_400}),
        (report, {"kind": "lost", "chance_ppm": 60_000}),
        (report, {"kind": "late", "chance_ppm": 60_000, "ms": 900}),
    )
) + tuple({"venue": venue, "kind": "not_found", "ms": 900} for venue in VENUES)
"""Answers and reports that are lost or late, orders that reach the venue late, and queries that do not find a young order."""
LOW_FEES = tuple(
    {"venue": venue, "kind": "rules", "symbol": symbol, "fields": {"taker_fee": "0.0002"}}
    for venue, symbols in SYMBOLS.items()
    for symbol in symbols
)
"""With these every deviation pays, and not only the bursts: orders are on their way at nearly any instant."""
UNDO = {
    "0004_live.sql": """
        DROP TABLE leases, restart_reports, kill_receipts; ALTER TABLE opportunities DROP COLUMN fx;
        ALTER TABLE plans DROP COLUMN waterfall; ALTER TABLE fills DROP COLUMN fee_value_e8;
        DELETE FROM schema_migrations WHERE number = 4""",
    "0005_lease_beats.sql": "DROP TABLE lease_beats; DELETE FROM schema_migrations WHERE number = 5",
    "0006_opportunity_ledger.sql": """
        DROP TABLE episodes, plan_waterfalls, plan_rates; DROP INDEX plans_closed, plans_by_opportunity;
        ALTER TABLE opportunities DROP COLUMN pair, DROP COLUMN venues, DROP COLUMN symbols, DROP COLUMN fx_depth_e8,
        DROP COLUMN fx_fees_e8; DROP INDEX opportunities_taken; DELETE FROM schema_migrations WHERE number = 6""",
    "0007_audit_log.sql": "DROP TABLE audit_log; DROP FUNCTION audit_log_stays; DELETE FROM schema_migrations WHERE number = 7",
    "0008_people.sql": "DROP TABLE api_keys, users, people_version; DELETE FROM schema_migrations WHERE number = 8",
}
"""How to make the database an older program's, by the newest migration; one that is not here dies in new folders only."""


class SweepFailed(Exception):
    """The daemon did something that no comparison is needed for; the text says what."""


@dataclass
class Tally:
    """What happened so far."""

    kills: Counter[str] = field(default_factory=Counter)
    """By the moment that was reached."""
    missed: Counter[str] = field(default_factory=Counter)
    """Moments that did not come in time; the daemon was killed at another."""
    explained_s: list[float] = field(default_factory=list)
    """From the start of a process until it is armed or says what is in the way."""
    armed_s: list[float] = field(default_factory=list)
    orders: int = 0
    comparisons: int = 0
    unarmed: list[str] = field(default_factory=list)
    """Why a daemon did not trade again once all was flat."""
    wrong: dict[str, None] = field(default_factory=dict)
    """Everything that a comparison found, once each."""
    last: Verdict = field(default_factory=Verdict)


Say = Callable[[str], None]


class Sweep:
    """One data folder, its exchanges, and the daemons that die on it."""

    def __init__(
        self, folder: Path, seed: int, say: Say, program: tuple[str, ...] = ("-m", "arbitrage"), faults: Sequence[Fault] = ()
    ) -> None:
        """Start the exchanges with these faults before all others. `program` is what Python runs in the daemon's place."""
        self.folder = folder
        self.tally = Tally()
        self._seed = seed
        self._say = say
        self._dice = random.Random(f"sweep {seed}")
        self._migrations = read_migrations(migrations_dir())
        self._venues = Venues(speed=SPEED, seed=seed)
        self.house = LiveHouse(folder, self._venues)
        self.house.program = program
        self.house.configure(CHANGES)
        for fault in (*faults, *LOW_FEES, *FAULTS):
            self.house.control("POST", "/faults", fault)
        self.chronicle = Chronicle(self.house)

    def run(self, kills: int) -> None:
        """Live through it all. Raises SweepFailed and JournalGone."""
        for kill in plan(self._seed, kills, len(self._migrations)):
            self.live_and_die(kill)
        self.finish()

    def finish(self) -> None:
        """Start once more, wait until all is flat, and compare for the last time."""
        run = self.house.start()
        self._await_explained(run)
        self._compare(run, LAST_LOOK_S)
        if run.end() != 0:
            raise SweepFailed(f"the last daemon did not stop well: {run.printed}")

    def close(self) -> None:
        """End everything that was started."""
        self.house.close()
        self._venues.stop()
        wait_until(lambda: not processes_in(self.folder), "a killed daemon's servers are gone", 30)

    def live_and_die(self, kill: Kill) -> None:
        """Start a daemon and kill it. Raises SweepFailed and JournalGone."""
        if kill.is_upgrade and not self._undo_migration():
            self._say(f"  nothing to migrate: how to undo {self._migrations[-1].name} is not known here (UNDO)")
            kill = replace(kill, point=RANDOM)
        began_s, began_ms = time.monotonic(), time.time_ns() // 1_000_000
        run = self.house.start(**({VARIABLE: kill.word} if kill.word else {}))
        if kill.is_compared:
            self._await_explained(run)
            self._compare(run)
        reached = self._die_at_random(run, kill) if kill.point == RANDOM else self._die_at_point(run, kill)
        self.tally.kills[reached] += 1
        self._note_armed(run, began_ms)
        seconds = time.monotonic() - began_s
        self._say(f"kill {kill.number}: {reached}{'' if kill.point == RANDOM else f' ({kill.word})'}, lived {seconds:.1f} s")

    def _die_at_random(self, run: Run, kill: Kill) -> str:
        if kill.after_s < 0:
            self._sleep(run, -kill.after_s)
        else:
            if not kill.is_compared:
                self._await_explained(run)
            self._sleep(run, kill.after_s)
        run.end(signal.SIGKILL)
        return RANDOM

    def _die_at_point(self, run: Run, kill: Kill) -> str:
        until_s = time.monotonic() + POINT_SECONDS_MAX
        is_explained = False
        while run.process.poll() is None and time.monotonic() < until_s:
            is_explained = is_explained or self._look(run)
            time.sleep(LOOK_S)
        if run.process.poll() is None:
            run.end(signal.SIGKILL)
            self.tally.missed[kill.point] += 1
            return RANDOM
        label = kill.point.partition("@")[0]
        if run.process.returncode != -signal.SIGKILL or f"crash point {label} reached" not in run.text():
            raise SweepFailed(f"the daemon ended by itself with status {run.process.returncode}: {run.printed}")
        return kill.point

    def _sleep(self, run: Run, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            if run.process.poll() is not None:
                raise SweepFailed(f"the daemon ended by itself with status {run.process.returncode}: {run.printed}")
            time.sleep(LOOK_S)

    def _await_explained(self, run: Run) -> None:
        """Wait until it is armed or says in its report why not; note how long that took."""
        until_s = time.monotonic() + EXPLAINED_SECONDS_MAX
        while not self._look(run):
            if run.process.poll() is not None:
                raise SweepFailed(f"the daemon ended by itself with status {run.process.returncode}: {run.printed}")
            if time.monotonic() > until_s:
                raise SweepFailed(f"neither armed nor explained within {EXPLAINED_SECONDS_MAX:g} s: {run.printed}")
            time.sleep(LOOK_S)

    def _look(self, run: Run) -> bool:
        """Tell whether it is armed, has reported, or is ready and names what is in the way beyond that it is starting."""
        text = run.text()
        if ARMED not in text and REPORT not in text:
            if READY not in text:
                return False
            try:
                reasons = self._standing().not_armed_because
            except NoAnswer:
                return False
            if any(word in reason for reason in reasons for word in STARTING):
                return False
        self.tally.explained_s.append(time.monotonic() - run.began_s)
        return True

    def _note_armed(self, run: Run, began_ms: int) -> None:
        """Read from its log how long after its beginning it was armed."""
        line = next((line for line in run.text().splitlines() if line.endswith(ARMED)), "")
        if line:
            at = datetime.fromisoformat(line.split(" ", 1)[0])
            self.tally.armed_s.append(at.timestamp() - began_ms / 1000)

    def _compare(self, run: Run, wait_s: float = 0.0) -> None:
        """Let the market be, wait until nothing is under way, and hold the books against the exchanges' truth."""
        self._command("pause")
        try:
            wait_until(lambda: self._is_flat(run), f"flat ({run.printed})", FLAT_SECONDS_MAX)
            time.sleep(wait_s)
            self.chronicle.read()
            count = len(self.chronicle.facts)
            wait_until(lambda: self._postgres_has(count), "PostgreSQL has every fact", CAUGHT_UP_SECONDS_MAX)
        except AssertionError as late:
            raise SweepFailed(f"{late}: {self._reasons()}") from None
        truth = self.house.truth()
        verdict = self.tally.last = self.chronicle.compare(truth)
        self.tally.orders = sum(len(truth[venue]["orders"]) for venue in VENUES)
        self.tally.comparisons += 1
        new = [words for words in verdict.words() if words not in self.tally.wrong]
        self.tally.wrong.update(dict.fromkeys(new))
        for words in new:
            self._say(f"  WRONG: {words}")
        self._command("resume")
        try:
            wait_until(lambda: self._standing().armed, "armed again", ARMED_SECONDS_MAX if not verdict.words() else 2.0)
        except AssertionError:
            self.tally.unarmed.append(f"{run.printed.name}: {self._reasons()}")
            self._say(f"  WRONG: not armed when all is flat: {self._reasons()}")
        unknown = len(self.chronicle.unknown)
        wrong = len(self.tally.wrong)
        self._say(f"compared: {self.tally.orders} orders, {unknown} of them were unknown, {count} facts, {wrong} wrong")

    def _is_flat(self, run: Run) -> bool:
        """Nothing is under way, and the accounts were compared since: nothing but the pause, or a difference, is in the way."""
        if run.process.poll() is not None:
            raise SweepFailed(f"the daemon ended by itself with status {run.process.returncode}: {run.printed}")
        standing = self._standing()
        is_known = bool(standing.differences) or all(reason.startswith("paused") for reason in standing.not_armed_because)
        return not standing.open_orders and not standing.open_plans and is_known

    def _standing(self) -> Standing:
        answer = ask(self.folder, Ask("status"))
        assert answer.standing is not None, "a status has a standing"
        return answer.standing

    def _reasons(self) -> str:
        try:
            return "; ".join(self._standing().not_armed_because)
        except NoAnswer as silent:
            return f"no answer: {silent}"

    def _command(self, word: str) -> None:
        """Give the operator's word, as soon as somebody listens."""

        def is_heard() -> bool:
            try:
                return ask(self.folder, Ask(word, "the books are compared")).done  # type: ignore[arg-type]  # one of the words
            except NoAnswer:
                return False

        wait_until(is_heard, f"{word} is heard", EXPLAINED_SECONDS_MAX)

    def _postgres_has(self, sequence: int) -> bool:
        found = self.house.query("SELECT max(sequence) AS n FROM journal_facts")[0]["n"]
        return (found or 0) >= sequence

    def _undo_migration(self) -> bool:
        """Make the database the one of a program before the newest migration, while nobody uses it; False when it cannot be."""
        undo = UNDO.get(self._migrations[-1].name)
        if undo is None:
            return False
        embedded = Embedded(self.folder, wants_postgres=True, wants_redis=False)
        embedded.start()
        try:
            if self.house.query("SELECT to_regclass('schema_migrations') IS NOT NULL AS is_there")[0]["is_there"]:
                applied = self.house.query("SELECT count(*) AS n FROM schema_migrations")[0]["n"]
                if applied == len(self._migrations):
                    for statement in undo.split(";"):
                        self.house.query(statement)
        finally:
            embedded.stop()
        return True

    @property
    def unreached(self) -> list[str]:
        """Labelled moments at which no daemon died."""
        return [point for point in POINTS if not self.tally.kills[point]]

